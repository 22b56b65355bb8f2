"""`hypercorn.asyncio.serve` inside other programs: starts, ends, and what is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trio
import uvloop

import hypercorn.asyncio
import hypercorn.trio
from hypercorn.asyncio import worker_serve
from hypercorn.config import BindError, Config, ConfigError, Sockets
from hypercorn.utils import LifespanFailureError, ShutdownError, wrap_app
from hypercorn.workers.application import ApplicationError
from hypercorn.workers.log_config import LogConfigurationError

from .embedded import App, HoldPort, ask, descriptors, get, is_refused, make_config, port_of

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine on each loop, in its debug mode, and look at what is left in the loop."""

    def run_until_complete(main: Coroutine[Any, Any, None]) -> None:
        async def checked() -> None:
            before = asyncio.all_tasks()
            await asyncio.wait_for(main, 20)
            assert asyncio.all_tasks() == before

        problems: list[dict[str, Any]] = []
        with asyncio.Runner(debug=True, loop_factory=LOOPS[request.param]) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: problems.append(context))
            runner.run(checked())
        assert not problems

    return run_until_complete


@contextlib.asynccontextmanager
async def serving(
    app: Callable[..., Any], config: Config, **arguments: Any
) -> AsyncIterator[tuple[int, asyncio.Task[None]]]:
    ready: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(hypercorn.asyncio.serve(app, config, ready=ready.set_result, **arguments))
    await asyncio.wait((ready, task), return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        await task
    try:
        yield port_of(ready.result()), task
    finally:
        task.cancel()
        await asyncio.wait((task,))


def begun(loop: Any, coroutine: Any, context: Any = None, **_: Any) -> asyncio.Task[Any]:
    """A task that has begun: a loop's task factory.

    Not `asyncio.eager_task_factory`, which before CPython 3.14 refuses what uvloop 0.23 gives it.
    """
    eager: dict[str, Any] = {"eager_start": True}
    return asyncio.Task(coroutine, loop=loop, context=context, **eager)


class TestStop:
    def test_gracefully_by_the_trigger(self, run: Any, hold_port: HoldPort) -> None:
        async def main() -> None:
            app, stop = App(), asyncio.Event()
            async with serving(
                app, make_config(bind=f"127.0.0.1:{hold_port()}"), shutdown_trigger=stop.wait
            ) as (port, task):
                assert b" 200 " in await asyncio.to_thread(get, port)
                stop.set()
                await task
            assert app.events == ["startup", "request", "done", "shutdown"]
            assert is_refused(port)

        run(main())

    def test_by_a_trigger_that_returns_at_once(self, run: Any) -> None:
        async def main() -> None:
            app = App()
            await hypercorn.asyncio.serve(app, make_config(), shutdown_trigger=lambda: asyncio.sleep(0))
            assert app.events == ["startup", "shutdown"]

        run(main())

    def test_by_a_trigger_that_raises(self, run: Any) -> None:
        async def main() -> None:
            app = App()

            async def trigger() -> None:
                raise OSError("mine")

            with pytest.raises(OSError, match="mine"):
                await hypercorn.asyncio.serve(app, make_config(), shutdown_trigger=trigger)
            assert app.events == ["startup", "shutdown"]

        run(main())

    def test_by_a_trigger_that_says_so_with_an_error(self, run: Any) -> None:
        async def trigger() -> None:
            raise ShutdownError

        async def trigger_in_group() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(trigger())

        async def main() -> None:
            for each in (trigger, trigger_in_group):
                app = App()
                await hypercorn.asyncio.serve(app, make_config(), shutdown_trigger=each)
                assert app.events == ["startup", "shutdown"]

        run(main())

    def test_not_by_a_future_that_nobody_sets(self, run: Any) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            async with serving(App(), make_config(), shutdown_trigger=loop.create_future) as (port, _):
                assert b" 200 " in await asyncio.to_thread(get, port)

        run(main())

    def test_by_cancellation(self, run: Any, hold_port: HoldPort) -> None:
        async def main() -> None:
            app = App(waits=True)
            called = asyncio.Event()
            app.called = called.set
            async with serving(app, make_config(bind=f"127.0.0.1:{hold_port()}")) as (port, task):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                await called.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                with contextlib.suppress(ConnectionError):
                    assert b" 200 " not in await reader.read()
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            assert app.events == ["startup", "request", "done", "shutdown"]
            assert is_refused(port)

        run(main())

    def test_by_cancellation_while_it_starts(self, run: Any) -> None:
        async def main() -> None:
            app = App(slow_start=True)
            called = asyncio.Event()
            app.called = called.set
            task = asyncio.create_task(hypercorn.asyncio.serve(app, make_config()))
            await called.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert app.events == ["startup"]

        run(main())

    def test_a_second_cancellation_does_not_wait_for_the_application(self, run: Any) -> None:
        async def main() -> None:
            asked = asyncio.Event()

            async def app(scope: Any, receive: Any, send: Any) -> None:
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                asked.set()
                await asyncio.get_running_loop().create_future()

            async with serving(app, make_config(graceful_timeout=60.0)) as (_, task):
                task.cancel()
                await asked.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        run(main())

    def test_after_max_requests(self, run: Any) -> None:
        async def main() -> None:
            app = App()
            async with serving(app, make_config(max_requests=2)) as (port, task):
                await asyncio.to_thread(get, port)
                await asyncio.to_thread(get, port)
                await task
            assert app.events.count("request") == 2
            assert app.events[-1] == "shutdown"

        run(main())

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_by_a_signal_whose_action_comes_back(self, run: Any, number: signal.Signals) -> None:
        before = signal.getsignal(signal.SIGTERM)

        async def main() -> None:
            inside = signal.getsignal(number)
            app = App()
            async with serving(app, make_config()) as (_, task):
                os.kill(os.getpid(), number)
                await task
            assert app.events == ["startup", "shutdown"]
            assert signal.getsignal(number) is inside

        run(main())
        assert signal.getsignal(signal.SIGTERM) is before

    def test_leaves_the_loops_own_handler_in_place(self, run: Any) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            received = asyncio.Event()
            loop.add_signal_handler(signal.SIGTERM, received.set)
            async with serving(App(), make_config()) as (_, task):
                os.kill(os.getpid(), signal.SIGTERM)
                await task
            await received.wait()
            received.clear()
            os.kill(os.getpid(), signal.SIGTERM)
            await received.wait()
            loop.remove_signal_handler(signal.SIGTERM)

        run(main())

    def test_leaves_signals_alone_when_it_has_a_trigger(self, run: Any) -> None:
        async def main() -> None:
            before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
            async with serving(App(), make_config(), shutdown_trigger=asyncio.Event().wait):
                after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
            assert after == before

        run(main())

    def test_by_ctrl_c_of_a_program_with_a_trigger(self) -> None:
        app = App()

        def ready(_: list[str]) -> None:
            os.kill(os.getpid(), signal.SIGINT)

        async def main() -> None:
            await hypercorn.asyncio.serve(
                app, make_config(), shutdown_trigger=asyncio.Event().wait, ready=ready
            )

        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main(), debug=True)
        assert app.events == ["startup", "shutdown"]


