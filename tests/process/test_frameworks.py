"""Real applications, as `examples/` has them, served by the command and used by httpx, curl and websockets."""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from websockets.sync.client import connect

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: Seconds after which a wait for something that should come at once is a failure.
PATIENCE = 30

#: Django's asynchronous views and Quart are bound to asyncio.
FRAMEWORKS = {
    "starlette": ("asyncio", "uvloop", "trio"),
    "fastapi": ("asyncio", "uvloop", "trio"),
    "quart": ("asyncio", "uvloop"),
    "django": ("asyncio", "uvloop"),
    "litestar": ("asyncio", "uvloop", "trio"),
}
#: Three megabytes: more than any buffer between client and application.
CONTENT = bytes(range(256)) * 12_000
DIGEST = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
LINES = "".join(f"line {number}\n" for number in range(5))


class Server(NamedTuple):
    """The address of a server, and the framework that it serves."""

    framework: str
    url: str

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENCE)


@pytest.fixture(
    scope="module",
    params=[(name, loop) for name, loops in FRAMEWORKS.items() for loop in loops],
    ids="-".join,
)
def server(
    request: pytest.FixtureRequest, serve_command: Callable[..., AbstractContextManager[Any]]
) -> Iterator[Server]:
    framework, loop = request.param
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed: pip install --group frameworks")
    with serve_command("-k", loop, "-w", "1", "--app-dir", str(EXAMPLES), f"{framework}_app:app") as served:
        yield Server(framework, served.url)


def test_routes_and_state(server: Server) -> None:
    with server.client as client:
        assert client.get("/").text.lower() == f"hello from {server.framework}"
        answer = client.get("/items/7", params={"sort": "up ü"})
        assert answer.json() == {"number": 7, "query": {"sort": "up ü"}}
        assert client.get("/nowhere").status_code == 404
        assert client.head("/").status_code in (200, 405)
        assert client.get("/").headers["date"]
        assert len(client.get("/").headers.get_list("content-length")) <= 1


def test_stream(server: Server, curl: Callable[..., str]) -> None:
    with server.client as client, client.stream("GET", "/stream") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        pieces = list(answer.iter_raw())
    assert b"".join(pieces).decode() == LINES
    assert len(pieces) > 1, "the lines came all at once"
    assert curl("--no-buffer", f"{server.url}/stream") == LINES


def test_uploads(server: Server) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(CONTENT), 100_000):
            yield CONTENT[start : start + 100_000]

    with server.client as client:
        for content in (CONTENT, pieces()):  # with Content-Length, and chunked
            assert client.post("/upload", content=content).json() == DIGEST
        assert client.post("/form", files={"file": ("name.bin", CONTENT)}).json() == DIGEST


def test_uploads_with_curl(server: Server, curl: Callable[..., str]) -> None:
    url = f"{server.url}/upload"
    plain = curl(
        "--data-binary", "@-", "--header", "content-type: application/octet-stream", url, data=CONTENT
    )
    assert f'"{DIGEST["sha256"]}"' in plain
    expecting = curl("-X", "POST", "-H", "expect: 100-continue", "--upload-file", "-", url, data=CONTENT)
    assert f'"{DIGEST["sha256"]}"' in expecting


def test_background_task(server: Server) -> None:
    text = f"note-{time.monotonic_ns()}"
    with server.client as client:
        assert client.post(f"/notes/{text}").status_code == 202
        deadline = time.monotonic() + PATIENCE
        while text not in client.get("/notes").json():
            assert time.monotonic() < deadline, "the background task did not run"


def test_websocket(server: Server) -> None:
    if server.framework == "django":
        pytest.skip("Django has no WebSockets of its own")
    address = server.url.replace("http://", "ws://") + "/ws"
    with connect(address, proxy=None, open_timeout=PATIENCE, close_timeout=PATIENCE) as client:
        for text in ("hello", "ü" * 70_000):
            client.send(text)
            assert client.recv(PATIENCE) == text
