"""The sending half: response heads, bodies and trailers, server push, and what goes out when.

Heads are encoded when they are sent, for HPACK's order is the wire's order. Bodies wait in their streams until
the transport can take them (`data_to_send`), for only then is it decided who comes first; at most
`OUTPUT_SIZE` bytes are framed at a time. The exception is a short body that is the whole rest of its response:
nothing is gained by letting it wait.
"""

from __future__ import annotations

from ..engine import DefaultFields, LocalProtocolError
from ..events import Fields, Request, Writable
from .ending import HTTP2End
from .errors import CANCEL, INTERNAL_ERROR, MalformedMessage
from .field_decoder import Field
from .frames import (
    DATA,
    DEFAULT_FRAME_SIZE,
    END_STREAM,
    HEADERS,
    MAX_STREAM_ID,
    PUSH_PROMISE,
    WORD,
    field_block,
    frame_head,
)
from .parameters import HTTP2Parameters
from .requests import read_request
from .responses import as_pairs, clean_fields, response_head, trailer_section
from .streams import Stream

#: What one call of `data_to_send` frames at most; and where the peer ranks its streams. Then it is as much as a stream
#: may hold (`send_high_water`): more would come from those that are behind, before the first has been asked for more.
OUTPUT_SIZE = 131072
RANKED_OUTPUT_SIZE = 65536
#: A whole body up to this size is framed as soon as it is there.
SMALL_BODY = 4096
#: Data frames below this size, cut short by the peer's window, are no work that earns it control frames.
TINY_FRAME = 512
_MAX_HEADS = 32
_MAX_HEAD_SIZE = 2048


