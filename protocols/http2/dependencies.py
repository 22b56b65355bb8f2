"""The dependency tree of RFC 7540 §5.3, on the `priority` package; imported at a connection's first signal.

Signals are advice: one that cannot be obeyed, because the tree is full or too deep, is dropped. The number of
nodes bounds the depth too, and with it the recursion inside `priority`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from priority.priority import (
    MissingStreamError,
    PriorityError,
    PriorityTree,
    TooManyStreamsError,
)

from .priorities import DEFAULT_WEIGHT

Signal = tuple[int, int, bool]


class DependencyTree:
    """Live streams and the idle ones that clients group them with, at most `max_nodes` together.

    Signals only wait here until a stream has data that must wait too: the tree is costly, and most responses
    are over before it would be asked.
    """

    __slots__ = ("_max_nodes", "_signalled", "_signals", "_tree")

    def __init__(self, max_nodes: int) -> None:
        self._max_nodes = max_nodes
        self._tree = PriorityTree(max_nodes)
        #: The last signal about each stream that the tree has not been told yet, in order.
        self._signals: dict[int, Signal] = {}
        #: The streams whose signals the tree knows.
        self._signalled: set[int] = set()

    def opened(self, stream_id: int, parent: int = 0) -> None:
        """A stream begins; unless a signal came before it, it depends on `parent`."""
        if stream_id not in self._signalled:
            self._signals.setdefault(stream_id, (parent, DEFAULT_WEIGHT, False))

    def depend(self, stream_id: int, parent: int, weight: int, exclusive: bool) -> None:
        """A signal (weight 1 to 256) about a stream, open or not."""
        signals = self._signals
        signals.pop(stream_id, None)
        signals[stream_id] = (parent, weight, exclusive)
        if len(signals) > self._max_nodes:
            del signals[next(iter(signals))]

    def activate(self, stream_id: int, ready: Iterable[int]) -> None:
        """A stream has something to send; `ready` are all that have."""
        if self._signals:
            self._obey_all(ready)
        try:
            self._unblock(stream_id)
        except TooManyStreamsError:
            self._replant(ready)

    def _unblock(self, stream_id: int) -> None:
        try:
            self._tree.unblock(stream_id)
        except MissingStreamError:
            self._tree.insert_stream(stream_id)

    def _replant(self, ready: Iterable[int]) -> None:
        """The tree is full of idle streams: forget them, and all signals."""
        self._signals.clear()
        self._signalled.clear()
        self._tree = PriorityTree(self._max_nodes)
        with suppress(TooManyStreamsError):
            for stream_id in ready:
                self._unblock(stream_id)

    def _obey(self, stream_id: int, signal: Signal) -> None:
        try:
            try:
                self._lift(signal[0], stream_id)
                self._tree.reprioritize(stream_id, *signal)
            except MissingStreamError:
                self._tree.insert_stream(stream_id, *signal)
                self._tree.block(stream_id)
        except TooManyStreamsError:
            raise
        except PriorityError:
            return  # too deep, or the like

    def _lift(self, parent: int, stream_id: int) -> None:
        """Move a parent-to-be that depends on the stream itself to the place of the stream (RFC 7540 §5.3.3).

        `priority` does it too, but leaves what depends on the moved one where it is as well. A few such signals
        make a net of the tree, whose ways are more than can ever be gone.
        """
        nodes = self._tree._streams  # pyright: ignore[reportPrivateUsage]
        lifted, moved = nodes.get(parent), nodes.get(stream_id)
        if lifted is None or moved is None or moved.parent is None:
            return
        above = lifted.parent
        while above is not None and above is not moved:
            above = above.parent
        if above is moved:
            self._tree.reprioritize(parent, moved.parent.stream_id, lifted.weight)

    def deactivate(self, stream_id: int) -> None:
        """A stream has nothing to send for now."""
        try:
            self._tree.block(stream_id)
        except MissingStreamError:
            return

    def remove(self, stream_id: int) -> None:
        """A stream is over: those that depend on it move up."""
        self._signals.pop(stream_id, None)
        self._signalled.discard(stream_id)
        try:
            self._tree.remove_stream(stream_id)
        except MissingStreamError:
            return

    def next(self, ready: Iterable[int]) -> int | None:
        """The stream to serve next of those in `ready`, or None if the tree knows of none."""
        if self._signals:
            self._obey_all(ready)
        try:
            return next(self._tree)
        except PriorityError:
            return None

    def _obey_all(self, ready: Iterable[int]) -> None:
        try:
            for stream_id, signal in self._signals.items():
                self._obey(stream_id, signal)
        except TooManyStreamsError:
            self._replant(ready)
        else:
            self._signalled.update(self._signals)
            self._signals.clear()
