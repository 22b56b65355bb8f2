"""Threads that run blocking jobs: as many as there is work for, up to a limit, in the order of arrival.

Smaller than `concurrent.futures`: a job gets no future, it tells its result itself, which spares a request
half of what the hand-over costs. And it wakes as few threads as will do. A woken thread needs the interpreter
lock, so while jobs only compute, one thread that runs a whole batch is cheapest; while they wait for
something, each wants a thread of its own. Which of the two it is, the loop can tell: it gets the lock when the
threads have run out of work, or when they wait. So:

- a batch is what one turn of the loop brings; at its end one thread is woken for it, not before, for a thread
  that waits for the lock takes it at every system call of the loop;
- a thread that begins and leaves jobs behind asks for a turn of the loop (`signal`), and what the loop finds
  waiting in that turn (`attend`) waits behind jobs that wait: it gets threads of its own, twice as many each turn.

The threads are daemons: one that hangs in an application does not keep the
process alive after its drain has timed out.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

logger = logging.getLogger("hypercorn.error")

Job = Callable[[], None]


def default_thread_count() -> int:
    """As many threads as pay for applications that wait for a database: 4 more than processors, at most 32."""
    return min(32, (os.cpu_count() or 1) + 4)


class Threads:
    """A pool of at most `size` threads; the first is started by the first job.

    Attributes:
        size: how many threads there may be.
        jobs: those that no thread has begun yet; to be looked at only.

    The threads end when `close` is called, or when the pool is no longer referenced; what they are doing they
    finish. All methods are called in the loop's thread.

    Args:
        call_soon: `Runtime.call_soon` of the loop.
        signal: called in any thread: let the loop call `attend` soon.
    """

    def __init__(
        self, size: int, name: str, call_soon: Callable[[Job], object], signal: Callable[[], None]
    ) -> None:
        self.size = size
        self._name = name
        self._call_soon = call_soon
        self._work = _Work(signal)
        self.jobs = self._work.jobs
        self._started = 0
        self._is_due = False
        self.close = weakref.finalize(self, self._work.stop)

    def submit(self, job: Job) -> None:
        """Run `job` in a thread; it must not raise."""
        self.jobs.append(job)
        if not self._is_due:
            self._is_due = True
            self._call_soon(self.attend)

    def attend(self) -> None:
        """See to the jobs that wait: wake a thread for them, or more where those at work have left them behind."""
        self._is_due = False
        work = self._work
        # A thread that has been woken and has not begun yet will signal if it leaves something behind.
        if not work.jobs or work.waking:
            return
        busy = self._started - len(work.idle)
        for _ in range(min(len(work.jobs), max(1, busy))):
            self._add_thread()

    def _add_thread(self) -> None:
        """Wake an idle thread, or start another if there may be more."""
        work = self._work
        try:
            pause = work.idle.pop()
        except IndexError:
            if self._started < self.size:
                self._start_thread()
        else:
            work.waking.append(pause)
            pause.release()

    def _start_thread(self) -> None:
        name = f"{self._name}-{self._started + 1}"
        try:
            threading.Thread(target=self._work.run, name=name, daemon=True).start()
        except RuntimeError as error:  # the system has none left, or no memory for its stack
            # Those that run take the jobs in their turn; where none does, the next job brings another try.
            logger.error("Thread %s cannot be started: %s", name, error)
        else:
            self._started += 1


class _Work:
    """What the threads share. It knows nothing of the pool, so that the pool can be given up.

    Deques and lists are safe to append to and to pop from in any thread; that is all the locking there is.
    """

    def __init__(self, signal: Callable[[], None]) -> None:
        self.jobs: deque[Job] = deque()
        #: Idle threads, each by the lock that it waits for. The last is the next: its caches are warm.
        self.idle: list[threading.Lock] = []
        #: Those that the loop has woken and that have not begun yet.
        self.waking: list[threading.Lock] = []
        self.is_stopped = False
        self._signal = signal

    def run(self) -> None:
        pause = threading.Lock()
        pause.acquire()
        self._ask_for_help()
        while True:
            try:
                job = self.jobs.popleft()
            except IndexError:
                if self.is_stopped:
                    return
                self.idle.append(pause)
                # What came between the two lines above has perhaps found nobody to wake.
                if (self.jobs or self.is_stopped) and self._is_still_idle(pause):
                    continue
                pause.acquire()
                if pause in self.waking:
                    self.waking.remove(pause)
                self._ask_for_help()
                continue
            job()
            # What the job holds (a request) must not live on until the next one.
            del job

    def _ask_for_help(self) -> None:
        """Let the loop look whether the jobs behind the first have to wait for it."""
        if len(self.jobs) > 1:
            self._signal()

    def _is_still_idle(self, pause: threading.Lock) -> bool:
        """Take `pause` back; False if somebody is waking its thread anyway."""
        try:
            self.idle.remove(pause)
        except ValueError:
            return False
        return True

    def stop(self) -> None:
        self.is_stopped = True
        while self.idle:
            self.idle.pop().release()
