"""Dispatcher, ProxyFix and the redirection to HTTPS."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio

from hypercorn.middleware import DispatcherMiddleware, HTTPToHTTPSRedirectMiddleware, ProxyFixMiddleware
from hypercorn.middleware.dispatcher import AsyncioDispatcherMiddleware, TrioDispatcherMiddleware


def http_scope(**changes: Any) -> Any:
    return {
        "type": "http",
        "asgi": {},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"x=1",
        "root_path": "",
        "headers": [(b"host", b"example.com")],
        "client": ("192.0.2.9", 999),
        "server": ("192.0.2.1", 80),
        "state": {},
        "extensions": {},
    } | changes


def websocket_scope(**changes: Any) -> Any:
    changed = http_scope(type="websocket", scheme="ws", subprotocols=[]) | changes
    del changed["method"]
    return changed


DENIAL: Any = {"extensions": {"websocket.http.response": {}}}


def call(app: Any, scope: Any) -> tuple[list[Any], list[Any]]:
    """The messages that were sent, and the scopes that `inner` got."""
    inner.scopes = []
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    asyncio.run(app(scope, receive, send))
    return sent, inner.scopes


class Inner:
    """Notes the scopes that it is called with."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)


inner = Inner()


# ---- redirection


@pytest.mark.parametrize(
    ("host", "changes", "location"),
    [
        (None, {}, b"https://example.com/a%20b?x=1"),
        ("other:8443", {}, b"https://other:8443/a%20b?x=1"),
        (None, {"query_string": b"", "headers": [(b"Host", b"e:80")]}, b"https://e/a%20b"),
        (None, {"root_path": "/root"}, b"https://example.com/root/a%20b?x=1"),
        (None, {"root_path": "/root", "raw_path": b"/root/a"}, b"https://example.com/root/a?x=1"),
        (None, {"root_path": "/root", "raw_path": b"*", "query_string": b""}, b"https://example.com"),
    ],
)
def test_redirection(host: str | None, changes: Any, location: bytes) -> None:
    sent, _ = call(HTTPToHTTPSRedirectMiddleware(inner, host), http_scope(**changes))
    assert sent == [
        {"type": "http.response.start", "status": 307, "headers": [(b"location", location)]},
        {"type": "http.response.body"},
    ]
    sent, scopes = call(HTTPToHTTPSRedirectMiddleware(inner, host), websocket_scope(**(changes | DENIAL)))
    location = location.replace(b"https", b"wss")
    assert scopes == []
    assert sent == [
        {"type": "websocket.http.response.start", "status": 307, "headers": [(b"location", location)]},
        {"type": "websocket.http.response.body"},
    ]
    changes = changes | DENIAL | {"http_version": "2"}
    sent, _ = call(HTTPToHTTPSRedirectMiddleware(inner, host), websocket_scope(**changes))
    assert sent[0]["headers"][0][1].startswith(b"https://")


def test_redirection_where_it_cannot_be() -> None:
    assert call(HTTPToHTTPSRedirectMiddleware(inner, None), websocket_scope())[0] == [
        {"type": "websocket.close"}
    ]
    assert call(HTTPToHTTPSRedirectMiddleware(inner, None), http_scope(headers=[]))[0][0]["status"] == 400


@pytest.mark.parametrize(
    "scope", [http_scope(scheme="https"), websocket_scope(scheme="wss"), {"type": "lifespan"}]
)
def test_no_redirection(scope: Any) -> None:
    assert call(HTTPToHTTPSRedirectMiddleware(inner, "other"), scope) == ([], [scope])


# ---- ProxyFix


def fixed(scope: Any, **options: Any) -> Any:
    before = dict(scope)
    _, (after,) = call(ProxyFixMiddleware(inner, **options), scope)
    assert scope == before
    return after


