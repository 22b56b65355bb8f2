"""The frames that only control a connection or a stream: settings, windows, priorities, pings, resets.

Each costs the peer something of its `Allowance`, for it makes us work without being a request.
"""

from __future__ import annotations

from ..engine import DefaultFields
from .errors import (
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    ConnectionFault,
    StreamFault,
)
from .frames import (
    ACK,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    MAX_FRAME_SIZE,
    MAX_WINDOW,
    PRIORITY_UPDATE,
    SETTING,
    SETTINGS,
    SETTINGS_ACK,
    SETTINGS_ENABLE_CONNECT_PROTOCOL,
    SETTINGS_ENABLE_PUSH,
    SETTINGS_HEADER_TABLE_SIZE,
    SETTINGS_INITIAL_WINDOW_SIZE,
    SETTINGS_MAX_CONCURRENT_STREAMS,
    SETTINGS_MAX_FRAME_SIZE,
    SETTINGS_NO_RFC7540_PRIORITIES,
    TWO_WORDS,
    WORD,
    ping,
)
from .parameters import HTTP2Parameters
from .priorities import parse_priority
from .sending import HTTP2SendingSide
from .streams import Stream

_MAX_EARLY_PRIORITIES = 64

#: Parent, weight (1 to 256) and exclusive flag.
Dependency = tuple[int, int, bool]


