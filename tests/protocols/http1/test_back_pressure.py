"""Back-pressure both ways: an application that does not read, and a peer that does not."""

from __future__ import annotations

import math

import pytest

from hypercorn.protocols.engine import Closing
from hypercorn.protocols.events import Writable
from hypercorn.protocols.http1.state import MAX_WAITING

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"


def test_body_pauses_until_it_is_consumed(connect) -> None:
    session = connect(max_buffered_body=10, read_timeout=3.0)
    session.say(POST + b"x" * 8)
    assert session.engine.wants_read
    assert session.engine.deadline == 3.0
    session.say(b"x" * 8)
    assert not session.engine.wants_read
    assert session.engine.deadline == math.inf
    session.now = 50.0
    session.engine.consume(1, 4, session.now)
    assert not session.engine.wants_read
    session.engine.consume(1, 8, session.now)
    assert session.engine.wants_read
    assert session.engine.deadline == 53.0
    session.engine.consume(7, 8, session.now)


def test_writable(connect) -> None:
    session = connect()
    session.say(GET)
    session.engine.set_transport_writable(True, session.now)
    assert session.engine.can_send(1)
    session.engine.set_transport_writable(False, session.now)
    assert not session.engine.can_send(1)
    assert session.engine.can_send(2)
    session.engine.set_transport_writable(True, session.now)
    session.settle()
    assert isinstance(session.events[-1], Writable)
    session.engine.set_transport_writable(False, session.now)
    assert not session.engine.can_send(1)
    session.answer()
    session.engine.set_transport_writable(True, session.now)
    session.settle()
    assert session.engine.can_send(1)
    assert sum(isinstance(event, Writable) for event in session.events) == 1


def test_requests_wait_while_the_peer_does_not_read(connect) -> None:
    """Answers to pipelined requests must not pile up behind a transport that takes no more."""
    session = connect()
    session.say(GET * 3)
    session.engine.set_transport_writable(False, session.now)
    session.answer()
    assert session.stream_id == 1
    assert not session.engine.is_idle
    session.engine.set_transport_writable(True, session.now)
    session.settle()
    assert session.stream_id == 2
    session.answer()
    assert session.stream_id == 3


def test_a_request_that_comes_while_the_peer_does_not_read_waits(connect, cut) -> None:
    """Nor must answers to requests that come one by one."""
    session = connect()
    session.say(GET)
    session.answer()
    session.engine.set_transport_writable(False, session.now)
    session.say(GET + GET, cut)
    assert session.stream_id == 1
    assert session.engine.wants_read
    session.say(b"x" * MAX_WAITING)
    assert not session.engine.wants_read
    session.engine.set_transport_writable(True, session.now)
    session.settle()
    assert session.stream_id == 2
    session.answer()
    assert session.stream_id == 3


def test_a_peer_is_not_idle_before_it_has_the_answer(connect) -> None:
    session = connect(keep_alive_timeout=5.0, header_timeout=1.0)
    session.say(GET)
    session.answer()
    assert session.engine.deadline == 5.0
    session.engine.set_transport_writable(False, session.now)
    session.say(GET[:5])
    session.wait(100.0)
    assert session.is_open
    session.engine.set_transport_writable(True, session.now)
    assert session.engine.deadline == 101.0
    session.say(GET[5:])
    session.answer()
    assert session.engine.deadline == 105.0


@pytest.mark.parametrize("at_once", [True, False])
def test_a_drain_while_the_peer_does_not_read(connect, at_once: bool) -> None:
    session = connect()
    session.say(GET)
    session.answer()
    session.engine.set_transport_writable(False, session.now)
    session.engine.drain(session.now, at_once)
    assert session.is_open is not at_once
    session.engine.set_transport_writable(True, session.now)
    assert session.is_open is not at_once


def test_the_end_of_a_peer_that_does_not_read(connect) -> None:
    session = connect()
    session.say(GET)
    session.answer()
    session.engine.set_transport_writable(False, session.now)
    session.eof()
    session.engine.set_transport_writable(True, session.now)
    session.settle()
    assert session.engine.closing is Closing.AFTER_FLUSH
