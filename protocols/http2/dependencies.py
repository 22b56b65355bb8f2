"""The dependency tree of RFC 7540 §5.3, on the `priority` package; imported at a connection's first signal.

Signals are advice: one that cannot be obeyed, because the tree is full or too deep, is dropped. The number of
nodes bounds the depth too, and with it the recursion inside `priority`.
"""

from __future__ import annotations

from collections.abc import Iterable

from priority.priority import (
    DuplicateStreamError,
    MissingStreamError,
    PriorityError,
    PriorityTree,
    TooManyStreamsError,
)


class DependencyTree:
    """Live streams and the idle ones that clients group them with, at most `max_nodes` together."""

    __slots__ = ("_max_nodes", "_tree")

    def __init__(self, max_nodes: int, live: Iterable[int], ready: Iterable[int]) -> None:
        self._max_nodes = max_nodes
        self._plant(live, ready)

    def _plant(self, live: Iterable[int], ready: Iterable[int]) -> None:
        self._tree = PriorityTree(self._max_nodes)
        for stream_id in live:
            self.insert(stream_id)
        for stream_id in ready:
            self.mark(stream_id, active=True)

    def insert(self, stream_id: int) -> None:
        """A stream begins, with nothing to send; unless a signal came before it, it depends on nothing."""
        try:
            self._tree.insert_stream(stream_id)
            self._tree.block(stream_id)
        except DuplicateStreamError:
            return
        except PriorityError:
            return  # full: the stream takes turns outside of the tree

    def remove(self, stream_id: int) -> None:
        """A stream is over: those that depend on it move up."""
        try:
            self._tree.remove_stream(stream_id)
        except MissingStreamError:
            return

    def mark(self, stream_id: int, active: bool) -> None:
        """A stream has something to send, or has not."""
        try:
            if active:
                self._tree.unblock(stream_id)
            else:
                self._tree.block(stream_id)
        except MissingStreamError:
            return

    def depend(
        self,
        stream_id: int,
        parent: int,
        weight: int,
        exclusive: bool,
        live: Iterable[int],
        ready: Iterable[int],
    ) -> None:
        """Obey a signal (weight 1 to 256) about a stream, open or not."""
        tree = self._tree
        try:
            try:
                tree.reprioritize(stream_id, parent, weight, exclusive)
            except MissingStreamError:
                tree.insert_stream(stream_id, parent, weight, exclusive)
                tree.block(stream_id)
        except TooManyStreamsError:
            self._plant(live, ready)  # full of idle streams: forget them
        except PriorityError:
            return

    def next(self) -> int | None:
        """The stream to serve next, or None if the tree knows of none."""
        try:
            return next(self._tree)
        except PriorityError:
            return None
