"""Time and memory on the wire: slow clients, clients that do not read, and large content in both directions."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
BIG = b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n"
MB = 1 << 20


def dribble(client: Any, data: bytes, pause: float = 0.1) -> threading.Thread:
    """Send one byte after the other from a thread, until that fails."""

    def run() -> None:
        with contextlib.suppress(OSError):
            for number in range(len(data)):
                client.send(data[number : number + 1])
                time.sleep(pause)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def took(function: Any) -> tuple[float, Any]:
    start = time.monotonic()
    value = function()
    return time.monotonic() - start, value


# ---- timeouts: keep-alive 0.5 s, read 0.4 s, write 0.5 s. All these clients come at the same time. Each is measured from
# before its last word, which the server cannot have heard earlier.


class LateError(Exception):
    """The client itself was not scheduled in time: whatever the server does then shows nothing."""


@contextlib.contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """What the client does here it has to do within so many seconds."""
    start = time.monotonic()
    try:
        yield
    finally:
        if time.monotonic() - start > seconds:
            raise LateError


def until_in_time(client: Callable[[Any], None], server: Any) -> None:
    """Anew for as long as the client was late."""
    while True:
        with contextlib.suppress(LateError):
            client(server)
            return


def begin(server: Any, data: bytes, receive_buffer: int = 0) -> Any:
    """A client whose first words come before it has been idle for too long."""
    with in_time(0.5):
        client = server.connect(receive_buffer)
        client.send(data)
    return client


def idle(server: Any) -> None:
    start = time.monotonic()
    client = server.connect()
    assert_closed_in_time(server, client, start)
    start = time.monotonic()
    client = begin(server, GET)
    assert client.response().status == 200
    assert_closed_in_time(server, client, start)


def assert_closed_in_time(server: Any, client: Any, start: float) -> None:
    assert client.rest() == b""
    assert 0.3 < time.monotonic() - start < enough(server)


def assert_408_in_time(server: Any, client: Any, start: float) -> None:
    response = client.response()
    assert (response.status, response.closes) == (408, True)
    assert 0.3 < time.monotonic() - start < enough(server)


def enough(server: Any) -> float:
    """Seconds that tell these timeouts from the usual ones, of which the shortest is 5 s."""
    return 4.0 + float(server.starved)


def head_drips_in(server: Any) -> None:
    start = time.monotonic()
    client = begin(server, b"G")
    dribble(client, b"ET /slow HTTP/1.1\r\nHost: test\r\nA: " + b"b" * 50)
    assert_408_in_time(server, client, start)


def second_head_drips_in(server: Any) -> None:
    with in_time(0.5):
        client = begin(server, GET)
        assert client.response().status == 200
        start = time.monotonic()
        client.send(b"G")
    dribble(client, b"ET /slow HTTP/1.1\r\nHost: test\r\nA: " + b"b" * 50)
    assert_408_in_time(server, client, start)


def empty_lines_drip_in(server: Any) -> None:
    client = server.connect()
    dribble(client, b"\r\n" * 30)
    assert took(client.rest)[0] < enough(server)


def content_stops(server: Any) -> None:
    start = time.monotonic()
    client = begin(server, b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc")
    assert_408_in_time(server, client, start)
    assert client.rest() == b""


def unread_content_stops(server: Any) -> None:
    start = time.monotonic()
    client = begin(server, b"POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc")
    assert client.response().status == 200
    assert_closed_in_time(server, client, start)


def unread_content_drips_in(server: Any) -> None:
    start = time.monotonic()
    client = begin(server, b"POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 900\r\n\r\nabc")
    assert client.response().status == 200
    dribble(client, b"x" * 50)
    assert_closed_in_time(server, client, start)


AWAITING = b"POST /slow HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"


def client_awaits_100(server: Any) -> None:
    """The application is slower than the read timeout: that is not the client's fault."""
    client = begin(server, AWAITING)
    with in_time(0.7 + 0.4):  # the application takes the first of it
        assert client.response().status == 100
        client.send(b"x")
    assert client.response().status == 200


def client_is_late_after_100(server: Any) -> None:
    start = time.monotonic()
    client = begin(server, AWAITING)
    assert client.response().status == 100
    assert_408_in_time(server, client, start)


