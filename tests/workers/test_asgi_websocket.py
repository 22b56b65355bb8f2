"""WebSocket exchanges with an ASGI application, over real sockets, with the same body on every loop."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hypercorn.protocols.engine import LocalProtocolError
from hypercorn.workers.errors import UnexpectedMessageError

from .websocket_apps import HANDSHAKE, Connect, Message, Recorder, Serve, echo, masked, pause

# ---- messages


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_echo(serve: Serve, ws_connect: Connect, compression: Any) -> None:
    client = ws_connect(serve(echo), compression=compression)
    for message in ("", "hello", b"", b"\0\xff", "€" * 1000, b"x" * 300_000):
        client.send(message)
        assert client.recv() == message
    client.send(["frag", "men", "ted"])
    assert client.recv() == "fragmented"


def test_many_messages_in_flight(serve: Serve) -> None:
    client = serve(echo).connect()
    client.send(HANDSHAKE + b"\r\n")
    assert client.head()[0] == 101
    messages = [f"message {number}".encode() for number in range(5000)]
    frames = b"".join(bytes([0x81, len(message) | 0x80]) + bytes(4) + message for message in messages)
    sender = threading.Thread(target=client.send, args=(frames,))
    sender.start()
    for message in messages:
        assert client.file.read(len(message) + 2) == bytes([0x81, len(message)]) + message
    sender.join()


def test_replies_keep_their_order_and_go_out_together(serve: Serve) -> None:
    """One, two and three messages for each that came, a pause between some of them, and pings between all."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            for number in range(int(message["text"])):
                if number == 1:
                    await pause()
                await send({"type": "websocket.send", "text": f"{message['text']}{number}"})

    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    for _ in range(20):
        for count in (1, 2, 3):
            client.send(masked(0x89, b"p") + masked(0x81, b"%d" % count))
            replies = b"".join(b"\x81\x02%d%d" % (count, number) for number in range(count))
            answer = client.file.read(3 + len(replies))
            assert answer.replace(b"\x8a\x01p", b"", 1) == replies
            client.send(masked(0x81, b"%d" % count))
            assert client.file.read(len(replies)) == replies


