"""The receiving half: heads, the two ways to HTTP/2, and bodies.

It does not parse (`request.py`, `body.py`) and does not judge (`rules.py`): it says when to read what, and holds the
peer back. What a pipelining client sends behind the open exchange waits in the buffer until that is over.
"""

from __future__ import annotations

from ..common import PREFACE
from ..engine import NEVER, Closing
from ..events import Data, Fields, Request, StreamClosed, SwitchToHTTP2, Trailers
from . import response, rules, upgrade
from .body import Body, ChunkedBody, LengthBody
from .rules import Refusal
from .state import (
    MAX_DISCARDED,
    MAX_WAITING,
    R_BODY,
    R_HEAD,
    R_LATER,
    R_NOTHING,
    R_TUNNEL,
    UNANSWERED,
    W_HEAD,
    HTTP1State,
)


class HTTP1ReceivingSide(HTTP1State):
    """The second layer: what comes from the peer."""

    __slots__ = ()

    def receive_data(self, data: bytes, now: float) -> None:
        reading = self._reading
        if reading is R_HEAD:
            if not self._buffer and data.find(b"\r\n\r\n") == len(data) - 4 > 0 and data[0] not in b"\rP":
                # One whole head and nothing else: most requests of most clients. (CR: empty lines come first; P: it
                # may be the beginning of the HTTP/2 preface.)
                self._take_head(data, now)
                return
            if data:
                self._buffer_head(data, now)
        elif self._body is not None:
            self._receive_body(self._body, data, now)
        elif reading is R_LATER:
            self._buffer += data
            self.wants_read = len(self._buffer) < MAX_WAITING
        elif reading is R_TUNNEL:
            self._emit_data(data, False)

    def receive_eof(self, now: float) -> None:
        self._eof = True
        if self._reading is R_HEAD:
            self._close(Closing.AFTER_FLUSH)
        elif self._reading is R_BODY:
            self._abandon()
        elif self._reading is R_TUNNEL:
            self.events.append(StreamClosed(self._open))
            self._close(Closing.AFTER_FLUSH)

    def _abandon(self) -> None:
        """The rest of the open request will never come."""
        if self._open:
            self.events.append(StreamClosed(self._open))
        if self._writing in UNANSWERED:
            self._close(Closing.AFTER_FLUSH)
        else:
            self._cut()

    # ---- heads

    def _await_head(self, now: float) -> None:
        if not self._is_writable:
            self._await_transport()
            return
        parameters = self._parameters
        self._reading = R_HEAD
        self._request = None
        self.wants_read = True
        self.deadline = now + parameters.keep_alive_timeout
        if self._buffer:
            if parameters.header_timeout is not None:
                self.deadline = now + parameters.header_timeout
            self._read_head(now)
        if self._eof:
            self.receive_eof(now)  # what is left of the head, or of the body, will never come either

    def _await_transport(self) -> None:
        """Read no head before the peer has taken the answers before it: a further one could only pile up behind them.

        As long as it is being sent something the peer is not idle either.
        """
        self._reading = R_LATER
        self.wants_read = len(self._buffer) < MAX_WAITING
        self.deadline = NEVER

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
        if self._partial.skipped or not self._may_be_http2():
            return False
        buffer = self._buffer
        if not PREFACE.startswith(buffer[: len(PREFACE)]):
            return False
        if len(buffer) >= len(PREFACE):
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
        self._writing = W_HEAD
        self.events.append(request)
        if request.end_stream:
            self._reading = R_LATER
            self.deadline = NEVER
            if self._buffer:
                self.wants_read = len(self._buffer) < MAX_WAITING
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
        self._reading = R_NOTHING
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
        self._reading = R_BODY
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
            self._reading = R_LATER
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
        self.wants_read = len(self._buffer) < MAX_WAITING

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
        elif self._discarded > MAX_DISCARDED:
            self._close(Closing.AFTER_FLUSH)

    def consume(self, stream_id: int, size: int, now: float) -> None:
        if stream_id != self._open:
            return
        self._unconsumed -= size
        if (
            not self.wants_read
            and self._reading is not R_LATER
            and self._unconsumed < self._parameters.max_buffered_body
        ):
            self.wants_read = True
            if self._reading is R_BODY:
                self._await_content(now)
