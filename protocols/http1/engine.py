"""The engine of one HTTP/1.1 connection: when to read what, what the answer is framed with, and when to close.

It does not parse (`request.py`, `body.py`), does not judge (`rules.py`) and does not format (`response.py`). One
exchange is open at a time; what a pipelining client sends behind it waits in the buffer until it is over.

Two enumerations hold the state: `Reading` says what the next input is, `Writing` what the application may send.
"""

from __future__ import annotations

import enum

from ..engine import NEVER, Closing, DefaultFields, LocalProtocolError
from ..events import Data, Event, Fields, Refused, Request, StreamClosed, SwitchToHTTP2, Trailers, Writable
from . import response, rules, upgrade
from .body import Body, ChunkedBody, LengthBody
from .parameters import HTTP1Parameters
from .partial import PartialHead
from .request import HeadReader
from .response import HeadWriter, ResponseHead
from .rules import Refusal


class Reading(enum.Enum):
    """What the next byte of input belongs to."""

    #: The head of the next request, or the empty lines before it.
    HEAD = enum.auto()
    #: The body of the open exchange; of the last one, to be thrown away, when none is open.
    BODY = enum.auto()
    #: A later request: it waits in the buffer until the open exchange is over.
    LATER = enum.auto()
    #: The tunnel of an accepted upgrade.
    TUNNEL = enum.auto()
    #: Nothing: the connection is over, or another engine has it.
    NOTHING = enum.auto()


class Writing(enum.Enum):
    """What the application may send on the open exchange."""

    #: Nothing: no exchange is open.
    NOTHING = enum.auto()
    #: The response head, or informational responses.
    HEAD = enum.auto()
    #: Content; the head is known but held back, so that both leave in one piece.
    HELD = enum.auto()
    #: Content counted by Content-Length.
    LENGTH = enum.auto()
    #: Content in chunks.
    CHUNKS = enum.auto()
    #: Content that ends with the connection.
    UNTIL_CLOSE = enum.auto()
    #: No content: what comes is dropped.
    NO_CONTENT = enum.auto()
    #: The raw bytes of an accepted upgrade.
    TUNNEL = enum.auto()


# Looking a member up in its class costs a hundred nanoseconds on CPython 3.11.
_R_HEAD, _R_BODY, _R_LATER, _R_TUNNEL, _R_NOTHING = Reading
_W_NOTHING, _W_HEAD, _W_HELD, _W_LENGTH, _W_CHUNKS, _W_UNTIL_CLOSE, _W_NO_CONTENT, _W_TUNNEL = Writing
#: Nothing of the final response is on its way.
_UNANSWERED = frozenset({_W_NOTHING, _W_HEAD, _W_HELD})

#: Input that waits behind the open exchange above which reading pauses.
_MAX_WAITING = 65536
#: The rest of a request body that the application did not read: thrown away up to here, beyond it the connection
#: is closed instead.
_MAX_DISCARDED = 65536


