"""Serve an application inside a program that has an asyncio (or uvloop) loop of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from ..config import Config
from ..workers.embedding import Embedded, classify_for_serving
from .run import serve_embedded, worker_serve

__all__ = ["serve", "worker_serve"]


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
        shutdown_trigger: called once the application has started, and awaited beside the server; when it returns,
            the server stops gracefully. When it raises, too, and the exception comes out of here,
            unless it is a `hypercorn.utils.ShutdownError`. Without it,
            SIGINT and SIGTERM stop the server (in the main thread), a second one quickly; what the signals did
            before they do again afterwards.
        mode: what `app` is; found out when None.
        ready: called once connections are accepted, with the URLs that are served.

    Raises:
        ApplicationError: `app` is neither ASGI nor WSGI.
        ConfigError: the configuration is not valid.
        LogConfigurationError: a log file cannot be opened, or a setting of the log is wrong.
        TLSConfigError: the certificates cannot be loaded.
        BindError: a bind cannot be opened.
        LifespanFailureError, LifespanTimeoutError: the application did not start, or did not shut down.

    Cancelling the call cuts all connections. The application's calls are cancelled, then its lifespan is shut down,
    for which it has `graceful_timeout` at most; a second cancellation does not wait for that. No task of the server is
    left in the loop, and no socket open, when this returns or raises.
    """
    application = classify_for_serving(app, config, mode)
    await serve_embedded(Embedded(application, config), shutdown_trigger, ready)
