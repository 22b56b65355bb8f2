"""FastAPI: routing, streaming, uploads, background tasks and lifespan state, on asyncio, uvloop and trio.

Run it with:  hypercorn --app-dir examples fastapi_app:app
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator

import anyio
from fastapi import BackgroundTasks, FastAPI, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, StreamingResponse

notes: list[str] = []


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    """What is yielded becomes the state of each request."""
    yield {"greeting": "hello"}


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def index(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.state.greeting} from FastAPI")


@app.get("/items/{number}")
async def item(number: int, request: Request) -> dict[str, object]:
    return {"number": number, "query": dict(request.query_params)}


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"line %d\n" % number
            await anyio.sleep(0.01)

    return StreamingResponse(lines(), media_type="text/plain")


@app.post("/upload")
async def upload(request: Request) -> dict[str, object]:
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return {"size": size, "sha256": digest.hexdigest()}


@app.post("/form")
async def form(file: UploadFile) -> dict[str, object]:
    content = await file.read()
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def keep(text: str) -> None:
    """Runs in a thread after the response was sent."""
    notes.append(text)


@app.post("/notes/{text}", status_code=202)
async def note(text: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(keep, text)
    return "accepted"


@app.get("/notes")
async def list_notes() -> list[str]:
    return notes


@app.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.send_text(await websocket.receive_text())
