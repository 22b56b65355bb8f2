"""The driver for asyncio and uvloop: `Runtime` on a loop's readers, writers and tasks."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from .runtime import Event, HasDescriptor, Signal, Task
from .watches import Watching, behind_one

T = TypeVar("T")


class _Signal:
    """What `asyncio.Condition` does, without its lock: nothing comes between in one thread.

    Each waiter has a future of its own, so that to cancel one does not disturb the others.
    """

    __slots__ = ("_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        # They go on in the loop's next turn, not in here.
        waiters = self._waiters
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        waiters.clear()

    def wait(self) -> Awaitable[None]:
        waiter = self._loop.create_future()
        if self._waiters:
            # Who waits with a timeout, again and again, leaves cancelled futures behind.
            self._waiters = [other for other in self._waiters if not other.done()]
        self._waiters.append(waiter)
        return waiter


class _LoopWatches:
    """The loop's own way of watching: `Readiness` on `add_reader` and its kin."""

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self._loop = loop
        self._context = context

    # The loop calls back in a copy of the present context, and keeps it as long as the watch.

    def watch_readable(self, sock: HasDescriptor, callback: Callable[[], None]) -> None:
        self._context.run(self._loop.add_reader, sock, callback)

    def unwatch_readable(self, sock: HasDescriptor) -> None:
        self._loop.remove_reader(sock)

    def watch_writable(self, sock: HasDescriptor, callback: Callable[[], None]) -> None:
        self._context.run(self._loop.add_writer, sock, callback)

    def unwatch_writable(self, sock: HasDescriptor) -> None:
        self._loop.remove_writer(sock)

    def forget(self, sock: HasDescriptor) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def close(self) -> None:
        """It has nothing of its own."""


class AsyncioRuntime(Watching):
    """`Runtime` on the running asyncio (or uvloop) loop."""

    def __init__(self) -> None:
        #: Copied for what runs in the loop: its callers may be applications with contexts of their own.
        self._context = contextvars.copy_context()
        self._loop = loop = asyncio.get_running_loop()
        self.name = "uvloop" if type(loop).__module__.startswith("uvloop") else "asyncio"
        # libuv stops a watch at the first sign of an error, after one more call (uvloop 0.23). When that call finds
        # data, what the reset has to say is never asked for.
        self.misses_resets = self.name == "uvloop"
        watches = _LoopWatches(loop, self._context)
        # uvloop's own are made in C.
        super().__init__(watches if self.name == "uvloop" else behind_one(watches))
        self.call_soon: Callable[[Callable[[], None]], object] = loop.call_soon
        self.call_from_thread: Callable[[Callable[[], None]], object] = loop.call_soon_threadsafe

    def make_event(self) -> Event:
        return asyncio.Event()

    def make_signal(self) -> Signal:
        return _Signal(self._loop)

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]]) -> Task:
        # Not as an eager task (CPython 3.12) unless the loop's factory makes such: a request would be answered within its
        # read, and each answer wake its peer by itself. See docs/performance.md.
        return self._loop.create_task(function(), context=self._context.copy())

    def cancellation(self) -> tuple[type[BaseException], ...]:
        # Who awaits something that is cancelled meets the same error, but nobody has cancelled the task.
        task = asyncio.current_task(self._loop)
        return (asyncio.CancelledError,) if task is None or task.cancelling() else ()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: Event, timeout: float | None) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            return False
        return True

    async def run_in_thread(self, function: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(None, function)
