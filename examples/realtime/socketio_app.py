"""python-socketio's ASGI server: long-polling and WebSocket behind one address.

Run it with:  hypercorn --app-dir examples/realtime socketio_app:app
"""

from __future__ import annotations

from typing import Any

import socketio

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")


@server.event
async def greet(client: str, name: str) -> str:
    """What is returned is the acknowledgement."""
    return f"hello {name}"


@server.event
async def join(client: str, room: str) -> None:
    await server.enter_room(client, room)


@server.event
async def say(client: str, data: dict[str, Any]) -> None:
    await server.emit("said", data["content"], room=data["room"])


app = socketio.ASGIApp(server)
