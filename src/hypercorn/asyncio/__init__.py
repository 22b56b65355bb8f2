"""Serve an application inside a program that has an asyncio (or uvloop) loop of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from ..config import Config
from ..workers.asyncio_driver import AsyncioRuntime
from ..workers.embedding import embed
from ..workers.supervision import DrainReason

__all__ = ["serve"]


async def serve(
    app: Callable[..., Any],
    config: Config,
    *,
    shutdown_trigger: Callable[..., Awaitable[Any]] | None = None,
    mode: Literal["asgi", "wsgi"] | None = None,
    ready: Callable[[list[str]], None] | None = None,
) -> None:
    """Serve `app` until told to stop; the event loop is the caller's.

    Args:
        app: an ASGI or WSGI application.
        config: the number and class of workers have no effect.
        shutdown_trigger: awaited beside the server; when it returns, the server stops gracefully. Without
            it, SIGINT and SIGTERM do that while the server runs (in the main thread).
        mode: what `app` is; found out when None.
        ready: called once connections are accepted, with the URLs that are served.

    Raises:
        ConfigError: the configuration is not valid.
        BindError: a bind cannot be opened.
        LifespanFailureError, LifespanTimeoutError: the application did not start, or did not shut down.

    Cancelling the call closes everything at once.
    """
    embedded = embed(app, config, AsyncioRuntime(), mode)
    server = embedded.server
    trigger: asyncio.Task[None] | None = None

    async def wait_for_trigger(function: Callable[..., Awaitable[Any]]) -> None:
        try:
            await function()
        finally:
            server.drain(DrainReason.STOP)

    def started() -> None:
        if ready is not None:
            ready(embedded.urls)

    try:
        if shutdown_trigger is not None:
            trigger = asyncio.create_task(wait_for_trigger(shutdown_trigger))
            await server.serve(embedded.listeners, started)
        else:
            with _stopping_signals(lambda: server.drain(DrainReason.STOP)):
                await server.serve(embedded.listeners, started)
    finally:
        embedded.close()
        if trigger is not None:
            trigger.cancel()
    if trigger is not None and trigger.done() and not trigger.cancelled():
        trigger.result()


@contextmanager
def _stopping_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `stop`, where this thread and loop can have that, until the block is left."""
    loop = asyncio.get_running_loop()
    installed: list[tuple[signal.Signals, Any]] = []
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, stop)
            except (NotImplementedError, RuntimeError, ValueError):
                break  # not the main thread: whoever owns the process decides when to stop
            installed.append((number, previous))
        yield
    finally:
        for number, previous in installed:
            loop.remove_signal_handler(number)
            signal.signal(number, previous)
