"""Serve an application inside a program that runs trio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import trio

from ..config import Config
from ..workers.embedding import Embedded, classify_for_serving
from .run import serve_embedded, worker_serve

__all__ = ["serve", "worker_serve"]


async def serve(
    app: Callable[..., Any],
    config: Config,
    *,
    shutdown_trigger: Callable[..., Awaitable[Any]] | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    mode: Literal["asgi", "wsgi"] | None = None,
) -> None:
    """Serve `app` until told to stop, or until the surrounding scope is cancelled.

    Args:
        app: an ASGI or WSGI application.
        config: the number and class of workers have no effect.
        shutdown_trigger: called once the application has started, and awaited beside the server; when it returns,
            the server stops gracefully. When it raises, too, and the exception comes out of here,
            unless it is a `hypercorn.utils.ShutdownError`. Without it, a
            KeyboardInterrupt that trio raises in here stops the server. No signal handler is installed in any case.
        task_status: told the URLs that are served, once connections are accepted.
        mode: what `app` is; found out when None.

    Raises:
        ApplicationError: `app` is neither ASGI nor WSGI.
        ConfigError: the configuration is not valid.
        LogConfigurationError: a log file cannot be opened, or a setting of the log is wrong.
        TLSConfigError: the certificates cannot be loaded.
        BindError: a bind cannot be opened.
        LifespanFailureError, LifespanTimeoutError: the application did not start, or did not shut down.

    Cancelling the scope cuts all connections. The application's calls are cancelled, then its lifespan is shut down,
    for which it has `graceful_timeout` at most, shielded.
    """
    application = classify_for_serving(app, config, mode)
    await serve_embedded(Embedded(application, config), shutdown_trigger, task_status)
