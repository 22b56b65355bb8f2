"""Files as content, by `http.response.pathsend` and `wsgi.file_wrapper`, on every loop."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from hypercorn.workers.errors import UnexpectedMessageError

from .conftest import Serve
from .websocket_apps import pause

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
#: More than sockets and buffers take at once.
LARGE = bytes(range(256)) * 60_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "content").write_bytes(LARGE)
    return tmp_path / "content"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each call of `os.sendfile` sends."""
    sizes: list[int] = []
    real = os.sendfile

    def sendfile(*arguments: Any) -> int:
        size = real(*arguments)
        sizes.append(size)
        return size

    monkeypatch.setattr(os, "sendfile", sendfile)
    return sizes


def asgi(path: object, *fields: tuple[bytes, bytes]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(fields)})
        await send({"type": "http.response.pathsend", "path": str(path)})

    return app


def wsgi(path: Path, *fields: tuple[str, str], offset: int = 0) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        file = path.open("rb")
        file.seek(offset)
        start_response("200 OK", list(fields))
        return environ["wsgi.file_wrapper"](file)

    return app


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
class TestEither:
    """What holds for both interfaces."""

    def app(self, kind: str, path: Path, size: int) -> Any:
        return asgi(path, length(size)) if kind == "asgi" else wsgi(path, ("Content-Length", str(size)))

    def test_is_sent_from_the_descriptor(self, serve: Serve, kind: str, path: Path, sent: list[int]) -> None:
        server = serve(self.app(kind, path, len(LARGE)))
        client = server.connect()
        for _ in range(2):
            client.send(GET)
            assert client.response()[2] == LARGE
        server.close()
        assert sum(sent) == 2 * len(LARGE)

    def test_pipelined(self, serve: Serve, kind: str, path: Path) -> None:
        client = serve(self.app(kind, path, len(LARGE))).connect()
        client.send(GET * 3)
        for _ in range(3):
            assert client.response()[2] == LARGE

    def test_head(self, serve: Serve, kind: str, path: Path, sent: list[int]) -> None:
        client = serve(self.app(kind, path, len(LARGE))).connect()
        for _ in range(2):
            client.send(GET.replace(b"GET", b"HEAD"))
            status, fields, _ = client.response(is_head=True)
            assert (status, fields["content-length"]) == (200, str(len(LARGE)))
        assert not sent

    def test_client_leaves(self, serve: Serve, kind: str, path: Path, sent: list[int]) -> None:
        server = serve(self.app(kind, path, len(LARGE)))
        client = server.connect()
        client.send(GET)
        client.head()
        client.close()
        server.stop()
        server.join()  # a call that goes on would hold it up
        assert sum(sent) < len(LARGE)
        assert str(path) not in open_files()

    def test_graceful_stop_sends_all(self, serve: Serve, kind: str, path: Path) -> None:
        server = serve(self.app(kind, path, len(LARGE)))
        client = server.connect()
        client.send(GET)
        _, fields = client.head()
        server.stop()
        assert client.body(fields) == LARGE
        client.close()
        server.join()

    def test_who_does_not_read_is_cut(self, serve: Serve, kind: str, path: Path, sent: list[int]) -> None:
        server = serve(self.app(kind, path, len(LARGE)), write_timeout=0.2, graceful_timeout=20)
        client = server.connect()
        client.send(GET)
        client.head()
        server.stop()
        server.join()  # it waits for nothing but this client
        assert sum(sent) < len(LARGE)

    def test_becomes_shorter(
        self, serve: Serve, kind: str, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = serve(self.app(kind, path, len(LARGE))).connect()
        client.send(GET)
        client.head()
        os.truncate(path, 0)
        with pytest.raises(ConnectionResetError):
            client.rest()
        assert any("has become shorter" in record.getMessage() for record in caplog.records)

    def test_shorter_than_announced(self, serve: Serve, kind: str, path: Path) -> None:
        client = serve(self.app(kind, path, len(LARGE) + 1)).connect()
        client.send(GET)
        _, fields = client.head()
        assert fields["content-length"] == str(len(LARGE) + 1)
        assert client.rest() == LARGE


class TestPathsend:
    def test_without_length(self, serve: Serve, path: Path, sent: list[int]) -> None:
        client = serve(asgi(path)).connect()
        client.send(GET)
        assert client.response()[2] == LARGE
        assert not sent

    def test_is_read_no_further_when_the_client_leaves(
        self, serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        errors: list[OSError] = []
        ended = threading.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            try:
                await asgi(path)(scope, receive, send)
            except OSError as error:
                errors.append(error)
                raise
            finally:
                ended.set()

        real = os.pread

        def pread(*arguments: Any) -> bytes:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            monkeypatch.setattr(os, "pread", real)
            return real(*arguments)

        monkeypatch.setattr(os, "pread", pread)
        server = serve(app)
        client = server.connect()
        client.send(GET)
        assert ended.wait(10)
        assert errors

    @pytest.mark.parametrize("is_given_up", [False, True], ids=["beside it", "behind a part of it"])
    @pytest.mark.parametrize("kind", ["pathsend", "body"])
    def test_nothing_else_is_sent(self, serve: Serve, path: Path, kind: str, is_given_up: bool) -> None:
        has_begun, has_tried = threading.Event(), threading.Event()
        errors: list[BaseException] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            async with anyio.create_task_group() as group:
                group.start_soon(asgi(path, length(2 * len(LARGE))), scope, receive, send)
                while not has_begun.is_set():
                    await pause()
                if is_given_up:
                    group.cancel_scope.cancel()
                else:
                    await send_more(send)
            if is_given_up:
                await send_more(send)

        async def send_more(send: Any) -> None:
            try:
                await send({"type": f"http.response.{kind}", "path": str(path)})
            except UnexpectedMessageError as error:
                errors.append(error)
            has_tried.set()

        client = serve(app).connect()
        client.send(GET * 2)
        client.head()
        has_begun.set()
        assert has_tried.wait(10)
        content = client.rest()
        assert LARGE.startswith(content)
        assert (len(content) < len(LARGE)) is is_given_up
        assert len(errors) == 1

    @pytest.mark.parametrize("size", [0, 1000])
    def test_that_has_grown_since(self, serve: Serve, path: Path, size: int, sent: list[int]) -> None:
        server = serve(asgi(path, length(size)))
        client = server.connect()
        for _ in range(2):
            client.send(GET)
            assert client.response()[::2] == (200, LARGE[:size])
        server.close()
        assert sum(sent) == 2 * size

    def test_empty(self, serve: Serve, path: Path) -> None:
        os.truncate(path, 0)
        client = serve(asgi(path, length(0))).connect()
        for _ in range(2):
            client.send(GET)
            assert client.response()[::2] == (200, b"")

    @pytest.mark.parametrize("where", ["/no/such/file", "relative", "/"])
    def test_that_cannot_be_sent(
        self, serve: Serve, where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = serve(
            asgi(where, length(5)),
            accesslog=str(tmp_path / "log"),
            loglevel="info",
            access_log_format="%(s)s %(B)s",
        )
        client = server.connect()
        client.send(GET)
        status, fields, _ = client.response()
        assert (status, fields["content-length"]) == (500, "0")
        server.close()
        assert "500 0\n" in (tmp_path / "log").read_text()
        assert any("Error in the application" in record.getMessage() for record in caplog.records)


class TestFileWrapper:
    def test_from_its_position_as_much_as_announced(self, serve: Serve, path: Path, sent: list[int]) -> None:
        server = serve(wsgi(path, ("Content-Length", "1000"), offset=300))
        client = server.connect()
        client.send(GET)
        assert client.response()[2] == LARGE[300:1300]
        server.close()
        assert sum(sent) == 1000

    def test_length_is_added(self, serve: Serve, path: Path) -> None:
        client = serve(wsgi(path, offset=300)).connect()
        client.send(GET)
        _, fields, body = client.response()
        assert fields["content-length"] == str(len(LARGE) - 300)
        assert body == LARGE[300:]

    def test_slow_client_keeps_no_thread(self, serve: Serve, path: Path) -> None:
        server = serve(wsgi(path), threads=1)
        slow, quick = server.connect(), server.connect()
        slow.send(GET)
        _, fields = slow.head()
        quick.send(GET)
        assert quick.response()[2] == LARGE
        assert slow.body(fields) == LARGE

    def test_what_was_written_and_not_flushed(self, serve: Serve) -> None:
        def app(environ: dict[str, Any], start_response: Any) -> Any:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
            file.write(b"written")
            file.seek(2)
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](file)

        client = serve(app).connect()
        client.send(GET)
        assert client.response()[2] == b"itten"

    @pytest.mark.parametrize(
        "open_it",
        [
            gzip.open,
            lambda path: io.BufferedReader(gzip.GzipFile(path)),
            lambda path: io.BytesIO(gzip.decompress(path.read_bytes())),
        ],
        ids=["gzip", "buffered gzip", "memory"],
    )
    def test_object_that_is_not_its_descriptor(
        self, serve: Serve, path: Path, open_it: Callable[[Path], Any], sent: list[int]
    ) -> None:
        path.write_bytes(gzip.compress(LARGE))

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](open_it(path))

        client = serve(app).connect()
        client.send(GET)
        assert client.response()[2] == LARGE
        assert not sent

    def test_close_is_called(self, serve: Serve, path: Path) -> None:
        closed = threading.Event()

        class File(io.FileIO):
            def close(self) -> None:
                super().close()
                closed.set()

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [])
            wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](File(path))
            return wrapped

        client = serve(app).connect()
        client.send(GET)
        assert client.response()[2] == LARGE
        assert closed.wait(10)

    def test_descriptor_is_given_back_if_the_client_leaves_before_the_answer(
        self, serve: Serve, path: Path
    ) -> None:
        running, has_left, go_on = threading.Event(), threading.Event(), threading.Event()
        threads: list[threading.Thread] = []

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/":
                start_response("200 OK", [])
                return []
            threads.append(threading.current_thread())
            running.set()
            with contextlib.suppress(OSError):
                environ["wsgi.input"].read()
            has_left.set()
            assert go_on.wait(10)
            return wsgi(path)(environ, start_response)

        server = serve(app, threads=2)
        client, witness = server.connect(), server.connect()
        client.send(b"POST /file HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nx")
        assert running.wait(10)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert has_left.wait(10)
        witness.send(GET)  # the loop has done with the client when this is answered
        assert witness.response()[0] == 200
        go_on.set()
        server.close()
        threads[0].join(10)
        assert str(path) not in open_files()


def open_files() -> set[str]:
    """The files that this process has open."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue
    return found
