"""Types for applications, middleware and whoever starts a server: the ASGI 3 messages, scopes and callables.

Nothing here exists at run time but names. Keys are required or not as programs written for Hypercorn expect;
keys that this server added are `NotRequired`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from multiprocessing.synchronize import Event as EventType
from typing import TYPE_CHECKING, Any, Literal, NewType, NotRequired, Protocol, TypeAlias, TypedDict

if TYPE_CHECKING:
    import h2.events
    import h11

    from .config import Config, Sockets

    H11SendableEvent: TypeAlias = h11.Data | h11.EndOfMessage | h11.InformationalResponse | h11.Response


def __getattr__(name: str) -> Any:
    # The one alias that would import a protocol library for every application that wants a type.
    if name == "H11SendableEvent":
        import h11

        return h11.Data | h11.EndOfMessage | h11.InformationalResponse | h11.Response
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# ---- scopes

#: What the application put there during its lifespan; shared by all connections of a worker.
LifespanState: TypeAlias = dict[str, Any]
#: A shallow copy of it, one per request.
ConnectionState = NewType("ConnectionState", dict[str, Any])


class ASGIVersions(TypedDict, total=False):
    spec_version: str
    version: Literal["2.0", "3.0"]


class HTTPScope(TypedDict):
    type: Literal["http"]
    asgi: ASGIVersions
    http_version: str
    method: str
    scheme: str
    path: str
    raw_path: bytes
    query_string: bytes
    root_path: str
    headers: Iterable[tuple[bytes, bytes]]
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    state: ConnectionState
    extensions: dict[str, dict[str, Any]]


class WebsocketScope(TypedDict):
    type: Literal["websocket"]
    asgi: ASGIVersions
    http_version: str
    scheme: str
    path: str
    raw_path: bytes
    query_string: bytes
    root_path: str
    headers: Iterable[tuple[bytes, bytes]]
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    subprotocols: Iterable[str]
    state: ConnectionState
    extensions: dict[str, dict[str, Any]]


class LifespanScope(TypedDict):
    type: Literal["lifespan"]
    asgi: ASGIVersions
    state: LifespanState


WWWScope: TypeAlias = HTTPScope | WebsocketScope
Scope: TypeAlias = HTTPScope | WebsocketScope | LifespanScope


# ---- HTTP messages


class HTTPRequestEvent(TypedDict):
    type: Literal["http.request"]
    body: bytes
    more_body: bool


class HTTPResponseStartEvent(TypedDict):
    type: Literal["http.response.start"]
    status: int
    headers: Iterable[tuple[bytes, bytes]]
    trailers: NotRequired[bool]


class HTTPResponseBodyEvent(TypedDict):
    type: Literal["http.response.body"]
    body: bytes
    more_body: bool


class HTTPResponsePathsendEvent(TypedDict):
    type: Literal["http.response.pathsend"]
    path: str


class HTTPResponseTrailersEvent(TypedDict):
    type: Literal["http.response.trailers"]
    headers: Iterable[tuple[bytes, bytes]]
    more_trailers: NotRequired[bool]


class HTTPServerPushEvent(TypedDict):
    type: Literal["http.response.push"]
    path: str
    headers: Iterable[tuple[bytes, bytes]]


class HTTPEarlyHintEvent(TypedDict):
    type: Literal["http.response.early_hint"]
    links: Iterable[bytes]


class HTTPDisconnectEvent(TypedDict):
    type: Literal["http.disconnect"]


# ---- WebSocket messages


class WebsocketConnectEvent(TypedDict):
    type: Literal["websocket.connect"]


class WebsocketAcceptEvent(TypedDict):
    type: Literal["websocket.accept"]
    subprotocol: str | None
    headers: Iterable[tuple[bytes, bytes]]


class WebsocketReceiveEvent(TypedDict):
    type: Literal["websocket.receive"]
    bytes: bytes | None
    text: str | None


class WebsocketSendEvent(TypedDict):
    type: Literal["websocket.send"]
    bytes: bytes | None
    text: str | None


class WebsocketResponseStartEvent(TypedDict):
    type: Literal["websocket.http.response.start"]
    status: int
    headers: Iterable[tuple[bytes, bytes]]


class WebsocketResponseBodyEvent(TypedDict):
    type: Literal["websocket.http.response.body"]
    body: bytes
    more_body: bool


class WebsocketDisconnectEvent(TypedDict):
    type: Literal["websocket.disconnect"]
    code: int
    reason: NotRequired[str | None]


class WebsocketCloseEvent(TypedDict):
    type: Literal["websocket.close"]
    code: int
    reason: str | None


# ---- lifespan messages


class LifespanStartupEvent(TypedDict):
    type: Literal["lifespan.startup"]


class LifespanShutdownEvent(TypedDict):
    type: Literal["lifespan.shutdown"]


class LifespanStartupCompleteEvent(TypedDict):
    type: Literal["lifespan.startup.complete"]


class LifespanStartupFailedEvent(TypedDict):
    type: Literal["lifespan.startup.failed"]
    message: str


class LifespanShutdownCompleteEvent(TypedDict):
    type: Literal["lifespan.shutdown.complete"]


class LifespanShutdownFailedEvent(TypedDict):
    type: Literal["lifespan.shutdown.failed"]
    message: str


# ---- applications

ASGIReceiveEvent: TypeAlias = (
    HTTPRequestEvent
    | HTTPDisconnectEvent
    | WebsocketConnectEvent
    | WebsocketReceiveEvent
    | WebsocketDisconnectEvent
    | LifespanStartupEvent
    | LifespanShutdownEvent
)
ASGISendEvent: TypeAlias = (
    HTTPResponseStartEvent
    | HTTPResponseBodyEvent
    | HTTPResponsePathsendEvent
    | HTTPResponseTrailersEvent
    | HTTPServerPushEvent
    | HTTPEarlyHintEvent
    | HTTPDisconnectEvent
    | WebsocketAcceptEvent
    | WebsocketSendEvent
    | WebsocketResponseStartEvent
    | WebsocketResponseBodyEvent
    | WebsocketCloseEvent
    | LifespanStartupCompleteEvent
    | LifespanStartupFailedEvent
    | LifespanShutdownCompleteEvent
    | LifespanShutdownFailedEvent
)
ASGIReceiveCallable: TypeAlias = Callable[[], Awaitable[ASGIReceiveEvent]]
ASGISendCallable: TypeAlias = Callable[[ASGISendEvent], Awaitable[None]]
ASGIFramework: TypeAlias = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
WSGIFramework: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Framework: TypeAlias = ASGIFramework | WSGIFramework


class AppWrapper(Protocol):
    """An application of either kind, called the ASGI way.

    `sync_spawn(function, *args)` runs a function in a thread and waits for it; `call_soon(function, *args)`
    runs one in the event loop, from such a thread, and waits for its result.
    """

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None: ...


class ResponseSummary(TypedDict):
    """What a logger is told of a response."""

    status: int
    headers: Iterable[tuple[bytes, bytes]]


# ---- servers

WorkerFunc: TypeAlias = "Callable[[Config, Sockets | None, EventType | None], None]"


class Event(Protocol):
    def __init__(self) -> None: ...

    async def clear(self) -> None: ...

    async def set(self) -> None: ...

    async def wait(self) -> None: ...

    def is_set(self) -> bool: ...


class TaskGroup(Protocol):
    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]: ...

    def spawn(self, func: Callable[..., Any], *args: Any) -> None: ...


class SingleTask(Protocol):
    def __init__(self) -> None: ...

    async def restart(self, task_group: TaskGroup, action: Callable[..., Any]) -> None: ...

    async def stop(self) -> None: ...


class WorkerContext(Protocol):
    event_class: type[Event]
    single_task_class: type[SingleTask]
    terminate: Event
    terminated: Event

    async def mark_request(self) -> None: ...

    @staticmethod
    async def sleep(wait: float) -> None: ...

    @staticmethod
    def time() -> float: ...


class H2SyncStream(Protocol):
    scope: dict[str, Any]

    def data_received(self, data: bytes) -> None: ...

    def ended(self) -> None: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...

    async def handle_request(
        self,
        event: h2.events.RequestReceived,
        scheme: str,
        client: tuple[str, int],
        server: tuple[str, int],
    ) -> None: ...


class H2AsyncStream(Protocol):
    scope: dict[str, Any]

    async def data_received(self, data: bytes) -> None: ...

    async def ended(self) -> None: ...

    async def reset(self) -> None: ...

    async def close(self) -> None: ...

    async def handle_request(
        self,
        event: h2.events.RequestReceived,
        scheme: str,
        client: tuple[str, int],
        server: tuple[str, int],
    ) -> None: ...
