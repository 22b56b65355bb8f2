"""HPACK, the receiving half (RFC 7541): encoded field blocks to lists of fields.

Why not `hpack.Decoder`: it costs 2 to 3 µs a field in small calls and log lines, and it gives up when a list
is too large, which loses the connection; here the tables stay in step and only the request is refused. Its
Huffman tables are used, and tests hold it beside this one as the judge.

`changes` counts alterations of the dynamic table: while it stands still, equal blocks mean equal fields, so
that the layer above may remember what a block meant.
"""

from __future__ import annotations

from collections import deque

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from .errors import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionFault

TABLE_SIZE = 4096

Field = tuple[bytes, bytes]

_STATIC: tuple[Field, ...] = tuple((name, value) for name, value in HeaderTable.STATIC_TABLE)
_STATIC_END = len(_STATIC) + 1  # the index of the first dynamic entry
#: What an entry counts for beside its name and value (RFC 7541 §4.1).
ENTRY_EXTRA = 32
_MAX_INTEGER = 2**31
#: A list that is so many times too large, and larger than any that is sent by mistake, is not read to its end: each byte of
#: it may stand for a field of 4 KB. Below that the request is refused, and the others of the connection go on.
_OVERSIZE = 16
_LEAST_OVERSIZE = 1 << 20


class FieldDecoder:
    """Decodes one peer's field blocks, in order.

    Attributes:
        changes: raised whenever the dynamic table has changed.
        is_oversized: the last block decoded to more than was allowed; its fields are incomplete.
        list_size: the size of the last block's fields, with 32 bytes for each.
        path_span: where in the last block a `:path` stands that is a literal and not put into the table.
    """

    __slots__ = ("_entries", "_max_size", "_size", "changes", "is_oversized", "list_size", "path_span")

    def __init__(self) -> None:
        self._entries: deque[Field] = deque()
        self._size = 0
        self._max_size = TABLE_SIZE
        self.changes = 0
        self.is_oversized = False
        self.list_size = 0
        self.path_span: tuple[int, int] | None = None

    def decode(self, block: bytes, max_list_size: int) -> list[Field]:
        """The fields of `block`; not more of them than `max_list_size` allows (see `is_oversized`).

        Raises:
            ConnectionFault: the block is not HPACK, or what it holds is too large by far; the tables are out of
                step from here.
        """
        try:
            return self._decode(block, max_list_size)
        except (IndexError, HPACKDecodingError):
            raise ConnectionFault(COMPRESSION_ERROR, "invalid HPACK field block") from None

    def _decode(self, block: bytes, max_list_size: int) -> list[Field]:
        fields: list[Field] = []
        entries = self._entries
        size = pos = 0
        most = max(_OVERSIZE * max_list_size, _LEAST_OVERSIZE)
        end = len(block)
        self.is_oversized = False
        self.path_span = None
        while pos < end:
            byte = block[pos]
            if byte >= 0x80:
                pos += 1
                index = byte & 0x7F
                if index == 0x7F:
                    index, pos = _integer(block, pos, 0x7F)
                field = entries[index - _STATIC_END] if index >= _STATIC_END else _static(index)
            elif byte >= 0x40:
                field, pos = self._literal(block, pos, 0x3F)
                self._insert(field)
            elif byte >= 0x20:
                # RFC 7541 §4.2: only before the first field of a block.
                pos = self._resize(block, pos, may_resize=not size)
                continue
            else:
                start = pos
                field, pos = self._literal(block, pos, 0x0F)
                if field[0] == b":path":
                    self.path_span = (start, pos)
            size += len(field[0]) + len(field[1]) + ENTRY_EXTRA
            if size <= max_list_size:
                fields.append(field)
            else:
                self.is_oversized = True
                if size > most:
                    raise ConnectionFault(ENHANCE_YOUR_CALM, "header list many times too large")
        self.list_size = size
        return fields

    def path_between(self, block: bytes, start: int, end: int) -> bytes | None:
        """The value, if exactly a literal `:path` that is not for the table stands there.

        Raises:
            IndexError, HPACKDecodingError: nothing valid does.
        """
        if block[start] >= 0x20:
            return None
        (name, value), stop = self._literal(block, start, 0x0F)
        return value if stop == end and name == b":path" else None

    def _literal(self, block: bytes, pos: int, mask: int) -> tuple[Field, int]:
        index = block[pos] & mask
        pos += 1
        if index == mask:
            index, pos = _integer(block, pos, mask)
        if not index:
            name, pos = _string(block, pos)
        elif index >= _STATIC_END:
            name = self._entries[index - _STATIC_END][0]
        else:
            name = _STATIC[index - 1][0]
        value, pos = _string(block, pos)
        return (name, value), pos

    def _insert(self, field: Field) -> None:
        self.changes += 1
        self._entries.appendleft(field)
        self._size += len(field[0]) + len(field[1]) + ENTRY_EXTRA
        if self._size > self._max_size:
            self._evict()

    def _evict(self) -> None:
        entries = self._entries
        while self._size > self._max_size:
            name, value = entries.pop()
            self._size -= len(name) + len(value) + ENTRY_EXTRA

    def _resize(self, block: bytes, pos: int, may_resize: bool) -> int:
        size = block[pos] & 0x1F
        pos += 1
        if size == 0x1F:
            size, pos = _integer(block, pos, 0x1F)
        if size > TABLE_SIZE or not may_resize:
            raise ConnectionFault(COMPRESSION_ERROR, "invalid HPACK table size update")
        self.changes += 1
        self._max_size = size
        self._evict()
        return pos


def _static(index: int) -> Field:
    if not index:
        raise ConnectionFault(COMPRESSION_ERROR, "HPACK index 0")
    return _STATIC[index - 1]


def _integer(block: bytes, pos: int, value: int) -> tuple[int, int]:
    """The rest of an integer whose prefix was full (RFC 7541 §5.1), and where it ends."""
    shift = 0
    while True:
        byte = block[pos]
        pos += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= _MAX_INTEGER:
                break
            return value, pos
        shift += 7
        if shift > 28:
            break
    raise ConnectionFault(COMPRESSION_ERROR, "HPACK integer too large")


def _string(block: bytes, pos: int) -> tuple[bytes, int]:
    """A string literal (RFC 7541 §5.2), and where it ends."""
    byte = block[pos]
    pos += 1
    length = byte & 0x7F
    if length == 0x7F:
        length, pos = _integer(block, pos, 0x7F)
    end = pos + length
    if end > len(block):
        raise IndexError
    text = block[pos:end]
    return (decode_huffman(text) if byte & 0x80 else text), end
