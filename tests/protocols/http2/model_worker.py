"""What `workers/connection.py` and the exchanges do with an engine, without sockets and applications."""

from __future__ import annotations

from hypercorn.protocols.engine import Closing, DefaultFields
from hypercorn.protocols.events import Data, Event, Request, StreamClosed, SwitchToHTTP2, Trailers, Writable
from hypercorn.protocols.http1 import HTTP1Engine, HTTP1Parameters
from hypercorn.protocols.http2 import HTTP2Engine, HTTP2Parameters

from ..model_network import TimedWorker
from .model_client import Fields, content, frames_of

DATA, HEADERS, RST_STREAM, GOAWAY = 0, 1, 3, 7
END_STREAM, REFUSED_STREAM = 1, 7
DEFAULTS = [(b"server", b"test"), (b"date", b"today")]


class Exchange:
    """One request, its response, and the call of the application."""

    def __init__(self, request: Request, now: float) -> None:
        self.id = request.stream_id
        self.request = request
        self.received = 0
        self.unread = 0
        self.is_request_over = request.end_stream
        self.trailers: Fields | None = None
        #: Of the response, as the peer has to get it.
        self.head: Fields | None = None
        self.is_bodiless = False
        self.is_tunnel = False
        self.length: int | None = None
        self.informational = 0
        self.sent = 0
        self.sent_trailers: Fields | None = None
        self.is_complete = False
        #: The stream was lost, or cut by the application's failure.
        self.is_closed = False
        self.was_cut = False
        self.was_lost = False
        self.lost_at = now
        #: The peer gave no window for too long.
        self.was_stalled = False
        self.is_waiting = False
        self.is_call_over = False
        self.promised: list[int] = []
        #: When it last had nothing to send, or sent something.
        self.moved_at = now
        self.framed = 0
        self.is_framed = False

    @property
    def is_open(self) -> bool:
        """It counts against the limit of concurrent streams: a push does not."""
        return self.id & 1 == 1 and not (self.is_framed or self.was_cut or self.was_lost)

    def is_at_work(self, now: float) -> bool:
        """Its application runs for an open stream, or, for a minute at most, in vain."""
        return self.takes_place(now) and not self.is_complete

    def takes_place(self, now: float) -> bool:
        """No other request may have its place: until its answer has gone out, and for a minute while it runs in vain."""
        is_running = self.was_lost and not self.is_call_over and not self.is_complete
        return self.is_open or (self.id & 1 == 1 and is_running and now - self.lost_at < 60)

    @property
    def is_sending(self) -> bool:
        """The application may send."""
        return not (self.is_complete or self.is_closed or self.is_waiting or self.is_call_over)


def switch(settings: bytes, now: float) -> SwitchToHTTP2:
    """What an HTTP/1.1 engine makes of a request for an upgrade with `settings`, in base64."""
    engine = HTTP1Engine(HTTP1Parameters(), DefaultFields([]), now, secure=False)
    engine.receive_data(
        b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: %b\r\n\r\n" % settings,
        now,
    )
    (event,) = engine.events
    assert isinstance(event, SwitchToHTTP2)
    assert engine.data_to_send().startswith(b"HTTP/1.1 101 ")
    return event


