"""Remembered and half-decoded header blocks mean what a full decoding says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercorn.protocols.http2.errors import ConnectionFault, MalformedMessage
from hypercorn.protocols.http2.field_decoder import FieldDecoder
from hypercorn.protocols.http2.request_blocks import RequestBlocks
from hypercorn.protocols.http2.requests import RequestHead, read_request

LIMIT = 500


def literal(index: int, value: bytes, prefix: int = 0x00) -> bytes:
    """A literal with an indexed name: not for the table (0x00), never (0x10) or for it (0x40)."""
    return bytes([prefix | index, len(value)]) + value


METHODS = st.sampled_from([b"\x82", b"\x83", literal(2, b"CONNECT"), literal(2, b"OPTIONS")])
PATHS = st.one_of(
    st.sampled_from([b"/", b"/a", b"/a?b", b"/a?b?c", b"*", b"", b"x", b"/\0", b"/" + b"y" * 120]).flatmap(
        lambda path: st.sampled_from([0x00, 0x10]).map(lambda prefix: literal(4, path, prefix))
    ),
    st.sampled_from([literal(4, b"/t", 0x40), b"\x84", literal(5, b"/n"), b"\x00\x05:path\x02/l"]),
)
TAILS = st.sampled_from(
    [
        b"\x86\x41\x01a",
        b"\x86" + literal(1, b"a"),
        b"\x86" + literal(1, b"a") + b"\x00\x01x\x01y",
        b"\x86" + literal(1, b"a") + b"\x40\x01x\x01y",
        b"\x86" + literal(1, b"a") + b"\xbe",
        b"\x86" + literal(1, b"a") + b"\x00\x01X\x01y",
        b"\x86" + literal(1, b"a") + literal(4, b"/second"),
        b"\x86" + literal(1, b"a") + b"\x00\x05big-b" + b"\x7f\x00" + b"z" * 127,
    ]
)
BLOCKS = st.one_of(st.tuples(METHODS, PATHS, TAILS).map(b"".join), st.binary(max_size=8))


def facts(head: RequestHead) -> tuple[object, ...]:
    return tuple(getattr(head, name) for name in RequestHead.__slots__)


@settings(max_examples=400, deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=12))
def test_requests_are_those_of_a_full_decoding(blocks: list[bytes]) -> None:
    clever, plain = RequestBlocks(LIMIT), FieldDecoder()
    for block in blocks:
        try:
            received = plain.decode(block, LIMIT)
        except ConnectionFault:
            with pytest.raises(ConnectionFault):
                clever.read(block)
            return
        if plain.is_oversized:
            assert clever.read(block) is None
            continue
        try:
            expected = read_request(received)
        except MalformedMessage:
            with pytest.raises(MalformedMessage):
                clever.read(block)
        else:
            head = clever.read(block)
            assert head is not None
            assert facts(head) == facts(expected)


def test_only_the_path_is_decoded() -> None:
    blocks = RequestBlocks(LIMIT)
    calls: list[bytes] = []
    tail = b"\x86" + literal(1, b"a")
    for path in (b"/1", b"/2", b"/3?q", b"/2"):
        head = blocks.read(b"\x82" + literal(4, path) + tail)
        assert head is not None
        calls.append(head.raw_path + b"|" + head.query)
    assert calls == [b"/1|", b"/2|", b"/3|q", b"/2|"]


@pytest.mark.parametrize("known", [b"/", b"/?", b"/a", b"/a?b"])
def test_a_similar_request_has_the_limit_of_any_other(known: bytes) -> None:
    """To the byte, with a query in the known path or not."""
    tail = b"\x86" + literal(1, b"a")
    longest = b"/" + b"y" * 20
    fields = [(b":method", b"GET"), (b":path", longest), (b":scheme", b"http"), (b":authority", b"a")]
    limit = sum(len(name) + len(value) + 32 for name, value in fields)
    for path, fits in ((longest, True), (longest + b"y", False)):
        blocks = RequestBlocks(limit)
        assert blocks.read(b"\x82" + literal(4, known) + tail) is not None
        assert (blocks.read(b"\x82" + literal(4, path) + tail) is not None) is fits
