"""A real server process, its log as it comes, and the check that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "hypercorn"]
PATIENCE = 30.0

APPLICATION = """
import asyncio, os, sys, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                print("shut down", os.getpid(), flush=True)
                return
    if scope["path"] == "/hang":
        print("hang begins", file=sys.stderr, flush=True)
        time.sleep(600)
    if scope["path"] == "/slow":
        print("slow begins", file=sys.stderr, flush=True)
        await asyncio.sleep(1)
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


@dataclass
class Arbiter:
    """A running server: `log` grows while it runs."""

    process: subprocess.Popen[str]
    directory: Path
    log: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)
    is_closed: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    def read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self.news:
                self.log.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.is_closed = True
            self.news.notify_all()

    def wait_for(self, pattern: str, times: int = 1) -> re.Match[str]:
        """The last of so many lines that match; fails when standard error ends before."""
        found: list[re.Match[str]] = []

        def has_come() -> bool:
            found[:] = [match for line in self.log if (match := re.search(pattern, line))]
            return len(found) >= times or self.is_closed

        with self.news:
            assert self.news.wait_for(has_come, PATIENCE), f"no {pattern!r} in\n{self.text()}"
        assert len(found) >= times, f"no {pattern!r} in\n{self.text()}"
        return found[times - 1]

    def text(self) -> str:
        return "\n".join(self.log)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(PATIENCE)

    def port(self) -> int:
        return int(self.wait_for(r"Running on http://127\.0\.0\.1:(\d+)")[1])

    def get(self, path: str = "/") -> str:
        """The body of an answer to a request of its own connection: the worker's pid."""
        with socket.create_connection(("127.0.0.1", self.port()), timeout=PATIENCE) as sock:
            return ask(sock, path)

    def workers(self) -> set[int]:
        """The pids of workers, as the kernel knows them."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        found: set[int] = set()
        for pid in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.add(int(pid))
        return found


def ask(sock: socket.socket, path: str = "/") -> str:
    """One request that ends the connection; the body of the answer."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    answer = b""
    while chunk := sock.recv(65536):
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer
    return body.decode()


def members(group: int) -> list[str]:
    """What still runs in a process group."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found


def assert_none_left(group: int) -> None:
    """Orphans may still be on their way out: they are nobody's children whose exit could be awaited."""
    deadline = time.monotonic() + PATIENCE
    while left := members(group):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A directory with `app.py`."""
    (tmp_path / "app.py").write_text(APPLICATION)
    return tmp_path


@pytest.fixture
def start(application: Path) -> Iterator[Callable[..., Arbiter]]:
    """Starts servers in that directory; at the end none of their processes and no socket file is left."""
    started: list[tuple[Arbiter, threading.Thread]] = []

    def start_one(
        *arguments: str,
        bind: str | None = "127.0.0.1:0",
        command: list[str] = COMMAND,
        environment: Mapping[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
        app: str = "app:app",
    ) -> Arbiter:
        process = subprocess.Popen(
            [*command, *(("-b", bind) if bind else ()), *arguments, app],
            cwd=application,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        arbiter = Arbiter(process, application)
        reader = threading.Thread(target=arbiter.read)
        reader.start()
        started.append((arbiter, reader))
        return arbiter

    yield start_one
    for arbiter, reader in started:
        if arbiter.process.poll() is None:
            arbiter.signal(signal.SIGQUIT)
            arbiter.ends()
        reader.join(PATIENCE)
        assert not reader.is_alive(), "somebody still holds standard error"
        assert arbiter.process.stderr is not None
        arbiter.process.stderr.close()
        assert_none_left(arbiter.pid)
    assert not list(application.rglob("*.sock"))
    assert not list(application.rglob("*.pid"))


class Served(Arbiter):
    """A server that a module's tests share."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port()}"


@contextmanager
def serving(*arguments: str, failure: str = "") -> Iterator[Served]:
    process = subprocess.Popen(
        [*COMMAND, "-b", "127.0.0.1:0", *arguments],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    served = Served(process, Path())
    reader = threading.Thread(target=served.read)
    reader.start()
    try:
        served.port()
        yield served
        if process.poll() is None:
            served.signal(signal.SIGTERM)
        assert served.ends() == 0, served.text()
    finally:
        process.kill()
        process.wait()
        reader.join(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()
    expected = len(re.findall(failure, served.text())) if failure else 0
    chained = served.text().count("During handling of the above exception")
    assert served.text().count("Traceback") - chained <= expected, served.text()
    assert_none_left(process.pid)


@pytest.fixture(scope="session")
def serve_command() -> Callable[..., AbstractContextManager[Served]]:
    """Serves what the arguments say for the time of a `with` block; then it has ended with status 0.

    Its log may hold as many tracebacks as it says `failure`, and none if that is not given.
    """
    return serving


@pytest.fixture(scope="session")
def curl() -> Callable[..., str]:
    """Runs curl: its arguments, and as `data` its standard input; what it prints."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def run(*arguments: str, data: bytes = b"") -> str:
        result = subprocess.run(
            ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(PATIENCE), *arguments],
            input=data,
            capture_output=True,
            check=True,
        )
        return result.stdout.decode()

    return run
