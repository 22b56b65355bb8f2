"""The worker functions that other programs call in processes (here: the main thread) of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hypercorn.asyncio.run import asyncio_worker, uvloop_worker
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import trio_worker
from hypercorn.workers.application import ApplicationError

Worker = Callable[..., None]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    module = types.ModuleType("served_by_a_worker")
    module.app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Config.from_mapping(
        bind="127.0.0.1:0", errorlog=None, application_path="served_by_a_worker:app", debug=True
    )


@pytest.fixture
def asking() -> Iterator[Callable[[Sockets, Callable[[], object]], None]]:
    """In a thread: ask whoever accepts from the socket, then call back."""
    threads: list[threading.Thread] = []

    def ask(sockets: Sockets, then: Callable[[], object]) -> None:
        (sock,) = sockets.insecure_sockets
        sock.listen()  # so that it may ask before the worker is up
        address = sock.getsockname()

        def run() -> None:
            with socket.create_connection(address, timeout=10) as client:
                client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                while client.recv(4096):
                    pass
            then()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield ask
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("worker", [asyncio_worker, uvloop_worker, trio_worker])
class TestWorkers:
    def test_until_the_event_is_set(self, worker: Worker, config: Config, asking: Any) -> None:
        stop = multiprocessing.get_context("spawn").Event()
        sockets = config.create_sockets()
        asking(sockets, stop.set)
        worker(config, sockets, stop)
        assert sockets.insecure_sockets[0].fileno() == -1

    def test_until_a_signal(self, worker: Worker, config: Config, asking: Any) -> None:
        sockets = config.create_sockets()
        asking(sockets, lambda: os.kill(os.getpid(), signal.SIGINT))
        worker(config, sockets)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_without_an_application(self, worker: Worker, config: Config) -> None:
        config.application_path = "nowhere_at_all:app"
        with pytest.raises(ApplicationError, match="nowhere_at_all"):
            worker(config)