def test_a_receive_that_is_given_up_loses_nothing(serve: Serve, loop_name: str) -> None:
    """Timeouts around `receive()` that come and go while messages arrive."""

    async def patient(receive: Any) -> Message:
        while True:
            if loop_name == "trio":
                import trio

                with trio.move_on_after(0.001):
                    return await receive()
            else:
                import asyncio

                try:
                    async with asyncio.timeout(0.001):
                        return await receive()
                except TimeoutError:
                    continue

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await patient(receive))["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    for number in range(300):
        client.send(masked(0x81, b"%05d" % number))
        assert client.file.read(7) == b"\x81\x05%05d" % number


def test_frames_that_cost_much_are_read_in_many_turns(serve: Serve) -> None:
    """All of them come in one read, and the application never waits by itself."""
    turns = 0
    taken: list[int] = []
    ended = threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            while (message := await receive())["type"] == "websocket.receive":
                assert message["text"] == "fragmented"
                taken.append(turns)
            tasks.cancel_scope.cancel()
        ended.set()

    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    client.send((masked(0x01, b"frag") + masked(0x80, b"mented")) * 1000 + masked(0x88, b"\x03\xe8"))
    assert client.file.read(4) == b"\x88\x02\x03\xe8"
    assert ended.wait(10)
    assert len(taken) == 1000
    assert taken[-1] - taken[0] >= 10


def test_such_frames_before_the_connection_is_lost(serve: Serve) -> None:
    app = Recorder()
    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    client.send((masked(0x01, b"frag") + masked(0x80, b"mented")) * 1000 + masked(0x82, b"last"))
    client.sock.shutdown(socket.SHUT_WR)
    client.rest()
    assert app.ended.wait(10)
    assert [message.get("text") for message in app.messages] == ["fragmented"] * 1000 + [None] * 2
    assert app.messages[-2]["bytes"] == b"last"
    assert app.messages[-1]["code"] == 1006


def test_large_messages_both_ways(serve: Serve) -> None:
    client = serve(echo).connect()
    client.send(HANDSHAKE + b"\r\n")
    assert client.head()[0] == 101
    message = b"0123456789abcdef" * (1 << 18)
    size = len(message).to_bytes(8, "big")
    sender = threading.Thread(target=client.send, args=((b"\x82\xff" + size + bytes(4) + message) * 4,))
    sender.start()
    for _ in range(4):
        assert client.file.read(10) == b"\x82\x7f" + size
        assert client.file.read(len(message)) == message
    sender.join()


def test_the_scope(serve: Serve, ws_connect: Connect) -> None:
    app = Recorder()
    server = serve(app)
    ws_connect(server, subprotocols=["a", "b"]).close()
    assert app.ended.wait(10)
    scope = app.scope
    assert scope["http_version"] == "1.1"
    assert scope["scheme"] == "ws"
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/path x", b"/path%20x", b"q=1")
    assert scope["subprotocols"] == ["a", "b"]
    assert scope["server"] == ("127.0.0.1", server.port)
    assert scope["client"][0] == "127.0.0.1"
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert (b"upgrade", b"websocket") in scope["headers"]
    assert "method" not in scope


def test_subprotocol_and_fields(serve: Serve, ws_connect: Connect) -> None:
    app = Recorder({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-a", b"1")]})
    client = ws_connect(serve(app), subprotocols=["a", "b"])
    assert client.subprotocol == "b"
    assert client.response is not None
    assert client.response.headers["x-a"] == "1"
    assert client.response.headers["server"] == "hypercorn-h11"


def test_compression_can_be_switched_off(serve: Serve, ws_connect: Connect) -> None:
    client = ws_connect(serve(echo, websocket_per_message_deflate=False))
    assert client.response is not None
    assert "sec-websocket-extensions" not in client.response.headers


# ---- handshakes that are not accepted


def test_close_before_accept_is_403(serve: Serve, ws_connect: Connect) -> None:
    app = Recorder({"type": "websocket.close"})
    with pytest.raises(InvalidStatus) as caught:
        ws_connect(serve(app))
    assert caught.value.response.status_code == 403
    assert app.ended.wait(10)
    assert app.messages == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


def test_a_denial_response(serve: Serve, ws_connect: Connect) -> None:
    app = Recorder(
        {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-a", b"1")]},
        {"type": "websocket.http.response.body", "body": b"not ", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"you"},
    )
    with pytest.raises(InvalidStatus) as caught:
        ws_connect(serve(app))
    response = caught.value.response
    assert (response.status_code, response.body, response.headers["x-a"]) == (401, b"not you", "1")


@pytest.mark.parametrize(
    ("status", "answers"),
    [
        (403, [{"type": "websocket.close"}]),
        (
            401,
            [
                {"type": "websocket.http.response.start", "status": 401},
                {"type": "websocket.http.response.body", "body": b"not you"},
            ],
        ),
    ],
)
def test_a_refusal_is_no_error(serve: Serve, caplog: Any, status: int, answers: list[Message]) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        for answer in answers:
            await send(answer)

    server = serve(app)
    client = server.connect()
    client.send(HANDSHAKE + b"\r\n")
    assert client.response()[0] == status
    client.close()
    server.close()
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("raises", [True, False])
def test_no_answer_is_500(serve: Serve, ws_connect: Connect, caplog: Any, raises: bool) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        if raises:
            raise RuntimeError("broken")

    with pytest.raises(InvalidStatus) as caught:
        ws_connect(serve(app))
    assert caught.value.response.status_code == 500


def test_a_bad_handshake_is_answered_and_closed(serve: Serve) -> None:
    app = Recorder()
    client = serve(app).connect()
    client.send(HANDSHAKE.replace(b"Version: 13", b"Version: 7") + b"\r\n")
    status, fields, body = client.response()
    assert (status, fields["sec-websocket-version"], body) == (426, "13", b"")
    assert client.rest() == b""
    client = serve(app).connect()
    client.send(HANDSHAKE.replace(b"dGhl", b"d") + b"\r\n")
    assert client.response()[0] == 400
    assert client.rest() == b""
    assert app.scope == {}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"type": "websocket.send", "text": "early"}, UnexpectedMessageError),
        ({"type": "http.response.start", "status": 200}, UnexpectedMessageError),
        ({"type": "websocket.accept", "subprotocol": "other"}, Exception),
        ({"type": "websocket.accept", "headers": [(b"sec-websocket-protocol", b"a")]}, Exception),
        ({"type": "websocket.accept", "headers": [(b"x-a", b"1\r\nx-b: 2")]}, Exception),
        ({"type": "websocket.accept", "headers": [("x-a", b"1")]}, LocalProtocolError),
        ({"type": "websocket.http.response.start", "status": 101}, LocalProtocolError),
        ({"type": "websocket.http.response.start", "status": "401"}, LocalProtocolError),
        ({"type": "websocket.http.response.start", "status": 401, "headers": 5}, LocalProtocolError),
        ({}, LocalProtocolError),
    ],
)
def test_messages_that_are_not_possible(
    serve: Serve, ws_connect: Connect, answer: Message, error: type[Exception]
) -> None:
    app = Recorder(answer)
    with pytest.raises(InvalidStatus) as caught:
        ws_connect(serve(app))
    assert caught.value.response.status_code == 500
    assert app.ended.wait(10)
    assert isinstance(app.errors[0], error)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send", "bytes": 5},
        {"type": "websocket.send", "bytes": "text"},
        {"type": "websocket.close", "reason": 5},
    ],
)
def test_messages_of_the_wrong_form(serve: Serve, ws_connect: Connect, message: Message) -> None:
    app = Recorder({"type": "websocket.accept"}, message)
    client = ws_connect(serve(app))
    with pytest.raises(ConnectionClosed) as caught:
        client.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1011
    assert isinstance(app.errors[0], LocalProtocolError)


