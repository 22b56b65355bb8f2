"""What the HTTP/2 tests on the wire are made with: frames by hand, a peer that sends them, a server that runs."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from hpack import Decoder, Encoder

from .conftest import start_server, wait_for_port

LOOPS = ("asyncio", "uvloop", "trio")
PATIENCE = 10.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
ACK = END_STREAM = 1
END_HEADERS, PADDED, WITH_PRIORITY = 4, 8, 32
NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL, TIMEOUT, CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION = range(
    10
)
MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = 3, 4, 5
MAX_WINDOW = 2**31 - 1

Fields = list[tuple[str, str]]
WEBSOCKET: Fields = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "127.0.0.1"),
    ("sec-websocket-version", "13"),
]
GET: Fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "127.0.0.1")]
POST: Fields = [(":method", "POST"), *GET[1:]]
HEAD: Fields = [(":method", "HEAD"), *GET[1:]]
HOLD: Fields = [(":method", "POST"), GET[1], (":path", "/hold"), GET[3]]
#: Is answered as soon as its head has come.
EARLY: Fields = [(":method", "POST"), GET[1], (":path", "/early"), GET[3], ("content-length", "1")]

Frame = tuple[int, int, int, bytes]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBL", len(payload) >> 8, len(payload) & 255, kind, flags, stream_id) + payload


def number(*values: int) -> bytes:
    return struct.pack(f">{len(values)}L", *values)


def setting(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", *pair) for pair in pairs))


def window(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, number(increment))


def block(fields: Fields, huffman: bool = False) -> bytes:
    """A header block that leaves no trace in the table: it can be sent again on any connection."""
    encoder = Encoder()
    encoder.header_table_size = 0
    encoded: bytes = encoder.encode([(name, value, True) for name, value in fields], huffman)
    return encoded


class Peer:
    """A client that has shaken hands. It reads frames, and leaves all judgement to the case."""

    def __init__(self, sock: socket.socket, preface: bytes = PREFACE) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")
        self._decoder = Decoder()
        self.settings: dict[int, int] = {}
        #: Of the last HEADERS frame.
        self.fields: dict[Any, Any] = {}
        if preface:
            self.send(preface, setting())
            kind, flags, _, payload = self.read()
            assert (kind, flags) == (SETTINGS, 0)
            self.settings = dict(struct.iter_unpack(">HL", payload))
            self.until(lambda kind, flags: kind == SETTINGS and flags == ACK)
            self.send(frame(SETTINGS, ACK, 0))

    def send(self, *data: bytes) -> None:
        self.sock.sendall(b"".join(data))

    def headers(self, stream_id: int, fields: Fields = GET, flags: int = END_STREAM | END_HEADERS) -> None:
        self.send(frame(HEADERS, flags, stream_id, block(fields)))

    def read(self) -> Frame:
        """The next frame.

        Raises:
            EOFError: the server has closed the connection.
        """
        head = self._file.read(9)
        if len(head) < 9:
            raise EOFError
        high, low, kind, flags, stream_id = struct.unpack(">HBBBL", head)
        payload = self._file.read(high << 8 | low)
        if kind == HEADERS:
            self.fields = dict(self._decoder.decode(payload))
        return kind, flags, stream_id, payload

    def until(self, is_wanted: Callable[[int, int], bool]) -> Frame:
        while True:
            found = self.read()
            if is_wanted(found[0], found[1]):
                return found
            assert found[0] != GOAWAY, found

    def answered(self, stream_id: int, status: str = "200", version: str | None = "2") -> None:
        """A whole response comes on the stream."""
        kind, flags, found, payload = self.until(lambda kind, flags: kind in (HEADERS, RST_STREAM))
        fields = self.fields if kind == HEADERS else {}
        assert (found, fields.get(":status"), fields.get("x-version")) == (stream_id, status, version), (
            payload
        )
        while not flags & END_STREAM:
            kind, flags, found, payload = self.until(lambda kind, flags: kind in (DATA, RST_STREAM))
            assert (kind, found) == (DATA, stream_id), (kind, payload)

    def body(self) -> Frame:
        return self.until(lambda kind, flags: kind == DATA)

    def promised(self, payload: bytes) -> dict[Any, Any]:
        """The request fields of a PUSH_PROMISE, which must be decoded in its turn."""
        fields: dict[Any, Any] = dict(self._decoder.decode(payload[4:]))
        return fields

    def alive(self) -> None:
        """The connection is well: it answers a PING."""
        self.send(frame(PING, 0, 0, b"alive???"))
        while (found := self.until(lambda kind, flags: kind == PING))[3] != b"alive???":
            pass
        assert found[1:3] == (ACK, 0)

    def connection_error(self, *codes: int) -> None:
        """GOAWAY with one of the codes, then the end."""
        while True:
            kind, _, _, payload = self.read()
            if kind == GOAWAY:
                break
            assert kind != RST_STREAM, payload
        assert struct.unpack(">LL", payload[:8])[1] in codes, payload
        with pytest.raises(EOFError):
            self.read()

    def stream_error(self, *codes: int) -> None:
        """RST_STREAM, after which the connection lives, or GOAWAY; with one of the codes."""
        while True:
            kind, _, _, payload = self.read()
            if kind in (GOAWAY, RST_STREAM):
                break
        assert struct.unpack(">L", payload[-4:] if kind == RST_STREAM else payload[4:8])[0] in codes, payload
        if kind == RST_STREAM:
            self.alive()

    def close(self) -> None:
        self._file.close()
        self.sock.close()


class HeldHandshake:
    """A TLS client between its ClientHello and the rest: that leaves in one flight with the first data."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        sock.sendall(self._outgoing.read())

    def finish(self, data: bytes) -> None:
        """End the handshake and send data, as one."""
        self._whenever_readable(self._tls.do_handshake)
        self._tls.write(data)
        self._sock.sendall(self._outgoing.read())

    def read_frames(self) -> Iterator[Frame]:
        """The frames that come until the server closes the connection."""
        data = b""
        while chunk := self._whenever_readable(lambda: self._tls.read(65536)):
            data += chunk
            while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3]):
                high, low, kind, flags, stream_id = struct.unpack(">HBBBL", data[:9])
                end = 9 + (high << 8 | low)
                yield kind, flags, stream_id, data[9:end]
                data = data[end:]
        assert not data, data

    def close(self) -> None:
        self._sock.close()

    def _whenever_readable(self, act: Callable[[], Any]) -> Any:
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                if data := self._sock.recv(65536):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()  # an error now: the server has not said that it ends
            except ssl.SSLZeroReturnError:
                return b""


