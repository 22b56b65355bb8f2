"""The session: both lanes against wsproto, limits, ends and back-pressure."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping

from hypercorn.protocols.engine import Closing, LocalProtocolError
from hypercorn.protocols.websocket import Close, SessionParameters, WebSocketSession
from hypercorn.protocols.websocket.deflate import DeflateParameters, Deflater

MakeFrame = Callable[..., bytes]
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x81, 0x82, 0x80, 0x88, 0x89, 0x8A
ROOMY = SessionParameters(max_message_size=100_000, max_queued_messages=10_000)


def session(
    parameters: SessionParameters = ROOMY, deflate: DeflateParameters | None = None
) -> WebSocketSession:
    return WebSocketSession(parameters, deflate, 0.0)


def received(ws: WebSocketSession, data: bytes, cut: int = 0) -> list[str | bytes | Close]:
    """All that the application gets of `data`, which arrives in pieces of `cut` bytes."""
    step = cut or max(1, len(data))
    for at in range(0, len(data), step):
        ws.receive_data(data[at : at + step], 0.0)
    return drained(ws)


def send(ws: WebSocketSession, message: str | bytes) -> None:
    ws.send_frame(*ws.encode(message))


def drained(ws: WebSocketSession) -> list[str | bytes | Close]:
    messages = []
    while (message := ws.next_message(0.0)) is not None or ws.wants_turn:
        if message is not None:
            messages.append(message)
        elif ws.wants_turn:
            ws.wants_turn = False
            ws.next_turn(0.0)
    return messages


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


def test_who_has_sent_all_of_a_message_that_is_too_big_is_not_waited_for(frame: MakeFrame) -> None:
    parameters = SessionParameters(max_message_size=200)
    big, close = frame(0x81, b"a" * 201), frame(CLOSE, b"\x03\xe8")
    ws = session(parameters)
    ws.receive_data(big + close, 0.0)
    assert ws.closing is Closing.AFTER_FLUSH
    ws = session(parameters)
    ws.receive_data(frame(0x81, b"before") + big, 0.0)
    ws.receive_data(close, 0.0)  # while that one waits for the application
    assert drained(ws) == ["before", Close(1009, "message too big")]
    assert ws.closing is Closing.AFTER_FLUSH
    ws = session(parameters)
    ws.receive_data(big, 0.0)
    ws.receive_eof(0.0)
    assert ws.closing is Closing.AFTER_FLUSH


def test_nor_is_who_sends_on_and_on(frame: MakeFrame) -> None:
    ws = session(SessionParameters(max_message_size=200))
    ws.receive_data(frame(0x81, b"a" * 201), 1.0)
    assert drained(ws) == [Close(1009, "message too big")]
    assert ws.data_to_send(1.0)
    size = ws.taken
    ws.receive_data(bytes(1000), 2.9)
    assert (ws.taken - size, ws.deadline, ws.closing) == (1000, 3.0, Closing.OPEN)
    ws.handle_deadline(3.0)
    assert ws.closing is Closing.AFTER_FLUSH
    assert drained(ws) == []


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


# ---- the end


def test_the_clients_code_and_reason(frame: MakeFrame) -> None:
    ws = session()
    assert received(ws, frame(CLOSE, b"\x0f\xa1bye")) == [Close(4001, "bye")]
    assert ws.data_to_send(0.0) == b"\x88\x05\x0f\xa1bye"
    assert ws.closing is Closing.AFTER_FLUSH
    assert not ws.state.can_send
    ws.receive_data(b"ignored", 0.0)
    assert drained(ws) == []


def test_a_close_without_a_code(frame: MakeFrame) -> None:
    ws = session()
    assert received(ws, frame(CLOSE)) == [Close(1005, "")]
    assert ws.data_to_send(0.0) == b"\x88\x00"


def test_the_end_of_the_stream_without_a_close(frame: MakeFrame) -> None:
    ws = session()
    ws.receive_data(frame(TEXT, b"last"), 0.0)
    ws.receive_eof(0.0)
    assert drained(ws) == ["last", Close(1006, "")]


def test_a_close_waits_for_what_came_before_it(frame: MakeFrame) -> None:
    ws = session()
    ws.receive_data(frame(TEXT, b"question") + frame(CLOSE, b"\x03\xe8"), 1.0)
    assert ws.next_message(1.0) == "question"
    send(ws, "answer")
    assert ws.next_message(1.0) == Close(1000, "")
    assert ws.data_to_send(1.0) == b"\x81\x06answer\x88\x02\x03\xe8"


def test_a_close_does_not_wait_for_ever(frame: MakeFrame) -> None:
    ws = session()
    ws.receive_data(frame(TEXT, b"question") + frame(CLOSE, b"\x03\xe8"), 1.0)
    assert 1.0 < ws.deadline <= 5.0
    ws.handle_deadline(ws.deadline)
    assert ws.data_to_send(5.0) == b"\x88\x02\x03\xe8"
    assert drained(ws) == ["question", Close(1000, "")]


def test_a_ping_that_is_due_does_not_cut_short_how_long_a_close_waits(frame: MakeFrame) -> None:
    ws = session(SessionParameters(ping_interval=1.0))
    ws.receive_data(frame(TEXT, b"question") + frame(CLOSE, b"\x03\xe8"), 0.9)
    assert ws.next_message(0.9) == "question"
    assert ws.deadline > 1.9
    send(ws, "answer")
    assert ws.next_message(1.1) == Close(1000, "")
    assert ws.data_to_send(1.1) == b"\x81\x06answer\x88\x02\x03\xe8"


@pytest.mark.parametrize(("end", "code"), [((CLOSE, b"\x03\xe8"), 1000), ((0xF1, b"bad"), 1002)])
@pytest.mark.parametrize("queued", [1, 10])
def test_an_end_waits_for_the_reply_in_progress(
    frame: MakeFrame, end: tuple[int, bytes], code: int, queued: int
) -> None:
    ws = session(SessionParameters(max_queued_messages=queued))
    for at in range(3):
        ws.receive_data(frame(TEXT, b"question") + (b"" if at < 2 else frame(*end)), 0.0)
    for _ in range(3):
        assert ws.next_message(0.0) == "question"
    assert ws.state.can_send
    send(ws, "answer")
    close = ws.next_message(0.0)
    assert isinstance(close, Close)
    assert close.code == code
    assert ws.data_to_send(0.0).startswith(b"\x81\x06answer\x88")


def test_a_close_does_not_wait_for_more_of_a_reply_that_has_begun(frame: MakeFrame) -> None:
    """Who closes in the middle of it does not want the rest."""
    ws = session()
    ws.receive_data(frame(TEXT, b"subscribe"), 0.0)
    assert ws.next_message(0.0) == "subscribe"
    ws.send_frame(*ws.encode("news"))
    ws.receive_data(frame(CLOSE, b"\x03\xe8enough"), 0.0)
    assert not ws.state.can_send
    assert ws.data_to_send(0.0) == b"\x81\x04news\x88\x08\x03\xe8enough"


def test_the_end_that_was_told_may_be_sent_back(frame: MakeFrame) -> None:
    """Frameworks do so, and nothing is open any more: not even a code that must not be sent is a mistake."""
    ws = session()
    ws.receive_eof(0.0)
    assert drained(ws) == [Close(1006, "")]
    ws.close(1006, "", 0.0)
    assert ws.data_to_send(0.0) == b""


@pytest.mark.parametrize("has_asked", [False, True])
def test_a_close_does_not_wait_for_an_application_that_awaits_it_or_never_does(
    frame: MakeFrame, has_asked: bool
) -> None:
    ws = session()
    ws.receive_data(frame(TEXT, b"question"), 0.0)
    assert ws.next_message(0.0) == "question"
    if has_asked:
        assert ws.next_message(0.0) is None
    ws.receive_data(frame(CLOSE, b"\x03\xe8"), 1.0)
    assert ws.state.can_send is not has_asked
    if not has_asked:
        assert 1.0 < ws.deadline <= 5.0
        ws.handle_deadline(ws.deadline)
    assert ws.data_to_send(5.0) == b"\x88\x02\x03\xe8"
    assert drained(ws) == [Close(1000, "")]


def test_an_end_that_waits_is_carried_out_at_the_end_of_the_stream(frame: MakeFrame) -> None:
    ws = session()
    ws.receive_data(frame(TEXT, b"a") + frame(CLOSE, b"\x03\xe9"), 0.0)
    ws.receive_eof(0.0)
    assert drained(ws) == ["a", Close(1001, "")]


def test_closing_while_an_end_waits(frame: MakeFrame) -> None:
    ws = session()
    ws.receive_data(frame(TEXT, b"a") + frame(CLOSE, b"\x03\xe9"), 0.0)
    ws.close(4000, "mine", 0.0)
    assert ws.data_to_send(0.0) == b"\x88\x06\x0f\xa0mine"
    assert ws.closing is Closing.AFTER_FLUSH


def test_our_close_is_answered(frame: MakeFrame) -> None:
    ws = session()
    ws.close(4000, "done", 1.0)
    assert ws.data_to_send(1.0) == b"\x88\x06\x0f\xa0done"
    ws.close(4001, "again", 1.0)
    assert ws.data_to_send(1.0) == b""
    assert received(ws, frame(TEXT, b"dropped") + frame(PING) + frame(CLOSE, b"\x0f\xa0")) == [
        Close(4000, "")
    ]
    assert ws.closing is Closing.AFTER_FLUSH
    assert ws.data_to_send(1.0) == b""


def test_our_close_is_not_answered() -> None:
    ws = session()
    ws.close(1000, "", 1.0)
    ws.data_to_send(1.0)
    assert ws.deadline == 11.0
    ws.handle_deadline(11.0)
    assert ws.closing is Closing.AFTER_FLUSH  # what was sent may still be on its way to a slow reader
    assert ws.data_to_send(11.0) == b""
    assert [close.code for close in drained(ws) if isinstance(close, Close)] == [1006]


def test_our_close_is_not_taken() -> None:
    ws = session()
    ws.close(1000, "", 1.0)
    ws.handle_deadline(11.0)
    assert ws.closing is Closing.ABORT


def test_a_server_that_stops_tells_both_sides(frame: MakeFrame) -> None:
    ws = session()
    ws.close(1012, "", 1.0, tell=True)
    assert drained(ws) == [Close(1012, "")]
    assert ws.ended == Close(1012, "")
    assert received(ws, frame(CLOSE, b"\x03\xe8")) == []
    assert ws.closing is Closing.AFTER_FLUSH


def test_a_server_that_stops_tells_an_application_that_has_closed(frame: MakeFrame) -> None:
    ws = session()
    ws.close(4000, "enough", 1.0)
    assert drained(ws) == []
    ws.close(1012, "", 2.0, tell=True)
    assert drained(ws) == [Close(4000, "enough")]
    ws.close(1001, "", 3.0, tell=True)
    assert received(ws, frame(CLOSE, b"\x03\xe8")) == []
    assert ws.closing is Closing.AFTER_FLUSH


def test_our_close_without_a_code_and_with_a_long_reason() -> None:
    ws = session()
    ws.close(1005, "", 0.0)
    assert ws.data_to_send(0.0) == b"\x88\x00"
    ws = session()
    ws.close(1000, "€" * 50, 0.0)
    assert ws.data_to_send(0.0) == b"\x88\x7d\x03\xe8" + ("€" * 41).encode()


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 2999, 5000])
def test_codes_that_must_not_be_sent(code: int) -> None:
    ws = session()
    with pytest.raises(LocalProtocolError):
        ws.close(code, "", 0.0)
    assert ws.state.can_send


def test_text_that_is_no_text() -> None:
    ws = session()
    with pytest.raises(LocalProtocolError):
        send(ws, "\ud800")
    with pytest.raises(LocalProtocolError):
        ws.close(1000, "\ud800", 0.0)
    assert ws.state.can_send
    assert ws.data_to_send(0.0) == b""


@pytest.mark.parametrize(
    ("payload", "code"), [(b"\x03", 1002), (b"\x03\xe8\xff", 1007), (b"\x03\xed", 1002), (b"\x03\xf6", 1014)]
)
@pytest.mark.parametrize("cut", [0, 1])
def test_close_frames_are_judged(frame: MakeFrame, payload: bytes, code: int, cut: int) -> None:
    (close,) = received(session(), frame(CLOSE, payload), cut)
    assert isinstance(close, Close)
    assert close.code == code


@pytest.mark.parametrize("first", [0xC1, 0xC2, 0xA1, 0x91])
def test_reserved_bits_that_were_not_agreed_on(frame: MakeFrame, first: int) -> None:
    (close,) = received(session(), frame(first, b"a"))
    assert isinstance(close, Close)
    assert close.code == 1002


def test_a_violation_instead_of_an_answer(frame: MakeFrame) -> None:
    ws = session()
    ws.close(1000, "", 0.0)
    ws.data_to_send(0.0)
    assert [type(message) for message in received(ws, frame(0xF1))] == [Close]
    assert ws.data_to_send(0.0) == b""
    assert ws.closing is Closing.AFTER_FLUSH


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
