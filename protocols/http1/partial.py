"""Finds the next head in input that arrives in pieces, and refuses early what can never become one.

Nobody should wait for the rest of what is wrong already, and no byte is searched twice however it drips in.
"""

from __future__ import annotations

from . import rules
from .parameters import HTTP1Parameters
from .rules import Refusal

#: Bytes of empty lines before a request line that are overlooked (RFC 9112 §2.2 asks for at least one line).
_MAX_EMPTY_LINES = 16


class PartialHead:
    """The head at the beginning of a buffer that it shares with its engine.

    Attributes:
        skipped: bytes of empty lines that were dropped before the head.
    """

    __slots__ = ("_buffer", "_has_line", "_parameters", "_scanned", "skipped")

    def __init__(self, buffer: bytearray, parameters: HTTP1Parameters) -> None:
        self._buffer = buffer
        self._parameters = parameters
        #: How far the buffer is known to hold no end of a head, and nothing wrong.
        self._scanned = 0
        #: The request line is complete, and right.
        self._has_line = False
        self.skipped = 0

    def take(self) -> bytes | None:
        """Remove the head from the buffer and give it, with its empty line; None if it is not complete.

        Raises:
            Refusal: it can never become a head, or is too large.
        """
        buffer = self._buffer
        if buffer.startswith(b"\r"):
            self._skip_empty_lines()
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3)) + 4
        if end == 3:
            self._check()
            return None
        head = bytes(buffer[:end])
        del buffer[:end]
        self._scanned = 0
        self._has_line = False
        self.skipped = 0
        return head

    def _skip_empty_lines(self) -> None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            del buffer[:2]
            self.skipped += 2
            if self.skipped > _MAX_EMPTY_LINES:
                raise Refusal(400, "empty lines instead of a request (RFC 9112 §2.2)")

    def _check(self) -> None:
        buffer = self._buffer
        start, self._scanned = max(0, self._scanned - 1), len(buffer)
        rules.check_octets(buffer, start, len(buffer))
        if not self._has_line:
            self._check_line(buffer.find(b"\r\n", start))
        if len(buffer) >= self._parameters.max_head_size:
            rules.refuse_large_head(buffer, self._parameters)

    def _check_line(self, end: int) -> None:
        """Check the request line that ends at `end`, or is not complete yet: -1."""
        limit = self._parameters.limit_request_line
        if (end if end >= 0 else len(self._buffer) - 1) > limit > 0:
            raise Refusal(414, "the request line is too long")
        if end >= 0:
            rules.split_request_line(self._buffer[:end])
            self._has_line = True
