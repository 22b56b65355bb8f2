"""A server process for the time of a measurement."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .processes import tree
from .servers import Certificate, Server

_HERE = Path(__file__).resolve().parent
#: Seconds that a server may take to its first answer, and to its end.
_START, _STOP = 30, 10


class StartError(Exception):
    """A server did not come up; the text holds the end of what it wrote."""


@dataclass(frozen=True)
class Running:
    """A server that answers on a loopback port, and how long it took to its first answer."""

    server: Server
    pid: int
    port: int
    start_seconds: float


@contextlib.contextmanager
def running(server: Server, python: str, certificate: Certificate | None) -> Iterator[Running]:
    """Start the server, wait for its first answer, and end its whole tree afterwards.

    Raises:
        StartError: no answer came.
    """
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        begin = time.monotonic()
        process = subprocess.Popen(
            server.command(python, port, certificate),
            cwd=_HERE,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for_answer(process, port, certificate, begin + _START)
            yield Running(server, process.pid, port, time.monotonic() - begin)
        except StartError as error:
            log.seek(0)
            text = log.read().decode(errors="replace").strip()
            raise StartError(f"{server.name}: {error}\n{text[-2000:]}") from None
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _wait_for_answer(
    process: subprocess.Popen[bytes], port: int, certificate: Certificate | None, deadline: float
) -> None:
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartError(f"it ended with status {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=_START) as sock:
                if certificate is not None or _answers(sock):
                    return
        except OSError:
            time.sleep(0.005)
    raise StartError(f"no answer within {_START} s")


def _answers(sock: socket.socket) -> bool:
    sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    return sock.recv(65536).startswith(b"HTTP/1.1 ")


def _stop(process: subprocess.Popen[bytes]) -> None:
    left = tree(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def idle_connections(port: int, count: int) -> list[http.client.HTTPConnection]:
    """Kept connections that have had one answer each; the caller closes them."""
    connections = []
    for _ in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        connection.getresponse().read()
        connections.append(connection)
    return connections
