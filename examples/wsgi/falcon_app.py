"""Falcon: routing, streaming, uploads, downloads and what happens when the client leaves.

Run it with:  hypercorn --app-dir examples/wsgi falcon_app:app
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics

import falcon
from falcon import Request, Response

closed: list[str] = []


class Index:
    def on_get(self, request: Request, response: Response) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.text = "hello from Falcon"


class Item:
    def on_get(self, request: Request, response: Response, number: int) -> None:
        response.media = {"number": number, "query": request.params}


class Stream:
    def on_get(self, request: Request, response: Response) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.stream = (b"line %d\n" % number for number in range(5))


class Upload:
    def on_post(self, request: Request, response: Response) -> None:
        """Read in pieces, so that the size of the body does not matter."""
        digest, size = hashlib.sha256(), 0
        while piece := request.stream.read(65536):
            digest.update(piece)
            size += len(piece)
        response.media = {"size": size, "sha256": digest.hexdigest()}


class Form:
    def on_post(self, request: Request, response: Response) -> None:
        for part in request.get_media():
            content = part.stream.read()
            response.media = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


class File:
    def on_get(self, request: Request, response: Response) -> None:
        """A real file: Falcon hands it to `wsgi.file_wrapper`."""
        path = Path(topics.__file__)
        response.content_type = falcon.MEDIA_TEXT
        response.set_stream(path.open("rb"), path.stat().st_size)


class Redirect:
    def on_get(self, request: Request, response: Response) -> None:
        raise falcon.HTTPFound("/")


class Empty:
    def on_get(self, request: Request, response: Response) -> None:
        response.status = falcon.HTTP_204


class Unchanged:
    def on_get(self, request: Request, response: Response) -> None:
        response.status = falcon.HTTP_304
        response.etag = "one"


class Fails:
    def on_get(self, request: Request, response: Response) -> None:
        raise ArithmeticError("this is what the log should say")


class Endless:
    def on_get(self, request: Request, response: Response) -> None:
        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    yield b"more " * 4000
            finally:
                closed.append("endless")

        response.content_type = falcon.MEDIA_TEXT
        response.stream = pieces()


class Closed:
    def on_get(self, request: Request, response: Response) -> None:
        response.media = closed


app = falcon.App()
app.add_route("/", Index())
app.add_route("/items/{number:int}", Item())
app.add_route("/stream", Stream())
app.add_route("/upload", Upload())
app.add_route("/form", Form())
app.add_route("/file", File())
app.add_route("/redirect", Redirect())
app.add_route("/empty", Empty())
app.add_route("/unchanged", Unchanged())
app.add_route("/fails", Fails())
app.add_route("/endless", Endless())
app.add_route("/closed", Closed())
