"""Fork, signals and waiting: the only module that makes or ends processes.

The arbiter has a single thread, so a fork copies nothing half done. What a preloaded application starts at its import is
its own risk; whoever loads it warns.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from ..config.supervision import ExitStatus

logger = logging.getLogger("hypercorn.error")

#: What an operator sends to the arbiter. Workers ignore them, should a whole process group be told.
_ARBITERS_OWN = ("SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU", "SIGWINCH")
_DEFAULT = ("SIGTERM", "SIGQUIT", "SIGABRT", "SIGCHLD")

#: Makes a worker dump its stacks. Applications use the signals that have names for themselves.
DUMP = int(getattr(signal, "SIGRTMIN", signal.SIGUSR2))


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that is gone: its exit status, or the number of the signal that killed it."""

    pid: int
    status: int
    signal: int


def fork(run: Callable[[], int]) -> int:
    """Fork a child that runs `run` and exits with what it returns; gives its pid.

    The child starts with default signal actions and without the arbiter's wake-up descriptor; operator signals are
    ignored until `run` decides otherwise. Nothing of the parent's stack runs in the child.

    Raises:
        OSError: the system refuses.
    """
    # A signal that arrives in the child before its actions are reset would be taken for the arbiter's.
    everything = signal.valid_signals()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    try:
        pid = os.fork()
        if pid == 0:
            _become_child(run)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    return pid


def _become_child(run: Callable[[], int]) -> None:
    status: int = ExitStatus.FAILED
    try:
        _reset_signals()
        faulthandler.enable(file=sys.__stderr__ or 2, all_threads=True)
        status = run()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else ExitStatus.FAILED if error.code else 0
    except BaseException:  # the border of the process: nothing is above that could report it
        logger.critical("The process ends by an error", exc_info=True)
    finally:
        # A closed or full standard output must not keep the process, nor an exit function that raises.
        with contextlib.suppress(Exception):
            # What the application registered for the end; the arbiter itself registers nothing.
            atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for name in _ARBITERS_OWN:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    for name in _DEFAULT:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def dump_into(descriptor: int) -> None:
    """In a child: from now on `DUMP` writes the stacks of all threads there, whatever they are doing.

    The interpreter is not asked: it may be held by code that never gives it back.
    """
    faulthandler.register(DUMP, file=descriptor, all_threads=True)


def kill(pid: int, number: int) -> None:
    """Send a signal; a process that has gone already is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def reap() -> list[Ended]:
    """Collect all children that have ended, adopted ones too: the arbiter may be process 1. Does not block."""
    ended: list[Ended] = []
    while True:
        try:
            pid, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        by_signal = os.WTERMSIG(code) if os.WIFSIGNALED(code) else 0
        ended.append(Ended(pid, 0 if by_signal else os.WEXITSTATUS(code), by_signal))


def wait(pid: int) -> None:
    """Wait for the end of a child; blocks. One that was collected already is fine."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
