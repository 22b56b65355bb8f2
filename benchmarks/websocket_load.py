"""websocket_load.py PORT CONNECTIONS SECONDS SIZE [tls]: echoes binary messages; prints how many came back.

A client that costs as little as possible, for a load generator must not be what is measured: each connection has one
frame, made once, in flight; what comes back is only counted.
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


def receive(sock: socket.socket, buffer: bytearray) -> int:
    """Take all that is there, also what the TLS layer holds and epoll cannot see; the number of bytes."""
    received = sock.recv_into(buffer)
    if not received:
        sys.exit("the server closed a connection")
    if isinstance(sock, ssl.SSLSocket):
        while sock.pending():
            received += sock.recv_into(buffer)
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
    poller, buffer = select.epoll(), bytearray(262_144)
    sockets: dict[int, socket.socket] = {}
    missing: dict[int, int] = {}
    for _ in range(connections):
        opened = connect(port, context)
        sockets[opened.fileno()] = opened
        missing[opened.fileno()] = wanted
        poller.register(opened, select.EPOLLIN)
        opened.sendall(message)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for number, _events in poller.poll(1):
            sock = sockets[number]
            left = missing[number] - receive(sock, buffer)
            if left <= 0:
                count += 1
                left = wanted
                sock.sendall(message)
            missing[number] = left
    print(count)


if __name__ == "__main__":
    main()
