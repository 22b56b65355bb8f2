"""Applications of either kind behind one call: `wrapper(scope, receive, send, sync_spawn, call_soon)`.

For programs that call applications themselves, and for the WSGI middlewares. The server's own WSGI side streams
request bodies and has a thread pool; this one gathers the request body, up to a limit, before it calls.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from .config.version import __version__
from .workers.application import LoadedApplication, classify
from .workers.wsgi_environ import constant_environ, make_environ

if TYPE_CHECKING:
    from types import TracebackType

    from .config import Config
    from .typing import (
        AppWrapper,
        ASGIFramework,
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        Framework,
        HTTPScope,
        Scope,
        WebsocketCloseEvent,
        WSGIFramework,
    )


class InvalidPathError(Exception):
    """The path of a request is not below the `root_path` of its scope."""


class ASGIWrapper:
    """An ASGI application."""

    def __init__(self, app: ASGIFramework) -> None:
        self.app = app

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None:
        await self.app(scope, receive, send)


class WSGIWrapper:
    """A WSGI application (PEP 3333). It runs in a thread and streams its response.

    Args:
        max_body_size: bytes of request body; more is answered with 400.
    """

    def __init__(self, app: WSGIFramework, max_body_size: int) -> None:
        self.app = app
        self.max_body_size = max_body_size

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None:
        """Serve one scope. WebSockets are refused; a lifespan ends at once, which says "not supported"."""
        if scope["type"] == "http":
            await self.handle_http(scope, receive, send, sync_spawn, call_soon)
        elif scope["type"] == "websocket":
            await send(cast("WebsocketCloseEvent", {"type": "websocket.close"}))

    async def handle_http(
        self,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None:
        """Serve one request. An exception of the application passes through."""
        body = await self._read_body(receive)
        if body is None:
            await _send_empty(send, 400)
            return
        try:
            environ = _build_environ(scope, body)
        except InvalidPathError:
            await _send_empty(send, 404)
            return
        await sync_spawn(self.run_app, environ, _ThreadSend(call_soon, send))

    def run_app(self, environ: dict[str, Any], send: Callable[[ASGISendEvent], Any]) -> None:
        """Call the application and `send` what it answers. Blocks; for a thread."""
        try:
            _Response(send).run(self.app, environ)
        finally:
            if (errors := environ.get("wsgi.errors")) is not None:
                errors.flush()

    async def _read_body(self, receive: ASGIReceiveCallable) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > self.max_body_size:
                return None
            if not message.get("more_body", False):
                return bytes(body)


async def _send_empty(send: ASGISendCallable, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class _ThreadSend:
    """`send` for a thread: returns when the event loop has taken the message."""

    def __init__(self, call_soon: Callable[..., Any], send: ASGISendCallable) -> None:
        self._call_soon = call_soon
        self._send = send

    def __call__(self, message: ASGISendEvent) -> None:
        self._call_soon(self._send, message)


class _Response:
    """The server's side of one WSGI call."""

    def __init__(self, send: Callable[[ASGISendEvent], Any]) -> None:
        self._send = send
        self._head: ASGISendEvent | None = None
        self._is_started = False

    def run(self, app: WSGIFramework, environ: dict[str, Any]) -> None:
        chunks = app(environ, self.start_response)
        is_empty = False
        try:
            for chunk in chunks:
                # A head is not sent before the first content, so that an error can still replace it.
                if chunk or self._is_started:
                    self.write(chunk)
                else:
                    is_empty = True
            if is_empty and not self._is_started:
                self.write(b"")  # whoever looks at the messages expects one for each item
            self._send_head()
            self._send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    def start_response(
        self,
        status: str,
        headers: Iterable[tuple[str, str]],
        exc_info: tuple[type[BaseException], BaseException, TracebackType] | None = None,
    ) -> Callable[[bytes], None]:
        try:
            if exc_info is not None and self._is_started:
                raise exc_info[1].with_traceback(exc_info[2])
            if exc_info is None and self._head is not None:
                raise RuntimeError("WSGI app called start_response again without exc_info")
        finally:
            exc_info = None  # the traceback refers to this frame
        self._head = {
            "type": "http.response.start",
            "status": int(status.split(None, 1)[0]),
            "headers": [
                (name.strip().encode("latin-1").lower(), value.strip().encode("latin-1"))
                for name, value in headers
            ],
        }
        return self.write

    def write(self, data: bytes) -> None:
        self._send_head()
        self._send({"type": "http.response.body", "body": data, "more_body": True})

    def _send_head(self) -> None:
        if self._head is None:
            raise RuntimeError("WSGI app did not call start_response")
        if not self._is_started:
            self._is_started = True
            self._send(self._head)


# Of whoever calls the wrapper nothing is known: other threads and processes may serve the application too.
_CONSTANT_ENVIRON = constant_environ(f"hypercorn/{__version__}", threads=2, workers=2)


def _build_environ(scope: HTTPScope, body: bytes) -> dict[str, Any]:
    """The WSGI environment of a request, with its whole body.

    Raises:
        InvalidPathError: the path is not below the root path.
    """
    environ = make_environ(cast("dict[str, Any]", scope), _CONSTANT_ENVIRON)
    if environ is None:
        raise InvalidPathError(f"{scope['path']!r} is not below {scope['root_path']!r}")
    environ["wsgi.input"] = io.BytesIO(body)
    return environ


def wrap(app: ASGIFramework | WSGIFramework, mode: str, max_body_size: int) -> ASGIWrapper | WSGIWrapper:
    """The wrapper for an application of a known kind, `asgi` or `wsgi`."""
    if mode == "wsgi":
        return WSGIWrapper(cast("WSGIFramework", app), max_body_size)
    return ASGIWrapper(cast("ASGIFramework", app))


def unwrap(
    app: AppWrapper | Framework,
    config: Config,
    call: Callable[[AppWrapper, Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]],
) -> LoadedApplication:
    """What the server is to serve for `app`, wrapped or not.

    Args:
        call: calls wrappers other than those above, or with another limit than that of `config`.

    Raises:
        ApplicationError: it is neither a wrapper nor ASGI nor WSGI.
    """
    if isinstance(app, ASGIWrapper) and type(app) is ASGIWrapper:
        return LoadedApplication(app.app, "asgi")
    if (
        isinstance(app, WSGIWrapper)
        and type(app) is WSGIWrapper
        and app.max_body_size == config.wsgi_max_body_size
    ):
        return LoadedApplication(app.app, "wsgi")
    if _is_wrapper(app):
        return LoadedApplication(partial(call, cast("AppWrapper", app)), "asgi")
    return classify(app)


def _is_wrapper(app: object) -> bool:
    """Whether it wants to be called as the wrappers are, with five arguments and not with fewer."""
    try:
        signature = inspect.signature(cast("Callable[..., Any]", app))
        signature.bind(*range(5))
    except (TypeError, ValueError):
        return False
    return all(kind.kind is not kind.VAR_POSITIONAL for kind in signature.parameters.values())
