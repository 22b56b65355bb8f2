"""Bottle: routing, streaming, uploads, downloads and what happens when the client leaves.

Run it with:  hypercorn --app-dir examples/wsgi bottle_app:app
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics
from typing import Any

from bottle import Bottle, redirect, request, response, static_file

app = Bottle()
closed: list[str] = []


@app.get("/")
def index() -> str:
    response.content_type = "text/plain"
    return "hello from Bottle"


@app.get("/items/<number:int>")
def item(number: int) -> dict[str, Any]:
    return {"number": number, "query": {name: request.query.getunicode(name) for name in request.query}}


@app.get("/stream")
def stream() -> Iterator[str]:
    response.content_type = "text/plain"
    for number in range(5):
        yield f"line {number}\n"


@app.post("/upload")
def upload() -> dict[str, Any]:
    """Read in pieces, so that the size of the body does not matter; `request.body` would gather it."""
    digest, size = hashlib.sha256(), 0
    while piece := request.environ["wsgi.input"].read(65536):
        digest.update(piece)
        size += len(piece)
    return {"size": size, "sha256": digest.hexdigest()}


@app.post("/form")
def form() -> dict[str, Any]:
    content = request.files["file"].file.read()
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@app.get("/file")
def file() -> Any:
    """A real file: Bottle hands it to `wsgi.file_wrapper`."""
    path = Path(topics.__file__)
    return static_file(path.name, root=path.parent, mimetype="text/plain")


@app.get("/redirect")
def elsewhere() -> None:
    redirect("/", 302)


@app.get("/empty")
def empty() -> None:
    response.status = 204


@app.get("/unchanged")
def unchanged() -> None:
    response.status = 304
    response.set_header("etag", '"one"')


@app.get("/fails")
def fails() -> None:
    raise ArithmeticError("this is what the log should say")


@app.get("/endless")
def endless() -> Iterator[bytes]:
    response.content_type = "text/plain"
    try:
        while True:
            yield b"more " * 4000
    finally:
        closed.append("endless")


@app.get("/closed")
def list_closed() -> str:
    response.content_type = "application/json"
    return json.dumps(closed)
