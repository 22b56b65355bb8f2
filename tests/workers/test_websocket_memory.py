"""What the WebSockets of one HTTP/2 connection hold together of messages that applications have not had."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RemoteSettingsChanged, ResponseReceived

from .websocket_apps import Serve, masked

HEAD = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "x"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-extensions", "permessage-deflate"),
]
SIZE = 1 << 20
STREAMS = 24
CLOSE_1009 = b"\x03\xf1too much is waiting on this connection"


def frame(first: int, payload: bytes) -> bytes:
    """One that is not short, as `masked` otherwise."""
    return bytes((first, 254)) + len(payload).to_bytes(2) + bytes(4) + payload


def inflating(size: int) -> bytes:
    """Few bytes that become `size`, of a message that goes on."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Client:
    """A client with many streams, blocking."""

    def __init__(self, connect: Any) -> None:
        self.sock = connect.sock
        self.http2 = H2Connection(H2Configuration(header_encoding=None))
        self.http2.initiate_connection()
        self.received: dict[int, bytes] = {}
        self.accepted: set[int] = set()
        self.is_ready = False
        self.flush()
        self.read_until(lambda: self.is_ready)

    def flush(self) -> None:
        self.sock.sendall(self.http2.data_to_send())

    def read_until(self, is_so: Any) -> None:
        while not is_so():
            data = self.sock.recv(65536)
            assert data, "closed"
            for event in self.http2.receive_data(data):
                assert not isinstance(event, ConnectionTerminated)
                if isinstance(event, RemoteSettingsChanged):
                    self.is_ready = True
                elif isinstance(event, ResponseReceived):
                    self.accepted.add(event.stream_id)
                elif isinstance(event, DataReceived):
                    self.received[event.stream_id] = self.received.get(event.stream_id, b"") + event.data
            self.flush()

    def open(self) -> int:
        stream_id = int(self.http2.get_next_available_stream_id())
        self.http2.send_headers(stream_id, HEAD)
        self.flush()
        self.read_until(lambda: stream_id in self.accepted)
        return stream_id

    def send(self, stream_id: int, data: bytes) -> None:
        self.http2.send_data(stream_id, data)
        self.flush()

    def failed(self) -> set[int]:
        return {stream_id for stream_id, data in self.received.items() if CLOSE_1009 in data}


class Application:
    """Echoes."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        self.codes.append(message["code"])


@pytest.mark.parametrize("fragments", [0, 70])
def test_messages_that_have_begun_are_bounded_together(fragments: int, serve: Serve) -> None:
    """Sixteen of a mebibyte may have begun; each further one fails the one that holds most, and no other.

    Also where what makes them large is read in a later turn of the loop, behind many fragments.
    """
    app = Application()
    client = Client(serve(app, websocket_max_message_size=SIZE).connect())
    small = client.open()
    begun = [client.open() for _ in range(STREAMS)]
    for number, stream_id in enumerate(begun):
        large = inflating(SIZE - STREAMS + number)
        if fragments:
            client.send(stream_id, masked(0x42, b"") + masked(0x00, b"") * fragments + frame(0x00, large))
        else:
            client.send(stream_id, frame(0x42, large))
    client.read_until(lambda: len(client.failed()) >= STREAMS - 16)
    client.send(small, masked(0x82, b"still here"))
    client.read_until(lambda: b"still here" in client.received.get(small, b""))
    failed = client.failed()
    assert len(failed) == STREAMS - 16
    # Whoever was not failed can end his message.
    going_on = next(stream_id for stream_id in begun if stream_id not in failed)
    client.send(going_on, masked(0x80, b""))
    client.read_until(lambda: client.received.get(going_on, b"")[:1] == b"\xc2")
    assert set(app.codes) == {1009}
    assert len(app.codes) == STREAMS - 16
