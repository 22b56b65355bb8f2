"""The one interface of every protocol engine, and the figures an engine is made with.

An engine never awaits, sees no socket and reads no clock: bytes and the time go in, events and bytes come
out. The connection (`workers/connection.py`) is its only caller and follows this order after *every* call:
take `events`, act on them, write what `data_to_send()` gives, then look at `wants_read`, `closing` and
`deadline`.

Times are seconds on one monotonic clock, as floats; `NEVER` stands for "no deadline".
"""

from __future__ import annotations

import enum
import math
from typing import Protocol

from .events import Event, Fields

NEVER = math.inf


class Closing(enum.Enum):
    """What the engine wants done with the transport once its output is written."""

    OPEN = "open"
    #: Close our sending side after the last byte, then read and throw away what still comes for a short
    #: while, so that the last answer is not lost to a reset (RFC 9112 §9.6).
    AFTER_FLUSH = "after flush"
    #: Cut the transport now; the peer must notice that what it got is not complete.
    ABORT = "abort"


class GraveFault(str):
    """A fault of the peer for which requests were cut that may be innocent: operators will ask what has happened."""

    __slots__ = ()


class LocalProtocolError(Exception):
    """The application (or this server) asked for something that would break the protocol on the wire.

    Nothing of the offending call has been sent. The text is one sentence for the error log.
    """


class DefaultFields:
    """The fields that the server adds to each final response unless the application set them itself.

    One instance per protocol and worker, shared by its engines. The worker puts a new list here when the
    date changes (once a second), and raises `generation` so that engines notice stale memos cheaply.

    Attributes:
        lines: the fields as HTTP/1.1 writes them, and their names in lower case, for all its connections: kept by
            the first that needs them. None: not made yet.
    """

    __slots__ = ("fields", "generation", "lines")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.generation = 0
        self.lines: tuple[bytes, frozenset[bytes]] | None = None

    def replace(self, fields: Fields) -> None:
        """Use `fields` for all responses from now on."""
        self.fields = fields
        self.generation += 1
        self.lines = None


