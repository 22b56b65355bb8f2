"""Who is told that a socket is ready: a loop's own way, and all sockets behind one descriptor of it."""

from __future__ import annotations

import asyncio
import contextvars
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TypeAlias

import pytest
import trio
import uvloop

from hypercorn.workers import asyncio_driver, trio_driver, watches
from hypercorn.workers.runtime import HasDescriptor, Readiness

Sockets: TypeAlias = Readiness[socket.socket]
Body: TypeAlias = Callable[[Sockets], Awaitable[None]]
Run: TypeAlias = Callable[[Body], None]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have the loop's own way only")


class Pairs:
    """Connected sockets, and turns of the loop."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self.open: list[socket.socket] = []

    def make(self) -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
        self.open += pair
        return pair

    async def turn(self, sockets: Sockets) -> None:
        """Return once everything has been told that is ready now."""
        ours, theirs = self.make()
        called: list[int] = []
        sockets.watch_readable(ours, lambda: called.append(len(ours.recv(1))))
        for turn in range(1, 4):
            theirs.send(b"x")
            await self.until(lambda turn=turn: len(called) == turn)  # type: ignore[misc]
        sockets.forget(ours)

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await self._sleep(0)

    def close(self) -> None:
        for sock in self.open:
            sock.close()


@pytest.fixture
def pairs(loop_name: str) -> Iterator[Pairs]:
    pairs = Pairs(trio.sleep if loop_name == "trio" else asyncio.sleep)
    yield pairs
    pairs.close()


def epolls() -> int:
    """How many of this process are open."""
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the directory itself
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return links.count("anon_inode:[eventpoll]")


@pytest.fixture(params=["own", "behind one"])
def run(loop_name: str, request: pytest.FixtureRequest) -> Run:
    """Run a test's body with either way of watching, on one loop."""

    def way(own: Readiness[HasDescriptor]) -> Sockets:
        return own if request.param == "own" else watches.behind_one(own)

    def on_asyncio(body: Body) -> None:
        async def main() -> None:
            own = asyncio_driver._LoopWatches(asyncio.get_running_loop(), contextvars.copy_context())
            await body(way(own))

        factory = uvloop.new_event_loop if loop_name == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    def on_trio(body: Body) -> None:
        async def main() -> None:
            async with trio.open_nursery() as nursery:
                await body(way(trio_driver._TaskWatches(nursery, contextvars.copy_context())))
                nursery.cancel_scope.cancel()

        trio.run(main)

    return on_trio if loop_name == "trio" else on_asyncio


def test_reading_is_told_until_it_is_unwatched(run: Run, pairs: Pairs) -> None:
    async def body(sockets: Sockets) -> None:
        ours, theirs = pairs.make()
        told: list[bytes] = []
        sockets.watch_readable(ours, lambda: told.append(ours.recv(1)))
        theirs.send(b"ab")  # one byte is read at a time: what is left is told again
        await pairs.turn(sockets)
        assert told == [b"a", b"b"]
        sockets.unwatch_readable(ours)
        sockets.unwatch_readable(ours)
        theirs.send(b"c")
        await pairs.turn(sockets)
        assert told == [b"a", b"b"]
        sockets.watch_readable(ours, lambda: told.append(ours.recv(9)))
        await pairs.turn(sockets)
        assert told == [b"a", b"b", b"c"]
        sockets.forget(ours)
        theirs.send(b"d")
        await pairs.turn(sockets)
        assert told == [b"a", b"b", b"c"]

    run(body)


def test_the_last_callback_counts(run: Run, pairs: Pairs) -> None:
    async def body(sockets: Sockets) -> None:
        ours, theirs = pairs.make()
        told: list[str] = []
        sockets.watch_readable(ours, lambda: told.append("old"))
        sockets.watch_readable(ours, lambda: told.append("new" + ours.recv(9).decode()))
        theirs.send(b"x")
        await pairs.turn(sockets)
        assert told == ["newx"]

    run(body)


def test_writing_and_reading_are_told_apart(run: Run, pairs: Pairs) -> None:
    async def body(sockets: Sockets) -> None:
        ours, theirs = pairs.make()
        told: list[str] = []

        def write() -> None:
            told.append("writable")
            sockets.unwatch_writable(ours)

        sockets.watch_readable(ours, lambda: told.append("readable" + ours.recv(9).decode()))
        sockets.watch_writable(ours, write)
        await pairs.turn(sockets)
        assert told == ["writable"]
        theirs.send(b"x")
        await pairs.turn(sockets)
        assert told == ["writable", "readablex"]
        sockets.unwatch_readable(ours)
        sockets.watch_writable(ours, write)
        theirs.send(b"y")
        await pairs.turn(sockets)
        assert told == ["writable", "readablex", "writable"]

    run(body)


def test_a_hang_up_is_told_to_who_waits_for_either(run: Run, pairs: Pairs) -> None:
    async def body(sockets: Sockets) -> None:
        told: list[str] = []

        def told_once(name: str, sock: socket.socket) -> Callable[[], None]:
            def tell() -> None:
                told.append(name)
                sockets.forget(sock)

            return tell

        reader, peer = pairs.make()
        sockets.watch_readable(reader, told_once("reader", reader))
        peer.close()
        writer, peer = pairs.make()
        with suppress(BlockingIOError):
            while True:
                writer.send(bytes(65536))
        sockets.watch_writable(writer, told_once("writer", writer))
        await pairs.turn(sockets)
        assert told == ["reader"]
        peer.close()
        await pairs.turn(sockets)
        assert told == ["reader", "writer"]

    run(body)


