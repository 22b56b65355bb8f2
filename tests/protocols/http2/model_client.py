"""A client that keeps to the rules, for the model of a connection: h2's, with windows and the network in the test's hands.

h2 is also the judge: it raises ProtocolError for bytes that a server must not send. Only GOAWAY does not reach it,
for it takes no other frame after one; those are looked at here.
"""

from __future__ import annotations

import struct
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    PushedStreamReceived,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings

Fields = list[tuple[bytes, bytes]]

DATA, HEADERS, RST_STREAM, PUSH_PROMISE, GOAWAY, CONTINUATION, PRIORITY_UPDATE = 0, 1, 3, 5, 7, 9, 16
END_HEADERS = 4
LARGEST = 2**31 - 1

_PERIOD = 65521
_CONTENT = bytes((index * index * 7 + index // 251) & 255 for index in range(_PERIOD)) * 5


def content(stream_id: int, start: int, size: int) -> bytes:
    """`size` bytes of what is sent on a stream, in either direction, from `start` on: lost or swapped bytes show."""
    assert size <= 4 * _PERIOD
    offset = (stream_id * 7919 + start) % _PERIOD
    return _CONTENT[offset : offset + size]


def frames_of(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """The complete frames that `data` begins with: type, flags, stream, and the whole frame."""
    frames: list[tuple[int, int, int, bytes]] = []
    pos = 0
    while len(data) - pos >= 9:
        high, low, kind, flags, stream_id = struct.unpack_from(">HBBBL", data, pos)
        stop = pos + 9 + (high << 8 | low)
        if stop > len(data):
            break
        frames.append((kind, flags, stream_id, data[pos:stop]))
        pos = stop
    return frames


class ClientStream:
    """What the client knows of a request of its own, or of one that was promised to it."""

    def __init__(self, stream_id: int, kind: str, fields: Fields, length: int | None = None) -> None:
        self.id = stream_id
        self.kind = kind
        self.fields = fields
        self.length = length
        self.sent = 0
        self.is_ended = False
        self.trailers: Fields | None = None
        self.informational = 0
        self.head: Fields | None = None
        self.got = 0
        self.got_trailers: Fields | None = None
        #: The response has ended.
        self.is_answered = False
        #: The code with which the server has reset it.
        self.reset_code: int | None = None
        self.has_reset = False

    @property
    def can_send(self) -> bool:
        return not self.is_ended and not self.is_over

    @property
    def is_over(self) -> bool:
        """Nothing can be sent on it any more, and nothing will come."""
        return self.has_reset or self.reset_code is not None or (self.is_answered and self.is_ended)


class ModelClient:
    """h2's client; `output` is what it has sent and nobody has delivered yet."""

    def __init__(self, values: dict[int, int], upgrade: bool) -> None:
        self.h2 = H2Connection(H2Configuration(header_encoding=None))
        self.h2.local_settings = Settings(
            client=True,
            initial_values={SettingCodes.MAX_HEADER_LIST_SIZE: 65536, **values},  # type: ignore[dict-item]
        )
        self.values = {
            int(SettingCodes.HEADER_TABLE_SIZE): 4096,
            int(SettingCodes.ENABLE_PUSH): 1,
            int(SettingCodes.INITIAL_WINDOW_SIZE): 65535,
            **values,
        }
        self.streams: dict[int, ClientStream] = {}
        self.output = bytearray()
        self._input = b""
        self.resets: set[int] = set()
        self.goaways: list[int] = []
        self.has_left = False
        self.pings: list[bytes] = []
        self.unacknowledged = 1
        self._has_been_acknowledged = False
        #: For the field HTTP2-Settings of the request that is stream 1 then.
        self.upgrade_settings: bytes | None = None
        if upgrade:
            self.upgrade_settings = self.h2.initiate_upgrade_connection()
            stream = self.streams[1] = ClientStream(1, "GET", [])
            stream.is_ended = True
        else:
            self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        for kind, _, stream_id, _ in frames_of(data):
            if kind == RST_STREAM:
                self.resets.add(stream_id)
        self.output += data

    @property
    def may_open(self) -> bool:
        limit = self.h2.remote_settings.max_concurrent_streams
        return not self.goaways and not self.has_left and self.h2.open_outbound_streams < limit

    @property
    def may_change_settings(self) -> bool:
        """h2 would take the acknowledgement of the first for one of later values."""
        return self._has_been_acknowledged and self.unacknowledged < 3

    # ---- what the client does

    def open(self, kind: str, fields: Fields, length: int | None, end: bool, **priority: Any) -> ClientStream:
        stream_id = self.h2.get_next_available_stream_id()
        head = [
            (b":method", b"CONNECT" if kind == "websocket" else kind.encode()),
            (b":scheme", b"http"),
            (b":path", b"/%d" % stream_id),
            (b":authority", b"a"),
        ]
        if kind == "websocket":
            head.append((b":protocol", b"websocket"))
        if length is not None:
            fields = [*fields, (b"content-length", b"%d" % length)]
        stream = self.streams[stream_id] = ClientStream(stream_id, kind, fields, length)
        stream.is_ended = end
        self.h2.send_headers(stream_id, [*head, *fields], end_stream=end, **priority)
        self.flush()
        return stream

    def send(self, stream: ClientStream, size: int, padding: int | None = None, end: bool = False) -> int:
        """Send as much of `size` bytes as windows and the announced length allow; with `end` only if it is the last."""
        if stream.length is not None:
            size = min(size, stream.length - stream.sent)
        room = max(min(self.h2.local_flow_control_window(stream.id), self.h2.max_outbound_frame_size), 0)
        if padding is not None and size + padding + 1 > room:
            padding = None
        if size > room:
            size, end = room, False
        is_last = end and stream.length in (None, stream.sent + size)
        if size or is_last or padding is not None:
            data = content(stream.id, stream.sent, size)
            self.h2.send_data(stream.id, data, end_stream=is_last, pad_length=padding)
            stream.sent += size
            stream.is_ended = is_last
            self.flush()
        return size

    def send_trailers(self, stream: ClientStream) -> None:
        stream.trailers = [(b"x-sum", b"%d" % stream.sent)]
        self.h2.send_headers(stream.id, stream.trailers, end_stream=True)
        stream.is_ended = True
        self.flush()

    def reset(self, stream: ClientStream) -> None:
        stream.has_reset = True
        self.h2.reset_stream(stream.id, 8)
        self.flush()

    def change_settings(self, values: dict[int, int]) -> None:
        """All that ever change are always sent, for h2 takes an acknowledgement for the oldest value of each."""
        self.values.update(values)
        self.h2.update_settings(dict(self.values))  # type: ignore[arg-type]
        self.unacknowledged += 1
        self.flush()

    def ping(self) -> None:
        self.pings.append(struct.pack(">Q", len(self.pings)))
        self.h2.ping(self.pings[-1])
        self.flush()

    def prioritize(self, stream_id: int, depends_on: int, weight: int, exclusive: bool) -> None:
        self.h2.prioritize(stream_id, weight, depends_on, exclusive)
        self.flush()

    def update_priority(self, stream_id: int, value: bytes) -> None:
        payload = struct.pack(">L", stream_id) + value
        self.output += struct.pack(">HBBBL", 0, len(payload), PRIORITY_UPDATE, 0, 0) + payload

    def leave(self) -> None:
        self.has_left = True
        self.output += struct.pack(">HBBBLLL", 0, 8, GOAWAY, 0, 0, 0, 0)

    # ---- its windows

    def window(self, stream_id: int = 0) -> int:
        """What the server may send, on the connection or a stream; as of the settings that it has acknowledged."""
        if not stream_id:
            return self.h2._inbound_flow_control_window_manager.current_window_size
        return self.h2.streams[stream_id]._inbound_window_manager.current_window_size

    def give(self, size: int, stream_id: int = 0) -> None:
        size = min(size, LARGEST // 2 - self.window(stream_id))
        if size > 0:
            self.h2.increment_flow_control_window(size, stream_id or None)
            self.flush()

    # ---- what it gets

    def receive(self, data: bytes) -> None:
        self._input += data
        group: list[tuple[int, int, int, bytes]] = []
        for frame in frames_of(self._input):
            group.append(frame)
            if frame[0] in (HEADERS, PUSH_PROMISE, CONTINUATION) and not frame[1] & END_HEADERS:
                continue  # a block is looked at when it is whole
            self._receive_group(group)
            self._input = self._input[sum(len(part[3]) for part in group) :]
            group = []
            self.flush()

    def _receive_group(self, group: list[tuple[int, int, int, bytes]]) -> None:
        kind, _, stream_id, frame = group[0]
        if kind == GOAWAY:
            last, code = struct.unpack_from(">LL", frame, 9)
            assert code == 0, frame
            assert not self.goaways or last <= self.goaways[-1]
            self.goaways.append(last)
        elif stream_id in self.resets and kind in (DATA, HEADERS):
            # What was on its way when the stream was reset: h2 has no place for all that it may be.
            payload = b"".join(part[3][9:] for part in group)
            if kind == HEADERS:
                self.h2.decoder.decode(payload)
            else:
                self.h2._inbound_flow_control_window_manager.window_consumed(len(payload))
        else:
            if kind == DATA and len(frame) == 9 and (debt := self.window(stream_id)) < 0:
                # RFC 9113 §6.9 lets it come whatever the window; h2 does not. The stream ends with it.
                self.h2.streams[stream_id]._inbound_window_manager.current_window_size -= debt
            for event in self.h2.receive_data(b"".join(part[3] for part in group)):
                self._on_event(event)

    def _on_event(self, event: Any) -> None:
        if isinstance(event, SettingsAcknowledged):
            self.unacknowledged -= 1
            self._has_been_acknowledged = True
            return
        if isinstance(event, PingAckReceived):
            assert event.ping_data == self.pings.pop(0)
            return
        if isinstance(event, PushedStreamReceived):
            stream_id = event.pushed_stream_id
            self.streams[stream_id] = ClientStream(stream_id, "push", list(event.headers)[4:])
            self.streams[stream_id].is_ended = True
            return
        stream_id = getattr(event, "stream_id", None)
        if stream_id is None or stream_id not in self.streams:
            return
        stream = self.streams[stream_id]
        if isinstance(event, DataReceived):
            assert event.data == content(stream_id, stream.got, len(event.data))
            stream.got += len(event.data)
        elif isinstance(event, ResponseReceived):
            stream.head = list(event.headers)
        elif isinstance(event, InformationalResponseReceived):
            stream.informational += 1
        elif isinstance(event, TrailersReceived):
            stream.got_trailers = list(event.headers)
        elif isinstance(event, StreamEnded):
            stream.is_answered = True
        elif isinstance(event, StreamReset) and event.remote_reset:
            stream.reset_code = int(event.error_code)
