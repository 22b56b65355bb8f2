"""Signals as bytes on a descriptor: handlers do nothing else, the arbiter's loop decides.

Holds the process's signal actions while it is open. Afterwards what was caught is ignored, until somebody gives it
another action: the default one would end a process that has come to its end already, with another status.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator
from types import FrameType

from .messages import Request

REQUESTS = {
    signal.SIGTERM: Request.STOP,
    signal.SIGINT: Request.STOP,
    signal.SIGQUIT: Request.QUICK,
    signal.SIGHUP: Request.RELOAD,
    signal.SIGUSR1: Request.RESTART,
    signal.SIGUSR2: Request.UPGRADE,
    signal.SIGTTIN: Request.MORE,
    signal.SIGTTOU: Request.FEWER,
    signal.SIGWINCH: Request.PAUSE,
}

_CAUGHT = frozenset((*REQUESTS, signal.SIGCHLD))
#: Each of them is one worker.
_EACH_COUNTS = (signal.SIGTTIN, signal.SIGTTOU)
#: What a pipe holds at most, on Linux and by default.
_PIPE_SIZE = 65536


class WakeUp:
    """The readable end."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self._writer = writer

    def drain(self) -> list[signal.Signals]:
        """Those of our signals that have arrived, in order; does not block.

        One that has come several times since the last call counts once, unless each asks for more: the kernel, too,
        makes one of those that it could not deliver yet. So nobody can keep the arbiter busy by sending many.
        """
        try:
            # All of it, and once: what comes while this is read is for the next call.
            numbers = os.read(self.reader, _PIPE_SIZE)
        except BlockingIOError:
            return []
        found: list[signal.Signals] = []
        for number in numbers:
            # Handlers of others, of a preloaded application for example, make the interpreter write here too.
            if number in _CAUGHT and (number in _EACH_COUNTS or number not in found):
                found.append(signal.Signals(number))
        return found

    def close_in_child(self) -> None:
        """Close this process's copies."""
        os.close(self.reader)
        os.close(self._writer)


@contextlib.contextmanager
def wake_up() -> Generator[WakeUp, None, None]:
    """Catch the arbiter's signals while in this context. Only in the main thread."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    previous_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _CAUGHT:
        signal.signal(number, _ignore)
    try:
        yield WakeUp(reader, writer)
    finally:
        for number in REQUESTS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(previous_fd)
        os.close(reader)
        os.close(writer)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Python needs a handler for the wake-up descriptor to be written to."""
