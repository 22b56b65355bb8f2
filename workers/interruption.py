"""Signals that tell a process to stop which does not serve yet, or no longer does.

While it serves they belong to the arbiter (`arbiter/wakeup.py`) or to the worker (`signals.py`); before and after,
their default action would end the process with a status that says nothing, and leave its PID file behind.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
from collections.abc import Generator
from time import monotonic
from types import FrameType

from ..config.supervision import ExitStatus

logger = logging.getLogger("hypercorn.error")

_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
#: They have no meaning here, and their default action is to end or to stop the process.
_OTHERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU)
#: How long the end may take before whoever asks again is heard, in seconds.
_PATIENCE = 5.0


class ToldToStop(KeyboardInterrupt):
    """A signal says so: not a KeyboardInterrupt that an application raises."""


@contextlib.contextmanager
def signals_given_back() -> Generator[None]:
    """Whatever is done to signals in this context, their present actions come back, and which of them are blocked."""
    previous = {number: signal.getsignal(number) for number in signal.valid_signals()}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, action in previous.items():
            if action is not None and signal.getsignal(number) is not action:
                signal.signal(number, action)


def interrupt_when_told() -> None:
    """Before the process serves: what tells it to stop raises ToldToStop in the main thread, once."""
    is_ignored = is_hangup_ignored()
    _ignore(_OTHERS)
    if not is_ignored:
        signal.signal(signal.SIGHUP, _wait_for_service)
    for number in _STOP:
        signal.signal(number, _interrupt)
    # A program that blocks signals leaves that to those that it starts: they could not be told to stop, nor would the
    # arbiter hear that a worker has ended.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextlib.contextmanager
def undisturbed() -> Generator[None]:
    """What tells the process to stop waits for the end of this context: for what must be noted once it is done."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def is_hangup_ignored() -> bool:
    """Whether whoever started this process (nohup) wants it to outlive the terminal."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def ignore_when_told() -> None:
    """Once the process stops: it need not be told again.

    Unless that takes long: threads of the application may never end, and the interpreter waits for them. Then
    it ends with status 1 when it is told once more.
    """
    ends_by = monotonic() + _PATIENCE

    def insist(number: int, frame: FrameType | None) -> None:
        if monotonic() > ends_by:
            logger.error("Threads of the application have not ended and are left behind")
            os._exit(ExitStatus.FAILED)

    _ignore(_OTHERS)
    for number in _STOP:
        signal.signal(number, insist)


def end_ignoring() -> None:
    """For a program that exits next: no signal changes its status any more. Threads have been waited for by then."""
    atexit.register(_ignore, _STOP)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _ignore(_STOP)
    raise ToldToStop


def _wait_for_service(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which would look like the wish of whoever started the process."""


def _ignore(numbers: tuple[signal.Signals, ...]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