class HTTP1Engine:
    """One HTTP/1.1 connection, as `protocols.engine.Engine`.

    Arguments:
        parameters: limits and timeouts.
        defaults: the fields that every final response gets.
        now: the time at which the connection was accepted.
        secure: the connection is encrypted; `Upgrade: h2c` is then ignored (RFC 7540 §3.2).
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_count",
        "_discarded",
        "_eof",
        "_expects_continue",
        "_head",
        "_is_draining",
        "_is_head_request",
        "_is_http11",
        "_is_writable",
        "_open",
        "_out",
        "_parameters",
        "_partial",
        "_persists",
        "_reader",
        "_reading",
        "_remaining",
        "_request",
        "_secure",
        "_unconsumed",
        "_waits_for_continue",
        "_wants_writable",
        "_writer",
        "_writing",
        "closing",
        "deadline",
        "events",
        "wants_read",
    )

    def __init__(
        self, parameters: HTTP1Parameters, defaults: DefaultFields, now: float, secure: bool = False
    ) -> None:
        self.events: list[Event] = []
        self.deadline = now + parameters.keep_alive_timeout
        self.wants_read = True
        self.closing = Closing.OPEN
        self._parameters = parameters
        self._secure = secure
        self._reader = HeadReader(parameters, secure)
        self._writer = HeadWriter(defaults)
        self._reading = _R_HEAD
        self._writing = _W_NOTHING
        #: Input that is not understood yet.
        self._buffer = bytearray()
        self._partial = PartialHead(self._buffer, parameters)
        self._out: list[bytes] = []
        self._eof = False
        self._is_draining = False
        self._is_writable = True
        self._wants_writable = False
        #: Requests so far; the number of the last one is its stream_id.
        self._count = 0
        #: The stream_id of the open exchange, or 0.
        self._open = 0
        # ---- of the open (or last) exchange
        self._request: Request | None = None
        self._persists = True
        self._is_head_request = False
        self._is_http11 = True
        #: The client waits for 100 (Continue); and it did so when the deadline was set.
        self._expects_continue = False
        self._waits_for_continue = False
        #: The request's body as long as it is not complete, and what of it the application has not consumed yet.
        self._body: Body | None = None
        self._unconsumed = 0
        self._discarded = 0
        self._head = ResponseHead()
        #: With Writing.LENGTH: bytes of content that are still to come.
        self._remaining = 0

    @property
    def is_idle(self) -> bool:
        return self._reading is _R_HEAD and not self._buffer

    # ---- input

    def receive_data(self, data: bytes, now: float) -> None:
        reading = self._reading
        if reading is _R_HEAD:
            if not self._buffer and data.find(b"\r\n\r\n") == len(data) - 4 > 0 and data[0] not in b"\rP":
                # One whole head and nothing else: most requests of most clients. (CR: empty lines come first; P: it
                # may be the beginning of the HTTP/2 preface.)
                self._take_head(data, now)
                return
            if data:
                self._buffer_head(data, now)
        elif self._body is not None:
            self._receive_body(self._body, data, now)
        elif reading is _R_LATER:
            self._buffer += data
            self.wants_read = len(self._buffer) < _MAX_WAITING
        elif reading is _R_TUNNEL:
            self._emit_data(data, False)

    def receive_eof(self, now: float) -> None:
        self._eof = True
        if self._reading is _R_HEAD:
            self._close(Closing.AFTER_FLUSH)
        elif self._reading is _R_BODY:
            self._abandon()
        elif self._reading is _R_TUNNEL:
            self.events.append(StreamClosed(self._open))
            self._close(Closing.AFTER_FLUSH)

    def _abandon(self) -> None:
        """The rest of the open request will never come."""
        if self._open:
            self.events.append(StreamClosed(self._open))
        if self._writing in _UNANSWERED:
            self._close(Closing.AFTER_FLUSH)
        else:
            self._cut()

    def handle_deadline(self, now: float) -> None:
        if now < self.deadline:
            return
        if self._open and self._waits_for_continue:
            # It was our turn, not the client's, at some time since the deadline was set.
            self._waits_for_continue = self._expects_continue
            self._await_content(now)
        elif self._reading is _R_HEAD:
            if self._buffer:
                self._refuse(Refusal(408, "the head did not arrive in time"))
            else:
                self._close(Closing.AFTER_FLUSH)
        elif self._open:
            self._refuse(Refusal(408, "the content did not arrive in time"))
        else:
            self._close(Closing.AFTER_FLUSH)

    def set_transport_writable(self, writable: bool, now: float) -> None:
        self._is_writable = writable
        if not writable:
            return
        if self._wants_writable:
            self._wants_writable = False
            if self._open:
                self.events.append(Writable(self._open))
        if not self._open and self._reading is _R_LATER:
            self._await_head(now)

    # ---- heads

    def _buffer_head(self, data: bytes, now: float) -> None:
        parameters = self._parameters
        if not self._buffer and parameters.header_timeout is not None:
            self.deadline = now + parameters.header_timeout
        self._buffer += data
        self._read_head(now)

    def _read_head(self, now: float) -> None:
        """Take the next head from the buffer if it is complete."""
        if not self._count and self._read_preface():
            return
        try:
            head = self._partial.take()
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if head is not None:
            self._take_head(head, now)

    def _read_preface(self) -> bool:
        """Tell whether the connection begins with the HTTP/2 preface, or may yet; with all of it, switch."""
        if self._partial.skipped or not self._parameters.h2c_prior_knowledge:
            return False
        buffer = self._buffer
        if not upgrade.PREFACE.startswith(buffer[: len(upgrade.PREFACE)]):
            return False
        if len(buffer) >= len(upgrade.PREFACE):
            self.events.append(SwitchToHTTP2(None, b"", bytes(buffer)))
            self._leave()
        return True

    def _take_head(self, head: bytes, now: float) -> None:
        """Open an exchange for the request with this complete head; what follows it is in the buffer."""
        try:
            if len(head) > self._parameters.max_head_size:
                rules.refuse_large_head(head, self._parameters)
            request = self._reader.read(head, self._count + 1)
        except Refusal as refusal:
            self._buffer[:0] = head
            self._refuse(refusal)
            return
        self._count += 1
        facts = self._reader.facts
        self._is_http11 = request.http_version == "1.1"
        if self._is_http11:
            self._persists = not facts.wants_close
        else:
            self._persists = facts.wants_keep_alive and not facts.wants_close
        if self._count >= self._parameters.keep_alive_max_requests:
            self._persists = False
        if facts.upgrades and self._switch_to_http2(request):
            return
        self._request = request
        self._open = self._count
        self._is_head_request = request.method == "HEAD"
        self._writing = _W_HEAD
        self.events.append(request)
        if request.end_stream:
            self._reading = _R_LATER
            self.deadline = NEVER
            if self._buffer:
                self.wants_read = len(self._buffer) < _MAX_WAITING
        else:
            self._expect_body(request, now)

    def _switch_to_http2(self, request: Request) -> bool:
        """Accept `Upgrade: h2c` if it is asked for, allowed and well-formed; else it is ignored."""
        if self._secure or not self._parameters.h2c_upgrade or self._is_draining:
            return False
        settings = upgrade.read_settings(request, self._reader.facts)
        if settings is None:
            return False
        self._send_continue_before_switching()
        self._out.append(upgrade.SWITCHING)
        request.fields = [(name.lower(), value) for name, value in request.fields]
        self.events.append(SwitchToHTTP2(request, settings, bytes(self._buffer)))
        self._leave()
        return True

    def _send_continue_before_switching(self) -> None:
        """RFC 9110 §7.8: who asks for an upgrade and expects 100 gets 100 first, and then 101."""
        if self._reader.facts.expects_continue:
            self._out.append(response.informational(100, []))

    def _leave(self) -> None:
        """Another engine has the connection from here."""
        self._reading = _R_NOTHING
        self._buffer.clear()
        self.deadline = NEVER

    def _take_buffer(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    # ---- bodies

    def _expect_body(self, request: Request, now: float) -> None:
        length = self._reader.facts.content_length
        body: Body = ChunkedBody(self._parameters) if length is None else LengthBody(length)
        self._body = body
        self._expects_continue = self._waits_for_continue = request.expects_continue
        self._reading = _R_BODY
        self._unconsumed = 0
        self._await_content(now)
        if self._buffer:
            self._receive_body(body, self._take_buffer(), now)

    def _await_content(self, now: float) -> None:
        timeout = self._parameters.read_timeout
        self.deadline = now + timeout if timeout is not None and self.wants_read else NEVER

    def _receive_body(self, body: Body, data: bytes, now: float) -> None:
        try:
            content = body.feed(data)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if not self._open:
            self._discard(body, len(data), now)
            return
        if data:
            self._expects_continue = self._waits_for_continue = False
        if body.is_complete:
            self._body = None
            self._reading = _R_LATER
            self.deadline = NEVER
            self._buffer += body.rest
            self._emit_end(content, body.trailers)
        else:
            if content:
                self._emit_data(content, False)
            self._await_content(now)

    def _emit_end(self, content: bytes, trailers: Fields) -> None:
        if content or not trailers:
            self._emit_data(content, not trailers)
        if trailers:
            self.events.append(Trailers(self._open, trailers))
        self.wants_read = len(self._buffer) < _MAX_WAITING

    def _emit_data(self, data: bytes, end_stream: bool) -> None:
        self.events.append(Data(self._open, data, end_stream))
        self._unconsumed += len(data)
        self.wants_read = self._unconsumed < self._parameters.max_buffered_body

    def _discard(self, body: Body, size: int, now: float) -> None:
        """Throw away what the application did not read, and go on with the next request behind it."""
        self._discarded += size
        if body.is_complete:
            self._body = None
            self._buffer += body.rest
            self._await_head(now)
        elif self._discarded > _MAX_DISCARDED:
            self._close(Closing.AFTER_FLUSH)

    def consume(self, stream_id: int, size: int, now: float) -> None:
        if stream_id != self._open:
            return
        self._unconsumed -= size
        if (
            not self.wants_read
            and self._reading is not _R_LATER
            and self._unconsumed < self._parameters.max_buffered_body
        ):
            self.wants_read = True
            if self._reading is _R_BODY:
                self._await_content(now)

    # ---- output

    def send_informational(self, stream_id: int, status: int, fields: Fields) -> None:
        if stream_id != self._open or self._writing is not _W_HEAD or not self._is_http11:
            return
        if status == 100:
            if not self._expects_continue:
                return
            self._expects_continue = False
        self._out.append(response.informational(status, fields))

    def send_head(self, stream_id: int, status: int, fields: Fields, now: float) -> None:
        if stream_id != self._open:
            return
        if self._writing is not _W_HEAD:
            raise LocalProtocolError("a second response head was sent")
        if status < 200:
            self._accept_upgrade(status, fields, now)
            return
        self._head = self._writer.write(status, fields)
        self._writing = _W_HELD
        if status in (204, 205, 304):
            self._send_bodiless_head(status)

    def _accept_upgrade(self, status: int, fields: Fields, now: float) -> None:
        if status != 101 or self._request is None or self._request.upgrade is None:
            raise LocalProtocolError(f"{status} is not a final response to this request")
        fields = [field for field in fields if field[0].lower() not in (b"connection", b"upgrade")]
        answer = [(b"upgrade", b"websocket"), *fields]
        start = self._writer.write(101, answer).start
        self._send_continue_before_switching()
        self._out.append(start + b"connection: Upgrade\r\n\r\n")
        self._writing = _W_TUNNEL
        self._reading = _R_TUNNEL
        self.wants_read = True
        if self._buffer:
            self._emit_data(self._take_buffer(), False)
        if self._eof:
            self.receive_eof(now)

    def send_data(self, stream_id: int, data: bytes, end_stream: bool, now: float) -> None:
        if stream_id != self._open:
            return
        writing = self._writing
        if writing is _W_HELD:
            self._send_first(data, end_stream)
        elif writing is _W_LENGTH:
            self._count_content(len(data), end_stream)
            self._out.append(data)
        elif writing is _W_CHUNKS:
            self._out.append(_chunk(data, end_stream))
        elif writing is _W_UNTIL_CLOSE or writing is _W_TUNNEL:
            self._out.append(data)
        elif writing is _W_HEAD:
            raise LocalProtocolError("content was sent before the response head")
        if end_stream:
            self._finish(now)

    def _send_first(self, data: bytes, end_stream: bool) -> None:
        """Send the head that was held back, and the first content in the same piece."""
        head = self._head
        length = head.content_length
        if length is None and end_stream and not head.is_chunked and not self._is_head_request:
            # All of it is there: no need for chunks (RFC 9110 §8.6).
            self._out.append(
                b"%bcontent-length: %d\r\n%b\r\n%b"
                % (head.start, len(data), self._connection_line(True), data)
            )
        elif self._is_head_request:
            line = b"content-length: %d\r\n" % len(data) if length is None and end_stream and data else b""
            self._send_start(line, True)
            self._writing = _W_NO_CONTENT
        elif length is not None:
            self._remaining = length
            self._count_content(len(data), end_stream)
            self._out.append(b"%b%b\r\n%b" % (head.start, self._connection_line(end_stream), data))
            self._writing = _W_LENGTH
        elif self._is_http11:
            self._send_start(b"transfer-encoding: chunked\r\n", False)
            self._out.append(_chunk(data, end_stream))
            self._writing = _W_CHUNKS
        else:
            self._persists = False
            self._send_start(b"", False)
            self._out.append(data)
            self._writing = _W_UNTIL_CLOSE

    def leave_content(self, stream_id: int, size: int) -> bool:
        if stream_id != self._open:
            return False
        if self._writing is _W_HELD:
            length = self._head.content_length
            if length is None or size > length or self._is_head_request:
                return False
            self._send_start(b"", False)
            self._remaining = length
            self._writing = _W_LENGTH
        elif self._writing is not _W_LENGTH or size > self._remaining:
            return False
        self._remaining -= size
        return True

    def _send_start(self, framing: bytes, is_end: bool) -> None:
        self._out.append(b"%b%b%b\r\n" % (self._head.start, framing, self._connection_line(is_end)))

    def _send_bodiless_head(self, status: int) -> None:
        self._send_start(b"content-length: 0\r\n" if status == 205 else b"", True)
        self._writing = _W_NO_CONTENT

    def _count_content(self, size: int, end_stream: bool) -> None:
        if size > self._remaining:
            raise LocalProtocolError(
                f"the response has more content than its content-length, by {size - self._remaining}"
            )
        if end_stream and size < self._remaining:
            raise LocalProtocolError(
                f"the response has less content than its content-length, by {self._remaining - size}"
            )
        self._remaining -= size

    def _connection_line(self, is_end: bool) -> bytes:
        """The Connection field of the response whose head is being sent (RFC 9112 §9.3).

        `is_end`: all of the response is being sent, so that what is not read of the request by now never will be.
        """
        head = self._head
        if self._persists:
            # While draining, requests that have arrived already are still answered.
            is_last = self._is_draining and not self._buffer
            self._persists = not (head.closes or is_last or (self._body and self._gives_body_up(is_end)))
        if not self._persists:
            options = [*sorted(head.options), b"close"]
        elif not self._is_http11:
            options = [*sorted(head.options), b"keep-alive"]
        elif head.options:
            options = sorted(head.options)
        else:
            return b""
        return b"connection: %b\r\n" % b", ".join(options)

    def _gives_body_up(self, is_end: bool) -> bool:
        """Tell whether the connection cannot outlive this response because of the request's unread body."""
        # A client that waits for 100 may or may not send its body after a final response.
        return self._expects_continue or (
            is_end and self._body is not None and self._body.exceeds(_MAX_DISCARDED)
        )

    def send_trailers(self, stream_id: int, fields: Fields, now: float) -> None:
        if stream_id != self._open:
            return
        section = response.trailer_section(fields)
        if self._writing is _W_HELD and self._head.content_length is None and not self._is_head_request:
            self._send_first(b"", False)
        if self._writing is _W_CHUNKS:
            self._out.append(section)
            self._finish(now)
        else:
            self.send_data(stream_id, b"", True, now)

    def reset_stream(self, stream_id: int, now: float) -> bool:
        if stream_id != self._open:
            return False
        if self._writing is _W_HELD or self._writing is _W_HEAD:
            # Nothing has been sent: a whole answer is better than none.
            self._out.append(self._writer.write_error(500))
            self._close(Closing.AFTER_FLUSH)
            return True
        self._cut()
        return False

    def can_send(self, stream_id: int) -> bool:
        if stream_id != self._open:
            return True
        self._wants_writable = not self._is_writable
        return self._is_writable

    def data_to_send(self) -> bytes:
        if self._writing is _W_HELD:
            self._send_first(b"", False)
        out = self._out
        if not out:
            return b""
        self._out = []
        return out[0] if len(out) == 1 else b"".join(out)

    # ---- the end of an exchange, and of the connection

    def _finish(self, now: float) -> None:
        """The response is complete."""
        is_last = self._is_draining and not self._buffer
        if self._writing is _W_TUNNEL or is_last or not self._persists:
            self._close(Closing.AFTER_FLUSH)
            return
        self._open = 0
        self._writing = _W_NOTHING
        if self._body is None:
            self._await_head(now)
        elif self._body.exceeds(_MAX_DISCARDED):
            self._close(Closing.AFTER_FLUSH)
        else:
            self._discarded = 0
            self.wants_read = True
            self.deadline = now + self._parameters.keep_alive_timeout

    def _await_head(self, now: float) -> None:
        if self._buffer and not self._is_writable:
            # The answer to a further request could only pile up behind a peer that does not read.
            self._reading = _R_LATER
            self.wants_read = len(self._buffer) < _MAX_WAITING
            self.deadline = NEVER
            return
        parameters = self._parameters
        self._reading = _R_HEAD
        self._request = None
        self.wants_read = True
        self.deadline = now + parameters.keep_alive_timeout
        if self._buffer:
            if parameters.header_timeout is not None:
                self.deadline = now + parameters.header_timeout
            self._read_head(now)
        if self._eof and self._reading is _R_HEAD:
            self._close(Closing.AFTER_FLUSH)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that breaks a rule, unless its answer is under way or done; end the connection."""
        if self._writing not in _UNANSWERED:
            self.events.append(StreamClosed(self._open))
            self._cut()
            return
        if self._open:
            self.events.append(StreamClosed(self._open))
        if self._is_invalid_preface():
            self._buffer.clear()
        elif self._open or self._reading is _R_HEAD:
            method, target, version = rules.describe(self._request, self._buffer)
            self.events.append(Refused(refusal.status, refusal.reason, method, target, version))
            self._out.append(self._writer.write_error(refusal.status))
        self._close(Closing.AFTER_FLUSH)

    def _is_invalid_preface(self) -> bool:
        may_be = not self._count and self._parameters.h2c_prior_knowledge
        return may_be and upgrade.is_invalid_preface(self._buffer)

    def _cut(self) -> None:
        """End the connection in the middle of a response, so that the peer notices.

        Framing tells it, and what was sent so far should arrive; without framing only a reset does.
        """
        is_endless = self._writing is _W_UNTIL_CLOSE or self._writing is _W_TUNNEL
        self._close(Closing.ABORT if is_endless else Closing.AFTER_FLUSH)

    def _close(self, closing: Closing) -> None:
        self._reading = _R_NOTHING
        self._writing = _W_NOTHING
        self._open = 0
        self._body = None
        self._request = None
        self._buffer.clear()
        self.deadline = NEVER
        self.wants_read = True
        self.closing = closing

    def drain(self, now: float, at_once: bool) -> None:
        self._is_draining = True
        if at_once and self.is_idle:
            self._close(Closing.AFTER_FLUSH)


def _chunk(data: bytes, end_stream: bool) -> bytes:
    """`data` as a chunk; with `end_stream` the last chunk as well (RFC 9112 §7.1)."""
    if not data:
        return b"0\r\n\r\n" if end_stream else b""
    return b"%x\r\n%b\r\n%b" % (len(data), data, b"0\r\n\r\n" if end_stream else b"")
