"""The application behind the wire tests: each path is one way in which an application may behave.

It runs on every loop, and remembers what it has met under the query string of a request: `/seen?key` tells.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Route = Callable[[Message, Receive, Send], Awaitable[None]]

_PIECE = bytes(65536)
_seen: dict[str, list[Any]] = defaultdict(list)
_mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Call what the path names: `echo` when there is nothing of that name."""
    if scope["type"] == "lifespan":
        await _lifespan(scope, receive, send)
        return
    assert scope["type"] == "http"
    name = scope["path"].strip("/").replace("-", "_")
    await _ROUTES.get(name, _echo)(scope, receive, send)


async def _lifespan(scope: Message, receive: Receive, send: Send) -> None:
    scope["state"]["from_lifespan"] = []
    _mark.set("lifespan")
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _key(scope: Message) -> str:
    return str(scope["query_string"].decode("latin-1"))


async def _answer(send: Send, body: bytes = b"ok", status: Any = 200, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body, more = body + message["body"], message["more_body"]
    return body


async def _echo(scope: Message, receive: Receive, send: Send) -> None:
    body = await _read(receive)
    if scope["path"] == "/smuggled":
        _seen["smuggled"].append(scope["raw_path"].decode())
    facts = {
        "method": scope["method"],
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "version": scope["http_version"],
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    await _answer(send, json.dumps(facts).encode())


async def _tell_seen(scope: Message, receive: Receive, send: Send) -> None:
    await _answer(send, json.dumps(_seen[_key(scope)]).encode())


async def _rss(scope: Message, receive: Receive, send: Send) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])  # noqa: ASYNC240 - it does not block
    await _answer(send, b"%d" % (pages * 4096))


# ---- responses


async def _respond(scope: Message, receive: Receive, send: Send) -> None:
    """Whatever the query asks for: a Python expression of keyword arguments to `_answer`."""
    arguments = eval(f"dict({unquote(_key(scope))})")  # The tests' own words.
    await _answer(send, **arguments)


async def _stream(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in (b"one", b"", b"two"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def _short(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"12345", "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _long(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"12345", "more_body": True})
    await send({"type": "http.response.body", "body": b"HTTP/1.1 200 OK\r\n\r\n"})


async def _early(scope: Message, receive: Receive, send: Send) -> None:
    await _answer(send)


async def _early_hint(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    await _answer(send)


async def _trailers(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
    await send({"type": "http.response.body", "body": b"body"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"42"), (b"content-length", b"9")]})


async def _trailers_only(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"5")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"grpc-message", b"none")]})


# ---- failures


async def _raise_early(scope: Message, receive: Receive, send: Send) -> None:
    raise ValueError("early")


