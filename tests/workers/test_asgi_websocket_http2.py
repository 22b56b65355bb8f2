"""WebSockets over HTTP/2 (RFC 8441), with a client of h2 and wsproto, on every loop."""

from __future__ import annotations

import socket
from typing import Any

from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived, StreamEnded, WindowUpdated
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection
from wsproto.events import Message as WSMessage

from .websocket_apps import Recorder, Serve, echo, masked


class HTTP2WebSocket:
    """A WebSocket of h2 and wsproto on one stream (RFC 8441), blocking."""

    def __init__(self, sock: socket.socket, *fields: tuple[str, str], end_stream: bool = False) -> None:
        self.sock = sock
        self.events: list[Any] = []
        self.http2 = H2Connection()
        self.http2.initiate_connection()
        self.flush()
        self.wait(RemoteSettingsChanged)
        self.stream_id = self.http2.get_next_available_stream_id()
        head = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/path"),
            (":authority", "x"),
            ("sec-websocket-version", "13"),
        ]
        self.http2.send_headers(self.stream_id, [*head, *fields], end_stream=end_stream)
        self.flush()
        self.head = dict(self.wait(ResponseReceived).headers)
        self.ws = Connection(ConnectionType.CLIENT)

    def flush(self) -> None:
        self.sock.sendall(self.http2.data_to_send())

    def wait(self, kind: type) -> Any:
        """Read until an event of `kind` has come; it is taken out."""
        while True:
            for event in self.events:
                if isinstance(event, kind):
                    self.events.remove(event)
                    return event
            data = self.sock.recv(65536)
            assert data, "closed"
            self.events.extend(self.http2.receive_data(data))
            self.flush()

    def send(self, event: Any) -> None:
        data = memoryview(bytes(self.ws.send(event)))
        while data:
            room = min(self.http2.local_flow_control_window(self.stream_id), 16384)
            if not room:
                self.wait(WindowUpdated)
                continue
            self.http2.send_data(self.stream_id, bytes(data[:room]))
            self.flush()
            data = data[room:]

    def receive(self) -> Any:
        """The next message, put together, or the Close."""
        parts = []
        while True:
            for event in self.ws.events():
                if not isinstance(event, WSMessage):
                    return event
                parts.append(event.data)
                if event.message_finished:
                    return type(parts[0])().join(parts)
            data = self.wait(DataReceived)
            self.http2.acknowledge_received_data(data.flow_controlled_length, self.stream_id)
            self.flush()
            self.ws.receive_data(data.data)


def test_echo_and_end(serve: Serve) -> None:
    app = Recorder({"type": "websocket.accept", "subprotocol": "b"}, after=_echo_once)
    client = HTTP2WebSocket(serve(app).connect().sock, ("sec-websocket-protocol", "a, b"))
    assert client.head[b":status"] == b"200"
    assert client.head[b"sec-websocket-protocol"] == b"b"
    assert b"sec-websocket-accept" not in client.head
    client.send(WSMessage(data="hello"))
    assert client.receive() == "hello"
    client.send(CloseConnection(code=4001, reason="bye"))
    assert client.receive().code == 4001
    client.wait(StreamEnded)
    assert app.ended.wait(10)
    assert app.messages == [{"type": "websocket.disconnect", "code": 4001, "reason": "bye"}]
    assert (app.scope["http_version"], app.scope["subprotocols"]) == ("2", ["a", "b"])


async def _echo_once(receive: Any, send: Any) -> None:
    message = await receive()
    await send({"type": "websocket.send", "text": message["text"]})


def test_large_messages(serve: Serve) -> None:
    client = HTTP2WebSocket(serve(echo).connect().sock)
    message = b"0123456789abcdef" * (1 << 16)
    for _ in range(3):
        client.send(WSMessage(data=message))
        assert client.receive() == message


def test_a_message_in_many_small_fragments(serve: Serve) -> None:
    """One read of the connection brings many pieces of the stream."""
    client = HTTP2WebSocket(serve(echo).connect().sock)
    for at in range(20):
        for number in range(100):
            piece = masked(0x01 if at == number == 0 else 0x00, b"%d" % (number % 10))
            client.http2.send_data(client.stream_id, piece)
        client.flush()
    client.http2.send_data(client.stream_id, masked(0x80, b"end") + masked(0x81, b"more"))
    client.flush()
    assert client.receive() == "0123456789" * 200 + "end"
    assert client.receive() == "more"


def test_denial_and_close_before_accept(serve: Serve) -> None:
    app = Recorder({"type": "websocket.close"})
    assert HTTP2WebSocket(serve(app).connect().sock).head[b":status"] == b"403"
    app = Recorder(
        {"type": "websocket.http.response.start", "status": 404},
        {"type": "websocket.http.response.body", "body": b"no such"},
    )
    client = HTTP2WebSocket(serve(app).connect().sock)
    assert client.head[b":status"] == b"404"
    assert client.wait(DataReceived).data == b"no such"


def test_reset_by_the_client(serve: Serve) -> None:
    app = Recorder()
    client = HTTP2WebSocket(serve(app).connect().sock)
    client.http2.reset_stream(client.stream_id)
    client.flush()
    assert app.ended.wait(10)
    assert app.messages == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


def test_a_request_that_is_the_end_of_its_side(serve: Serve) -> None:
    app = Recorder()
    client = HTTP2WebSocket(serve(app).connect().sock, end_stream=True)
    assert client.head[b":status"] == b"200"
    client.wait(StreamEnded)
    assert app.ended.wait(10)
    assert app.messages == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


def test_stop_tells_both_sides(serve: Serve) -> None:
    app = Recorder()
    server = serve(app)
    client = HTTP2WebSocket(server.connect().sock)
    server.stop()
    close = client.receive()
    assert close.code == 1001
    client.send(close.response())
    client.wait(StreamEnded)
    assert app.ended.wait(10)
    assert app.messages[-1]["code"] == 1001
    client.sock.shutdown(socket.SHUT_RDWR)
    server.join()
