"""Gives what is written to the error log to a logger class of the user's own, as Hypercorn does.

Such a class overrides coroutines: `async def exception(self, message, *args, **kwargs)`. While a server runs, each
record for `hypercorn.error` is kept from its handlers and becomes a call of the method for its level; what that
method logs in its turn, as Hypercorn's own methods do, goes to the handlers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .logs import DEFAULT_LOGGER_CLASS, ERROR

if TYPE_CHECKING:
    from ..config.settings import Settings
    from .runtime import Runtime, Task

_METHODS = ("critical", "error", "warning", "info", "debug", "exception", "log")

#: Set in the tasks that run the user's methods.
_is_theirs: ContextVar[bool] = ContextVar("hypercorn_logger_class", default=False)


def hand_over(settings: Settings, runtime: Runtime) -> Callable[[], None]:
    """Begin, if `logger_class` overrides any of the methods; the function that ends it."""
    if settings.logger_class == DEFAULT_LOGGER_CLASS:
        return _nothing
    logger = settings.config.log
    if not any(_is_overridden(logger.__class__, name) for name in _METHODS):
        return _nothing
    detour = _Detour(logger, runtime)
    logging.getLogger(ERROR).addFilter(detour)
    return detour.close


def _is_overridden(cls: object, name: str) -> bool:
    # By the module that defines it, so that the facade need not be imported here.
    method: Any = getattr(cls, name, None)
    return method is not None and method.__module__ not in ("hypercorn.logging", "hypercorn.statsd")


def _nothing() -> None:
    """Nothing was begun."""


class _Detour(logging.Filter):
    """Takes records on their way to the handlers, in any thread."""

    def __init__(self, logger: Any, runtime: Runtime) -> None:
        super().__init__()
        self._logger = logger
        self._runtime = runtime
        self._tasks: set[Task] = set()
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
            return
        task: Task | None = None
        is_over = False

        async def call() -> None:
            nonlocal is_over
            _is_theirs.set(True)
            try:
                await _method(self._logger, record)
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


async def _method(logger: Any, record: logging.LogRecord) -> None:
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
