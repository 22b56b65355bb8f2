"""`run(config)`: a whole server from its configuration, until it ends; what the command does.

Wires the four parts together: settings, log targets, listeners, and then either the arbiter with forked workers or,
for `workers = 0`, one worker in this very process.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import TypeAlias

from .arbiter import daemon, pidfile
from .arbiter.banner import banner
from .arbiter.child import Child
from .arbiter.listeners import ListenerTable
from .arbiter.master import Master, Service
from .arbiter.notify import Notifier, passed_sockets
from .config.binds import Bind
from .config.config import Config
from .config.errors import ConfigError, complain
from .config.limits import find_descriptors, refusal
from .config.settings import Settings
from .config.sockets import BindError, Listener
from .config.supervision import ExitStatus
from .config.surroundings import enter
from .workers import logs
from .workers.interruption import (
    ToldToStop,
    end_ignoring,
    ignore_when_told,
    interrupt_when_told,
    signals_given_back,
    undisturbed,
)
from .workers.log_config import LogConfigurationError
from .workers.supervision import Counter, Failure, Unsupervised

__all__ = ["run"]

logger = logging.getLogger("hypercorn.error")

#: Counters of events, which do not fall when a worker ends.
LASTING = frozenset({Counter.CONNECTIONS_TOTAL, Counter.REQUESTS_TOTAL, Counter.BYTES_SENT, Counter.ERRORS})

#: Serves in the worker's process; gives its exit status.
_Work: TypeAlias = Callable[[Settings, Sequence[Listener], Child], int]


def run(config: Config) -> int:
    """Serve until told to stop, by a signal; returns the exit status (`docs/signals.md`).

    Blocks, and uses the process: signal actions, which come back, process title, log targets, with `daemon` a fork. Only
    for the main thread. Mistakes are told on standard error, not raised.
    """
    with signals_given_back():
        return run_to_the_end(config)


def run_to_the_end(config: Config) -> int:
    """As `run`, for a process that does nothing else afterwards: no signal takes this status from it any more."""
    try:
        passed = passed_sockets(os.environ)
        settings = _settings(config, passed)
        enter(config, settings)
    except ConfigError as error:
        return _fail(ExitStatus.WRONG_USAGE, str(error))
    try:
        process = daemon.detach() if settings.daemon else None
    except OSError as error:
        return _fail(ExitStatus.FAILED, f"cannot go into the background: {error.strerror}")
    try:
        interrupt_when_told()
        with ExitStack() as stack:
            stack.callback(ignore_when_told)
            status = _serve(config, settings, passed, (stack, process))
    except ToldToStop:
        logger.info("Stopped before anything was served")
        status = ExitStatus.CLEAN
    finally:
        end_ignoring()
    if process is not None:
        process.ended(status)
    return status


def _settings(config: Config, passed: tuple[Bind, ...]) -> Settings:
    """The settings of `config`; sockets that were passed to us replace its binds."""
    settings = config.resolve()
    if passed:
        settings = settings.replace(bind=passed, insecure_bind=(), quic_bind=())
    if settings.use_reloader and settings.workers == 0:
        # Code is replaced by replacing the worker, so there must be one.
        settings = settings.replace(workers=1)
    return settings


def _serve(
    config: Config,
    settings: Settings,
    passed: tuple[Bind, ...],
    surroundings: tuple[ExitStack, daemon.Daemon | None],
) -> int:
    stack, process = surroundings
    listeners = ListenerTable()
    try:
        logs.configure(settings)
        with undisturbed():  # or files could be left of which nobody knows yet that they are ours
            _take_possession(settings, listeners, stack)
    except LogConfigurationError as error:
        return _fail(ExitStatus.WRONG_USAGE, _with_source(error, config))
    except (BindError, pidfile.PIDFileError) as error:
        return _fail(ExitStatus.FAILED, str(error))
    try:
        find_descriptors()
    except OSError as error:
        return _fail(ExitStatus.FAILED, f"too little is left to serve with: {refusal(error)}")
    for line in banner(settings, listeners.urls(settings)):
        logger.info("%s", line)
    notifier = Notifier.from_environment(os.environ)
    on_start = _nothing if process is None else lambda: process.started(daemon.errorlog_file(settings))
    if settings.workers == 0:
        return _serve_here(settings, listeners, notifier, on_start)
    return _serve_supervised(config, passed, (settings, listeners, notifier, on_start))


def _take_possession(settings: Settings, listeners: ListenerTable, stack: ExitStack) -> None:
    """Of the PID file and the addresses, until the stack is unwound."""
    if settings.pid_path is not None:
        path = os.path.abspath(settings.pid_path)
        pidfile.write(path)
        stack.callback(pidfile.remove, path)
    stack.callback(listeners.close_all)
    if settings.workers == 0:
        listeners.open(settings.replace(reuse_port=False), [1])
    else:
        listeners.open(settings, range(1, settings.workers + 1))


def _serve_here(
    settings: Settings, listeners: ListenerTable, notifier: Notifier, on_start: Callable[[], None]
) -> int:
    from .workers.boot import run_worker

    alone = _Alone(notifier, listeners.urls(settings), on_start)
    status = run_worker(settings, listeners.get(listeners.keys()), alone)
    return _stopped(status, alone.reason or "")


def _serve_supervised(
    config: Config,
    passed: tuple[Bind, ...],
    prepared: tuple[Settings, ListenerTable, Notifier, Callable[[], None]],
) -> int:
    settings, listeners, notifier, on_start = prepared
    worker: _Work = _worker
    if settings.preload_app:
        from .workers.application import ApplicationError

        try:
            worker = _preloaded(settings)
        except ApplicationError as error:
            if error.traceback:
                logger.error("%s", error.report())
            return _fail(ExitStatus.NO_APPLICATION, error.sentence)
    logging_of = _Logging(settings)
    service = Service(
        settings,
        listeners,
        logging_of.before(worker),
        reread=lambda: _settings(config.reloaded(), passed),
        configure_logs=logging_of.configure,
        reopen_logs=logging_of.reopen,
        counters=len(Counter),
        lasting=LASTING,
        notifier=notifier,
        on_start=on_start,
    )
    end = Master(service).run()
    return _stopped(end.status, end.reason)


def _worker(settings: Settings, listeners: Sequence[Listener], supervisor: Child) -> int:
    """In the worker's process. Its imports come here, so that the arbiter stays small."""
    from .workers.boot import run_worker

    return run_worker(settings, listeners, supervisor)


