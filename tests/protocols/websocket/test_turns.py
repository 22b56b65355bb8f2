"""Frames that cost much are read a few in each turn of the loop; what waits is bounded, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hypercorn.protocols.engine import Closing
from hypercorn.protocols.websocket import Close, SessionParameters, WebSocketSession

MakeFrame = Callable[..., bytes]
TEXT, BEGIN, MIDDLE, END, CLOSE, PING = 0x81, 0x01, 0x00, 0x80, 0x88, 0x89
#: More than one turn reads, and far less than what is sent here.
MANY = 200


def session(**parameters: float) -> WebSocketSession:
    return WebSocketSession(SessionParameters(**parameters), None, 0.0)  # type: ignore[arg-type]


def take_turns(ws: WebSocketSession, now: float = 0.0) -> list[str | bytes | Close]:
    """What the application gets in as many turns as are wanted."""
    messages = []
    while (message := ws.next_message(now)) is not None or ws.wants_turn:
        if message is not None:
            messages.append(message)
        else:
            ws.wants_turn = False
            ws.next_turn(now)
    return messages


def pong_count(ws: WebSocketSession) -> int:
    data = b""
    while more := ws.data_to_send(0.0):
        data += more
    assert data == b"\x8a\x00" * (len(data) // 2)
    return len(data) // 2


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_one_turn_reads_some_frames_however_they_come(frame: MakeFrame, size: int) -> None:
    """Over HTTP/2 one read of the connection may bring many pieces of a stream."""
    ws = session()
    stream = frame(BEGIN) + frame(PING) * 5000 + frame(END, b"x")
    for at in range(0, len(stream), size):
        ws.receive_data(stream[at : at + size], 0.0)
    assert ws.wants_turn
    count = pong_count(ws)
    assert count < MANY
    turns = 0
    while ws.wants_turn:
        turns += 1
        assert ws.next_message(0.0) is None
        ws.wants_turn = False
        ws.next_turn(0.0)
        in_this_turn = pong_count(ws)
        assert in_this_turn < MANY
        count += in_this_turn
    assert turns > 5000 // MANY
    assert count == 5000
    assert ws.next_message(0.0) == "x"
    assert ws.taken == len(stream)


def test_an_application_that_receives_does_not_read_on_in_the_same_turn(frame: MakeFrame) -> None:
    ws = session()
    ws.receive_data((frame(BEGIN, b"a") + frame(END, b"b")) * 1000, 0.0)
    got = 0
    while ws.next_message(0.0) is not None:
        got += 1
    assert 0 < got < MANY
    assert take_turns(ws) == ["ab"] * (1000 - got)


def test_fragments_of_one_byte_and_what_stands_between_them(frame: MakeFrame) -> None:
    ws = session()
    text = "".join(chr(97 + number % 26) for number in range(3000))
    fragments = [frame(MIDDLE, letter.encode()) for letter in text]
    stream = frame(TEXT, b"before") + frame(BEGIN) + b"".join(fragments) + frame(END)
    ws.receive_data(stream, 0.0)
    for number in range(100):
        ws.receive_data(frame(TEXT, b"%d" % number), 0.0)
    assert take_turns(ws) == ["before", text, *map(str, range(100))]
    assert not ws.wants_turn


def test_what_waits_for_a_turn_keeps_the_window_closed(frame: MakeFrame) -> None:
    ws = session()
    piece = frame(MIDDLE, b"a") * 1000
    ws.receive_data(frame(BEGIN) + piece, 0.0)
    for _ in range(50):
        ws.receive_data(piece, 0.0)
        assert ws.next_message(0.0) is None
        assert ws.taken <= 2 * len(piece)
    ws.wants_turn = False
    ws.next_turn(0.0)
    assert ws.taken <= 2 * len(piece)
    ws.receive_data(frame(END), 0.0)
    assert take_turns(ws) == ["a" * 51_000]


def test_so_does_what_waits_for_the_application(frame: MakeFrame) -> None:
    ws = session(max_queued_messages=2)
    piece = (frame(BEGIN, b"a") + frame(END, b"b")) * 20
    given = 0
    for _ in range(100):
        while given - ws.taken < 1000:
            ws.receive_data(piece, 0.0)
            given += len(piece)
        assert ws.next_message(0.0) == "ab"
        ws.wants_turn = False
        ws.next_turn(0.0)
    assert given < 5000
    assert take_turns(ws) == ["ab"] * (given // 14 - 100)
    assert ws.taken == given


def test_and_what_waits_for_the_peer_to_take_pongs(frame: MakeFrame) -> None:
    ws = session()
    piece = frame(PING, b"x" * 100) * 50
    ws.receive_data(frame(BEGIN), 0.0)
    for _ in range(100):
        ws.receive_data(piece, 0.0)
        assert ws.next_message(0.0) is None
        ws.wants_turn = False
        ws.next_turn(0.0)
    assert ws.unsent < 70_000
    assert ws.taken < 100_000


@pytest.mark.parametrize("ends", [WebSocketSession.receive_eof, WebSocketSession.connection_lost])
def test_the_end_of_the_stream_behind_them(
    frame: MakeFrame, ends: Callable[[WebSocketSession, float], None]
) -> None:
    ws = session()
    ws.receive_data((frame(BEGIN, b"a") + frame(END, b"b")) * 300 + frame(TEXT, b"last"), 0.0)
    ends(ws, 0.0)
    assert take_turns(ws) == ["ab"] * 300 + ["last", Close(1006, "")]


@pytest.mark.parametrize(("end", "code"), [((CLOSE, b"\x0f\xa1"), 4001), ((0xF1,), 1002)])
def test_an_end_behind_them(frame: MakeFrame, end: tuple[int, ...], code: int) -> None:
    ws = session()
    ws.receive_data((frame(BEGIN, b"a") + frame(END, b"b")) * 300 + frame(*end), 0.0)
    *messages, close = take_turns(ws)
    assert messages == ["ab"] * 300
    assert isinstance(close, Close)
    assert close.code == code


def test_the_answer_to_our_close_behind_them(frame: MakeFrame) -> None:
    ws = session()
    ws.receive_data(frame(BEGIN) + frame(PING) * 300 + frame(CLOSE, b"\x03\xe8"), 0.0)
    ws.close(1000, "", 0.0)
    assert ws.closing is Closing.OPEN
    assert take_turns(ws) == [Close(1000, "")]
    assert ws.closing is Closing.AFTER_FLUSH


def test_a_turn_that_comes_after_the_end(frame: MakeFrame) -> None:
    ws = session(ping_interval=10.0, ping_timeout=4.0)
    ws.receive_data(frame(BEGIN) + frame(PING) * 300 + frame(CLOSE, b"\x03\xe8"), 0.0)
    ws.close(4000, "", 0.0)
    ws.handle_deadline(ws.deadline)
    assert ws.closing is not Closing.OPEN
    assert take_turns(ws) == [Close(1006, "the peer did not close in time")]


def test_a_pong_behind_them_is_not_missed(frame: MakeFrame) -> None:
    ws = session(ping_interval=10.0, ping_timeout=4.0)
    ws.receive_data(frame(BEGIN) + frame(MIDDLE, b"a") * 300, 9.0)
    ws.handle_deadline(10.0)
    ws.handle_deadline(14.0)
    assert ws.state.can_send
