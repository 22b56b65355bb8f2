"""PEP 3333 over real servers on every loop: what applications get, may answer, and are told at the end."""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse
from wsgiref.validate import validator

import pytest

from hypercorn.config import Config
from hypercorn.workers.asyncio_driver import AsyncioRuntime
from hypercorn.workers.wsgi import WSGIApplication

Environ = dict[str, Any]
OK = "200 OK"
PLAIN = [("Content-Type", "text/plain")]

GET = b"GET /a HTTP/1.1\r\nhost: example.test\r\n\r\n"


def post(body: bytes, *more: bytes) -> bytes:
    lines = [b"POST /a HTTP/1.1", b"host: example.test", b"content-length: %d" % len(body), *more]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Recorder:
    """An application that keeps its environ and answers with its body."""

    def __init__(self) -> None:
        self.environ: Environ = {}
        self.body = b""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self.environ = environ
        self.body = environ["wsgi.input"].read()
        start_response(OK, PLAIN)
        return [self.body]


class TestEnviron:
    def test_validated(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            body = environ["wsgi.input"].read(5)
            start_response(OK, PLAIN)
            return [body, b"!"]

        client = serve(validator(app)).connect()
        client.send(GET)
        assert client.response()[::2] == (200, b"!")
        client.send(post(b"12345"))
        assert client.response()[::2] == (200, b"12345!")

    def test_keys(self, serve: Callable[..., Any]) -> None:
        app = Recorder()
        server = serve(app)
        client = server.connect()
        client.send(
            b"POST /caf%C3%A9%20/x?a=%20b&c HTTP/1.1\r\nHost: example.test:81\r\nContent-Type: text/x\r\n"
            b"Content-Length: 2\r\nX-One: 1\r\nX-One: 2\r\nCookie: a=1\r\nCookie: b=2\r\nX_One: forged\r\n"
            b"Proxy: http://evil\r\nX-Latin: \xe9\r\n\r\nhi"
        )
        assert client.response()[2] == b"hi"
        got = app.environ
        expected = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/caf\xc3\xa9 /x",
            "QUERY_STRING": "a=%20b&c",
            "REQUEST_URI": "/caf%C3%A9%20/x?a=%20b&c",
            "CONTENT_TYPE": "text/x",
            "CONTENT_LENGTH": "2",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(server.port),
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": str(client.sock.getsockname()[1]),
            "HTTP_HOST": "example.test:81",
            "HTTP_X_ONE": "1,2",
            "HTTP_COOKIE": "a=1; b=2",
            "HTTP_X_LATIN": "\xe9",
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
        }
        assert {key: got.get(key) for key in expected} == expected
        assert type(got) is dict
        assert got["SERVER_SOFTWARE"].startswith("hypercorn/")
        assert "HTTP_PROXY" not in got
        assert "HTTP_CONTENT_TYPE" not in got

    def test_each_request_has_its_own(self, serve: Callable[..., Any]) -> None:
        seen: list[Environ] = []

        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            seen.append(environ.copy())
            environ.clear()
            start_response(OK, [])
            return []

        client = serve(app).connect()
        for query, field in [(b"?1", b"one"), (b"", b"one"), (b"?3", b"three")]:
            client.send(b"GET /a" + query + b" HTTP/1.1\r\nhost: a\r\nx-field: " + field + b"\r\n\r\n")
            assert client.response()[0] == 200
        assert [environ["HTTP_X_FIELD"] for environ in seen] == ["one", "one", "three"]
        assert [environ["QUERY_STRING"] for environ in seen] == ["1", "", "3"]
        assert [environ["REQUEST_URI"] for environ in seen] == ["/a?1", "/a", "/a?3"]

    def test_path_that_is_no_utf8(self, serve: Callable[..., Any]) -> None:
        app = Recorder()
        client = serve(app).connect()
        client.send(b"GET /%ff HTTP/1.1\r\nhost: a\r\n\r\n")
        client.response()
        assert app.environ["PATH_INFO"] == "/\xff"

    def test_root_path(self, serve: Callable[..., Any]) -> None:
        app = Recorder()
        server = serve(app, root_path="/caf\u00e9")
        for path, status, rest in [
            (b"/caf%C3%A9/x", 200, "/x"),
            (b"/caf%C3%A9", 200, ""),
            (b"/caf%C3%A9s", 404, None),
            (b"/", 404, None),
        ]:
            app.environ = {}
            client = server.connect()
            client.send(b"GET " + path + b" HTTP/1.1\r\nhost: a\r\n\r\n")
            assert client.response()[0] == status
            assert app.environ.get("PATH_INFO") == rest
            if rest is not None:
                assert app.environ["SCRIPT_NAME"] == "/caf\xc3\xa9"

    def test_unix_socket(self, serve: Callable[..., Any], tmp_path: Path) -> None:
        app = Recorder()
        serve(app, bind=f"unix:{tmp_path}/s")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{tmp_path}/s")
            client.sendall(GET)
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert (app.environ["SERVER_NAME"], app.environ["SERVER_PORT"]) == ("example.test", "80")
        assert app.environ["REMOTE_ADDR"] == ""
        assert "REMOTE_PORT" not in app.environ

    def test_errors_outlive_who_closes_them(self, serve: Callable[..., Any], caplog: Any) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            with environ["wsgi.errors"] as errors:
                errors.writelines(["com", "plaint"])
            start_response(OK, PLAIN)
            return []

        client = serve(app).connect()
        for _ in range(2):
            client.send(GET)
            assert client.response()[0] == 200
        assert [record.getMessage() for record in caplog.records] == ["complaint"] * 2

    def test_errors_are_logged_line_by_line(
        self, serve: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            environ["wsgi.errors"].write("one\ntw")
            environ["wsgi.errors"].writelines(["o\n", "rest"])
            start_response(OK, PLAIN)
            return []

        server = serve(app)
        client = server.connect()
        with caplog.at_level(logging.ERROR, "hypercorn.error"):
            client.send(GET)
            client.response()
            client.send(GET)
            client.response()
            client.close()
            server.stop()  # the rest of a line is written when the call ends, after the response
            server.join()
        errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert errors == ["one", "two", "rest"] * 2


class TestRequestBody:
    def test_is_streamed(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
            start_response(OK, [])
            while line := environ["wsgi.input"].readline():
                yield line.upper()

        client = serve(app).connect()
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\none\n\r\n")
        assert client.head()[0] == 200
        assert client.chunk() == b"ONE\n"
        client.send(b"4\r\ntwo\n\r\n")
        assert client.chunk() == b"TWO\n"
        client.send(b"0\r\n\r\n")
        assert client.chunk() == b""

    def test_client_that_reads_only_after_it_has_sent_all(self, serve: Callable[..., Any]) -> None:
        def echo(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
            start_response(OK, [("Content-Length", environ["CONTENT_LENGTH"])])
            while piece := environ["wsgi.input"].read(100_000):
                yield piece

        body = bytes(range(256)) * 40_000
        client = serve(echo, wsgi_spool_size=10_000).connect()
        client.send(post(body))
        assert client.response()[2] == body

    def test_what_waits_goes_to_disk(
        self, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        may_read = threading.Event()
        body = bytes(range(256)) * 4_000

        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            first = environ["wsgi.input"].read(10)
            assert may_read.wait(10)
            rest = environ["wsgi.input"].read()
            start_response(OK, [])
            return [str(first + rest == body).encode()]

        client = serve(app, wsgi_spool_size=1000).connect()
        client.send(post(body))
        may_read.set()
        assert client.response()[2] == b"True"

    @pytest.mark.parametrize("chunked", [False, True])
    def test_too_large(self, serve: Callable[..., Any], chunked: bool) -> None:
        app = Recorder()
        client = serve(app, wsgi_max_body_size=5).connect()
        client.send(post(b"12345"))
        assert client.response()[::2] == (200, b"12345")
        if chunked:
            client.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\n123\r\n")
            client.send(b"3\r\n456\r\n")
        else:
            client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n")
        status, fields, body = client.response()
        assert (status, body) == (413, b"")
        assert fields["connection"] == "close"

    def test_continue_is_sent_when_the_body_is_read(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            if environ["PATH_INFO"] == "/no":
                start_response("403 No", [])
                return []
            body = environ["wsgi.input"].read()
            start_response(OK, [])
            return [body]

        server = serve(app)
        head = b" HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        client = server.connect()
        client.send(b"POST /no" + head)
        assert client.head()[0] == 403
        client = server.connect()
        client.send(b"POST /yes" + head)
        assert client.head()[0] == 100
        client.send(b"hi")
        assert client.response()[::2] == (200, b"hi")

    def test_client_leaves_in_the_middle(self, serve: Callable[..., Any]) -> None:
        seen: list[BaseException] = []
        started = threading.Event()
        done = threading.Event()

        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            started.set()
            try:
                environ["wsgi.input"].read()
            except OSError as error:
                seen.append(error)
                raise
            finally:
                done.set()
            return []

        client = serve(app).connect()
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n123")
        assert started.wait(10)
        client.close()
        assert done.wait(10)
        assert "disconnected" in str(seen[0])

    def test_unread_body(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            start_response(OK, [])
            return [b"unread"]

        client = serve(app).connect()
        client.send(post(b"x" * 1000))
        assert client.response()[2] == b"unread"
        client.send(post(b"y" * 100_000))
        assert client.response()[2] == b"unread"


class TestResponse:
    def run(self, serve: Callable[..., Any], app: Any, method: bytes = b"GET", target: bytes = b"/") -> Any:
        client = serve(app).connect()
        client.send(method + b" " + target + b" HTTP/1.1\r\nhost: a\r\n\r\n")
        return client.response(is_head=method == b"HEAD")

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            ("200", [b"x"]),
            ("204 No Content", []),
            ("304 Not Modified", []),
            ("302 Found", iter(())),
            (OK, ()),
        ],
    )
    def test_bodies_and_statuses(self, serve: Callable[..., Any], status: str, body: Any) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Any:
            start_response(status, [("X-A", "b")])
            return body

        got, fields, content = self.run(serve, app)
        assert got == int(status[:3])
        assert content == b"".join(body)
        assert fields["x-a"] == "b"
        if got in (204, 304):
            assert "content-length" not in fields
        else:
            assert fields["content-length"] == str(len(content))

    @pytest.mark.parametrize("length", [None, "10"])
    @pytest.mark.parametrize("kind", ["list", "generator", "empty"])
    def test_head(self, serve: Callable[..., Any], length: str | None, kind: str) -> None:
        bodies: dict[str, Any] = {
            "list": [b"0123456789"],
            "generator": iter([b"01234", b"56789"]),
            "empty": [],
        }

        def app(environ: Environ, start_response: StartResponse) -> Any:
            start_response(OK, [("Content-Length", length)] if length else [])
            return bodies[kind]

        client = serve(app).connect()
        client.send(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
        status, fields, _ = client.response(is_head=True)
        assert status == 200
        if length or kind == "list":
            assert fields["content-length"] == "10"
        else:
            assert "content-length" not in fields
        # Nothing but the head was sent: what comes next is the next answer.
        client.send(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert client.head()[0] == 200

    def test_generator_pieces_go_out_at_once(self, serve: Callable[..., Any]) -> None:
        go_on = threading.Event()

        def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
            start_response(OK, [])
            yield b""
            yield b"one"
            assert go_on.wait(10)
            yield b"two"

        client = serve(app).connect()
        client.send(GET)
        assert client.head()[0] == 200
        assert client.chunk() == b"one"
        go_on.set()
        assert client.chunk() == b"two"
        assert client.chunk() == b""

    def test_status_is_first_told_in_the_generator(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
            start_response("201 Made", [])
            yield b"late"

        assert self.run(serve, app)[::2] == (201, b"late")

    @pytest.mark.parametrize("returned", [[], [b"more"]])
    def test_write_of_all_that_was_announced_ends_the_response_once(
        self, serve: Callable[..., Any], returned: list[bytes], caplog: pytest.LogCaptureFixture
    ) -> None:
        has_response = threading.Event()

        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            start_response(OK, [("Content-Length", "3")])(b"one")
            assert has_response.wait(10)
            return returned

        caplog.set_level(logging.INFO, "hypercorn.access")
        server = serve(app, accesslog=logging.getLogger("hypercorn.access"))
        client = server.connect()
        client.send(GET)
        assert client.response()[2] == b"one"
        has_response.set()
        server.stop()
        server.join()
        assert len([record for record in caplog.records if record.name == "hypercorn.access"]) == 1

    def test_write(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            write = start_response(OK, [])
            write(b"one")
            write(b"")
            write(b"two")
            return [b"three"]

        status, _, body = self.run(serve, app)
        assert (status, body) == (200, b"onetwothree")

    def test_close_is_called_after_the_answer(self, serve: Callable[..., Any]) -> None:
        answered = threading.Event()
        closed = threading.Event()

        class Body:
            def __iter__(self) -> Iterator[bytes]:
                yield b"all"

            def close(self) -> None:
                assert answered.wait(10)
                closed.set()

        def app(environ: Environ, start_response: StartResponse) -> Body:
            start_response(OK, [("Content-Length", "3")])
            return Body()

        client = serve(app).connect()
        client.send(GET)
        assert client.response()[2] == b"all"
        answered.set()
        assert closed.wait(10)

    @pytest.mark.parametrize("failing", ["iterating", "no start_response", "not bytes"])
    def test_close_is_called_after_a_failure(
        self, serve: Callable[..., Any], failing: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        closed = threading.Event()

        class Body:
            def __iter__(self) -> Iterator[Any]:
                if failing == "iterating":
                    raise ValueError("in the middle")
                yield "text" if failing == "not bytes" else b"bytes"

            def close(self) -> None:
                closed.set()

        def app(environ: Environ, start_response: StartResponse) -> Body:
            if failing != "no start_response":
                start_response(OK, [])
            return Body()

        with caplog.at_level(logging.ERROR, "hypercorn.error"):
            assert self.run(serve, app)[0] == 500
        assert closed.wait(10)
        assert len(caplog.records) == 1

    def test_code_behind_the_last_yield_runs(self, serve: Callable[..., Any]) -> None:
        ran = threading.Event()

        def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
            start_response(OK, [("Content-Length", "1")])
            yield b"1"
            ran.set()

        assert self.run(serve, app)[2] == b"1"
        assert ran.wait(10)

    def test_exc_info_before_the_head(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            start_response(OK, [("X-First", "1")])
            try:
                raise ValueError
            except ValueError as error:
                start_response("500 Oops", [], (ValueError, error, error.__traceback__))
            return [b"sorry"]

        status, fields, body = self.run(serve, app)
        assert (status, body) == (500, b"sorry")
        assert "x-first" not in fields

    def test_exc_info_after_the_head(self, serve: Callable[..., Any]) -> None:
        raised = threading.Event()

        def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
            start_response(OK, [])
            yield b"part"
            error = ValueError("too late")
            try:
                start_response("500 Oops", [], (ValueError, error, None))
            except ValueError:
                raised.set()
                raise

        client = serve(app).connect()
        client.send(GET)
        assert client.head()[0] == 200
        assert client.rest() == b"4\r\npart\r\n"  # cut: no last chunk
        assert raised.is_set()

    @pytest.mark.parametrize(
        ("status", "headers"),
        [
            (200, []),
            ("OK", []),
            ("2000", []),
            ("100 Continue", []),
            (OK, [("x", 1)]),
            (OK, [("x", "\u20ac")]),
        ],
    )
    def test_bad_calls_fail_in_the_application(
        self, serve: Callable[..., Any], status: Any, headers: Any
    ) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            try:
                start_response(status, headers)
            except (TypeError, ValueError, AttributeError):
                start_response("400 Caught", [])
            return []

        assert self.run(serve, app)[0] == 400

    def test_called_twice(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            start_response(OK, [])
            start_response(OK, [])
            return []

        assert self.run(serve, app)[0] == 500

    def test_header_injection(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            start_response(OK, [("X-A", "b\r\nX-Injected: yes")])
            return [b"x"]

        status, fields, _ = self.run(serve, app)
        assert status == 500
        assert "x-injected" not in fields

    @pytest.mark.parametrize("kind", [list, iter])
    def test_more_than_announced(
        self, serve: Callable[..., Any], kind: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Any:
            start_response(OK, [("Content-Length", "3")])
            return kind([b"12", b"34", b"5"])

        with caplog.at_level(logging.ERROR, "hypercorn.error"):
            assert self.run(serve, app, target=b"/a%0Aforged?b")[2] == b"123"
        told = [record.getMessage() for record in caplog.records]
        assert [text.partition("announced: ")[2] for text in told] == ["GET /a%0Aforged"]

    def test_less_than_announced(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
            start_response(OK, [("Content-Length", "3")])
            yield b"12"

        client = serve(app).connect()
        client.send(GET)
        assert client.head()[1]["content-length"] == "3"
        assert client.rest() == b"12"

    def test_hop_by_hop_fields_are_the_server_s(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            start_response(OK, [("Transfer-Encoding", "chunked"), ("Keep-Alive", "x"), ("X-A", " b ")])
            return [b"plain"]

        _, fields, body = self.run(serve, app)
        assert body == b"plain"
        assert "transfer-encoding" not in fields
        assert fields["x-a"] == "b"

    def test_file_wrapper(self, serve: Callable[..., Any], tmp_path: Path) -> None:
        content = bytes(range(256)) * 5_000
        (tmp_path / "file").write_bytes(content)
        files: list[Any] = []

        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            file = (tmp_path / "file").open("rb")
            file.seek(100)
            files.append(file)
            start_response(OK, [])
            wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 10)
            return wrapped

        client = serve(app, threads=1).connect()
        client.send(GET)
        assert client.response()[2] == content[100:]
        client.send(GET)  # answered once the only thread has done with the first call
        client.response()
        assert files[0].closed

    def test_early_hints(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload"), ("X-Other", "no")])
            start_response(OK, [])
            return [b"x"]

        client = serve(app).connect()
        client.send(GET)
        status, fields = client.head()
        assert (status, fields["link"]) == (103, "</a.css>; rel=preload")
        assert "x-other" not in fields
        assert client.response()[0] == 200

    def test_exit_is_a_failure_like_others(self, serve: Callable[..., Any]) -> None:
        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            if environ["PATH_INFO"] == "/exit":
                raise SystemExit(3)
            start_response(OK, [])
            return [b"alive"]

        server = serve(app)
        client = server.connect()
        client.send(b"GET /exit HTTP/1.1\r\nhost: a\r\n\r\n")
        assert client.response()[0] == 500
        client = server.connect()
        client.send(GET)
        assert client.response()[2] == b"alive"


class TestOtherScopes:
    """No application, thread or loop is needed for these."""

    def call(self, kind: str) -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": f"{kind}.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        async def run() -> None:
            settings: Any = Config().resolve()
            adapter = WSGIApplication(Recorder(), settings, AsyncioRuntime())
            await adapter({"type": kind}, receive, send)
            adapter.close()

        asyncio.run(run())
        return sent

    def test_websocket_is_refused(self) -> None:
        assert self.call("websocket") == [{"type": "websocket.close"}]

    def test_lifespan_is_nothing(self) -> None:
        assert self.call("lifespan") == []
