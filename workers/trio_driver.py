"""The driver for trio: `Runtime` on a nursery.

trio has no readiness callbacks, only tasks that wait. Where the system has epoll one task waits for all sockets
(`watches.py`); elsewhere each has one that waits for readability and calls back, and, only while something cannot be
written at once, a second one for writability.
No task of the server's is interrupted by a KeyboardInterrupt, which trio then raises in the main task.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import trio

from .runtime import Event, HasDescriptor, Signal, Task
from .watches import Watching, behind_one

logger = logging.getLogger("hypercorn.error")

T = TypeVar("T")


class _Watch:
    """Calls back whenever a socket is ready, for as long as it is armed.

    The task stays when the watch is disarmed, parked on an event, because pausing and resuming (which
    back-pressure does often) must not cost a task each time.
    """

    __slots__ = ("_closed", "_resumed", "_wait_ready", "armed", "callback", "sock")

    def __init__(self, sock: HasDescriptor, wait_ready: Callable[[HasDescriptor], Awaitable[None]]) -> None:
        self.sock = sock
        self._wait_ready = wait_ready
        self.armed = True
        self.callback: Callable[[], None] = _nothing
        self._resumed: trio.Event | None = None
        self._closed = False

    def arm(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.armed = True
        if self._resumed is not None:
            self._resumed.set()

    def close(self) -> None:
        self._closed = True
        if self._resumed is not None:
            self._resumed.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        while not self._closed:
            if not self.armed:
                self._resumed = trio.Event()
                await self._resumed.wait()
                self._resumed = None
                continue
            try:
                await self._wait_ready(self.sock)
            except (trio.ClosedResourceError, OSError):
                return
            if self.armed and not self._closed:
                self.callback()


def _nothing() -> None:
    return None


class _TaskWatches:
    """trio's own way of watching: `Readiness` with a task for each socket, or for the one epoll that stands for all."""

    def __init__(self, nursery: trio.Nursery, context: contextvars.Context) -> None:
        self._nursery = nursery
        self._context = context
        self._readable: dict[HasDescriptor, _Watch] = {}
        self._writable: dict[HasDescriptor, _Watch] = {}

    def watch_readable(self, sock: HasDescriptor, callback: Callable[[], None]) -> None:
        self._watch(self._readable, trio.lowlevel.wait_readable, sock, callback)

    def watch_writable(self, sock: HasDescriptor, callback: Callable[[], None]) -> None:
        self._watch(self._writable, trio.lowlevel.wait_writable, sock, callback)

    def _watch(
        self,
        watches: dict[HasDescriptor, _Watch],
        wait_ready: Callable[[HasDescriptor], Awaitable[None]],
        sock: HasDescriptor,
        callback: Callable[[], None],
    ) -> None:
        watch = watches.get(sock)
        if watch is None:
            watches[sock] = watch = _Watch(sock, wait_ready)
            self._context.run(self._nursery.start_soon, watch.run)
        watch.arm(callback)

    def unwatch_readable(self, sock: HasDescriptor) -> None:
        if (watch := self._readable.get(sock)) is not None:
            watch.armed = False

    def unwatch_writable(self, sock: HasDescriptor) -> None:
        if (watch := self._writable.get(sock)) is not None:
            watch.armed = False

    def forget(self, sock: HasDescriptor) -> None:
        for watches in (self._readable, self._writable):
            if (watch := watches.pop(sock, None)) is not None:
                watch.close()
        trio.lowlevel.notify_closing(sock)

    def close(self) -> None:
        """What its tasks have is the nursery's."""


class _Signal:
    """A parking lot by the names of the other loops."""

    __slots__ = ("_lot",)

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    def notify(self) -> None:
        self._lot.unpark_all()

    def wait(self) -> Awaitable[None]:
        return self._lot.park()


class _Spawned:
    """A task in the nursery with a scope of its own, so that it can be cancelled alone."""

    __slots__ = ("_function", "_scope")

    def __init__(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._function = function
        self._scope = trio.CancelScope()

    def cancel(self) -> None:
        self._scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        function = self._function
        del self._function  # who runs it holds this task: a circle, which only the collector would open
        with self._scope:
            try:
                await function()
            except Exception:
                # A border: one task's failure must not take the whole worker down with the nursery.
                logger.exception("Error in a task of the server")


class TrioRuntime(Watching):
    """`Runtime` on a trio nursery that the caller opens around the server and cancels after it."""

    name = "trio"
    misses_resets = False

    def __init__(self, nursery: trio.Nursery) -> None:
        #: Copied for what runs in the nursery: its callers may be applications with contexts of their own.
        self._context = contextvars.copy_context()
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        super().__init__(behind_one(_TaskWatches(nursery, self._context)))
        self.make_event: Callable[[], Event] = trio.Event
        self.make_signal: Callable[[], Signal] = _Signal

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]]) -> Task:
        spawned = _Spawned(function)
        self._context.run(self._nursery.start_soon, spawned.run)
        return spawned

    def cancellation(self) -> tuple[type[BaseException], ...]:
        return (trio.Cancelled,)

    def call_soon(self, callback: Callable[[], None], /) -> None:
        self._nursery.start_soon(_call, callback)

    def call_from_thread(self, callback: Callable[[], None], /) -> None:
        self._token.run_sync_soon(callback)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def wait(self, event: Event, timeout: float | None) -> bool:
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            await event.wait()
            return True
        return False

    async def run_in_thread(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function)


@trio.lowlevel.enable_ki_protection
async def _call(callback: Callable[[], None]) -> None:
    # trio runs what is ready in any order: what was ready before this has been run by the next turn.
    await trio.lowlevel.cancel_shielded_checkpoint()
    callback()
