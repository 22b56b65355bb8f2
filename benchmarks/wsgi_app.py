"""The WSGI counterpart of `app.py`. It does as little as a WSGI application can."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

SMALL = b"Hello, world!"
SMALL_FIELDS = [("content-type", "text/plain"), ("content-length", str(len(SMALL)))]
PIECES = [b"y" * 512] * 20


def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """`/` 13 bytes, `/stream` 20 pieces, `/upload` reads the body."""
    path = environ["PATH_INFO"]
    if path == "/stream":
        start_response("200 OK", [("content-type", "text/plain")])
        return iter(PIECES)
    if path == "/upload":
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    # A list of its own each time, as frameworks make it: servers may change it.
    start_response("200 OK", SMALL_FIELDS.copy())
    return [SMALL]
