"""sse-starlette: server-sent events, and how the application learns that nobody listens any more.

Run it with:  hypercorn --app-dir examples/realtime sse_app:app
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ended: list[str] = []


async def events(request: Request) -> Response:
    start = int(request.headers.get("last-event-id", "-1")) + 1

    async def count() -> AsyncIterator[dict[str, Any]]:
        try:
            number = start
            while True:
                yield {"event": "count", "id": str(number), "data": f"number {number}"}
                number += 1
                await anyio.sleep(0.01)
        finally:
            ended.append("events")

    return EventSourceResponse(count())


async def list_ended(request: Request) -> Response:
    return JSONResponse(ended)


app = Starlette(routes=[Route("/events", events), Route("/ended", list_ended)])
