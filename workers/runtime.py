"""The few things that a server needs from its event loop, and nothing else.

Each driver (`asyncio_driver.py`, `trio_driver.py`) implements `Runtime`; everything above is written once for
all loops. Sockets are raw and non-blocking: the loop says when one is readable or writable, the connection
reads and writes it (see `docs/decisions/0001-readiness.md`).
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Event(Protocol):
    """Something that happens once and that any number of tasks may wait for; trio's own `Event` is one."""

    def set(self) -> object: ...

    def wait(self) -> Awaitable[object]:
        """Await the result at once, in the task that waits."""
        ...


class Signal(Protocol):
    """Something that happens again and again: whoever waits when it does goes on, and nobody remembers it."""

    def notify(self) -> object: ...

    def wait(self) -> Awaitable[object]:
        """Await the result at once, in the task that waits."""
        ...


class Task(Protocol):
    """A running coroutine that can be told to stop."""

    def cancel(self) -> object: ...


class HasDescriptor(Protocol):
    """What can be watched: a socket, or an epoll."""

    def fileno(self) -> int: ...


Watched_contra = TypeVar("Watched_contra", bound=HasDescriptor, contravariant=True)


class Readiness(Protocol[Watched_contra]):
    """Tells what is ready: a loop's own way, or `watches.py`'s, and so a part of each `Runtime`."""

    def watch_readable(self, sock: Watched_contra, callback: Callable[[], None]) -> None:
        """Call back whenever `sock` is readable (level-triggered), until `unwatch_readable`."""
        ...

    def unwatch_readable(self, sock: Watched_contra) -> None:
        """Stop calling back; harmless when the socket is not watched."""
        ...

    def watch_writable(self, sock: Watched_contra, callback: Callable[[], None]) -> None:
        """Call back whenever `sock` is writable (level-triggered), until `unwatch_writable`."""
        ...

    def unwatch_writable(self, sock: Watched_contra) -> None:
        """Stop calling back; harmless when the socket is not watched."""
        ...

    def forget(self, sock: Watched_contra) -> None:
        """The socket is about to be closed: drop every watch on it."""
        ...

    def close(self) -> None:
        """Its server has ended and has forgotten everything: give back what is held."""
        ...


class Runtime(Readiness[socket.socket], Protocol):
    """An event loop, as far as a server uses it. All methods are called in the loop's thread unless said."""

    #: `asyncio`, `uvloop` or `trio`: for log lines.
    name: str
    #: A socket that its peer has reset may stop being readable while the reset has not been read: who waits for the
    #: peer has to look at the socket itself now and then.
    misses_resets: bool

    def make_event(self) -> Event: ...

    def make_signal(self) -> Signal: ...

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]]) -> Task:
        """Run `function()` concurrently; it handles its own exceptions.

        It runs in a copy of the context that the runtime was made in, never of the caller's: a request must not
        see the context variables of the one before it on its connection.

        The caller keeps the returned task until it has ended: a loop may hold only a weak reference. The first step may
        run before this returns, in a loop whose task factory is an eager one (CPython 3.12).
        """
        ...

    def cancellation(self) -> tuple[type[BaseException], ...]:
        """What the current task may meet for it has been told to stop; nothing if nobody has told it."""
        ...

    def call_soon(self, callback: Callable[[], None], /) -> object:
        """Call back from the loop once what is ready now has been handled."""
        ...

    def call_from_thread(self, callback: Callable[[], None], /) -> object:
        """Like `call_soon`, from any thread."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def wait(self, event: Event, timeout: float | None) -> bool:
        """Wait for `event` at most `timeout` seconds (None: for ever). Returns whether it happened."""
        ...

    async def run_in_thread(self, function: Callable[[], T]) -> T:
        """Run blocking `function` in a worker thread and wait for its result."""
        ...
