"""One server in an asyncio loop, and the workers that other programs start in processes of their own."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from multiprocessing.synchronize import Event as EventType
from typing import TYPE_CHECKING, Any

from ..app_wrappers import unwrap
from ..config import Config, Sockets
from ..middleware.wsgi import call_in_asyncio
from ..utils import check_multiprocess_shutdown_event, end_of_trigger
from ..workers.application import load_application
from ..workers.asyncio_driver import AsyncioRuntime
from ..workers.embedding import Embedded, Stopper
from ..workers.supervision import DrainReason

if TYPE_CHECKING:
    from types import FrameType

    from ..typing import AppWrapper, Framework

__all__ = ["asyncio_worker", "uvloop_worker", "worker_serve"]

logger = logging.getLogger("hypercorn.error")

Trigger = Callable[..., Awaitable[Any]]

#: How long tasks that were cancelled may take to end, in seconds.
_CANCEL_SECONDS = 1.0
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]


async def worker_serve(
    app: AppWrapper | Framework,
    config: Config,
    *,
    sockets: Sockets | None = None,
    shutdown_trigger: Trigger | None = None,
) -> None:
    """Serve as `hypercorn.asyncio.serve` does, an application that may be wrapped (`hypercorn.utils.wrap_app`).

    Args:
        sockets: bound sockets to serve on, instead of those that `config` names. They are closed at the end.
    """
    application = unwrap(app, config, call_in_asyncio)
    await serve_embedded(Embedded(application, config, sockets), shutdown_trigger, None)


def asyncio_worker(
    config: Config, sockets: Sockets | None = None, shutdown_event: EventType | None = None
) -> None:
    """Load `config.application_path` and serve it in a new asyncio loop; blocks until told to stop.

    Args:
        sockets: see `worker_serve`.
        shutdown_event: once it is set, the server stops. Without it, signals stop it.

    Raises:
        ApplicationError: the application cannot be loaded. The rest as `hypercorn.asyncio.serve`.
    """
    _work(config, sockets, shutdown_event, asyncio.new_event_loop)


def uvloop_worker(
    config: Config, sockets: Sockets | None = None, shutdown_event: EventType | None = None
) -> None:
    """As `asyncio_worker`, on uvloop.

    Raises:
        ImportError: uvloop is not installed.
    """
    import uvloop

    _work(config, sockets, shutdown_event, uvloop.new_event_loop)


def _work(
    config: Config,
    sockets: Sockets | None,
    shutdown_event: EventType | None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    application = load_application(config.resolve())
    trigger: Trigger | None = None
    if shutdown_event is not None:
        trigger = partial(check_multiprocess_shutdown_event, shutdown_event, asyncio.sleep)

    async def serve() -> None:
        await serve_embedded(Embedded(application, config, sockets), trigger, None)

    with asyncio.Runner(debug=config.debug, loop_factory=loop_factory) as runner:
        runner.run(serve())


async def serve_embedded(
    embedded: Embedded, shutdown_trigger: Trigger | None, ready: Callable[[list[str]], None] | None
) -> None:
    """What `hypercorn.asyncio.serve` does with its open sockets; closes them."""
    try:
        server = embedded.make_server(AsyncioRuntime())
        stop = Stopper(server)
        triggering: list[asyncio.Task[None]] = []

        def started() -> None:
            embedded.started()
            if shutdown_trigger is not None:
                triggering.append(asyncio.create_task(_await_trigger(shutdown_trigger, stop)))
            if ready is not None:
                ready(embedded.urls)

        # In a task of its own, so that a cancellation of the caller's can be turned into an end in good order.
        serving = asyncio.create_task(server.serve(embedded.listeners, started))
        try:
            with nullcontext() if shutdown_trigger is not None else _stopping_signals.calling(stop):
                await asyncio.wait((serving,))
        except asyncio.CancelledError:
            await _cut(embedded, lambda: server.drain(DrainReason.QUICK), serving)
            raise
        finally:
            for task in triggering:
                task.cancel()
            await _ended([*triggering, *(task for task in server.tasks if isinstance(task, asyncio.Task))])
        serving.result()
        for task in triggering:
            with suppress(asyncio.CancelledError):
                task.result()
    finally:
        embedded.close()


async def _await_trigger(shutdown_trigger: Trigger, stop: Callable[[], None]) -> None:
    try:
        await end_of_trigger(shutdown_trigger)
    finally:
        stop()


async def _cut(embedded: Embedded, hurry: Callable[[], None], serving: asyncio.Task[None]) -> None:
    try:
        # While it starts, the application is simply cancelled.
        if embedded.has_started:
            hurry()
            await asyncio.wait((serving,), timeout=embedded.seconds_to_end)
    finally:
        serving.cancel()
        await _ended([serving])
    if serving.done() and not serving.cancelled() and (error := serving.exception()) is not None:
        logger.error("The application failed while its server was cancelled: %s", error, exc_info=error)


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    """Wait for tasks that were cancelled; one that does not take notice is left alone in the end."""
    await asyncio.sleep(0)  # for tasks that nobody keeps, and that end with their next step
    if pending := [task for task in tasks if not task.done()]:
        await asyncio.wait(pending, timeout=_CANCEL_SECONDS)


class _StoppingSignals:
    """SIGINT and SIGTERM stop every server in the main thread that wants it.

    By `signal.signal`, which a handler that the program has in its loop survives; installed with the first server and
    taken back with the last, in whatever order they end.
    """

    def __init__(self) -> None:
        self._stops: list[Callable[[], object]] = []
        self._previous: dict[signal.Signals, Any] = {}

    @contextmanager
    def calling(self, stop: Callable[[], None]) -> Generator[None]:
        """Call `stop` in the running loop at each signal, until the block is left."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, stop)
        self._stops.append(wake)
        if not self._previous:
            self._previous = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield
        finally:
            self._stops.remove(wake)
            if not self._stops:
                self._restore()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        for wake in self._stops:
            wake()

    def _restore(self) -> None:
        for number, action in self._previous.items():
            # Whatever the program has installed since stays. None: it was not installed from Python.
            if signal.getsignal(number) == self._handle:
                signal.signal(number, signal.SIG_DFL if action is None else action)
        self._previous.clear()


_stopping_signals = _StoppingSignals()