def _preloaded(settings: Settings) -> _Work:
    """A worker that inherits the application, and the server's own code, from this process."""
    from .workers.application import load_application
    from .workers.boot import run_worker

    application = load_application(settings)
    if started := [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]:
        text = "The preloaded application has started threads, which no worker will have: %s"
        logger.warning(text, ", ".join(started))
    gc.collect()
    # What exists now is never looked at by the collectors of the workers, whose pages so stay shared.
    gc.freeze()
    return lambda settings, listeners, supervisor: run_worker(settings, listeners, supervisor, application)


class _Logging:
    """The log targets of the arbiter, which workers inherit, and whose they are."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def before(self, worker: _Work) -> _Work:
        """`worker`, which logs as its own settings say: those of a new generation the arbiter has not taken over yet."""

        def work(settings: Settings, listeners: Sequence[Listener], supervisor: Child) -> int:
            if settings is not self._settings:
                try:
                    logs.configure(settings)
                except LogConfigurationError as error:
                    supervisor.failed(Failure.CONFIGURATION, _with_source(error, settings.config))
                    return ExitStatus.WRONG_USAGE
            return worker(settings, listeners, supervisor)

        return work

    def configure(self, settings: Settings) -> None:
        """Log as these settings say, with which a worker has started. What cannot be done now does not end the service."""
        try:
            logs.configure(settings)
        except LogConfigurationError as error:
            logger.error("The arbiter cannot log as it shall: %s", _with_source(error, settings.config))
            return
        self._settings = settings
        self._follow_errorlog()

    def reopen(self) -> None:
        """Open the files anew."""
        logs.reopen()
        self._follow_errorlog()

    def _follow_errorlog(self) -> None:
        """A daemon's standard error goes where its error log goes; its workers inherit it."""
        if self._settings.daemon and (path := daemon.errorlog_file(self._settings)) is not None:
            daemon.follow_errorlog(path)


def _with_source(error: LogConfigurationError, config: Config) -> str:
    return f"{config.source_of(error.setting)}: {error}" if error.setting else str(error)


class _Alone(Unsupervised):
    """The supervisor of the worker in this process: it tells what the arbiter would tell."""

    def __init__(self, notifier: Notifier, urls: Sequence[str], on_start: Callable[[], None]) -> None:
        super().__init__()
        self.reason: str | None = None
        self._notifier = notifier
        self._urls = urls
        self._on_start = on_start
        self._next_ping = 0.0

    def beat(self, now: float) -> None:
        if self._notifier.ping_seconds is not None and now >= self._next_ping:
            self._next_ping = now + self._notifier.ping_seconds
            self._notifier.ping()

    def ready(self) -> None:
        for url in self._urls:
            logger.info("Running on %s (CTRL + C to quit)", url)
        self._notifier.ready("serving without workers")
        self.beat(monotonic())
        self._on_start()

    def failed(self, failure: Failure, reason: str, report: str = "") -> None:
        if report.startswith(f"{reason}\n"):  # there is more than will be told at the end
            logger.error("%s", report)
        self.reason = reason

    def draining(self) -> None:
        logger.info("Stopping")
        self._notifier.stopping("stopping")


def _stopped(status: int, reason: str) -> int:
    if reason:
        return _fail(status, reason)
    logger.info("Stopped")
    return status


def _fail(status: int, reason: str) -> int:
    for line in reason.splitlines():
        complain(line)
    return status


def _nothing() -> None:
    """Nobody waits to hear that the service serves."""
