"""Unmasking: with the compiled function where it is installed, and without it."""

from __future__ import annotations

import random

import pytest

from hypercorn.protocols.websocket import frames

SIZES = (0, 1, 2, 3, 4, 5, 64, 125, 4095, 4096, 4097, 4098, 4099, 4100, 65537)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("unmask", [frames.unmask, frames.unmask_in_python])
def test_each_byte_meets_its_byte_of_the_key(unmask: object, size: int) -> None:
    assert callable(unmask)
    numbers = random.Random(size)
    payload, key = numbers.randbytes(size), numbers.randbytes(4)
    wanted = bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))
    for given in (payload, memoryview(b"123" + payload)[3:]):
        plain = unmask(given, key)
        assert type(plain) is bytes
        assert plain == wanted


@pytest.mark.parametrize("size", [0, 125, 126, 16383, 16384, 65535, 65536])
def test_in_two_pieces_a_frame_is_the_same(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    frame, rest = frames.encode_apart(frames.FIN | frames.BINARY, payload)
    assert frame + rest == frames.encode(frames.FIN | frames.BINARY, payload)
    assert rest is (payload if size >= frames.LARGE else b"")


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xf1" + 123 * b"x"])
def test_a_close_frame_at_the_end_is_seen(payload: bytes) -> None:
    key = b"\x88\x82\0\xff"
    close = bytes((0x88, 128 | len(payload))) + key + frames.unmask(payload, key)
    assert frames.ends_with_close(close)
    assert frames.ends_with_close(b"\x88\x80" + close)
    assert not frames.ends_with_close(close[:-1])
    assert not frames.ends_with_close(close[1:])


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x03\xe8\xff"])
def test_one_that_nobody_may_send_is_none(payload: bytes) -> None:
    assert not frames.ends_with_close(bytes(200) + bytes((0x88, 128 | len(payload), 0, 0, 0, 0)) + payload)


def test_the_compiled_function_is_taken() -> None:
    speedups = pytest.importorskip("websockets.speedups")
    assert frames.unmask is speedups.apply_mask
