"""The session and the time: pings, and how long a peer may be silent."""

from __future__ import annotations

from hypercorn.protocols.engine import NEVER, Closing
from hypercorn.protocols.websocket import Close, SessionParameters

from .sessions import PONG, TEXT, MakeFrame, drained, session

PINGING = SessionParameters(ping_interval=10.0, ping_timeout=4.0)


def test_pings_and_any_sign_of_life(frame: MakeFrame) -> None:
    ws = session(PINGING)
    assert ws.deadline == 10.0
    ws.handle_deadline(10.0)
    assert ws.data_to_send(10.0) == b"\x89\x00"
    assert ws.deadline == 14.0
    ws.receive_data(frame(PONG)[:3], 13.0)
    ws.handle_deadline(14.0)
    assert ws.state.can_send
    assert ws.deadline == 20.0


def test_a_peer_that_is_gone() -> None:
    ws = session(PINGING)
    ws.handle_deadline(10.0)
    ws.data_to_send(10.0)
    ws.handle_deadline(14.0)
    assert drained(ws) == [Close(1011, "keep-alive ping timed out")]
    assert ws.closing is Closing.AFTER_FLUSH
    assert ws.deadline < NEVER
    ws.handle_deadline(ws.deadline)
    assert ws.closing is Closing.ABORT


def test_pings_without_a_timeout_are_not_heaped() -> None:
    ws = session(SessionParameters(ping_interval=10.0, ping_timeout=None))
    for now in (10.0, 20.0, 30.0):
        assert ws.deadline == now
        ws.handle_deadline(now)
    assert ws.state.can_send
    assert ws.data_to_send(30.0) == b"\x89\x00"


def test_pings_that_are_answered_keep_their_interval(frame: MakeFrame) -> None:
    ws = session(SessionParameters(ping_interval=2.0, ping_timeout=20.0))
    for now in (2.0, 4.0, 6.0):
        assert ws.deadline == now
        ws.handle_deadline(now)
        assert ws.data_to_send(now) == b"\x89\x00"
        ws.receive_data(frame(PONG), now)
    for now in (8.0, 10.0, 26.0):
        assert ws.state.can_send
        ws.handle_deadline(now)
        assert ws.data_to_send(now) == (b"\x89\x00" if now == 8.0 else b"")
    ws.handle_deadline(28.0)
    assert drained(ws) == [Close(1011, "keep-alive ping timed out")]


def test_no_pings() -> None:
    assert session().deadline == NEVER


def test_back_pressure_is_no_silence(frame: MakeFrame) -> None:
    """A pong may be behind what the application has not taken."""
    parameters = SessionParameters(ping_interval=10.0, ping_timeout=4.0, max_queued_messages=1)
    ws = session(parameters)
    ws.receive_data(frame(TEXT, b"a") * 3 + frame(PONG), 1.0)
    ws.handle_deadline(10.0)
    ws.handle_deadline(14.0)
    assert ws.state.can_send


def test_no_ping_while_the_stream_takes_nothing(frame: MakeFrame) -> None:
    """It would stand behind all that waits; and a peer that takes nothing is the stream's to cut."""
    ws = session(PINGING)
    for now in (10.0, 20.0, 30.0):
        assert ws.deadline == now
        ws.handle_deadline(now, is_held=True)
        assert ws.data_to_send(now) == b""
    ws.handle_deadline(40.0)
    assert ws.data_to_send(40.0) == b"\x89\x00"
    ws.handle_deadline(44.0)
    assert drained(ws) == [Close(1011, "keep-alive ping timed out")]


def test_a_ping_that_the_stream_has_not_taken_is_not_missed() -> None:
    ws = session(PINGING)
    ws.handle_deadline(10.0)
    ws.handle_deadline(14.0, is_held=True)
    assert ws.deadline == 24.0
    assert ws.data_to_send(23.0) == b"\x89\x00"
    ws.handle_deadline(24.0)
    assert ws.data_to_send(24.0) == b"\x89\x00"
    assert ws.deadline == 28.0
    assert ws.state.can_send


def test_a_close_that_the_stream_has_not_taken_is_not_answered() -> None:
    ws = session()
    ws.close(1000, "", 1.0)
    ws.handle_deadline(11.0, is_held=True)
    assert ws.deadline == 21.0
    assert ws.closing is Closing.OPEN
    ws.data_to_send(20.0)
    ws.handle_deadline(21.0, is_held=True)
    assert ws.closing is Closing.AFTER_FLUSH


def test_an_end_that_waits_does_not_wait_for_the_stream(frame: MakeFrame) -> None:
    ws = session(PINGING)
    ws.receive_data(frame(TEXT, b"question") + frame(0x88, b"\x03\xe8"), 1.0)
    ws.handle_deadline(ws.deadline, is_held=True)
    assert not ws.state.can_send
