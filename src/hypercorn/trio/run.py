"""One server in a trio program, and the worker that other programs start in processes of their own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.synchronize import Event as EventType
from typing import TYPE_CHECKING, Any

import trio

from ..app_wrappers import unwrap
from ..config import Config, Sockets
from ..middleware.wsgi import call_in_trio
from ..utils import check_multiprocess_shutdown_event, end_of_trigger
from ..workers.application import load_application
from ..workers.embedding import Embedded, Stopper
from ..workers.supervision import DrainReason
from ..workers.trio_driver import TrioRuntime

if TYPE_CHECKING:
    from ..typing import AppWrapper, Framework

__all__ = ["trio_worker", "worker_serve"]

logger = logging.getLogger("hypercorn.error")

Trigger = Callable[..., Awaitable[Any]]


async def worker_serve(
    app: AppWrapper | Framework,
    config: Config,
    *,
    sockets: Sockets | None = None,
    shutdown_trigger: Trigger | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve as `hypercorn.trio.serve` does, an application that may be wrapped (`hypercorn.utils.wrap_app`).

    Args:
        sockets: bound sockets to serve on, instead of those that `config` names. They are closed at the end.
    """
    application = unwrap(app, config, call_in_trio)
    await serve_embedded(Embedded(application, config, sockets), shutdown_trigger, task_status)


def trio_worker(
    config: Config, sockets: Sockets | None = None, shutdown_event: EventType | None = None
) -> None:
    """Load `config.application_path` and serve it in a trio program of its own; blocks until told to stop.

    Args:
        sockets: see `worker_serve`.
        shutdown_event: once it is set, the server stops. Without it, SIGINT stops it.

    Raises:
        ApplicationError: the application cannot be loaded. The rest as `hypercorn.trio.serve`.
    """
    application = load_application(config.resolve())
    trigger: Trigger | None = None
    if shutdown_event is not None:
        trigger = partial(check_multiprocess_shutdown_event, shutdown_event, trio.sleep)

    async def serve() -> None:
        await serve_embedded(Embedded(application, config, sockets), trigger, trio.TASK_STATUS_IGNORED)

    trio.run(serve)


@trio.lowlevel.enable_ki_protection
async def serve_embedded(
    embedded: Embedded, shutdown_trigger: Trigger | None, task_status: trio.TaskStatus[list[str]]
) -> None:
    """What `hypercorn.trio.serve` does with its open sockets; closes them."""
    try:
        await _Session(embedded, shutdown_trigger, task_status).run()
    finally:
        embedded.close()


class _Session:
    """One server from start to end.

    Its tasks are shielded from the caller's cancellation, which is turned into an end in good order. Exceptions are
    carried out of the nurseries by hand: those would wrap them in groups.
    """

    def __init__(
        self,
        embedded: Embedded,
        shutdown_trigger: Trigger | None,
        task_status: trio.TaskStatus[list[str]],
    ) -> None:
        self._embedded = embedded
        self._trigger = shutdown_trigger
        self._task_status = task_status
        self._shield = trio.CancelScope(shield=True)
        self._ended = trio.Event()
        self._failure: BaseException | None = None
        self._nursery: trio.Nursery

    async def run(self) -> None:
        async with trio.open_nursery() as surroundings:
            surroundings.start_soon(self._watch_for_cancellation)
            with self._shield:
                async with trio.open_nursery() as self._nursery:
                    await self._serve()
                    self._nursery.cancel_scope.cancel()
            if trio.current_effective_deadline() == float("-inf") and self._failure is not None:
                # The cancellation is what the caller will see.
                logger.error(
                    "The application failed while its server was cancelled: %s",
                    self._failure,
                    exc_info=self._failure,
                )
            surroundings.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure

    async def _serve(self) -> None:
        self._server = self._embedded.make_server(TrioRuntime(self._nursery))
        self._stop = Stopper(self._server)
        self._nursery.start_soon(self._run_server)
        while not self._ended.is_set():
            try:
                await self._ended.wait()
            except KeyboardInterrupt as error:
                # Where trio has delivered a SIGINT to this task, because nobody else wants it.
                if self._trigger is None:
                    self._stop()
                elif self._failure is None:
                    self._failure = error
                    self._cut()

    @trio.lowlevel.enable_ki_protection
    async def _run_server(self) -> None:
        try:
            await self._server.serve(self._embedded.listeners, self._started)
        except Exception as error:  # noqa: BLE001 - raised in the caller
            self._failure = self._failure or error
        finally:
            self._ended.set()

    def _started(self) -> None:
        self._embedded.started()
        if self._trigger is not None:
            self._nursery.start_soon(self._await_trigger, self._trigger)
        self._task_status.started(self._embedded.urls)

    async def _await_trigger(self, trigger: Trigger) -> None:
        try:
            await end_of_trigger(trigger)
        except Exception as error:  # noqa: BLE001 - raised in the caller
            self._failure = self._failure or error
        finally:
            self._stop()

    async def _watch_for_cancellation(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            if not self._ended.is_set():
                self._cut()

    def _cut(self) -> None:
        """End quickly. While it starts, the application is simply cancelled."""
        if self._embedded.has_started:
            self._server.drain(DrainReason.QUICK)
            self._shield.deadline = trio.current_time() + self._embedded.seconds_to_end
        else:
            self._shield.cancel()
