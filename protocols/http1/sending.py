"""The sending half: what an exchange calls, and how a response is framed.

It does not format heads (`response.py`). A head is held back until the first content or `data_to_send`, so that both
leave in one piece, and so that content that is complete by then gets a length instead of chunks.
"""

from __future__ import annotations

from ..engine import Closing, LocalProtocolError
from ..events import Fields
from . import response
from .receiving import HTTP1ReceivingSide
from .state import (
    MAX_DISCARDED,
    R_TUNNEL,
    W_CHUNKS,
    W_HEAD,
    W_HELD,
    W_LENGTH,
    W_NO_CONTENT,
    W_NOTHING,
    W_TUNNEL,
    W_UNTIL_CLOSE,
)

#: Content from here on is not copied behind its head: to write two buffers costs less (measured; the same at 50 KB, a
#: quarter less at 1 MB), and a reader that is slow holds no second copy of it.
LARGE = 32768


class HTTP1SendingSide(HTTP1ReceivingSide):
    """The third layer: what comes from the application."""

    __slots__ = ()

    # ---- heads

    def send_informational(self, stream_id: int, status: int, fields: Fields) -> None:
        if stream_id != self._open or self._writing is not W_HEAD or not self._is_http11:
            return
        if status == 100:
            if not self._expects_continue:
                return
            self._expects_continue = False
        self._out.append(response.informational(status, fields))

    def send_head(self, stream_id: int, status: int, fields: Fields, now: float) -> None:
        if stream_id != self._open:
            return
        if self._writing is not W_HEAD:
            raise LocalProtocolError("a second response head was sent")
        if status < 200:
            self._accept_upgrade(status, fields, now)
            return
        self._head = self._writer.write(status, fields)
        self._writing = W_HELD
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
        self._writing = W_TUNNEL
        self._reading = R_TUNNEL
        self.wants_read = True
        self._unconsumed = 0  # what an earlier request's application has left unread will never be consumed
        if self._buffer:
            self._emit_data(self._take_buffer(), False)
        if self._eof:
            self.receive_eof(now)

    # ---- content

    def send_data(self, stream_id: int, data: bytes, end_stream: bool, now: float) -> None:
        if stream_id != self._open:
            return
        writing = self._writing
        if writing is W_HELD:
            self._send_first(data, end_stream)
        elif writing is W_LENGTH:
            self._count_content(len(data), end_stream)
            self._out.append(data)
        elif writing is W_CHUNKS:
            self._out.append(_chunk(data, end_stream))
        elif writing is W_UNTIL_CLOSE or writing is W_TUNNEL:
            self._out.append(data)
        elif writing is W_HEAD:
            raise LocalProtocolError("content was sent before the response head")
        if end_stream:
            self._finish(now)

    def _send_first(self, data: bytes, end_stream: bool) -> None:
        """Send the head that was held back, and the first content in the same piece."""
        head = self._head
        length = head.content_length
        if length is None and end_stream and not head.is_chunked and not self._is_head_request:
            # All of it is there: no need for chunks (RFC 9110 §8.6).
            self._send_start(b"content-length: %d\r\n" % len(data), True, data)
        elif self._is_head_request:
            line = b"content-length: %d\r\n" % len(data) if length is None and end_stream and data else b""
            self._send_start(line, True)
            self._writing = W_NO_CONTENT
        elif length is not None:
            self._remaining = length
            self._count_content(len(data), end_stream)
            self._send_start(b"", end_stream, data)
            self._writing = W_LENGTH
        elif self._is_http11:
            self._send_start(b"transfer-encoding: chunked\r\n", False)
            self._out.append(_chunk(data, end_stream))
            self._writing = W_CHUNKS
        else:
            self._persists = False
            self._send_start(b"", False)
            self._out.append(data)
            self._writing = W_UNTIL_CLOSE

    def leave_content(self, stream_id: int, size: int) -> bool:
        if stream_id != self._open:
            return False
        if self._writing is W_HELD:
            length = self._head.content_length
            if length is None or size > length or self._is_head_request:
                return False
            self._send_start(b"", False)
            self._remaining = length
            self._writing = W_LENGTH
        elif self._writing is not W_LENGTH or size > self._remaining:
            return False
        self._remaining -= size
        return True

    def _send_start(self, framing: bytes, is_end: bool, data: bytes = b"") -> None:
        if len(data) < LARGE:
            self._out.append(
                b"%b%b%b\r\n%b" % (self._head.start, framing, self._connection_line(is_end), data)
            )
        else:
            self._out.append(b"%b%b%b\r\n" % (self._head.start, framing, self._connection_line(is_end)))
            self._out.append(data)

    def _send_bodiless_head(self, status: int) -> None:
        self._send_start(b"content-length: 0\r\n" if status == 205 else b"", True)
        self._writing = W_NO_CONTENT

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
            is_end and self._body is not None and self._body.exceeds(MAX_DISCARDED)
        )

    def send_trailers(self, stream_id: int, fields: Fields, now: float) -> None:
        if stream_id != self._open:
            return
        section = response.trailer_section(fields)
        if self._writing is W_HELD and self._head.content_length is None and not self._is_head_request:
            self._send_first(b"", False)
        if self._writing is W_CHUNKS:
            self._out.append(section)
            self._finish(now)
        else:
            self.send_data(stream_id, b"", True, now)

    # ---- the end of an exchange

    def _finish(self, now: float) -> None:
        """The response is complete."""
        is_last = self._is_draining and not self._buffer
        if self._writing is W_TUNNEL or is_last or not self._persists:
            self._close(Closing.AFTER_FLUSH)
            return
        self._open = 0
        self._writing = W_NOTHING
        if self._body is None:
            self._await_head(now)
        elif self._body.exceeds(MAX_DISCARDED):
            self._close(Closing.AFTER_FLUSH)
        else:
            self._discarded = 0
            self.wants_read = True
            self.deadline = now + self._parameters.keep_alive_timeout

    def reset_stream(self, stream_id: int, now: float) -> bool:
        if stream_id != self._open:
            return False
        if self._writing is W_HELD or self._writing is W_HEAD:
            # Nothing has been sent: a whole answer is better than none.
            self._out.append(self._writer.write_error(500))
            self._close(Closing.AFTER_FLUSH)
            return True
        self._cut()
        return False

    # ---- for the connection

    def can_send(self, stream_id: int) -> bool:
        if stream_id != self._open:
            return True
        self._wants_writable = not self._is_writable
        return self._is_writable

    def data_to_send(self) -> bytes:
        if self._writing is W_HELD:
            self._send_first(b"", False)
        out = self._out
        if not out:
            return b""
        self._out = []
        return out[0] if len(out) == 1 else self._join(out)

    def _join(self, out: list[bytes]) -> bytes:
        """All of `out`, or what stands before a large piece: that is `apart` then, and what follows it stays."""
        out = [piece for piece in out if piece]
        for place, piece in enumerate(out[1:], 1):
            if len(piece) >= LARGE or len(out[0]) >= LARGE:
                self.apart = piece
                self._out[:0] = out[place + 1 :]  # a finalizer may have sent something in between
                return out[0] if place == 1 else b"".join(out[:place])
        return b"".join(out)


def _chunk(data: bytes, end_stream: bool) -> bytes:
    """`data` as a chunk; with `end_stream` the last chunk as well (RFC 9112 §7.1)."""
    if not data:
        return b"0\r\n\r\n" if end_stream else b""
    return b"%x\r\n%b\r\n%b" % (len(data), data, b"0\r\n\r\n" if end_stream else b"")
