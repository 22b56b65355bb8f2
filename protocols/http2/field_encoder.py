"""HPACK, the sending half (RFC 7541): lists of fields to encoded field blocks.

Values that come again (server, content-type, the date of this second) go into the dynamic table, values that
rarely do (lengths, validators, cookies) are sent as literals. Huffman coding is left out: it would save about
a quarter of a literal that is mostly sent once, and costs more time than the rest of a response head.

`changes` counts alterations of the dynamic table, as in `field_decoder.py`.
"""

from __future__ import annotations

from collections import deque

from hpack.table import HeaderTable

from .field_decoder import ENTRY_EXTRA, TABLE_SIZE, Field

_STATIC_FIELDS: dict[Field, int] = {}
_STATIC_NAMES: dict[bytes, int] = {}
for _index, (_name, _value) in enumerate(HeaderTable.STATIC_TABLE, 1):
    _STATIC_FIELDS[_name, _value] = _index
    _STATIC_NAMES.setdefault(_name, _index)
_STATIC_COUNT = len(HeaderTable.STATIC_TABLE)

#: Mostly different each time: they would only push better entries out.
_NOT_INDEXED = frozenset(
    (b":path", b"age", b"content-length", b"content-range", b"etag", b"last-modified", b"link", b"location")
)
#: Secrets: never indexed, here or by anyone who passes them on (RFC 7541 §7.1.3).
_NEVER_INDEXED = frozenset((b"authorization", b"proxy-authorization", b"set-cookie", b"cookie"))


class FieldEncoder:
    """Encodes one connection's field blocks, in the order in which they are sent.

    Attributes:
        changes: raised whenever the same fields may be encoded differently than before.
    """

    __slots__ = ("_entries", "_fields", "_inserted", "_max_size", "_names", "_size", "_updates", "changes")

    def __init__(self) -> None:
        # Entries are numbered as they are inserted; an index is relative to the newest one.
        self._entries: deque[Field] = deque()
        self._fields: dict[Field, int] = {}
        self._names: dict[bytes, int] = {}
        self._inserted = 0
        self._size = 0
        self._max_size = TABLE_SIZE
        self._updates: list[int] = []
        self.changes = 0

    def resize(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE; we never use more than 4,096 bytes."""
        size = min(size, TABLE_SIZE)
        if size == self._max_size:
            return
        # Only the smallest and the last size since the last block need to be told (RFC 7541 §4.2).
        self._updates = [size] if not self._updates else [min(*self._updates, size), size]
        self._max_size = size
        self._evict()
        self.changes += 1

    def encode(self, fields: list[Field]) -> bytes:
        """The field block of `fields`, whose names are in lower case."""
        out = bytearray()
        if self._updates:
            for size in self._updates:
                _put_integer(out, size, 0x20, 0x1F)
            self._updates = []
            self.changes += 1
        for field in fields:
            index = _STATIC_FIELDS.get(field)
            if index is None:
                number = self._fields.get(field)
                if number is None:
                    self._put_literal(out, field)
                    continue
                index = _STATIC_COUNT + self._inserted - number
            if index < 0x7F:
                out.append(0x80 | index)
            else:
                _put_integer(out, index, 0x80, 0x7F)
        return bytes(out)

    def _put_literal(self, out: bytearray, field: Field) -> None:
        name, value = field
        index = _STATIC_NAMES.get(name, 0)
        if not index and (number := self._names.get(name)) is not None:
            index = _STATIC_COUNT + self._inserted - number
        size = len(name) + len(value) + ENTRY_EXTRA
        if name in _NEVER_INDEXED:
            _put_integer(out, index, 0x10, 0x0F)
        elif name in _NOT_INDEXED or size * 2 > self._max_size:
            _put_integer(out, index, 0x00, 0x0F)
        else:
            _put_integer(out, index, 0x40, 0x3F)
            self._insert(field, size)
        if not index:
            _put_integer(out, len(name), 0x00, 0x7F)
            out += name
        _put_integer(out, len(value), 0x00, 0x7F)
        out += value

    def _insert(self, field: Field, size: int) -> None:
        self.changes += 1
        self._entries.append(field)
        self._fields[field] = self._names[field[0]] = self._inserted
        self._inserted += 1
        self._size += size
        self._evict()

    def _evict(self) -> None:
        while self._size > self._max_size:
            number = self._inserted - len(self._entries)
            field = self._entries.popleft()
            self._size -= len(field[0]) + len(field[1]) + ENTRY_EXTRA
            if self._fields.get(field) == number:
                del self._fields[field]
            if self._names.get(field[0]) == number:
                del self._names[field[0]]


def _put_integer(out: bytearray, value: int, pattern: int, mask: int) -> None:
    """Append an integer with its prefix (RFC 7541 §5.1)."""
    if value < mask:
        out.append(pattern | value)
        return
    out.append(pattern | mask)
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
