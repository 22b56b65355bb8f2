"""A response that is complete before its request: the rest of the request is thrown away, but has to be right.

h2spec waits for the error of the very rule that it breaks, so it must not matter when an application answers.
"""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, WindowUpdateFrame

NO_ERROR, PROTOCOL, FLOW_CONTROL, STREAM_CLOSED = 0, 1, 3, 5
#: hyperframe does not write what must not be.
WINDOW_BY_0 = b"\0\0\4\x08\0\0\0\0\1\0\0\0\0"


def answer_early(peer: Any, **fields: str) -> None:
    peer.post(1, **fields)
    peer.respond(1, b"enough", 413)
    assert [type(frame) for frame in peer.frames()] == [HeadersFrame, DataFrame]
    assert peer.engine.is_idle
    peer.events()


def expect_stopped(peer: Any) -> None:
    (reset,) = peer.of_type(RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (1, NO_ERROR)
    # What was on its way is not held against the peer.
    peer.data(1, b"x" * 1000, end=True)
    peer.send(peer.headers(1, [("a", "b")], "END_STREAM"))
    peer.expect_alive()
    assert peer.events() == []


def test_a_response_before_the_end_of_the_request(peer: Any) -> None:
    """The rest may come, but for nobody; then the stream is closed like any other."""
    answer_early(peer)
    peer.data(1, b"x" * 1000)
    peer.data(1, b"x", end=True)
    peer.wait(4)
    assert peer.frames() == []
    assert peer.events() == []
    peer.data(1, b"x")
    peer.expect_connection_error(STREAM_CLOSED)


def test_trailers_behind_an_early_response(peer: Any) -> None:
    answer_early(peer)
    peer.send(peer.headers(1, [("a", "b")], "END_STREAM"))
    assert (peer.frames(), peer.events()) == ([], [])
    peer.expect_alive()


def test_a_request_that_announces_more_than_can_be_on_its_way_is_stopped_at_once(peer: Any) -> None:
    peer.post(1, **{"content-length": "5000000"})
    peer.respond(1, b"enough", 413)
    assert [type(frame) for frame in peer.frames()] == [HeadersFrame, DataFrame, RstStreamFrame]
    peer.data(1, b"x" * 1000)  # was on its way
    peer.expect_alive()


def test_a_request_that_goes_on_for_long_after_its_response_is_stopped(peer: Any) -> None:
    answer_early(peer)
    peer.wait(1.9)
    peer.data(1, b"x")
    assert peer.frames() == []
    peer.wait(0.1)
    expect_stopped(peer)


def test_a_request_that_goes_on_with_much_after_its_response_is_stopped(connect: Any) -> None:
    peer = connect(initial_stream_window_size=65536)
    answer_early(peer)
    peer.data(1, bytes(16384))
    peer.data(1, bytes(16384))
    assert peer.of_type(RstStreamFrame) == []
    peer.data(1, b"x")
    expect_stopped(peer)


def test_a_large_request_is_stopped_with_its_response(connect: Any) -> None:
    peer = connect(initial_stream_window_size=65536)
    peer.post(1)
    for _ in range(3):
        peer.data(1, bytes(16384))
    peer.respond(1, b"enough", 413)
    peer.events()
    expect_stopped(peer)


def test_requests_that_are_answered_early_are_not_kept_without_bound(connect: Any) -> None:
    peer = connect(max_concurrent_streams=2)
    for stream_id in (1, 3, 5):
        peer.post(stream_id)
        peer.respond(stream_id, b"enough")
    peer.events()
    expect_stopped(peer)


def test_the_end_of_the_connection_stops_what_was_answered_early(peer: Any) -> None:
    answer_early(peer)
    peer.engine.drain(peer.now, at_once=True)
    peer.wait(0.25)
    reset, _ping, _first, goaway = peer.frames()
    assert (reset.stream_id, reset.error_code) == (1, NO_ERROR)
    assert (goaway.last_stream_id, goaway.error_code) == (1, NO_ERROR)


@pytest.mark.parametrize("is_stopping", [False, True])
def test_it_is_stopped_before_the_end_is_announced(is_stopping: bool, connect: Any) -> None:
    """h2's client takes nothing behind a GOAWAY, and httpx fails a request whose answer came in the same read."""
    peer = connect(keep_alive_max_requests=0 if is_stopping else 1)
    peer.post(1)
    if is_stopping:
        peer.engine.drain(peer.now, False)
    peer.respond(1, b"enough", 413)
    kinds = [type(frame) for frame in peer.frames()]
    assert kinds[:3] == [HeadersFrame, DataFrame, RstStreamFrame]
    assert GoAwayFrame in kinds


def test_a_client_may_give_up_what_was_answered_early(peer: Any) -> None:
    answer_early(peer)
    peer.send(RstStreamFrame(1, error_code=8))
    assert (peer.frames(), peer.events()) == ([], [])
    peer.expect_alive()
    peer.data(1, b"x")
    peer.expect_connection_error(STREAM_CLOSED)


@pytest.mark.parametrize(
    ("break_rule", "code"),
    [
        (lambda peer: peer.data(1, b"test", end=True), PROTOCOL),
        (lambda peer: peer.data(1, b"", end=True), PROTOCOL),
        (lambda peer: peer.send(peer.headers(1, [("x-test", "ok")])), PROTOCOL),
        (lambda peer: peer.send(peer.headers(1, [(":method", "POST")], "END_STREAM")), PROTOCOL),
        (lambda peer: peer.send_bytes(WINDOW_BY_0), PROTOCOL),
        (lambda peer: peer.send(*[WindowUpdateFrame(1, window_increment=2**31 - 1)] * 2), FLOW_CONTROL),
    ],
    ids=["too much", "too little", "trailers, open", "pseudo-header", "window by 0", "window too large"],
)
def test_the_rules_hold_for_what_was_answered_early(peer: Any, break_rule: Any, code: int) -> None:
    answer_early(peer, content_length="1")
    break_rule(peer)
    peer.expect_stream_error(1, code)
    assert peer.events() == []
