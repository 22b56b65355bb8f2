"""The session: both lanes against wsproto, limits and back-pressure."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping

from hypercorn.protocols.engine import Closing
from hypercorn.protocols.websocket import Close, SessionParameters
from hypercorn.protocols.websocket.deflate import DeflateParameters, Deflater

from .sessions import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    MakeFrame,
    drained,
    received,
    send,
    session,
)

# ---- one meaning


class Reference:
    """What wsproto says about the same bytes."""

    def __init__(self, data: bytes) -> None:
        self.messages: list[str | bytes] = []
        self.pings: list[bytes] = []
        self.close: int | None = None
        connection = Connection(ConnectionType.SERVER)
        connection.receive_data(data)
        parts: list[str | bytes] = []
        for event in connection.events():
            if isinstance(event, Message):
                parts.append(event.data)
                if event.message_finished:
                    self.messages.append(type(parts[0])().join(parts))  # type: ignore[arg-type]
                    parts = []
            elif isinstance(event, Ping):
                self.pings.append(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                self.close = int(event.code)
                break


payloads = st.one_of(
    st.binary(max_size=140),
    st.text(max_size=40).map(str.encode),
    st.sampled_from(
        [b"", b"\x03\xe8", b"\x03", b"\x03\xed", b"\x0f\xa0bye", b"\x03\xe8\xff", "€".encode()[:2]]
    ),
)
first_bytes = st.one_of(
    st.sampled_from([TEXT, TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE]),
    st.sampled_from([0x01, 0x02, 0x00, 0x09, 0xC1, 0xA2, 0x83, 0x8B]),
)


@st.composite
def frame_bytes(draw: st.DrawFn, make: MakeFrame) -> bytes:
    return make(
        draw(first_bytes),
        draw(payloads),
        key=draw(st.binary(min_size=4, max_size=4)),
        form=draw(st.sampled_from([0, 0, 0, 0, 2, 8])),
        masked=draw(st.sampled_from([True] * 9 + [False])),
    )


@settings(deadline=None)
@given(data=st.data())
def test_the_same_meaning_as_wsproto_whole_or_cut(frame: MakeFrame, data: st.DataObject) -> None:
    stream = b"".join(data.draw(st.lists(frame_bytes(frame), max_size=8)))
    stream = stream[: data.draw(st.integers(0, len(stream)))]
    expected = Reference(stream)
    for cut in (0, 1, data.draw(st.integers(2, 40))):
        ws = session()
        got = received(ws, stream, cut)
        close = got.pop() if got and isinstance(got[-1], Close) else None
        assert got == expected.messages
        assert (close.code if close else None) == expected.close
        output = ws.data_to_send(0.0)
        assert pongs_of(output) == expected.pings
        assert ws.taken == len(stream)


@pytest.mark.parametrize("cut", [0, 3, 1000, 65536])
@pytest.mark.parametrize("size", [125, 126, 4096, 5001, 65535, 65536])
def test_frames_of_all_sizes_whole_and_in_parts(frame: MakeFrame, size: int, cut: int) -> None:
    numbers = random.Random(size)
    binary = numbers.randbytes(size)
    text = "".join(numbers.choices("aé€😀", k=size))
    stream = b"".join(
        frame(first, payload, key=numbers.randbytes(4))
        for first, payload in ((BINARY, binary), (PING, b"x"), (TEXT, text.encode()), (BINARY, binary))
    )
    ws = session(SessionParameters(max_message_size=300_000, max_queued_messages=100))
    assert received(ws, stream, cut) == [binary, text, binary]
    assert ws.taken == len(stream)
    assert pongs_of(ws.data_to_send(0.0)) == [b"x"]


def test_text_that_is_bad_in_its_second_part(frame: MakeFrame) -> None:
    whole = frame(TEXT, "€".encode() * 1000 + b"\xe2\x82" + b"a" * 1000)
    ws = session()
    ws.receive_data(whole[:2001], 0.0)
    assert drained(ws) == []
    ws.receive_data(whole[2001:3100], 0.0)
    assert drained(ws) == [Close(1007, "invalid UTF-8")]


def test_text_that_ends_within_a_character(frame: MakeFrame) -> None:
    whole = frame(TEXT, b"a" * 1000 + b"\xe2\x82")
    assert received(session(), whole, 500) == [Close(1007, "invalid UTF-8")]


def test_one_whole_plain_message_and_nothing_else(frame: MakeFrame) -> None:
    for payload in (b"", b"x" * 125, b"x" * 126, b"x" * 60_000):
        ws = session()
        assert ws.receive_plain(frame(BINARY, payload))
        assert drained(ws) == [payload]
        assert ws.taken == 0
    assert not session(SessionParameters(max_message_size=10)).receive_plain(frame(BINARY, b"x" * 11))


@pytest.mark.parametrize(
    "make",
    [
        lambda frame: b"",
        lambda frame: frame(BINARY, b"abc")[:-1],
        lambda frame: frame(BINARY, b"abc") + b"\x81",
        lambda frame: frame(BINARY, b"abc", form=2),
        lambda frame: frame(BINARY, b"abc", form=8),
        lambda frame: frame(BINARY, b"abc" * 100, form=8),
        lambda frame: frame(BINARY, b"abcdef", masked=False),
        lambda frame: frame(TEXT, b"\xff"),
        lambda frame: frame(0x01, b"a fragment"),
        lambda frame: frame(CONTINUATION, b"its end"),
        lambda frame: frame(0xC2, b"compressed"),
        lambda frame: frame(PING, b""),
        lambda frame: frame(CLOSE, b""),
        lambda frame: b"\x82\x7f123",
    ],
)
def test_what_is_not_one_whole_plain_message_is_left_alone(
    frame: MakeFrame, make: Callable[[MakeFrame], bytes]
) -> None:
    ws = session()
    assert not ws.receive_plain(make(frame))
    assert drained(ws) == []
    assert ws.state.can_send


def test_a_whole_message_waits_for_what_stands_before_it(frame: MakeFrame) -> None:
    whole = frame(BINARY, b"abc")
    for before in (whole, frame(0x01, b"a fragment"), b"\x82"):
        ws = session()
        ws.receive_data(before, 0.0)
        assert not ws.receive_plain(whole)
    closed = session()
    closed.close(1000, "", 0.0)
    assert not closed.receive_plain(whole)


@pytest.mark.parametrize("first", [TEXT, BINARY])
def test_further_parts_of_a_large_message(frame: MakeFrame, first: int) -> None:
    text = "aé€😀" * 2000
    whole = frame(first, text.encode())
    for cut in (1, 777, 9001):
        ws = session()
        ws.receive_data(whole[:20], 0.0)
        for at in range(20, len(whole) - 10, cut):
            assert ws.receive_plain(whole[at : min(at + cut, len(whole) - 10)])
            assert not ws.queue
        assert not ws.receive_plain(whole[-10:] + b"\x89")
        assert ws.receive_plain(whole[-10:])
        assert drained(ws) == [text if first == TEXT else text.encode()]


def test_a_bad_further_part_is_left_alone_and_then_refused(frame: MakeFrame) -> None:
    whole = frame(TEXT, b"a" * 1000 + b"\xff" + b"a" * 100)
    ws = session()
    ws.receive_data(whole[:20], 0.0)
    assert ws.receive_plain(whole[20:500])
    assert not ws.receive_plain(whole[500:])
    assert drained(ws) == []
    ws.receive_data(whole[500:], 0.0)
    assert drained(ws) == [Close(1007, "invalid UTF-8")]


def pongs_of(output: bytes) -> list[bytes]:
    pongs = []
    while output:
        size = output[1]
        assert size < 126
        if output[0] == PONG:
            pongs.append(output[2 : 2 + size])
        output = output[2 + size :]
    return pongs


@settings(deadline=None)
@given(
    messages=st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300)), max_size=6),
    compressed=st.lists(st.booleans(), min_size=6, max_size=6),
    fragments=st.lists(st.integers(1, 4), min_size=6, max_size=6),
    cut=st.integers(0, 60),
)
def test_compressed_messages_whole_fragmented_and_cut(
    frame: MakeFrame, messages: list[str | bytes], compressed: list[bool], fragments: list[int], cut: int
) -> None:
    agreed = DeflateParameters()
    deflater = Deflater(agreed)
    stream = b""
    for message, is_compressed, count in zip(messages, compressed, fragments, strict=False):
        payload = message.encode() if isinstance(message, str) else message
        first = 0x01 if isinstance(message, str) else 0x02
        if is_compressed and payload:
            payload, first = deflater.compress(payload), first | 0x40
        step = max(1, -(-len(payload) // count))
        pieces = [payload[at : at + step] for at in range(0, len(payload), step)] or [b""]
        for number, piece in enumerate(pieces):
            fin = 0x80 if number == len(pieces) - 1 else 0
            stream += frame((first if number == 0 else 0) | fin, piece)
            stream += frame(PING, b"between")
    assert received(session(deflate=agreed), stream, cut) == messages


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=400), st.binary(max_size=400)), max_size=5), st.booleans())
@example([b"x" * 65536], False)
@example([b"x" * 125, b"x" * 126, b"x" * 65535, b"x" * 65536, "y" * 70000], True)
def test_what_is_sent_is_what_a_client_reads(messages: list[str | bytes], is_compressed: bool) -> None:
    from wsproto.extensions import PerMessageDeflate

    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate")
    client = Connection(ConnectionType.CLIENT, [extension] if is_compressed else [])
    ws = session(deflate=DeflateParameters() if is_compressed else None)
    for message in messages:
        send(ws, message)
    client.receive_data(ws.data_to_send(0.0))
    assert joined(list(client.events())) == messages


def joined(events: list[Event]) -> list[str | bytes]:
    messages: list[str | bytes] = []
    parts: list[str | bytes] = []
    for event in events:
        assert isinstance(event, Message)
        parts.append(event.data)
        if event.message_finished:
            messages.append(type(parts[0])().join(parts))  # type: ignore[arg-type]
            parts = []
    return messages


# ---- limits


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("first", [0x81, 0x82])
def test_the_largest_message_and_one_byte_more(frame: MakeFrame, first: int, cut: int) -> None:
    parameters = SessionParameters(max_message_size=200)
    assert len(received(session(parameters), frame(first, b"a" * 200), cut)) == 1
    ws = session(parameters)
    assert received(ws, frame(first, b"a" * 201), cut) == [Close(1009, "message too big")]
    assert ws.data_to_send(0.0).startswith(b"\x88\x11\x03\xf1")
    assert ws.closing is Closing.OPEN  # the peer may still be sending it
    assert received(ws, frame(0x81, b"more") + frame(CLOSE, b"\x03\xf1"), cut * 20) == []
    assert ws.closing is Closing.AFTER_FLUSH


def test_an_announced_size_is_refused_before_it_arrives() -> None:
    ws = session()
    ws.receive_data(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0", 0.0)
    assert drained(ws) == [Close(1009, "message too big")]


def test_fragments_count_together(frame: MakeFrame) -> None:
    parameters = SessionParameters(max_message_size=10)
    data = frame(0x02, b"12345") + frame(0x00, b"67890") + frame(0x80, b"")
    assert received(session(parameters), data) == [b"1234567890"]
    data = frame(0x02, b"12345") + frame(0x00, b"67890") + frame(0x80, b"!")
    assert received(session(parameters), data) == [Close(1009, "message too big")]


@pytest.mark.parametrize("cut", [0, 50])
def test_a_compressed_bomb(frame: MakeFrame, cut: int) -> None:
    stream = zlib.compressobj(wbits=-15)
    bomb = stream.compress(bytes(20_000_000)) + stream.flush(zlib.Z_SYNC_FLUSH)
    ws = session(deflate=DeflateParameters())
    assert received(ws, frame(0xC2, bomb[:-4]), cut) == [Close(1009, "message too big")]


def test_bad_text_is_refused_before_its_end(frame: MakeFrame) -> None:
    ws = session()
    ws.receive_data(frame(0x81, b"ok \xff and a long rest")[:12], 0.0)
    assert drained(ws) == [Close(1007, "invalid UTF-8")]


def test_compressed_text_that_is_not_text(frame: MakeFrame) -> None:
    payload = Deflater(DeflateParameters()).compress(b"\xff" * 200)
    for cut in (0, 3):
        ws = session(deflate=DeflateParameters())
        assert received(ws, frame(0xC1, payload), cut) == [Close(1007, "invalid UTF-8")]


# ---- back-pressure


def test_reading_stops_at_a_full_queue(frame: MakeFrame) -> None:
    ws = session(SessionParameters(max_queued_messages=2))
    one = frame(TEXT, b"a")
    ws.receive_data(one * 3, 0.0)
    assert ws.taken == 2 * len(one)
    ws.receive_data(one + frame(CLOSE), 0.0)
    assert ws.taken == 2 * len(one)
    assert drained(ws) == ["a"] * 4 + [Close(1005, "")]
    assert ws.taken == 4 * len(one) + 6


def test_reading_stops_in_the_other_lane_too(frame: MakeFrame) -> None:
    ws = session(SessionParameters(max_queued_messages=2))
    message = frame(0x01, b"a") + frame(0x80, b"b")
    ws.receive_data(message * 5, 0.0)
    ws.receive_data(message * 5, 0.0)
    assert ws.taken <= 5 * len(message)
    assert drained(ws) == ["ab"] * 10
    assert ws.taken == 10 * len(message)


def test_many_bytes_stop_reading_as_many_messages_do(frame: MakeFrame) -> None:
    ws = session()
    one = frame(BINARY, bytes(40_000))
    ws.receive_data(one * 4, 0.0)
    assert ws.taken == 2 * len(one)
    assert len(drained(ws)) == 4


def test_a_stalled_end_of_the_stream(frame: MakeFrame) -> None:
    ws = session(SessionParameters(max_queued_messages=1))
    ws.receive_data(frame(TEXT, b"a") * 3, 0.0)
    ws.receive_eof(0.0)
    assert drained(ws) == ["a", "a", "a", Close(1006, "")]


@pytest.mark.parametrize("close", [b"", b"\x0f\xa1bye"])
def test_a_lost_connection_gives_what_came_before(frame: MakeFrame, close: bytes) -> None:
    """Reading stands still behind pongs that nobody will ever take."""
    ws = session(SessionParameters(max_queued_messages=2))
    ws.receive_data(frame(TEXT, b"a") + frame(PING, b"x" * 125) * 600 + frame(TEXT, b"b") * 5, 0.0)
    if close:
        ws.receive_data(frame(CLOSE, close), 0.0)
    assert ws.next_message(0.0) == "a"
    assert ws.next_message(0.0) is None
    ws.connection_lost(0.0)
    assert not ws.state.can_send
    assert drained(ws) == ["b"] * 5 + [Close(4001, "bye") if close else Close(1006, "")]
    assert ws.data_to_send(0.0) == b""


def test_a_lost_connection_after_our_close(frame: MakeFrame) -> None:
    ws = session(SessionParameters(max_queued_messages=1))
    ws.receive_data(frame(TEXT, b"a") * 3, 0.0)
    ws.close(1000, "", 0.0)
    ws.receive_data(frame(TEXT, b"b"), 0.0)
    ws.connection_lost(0.0)
    assert drained(ws) == ["a", Close(1006, "")]


def test_pongs_that_nobody_takes_stop_reading(frame: MakeFrame) -> None:
    ws = session()
    ping = frame(PING, b"x" * 125)
    ws.receive_data(ping * 2000, 0.0)
    assert ws.unsent < 70_000
    assert ws.next_message(0.0) is None
    assert ws.unsent < 70_000
    total = 0
    while data := ws.data_to_send(0.0):
        total += len(data)
    assert total == 2000 * 127
    assert ws.taken == 2000 * len(ping)


def test_closing_reads_on_to_the_answer(frame: MakeFrame) -> None:
    ws = session(SessionParameters(max_queued_messages=1))
    ws.receive_data(frame(TEXT, b"a") * 3 + frame(CLOSE, b"\x03\xe8"), 0.0)
    ws.close(1000, "", 0.0)
    assert ws.closing is Closing.AFTER_FLUSH


def test_the_fast_lane_goes_on_behind_a_slow_frame(frame: MakeFrame) -> None:
    ws = session()
    one = frame(TEXT, b"abc")
    stream = one * 100
    ws.receive_data(stream[:5], 0.0)
    ws.receive_data(stream[5:-2], 0.0)
    ws.receive_data(stream[-2:], 0.0)
    assert drained(ws) == ["abc"] * 100
    assert ws.taken == len(stream)