class TestSurroundings:
    def test_several_servers_in_one_loop(self, run: Any, hold_port: HoldPort) -> None:
        async def main() -> None:
            async with (
                serving(App(), make_config(bind=f"127.0.0.1:{hold_port()}")) as (first, task),
                serving(App(), make_config()) as (second, _),
            ):
                assert first != second
                assert b" 200 " in await asyncio.to_thread(get, first)
                task.cancel()
                await asyncio.wait((task,))
                assert is_refused(first)
                assert b" 200 " in await asyncio.to_thread(get, second)

        run(main())

    def test_starts_and_stops_without_growing(self, run: Any) -> None:
        def wsgi(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("content-length", "2")])
            return [b"ok"]

        async def main() -> None:
            async def once(app: Callable[..., Any]) -> None:
                stop = asyncio.Event()
                config = make_config(statsd_host="127.0.0.1:9", accesslog=os.devnull)
                async with serving(app, config, shutdown_trigger=stop.wait) as (port, task):
                    assert b" 200 " in await asyncio.to_thread(get, port)
                    stop.set()
                    await task

            for app in (App(), wsgi):
                await once(app)
                before = descriptors(), threading.active_count()
                for _ in range(25):
                    await once(app)
                after = descriptors(), threading.active_count()
                assert after[0] <= before[0]
                assert after[1] <= before[1] + 8  # of asyncio's own pool, and threads on their way out

        run(main())

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks yet")
    def test_in_a_loop_whose_tasks_are_eager(self, run: Any) -> None:
        async def main() -> None:
            asyncio.get_running_loop().set_task_factory(begun)
            app = App()
            async with serving(app, make_config()) as (port, _):
                assert (await asyncio.to_thread(ask, port, 3)).count(b" 200 ") == 3
            assert app.events == ["startup", *["request", "done"] * 3, "shutdown"]

        run(main())

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks yet")
    def test_answers_of_eager_tasks_do_not_gather(self, run: Any) -> None:
        """Each is complete within the call that starts it: it must go out before the next is asked for."""
        body, times = bytes(40_000), 400

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                fields = [(b"content-length", b"%d" % len(body))]
                await send({"type": "http.response.start", "status": 200, "headers": fields})
                await send({"type": "http.response.body", "body": b"%b" % body[1:] + b"!"})

        def pipeline(port: int) -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * times)
                answered = 0
                while answered < times:
                    answered += sock.recv(1 << 16).count(b"!")

        async def main() -> None:
            asyncio.get_running_loop().set_task_factory(begun)
            async with serving(app, make_config()) as (port, _):
                tracemalloc.start()
                try:
                    await asyncio.to_thread(pipeline, port)
                    assert tracemalloc.get_traced_memory()[1] < times * len(body) // 4
                finally:
                    tracemalloc.stop()

        run(main())

    def test_in_another_thread(self) -> None:
        urls: list[str] = []
        started = threading.Event()
        app = App()
        stop: list[Callable[[], object]] = []

        async def main() -> None:
            event = asyncio.Event()
            loop = asyncio.get_running_loop()
            stop.append(lambda: loop.call_soon_threadsafe(event.set))

            def ready(given: list[str]) -> None:
                urls.extend(given)
                started.set()

            task = asyncio.create_task(hypercorn.asyncio.serve(app, make_config(), ready=ready))
            await event.wait()
            task.cancel()
            await asyncio.wait((task,))

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        assert started.wait(10)
        assert b" 200 " in get(port_of(urls))
        stop[0]()
        thread.join(10)
        assert not thread.is_alive()
        assert app.events[-1] == "shutdown"

    def test_sockets_of_a_subclass(self, run: Any) -> None:
        class Mine(Config):
            def create_sockets(self) -> Sockets:
                sock = socket.create_server(("127.0.0.1", 0))
                self.made = sock
                return Sockets([], [sock], [])

        async def main() -> None:
            config = Mine()
            config.errorlog = None
            async with serving(App(), config) as (port, _):
                assert port == config.made.getsockname()[1]
                assert b" 200 " in await asyncio.to_thread(get, port)
            assert config.made.fileno() == -1

        run(main())

    def test_wrapped_applications_on_given_sockets(self, run: Any) -> None:
        def wsgi(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("content-length", "2")])
            return [b"ok"]

        async def custom(scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any) -> None:
            if scope["type"] == "http":
                await App()(scope, receive, send)

        async def main() -> None:
            for app in (wrap_app(App(), 10, None), wrap_app(wsgi, 10, "wsgi"), custom, App()):
                sock = socket.socket()
                sock.bind(("127.0.0.1", 0))
                stop = asyncio.Event()
                task = asyncio.create_task(
                    worker_serve(
                        app, make_config(), sockets=Sockets([], [sock], []), shutdown_trigger=stop.wait
                    )
                )
                port = sock.getsockname()[1]
                await asyncio.sleep(0)
                assert b" 200 " in await asyncio.to_thread(get, port)
                stop.set()
                await task
                assert sock.fileno() == -1

        run(main())

    def test_does_not_look_at_what_it_ignores(self, run: Any) -> None:
        config = make_config(worker_class="one that is not installed")
        run(hypercorn.asyncio.serve(App(), config, shutdown_trigger=lambda: asyncio.sleep(0)))

    def test_warns_of_what_it_ignores_in_the_callers_name(self, run: Any) -> None:
        async def main() -> None:
            config = make_config(workers=2, debug=True)
            with pytest.warns(Warning, match="workers|debug") as caught:
                await hypercorn.asyncio.serve(App(), config, shutdown_trigger=lambda: asyncio.sleep(0))
            assert [str(w.message).split()[2] for w in caught] == ["workers", "debug"]
            assert {w.filename for w in caught} == {__file__}

        run(main())


