"""Decodes the body of a request: counted by Content-Length, or chunked (RFC 9112 §6, §7.1).

A body is fed with input until it is complete; it never looks beyond its own end: what follows is in `rest`.
"""

from __future__ import annotations

from typing import Protocol

from ..common import LARGEST_SIZE
from ..events import Fields
from . import grammar, rules
from .fields import split_fields
from .parameters import HTTP1Parameters
from .rules import Refusal

#: Longest line of a chunk's size and extensions, and most bytes of extensions in one body (RFC 9112 §7.1.1 asks for
#: such a limit).
_MAX_CHUNK_LINE = 1024
_MAX_EXTENSIONS = 16384


class Body(Protocol):
    """A body that is being read.

    Attributes:
        is_complete: all of it has been fed.
        rest: what was fed beyond its end.
        trailers: the trailer section without what is forbidden there; empty until complete.
    """

    is_complete: bool
    rest: bytes
    trailers: Fields

    def feed(self, data: bytes) -> bytes:
        """Take input, give content. Raises `Refusal` when the framing is broken."""
        ...

    def exceeds(self, size: int) -> bool:
        """It is certain that more than `size` bytes are still to come."""
        ...


class LengthBody:
    """A body of a length that is known beforehand."""

    __slots__ = ("_remaining", "is_complete", "rest", "trailers")

    def __init__(self, length: int) -> None:
        self._remaining = length
        self.is_complete = False
        self.rest = b""
        self.trailers: Fields = []

    def feed(self, data: bytes) -> bytes:
        size = len(data)
        if size < self._remaining:
            self._remaining -= size
            return data
        self.is_complete = True
        if size > self._remaining:
            self.rest = data[self._remaining :]
            data = data[: self._remaining]
        self._remaining = 0
        return data

    def exceeds(self, size: int) -> bool:
        return self._remaining > size


class ChunkedBody:
    """A chunked body. Stricter than h11 about extensions and about what follows a chunk's data."""

    __slots__ = (
        "_carry",
        "_extensions",
        "_is_first",
        "_parameters",
        "_remaining",
        "_scanned",
        "_section",
        "is_complete",
        "rest",
        "trailers",
    )

    def __init__(self, parameters: HTTP1Parameters) -> None:
        self._parameters = parameters
        self._is_first = True
        self._remaining = 0
        #: The beginning of a chunk line, at most `_MAX_CHUNK_LINE` bytes.
        self._carry = b""
        self._extensions = 0
        #: The trailer section once the last chunk has been read, and how much of it is known to be right.
        self._section: bytearray | None = None
        self._scanned = 0
        self.is_complete = False
        self.rest = b""
        self.trailers: Fields = []

    def exceeds(self, size: int) -> bool:
        return self._remaining > size

    def feed(self, data: bytes) -> bytes:
        if self._section is not None:
            self._feed_section(self._section, data)
            return b""
        if self._carry:
            data = self._carry + data
            self._carry = b""
        pieces: list[bytes] = []
        position = 0
        while position < len(data):
            if self._remaining:
                piece = data[position : position + self._remaining]
                pieces.append(piece)
                self._remaining -= len(piece)
                position += len(piece)
                continue
            position = self._read_line(data, position)
            if self._section is not None:
                self._feed_section(self._section, data[position:])
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_line(self, data: bytes, position: int) -> int:
        """Read one chunk line and give the position behind it; keep an incomplete one for later."""
        line = grammar.CHUNK_LINE if self._is_first else grammar.NEXT_CHUNK_LINE
        match = line.match(data, position)
        if match is None:
            self._keep_partial_line(data[position:])
            return len(data)
        self._is_first = False
        self._remaining = int(match[1], 16)
        if self._remaining > LARGEST_SIZE:
            raise Refusal(400, "a chunk is larger than any content (RFC 9112 §7.1)")
        self._extensions += len(match[2])
        if self._extensions > _MAX_EXTENSIONS or len(match[2]) > _MAX_CHUNK_LINE:
            raise Refusal(400, "too many chunk extensions (RFC 9112 §7.1.1)")
        if not self._remaining:
            self._section = bytearray()
        return match.end()

    def _keep_partial_line(self, partial: bytes) -> None:
        line = grammar.PARTIAL_CHUNK_LINE if self._is_first else grammar.PARTIAL_NEXT_CHUNK_LINE
        if line.fullmatch(partial) is None:
            raise Refusal(400, "a chunk is malformed (RFC 9112 §7.1)")
        if len(partial) > _MAX_CHUNK_LINE:
            raise Refusal(400, "too many chunk extensions (RFC 9112 §7.1.1)")
        self._carry = partial

    def _feed_section(self, section: bytearray, data: bytes) -> None:
        start = self._scanned
        section += data
        if section.startswith(b"\r\n"):
            end = 2
        elif (found := section.find(b"\r\n\r\n", max(0, start - 3))) >= 0:
            end = found + 4
        else:
            end = 0
        if (end or len(section)) > self._parameters.max_head_size:
            raise Refusal(431, "the trailer section is too large")
        rules.check_octets(section, max(0, start - 1), end or len(section))
        self._scanned = len(section)
        if end:
            self._read_trailers(bytes(section[:end]))
            self.rest = bytes(section[end:])
            self.is_complete = True

    def _read_trailers(self, block: bytes) -> None:
        if grammar.FIELD_BLOCK.fullmatch(block) is None:
            raise Refusal(400, "a trailer field is malformed (RFC 9112 §7.1.2)")
        fields = split_fields(block, self._parameters)
        self.trailers = [field for field in fields if field[0].lower() not in rules.FORBIDDEN_TRAILERS]
