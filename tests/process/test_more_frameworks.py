"""Sockets, events and subscriptions: `examples/realtime/` served by the command and used with their own clients."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "realtime"
PATIENCE = 30

ServeCommand = Callable[..., AbstractContextManager[Any]]


def served(
    serve_command: ServeCommand, framework: str, target: str, loop: str
) -> AbstractContextManager[Any]:
    pytest.importorskip(framework, reason=f"{framework} is not installed: pip install --group frameworks")
    return serve_command("-k", loop, "-w", "1", "--app-dir", str(EXAMPLES), f"{target}_app:app")


def socket(server: Any, path: str, **options: Any) -> ClientConnection:
    url = server.url.replace("http://", "ws://") + path
    return connect(url, proxy=None, open_timeout=PATIENCE, close_timeout=PATIENCE, **options)


def client(server: Any) -> httpx.Client:
    return httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE)


def hear(connection: ClientConnection) -> Any:
    return json.loads(connection.recv(PATIENCE))


def await_answer(server: Any, path: str, is_good: Callable[[Any], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    with client(server) as http:
        while not is_good(http.get(path).json()):
            assert time.monotonic() < deadline, f"{path} does not say what it should"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_socketio(serve_command: ServeCommand, loop: str) -> None:
    socketio = pytest.importorskip("socketio", reason="python-socketio is not installed")
    pytest.importorskip("aiohttp", reason="aiohttp, which python-socketio's client needs, is not installed")

    @asynccontextmanager
    async def connected(url: str, transports: list[str]) -> AsyncIterator[Any]:
        async with socketio.AsyncSimpleClient() as one:
            await one.connect(url, transports=transports)
            yield one

    async def use(url: str) -> None:
        for transports in (["polling"], ["websocket"], ["polling", "websocket"]):
            async with connected(url, transports) as one, connected(url, ["websocket"]) as other:
                assert await one.call("greet", "ü") == "hello ü"
                for each in (one, other):
                    await each.emit("join", "room")
                    await each.call("greet", "after the room is joined")
                await one.emit("say", {"room": "room", "content": "x" * 100_000})
                await one.emit("say", {"room": "room", "content": b"\x00\xff"})
                for each in (one, other):
                    assert await each.receive(PATIENCE) == ["said", "x" * 100_000]
                    assert await each.receive(PATIENCE) == ["said", b"\x00\xff"]
                if transports == ["polling"]:
                    # Or it would wait half a minute for its open poll.
                    await one.client.eio.disconnect(abort=True)

    with served(serve_command, "socketio", "socketio", loop) as server:
        asyncio.run(use(server.url))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_channels(serve_command: ServeCommand, loop: str) -> None:
    with served(serve_command, "channels", "channels", loop) as server:
        with (
            socket(server, "/rooms/one", subprotocols=["chat"]) as one,
            socket(server, "/rooms/one") as other,
        ):
            assert (one.subprotocol, other.subprotocol) == ("chat", None)
            assert hear(one) == hear(other) == {"joined": "one"}
            one.send(json.dumps("ü" * 50_000))
            assert hear(one) == hear(other) == {"said": "ü" * 50_000}
            with client(server) as http:
                assert http.get("/say/one/over-http").text == "sent"
            assert hear(one) == hear(other) == {"said": "over-http"}
            other.send(json.dumps("leave"))
            with pytest.raises(ConnectionClosedError) as closed:
                other.recv(PATIENCE)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001
        with pytest.raises(InvalidStatus) as refused:
            socket(server, "/rooms/closed")
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("protocol", "data", "subscribe"),
    [("graphql-transport-ws", "next", "subscribe"), ("graphql-ws", "data", "start")],
)
def test_strawberry(serve_command: ServeCommand, protocol: str, data: str, subscribe: str) -> None:
    with served(serve_command, "strawberry", "strawberry", "uvloop") as server:
        with client(server) as http:
            answer = http.post("/", json={"query": '{ greeting(name: "you") }'})
            assert answer.json()["data"] == {"greeting": "hello you"}
        with socket(server, "/", subprotocols=[protocol]) as one:
            assert one.subprotocol == protocol
            one.send(json.dumps({"type": "connection_init"}))
            assert hear(one)["type"] == "connection_ack"
            query = {"query": "subscription { count(to: 20) }"}
            one.send(json.dumps({"id": "1", "type": subscribe, "payload": query}))
            messages = [hear(one) for _ in range(21)]
            assert [m["payload"]["data"]["count"] for m in messages if m["type"] == data] == list(range(20))
            assert messages[-1]["type"] == "complete"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_server_sent_events(serve_command: ServeCommand, loop: str) -> None:
    httpx_sse = pytest.importorskip("httpx_sse", reason="httpx-sse is not installed")
    with served(serve_command, "sse_starlette", "sse", loop) as server:
        with client(server) as http:
            for fields, first in (({}, 0), ({"last-event-id": "41"}, 42)):
                with httpx_sse.connect_sse(http, "GET", "/events", headers=fields) as source:
                    events = source.iter_sse()
                    for number in range(first, first + 5):
                        event = next(events)
                        assert (event.event, event.id, event.data) == (
                            "count",
                            str(number),
                            f"number {number}",
                        )
        await_answer(server, "/ended", lambda ended: len(ended) == 2)


@pytest.mark.parametrize("framework", ["fastapi", "litestar"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_websocket_routes(serve_command: ServeCommand, framework: str, loop: str) -> None:
    with served(serve_command, framework, f"{framework}_ws", loop) as server:
        fields = {"x-from": "here"}
        path = "/rooms/one?token=good"
        with socket(server, path, subprotocols=["json"], additional_headers=fields) as one:
            assert one.subprotocol == "json"
            assert hear(one) == {"room": "one", "name": "somebody", "from": "here"}
            for message in ({"a": [1, None, "ü"]}, "x" * 100_000):
                one.send(json.dumps(message))
                assert hear(one) == message
            one.close(4321)
        with socket(server, path) as other:
            assert hear(other)["from"] == "nowhere"
            other.send('"leave"')
            with pytest.raises(ConnectionClosedError) as closed:
                other.recv(PATIENCE)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")
        with pytest.raises(InvalidStatus) as refused:
            socket(server, "/rooms/one?token=bad")
        assert refused.value.response.status_code == 403
        await_answer(server, "/codes", lambda codes: codes == [4321])


def test_quart_run() -> None:
    """`app.run()`: Quart's own way, which is this package's `serve` with a trigger of Quart's.

    Without Quart's reloader, which may start a second process that outlives the first.
    """
    pytest.importorskip("quart", reason="quart is not installed: pip install --group frameworks")
    program = f"import sys; sys.path.insert(0, {str(EXAMPLES.parent)!r}); import quart_app; quart_app.app.logger.setLevel('INFO'); quart_app.app.run(port=0, use_reloader=False)"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        log: list[str] = []
        for line in process.stderr:
            log.append(line)
            if found := re.search(r"Running on http://127\.0\.0\.1:([1-9]\d*)", line):
                break
        else:
            pytest.fail("".join(log))
        url = f"//127.0.0.1:{found[1]}"
        assert httpx.get(f"http:{url}/", trust_env=False, timeout=PATIENCE).text == "hello from Quart"
        with connect(f"ws:{url}/ws", proxy=None) as one:
            one.send("hello")
            assert one.recv(PATIENCE) == "hello"
        process.terminate()
        process.wait(PATIENCE)
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
