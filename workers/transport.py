"""The raw socket of one connection: what is written to it, read from it after the end, and how it is closed.

Written once for every loop. Output goes out at once if the socket takes it; the rest waits here, and behind it
perhaps a file, until the loop says that the socket is writable. It refuses to know of engines and exchanges:
`connection.py`, which is a `Transport`, is told when output is blocked and when it flows again.

Closing. A server that closes a socket with unread input resets it, and the reset may destroy the last answer
on its way to the client (RFC 9112 §9.6). So after the last byte the sending side is closed and input is read
and thrown away until the peer closes too, or nothing has come for `LINGER_SECONDS`, for at most `LINGER_LONGEST`:
a client that sends a large body first and reads the answer then must find it.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..protocols.engine import NEVER
from .send_queue import untaken
from .supervision import Counter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .file_part import FilePart
    from .runtime import Runtime
    from .tls import TLSLayer

logger = logging.getLogger("hypercorn.error")

LINGER_SECONDS = 2.0
LINGER_LONGEST = 30.0
#: What TLS may have to say by itself while the socket is blocked; 27 bytes are the answer to a key update.
MAX_TLS_ANSWERS = 1024
#: How much of a file, or of a large output, is sent before others get their turn.
WRITE_TURN = 1 << 20

_BYTES_SENT = int(Counter.BYTES_SENT)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Transport:
    """A connected, non-blocking socket, with or without TLS.

    Attributes:
        client: the peer's address and port, None for Unix sockets.
        local: our own.
        tls: what encrypts, None in clear text.
        is_blocked: the socket takes no more for now.
        is_lingering: everything is sent, and only the peer's end is awaited.
        is_closed: the socket is closed.
    """

    __slots__ = (
        "_eof",
        "_file",
        "_linger_until",
        "_own_deadline",
        "_pending",
        "_pieces",
        "_reading",
        "_untaken",
        "_write_timeout",
        "client",
        "counters",
        "is_blocked",
        "is_closed",
        "is_lingering",
        "local",
        "runtime",
        "sock",
        "tls",
    )

    def __init__(
        self,
        runtime: Runtime,
        sock: socket.socket,
        peer: Any,
        counters: memoryview[int] | list[int],
        tls: TLSLayer | None,
        write_timeout: float | None,
    ) -> None:
        """Take over a socket.

        Args:
            runtime: the loop.
            sock: connected and non-blocking.
            peer: what `accept` gave with it.
            counters: where bytes that were sent are counted.
            tls: None for clear text.
            write_timeout: seconds after which a peer that takes no byte is cut; None or 0 for never.
        """
        self.runtime = runtime
        self.sock = sock
        # Internet addresses are tuples. To ask the socket for its family costs a microsecond, for it makes an enumeration's
        # member of the answer.
        if isinstance(peer, tuple):
            self.client: tuple[str, int] | None = (peer[0], peer[1])
            self.local: tuple[str, int] | None = sock.getsockname()[:2]
        else:
            self.client = self.local = None
        self.counters = counters
        self.tls = tls
        self.is_blocked = False
        self.is_closed = False
        self.is_lingering = False
        self._eof = False
        self._reading = False
        self._pending: deque[memoryview] = deque()
        #: What comes behind `_pending`, and is encrypted when its turn comes: a reader that is slow holds no second copy of
        #: it. Only while something is pending.
        self._pieces: Iterator[bytes] | None = None
        #: What comes behind `_pending`, straight from a file.
        self._file: FilePart | None = None
        self._write_timeout = write_timeout
        #: With output pending: how much of it the kernel held when the deadline was set.
        self._untaken = 0
        self._own_deadline = NEVER
        self._linger_until = NEVER

    # ---- for the connection to fill in

    def on_readable(self) -> None:
        """The socket can be read."""
        raise NotImplementedError

    def settle(self, now: float) -> None:
        """Output flows again: go on."""
        raise NotImplementedError

    def _blocked(self, now: float) -> None:
        """The socket takes no more for now."""
        raise NotImplementedError

    def _unblocked(self, now: float) -> None:
        """All output has been taken."""
        raise NotImplementedError

    def _update_deadline(self) -> None:
        """`_own_deadline` has changed."""
        raise NotImplementedError

    def _gone(self) -> None:
        """The socket has just been closed."""
        raise NotImplementedError

    def failed(self) -> None:
        """A border: a fault of ours in one connection must not reach the loop, where trio would end the worker."""
        logger.exception("Error in a connection; it is cut")
        self.abort()

    def lost(self, error: OSError) -> None:
        """The peer has reset the connection, or it has broken."""
        tls = self.tls
        if tls is not None and not (tls.handshake_done or tls.has_failed or self.is_lingering):
            logger.debug("TLS with %s failed: %s", self.client, error.strerror)
        self.close()

    # ---- writing

    def _send(self, data: bytes, rest: bytes = b"") -> None:
        """Write `data`, and behind it `rest`, which need not be copied for it, through TLS if there is any.

        Through TLS only where it is not blocked: what `_pieces` still has would have to go first.
        """
        tls = self.tls
        if tls is None:
            self._write(data, rest)
            return
        assert not self.is_blocked
        try:
            if len(data) + len(rest) > tls.at_once:
                self._write_pieces(tls.encrypt_in_pieces(data, rest))
                return
            ciphertext = tls.encrypt(data, rest)
        except tls.error as error:
            self._tls_failed(error)
        except MemoryError:
            self.abort()  # the peer must not take what is not whole for the end
            raise
        else:
            self._write(ciphertext)

    def _tls_failed(self, error: Exception) -> None:
        logger.debug("TLS with %s failed: %s", self.client, error)
        self.abort()

    def _write(self, data: bytes, rest: bytes = b"") -> None:
        if self.is_blocked:
            self._keep(data, rest, 0)
            return
        try:
            sent = self.sock.sendmsg((data, rest)) if rest else self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self.lost(error)
            return
        self.counters[_BYTES_SENT] += sent
        if sent < len(data) + len(rest):
            self._keep(data, rest, sent)
            self._block(monotonic())

    def _keep(self, data: bytes, rest: bytes, sent: int) -> None:
        """All but the first `sent` bytes of both go out when the socket takes them."""
        for part in (data, rest):
            if sent < len(part):
                self._pending.append(memoryview(part)[sent:])
            sent = max(0, sent - len(part))

    def _write_pieces(self, pieces: Iterator[bytes]) -> None:
        """Write large output as far as the socket takes it, but not so much that others have to wait."""
        written = 0
        for piece in pieces:
            if written >= WRITE_TURN:
                self._pending.append(memoryview(piece))
                self._block(monotonic())
            else:
                self._write(piece)
                written += len(piece)
            if self.is_blocked:
                self._pieces = pieces
            if self.is_blocked or self.is_closed:
                return

    def _block(self, now: float) -> None:
        """Go on in `on_writable`."""
        self.is_blocked = True
        self._blocked(now)
        self._set_write_deadline(now)
        self.runtime.watch_writable(self.sock, self.on_writable)

    def _unblock(self, now: float) -> None:
        self.runtime.unwatch_writable(self.sock)
        if self.tls is None or self.tls.handshake_done:
            self._own_deadline = NEVER
        self.is_blocked = False
        self._unblocked(now)

    def on_writable(self) -> None:
        """Write what is pending; once it is gone, go on."""
        now = monotonic()
        try:
            if not self._send_pending(now):
                return
            if self._file is not None and not self._send_from_file(self._file, now):
                return
            self._unblock(now)
            self.settle(now)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.lost(error)
        except Exception:  # noqa: BLE001
            self.failed()

    def _send_pending(self, now: float) -> bool:
        """Send what the socket takes, but not so much that others have to wait. Returns whether that was all."""
        pending = self._pending
        written = 0
        while pending and written < WRITE_TURN:
            chunk = pending[0]
            sent = self.sock.send(chunk)
            self.counters[_BYTES_SENT] += sent
            self._set_write_deadline(now)
            if sent < len(chunk):
                pending[0] = chunk[sent:]
                break
            pending.popleft()
            written += sent
            if not pending and self.tls is not None:
                self._encrypt_more(self.tls)
        if pending:
            self._update_deadline()
        return not (pending or self.is_closed)

    def _encrypt_more(self, tls: TLSLayer) -> None:
        """The next of `_pieces`, or what TLS itself has had to say while the socket was blocked."""
        try:
            piece = next(self._pieces, None) if self._pieces is not None else None
        except tls.error as error:
            self._tls_failed(error)
            return
        if piece is None:
            self._pieces = None
            piece = tls.data_to_send()
        if piece:
            self._pending.append(memoryview(piece))

    def _begin_file(self, file: FilePart) -> None:
        """Send `file` behind what was given before; without TLS only, and one at a time."""
        self._file = file
        now = monotonic()
        try:
            if not self.is_blocked and not self._send_from_file(file, now) and not self.is_closed:
                self._block(now)
        except OSError:
            self.close()
        self._update_deadline()

    def _send_from_file(self, file: FilePart, now: float) -> bool:
        """Send what the socket takes, but not so much that others have to wait. Returns whether that was all."""
        try:
            sent = os.sendfile(self.sock.fileno(), file.descriptor, file.offset, min(file.left, WRITE_TURN))
        except (BlockingIOError, InterruptedError):
            return False
        if not sent:
            logger.error(
                "A file has become shorter while it was sent, by %d bytes; the connection is cut", file.left
            )
            self.abort()
            return False
        self.counters[_BYTES_SENT] += sent
        file.offset += sent
        file.left -= sent
        if file.left:
            self._set_write_deadline(now)
            self._update_deadline()
            return False
        self._file = None
        return True

    def give_up_file(self) -> None:
        """Send no more of the file that is being sent; framing, or a reset, tells the peer that it is not whole."""
        self._file = None
        if self.is_blocked and not self._pending and not self.is_closed:
            self._unblock(monotonic())

    def _set_write_deadline(self, now: float) -> None:
        if self.tls is not None and not self.tls.handshake_done:
            return  # the handshake has a deadline of its own
        timeout = self._write_timeout
        self._own_deadline = now + timeout if timeout else NEVER
        self._untaken = untaken(self.sock)

    def _overdue(self, now: float) -> None:
        """`_own_deadline` has passed: cut the connection, but not for a reader that is only slow."""
        if self.tls is not None and not self.tls.handshake_done and not self.is_lingering:
            logger.debug("TLS handshake with %s timed out", self.client)
        elif (self._pending or self._file is not None) and untaken(self.sock) < self._untaken:
            self._set_write_deadline(now)
            self._update_deadline()
            return
        self.abort()

    # ---- reading

    def _owes_tls_answers(self) -> bool:
        """Whether what TLS answers (to key updates, say) has to be taken by the socket before more is read."""
        return self.is_blocked and self.tls is not None and self.tls.output_size > MAX_TLS_ANSWERS

    def _set_reading(self, reading: bool) -> None:
        if reading and self._owes_tls_answers():
            return
        self._reading = reading
        if reading:
            self.runtime.watch_readable(self.sock, self.on_readable)
        else:
            self.runtime.unwatch_readable(self.sock)

    def look_for_reset(self) -> None:
        """Close the connection if its peer has reset it. See `Runtime.misses_resets`."""
        if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close()

    # ---- the end

    def _linger(self, now: float) -> None:
        """Close the sending side, and wait for the peer to close too."""
        if self.tls is not None:
            self.tls.close()
            if output := self.tls.data_to_send():
                self._write(output)
                if self._pending:
                    return  # comes back here once that is out
        if self._eof or self.is_closed:
            self.close()
            return
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self.is_lingering = True
        self._own_deadline = now + LINGER_SECONDS
        self._linger_until = now + LINGER_LONGEST
        self._update_deadline()
        if not self._reading:
            self._set_reading(True)

    def _linger_until_at_most(self, latest: float) -> None:
        self._linger_until = latest
        self._own_deadline = min(self._own_deadline, latest)
        self._update_deadline()

    def _discard(self, data: bytes) -> None:
        """Throw away what was read while lingering."""
        if not data:
            self.close()
            return
        self._own_deadline = min(monotonic() + LINGER_SECONDS, self._linger_until)
        self._update_deadline()

    def abort(self) -> None:
        """Cut the connection so that the peer notices: it is reset."""
        if not self.is_closed:
            if not self.is_lingering:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close()

    def close(self) -> None:
        """Close the socket, once."""
        if self.is_closed:
            return
        self.is_closed = True
        self.runtime.forget(self.sock)
        self.sock.close()
        self._pending.clear()
        self._pieces = self._file = None
        self._gone()
