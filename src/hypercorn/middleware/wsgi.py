"""A WSGI application as an ASGI one, to be mounted beside others.

A program that is nothing but a WSGI application is better given to the server as it is: the server streams
request bodies and has a thread pool for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..app_wrappers import InvalidPathError, WSGIWrapper

if TYPE_CHECKING:
    from ..typing import AppWrapper, ASGIReceiveCallable, ASGISendCallable, Scope, WSGIFramework

__all__ = ["MAX_BODY_SIZE", "AsyncioWSGIMiddleware", "InvalidPathError", "TrioWSGIMiddleware"]

#: Bytes.
MAX_BODY_SIZE = 2**16


class AsyncioWSGIMiddleware:
    """Runs `wsgi_app` in the default executor of an asyncio or uvloop loop.

    Args:
        max_body_size: bytes of request body; more is answered with 400.
    """

    def __init__(self, wsgi_app: WSGIFramework, max_body_size: int = MAX_BODY_SIZE) -> None:
        self.wsgi_app = WSGIWrapper(wsgi_app, max_body_size)
        self.max_body_size = max_body_size

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await call_in_asyncio(self.wsgi_app, scope, receive, send)


class TrioWSGIMiddleware:
    """Runs `wsgi_app` in trio's worker threads. Arguments as `AsyncioWSGIMiddleware`."""

    def __init__(self, wsgi_app: WSGIFramework, max_body_size: int = MAX_BODY_SIZE) -> None:
        self.wsgi_app = WSGIWrapper(wsgi_app, max_body_size)
        self.max_body_size = max_body_size

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await call_in_trio(self.wsgi_app, scope, receive, send)


async def call_in_asyncio(
    app: AppWrapper, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
) -> None:
    """Call a wrapped application with what it needs of the asyncio loop that runs."""
    loop = asyncio.get_running_loop()

    async def spawn(function: Callable[..., Any], *args: Any) -> Any:
        return await loop.run_in_executor(None, function, *args)

    def call(function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        async def run() -> Any:
            return await function(*args)

        return asyncio.run_coroutine_threadsafe(run(), loop).result()

    await app(scope, receive, send, spawn, call)


async def call_in_trio(
    app: AppWrapper, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
) -> None:
    """Call a wrapped application with what it needs of trio."""
    import trio

    await app(scope, receive, send, trio.to_thread.run_sync, trio.from_thread.run)
