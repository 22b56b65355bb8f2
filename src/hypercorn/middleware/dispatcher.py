"""Mounts several ASGI applications, each below a path.

All take part in the lifespan: each gets a lifespan of its own, and the server is answered when all of them have
answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

if TYPE_CHECKING:
    from ..typing import (
        ASGIFramework,
        ASGIReceiveCallable,
        ASGIReceiveEvent,
        ASGISendCallable,
        ASGISendEvent,
        HTTPResponseBodyEvent,
        LifespanScope,
        Scope,
        WebsocketCloseEvent,
        WebsocketResponseBodyEvent,
        WWWScope,
    )

Stage: TypeAlias = Literal["startup", "shutdown"]

_logger = logging.getLogger("hypercorn.error")


class _Event(Protocol):
    def set(self) -> object: ...

    async def wait(self) -> object: ...


class _Dispatcher:
    """What is the same in every event loop.

    Args:
        mounts: the first whose path the request's path is, or is below, gets it, with that path moved to
            `root_path`; `""` and `"/"` get all that is left. Without a mount: 404.
    """

    def __init__(self, mounts: dict[str, ASGIFramework]) -> None:
        self.mounts = mounts

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await self._handle_lifespan(scope, receive, send)
            return
        root_path = scope.get("root_path", "")
        path = scope["path"]
        # As this application sees it, which may be mounted itself.
        if root_path and path.startswith(f"{root_path}/"):
            path = path[len(root_path) :]
        for mount, app in self.mounts.items():
            prefix = mount.rstrip("/")
            if path == prefix or path.startswith(f"{prefix}/"):
                mounted = {**scope, "root_path": root_path + prefix}
                await app(cast("Scope", mounted), receive, send)
                return
        await _answer_not_found(scope, send)

    async def _handle_lifespan(
        self, scope: LifespanScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        parts = [_Part(path, app, self._make_event) for path, app in self.mounts.items()]

        async def conduct() -> None:
            await receive()
            failures = await _ask(parts, "startup")
            if failures:
                # Whoever did start is to clean up before the server gives up.
                await _ask(parts, "shutdown")
                await send({"type": "lifespan.startup.failed", "message": "; ".join(failures)})
                return
            await send({"type": "lifespan.startup.complete"})
            if all(part.has_ended for part in parts):
                return
            await receive()
            failures = await _ask(parts, "shutdown")
            if failures:
                await send({"type": "lifespan.shutdown.failed", "message": "; ".join(failures)})
            else:
                await send({"type": "lifespan.shutdown.complete"})

        await self._run_together([conduct, *(partial(part.run, scope) for part in parts)])

    def _make_event(self) -> _Event:
        raise NotImplementedError

    async def _run_together(self, functions: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        raise NotImplementedError


class AsyncioDispatcherMiddleware(_Dispatcher):
    """For asyncio and uvloop."""

    def _make_event(self) -> _Event:
        return asyncio.Event()

    async def _run_together(self, functions: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        async with asyncio.TaskGroup() as group:
            for function in functions:
                group.create_task(function())


class TrioDispatcherMiddleware(_Dispatcher):
    """For trio."""

    def _make_event(self) -> _Event:
        import trio

        return trio.Event()

    async def _run_together(self, functions: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        import trio

        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)


DispatcherMiddleware = AsyncioDispatcherMiddleware


class _Part:
    """The lifespan of one mounted application.

    Attributes:
        failures: by stage, what it said when it could not do it.
        has_ended: its call has returned.
    """

    def __init__(self, path: str, app: ASGIFramework, make_event: Callable[[], _Event]) -> None:
        self._path = path or "/"
        self._app = app
        self._make_event = make_event
        self._stages: list[Stage] = ["startup", "shutdown"]
        self.asked = {stage: make_event() for stage in self._stages}
        self.answered = {stage: make_event() for stage in self._stages}
        self._has_started = False
        self.failures: dict[Stage, str] = {}
        self.has_ended = False

    async def run(self, scope: LifespanScope) -> None:
        """Call the application; does not raise."""
        try:
            await self._app(scope.copy(), self._receive, self._send)
        except Exception as error:  # noqa: BLE001
            # A border: an application may raise anything, and does when it does not know lifespans.
            if self._has_started:
                self.failures.setdefault("shutdown", f"{self._path}: {error!r}")
            elif "startup" not in self.failures:
                _logger.warning("The application at %s takes no part in the lifespan: %r", self._path, error)
        finally:
            self.has_ended = True
            for event in self.answered.values():
                event.set()

    async def _receive(self) -> ASGIReceiveEvent:
        if not self._stages:
            await self._make_event().wait()  # there is no third message
        stage = self._stages.pop(0)
        await self.asked[stage].wait()
        return {"type": "lifespan.startup"} if stage == "startup" else {"type": "lifespan.shutdown"}

    async def _send(self, message: ASGISendEvent) -> None:
        stage: Stage = "startup" if message["type"].startswith("lifespan.startup.") else "shutdown"
        if message["type"] == "lifespan.startup.failed" or message["type"] == "lifespan.shutdown.failed":
            self.failures[stage] = f"{self._path}: {message.get('message', '')}"
        elif stage == "startup":
            self._has_started = True
        self.answered[stage].set()


async def _ask(parts: list[_Part], stage: Stage) -> list[str]:
    """Tell all of them, wait for all of them; what those said that failed."""
    for part in parts:
        part.asked[stage].set()
    for part in parts:
        await part.answered[stage].wait()
    return [part.failures[stage] for part in parts if stage in part.failures]


async def _answer_not_found(scope: WWWScope, send: ASGISendCallable) -> None:
    headers = [(b"content-length", b"0")]
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send(cast("HTTPResponseBodyEvent", {"type": "http.response.body"}))
    elif "websocket.http.response" in (scope.get("extensions") or {}):
        await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
        await send(cast("WebsocketResponseBodyEvent", {"type": "websocket.http.response.body"}))
    else:
        await send(cast("WebsocketCloseEvent", {"type": "websocket.close"}))
