"""Django (ASGI) in one file: routing, streaming, uploads and work that goes on after the response.

Django's ASGI handler has no lifespan; the server notices and serves all the same (`--lifespan auto`).

Run it with:  hypercorn --app-dir examples django_app:app
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=64 * 1024 * 1024,
    ROOT_URLCONF=__name__,
    SECRET_KEY="an example needs no secret",
)

notes: list[str] = []
tasks: set[asyncio.Task[None]] = set()


async def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello from Django", content_type="text/plain")


async def item(request: HttpRequest, number: int) -> HttpResponse:
    return JsonResponse({"number": number, "query": request.GET.dict()})


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"line %d\n" % number
            await asyncio.sleep(0.01)

    return StreamingHttpResponse(lines(), content_type="text/plain")


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    """Synchronous on purpose: Django runs it in a thread."""
    content = request.body
    return JsonResponse({"size": len(content), "sha256": hashlib.sha256(content).hexdigest()})


@csrf_exempt
async def form(request: HttpRequest) -> HttpResponse:
    content = request.FILES["file"].read()
    return JsonResponse({"size": len(content), "sha256": hashlib.sha256(content).hexdigest()})


@csrf_exempt
async def note(request: HttpRequest, text: str) -> HttpResponse:
    async def keep() -> None:
        await asyncio.sleep(0.01)
        notes.append(text)

    task = asyncio.create_task(keep())
    tasks.add(task)  # a task that nobody holds may be collected
    task.add_done_callback(tasks.discard)
    return HttpResponse("accepted", status=202)


async def list_notes(request: HttpRequest) -> HttpResponse:
    return JsonResponse(notes, safe=False)


urlpatterns = [
    path("", index),
    path("items/<int:number>", item),
    path("stream", stream),
    path("upload", upload),
    path("form", form),
    path("notes/<str:text>", note),
    path("notes", list_notes),
]

app = get_asgi_application()
