"""The one application that every server serves. It does as little as an ASGI application can."""

from typing import Any

SMALL = b"Hello, world!"
LARGE = b"x" * 100_000
PIECE = b"y" * 512
PIECES = 20

PLAIN = (b"content-type", b"text/plain")
SMALL_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [PLAIN, (b"content-length", b"%d" % len(SMALL))],
}
LARGE_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [PLAIN, (b"content-length", b"%d" % len(LARGE))],
}
STREAM_HEAD = {"type": "http.response.start", "status": 200, "headers": [PLAIN]}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """`/` 13 bytes, `/large` 100 KB, `/stream` 20 pieces, `/upload` reads the body; WebSockets echo."""
    if scope["type"] == "http":
        path = scope["path"]
        if path == "/stream":
            await stream(send)
        elif path == "/large":
            await send(LARGE_HEAD)
            await send({"type": "http.response.body", "body": LARGE})
        else:
            if path == "/upload":
                while (await receive()).get("more_body"):
                    pass
            await send(SMALL_HEAD)
            await send({"type": "http.response.body", "body": SMALL})
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        await lifespan(receive, send)


async def stream(send: Any) -> None:
    """Twenty pieces, one call each."""
    await send(STREAM_HEAD)
    for _ in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body"})


async def echo(receive: Any, send: Any) -> None:
    """Binary messages go back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


async def lifespan(receive: Any, send: Any) -> None:
    """Agree to both."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
