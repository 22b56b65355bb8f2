"""What `workers/connection.py` and the exchanges do with an HTTP/1.1 engine, without sockets and applications."""

from __future__ import annotations

from hypercorn.protocols.engine import Closing, DefaultFields
from hypercorn.protocols.events import Data, Event, Refused, Request, StreamClosed, Trailers, Writable
from hypercorn.protocols.http1 import HTTP1Engine, HTTP1Parameters

from ..model_network import TimedWorker
from .conftest import output_of
from .model_client import Fields, content

DEFAULTS: Fields = [(b"date", b"today"), (b"server", b"us")]


class Exchange:
    """One request, its response, and the call of the application.

    Attributes:
        received, unread: bytes of the request's content, and those that the application has not taken yet.
        is_request_over: all of it is here.
        ended_early: its response was complete before that.
        status: of the response, 0 before.
        content_size: what its content has to be at the peer.
        is_complete: the response is.
        is_closed: the peer has left before that, or the application has failed.
        was_cut: the application has failed.
    """

    def __init__(self, request: Request) -> None:
        self.id = request.stream_id
        self.request = request
        self.received = 0
        self.unread = 0
        self.is_request_over = request.end_stream
        self.trailers: Fields = []
        self.must_send_continue = request.expects_continue
        self.has_sent_continue = False
        self.hints = 0
        self.status = 0
        self.fields: Fields = []
        self.length: int | None = None
        self.is_bodiless = False
        self.sent = 0
        self.sent_trailers: Fields = []
        self.is_complete = False
        self.ended_early = False
        self.is_closed = False
        self.was_lost = False
        self.was_cut = False
        #: It was answered with 500 instead.
        self.has_failed = False
        self.is_waiting = False

    @property
    def is_open(self) -> bool:
        return not self.is_complete and not self.is_closed

    @property
    def content_size(self) -> int:
        return 0 if self.is_bodiless else self.sent