async def _raise_between(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ValueError("between")


async def _raise_late(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
    raise ValueError("late")


async def _raise_after(scope: Message, receive: Receive, send: Send) -> None:
    await _answer(send)
    raise ValueError("after")


async def _return_early(scope: Message, receive: Receive, send: Send) -> None:
    return


async def _return_between(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


async def _no_start(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.body", "body": b"x"})


async def _double_start(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.start", "status": 404, "headers": []})


async def _send_after(scope: Message, receive: Receive, send: Send) -> None:
    await _answer(send)
    try:
        await send({"type": "http.response.body", "body": b"more"})
    except Exception as error:  # noqa: BLE001 - the test looks at it
        _seen[_key(scope)].append(type(error).__name__)


async def _exit(scope: Message, receive: Receive, send: Send) -> None:
    sys.exit(3)


async def _exit_between(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise SystemExit


class _Base(BaseException):
    pass


async def _base(scope: Message, receive: Receive, send: Send) -> None:
    raise _Base("base")


async def _base_group(scope: Message, receive: Receive, send: Send) -> None:
    raise BaseExceptionGroup("group", [SystemExit(1), ValueError("x")])


async def _generator_exit(scope: Message, receive: Receive, send: Send) -> None:
    """What becomes of a generator that is closed while it holds a group of tasks."""
    raise BaseExceptionGroup("closed", [GeneratorExit()])


async def _cancelled(scope: Message, receive: Receive, send: Send) -> None:
    raise asyncio.CancelledError


# ---- the two sides of an exchange


async def _receive_after(scope: Message, receive: Receive, send: Send) -> None:
    await _read(receive)
    await _answer(send)
    _seen[_key(scope)] += [(await receive())["type"] for _ in range(2)]


async def _wait(scope: Message, receive: Receive, send: Send) -> None:
    """Wait for the client to leave, then send until that is refused."""
    seen = _seen[_key(scope)]
    await _read(receive)
    seen.append("waiting")
    seen.append((await receive())["type"])
    try:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": _PIECE, "more_body": True})
    except OSError:
        seen.append("OSError")
        seen.append((await receive())["type"])


async def _leave_unanswered(scope: Message, receive: Receive, send: Send) -> None:
    """Wait for the client to leave, and then do not answer."""
    seen = _seen[_key(scope)]
    await _read(receive)
    seen.append("waiting")
    await receive()
    seen.append("left")


async def _leave_between(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    await _leave_unanswered(scope, receive, send)


async def _leave_with_the_error(scope: Message, receive: Receive, send: Send) -> None:
    await _leave_unanswered(scope, receive, send)
    await _answer(send)


class _LeftError(Exception):
    pass


async def _leave_with_an_error_of_its_own(scope: Message, receive: Receive, send: Send) -> None:
    """As frameworks do."""
    try:
        await _leave_with_the_error(scope, receive, send)
    except OSError:
        raise _LeftError  # noqa: B904 - without a cause, as frameworks do


async def _leave_with_a_mistake(scope: Message, receive: Receive, send: Send) -> None:
    try:
        await _leave_with_the_error(scope, receive, send)
    except OSError:
        raise ZeroDivisionError  # noqa: B904 - as mistakes happen


async def _body_then_gone(scope: Message, receive: Receive, send: Send) -> None:
    seen = _seen[_key(scope)]
    seen.append("entered")
    while True:
        message = await receive()
        seen.append(message["type"])
        if message["type"] == "http.disconnect":
            return


async def _download(scope: Message, receive: Receive, send: Send) -> None:
    """As many bytes as the query says."""
    seen = _seen["download?" + _key(scope)]
    seen[:] = [0]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    left, sent = int(_key(scope)), 0
    try:
        while left:
            piece = _PIECE[:left]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            left -= len(piece)
            sent += len(piece)
            seen[0] = sent
        await send({"type": "http.response.body"})
    except OSError:
        seen.append("OSError")


async def _count(scope: Message, receive: Receive, send: Send) -> None:
    size, most, more = 0, 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
        most = max(most, len(message["body"]))
    await _answer(send, b"%d %d" % (size, most))


async def _never_read(scope: Message, receive: Receive, send: Send) -> None:
    """Take one piece of the body, then no more until the client is gone or `/release` was asked for."""
    await receive()
    _seen["released"].clear()
    while not _seen["released"]:
        await _sleep(0.02)
    await _count(scope, receive, send)


async def _flood(scope: Message, receive: Receive, send: Send) -> None:
    """Send as fast as it goes until `/release` was asked for."""
    _seen["released"].clear()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while not _seen["released"]:
        await send({"type": "http.response.body", "body": _PIECE, "more_body": True})
    await send({"type": "http.response.body"})


async def _release(scope: Message, receive: Receive, send: Send) -> None:
    _seen["released"].append(True)
    await _answer(send)


async def _slow(scope: Message, receive: Receive, send: Send) -> None:
    await _sleep(0.7)
    await _read(receive)
    await _answer(send)


async def _big(scope: Message, receive: Receive, send: Send) -> None:
    await _answer(send, bytes(20_000))


async def _context(scope: Message, receive: Receive, send: Send) -> None:
    before = _mark.get()
    _mark.set("from " + _key(scope))
    await _read(receive)
    await _answer(send, before.encode())


async def _state(scope: Message, receive: Receive, send: Send) -> None:
    state = scope["state"]
    found = sorted(state)
    state["mine"] = 1
    state["from_lifespan"].append(1)
    await _answer(send, json.dumps([found, len(state["from_lifespan"])]).encode())


async def _both_ways(scope: Message, receive: Receive, send: Send) -> None:
    """Send back each piece of the body as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def _two_tasks(scope: Message, receive: Receive, send: Send) -> None:
    """One task sends for ever, one waits for the end of the client."""
    seen = _seen[_key(scope)]
    stopped: list[str] = []

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        seen.append("receive")

    async def produce() -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while not stopped:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                await _sleep(0.005)
        except OSError:
            seen.append("send")

    await _gather(watch, produce)


async def _sleep(seconds: float) -> None:
    if _is_trio():
        import trio

        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


async def _gather(*functions: Callable[[], Awaitable[None]]) -> None:
    if _is_trio():
        import trio

        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)
    else:
        await asyncio.gather(*(function() for function in functions))


def _is_trio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


_ROUTES: dict[str, Route] = {
    "seen": _tell_seen,
    **{
        name[1:]: value
        for name, value in list(globals().items())
        if name.startswith("_") and not name.startswith("__") and asyncio.iscoroutinefunction(value)
    },
}
