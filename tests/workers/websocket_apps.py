"""The applications of the WebSocket tests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Serve = Callable[..., Any]
Message = dict[str, Any]


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
