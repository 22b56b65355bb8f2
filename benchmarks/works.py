"""The works: what is asked of the servers, with which load generator, and how its figures are read."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent


class LoadError(Exception):
    """The load generator or the server failed: one sentence."""


@dataclass(frozen=True)
class Load:
    """What a load generator counted."""

    requests: int
    seconds: float


@dataclass(frozen=True)
class Work:
    """One thing that all servers are asked to do.

    Attributes:
        name: as it stands in the table.
        tool: "wrk", "h2load" or "websocket".
        path: what is requested; for "websocket" the size of a message in bytes.
        needs: what a server must speak to take part.
        connections: how many are open.
        options: further arguments of the tool.
    """

    name: str
    tool: str
    path: str
    needs: frozenset[str] = frozenset({"http1"})
    connections: int = 32
    options: tuple[str, ...] = ()

    @property
    def is_tls(self) -> bool:
        return "tls" in self.needs


def _script(name: str) -> tuple[str, str]:
    return ("-s", str(_HERE / name))


_HTTP1_TLS = frozenset({"http1", "tls"})
_H2C = frozenset({"h2c"})
_H2_TLS = frozenset({"h2", "tls"})
_WEBSOCKET = frozenset({"websocket"})
_WEBSOCKET_TLS = frozenset({"websocket", "tls"})
_WEBSOCKET_H2 = frozenset({"websocket-h2"})
_WEBSOCKET_H2_TLS = frozenset({"websocket-h2", "tls"})
_WSGI = frozenset({"wsgi"})

WORKS = (
    Work("small answer", "wrk", "/"),
    Work("browser's head", "wrk", "/", options=_script("browser.lua")),
    Work("10 KB upload", "wrk", "/upload", options=_script("upload.lua")),
    Work("100 KB answer", "wrk", "/large"),
    Work("stream of 20", "wrk", "/stream"),
    Work("connection per request", "wrk", "/", options=("-H", "Connection: close")),
    Work("WebSocket echo 64 B", "websocket", "64", _WEBSOCKET),
    Work("WebSocket echo 1 KB", "websocket", "1024", _WEBSOCKET),
    Work("WebSocket echo 64 KB", "websocket", "65536", _WEBSOCKET),
    Work("WebSocket over HTTP/2, echo 64 B", "websocket", "64", _WEBSOCKET_H2, options=("h2",)),
    Work("HTTP/2 clear, small", "h2load", "/", _H2C, 16, ("-m", "16")),
    Work("WSGI, small answer", "wrk", "/", _WSGI),
    Work("WSGI, browser's head", "wrk", "/", _WSGI, options=_script("browser.lua")),
    Work("WSGI, 10 KB upload", "wrk", "/upload", _WSGI, options=_script("upload.lua")),
    Work("WSGI, stream of 20", "wrk", "/stream", _WSGI),
    Work("TLS, small answer", "wrk", "/", _HTTP1_TLS),
    Work("TLS, WebSocket echo 64 B", "websocket", "64", _WEBSOCKET_TLS),
    Work("TLS, WebSocket echo 64 KB", "websocket", "65536", _WEBSOCKET_TLS),
    Work("TLS, WebSocket over HTTP/2, echo 64 B", "websocket", "64", _WEBSOCKET_H2_TLS, options=("h2",)),
    Work("HTTP/2 TLS, small", "h2load", "/", _H2_TLS, 16, ("-m", "16")),
)


def run(work: Work, port: int, seconds: float) -> Load:
    """Put the work's load on a port for so long; blocks.

    Raises:
        LoadError: it could not be done, or not every answer was good.
    """
    url = f"{'https' if work.is_tls else 'http'}://localhost:{port}{work.path}"
    if work.tool == "wrk":
        arguments = [
            "wrk",
            "-t1",
            f"-c{work.connections}",
            f"-d{max(1, round(seconds))}s",
            *work.options,
            url,
        ]
        return _read_wrk(_output(arguments, seconds))
    if work.tool == "h2load":
        arguments = [
            "h2load",
            "-t1",
            f"-c{work.connections}",
            "-D",
            str(max(1, round(seconds))),
            *work.options,
            url,
        ]
        return _read_h2load(_output(arguments, seconds), seconds)
    client = [sys.executable, str(_HERE / "websocket_load.py")]
    arguments = [*client, str(port), str(work.connections), str(seconds), work.path, *work.options]
    output = _output([*arguments, "tls"] if work.is_tls else arguments, seconds)
    return Load(int(output), seconds)


def _output(arguments: list[str], seconds: float) -> str:
    try:
        result = subprocess.run(arguments, capture_output=True, text=True, timeout=seconds + 30, check=False)
    except FileNotFoundError:
        package = {"wrk": "wrk", "h2load": "nghttp2-client"}[arguments[0]]
        raise LoadError(f"{arguments[0]} is missing: apt-get install {package}") from None
    except subprocess.TimeoutExpired:
        raise LoadError(f"{arguments[0]} did not end in time") from None
    if result.returncode:
        raise LoadError((result.stderr or result.stdout).strip().splitlines()[-1])
    return result.stdout


def _read_wrk(output: str) -> Load:
    if bad := re.search(r"Non-2xx or 3xx responses: (\d+)", output):
        raise LoadError(f"{bad[1]} answers were errors")
    # Read errors of a few connections at the end are wrk's own: it cuts them in the middle.
    if (errors := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+)", output)) and errors[
        1
    ] != "0":
        raise LoadError(errors[0])
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", output)
    if not found or found[1] == "0":
        raise LoadError("no answer came")
    return Load(int(found[1]), float(found[2]) * {"ms": 0.001, "s": 1, "m": 60}[found[3]])


def _read_h2load(output: str, seconds: float) -> Load:
    found = re.search(r"requests: (\d+) total.*?(\d+) succeeded, (\d+) failed", output)
    if not found or found[2] == "0":
        raise LoadError("no answer came")
    if not re.search(r"Application protocol: h2", output):
        raise LoadError("the server did not speak HTTP/2")
    # What h2load has begun and not ended when time is up counts neither way.
    return Load(int(found[2]), seconds)
