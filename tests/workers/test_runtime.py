"""The primitives of a loop, and who accepts with them, with the same body on each."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import uvloop

from hypercorn.config import Listener, parse_bind
from hypercorn.config.sockets import open_bind
from hypercorn.workers.acceptor import Acceptor
from hypercorn.workers.asyncio_driver import AsyncioRuntime
from hypercorn.workers.runtime import Event, Runtime
from hypercorn.workers.trio_driver import TrioRuntime

Run = Callable[[Callable[[Runtime], Awaitable[None]]], None]


@pytest.fixture
def run(loop_name: str) -> Run:
    """Run a test's body with the runtime of one loop."""

    def on_asyncio(body: Callable[[Runtime], Awaitable[None]]) -> None:
        async def main() -> None:
            await body(AsyncioRuntime())

        factory = uvloop.new_event_loop if loop_name == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    def on_trio(body: Callable[[Runtime], Awaitable[None]]) -> None:
        async def main() -> None:
            async with trio.open_nursery() as nursery:
                await body(TrioRuntime(nursery))

        trio.run(main)

    return on_trio if loop_name == "trio" else on_asyncio


def test_an_event_that_has_happened(run: Run) -> None:
    async def body(runtime: Runtime) -> None:
        event = runtime.make_event()
        event.set()
        event.set()
        await event.wait()
        assert await runtime.wait(event, 10)

    run(body)


def test_an_event_wakes_all_that_wait(run: Run) -> None:
    async def body(runtime: Runtime) -> None:
        event = runtime.make_event()
        woken = []
        all_woken = runtime.make_event()

        async def wait() -> None:
            await event.wait()
            woken.append(1)
            if len(woken) == 3:
                all_woken.set()

        tasks = [runtime.spawn(wait) for _ in range(3)]
        runtime.call_soon(event.set)
        assert await runtime.wait(all_woken, 10)
        assert len(tasks) == len(woken)

    run(body)


def test_who_gives_up_waiting_disturbs_nobody(run: Run) -> None:
    async def body(runtime: Runtime) -> None:
        event = runtime.make_event()
        ended = runtime.make_event()

        async def wait() -> None:
            await event.wait()
            ended.set()

        task = runtime.spawn(wait)
        for _ in range(5):
            assert not await runtime.wait(event, 0.001)
        event.set()
        assert await runtime.wait(ended, 10)
        assert await runtime.wait(event, 10)
        assert task is not None  # kept until its end, as `spawn` asks for

    run(body)


def test_a_signal_wakes_who_waits_and_is_forgotten(run: Run) -> None:
    async def body(runtime: Runtime) -> None:
        signal = runtime.make_signal()
        signal.notify()
        woken: list[int] = []
        all_woken = runtime.make_event()

        async def wait_twice(number: int) -> None:
            await signal.wait()
            woken.append(number)
            if len(woken) == 3:
                runtime.call_soon(signal.notify)
            await signal.wait()
            woken.append(number)
            if len(woken) == 6:
                all_woken.set()

        tasks = [runtime.spawn(lambda number=number: wait_twice(number)) for number in range(3)]  # type: ignore[misc]
        await runtime.sleep(0)
        await runtime.sleep(0)
        assert not woken
        signal.notify()
        assert await runtime.wait(all_woken, 10)
        assert sorted(woken[:3]) == sorted(woken[3:]) == list(range(len(tasks)))

    run(body)


def test_a_callback_comes_behind_what_is_ready(run: Run) -> None:
    async def body(runtime: Runtime) -> None:
        signal = runtime.make_signal()
        order: list[str] = []

        async def wait() -> None:
            while True:
                await signal.wait()
                order.append("woken")

        tasks = [runtime.spawn(wait) for _ in range(3)]
        await runtime.sleep(0.001)
        for _ in range(20):
            order.clear()
            called = runtime.make_event()

            def call(called: Event = called) -> None:
                order.append("called")
                called.set()

            signal.notify()
            runtime.call_soon(call)
            assert await runtime.wait(called, 10)
            assert order == ["woken"] * 3 + ["called"]
        for task in tasks:
            task.cancel()

    run(body)


def test_who_gives_up_waiting_for_a_signal_disturbs_nobody(run: Run) -> None:
    async def body(runtime: Runtime) -> None:
        signal = runtime.make_signal()
        woken = runtime.make_event()

        async def wait() -> None:
            await signal.wait()
            woken.set()

        async def give_up() -> None:
            await signal.wait()
            raise AssertionError("it was cancelled before")

        kept = runtime.spawn(wait)
        others = [runtime.spawn(give_up) for _ in range(3)]
        await runtime.sleep(0.001)
        for task in others:
            task.cancel()
        await runtime.sleep(0.001)
        signal.notify()
        assert await runtime.wait(woken, 10)
        assert kept is not None  # kept until its end, as `spawn` asks for

    run(body)


def test_accepting_ends_when_descriptors_are_used_up(run: Run) -> None:
    """What the first listener gives back when it is closed is enough for one connection of the second."""
    bind = parse_bind("127.0.0.1:0")
    listeners = [Listener(key, open_bind(bind)[0][0], bind, secure=False, shared=True) for key in (1, 2)]
    clients = [socket.create_connection(one.sock.getsockname()) for one in listeners for _ in range(2)]
    accepted: list[socket.socket] = []

    async def body(runtime: Runtime) -> None:
        acceptor = Acceptor(runtime, lambda sock, listener, peer: accepted.append(sock), lambda: True)
        acceptor.add(listeners)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        os.close(free := os.dup(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            acceptor.stop(ending=[1, 2])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert acceptor.listeners == []

    run(body)
    assert len(accepted) == 1
    assert [one.sock.fileno() for one in listeners] == [-1, -1]
    for sock in (*clients, *accepted):
        sock.close()
