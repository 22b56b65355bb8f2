"""floor.py PORT [CERTIFICATE KEY]: what an echo costs before any server has done anything.

The least that a Python process can do for a WebSocket message: wait in epoll, read, decrypt with the ssl module, send an
answer of the same size that was made once. It reads the length of the first frame, no more of the protocol, unmasks nothing,
calls no application, has no timeout and no back-pressure. No server in Python can cost less than this.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import select
import socket
import ssl
import sys

READ_SIZE = 81920
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Peer:
    """One connection."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self.sock = sock
        self._answer = b""
        #: The size of a message with its frame, and how much of the present one is missing; 0 before the first.
        self._size = self._missing = 0
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context and context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_secured = context is None

    def on_readable(self) -> bool:
        """Read once and answer; False at the end."""
        received = self.sock.recv(READ_SIZE)
        if not received:
            return False
        for plaintext in self._decrypt(received):
            if self._answer:
                self._missing -= len(plaintext)
            elif plaintext.startswith(b"GET "):
                self._send(shaken(plaintext))
            else:
                self._size, self._answer = measured(plaintext)
                self._missing = self._size - len(plaintext)
        if self._answer and self._missing <= 0:
            self._missing += self._size
            self._send(self._answer)
        return True

    def _decrypt(self, received: bytes) -> list[bytes]:
        if self._tls is None:
            return [received]
        self._incoming.write(received)
        pieces = []
        with contextlib.suppress(ssl.SSLWantReadError):
            if not self._is_secured:
                try:
                    self._tls.do_handshake()
                    self._is_secured = True
                finally:
                    self.sock.sendall(self._outgoing.read())
            while self._incoming.pending or self._tls.pending():
                pieces.append(self._tls.read(16384))
        return pieces

    def _send(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self.sock.sendall(data)


def shaken(request: bytes) -> bytes:
    """The answer to a handshake (RFC 6455 §4.2.2), or an empty one to any other request."""
    for line in request.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            accept = base64.b64encode(hashlib.sha1(value.strip() + _GUID).digest())
            return (
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                b"sec-websocket-accept: " + accept + b"\r\n\r\n"
            )
    return b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def measured(start: bytes) -> tuple[int, bytes]:
    """The size of the masked frame that begins so, and an unmasked one with as much content."""
    size = start[1] & 0x7F
    extended = {126: 2, 127: 8}.get(size, 0)
    if extended:
        size = int.from_bytes(start[2 : 2 + extended], "big")
    head = bytes((0x82, start[1] & 0x7F)) + start[2 : 2 + extended]
    return 2 + extended + 4 + size, head + bytes(size)


def main() -> None:
    """Serve until the process is ended."""
    context = None
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
    poller = select.epoll()
    poller.register(listener, select.EPOLLIN)
    peers: dict[int, Peer] = {}
    while True:
        for number, _events in poller.poll():
            if number == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peers[sock.fileno()] = Peer(sock, context)
                poller.register(sock, select.EPOLLIN)
                continue
            peer = peers[number]
            try:
                goes_on = peer.on_readable()
            except OSError:
                goes_on = False
            if not goes_on:
                poller.unregister(number)
                peers.pop(number).sock.close()


if __name__ == "__main__":
    main()
