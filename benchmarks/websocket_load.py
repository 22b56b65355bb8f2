"""websocket_load.py PORT CONNECTIONS SECONDS SIZE [h2] [tls]: echoes binary messages; prints how many came back.

A client that costs as little as possible, for a load generator must not be what is measured: each connection has one
frame, made once, in flight; what comes back is only counted. With `h2` a connection is HTTP/2 and its WebSocket one
stream of it (RFC 8441).
"""

from __future__ import annotations

import base64
import os
import select
import socket
import ssl
import struct
import sys
import time


def frame(size: int) -> bytes:
    """A frame of random bytes as its masked payload (RFC 6455 §5.2): what they mean does not matter here."""
    if size < 126:
        head = struct.pack("!BB", 0x82, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x82, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x82, 0x80 | 127, size)
    return head + os.urandom(4 + size)


def answer_size(size: int) -> int:
    """Bytes of the unmasked frame that comes back."""
    return size + (2 if size < 126 else 4 if size < 65536 else 10)


class Tunnel:
    """A WebSocket over HTTP/1.1, on which the handshake is done: what comes is the answer."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        key = base64.b64encode(os.urandom(16))
        sock.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += some(sock)
        if not head.startswith(b"HTTP/1.1 101"):
            sys.exit(f"the handshake failed: {head[:80]!r}")

    def wrapped(self, message: bytes) -> bytes:
        """What is to be sent for a frame."""
        return message

    def answered(self, received: memoryview) -> int:
        """How many bytes of `received` belong to the answer."""
        return len(received)


class Stream:
    """A WebSocket over HTTP/2, stream 1 of its connection, on which the handshake is done (RFC 9113, RFC 8441)."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._rest = b""
        #: Nothing is given back to the server's windows, so they are as large as can be from the start.
        settings = struct.pack("!HIHI", 2, 0, 4, 2**31 - 1)
        grown = struct.pack("!I", 2**31 - 1 - 65535)
        sock.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self._frame(4, 0, 0, settings) + self._frame(8, 0, 0, grown)
        )
        kind = 0
        while kind != 4:
            kind, _ = self._next()
        head = {
            ":method": "CONNECT",
            ":protocol": "websocket",
            ":scheme": "http",
            ":path": "/ws",
            ":authority": "localhost",
            "sec-websocket-version": "13",
        }
        # Literals without Huffman coding or table (RFC 7541 §6.2.2): all are shorter than 127.
        block = b"".join(
            bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
            for name, value in head.items()
        )
        sock.sendall(self._frame(4, 1, 0, b"") + self._frame(1, 4, 1, block))
        while kind != 1:
            kind, payload = self._next()
        if payload[:1] != b"\x88":  # `:status: 200` of the static table
            sys.exit(f"the handshake failed: {payload[:80]!r}")

    @staticmethod
    def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload

    def _next(self) -> tuple[int, bytes]:
        while len(self._rest) < 9 or len(self._rest) < 9 + int.from_bytes(self._rest[:3], "big"):
            self._rest += some(self.sock)
        end = 9 + int.from_bytes(self._rest[:3], "big")
        kind, payload, self._rest = self._rest[3], self._rest[9:end], self._rest[end:]
        return kind, payload

    def wrapped(self, message: bytes) -> bytes:
        """What is to be sent for a frame."""
        pieces = [message[start : start + 16384] for start in range(0, len(message), 16384)]
        return b"".join(self._frame(0, 0, 1, piece) for piece in pieces)

    def answered(self, received: memoryview) -> int:
        """How many bytes of `received` belong to the answer; a frame that is not whole counts when it is."""
        data = self._rest + received
        position = count = 0
        while len(data) >= position + 9:
            size = int.from_bytes(data[position : position + 3], "big")
            if len(data) < position + 9 + size:
                break
            kind = data[position + 3]
            if kind in {3, 7}:  # RST_STREAM, GOAWAY
                sys.exit("the server ended a stream")
            count += size if kind == 0 else 0
            position += 9 + size
        self._rest = data[position:]
        return count


def connect(port: int, context: ssl.SSLContext | None) -> socket.socket:
    """A connection, with TLS if there is a context."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock if context is None else context.wrap_socket(sock)


def some(sock: socket.socket) -> bytes:
    """What comes next."""
    if piece := sock.recv(4096):
        return piece
    sys.exit("the server closed the connection during the handshake")


def receive(websocket: Tunnel | Stream, buffer: bytearray) -> int:
    """Take all that is there, also what the TLS layer holds and epoll cannot see; bytes of answers."""
    sock, view, count = websocket.sock, memoryview(buffer), 0
    while True:
        received = sock.recv_into(buffer)
        if not received:
            sys.exit("the server closed a connection")
        count += websocket.answered(view[:received])
        if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            return count


def trusting(protocol: str) -> ssl.SSLContext:
    """A context for the benchmark's own certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def main() -> None:
    """Echo for the given time."""
    port, connections, seconds, size = (
        int(sys.argv[1]),
        int(sys.argv[2]),
        float(sys.argv[3]),
        int(sys.argv[4]),
    )
    is_http2 = "h2" in sys.argv[5:]
    context = trusting("h2" if is_http2 else "http/1.1") if "tls" in sys.argv[5:] else None
    message, wanted, count = frame(size), answer_size(size), 0
    poller, buffer = select.epoll(), bytearray(262_144)
    websockets: dict[int, Tunnel | Stream] = {}
    missing: dict[int, int] = {}
    for _ in range(connections):
        websocket = (Stream if is_http2 else Tunnel)(connect(port, context))
        number = websocket.sock.fileno()
        websockets[number], missing[number] = websocket, wanted
        poller.register(number, select.EPOLLIN)
        websocket.sock.sendall(websocket.wrapped(message))
    sent = websocket.wrapped(message)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for number, _events in poller.poll(1):
            left = missing[number] - receive(websockets[number], buffer)
            if left <= 0:
                count += 1
                left = wanted
                websockets[number].sock.sendall(sent)
            missing[number] = left
    print(count)


if __name__ == "__main__":
    main()
