"""One large data frame that arrives in several reads: each piece is unmasked as it comes.

Only for whole, uncompressed messages in one frame, whose head is complete and whose size is within the limit; wsproto
reads everything else that is cut. It refuses to look at what follows the frame.
"""

from __future__ import annotations

import codecs

from .frames import RemoteProtocolError, unmask

_validator = codecs.getincrementaldecoder("utf-8")


class FrameInParts:
    """Gathers the payload of one frame.

    A text is checked as it comes: RFC 6455 §8.1 lets a server fail before the end, and nobody should send 16 MB
    behind a mistake in the first one. It is kept as bytes, because many small `str` would take far more memory.
    """

    __slots__ = ("_is_text", "_key", "_missing", "_payload", "_validator")

    def __init__(self, key: bytes, size: int, *, is_text: bool) -> None:
        self._key = key
        self._missing = size
        self._payload = bytearray()
        self._is_text = is_text
        self._validator = _validator()

    def feed(self, data: bytes, position: int) -> int:
        """Take what belongs to the frame from `position` on; the number of bytes taken.

        Raises:
            RemoteProtocolError: the text is not UTF-8.
        """
        piece = data[position : position + self._missing]
        size = len(piece)
        key = self._key
        self._missing -= size
        piece = unmask(piece, key)
        if turn := size & 3:
            self._key = key[turn:] + key[:turn]
        if self._is_text:
            try:
                self._validator.decode(piece, not self._missing)
            except UnicodeDecodeError:
                raise RemoteProtocolError(1007, "invalid UTF-8") from None
        self._payload += piece
        return size

    def message(self) -> str | bytes | None:
        """The whole message once all of it is there."""
        if self._missing:
            return None
        return self._payload.decode() if self._is_text else bytes(self._payload)
