"""The pool: threads as needed, never more than allowed, and gone at the end."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

from hypercorn.workers.threads import Threads


class Loop:
    """`call_soon` of a loop whose next turn comes when the test says so."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def turn(self) -> None:
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()


class Jobs:
    """Jobs that wait until they are let go, and tell which thread ran them."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def blocking(self) -> None:
        self.threads.append(threading.current_thread())
        self.begun.release()
        assert self.go_on.acquire(timeout=10)
        self.ended.release()

    def await_begun(self, count: int) -> None:
        for _ in range(count):
            assert self.begun.acquire(timeout=10)

    def let_go(self, count: int) -> None:
        for _ in range(count):
            self.go_on.release()
        for _ in range(count):
            assert self.ended.acquire(timeout=10)


def test_jobs_that_wait_get_a_thread_each() -> None:
    loop, jobs = Loop(), Jobs()
    pool = Threads(3, "test", loop.call_soon)
    for _ in range(5):
        pool.submit(jobs.blocking)
    jobs.await_begun(1)
    assert len(loop.callbacks) == 1
    loop.turn()
    jobs.await_begun(2)
    assert pool.waiting == 2
    jobs.let_go(5)
    assert len(set(jobs.threads)) == 3
    assert pool.waiting == 0
    pool.close()


def test_a_job_later_finds_the_idle_thread() -> None:
    loop, jobs = Loop(), Jobs()
    pool = Threads(3, "test", loop.call_soon)
    for _ in range(20):
        pool.submit(jobs.blocking)
        loop.turn()
        jobs.let_go(1)
    assert 1 <= len(set(jobs.threads)) <= 3
    pool.close()


def test_many_small_jobs_in_order() -> None:
    loop = Loop()
    pool = Threads(1, "test", loop.call_soon)
    done: list[int] = []
    finished = threading.Event()
    for number in range(5000):
        pool.submit(lambda number=number: done.append(number))  # type: ignore[misc]
        if number % 7 == 0:
            loop.turn()
    pool.submit(finished.set)
    loop.turn()
    assert finished.wait(10)
    assert done == list(range(5000))
    pool.close()


def test_closing_ends_idle_and_busy_threads() -> None:
    loop, jobs = Loop(), Jobs()
    pool = Threads(2, "test", loop.call_soon)
    pool.submit(jobs.blocking)
    pool.submit(jobs.blocking)
    loop.turn()
    jobs.await_begun(2)
    jobs.go_on.release()
    assert jobs.ended.acquire(timeout=10)
    pool.close()
    jobs.let_go(1)
    for thread in jobs.threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_pool_that_is_given_up_ends() -> None:
    jobs = Jobs()
    pool = Threads(2, "test", lambda callback: None)
    pool.submit(jobs.blocking)
    jobs.let_go(1)
    del pool
    gc.collect()
    jobs.threads[0].join(10)
    assert not jobs.threads[0].is_alive()