def test_who_is_forgotten_in_the_same_turn_is_not_told(run: Run, pairs: Pairs) -> None:
    """Two sockets are ready at once, and each callback forgets and closes the other: one of them is called."""

    async def body(sockets: Sockets) -> None:
        (one, its_peer), (other, others_peer) = pairs.make(), pairs.make()
        told: list[str] = []

        def forget(name: str, sock: socket.socket) -> Callable[[], None]:
            def tell() -> None:
                told.append(name)
                for each in (one, other):
                    if each is sock or each.fileno() != -1:
                        sockets.forget(each)
                sock.close()

            return tell

        sockets.watch_readable(one, forget("one", other))
        sockets.watch_readable(other, forget("other", one))
        its_peer.send(b"x")
        others_peer.send(b"x")
        await pairs.turn(sockets)
        assert len(told) == 1

    run(body)


def test_nothing_is_lost_when_more_is_ready_than_one_turn_serves(
    run: Run, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "_MAX_EVENTS", 3)

    async def body(sockets: Sockets) -> None:
        told: list[int] = []

        def tell(number: int, sock: socket.socket) -> Callable[[], None]:
            def read() -> None:
                sock.recv(1)
                told.append(number)

            return read

        peers = []
        for number in range(10):
            ours, theirs = pairs.make()
            sockets.watch_readable(ours, tell(number, ours))
            peers.append(theirs)
        for _ in range(2):
            for peer in peers:
                peer.send(b"x")
            await pairs.until(lambda: len(told) == 10)
            await pairs.turn(sockets)
            assert sorted(told) == list(range(10))
            told.clear()

    run(body)


@pytest.mark.parametrize("run", ["behind one"], indirect=True)
def test_a_callback_that_raises_keeps_nobody_waiting(
    run: Run, pairs: Pairs, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(sockets: Sockets) -> None:
        told: list[bytes] = []

        def fail() -> None:
            raise ValueError("a fault")

        for callback in (fail, lambda: told.append(readable[1].recv(9))):
            ours, theirs = pairs.make()
            readable.append(ours)
            sockets.watch_readable(ours, callback)
            theirs.send(b"x")
        await pairs.until(lambda: bool(told))
        sockets.forget(readable[0])
        await pairs.turn(sockets)
        assert told == [b"x"]

    readable: list[socket.socket] = []
    run(body)
    assert "a fault" in caplog.text


@pytest.mark.parametrize("run", ["behind one"], indirect=True)
def test_nothing_is_left_once_it_is_closed(run: Run, pairs: Pairs) -> None:
    async def body(sockets: Sockets) -> None:
        before = epolls()
        ours, theirs = pairs.make()
        other, _ = pairs.make()
        sockets.watch_readable(ours, lambda: pytest.fail("it is closed"))
        sockets.watch_writable(other, lambda: None)
        assert epolls() == before + 1
        theirs.send(b"x")
        sockets.close()
        sockets.close()
        sockets.forget(ours)
        sockets.unwatch_writable(other)
        assert epolls() == before
        await pairs.turn(sockets)  # it can be used again
        sockets.close()

    run(body)


@pytest.mark.parametrize("run", ["behind one"], indirect=True)
def test_a_descriptor_that_somebody_else_has_closed(run: Run, pairs: Pairs) -> None:
    """Its number comes back as that of another socket, which can be watched and forgotten as any."""

    async def body(sockets: Sockets) -> None:
        ours, _ = pairs.make()
        sockets.watch_readable(ours, lambda: None)
        new, its_peer = pairs.make()
        os.dup2(new.fileno(), ours.fileno())
        told: list[bytes] = []
        sockets.watch_readable(ours, lambda: None)
        sockets.watch_writable(ours, lambda: sockets.unwatch_writable(ours))
        sockets.watch_readable(ours, lambda: told.append(ours.recv(9)))
        its_peer.send(b"x")
        await pairs.turn(sockets)
        assert told == [b"x"]
        sockets.forget(ours)
        os.dup2(its_peer.fileno(), ours.fileno())
        sockets.watch_readable(ours, lambda: None)
        os.dup2(new.fileno(), ours.fileno())
        sockets.forget(ours)
        await pairs.turn(sockets)

    run(body)


def test_the_loop_watches_nothing_while_nothing_is_watched() -> None:
    """A server in somebody's program leaves nothing behind, and can be followed by another."""
    watched: list[str] = []

    class Loop:
        def watch_readable(self, sock: HasDescriptor, callback: Callable[[], None]) -> None:
            watched.append("watch")

        def forget(self, sock: HasDescriptor) -> None:
            watched.append("forget")

        def close(self) -> None: ...

        unwatch_readable = unwatch_writable = forget
        watch_writable = watch_readable

    sockets = watches.behind_one(Loop())
    one, other = socket.socketpair()
    assert not watched
    sockets.watch_readable(one, lambda: None)
    sockets.watch_writable(one, lambda: None)
    sockets.watch_readable(other, lambda: None)
    sockets.unwatch_readable(one)
    sockets.forget(other)
    assert watched == ["watch"]
    sockets.unwatch_writable(one)
    sockets.forget(one)
    assert watched == ["watch", "forget"]
    sockets.watch_readable(one, lambda: None)
    sockets.forget(one)
    assert watched == ["watch", "forget"] * 2
    one.close()
    other.close()
