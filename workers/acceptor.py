"""Accepts connections from a worker's listeners, and stops when it must.

Listeners pause while the worker is full (`worker_connections`) or the process is out of descriptors or memory:
new connections then wait in the kernel's queue, where a sibling may take them, instead of being refused.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Collection, Iterable
from functools import partial
from time import monotonic
from typing import Any

from ..config.sockets import Listener
from .runtime import Runtime

logger = logging.getLogger("hypercorn.error")

#: Out of something that other connections may free again.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: What no listening socket answers: whoever shares it has shut it down.
_USELESS = frozenset({errno.EINVAL, errno.ENOTSOCK})
#: How long accepting rests after that, and how long the log says nothing of further rests, in seconds.
_REST_SECONDS = 0.5
_QUIET_SECONDS = 60.0
#: Connections taken from one listener per turn of the loop; from a shared one few, so that siblings get theirs.
_BATCH, _BATCH_SHARED = 64, 2

Accepted = Callable[[socket.socket, Listener, Any], None]


class Acceptor:
    """The listeners of one worker.

    Args:
        runtime: the loop.
        accepted: called with each new (non-blocking) socket, its listener and the peer's address.
        has_room: whether another connection may be taken.
    """

    def __init__(self, runtime: Runtime, accepted: Accepted, has_room: Callable[[], bool]) -> None:
        self._runtime = runtime
        self._accepted = accepted
        self._has_room = has_room
        self._listeners: dict[int, Listener] = {}
        self._is_paused = False
        #: Long ago: the monotonic clock may have begun just now.
        self._rests_until = -_QUIET_SECONDS

    @property
    def listeners(self) -> list[Listener]:
        """What is being served, own and adopted."""
        return list(self._listeners.values())

    def add(self, listeners: Iterable[Listener]) -> None:
        """Begin to accept from these."""
        for listener in listeners:
            if listener.key not in self._listeners:
                self._listeners[listener.key] = listener
                if not self._is_paused:
                    self._watch(listener)

    def remove(self, keys: Iterable[int], *, close: bool) -> None:
        """Stop accepting from these; `close` what was passed to this process only for that purpose."""
        for key in keys:
            if (listener := self._listeners.pop(key, None)) is not None:
                self._runtime.forget(listener.sock)
                if close:
                    listener.sock.close()

    def stop(self, *, ending: Collection[int] = ()) -> None:
        """Accept no more. Of the listeners whose keys are in `ending`, first take what waits, then close them.

        Nobody would accept from those again: a client that comes now is refused at once. Left open they would
        let it connect and send, and reset it when the process ends.
        """
        # None is known any more from here on: a rest, when descriptors are used up, must not look at closed ones.
        stopped, self._listeners = self.listeners, {}
        for listener in stopped:
            self._runtime.forget(listener.sock)
            if listener.key in ending:
                self._take_all(listener)
                listener.sock.close()

    def room_freed(self) -> None:
        """A connection has closed."""
        if self._is_paused and self._rests_until <= monotonic():
            self._resume()

    def tick(self, now: float) -> None:
        """Resume after a rest, once `now` is late enough."""
        if self._is_paused and self._rests_until <= now:
            self._resume()

    def _watch(self, listener: Listener) -> None:
        self._runtime.watch_readable(listener.sock, partial(self._on_readable, listener))

    def _resume(self) -> None:
        if self._has_room():
            self._is_paused = False
            for listener in self._listeners.values():
                self._watch(listener)

    def _pause(self) -> None:
        self._is_paused = True
        for listener in self._listeners.values():
            self._runtime.unwatch_readable(listener.sock)

    def _on_readable(self, listener: Listener) -> None:
        for _ in range(_BATCH_SHARED if listener.shared else _BATCH):
            if not self._has_room():
                self._pause()
                return
            if not self._accept(listener):
                return

    def _take_all(self, listener: Listener) -> None:
        while self._accept(listener):
            pass

    def _accept(self, listener: Listener) -> bool:
        """Take one connection; False when none waits, or none can be taken."""
        try:
            sock, peer = listener.sock.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._rest(error)
                return False
            if error.errno in _USELESS:
                logger.error("Nothing more can be accepted from %s: %s", listener.bind, error)
                self.remove([listener.key], close=False)
                return False
            # The peer has already gone again (ECONNABORTED and its kin): take the next one.
            return error.errno != errno.EBADF
        sock.setblocking(False)
        self._accepted(sock, listener, peer)
        return True

    def _rest(self, error: OSError) -> None:
        now = monotonic()
        if self._rests_until < now - _QUIET_SECONDS:
            logger.error("Cannot accept connections for now: %s; they wait in the listen queue", error)
        self._rests_until = now + _REST_SECONDS
        self._pause()
