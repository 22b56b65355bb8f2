"""Large output: it is not copied for readers that are slow, and encrypted as the socket takes it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import ssl
import threading
import tracemalloc
import types
from pathlib import Path
from typing import Any

import pytest
import trustme
from h2.connection import H2Connection
from h2.settings import SettingCodes
from tests.workers.conftest import Serve
from tests.workers.tls_client import (
    Client,
    Handshake,
    client_context,
    dial,
    server_context,
    websocket_answers,
)
from tests.workers.tls_records import APPLICATION_DATA, HANDSHAKE, KEY_UPDATE, KEY_UPDATE_REQUESTED

from hypercorn.protocols.http2.engine import MAX_WAITING_FRAMES
from hypercorn.workers.tls import TLSLayer, TLSMemory

#: More than the kernel keeps for a connection.
SIZE = 24 << 20
LARGE = os.urandom(1 << 20) * (SIZE >> 20)
DIGEST = hashlib.sha256(LARGE).digest()
GET = b"GET / HTTP/1.1\r\nhost: example.test\r\n\r\n"


class Body:
    """An application that answers with `LARGE`; `sending` of those are under way, `failed` were left."""

    def __init__(self) -> None:
        self.sending = threading.Semaphore(0)
        self.failed = threading.Semaphore(0)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % SIZE)]}
        await send(head)
        self.sending.release()
        try:
            await send({"type": "http.response.body", "body": LARGE, "more_body": True})
            await send({"type": "http.response.body"})
        except OSError:
            self.failed.release()
            raise


def client(port: int, context: ssl.SSLContext | None) -> socket.socket:
    """One that has a small buffer and has asked."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    sock.settimeout(60)
    sock.connect(("127.0.0.1", port))
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname="example.test")
    sock.sendall(GET)
    return sock


def response(sock: socket.socket) -> bytes:
    """The digest of one response's body."""
    with sock.makefile("rb") as file:
        while file.readline().strip():
            pass
        digest = hashlib.sha256()
        left = SIZE
        while left:
            data = file.read(min(left, 1 << 20))
            if not data:
                raise ConnectionError("it is not whole")
            digest.update(data)
            left -= len(data)
        return digest.digest()


@pytest.mark.parametrize("is_secured", [False, True])
def test_slow_readers_hold_no_second_copy(
    serve: Serve, pem: str, context: ssl.SSLContext, is_secured: bool
) -> None:
    app = Body()
    server = serve(app, certfile=pem if is_secured else None)
    tracemalloc.start()
    try:
        clients = [client(server.port, context if is_secured else None) for _ in range(4)]
        for _ in clients:
            assert app.sending.acquire(timeout=30)
        # Nobody reads yet. The first of each is there, so all of them have been sent as far as possible.
        heads = [sock.recv(1) for sock in clients]
        assert tracemalloc.get_traced_memory()[1] < SIZE
    finally:
        tracemalloc.stop()
    for sock, head in zip(clients, heads, strict=True):
        assert head == b"H"
        assert response(sock) == DIGEST
        sock.sendall(GET)
        assert response(sock) == DIGEST
        sock.close()


def test_a_fast_reader(serve: Serve, pem: str, context: ssl.SSLContext) -> None:
    sock = client(serve(Body(), certfile=pem).port, context)
    assert response(sock) == DIGEST
    sock.close()


