"""Litestar's WebSocket routes: parameters, dependencies, subprotocols, refusal and close codes.

Run it with:  hypercorn --app-dir examples/realtime litestar_ws_app:app
"""

from __future__ import annotations

from litestar import Litestar, WebSocket, get, websocket
from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException, WebSocketDisconnect
from litestar.handlers import BaseRouteHandler

codes: list[int] = []


def must_have_token(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
    if connection.query_params.get("token") != "good":
        raise PermissionDeniedException("no token")


@websocket("/rooms/{room:str}", guards=[must_have_token])
async def talk(socket: WebSocket, room: str) -> None:
    await socket.accept(subprotocols="json" if "json" in socket.scope["subprotocols"] else None)
    sender = socket.headers.get("x-from", "nowhere")
    await socket.send_json({"room": room, "name": "somebody", "from": sender})
    try:
        while True:
            message = await socket.receive_json()
            if message == "leave":
                await socket.close(4001, "as you wish")
                return
            await socket.send_json(message)
    except WebSocketDisconnect as gone:
        codes.append(gone.code)


@get("/codes")
async def list_codes() -> list[int]:
    return codes


app = Litestar([talk, list_codes])
