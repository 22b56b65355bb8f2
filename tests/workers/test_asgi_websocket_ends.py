"""How WebSocket exchanges end, and what happens while one side does not read, with the same body on every loop."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Any

import anyio
import pytest
from tests.conftest import wait_until_full
from websockets.exceptions import ConnectionClosed

from hypercorn.protocols.websocket import SessionParameters
from hypercorn.workers import asgi_websocket

from .websocket_apps import HANDSHAKE, Connect, Message, Recorder, Serve, echo, masked, pause

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


def test_a_reply_in_progress_goes_out_before_the_answer_to_a_close(serve: Serve) -> None:
    has_received, has_closed = threading.Event(), threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            message = await receive()
            has_received.set()
            while not has_closed.is_set():
                await pause()
            await send({"type": "websocket.send", "text": message["text"]})
            assert (await receive())["type"] == "websocket.disconnect"

    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    client.send(masked(0x81, b"request"))
    assert has_received.wait(10)
    client.send(masked(0x89, b"p") + masked(0x88, b"\x03\xe8"))
    assert client.file.read(3) == b"\x8a\x01p"  # so the Close behind it has been read
    has_closed.set()
    assert client.rest() == b"\x81\x07request\x88\x02\x03\xe8"


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


def test_a_client_in_the_middle_of_such_a_message_finds_our_code_before_our_end(serve: Serve) -> None:
    app = Recorder()
    client = serve(app, websocket_max_message_size=1000).connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    client.send(b"\x82\xff" + (100_000).to_bytes(8, "big") + bytes(4) + bytes(50_000))
    close = client.file.read(19)
    assert close[:4] == b"\x88\x11\x03\xf1"
    client.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.sock.recv(1)
    client.sock.settimeout(30)
    client.send(bytes(50_000) + masked(0x88, close[2:]))
    assert client.sock.recv(1) == b""
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


def test_a_stop_tells_an_application_that_waits_for_the_answer_to_its_close(serve: Serve) -> None:
    app = Recorder(
        {"type": "websocket.accept"}, {"type": "websocket.close", "code": 4000, "reason": "enough"}
    )
    server = serve(app)
    client = server.connect()
    client.send(HANDSHAKE + b"\r\n")
    client.head()
    close = client.file.read(10)
    server.stop()
    assert app.ended.wait(10)
    assert app.messages == [{"type": "websocket.disconnect", "code": 4000, "reason": "enough"}]
    client.send(masked(0x88, close[2:]))
    assert client.rest() == b""
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


def test_a_ping_is_not_missed_while_a_slow_client_is_being_sent_a_message(serve: Serve) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/slow":
            await send({"type": "websocket.send", "bytes": bytes(20_000_000)})
            await send({"type": "websocket.send", "text": "more"})
        await receive()

    server = serve(app, websocket_ping_interval=0.1, websocket_ping_timeout=0.2)
    slow, silent = server.connect(), server.connect()
    slow.send(HANDSHAKE.replace(b"/path%20x", b"/slow") + b"\r\n")
    slow.head()
    wait_until_full(slow.sock)
    # Another has been given up by now that came later.
    silent.send(HANDSHAKE + b"\r\n")
    silent.head()
    assert silent.rest()[:6] == b"\x89\x00\x88\x1b\x03\xf3"
    assert slow.file.read(10) == b"\x82\x7f" + (20_000_000).to_bytes(8)
    assert len(slow.file.read(20_000_000)) == 20_000_000
    while (head := slow.file.read(2)) == b"\x89\x00":
        pass
    assert head + slow.file.read(4) == b"\x81\x04more"


def test_an_application_that_sends_and_sends_leaves_others_their_turn(serve: Serve) -> None:
    """Its client takes all of it, so that nothing ever holds it up."""
    many, sent = 1_000_000, 0
    has_begun, is_served = threading.Event(), threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            while sent < many and not is_served.is_set():
                await send({"type": "websocket.send", "bytes": b"x"})
                sent += 1
                has_begun.set()
        else:
            assert scope["type"] == "http"
            if has_begun.is_set():
                is_served.set()
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

    def ask() -> None:
        other.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert other.response()[0] == 204

    server = serve(app)
    other, client = server.connect(), server.connect()
    ask()
    client.send(HANDSHAKE + b"\r\n")
    reader = threading.Thread(target=client.rest)
    reader.start()
    assert has_begun.wait(10)
    ask()
    client.sock.shutdown(socket.SHUT_WR)
    reader.join(10)
    assert sent < many


def test_so_does_one_that_sends_tiny_messages(serve: Serve) -> None:
    """They are too few for anything else to make it wait."""
    many, sent = 20_000, 0
    has_begun, is_asked, is_served = threading.Event(), threading.Event(), threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            has_begun.set()
            assert is_asked.wait(10)
            while sent < many and not is_served.is_set():
                await send({"type": "websocket.send", "bytes": b""})
                sent += 1
        else:
            assert scope["type"] == "http"
            is_served.set()
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

    server = serve(app)
    client, other = server.connect(), server.connect()
    client.send(HANDSHAKE + b"\r\n")
    assert has_begun.wait(10)
    other.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    is_asked.set()
    assert other.response()[0] == 204
    client.sock.shutdown(socket.SHUT_WR)
    client.rest()
    assert sent < many


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


def test_a_denial_that_ends_while_another_task_waits_to_send(serve: Serve) -> None:
    is_full, ended = threading.Event(), threading.Event()
    errors: list[OSError] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await send({"type": "websocket.http.response.start", "status": 403})

        async def write() -> None:
            body = bytes(20_000_000)
            try:
                await send({"type": "websocket.http.response.body", "body": body, "more_body": True})
            except OSError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            while not is_full.is_set():
                await pause()
            await send({"type": "websocket.http.response.body", "body": b"end"})
        ended.set()

    client = serve(app).connect()
    client.send(HANDSHAKE + b"\r\n")
    wait_until_full(client.sock)
    is_full.set()
    assert ended.wait(10)
    assert len(errors) == 1
    assert client.response()[2] == bytes(20_000_000) + b"end"