class ModelWorker(TimedWorker):
    """`output` is what was written to the socket and nobody has delivered yet."""

    def __init__(self, parameters: HTTP2Parameters, upgrade_settings: bytes | None, now: float) -> None:
        self.parameters = parameters
        self.now = now
        upgrade = None if upgrade_settings is None else switch(upgrade_settings, now)
        self.engine = HTTP2Engine(parameters, DefaultFields(DEFAULTS), now, upgrade=upgrade, secure=False)
        self.is_blocked = False
        self.output = bytearray()
        self.exchanges: dict[int, Exchange] = {}
        self.open: dict[int, Exchange] = {}
        self.is_overdue = False
        #: The most streams that were open at once since something was written.
        self.busiest = 0
        #: As the last GOAWAY has it.
        self.last_served = 2**31 - 1
        self.settle()

    # ---- the connection

    def settle(self) -> None:
        """The order of `Connection.settle`."""
        while True:
            if self.engine.events:
                events, self.engine.events = self.engine.events, []
                for event in events:
                    self._on_event(event)
            elif not self._write_once():
                break

    def _write_once(self) -> bool:
        open_ = sum(exchange.is_open for exchange in self.exchanges.values()) + len(self.engine._waiting)
        self.busiest = max(self.busiest, open_)
        if self.is_blocked or not (data := self.engine.data_to_send()):
            return False
        for kind, flags, stream_id, frame in frames_of(data):
            self._on_frame(kind, flags, stream_id, frame[9:])
        self.busiest = 0
        self.output += data
        return True

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        exchange = self.exchanges.get(stream_id)
        if kind == GOAWAY:
            self.last_served = int.from_bytes(payload[:4], "big")
        elif kind == RST_STREAM and payload[-1] == REFUSED_STREAM:
            assert self.last_served < stream_id or self.busiest >= self.parameters.max_concurrent_streams
        elif exchange is not None and kind in (DATA, HEADERS):
            exchange.is_framed = exchange.is_framed or flags & END_STREAM != 0
            if kind == DATA:
                exchange.moved_at = self.now
                exchange.framed += len(payload)

    @property
    def at_work(self) -> int:
        return sum(exchange.is_at_work(self.now) for exchange in self.exchanges.values())

    @property
    def places_taken(self) -> int:
        return sum(exchange.takes_place(self.now) for exchange in self.exchanges.values())

    def receive(self, data: bytes) -> None:
        if data and self.engine.wants_read and self.engine.closing is Closing.OPEN:
            self.engine.receive_data(data, self.now)
            self.settle()

    @property
    def deadline(self) -> float:
        return self.engine.deadline

    def _handle_deadline(self) -> None:
        self.is_overdue = True
        self.engine.handle_deadline(self.now)
        self.settle()
        self.is_overdue = False

    def block(self) -> None:
        self.is_blocked = True
        self.engine.set_transport_writable(False, self.now)

    def unblock(self) -> None:
        self.is_blocked = False
        self.engine.set_transport_writable(True, self.now)
        for exchange in list(self.open.values()):
            self._wake(exchange)
        self.settle()

    def drain(self, at_once: bool) -> None:
        self.engine.drain(self.now, at_once)
        self.settle()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Request):
            assert event.stream_id not in self.exchanges
            assert event.stream_id & 1 == 0 or event.stream_id <= self.last_served
            exchange = self.exchanges[event.stream_id] = Exchange(event, self.now)
            self.open[event.stream_id] = exchange
            assert self.at_work <= self.parameters.max_concurrent_streams
            return
        assert isinstance(event, Data | Trailers | StreamClosed | Writable), event
        exchange = self.exchanges[event.stream_id]
        if isinstance(event, Writable):
            if event.stream_id in self.open:
                self._wake(exchange)
            return
        assert not exchange.was_lost
        if isinstance(event, StreamClosed):
            exchange.was_lost = True
            exchange.lost_at = self.now
            if self.is_overdue and not self.engine.fault:
                assert self.parameters.write_timeout is not None
                assert self.now - exchange.moved_at >= self.parameters.write_timeout
                exchange.was_stalled = True
            if event.stream_id in self.open:
                self._close(exchange)
            return
        assert not exchange.is_request_over
        if isinstance(event, Trailers):
            exchange.is_request_over = True
            exchange.trailers = event.fields
            return
        size = len(event.data)
        assert event.data == content(exchange.id, exchange.received, size)
        exchange.received += size
        exchange.is_request_over = event.end_stream
        if event.stream_id in self.open:
            exchange.unread += size
        else:
            self.engine.consume(event.stream_id, size, self.now)

    def _wake(self, exchange: Exchange) -> None:
        is_blocked = self.is_blocked and not (len(self.open) > 1 and self.engine.ranks_streams)
        exchange.is_waiting = is_blocked or not self.engine.can_send(exchange.id)

    def _close(self, exchange: Exchange) -> None:
        exchange.is_closed = True
        exchange.is_waiting = False
        del self.open[exchange.id]

    # ---- the application, by way of its exchange; nothing is written before `settle`

    def inform(self, exchange: Exchange, status: int) -> None:
        exchange.informational += 1
        self.engine.send_informational(exchange.id, status, [(b"link", b"</%d>" % exchange.informational)])

    def start(self, exchange: Exchange, status: int, fields: Fields, length: int | None) -> None:
        request = exchange.request
        exchange.is_tunnel = request.upgrade is not None and status < 300
        exchange.is_bodiless = not exchange.is_tunnel and (
            request.method == "HEAD" or status in (204, 205, 304)
        )
        if length is not None and not exchange.is_tunnel and not exchange.is_bodiless:
            exchange.length = length
            fields = [*fields, (b"content-length", b"%d" % length)]
        self.engine.send_head(exchange.id, status, fields, self.now)
        exchange.head = [(b":status", b"%d" % status), *fields, *DEFAULTS]

    def send(self, exchange: Exchange, size: int, end: bool) -> None:
        if exchange.length is not None:
            size = exchange.length - exchange.sent if end else min(size, exchange.length - exchange.sent)
            end = end or size + exchange.sent == exchange.length
        data = content(exchange.id, exchange.sent, size)
        if exchange.framed == exchange.sent:
            exchange.moved_at = self.now
        self.engine.send_data(exchange.id, data, end, self.now)
        if not exchange.is_bodiless:
            exchange.sent += size
        self._sent(exchange, end)

    def send_trailers(self, exchange: Exchange) -> None:
        """Ends the response, after what its length still lacks."""
        if exchange.length is not None and exchange.sent < exchange.length:
            rest = exchange.length - exchange.sent
            self.engine.send_data(exchange.id, content(exchange.id, exchange.sent, rest), False, self.now)
            exchange.sent += rest
        fields = [(b"x-sum", b"%d" % exchange.sent), (b"x-id", b"%d" % exchange.id)]
        if not exchange.is_tunnel and not exchange.is_bodiless:
            exchange.sent_trailers = fields
        self.engine.send_trailers(exchange.id, fields, self.now)
        self._sent(exchange, True)

    def _sent(self, exchange: Exchange, end: bool) -> None:
        if end:
            exchange.is_complete = True
            del self.open[exchange.id]
        else:
            self._wake(exchange)

    def fail(self, exchange: Exchange) -> None:
        assert not self.engine.reset_stream(exchange.id, self.now)
        exchange.was_cut = True
        self._close(exchange)
        self.settle()

    def push(self, exchange: Exchange) -> int | None:
        promised = self.engine.push(
            exchange.id, "GET", b"/pushed", [(b"x-on", b"%d" % exchange.id)], self.now
        )
        if promised is not None:
            exchange.promised.append(promised)
        return promised

    def consume(self, exchange: Exchange, size: int) -> None:
        """Take a part of what has arrived; `receive()` does so after the end of the response, too."""
        size = min(size, exchange.unread)
        exchange.unread -= size
        self.engine.consume(exchange.id, size, self.now)

    def end_call(self, exchange: Exchange) -> None:
        """The call is over: only once the response is complete, or can never be."""
        assert exchange.is_complete or exchange.is_closed
        exchange.is_call_over = True
        self.engine.exchange_ended(exchange.id, self.now)
