"""A client's frames, as bytes: also those that no correct client would send."""

from __future__ import annotations

from collections.abc import Callable

import pytest

KEY = b"\x12\x34\x56\x78"

MakeFrame = Callable[..., bytes]


def make_frame(
    first: int, payload: bytes = b"", *, key: bytes = KEY, form: int = 0, masked: bool = True
) -> bytes:
    """One frame. `form` forces the length into 2 or 8 bytes."""
    size = len(payload)
    if form == 8 or size > 65535:
        length = bytes([127]) + size.to_bytes(8, "big")
    elif form == 2 or size > 125:
        length = bytes([126]) + size.to_bytes(2, "big")
    else:
        length = bytes([size])
    if not masked:
        return bytes([first]) + length + payload
    body = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes([first, length[0] | 128]) + length[1:] + key + body


@pytest.fixture(scope="session")
def frame() -> MakeFrame:
    """`frame(0x81, b"text")`: one masked frame with this first byte."""
    return make_frame
