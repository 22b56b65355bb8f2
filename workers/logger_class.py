"""Gives what is logged to a logger class of the user's own, as Hypercorn does.

Such a class overrides coroutines. `async def exception(self, message, *args, **kwargs)`: while a server runs, each
record for `hypercorn.error` is kept from its handlers and becomes a call of the method for its level; what the class
logs in its turn, as Hypercorn's own methods do, goes to the handlers. `async def access(self, request, response,
request_time)` is called for each response.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .log_config import LogConfigurationError
from .logs import ACCESS, DEFAULT_LOGGER_CLASS, ERROR

if TYPE_CHECKING:
    from ..config.settings import Settings
    from .access_log import AccessRecord
    from .runtime import Runtime, Task

_METHODS = ("critical", "error", "warning", "info", "debug", "exception", "log")

#: Set in the tasks that run the user's methods.
_is_theirs: ContextVar[bool] = ContextVar("hypercorn_logger_class", default=False)


def check_logger_class(settings: Settings) -> None:
    """Import the class and make its logger, once: the workers' loops find it made.

    Raises:
        LogConfigurationError: that is not possible.
    """
    if settings.logger_class == DEFAULT_LOGGER_CLASS:
        return
    try:
        _ = settings.config.log
    # A border: importing and making a class of the user's may raise anything.
    except Exception as error:
        source = settings.config.source_of("logger_class")
        text = f"{settings.logger_class!r} cannot be used: {type(error).__name__}: {error}"
        raise LogConfigurationError(f"{source}: {' '.join(text.split())}") from error


def hand_over(settings: Settings, runtime: Runtime) -> Callable[[], None]:
    """Begin, if `logger_class` has its own way to log; the function that ends it."""
    if settings.logger_class == DEFAULT_LOGGER_CLASS:
        return _nothing
    logger = settings.config.log
    usual = _usual_logger(settings.errorlog, ERROR)
    if not _overrides(logger, _METHODS) and getattr(logger, "error_logger", usual) is usual:
        return _nothing
    detour = _Detour(logger, runtime)
    logging.getLogger(ERROR).addFilter(detour)
    return detour.close


def makes_access_lines(settings: Settings) -> bool:
    """Whether `logger_class` has its own idea of an access line, or of where it goes."""
    if settings.logger_class == DEFAULT_LOGGER_CLASS:
        return False
    logger = settings.config.log
    usual = _usual_logger(settings.accesslog, ACCESS)
    return (
        _overrides(logger, ("access", "atoms"))
        or getattr(logger, "access_logger", usual) is not usual
        or getattr(logger, "access_log_format", settings.access_log_format) != settings.access_log_format
    )


def _overrides(logger: Any, names: tuple[str, ...]) -> bool:
    chosen: Any = logger.__class__
    methods = [getattr(chosen, name, None) for name in names]
    # By the module that defines it, so that the facade need not be imported here.
    return any(method is not None and method.__module__ != "hypercorn.logging" for method in methods)


def _usual_logger(target: logging.Logger | str | None, name: str) -> logging.Logger | None:
    """What `hypercorn.logging.Logger` writes to; a class may put another in its place when it is made."""
    return logging.getLogger(name) if isinstance(target, str) else target


def _nothing() -> None:
    """Nothing was begun."""


class _Calls:
    """Calls of the user's methods, each in a task of its own; what they raise is logged."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._tasks: set[Task] = set()

    def start(self, method: Callable[[], Awaitable[None]]) -> None:
        task: Task | None = None
        is_over = False

        async def call() -> None:
            nonlocal is_over
            _is_theirs.set(True)
            try:
                await method()
            except Exception:
                # A border: the user's class may raise anything.
                logging.getLogger(ERROR).exception("Error in the logger class")
            finally:
                is_over = True
                if task is not None:
                    self._tasks.discard(task)

        task = self._runtime.spawn(call)
        if not is_over:
            self._tasks.add(task)


# ---- the error log


class _Detour(logging.Filter):
    """Takes records on their way to the handlers, in any thread."""

    def __init__(self, logger: Any, runtime: Runtime) -> None:
        super().__init__()
        self._logger = logger
        self._runtime = runtime
        self._calls = _Calls(runtime)
        self._is_closed = False

    def close(self) -> None:
        """Let records pass again."""
        self._is_closed = True
        logging.getLogger(ERROR).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if _is_theirs.get():
            return True
        try:
            self._runtime.call_from_thread(lambda: self._call(record))
        except RuntimeError:  # the loop is over
            return True
        return False

    def _call(self, record: logging.LogRecord) -> None:
        if self._is_closed:  # after the server's last task
            logging.getLogger(ERROR).callHandlers(record)
        else:
            self._calls.start(lambda: _tell(self._logger, record))


async def _tell(logger: Any, record: logging.LogRecord) -> None:
    """Call as Hypercorn does: the message is complete, and an exception is the one that is being handled."""
    message = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        traceback = error.__traceback__
        try:
            raise error
        except type(error):
            error.__traceback__ = traceback  # without this function's line
            await logger.exception(message)
    elif record.levelname.lower() in _METHODS:
        await getattr(logger, record.levelname.lower())(message)
    else:
        await logger.log(record.levelno, message)


# ---- access lines


class CustomAccessLog:
    """An access log that calls `access(request, response, request_time)` of the user's logger."""

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        self._logger = settings.config.log
        self._root_path = settings.root_path
        self._calls = _Calls(runtime)

    def log(self, record: AccessRecord) -> None:
        # Hypercorn's interface knows a WebSocket by its handshake only.
        if record.event != "close":
            self._calls.start(
                lambda: self._logger.access(self._scope(record), _summary(record), record.duration)
            )

    def close(self) -> None:
        """Nothing: what is being logged ends by itself."""

    def _scope(self, record: AccessRecord) -> dict[str, Any]:
        scope = {
            "type": "http" if record.event == "request" else "websocket",
            "asgi": {"version": "3.0"},
            "http_version": record.http_version,
            "scheme": record.scheme,
            "path": unquote(record.raw_path.decode("latin-1")),
            "raw_path": record.raw_path,
            "query_string": record.query,
            "root_path": self._root_path,
            "headers": record.request_fields,
            "client": record.client,
            "server": record.server,
        }
        if record.event == "request":
            scope["method"] = record.method
        return scope


def _summary(record: AccessRecord) -> dict[str, Any] | None:
    return {"status": record.status, "headers": record.response_fields} if record.status else None
