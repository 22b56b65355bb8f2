"""Serve an application inside a program that runs trio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import trio

from ..config import Config
from ..workers.embedding import embed
from ..workers.supervision import DrainReason
from ..workers.trio_driver import TrioRuntime

__all__ = ["serve"]


async def serve(
    app: Callable[..., Any],
    config: Config,
    *,
    shutdown_trigger: Callable[..., Awaitable[Any]] | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    mode: Literal["asgi", "wsgi"] | None = None,
) -> None:
    """Serve `app` until told to stop, or until the surrounding nursery is cancelled.

    Args:
        app: an ASGI or WSGI application.
        config: the number and class of workers have no effect.
        shutdown_trigger: awaited beside the server; when it returns, the server stops gracefully. No signal
            handler is installed in any case.
        task_status: told the URLs that are served, once connections are accepted.
        mode: what `app` is; found out when None.

    Raises:
        ConfigError: the configuration is not valid.
        BindError: a bind cannot be opened.
        LifespanFailureError, LifespanTimeoutError: the application did not start, or did not shut down.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            await _serve(nursery, app, config, shutdown_trigger, task_status, mode)
        except Exception as error:  # noqa: BLE001
            # Carried out of the nursery by hand, which would wrap it in a group.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _serve(
    nursery: trio.Nursery,
    app: Callable[..., Any],
    config: Config,
    shutdown_trigger: Callable[..., Awaitable[Any]] | None,
    task_status: trio.TaskStatus[list[str]],
    mode: Literal["asgi", "wsgi"] | None,
) -> None:
    embedded = embed(app, config, TrioRuntime(nursery), mode)
    server = embedded.server

    async def wait_for_trigger(function: Callable[..., Awaitable[Any]]) -> None:
        try:
            await function()
        finally:
            server.drain(DrainReason.STOP)

    try:
        if shutdown_trigger is not None:
            nursery.start_soon(wait_for_trigger, shutdown_trigger)
        await server.serve(embedded.listeners, lambda: task_status.started(embedded.urls))
    finally:
        embedded.close()
