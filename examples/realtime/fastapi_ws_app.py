"""FastAPI's WebSocket routes: parameters, dependencies, subprotocols, refusal and close codes.

Run it with:  hypercorn --app-dir examples/realtime fastapi_ws_app:app
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Header, WebSocket, WebSocketDisconnect, WebSocketException

app = FastAPI()
codes: list[int] = []


async def user(token: str = "") -> str:
    if token != "good":
        raise WebSocketException(1008, "no token")
    return "somebody"


@app.websocket("/rooms/{room}")
async def talk(
    websocket: WebSocket,
    room: str,
    name: Annotated[str, Depends(user)],
    x_from: Annotated[str, Header()] = "nowhere",
) -> None:
    await websocket.accept(subprotocol="json" if "json" in websocket.scope["subprotocols"] else None)
    await websocket.send_json({"room": room, "name": name, "from": x_from})
    try:
        while True:
            message = await websocket.receive_json()
            if message == "leave":
                await websocket.close(4001, "as you wish")
                return
            await websocket.send_json(message)
    except WebSocketDisconnect as gone:
        codes.append(gone.code)


@app.get("/codes")
async def list_codes() -> list[int]:
    return codes
