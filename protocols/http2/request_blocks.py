"""Header blocks to requests, with as little decoding as repetition allows.

Clients repeat themselves. While HPACK's table stands still, an equal block is an equal request; and a block
that differs only in a literal `:path`, which clients do not put into the table, differs only in that. Any
change of the table forgets both.
"""

from __future__ import annotations

from hpack.exceptions import HPACKDecodingError

from .field_decoder import FieldDecoder
from .requests import RequestHead, read_request, split_target

_MAX_KNOWN = 32
#: The size of a field list up to which a request is remembered.
_MAX_KNOWN_SIZE = 4096


class RequestBlocks:
    """The requests of one connection.

    Attributes:
        decoder: the connection's HPACK decoder.
    """

    __slots__ = ("_changes", "_known", "_limit", "_pattern", "decoder")

    def __init__(self, max_list_size: int) -> None:
        self.decoder = FieldDecoder()
        self._limit = max_list_size
        self._changes = 0
        self._known: dict[bytes, RequestHead] = {}
        #: What stands before and behind the path in a block, its request, and the size without the path.
        self._pattern: tuple[bytes, bytes, RequestHead, int] | None = None

    def read(self, block: bytes) -> RequestHead | None:
        """The request that a complete header block stands for; None if it is larger than allowed.

        Raises:
            ConnectionFault: the block is not HPACK.
            MalformedMessage: its fields are not a request.
        """
        decoder = self.decoder
        if decoder.changes != self._changes:
            self._changes = decoder.changes
            self._known.clear()
            self._pattern = None
        else:
            head = self._known.get(block) or self._similar(block)
            if head is not None:
                return head
        received = decoder.decode(block, self._limit)
        if decoder.is_oversized:
            return None
        head = read_request(received)
        if decoder.changes == self._changes and decoder.list_size <= _MAX_KNOWN_SIZE:
            self._remember(block, head)
            if decoder.path_span is not None and head.method != "CONNECT":
                start, end = decoder.path_span
                path = next(value for name, value in received if name == b":path")
                self._pattern = (block[:start], block[end:], head, decoder.list_size - len(path))
        return head

    def _similar(self, block: bytes) -> RequestHead | None:
        """The request of a block that differs from a known one only in its path."""
        if self._pattern is None:
            return None
        before, behind, like, size = self._pattern
        start, end = len(before), len(block) - len(behind)
        if not (end > start and block.startswith(before) and block.endswith(behind)):
            return None
        try:
            path = self.decoder.path_between(block, start, end)
        except (IndexError, HPACKDecodingError):
            return None
        if path is None or size + len(path) > self._limit:
            return None
        raw_path, query = split_target(path, like.method)
        head = like.with_target(raw_path, query)
        self._remember(block, head)
        return head

    def _remember(self, block: bytes, head: RequestHead) -> None:
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[block] = head
