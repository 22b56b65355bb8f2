"""Starlette: routing, streaming, uploads, background tasks and lifespan state, on asyncio, uvloop and trio.

Run it with:  hypercorn --app-dir examples starlette_app:app
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator

import anyio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

notes: list[str] = []


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
    """What is yielded becomes the state of each request."""
    yield {"greeting": "hello"}


async def index(request: Request) -> Response:
    return PlainTextResponse(f"{request.state.greeting} from Starlette")


async def item(request: Request) -> Response:
    return JSONResponse({"number": request.path_params["number"], "query": dict(request.query_params)})


async def stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"line %d\n" % number
            await anyio.sleep(0.01)

    return StreamingResponse(lines(), media_type="text/plain")


async def upload(request: Request) -> Response:
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return JSONResponse({"size": size, "sha256": digest.hexdigest()})


async def form(request: Request) -> Response:
    async with request.form() as fields:
        file = fields["file"]
        content = file.encode() if isinstance(file, str) else await file.read()
        return JSONResponse({"size": len(content), "sha256": hashlib.sha256(content).hexdigest()})


async def note(request: Request) -> Response:
    async def keep(text: str) -> None:
        await anyio.sleep(0.01)
        notes.append(text)

    return PlainTextResponse("accepted", 202, background=BackgroundTask(keep, request.path_params["text"]))


async def list_notes(request: Request) -> Response:
    return JSONResponse(notes)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.send_text(await websocket.receive_text())


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", index),
        Route("/items/{number:int}", item),
        Route("/stream", stream),
        Route("/upload", upload, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/notes/{text}", note, methods=["POST"]),
        Route("/notes", list_notes),
        WebSocketRoute("/ws", echo),
    ],
)
