"""How a connection ends: for a stop, and at its limit of requests."""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame

from hypercorn.protocols.engine import Closing

REFUSED = 7
LAST = 2**31 - 1


def goaway_ids(peer: Any) -> list[int]:
    return [frame.last_stream_id for frame in peer.of_type(GoAwayFrame)]


def goaway_ids_of(frames: list[Frame]) -> list[int]:
    return [frame.last_stream_id for frame in frames if isinstance(frame, GoAwayFrame)]


def pong(peer: Any, frames: list[Frame]) -> None:
    (ping,) = peer.of_type(PingFrame, frames)
    peer.send(PingFrame(0, opaque_data=ping.opaque_data, flags=["ACK"]))


def test_an_idle_connection_drains_at_once_when_nothing_is_on_its_way(peer: Any) -> None:
    peer.engine.drain(peer.now, True)
    frames = peer.frames()
    assert peer.of_type(GoAwayFrame, frames)[0].last_stream_id == LAST
    assert peer.engine.closing is Closing.OPEN
    pong(peer, frames)
    assert goaway_ids(peer) == [0]
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_it_does_not_wait_long_for_that(peer: Any) -> None:
    peer.engine.drain(peer.now, True)
    assert peer.engine.deadline <= peer.now + 0.25
    peer.wait(0.25)
    assert goaway_ids(peer) == [LAST, 0]
    assert peer.engine.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize("is_open", [False, True])
def test_what_is_on_its_way_to_a_drain_at_once_is_served(is_open: bool, peer: Any) -> None:
    if is_open:
        peer.get(1)
    peer.engine.drain(peer.now, True)
    if is_open:
        peer.respond(1)
    frames = peer.frames()
    peer.get(3)
    pong(peer, frames)
    peer.wait(0.1)
    assert goaway_ids(peer) == [3]
    peer.wait(1)
    peer.respond(3, b"served")
    assert peer.body(3, peer.frames()) == b"served"
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_drain_in_two_steps(peer: Any) -> None:
    peer.get(1)
    peer.engine.drain(peer.now, False)
    assert peer.frames() == []
    peer.respond(1, b"in time")
    frames = peer.frames()
    assert peer.body(1, frames) == b"in time"
    ping, goaway = frames[2:]
    assert goaway.last_stream_id == LAST
    peer.get(3)  # was on its way
    peer.send(PingFrame(0, opaque_data=ping.opaque_data, flags=["ACK"]))
    peer.get(5)  # its client had read the PING, but not yet the GOAWAY
    assert goaway_ids(peer) == []
    peer.wait(0.1)
    assert goaway_ids(peer) == [5]
    assert [request.stream_id for request in peer.requests()] == [1, 3, 5]
    peer.get(7)
    assert [(f.stream_id, f.error_code) for f in peer.of_type(RstStreamFrame)] == [(7, REFUSED)]
    assert peer.engine.closing is Closing.OPEN
    for stream_id in (3, 5):
        peer.respond(stream_id, b"served")
        assert peer.body(stream_id, peer.frames()) == b"served"
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_drain_does_not_wait_for_long_requests(peer: Any) -> None:
    peer.get(1)
    peer.engine.drain(peer.now, False)
    peer.wait(1)
    assert goaway_ids(peer) == [LAST]
    peer.wait(1)
    assert goaway_ids(peer) == [1]
    peer.wait(100)
    peer.respond(1, b"long")
    assert peer.body(1, peer.frames()) == b"long"
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_drain_at_once_ends_behind_the_last_response(peer: Any) -> None:
    peer.get(1)
    peer.engine.drain(peer.now, True)
    peer.respond(1, b"last")
    peer.wait(0.25)
    assert peer.engine.closing is Closing.AFTER_FLUSH
    assert goaway_ids(peer) == [LAST, 1]


def test_drain_twice(peer: Any) -> None:
    peer.engine.drain(peer.now, False)
    assert goaway_ids(peer) == [LAST]
    peer.engine.drain(peer.now, False)
    assert goaway_ids(peer) == []
    peer.engine.drain(peer.now, True)
    assert goaway_ids(peer) == []
    assert peer.engine.deadline <= peer.now + 0.25
    peer.engine.drain(peer.now, True)
    assert goaway_ids(peer) == [0]
    peer.engine.drain(peer.now, True)
    peer.wait(10)
    assert peer.frames() == []


def test_the_request_limit(connect: Any) -> None:
    peer = connect(keep_alive_max_requests=3)
    for stream_id in (1, 3, 5):
        assert peer.engine.closing is Closing.OPEN
        peer.get(stream_id)
        peer.respond(stream_id, b"x")
    assert goaway_ids(peer) == [LAST, 5]
    assert peer.engine.closing is Closing.AFTER_FLUSH