def test_legacy_fields() -> None:
    headers = [
        (b"x-forwarded-for", b"198.51.100.1, 127.0.0.3"),
        (b"x-forwarded-proto", b"http,https"),
        (b"x-forwarded-host", b"site.example"),
        (b"host", b"internal"),
    ]
    scope = http_scope(headers=headers)
    after = fixed(scope)
    assert (after["client"], after["scheme"]) == (("127.0.0.3", 0), "https")
    assert [value for name, value in after["headers"] if name == b"host"] == [b"site.example"]
    assert after["state"] is scope["state"]
    assert fixed(scope, trusted_hops=2)["client"] == ("198.51.100.1", 0)
    assert fixed(scope, trusted_hops=2)["headers"] == headers
    assert fixed(scope, trusted_hops=3) == scope
    assert fixed(scope, trusted_hops=0) == scope


def test_fields_in_several_lines() -> None:
    headers = [
        (b"X-Forwarded-For", b"1.1.1.1"),
        (b"x-forwarded-for", b"2.2.2.2"),
        (b"x-forwarded-for", b"3.3.3.3"),
    ]
    assert fixed(http_scope(headers=headers), trusted_hops=2)["client"] == ("2.2.2.2", 0)


def test_scheme_of_a_websocket() -> None:
    headers = [(b"x-forwarded-proto", b"https")]
    assert fixed(websocket_scope(headers=headers))["scheme"] == "wss"
    headers = [(b"x-forwarded-proto", b"javascript")]
    assert fixed(websocket_scope(headers=headers))["scheme"] == "ws"


@pytest.mark.parametrize(
    ("lines", "hops", "client", "scheme", "host"),
    [
        (
            [b"for=127.0.0.1;proto=http, for=127.0.0.2;proto=https;host=e.com"],
            1,
            ("127.0.0.2", 0),
            "https",
            b"e.com",
        ),
        ([b"for=127.0.0.1;proto=https", b"For=127.0.0.2"], 2, ("127.0.0.1", 0), "https", None),
        ([b'for="[2001:db8::1]:4711"'], 1, ("2001:db8::1", 4711), "http", None),
        ([b'for="192.0.2.43:47011" ; by=x'], 1, ("192.0.2.43", 47011), "http", None),
        ([b'for="a,b\\"c", for=d'], 2, ('a,b"c', 0), "http", None),
        ([b'host="x;y"'], 1, ("192.0.2.9", 999), "http", b"x;y"),
        ([b"for=1.1.1.1, bad"], 1, ("192.0.2.9", 999), "http", None),
        ([b'for="unfinished'], 1, ("192.0.2.9", 999), "http", None),
        ([b"for=1.1.1.1;host=fine", b""], 1, ("192.0.2.9", 999), "http", None),
    ],
)
def test_modern_field(lines: list[bytes], hops: int, client: Any, scheme: str, host: bytes | None) -> None:
    headers = [(b"forwarded", line) for line in lines]
    after = fixed(http_scope(headers=headers), mode="modern", trusted_hops=hops)
    assert (after["client"], after["scheme"]) == (client, scheme)
    assert dict(after["headers"]).get(b"host") == host


def test_proxy_fix_leaves_lifespans_alone() -> None:
    scope = {"type": "lifespan"}
    assert call(ProxyFixMiddleware(inner), scope)[1][0] is scope


# ---- dispatcher


