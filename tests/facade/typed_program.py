"""A program of a user, as type checkers see it; `test_typing.py` has them read it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, assert_type

import hypercorn
from hypercorn.app_wrappers import ASGIWrapper, WSGIWrapper
from hypercorn.config import Config
from hypercorn.events import RawData
from hypercorn.logging import AccessLogAtoms, Logger
from hypercorn.middleware import (
    AsyncioWSGIMiddleware,
    DispatcherMiddleware,
    HTTPToHTTPSRedirectMiddleware,
    ProxyFixMiddleware,
)
from hypercorn.statsd import StatsdLogger
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    LifespanScope,
    ResponseSummary,
    Scope,
    WebsocketScope,
    WSGIFramework,
    WWWScope,
)
from hypercorn.utils import LifespanFailureError, wrap_app


async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    if scope["type"] == "http":
        await http(scope, receive, send)
    elif scope["type"] == "websocket":
        await websocket(scope, receive, send)
    else:
        await lifespan(scope, receive, send)


async def http(scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    assert_type(scope["method"], str)
    assert_type(scope["client"], tuple[str, int] | None)
    body = b""
    while True:
        event = await receive()
        if event["type"] == "http.request":
            body += event["body"]
            if not event["more_body"]:
                break
        elif event["type"] == "http.disconnect":
            return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
    await send({"type": "http.response.push", "path": "/style.css", "headers": []})


async def websocket(scope: WebsocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    event = await receive()
    if event["type"] == "websocket.receive":
        assert_type(event["text"], str | None)
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    await send({"type": "websocket.send", "bytes": b"hello", "text": None})
    await send({"type": "websocket.close", "code": 1000, "reason": None})


async def lifespan(scope: LifespanScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    scope["state"]["database"] = object()
    await send({"type": "lifespan.startup.complete"})


class StatusMiddleware:
    def __init__(self, inner: ASGIFramework) -> None:
        self.inner = inner
        self.statuses: list[int] = []

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def noting_send(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.start":
                self.statuses.append(message["status"])
            await send(message)

        await self.inner(scope, receive, noting_send)


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


class MyLogger(Logger):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.seen = 0

    async def access(self, request: WWWScope, response: ResponseSummary, request_time: float) -> None:
        self.seen += response["status"]
        await super().access(request, response, request_time)

    async def error(self, message: str, *args: Any, **kwargs: Any) -> None:
        await super().error(message, *args, **kwargs)

    def atoms(
        self, request: WWWScope, response: ResponseSummary | None, request_time: float
    ) -> Mapping[str, str]:
        return {**AccessLogAtoms(request, response, request_time), "x": "y"}


class MyStatsdLogger(StatsdLogger):
    async def _socket_send(self, message: bytes) -> None:
        logging.getLogger(__name__).info("%r", message)


class MyConfig(hypercorn.Config):
    logger_class = MyLogger
    workers = 2

    def __init__(self) -> None:
        super().__init__()
        self.bind = "127.0.0.1:0"


def configure() -> Config:
    config: Config = MyConfig()
    config = hypercorn.Config()
    config.bind = ["127.0.0.1:0"]
    config.logger_class = MyLogger
    config.set_statsd_logger_class(MyStatsdLogger)
    return config


framework: ASGIFramework = StatusMiddleware(app)
mounted = DispatcherMiddleware(
    {"/a": app, "/b": framework, "/c": AsyncioWSGIMiddleware(wsgi, max_body_size=10)}
)
fixed: ASGIFramework = ProxyFixMiddleware(mounted, mode="modern", trusted_hops=2)
redirected: ASGIFramework = HTTPToHTTPSRedirectMiddleware(fixed, host="example.com")
plain: WSGIFramework = wsgi
wrappers = (ASGIWrapper(app), WSGIWrapper(plain, 2**16), wrap_app(app, 2**16, None))
data: bytes = RawData(data=b"", address=("127.0.0.1", 1)).data


def main() -> None:
    from hypercorn.asyncio import serve

    stop = asyncio.Event()
    try:
        asyncio.run(serve(redirected, configure(), shutdown_trigger=stop.wait, mode="asgi"))
    except LifespanFailureError as error:
        print(error)