class ModelWorker(TimedWorker):
    """`output` is what was written to the socket and nobody has delivered yet.

    Attributes:
        fed: bytes that the engine has had.
        fed_at_end: that, when the connection came to its end.
        refused: status codes of the engine's own answers.
        was_overdue: the client was silent for too long.
        has_given_up: the connection ended for the rest of a content that the application did not want.
    """

    def __init__(self, parameters: HTTP1Parameters, now: float) -> None:
        self.parameters = parameters
        self.now = now
        self.engine = HTTP1Engine(parameters, DefaultFields(DEFAULTS), now, secure=False)
        self.is_blocked = False
        self.output = bytearray()
        self.exchanges: dict[int, Exchange] = {}
        self.fed = 0
        self.fed_at_end: int | None = None
        self.heard_at = self.moved_at = now
        self.eof = False
        self.refused: list[int] = []
        self.was_overdue = False
        self.was_drained = False
        self.has_given_up = False

    @property
    def open(self) -> Exchange | None:
        """The exchange whose application is to answer."""
        return next((exchange for exchange in self.exchanges.values() if exchange.is_open), None)

    @property
    def is_over(self) -> bool:
        return self.engine.closing is not Closing.OPEN

    @property
    def is_reading(self) -> bool:
        return self.engine.wants_read and not self.eof and not self.is_over

    # ---- the connection

    def settle(self) -> None:
        """The order of `Connection.settle`."""
        engine = self.engine
        while True:
            if engine.events:
                events, engine.events = engine.events, []
                for event in events:
                    self._on_event(event)
            elif not self.is_blocked and (data := engine.data_to_send()):
                self.output += data + engine.apart
                engine.apart = b""
            else:
                break
        if self.is_over and self.fed_at_end is None:
            self.fed_at_end = self.fed
            last = self.exchanges.get(len(self.exchanges))
            self.has_given_up = last is not None and last.ended_early and not last.is_request_over

    def receive(self, data: bytes) -> None:
        assert self.is_reading
        self.fed += len(data)
        self.heard_at = self.now
        self.engine.receive_data(data, self.now)
        self.settle()

    def receive_eof(self) -> None:
        if self.is_over:
            return
        assert self.is_reading
        self.eof = True
        self.engine.receive_eof(self.now)
        self.settle()

    @property
    def deadline(self) -> float:
        return self.engine.deadline

    def _handle_deadline(self) -> None:
        was_over = self.is_over
        exchange = self.open
        self.engine.handle_deadline(self.now)
        if self.is_over and not was_over:
            self.was_overdue = True
            if exchange is not None:
                timeout = self.parameters.read_timeout
                assert timeout is not None
                assert self.now - max(self.heard_at, self.moved_at) >= timeout
                assert not exchange.is_request_over
                is_asked = exchange.has_sent_continue or not exchange.request.expects_continue
                assert is_asked or exchange.received or exchange.status
        self.settle()

    def block(self) -> None:
        self.is_blocked = True
        self.engine.set_transport_writable(False, self.now)

    def unblock(self) -> None:
        self.is_blocked = False
        self.engine.set_transport_writable(True, self.now)
        if (exchange := self.open) is not None:
            self._wake(exchange)
        self.settle()

    def drain(self, at_once: bool) -> None:
        self.was_drained = True
        self.engine.drain(self.now, at_once)
        self.settle()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Refused):
            self.refused.append(event.status)
            return
        if isinstance(event, Request):
            assert self.open is None
            assert not self.is_blocked, "its answer could only pile up"
            assert event.stream_id == len(self.exchanges) + 1
            self.exchanges[event.stream_id] = Exchange(event)
            self.moved_at = self.now
            return
        assert isinstance(event, Data | Trailers | StreamClosed | Writable), event
        exchange = self.exchanges[event.stream_id]
        assert exchange.is_open, "an event behind the end"
        if isinstance(event, Writable):
            self._wake(exchange)
        elif isinstance(event, StreamClosed):
            exchange.was_lost = exchange.is_closed = True
        else:
            assert not exchange.is_request_over
            self._on_content(exchange, event)

    def _on_content(self, exchange: Exchange, event: Data | Trailers) -> None:
        if isinstance(event, Trailers):
            exchange.is_request_over = True
            exchange.trailers = event.fields
            return
        size = len(event.data)
        assert event.data == content(exchange.id, exchange.received, size)
        exchange.received += size
        exchange.unread += size
        exchange.is_request_over = event.end_stream

    def _wake(self, exchange: Exchange) -> None:
        exchange.is_waiting = self.is_blocked or not self.engine.can_send(exchange.id)

    # ---- the application, by way of its exchange

    def ask(self, exchange: Exchange) -> None:
        """It calls `receive()`, and 100 (Continue) is sent if that is due."""
        if exchange.must_send_continue and not exchange.is_request_over and not exchange.status:
            exchange.must_send_continue = False
            exchange.has_sent_continue = not exchange.received
            self.engine.send_informational(exchange.id, 100, [])
            self.moved_at = self.now
            self.settle()

    def consume(self, exchange: Exchange, size: int) -> None:
        """Take a part of what has arrived; it may do so after the end of the response, too."""
        self.ask(exchange)
        size = min(size, exchange.unread)
        exchange.unread -= size
        was_read = self.engine.wants_read
        self.engine.consume(exchange.id, size, self.now)
        if self.engine.wants_read and not was_read:
            self.moved_at = self.now  # until now it was not the client's turn
        self.settle()

    def hint(self, exchange: Exchange) -> None:
        self.engine.send_informational(exchange.id, 103, [(b"link", b"</%d>" % exchange.id)])
        exchange.hints += exchange.request.http_version == "1.1"
        self.settle()

    def start(self, exchange: Exchange, status: int, fields: Fields, length: int | None) -> None:
        exchange.status = status
        exchange.fields = [(b"x-id", b"%d" % exchange.id), *fields]
        exchange.is_bodiless = exchange.request.method == "HEAD" or status in (204, 205, 304)
        exchange.must_send_continue = False
        if length is not None:
            exchange.length = length
            fields = [*exchange.fields, (b"content-length", b"%d" % length)]
        else:
            fields = exchange.fields
        self.engine.send_head(exchange.id, status, fields, self.now)

    def send(self, exchange: Exchange, size: int, *, end: bool, settle: bool) -> None:
        if exchange.length is not None:
            left = exchange.length - exchange.sent
            size = left if end else min(size, left)
        data = content(exchange.id, exchange.sent, size)
        exchange.sent += size
        self.engine.send_data(exchange.id, data, end, self.now)
        self._sent(exchange, end=end, settle=settle)

    def send_file(self, exchange: Exchange, size: int) -> None:
        """A part of the content that the connection sends by itself."""
        if exchange.length is not None:
            size = min(size, exchange.length - exchange.sent)
        if size and not self.is_blocked and self.engine.leave_content(exchange.id, size):
            assert exchange.length is not None
            self.output += output_of(self.engine) + content(exchange.id, exchange.sent, size)
            exchange.sent += size
            self._sent(exchange, end=False, settle=False)

    def send_trailers(self, exchange: Exchange) -> None:
        """Ends the response, after what its length still lacks."""
        if exchange.length is not None:
            self.send(exchange, 0, end=True, settle=True)
            return
        fields = [(b"x-sum", b"%d" % exchange.sent)]
        if exchange.request.http_version == "1.1" and not exchange.is_bodiless:
            exchange.sent_trailers = fields
        self.engine.send_trailers(exchange.id, fields, self.now)
        self._sent(exchange, end=True, settle=True)

    def _sent(self, exchange: Exchange, *, end: bool, settle: bool) -> None:
        if end:
            self.moved_at = self.now
            exchange.is_complete = True
            exchange.ended_early = not exchange.is_request_over
        if end or settle:
            self.settle()
        if exchange.is_open:
            self._wake(exchange)

    def fail(self, exchange: Exchange) -> None:
        exchange.was_cut = exchange.is_closed = True
        exchange.has_failed = self.engine.reset_stream(exchange.id, self.now)
        self.settle()
