"""What operators learn of a connection that is cut for a flood."""

from __future__ import annotations

import logging
from typing import Any

import h2.config
import h2.connection
from tests.workers.conftest import Serve

FIELDS = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]


async def waits(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    while (await receive())["type"] != "http.disconnect":
        pass


def test_one_line_says_why_requests_were_cut(serve: Serve, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "hypercorn.error")
    server = serve(waits, loglevel="info")
    client = server.connect()
    h2_client = h2.connection.H2Connection(h2.config.H2Configuration())
    h2_client.initiate_connection()
    h2_client.send_headers(1, FIELDS, end_stream=True)
    for stream_id in range(3, 2103, 2):
        h2_client.send_headers(stream_id, FIELDS, end_stream=True)
        h2_client.reset_stream(stream_id, 8)
    client.send(h2_client.data_to_send())
    client.rest()
    server.close()
    lines = [record.getMessage() for record in caplog.records if "too many" in record.getMessage()]
    assert len(lines) == 1, lines
    assert "127.0.0.1" in lines[0]
    assert lines[0].endswith("too many streams reset; requests that were open: 1")
