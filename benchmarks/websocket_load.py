"""websocket_load.py PORT CONNECTIONS SECONDS SIZE [tls]: echoes binary messages; prints how many came back.

A client that costs as little as possible, for a load generator must not be what is measured: each connection has one
frame, made once, in flight; what comes back is only counted.
"""

from __future__ import annotations

import base64
import os
import selectors
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


def connect(port: int, context: ssl.SSLContext | None) -> socket.socket:
    """A connection on which the handshake is done."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        sock = context.wrap_socket(sock)
    key = base64.b64encode(os.urandom(16))
    sock.sendall(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(4096)
        if not piece:
            sys.exit("the server closed the connection during the handshake")
        head += piece
    if not head.startswith(b"HTTP/1.1 101"):
        sys.exit(f"the handshake failed: {head[:80]!r}")
    return sock


def receive(sock: socket.socket) -> int:
    """Take all that is there, also what the TLS layer holds and the selector cannot see; the number of bytes."""
    received = len(sock.recv(262_144))
    if not received:
        sys.exit("the server closed a connection")
    if isinstance(sock, ssl.SSLSocket):
        while ready := sock.pending():
            received += len(sock.recv(ready))
    return received


def trusting() -> ssl.SSLContext:
    """A context for the benchmark's own certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main() -> None:
    """Echo for the given time."""
    port, connections, seconds, size = (
        int(sys.argv[1]),
        int(sys.argv[2]),
        float(sys.argv[3]),
        int(sys.argv[4]),
    )
    context = trusting() if sys.argv[5:] == ["tls"] else None
    message, wanted, count = frame(size), answer_size(size), 0
    selector = selectors.DefaultSelector()
    pending: dict[socket.socket, int] = {}
    for _ in range(connections):
        opened = connect(port, context)
        pending[opened] = wanted
        selector.register(opened, selectors.EVENT_READ)
        opened.sendall(message)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _events in selector.select(1):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            pending[sock] -= receive(sock)
            if pending[sock] <= 0:
                count += 1
                pending[sock] = wanted
                sock.sendall(message)
    print(count)


if __name__ == "__main__":
    main()
