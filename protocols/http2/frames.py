"""Frame types, flags and settings of RFC 9113, RFC 8441 and RFC 9218, and how frames are written.

What is read is taken apart where it is used (`receiving.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9
PRIORITY_UPDATE = 0x10

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

SETTINGS_HEADER_TABLE_SIZE = 0x1
SETTINGS_ENABLE_PUSH = 0x2
SETTINGS_MAX_CONCURRENT_STREAMS = 0x3
SETTINGS_INITIAL_WINDOW_SIZE = 0x4
SETTINGS_MAX_FRAME_SIZE = 0x5
SETTINGS_MAX_HEADER_LIST_SIZE = 0x6
SETTINGS_ENABLE_CONNECT_PROTOCOL = 0x8
SETTINGS_NO_RFC7540_PRIORITIES = 0x9

MAX_WINDOW = 2**31 - 1
MAX_STREAM_ID = 2**31 - 1
DEFAULT_WINDOW = 65535
DEFAULT_FRAME_SIZE = 16384
MAX_FRAME_SIZE = 2**24 - 1

#: Length (24 bits, as 16 and 8), type, flags, stream: `unpack_from` gives all five.
FRAME_HEAD = struct.Struct(">HBBBL")
SETTING = struct.Struct(">HL")
WORD = struct.Struct(">L")
TWO_WORDS = struct.Struct(">LL")

_pack_head = FRAME_HEAD.pack


def frame_head(size: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of `size` bytes."""
    return _pack_head(size >> 8, size & 0xFF, kind, flags, stream_id)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(SETTING.pack(*pair) for pair in values)
    return frame_head(len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK = frame_head(0, SETTINGS, ACK, 0)


def ping(payload: bytes, flags: int = 0) -> bytes:
    """A PING frame; `payload` has eight bytes."""
    return frame_head(8, PING, flags, 0) + payload


def rst_stream(stream_id: int, code: int) -> bytes:
    """An RST_STREAM frame."""
    return frame_head(4, RST_STREAM, 0, stream_id) + WORD.pack(code)


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame_head(4, WINDOW_UPDATE, 0, stream_id) + WORD.pack(increment)


def goaway(last_stream_id: int, code: int, reason: str = "") -> bytes:
    """A GOAWAY frame, with `reason` as its debug data."""
    text = reason.encode("ascii", "replace")[:256]
    return frame_head(8 + len(text), GOAWAY, 0, 0) + TWO_WORDS.pack(last_stream_id, code) + text


def field_block(kind: int, flags: int, stream_id: int, block: bytes, max_size: int) -> list[bytes]:
    """HEADERS or PUSH_PROMISE with its CONTINUATION frames, as a list that begins with a frame head."""
    if len(block) <= max_size:
        return [frame_head(len(block), kind, flags | END_HEADERS, stream_id), block]
    parts = [frame_head(max_size, kind, flags, stream_id), block[:max_size]]
    for start in range(max_size, len(block), max_size):
        piece = block[start : start + max_size]
        last = END_HEADERS if start + max_size >= len(block) else 0
        parts += (frame_head(len(piece), CONTINUATION, last, stream_id), piece)
    return parts
