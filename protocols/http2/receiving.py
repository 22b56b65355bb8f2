"""The receiving half: frames from the peer, the requests that they make, and their bodies.

Frames are taken apart here, without an object per frame. What a peer does wrong raises `StreamFault` or
`ConnectionFault`, which are caught in one place (`_read_frames`, `receive_data`).

Bounds on what a peer can make us do without making a request are in `Allowance`s; see `HTTP2Parameters`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..common import PREFACE
from ..engine import NEVER, DefaultFields
from ..events import Data, Refused, Request, Trailers
from .control import Dependency, HTTP2ControlFrames, read_dependency
from .errors import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    ConnectionFault,
    MalformedMessage,
    StreamFault,
)
from .field_decoder import Field
from .frames import (
    CONTINUATION,
    DEFAULT_FRAME_SIZE,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HEADERS,
    PADDED,
    WITH_PRIORITY,
    field_block,
    rst_stream,
)
from .parameters import HTTP2Parameters
from .request_blocks import RequestBlocks
from .requests import RequestHead, read_trailers
from .streams import HeldInput, Stream

#: `Data` events that an application may leave unread before further data is gathered into one: a peer that
#: sends bytes one by one must not cost an object for each.
MAX_HANDED_OVER = 32
#: Frames of one header block beyond those that its largest size fills.
MAX_CONTINUATIONS = 64
#: Frames that wait because the peer does not read, above which we do not read either.
MAX_WAITING_FRAMES = 512
_MAX_SKIPPED = 32
#: DATA for a stream that we have reset costs the peer something when it is smaller: nothing of use can be in so many of
#: them, and a window holds a million.
_TINY_DATA = 64
#: What a field section that is too large costs of `max_control_frames`: reading it takes some milliseconds.
_LARGE_BLOCK_COST = 20
_EARNED_BY_REQUEST = 16

_unpack_head = FRAME_HEAD.unpack_from

Handler = Callable[[Any, int, int, bytes], None]


class OpenBlock:
    """A header block whose CONTINUATION frames are still to come."""

    __slots__ = ("dependency", "flags", "frames", "parts", "size", "stream_id")

    def __init__(self, stream_id: int, flags: int, part: bytes, dependency: Dependency | None) -> None:
        self.stream_id = stream_id
        self.flags = flags
        self.parts = [part]
        self.size = len(part)
        self.frames = 1
        self.dependency = dependency


class HTTP2ReceivingSide(HTTP2ControlFrames):
    """The fifth layer: requests and their bodies."""

    __slots__ = (
        "_block",
        "_blocks",
        "_needed",
        "_pending",
        "_preface_left",
        "_skipped",
    )

    def __init__(
        self, parameters: HTTP2Parameters, defaults: DefaultFields, now: float, secure: bool
    ) -> None:
        super().__init__(parameters, defaults, now, secure)
        self._pending = bytearray()
        self._needed = 0
        self._preface_left = PREFACE
        self._block: OpenBlock | None = None
        self._blocks = RequestBlocks(parameters.max_header_list_size)
        self._skipped: list[tuple[int, int]] = []

    # ---- bytes to frames

    def _read(self, data: bytes) -> None:
        """Take bytes from the transport; frames that are complete are acted on."""
        pending = self._pending
        if pending:
            if len(pending) + len(data) < self._needed:
                pending += data
                return
            data = b"".join((pending, data))
            self._pending = bytearray()
        if self._preface_left:
            data = self._read_preface(data)
        used = self._read_frames(data)
        if used < len(data):
            self._pending += memoryview(data)[used:]

    def _read_preface(self, data: bytes) -> bytes:
        left = self._preface_left
        part = data[: len(left)]
        if not left.startswith(part):
            raise ConnectionFault(PROTOCOL_ERROR, "invalid connection preface")
        self._preface_left = left[len(part) :]
        return data[len(part) :]

    def _read_frames(self, data: bytes) -> int:
        """Act on the complete frames in `data`; how far they reach."""
        pos = 0
        end = len(data)
        max_size = self._parameters.max_inbound_frame_size
        self._needed = 9
        while end - pos >= 9 and not self._is_over:
            high, low, kind, flags, stream_id = _unpack_head(data, pos)
            size = high << 8 | low
            if size > max_size:
                raise ConnectionFault(FRAME_SIZE_ERROR, "frame larger than SETTINGS_MAX_FRAME_SIZE")
            start = pos + 9
            stop = start + size
            if stop > end:
                self._needed = stop - pos
                break
            pos = stop
            if self._expected_frame is not None and kind != self._expected_frame:
                raise ConnectionFault(PROTOCOL_ERROR, "another frame than must come here")
            try:
                if kind < 10:
                    _HANDLERS[kind](self, flags, stream_id & 0x7FFFFFFF, data[start:stop])
                else:
                    self._on_extension(kind, stream_id & 0x7FFFFFFF, data[start:stop])
            except StreamFault as fault:
                self._punish_stream(fault)
        if pos and self._block is None:
            self._block_deadline = NEVER  # what is incomplete now has begun with this read
        return pos

    # ---- DATA

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        if not stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "DATA on stream 0")
        self._receive_window -= size
        if self._receive_window < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        stream = self._streams.get(stream_id) or self._leftovers.get(stream_id)
        if stream is None or stream.is_remote_closed:
            self._on_unwanted_data(stream_id, stream, size)
            return
        stream.receive_window -= size
        if stream.receive_window < 0 and size:  # an empty frame needs none (§6.9)
            self._top_up()
            raise StreamFault(stream_id, FLOW_CONTROL_ERROR, "more DATA than the stream's window")
        if flags & PADDED:
            payload = _without_padding(payload)
            size = len(payload)
        end_stream = flags & END_STREAM != 0
        if not size and not end_stream:
            self._spend_control()
            self._top_up()
            self.consume(stream_id, 0, self._now)  # nobody else gives back what padding has taken
            return
        if stream.expected is not None:
            stream.expected -= size
            if stream.expected < 0 or (end_stream and stream.expected):
                self._top_up()
                raise StreamFault(stream_id, PROTOCOL_ERROR, "body and content-length differ")
        if end_stream:
            stream.is_remote_closed = True
        if stream.answered_at is not None:
            self._throw_away(stream)
            return
        stream.unread += size
        self._unread += size
        if stream.held is None and stream.handed_over < MAX_HANDED_OVER:
            stream.handed_over += 1
            self.events.append(Data(stream_id, payload, end_stream))
        else:
            self._hold(stream, payload, end_stream)
        self._top_up()

    def _throw_away(self, stream: Stream) -> None:
        """Data for a request that has its answer."""
        if stream.is_remote_closed:
            del self._leftovers[stream.id]
        else:
            self._judge_leftover(stream)
        self._top_up()

    def _hold(self, stream: Stream, payload: bytes, end_stream: bool) -> None:
        held = stream.held
        if held is None:
            held = stream.held = HeldInput()
        held.data += payload
        held.end_stream = end_stream

    def _on_unwanted_data(self, stream_id: int, stream: Stream | None, size: int) -> None:
        self._top_up()
        if stream is not None:
            raise _after_end(stream, "DATA after END_STREAM")
        self._check_not_idle(stream_id)
        if stream_id not in self._reset_by_us:
            raise ConnectionFault(STREAM_CLOSED, "DATA on a closed stream")
        if size < _TINY_DATA:
            self._spend_control()

    def consume(self, stream_id: int, size: int, now: float) -> None:
        """The application has taken `size` bytes: the peer may send as many more."""
        self._now = now
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        size = min(size, stream.unread)
        stream.unread -= size
        self._unread -= size
        held = stream.held
        if stream.unread <= (len(held.data) if held is not None else 0):
            stream.handed_over = 0
            if held is not None and stream_id not in self._waiting:
                self._hand_over(stream, held)
        if not stream.is_remote_closed:
            self._top_up_stream(stream)
        self._top_up()
        self._restart_read_timeout()

    # ---- HEADERS and CONTINUATION

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "HEADERS on stream 0")
        dependency: Dependency | None = None
        if flags & PADDED:
            payload = _without_padding(payload)
        if flags & WITH_PRIORITY:
            if len(payload) < 5:
                raise ConnectionFault(FRAME_SIZE_ERROR, "HEADERS too short for its priority")
            dependency = read_dependency(payload)
            payload = payload[5:]
        if flags & END_HEADERS:
            self._on_block(flags, stream_id, payload, dependency)
        else:
            self._block = OpenBlock(stream_id, flags, payload, dependency)
            self._expected_frame = CONTINUATION

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None or stream_id != block.stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION out of place")
        block.parts.append(payload)
        block.size += len(payload)
        block.frames += 1
        # CVE-2024-27316 and its kin: an endless block costs memory and never becomes a request. What is not so far
        # above the limit is read to its end, for only then can it be answered, and the others go on.
        limit = 2 * max(self._parameters.max_header_list_size, self._parameters.max_inbound_frame_size)
        if block.frames > MAX_CONTINUATIONS + limit // DEFAULT_FRAME_SIZE or block.size > limit:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "header block too long")
        if flags & END_HEADERS:
            self._block = None
            self._expected_frame = None
            self._block_deadline = NEVER
            self._on_block(block.flags, stream_id, b"".join(block.parts), block.dependency)

    def _on_block(self, flags: int, stream_id: int, block: bytes, dependency: Dependency | None) -> None:
        """A complete header block: a request, trailers, or out of place."""
        end_stream = flags & END_STREAM != 0
        if (stream := self._streams.get(stream_id) or self._leftovers.get(stream_id)) is not None:
            self._on_trailers(stream, block, end_stream)
            return
        if stream_id <= self._last_stream_id or not stream_id & 1:
            self._on_stale_block(stream_id, block)
            return
        if stream_id > self._last_stream_id + 2:
            self._skip_streams(stream_id)
        self._last_stream_id = stream_id
        try:
            head = self._blocks.read(block)
        except MalformedMessage as error:
            raise self._malformed(stream_id, str(error)) from None
        if dependency is not None and dependency[0] == stream_id:
            raise StreamFault(stream_id, PROTOCOL_ERROR, "stream that depends on itself")
        if head is None:
            self._spend_control(_LARGE_BLOCK_COST)
            self._answer(stream_id, 431, "header fields too large", None, end_stream)
        elif (
            len(self._streams) - self._pushes >= self._parameters.max_concurrent_streams
            or self._drain_limit is not None
        ):
            raise StreamFault(stream_id, REFUSED_STREAM, "too many streams, or draining")
        elif end_stream and head.content_length:
            raise self._malformed(stream_id, "content-length without a body")
        elif head.refusal is not None:
            self._answer(stream_id, *head.refusal, head, end_stream)
        else:
            self._open_stream(stream_id, head, end_stream, dependency)

    def _open_stream(
        self, stream_id: int, head: RequestHead, end_stream: bool, dependency: Dependency | None
    ) -> None:
        window = self._parameters.initial_stream_window_size
        stream = Stream(
            stream_id, head, self._largest_window, window, self._peer_window, end_stream, self._now
        )
        if self._streams:
            self._was_parallel = True
        else:
            self._idle_deadline = NEVER
            self._update_deadline()
        self._streams[stream_id] = stream
        scheduler = self._scheduler
        scheduler.opened(stream_id)
        if dependency is not None:
            scheduler.depend(stream_id, *dependency, self._streams)
        priority = (
            self._early_priorities.pop(stream_id, head.priority) if self._early_priorities else head.priority
        )
        if priority is not None:
            scheduler.use_urgency()
            stream.urgency, stream.incremental = priority
        self._controls.earn(_EARNED_BY_REQUEST)
        request = Request(
            stream_id,
            "2",
            head.method,
            head.raw_path,
            head.query,
            head.fields.copy(),
            end_stream,
            head.expects_continue and not end_stream,
            "websocket" if head.protocol is not None else None,
        )
        if self._abandoned:
            self._let_wait(stream, request)
        else:
            self.events.append(request)
        self._requests += 1
        limit = self._parameters.keep_alive_max_requests
        if self._requests == limit or self._requests == 2 * limit:
            self._limit_reached()

    def _answer(
        self, stream_id: int, status: int, reason: str, head: RequestHead | None, end_stream: bool
    ) -> None:
        """Answer a request without asking an application."""
        self._send_refusal(stream_id, status, reason, head)
        if not end_stream:
            self._frames.append(rst_stream(stream_id, NO_ERROR))
            self._remember_reset(stream_id)
        self._spend_reset()

    def _malformed(self, stream_id: int, reason: str) -> StreamFault:
        """Answer a malformed request before it is reset, as RFC 9113 §8.1.1 allows.

        Behind a proxy it is a client's mistake that way. The reset alone is taken for a failure of ours, and told as 502.
        """
        self._send_refusal(stream_id, 400, reason, None)
        return StreamFault(stream_id, PROTOCOL_ERROR, reason)

    def _send_refusal(self, stream_id: int, status: int, reason: str, head: RequestHead | None) -> None:
        section: list[Field] = [
            (b":status", b"%d" % status),
            *self._defaults.fields,
            (b"content-length", b"0"),
        ]
        block = self._encoder.encode(section)
        self._frames += field_block(HEADERS, END_STREAM, stream_id, block, self._peer_frame_size)
        method, target = ("", b"") if head is None else (head.method, head.raw_path)
        self.events.append(Refused(status, reason, method, target, "2"))

    def _on_trailers(self, stream: Stream, block: bytes, end_stream: bool) -> None:
        received = self._blocks.decoder.decode(block, self._parameters.max_header_list_size)
        if stream.is_remote_closed:
            raise _after_end(stream, "HEADERS after END_STREAM")
        if not end_stream or self._blocks.decoder.is_oversized:
            raise StreamFault(stream.id, PROTOCOL_ERROR, "trailers without END_STREAM, or too large")
        try:
            fields = read_trailers(received)
        except MalformedMessage as error:
            raise StreamFault(stream.id, PROTOCOL_ERROR, str(error)) from None
        if stream.expected:
            raise StreamFault(stream.id, PROTOCOL_ERROR, "body and content-length differ")
        stream.is_remote_closed = True
        if stream.answered_at is not None:
            del self._leftovers[stream.id]
        elif stream.held is not None:
            stream.held.trailers = fields
        else:
            self.events.append(Trailers(stream.id, fields))

    def _on_stale_block(self, stream_id: int, block: bytes) -> None:
        """HEADERS on a stream that is over, was never opened in its turn, or is not the peer's to open."""
        self._blocks.decoder.decode(block, self._parameters.max_header_list_size)
        if stream_id in self._reset_by_us:
            self._spend_control()
            return
        was_skipped = any(first <= stream_id <= last for first, last in self._skipped)
        if was_skipped or not stream_id & 1:
            raise ConnectionFault(PROTOCOL_ERROR, "stream identifier out of order")
        raise ConnectionFault(STREAM_CLOSED, "HEADERS on a closed stream")

    def _skip_streams(self, stream_id: int) -> None:
        self._skipped.append((self._last_stream_id + 1, stream_id - 1))
        del self._skipped[:-_MAX_SKIPPED]


