"""One real server process per loop, and a client that reads answers strictly from a raw socket."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LOOPS = ("asyncio", "uvloop", "trio")
PATIENCE = 30.0

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [\t\x20-\x7e\x80-\xff]*\r\n")
_FIELD_LINE = re.compile(
    rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+):[ \t]*([\x21-\x7e\x80-\xff](?:.*[\x21-\x7e\x80-\xff])?)?\r\n"
)
_DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


@dataclass
class Response:
    """One response as it was on the wire."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: tuple[tuple[str, str], ...] = ()
    is_complete: bool = True

    def get(self, name: str) -> str | None:
        values = [value for known, value in self.fields if known == name]
        assert len(values) <= 1, self.fields
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        return "close" in (self.get("connection") or "").split(", ")

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """A client on a raw socket. It believes nothing: every answer must be well-formed and well-framed."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        self._file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def get(self, target: str = "/sentinel") -> Response:
        self.send(b"GET %b HTTP/1.1\r\nHost: test\r\n\r\n" % target.encode())
        return self.response()

    def response(self, method: str = "GET") -> Response:
        """Read one response, final or not."""
        line = self._file.readline(65536)
        match = _STATUS_LINE.fullmatch(line)
        assert match is not None, line
        response = Response(int(match[1]), self._fields())
        if response.status >= 200:
            _check_final(response)
        if method != "HEAD" and response.status >= 200 and response.status not in (204, 304):
            self._read_body(response)
        return response

    def _fields(self) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = []
        while (line := self._file.readline(65536)) != b"\r\n":
            match = _FIELD_LINE.fullmatch(line)
            assert match is not None, line
            fields.append((match[1].decode().lower(), (match[2] or b"").decode("latin-1")))
        return fields

    def _read_body(self, response: Response) -> None:
        length = response.get("content-length")
        if response.get("transfer-encoding") == "chunked":
            self._read_chunks(response)
        elif length is not None:
            response.body = self._file.read(int(length))
            response.is_complete = len(response.body) == int(length)
        else:
            assert response.closes
            response.body = self._file.read()

    def _read_chunks(self, response: Response) -> None:
        while True:
            line = self._file.readline(1024)
            if not line.endswith(b"\r\n"):
                response.is_complete = False
                return
            size = int(line, 16)
            if not size:
                response.trailers = tuple(self._fields())
                return
            data = self._file.read(size)
            response.body += data
            if self._file.read(2) != b"\r\n":
                response.is_complete = False
                return

    def rest(self) -> bytes:
        """Everything until the server closes its side."""
        return self._file.read()

    def end(self) -> None:
        """The client sends no more."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave the way a crashed client does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def close(self) -> None:
        self._file.close()
        self.sock.close()


def _check_final(response: Response) -> None:
    """What is true of every final response of an origin server with a clock (RFC 9110, RFC 9112)."""
    assert _DATE.fullmatch(response.get("date") or ""), response.fields
    assert response.get("server"), response.fields
    coding, length = response.get("transfer-encoding"), response.get("content-length")
    assert coding is None or length is None, response.fields
    if response.status == 204:
        assert coding is length is None, response.fields


def start_server(loop: str, log: Path, app: str, *options: str) -> subprocess.Popen[bytes]:
    """Start `hypercorn` without workers on a port of its own choice; `app` is one of this folder's."""
    command = [sys.executable, "-m", "hypercorn", "-c", "none", "-k", loop, "-w", "0", "-b", "127.0.0.1:0"]
    command += [*options, "--app-dir", str(Path(__file__).parent), app]
    with log.open("wb") as file:
        return subprocess.Popen(command, stderr=file, stdout=file)


def wait_for_port(process: subprocess.Popen[bytes], log: Path, scheme: str) -> int:
    """The port that the log says `scheme` is served on."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if match := re.search(rb"\b%b://127\.0\.0\.[12]:(\d+)" % scheme.encode(), log.read_bytes()):
            return int(match[1])
        time.sleep(0.02)
    raise AssertionError(log.read_text())


class Server:
    """A running `hypercorn` process with the application of `wire_app.py`."""

    def __init__(self, loop: str, directory: Path, *options: str) -> None:
        self.log = directory / f"{loop}.log"
        self.process = start_server(loop, self.log, "wire_app:app", *options)
        self._clients: list[Wire] = []
        self.port = wait_for_port(self.process, self.log, "http")

    def connect(self, receive_buffer: int = 0) -> Wire:
        client = Wire(self.port, receive_buffer)
        self._clients.append(client)
        return client

    def get(self, target: str) -> Response:
        """One request on a connection of its own."""
        client = Wire(self.port)
        try:
            return client.get(target)
        finally:
            client.close()

    def seen(self, key: str, until: Callable[[list[Any]], bool]) -> list[Any]:
        """What the application has met, once `until` is true of it."""
        deadline = time.monotonic() + PATIENCE
        pause = 0.01
        while True:
            seen: list[Any] = self.get(f"/seen?{key}").json()
            if until(seen) or time.monotonic() > deadline:
                return seen
            time.sleep(pause)
            pause = min(2 * pause, 0.2)  # asking without end would keep a slow server from what is waited for

    @property
    def starved(self) -> float:
        """For how many seconds in all the server would have run, had it had a processor."""
        file = Path(f"/proc/{self.process.pid}/schedstat")
        return int(file.read_text().split()[1]) / 1e9 if file.exists() else 0.0

    @property
    def rss(self) -> int:
        return int(self.get("/rss").body)

    def close_clients(self) -> None:
        while self._clients:
            self._clients.pop().close()

    def stop(self) -> None:
        self.process.terminate()
        try:
            status = self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()
        assert status == 0, self.log.read_text()
        assert "Error in a connection" not in self.log.read_text()


@pytest.fixture(scope="session", params=LOOPS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of one loop, for the whole session."""
    server = Server(str(request.param), tmp_path_factory.mktemp("wire"), "--read-timeout", "5")
    yield server
    smuggled = server.get("/seen?smuggled").json()
    server.stop()
    assert smuggled == []


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The server of one loop; the test's connections are closed at its end."""
    yield running
    running.close_clients()


@pytest.fixture(scope="session", params=LOOPS)
def running_hasty(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The same with short timeouts."""
    options = ("--keep-alive", "0.5", "--read-timeout", "0.4", "--write-timeout", "0.5")
    server = Server(str(request.param), tmp_path_factory.mktemp("hasty"), *options)
    yield server
    server.stop()


@pytest.fixture
def hasty(running_hasty: Server) -> Iterator[Server]:
    """A server whose timeouts are short; the test's connections are closed at its end."""
    yield running_hasty
    running_hasty.close_clients()
