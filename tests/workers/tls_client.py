"""TLS's other side, on memory buffers and on a socket, and contexts for both."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trustme
from tests.workers.tls_records import Records
from websockets.asyncio.client import connect

from hypercorn.config import Config
from hypercorn.workers.tls import TLSLayer

if TYPE_CHECKING:
    from tests.workers.conftest import Running


def server_context(certfile: str, **changes: Any) -> ssl.SSLContext:
    context = Config.from_mapping({"certfile": certfile, **changes}).create_ssl_context()
    assert context is not None
    return context


def client_context(authority: trustme.CA, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    authority.configure_trust(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class Client:
    """The peer: the standard library's TLS on memory buffers."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None, session: Any = None) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)

    def say(self, data: bytes) -> bytes:
        """`data` as ciphertext, behind all that is due before it."""
        self.tls.write(data)
        return self.outgoing.read()

    def hear(self, ciphertext: bytes) -> bytes:
        """The plaintext in `ciphertext`."""
        self.incoming.write(ciphertext)
        heard = b""
        try:
            while piece := self.tls.read(65536):
                heard += piece
        except ssl.SSLWantReadError:
            pass
        return heard

    def shake_hands(self, server: TLSLayer, feed: Callable[[bytes], None] | None = None) -> None:
        """Exchange flights until both sides are done; `feed` hands bytes to the server its own way."""
        feed = feed or (lambda data: nothing(server.receive(data)))
        for _ in range(4):
            done = False
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            feed(self.outgoing.read())
            self.incoming.write(server.data_to_send())
            if done and server.handshake_done:
                return
        raise AssertionError("no handshake in four flights")


def nothing(plaintext: bytes) -> None:
    assert plaintext == b""


def dial(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def websocket_answers(server: Running, context: ssl.SSLContext, count: int) -> list[bytes]:
    """The messages with which a WebSocket over TLS answers "go on".

    In one thread: those of `websockets.sync` read and write one TLS connection at the same time, and with CPython 3.11 one
    request in 400 never left.
    """

    async def converse() -> list[bytes]:
        async with connect(
            "wss://example.test",
            host="127.0.0.1",
            port=server.port,
            ssl=context,
            max_size=None,
            proxy=None,
            compression=None,
        ) as websocket:
            await websocket.send("go on")
            async with asyncio.timeout(60):
                return [await websocket.recv(decode=False) for _ in range(count)]

    return asyncio.run(converse())


class Handshake:
    """A client's handshake of which every step is ours to take."""

    def __init__(self, server: Running, context: ssl.SSLContext) -> None:
        self.sock = dial(server)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="example.test")

    def step(self) -> bytes:
        """What the client says next; nothing if it has to hear more first."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()

    def unsent(self) -> bytes:
        return self._outgoing.read()

    def hear(self) -> None:
        self._incoming.write(self.sock.recv(65536))

    def finish(self) -> None:
        while not (said := self.step()):
            self.hear()
        self.sock.sendall(said)

    def records(self, key_log: Path) -> Records:
        """For records made by hand, in the place of this client's own."""
        return Records(self._tls, key_log)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def encrypted(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def end(self) -> bytes:
        """The client's close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()
