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


def test_the_compiled_function_is_taken() -> None:
    speedups = pytest.importorskip("websockets.speedups")
    assert frames.unmask is speedups.apply_mask