class HTTP2ControlFrames(HTTP2SendingSide):
    """The fourth layer."""

    __slots__ = ("_early_priorities", "_expected_frame", "_has_no_tree", "_largest_window")

    def __init__(
        self, parameters: HTTP2Parameters, defaults: DefaultFields, now: float, secure: bool
    ) -> None:
        super().__init__(parameters, defaults, now, secure)
        #: The only frame type that may come next, or None: SETTINGS first, CONTINUATION in a header block.
        self._expected_frame: int | None = SETTINGS
        #: The peer's SETTINGS_NO_RFC7540_PRIORITIES.
        self._has_no_tree: int = 0
        #: PRIORITY_UPDATEs of streams that have not begun.
        self._early_priorities: dict[int, tuple[int, bool]] = {}
        self._largest_window = max(DEFAULT_WINDOW, parameters.initial_stream_window_size)

    def _check_not_idle(self, stream_id: int) -> None:
        highest = self._last_stream_id if stream_id & 1 else self._last_push_id
        if stream_id > highest:
            raise ConnectionFault(PROTOCOL_ERROR, "frame on an idle stream")

    def _fault(self, stream_id: int, code: int, reason: str) -> ConnectionFault | StreamFault:
        """The fault of a stream; the connection's if it is idle: RST_STREAM would be wrong (RFC 9113 §6.4)."""
        highest = self._last_stream_id if stream_id & 1 else self._last_push_id
        if stream_id > highest:
            return ConnectionFault(code, reason)
        return StreamFault(stream_id, code, reason)

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY on stream 0")
        self._spend_control()
        if len(payload) != 5:
            raise self._fault(stream_id, FRAME_SIZE_ERROR, "PRIORITY of wrong length")
        dependency = read_dependency(payload)
        if dependency[0] == stream_id:
            raise self._fault(stream_id, PROTOCOL_ERROR, "stream that depends on itself")
        if stream_id in self._streams or stream_id > self._last_stream_id:
            self._scheduler.depend(stream_id, *dependency, self._streams)

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "RST_STREAM on stream 0")
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "RST_STREAM of wrong length")
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
            self._leftovers.pop(stream_id, None)
            self._spend_control()
            return
        self._lose_stream(stream)
        if stream_id & 1:
            self._spend_reset(stream)
        else:
            self._spend_control()  # a push that is not wanted: RFC 9113 §8.4.2

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS on a stream")
        is_first = self._expected_frame is not None
        self._spend_control(1 + len(payload) / 60)
        if flags & ACK:
            if payload:
                raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS acknowledgement with a payload")
            if is_first:
                raise ConnectionFault(PROTOCOL_ERROR, "the preface has no settings")
            self._settings_acknowledged()
            return
        self._expected_frame = None
        self._apply_settings(payload)
        self._has_greeted = True
        self._frames.append(SETTINGS_ACK)

    def _apply_settings(self, payload: bytes) -> None:
        if len(payload) % 6:
            raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS of wrong length")
        changed: dict[int, int] = {}
        for code, value in SETTING.iter_unpack(payload):
            _check_setting(code, value)
            changed[code] = value
            if code == SETTINGS_HEADER_TABLE_SIZE:
                self._encoder.resize(value)
        self._peer_frame_size = min(
            changed.get(SETTINGS_MAX_FRAME_SIZE, self._peer_frame_size), DEFAULT_FRAME_SIZE
        )
        self._peer_max_streams = changed.get(SETTINGS_MAX_CONCURRENT_STREAMS, self._peer_max_streams)
        if SETTINGS_ENABLE_PUSH in changed:
            self._peer_allows_push = changed[SETTINGS_ENABLE_PUSH] == 1
        has_no_tree = changed.get(SETTINGS_NO_RFC7540_PRIORITIES, self._has_no_tree)
        if has_no_tree != self._has_no_tree:
            if self._has_greeted:  # RFC 9218 §2.1: it stays as the first SETTINGS frame has it
                raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS_NO_RFC7540_PRIORITIES has changed")
            self._has_no_tree = has_no_tree
            if has_no_tree:
                self._scheduler.use_urgency()
        if SETTINGS_INITIAL_WINDOW_SIZE in changed:
            self._resize_send_windows(changed[SETTINGS_INITIAL_WINDOW_SIZE])

    def _resize_send_windows(self, size: int) -> None:
        """RFC 9113 §6.9.2: all streams' windows change by the difference, and may become negative."""
        difference = size - self._peer_window
        self._peer_window = size
        for stream in (*self._streams.values(), *self._leftovers.values()):
            stream.send_window += difference
            if stream.send_window > MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "a stream's window exceeds 2^31-1")
            self._window_given(stream)

    def _window_given(self, stream: Stream) -> None:
        """What is sent of it now, and when, is not for the peer's window to decide any more."""
        if stream.buffered and stream.send_window > 0:
            stream.stalled_at = None
            self._scheduler.add(stream)

    def _settings_acknowledged(self) -> None:
        if self._is_acknowledged:
            return
        self._is_acknowledged = True
        size = self._parameters.initial_stream_window_size
        difference = size - self._largest_window
        self._largest_window = size
        if difference:
            for stream in (*self._streams.values(), *self._leftovers.values()):
                stream.receive_window += difference
            for stream in self._streams.values():
                # What has been taken until now was given back up to the small window only, and is below it now.
                if not stream.is_remote_closed:
                    self._top_up_stream(stream)

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "PING of wrong length")
        if flags & ACK:
            self._ping_acknowledged(payload)
        else:
            self._frames.append(ping(payload, ACK))
        self._spend_control()

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "GOAWAY of wrong length")
        self._spend_control()
        _, code = TWO_WORDS.unpack_from(payload)
        self._peer_left = True
        if code:
            self.fault = f"the peer left with error code {code}"
        if not self._streams:
            self._close()

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "WINDOW_UPDATE of wrong length")
        increment = WORD.unpack(payload)[0] & 0x7FFFFFFF
        self._spend_control()
        if not stream_id:
            if not increment:
                raise ConnectionFault(PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            if self._send_window <= 0:  # what waits for it has no more to wait for
                for waiting in self._scheduler.ready.values():
                    waiting.stalled_at = None
            self._send_window += increment
            if self._send_window > MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "the connection's window exceeds 2^31-1")
            return
        stream = self._streams.get(stream_id) or self._leftovers.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
            return
        if not increment:
            raise StreamFault(stream_id, PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        stream.send_window += increment
        if stream.send_window > MAX_WINDOW:
            raise StreamFault(stream_id, FLOW_CONTROL_ERROR, "the stream's window exceeds 2^31-1")
        self._window_given(stream)

    def _on_extension(self, kind: int, stream_id: int, payload: bytes) -> None:
        """Frame types beyond RFC 9113: PRIORITY_UPDATE (RFC 9218 §7.1); others are ignored (§5.5)."""
        self._spend_control()
        if kind != PRIORITY_UPDATE:
            return
        if stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY_UPDATE on a stream")
        if len(payload) < 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "PRIORITY_UPDATE too short")
        target = WORD.unpack_from(payload)[0] & 0x7FFFFFFF
        if not target or (not target & 1 and target > self._last_push_id):
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY_UPDATE of a stream that cannot be")
        priority = parse_priority(payload[4:])
        stream = self._streams.get(target)
        self._scheduler.use_urgency()
        if stream is not None:
            stream.urgency, stream.incremental = priority
        elif target > self._last_stream_id:
            self._keep_early_priority(target, priority)

    def _keep_early_priority(self, stream_id: int, priority: tuple[int, bool]) -> None:
        early = self._early_priorities
        if len(early) >= _MAX_EARLY_PRIORITIES:
            for passed in [key for key in early if key <= self._last_stream_id]:
                del early[passed]
        if len(early) < _MAX_EARLY_PRIORITIES:
            early[stream_id] = priority


def read_dependency(payload: bytes) -> Dependency:
    """Parent, weight and exclusive flag (RFC 7540 §6.3)."""
    parent = WORD.unpack_from(payload)[0]
    return parent & 0x7FFFFFFF, payload[4] + 1, parent >> 31 == 1


def _check_setting(code: int, value: int) -> None:
    """The ranges of RFC 9113 §6.5.2, RFC 8441 §3 and RFC 9218 §2.1."""
    if code == SETTINGS_INITIAL_WINDOW_SIZE:
        if value > MAX_WINDOW:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "initial window above 2^31-1")
    elif code == SETTINGS_MAX_FRAME_SIZE:
        if not 16384 <= value <= MAX_FRAME_SIZE:
            raise ConnectionFault(PROTOCOL_ERROR, "maximum frame size out of range")
    elif (
        code in (SETTINGS_ENABLE_PUSH, SETTINGS_ENABLE_CONNECT_PROTOCOL, SETTINGS_NO_RFC7540_PRIORITIES)
        and value > 1
    ):
        raise ConnectionFault(PROTOCOL_ERROR, "setting that is neither 0 nor 1")
