"""The first code of a worker: process set-up, application, event loop, and the exit status.

Runs in a process forked by the arbiter, or in the command's own process for `workers = 0`. Either way it is
the main thread's business from here to the end.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..config.errors import TLSConfigError
from ..config.settings import Settings
from ..config.sockets import Listener
from ..config.supervision import ExitStatus
from .application import ApplicationError, LoadedApplication, load_application, traceback_of
from .errors import LifespanFailureError, LifespanTimeoutError
from .interruption import ToldToStop
from .log_config import LogConfigurationError
from .logger_class import check_logger_class
from .privileges import PrivilegesError, drop_privileges
from .supervision import Failure, Supervisor

if TYPE_CHECKING:
    from .tls_contexts import TLSContexts

logger = logging.getLogger("hypercorn.error")


def run_worker(
    settings: Settings,
    listeners: Sequence[Listener],
    supervisor: Supervisor,
    application: LoadedApplication | None = None,
) -> int:
    """Serve until drained.

    Args:
        settings: the resolved configuration.
        listeners: listening sockets of this worker; they stay open.
        supervisor: the line to the arbiter, or `Unsupervised`.
        application: already loaded (`--preload`), or None to load it here.

    Returns:
        The exit status of the process (see `docs/signals.md`). Blocks until the worker ends.
    """
    # A crash in C code shows where it happened.
    faulthandler.enable(all_threads=True)
    is_supervised = supervisor.channel() is not None
    if is_supervised:
        # Ctrl-C reaches the whole foreground group; the arbiter decides what it means for workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # Before root is given up: the private key is often for root alone.
        tls = _load_tls(settings, listeners)
    except TLSConfigError as error:
        # What could not be found wrong before: files change, and the user's own hooks are called here.
        is_theirs = settings.config.has_own_ssl_context
        supervisor.failed(Failure.STARTUP, str(error), _with_traceback(error) if is_theirs else "")
        return ExitStatus.NOT_READY
    try:
        if is_supervised:
            drop_privileges(settings)
        if tls is not None:
            tls.tell_unreadable()
        if application is None:
            application = load_application(settings)
        check_logger_class(settings)
    except ApplicationError as error:
        supervisor.failed(Failure.APPLICATION, error.sentence, error.report())
        return ExitStatus.NO_APPLICATION
    except LogConfigurationError as error:
        supervisor.failed(Failure.CONFIGURATION, str(error))
        return ExitStatus.WRONG_USAGE
    except PrivilegesError as error:
        supervisor.failed(Failure.STARTUP, str(error))
        return ExitStatus.NOT_READY
    return _serve(settings, listeners, supervisor, application, tls)


def _load_tls(settings: Settings, listeners: Sequence[Listener]) -> TLSContexts | None:
    if not any(listener.secure for listener in listeners):
        return None
    from .tls_contexts import TLSContexts

    return TLSContexts.from_settings(settings)


def _serve(
    settings: Settings,
    listeners: Sequence[Listener],
    supervisor: Supervisor,
    application: LoadedApplication,
    tls: TLSContexts | None,
) -> int:
    try:
        if settings.worker_class == "trio":
            from .trio_main import run
        else:
            from .asyncio_main import run
        run(settings, listeners, supervisor, application, tls)
    except (LifespanTimeoutError, LifespanFailureError) as error:
        if error.stage == "startup":
            supervisor.failed(Failure.STARTUP, str(error), _with_traceback(error))
            return ExitStatus.NOT_READY
        logger.error("%s", error, exc_info=error.__cause__)
        return ExitStatus.FAILED
    except LogConfigurationError as error:
        supervisor.failed(Failure.STARTUP, str(error))
        return ExitStatus.NOT_READY
    except ToldToStop:
        raise
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        # Signals do not raise it here, so the application did; trio wraps it.
        if isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt) is None:
            raise
        logger.error("The application raised KeyboardInterrupt, which ends its process")
        return ExitStatus.FAILED
    return ExitStatus.CLEAN


def _with_traceback(error: Exception) -> str:
    cause = error.__cause__
    return f"{error}\n{traceback_of(cause).rstrip()}" if cause else str(error)


def freeze_heap() -> None:
    """What exists once the application has started mostly stays: keep the collector from walking it again."""
    gc.collect()
    gc.freeze()
