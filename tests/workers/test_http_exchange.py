"""HTTP exchanges with an ASGI application, over a real socket, with the same body on every loop."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hypercorn.workers.connection import FLUSH_SIZE

from .websocket_apps import HANDSHAKE, pause

Serve = Callable[..., Any]
Message = dict[str, Any]


async def hello(scope: Message, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def echo(scope: Message, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def test_answers_and_keeps_the_connection(serve: Serve) -> None:
    client = serve(hello).connect()
    for _ in range(3):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        status, fields, body = client.response()
        assert (status, body) == (200, b"hello")
        assert fields["content-length"] == "5"
        assert "date" in fields
        assert fields["server"] == "hypercorn-h11"


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    client = serve(echo).connect()
    for number in range(50):
        body = b"%d" % number
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert [client.response()[2] for _ in range(50)] == [b"%d" % number for number in range(50)]


def test_streams_out_as_the_application_sends(serve: Serve) -> None:
    go_on = threading.Event()
    received: list[bytes] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        message = await receive()
        assert message["type"] == "http.request"
        while (message := await receive())["type"] != "http.disconnect":
            received.append(message["body"])
        go_on.set()

    client = serve(app).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    _, fields = client.head()
    assert fields["transfer-encoding"] == "chunked"
    assert client.chunk() == b"one"
    client.close()
    assert go_on.wait(10)


def test_upload_larger_than_every_buffer(serve: Serve) -> None:
    client = serve(echo).connect()
    body = b"0123456789abcdef" * 65536
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
    threading.Thread(target=client.send, args=(body,)).start()
    assert client.response()[2] == body


def test_chunked_upload(serve: Serve) -> None:
    client = serve(echo).connect()
    client.send(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert client.response()[2] == b"abcde"


def test_continue_is_sent_when_the_application_reads(serve: Serve) -> None:
    client = serve(echo).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert client.head()[0] == 100
    client.send(b"ok")
    assert client.response()[2] == b"ok"


def test_no_continue_when_the_application_does_not_read(serve: Serve) -> None:
    client = serve(hello).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    status, fields, _ = client.response()
    assert status == 200
    assert fields["connection"] == "close"
    assert client.rest() == b""


def test_an_early_hint_behind_the_head_does_no_harm(serve: Serve) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]})
        await send({"type": "http.response.body", "body": b"hello"})

    client = serve(app).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    status, _, body = client.response()
    assert (status, body) == (200, b"hello")


START = {"type": "http.response.start", "status": 200}


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([{}], "a message without a type"),
        ([None], "a message without a type"),
        ([{"type": "http.response.start"}], "a number as status"),
        ([{**START, "status": "200"}], "a number as status"),
        ([{**START, "headers": None}], "pairs of bytes as headers"),
        ([START, {"type": "http.response.body", "body": 5}], "bytes are wanted as the body of"),
        ([START, {"type": "http.response.body", "body": "text"}], "bytes are wanted as the body of"),
        ([START, {"type": "http.response.pathsend"}], "takes an absolute path, not None"),
        ([{"type": "http.response.early_hint", "links": [5]}], "bytes are wanted as a link of"),
        ([{"type": "http.response.trailers", "headers": [("a", b"b")]}], "pairs of bytes are wanted"),
    ],
)
def test_a_message_of_the_wrong_form_is_named(serve: Serve, messages: list[Any], complaint: str) -> None:
    errors: list[str] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        try:
            for message in messages:
                await send(message)
        except Exception as error:
            errors.append(str(error))
            raise

    client = serve(app).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response()[0] == 500
    assert complaint in errors[0]


def test_a_stream_of_many_small_pieces_leaves_others_their_turn(serve: Serve) -> None:
    """There are too few for anything else to make it wait."""
    many, sent = FLUSH_SIZE - 1, 0
    has_begun, is_asked, is_served = threading.Event(), threading.Event(), threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        nonlocal sent
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        if scope["path"] == "/stream":
            has_begun.set()
            assert is_asked.wait(10)
            while sent < many and not is_served.is_set():
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                sent += 1
        else:
            is_served.set()
        await send({"type": "http.response.body"})

    server = serve(app)
    client, other = server.connect(), server.connect()
    client.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert has_begun.wait(10)
    other.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    is_asked.set()
    assert other.response()[0] == client.response()[0] == 200
    assert sent < many


def test_application_error_before_the_response(serve: Serve) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        raise RuntimeError("broken")

    client = serve(app).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    status, fields, body = client.response()
    assert (status, body, fields["connection"]) == (500, b"", "close")


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"], indirect=True)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_awaiting_what_is_cancelled_is_a_failure_like_others(
    serve: Serve, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On trio nothing is cancelled but from outside."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == kind
        result = asyncio.get_running_loop().create_future()
        result.cancel()
        await result

    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n" if kind == "websocket" else b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response()[0] == 500
    errors = [record for record in caplog.records if "Error in the application" in record.getMessage()]
    assert [record.exc_info and record.exc_info[0] for record in errors] == [asyncio.CancelledError]


def test_application_error_within_the_response_cuts_the_connection(serve: Serve) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("broken")

    client = serve(app).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        answer = client.rest()
    except ConnectionResetError:
        return
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_reset_behind_unread_data_reaches_the_application(serve: Serve, size: int) -> None:
    told = threading.Event()

    async def wait(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    client = serve(wait).connect()
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n" + b"x" * size)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert told.wait(10)


def test_slow_reader_holds_the_application_back(serve: Serve) -> None:
    sent = [0]
    ended = threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
                sent[0] += 1
        except OSError:
            ended.set()
            raise

    client = serve(app, write_timeout=0.3).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.head()[0] == 200
    # The client reads no further: the write timeout cuts it, and send() raises OSError.
    assert ended.wait(10)
    assert sent[0] < 1000


def test_scope(serve: Serve) -> None:
    seen: list[Message] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        seen.append(scope)
        await hello(scope, receive, send)

    server = serve(app, root_path="/root/")
    client = server.connect()
    client.send(b"GET /a%20b?c=%20d HTTP/1.1\r\nHost: x\r\nX-Thing:  one \r\n\r\n")
    assert client.response()[0] == 200
    (scope,) = seen
    assert scope["client"] == client.sock.getsockname()
    assert scope["server"] == ("127.0.0.1", server.port)
    assert scope["headers"] == [(b"host", b"x"), (b"x-thing", b"one")]
    assert scope["method"] == "GET"
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"c=%20d")
    assert (scope["http_version"], scope["scheme"], scope["root_path"]) == ("1.1", "http", "/root")
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}


def test_graceful_stop_finishes_what_is_open(serve: Serve) -> None:
    server = serve(echo)
    client, idle = server.connect(), server.connect()
    idle.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert idle.response()[0] == 200
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
    idle.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert idle.response()[0] == 200  # so the server has seen the other request too
    server.stop()
    assert idle.rest() == b""
    client.send(b"cd")
    status, fields, body = client.response()
    assert (status, body, fields["connection"]) == (200, b"abcd", "close")
    client.close()
    server.join()
    assert server.error is None


def test_an_upgrade_behind_another_request_of_a_client_that_has_left_ends_the_connection(
    serve: Serve,
) -> None:
    """Nothing of HTTP/2 can follow it. Otherwise what it asks for would be held for as long as a client may be idle."""
    has_left = threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        while scope["path"] == "/first" and not has_left.is_set():
            await pause()
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    server = serve(app, keep_alive_timeout=600)
    client, witness = server.connect(), server.connect()
    client.send(
        b"GET /first HTTP/1.1\r\nhost: x\r\n\r\n"
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
        b"http2-settings: AAMAAABk\r\n\r\n"
    )
    client.sock.shutdown(socket.SHUT_WR)
    for _ in range(2):  # each is a turn of the loop: it has read all that the client has said, and the end
        witness.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert witness.response()[0] == 204
    has_left.set()
    assert client.response()[0] == 204
    assert client.head()[0] == 101
    client.rest()


def read_all(environ: Message, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [body]


@pytest.mark.parametrize("app", [echo, read_all])
def test_a_request_that_the_engine_refuses_is_logged_once(
    serve: Serve, caplog: pytest.LogCaptureFixture, app: Any
) -> None:
    caplog.set_level(logging.INFO, "hypercorn.access")
    server = serve(
        app,
        accesslog=logging.getLogger("hypercorn.access"),
        access_log_format="%(m)s %(U)s %(a)s %(s)s %(B)s",
    )
    client = server.connect()
    client.send(
        b"POST /a HTTP/1.1\r\nhost: x\r\nuser-agent: me\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n"
    )
    assert client.response()[0] == 400
    client.close()  # which the server would wait for
    server.stop()
    server.join()
    lines = [record.getMessage() for record in caplog.records if record.name == "hypercorn.access"]
    assert lines == ["POST /a me 400 0"]


@pytest.mark.parametrize(
    ("request_line", "logged"),
    [
        pytest.param(b"GET  /a", "- - - 400", id="unreadable"),
        pytest.param(b"GET /a?b HTTP/1.1\r\nno colon", "GET /a 1.1 400", id="readable"),
    ],
)
def test_what_was_not_read_of_a_request_is_a_dash_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture, request_line: bytes, logged: str
) -> None:
    caplog.set_level(logging.INFO, "hypercorn.access")
    server = serve(echo, accesslog=logging.getLogger("hypercorn.access"), access_log_format="%(r)s %(s)s")
    client = server.connect()
    client.send(request_line + b"\r\n\r\n")
    assert client.response()[0] == 400
    client.close()
    server.stop()
    server.join()
    lines = [record.getMessage() for record in caplog.records if record.name == "hypercorn.access"]
    assert lines == [logged]
