"""Workers come and go under HTTP/2 requests: a client that keeps to GOAWAY loses none (RFC 9113 §6.8)."""

from __future__ import annotations

import signal
import socket
import struct
import threading
from collections.abc import Callable

import pytest
from hpack import Encoder

from .conftest import PATIENCE, Arbiter

Start = Callable[..., Arbiter]

LOOPS = ("asyncio", "uvloop", "trio")
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END, ACK, END_HEADERS = 1, 1, 4
REFUSED = 7
AT_ONCE = 4
FIELDS = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBL", len(payload) >> 8, len(payload) & 255, kind, flags, stream_id) + payload


class Load(threading.Thread):
    """Requests without end, some at once, over one connection after the other.

    Attributes:
        enough: no further request is begun.
        has_begun: the first response is there.
        answered: how many have got their response.
        lost: the streams that were neither answered nor handed back, with the reason.
        resets: how many connections were reset before the server had said a word.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.enough = threading.Event()
        self.has_begun = threading.Event()
        self.answered = 0
        self.lost: list[tuple[set[int], str]] = []
        self.resets = 0
        self.start()

    def stop(self) -> None:
        self.enough.set()
        self.join(PATIENCE)
        assert not self.is_alive()

    def run(self) -> None:
        while not self.enough.is_set():
            try:
                sock = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                self.resets += 1
                continue
            with sock:
                connection = Connection(sock)
                try:
                    connection.run(self)
                except (OSError, EOFError) as error:
                    if isinstance(error, ConnectionError) and not connection.was_served:
                        self.resets += 1
                    elif connection.open:
                        self.lost.append((connection.open, repr(error)))


class Connection:
    """One connection; `open` are the streams that the server owes something, if it `was_served` at all."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._block = Encoder().encode([(name, value, True) for name, value in FIELDS], huffman=False)
        self._next = 1
        self._is_leaving = False
        self.open: set[int] = set()
        self.was_served = False

    def run(self, load: Load) -> None:
        with self._file:
            self._sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
            for _ in range(AT_ONCE):
                self._ask()
            while self.open:
                if self._is_answer(*self._read()):
                    load.answered += 1
                    load.has_begun.set()
                    if not self._is_leaving and not load.enough.is_set():
                        self._ask()

    def _ask(self) -> None:
        self.open.add(self._next)
        self._sock.sendall(frame(HEADERS, END | END_HEADERS, self._next, self._block))
        self._next += 2

    def _read(self) -> tuple[int, int, int, bytes]:
        head = self._file.read(9)
        if len(head) < 9:
            raise EOFError
        self.was_served = True
        high, low, kind, flags, stream_id = struct.unpack(">HBBBL", head)
        return kind, flags, stream_id, self._file.read(high << 8 | low)

    def _is_answer(self, kind: int, flags: int, stream_id: int, payload: bytes) -> bool:
        if kind in (SETTINGS, PING) and not flags & ACK:
            self._sock.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == GOAWAY:
            last, code = struct.unpack(">LL", payload[:8])
            assert code == 0, payload
            self._is_leaving = True
            self.open = {stream for stream in self.open if stream <= last}
        elif kind == RST_STREAM and payload == struct.pack(">L", REFUSED):
            self.open.discard(stream_id)
        elif kind in (DATA, HEADERS) and flags & END:
            self.open.remove(stream_id)
            return True
        return False


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM])
def test_signals_lose_no_stream(
    start: Start, loop: str, number: signal.Signals, hold_port: Callable[[], int]
) -> None:
    server = start("-w", "2", "-k", loop, bind=f"127.0.0.1:{hold_port()}")
    server.wait_for("Worker .* is ready", 2)
    loads = [Load(server.port()) for _ in range(3)]
    assert all(load.has_begun.wait(PATIENCE) for load in loads)
    server.signal(number)
    server.wait_for(r"Worker \d \(pid \d+\) has ended", 2)
    for load in loads:
        load.stop()
    assert [load.lost for load in loads] == [[], [], []]
    # Between the last accept from a socket and its close, which only a stop brings, the kernel may complete one more
    # handshake, and resets it: of each client at most one for each of the two sockets.
    assert max(load.resets for load in loads) <= (2 if number is signal.SIGTERM else 0)
    if number is signal.SIGTERM:
        assert server.ends() == 0


@pytest.mark.parametrize("loop", LOOPS)
def test_max_requests_loses_no_stream(start: Start, loop: str) -> None:
    server = start("-w", "2", "-k", loop, "--max-requests", "60", "--max-requests-jitter", "30")
    server.wait_for("Worker .* is ready", 2)
    loads = [Load(server.port()) for _ in range(3)]
    server.wait_for(r"Worker \d \(pid \d+\) has ended", 3)
    for load in loads:
        load.stop()
    assert [load.lost for load in loads] == [[], [], []]
    assert [load.resets for load in loads] == [0, 0, 0]
    assert sum(load.answered for load in loads) > 60