Act = Callable[[Peer], None]


class Server:
    """A running `hypercorn` that speaks TLS on one port and clear text on another."""

    def __init__(self, loop: str, directory: Path, *options: str) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(directory / "ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            directory / "server.pem"
        )
        self._context = ssl.create_default_context(cafile=directory / "ca.pem")
        self._context.set_alpn_protocols(["h2"])
        self.log = directory / "log"
        options += ("--insecure-bind", "127.0.0.2:0", "--certfile", str(directory / "server.pem"))
        self._process = start_server(loop, self.log, "http2_app:app", *options)
        self._ports = {scheme: wait_for_port(self._process, self.log, scheme) for scheme in ("http", "https")}

    def connect(self, scheme: str) -> socket.socket:
        host = "127.0.0.1" if scheme == "https" else "127.0.0.2"
        sock = socket.create_connection((host, self._ports[scheme]), PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme == "https":
            sock = self._context.wrap_socket(sock, server_hostname="127.0.0.1")
            assert sock.selected_alpn_protocol() == "h2"
        return sock

    def begin_stop(self) -> None:
        """Ask for a graceful stop, and return when it has begun."""
        self._process.terminate()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self.connect("http").close()
            except (ConnectionRefusedError, ConnectionResetError):
                return  # reset: it stood in the queue of the listening socket just as that was closed
        raise AssertionError("still accepting")

    def begin_handshake(self) -> HeldHandshake:
        """A connection that has sent no more than its ClientHello."""
        sock = socket.create_connection(("127.0.0.1", self._ports["https"]), PATIENCE)
        return HeldHandshake(sock, self._context)

    def stop(self) -> None:
        self._process.terminate()
        self.wait()

    def wait(self) -> None:
        try:
            status = self._process.wait(15)
        finally:
            self._process.kill()
        assert status == 0, self.log.read_text()
        assert "Traceback" not in self.log.read_text()