class TestFailures:
    """Whatever goes wrong before it serves: an exception, and nothing left."""

    @pytest.mark.parametrize(
        ("app", "settings", "error"),
        [
            (App(), {"backlog": -1}, ConfigError),
            (App(), {"accesslog": "/nowhere/at/all"}, LogConfigurationError),
            (App(), {"logger_class": "nowhere.Logger"}, LogConfigurationError),
            (App(), {"bind": ["127.0.0.1:0", "203.0.113.1:1"]}, BindError),
            (object(), {}, ApplicationError),
        ],
    )
    def test_before_the_start(self, run: Any, app: Any, settings: dict[str, Any], error: Any) -> None:
        async def main() -> None:
            before = descriptors()
            with pytest.raises(error):
                await hypercorn.asyncio.serve(app, make_config(**settings))
            assert descriptors() == before

        run(main())
        with pytest.raises(error):
            trio.run(hypercorn.trio.serve, app, make_config(**settings))

    def test_of_the_applications_start(self, run: Any) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})

        async def main() -> None:
            before = descriptors()
            with pytest.raises(LifespanFailureError, match="no database"):
                await hypercorn.asyncio.serve(app, make_config())
            assert descriptors() == before

        run(main())
        with pytest.raises(LifespanFailureError, match="no database"):
            trio.run(hypercorn.trio.serve, app, make_config())

    def test_of_the_readiness_callback(self, run: Any) -> None:
        def ready(urls: list[str]) -> None:
            raise OSError("mine")

        async def main() -> None:
            with pytest.raises(OSError, match="mine"):
                await hypercorn.asyncio.serve(App(), make_config(), ready=ready)

        run(main())

    def test_of_listening(self, run: Any) -> None:
        class Mine(Config):
            def create_sockets(self) -> Sockets:
                self.made = [socket.socket(), socket.socket(socket.AF_UNIX)]
                self.made[0].bind(("127.0.0.1", 0))
                return Sockets([], self.made, [])  # the second is not bound

        async def main() -> None:
            config = Mine()
            with pytest.raises(OSError, match="Invalid argument"):
                await hypercorn.asyncio.serve(App(), config)
            assert [sock.fileno() for sock in config.made] == [-1, -1]

        run(main())

    def test_unix_socket_files_go(self, run: Any, tmp_path: Path) -> None:
        path = tmp_path / "socket"

        async def main() -> None:
            await hypercorn.asyncio.serve(
                App(), make_config(bind=f"unix:{path}"), shutdown_trigger=lambda: asyncio.sleep(0)
            )
            assert not path.exists()
            await worker_serve(
                App(),
                make_config(),
                sockets=make_config(bind=f"unix:{path}").create_sockets(),
                shutdown_trigger=lambda: asyncio.sleep(0),
            )
            assert path.exists()

        run(main())

    def test_the_file_of_a_successor_stays(self, run: Any, tmp_path: Path) -> None:
        path = tmp_path / "socket"

        async def main(successor: socket.socket) -> None:
            async def take_over() -> None:
                path.unlink()
                successor.bind(str(path))
                successor.listen()

            await hypercorn.asyncio.serve(App(), make_config(bind=f"unix:{path}"), shutdown_trigger=take_over)
            assert path.exists()

        with socket.socket(socket.AF_UNIX) as successor:
            run(main(successor))
