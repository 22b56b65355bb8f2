"""Requests on streams that the peer may open while the applications of those it has reset are still at work."""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame, RstStreamFrame

from hypercorn.protocols.engine import Closing
from hypercorn.protocols.events import Data, Request, StreamClosed, Trailers

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")]
REFUSED, CANCEL = 7, 8


def reset(peer: Any, *stream_ids: int) -> None:
    peer.send(*(RstStreamFrame(stream_id, error_code=CANCEL) for stream_id in stream_ids))


def ids(peer: Any) -> list[int]:
    return [request.stream_id for request in peer.requests()]


@pytest.fixture
def busy(connect: Any) -> Any:
    """A peer that has reset both of its requests, of which the applications run."""
    peer = connect(max_concurrent_streams=2)
    peer.get(1)
    peer.get(3)
    reset(peer, 1, 3)
    peer.events()
    return peer


def test_they_wait_for_a_free_application_in_the_order_of_their_arrival(busy: Any) -> None:
    busy.get(5)
    busy.get(7)
    assert busy.events() == []
    assert busy.of_type(RstStreamFrame) == []
    busy.engine.exchange_ended(3, busy.now)
    assert ids(busy) == [5]
    busy.engine.exchange_ended(1, busy.now)
    assert ids(busy) == [7]
    busy.respond(7, b"served")
    assert busy.body(7, busy.frames()) == b"served"


def test_more_of_them_than_streams_may_be_open_are_refused(busy: Any) -> None:
    for stream_id in (5, 7, 9):
        busy.get(stream_id)
    busy.expect_stream_error(9, REFUSED)
    busy.engine.exchange_ended(1, busy.now)
    assert ids(busy) == [5]


def test_an_open_stream_that_ends_makes_room_too(connect: Any) -> None:
    peer = connect(max_concurrent_streams=2)
    peer.get(1)
    peer.get(3)
    reset(peer, 1)
    peer.events()
    peer.get(5)
    assert peer.events() == []
    peer.respond(3)
    assert ids(peer) == [5]


def test_the_end_of_a_response_that_nobody_gets_makes_room_too(busy: Any) -> None:
    busy.get(5)
    busy.get(7)
    busy.engine.send_data(1, b"", True, busy.now)
    assert ids(busy) == [5]
    busy.engine.reset_stream(3, busy.now)
    assert ids(busy) == [7]


def test_their_bodies_wait_behind_them(busy: Any) -> None:
    busy.post(5)
    for _ in range(100):
        busy.data(5, b"x" * 10)
    busy.send(DataFrame(5, b"", pad_length=10, flags=["PADDED"]))
    busy.send(busy.headers(5, [("sum", "1")], "END_STREAM"))
    assert busy.events() == []
    busy.engine.exchange_ended(1, busy.now)
    request, *data, trailers = busy.events()
    assert isinstance(request, Request)
    assert not request.end_stream
    assert b"".join(event.data for event in data) == b"x" * 1000
    assert isinstance(trailers, Trailers)
    busy.engine.consume(5, 1000, busy.now)
    assert busy.engine._unread == 0


def test_a_body_that_has_ended(busy: Any) -> None:
    busy.post(5)
    busy.data(5, b"x", end=True)
    busy.engine.exchange_ended(1, busy.now)
    _, data = busy.events()
    assert isinstance(data, Data)
    assert (data.data, data.end_stream) == (b"x", True)


def test_one_that_is_reset_was_never_there(busy: Any) -> None:
    busy.post(5)
    busy.data(5, b"x")
    busy.get(7)
    reset(busy, 5)
    assert busy.events() == []
    assert busy.engine._unread == 0
    busy.engine.exchange_ended(1, busy.now)
    assert ids(busy) == [7]
    busy.engine.exchange_ended(3, busy.now)
    busy.respond(7)
    assert busy.engine.is_idle
    busy.get(9)
    busy.get(11)
    assert ids(busy) == [9, 11]


