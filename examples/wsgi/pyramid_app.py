"""Pyramid: routing, streaming, uploads, downloads and what happens when the client leaves.

Run it with:  hypercorn --app-dir examples/wsgi pyramid_app:app
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pydoc_data import topics
from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound, HTTPNoContent, HTTPNotModified
from pyramid.request import Request
from pyramid.response import FileResponse, Response

closed: list[str] = []


def index(request: Request) -> Response:
    return Response("hello from Pyramid", content_type="text/plain")


def item(request: Request) -> Response:
    return Response(json={"number": int(request.matchdict["number"]), "query": dict(request.GET)})


def stream(request: Request) -> Response:
    return Response(app_iter=(b"line %d\n" % number for number in range(5)), content_type="text/plain")


def upload(request: Request) -> Response:
    """Read in pieces, so that the size of the body does not matter."""
    digest, size = hashlib.sha256(), 0
    while piece := request.body_file.read(65536):
        digest.update(piece)
        size += len(piece)
    return Response(json={"size": size, "sha256": digest.hexdigest()})


def form(request: Request) -> Response:
    content = request.POST["file"].file.read()
    return Response(json={"size": len(content), "sha256": hashlib.sha256(content).hexdigest()})


def file(request: Request) -> Response:
    """A real file: Pyramid hands it to `wsgi.file_wrapper`."""
    return FileResponse(topics.__file__, request, content_type="text/plain")


def elsewhere(request: Request) -> Response:
    return HTTPFound("/")


def empty(request: Request) -> Response:
    return HTTPNoContent()


def unchanged(request: Request) -> Response:
    return HTTPNotModified(etag="one")


def fails(request: Request) -> Response:
    """Pyramid leaves it to the server to answer this one."""
    raise ArithmeticError("this is what the log should say")


def endless(request: Request) -> Response:
    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"more " * 4000
        finally:
            closed.append("endless")

    return Response(app_iter=pieces(), content_type="text/plain")


def list_closed(request: Request) -> Response:
    return Response(json=closed)


VIEWS: dict[str, Callable[[Any], Response]] = {
    "/": index,
    r"/items/{number:\d+}": item,
    "/stream": stream,
    "/upload": upload,
    "/form": form,
    "/file": file,
    "/redirect": elsewhere,
    "/empty": empty,
    "/unchanged": unchanged,
    "/fails": fails,
    "/endless": endless,
    "/closed": list_closed,
}

with Configurator() as config:
    for pattern, view in VIEWS.items():
        config.add_route(view.__name__, pattern)
        config.add_view(view, route_name=view.__name__)
    app = config.make_wsgi_app()
