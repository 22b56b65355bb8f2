"""What a server does around its exchanges: limits, timeouts, names, the access log, the drained end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import h2.connection
import h2.errors
import h2.events
import pytest

from hypercorn.arbiter.channel import open_line
from hypercorn.arbiter.child import Child
from hypercorn.arbiter.scoreboard import Scoreboard
from hypercorn.config import Config
from hypercorn.config.binds import parse_bind
from hypercorn.config.sockets import Listener
from hypercorn.config.supervision import Adopt, Draining, DrainReason
from hypercorn.protocols.events import Request
from hypercorn.workers.asgi_http import ASGIExchange
from hypercorn.workers.asyncio_driver import AsyncioRuntime
from hypercorn.workers.connection import Connection
from hypercorn.workers.server import Server
from hypercorn.workers.supervision import Counter
from hypercorn.workers.wsgi import WSGIApplication

Serve = Callable[..., Any]
Message = dict[str, Any]

GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"


async def hello(scope: Message, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def echo(environ: Message, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [body]


class Gate:
    """An application whose requests wait until the test lets them go, by sending the rest of their body."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self.entered.release()
        while (await receive()).get("more_body"):
            pass
        await hello(scope, receive, send)

    @staticmethod
    def enter(client: Any) -> None:
        client.send(b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1\r\n\r\n")

    @staticmethod
    def leave(client: Any) -> None:
        client.send(b"x")


def test_above_worker_connections_the_listener_waits(serve: Serve) -> None:
    server = serve(hello, worker_connections=2)
    first, second, third = (server.connect() for _ in range(3))
    for client in (first, second, third):
        client.send(GET)
    assert first.response()[0] == 200
    assert second.response()[0] == 200
    third.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        third.sock.recv(1)
    third.sock.settimeout(30)
    third.file = third.sock.makefile("rb")
    first.close()
    assert third.response()[0] == 200


@pytest.fixture
def few_descriptors() -> Iterator[Callable[[int], None]]:
    """Lower the limit of open descriptors to what is open now plus a few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit(spare: int) -> None:
        probe = socket.socket()
        highest = probe.fileno()
        probe.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + spare, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_running_out_of_descriptors_is_survived(
    serve: Serve, few_descriptors: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(hello)
    clients = [server.connect() for _ in range(4)]
    for client in clients:
        client.send(GET)
        assert client.response()[0] == 200
    waiting = socket.socket()
    waiting.settimeout(30)
    few_descriptors(0)
    with caplog.at_level(logging.ERROR, "hypercorn.error"):
        waiting.connect(("127.0.0.1", server.port))
        waiting.sendall(GET)
        clients[0].send(GET)  # the loop has seen the listener when this is answered
        assert clients[0].response()[0] == 200
        clients[1].close()
        assert waiting.recv(12) == b"HTTP/1.1 200"
    waiting.close()


def test_a_listener_that_others_have_shut_down_is_given_up(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as shared:
        server = serve(hello, bind=["127.0.0.1:0", f"fd://{os.dup(shared.fileno())}"])
        shared.shutdown(socket.SHUT_RDWR)
        client = server.connect()
        client.send(GET)
        assert client.response()[0] == 200
        server.close()
    assert "Nothing more can be accepted from" in caplog.text


def test_a_connection_that_cannot_be_taken_up_is_closed(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Unable(ssl.SSLContext):
        def wrap_bio(self, *_: Any, **__: Any) -> ssl.SSLObject:
            raise ssl.SSLError("a context of the user's own that fails")

    server = serve(hello, certfile="its own", create_ssl_context=lambda: Unable(ssl.PROTOCOL_TLS_SERVER))
    for _ in range(2):
        assert server.connect().rest() == b""
    server.close()
    assert server.error is None
    assert caplog.text.count("A connection cannot be taken up") == 2


def test_an_idle_connection_is_closed_after_the_keep_alive_timeout(serve: Serve) -> None:
    client = serve(hello, keep_alive_timeout=1).connect_and_send(GET, within=1)
    assert client.response()[0] == 200
    assert client.rest() == b""


def test_what_arrived_while_the_loop_was_held_up_is_in_time(serve: Serve) -> None:
    """A timeout that passed meanwhile is the application's fault, not the client's."""
    count = 20
    begun = answered = 0
    all_have_begun: list[anyio.Event] = []
    held, let_go = threading.Event(), threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        nonlocal begun, answered
        begun += 1
        if begun == 1:
            all_have_begun.append(anyio.Event())
        elif begun == count:
            all_have_begun[0].set()
        await all_have_begun[0].wait()
        await hello(scope, receive, send)
        answered += 1
        if answered == count:  # in the very turn of the loop in which all others became idle
            held.set()
            let_go.wait(30)  # holds the loop up, as no application should

    server = serve(app, keep_alive_timeout=1, lifespan="off")
    clients = [server.connect_and_send(GET, within=1) for _ in range(count)]
    assert held.wait(10)
    for client in clients:
        client.send(GET)
    time.sleep(1.5)  # until they would have been idle for too long
    let_go.set()
    for client in clients:
        assert [client.response()[0] for _ in range(2)] == [200, 200]


def test_a_hook_that_fails_later_does_not_stop_the_tick(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0
    has_failed = threading.Event()

    def response_headers(protocol: str) -> list[tuple[bytes, bytes]]:
        nonlocal calls
        calls += 1
        if calls > 2:  # those of the start
            has_failed.set()
            raise LookupError("no fields today")
        return [(b"server", protocol.encode())]

    server = serve(hello, keep_alive_timeout=0.1, response_headers=response_headers)
    assert has_failed.wait(10)
    client = server.connect_and_send(GET, within=0.1)
    assert client.response()[1]["server"] == "h11"
    assert client.rest() == b""
    assert "no fields today" in caplog.text


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"INVALID CONNECTION PREFACE\r\n\r\n", "neither HTTP/1 nor"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), "another frame than must come here"),
    ],
)
def test_the_fault_of_a_peer_is_one_debug_line(serve: Serve, caplog: Any, data: bytes, fault: str) -> None:
    client = serve(hello, loglevel="debug").connect()
    with caplog.at_level(logging.DEBUG, "hypercorn.error"):
        client.send(data)
        client.rest()
    (line,) = [record.message for record in caplog.records if " ended: " in record.message]
    assert fault in line


def test_a_slow_head_is_answered_with_408(serve: Serve) -> None:
    client = serve(hello, keep_alive_timeout=1).connect_and_send(GET[:-4], within=1)
    status, fields, _ = client.response()
    assert (status, fields["connection"]) == (408, "close")
    assert client.rest() == b""


def test_a_slow_body_times_out(serve: Serve) -> None:
    gate = Gate()
    client = serve(gate, read_timeout=0.5).connect()
    gate.enter(client)
    assert client.response()[0] == 408
    assert client.rest() == b""


def test_other_server_names_get_404(serve: Serve) -> None:
    client = serve(hello, server_names=["Example.org"], access_log_format="x").connect()
    client.send(GET)
    assert client.response()[0] == 200
    client.send(GET.replace(b"example", b"elsewhere"))
    assert client.response()[0] == 404
    client.send(GET)
    assert client.response()[0] == 200


class TestFaultsOfOurs:
    """What is wrong in the server itself when a request begins, before there is a call that could end."""

    @pytest.fixture(autouse=True)
    def faults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(begin: Callable[..., Any], request: Callable[..., Request]) -> Callable[..., Any]:
            def failing(*args: Any) -> Any:
                if request(*args).raw_path == b"/bad":
                    raise LookupError("a fault of ours")
                return begin(*args)

            return failing

        monkeypatch.setattr(WSGIApplication, "environ", fail(WSGIApplication.environ, lambda *args: args[2]))
        monkeypatch.setattr(ASGIExchange, "start", fail(ASGIExchange.start, lambda *args: args[0].request))

    @staticmethod
    def is_forgotten(server: Any, caplog: pytest.LogCaptureFixture) -> bool:
        """Nothing is left that a stop would wait for."""
        server.close()
        return (
            server.error is None and "a fault of ours" in caplog.text and "did not finish" not in caplog.text
        )

    def test_other_streams_of_the_connection_go_on(
        self, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = serve(echo, graceful_timeout=3)
        client = server.connect()
        http2 = h2.connection.H2Connection()
        http2.initiate_connection()
        for stream_id, path in ((1, "/"), (3, "/bad")):
            fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)]
            http2.send_headers(stream_id, fields)
        http2.send_data(3, b"lost", end_stream=True)
        events: list[Any] = []

        def wait(kind: type) -> Any:
            while not any(isinstance(event, kind) for event in events):
                client.send(http2.data_to_send())
                data = client.sock.recv(65536)
                assert data, "closed"
                events.extend(http2.receive_data(data))
            return next(event for event in events if isinstance(event, kind))

        reset = wait(h2.events.StreamReset)
        assert (reset.stream_id, reset.error_code) == (3, h2.errors.ErrorCodes.INTERNAL_ERROR)
        http2.send_data(1, b"served", end_stream=True)
        assert wait(h2.events.DataReceived).data == b"served"
        assert self.is_forgotten(server, caplog)

    def test_it_is_answered_with_500(self, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
        server = serve(echo, graceful_timeout=3)
        client = server.connect()
        client.send(GET.replace(b"/ ", b"/bad "))
        assert client.response()[0] == 500
        assert client.rest() == b""
        assert self.is_forgotten(server, caplog)

    def test_where_no_task_can_be_made_the_connection_is_cut(
        self, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = serve(hello, graceful_timeout=3)
        client = server.connect()
        client.send(GET.replace(b"/ ", b"/bad "))
        with contextlib.suppress(ConnectionResetError):
            assert client.rest() == b""
        assert self.is_forgotten(server, caplog)


def test_max_requests_ends_an_unsupervised_server(serve: Serve) -> None:
    server = serve(hello, max_requests=3)
    client = server.connect()
    for _ in range(3):
        client.send(GET)
        assert client.response()[0] == 200
    assert client.rest() == b""
    client.close()
    server.join()
    assert server.error is None


def test_access_lines_have_what_was_really_sent(serve: Serve) -> None:
    lines: list[str] = []
    logger = logging.getLogger("access of the test")
    logger.setLevel(logging.INFO)

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Collect()
    logger.addHandler(handler)
    server = serve(hello, accesslog=logger, access_log_format='"%(R)s" %(s)s %(b)s %({x-a}i)s')
    client = server.connect()
    client.send(b"GET /a?b HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\r\n")
    assert client.response()[0] == 200
    client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response(is_head=True)[0] == 200
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    assert client.response()[0] == 400
    client.close()
    server.stop()
    server.join()
    logger.removeHandler(handler)
    assert lines[:2] == ['"GET /a?b 1.1" 200 5 1', '"HEAD / 1.1" 200 - -']
    assert lines[2].endswith(" 400 - -")


def test_a_server_that_drains_adopts_no_listener() -> None:
    """Told so by an arbiter that has not heard yet of the drain: it would cut in the end what it accepts there."""

    async def main(own: Listener, orphan: Listener) -> None:
        ours, theirs = open_line()
        row = Scoreboard(1, len(Counter)).claim(1, 1, 0.0)
        settings = Config.from_mapping(errorlog=None, lifespan="off").resolve()
        go_on = asyncio.Event()

        async def app(scope: Message, receive: Any, send: Any) -> None:
            server.drain(DrainReason.REPLACE)
            await go_on.wait()
            await hello(scope, receive, send)

        server = Server(app, settings, AsyncioRuntime(), Child(1, 1, row, theirs))
        serving = asyncio.create_task(server.serve([own]))
        with socket.create_connection(own.sock.getsockname()) as client:
            client.sendall(GET)
            heard: list[object] = []
            while Draining() not in heard:
                await asyncio.sleep(0)
                heard += ours.receive()[0]
            with socket.create_connection(orphan.sock.getsockname()):
                ours.send(Adopt((orphan,)))
                for _ in range(10):  # turns of the loop
                    await asyncio.sleep(0)
                orphan.sock.accept()[0].close()  # still there, for whoever adopts it
        go_on.set()
        await serving
        ours.close()
        theirs.close()

    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        own, orphan = (
            Listener(key, sock, parse_bind("127.0.0.1"), secure=False, shared=False)
            for key, sock in enumerate((one, other))
        )
        one.setblocking(False)
        other.setblocking(False)
        asyncio.run(main(own, orphan))


def test_a_fault_at_the_end_of_one_connection_keeps_no_other_from_its_end(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    server = serve(gate, graceful_timeout=30)
    one, other = server.connect(), server.connect()
    for client in (one, other):
        gate.enter(client)
        assert gate.entered.acquire(timeout=30)
    drain = Connection.drain
    faults = [ValueError("a fault of ours")]

    def drain_or_fail(self: Connection, *arguments: Any) -> None:
        if faults:
            raise faults.pop()
        drain(self, *arguments)

    monkeypatch.setattr(Connection, "drain", drain_or_fail)
    server.stop()
    (cut,), _, _ = select.select([one.sock, other.sock], [], [], 30)
    with pytest.raises(ConnectionResetError):
        cut.recv(1)
    served = other if cut is one.sock else one
    gate.leave(served)
    assert served.response()[0] == 200
    served.close()
    server.join()
    assert server.error is None
    assert "a fault of ours" in caplog.text


def test_a_request_that_never_ends_is_cancelled_after_the_graceful_timeout(serve: Serve) -> None:
    gate = Gate()
    server = serve(gate, graceful_timeout=0.1)
    client = server.connect()
    gate.enter(client)
    assert gate.entered.acquire(timeout=30)
    server.stop()
    server.join()
    status, fields, _ = client.response()
    assert (status, fields["connection"]) == (503, "close")


def test_a_request_that_the_stop_finds_before_its_first_step_is_answered(serve: Serve) -> None:
    for app, expected in ((hello, 200), (Gate(), 503)):
        # The stop begins with this request, in the turn of the loop that has read it.
        server = serve(app, max_requests=1, graceful_timeout=0)
        client = server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1\r\n\r\n")
        assert client.response()[0] == expected
        client.close()
        server.join()
        assert server.error is None


def test_what_waits_in_the_listen_queue_is_served_at_a_stop(serve: Serve) -> None:
    gate = Gate()
    server = serve(gate, worker_connections=1)
    inside = server.connect()
    gate.enter(inside)
    assert gate.entered.acquire(timeout=30)
    waiting = server.connect()
    waiting.send(GET)
    server.stop()
    assert waiting.response()[0] == 200
    gate.leave(inside)
    assert inside.response()[0] == 200
    inside.close()
    waiting.close()
    server.join()
    assert server.error is None


def test_a_connection_that_has_just_come_does_not_hold_up_a_stop_for_long(serve: Serve) -> None:
    server = serve(hello, keep_alive_timeout=60, graceful_timeout=60)
    client = server.connect()
    another = server.connect()
    another.send(GET)
    assert another.response()[0] == 200  # so the server has accepted both
    server.stop()
    server.join()
    assert client.rest() == b""


def test_start_and_stop_again_and_again_leaves_nothing(serve: Serve) -> None:
    before = set(threading.enumerate())
    for _ in range(5):
        server = serve(hello)
        client = server.connect()
        client.send(GET)
        assert client.response()[0] == 200
        client.close()
        server.stop()
        server.join()
    assert set(threading.enumerate()) <= before  # a thread of an earlier test may have ended meanwhile
