"""The receiving half: bytes become messages and control frames, in two lanes with one meaning.

wsproto (`reference.py`) can read everything and decides what breaks a rule. The fast lane here takes unfragmented frames
at a message boundary, which is nearly all that real peers send, large ones also in parts (`parts.py`); whatever it does
not take goes to wsproto unchanged. Tests hold the lanes to the same meaning.

Memory is bounded. Reading stops while the application has a full queue of messages, or while our own answers (pongs)
are not taken; what stays unread is not counted in `taken`, so that the peer's window closes. A message is bounded by its
limit before it is decompressed.

So is the work of one turn of the loop. wsproto takes ten microseconds for each frame, and a frame may be of seven
bytes: it reads some, and what is behind them waits until others have had their turn (`wants_turn`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..engine import Closing
from . import frames
from .frames import Close, RemoteProtocolError, unmask
from .parts import FrameInParts
from .reference import FRAMES_PER_TURN, ReferenceLane
from .state import ENDED, LOST, OPEN, SessionParameters, SessionState

if TYPE_CHECKING:
    from .deflate import Inflater

#: Received messages that wait for the application stop the reading above so many bytes.
_QUEUE_HIGH_WATER = 65536
#: Output that nobody takes stops the reading above so many bytes.
_OUTPUT_HIGH_WATER = 65536

# Read for every message: a global costs less than a module's attribute.
_TEXT = frames.WHOLE_TEXT
_BINARY = frames.WHOLE_BINARY
_PLAIN = (_TEXT, _BINARY)
_DEFLATED_TEXT = _TEXT | frames.RSV1
_DEFLATED = (_DEFLATED_TEXT, _BINARY | frames.RSV1)
_CONTROL = (frames.WHOLE_PING, frames.WHOLE_PONG, frames.WHOLE_CLOSE)


class SessionReceivingSide(SessionState):
    """The second layer: what comes from the peer."""

    __slots__ = (
        "_eof",
        "_heard",
        "_inflater",
        "_input",
        "_is_stalled",
        "_may_switch_back",
        "_parts",
        "_position",
        "_queued_bytes",
        "_reference",
        "_uses_reference",
        "taken",
        "wants_turn",
    )

    def __init__(self, parameters: SessionParameters, inflater: Inflater | None) -> None:
        super().__init__(parameters)
        self._inflater = inflater
        self._input = b""
        self._position = 0
        self.taken = 0
        #: Reading has stopped with input left: the queue or the output is full, or it was enough for one turn.
        self._is_stalled = False
        self.wants_turn = False
        self._queued_bytes = 0
        #: The frame whose beginning has been read.
        self._parts: FrameInParts | None = None
        self._reference: ReferenceLane | None = None
        self._uses_reference = False
        self._may_switch_back = False
        self._eof = False
        #: Something has come since the last ping.
        self._heard = True

    def receive_plain(self, data: bytes) -> bool:
        """Take `data` if it is exactly one plain message, or a further part of one, and nothing stands before it.

        That is what nearly every read brings. It is used up by this, so it does not count in `taken`. False: the
        session is as it was, and `data` is for `receive_data`.
        """
        if self._parts is not None:
            return self._receive_part(self._parts, data)
        if self.queue or self._uses_reference or self._is_stalled or self.state is not OPEN:
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
        if size > self._parameters.max_message_size:
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
        if self.state is not OPEN or len(data) > parts.missing:
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
        if not self.state.is_reading:
            self.taken += len(data)
            self._discard(data, now)
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

    def _discard(self, data: bytes, now: float) -> None:
        """Look only for the peer's Close frame, which is the last thing that it sends."""
        if self.closing is Closing.OPEN and frames.ends_with_close(data):
            self._is_peer_done = True
            if self.ended is not None:
                self._end(Closing.AFTER_FLUSH, self.ended, now)

    def receive_eof(self, now: float) -> None:
        """The peer sends nothing more. What it has sent before is still read."""
        self._eof = self._is_peer_done = True
        if (end := self._pending_end) is not None:
            self._carry_out_end(end, now)
        elif not self._is_stalled:
            self._end(Closing.AFTER_FLUSH, Close(frames.ABNORMAL, ""), now)

    def connection_lost(self, now: float) -> None:
        """Nothing can be sent any more, and nothing more comes. What the peer has sent before is still read.

        Our answers are dropped: nobody takes them, and reading would wait for that for ever.
        """
        if self.state.can_send:
            self.state = LOST
        self._output = []
        self.unsent = 0
        self.receive_eof(now)
        if self._is_stalled and not self.queue:
            self._read(now)

    def next_turn(self, now: float) -> None:
        """Others have had their turn of the loop: read on."""
        if self._reference is None:
            return  # what wanted the turn has been let go
        self._reference.frames_left = FRAMES_PER_TURN
        if self._is_stalled and self.state.is_reading:
            self._read(now)

    def _read(self, now: float) -> None:
        """Read what is there, in either lane, until it is used up or something is full."""
        self._is_stalled = False
        try:
            while (self._uses_reference or self._read_fast(now)) and self._read_by_reference(now):
                pass
        except RemoteProtocolError as error:
            if frames.ends_with_close(self._input):
                self._is_peer_done = True
            self._end_in_turn(error, now)
        if not self.state.is_reading:
            self._drop_input()
        elif self._eof and not self._is_stalled:
            self._end(Closing.AFTER_FLUSH, Close(frames.ABNORMAL, ""), now)

    @property
    def held_size(self) -> int:
        """Bytes of messages that the application has not had, whole or begun."""
        size = self._queued_bytes
        if self._parts is not None:
            size += self._parts.size - self._parts.missing
        if self._reference is not None:
            size += self._reference.held_size
        return size

    @property
    def max_held_size(self) -> int:
        """See `SessionParameters`."""
        return self._parameters.max_held_size

    def give_up(self, now: float) -> None:
        """Let go of all that is held, for it is too much together with what others hold, and fail the session."""
        self.queue = deque(item for item in self.queue if isinstance(item, Close))
        self._queued_bytes = 0
        self._parts = self._reference = None
        self._uses_reference = False
        self._drop_input()
        if self.state is not ENDED:
            self._fail(frames.TOO_BIG, "too much is waiting on this connection", now)

    def _drop_input(self) -> None:
        """What has not been read counts as read, and is forgotten."""
        self.taken += len(self._input) - self._position
        self._input = b""
        self._position = 0
        self._is_stalled = False

    def _is_full(self) -> bool:
        if not self.state.keeps_messages:
            return False
        return (
            len(self.queue) >= self._parameters.max_queued_messages
            or self._queued_bytes >= _QUEUE_HIGH_WATER
            or self.unsent >= _OUTPUT_HIGH_WATER
        )

    # ---- the fast lane

    def _read_fast(self, now: float) -> bool:
        """Take complete frames of the common shapes. True: what follows is for the other lane."""
        data = self._input
        begin = position = self._position
        end = len(data)
        if self._parts is not None:
            position += self._feed_parts(self._parts, position)
        while end - position >= 6 and self.state.is_reading:
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
        self._uses_reference = position < end and not self._is_stalled and self.state.is_reading
        return self._uses_reference

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

    # ---- the reference lane

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
            if not self.state.is_reading:
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

    # ---- what was read, in either lane

    def _take_message(self, message: str | bytes) -> None:
        if self.state.keeps_messages:
            self.queue.append(message)
            self._queued_bytes += len(message)

    def _take_control(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == frames.CLOSE:
            self._end_in_turn(frames.read_close(payload), now)
        elif opcode == frames.PING and self.state.can_send:
            self.send_frame(frames.encode(frames.WHOLE_PONG, payload))


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
