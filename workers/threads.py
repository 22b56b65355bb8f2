"""Threads that run blocking jobs: as many as there is work for, up to a limit, in the order of arrival.

Smaller than `concurrent.futures`: a job gets no future, it tells its result itself, which spares a request
half of what the hand-over costs. And it wakes as few threads as will do. A woken thread needs the interpreter
lock, so while jobs only compute, one thread that runs a whole batch is cheapest; while they wait for
something, each wants a thread of its own. Which of the two it is, the loop can tell: it gets the lock for its
next turn when the threads have run out of work, or when they wait. So one thread is woken for the first job of
a batch, and others only for what the loop finds still waiting in that next turn.

The threads are daemons: one that hangs in an application does not keep the
process alive after its drain has timed out.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

Job = Callable[[], None]


def default_thread_count() -> int:
    """As many threads as pay for applications that wait for a database: 4 more than processors, at most 32."""
    return min(32, (os.cpu_count() or 1) + 4)


class Threads:
    """A pool of at most `size` threads; the first is started by the first job.

    The threads end when `close` is called, or when the pool is no longer referenced; what they are doing they
    finish. All methods are called in the loop's thread.

    Args:
        call_soon: `Runtime.call_soon` of the loop.
    """

    def __init__(self, size: int, name: str, call_soon: Callable[[Job], object]) -> None:
        self.size = size
        self._name = name
        self._call_soon = call_soon
        self._work = _Work()
        self._started = 0
        self._will_look = False
        self.close = weakref.finalize(self, self._work.stop)

    @property
    def waiting(self) -> int:
        """How many jobs no thread has begun yet."""
        return len(self._work.jobs)

    def submit(self, job: Job) -> None:
        """Run `job` in a thread; it must not raise."""
        self._work.jobs.append(job)
        if len(self._work.idle) == self._started:
            self._add_thread()
        elif not self._will_look:
            self._will_look = True
            self._call_soon(self._look)

    def _look(self) -> None:
        self._will_look = False
        for _ in range(min(len(self._work.jobs), self.size)):
            self._add_thread()

    def _add_thread(self) -> None:
        """Wake an idle thread, or start another if there may be more."""
        try:
            self._work.idle.pop().release()
        except IndexError:
            if self._started < self.size:
                self._started += 1
                name = f"{self._name}-{self._started}"
                threading.Thread(target=self._work.run, name=name, daemon=True).start()


class _Work:
    """What the threads share. It knows nothing of the pool, so that the pool can be given up.

    Deques and lists are safe to append to and to pop from in any thread; that is all the locking there is.
    """

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        #: Idle threads, each by the lock that it waits for. The last is the next: its caches are warm.
        self.idle: list[threading.Lock] = []
        self.is_stopped = False

    def run(self) -> None:
        pause = threading.Lock()
        pause.acquire()
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
                continue
            job()
            # What the job holds (a request) must not live on until the next one.
            del job

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
