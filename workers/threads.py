"""Threads that run blocking jobs: as many as there is work for, up to a limit, in the order of arrival.

Smaller than `concurrent.futures`: a job gets no future, it tells its result itself, which spares a request
half of what the hand-over costs. The threads are daemons: one that hangs in an application does not keep the
process alive after its drain has timed out.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]


def default_thread_count() -> int:
    """As many threads as pay for applications that wait for a database: 4 more than processors, at most 32."""
    return min(32, (os.cpu_count() or 1) + 4)


class Threads:
    """A pool of at most `size` threads; the first is started by the first job.

    The threads end when `close` is called, or when the pool is no longer referenced.
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._name = name
        self._work = _Work()
        self._started = 0
        self.close = weakref.finalize(self, self._work.stop)

    @property
    def waiting(self) -> int:
        """How many jobs no thread has begun yet."""
        return max(0, self._work.open - self.size)

    def submit(self, job: Job) -> None:
        """Run `job` in a thread; it must not raise. Called from one thread only (the loop's)."""
        work = self._work
        with work.lock:
            work.open += 1
        # A thread more only when all that exist have something to do.
        if self._started < self.size and work.open > self._started:
            self._started += 1
            work.threads += 1
            threading.Thread(target=work.run, name=f"{self._name}-{self._started}", daemon=True).start()
        work.jobs.put(job)


class _Work:
    """What the threads share. It knows nothing of the pool, so that the pool can be given up."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        self.lock = threading.Lock()
        self.open = 0
        self.threads = 0

    def run(self) -> None:
        take = self.jobs.get
        while (job := take()) is not None:
            job()
            # What the job holds (a request) must not live on until the next one.
            del job
            with self.lock:
                self.open -= 1

    def stop(self) -> None:
        for _ in range(self.threads):
            self.jobs.put(None)
