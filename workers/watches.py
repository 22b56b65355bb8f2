"""Who is called back when a socket is ready: many sockets behind one descriptor of the loop.

`EpollWatches` stands between the server and a loop's own way of watching. The kernel lets an epoll watch another: the
loop sees a single descriptor, that of the epoll in here, and what is ready in it is asked for and called in one go.

asyncio makes a handle and runs a context for each socket that is ready, and the handle, its context and some objects
more for each socket that begins to be watched; trio keeps a task for each, and arms the kernel anew after each event.
Here both cost a look into a dictionary. The price is one more system call for each turn of the loop. uvloop does all
that in C, and little is gained there. docs/decisions/0001-readiness.md has figures.
"""

from __future__ import annotations

import logging
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from .runtime import HasDescriptor, Readiness

logger = logging.getLogger("hypercorn.error")

#: How many sockets one turn of the loop serves; those behind them are first in the next.
_MAX_EVENTS = 256


class Watching:
    """The part of a runtime that is somebody else's `Readiness`: its methods, bound, so that no call comes between."""

    def __init__(self, readiness: Readiness[socket.socket]) -> None:
        self.watch_readable = readiness.watch_readable
        self.unwatch_readable = readiness.unwatch_readable
        self.watch_writable = readiness.watch_writable
        self.unwatch_writable = readiness.unwatch_writable
        self.forget = readiness.forget
        self.close = readiness.close


def behind_one(loop: Readiness[HasDescriptor]) -> Readiness[socket.socket]:
    """Sockets behind one descriptor of the loop where the system has epoll; else the loop's own way."""
    return EpollWatches(loop) if sys.platform == "linux" else loop


if sys.platform == "linux":
    _IN, _OUT = select.EPOLLIN, select.EPOLLOUT
    _Callbacks = dict[int, Callable[[], None]]

    class EpollWatches:
        """`Readiness` for any number of sockets.

        The loop watches the epoll only while something is watched by it. The epoll is made once and kept until `close`: when
        the process is out of descriptors, listeners rest and are watched again.

        Args:
            loop: the loop's own way.
        """

        def __init__(self, loop: Readiness[HasDescriptor]) -> None:
            self._loop = loop
            self._epoll: select.epoll | None = None
            self._readers: _Callbacks = {}
            self._writers: _Callbacks = {}

        def watch_readable(self, sock: socket.socket, callback: Callable[[], None]) -> None:
            self._watch(sock, self._readers, _IN, callback)

        def watch_writable(self, sock: socket.socket, callback: Callable[[], None]) -> None:
            self._watch(sock, self._writers, _OUT, callback)

        def unwatch_readable(self, sock: socket.socket) -> None:
            self._unwatch(sock, self._readers)

        def unwatch_writable(self, sock: socket.socket) -> None:
            self._unwatch(sock, self._writers)

        def forget(self, sock: socket.socket) -> None:
            self._unwatch(sock, self._readers, self._writers)

        def _watch(
            self, sock: socket.socket, watched: _Callbacks, events: int, callback: Callable[[], None]
        ) -> None:
            descriptor = sock.fileno()
            before = self._events(descriptor)
            epoll = self._epoll
            if epoll is None:
                epoll = self._epoll = select.epoll()
            if not self._readers and not self._writers:
                self._loop.watch_readable(epoll, self._call_back)
            if not before & events:
                _change(epoll, descriptor, before, before | events)
            watched[descriptor] = callback

        def _unwatch(self, sock: socket.socket, *watched: _Callbacks) -> None:
            descriptor = sock.fileno()
            before = self._events(descriptor)
            for callbacks in watched:
                callbacks.pop(descriptor, None)
            after = self._events(descriptor)
            if after != before and (epoll := self._epoll) is not None:
                _change(epoll, descriptor, before, after)
                if not self._readers and not self._writers:
                    self._loop.forget(epoll)

        def _events(self, descriptor: int) -> int:
            """What is looked for."""
            return (_IN if descriptor in self._readers else 0) | (_OUT if descriptor in self._writers else 0)

        def close(self) -> None:
            """Watch nothing any more, and give the descriptor back."""
            self._readers.clear()
            self._writers.clear()
            if self._epoll is not None:
                self._loop.forget(self._epoll)
                self._epoll.close()
                self._epoll = None

        def _call_back(self) -> None:
            """What is ready is called; an error or a hang-up counts as both, for reading and writing tell of it."""
            assert self._epoll is not None  # it has just been seen to be ready
            readers, writers = self._readers, self._writers
            for descriptor, events in self._epoll.poll(0, _MAX_EVENTS):
                try:
                    # One that came before may have stopped any that come behind it.
                    if events != _OUT and (callback := readers.get(descriptor)) is not None:
                        callback()
                    if events != _IN and (callback := writers.get(descriptor)) is not None:
                        callback()
                except Exception:
                    # A border: those behind it would have to wait, and again in each turn should it come again.
                    logger.exception("Error in a callback for a socket that is ready")

    def _change(epoll: select.epoll, descriptor: int, before: int, after: int) -> None:
        """Have the kernel look for other events. It has forgotten a descriptor that somebody has closed meanwhile."""
        if not after:
            with suppress(OSError):
                epoll.unregister(descriptor)
            return
        if before:
            with suppress(FileNotFoundError):
                epoll.modify(descriptor, after)
                return
        epoll.register(descriptor, after)
