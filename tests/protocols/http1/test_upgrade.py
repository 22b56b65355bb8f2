"""WebSocket tunnels and the two ways to cleartext HTTP/2."""

from __future__ import annotations

import math

import pytest

from hypercorn.protocols.engine import Closing, LocalProtocolError
from hypercorn.protocols.events import Data, StreamClosed, SwitchToHTTP2

WEBSOCKET = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
H2C = (
    b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
)
SETTINGS = bytes.fromhex("000300000064000400a00000000200000000")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n"


def accept(session) -> None:
    session.head(101, [(b"Upgrade", b"websocket"), (b"connection", b"x"), (b"sec-websocket-accept", b"y")])
    session.settle()


# ---- WebSocket


def test_tunnel(connect, cut) -> None:
    session = connect()
    session.say(WEBSOCKET + b"early", cut)
    [request] = session.requests
    assert request.upgrade == "websocket"
    assert not session.body
    accept(session)
    assert session.take_output() == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: y\r\n"
        b"date: today\r\nserver: us\r\nconnection: Upgrade\r\n\r\n"
    )
    session.say(b"GET / HTTP/1.1\r\n\r\n", cut)
    assert session.body == b"earlyGET / HTTP/1.1\r\n\r\n"
    assert session.engine.deadline == math.inf
    session.data(b"raw")
    session.data(b"end", True)
    assert session.output == b"rawend"
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_tunnel_pauses(connect) -> None:
    session = connect(max_buffered_body=10)
    session.say(WEBSOCKET)
    accept(session)
    session.say(b"x" * 20)
    assert not session.engine.wants_read
    session.engine.consume(1, 20, 0.0)
    assert session.engine.wants_read
    assert session.engine.deadline == math.inf


def test_tunnel_behind_content_that_was_not_read(connect) -> None:
    """As a proxy that keeps its connections may send it."""
    session = connect(max_buffered_body=10)
    session.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n" + b"x" * 20)
    session.answer()
    session.say(WEBSOCKET)
    accept(session)
    session.say(b"12345")
    session.engine.consume(2, 5, 0.0)
    assert session.engine.wants_read


def test_end_of_input_in_a_tunnel(connect) -> None:
    session = connect()
    session.say(WEBSOCKET)
    accept(session)
    session.eof()
    assert isinstance(session.events[-1], StreamClosed)
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_end_of_input_before_a_tunnel(connect) -> None:
    session = connect()
    session.say(WEBSOCKET + b"last")
    session.eof()
    accept(session)
    assert session.body == b"last"
    assert isinstance(session.events[-1], StreamClosed)
    assert b"101" in session.output


def test_reset_of_a_tunnel(connect) -> None:
    session = connect()
    session.say(WEBSOCKET)
    accept(session)
    session.engine.reset_stream(1, 0.0)
    assert session.engine.closing is Closing.ABORT


def test_refused_upgrade_is_a_normal_response(connect) -> None:
    session = connect()
    session.say(WEBSOCKET + WEBSOCKET)
    session.answer(status=403)
    assert session.output.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert session.is_open
    assert len(session.requests) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GET", b"POST"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Connection: keep-alive, Upgrade", b"Connection: keep-alive"),
        (b"Upgrade: WebSocket", b"Upgrade: websockets"),
        (b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx"),
    ],
)
def test_not_an_upgrade(old, new, connect) -> None:
    session = connect()
    session.say(WEBSOCKET.replace(old, new))
    assert session.requests[0].upgrade is None
    with pytest.raises(LocalProtocolError):
        session.head(101)


# ---- Upgrade: h2c


def test_h2c(connect, cut) -> None:
    session = connect()
    session.say(H2C, cut)
    [event] = session.events
    assert isinstance(event, SwitchToHTTP2)
    assert event.request.raw_path == b"/x"
    assert event.request.stream_id == 1
    assert (event.settings, event.trailing) == (SETTINGS, b"")
    assert session.output == SWITCHING
    assert session.engine.deadline == math.inf
    assert session.is_open


def test_h2c_with_the_preface_behind(connect) -> None:
    session = connect(pass_raw_names=True)
    session.say(H2C + PREFACE)
    [event] = session.events
    assert event.trailing == PREFACE
    assert event.request.fields[0] == (b"host", b"a")
    session.say(b"more")
    session.eof()
    assert len(session.events) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Upgrade, HTTP2-Settings", b"Upgrade"),
        (b"Upgrade, HTTP2-Settings", b"HTTP2-Settings"),
        (b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n", b""),
        (b"HTTP2-Settings: A", b"HTTP2-Settings: AAMAAABk\r\nHTTP2-Settings: A"),
        (b"AAMAAABkAAQAoAAAAAIAAAAA", b"AAMAAABkAAQAoAAAAAIAAAA"),
        (b"AAMAAABkAAQAoAAAAAIAAAAA", b"AAMAAABkAAQAoAAAAAIAAAAAA"),
        (b"AAMAAABkAAQAoAAAAAIAAAAA", b"AAMA AABk"),
        (b"AAMAAABkAAQAoAAAAAIAAAAA", b"AAMAAABk="),
        (b"Upgrade: h2c", b"Upgrade: h2"),
        (b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx"),
    ],
)
def test_h2c_ignored(old, new, connect) -> None:
    session = connect()
    session.say(H2C.replace(old, new))
    assert len(session.requests) == 1
    session.answer()
    assert session.output.startswith(b"HTTP/1.1 200 OK\r\n")


