"""Sends clients that came without TLS to the same place with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..typing import (
        ASGIFramework,
        ASGIReceiveCallable,
        ASGISendCallable,
        HTTPResponseBodyEvent,
        Scope,
        WebsocketCloseEvent,
        WebsocketResponseBodyEvent,
        WWWScope,
    )


class HTTPToHTTPSRedirectMiddleware:
    """Answers `http` and `ws` requests with 307 (Temporary Redirect) to `https` and `wss`.

    A server that cannot answer a WebSocket handshake with a response closes it (403). A request that does not
    say which host it means is answered with 400.

    Args:
        app: gets everything else.
        host: host, or host and port, to redirect to; None takes that of the request.
    """

    def __init__(self, app: ASGIFramework, host: str | None) -> None:
        self.app = app
        self.host = host

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http" and scope["scheme"] == "http":
            status, headers = self._redirection("https", scope)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send(cast("HTTPResponseBodyEvent", {"type": "http.response.body"}))
        elif scope["type"] == "websocket" and scope["scheme"] == "ws":
            if "websocket.http.response" not in (scope.get("extensions") or {}):
                await send(cast("WebsocketCloseEvent", {"type": "websocket.close"}))
                return
            # Over HTTP/2 a WebSocket is a request for an https resource (RFC 8441 §5).
            scheme = "wss" if scope["http_version"].startswith("1") else "https"
            status, headers = self._redirection(scheme, scope)
            await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
            await send(cast("WebsocketResponseBodyEvent", {"type": "websocket.http.response.body"}))
        else:
            await self.app(scope, receive, send)

    def _redirection(self, scheme: str, scope: WWWScope) -> tuple[int, Iterable[tuple[bytes, bytes]]]:
        try:
            return 307, [(b"location", self._new_url(scheme, scope).encode("latin-1"))]
        except ValueError:
            return 400, []

    def _new_url(self, scheme: str, scope: WWWScope) -> str:
        """The same place under another scheme.

        Raises:
            ValueError: it cannot be told which host.
        """
        host = self.host
        if host is None:
            fields = {name.lower(): value for name, value in scope["headers"]}
            # The port of clear text is not that of TLS; any other may be shared.
            host = fields.get(b"host", b"").decode("latin-1").removesuffix(":80")
        if not host:
            raise ValueError("Host to redirect to cannot be determined")
        path = scope["raw_path"].decode("latin-1")
        root_path = scope.get("root_path", "")
        if not path.startswith("/"):
            path = ""  # `*` means the host itself, whose absolute form has no path (RFC 9112 §3.2.4)
        elif not path.startswith(f"{root_path}/"):  # a proxy took it away
            path = root_path + path
        query = scope["query_string"].decode("latin-1")
        return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")
