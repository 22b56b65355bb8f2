"""How a server ends: it accepts no more, what is open gets its time, and what is left then is cancelled.

The server says what is open and is told when to begin; this decides in which order things are told to end, and
for how long they are waited for.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from time import monotonic
from typing import TYPE_CHECKING

from .connection import FRESH_SECONDS
from .supervision import DrainReason

if TYPE_CHECKING:
    from ..config.settings import Settings
    from .acceptor import Acceptor
    from .connection import Connection
    from .exchange import Exchange
    from .runtime import Runtime

logger = logging.getLogger("hypercorn.error")

#: How long cancelled applications get to clean up, in seconds.
_CANCEL_SECONDS = 1.0


class Draining:
    """The end of one server, from the first wish for it.

    Args:
        runtime: the loop.
        settings: how long it may take, and whether a developer waits for it.
        connections: those that are open; the server keeps this set.
        running: the exchanges whose application has not returned; the server keeps this set.

    Attributes:
        reason: why the server ends; None while it serves.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        connections: Collection[Connection],
        running: Collection[Exchange],
    ) -> None:
        self.reason: DrainReason | None = None
        self._runtime = runtime
        self._graceful_timeout = settings.graceful_timeout
        self._is_awaited = settings.use_reloader
        self._connections = connections
        self._running = running
        self._ending: Collection[int] = ()
        self._asked = runtime.make_event()
        self._progress = runtime.make_event()

    def ask(self, reason: DrainReason, ending: Collection[int] = ()) -> None:
        """Begin, or go on in another way if this reason is more urgent.

        Args:
            reason: why.
            ending: the keys of the listeners that nobody goes on with.
        """
        self._ending = ending or self._ending
        if self.reason is None or reason.outranks(self.reason):
            self.reason = reason
            self._asked.set()
            self._progress.set()

    async def asked(self) -> None:
        """Wait for the first `ask`."""
        await self._asked.wait()

    def ended_one(self) -> None:
        """A connection or an exchange has ended."""
        if self.reason is not None and not self._is_busy():
            self._progress.set()

    async def run(self, acceptor: Acceptor) -> None:
        """Stop `acceptor` and drain; `ask` has been called."""
        reason = self.reason
        assert reason is not None
        connections = list(self._connections)
        # A successor goes on with the same listeners; where nobody does, what waits is served here.
        is_stop = reason is DrainReason.STOP
        acceptor.stop(ending=[each.key for each in acceptor.listeners] if is_stop else self._ending)
        at_once = self._closes_idle()
        for connection in connections:
            _drain(connection, reason, at_once)
        deadline = monotonic() + self._graceful_timeout
        while self._is_busy() and self.reason is not DrainReason.QUICK and monotonic() < deadline:
            await self._progress_until(min(deadline, monotonic() + FRESH_SECONDS))
            if self._closes_idle():
                # Those that were too young to be called idle are looked at again, or the reason has changed.
                for connection in [each for each in self._connections if each.is_idle]:
                    _drain(connection, reason, at_once=True)
        await self._cancel_rest()

    def _closes_idle(self) -> bool:
        """Whether clients that keep connections are not waited for: at a stop, and where a developer waits."""
        return self.reason is not DrainReason.REPLACE or self._is_awaited

    def _is_busy(self) -> bool:
        return bool(self._connections or self._running)

    async def _progress_until(self, deadline: float) -> bool:
        """Wait for an exchange or a connection to be the last that has ended, but not beyond `deadline`."""
        self._progress = self._runtime.make_event()
        return await self._runtime.wait(self._progress, max(0.0, deadline - monotonic()))

    async def _cancel_rest(self) -> None:
        """Whatever is still open has had its time."""
        if count := len(self._running):
            logger.warning(
                "Cancelling %d request%s that did not finish in time", count, "s" if count > 1 else ""
            )
        for connection in list(self._connections):
            if connection.is_idle:
                _drain(connection, DrainReason.QUICK, at_once=True)
        for exchange in list(self._running):
            # In the loop's next turn: asyncio never begins a task that is cancelled before its first step, and a
            # request that has just been read would have no answer, nor an end.
            self._runtime.call_soon(exchange.cancel)
        deadline = monotonic() + _CANCEL_SECONDS
        while self._running:
            if not await self._progress_until(deadline):
                break


def _drain(connection: Connection, reason: DrainReason, at_once: bool) -> None:
    try:
        connection.drain(reason, at_once)
    except Exception:  # noqa: BLE001 - a border: it must not keep the others from their end
        connection.failed()
