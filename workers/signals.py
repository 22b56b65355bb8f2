"""What a worker does with signals, whichever loop it runs."""

from __future__ import annotations

import logging
import signal
from functools import partial
from time import monotonic
from types import FrameType, TracebackType

from ..config.supervision import SAME_REQUEST_SECONDS
from .interruption import ignore_when_told, is_hangup_ignored
from .logs import reopen
from .runtime import Runtime
from .server import Server
from .supervision import DrainReason

logger = logging.getLogger("hypercorn.error")

#: SIGINT is not among them for supervised workers: they ignore it, see `boot.py`.
HANDLED = (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1)


class SignalActions:
    """Turns signals into calls on the server while it is entered; only in the main thread.

    TERM (where nobody supervises also INT, and HUP, unless it is ignored: the terminal is gone) drains, a second one makes
    it quick, unless it comes so soon that it is the same request; QUIT is quick at once; USR1 reopens the log files.
    Afterwards they do nothing. The loops' own ways to receive signals are not used: they give the default actions back
    before the process has ended.
    """

    def __init__(self, server: Server, runtime: Runtime, *, is_supervised: bool) -> None:
        self._server = server
        self._runtime = runtime
        self._is_supervised = is_supervised
        self._first_asked_at: float | None = None
        self._times_asked = 0
        self._was_asked = False
        self._handled: tuple[signal.Signals, ...] = HANDLED
        if not is_supervised:
            self._handled += (signal.SIGINT,) if is_hangup_ignored() else (signal.SIGINT, signal.SIGHUP)

    def __enter__(self) -> None:
        for number in self._handled:
            signal.signal(number, self._arrived)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        if not self._is_supervised:
            ignore_when_told()
            return
        for number in self._handled:
            signal.signal(number, signal.SIG_IGN)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        # The next signal may interrupt this very function, so many of them must not get far.
        if number != signal.SIGUSR1:
            if self._is_repeated(number):
                return
            self._times_asked += 1
            if self._times_asked > 2:
                signal.signal(number, signal.SIG_IGN)  # there is nothing that one more could change
                return
        # The loop may be anywhere, so it is left to itself. One that sleeps in the kernel is woken by the signal.
        self._runtime.call_from_thread(partial(self.act, signal.Signals(number)))

    def _is_repeated(self, number: int) -> bool:
        now = monotonic()
        if self._first_asked_at is None:
            self._first_asked_at = now
            return False
        return number != signal.SIGQUIT and now - self._first_asked_at <= SAME_REQUEST_SECONDS

    def act(self, number: signal.Signals) -> None:
        """Handle one signal; called from the loop, not from a signal handler."""
        if not self._is_supervised:
            logger.info("Received %s", number.name)
        if number is signal.SIGUSR1:
            reopen()
        elif number is signal.SIGQUIT or self._was_asked:
            self._server.drain(DrainReason.QUICK)
        else:
            self._was_asked = True
            self._server.drain(DrainReason.REPLACE if self._is_supervised else DrainReason.STOP)