def application_is_slow(server: Any) -> None:
    client = begin(server, b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
    assert client.response().status == 200


def reader_does_not_read(server: Any) -> None:
    size = time.monotonic_ns()  # without end, and another at each try
    start = time.monotonic()
    begin(server, b"GET /download?%d HTTP/1.1\r\nHost: test\r\n\r\n" % size, receive_buffer=4096)
    seen: list[Any] = []
    while "OSError" not in seen and time.monotonic() - start < enough(server):
        time.sleep(0.05)
        seen = begin(server, b"GET /seen?download?%d HTTP/1.1\r\nHost: test\r\n\r\n" % size).response().json()
    assert seen[1:] == ["OSError"]


def reader_is_slow(server: Any) -> None:
    """It takes a little all the time, though the socket is not writable for longer than the write timeout."""
    size = 6 * MB
    client = begin(server, b"GET /download?%d HTTP/1.1\r\nHost: test\r\n\r\n" % size, receive_buffer=65536)
    left, start = size, time.monotonic()
    while time.monotonic() - start < 1.5:
        with in_time(0.2):
            left -= len(client.sock.recv(8192))
            time.sleep(0.01)
    assert left > 3 * MB
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        with in_time(0.2):
            data = client.sock.recv(65536)
        assert data, left
        left -= len(data)
    assert left < 65536


SLOW = [
    idle, head_drips_in, second_head_drips_in, empty_lines_drip_in, content_stops, unread_content_stops,
    unread_content_drips_in, client_awaits_100, client_is_late_after_100, application_is_slow,
    reader_does_not_read, reader_is_slow,
]  # fmt: skip


@pytest.fixture(scope="session")
def slow_clients(running_hasty: Any) -> Any:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        running = {client: pool.submit(until_in_time, client, running_hasty) for client in SLOW}
    yield running
    running_hasty.close_clients()


@pytest.mark.parametrize("client", SLOW)
def test_slow_client(
    slow_clients: dict[Callable[[Any], None], Future[None]], client: Callable[[Any], None]
) -> None:
    slow_clients[client].result()


# ---- memory


def test_pipelining_without_reading_is_bounded(server: Any) -> None:
    """Requests stay with the client once it does not read what it has asked for."""
    before = server.rss
    client = server.connect(receive_buffer=4096)
    client.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.send(BIG * 200_000)
    assert server.rss - before < 16 * MB
    client.sock.settimeout(30)
    for _ in range(900):
        assert len(client.response().body) == 20_000


def test_download_is_bounded(server: Any) -> None:
    client = server.connect(receive_buffer=4096)
    before = server.rss
    client.send(b"GET /download?%d HTTP/1.1\r\nHost: test\r\n\r\n" % (256 * MB))
    client.sock.recv(100)
    sent = -1
    while (now := server.get(f"/seen?download?{256 * MB}").json()[0]) != sent:
        sent = now
        time.sleep(0.05)
    assert sent < 8 * MB
    assert server.rss - before < 8 * MB


def test_upload_is_bounded(server: Any) -> None:
    size = 64 * MB
    client = server.connect()
    client.send(b"POST /never-read HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size)
    before = server.rss
    sent, piece = 0, bytes(65536)
    client.sock.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while sent < size:
            sent += client.sock.send(piece[: size - sent])
    assert sent < 16 * MB  # what the kernel's buffers hold
    assert server.rss - before < 4 * MB
    client.sock.settimeout(30)
    server.get("/release")
    while sent < size:
        sent += client.sock.send(piece[: size - sent])
    total, most = client.response().body.split()
    assert size - 200_000 < int(total) < size
    assert int(most) < 300_000
    assert server.rss - before < 16 * MB


def test_tiny_chunks(server: Any) -> None:
    client = server.connect()
    client.send(b"POST /count HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
    assert client.response().body.split()[0] == b"50000"


def test_endless_chunk_extensions_are_refused(server: Any) -> None:
    client = server.connect()
    client.send(b"POST /count HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(OSError):
        client.send((b"1;" + b"a" * 500 + b"\r\nx\r\n") * 1000)
    assert client.response().status == 400


def test_content_that_nobody_takes_does_not_hold_up_others(server: Any) -> None:
    """What is sent in answer to HEAD is dropped, so that `send()` never has to wait."""
    client = server.connect()
    client.send(b"HEAD /flood HTTP/1.1\r\nHost: test\r\n\r\n")
    assert client.response("HEAD").status == 200
    assert server.get("/release").status == 200
    assert client.get().status == 200
