"""Litestar: routing, streaming, uploads, background tasks and state that is made at start-up, on asyncio, uvloop and trio.

Run it with:  hypercorn --app-dir examples litestar_app:app
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from litestar import Litestar, MediaType, Request, Response, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import State, UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import WebSocketDisconnect
from litestar.params import Body
from litestar.response import Stream

notes: list[str] = []


async def start(app: Litestar) -> None:
    app.state.greeting = "hello"


@get("/", media_type=MediaType.TEXT)
async def index(state: State) -> str:
    return f"{state.greeting} from Litestar"


@get("/items/{number:int}")
async def item(number: int, request: Request) -> dict[str, object]:
    return {"number": number, "query": dict(request.query_params)}


@get("/stream")
async def stream() -> Stream:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"line %d\n" % number
            await anyio.sleep(0.01)

    return Stream(lines(), media_type="text/plain")


@post("/upload", status_code=200)
async def upload(request: Request) -> dict[str, object]:
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return {"size": size, "sha256": digest.hexdigest()}


@post("/form", status_code=200)
async def form(
    data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)],
) -> dict[str, object]:
    content = await data["file"].read()
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


async def keep(text: str) -> None:
    await anyio.sleep(0.01)
    notes.append(text)


@post("/notes/{text:str}")
async def note(text: str) -> Response[str]:
    return Response("accepted", status_code=202, background=BackgroundTask(keep, text))


@get("/notes")
async def list_notes() -> list[str]:
    return notes


@websocket("/ws")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.send_text(await socket.receive_text())


app = Litestar(
    [index, item, stream, upload, form, note, list_notes, echo],
    on_startup=[start],
    # More than the tests upload; Litestar's own default is 10 MB.
    request_max_body_size=64 * 1024 * 1024,
)
