"""What a request's content costs as long as its application does not read it."""

from __future__ import annotations

import socket
import tracemalloc
from typing import Any

from tests.workers.conftest import Serve

CONTENT = bytes(range(256)) * 32
POST = b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"


def test_content_in_small_pieces(serve: Serve) -> None:
    """Their number costs nothing: 64 KiB in pieces of two bytes took 2 MiB."""
    gates: list[Any] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        content = b""
        if scope["method"] == "POST":
            gates.append(receive)
            await gates[0]()
        if scope["path"] == "/read":
            while len(content) < len(CONTENT):
                content += (await receive())["body"]
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": content})

    server = serve(app, keep_alive_max_requests=10_000)
    gate, client, witness = server.connect(), server.connect(), server.connect()
    witness.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert witness.response()[0] == 200
    gate.send(POST % (b"/", 1))
    while not gates:
        witness.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert witness.response()[0] == 200
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.send(POST % (b"/read", len(CONTENT)))
    tracemalloc.start()
    try:
        for start in range(0, len(CONTENT), 2):
            client.send(CONTENT[start : start + 2])
            # So that it is read by itself.
            witness.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert witness.response()[0] == 200
        assert tracemalloc.get_traced_memory()[0] < 10 * len(CONTENT)
    finally:
        tracemalloc.stop()
    gate.send(b"x")
    assert client.response()[2] == CONTENT