@pytest.mark.parametrize(
    ("path", "root_path", "given"),
    [
        ("/api/x/b", "", ("x", "/api/x")),
        ("/api/b", "", ("api", "/api")),
        ("/api", "", ("api", "/api")),
        ("/apiary", "", ("rest", "")),
        ("/", "", ("rest", "")),
        ("/root/api/b", "/root", ("api", "/root/api")),
        ("/api/b", "/root", ("api", "/root/api")),
    ],
)
def test_dispatch(path: str, root_path: str, given: tuple[str, str]) -> None:
    chosen: list[tuple[str, str, str]] = []

    def named(name: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            chosen.append((name, scope["root_path"], scope["path"]))

        return app

    app = DispatcherMiddleware({"/api/x": named("x"), "/api": named("api"), "/": named("rest")})
    call(app, http_scope(path=path, root_path=root_path))
    assert chosen == [(*given, path)]


def test_dispatch_nested() -> None:
    app = DispatcherMiddleware({"/a": DispatcherMiddleware({"/b": inner})})
    assert call(app, http_scope(path="/a/b/c"))[1][0]["root_path"] == "/a/b"


def test_dispatch_to_nobody() -> None:
    headers = [(b"content-length", b"0")]
    app = DispatcherMiddleware({"/a": inner})
    assert call(app, http_scope())[0] == [
        {"type": "http.response.start", "status": 404, "headers": headers},
        {"type": "http.response.body"},
    ]
    assert call(app, websocket_scope())[0] == [{"type": "websocket.close"}]
    assert call(app, websocket_scope(**DENIAL))[0][0]["status"] == 404


class Lifespan:
    """An application whose lifespan goes as told."""

    def __init__(self, startup: str = "complete", shutdown: str = "complete") -> None:
        self.answers = {"startup": startup, "shutdown": shutdown}
        self.seen: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})[id(self)] = True
        for stage in ("startup", "shutdown"):
            message = await receive()
            assert message == {"type": f"lifespan.{stage}"}
            self.seen.append(stage)
            answer = self.answers[stage]
            if answer == "raise":
                raise ValueError(f"no {stage}")
            if answer == "return":
                return
            text = {"message": f"{stage} went wrong"} if answer == "failed" else {}
            await send({"type": f"lifespan.{stage}.{answer}", **text})


Live = Callable[[dict[str, Any]], list[Any]]


@pytest.fixture(params=["asyncio", "trio"])
def live(request: pytest.FixtureRequest) -> Live:
    """Takes mounted applications through startup and shutdown on a loop; gives what the server is told."""

    def run(mounts: dict[str, Any]) -> list[Any]:
        sent: list[Any] = []
        pending = ["lifespan.startup", "lifespan.shutdown"]

        async def receive() -> Any:
            return {"type": pending.pop(0)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope: Any = {"type": "lifespan", "asgi": {}, "state": {}}
        if request.param == "asyncio":
            asyncio.run(AsyncioDispatcherMiddleware(mounts)(scope, receive, send))
        else:
            trio.run(TrioDispatcherMiddleware(mounts), scope, receive, send)
        assert all(id(app) in scope["state"] for app in mounts.values())
        return sent

    return run


STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


def test_lifespan_of_all(live: Live) -> None:
    parts = {"/a": Lifespan(), "/b": Lifespan()}
    assert live(parts) == [STARTED, STOPPED]
    assert all(part.seen == ["startup", "shutdown"] for part in parts.values())


def test_lifespan_of_some(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "hypercorn.error"):
        assert live({"/a": Lifespan("raise"), "": Lifespan(), "/c": Lifespan("return")}) == [STARTED, STOPPED]
    assert caplog.messages == [
        "The application at /a takes no part in the lifespan: ValueError('no startup')"
    ]


def test_lifespan_is_over_when_all_have_left(live: Live) -> None:
    assert live({"/a": Lifespan("return"), "/b": Lifespan("return")}) == [STARTED]


def test_lifespan_failures_are_passed_on(live: Live) -> None:
    well = Lifespan()
    assert live({"/a": Lifespan("failed"), "/b": well}) == [
        {"type": "lifespan.startup.failed", "message": "/a: startup went wrong"}
    ]
    assert well.seen == ["startup", "shutdown"]
    assert live({"/a": Lifespan(shutdown="failed"), "/b": Lifespan(shutdown="raise")}) == [
        STARTED,
        {
            "type": "lifespan.shutdown.failed",
            "message": "/a: shutdown went wrong; /b: ValueError('no shutdown')",
        },
    ]
