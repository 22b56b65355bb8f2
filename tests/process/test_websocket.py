"""WebSockets of a real process: what a signal tells both sides, and the client of `websockets`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

Start = Callable[..., Any]

LOOPS = ("asyncio", "uvloop", "trio")

APPLICATION = """
import sys

async def app(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"], "bytes": message["bytes"]})
    sys.stderr.write("told " + str(message["code"]) + chr(10))  # at once: the arbiter writes there, too
"""


@pytest.fixture(autouse=True)
def _echo(application: Path) -> None:
    (application / "app.py").write_text(APPLICATION)


@contextmanager
def client_of(server: Any, **options: Any) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{server.port()}/", proxy=None, max_size=None, **options) as client:
        yield client


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGHUP, CloseCode.SERVICE_RESTART),
        (signal.SIGUSR1, CloseCode.SERVICE_RESTART),
        (signal.SIGTERM, CloseCode.GOING_AWAY),
        (signal.SIGINT, CloseCode.GOING_AWAY),
    ],
)
def test_a_signal_tells_both_sides(start: Start, loop: str, number: signal.Signals, code: CloseCode) -> None:
    server = start("-k", loop, "-w", "1")
    with client_of(server) as client:
        client.send("before")
        assert client.recv() == "before"
        server.signal(number)
        with pytest.raises(ConnectionClosed) as caught:
            client.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == code
    server.wait_for(f"told {int(code)}$")
    if code is CloseCode.SERVICE_RESTART:
        with client_of(server) as client:
            client.send("after")
            assert client.recv() == "after"
    else:
        assert server.ends() == 0


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("loop", LOOPS)
def test_the_client_of_websockets(start: Start, loop: str, compression: Any) -> None:
    with client_of(start("-k", loop, "-w", "1"), compression=compression) as client:
        messages = ["", "text €", b"", os.urandom(70_000), "long " * 50_000, os.urandom(3_000_000)]
        for message in messages:
            client.send(message)
            assert client.recv() == message
        client.send(["in ", "three ", "fragments"])
        assert client.recv() == "in three fragments"
        client.send([b"a", os.urandom(0), b"b" * 100_000])
        assert client.recv() == b"a" + b"b" * 100_000
        assert client.ping(b"are you there").wait(30)
        for message in messages:
            client.send(message)
        assert [client.recv() for _ in messages] == messages
        client.close(4321, "enough")
        assert client.protocol.close_code == 4321