@pytest.fixture
def quiet(connect: Any) -> Any:
    """A connection that has reached its limit with requests side by side, and is quiet now."""
    peer = connect(keep_alive_max_requests=5)
    for stream_id in range(1, 13, 4):
        peer.get(stream_id)
        peer.get(stream_id + 2)
        peer.respond(stream_id)
        peer.respond(stream_id + 2)
        assert goaway_ids(peer) == []  # the next requests may be on their way
        peer.wait(0.01)
    peer.get(13)
    peer.wait(2)
    assert goaway_ids(peer) == []
    peer.respond(13)
    peer.frames()
    peer.wait(0.06)
    return peer


def test_the_request_limit_of_a_client_that_reads(quiet: Any) -> None:
    pong(quiet, quiet.frames())
    frames = quiet.frames()
    assert goaway_ids_of(frames) == [LAST]
    quiet.get(15)
    pong(quiet, frames)
    assert quiet.frames() == []
    quiet.wait(0.1)
    assert goaway_ids(quiet) == [15]
    quiet.respond(15, b"served")
    assert quiet.body(15, quiet.frames()) == b"served"
    assert quiet.engine.closing is Closing.AFTER_FLUSH


def test_the_request_limit_of_a_client_that_does_not_read(quiet: Any) -> None:
    """httpx fails the request that finds the first GOAWAY without the last."""
    assert goaway_ids(quiet) == []
    quiet.wait(0.5)
    assert goaway_ids(quiet) == [LAST, 13]
    assert quiet.engine.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize("is_answered", [True, False])
def test_the_request_limit_waits_for_the_next_quiet_moment(is_answered: bool, quiet: Any) -> None:
    frames = quiet.frames()
    quiet.get(15)
    if is_answered:
        pong(quiet, frames)
    quiet.wait(0.5)
    assert quiet.frames() == []
    quiet.respond(15)
    quiet.frames()
    quiet.wait(0.06)
    assert [type(frame) for frame in quiet.frames()] == [PingFrame]
    quiet.wait(0.5)
    assert goaway_ids(quiet) == [LAST, 15]


def test_the_request_limit_of_a_client_that_reads_only_for_its_requests(quiet: Any) -> None:
    """The question is answered with the next request, and then once more: nobody asks a third time."""
    for stream_id in (15, 17):
        frames = quiet.frames()
        quiet.get(stream_id)
        quiet.respond(stream_id)
        pong(quiet, frames)
        assert goaway_ids(quiet) == []
        quiet.wait(0.06)
    assert goaway_ids(quiet) == [LAST, 17]
    assert quiet.engine.closing is Closing.AFTER_FLUSH


def test_a_question_that_waits_for_the_transport(quiet: Any) -> None:
    quiet.engine.set_transport_writable(False, quiet.now)
    quiet.wait(0.5)
    quiet.wait(0.5)
    assert goaway_ids(quiet) == []
    quiet.engine.set_transport_writable(True, quiet.now)
    quiet.wait(0.5)
    assert goaway_ids(quiet) == [LAST, 13]


def test_a_drain_while_the_peer_is_asked_whether_it_reads(quiet: Any) -> None:
    asked = quiet.frames()
    quiet.engine.drain(quiet.now, True)
    frames = quiet.frames()
    assert goaway_ids_of(frames) == [LAST]
    pong(quiet, asked)  # late, and of no interest any more
    assert quiet.frames() == []
    pong(quiet, frames)
    assert goaway_ids(quiet) == [13]
    assert quiet.engine.closing is Closing.AFTER_FLUSH


def test_twice_the_request_limit(connect: Any) -> None:
    peer = connect(keep_alive_max_requests=4)
    for stream_id in range(1, 15, 2):
        peer.get(stream_id)
    assert goaway_ids(peer) == []
    peer.get(15)
    assert goaway_ids(peer) == [LAST]
    peer.wait(1.1)
    for stream_id in range(1, 17, 2):
        assert peer.engine.closing is Closing.OPEN
        peer.respond(stream_id)
    assert goaway_ids(peer) == [15]
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_no_limit(connect: Any) -> None:
    peer = connect(keep_alive_max_requests=0)
    for stream_id in range(1, 21, 2):
        peer.get(stream_id)
        peer.respond(stream_id)
    assert goaway_ids(peer) == []


def test_a_drain_shortens_the_wait_of_the_limit(connect: Any) -> None:
    peer = connect(keep_alive_max_requests=1)
    peer.get(1)
    peer.engine.drain(peer.now, False)
    peer.wait(1)
    assert goaway_ids(peer) == [LAST]


def test_no_push_once_draining(peer: Any) -> None:
    peer.get(1)
    peer.send(GoAwayFrame(0, last_stream_id=0))
    assert peer.engine.push(1, "GET", b"/", [], peer.now) is None
