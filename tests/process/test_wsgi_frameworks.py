"""Real WSGI applications, as `examples/wsgi/` has them, served by the command and used by httpx and curl."""

from __future__ import annotations

import hashlib
import importlib.util
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from pydoc_data import topics
from typing import Any, NamedTuple

import httpx
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "wsgi"
PATIENCE = 30

FRAMEWORKS = {
    "flask": ("asyncio", "uvloop", "trio"),
    "django": ("asyncio", "uvloop", "trio"),
    "bottle": ("asyncio", "uvloop"),
    "falcon": ("asyncio", "uvloop"),
    "pyramid": ("asyncio", "uvloop"),
}
#: Three megabytes: more than any buffer between client and application.
CONTENT = bytes(range(256)) * 12_000
DIGEST = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
LINES = "".join(f"line {number}\n" for number in range(5))
FAILURE = "ArithmeticError: this is what the log should say"


class Site(NamedTuple):
    """A server and the framework that it serves."""

    framework: str
    server: Any

    @property
    def url(self) -> str:
        return str(self.server.url)

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENCE)


@pytest.fixture(
    scope="module",
    params=[(name, loop) for name, loops in FRAMEWORKS.items() for loop in loops],
    ids="-".join,
)
def site(
    request: pytest.FixtureRequest, serve_command: Callable[..., AbstractContextManager[Any]]
) -> Iterator[Site]:
    framework, loop = request.param
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed: pip install --group frameworks")
    # On one loop the command has to find out that it is a WSGI application.
    prefix = "" if loop == "asyncio" else "wsgi:"
    target = f"{prefix}{framework}_app:app"
    with serve_command("-k", loop, "-w", "1", "--app-dir", str(EXAMPLES), target, failure=FAILURE) as server:
        yield Site(framework, server)


def test_routes(site: Site) -> None:
    with site.client as client:
        assert client.get("/").text.lower() == f"hello from {site.framework}"
        answer = client.get("/items/7", params={"sort": "up ü"})
        assert answer.json() == {"number": 7, "query": {"sort": "up ü"}}
        assert client.get("/nowhere").status_code == 404
        head = client.get("/").headers
        # Django leaves the length to its middleware, and its answer has none that a server could ask for.
        assert len(head.get_list("content-length")) + len(head.get_list("transfer-encoding")) == 1
        assert len(head.get_list("date")) == 1


def test_answers_without_content(site: Site, curl: Callable[..., str]) -> None:
    with site.client as client:
        elsewhere = client.get("/redirect")
        assert elsewhere.status_code == 302
        assert elsewhere.headers["location"].removeprefix(site.url) == "/"
        for path, status in (("/empty", 204), ("/unchanged", 304)):
            answer = client.get(path)
            assert (answer.status_code, answer.content) == (status, b"")
            assert "transfer-encoding" not in answer.headers
        for path in ("/", "/stream", "/file"):
            answer = client.head(path)
            # Bottle and Falcon may have no such method here; what counts is that the connection is still good.
            assert answer.status_code in (200, 405)
            assert answer.content == b""
        assert client.get("/").status_code == 200
    # curl complains when a HEAD is answered with content.
    assert "content-type" in curl("--head", f"{site.url}/").lower()


def test_stream(site: Site, curl: Callable[..., str]) -> None:
    with site.client as client, client.stream("GET", "/stream") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        assert b"".join(answer.iter_raw()).decode() == LINES
    assert curl("--no-buffer", f"{site.url}/stream") == LINES
    assert curl("--http1.0", f"{site.url}/stream") == LINES
    assert curl("--http2-prior-knowledge", f"{site.url}/stream") == LINES


def test_uploads(site: Site) -> None:
    with site.client as client:
        assert client.post("/upload", content=CONTENT).json() == DIGEST
        assert client.post("/upload", content=b"").json()["size"] == 0
        assert client.post("/form", files={"file": ("name.bin", CONTENT)}).json() == DIGEST
        if site.framework != "django":  # which takes a body without Content-Length for empty
            pieces = (CONTENT[start : start + 100_000] for start in range(0, len(CONTENT), 100_000))
            assert client.post("/upload", content=pieces).json() == DIGEST


def test_uploads_with_curl(site: Site, curl: Callable[..., str]) -> None:
    binary = ("--data-binary", "@-", "-H", "content-type: application/octet-stream")
    for options in ((), ("-H", "expect: 100-continue"), ("--http2-prior-knowledge",)):
        answer = curl(*binary, *options, f"{site.url}/upload", data=CONTENT)
        assert f'"{DIGEST["sha256"]}"' in answer, options


def test_download(site: Site) -> None:
    content = Path(topics.__file__).read_bytes()
    with site.client as client:
        answer = client.get("/file")
        assert answer.content == content
        assert answer.headers["content-length"] == str(len(content))


def test_failure(site: Site) -> None:
    with site.client as client:
        assert client.get("/fails").status_code == 500
        assert client.get("/").status_code == 200
    if site.framework != "django":  # which mails its failures unless DEBUG is set
        site.server.wait_for(FAILURE)


def test_client_that_leaves(site: Site) -> None:
    """The application's iterator is closed, and its thread is free again."""
    with site.client as client:
        before = len(client.get("/closed").json())
        with client.stream("GET", "/endless") as answer:
            assert next(answer.iter_raw())
        # With bytes that nobody will read: the server meets a reset.
        with socket.create_connection(("127.0.0.1", site.server.port())) as sock:
            sock.sendall(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert sock.recv(100)
        deadline = time.monotonic() + PATIENCE
        while len(client.get("/closed").json()) < before + 2:
            assert time.monotonic() < deadline, "the iterator was not closed"


def test_websocket_is_refused(site: Site) -> None:
    with site.client as client:
        answer = client.get(
            "/",
            headers={
                "connection": "upgrade",
                "upgrade": "websocket",
                "sec-websocket-version": "13",
                "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )
    assert answer.status_code == 403


def test_stop_during_a_stream(serve_command: Callable[..., AbstractContextManager[Any]]) -> None:
    """A client that goes on reading an endless answer holds a graceful stop only for its timeout."""
    pytest.importorskip("flask", reason="flask is not installed: pip install --group frameworks")
    with serve_command(
        "-w", "1", "--graceful-timeout", "1", "--app-dir", str(EXAMPLES), "flask_app:app"
    ) as server:
        with socket.create_connection(("127.0.0.1", server.port()), timeout=PATIENCE) as sock:
            sock.sendall(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert sock.recv(100)
            server.process.send_signal(signal.SIGTERM)
            while True:
                try:
                    if not sock.recv(65536):
                        break
                except ConnectionResetError:
                    break
        assert server.process.wait(PATIENCE) == 0
