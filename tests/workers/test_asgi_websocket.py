"""WebSocket exchanges with an ASGI application, over real sockets, with the same body on every loop."""

from __future__ import annotations

import logging
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import anyio
import pytest
from tests.conftest import wait_until_full
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from hypercorn.protocols.engine import LocalProtocolError
from hypercorn.protocols.websocket import SessionParameters
from hypercorn.workers import asgi_websocket
from hypercorn.workers.errors import UnexpectedMessageError

from .websocket_apps import Message, Recorder, Serve, echo

Connect = Callable[..., ClientConnection]

HANDSHAKE = (
    b"GET /path%20x?q=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture
def ws_connect() -> Iterator[Connect]:
    """Connect to a server with the client of `websockets`."""
    with ExitStack() as stack:

        def open_client(server: Any, **options: Any) -> ClientConnection:
            uri = f"ws://127.0.0.1:{server.port}/path%20x?q=1"
            return stack.enter_context(connect(uri, proxy=None, **options))

        yield open_client


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


def masked(first: int, payload: bytes) -> bytes:
    """A short frame with a key that changes nothing."""
    return bytes([first, 128 | len(payload), 0, 0, 0, 0]) + payload


async def pause() -> None:
    import sniffio

    if sniffio.current_async_library() == "trio":
        import trio

        await trio.sleep(0.01)
    else:
        import asyncio

        await asyncio.sleep(0.01)


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


# ---- ends


def test_the_clients_code_and_reason_reach_the_application(serve: Serve, ws_connect: Connect) -> None:
    app = Recorder()
    ws_connect(serve(app)).close(4321, "because")
    assert app.ended.wait(10)
    assert app.messages == [{"type": "websocket.disconnect", "code": 4321, "reason": "because"}]


def test_the_applications_code_and_reason_reach_the_client(serve: Serve, ws_connect: Connect) -> None:
    app = Recorder(
        {"type": "websocket.accept"},
        {"type": "websocket.send", "text": "bye"},
        {"type": "websocket.close", "code": 4000, "reason": "enough"},
    )
    client = ws_connect(serve(app))
    assert client.recv() == "bye"
    with pytest.raises(ConnectionClosed) as caught:
        client.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4000, "enough")
    assert app.ended.wait(10)
    assert app.messages[-1]["code"] == 4000


def test_a_client_that_vanishes(serve: Serve) -> None:
    app = Recorder()
    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    client.sock.shutdown(socket.SHUT_RDWR)
    assert app.ended.wait(10)
    assert app.messages == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


def test_sending_after_the_end_is_an_oserror(serve: Serve, ws_connect: Connect) -> None:
    async def receive_and_send(receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.disconnect"
        await send({"type": "websocket.close"})
        await send({"type": "websocket.send", "text": "nobody there"})

    app = Recorder(after=receive_and_send)
    ws_connect(serve(app)).close()
    assert app.ended.wait(10)
    assert isinstance(app.errors[0], OSError)


@pytest.mark.parametrize(("raises", "code"), [(True, 1011), (False, 1000)])
def test_an_application_that_ends(serve: Serve, ws_connect: Connect, raises: bool, code: int) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await send({"type": "websocket.accept"})
        if raises:
            raise RuntimeError("broken")

    client = ws_connect(serve(app))
    with pytest.raises(ConnectionClosed) as caught:
        client.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == code


def test_a_message_beyond_the_limit(serve: Serve, ws_connect: Connect) -> None:
    app = Recorder()
    client = ws_connect(serve(app, websocket_max_message_size=1000))
    client.send("x" * 1001)
    with pytest.raises(ConnectionClosed) as caught:
        client.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009
    assert app.ended.wait(10)
    assert app.messages[-1]["code"] == 1009


def test_pings_and_a_peer_that_does_not_answer(serve: Serve) -> None:
    app = Recorder()
    client = serve(app, websocket_ping_interval=0.1, websocket_ping_timeout=0.2).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    assert client.file.read(2) == b"\x89\x00"
    rest = client.rest()
    assert rest[:1] == b"\x88"
    assert rest[2:4] == b"\x03\xf3"
    assert app.ended.wait(10)
    assert app.messages[-1]["code"] == 1011


def test_a_peer_that_answers_pings_stays(serve: Serve, ws_connect: Connect) -> None:
    client = ws_connect(serve(echo, websocket_ping_interval=0.05, websocket_ping_timeout=5))
    with pytest.raises(TimeoutError):
        client.recv(timeout=0.5)
    client.send("still here")
    assert client.recv() == "still here"


def test_a_stop_tells_both_sides(serve: Serve, ws_connect: Connect) -> None:
    app = Recorder()
    server = serve(app)
    client = ws_connect(server)
    server.stop()
    with pytest.raises(ConnectionClosed) as caught:
        client.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001
    assert app.ended.wait(10)
    assert app.messages == [{"type": "websocket.disconnect", "code": 1001, "reason": ""}]
    server.join()


def test_a_handshake_during_a_stop(serve: Serve) -> None:
    """Its request has begun to arrive, so the server waits for it."""
    recorder = Recorder()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await recorder(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

    server = serve(app)
    client, idle = server.connect(), server.connect()
    client.send(HANDSHAKE)
    idle.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle.response()[0] == 204
    server.stop()
    assert idle.rest() == b""
    client.send(b"\r\n")
    assert client.head()[0] == 101
    assert client.file.read(4) == b"\x88\x02\x03\xe9"
    client.send(masked(0x88, b"\x03\xe9"))
    assert client.rest() == b""
    server.join()
    assert recorder.messages == [{"type": "websocket.disconnect", "code": 1001, "reason": ""}]


# ---- back-pressure


def test_an_application_that_does_not_receive(serve: Serve) -> None:
    go_on = threading.Event()
    counted: list[int] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "ready"})
        message = await receive()
        await send({"type": "websocket.send", "text": "first"})
        while not go_on.is_set():
            await pause()
        total = 0
        while message["type"] == "websocket.receive":
            total += len(message["bytes"])
            message = await receive()
        counted.append(total)
        await send({"type": "websocket.close"})

    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    assert client.file.read(7) == b"\x81\x05ready"
    frame = b"\x82\xfe\xff\xff\0\0\0\0" + bytes(65535)
    client.sock.setblocking(False)
    sent = 0
    # It ends when every buffer on the way is full, long before all is sent.
    try:
        for _ in range(4000):
            data = memoryview(frame)
            while data:
                size = client.sock.send(data)
                sent += size
                data = data[size:]
    except BlockingIOError:
        pass
    assert sent < 100_000_000
    client.close()
    go_on.set()


