"""Processor time of one WebSocket echo in the session alone, in µs: no socket, no loop, no application.

Run: python -m benchmarks.engine_websocket   (wsproto and the sans-IO core of websockets do the same work)

Each echo takes one masked client frame and gives one frame back. "one by one": a frame for each read;
"16 at once": sixteen in one read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import process_time

from websockets.extensions.permessage_deflate import PerMessageDeflate as WebsocketsDeflate
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Message
from wsproto.extensions import PerMessageDeflate

from hypercorn.protocols.websocket import SessionParameters, WebSocketSession
from hypercorn.protocols.websocket.deflate import DeflateParameters

Server = Callable[[bytes], bytes]


def ours(deflate: bool) -> Server:
    agreed = DeflateParameters(server_max_window_bits=12) if deflate else None
    session = WebSocketSession(SessionParameters(max_queued_messages=100), agreed, 0.0)

    def echo(data: bytes) -> bytes:
        session.receive_data(data, 0.0)
        while (message := session.next_message(0.0)) is not None:
            assert isinstance(message, (str, bytes))
            session.send_frame(*session.encode(message))
        return session.data_to_send(0.0)

    return echo


def wsproto(deflate: bool) -> Server:
    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate")
    connection = Connection(ConnectionType.SERVER, [extension] if deflate else [])

    def echo(data: bytes) -> bytes:
        connection.receive_data(data)
        return b"".join(
            connection.send(Message(data=event.data))
            for event in connection.events()
            if isinstance(event, Message)
        )

    return echo


def websockets(deflate: bool) -> Server:
    from websockets.protocol import OPEN

    protocol = ServerProtocol(state=OPEN, max_size=None)
    protocol.extensions = [WebsocketsDeflate(False, False, 15, 12)] if deflate else []

    def echo(data: bytes) -> bytes:
        protocol.receive_data(data)
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.TEXT:
                protocol.send_text(frame.data)
            else:
                protocol.send_binary(frame.data)
        return b"".join(protocol.data_to_send())

    return echo


def client_frames(payload: bytes, deflate: bool, count: int, text: bool) -> list[bytes]:
    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate")
    client = Connection(ConnectionType.CLIENT, [extension] if deflate else [])
    message = Message(data=payload.decode() if text else payload)
    return [bytes(client.send(message)) for _ in range(count)]


def main() -> None:
    works = [
        ("text of 20 bytes", b"hello, websocket 123", False, True, 4000),
        ("text of 300 bytes", b'{"name": "value"} ' * 17, False, True, 4000),
        ("bytes of 10 KB", os.urandom(10_000), False, False, 1000),
        ("bytes of 1 MB", os.urandom(1_000_000), False, False, 10),
        ("text of 20 bytes, deflate", b"hello, websocket 123", True, True, 4000),
        ("text of 300 bytes, deflate", b'{"name": "value"} ' * 17, True, True, 2000),
    ]
    print(f"{'µs per echo':40}{'ours':>10}{'wsproto':>10}{'websockets':>12}")
    for name, payload, deflate, text, count in works:
        for how, size in (("one by one", 1), ("16 at once", 16)):
            if size > 1 and len(payload) > 1000:
                continue
            frames = client_frames(payload, deflate, count, text)
            reads = [b"".join(frames[at : at + size]) for at in range(0, count, size)]
            figures = [measure_fresh(make, deflate, reads, count) for make in (ours, wsproto, websockets)]
            label = f"{name}, {how}"
            print(f"{label:40}" + "".join(f"{figure:10.1f}" for figure in figures))


def measure_fresh(make: Callable[[bool], Server], deflate: bool, reads: list[bytes], count: int) -> float:
    """The best of three runs; each needs a new server, because compression keeps its context."""
    return min(_run(make(deflate), reads) for _ in range(3)) / count * 1e6


def _run(server: Server, reads: list[bytes]) -> float:
    begin = process_time()
    for data in reads:
        server(data)
    return process_time() - begin


if __name__ == "__main__":
    main()
