"""The wire format of frames (RFC 6455 §5 and §7.4), as far as both lanes and the sending side share it.

It refuses to judge sequences of frames: that is the session's and wsproto's.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

#: The first byte of a frame: its message ends with it; the message is compressed (RFC 7692 §6).
FIN = 0x80
RSV1 = 0x40

#: The first byte of a frame that is a whole message, or a control frame, which always is.
WHOLE_TEXT = FIN | TEXT
WHOLE_BINARY = FIN | BINARY
WHOLE_CLOSE = FIN | CLOSE
WHOLE_PING = FIN | PING
WHOLE_PONG = FIN | PONG

#: The longest payload of a control frame (§5.5), and of a reason behind its code.
MAX_CONTROL = 125
MAX_REASON = MAX_CONTROL - 2

NO_CODE = 1005
ABNORMAL = 1006
TOO_BIG = 1009

#: From here on a payload is copied neither behind its head nor out of what was received: a view of it costs less.
LARGE = 16384

#: Up to here one exclusive-or of two integers is faster than four translations (measured).
_SHORT = 4096
_integer = int.from_bytes


class Close(NamedTuple):
    """The end of a WebSocket: the code and the reason that the application is told (§7.1.5, §7.1.6)."""

    code: int
    reason: str


class RemoteProtocolError(Exception):
    """The peer broke a rule: `code` and `reason` go into our Close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def encode(first: int, payload: bytes) -> bytes:
    """One unmasked frame: a server never masks (§5.1). `first` holds FIN, RSV and the opcode."""
    size = len(payload)
    if size < 126:
        return (first << 8 | size).to_bytes(2) + payload
    return _long_head(first, size) + payload


def encode_apart(first: int, payload: bytes) -> tuple[bytes, bytes]:
    """What `encode` gives, in two pieces: a large payload apart from its head, so that it need not be copied."""
    if len(payload) < LARGE:
        return encode(first, payload), b""
    return _long_head(first, len(payload)), payload


def _long_head(first: int, size: int) -> bytes:
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2)
    return bytes((first, 127)) + size.to_bytes(8)


def unmask_in_python(payload: bytes | memoryview, key: bytes) -> bytes:
    """`payload` without its mask (§5.3), as fast as plain Python can."""
    size = len(payload)
    if size <= _SHORT:
        mask = (key * ((size + 3) >> 2))[:size]
        return (_integer(payload) ^ _integer(mask)).to_bytes(size)
    plain = bytearray(size)
    for place, byte in enumerate(key):
        plain[place::4] = bytes(payload[place::4]).translate(_exclusive_or(byte))
    return bytes(plain)


@functools.cache
def _exclusive_or(byte: int) -> bytes:
    return bytes(other ^ byte for other in range(256))


if TYPE_CHECKING:
    unmask = unmask_in_python
else:
    try:
        # The compiled function of another package, where that is installed: up to fifty times faster.
        from websockets.speedups import apply_mask as unmask
    except ImportError:
        unmask = unmask_in_python


def may_be_sent(code: int) -> bool:
    """Whether a Close frame may carry `code` (§7.4 and the IANA registry of close codes)."""
    return 3000 <= code <= 4999 or 1000 <= code <= 1003 or 1007 <= code <= 1014


def encode_close(code: int, reason: str) -> bytes:
    """A Close frame; `NO_CODE` makes an empty one. A reason that is too long is cut between characters."""
    if code == NO_CODE:
        return encode(WHOLE_CLOSE, b"")
    text = reason.encode()
    if len(text) > MAX_REASON:
        text = text[:MAX_REASON].decode(errors="ignore").encode()
    return encode(WHOLE_CLOSE, code.to_bytes(2) + text)


def read_close(payload: bytes) -> Close:
    """The meaning of a Close frame's payload.

    Raises:
        RemoteProtocolError: half a code, a code that must not be sent, or a reason that is not UTF-8.
    """
    if not payload:
        return Close(NO_CODE, "")
    if len(payload) == 1:
        raise RemoteProtocolError(1002, "close frame with half a code")
    code = int.from_bytes(payload[:2], "big")
    if not may_be_sent(code):
        raise RemoteProtocolError(1002, "close frame with a code that must not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise RemoteProtocolError(1007, "close frame with a reason that is not UTF-8") from None


def ends_with_close(data: bytes) -> bool:
    """Whether the last bytes read as a masked Close frame; those of a masked payload do by chance, once in 30,000 reads."""
    tail = data[-(MAX_CONTROL + 6) :]
    start = tail.find(WHOLE_CLOSE)
    while 0 <= start <= len(tail) - 6:
        if tail[start + 1] == 128 | len(tail) - start - 6 and _is_close(tail[start + 2 :]):
            return True
        start = tail.find(WHOLE_CLOSE, start + 1)
    return False


def _is_close(masked: bytes) -> bool:
    """Whether this key, with what it masks, can stand in a Close frame. The code is looked at first, for it costs least."""
    if len(masked) > 5 and not may_be_sent((masked[0] ^ masked[4]) << 8 | masked[1] ^ masked[5]):
        return False
    try:
        read_close(unmask(masked[4:], masked[:4]))
    except RemoteProtocolError:
        return False
    return True