class HTTP2SendingSide(HTTP2End):
    """The third layer: what an exchange calls."""

    __slots__ = (
        "_heads",
        "_heads_changes",
        "_heads_generation",
        "_last_push_id",
        "_peer_allows_push",
        "_peer_max_streams",
        "_secure",
    )

    def __init__(
        self, parameters: HTTP2Parameters, defaults: DefaultFields, now: float, secure: bool
    ) -> None:
        super().__init__(parameters, defaults, now)
        self._secure = secure
        #: Encoded response heads; valid while the encoder's table and the default fields stand still.
        self._heads: dict[tuple[int, tuple[Field, ...]], tuple[bytes, int | None]] = {}
        self._heads_changes = 0
        self._heads_generation = defaults.generation
        self._peer_allows_push = True
        self._peer_max_streams = parameters.max_concurrent_streams
        self._last_push_id = 0

    # ---- heads

    def send_informational(self, stream_id: int, status: int, fields: Fields) -> None:
        """Send a 1xx response; nothing once the final head is sent."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.has_head:
            return
        if not 100 <= status <= 199 or status == 101:
            raise LocalProtocolError(f"Status {status} is not informational, or not of HTTP/2")
        section = [(b":status", b"%d" % status), *clean_fields(fields)]
        block = self._encoder.encode(section)
        self._frames += field_block(HEADERS, 0, stream_id, block, self._peer_frame_size)

    def send_head(self, stream_id: int, status: int, fields: Fields, now: float) -> None:
        """Send the final response head."""
        self._now = now
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.has_head:
            raise LocalProtocolError("The response head has already been sent")
        block, length = self._encode_head(status, fields)
        stream.has_head = True
        if stream.head.protocol is not None and status < 300:
            stream.is_tunnel = True
            stream.expected = None
        elif stream.head.method == "HEAD" or status in (204, 205, 304):
            stream.is_bodiless = True
        else:
            stream.remaining = length
        frames = self._frames
        stream.head_place = (self._outputs, len(frames))
        if len(block) <= DEFAULT_FRAME_SIZE:
            frames += (frame_head(len(block), HEADERS, 0x4, stream_id), block)
        else:
            frames += field_block(HEADERS, 0, stream_id, block, self._peer_frame_size)

    def _encode_head(self, status: int, fields: Fields) -> tuple[bytes, int | None]:
        """The field block of a response head and its announced length, from memory if nothing has changed."""
        defaults = self._defaults
        encoder = self._encoder
        if encoder.changes != self._heads_changes or defaults.generation != self._heads_generation:
            self._heads_changes = encoder.changes
            self._heads_generation = defaults.generation
            self._heads.clear()
        try:
            key = (status, tuple(fields))
            known = self._heads.get(key)
        except TypeError:  # pairs that are lists have no hash
            return self._encode_head(status, as_pairs(fields))
        if known is not None:
            return known
        head, length = response_head(status, fields, defaults.fields)
        block = encoder.encode(head)
        if encoder.changes == self._heads_changes and len(block) <= _MAX_HEAD_SIZE:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            self._heads[key] = (block, length)
        return block, length

    # ---- bodies and trailers

    def send_data(self, stream_id: int, data: bytes, end_stream: bool, now: float) -> None:
        """Send a piece of the response body, or of a tunnel."""
        self._now = now
        stream = self._streams.get(stream_id)
        if stream is None:
            if end_stream:
                self._application_ended(stream_id)
            return
        if stream.is_ended or not stream.has_head:
            raise LocalProtocolError("Response data before the head or after the end")
        size = len(data)
        if stream.is_bodiless:
            size = 0
        elif stream.remaining is not None:
            self._count_body(stream, size, end_stream)
        if end_stream and not stream.buffered and self._send_at_once(stream, data, size):
            return
        if size:
            stream.chunks.append(data)
            stream.buffered += size
            self._unsent += size
        if end_stream:
            stream.is_ended = True
        if size or end_stream:
            self._scheduler.add(stream)

    def _count_body(self, stream: Stream, size: int, end_stream: bool) -> None:
        assert stream.remaining is not None  # checked by the caller
        remaining = stream.remaining - size
        if remaining < 0:
            raise LocalProtocolError("Response body longer than its content-length")
        if end_stream and remaining:
            raise LocalProtocolError("Response body shorter than its content-length")
        stream.remaining = remaining

    def _send_at_once(self, stream: Stream, data: bytes, size: int) -> bool:
        """Frame the short rest of a response without waiting for its turn, if windows allow."""
        if not size:
            place = stream.head_place
            if place is not None and place[0] == self._outputs:
                # Its HEADERS frame has not gone out yet: END_STREAM goes there.
                head = bytes(self._frames[place[1]])
                self._frames[place[1]] = b"%b%c%b" % (head[:4], head[4] | END_STREAM, head[5:])
            else:
                self._frames.append(frame_head(0, DATA, END_STREAM, stream.id))
        elif (
            size <= SMALL_BODY
            and size <= stream.send_window
            and size <= self._send_window
            and self._is_writable
        ):
            stream.send_window -= size
            self._send_window -= size
            self._frames += (frame_head(size, DATA, END_STREAM, stream.id), data)
        else:
            return False
        self._response_complete(stream)
        return True

    def send_trailers(self, stream_id: int, fields: Fields, now: float) -> None:
        """Send the trailer section behind the data; the response is complete."""
        self._now = now
        stream = self._streams.get(stream_id)
        if stream is None:
            self._application_ended(stream_id)
            return
        if stream.is_ended or not stream.has_head:
            raise LocalProtocolError("Trailers before the head or after the end")
        section = trailer_section(fields)
        if stream.is_bodiless or stream.is_tunnel or not section:
            self.send_data(stream_id, b"", True, now)
            return
        if stream.remaining is not None:
            self._count_body(stream, 0, True)
        stream.trailers = section
        stream.is_ended = True
        self._scheduler.add(stream)

    def reset_stream(self, stream_id: int, now: float) -> bool:
        """The application failed: RST_STREAM with INTERNAL_ERROR. False: never a 500."""
        self._cut_stream(stream_id, INTERNAL_ERROR, now)
        return False

    def cancel_stream(self, stream_id: int, now: float) -> None:
        """See `MultiplexedEngine`."""
        self._cut_stream(stream_id, CANCEL, now)

    def _cut_stream(self, stream_id: int, code: int, now: float) -> None:
        self._now = now
        self._application_ended(stream_id)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._abort_stream(stream, code)

    def exchange_ended(self, stream_id: int, now: float) -> None:
        """See `MultiplexedEngine`."""
        self._now = now
        if self._abandoned:
            self._application_ended(stream_id)
        if (stream := self._streams.get(stream_id)) is not None:
            stream.is_running = False

    def can_send(self, stream_id: int) -> bool:
        """Whether the stream's buffer has room; if not, `Writable` will come."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return True
        parameters = self._parameters
        buffered = stream.buffered
        if buffered <= parameters.send_low_water or (
            buffered < parameters.send_high_water and self._unsent < parameters.max_unsent_size
        ):
            return True
        stream.wants_writable = True
        return False

    # ---- server push (RFC 9113 §8.4)

    def push(self, stream_id: int, method: str, path: bytes, fields: Fields, now: float) -> int | None:
        """See `MultiplexedEngine`."""
        self._now = now
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_ended or not self.can_push(stream_id):
            return None
        if method not in ("GET", "HEAD"):
            raise LocalProtocolError(f"Method {method} cannot be pushed")
        section = [
            (b":method", method.encode("ascii")),
            (b":scheme", b"https" if self._secure else b"http"),
            (b":authority", stream.head.fields[0][1]),
            (b":path", path),
            *clean_fields(fields),
        ]
        try:
            head = read_request(section)
        except MalformedMessage as error:
            raise LocalProtocolError(f"Invalid push promise: {error}") from None
        promised = self._last_push_id = self._last_push_id + 2
        block = WORD.pack(promised) + self._encoder.encode(section)
        self._frames += field_block(PUSH_PROMISE, 0, stream_id, block, self._peer_frame_size)
        stream.head_place = None  # END_STREAM must stand behind the promise now
        self._streams[promised] = Stream(promised, head, 0, 0, self._peer_window, True, now)
        self._pushes += 1
        self._scheduler.opened(promised, stream_id)
        self.events.append(
            Request(promised, "2", head.method, head.raw_path, head.query, head.fields.copy(), True)
        )
        return promised

    def can_push(self, stream_id: int) -> bool:
        """See `MultiplexedEngine`."""
        limit = min(self._peer_max_streams, self._parameters.max_concurrent_streams)
        return (
            self._peer_allows_push
            and stream_id & 1 == 1
            and not self._peer_left
            and self._drain_limit is None
            and self._pushes < limit
            and self._pushes + self._abandoned_pushes() < self._parameters.max_concurrent_streams
            and self._last_push_id < MAX_STREAM_ID - 2
        )

    # ---- what goes out

    @property
    def ranks_streams(self) -> bool:
        """See `Engine`."""
        return self._scheduler.has_signals

    def set_transport_writable(self, writable: bool, now: float) -> None:
        """The transport's own buffer is full, or has drained."""
        self._now = now
        self._is_writable = writable
        if not self._streams and not self._is_over:
            self._begin_idleness()  # the last response has just been found to be too large, or is gone now
        if writable:
            self.wants_read = True

    def data_to_send(self) -> bytes:
        """Everything that may go out now, but not more than about `OUTPUT_SIZE` of data at a time.

        May append `Writable` to `events`: with `ranks_streams` it is better to let those that it wakes go on first.
        """
        # RFC 9113 §3.2 lets data follow the 101 at once, but curl has room for little more than its head.
        if self._is_writable and self._scheduler.ready and self._has_greeted:
            self._frame_data()
        frames = self._frames
        if not frames:
            return b""
        self._frames = []
        self._outputs += 1
        return b"".join(frames)

    def _frame_data(self) -> None:
        scheduler = self._scheduler
        parameters = self._parameters
        room, wake_at = OUTPUT_SIZE, parameters.send_low_water
        if scheduler.has_signals and len(self._streams) > 1:
            # The first is asked for more while it has some left, or the next round would go to the others.
            room, wake_at = RANKED_OUTPUT_SIZE, parameters.send_high_water
        while scheduler.ready and room > 0:
            if self._send_window <= 0:
                self._frame_ends()
                return
            stream = scheduler.next()
            sent = self._frame_one(stream)
            room -= sent + 9
            if stream.buffered:
                if stream.send_window <= 0:
                    scheduler.remove(stream)
                    self._stalled(stream)
                else:
                    scheduler.served(stream)
            elif stream.is_ended:
                self._frame_end(stream)
            else:
                scheduler.remove(stream)
            if stream.wants_writable and stream.buffered <= wake_at:
                stream.wants_writable = False
                self.events.append(Writable(stream.id))

    def _frame_one(self, stream: Stream) -> int:
        """Put one DATA frame out, if windows and data allow; its size."""
        size = min(stream.buffered, stream.send_window, self._send_window, self._peer_frame_size)
        if size <= 0:
            return 0
        left = stream.buffered - size
        stream.buffered = left
        stream.send_window -= size
        self._send_window -= size
        self._unsent -= size
        flags = 0
        if not left and stream.is_ended and stream.trailers is None:
            flags = END_STREAM
        self._frames.append(frame_head(size, DATA, flags, stream.id))
        self._move_chunks(stream, size)
        if not left or size >= TINY_FRAME:
            # A peer may answer each part that it reads, however small its buffer, on the stream and the connection.
            self._controls.earn(2 + size / TINY_FRAME)
        return size

    def _move_chunks(self, stream: Stream, size: int) -> None:
        chunks = stream.chunks
        frames = self._frames
        while size:
            chunk = chunks[0]
            length = len(chunk)
            if length <= size:
                frames.append(chunk)
                chunks.popleft()
                size -= length
            else:
                view = memoryview(chunk)
                frames.append(view[:size])
                chunks[0] = view[size:]
                return

    def _frame_end(self, stream: Stream) -> None:
        """All data is framed, and the last frame has END_STREAM unless trailers follow."""
        if stream.trailers is not None:
            block = self._encoder.encode(stream.trailers)
            self._frames += field_block(HEADERS, END_STREAM, stream.id, block, self._peer_frame_size)
        self._response_complete(stream)

    def _frame_ends(self) -> None:
        """The connection's window is empty: only what needs no window may go out."""
        for stream in list(self._scheduler.ready.values()):
            if not stream.buffered:
                self._scheduler.remove(stream)
                if stream.is_ended:
                    self._frame_end(stream)
            elif stream.stalled_at is None:
                stream.stalled_at = self._now
        if self._scheduler.ready:
            self._watch_stalls()

    def _stalled(self, stream: Stream) -> None:
        if stream.stalled_at is None:
            stream.stalled_at = self._now
            self._watch_stalls()

    def _watch_stalls(self) -> None:
        timeout = self._parameters.write_timeout
        if timeout and self._stall_deadline > self._now + timeout:
            self._stall_deadline = self._now + timeout
            self._update_deadline()

    def _response_complete(self, stream: Stream) -> None:
        """END_STREAM is out. What the peer still sends for this request is of no use to anyone."""
        if not stream.is_remote_closed:
            self._keep_leftover(stream)
        self._resets.earn()
        self._drop(stream)
