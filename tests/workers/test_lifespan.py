"""Lifespan: what counts as support, as failure, and what an operator is told; the same on every loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hypercorn.workers.errors import LifespanFailureError, LifespanTimeoutError

Serve = Callable[..., Any]
Message = dict[str, Any]


async def answer(send: Any, text: str = "ok") -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


def get(server: Any) -> bytes:
    client = server.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    body: bytes = client.response()[2]
    return body


def test_state_reaches_each_request_as_a_copy(serve: Serve) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            scope["state"]["made"] = "at start"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        text = scope["state"]["made"] + scope["state"].get("changed", "")
        scope["state"]["changed"] = " and later"
        await answer(send, text)

    server = serve(app)
    assert get(server) == b"at start"
    assert get(server) == b"at start"
    server.stop()
    server.join()
    assert server.error is None


def test_shutdown_runs_after_the_last_request(serve: Serve) -> None:
    order: list[str] = []
    in_request = threading.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            order.append("shutdown")
            await send({"type": "lifespan.shutdown.complete"})
            return
        in_request.set()
        await receive()
        order.append("request")
        await answer(send)

    server = serve(app)
    client = server.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
    assert in_request.wait(10)
    server.stop()
    client.send(b"x")
    assert client.response()[0] == 200
    client.close()
    server.join()
    assert order == ["request", "shutdown"]


async def only_http(scope: Message, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise ValueError("only http here")
    await answer(send)


async def everything_is_a_request(scope: Message, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await answer(send)


@pytest.mark.parametrize(
    ("app", "said"), [(only_http, "only http here"), (everything_is_a_request, "http.response.start")]
)
@pytest.mark.parametrize("lifespan", ["auto", "on"])
def test_an_application_that_does_not_know_lifespan(
    serve: Serve, app: Callable[..., Any], said: str, lifespan: str
) -> None:
    server = serve(app, lifespan=lifespan)
    if lifespan == "auto":
        assert get(server) == b"ok"
    else:
        server.join()
        assert isinstance(server.error, LifespanFailureError)
        assert said in str(server.error)


def test_lifespan_can_be_switched_off(serve: Serve) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await answer(send)

    assert get(serve(app, lifespan="off")) == b"ok"


@pytest.mark.parametrize("stage", ["startup", "shutdown"])
@pytest.mark.parametrize("kind", ["raises", "exits", "says so", "hangs"])
@pytest.mark.parametrize("lifespan", ["auto", "on"])
def test_failures_are_raised_with_their_stage(serve: Serve, stage: str, kind: str, lifespan: str) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for now in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{now}"
            if now != stage:
                await send({"type": f"lifespan.{now}.complete"})
            elif kind == "raises":
                raise RuntimeError("no database")
            elif kind == "exits":
                sys.exit("no database")
            elif kind == "says so":
                await send({"type": f"lifespan.{now}.failed", "message": "no database"})
                return
            else:
                await receive()

    timeouts = {"startup_timeout": 10.0, "shutdown_timeout": 10.0}
    if kind == "hangs":
        timeouts[f"{stage}_timeout"] = 0.05
    server = serve(app, lifespan=lifespan, **timeouts)
    if stage == "shutdown":
        server.stop()
    server.join()
    assert isinstance(server.error, LifespanTimeoutError if kind == "hangs" else LifespanFailureError)
    assert stage in str(server.error)
    assert kind == "hangs" or "no database" in str(server.error)


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"], indirect=True)
@pytest.mark.parametrize("stage", ["startup", "shutdown"])
def test_awaiting_what_is_cancelled_is_a_failure(serve: Serve, stage: str) -> None:
    """On trio nothing is cancelled but from outside."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for now in ("startup", "shutdown"):
            await receive()
            if now == stage:
                connecting = asyncio.get_running_loop().create_future()
                connecting.cancel()
                await connecting
            await send({"type": f"lifespan.{now}.complete"})

    server = serve(app)
    server.stop()
    server.join()
    assert isinstance(server.error, LifespanFailureError)
    assert server.error.stage == stage
