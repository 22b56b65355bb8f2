"""`--daemon`: leave the terminal, but only once it is known whether the service starts.

The caller's process waits for a word from the daemon and exits with its status. Until then the daemon keeps the
terminal's standard error, so that the reason of a failure is seen.
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType
from typing import NoReturn

from ..config.errors import complain
from ..config.settings import Settings
from ..config.supervision import ExitStatus

_PID_BYTES = 4
#: What asks the caller to stop.
_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


class Daemon:
    """The daemon's side after `detach`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def started(self, errorlog: str | None) -> None:
        """The service serves: let the caller go with status 0, and give its terminal back; see `forget_terminal`."""
        forget_terminal(errorlog)
        self._report(0)

    def ended(self, status: int) -> None:
        """The service has ended; the caller, if it still waits, exits with this status."""
        self._report(status)

    def _report(self, status: int) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # the caller may have been interrupted
                os.write(self._descriptor, bytes([status]))
            os.close(self._descriptor)
            self._descriptor = None


def detach() -> Daemon:
    """Become a daemon: only the new process returns. The caller's process exits as the daemon says.

    Until then Ctrl-C, or whatever else asks the caller to stop, stops the daemon, in which those signals are blocked at first.

    Raises:
        OSError: the system refuses to fork.
    """
    reader, writer = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)  # they wait until it is known whom to tell
    if os.fork():
        os.close(writer)
        _wait(reader)
    os.close(reader)
    os.setsid()
    # Not the leader of its session, the daemon can never get a terminal again.
    if os.fork():
        os._exit(0)
    os.write(writer, os.getpid().to_bytes(_PID_BYTES, "big"))
    return Daemon(writer)


def _wait(reader: int) -> NoReturn:
    """In the caller's process: exit as the daemon says."""
    pid = int.from_bytes(os.read(reader, _PID_BYTES), "big")

    def pass_on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    if pid:
        for number in _STOP:
            signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
    word = os.read(reader, 1)
    if pid and not word:
        complain(f"the daemon (pid {pid}) has ended before it served, and could not say why")
    os._exit(word[0] if word else ExitStatus.FAILED)


def errorlog_file(settings: Settings) -> str | None:
    """The file that errors are logged to, None if they go anywhere else."""
    target = settings.errorlog
    if not isinstance(target, str) or target in ("-", "/dev/stdout", "/dev/stderr"):
        return None
    return os.path.abspath(target)


def forget_terminal(errorlog: str | None) -> None:
    """Point the standard descriptors to nowhere, standard error to the file of the error log, if it has one.

    What is not logged but written, such as the stacks of a worker that hangs, so ends up where an operator looks.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    if nowhere > 2:
        os.close(nowhere)
    if errorlog is not None:
        follow_errorlog(errorlog)


def follow_errorlog(errorlog: str) -> None:
    """Point standard error to this file, which exists; if it cannot be opened, all stays as it is."""
    with contextlib.suppress(OSError):
        file = os.open(errorlog, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        os.dup2(file, 2)
        os.close(file)