#: By frame type, 0 to 9.
_HANDLERS: tuple[Handler, ...] = (
    HTTP2ReceivingSide._on_data,  # pyright: ignore[reportPrivateUsage]
    HTTP2ReceivingSide._on_headers,  # pyright: ignore[reportPrivateUsage]
    HTTP2ReceivingSide._on_priority,  # pyright: ignore[reportPrivateUsage]
    HTTP2ReceivingSide._on_rst_stream,  # pyright: ignore[reportPrivateUsage]
    HTTP2ReceivingSide._on_settings,  # pyright: ignore[reportPrivateUsage]
    HTTP2ReceivingSide._on_push_promise,  # pyright: ignore[reportPrivateUsage]
    HTTP2ReceivingSide._on_ping,  # pyright: ignore[reportPrivateUsage]
    HTTP2ReceivingSide._on_goaway,  # pyright: ignore[reportPrivateUsage]
    HTTP2ReceivingSide._on_window_update,  # pyright: ignore[reportPrivateUsage]
    HTTP2ReceivingSide._on_continuation,  # pyright: ignore[reportPrivateUsage]
)


def _after_end(stream: Stream, reason: str) -> ConnectionFault | StreamFault:
    """The fault of a frame on a stream that the peer has ended, or that was never its own (RFC 9113 §5.1)."""
    if not stream.id & 1 and not stream.has_head:
        return ConnectionFault(PROTOCOL_ERROR, "frame on a reserved stream")
    return StreamFault(stream.id, STREAM_CLOSED, reason)


def _without_padding(payload: bytes) -> bytes:
    if not payload:
        raise ConnectionFault(FRAME_SIZE_ERROR, "no padding length")
    if payload[0] >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]
