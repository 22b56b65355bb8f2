"""The applications of the WebSocket tests, and what their clients send by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
from websockets.sync.client import ClientConnection

Serve = Callable[..., Any]
Message = dict[str, Any]
Connect = Callable[..., ClientConnection]

HANDSHAKE = (
    b"GET /path%20x?q=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def echo(scope: Message, receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"], "text": message["text"]})


class Recorder:
    """An application that accepts, notes what it receives and does what it is told."""

    def __init__(self, *answers: Message, after: Callable[[Any, Any], Any] | None = None) -> None:
        self.scope: Message = {}
        self.messages: list[Message] = []
        self.errors: list[BaseException] = []
        self.ended = threading.Event()
        self._answers = answers or ({"type": "websocket.accept"},)
        self._after = after

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        self.scope = scope
        try:
            assert await receive() == {"type": "websocket.connect"}
            for answer in self._answers:
                await send(answer)
            if self._after is not None:
                await self._after(receive, send)
            while not self.messages or self.messages[-1]["type"] != "websocket.disconnect":
                self.messages.append(await receive())
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            self.ended.set()


def masked(first: int, payload: bytes) -> bytes:
    """A short frame with a key that changes nothing."""
    return bytes([first, 128 | len(payload), 0, 0, 0, 0]) + payload


async def pause() -> None:
    """Let the client act."""
    await anyio.sleep(0.01)
