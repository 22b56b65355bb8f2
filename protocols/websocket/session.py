"""An open WebSocket on the server's side: bytes and the time go in, messages and bytes come out.

Two lanes, one meaning. wsproto (`reference.py`) can read everything and decides what breaks a rule. The fast
lane here takes unfragmented frames at a message boundary, which is nearly all that real peers send, large ones also
in parts (`parts.py`); whatever it does not take goes to wsproto unchanged. Tests hold the lanes to the same meaning.

Memory is bounded in both directions. Reading stops while the application has a full queue of messages, or
while our own answers (pongs) are not taken; what stays unread is not counted in `taken`, so that the peer's
window closes. A message is bounded by its limit before it is decompressed.

So is the work of one turn of the loop. wsproto takes ten microseconds for each frame, and a frame may be of seven
bytes: it reads some, and what is behind them waits until others have had their turn (`wants_turn`).

An end waits its turn. A Close frame, or a frame that breaks a rule, comes behind the messages that were received
before it: it is answered once the application has had those and asks for more, so that its replies still go out, or
after `_GRACE` seconds. RFC 6455 §5.5.1 lets an endpoint wait so.

It refuses to do: the opening handshake, fragmenting what it sends, and anything with the stream it runs on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..engine import NEVER, Closing, LocalProtocolError
from . import frames
from .deflate import Deflater, Inflater
from .frames import Close, RemoteProtocolError, unmask
from .parts import FrameInParts
from .reference import FRAMES_PER_TURN, ReferenceLane

if TYPE_CHECKING:
    from .deflate import DeflateParameters

#: Received messages that wait for the application stop the reading above so many bytes.
_QUEUE_HIGH_WATER = 65536
#: Output that nobody takes stops the reading above so many bytes.
_OUTPUT_HIGH_WATER = 65536
#: How long the end may wait for an application that does not ask for it, in seconds.
_GRACE = 2.0
#: Shorter messages are sent as they are: there is next to nothing to gain.
_MIN_COMPRESSED = 128

_TEXT = frames.FIN | frames.TEXT
_BINARY = frames.FIN | frames.BINARY
_PLAIN = (_TEXT, _BINARY)
_DEFLATED_TEXT = _TEXT | frames.RSV1
_DEFLATED = (_DEFLATED_TEXT, _BINARY | frames.RSV1)
_PING = frames.FIN | frames.PING
_PONG = frames.FIN | frames.PONG
_CONTROL = (_PING, _PONG, frames.FIN | frames.CLOSE)


@dataclass(frozen=True, slots=True)
class SessionParameters:
    """The figures of all sessions of a worker; times in seconds, sizes in bytes.

    Attributes:
        max_message_size: larger messages, decompressed, end the session with 1009.
        max_queued_messages: reading stops while so many wait for the application.
        ping_interval: how often the peer is pinged, or None.
        ping_timeout: how long after a ping *something* must have arrived, or None. A pong may be stuck behind
            a large message or behind our own back-pressure, so any byte counts as a sign of life.
        close_timeout: how long the peer may take to answer a Close frame that it can have.
    """

    max_message_size: int = 16 * 1024 * 1024
    max_queued_messages: int = 10
    ping_interval: float | None = None
    ping_timeout: float | None = 20.0
    close_timeout: float = 10.0


class WebSocketSession:
    """One WebSocket after its handshake.

    Attributes:
        deadline: when `handle_deadline` wants to be called, or `NEVER`.
        closing: what to do with the stream once `data_to_send()` is written.
        ended: how it has ended, as `next_message` tells it behind all messages; None before.
        is_open: messages can be sent.
        queue: what `next_message` has ready: messages, and behind them the end. Only to be looked at.
        taken: bytes that were read since the caller last set it to 0; the peer may send as many more.
        unsent: the number of bytes that `data_to_send` would give.
        wants_turn: what has been received costs much: `next_turn` is to be called once others have had their turn of
            the loop, and reads on. The caller sets it to False when it has seen to that.
    """

    __slots__ = (
        "_deflater",
        "_eof",
        "_heard",
        "_inflater",
        "_input",
        "_is_reading",
        "_is_stalled",
        "_is_unanswered",
        "_keeps_messages",
        "_may_switch_back",
        "_output",
        "_parameters",
        "_parts",
        "_pending_end",
        "_ping_at",
        "_pong_deadline",
        "_position",
        "_queued_bytes",
        "_reference",
        "_uses_reference",
        "closing",
        "deadline",
        "ended",
        "is_open",
        "queue",
        "taken",
        "unsent",
        "wants_turn",
    )

    def __init__(self, parameters: SessionParameters, deflate: DeflateParameters | None, now: float) -> None:
        self._parameters = parameters
        self._inflater = Inflater(deflate) if deflate is not None else None
        self._deflater = Deflater(deflate) if deflate is not None else None
        self._input = b""
        self._position = 0
        #: Reading has stopped with input left: the queue or the output is full, or it was enough for one turn.
        self._is_stalled = False
        #: The frame whose beginning has been read.
        self._parts: FrameInParts | None = None
        self._reference: ReferenceLane | None = None
        self._uses_reference = False
        self._may_switch_back = False
        self.queue: deque[str | bytes | Close] = deque()
        self._queued_bytes = 0
        self._output: list[bytes] = []
        self.unsent = 0
        self.taken = 0
        self.wants_turn = False
        self.is_open = True
        self._eof = False
        self.ended: Close | None = None
        #: What the peer sends is still looked at.
        self._is_reading = True
        #: And is for the application.
        self._keeps_messages = True
        #: The application has had a message, and has neither sent one nor asked for the next since.
        self._is_unanswered = False
        #: The peer's Close frame, or our failure as `RemoteProtocolError`, that waits for its turn.
        self._pending_end: Close | RemoteProtocolError | None = None
        self._heard = True
        self._pong_deadline = NEVER
        self._ping_at = now + parameters.ping_interval if parameters.ping_interval else NEVER
        self.deadline = self._ping_at
        self.closing = Closing.OPEN

    # ---- from the peer

    def receive_plain(self, data: bytes) -> bool:
        """Take `data` if it is exactly one plain message, or a further part of one, and nothing stands before it.

        That is what nearly every read brings. It is used up by this, so it does not count in `taken`. False: the
        session is as it was, and `data` is for `receive_data`.
        """
        if self._parts is not None:
            return self._receive_part(self._parts, data)
        if self.queue or self._uses_reference or self._is_stalled or not self.is_open:
            return False
        size = len(data) - 6
        if -1 < size < 126:
            if data[1] != size + 128:
                return False
            start = 6
        elif size < 0:
            return False
        else:
            start, size = _payload_place(data, 0)
            if size < 0 or start + size != len(data):
                return False
        content = data[start:] if size < frames.LARGE else memoryview(data)[start:]
        payload = unmask(content, data[start - 4 : start])
        first = data[0]
        if size > self._parameters.max_message_size or not self._is_reading:
            return False
        if first == _BINARY:
            self.queue.append(payload)
        elif first == _TEXT:
            try:
                self.queue.append(payload.decode())
            except UnicodeDecodeError:
                return False
        else:
            return False
        self._heard = True
        self._queued_bytes = len(self.queue[0])
        return True

    def _receive_part(self, parts: FrameInParts, data: bytes) -> bool:
        if not self.is_open or not self._is_reading or len(data) > parts.missing:
            return False
        try:
            parts.feed(data, 0)
        except RemoteProtocolError:
            return False
        self._heard = True
        if (message := parts.message()) is not None:
            self._parts = None
            self._take_message(message)
        return True

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes of the tunnel. Never raises for what a peer sent."""
        self._heard = True
        if not self._is_reading:
            self.taken += len(data)
        elif self._is_stalled:
            self._input = self._input[self._position :] + data
            self._position = 0
        elif self.receive_plain(data):
            self.taken += len(data)
        else:
            self._input = data
            self._position = 0
            self._may_switch_back = True
            self._read(now)

    def receive_eof(self, now: float) -> None:
        """The peer sends nothing more. What it has sent before is still read."""
        self._eof = True
        if (end := self._pending_end) is not None:
            self._carry_out_end(end, now)
        elif not self._is_stalled:
            self._end(Closing.AFTER_FLUSH, Close(frames.ABNORMAL, ""), now)

    def connection_lost(self, now: float) -> None:
        """Nothing can be sent any more, and nothing more comes. What the peer has sent before is still read.

        Our answers are dropped: nobody takes them, and reading would wait for that for ever.
        """
        self.is_open = False
        self._output = []
        self.unsent = 0
        self.receive_eof(now)
        if self._is_stalled and not self.queue:
            self._read(now)

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

    def _read(self, now: float) -> None:
        """Read what is there, in either lane, until it is used up or something is full."""
        self._is_stalled = False
        try:
            while (self._uses_reference or self._read_fast(now)) and self._read_by_reference(now):
                pass
        except RemoteProtocolError as error:
            self._end_in_turn(error, now)
        if not self._is_reading:
            self.taken += len(self._input) - self._position
            self._input = b""
            self._position = 0
            self._is_stalled = False
        elif self._eof and not self._is_stalled:
            self._end(Closing.AFTER_FLUSH, Close(frames.ABNORMAL, ""), now)

    def next_turn(self, now: float) -> None:
        """Others have had their turn of the loop: read on."""
        assert self._reference is not None  # nothing else wants turns
        self._reference.frames_left = FRAMES_PER_TURN
        if self._is_stalled and self._is_reading:
            self._read(now)

    def _is_full(self) -> bool:
        if not self._keeps_messages:
            return False
        return (
            len(self.queue) >= self._parameters.max_queued_messages
            or self._queued_bytes >= _QUEUE_HIGH_WATER
            or self.unsent >= _OUTPUT_HIGH_WATER
        )

    def _read_fast(self, now: float) -> bool:
        """Take complete frames of the common shapes. True: what follows is for the other lane."""
        data = self._input
        begin = position = self._position
        end = len(data)
        if self._parts is not None:
            position += self._feed_parts(self._parts, position)
        while end - position >= 6 and self._is_reading:
            if self._is_full():
                self._is_stalled = True
                break
            start, size = _payload_place(data, position)
            stop = start + size
            if size < 0:
                break
            if stop > end:
                if start <= end and data[position] in _PLAIN and size <= self._parameters.max_message_size:
                    key = data[start - 4 : start]
                    parts = self._parts = FrameInParts(key, size, is_text=data[position] == _TEXT)
                    position = start + self._feed_parts(parts, start)
                break
            payload = unmask(data[start:stop], data[start - 4 : start])
            if not self._take_frame(data[position], payload, now):
                break
            position = stop
        self._position = position
        self.taken += position - begin
        self._uses_reference = position < end and not self._is_stalled and self._is_reading
        return self._uses_reference

    def _read_by_reference(self, now: float) -> bool:
        """Let wsproto read. True: the fast lane can go on with what follows."""
        if (lane := self._reference) is None:
            lane = self._reference = ReferenceLane(self._inflater, self._parameters.max_message_size)
        had_turn = lane.frames_left > 0
        while lane.frames_left and not self._is_full():
            item = lane.next_item()
            if item is None:
                if lane.frames_left and not self._feed(lane):
                    self._uses_reference = not lane.is_at_rest
                    return False
                continue
            if isinstance(item, tuple):
                self._take_control(item[0], item[1], now)
            else:
                self._take_message(item)
            if not self._is_reading:
                return False
            if self._may_switch_back and lane.frames_left and lane.is_between_messages:
                self._switch_back(lane)
                return True
        self._is_stalled = True
        self._may_switch_back = False
        if had_turn and not lane.frames_left:
            self.wants_turn = True
        return False

    def _feed(self, lane: ReferenceLane) -> bool:
        """Give it what there is; False: nothing. Only once it has used what it had, for that counts as read."""
        rest = self._input[self._position :]
        lane.feed(rest)
        self.taken += len(rest)
        self._position = len(self._input)
        return bool(rest)

    def _switch_back(self, lane: ReferenceLane) -> None:
        """Once for each piece received: it costs a copy, and a peer could ask for many."""
        self._may_switch_back = False
        self._uses_reference = False
        self._input = lane.take_rest()
        self._position = 0
        self.taken -= len(self._input)  # counted when it was fed, in this same call

    def _feed_parts(self, parts: FrameInParts, position: int) -> int:
        size = parts.feed(self._input, position)
        if (message := parts.message()) is not None:
            self._parts = None
            self._take_message(message)
        return size

    def _take_frame(self, first: int, payload: bytes, now: float) -> bool:
        """Act on one complete frame; False leaves it, untouched, to the other lane."""
        if first in _PLAIN:
            return self._take_payload(payload, first == _TEXT)
        if first in _DEFLATED:
            if self._inflater is None:
                return False
            limit = self._parameters.max_message_size
            content = self._inflater.feed(payload, limit)
            content += self._inflater.finish(limit - len(content))
            if not self._take_payload(content, first == _DEFLATED_TEXT):
                raise RemoteProtocolError(1007, "invalid UTF-8")
            return True
        if first not in _CONTROL or len(payload) > frames.MAX_CONTROL:
            return False
        self._take_control(first & 0x0F, payload, now)
        return True

    def _take_payload(self, payload: bytes, is_text: bool) -> bool:
        if len(payload) > self._parameters.max_message_size:
            return False
        if not is_text:
            self._take_message(payload)
            return True
        try:
            self._take_message(payload.decode())
        except UnicodeDecodeError:
            return False
        return True

    def _take_message(self, message: str | bytes) -> None:
        if self._keeps_messages:
            self.queue.append(message)
            self._queued_bytes += len(message)

    def _take_control(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == frames.CLOSE:
            self._end_in_turn(frames.read_close(payload), now)
        elif opcode == frames.PING and self.is_open:
            self.send_frame(frames.encode(_PONG, payload))

    # ---- the end

    def _end_in_turn(self, end: Close | RemoteProtocolError, now: float) -> None:
        """Carry out `end` when the application has had what came before it, and asks for more."""
        self._is_reading = False
        self._pending_end = end
        if self.is_open and (self.queue or self._is_unanswered):
            self.deadline = now + _GRACE  # and no ping before it: nothing that could answer is read
        else:
            self._carry_out_end(end, now)

    def _carry_out_end(self, end: Close | RemoteProtocolError, now: float) -> None:
        if isinstance(end, RemoteProtocolError):
            self._fail(end.code, end.reason, now)
            return
        if self.is_open:
            self.send_frame(frames.encode_close(end.code, end.reason))
        self._end(Closing.AFTER_FLUSH, end, now)

    def _fail(self, code: int, reason: str, now: float) -> None:
        """Fail the WebSocket (RFC 6455 §7.1.7): a Close frame, and the stream ends behind it."""
        if self.is_open:
            self.send_frame(frames.encode_close(code, reason))
        self._end(Closing.AFTER_FLUSH, Close(code, reason), now)

    def _end(self, closing: Closing, close: Close, now: float) -> None:
        """Nothing is read or made from here on; the application is told of `close` unless it knows already."""
        self.is_open = self._keeps_messages = False
        self._is_reading = False
        self._pending_end = None
        self.closing = closing
        self._tell_end(close)
        # Somebody must still take the output; a peer that never reads is not waited for.
        self.deadline = now + self._parameters.close_timeout if self._output else NEVER

    def _tell_end(self, close: Close) -> None:
        if self.ended is None:
            self.ended = close
            self.queue.append(close)

    def close(self, code: int, reason: str, now: float, *, tell: bool = False) -> None:
        """Begin the closing handshake; received messages are dropped from here on.

        Does nothing when the session is not open: frameworks answer the end with the code that they were told.

        Args:
            code: the code to send; 1005 sends none.
            reason: cut to 123 bytes.
            tell: the application did not ask for it: `next_message` gives it the code and the reason now, and
                not those of the peer's answer.

        Raises:
            LocalProtocolError: the code must not be sent, or the reason is not valid Unicode.
        """
        if not self.is_open:
            return
        if code != frames.NO_CODE and not frames.may_be_sent(code):
            raise LocalProtocolError(f"{code} is not a code that a Close frame may carry")
        try:
            self.send_frame(frames.encode_close(code, reason))
        except UnicodeEncodeError:
            raise LocalProtocolError("the reason of a Close frame is not valid Unicode") from None
        self.is_open = self._keeps_messages = False
        self.deadline = now + self._parameters.close_timeout
        if tell:
            self._tell_end(Close(code, reason))
        if (end := self._pending_end) is not None:
            self._carry_out_end(end, now)
        elif self._is_stalled:
            self._read(now)  # the peer's answer may be behind what was not read

    def handle_deadline(self, now: float, *, is_held: bool = False) -> None:
        """`deadline` has passed: ping, or give up on a peer that does not answer.

        Args:
            now: the present time.
            is_held: the stream does not take what it was given. That stands before any ping and our Close, or they are in
                it; a peer that takes none of it is the stream's to cut.
        """
        if self.closing is not Closing.OPEN or not self.is_open:
            if is_held and self._output:
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
        self.send_frame(frames.encode(_PING, b""))
        self._heard = False
        if parameters.ping_timeout:
            self._pong_deadline = now + parameters.ping_timeout

    # ---- to the peer

    def encode(self, message: str | bytes) -> tuple[bytes, bytes]:
        """The frame of a text or binary message, which must be the next to be sent: compression depends on it.

        It comes in two pieces, of which the second is mostly empty (`frames.encode_apart`).

        Raises:
            LocalProtocolError: the text has lone surrogates.
        """
        self._is_unanswered = False
        if isinstance(message, str):
            first, payload = _TEXT, _as_utf8(message)
        else:
            first, payload = _BINARY, message
        if self._deflater is not None and len(payload) >= _MIN_COMPRESSED:
            first |= frames.RSV1
            payload = self._deflater.compress(payload)
        return frames.encode_apart(first, payload)

    def send_frame(self, frame: bytes, rest: bytes = b"") -> None:
        """Send what `encode` gave, unless `unsent` is 0 and the caller can do so himself."""
        self._output.append(frame)
        self.unsent += len(frame)
        if rest:
            self._output.append(rest)
            self.unsent += len(rest)

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


def _as_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError("the text of a message is not valid Unicode") from None


def _payload_place(data: bytes, position: int) -> tuple[int, int]:
    """Where the payload of the frame at `position` starts, and its size; -1 for a head not of the common shape.

    At least six bytes are there. A longer head that is cut reads as a size beyond the end of `data`, or as one
    that is too small for its form: both are left to the other lane.
    """
    size = data[position + 1] - 128
    if size < 126:
        return position + 6, size  # negative: not masked
    if size == 126:
        size = int.from_bytes(data[position + 2 : position + 4], "big")
        return position + 8, size if size > 125 else -1
    size = int.from_bytes(data[position + 2 : position + 10], "big")
    return position + 14, size if size > 65535 else -1
