"""A real server on each loop, in a thread of the test, with plain blocking sockets as clients."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
import trustme
import uvloop
from websockets.sync.client import ClientConnection, connect

import hypercorn.asyncio
import hypercorn.trio
from hypercorn.config import Config

LOOPS = ("asyncio", "uvloop", "trio")
Application = Callable[..., Awaitable[None]]


class Client:
    """A blocking client socket with a buffer, so that answers can be read piece by piece."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self) -> tuple[int, dict[str, str]]:
        """Read one response head: status code and fields (the last of a name wins)."""
        status = self.file.readline()
        assert status.startswith(b"HTTP/1."), status
        fields: dict[str, str] = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        return int(status.split()[1]), fields

    def response(self, *, is_head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read one whole response."""
        status, fields = self.head()
        return status, fields, b"" if is_head or status in (204, 304) else self.body(fields)

    def body(self, fields: dict[str, str]) -> bytes:
        if "content-length" in fields:
            return self.file.read(int(fields["content-length"]))
        if fields.get("transfer-encoding") == "chunked":
            return b"".join(iter(self.chunk, b""))
        return self.file.read()

    def chunk(self) -> bytes:
        """Read one chunk; the last is empty."""
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        assert self.file.readline() == b"\r\n"
        return data

    def rest(self) -> bytes:
        """Everything until the server closes."""
        return self.file.read()

    def close(self) -> None:
        self.file.close()
        self.sock.close()


class Running:
    """A server in a thread.

    Attributes:
        port: where it listens.
        error: what `serve` raised, if anything.
    """

    def __init__(self, loop_name: str, app: Application, config: Config) -> None:
        self._loop_name = loop_name
        self._app = app
        self._config = config
        self._started = threading.Event()
        self._clients: list[Client] = []
        self._stop: Callable[[], Any] = lambda: None
        self.error: BaseException | None = None
        self.urls: list[str] = []
        self.thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self.thread.start()
        assert self._started.wait(10)

    @property
    def port(self) -> int:
        return int(self.urls[0].rpartition(":")[2])

    def connect(self) -> Client:
        client = Client(self.port)
        self._clients.append(client)
        return client

    def connect_and_send(self, data: bytes, within: float) -> Client:
        """A client whose first words are there before so many seconds have passed, also on a busy machine.

        One that was itself not scheduled in between shows nothing of the server, and another takes its place.
        """
        while True:
            began = time.monotonic()
            client = self.connect()
            with contextlib.suppress(ConnectionError):
                client.send(data)
            if time.monotonic() - began < within:
                return client

    def stop(self) -> None:
        """Ask for a graceful stop."""
        with contextlib.suppress(RuntimeError):  # its loop may have ended in this very moment
            self._stop()

    def join(self) -> None:
        self.thread.join(10)
        assert not self.thread.is_alive()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.stop()
        self.join()

    def _run(self) -> None:
        try:
            if self._loop_name == "trio":
                trio.run(self._serve_trio)
            else:
                factory = uvloop.new_event_loop if self._loop_name == "uvloop" else asyncio.new_event_loop
                with asyncio.Runner(loop_factory=factory) as runner:
                    runner.run(self._serve_asyncio())
        except Exception as error:  # noqa: BLE001 - handed to the test
            while isinstance(error, ExceptionGroup):  # the test's own nursery
                error = error.exceptions[0]
            self.error = error
        finally:
            self._stop = lambda: None
            self._started.set()

    def _ready(self, urls: list[str]) -> None:
        self.urls = urls
        self._started.set()

    async def _serve_asyncio(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set)
        await hypercorn.asyncio.serve(self._app, self._config, shutdown_trigger=stop.wait, ready=self._ready)

    async def _serve_trio(self) -> None:
        stop = trio.Event()
        token = trio.lowlevel.current_trio_token()
        self._stop = lambda: token.run_sync_soon(stop.set)
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
                await hypercorn.trio.serve(
                    self._app, self._config, shutdown_trigger=stop.wait, task_status=task_status
                )

            with contextlib.suppress(RuntimeError):  # it ended before it was ready: the test looks at why
                self._ready(await nursery.start(serve))


Serve = Callable[..., Running]


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    """Each test with this runs once per loop."""
    return str(request.param)


@pytest.fixture
def serve(loop_name: str) -> Iterator[Serve]:
    """Start servers: `serve(app, keep_alive_timeout=1)`; all are stopped at the end."""
    running: list[Running] = []

    def start(app: Application, **settings: Any) -> Running:
        # The error log goes to standard error and propagates, so that caplog sees it, from warnings on.
        config = Config.from_mapping({"bind": "127.0.0.1:0", "loglevel": "warning", **settings})
        server = Running(loop_name, app, config)
        running.append(server)
        server.start()
        return server

    yield start
    for server in running:
        server.close()


@pytest.fixture
def ws_connect() -> Iterator[Callable[..., ClientConnection]]:
    """Connect to a server with the client of `websockets`."""
    with contextlib.ExitStack() as stack:

        def open_client(server: Any, **options: Any) -> ClientConnection:
            uri = f"ws://127.0.0.1:{server.port}/path%20x?q=1"
            return stack.enter_context(connect(uri, proxy=None, **options))

        yield open_client


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the key and the certificate of `example.test`."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    authority.issue_cert("example.test").private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    """A client's, which trusts `example.test` of `pem`."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
