"""The worker processes of one arbiter: each with its line, its row of the scoreboard and a place for its stacks.

Carries out and reports; what should happen to which worker is decided by the plan. Nothing here blocks.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..config.supervision import Instruction, Report
from . import messages as m
from . import process
from .channel import Channel, ChannelError, open_line
from .scoreboard import Row, Scoreboard

logger = logging.getLogger("hypercorn.error")

#: Runs in the worker's process; gives its exit status.
Work: TypeAlias = Callable[[Row, Channel[Instruction]], int]

#: A dump is no longer than this many bytes: the interpreter stops after 100 frames of each of 100 threads.
_LONGEST_DUMP = 1_000_000
#: How the filter of a container, a hardened kernel (vm.memfd_noexec) or one that does not know it answers a call.
_FORBIDDEN = (errno.EPERM, errno.EACCES, errno.ENOSYS)


@dataclass(slots=True)
class Handle:
    """The arbiter's view of a worker's process. `stacks` is the descriptor of the file that it dumps them into."""

    worker: int
    pid: int
    line: Channel[Report]
    row: Row
    stacks: int
    is_open: bool = True


class Workforce:
    """All workers that have been forked and not yet been reaped; the plan's numbers name them.

    Args:
        most: how many processes at a time.
        counters: figures of each in the scoreboard; `lasting` are those that count events, see `Scoreboard.release`.
    """

    def __init__(self, most: int, counters: int, lasting: frozenset[int]) -> None:
        self._scoreboard = Scoreboard(most, counters)
        self._lasting = lasting
        self._handles: dict[int, Handle] = {}

    def start(self, command: m.StartWorker, work: Work) -> int:
        """Fork a worker that does `work`; gives its pid.

        Raises:
            OSError: no process, descriptor or row of the scoreboard is left.
        """
        with contextlib.ExitStack() as undo:
            ours, theirs = open_line()
            undo.callback(ours.close)
            undo.callback(theirs.close)
            stacks = _anonymous_file()
            undo.callback(os.close, stacks)
            row = self._scoreboard.claim(command.slot, command.generation, time.monotonic())
            undo.callback(self._scoreboard.release, row, self._lasting)

            def run() -> int:
                process.dump_into(stacks)
                ours.close()
                self.let_go()
                return work(row, theirs)

            row.pid = process.fork(run)
            undo.pop_all()
        theirs.close()
        self._handles[command.worker] = Handle(command.worker, row.pid, ours, row, stacks)
        return row.pid

    def let_go(self) -> None:
        """In a child: close what is the arbiter's, so that its end is seen by all workers."""
        for handle in self._handles.values():
            handle.line.close()
            os.close(handle.stacks)

    def tell(self, worker: int, instructions: Iterable[Instruction]) -> None:
        """Send these; to one that has just ended is fine, the plan hears of that next."""
        if (handle := self._handles.get(worker)) is not None:
            try:
                for instruction in instructions:
                    handle.line.send(instruction)
            except OSError as error:
                logger.error("Worker with pid %d cannot be told what to do: %s", handle.pid, error)

    def kill(self, worker: int) -> None:
        """End it at once."""
        self._signal(worker, signal.SIGKILL)

    def dump_stacks(self, worker: int) -> None:
        """Let it write where its threads stand, for `stacks` to be read a little later."""
        if (handle := self._handles.get(worker)) is not None:
            os.ftruncate(handle.stacks, 0)
            os.lseek(handle.stacks, 0, os.SEEK_SET)  # it shares our position
            self._signal(worker, process.DUMP)

    def stacks(self, worker: int) -> str:
        """What it has written since `dump_stacks`; empty if it could not, or is gone."""
        handle = self._handles.get(worker)
        return "" if handle is None else os.pread(handle.stacks, _LONGEST_DUMP, 0).decode(errors="replace")

    def lines(self) -> dict[int, Handle]:
        """Those that may still say something, by the descriptor to watch for it."""
        return {handle.line.sock.fileno(): handle for handle in self._handles.values() if handle.is_open}

    def hear(self, handle: Handle) -> list[m.Said]:
        """What a worker has said. One that says what cannot be understood is killed."""
        if not handle.is_open:
            return []  # or collected in the meantime
        reports: Sequence[Report] = ()
        try:
            reports, handle.is_open = handle.line.receive()
        except ChannelError:
            text = "Worker with pid %d does not speak the arbiter's language and is killed"
            logger.exception(text, handle.pid)
            handle.is_open = False
            self.kill(handle.worker)
        return [m.Said(handle.worker, report) for report in reports]

    def reap(self) -> list[m.Said | m.Exited]:
        """Collect all children that have ended: the last words of workers, then their ends.

        Others may be among them: somebody else's children, left to us because we are process 1, and the watcher.
        """
        by_pid = {handle.pid: handle for handle in self._handles.values()}
        events: list[m.Said | m.Exited] = []
        for ended in process.reap():
            if (handle := by_pid.get(ended.pid)) is not None:
                events.extend(self.hear(handle))
                self._discard(handle)
                events.append(m.Exited(handle.worker, ended.status, ended.signal))
        return events

    def flush(self) -> None:
        """Send on what a worker's line did not take before."""
        for handle in self._handles.values():
            handle.line.flush()

    def beats(self) -> dict[int, float]:
        """When each worker's loop was last alive."""
        return {handle.worker: handle.row.beat for handle in self._handles.values()}

    def close(self) -> None:
        """Give up all of them: workers of a failed arbiter see the end of their line, and drain."""
        for handle in list(self._handles.values()):
            self._discard(handle)

    def _signal(self, worker: int, number: int) -> None:
        # One that has been reaped is not signalled: its number may be another process's by now.
        if (handle := self._handles.get(worker)) is not None:
            process.kill(handle.pid, number)

    def _discard(self, handle: Handle) -> None:
        del self._handles[handle.worker]
        handle.line.close()
        os.close(handle.stacks)
        self._scoreboard.release(handle.row, self._lasting)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        try:
            return os.memfd_create("stacks")
        except OSError as error:
            if error.errno not in _FORBIDDEN:
                raise
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
