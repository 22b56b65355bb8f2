"""HPACK, both halves, with the hpack library as the judge."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercorn.protocols.http2.errors import ConnectionFault
from hypercorn.protocols.http2.field_decoder import FieldDecoder
from hypercorn.protocols.http2.field_encoder import FieldEncoder

LIMIT = 65536

names = st.sampled_from(
    [b":method", b":path", b"accept", b"cookie", b"x", b"x-long-name-of-a-field", b"etag", b""]
)
values = st.one_of(
    st.sampled_from([b"GET", b"/", b"gzip, deflate", b"", b"a" * 300, b"b" * 5000]), st.binary(max_size=40)
)
fields = st.lists(st.tuples(names, values), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(fields, st.booleans(), st.sampled_from([None, 0, 64, 4096])), max_size=8))
def test_what_hpack_encodes_is_decoded(
    blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]],
) -> None:
    encoder, decoder = Encoder(), FieldDecoder()
    for section, huffman, table_size in blocks:
        if table_size is not None:
            encoder.header_table_size = table_size
        block = encoder.encode(section, huffman=huffman)
        before = decoder.changes
        assert decoder.decode(block, LIMIT) == section
        if decoder.changes == before:
            assert decoder.decode(block, LIMIT) == section


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(fields, st.lists(st.integers(0, 8192), max_size=3)), max_size=8))
def test_what_we_encode_hpack_decodes(blocks: list[tuple[list[tuple[bytes, bytes]], list[int]]]) -> None:
    encoder, judge = FieldEncoder(), Decoder(max_header_list_size=10**6)
    for section, sizes in blocks:
        for size in sizes:
            encoder.resize(size)
            judge.max_allowed_table_size = max(size, judge.max_allowed_table_size)
        before = encoder.changes
        block = encoder.encode(section)
        assert [tuple(field) for field in judge.decode(block, raw=True)] == section
        if encoder.changes == before:
            assert encoder.encode(section) == block


@settings(max_examples=400, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_arbitrary_blocks_mean_what_hpack_says(blocks: list[bytes]) -> None:
    decoder, judge = FieldDecoder(), Decoder(max_header_list_size=LIMIT)
    for block in blocks:
        try:
            expected = [tuple(field) for field in judge.decode(block, raw=True)]
        except HPACKError:
            with pytest.raises(ConnectionFault):
                decoder.decode(block, LIMIT)
            return
        try:
            assert decoder.decode(block, LIMIT) == expected
        except ConnectionFault:
            # Stricter than hpack: a size update behind a field (RFC 7541 §4.2).
            return


def test_a_list_that_is_too_large_keeps_the_tables_in_step() -> None:
    encoder, decoder = Encoder(), FieldDecoder()
    section = [(b"x-%d" % index, b"value") for index in range(20)]
    assert len(decoder.decode(encoder.encode(section), 200)) == 5
    assert decoder.is_oversized
    assert decoder.decode(encoder.encode(section), LIMIT) == section
    assert not decoder.is_oversized


def test_secrets_are_never_indexed() -> None:
    judge = Decoder()
    encoder = FieldEncoder()
    section = [(b"set-cookie", b"id=1"), (b"content-type", b"text/plain")]
    first = judge.decode(encoder.encode(section), raw=True)
    assert [field.indexable for field in first] == [False, True]
    assert len(encoder.encode(section)) < 12


def test_lowest_and_last_table_size_are_told() -> None:
    encoder = FieldEncoder()
    encoder.encode([(b"a", b"b")])
    for size in (100, 0, 4096):
        encoder.resize(size)
    assert encoder.encode([(b"a", b"b")])[:4] == b"\x20\x3f\xe1\x1f"


def test_indices_beyond_one_byte() -> None:
    encoder, judge = FieldEncoder(), Decoder()
    section = [(b"n%d" % index, b"v") for index in range(100)]
    for _ in range(2):
        assert [tuple(field) for field in judge.decode(encoder.encode(section), raw=True)] == section
    assert len(encoder.encode(section)) < 150


@pytest.mark.parametrize(
    "block", [b"\xff\xff\xff\xff\xff\x7f", b"\x3f\xff\xff\xff\xff\x0f", b"\x00\x7f\xff\xff\xff\xff\x07"]
)
def test_integers_that_are_too_large(block: bytes) -> None:
    with pytest.raises(ConnectionFault):
        FieldDecoder().decode(block, LIMIT)
