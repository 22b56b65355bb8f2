"""WSGI applications behind the wrappers and middlewares, on asyncio and trio, checked by `wsgiref.validate`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest
import trio

from hypercorn.app_wrappers import ASGIWrapper, InvalidPathError, WSGIWrapper, _build_environ
from hypercorn.middleware import AsyncioWSGIMiddleware, TrioWSGIMiddleware

Run = Callable[..., list[Any]]


def scope(**changes: Any) -> Any:
    return {
        "type": "http",
        "http_version": "1.1",
        "asgi": {},
        "method": "GET",
        "headers": [],
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"a=b",
        "scheme": "http",
        "client": ("192.0.2.1", 80),
        "server": ("192.0.2.2", 8000),
        "extensions": {},
        "state": {},
    } | changes


def exchange(messages: list[Any]) -> tuple[Any, Any, list[Any]]:
    pending = list(messages)
    sent: list[Any] = []

    async def receive() -> Any:
        return pending.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    return receive, send, sent


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Calls a WSGI application through the middleware of a loop; gives what it sent."""
    middleware: Any = AsyncioWSGIMiddleware if request.param == "asyncio" else TrioWSGIMiddleware

    def call(app: Any, asgi_scope: Any = None, *bodies: bytes, max_body_size: int = 100) -> list[Any]:
        bodies = bodies or (b"",)
        receive, send, sent = exchange(
            [
                {"type": "http.request", "body": body, "more_body": number < len(bodies)}
                for number, body in enumerate(bodies, 1)
            ]
        )
        wrapped = middleware(app, max_body_size)
        if request.param == "asyncio":
            asyncio.run(wrapped(asgi_scope or scope(), receive, send))
        else:
            trio.run(wrapped, asgi_scope or scope(), receive, send)
        return sent

    return call


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}


END = {"type": "http.response.body", "body": b"", "more_body": False}


def test_echo(run: Run) -> None:
    @validator
    def echo(environ: Any, start_response: Any) -> list[bytes]:
        data = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", [("Content-Type", "text/plain"), ("X-Length", str(len(data)))])
        return [data[:3], b"", data[3:]]

    request = scope(headers=[(b"content-length", b"6"), (b"content-type", b"text/plain")], method="POST")
    assert run(echo, request, b"abcd", b"ef") == [
        start(200, (b"content-type", b"text/plain"), (b"x-length", b"6")),
        body(b"abc"),
        body(b""),
        body(b"def"),
        END,
    ]


def test_empty_responses(run: Run) -> None:
    def empty(environ: Any, start_response: Any) -> list[bytes]:
        start_response("204", [])
        return []

    def blank(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"", b""]

    assert run(empty) == [start(204), END]
    assert run(blank) == [start(), body(b""), END]


def test_lazy_start_and_close(run: Run) -> None:
    closed: list[bool] = []

    def generator(environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            start_response("200 OK", [])
            yield b"a"
            yield b"b"
        finally:
            closed.append(True)

    assert run(generator) == [start(), body(b"a"), body(b"b"), END]
    assert closed == [True]


def test_write(run: Run) -> None:
    def writer(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"written")
        return [b"returned"]

    assert run(writer) == [start(), body(b"written"), body(b"returned"), END]


def test_an_error_replaces_a_head_that_is_not_sent(run: Run) -> None:
    import sys

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Oh", [("X-A", "b")], sys.exc_info())
        return [b"sorry"]

    assert run(app) == [start(500, (b"x-a", b"b")), body(b"sorry"), END]


def test_an_error_after_the_head_passes_through(run: Run) -> None:
    import sys

    closed: list[bool] = []

    class Chunks:
        def __init__(self, start_response: Any) -> None:
            self.start_response = start_response

        def __iter__(self) -> Iterator[bytes]:
            self.start_response("200 OK", [])
            yield b"some"
            try:
                raise ValueError("late")
            except ValueError:
                self.start_response("500 Oh", [], sys.exc_info())

        def close(self) -> None:
            closed.append(True)

    with pytest.raises(ValueError, match="late"):
        run(lambda environ, start_response: Chunks(start_response))
    assert closed == [True]


def test_misuse(run: Run) -> None:
    with pytest.raises(RuntimeError, match="did not call start_response"):
        run(lambda environ, start_response: [b"x"])

    def twice(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    with pytest.raises(RuntimeError, match="again without exc_info"):
        run(twice)


def test_refusals(run: Run) -> None:
    def unreachable(environ: Any, start_response: Any) -> list[bytes]:
        raise AssertionError

    assert run(unreachable, None, b"xx", b"yy", max_body_size=3) == [start(400), END]
    assert run(unreachable, scope(path="/other", root_path="/root")) == [start(404), END]
    assert run(unreachable, scope(type="websocket")) == [{"type": "websocket.close"}]
    assert run(unreachable, {"type": "lifespan"}) == []


def test_environ() -> None:
    fields = [
        (b"host", b"example"),
        (b"x-a", b"1"),
        (b"x-a", b"2"),
        (b"cookie", b"a=b"),
        (b"cookie", b"c=d"),
        (b"x_a", b"forged"),
        (b"content-length", b"3"),
    ]
    environ = _build_environ(scope(path="/root/é", root_path="/root", headers=fields), b"abc")
    assert environ["SCRIPT_NAME"] == "/root"
    assert environ["PATH_INFO"] == "/é".encode().decode("latin-1")
    assert environ["SERVER_PORT"] == "8000"
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert environ["REMOTE_PORT"] == "80"
    assert environ["HTTP_X_A"] == "1,2"
    assert environ["HTTP_COOKIE"] == "a=b; c=d"
    assert environ["CONTENT_LENGTH"] == "3"
    assert environ["wsgi.input"].read() == b"abc"
    without = _build_environ(scope(client=None, server=None, scheme="https"), b"")
    assert without["REMOTE_ADDR"] == ""
    assert without["SERVER_PORT"] == "443"


def test_environ_below_another_path() -> None:
    for path in ("/中文", "/中国文", "/x"):
        with pytest.raises(InvalidPathError):
            _build_environ(scope(path=path, root_path="/中国"), b"")


def test_wsgi_errors(caplog: pytest.LogCaptureFixture) -> None:
    stream = _build_environ(scope(), b"")["wsgi.errors"]
    with caplog.at_level(logging.ERROR, "hypercorn.error"):
        print("one", file=stream)
        stream.write("tw")
        stream.writelines(["o\nth", "ree"])
        stream.flush()
    assert caplog.messages == ["one", "two", "three"]


def test_wrapper_runs_in_any_thread() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x"]

    sent: list[Any] = []
    WSGIWrapper(app, 1).run_app({}, sent.append)
    assert sent == [start(), body(b"x"), END]


def test_asgi_wrapper() -> None:
    async def app(given: Any, receive: Any, send: Any) -> None:
        await send((given, await receive()))

    receive, send, sent = exchange(["message"])
    asyncio.run(ASGIWrapper(app)(scope(), receive, send, print, print))
    assert sent == [(scope(), "message")]
