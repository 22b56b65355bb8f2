"""The ends of a session: Close frames of either side, violations, messages that are too big."""

from __future__ import annotations

import pytest

from hypercorn.protocols.engine import Closing, LocalProtocolError
from hypercorn.protocols.websocket import Close, SessionParameters

from .sessions import (
    CLOSE,
    PING,
    TEXT,
    MakeFrame,
    drained,
    received,
    send,
    session,
)


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


@pytest.mark.parametrize(
    ("code", "reason", "sent"),
    [(4000, "enough", "enough"), (1005, "not sent", ""), (4001, 200 * "x", 123 * "x")],
)
def test_a_server_that_stops_tells_an_application_that_has_closed(
    frame: MakeFrame, code: int, reason: str, sent: str
) -> None:
    ws = session()
    ws.close(code, reason, 1.0)
    assert drained(ws) == []
    ws.close(1012, "", 2.0, tell=True)
    assert drained(ws) == [Close(code, sent)]
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


def test_nor_is_a_slow_reader_once_it_has_our_close(frame: MakeFrame) -> None:
    ws = session(SessionParameters(max_message_size=200))
    ws.receive_data(frame(0x81, b"a" * 201), 1.0)
    assert ws.deadline == 3.0
    ws.handle_deadline(3.0, is_held=True)
    assert ws.unsent
    assert ws.closing is Closing.AFTER_FLUSH
