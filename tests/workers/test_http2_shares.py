"""Who gets how much of an HTTP/2 connection when several responses are sent side by side."""

from __future__ import annotations

import socket
import time
from typing import Any

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes
from tests.workers.conftest import Client, Serve

from hypercorn.workers.connection import TURN_SIZE

SIZE = 1 << 20
PIECE = bytes(1 << 14)
LARGEST = 2**31 - 1


async def megabyte(scope: dict[str, Any], receive: Any, send: Any, size: int = SIZE) -> None:
    """A megabyte in pieces, as fast as they are taken."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for left in range(size - len(PIECE), -1, -len(PIECE)):
        await send({"type": "http.response.body", "body": PIECE, "more_body": left > 0})


class Responses:
    """Responses to requests that were sent together.

    Attributes:
        received: bytes by stream, so far.
        ended: the streams that are complete, in the order in which they were.
    """

    def __init__(self, client: Client, priorities: list[str | None], window: int) -> None:
        self.received: dict[int, int] = {}
        self.ended: list[int] = []
        self._client = client
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self._h2.initiate_connection()
        self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: LARGEST})
        if window > 65535:
            self._h2.increment_flow_control_window(window - 65535)
        self.request(*priorities)

    def request(self, *priorities: str | None) -> None:
        """Make one more request for each priority."""
        for priority in priorities:
            fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
            if priority is not None:
                fields.append(("priority", priority))
            stream_id = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream_id, fields, end_stream=True)
            self.received[stream_id] = 0
        self._client.send(self._h2.data_to_send())

    def read(self) -> None:
        """What comes next."""
        for event in self._h2.receive_data(self._client.sock.recv(65536)):
            if isinstance(event, h2.events.DataReceived):
                assert event.stream_id is not None
                self.received[event.stream_id] += len(event.data or b"")
                self._h2.increment_flow_control_window(event.flow_controlled_length or 0)
            elif isinstance(event, h2.events.StreamEnded):
                assert event.stream_id is not None
                self.ended.append(event.stream_id)
        self._client.send(self._h2.data_to_send())


def test_equals_share(serve: Serve) -> None:
    """Although the peer takes all at once, no application sends all of its response before the others begin."""
    responses = Responses(serve(megabyte).connect(), [None] * 4, LARGEST)
    while sum(responses.received.values()) < 2 * SIZE:
        responses.read()
    assert responses.ended == []
    assert all(received >= SIZE // 8 for received in responses.received.values()), responses.received


def test_incremental_equals_share(serve: Serve) -> None:
    responses = Responses(serve(megabyte).connect(), ["i"] * 4, LARGEST)
    while sum(responses.received.values()) < 2 * SIZE:
        responses.read()
    # Most often within one piece; but who has nothing ready when its share comes is passed over, and trio shuffles tasks.
    assert max(responses.received.values()) - min(responses.received.values()) <= TURN_SIZE


def test_the_more_urgent_comes_first_where_not_all_can(serve: Serve) -> None:
    responses = Responses(serve(megabyte).connect(), ["u=7", "u=0", "u=3"], 65535)
    while len(responses.ended) < 3:
        responses.read()
    assert responses.ended == [3, 5, 1]
    assert responses.received == {1: SIZE, 3: SIZE, 5: SIZE}


def test_a_window_goes_to_the_more_urgent_whole(serve: Serve) -> None:
    """Although its application has to be asked for more again and again, and the other's has some ready."""
    responses = Responses(serve(megabyte).connect(), ["u=5", "u=1"], 65535)
    while not responses.ended:
        responses.read()
    # The lesser had the first window, before the other request was there.
    assert responses.received == {1: responses.received[1], 3: SIZE}
    assert responses.received[1] <= 2 * 65535, responses.received


def test_the_more_urgent_comes_first_where_the_socket_is_narrow(serve: Serve) -> None:
    """Windows are wide and the line is slow, as to a browser: what waits must not wait in the kernel, or in turns."""
    size = 16 * SIZE

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await megabyte(scope, receive, send, size)

    client = serve(app).connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    responses = Responses(client, ["u=6", "u=1"], LARGEST)
    while not responses.ended:
        time.sleep(0.002)  # slower than any server is
        responses.read()
    assert responses.ended == [3]
    # It gets what the kernel took before the line was known to be slow, and what the other's application leaves.
    assert responses.received[1] < size // 2, responses.received


def test_the_more_urgent_may_come_late(serve: Serve) -> None:
    """A single response on a slow line does not fill the kernel either: who comes then is not behind all of that."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await megabyte(
            scope, receive, send, 16 * SIZE if (b"priority", b"u=6") in scope["headers"] else len(PIECE)
        )

    client = serve(app).connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    responses = Responses(client, ["u=6"], LARGEST)
    while responses.received[1] < 4 * SIZE:
        time.sleep(0.002)  # slower than any server is
        responses.read()
    before = responses.received[1]
    responses.request("u=1")
    while not responses.ended:
        responses.read()
    assert responses.ended == [3]
    assert responses.received[1] - before < SIZE, responses.received
