"""WSGI: what its threads do beside each other, and how they end, on every loop."""

from __future__ import annotations

import contextlib
import gc
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse

import pytest

Environ = dict[str, Any]
OK = "200 OK"
PLAIN = [("Content-Type", "text/plain")]

GET = b"GET /a HTTP/1.1\r\nhost: example.test\r\n\r\n"


def test_back_pressure_and_the_client_s_end(serve: Callable[..., Any]) -> None:
    produced = 0
    finished = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        nonlocal produced
        start_response(OK, [])
        try:
            while True:
                produced += 100_000
                yield b"x" * 100_000
        finally:
            finished.set()

    client = serve(app).connect()
    client.send(GET)
    client.head()
    for _ in range(100):
        client.chunk()
    # Whatever fits in sockets and buffers, it does not run away.
    assert not finished.is_set()
    assert produced < 50_000_000
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert finished.wait(10)


def test_more_requests_than_threads(serve: Callable[..., Any]) -> None:
    together = threading.Barrier(2)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        together.wait(10)  # needs both threads at once, eight times
        start_response(OK, [])
        return [threading.current_thread().name.encode()]

    server = serve(app, threads=2)
    clients = [server.connect() for _ in range(16)]
    for client in clients:
        client.send(GET)
    names = [client.response()[2] for client in clients]
    assert len(set(names)) == 2


def test_a_slow_call_does_not_hold_up_a_quick_one(serve: Callable[..., Any]) -> None:
    go_on = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/slow":
            assert go_on.wait(10)
        start_response(OK, [])
        return [environ["PATH_INFO"].encode()]

    server = serve(app, threads=3)
    slow = [server.connect() for _ in range(2)]
    quick = server.connect()
    for client in slow:
        client.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
    for _ in range(50):
        quick.send(GET)
        assert quick.response()[2] == b"/a"
    go_on.set()
    for client in slow:
        assert client.response()[2] == b"/slow"


def test_streams_of_many_small_pieces_leave_others_their_turn(serve: Callable[..., Any]) -> None:
    """Their threads are as quick as the loop, and their clients take all of it: nothing ever holds them up."""
    is_served = threading.Event()
    exhausted: list[str] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(OK, [])
        if environ["PATH_INFO"] == "/a":
            is_served.set()
            return []
        return pieces()

    def pieces() -> Iterator[bytes]:
        for _ in range(200_000):
            if is_served.is_set():
                return
            yield b"x"
        exhausted.append("all")

    server = serve(app, threads=4)
    other, *clients = [server.connect() for _ in range(4)]
    readers = []
    for client in clients:
        client.send(GET.replace(b"/a", b"/stream"))
        client.head()
        readers.append(threading.Thread(target=client.body, args=({"transfer-encoding": "chunked"},)))
    for reader in readers:
        reader.start()
    other.send(GET)
    assert other.response()[0] == 200
    for reader in readers:
        reader.join(10)
    assert not exhausted


@pytest.mark.parametrize("fields", ["", "expect: 100-continue\r\n"])
@pytest.mark.parametrize("content", [b"", b"x"])
def test_a_body_that_never_ends_behind_another_request_holds_no_thread(
    serve: Callable[..., Any], fields: str, content: bytes
) -> None:
    has_left = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/first":
            assert has_left.wait(10)
        with contextlib.suppress(OSError):
            environ["wsgi.input"].read()
        start_response(OK, [])
        return []

    server = serve(app, threads=2, graceful_timeout=20)
    client, witness = server.connect(), server.connect()
    client.send(GET.replace(b"/a", b"/first"))
    client.send(f"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n{fields}\r\n".encode() + content)
    client.sock.shutdown(socket.SHUT_WR)
    for _ in range(2):  # each is a turn of the loop: it has read all that the client has said, and the end
        witness.send(GET)
        assert witness.response()[0] == 200
    has_left.set()
    assert client.response()[0] == 200
    assert client.rest() == b""
    server.stop()
    server.join()  # a call that goes on would hold it up


def test_the_answer_in_progress_survives_a_graceful_stop(serve: Callable[..., Any]) -> None:
    running = threading.Event()
    go_on = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        running.set()
        assert go_on.wait(10)
        start_response(OK, [])
        return [b"finished"]

    server = serve(app)
    client = server.connect()
    client.send(GET)
    assert running.wait(10)
    server.stop()
    go_on.set()
    assert client.response()[2] == b"finished"


def test_threads_end_with_the_server(serve: Callable[..., Any]) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(OK, [])
        threads.append(threading.current_thread())
        return []

    threads: list[threading.Thread] = []
    server = serve(app)
    client = server.connect()
    client.send(GET)
    client.response()
    server.close()
    gc.collect()  # the server is a web of objects that refer to each other
    threads[0].join(10)
    assert not threads[0].is_alive()
