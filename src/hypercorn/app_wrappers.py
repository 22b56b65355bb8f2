"""Applications of either kind behind one call: `wrapper(scope, receive, send, sync_spawn, call_soon)`.

For programs that call applications themselves, and for the WSGI middlewares. The server's own WSGI side streams
request bodies and has a thread pool; this one gathers the request body, up to a limit, before it calls.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from .config.version import __version__

if TYPE_CHECKING:
    from types import TracebackType

    from .typing import (
        ASGIFramework,
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        HTTPScope,
        Scope,
        WebsocketCloseEvent,
        WSGIFramework,
    )

_logger = logging.getLogger("hypercorn.error")


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
        _Response(send).run(self.app, environ)

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
        try:
            for chunk in chunks:
                # A head is not sent before the first content, so that an error can still replace it.
                if chunk:
                    self.write(chunk)
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


def _build_environ(scope: HTTPScope, body: bytes) -> dict[str, Any]:
    """The WSGI environment of a request (PEP 3333, with the CGI variables of RFC 3875).

    Raises:
        InvalidPathError: the path is not below the root path.
    """
    root_path, path = scope.get("root_path", "").rstrip("/"), scope["path"]
    path_info = path.removeprefix(root_path)
    if not path.startswith(root_path) or path_info[:1] not in ("", "/"):
        raise InvalidPathError(f"{path!r} is not below {root_path!r}")
    server = scope.get("server") or ("localhost", None)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": _as_wsgi(root_path),
        "PATH_INFO": _as_wsgi(path_info),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] if server[1] is not None else _default_port(scope)),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_SOFTWARE": f"hypercorn/{__version__}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": _ErrorLog(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    client = scope.get("client")
    if client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    for name, value in scope["headers"]:
        _add_field(environ, name.decode("latin-1"), value.decode("latin-1"))
    return environ


def _as_wsgi(text: str) -> str:
    # PEP 3333: bytes, one per character.
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _default_port(scope: HTTPScope) -> int:
    return 443 if scope.get("scheme") == "https" else 80


def _add_field(environ: dict[str, Any], name: str, value: str) -> None:
    # A name with "_" would be taken for the one with "-", which a proxy may have set or removed.
    if "_" in name:
        return
    key = name.upper().replace("-", "_")
    if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        environ[key] = value
        return
    key = "HTTP_" + key
    if key in environ:
        value = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
    environ[key] = value


class _ErrorLog(io.TextIOBase):
    """`wsgi.errors`: whole lines of it become records of the error log."""

    def __init__(self) -> None:
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _logger.error("%s", line)
        return len(text)

    def flush(self) -> None:
        if self._line:
            line, self._line = self._line, ""
            _logger.error("%s", line)


def wrap(app: ASGIFramework | WSGIFramework, mode: str, max_body_size: int) -> ASGIWrapper | WSGIWrapper:
    """The wrapper for an application of a known kind, `asgi` or `wsgi`."""
    if mode == "wsgi":
        return WSGIWrapper(cast("WSGIFramework", app), max_body_size)
    return ASGIWrapper(cast("ASGIFramework", app))
