"""One connection: drives its engine with what its socket brings, starts an exchange for each request.

Written once for every loop and protocol. The order after each call into the engine is always the same and
lives in `settle`: act on events, write output, then look at back-pressure, closing and deadlines.

What it refuses to do: parse anything (engines), talk to applications (exchanges), write and close the socket
(`transport.py`), wait (it is called back).
"""

from __future__ import annotations

import logging
import socket
from enum import Enum, auto
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..protocols.engine import NEVER, Closing, Engine, GraveFault
from ..protocols.events import Data, Refused, Request, StreamClosed, SwitchToHTTP2, Trailers, Writable
from .supervision import Counter, DrainReason
from .transport import LINGER_SECONDS, Transport

if TYPE_CHECKING:
    from ..config.sockets import Listener
    from .exchange import Exchange, Tunnel
    from .file_part import FilePart
    from .server import Server
    from .tls import TLSLayer
    from .websocket_tunnel import WebSocketTunnel
    from .wsgi_environ import Environs

logger = logging.getLogger("hypercorn.error")

#: How long a connection lingers that is idle when the server stops.
FAREWELL_SECONDS = 0.25
#: A connection that is younger is probably about to send its first request: a stopping server waits for it.
FRESH_SECONDS = 0.5
#: One read from the socket: 64 KiB, a usual size of pieces, with what TLS and frames put around it. Far enough below
#: glibc's mmap threshold: with 96 KiB each idle connection took 1 KB more (measured), as the heap was cut differently.
READ_SIZE = 81920
#: Output that has not been handed to the socket above which it is flushed without waiting for more.
FLUSH_SIZE = 65536
#: How much one application may send before others get their turn: a peer that reads as fast as it sends, or content that
#: is dropped (HEAD), never makes `send()` wait.
TURN_SIZE = 1 << 18
#: What each piece of content counts for beside its bytes: many tiny ones must not hold more memory, nor the loop for longer.
PIECE_COST = 200
#: Where the peer ranks its streams: output above which those that come first are waited for, to give more.
RANKED_PIECE = 16384
#: And what the kernel keeps ready to be sent then: nothing can overtake it any more.
RANKED_KERNEL_SIZE = 65536

#: Linux and macOS have it; elsewhere the kernel takes what it takes.
_TCP_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)


class Phase(Enum):
    """What a connection is in the middle of. Who calls from within (an application that answers at once) must not nest."""

    REST = auto()
    #: Events are acted on; output may be written in between, where much has gathered.
    SETTLING = auto()
    #: Output has been taken, and is on its way to the socket. Who comes here, with the finalizer of a coroutine that an
    #: application has abandoned, must not overtake it.
    SENDING = auto()


# Looking a member up in its class costs a hundred nanoseconds on CPython 3.11.
_OPEN, _ABORT = Closing.OPEN, Closing.ABORT
_REST, _SETTLING, _SENDING = Phase.REST, Phase.SETTLING, Phase.SENDING

_CONNECTIONS_OPEN = int(Counter.CONNECTIONS_OPEN)


