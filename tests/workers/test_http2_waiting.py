"""Requests of HTTP/2 that wait for the application of one that its client has reset."""

from __future__ import annotations

import threading
from typing import Any

import h2.config
import h2.connection
import h2.events
from tests.workers.conftest import Serve

FIELDS = [(":method", "GET"), (":scheme", "http"), (":authority", "a")]


def test_it_is_served_when_that_has_ended(serve: Serve) -> None:
    has_left = threading.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] == "/first":
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            assert (await receive())["type"] == "http.disconnect"
            has_left.set()
            return
        # Not side by side with the other.
        status = 200 if has_left.is_set() else 500
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    client = serve(app, h2_max_concurrent_streams=1).connect()
    h2_client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    h2_client.initiate_connection()
    h2_client.send_headers(1, [*FIELDS, (":path", "/first")], end_stream=True)
    client.send(h2_client.data_to_send())
    responses: dict[int, bytes] = {}
    while True:
        for event in h2_client.receive_data(client.sock.recv(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                assert event.stream_id is not None
                responses[event.stream_id] = dict(event.headers or [])[b":status"]
                if event.stream_id == 1:
                    h2_client.reset_stream(1, 8)
                    h2_client.send_headers(3, [*FIELDS, (":path", "/second")], end_stream=True)
            assert not isinstance(event, h2.events.StreamReset)
        client.send(h2_client.data_to_send())
        if 3 in responses:
            break
    assert responses[3] == b"200"
