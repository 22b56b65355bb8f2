"""Quart: routing, streaming, uploads, background tasks and state that is made at start-up.

Run it with:  hypercorn --app-dir examples quart_app:app
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from quart import Quart, Response, jsonify, request, websocket

app = Quart(__name__)
notes: list[str] = []


@app.before_serving
async def start() -> None:
    app.config["GREETING"] = "hello"


@app.get("/")
async def index() -> str:
    return f"{app.config['GREETING']} from Quart"


@app.get("/items/<int:number>")
async def item(number: int) -> Response:
    return jsonify(number=number, query=request.args.to_dict())


@app.get("/stream")
async def stream() -> Response:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"line %d\n" % number
            await asyncio.sleep(0.01)

    return Response(lines(), mimetype="text/plain")


@app.post("/upload")
async def upload() -> Response:
    digest, size = hashlib.sha256(), 0
    async for piece in request.body:
        digest.update(piece)
        size += len(piece)
    return jsonify(size=size, sha256=digest.hexdigest())


@app.post("/form")
async def form() -> Response:
    content = (await request.files)["file"].read()
    return jsonify(size=len(content), sha256=hashlib.sha256(content).hexdigest())


@app.post("/notes/<text>")
async def note(text: str) -> tuple[str, int]:
    async def keep() -> None:
        await asyncio.sleep(0.01)
        notes.append(text)

    app.add_background_task(keep)
    return "accepted", 202


@app.get("/notes")
async def list_notes() -> Response:
    return jsonify(notes)


@app.websocket("/ws")
async def echo() -> None:
    while True:
        await websocket.send(await websocket.receive())
