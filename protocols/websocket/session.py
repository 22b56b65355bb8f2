"""An open WebSocket on the server's side: bytes and the time go in, messages and bytes come out.

Its third layer: what the application asks for, and what time brings. It refuses to do: the opening handshake,
fragmenting what it sends, and anything with the stream it runs on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine import NEVER, Closing, LocalProtocolError
from . import frames
from .deflate import Deflater, Inflater
from .frames import Close
from .receiving import SessionReceivingSide
from .state import CLOSING, ENDED, SessionParameters

if TYPE_CHECKING:
    from .deflate import DeflateParameters

#: Shorter messages are sent as they are: there is next to nothing to gain.
_MIN_COMPRESSED = 128


class WebSocketSession(SessionReceivingSide):
    """One WebSocket after its handshake.

    Attributes:
        deadline: when `handle_deadline` wants to be called, or `NEVER`.
        closing: what to do with the stream once `data_to_send()` is written.
        ended: how it has ended, as `next_message` tells it behind all messages; None before.
        state: where it stands. Only to be looked at.
        queue: what `next_message` has ready: messages, and behind them the end. Only to be looked at.
        taken: bytes that were read since the caller last set it to 0; the peer may send as many more.
        unsent: the number of bytes that `data_to_send` would give.
        held_size: bytes of messages that the application has not had. Those of a connection's sessions together are the
            caller's to bound, by `max_held_size` and `give_up`.
        wants_turn: what has been received costs much: `next_turn` is to be called once others have had their turn of
            the loop, and reads on. The caller sets it to False when it has seen to that.
    """

    __slots__ = ("_deflater", "_ping_at", "_pong_deadline", "_sent_close")

    def __init__(self, parameters: SessionParameters, deflate: DeflateParameters | None, now: float) -> None:
        super().__init__(parameters, Inflater(deflate) if deflate is not None else None)
        self._deflater = Deflater(deflate) if deflate is not None else None
        self._ping_at = now + parameters.ping_interval if parameters.ping_interval else NEVER
        self._pong_deadline = NEVER
        self.deadline = self._ping_at
        #: What `close` has sent.
        self._sent_close: Close | None = None

    # ---- the application

    def next_message(self, now: float) -> str | bytes | Close | None:
        """The next message; or, once and last of all, how the WebSocket has ended; None when neither is there."""
        queue = self.queue
        if not queue:
            self._is_unanswered = False
            if (end := self._pending_end) is not None:
                self._carry_out_end(end, now)
            elif self._is_stalled:
                self._read(now)
            if not queue:
                return None
        message = queue.popleft()
        if type(message) is Close:
            self._is_unanswered = False
        else:
            self._is_unanswered = True
            self._queued_bytes -= len(message)
            if self._is_stalled and not queue:
                self._read(now)
        return message

    def encode(self, message: str | bytes) -> tuple[bytes, bytes]:
        """The frame of a text or binary message, which must be the next to be sent: compression depends on it.

        It comes in two pieces, of which the second is mostly empty (`frames.encode_apart`).

        Raises:
            LocalProtocolError: the text has lone surrogates.
        """
        self._is_unanswered = False
        if isinstance(message, str):
            first, payload = frames.WHOLE_TEXT, _as_utf8(message)
        else:
            first, payload = frames.WHOLE_BINARY, message
        if self._deflater is not None and len(payload) >= _MIN_COMPRESSED:
            first |= frames.RSV1
            payload = self._deflater.compress(payload)
        return frames.encode_apart(first, payload)

    def data_to_send(self, now: float) -> bytes:
        """All bytes that are ready for the stream; they are the caller's from here. `b""`: none."""
        output = self._output
        if not output:
            return b""
        data = output[0] if len(output) == 1 else b"".join(output)
        self._output = []
        self.unsent = 0
        if self._is_stalled and not self.queue:
            self._read(now)  # more answers may come of it: ask again
        return data

    def close(self, code: int, reason: str, now: float, *, tell: bool = False) -> None:
        """Begin the closing handshake; received messages are dropped from here on.

        Sends nothing when the session is not open: frameworks answer the end with the code that they were told.

        Args:
            code: the code to send; 1005 sends none.
            reason: cut to 123 bytes.
            tell: the application did not ask for it: `next_message` gives it the code and the reason now (those that
                have been sent, if it had asked before), and not those of the peer's answer.

        Raises:
            LocalProtocolError: the code must not be sent, or the reason is not valid Unicode.
        """
        if not self.state.can_send:
            if tell and self._sent_close is not None:
                self._tell_end(self._sent_close)
            return
        if code != frames.NO_CODE and not frames.may_be_sent(code):
            raise LocalProtocolError(f"{code} is not a code that a Close frame may carry")
        try:
            frame = frames.encode_close(code, reason)
        except UnicodeEncodeError:
            raise LocalProtocolError("the reason of a Close frame is not valid Unicode") from None
        self.send_frame(frame)
        self.state = CLOSING
        self.deadline = now + self._parameters.close_timeout
        self._sent_close = frames.read_close(frame[2:])
        if tell:
            self._tell_end(self._sent_close)
        if (end := self._pending_end) is not None:
            self._carry_out_end(end, now)
        elif self._is_stalled:
            self._read(now)  # the peer's answer may be behind what was not read

    # ---- time

    def handle_deadline(self, now: float, *, is_held: bool = False) -> None:
        """`deadline` has passed: ping, or give up on a peer that does not answer.

        Args:
            now: the present time.
            is_held: the stream does not take what it was given. That stands before any ping and our Close, or they are in
                it; a peer that takes none of it is the stream's to cut.
        """
        if not self.state.can_send:
            if is_held and self._output:
                if self.state is ENDED:
                    # The rest of a message that was too big has had its time, and the Close is not out yet.
                    self.closing = Closing.AFTER_FLUSH
                self.deadline = now + self._parameters.close_timeout
                return
            # What is on its way already, the Close with it, is left to arrive: the peer may only be a slow reader.
            closing = Closing.ABORT if self._output else Closing.AFTER_FLUSH
            self._end(closing, Close(frames.ABNORMAL, "the peer did not close in time"), now)
            self.deadline = NEVER
            return
        if (end := self._pending_end) is not None:
            self._carry_out_end(end, now)
            return
        if is_held:
            self._pong_deadline = NEVER
            self._ping_at = now + (self._parameters.ping_interval or NEVER)
        elif self._pong_deadline <= now:
            self._pong_deadline = NEVER
            if not self._heard and not self._is_stalled:
                self._fail(1011, "keep-alive ping timed out", now)
                return
        if self._ping_at <= now:
            self._ping(now)
        self.deadline = min(self._ping_at, self._pong_deadline)

    def _ping(self, now: float) -> None:
        parameters = self._parameters
        self._ping_at = now + (parameters.ping_interval or NEVER)
        if self._output or (self._pong_deadline != NEVER and not self._heard):
            return  # one ping at a time, and none to a peer that does not read
        self.send_frame(frames.encode(frames.WHOLE_PING, b""))
        self._heard = False
        if parameters.ping_timeout:
            self._pong_deadline = now + parameters.ping_timeout


def _as_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError("the text of a message is not valid Unicode") from None