def test_a_close_far_behind_does_not_wait_for_an_application_that_stops_receiving(serve: Serve) -> None:
    """It has been counted as read with the messages before it, which did not fit into the queue."""
    closed = threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(4):
            await receive()
        while not closed.is_set():
            await pause()

    client = serve(app, max_app_queue_size=2).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    fragmented = masked(0x01, b"frag") + masked(0x80, b"mented")
    client.send(fragmented * 2 + masked(0x81, b"whole") * 3 + masked(0x88, b"\x03\xe8"))
    assert client.file.read(4) == b"\x88\x02\x03\xe8"
    closed.set()


def test_a_stop_does_not_cut_what_a_slow_client_is_being_sent(serve: Serve, monkeypatch: Any) -> None:
    """The time to answer the Close has passed many times before the client could have it."""
    impatient = SessionParameters(close_timeout=0.01)
    monkeypatch.setattr(asgi_websocket, "session_parameters", lambda settings: impatient)

    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "bytes": bytes(20_000_000)})
        else:
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

    server = serve(app, graceful_timeout=60, read_timeout=0.5)
    client, idle = server.connect(), server.connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    idle.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    idle.response()
    wait_until_full(client.sock)
    server.stop()
    assert idle.rest() == b""
    wait_until_full(client.sock)  # some ticks of the server, which `read_timeout` makes short
    assert client.file.read(10) == b"\x82\x7f" + (20_000_000).to_bytes(8)
    assert len(client.file.read(20_000_000)) == 20_000_000
    assert client.rest() == b"\x88\x02\x03\xe9"


def test_a_client_that_does_not_read(serve: Serve) -> None:
    progress: list[int] = []
    ended = threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(100_000)})
                progress.append(1)
        finally:
            ended.set()

    client = serve(app, write_timeout=0.5).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    assert ended.wait(10)
    assert len(progress) < 1000


def test_a_client_that_does_not_read_its_pongs_and_is_gone(serve: Serve) -> None:
    app = Recorder()
    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    # Nobody takes the pongs, so that the server stops to read. Should it only have been slow, nothing is shown.
    client.sock.settimeout(0.5)
    with suppress(TimeoutError):
        while True:
            client.sock.send(masked(0x89, b"x" * 100) * 100)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert app.ended.wait(10)
    assert app.messages == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


def test_messages_that_came_while_the_client_did_not_read(serve: Serve) -> None:
    """Reading stands still while two senders wait; who receives must hear of it when it goes on."""
    received: list[str] = []
    ended = threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})

        async def write() -> None:
            for _ in range(100):
                await send({"type": "websocket.send", "bytes": bytes(100_000)})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            tasks.start_soon(write)
            while len(received) < 2:
                received.append((await receive())["text"])
        ended.set()

    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    wait_until_full(client.sock)
    client.send(masked(0x81, b"one") + masked(0x81, b"two"))
    client.file.read(200 * (10 + 100_000))
    assert client.file.read(4) == b"\x88\x02\x03\xe8"
    assert ended.is_set()
    assert received == ["one", "two"]


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