def test_what_is_sent_behind_it_comes_behind_it(serve: Serve, pem: str, context: ssl.SSLContext) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "bytes": LARGE})
        for number in range(10):
            await send({"type": "websocket.send", "bytes": bytes([number]) * 1000 * number})

    server = serve(app, certfile=pem, websocket_per_message_deflate=False)
    large, *others = websocket_answers(server, context, 11)
    assert hashlib.sha256(large).digest() == DIGEST
    assert others == [bytes([number]) * 1000 * number for number in range(10)]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_finalizer_that_sends_in_its_middle(
    serve: Serve, pem: str, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The collector closes a coroutine that the application has abandoned, and that sends something in its `finally`."""
    large, other = bytes(1 << 20), b"x" * 100_000
    left: list[Any] = []

    @types.coroutine
    def suspension() -> Any:
        yield

    async def abandoned(send: Any) -> None:
        try:
            await suspension()
        finally:
            await send({"type": "websocket.send", "bytes": other})

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        coroutine = abandoned(send)
        coroutine.send(None)
        left.append(coroutine)
        await send({"type": "websocket.send", "bytes": large})
        await send({"type": "websocket.send", "bytes": b"end"})

    encrypt = TLSLayer.encrypt
    calls = 0

    def interrupted(layer: TLSLayer, *arguments: Any) -> bytes:
        nonlocal calls
        if left:
            calls += 1
            if calls == at:
                left.pop().close()
        return encrypt(layer, *arguments)

    monkeypatch.setattr(TLSLayer, "encrypt", interrupted)
    server = serve(app, certfile=pem, websocket_per_message_deflate=False)
    assert websocket_answers(server, context, 3) == [large, other, b"end"]


@pytest.mark.parametrize("how", ["breaks TLS", "keeps back a message", "resets"])
def test_a_peer_that_ends_it_in_the_middle(
    serve: Serve,
    pem: str,
    context: ssl.SSLContext,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    app = Body()
    context.keylog_filename = str(tmp_path / "keys")
    server = serve(app, certfile=pem)
    peer = Handshake(server, context)
    with caplog.at_level(logging.DEBUG, "hypercorn.error"):
        peer.sock.sendall(peer.step())
        peer.finish()
        records = peer.records(tmp_path / "keys")
        peer.sock.sendall(records.record(APPLICATION_DATA, GET))
        assert app.sending.acquire(timeout=30)
        assert peer.sock.recv(1)
        if how == "breaks TLS":
            peer.sock.sendall(b"this is no record of TLS")
        elif how == "keeps back a message":
            peer.sock.sendall(records.record(HANDSHAKE, KEY_UPDATE[:4]))
        else:
            peer.reset()
        with contextlib.suppress(OSError):
            while peer.sock.recv(1 << 20):
                pass
        assert app.failed.acquire(timeout=30)
        peer.sock.close()
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_answers_of_tls_do_not_pile_up_behind_it(
    serve: Serve, pem: str, context: ssl.SSLContext, tmp_path: Path
) -> None:
    """Who asks for new keys again and again and reads nothing is not read any more, until it reads itself."""
    large, called = Body(), threading.Semaphore(0)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        if scope["path"] == "/large":
            await large(scope, receive, send)
        else:
            called.release()
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

    context.keylog_filename = str(tmp_path / "keys")
    context.set_alpn_protocols(["h2"])
    server = serve(app, certfile=pem)
    peer = Handshake(server, context)
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sock.sendall(peer.step())
    peer.finish()
    records = peer.records(tmp_path / "keys")
    http2 = H2Connection()
    http2.initiate_connection()
    http2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: SIZE})
    http2.increment_flow_control_window(SIZE)

    def ask(path: str) -> None:
        fields = {":method": "GET", ":scheme": "https", ":authority": "example.test", ":path": path}
        http2.send_headers(http2.get_next_available_stream_id(), list(fields.items()), end_stream=True)
        peer.sock.sendall(records.record(APPLICATION_DATA, http2.data_to_send()))

    context.set_alpn_protocols(["http/1.1"])
    witness = context.wrap_socket(dial(server), server_hostname="example.test")
    ask("/large")
    assert large.sending.acquire(timeout=30)
    for _ in range(MAX_WAITING_FRAMES // 2):  # HTTP/2 has a limit of its own
        for _ in range(100):
            peer.sock.sendall(records.record(HANDSHAKE, KEY_UPDATE_REQUESTED))
            records.change_keys()
        ask("/")
        for _ in range(3):  # turns of the loop
            witness.sendall(GET)
            assert witness.recv(65536).startswith(b"HTTP/1.1 204")
            assert called.acquire(timeout=30)
        if not called.acquire(blocking=False):
            break
    else:
        pytest.fail("it is read on and on")
    while not called.acquire(blocking=False):
        assert peer.sock.recv(1 << 20)
    peer.sock.close()
    witness.close()


def test_memory_runs_out_in_its_middle(
    serve: Serve, pem: str, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent by then must not look like all of it."""
    encrypt = TLSLayer.encrypt
    calls = 0

    def scarce(layer: TLSLayer, *arguments: Any) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise MemoryError
        return encrypt(layer, *arguments)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": LARGE})

    monkeypatch.setattr(TLSLayer, "encrypt", scarce)
    sock = client(serve(app, certfile=pem, keep_alive_timeout=600).port, context)
    with pytest.raises(OSError, match=r"not whole|reset|EOF"):
        response(sock)
    sock.close()


def test_memory_that_openssl_keeps(pem: str, authority: trustme.CA) -> None:
    """Its buffers never shrink: one large response would cost a worker as much for good."""
    server = TLSLayer(server_context(pem), TLSMemory())
    peer = Client(client_context(authority))
    peer.shake_hands(server)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    before = resident()
    for piece in server.encrypt_in_pieces(LARGE):
        assert len(piece) < 70_000
    assert resident() - before < SIZE // 4