def test_one_that_breaks_a_rule_was_never_there_either(busy: Any) -> None:
    busy.post(5, content_length="3")
    busy.data(5, b"xxxx")
    assert busy.events() == []
    busy.expect_stream_error(5, 1)
    busy.engine.exchange_ended(1, busy.now)
    assert busy.events() == []


def test_an_application_that_never_reports_its_end_is_waited_for_only_so_long(busy: Any) -> None:
    busy.get(5)
    busy.wait(59)
    assert busy.events() == []
    busy.wait(2)
    assert ids(busy) == [5]


def test_no_timeout_is_counted_while_they_wait(connect: Any) -> None:
    peer = connect(max_concurrent_streams=1, read_timeout=10.0, keep_alive_timeout=5.0)
    peer.get(1)
    reset(peer, 1)
    peer.post(3)
    peer.wait(50)
    assert peer.engine.closing is Closing.OPEN
    peer.engine.exchange_ended(1, peer.now)
    peer.wait(9)
    assert peer.engine.closing is Closing.OPEN
    peer.wait(2)
    assert peer.engine.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize("at_once", [False, True])
def test_a_drain_serves_them(at_once: bool, busy: Any) -> None:
    busy.get(5)
    busy.engine.drain(busy.now, at_once)
    busy.wait(3)
    busy.engine.exchange_ended(1, busy.now)
    assert ids(busy) == [5]
    busy.respond(5, b"served")
    frames = busy.frames()
    assert busy.body(5, frames) == b"served"
    assert busy.of_type(GoAwayFrame, frames)[-1].last_stream_id == 5
    assert busy.engine.closing is Closing.AFTER_FLUSH


def test_the_end_of_the_connection_ends_them_without_a_word(busy: Any) -> None:
    busy.get(5)
    busy.engine.receive_eof(busy.now)
    assert [event for event in busy.events() if isinstance(event, StreamClosed | Request)] == []
    busy.engine.exchange_ended(1, busy.now)
    assert busy.events() == []


def test_they_count_as_requests(connect: Any) -> None:
    peer = connect(max_concurrent_streams=1, keep_alive_max_requests=1)
    peer.get(1)
    reset(peer, 1)
    peer.get(3)
    peer.engine.exchange_ended(1, peer.now)
    peer.respond(3)
    peer.wait(1)
    assert peer.of_type(GoAwayFrame)


def test_a_websocket_waits_like_any_other(busy: Any) -> None:
    busy.send(busy.headers(5, [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]]))
    assert busy.events() == []
    busy.engine.exchange_ended(1, busy.now)
    (request,) = busy.requests()
    assert request.upgrade == "websocket"
    busy.engine.send_head(5, 200, [], busy.now)
    busy.data(5, b"a frame")
    assert [event.data for event in busy.events()] == [b"a frame"]


def test_pushes_do_not_make_them_wait(connect: Any) -> None:
    peer = connect(max_concurrent_streams=1)
    peer.get(1)
    promised = peer.engine.push(1, "GET", b"/style.css", [], peer.now)
    reset(peer, promised)
    peer.respond(1)
    peer.events()
    peer.get(3)
    assert ids(peer) == [3]


# ---- what is refused costs nothing


def test_who_is_refused_pays_nothing_while_it_cannot_know_better(connect: Any) -> None:
    peer = connect(max_resets=5, max_control_frames=300, max_concurrent_streams=1)
    peer.get(1)
    peer.engine.drain(peer.now, at_once=False)
    peer.wait(2)  # both GOAWAYs are out
    peer.frames()
    for stream_id in range(3, 1003, 2):
        peer.get(stream_id)
    assert len(peer.of_type(RstStreamFrame)) == 500
    peer.expect_alive()


def test_refusals_do_not_count_as_resets(connect: Any) -> None:
    peer = connect(max_resets=5, max_concurrent_streams=1)
    for stream_id in range(1, 201, 2):
        peer.get(stream_id)
    peer.expect_alive()
    peer.send(PingFrame(0, opaque_data=b"12345678"))