def test_h2c_empty_settings(connect) -> None:
    session = connect()
    session.say(H2C.replace(b"AAMAAABkAAQAoAAAAAIAAAAA", b""))
    assert session.events[0].settings == b""


@pytest.mark.parametrize("parameters", [{"secure": True}, {"h2c_upgrade": False}])
def test_h2c_not_allowed(parameters, connect) -> None:
    session = connect(**parameters)
    session.say(H2C)
    assert session.requests


def test_h2c_while_draining(connect) -> None:
    session = connect()
    session.engine.drain(0.0, False)
    session.say(H2C)
    assert session.requests


def test_continue_comes_before_switching(connect) -> None:
    """RFC 9110 §7.8."""
    expect = b"\r\nExpect: 100-continue\r\n\r\n"
    session = connect()
    session.say(H2C.replace(b"\r\n\r\n", expect))
    assert session.output == b"HTTP/1.1 100 Continue\r\n\r\n" + SWITCHING
    session = connect()
    session.say(WEBSOCKET.replace(b"\r\n\r\n", expect))
    accept(session)
    assert session.output.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 ")


# ---- prior knowledge


def test_prior_knowledge(connect, cut) -> None:
    session = connect()
    session.say(PREFACE, cut)
    session.say(b"frames")
    [event] = session.events
    assert isinstance(event, SwitchToHTTP2)
    assert (event.request, event.settings, event.trailing) == (None, b"", PREFACE)
    assert session.is_open


def test_prior_knowledge_in_two_pieces_and_with_frames(connect) -> None:
    session = connect()
    session.say(PREFACE[:18])
    assert not session.events
    assert not session.engine.is_idle
    session.say(PREFACE[18:] + b"frames")
    assert session.events[0].trailing == PREFACE + b"frames"


def test_prior_knowledge_switched_off(connect, cut) -> None:
    session = connect(h2c_prior_knowledge=False)
    session.say(PREFACE, cut)
    assert session.refused == [505]


def test_prior_knowledge_only_at_the_start(connect, cut) -> None:
    session = connect()
    session.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    session.answer()
    session.say(PREFACE, cut)
    assert session.refused == [505]


def test_what_only_begins_like_the_preface(connect, cut) -> None:
    session = connect()
    session.say(b"PRI * HTTP/2.0\r\n\r\nXX", cut)
    assert session.refused == [505]
    session = connect()
    session.say(b"PRINT / HTTP/1.1\r\nHost: a\r\n\r\n", cut)
    assert session.requests[0].method == "PRINT"


def test_an_invalid_preface_gets_no_answer(connect, cut) -> None:
    """RFC 9113 §3.4: to who reads frames, an HTTP/1.1 response is no answer but the begin of an endless frame."""
    session = connect()
    session.say(b"INVALID CONNECTION PREFACE\r\n\r\n", cut)
    assert (session.output, session.refused, session.engine.closing) == (b"", [], Closing.AFTER_FLUSH)
    assert session.engine.fault


@pytest.mark.parametrize(
    "head",
    [
        b"SHORT AND WRONG\r\n\r\n",
        b"GET /a/rather/long/target WITHOUT\r\n\r\n",
        b"GET http://example.org/long WITHOUT\r\n\r\n",
        b"CONNECT example.organisation:443 WITHOUT\r\n\r\n",
        b"GET something-that-is-long HTTP\r\n\r\n",
        b"GET something-that-is-long FTP/1.1\r\n\r\n",
    ],
)
def test_what_could_be_a_request_is_answered(connect, cut, head) -> None:
    session = connect()
    session.say(head, cut)
    assert session.refused == [400]


def test_without_prior_knowledge_there_is_no_preface(connect, cut) -> None:
    session = connect(h2c_prior_knowledge=False)
    session.say(b"INVALID CONNECTION PREFACE\r\n\r\n", cut)
    assert session.refused == [400]


def test_over_tls_there_is_no_preface(connect, cut) -> None:
    """ALPN decides (RFC 9113 §3.2), and nobody has agreed on HTTP/2 here."""
    session = connect(secure=True)
    session.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", cut)
    assert session.refused == [505]


def test_data_event_of_a_tunnel_is_never_the_last(connect) -> None:
    session = connect()
    session.say(WEBSOCKET)
    accept(session)
    session.say(b"x")
    assert [event.end_stream for event in session.events if isinstance(event, Data)] == [False]
