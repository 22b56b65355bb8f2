"""What an HTTP/2 connection keeps of requests that nobody can answer any more."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import h2.config
import h2.connection
import h2.events
from tests.workers.conftest import Serve

STREAMS = 40
BODY = bytes(1 << 16)
HEAD = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")]


def test_a_body_is_let_go_when_its_stream_is_reset(serve: Serve) -> None:
    """The window of a body that nobody reads is given back at the reset: so must be its memory, although the
    application, which does not listen, goes on for as long as it likes."""
    waits: list[Any] = []

    async def deaf(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        waits.append(receive)
        await waits[0]()

    client = serve(deaf).connect()
    peer = h2.connection.H2Connection(h2.config.H2Configuration())
    peer.initiate_connection()

    def wait_for(kind: type) -> None:
        while not any(isinstance(event, kind) for event in peer.receive_data(client.sock.recv(65536))):
            client.send(peer.data_to_send())

    client.send(peer.data_to_send())
    wait_for(h2.events.RemoteSettingsChanged)
    peer.send_headers(1, HEAD)
    client.send(peer.data_to_send())
    tracemalloc.start()
    try:
        for stream_id in range(3, 3 + 2 * STREAMS, 2):
            peer.send_headers(stream_id, HEAD)
            for start in range(0, len(BODY), 1 << 14):
                peer.send_data(stream_id, BODY[start : start + (1 << 14)])
            peer.reset_stream(stream_id)
            client.send(peer.data_to_send())
            peer.ping(b"and then")
            client.send(peer.data_to_send())
            wait_for(h2.events.PingAckReceived)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < STREAMS * len(BODY) // 2
    finally:
        tracemalloc.stop()
