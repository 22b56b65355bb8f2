"""The application behind `test_http2_wire.py`: `/hold` waits until the client has gone.

`/endless` sends until then, `/push` pushes, `/early` answers before it has read the body, anything else after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Read the body, then answer in five bytes; accept a WebSocket and wait for its end."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    assert scope["type"] == "http"
    more = scope["path"] != "/early"
    while more or scope["path"] == "/hold":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
    extensions = ",".join(sorted(scope["extensions"])).encode()
    fields = [(b"x-version", scope["http_version"].encode()), (b"x-extensions", extensions)]
    if scope["path"] == "/push":
        await send({"type": "http.response.push", "path": "/pushed é?a=%41", "headers": []})
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    while scope["path"] == "/endless":
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
    await send({"type": "http.response.body", "body": b"hello"})