class Engine(Protocol):
    """One connection's protocol.

    Attributes:
        events: what has happened since the caller last took them; the caller swaps in a new list.
        deadline: when `handle_deadline` wants to be called, or `NEVER`. May change with every call.
        wants_read: False while the engine has enough unread input (back-pressure, pipelining); the caller
            then stops reading from the transport.
        closing: what to do with the transport once all of `data_to_send()` is written.
        apart: what goes behind that which `data_to_send` has just given, for one of both is too large to be copied. The
            caller puts `b""` in its place when it takes it; then there may be more. Of HTTP/1.1 only.
        fault: what the peer did wrong if that is why the connection ends, one line for the debug log; else empty.
            A `GraveFault` is for operators.
        is_idle: no exchange is open and no part of a request has arrived.
        ranks_streams: the peer has said whose data it wants first: what is given together goes out in that order.
    """

    events: list[Event]
    deadline: float
    wants_read: bool
    closing: Closing
    fault: str
    apart: bytes

    @property
    def is_idle(self) -> bool: ...

    @property
    def ranks_streams(self) -> bool: ...

    # ---- what comes from the transport

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes that were read from the transport. Never raises for what a peer sent."""
        ...

    def receive_eof(self, now: float) -> None:
        """The peer has closed its sending side."""
        ...

    def handle_deadline(self, now: float) -> None:
        """`deadline` has passed."""
        ...

    def set_transport_writable(self, writable: bool, now: float) -> None:
        """The transport's own buffer is full (False) or has drained (True).

        While it is full no new exchange is opened whose answer could only pile up, and an engine that
        multiplexes keeps data in its stream buffers, where priorities still count.
        """
        ...

    # ---- what comes from the application, by way of its exchange

    def send_informational(self, stream_id: int, status: int, fields: Fields) -> None:
        """Send a 1xx response (100, 103; not 101). Does nothing where the peer cannot understand it."""
        ...

    def send_head(self, stream_id: int, status: int, fields: Fields, now: float) -> None:
        """Send the final response head; an engine may hold it until the first data or `data_to_send`.

        Status 101 (HTTP/1.1) or 200 (HTTP/2) in answer to a request whose `upgrade` is set accepts the
        upgrade: the stream is a tunnel of raw bytes from here.

        Raises:
            LocalProtocolError: a field name or value is not valid (header injection), or lengths are
                contradictory.
        """
        ...

    def send_data(self, stream_id: int, data: bytes, end_stream: bool, now: float) -> None:
        """Send a piece of the response body; with `end_stream` the response is complete.

        `data` may be empty. Bodies that must not be sent (HEAD, 204, 304) are dropped. On a stream that is
        over the call does nothing.

        Raises:
            LocalProtocolError: more than the announced Content-Length, or fewer at the end.
        """
        ...

    def send_trailers(self, stream_id: int, fields: Fields, now: float) -> None:
        """Send the trailer section; the response is complete. Dropped where framing does not allow it."""
        ...

    def reset_stream(self, stream_id: int, now: float) -> bool:
        """The application failed after it gave its head: make sure that the peer notices.

        Returns whether it gets a whole 500 (Internal Server Error) instead, for nothing had gone out.
        """
        ...

    def can_send(self, stream_id: int) -> bool:
        """False when the stream's send buffer is above its high-water mark: wait for `Writable`."""
        ...

    def consume(self, stream_id: int, size: int, now: float) -> None:
        """The application has taken `size` bytes of `Data`: the peer may send as many more."""
        ...

    # ---- for the connection

    def drain(self, now: float, at_once: bool) -> None:
        """Take no new work: announce it as the protocol allows, finish what is open, then close.

        With `at_once` an idle connection closes now, or as soon as it is known that no request is on its way; otherwise
        it may wait until its keep-alive deadline for one more request, which it answers and closes with (a client that
        is just sending is then not reset).
        """
        ...

    def data_to_send(self) -> bytes:
        """Bytes that are ready for the transport, and the caller's from here, with `apart` behind them. `b""`: none.

        Unless there is something `apart`, HTTP/1.1 gives all it has.
        """
        ...


class PlainEngine(Engine, Protocol):
    """What an engine offers beyond `Engine` if content stands on the wire as it is (HTTP/1.1)."""

    def leave_content(self, stream_id: int, size: int) -> bool:
        """Leave the next `size` bytes of content to the caller, who writes them behind what `data_to_send` gives.

        They count as sent; `send_data` goes on behind them. False, and nothing has changed, where no content of
        that length can stand by itself: no Content-Length was announced, or less, or none is to be sent.
        """
        ...


class MultiplexedEngine(Engine, Protocol):
    """What an engine offers beyond `Engine` if its exchanges run side by side (HTTP/2)."""

    def can_push(self, stream_id: int) -> bool:
        """Whether `push` may promise something now: the peer allows it, and `stream_id` is no push itself."""
        ...

    def push(self, stream_id: int, method: str, path: bytes, fields: Fields, now: float) -> int | None:
        """Promise the response to a request that the peer has not made (RFC 9113 §8.4).

        The promised `Request` is emitted, for the connection to run the application for it.

        Args:
            stream_id: the open exchange that the promise belongs to.
            method: GET or HEAD.
            path: the target, with its query.
            fields: further request fields; the authority is that of the exchange's own request.

        Returns:
            The promised stream, or None where the peer does not want pushes or the exchange is over.

        Raises:
            LocalProtocolError: the promised request would not be valid.
        """
        ...

    def cancel_stream(self, stream_id: int, now: float) -> None:
        """The server has stopped the application: as `reset_stream`, but nobody has failed."""
        ...

    def exchange_ended(self, stream_id: int, now: float) -> None:
        """The application's call is over, and nothing of the exchange is running any more.

        Until then that of a stream that its peer has reset counts, so that resets do not let a peer start more work
        than it may (CVE-2023-44487). A request that has waited for this may follow in `events`.
        """
        ...
