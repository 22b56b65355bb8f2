"""`hypercorn.trio.serve` inside other programs: starts, ends, and what is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import hypercorn.asyncio
import hypercorn.trio
from hypercorn.trio import worker_serve as trio_worker_serve
from hypercorn.utils import ShutdownError, wrap_app

from .embedded import App, HoldPort, descriptors, get, is_refused, make_config, port_of


def test_cancelled_nursery(hold_port: HoldPort) -> None:
    app = App(waits=True)
    config = make_config(bind=f"127.0.0.1:{hold_port()}")

    async def main() -> None:
        called = trio.Event()
        app.called = called.set
        async with trio.open_nursery() as nursery:
            urls = await nursery.start(hypercorn.trio.serve, app, config)
            stream = await trio.open_tcp_stream("127.0.0.1", port_of(urls))
            async with stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                await called.wait()
                nursery.cancel_scope.cancel()
        assert is_refused(port_of(urls))

    trio.run(main)
    assert app.events == ["startup", "request", "done", "shutdown"]


def test_cancelled_while_it_starts() -> None:
    app = App(slow_start=True)

    async def main() -> None:
        called = trio.Event()
        app.called = called.set
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hypercorn.trio.serve, app, make_config())
            await called.wait()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert app.events == ["startup"]


def test_cancellation_does_not_wait_for_ever() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await trio.sleep_forever()

    async def main() -> None:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                await nursery.start(hypercorn.trio.serve, app, make_config(graceful_timeout=0.0))
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_triggers() -> None:
    async def raises() -> None:
        raise OSError("mine")

    async def returns() -> None:
        return

    def run(trigger: Callable[[], Awaitable[None]]) -> list[str]:
        app = App()

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                urls = await nursery.start(
                    lambda task_status: hypercorn.trio.serve(
                        app, make_config(), shutdown_trigger=trigger, task_status=task_status
                    )
                )
                assert urls[0].startswith("http://127.0.0.1:")

        trio.run(main)
        return app.events

    async def says_so_with_an_error() -> None:
        raise ShutdownError

    async def says_so_in_a_nursery() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(says_so_with_an_error)

    for trigger in (returns, says_so_with_an_error, says_so_in_a_nursery):
        assert run(trigger) == ["startup", "shutdown"]
    with pytest.raises(ExceptionGroup) as caught:  # of the test's own nursery
        run(raises)
    assert [str(error) for error in caught.value.exceptions] == ["mine"]


def test_ctrl_c() -> None:
    app = App()

    class Status:
        def started(self, value: Any = None) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    async def with_trigger() -> None:
        await hypercorn.trio.serve(
            app,
            make_config(),
            shutdown_trigger=trio.sleep_forever,
            task_status=Status(),  # type: ignore[arg-type]
        )

    async def without() -> None:
        await hypercorn.trio.serve(app, make_config(), task_status=Status())  # type: ignore[arg-type]

    trio.run(without)
    assert app.events == ["startup", "shutdown"]
    with pytest.raises(KeyboardInterrupt):
        trio.run(with_trigger)
    assert app.events == ["startup", "shutdown"] * 2


def test_starts_and_stops_without_growing() -> None:
    async def once() -> None:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            urls = await nursery.start(
                lambda task_status: hypercorn.trio.serve(
                    App(), make_config(), shutdown_trigger=stop.wait, task_status=task_status
                )
            )
            assert b" 200 " in await trio.to_thread.run_sync(get, port_of(urls))
            stop.set()

    async def main() -> None:
        await once()
        before = descriptors(), len(trio.lowlevel.current_task().child_nurseries)
        for _ in range(50):
            await once()
        assert (descriptors(), len(trio.lowlevel.current_task().child_nurseries)) == before

    trio.run(main)


def test_wrapped_application_on_given_sockets() -> None:
    async def main() -> None:
        sockets = make_config().create_sockets()
        port = sockets.insecure_sockets[0].getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: trio_worker_serve(
                    wrap_app(App(), 10, None), make_config(), sockets=sockets, task_status=task_status
                )
            )
            assert b" 200 " in await trio.to_thread.run_sync(get, port)
            nursery.cancel_scope.cancel()
        assert sockets.insecure_sockets[0].fileno() == -1

    trio.run(main)