class Connection(Transport):
    """A connected socket and all that hangs on it.

    Attributes:
        deadline: when `handle_deadline` wants to be called; read by the server's sweep.
        exchanges: those whose response is not complete, by stream.
        tunnel: gets what is read before the engine does, unless something is under way.
        is_flush_due: the engine has something that goes out at the end of this turn; until then nothing goes past it.
        settled_at: when output was last written, or found to be none.
        unflushed: bytes given to the engine since the last flush.
        websockets: those over HTTP/2 whose application is at work.
        environs: what WSGI requests of this connection have in common; theirs alone.
    """

    __slots__ = (
        "_drain_reason",
        "_farewell_ends",
        "_fresh_until",
        "_is_kept_short",
        "_is_turn_over",
        "_phase",
        "_timed",
        "deadline",
        "engine",
        "environs",
        "exchanges",
        "is_flush_due",
        "listener",
        "scheme",
        "secure",
        "server",
        "settled_at",
        "tunnel",
        "unflushed",
        "websockets",
    )

    def __init__(self, server: Server, sock: socket.socket, listener: Listener, peer: Any) -> None:
        tls = server.make_tls_layer() if listener.secure else None
        super().__init__(server.runtime, sock, peer, server.counters, tls, server.settings.write_timeout)
        self.server = server
        self.listener = listener
        self.secure = listener.secure
        self.scheme = "https" if listener.secure else "http"
        self.exchanges: dict[int, Exchange] = {}
        self.environs: Environs | None = None
        self.websockets: set[WebSocketTunnel] | None = None
        #: The exchanges that have deadlines of their own: WebSockets.
        self._timed: set[Exchange] = set()
        self.is_flush_due = False
        self.unflushed = 0
        self._drain_reason: DrainReason | None = None
        #: The socket has been what is narrow while the peer ranked its streams: the kernel keeps little of their data.
        self._is_kept_short = False
        self._phase = _REST
        #: Nothing goes out before the applications of ranked streams have had their turn of the loop, to give more.
        self._is_turn_over = False
        self.tunnel: Tunnel | None = None
        now = monotonic()
        self._fresh_until = now + FRESH_SECONDS
        #: When it is over at the latest: it was idle when the server began to stop, and has been since.
        self._farewell_ends = NEVER
        self.engine: Engine = server.make_http1_engine(now, self.secure)
        self.settled_at = now
        if tls is None:
            self.deadline = self.engine.deadline
        else:
            self.deadline = self._own_deadline = now + server.settings.ssl_handshake_timeout

    @property
    def is_ranked(self) -> bool:
        """Several exchanges are open, and the peer has said which of them come first.

        What waits for the socket is then what there is to choose from, so all may give more, up to the engine's limits.
        """
        return len(self.exchanges) > 1 and self.engine.ranks_streams

    # ---- for the server

    def start(self) -> None:
        """Begin to read."""
        self._set_reading(True)

    @property
    def is_idle(self) -> bool:
        """Nothing would be lost if the connection closed now."""
        return not self.exchanges and self.engine.is_idle and not self._pending

    def drain(self, reason: DrainReason, at_once: bool) -> None:
        """Finish what is open and close; see `Engine.drain` for `at_once`."""
        if self.is_closed or self.is_lingering:
            return
        self._drain_reason = reason
        now = monotonic()
        if self.is_idle and self._reading:
            # A request that has arrived but was not read yet is not to be lost.
            self.on_readable()
            if self.is_closed or self.is_lingering:
                return
            at_once = at_once and now > self._fresh_until and not self._is_shaking_hands()
        for exchange in list(self.exchanges.values()):
            exchange.drain(reason)
        if at_once and self.is_idle and self._farewell_ends == NEVER:
            # No answer is on its way that a reset could destroy, but perhaps a GOAWAY, by which a client knows
            # what to send again: hold up the stop for the way there and back, no longer.
            self._farewell_ends = now + FAREWELL_SECONDS
        self.engine.drain(now, at_once)
        self.settle(now)

    def _is_shaking_hands(self) -> bool:
        return self.tls is not None and self.tls.handshake_begun and not self.tls.handshake_done

    def handle_deadline(self, now: float) -> None:
        """`deadline` has passed: a handshake, a reader, a lingering close or the engine has timed out."""
        if self._reading and not self.is_lingering:
            # What came in time is in time, also where the application has held up the loop until now.
            self.on_readable()
            if self.is_closed or self.deadline > now:
                return
        if self._own_deadline <= now:
            self._overdue(now)
            return
        for exchange in list(self._timed):
            if exchange.deadline <= now:
                exchange.handle_deadline(now)
        if self.engine.deadline <= now:
            self.engine.handle_deadline(now)
        self.settle(now)

    # ---- from the socket

    def on_readable(self) -> None:
        """Read once and act on it."""
        try:
            data = self.sock.recv(READ_SIZE)
            if self.is_lingering:
                self._discard(data)
            elif not data:
                self._eof_received(monotonic())
            elif self.tls is None:
                self._take(data)
            else:
                self._receive_tls(self.tls, data)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.lost(error)
        except Exception:  # noqa: BLE001
            self.failed()

    def _eof_received(self, now: float) -> None:
        self._eof = True
        self._set_reading(False)
        if self.tls is not None and not self.tls.handshake_done:
            logger.debug("TLS with %s failed: the peer has left in the handshake", self.client)
            self.abort()
            return
        for exchange in list(self.exchanges.values()):
            exchange.peer_left()
        self.engine.receive_eof(now)
        self.settle(now)

    def _take(self, data: bytes) -> None:
        """Give what was received to the tunnel, if it can take it by itself, or else to the engine."""
        tunnel = self.tunnel
        if tunnel is None or self.is_flush_due or not tunnel.receive_plain(data):
            now = monotonic()
            self.engine.receive_data(data, now)
            self.settle(now)

    def _receive_tls(self, tls: TLSLayer, data: bytes) -> None:
        was_done = tls.handshake_done
        try:
            plaintext = tls.receive(data)
        except tls.error as error:
            logger.debug("TLS with %s failed: %s", self.client, error)
            self._write(tls.data_to_send())
            for exchange in list(self.exchanges.values()):
                exchange.closed()
            self._linger(monotonic())
            return
        if plaintext and was_done and not tls.received_close:
            # Should TLS have something of its own to say besides, that goes out with the next answer.
            self._take(plaintext)
        else:
            self._tls_moved(tls, plaintext, was_done)

    def _tls_moved(self, tls: TLSLayer, plaintext: bytes, was_done: bool) -> None:
        """TLS itself has got further: in its handshake, with a record of its own, or to its end."""
        now = monotonic()
        if tls.handshake_done and not was_done:
            tls.tls_info()  # now: once the peer has broken TLS, it has nothing to tell to the requests before that
            self._handshake_done(tls.alpn, now)
        if self._owes_tls_answers():
            self._set_reading(False)
        elif tls.output_size and not self.is_blocked:
            phase, self._phase = self._phase, _SENDING
            self._write(tls.data_to_send())
            self._phase = phase
        if plaintext:
            self._take(plaintext)
        if self.is_lingering and tls.received_close:
            self.close()  # both sides have said all
        elif tls.received_close and not self._eof and not self.is_closed:
            self._eof_received(now)
        elif tls.handshake_done:
            self.settle(now)

    def _handshake_done(self, alpn: str | None, now: float) -> None:
        # A new engine for HTTP/1.1 too: the first has counted the handshake as idleness.
        self._own_deadline = NEVER
        self._fresh_until = now + FRESH_SECONDS
        if alpn == "h2":
            self._begin(self.server.make_http2_engine(now, None, secure=True), now)
        else:
            self._begin(self.server.make_http1_engine(now, True), now)

    # ---- the one order after every call into the engine

    def settle(self, now: float) -> None:
        """Act on the engine's events, write its output, obey its wishes.

        Re-entrant calls (an application that answers at once from within its start) only write, and only
        when much has gathered: the outermost call goes on until nothing is left, so pipelined requests do
        not nest, but an application that sends on and on must find out when the socket is full.
        """
        if self.is_closed:
            return
        if self._phase is not _REST:
            self._write_much()
            return
        self._phase = _SETTLING
        try:
            is_turn_over = self._act_and_write(now)
        finally:
            self._phase = _REST
        if self.is_closed:
            return
        if is_turn_over and not self.is_blocked:
            self._is_turn_over = True
            self.flush_soon()
        else:
            self.is_flush_due = False
        self.settled_at = now
        engine = self.engine
        if engine.closing is not _OPEN:
            self._finish(engine.closing, now)
        else:
            wants_read = engine.wants_read and not self._eof
            if wants_read is not self._reading:
                self._set_reading(wants_read)
        self._update_deadline()

    def _act_and_write(self, now: float) -> bool:
        """Until the engine has neither events nor output that the socket takes.

        Returns whether more waits for the end of this turn: the applications of ranked streams are to give first.
        """
        is_turn_over = self._is_turn_over
        while not self.is_closed:
            engine = self.engine
            if engine.events and (self.unflushed < FLUSH_SIZE or is_turn_over):
                self._dispatch(now)
                continue
            if is_turn_over and engine.closing is _OPEN:
                break
            self.unflushed = 0
            self._phase = _SENDING
            if not self.is_blocked and (data := engine.data_to_send()):
                rest, engine.apart = engine.apart, b""
                self._send(data, rest)
                if rest:
                    # What may stand behind it goes before what is asked for meanwhile.
                    self.unflushed = FLUSH_SIZE
                is_turn_over = len(data) >= RANKED_PIECE and bool(engine.events) and self.is_ranked
            elif not engine.events:
                break
            self._phase = _SETTLING
        return is_turn_over

    def _write_much(self) -> None:
        """A call from within: write if much has gathered, at once or, in the middle of a write, soon."""
        if self._phase is _SENDING:
            self.flush_soon()
            return
        while self.unflushed >= FLUSH_SIZE and not self.is_blocked:
            self.unflushed = 0
            self._phase = _SENDING
            try:
                if self._send_next():
                    self.unflushed = FLUSH_SIZE
            finally:
                self._phase = _SETTLING

    def _send_next(self) -> bool:
        """Write what the engine gives next; True: there may be more behind it. `_act_and_write` does it without a call."""
        engine = self.engine
        data = engine.data_to_send()
        rest, engine.apart = engine.apart, b""
        if data:
            self._send(data, rest)
        return bool(rest)

    def send_at_once(self, data: bytes, rest: bytes) -> bool:
        """Write the tunnel's `data`, and `rest` behind it, past the engine. False: not now, something else comes first."""
        if self.is_flush_due or self.is_blocked or self._phase is not _REST or self.is_closed:
            return False
        self._phase = _SENDING
        try:
            self._send(data, rest)
        finally:
            self._phase = _REST
        return True

    def flush_soon(self) -> None:
        """Write at the end of this turn of the loop, together with what else is sent until then."""
        if not self.is_flush_due:
            self.is_flush_due = True
            self.server.flush_soon(self)

    def flush(self, now: float) -> None:
        """The turn of the loop that `flush_soon` spoke of has ended."""
        self.is_flush_due = self._is_turn_over = False
        self.settle(now)

    def _dispatch(self, now: float) -> None:
        events = self.engine.events
        self.engine.events = []
        for event in events:
            kind = type(event)
            if kind is Request:
                self._start_exchange(event)  # type: ignore[arg-type]
            elif kind is SwitchToHTTP2:
                self._switch_to_http2(event, now)  # type: ignore[arg-type]
            elif kind is Refused:
                self.server.refused(self, event)  # type: ignore[arg-type]
            else:
                self._deliver(event)  # type: ignore[arg-type]
            if self.is_closed:
                return

    def _deliver(self, event: Data | Trailers | StreamClosed | Writable) -> None:
        exchange = self.exchanges.get(event.stream_id)
        if exchange is None:
            if isinstance(event, Data):
                self.engine.consume(event.stream_id, len(event.data), monotonic())
        elif isinstance(event, Data):
            exchange.data_received(event.data, event.end_stream)
        elif isinstance(event, Trailers):
            exchange.trailers_received(event.fields)
        elif isinstance(event, StreamClosed):
            exchange.closed()
        else:
            exchange.writable()

    def _start_exchange(self, request: Request) -> None:
        exchange = self.server.make_exchange(self, request)
        if exchange is not None:
            self._fresh_until = 0.0
            self._farewell_ends = NEVER
            self.exchanges[request.stream_id] = exchange
            if request.upgrade is not None:
                self._timed.add(exchange)
                if self._drain_reason is not None:
                    # This comes too late to be told with the others, and would hold up the stop.
                    exchange.drain(self._drain_reason)
            if self._eof:
                exchange.peer_left()
            self.server.run_exchange(exchange)

    def exchange_over(self, stream_id: int) -> None:
        """The response of `stream_id` is complete or can never be: it gets no more events."""
        exchange = self.exchanges.pop(stream_id, None)
        if self._timed and exchange is not None:
            self._timed.discard(exchange)
            self.tunnel = None

    def _switch_to_http2(self, event: SwitchToHTTP2, now: float) -> None:
        # The 101 (Switching Protocols) goes out before anything of the new engine.
        self._send_output()
        self._begin(self.server.make_http2_engine(now, event, secure=self.secure), now)
        self.engine.set_transport_writable(not self.is_blocked, now)
        if self._eof:
            self.engine.receive_eof(now)  # the engine that was told has gone

    def _begin(self, engine: Engine, now: float) -> None:
        self.engine = engine
        if self._drain_reason is not None:
            # The engine that was told has gone; the new one serves what its first read brings, as that had to.
            self.engine.drain(now, at_once=False)

    def send_file(self, file: FilePart) -> None:
        """Send `file` behind what the engine has given; without TLS only, and one at a time.

        Until all of it is on its way the connection `is_blocked`, and its exchanges are then told by `writable`.
        The descriptor stays open until then, or until `give_up_file`.
        """
        self._send_output()
        if not self.is_closed:
            self._begin_file(file)

    def _send_output(self) -> None:
        """Write all that the engine has, though the socket may be blocked; without TLS only."""
        while self._send_next():
            pass

    # ---- for the transport

    def _blocked(self, now: float) -> None:
        self.engine.set_transport_writable(False, now)
        if not self._is_kept_short and self.engine.ranks_streams:
            # Also for a single response: what comes later and is more urgent shall not be behind megabytes of it.
            self._is_kept_short = True
            if self.client is not None and _TCP_NOTSENT_LOWAT is not None:
                self.sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, RANKED_KERNEL_SIZE)

    def _unblocked(self, now: float) -> None:
        self.engine.set_transport_writable(True, now)
        for exchange in list(self.exchanges.values()):
            exchange.writable()

    def _update_deadline(self) -> None:
        # Written out, for min() costs a tenth of what settling does.
        deadline = self.engine.deadline
        if self._own_deadline < deadline:  # noqa: PLR1730
            deadline = self._own_deadline
        if self._timed:
            deadline = min(deadline, *(exchange.deadline for exchange in self._timed))
        self.deadline = deadline

    def _finish(self, closing: Closing, now: float) -> None:
        if closing is _ABORT:
            self._tell_fault()
            self.abort()
        elif not self._pending and not self.is_lingering:
            is_faulty = self._tell_fault()
            self._linger(now)
            if is_faulty and self.is_lingering:
                # It has nothing to send that anybody wants, and may go on for as long as it is let.
                self._linger_until_at_most(now + LINGER_SECONDS)
            if self._farewell_ends <= now:
                self.close()
            elif self._farewell_ends != NEVER and self.is_lingering:
                self._linger_until_at_most(self._farewell_ends)

    def _tell_fault(self) -> bool:
        """Log what the peer has done wrong, once; False: nothing."""
        fault = self.engine.fault
        if fault:
            self.engine.fault = ""
            # A flood can make a line of each connection, not more; still no warning, for anybody may cause it.
            level = logging.INFO if isinstance(fault, GraveFault) else logging.DEBUG
            logger.log(level, "Connection with %s ended: %s", self.client, fault)
        return fault != ""

    def _gone(self) -> None:
        """Every open exchange learns that its peer is gone."""
        self.deadline = NEVER
        self.counters[_CONNECTIONS_OPEN] -= 1
        for exchange in list(self.exchanges.values()):
            exchange.closed()
        self.exchanges.clear()
        self._timed.clear()
        self.server.connection_closed(self)
