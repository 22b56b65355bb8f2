"""Compression: which offers are taken (RFC 7692 §7.1), and that nothing comes out beyond the limit."""

from __future__ import annotations

import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercorn.protocols.events import Request
from hypercorn.protocols.websocket import Handshake, accept, read_handshake
from hypercorn.protocols.websocket.deflate import DeflateParameters, Deflater, Inflater
from hypercorn.protocols.websocket.frames import RemoteProtocolError

UNLIMITED = sys.maxsize - 1


def negotiated(offers: str, *, allowed: bool = True) -> str | None:
    fields = [
        (b"host", b"x"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-extensions", offers.encode()),
    ]
    handshake = read_handshake(Request(1, "2", "CONNECT", b"/", b"", fields, False, upgrade="websocket"))
    assert isinstance(handshake, Handshake)
    accepted = accept(handshake, None, [], per_message_deflate=allowed)
    answer = dict(accepted.fields).get(b"sec-websocket-extensions")
    assert (answer is None) == (accepted.deflate is None)
    return None if answer is None else answer.decode()


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            'permessage-deflate; client_max_window_bits="9"; server_max_window_bits=10',
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
        ),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
        ),
        ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=12"),
        # The second offer is the first that can be accepted.
        ("permessage-deflate; x, permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=09", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("x-webkit-deflate-frame", None),
    ],
)
def test_negotiation(offers: str, answer: str | None) -> None:
    assert negotiated(offers) == answer


def test_switched_off() -> None:
    assert negotiated("permessage-deflate", allowed=False) is None


@settings(deadline=None)
@given(
    messages=st.lists(st.binary(min_size=1, max_size=2000), max_size=6),
    bits=st.integers(9, 15),
    alone=st.booleans(),
    cut=st.integers(1, 100),
)
def test_round_trip(messages: list[bytes], bits: int, alone: bool, cut: int) -> None:
    deflater = Deflater(DeflateParameters(server_no_context_takeover=alone, server_max_window_bits=bits))
    inflater = Inflater(DeflateParameters(client_no_context_takeover=alone, client_max_window_bits=bits))
    for message in messages:
        compressed = deflater.compress(message)
        pieces = [compressed[at : at + cut] for at in range(0, len(compressed), cut)]
        assert (
            b"".join(inflater.feed(piece, UNLIMITED) for piece in pieces) + inflater.finish(UNLIMITED)
            == message
        )


def test_without_context_no_message_leans_on_another() -> None:
    deflater = Deflater(DeflateParameters(server_no_context_takeover=True))
    assert deflater.compress(b"abcabcabc") == deflater.compress(b"abcabcabc")
    keeping = Deflater(DeflateParameters())
    assert len(keeping.compress(b"abcabcabc")) > len(keeping.compress(b"abcabcabc"))


def test_a_bomb_is_stopped_at_the_limit() -> None:
    stream = zlib.compressobj(wbits=-15)
    bomb = stream.compress(bytes(50_000_000)) + stream.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(RemoteProtocolError) as caught:
        Inflater(DeflateParameters()).feed(bomb, 1000)
    assert caught.value.code == 1009


def test_exactly_the_limit_passes() -> None:
    stream = zlib.compressobj(wbits=-15)
    data = stream.compress(bytes(1000)) + stream.flush(zlib.Z_SYNC_FLUSH)
    inflater = Inflater(DeflateParameters())
    output = inflater.feed(data[:-4], 1000)
    assert output + inflater.finish(1000 - len(output)) == bytes(1000)


def test_final_blocks_within_messages() -> None:
    """RFC 7692 §7.2.3.4: BFINAL set, then an empty byte, then the next message."""
    inflater = Inflater(DeflateParameters())
    for _ in range(40):
        output = inflater.feed(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", UNLIMITED)
        assert output + inflater.finish(UNLIMITED) == b"Hello"


def test_a_flood_of_final_blocks() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Inflater(DeflateParameters()).feed(b"\x03\x00" * 1000, UNLIMITED)
    assert caught.value.code == 1008


def test_what_is_not_deflate() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Inflater(DeflateParameters()).feed(b"\xff\xff\xff", UNLIMITED)
    assert caught.value.code == 1007
