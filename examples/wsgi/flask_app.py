"""Flask: routing, streaming, uploads, downloads and what happens when the client leaves.

Run it with:  hypercorn --app-dir examples/wsgi flask_app:app
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pydoc_data import topics

from flask import Flask, Response, jsonify, redirect, request, send_file
from werkzeug.wrappers import Response as AnyResponse

app = Flask(__name__)
closed: list[str] = []


@app.get("/")
def index() -> str:
    return "hello from Flask"


@app.get("/items/<int:number>")
def item(number: int) -> Response:
    return jsonify(number=number, query=request.args.to_dict())


@app.get("/stream")
def stream() -> Response:
    return Response((f"line {number}\n" for number in range(5)), mimetype="text/plain")


@app.post("/upload")
def upload() -> Response:
    """Read in pieces, so that the size of the body does not matter."""
    digest, size = hashlib.sha256(), 0
    while piece := request.stream.read(65536):
        digest.update(piece)
        size += len(piece)
    return jsonify(size=size, sha256=digest.hexdigest())


@app.post("/form")
def form() -> Response:
    content = request.files["file"].read()
    return jsonify(size=len(content), sha256=hashlib.sha256(content).hexdigest())


@app.get("/file")
def file() -> AnyResponse:
    """A real file: Flask hands it to `wsgi.file_wrapper`."""
    return send_file(topics.__file__, mimetype="text/plain", conditional=False)


@app.get("/redirect")
def elsewhere() -> AnyResponse:
    return redirect("/")


@app.get("/empty")
def empty() -> tuple[str, int]:
    return "", 204


@app.get("/unchanged")
def unchanged() -> tuple[str, int, dict[str, str]]:
    return "", 304, {"etag": '"one"'}


@app.get("/fails")
def fails() -> str:
    raise ArithmeticError("this is what the log should say")


@app.get("/endless")
def endless() -> Response:
    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"more " * 4000
        finally:
            closed.append("endless")

    return Response(pieces(), mimetype="text/plain")


@app.get("/closed")
def list_closed() -> Response:
    return jsonify(closed)
