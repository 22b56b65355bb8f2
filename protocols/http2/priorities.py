"""Which stream's data goes next: RFC 7540 §5.3 (dependencies, weights) and RFC 9218 (urgency).

A connection without priority signals is served round robin. The first signal of RFC 9218 on a connection makes
urgency decide (browsers send both kinds; RFC 9218 is what they mean today), else the first dependency or
weight that differs from the default builds the tree of RFC 7540. Priorities are advice: a signal that cannot
be obeyed (tree full or too deep) is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dependencies import DependencyTree
    from .streams import Stream

DEFAULT_URGENCY = 3
DEFAULT_WEIGHT = 16

_URGENCY = re.compile(rb"[0-7]")
_INCREMENTAL = {b"i": True, b"i=?1": True, b"i=?0": False}


def parse_priority(value: bytes) -> tuple[int, bool]:
    """Urgency and incremental of a `priority` field (RFC 9218 §4); what is not understood is ignored."""
    urgency, incremental = DEFAULT_URGENCY, False
    for item in value.split(b","):
        item = item.strip(b" \t").split(b";", 1)[0]
        if item[:2] == b"u=":
            if _URGENCY.fullmatch(item[2:]):
                urgency = int(item[2:])
        elif item in _INCREMENTAL:
            incremental = _INCREMENTAL[item]
    return urgency, incremental


class Scheduler:
    """The streams that have something to send, and whose turn it is.

    The owner adds a stream when it gets something to send and removes it when that is gone or may not be
    sent; `next` names the one to serve, `served` says that it was.
    """

    __slots__ = ("_max_nodes", "_tree", "_turn", "by_urgency", "ready")

    def __init__(self, max_streams: int) -> None:
        #: The streams with something to send, in the order of their turns.
        self.ready: dict[int, Stream] = {}
        self.by_urgency = False
        self._tree: DependencyTree | None = None
        # Live streams and pushes, and some idle ones that clients group others with. It bounds the tree's depth
        # too: asking it costs a call for each level.
        self._max_nodes = min(2 * max_streams + 32, 256)
        self._turn = 0

    @property
    def has_signals(self) -> bool:
        """Some stream was said to come before another, or may have been."""
        return self.by_urgency or self._tree is not None

    # ---- whose turn it is

    def add(self, stream: Stream) -> None:
        """`stream` has something to send."""
        self.ready[stream.id] = stream
        if self._tree is not None:
            self._tree.activate(stream.id, self.ready)

    def remove(self, stream: Stream) -> None:
        """`stream` has nothing to send for now."""
        self.ready.pop(stream.id, None)
        if self._tree is not None:
            self._tree.deactivate(stream.id)

    def next(self) -> Stream:
        """The stream to serve next; there must be one in `ready`."""
        if len(self.ready) > 1:
            if self.by_urgency:
                return self._most_urgent()
            if self._tree is not None and (stream_id := self._tree.next(self.ready)) is not None:
                return self.ready[stream_id]
        return next(iter(self.ready.values()))

    def served(self, stream: Stream) -> None:
        """A frame of `stream` was sent and it has more: it goes behind the others."""
        if len(self.ready) > 1 and self.ready.pop(stream.id, None) is not None:
            self.ready[stream.id] = stream
            self._turn += 1
            stream.turn = self._turn

    def _most_urgent(self) -> Stream:
        """Lowest urgency; within it the first of those that want to be sent whole, in turns with the others."""
        urgency = min(stream.urgency for stream in self.ready.values())
        equals = [stream for stream in self.ready.values() if stream.urgency == urgency]
        whole = [stream for stream in equals if not stream.incremental]
        candidates = [stream for stream in equals if stream.incremental]
        if whole:
            # Their turns count as one: the last time that any of them was served.
            first = min(whole, key=lambda stream: stream.id)
            first.turn = max(stream.turn for stream in whole)
            candidates.append(first)
        return min(candidates, key=lambda stream: stream.turn)

    # ---- signals of RFC 7540

    def opened(self, stream_id: int, parent: int = 0) -> None:
        """A stream begins; a pushed one depends on the stream that it was promised on (RFC 7540 §5.3.5)."""
        if self._tree is not None:
            self._tree.opened(stream_id, parent)

    def depend(
        self, stream_id: int, parent: int, weight: int, exclusive: bool, streams: Iterable[int]
    ) -> None:
        """A dependency and weight (1 to 256) for a stream, open or not; `streams` are the open ones."""
        if self.by_urgency:
            return
        if self._tree is None:
            if not parent and weight == DEFAULT_WEIGHT and not exclusive:
                return  # what all streams have
            from .dependencies import DependencyTree

            self._tree = DependencyTree(self._max_nodes)
            for opened in streams:
                self._tree.opened(opened)
            for ready in self.ready:
                self._tree.activate(ready, self.ready)
        self._tree.depend(stream_id, parent, weight, exclusive)

    def closed(self, stream: Stream) -> None:
        """A stream is over."""
        self.ready.pop(stream.id, None)
        if self._tree is not None:
            self._tree.remove(stream.id)

    def use_urgency(self) -> None:
        """The peer speaks RFC 9218: no tree from here on."""
        self.by_urgency = True
        self._tree = None
