"""Deadlines: what a peer must do in time, and what ends when it takes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from hypercorn.protocols.engine import NEVER, Closing
from hypercorn.protocols.events import StreamClosed

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")]
NO_ERROR, CANCEL = 0, 8


# ---- deadlines


def fresh(peer: Any) -> Any:
    """The same peer with an engine that has received nothing."""
    peer.engine = type(peer.engine)(peer.engine._parameters, peer.defaults, peer.now, secure=False)
    return peer


def test_a_connection_without_requests_is_closed(peer: Any) -> None:
    """Whoever does not answer may be one that reads nothing now, and must not find the first GOAWAY alone."""
    assert peer.engine.deadline == peer.now + 5.0
    peer.wait(4.9)
    assert peer.engine.closing is Closing.OPEN
    peer.wait(0.2)
    (ping,) = peer.frames()
    assert isinstance(ping, PingFrame)
    assert peer.engine.closing is Closing.OPEN
    peer.wait(0.5)
    first, last = peer.frames()
    assert (first.error_code, first.last_stream_id) == (NO_ERROR, 2**31 - 1)
    assert (last.error_code, last.last_stream_id) == (NO_ERROR, 0)
    assert peer.engine.closing is Closing.AFTER_FLUSH
    assert peer.engine.deadline == NEVER


def test_what_is_on_its_way_to_an_idle_connection_that_ends_is_served(peer: Any) -> None:
    """RFC 9113 §6.8: the last GOAWAY comes when the peer has had time to see the first."""
    peer.wait(5.1)
    (asked,) = peer.frames()
    peer.send(PingFrame(0, asked.opaque_data, flags=["ACK"]))
    ping, goaway = peer.frames()
    assert goaway.last_stream_id == 2**31 - 1
    peer.get(1)
    peer.send(PingFrame(0, ping.opaque_data, flags=["ACK"]))
    peer.get(3)  # sent between the PING and the GOAWAY
    assert peer.frames() == []
    peer.wait(0.1)
    (goaway,) = peer.frames()
    assert goaway.last_stream_id == 3
    assert peer.engine.closing is Closing.OPEN
    for stream_id in (1, 3):
        peer.respond(stream_id, b"in time")
        assert peer.body(stream_id, peer.frames()) == b"in time"
    assert peer.engine.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_request_keeps_an_idle_connection_that_is_about_to_end(is_answered: bool, peer: Any) -> None:
    peer.wait(5.1)
    (asked,) = peer.frames()
    peer.get(1)
    if is_answered:
        peer.send(PingFrame(0, asked.opaque_data, flags=["ACK"]))
    peer.wait(0.5)
    assert peer.frames() == []
    peer.respond(1, b"x")
    assert peer.body(1, peer.frames()) == b"x"
    assert peer.engine.deadline == peer.now + 5.0


@pytest.mark.parametrize("is_answered", [True, False])
def test_the_idle_time_of_a_connection_that_ends_already(is_answered: bool, peer: Any) -> None:
    peer.wait(4.9)
    peer.engine.drain(peer.now, True)
    ping, _ = peer.frames()
    if is_answered:
        peer.get(1)
        peer.send(PingFrame(0, ping.opaque_data, flags=["ACK"]))
        peer.respond(1)
        peer.frames()
    peer.wait(0.09)
    assert peer.frames() == []
    peer.wait(0.2)
    (goaway,) = peer.frames()
    assert goaway.last_stream_id == is_answered
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_a_client_that_reads_is_known_as_such_however_often_its_requests_cross_the_question(
    peer: Any,
) -> None:
    for stream_id in range(1, 11, 2):
        peer.wait(5.1)
        (asked,) = peer.frames()
        peer.get(stream_id)
        peer.send(PingFrame(0, asked.opaque_data, flags=["ACK"]))
        peer.respond(stream_id)
        peer.frames()
    peer.wait(5.1)
    (asked,) = peer.frames()
    peer.send(PingFrame(0, asked.opaque_data, flags=["ACK"]))
    _, goaway = peer.frames()
    assert goaway.last_stream_id == 2**31 - 1
    assert peer.engine.closing is Closing.OPEN


def test_pings_do_not_keep_it_alive(peer: Any) -> None:
    peer.wait(3)
    peer.expect_alive()
    peer.wait(2.1)
    peer.wait(0.5)
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_open_requests_do(peer: Any) -> None:
    peer.get(1)
    peer.wait(1000)
    peer.respond(1, b"at last")
    assert peer.body(1, peer.frames()) == b"at last"
    assert peer.engine.deadline == peer.now + 5.0
    peer.wait(5.1)
    peer.wait(0.5)
    assert peer.of_type(GoAwayFrame)[-1].last_stream_id == 1


@pytest.mark.parametrize("is_blocked_first", [False, True])
def test_it_is_not_idle_while_its_last_answer_is_on_its_way(is_blocked_first: bool, peer: Any) -> None:
    peer.get(1)
    if is_blocked_first:
        peer.engine.set_transport_writable(False, peer.now)
    peer.respond(1, b"x" * 10000)
    peer.frames()
    peer.engine.set_transport_writable(False, peer.now)
    if is_blocked_first:  # the stream is still open
        peer.send(RstStreamFrame(1, error_code=CANCEL))
    peer.wait(1000)
    assert peer.engine.closing is Closing.OPEN
    peer.engine.set_transport_writable(True, peer.now)
    peer.wait(4.9)
    assert peer.engine.closing is Closing.OPEN
    peer.wait(0.2)
    peer.wait(0.5)
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_a_transport_that_drains_makes_nobody_idle_who_is_not(peer: Any) -> None:
    peer.get(1)
    peer.engine.set_transport_writable(False, peer.now)
    peer.engine.set_transport_writable(True, peer.now)
    peer.wait(1000)
    assert peer.engine.closing is Closing.OPEN


def test_nor_does_it_wake_what_is_over(peer: Any) -> None:
    peer.engine.receive_eof(peer.now)
    peer.engine.set_transport_writable(False, peer.now)
    peer.engine.set_transport_writable(True, peer.now)
    assert peer.engine.deadline == NEVER


def test_the_preface_must_come_in_time(connect: Any) -> None:
    peer = fresh(connect(header_timeout=2.0))
    peer.send_bytes(b"PRI * HTTP/2.0\r\n")
    peer.wait(2.1)
    assert peer.engine.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize(
    "part", [b"\0\0\x10\x01\x05\0\0\0\x03abc", b"\0\0\x03\x01\x01\0\0\0\x03\x82\x86\x84", b"\0\0"]
)
def test_a_header_block_must_come_in_time(part: bytes, peer: Any) -> None:
    peer.get(1)
    peer.events()
    peer.send_bytes(part)
    peer.wait(3)
    peer.send_bytes(b"")
    assert peer.engine.closing is Closing.OPEN
    peer.wait(2.1)
    assert peer.engine.closing is Closing.AFTER_FLUSH
    assert [type(event) for event in peer.events()] == [StreamClosed]


@pytest.mark.parametrize("is_continued", [False, True])
def test_reads_that_all_end_within_a_frame(is_continued: bool, connect: Any) -> None:
    """A busy peer, of which no read ends where a frame does: each head comes in time."""
    peer = connect(header_timeout=5.0)
    heads = b""
    for stream_id in range(1, 41, 2):
        block = peer.block(GET)
        if is_continued:
            frames: list[Frame] = [
                HeadersFrame(stream_id, block[:2], flags=["END_STREAM"]),
                ContinuationFrame(stream_id, block[2:], flags=["END_HEADERS"]),
            ]
        else:
            frames = [HeadersFrame(stream_id, block, flags=["END_STREAM", "END_HEADERS"])]
        head = b"".join(frame.serialize() for frame in frames)
        peer.send_bytes(heads + head[:-1])
        heads = head[-1:]
        peer.wait(1.0)
    peer.send_bytes(heads)
    assert len(peer.requests()) == 20
    peer.expect_alive()


def test_slow_data_may_take_its_time(peer: Any) -> None:
    peer.post(1)
    peer.send_bytes(b"\0\x10\0\0\0\0\0\0\x01abc")
    peer.wait(1000)
    assert peer.engine.closing is Closing.OPEN


def test_read_timeout(connect: Any) -> None:
    peer = connect(read_timeout=10.0)
    peer.post(1)
    peer.wait(9)
    peer.data(1, b"x")
    peer.wait(9)
    assert peer.engine.closing is Closing.OPEN
    peer.wait(2)
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_read_timeout_while_only_answers_are_awaited(connect: Any) -> None:
    peer = connect(read_timeout=10.0)
    peer.get(1)
    peer.wait(1000)
    assert peer.engine.closing is Closing.OPEN
    peer.post(3)
    peer.wait(9)
    assert peer.engine.closing is Closing.OPEN
    peer.wait(2)
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_read_timeout_begins_when_the_peer_has_a_window_again(connect: Any) -> None:
    peer = connect(read_timeout=10.0, initial_stream_window_size=1000)
    peer.post(1)
    peer.data(1, b"x" * 1000)
    peer.wait(1000)
    assert peer.engine.closing is Closing.OPEN
    peer.engine.consume(1, 1000, peer.now)
    peer.wait(9)
    assert peer.engine.closing is Closing.OPEN
    peer.wait(2)
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_so_it_does_when_what_used_up_the_connections_window_is_dropped(connect: Any) -> None:
    window = {
        "initial_stream_window_size": 65535,
        "initial_connection_window_size": 65535,
        "max_unread_size": 65535,
    }
    peer = connect(read_timeout=10.0, **window)
    peer.post(1)
    peer.post(3)
    for size in (16384, 16384, 16384, 16383):
        peer.data(1, b"x" * size)
    peer.wait(1000)
    assert peer.engine.closing is Closing.OPEN
    peer.respond(1)  # nobody reads the rest
    peer.wait(9)
    assert peer.engine.closing is Closing.OPEN
    peer.wait(2)
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_no_ping_is_waited_for_while_the_transport_takes_nothing(connect: Any) -> None:
    peer = connect(ping_interval=10.0, ping_timeout=5.0, write_timeout=None)
    peer.get(1)
    peer.engine.send_head(1, 200, [], peer.now)
    peer.frames()
    peer.wait(10)
    assert len(peer.of_type(PingFrame)) == 1
    peer.engine.set_transport_writable(False, peer.now)
    peer.wait(1000)  # a slow reader: the connection has a timeout for one that reads nothing
    assert peer.engine.closing is Closing.OPEN
    peer.engine.set_transport_writable(True, peer.now)
    assert peer.frames() == []  # none has gathered
    peer.wait(10)
    assert len(peer.of_type(PingFrame)) == 1
    peer.wait(5)
    assert peer.engine.closing is Closing.ABORT


def test_keep_alive_pings(connect: Any) -> None:
    peer = connect(ping_interval=10.0, ping_timeout=5.0)
    peer.get(1)
    peer.events()
    peer.wait(10)
    (ping,) = peer.frames()
    assert isinstance(ping, PingFrame)
    peer.send(PingFrame(0, opaque_data=ping.opaque_data, flags=["ACK"]))
    peer.wait(9)
    assert peer.frames() == []
    peer.wait(2)
    assert len(peer.of_type(PingFrame)) == 1
    peer.wait(5)
    assert peer.engine.closing is Closing.ABORT
    assert [type(event) for event in peer.events()] == [StreamClosed]


def test_the_end_of_input_before_the_preface(connect: Any) -> None:
    peer = fresh(connect())
    peer.engine.receive_eof(peer.now)
    assert peer.engine.closing is Closing.AFTER_FLUSH
    assert not peer.of_type(GoAwayFrame)


# ---- a peer that takes nothing


def test_a_response_that_gets_no_window_is_reset_in_the_end(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10}, write_timeout=60.0)
    peer.get(1)
    peer.respond(1, b"x" * 100)
    peer.frames()
    peer.events()
    peer.wait(59)
    assert peer.frames() == []
    peer.send(WindowUpdateFrame(1, window_increment=1))
    peer.frames()
    peer.wait(59)
    assert peer.frames() == []
    peer.wait(2)
    (reset,) = peer.of_type(RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (1, CANCEL)
    assert [type(event) for event in peer.events()] == [StreamClosed]


def test_so_is_one_that_waits_for_the_connection_window(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10**6}, write_timeout=60.0)
    peer.get(1)
    peer.respond(1, b"x" * 100000)
    peer.frames()
    peer.wait(61)
    assert [frame.stream_id for frame in peer.of_type(RstStreamFrame)] == [1]


def test_each_has_its_own_time_to_wait_for_the_connection_window(connect: Any) -> None:
    """The reset of the first gives back what the peer holds of it: the second can go on then."""
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10**6}, write_timeout=60.0)
    peer.get(1)
    peer.get(3)
    peer.respond(1, b"x" * 100000)
    peer.frames()
    peer.wait(59)
    peer.respond(3, b"y" * 100000)
    peer.frames()
    peer.wait(2)
    assert [frame.stream_id for frame in peer.of_type(RstStreamFrame)] == [1]
    peer.send(WindowUpdateFrame(0, window_increment=65535))
    assert len(peer.body(3, peer.frames())) == 65535
    peer.wait(59)
    assert peer.of_type(RstStreamFrame) == []
    peer.wait(2)
    assert [frame.stream_id for frame in peer.of_type(RstStreamFrame)] == [3]


@pytest.mark.parametrize(
    "window",
    [
        WindowUpdateFrame(1, window_increment=1000),
        SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1000}),
    ],
)
def test_one_that_has_got_its_window_is_not_reset_for_having_waited(window: Frame, connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10}, write_timeout=60.0)
    peer.get(1)
    peer.respond(1, b"x" * 100)
    peer.frames()
    peer.wait(59)
    peer.engine.set_transport_writable(False, peer.now)
    peer.send(window)
    peer.wait(2)
    peer.engine.set_transport_writable(True, peer.now)
    assert len(peer.body(1, peer.frames())) == 90


@pytest.mark.parametrize("who", ["peer", "application"])
def test_its_time_begins_anew_when_nothing_waits_any_more(who: str, connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10**6}, write_timeout=60.0)
    peer.get(1)
    peer.get(3)
    peer.engine.send_head(1, 200, [], peer.now)
    peer.engine.send_data(1, b"x" * 100000, False, peer.now)
    peer.frames()
    if who == "peer":
        peer.send(RstStreamFrame(1, error_code=CANCEL))
    else:
        peer.engine.reset_stream(1, peer.now)
    peer.wait(100)
    peer.respond(3, b"x")
    peer.frames()
    peer.wait(59)
    assert peer.frames() == []
    peer.wait(2)
    assert [frame.stream_id for frame in peer.of_type(RstStreamFrame)] == [3]


def test_so_it_does_when_the_last_that_waited_needed_no_window(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10**6}, write_timeout=60.0)
    for stream_id in (1, 3, 5):
        peer.get(stream_id)
    peer.engine.send_head(1, 200, [], peer.now)
    peer.engine.send_data(1, b"x" * 100000, False, peer.now)
    peer.frames()
    peer.engine.send_head(3, 200, [], peer.now)
    peer.engine.send_trailers(3, [(b"a", b"b")], peer.now)
    peer.send(RstStreamFrame(1, error_code=CANCEL))
    peer.frames()
    peer.wait(100)
    peer.respond(5, b"x")
    peer.frames()
    peer.wait(61)
    assert [frame.stream_id for frame in peer.of_type(RstStreamFrame)] == [5]
