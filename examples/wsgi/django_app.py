"""Django (WSGI) in one file: routing, streaming, uploads, downloads and what happens when the client leaves.

Run it with:  hypercorn --app-dir examples/wsgi django_app:app
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="an example needs no secret",
)

closed: list[str] = []


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello from Django", content_type="text/plain")


def item(request: HttpRequest, number: int) -> HttpResponse:
    return JsonResponse({"number": number, "query": request.GET.dict()})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse((f"line {number}\n" for number in range(5)), content_type="text/plain")


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    """Read in pieces, so that the size of the body does not matter."""
    digest, size = hashlib.sha256(), 0
    while piece := request.read(65536):
        digest.update(piece)
        size += len(piece)
    return JsonResponse({"size": size, "sha256": digest.hexdigest()})


@csrf_exempt
def form(request: HttpRequest) -> HttpResponse:
    content = request.FILES["file"].read()
    return JsonResponse({"size": len(content), "sha256": hashlib.sha256(content).hexdigest()})


def file(request: HttpRequest) -> FileResponse:
    """A real file: Django hands it to `wsgi.file_wrapper`."""
    return FileResponse(Path(topics.__file__).open("rb"), content_type="text/plain")


def elsewhere(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/")


def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


def unchanged(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=304, headers={"etag": '"one"'})


def fails(request: HttpRequest) -> HttpResponse:
    raise ArithmeticError("this is what the log should say")


def endless(request: HttpRequest) -> StreamingHttpResponse:
    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"more " * 4000
        finally:
            closed.append("endless")

    return StreamingHttpResponse(pieces(), content_type="text/plain")


def list_closed(request: HttpRequest) -> HttpResponse:
    return JsonResponse(closed, safe=False)


urlpatterns = [
    path("", index),
    path("items/<int:number>", item),
    path("stream", stream),
    path("upload", upload),
    path("form", form),
    path("file", file),
    path("redirect", elsewhere),
    path("empty", empty),
    path("unchanged", unchanged),
    path("fails", fails),
    path("endless", endless),
    path("closed", list_closed),
]

app = get_wsgi_application()