def test_data_with_the_handshake(serve: Serve) -> None:
    client = serve(echo).connect()
    client.send(HANDSHAKE + b"\r\n" + b"\x81\x82\0\0\0\0hi")
    assert client.head()[0] == 101
    assert client.file.read(4) == b"\x81\x02hi"


@pytest.mark.parametrize(
    ("last", "code"), [(b"", 1006), (masked(0x88, b"\x10\xe1"), 4321)], ids=["without Close", "with Close"]
)
def test_a_client_that_has_said_all_before_the_answer(serve: Serve, last: bytes, code: int) -> None:
    has_left = threading.Event()
    recorder = Recorder()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            while not has_left.is_set():
                await pause()
            await recorder(scope, receive, send)
        else:
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

    server = serve(app)
    client, witness = server.connect(), server.connect()
    client.send(HANDSHAKE + b"\r\n" + masked(0x81, b"hi") + masked(0x81, b"ho") + last)
    client.sock.shutdown(socket.SHUT_WR)
    for _ in range(2):  # each is a turn of the loop: it has read all that the client has said, and the end
        witness.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert witness.response()[0] == 204
    has_left.set()
    assert client.head()[0] == 101
    assert recorder.ended.wait(10)
    said = [message.get("text", message.get("code")) for message in recorder.messages]
    assert said == ["hi", "ho", code]


def test_a_client_that_leaves_before_the_answer(serve: Serve) -> None:
    app = Recorder({"type": "websocket.accept"})
    late = threading.Event()

    async def patient(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        assert (await receive())["code"] == 1006
        late.set()

    client = serve(patient).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.close()
    assert late.wait(10)
    assert not app.messages


# ---- the access log


def test_a_line_at_the_handshake_and_one_at_the_end(serve: Serve, ws_connect: Connect, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "hypercorn.access")
    app = Recorder()
    server = serve(app, accesslog=logging.getLogger("hypercorn.access"))
    ws_connect(server).close(4002)
    assert app.ended.wait(10)
    server.stop()
    server.join()
    lines = [record.getMessage() for record in caplog.records if record.name == "hypercorn.access"]
    assert len(lines) == 2
    assert " 101 " in lines[0]


def test_the_line_of_a_denial_that_became_a_500(serve: Serve, caplog: Any) -> None:
    """The application gives up before anything of its response has gone out."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        headers = [(b"x-a", b"not sent")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})

    caplog.set_level(logging.INFO, "hypercorn.access")
    server = serve(app, accesslog=logging.getLogger("hypercorn.access"), access_log_format="%(s)s %({x-a}o)s")
    client = server.connect()
    client.send(HANDSHAKE + b"\r\n")
    assert client.response()[0] == 500
    server.stop()
    server.join()
    lines = [record.getMessage() for record in caplog.records if record.name == "hypercorn.access"]
    assert lines == ["500 -"]


def test_an_application_that_exits_ends_only_its_own_websocket(serve: Serve, ws_connect: Connect) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        if (await receive()).get("text") == "exit":
            sys.exit(3)
        await send({"type": "websocket.send", "text": "still here"})

    server = serve(app)
    stays, leaves = ws_connect(server), ws_connect(server)
    leaves.send("exit")
    with pytest.raises(ConnectionClosed) as closed:
        leaves.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    stays.send("stay")
    assert stays.recv(timeout=10) == "still here"
