"""One large data frame that arrives in several reads: each piece is unmasked as it comes.

Only for whole, uncompressed messages in one frame, whose head is complete and whose size is within the limit; wsproto
reads everything else that is cut. It refuses to look at what follows the frame.
"""

from __future__ import annotations

import codecs

from .frames import RemoteProtocolError, unmask

_validator = codecs.getincrementaldecoder("utf-8")


#: Parts that are smaller are joined as they come: they could have come in bytes, and each has an object's cost.
_SMALL = 4096


class FrameInParts:
    """Gathers the payload of one frame.

    A text is checked as it comes: RFC 6455 §8.1 lets a server fail before the end, and nobody should send 16 MB
    behind a mistake in the first one. It is kept as bytes, because many small `str` would take far more memory.

    Attributes:
        missing: the number of bytes that are still to come.
        size: the number of bytes that the whole frame has.
    """

    __slots__ = ("_key", "_parts", "_validator", "missing", "size")

    def __init__(self, key: bytes, size: int, *, is_text: bool) -> None:
        self._key = key
        self.missing = self.size = size
        self._parts = [b""]
        self._validator = _validator() if is_text else None

    def feed(self, data: bytes, position: int) -> int:
        """Take what belongs to the frame from `position` on; the number of bytes taken.

        Raises:
            RemoteProtocolError: the text is not UTF-8. Nothing was taken; the same again raises the same.
        """
        masked = memoryview(data)[position : position + self.missing]
        size = len(masked)
        key = self._key
        part = unmask(masked, key)
        missing = self.missing - size
        if self._validator is not None:
            try:
                self._validator.decode(part, not missing)
            except UnicodeDecodeError:
                raise RemoteProtocolError(1007, "invalid UTF-8") from None
        self.missing = missing
        if turn := size & 3:
            self._key = key[turn:] + key[:turn]
        parts = self._parts
        if len(parts[-1]) < _SMALL:
            parts[-1] += part
        else:
            parts.append(part)
        return size

    def message(self) -> str | bytes | None:
        """The whole message once all of it is there."""
        if self.missing:
            return None
        payload = b"".join(self._parts)
        return payload if self._validator is None else payload.decode()
