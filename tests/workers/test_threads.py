"""The pool: threads as needed, never more than allowed, and gone at the end."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import pytest

from hypercorn.workers.threads import Threads


class Loop:
    """A loop whose next turn comes when the test says so, and its pool."""

    def __init__(self, size: int) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self.signalled = threading.Semaphore(0)
        self.pool = Threads(size, "test", self.callbacks.append, self.signalled.release)

    def turn(self) -> None:
        callbacks = self.callbacks.copy()
        self.callbacks.clear()
        for callback in callbacks:
            callback()

    def signalled_turn(self) -> None:
        """The turn that a thread asks for when it leaves jobs behind."""
        assert self.signalled.acquire(timeout=10)
        self.pool.attend()


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
    loop, jobs = Loop(3), Jobs()
    for _ in range(5):
        loop.pool.submit(jobs.blocking)
    assert len(loop.callbacks) == 1
    loop.turn()
    loop.signalled_turn()
    jobs.await_begun(2)
    loop.pool.attend()
    jobs.await_begun(1)
    assert len(loop.pool.jobs) == 2
    jobs.let_go(5)
    assert len(set(jobs.threads)) == 3
    assert not loop.pool.jobs
    loop.pool.close()


def test_a_quick_job_does_not_wait_for_a_slow_one() -> None:
    loop, jobs = Loop(2), Jobs()
    done = threading.Event()
    loop.pool.submit(jobs.blocking)
    loop.turn()
    jobs.await_begun(1)
    loop.pool.submit(done.set)
    loop.turn()
    assert done.wait(10)
    jobs.let_go(1)
    loop.pool.close()


def test_a_job_later_finds_the_idle_thread() -> None:
    loop, jobs = Loop(3), Jobs()
    for _ in range(20):
        loop.pool.submit(jobs.blocking)
        loop.turn()
        jobs.let_go(1)
    assert 1 <= len(set(jobs.threads)) <= 3
    loop.pool.close()


def test_many_small_jobs_in_order() -> None:
    loop = Loop(1)
    done: list[int] = []
    finished = threading.Event()
    for number in range(5000):
        loop.pool.submit(lambda number=number: done.append(number))  # type: ignore[misc]
        if number % 7 == 0:
            loop.turn()
    loop.pool.submit(finished.set)
    loop.turn()
    assert finished.wait(10)
    assert done == list(range(5000))
    loop.pool.close()


def test_closing_ends_idle_and_busy_threads() -> None:
    loop, jobs = Loop(2), Jobs()
    for _ in range(2):
        loop.pool.submit(jobs.blocking)
        loop.turn()
        jobs.await_begun(1)
    jobs.go_on.release()
    assert jobs.ended.acquire(timeout=10)
    loop.pool.close()
    jobs.let_go(1)
    for thread in jobs.threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_thread_that_cannot_be_started_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop(1)
    done = threading.Semaphore(0)
    usual = threading.stack_size(1 << 47)  # more than there are addresses
    try:
        loop.pool.submit(done.release)
        loop.turn()
    finally:
        threading.stack_size(usual)
    assert "cannot be started" in caplog.text
    loop.pool.submit(done.release)
    loop.turn()
    assert done.acquire(timeout=10)
    assert done.acquire(timeout=10)
    loop.pool.close()


def test_a_pool_that_is_given_up_ends() -> None:
    jobs = Jobs()
    loop = Loop(2)
    loop.pool.submit(jobs.blocking)
    loop.turn()
    jobs.let_go(1)
    del loop
    gc.collect()
    jobs.threads[0].join(10)
    assert not jobs.threads[0].is_alive()
