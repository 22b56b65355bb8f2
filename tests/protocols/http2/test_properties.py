"""Properties that hold whatever a peer sends, and whatever h2 says of the same bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes
from h2.utilities import HeaderValidationFlags, validate_headers
from hpack import Encoder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hypercorn.protocols.engine import Closing, DefaultFields, LocalProtocolError
from hypercorn.protocols.events import Data, Request, StreamClosed, Trailers
from hypercorn.protocols.http2 import HTTP2Engine, HTTP2Parameters
from hypercorn.protocols.http2.errors import MalformedMessage
from hypercorn.protocols.http2.requests import read_request, read_trailers

Fields = list[tuple[bytes, bytes]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]


def raw(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBL", len(payload) >> 8, len(payload) & 255, kind, flags, stream_id) + payload


def new_engine(**parameters: Any) -> HTTP2Engine:
    return HTTP2Engine(HTTP2Parameters(**parameters), DefaultFields([]), 0.0, secure=False)


def take(engine: HTTP2Engine) -> bytes:
    parts: list[bytes] = []
    while data := engine.data_to_send():
        parts.append(data)
    return b"".join(parts)


def encoded(fields: list[tuple[bytes, bytes]]) -> bytes:
    """A block that does not touch the table, so that blocks are valid in any order."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(fields)[1:]


stream_ids = st.sampled_from([0, 1, 2, 3, 5, 7, 9, 2**31 - 1])
words = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 65535, 2**31 - 1])).map(
    lambda value: struct.pack(">L", value)
)
blocks = st.one_of(
    st.sampled_from(
        [
            encoded(GET),
            encoded([(b":method", b"POST"), *GET[1:]]),
            encoded([(b":method", b"POST"), *GET[1:], (b"content-length", b"3")]),
            encoded([(b"x", b"y")]),
            encoded([(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]),
            b"\x40\x01x\x01y",
        ]
    ),
    st.binary(max_size=12),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame: mostly plausible, sometimes anything."""
    kind = draw(st.sampled_from([0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 16, 33]))
    flags = draw(st.sampled_from([0, 1, 4, 5, 5, 5, 8, 13, 32, 37]))
    payload = draw(
        {
            1: blocks,
            9: blocks,
            2: words.map(lambda word: word + b"\x10"),
            3: words,
            8: words,
            4: st.lists(st.tuples(st.integers(0, 10), words), max_size=3).map(
                lambda pairs: b"".join(struct.pack(">H", code) + word for code, word in pairs)
            ),
            6: st.binary(min_size=8, max_size=8),
            7: st.binary(min_size=8, max_size=12),
            16: words.map(lambda word: word + b"u=1, i"),
        }.get(kind, st.binary(max_size=20))
        if draw(st.integers(0, 9))
        else st.binary(max_size=20)
    )
    stream_id = draw(stream_ids) if kind not in (4, 6, 7, 16) or draw(st.integers(0, 9)) == 0 else 0
    return raw(kind, flags, stream_id, payload)


def facts(engine: HTTP2Engine) -> list[tuple[Any, ...]]:
    """Events as comparable tuples; neighbouring data joined."""
    found: list[tuple[Any, ...]] = []
    for event in engine.events:
        if (
            isinstance(event, Data)
            and found
            and found[-1][:2] == ("Data", event.stream_id)
            and not found[-1][3]
        ):
            found[-1] = ("Data", event.stream_id, found[-1][2] + event.data, event.end_stream)
        else:
            slots = sorted(type(event).__slots__)
            if isinstance(event, Data):
                found.append(("Data", event.stream_id, event.data, event.end_stream))
            else:
                found.append((type(event).__name__, *(repr(getattr(event, name)) for name in slots)))
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(frames(), max_size=12), st.lists(st.integers(0, 400), max_size=6))
def test_how_bytes_are_cut_does_not_matter(sent: list[bytes], cuts: list[int]) -> None:
    data = PREFACE + raw(4, 0, 0) + b"".join(sent)
    whole, cut = new_engine(), new_engine()
    whole.receive_data(data, 1.0)
    start = 0
    for end in [*sorted(cuts), len(data)]:
        cut.receive_data(data[start:end], 1.0)
        start = max(start, min(end, len(data)))
    assert facts(whole) == facts(cut)
    assert whole.closing == cut.closing
    assert take(whole) == take(cut)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    for start in (b"", PREFACE, PREFACE + raw(4, 0, 0)):
        engine = new_engine()
        engine.receive_data(start + data, 1.0)
        engine.receive_eof(2.0)
        assert engine.closing is not Closing.OPEN


# ---- h2 as the judge


def judged(data: bytes) -> tuple[list[tuple[Any, ...]], int | None, set[int]]:
    """What h2's server side makes of `data`: events, the connection's error code, reset streams."""
    server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    server.local_settings.enable_connect_protocol = 1
    server.initiate_connection()
    server.clear_outbound_data_buffer()
    found: list[tuple[Any, ...]] = []
    resets: set[int] = set()
    try:
        for event in server.receive_data(data):
            if isinstance(event, RequestReceived):
                found.append(("Request", event.stream_id))
            elif isinstance(event, DataReceived) and event.data:
                found.append(("Data", event.stream_id, event.data))
            elif isinstance(event, TrailersReceived):
                found.append(("Trailers", event.stream_id))
            elif isinstance(event, StreamEnded):
                found.append(("End", event.stream_id))
            elif isinstance(event, StreamReset):
                resets.add(event.stream_id)
    except H2Error as error:
        return found, int(getattr(error, "error_code", ErrorCodes.PROTOCOL_ERROR)), resets
    return found, None, resets


def ours(data: bytes) -> tuple[list[tuple[Any, ...]], bool, set[int]]:
    engine = new_engine(initial_stream_window_size=65535, initial_connection_window_size=65535)
    engine.receive_data(data, 1.0)
    found: list[tuple[Any, ...]] = []
    for event in engine.events:
        if isinstance(event, Request):
            found.append(("Request", event.stream_id))
        elif isinstance(event, Data) and event.data:
            found.append(("Data", event.stream_id, event.data))
        elif isinstance(event, Trailers):
            found += [("Trailers", event.stream_id), ("End", event.stream_id)]
        if isinstance(event, Request | Data) and event.end_stream:
            found.append(("End", event.stream_id))
    closed = {event.stream_id for event in engine.events if isinstance(event, StreamClosed)}
    out = take(engine)
    resets = set(closed)
    pos = 0
    while pos < len(out):
        high, low, kind, _, stream_id = struct.unpack_from(">HBBBL", out, pos)
        if kind == 3:
            resets.add(stream_id)
        pos += 9 + (high << 8 | low)
    return found, bool(engine.fault), resets


@settings(max_examples=600, deadline=None)
@given(st.lists(frames(), max_size=8))
@example([raw(1, 8, 1, b"\x01\0")])
def test_what_h2_refuses_is_never_accepted(sent: list[bytes]) -> None:
    """Frame by frame: where h2 ends the connection we end it, or at least the stream; what both accept
    means the same."""
    data = PREFACE + raw(4, 0, 0)
    for frame in sent:
        data += frame
        theirs, their_error, their_resets = judged(data)
        found, failed, resets = ours(data)
        if their_error is not None:
            stream_id = struct.unpack_from(">L", frame, 5)[0]
            assert failed or stream_id in resets or is_lenient(frame), (data, their_error)
            return
        if failed or resets != their_resets or frame[3] == 7:
            return  # stricter; or GOAWAY, behind which h2 takes nothing
        assert found == theirs


def is_lenient(frame: bytes) -> bool:
    """Where h2 ends the connection and RFC 9113 does not ask for it.

    Frames on streams that are over (§5.1: may be ignored), WINDOW_UPDATE and PRIORITY among them; a stream
    that is answered with 501; ALTSVC and other extension frames, whose flags and length are not ours to judge;
    HEADERS of nothing but padding, which may be as long as that (§6.2) and which hyperframe takes for too long.
    """
    kind, flags = frame[3], frame[4]
    is_only_padding = kind == 1 and flags & 0x28 == 0x08 and len(frame) > 9 and frame[9] == len(frame) - 10
    return kind in (2, 3, 8) or kind > 9 or is_only_padding


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [b":method", b":scheme", b":path", b":authority", b":protocol", b":status", b"host", b"te"]
            )
            | st.sampled_from(
                [b"connection", b"x", b"X", b"", b"x:", b"x y", b"cookie", b"upgrade", b"content-length"]
            )
            | st.binary(max_size=3),
            st.sampled_from(
                [b"GET", b"CONNECT", b"http", b"/", b"", b"a", b"trailers", b" a", b"a\t", b"a\nb", b"1"]
            )
            | st.binary(max_size=3),
        ),
        max_size=6,
    ),
    st.permutations(GET),
    st.booleans(),
)
def test_fields_that_h2_refuses_are_refused(fields: Fields, start: Fields, is_trailer: bool) -> None:
    received = fields if is_trailer else [*start, *fields]
    flags = HeaderValidationFlags(
        is_client=False, is_trailer=is_trailer, is_response_header=False, is_push_promise=False
    )
    try:
        accepted = list(validate_headers(received, flags))
    except ProtocolError:
        with pytest.raises(MalformedMessage):
            (read_trailers if is_trailer else read_request)(received)
        return
    try:
        head = read_trailers(received) if is_trailer else read_request(received)
    except MalformedMessage:
        return
    ours = head if isinstance(head, list) else head.fields
    names = {b"host", b"cookie"}
    assert [field for field in ours if field[0] not in names] == [
        field for field in accepted if field[0] not in names and field[0][:1] != b":"
    ]


# ---- with an application that does anything


class AnyPeerAnyApplication(RuleBasedStateMachine):
    """Frames and calls in any order: nothing but LocalProtocolError is raised, and the accounts balance."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = new_engine(
            max_concurrent_streams=4,
            initial_stream_window_size=100,
            send_high_water=200,
            send_low_water=50,
            keep_alive_max_requests=6,
            max_unread_size=131072,
        )
        self.now = 0.0
        self.engine.receive_data(PREFACE + raw(4, 0, 0), self.now)
        self.last = -1
        self.received: dict[int, int] = {}

    def tell(self) -> None:
        for event in self.engine.events:
            if isinstance(event, Data):
                self.received[event.stream_id] = self.received.get(event.stream_id, 0) + len(event.data)
        self.engine.events = []

    @rule(frame=frames())
    def receive(self, frame: bytes) -> None:
        self.engine.receive_data(frame, self.now)
        self.tell()

    @rule(end=st.booleans(), body=st.binary(max_size=50), urgency=st.sampled_from([b"u=1", b"i", None]))
    def request(self, end: bool, body: bytes, urgency: bytes | None) -> None:
        self.last += 2
        fields = [*GET, *([(b"priority", urgency)] if urgency else [])]
        data = raw(1, 4 | (end and not body), self.last, encoded(fields))
        if body:
            data += raw(0, 1 if end else 0, self.last, body)
        self.engine.receive_data(data, self.now)
        self.tell()

    @rule(
        stream_id=st.integers(1, 9),
        status=st.sampled_from([200, 204, 205, 304]),
        length=st.sampled_from([None, 3]),
    )
    def head(self, stream_id: int, status: int, length: int | None) -> None:
        fields = [] if length is None else [(b"content-length", b"%d" % length)]
        try:
            self.engine.send_head(stream_id, status, fields, self.now)
        except LocalProtocolError:
            return

    @rule(stream_id=st.integers(1, 9), size=st.integers(0, 70000), end=st.booleans())
    def body(self, stream_id: int, size: int, end: bool) -> None:
        try:
            self.engine.send_data(stream_id, b"x" * size, end, self.now)
        except LocalProtocolError:
            return

    @rule(stream_id=st.integers(1, 9))
    def trailers(self, stream_id: int) -> None:
        try:
            self.engine.send_trailers(stream_id, [(b"a", b"b")], self.now)
        except LocalProtocolError:
            return

    @rule(stream_id=st.integers(1, 9))
    def fail(self, stream_id: int) -> None:
        self.engine.reset_stream(stream_id, self.now)
        self.engine.exchange_ended(stream_id, self.now)

    @rule(stream_id=st.integers(1, 9))
    def push(self, stream_id: int) -> None:
        self.engine.push(stream_id, "GET", b"/", [], self.now)
        self.tell()

    @rule(stream_id=st.integers(1, 9))
    def consume(self, stream_id: int) -> None:
        size = self.received.pop(stream_id, 0)
        self.engine.consume(stream_id, size, self.now)
        self.tell()

    @rule(writable=st.booleans())
    def transport(self, writable: bool) -> None:
        self.engine.set_transport_writable(writable, self.now)

    @rule()
    def output(self) -> None:
        take(self.engine)
        self.tell()

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        if self.engine.deadline <= self.now:
            self.engine.handle_deadline(self.now)
            assert self.engine.deadline > self.now
        self.tell()

    @rule(at_once=st.booleans())
    def drain(self, at_once: bool) -> None:
        self.engine.drain(self.now, at_once)
        self.tell()

    @invariant()
    def accounts_balance(self) -> None:
        engine = self.engine
        streams = engine._streams.values()
        assert engine._unsent == sum(stream.buffered for stream in streams)
        assert engine._unread == sum(stream.unread for stream in streams)
        assert engine._pushes == sum(1 for stream in streams if not stream.id & 1)
        assert len(streams) - engine._pushes <= 4
        for stream in streams:
            assert stream.buffered == sum(map(len, stream.chunks))
            assert stream.buffered >= 0
            assert stream.unread >= 0
            assert (
                stream.receive_window >= 0 or not engine._is_acknowledged or stream.receive_window >= -65535
            )
        assert set(engine._scheduler.ready) <= set(engine._streams)
        assert len(engine._leftovers) <= 4
        assert not set(engine._leftovers) & set(engine._streams)
        assert not any(stream.is_remote_closed for stream in engine._leftovers.values())
        assert not engine._leftovers or engine._leftover_deadline <= self.now + 2
        assert engine._is_over == (engine.closing is not Closing.OPEN)

    @invariant()
    def what_can_be_sent_is_ready(self) -> None:
        for stream in self.engine._streams.values():
            sendable = (stream.buffered and stream.send_window > 0) or (
                stream.is_ended and not stream.buffered
            )
            if sendable:
                assert stream.id in self.engine._scheduler.ready


TestAnyPeerAnyApplication = AnyPeerAnyApplication.TestCase
TestAnyPeerAnyApplication.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# ---- h2 as the client


class Echo:
    """h2's client, which uploads to an engine that answers with as many bytes."""

    def __init__(self, sizes: dict[int, int], window: int) -> None:
        self.sizes = sizes
        self.client = H2Connection(H2Configuration(header_encoding=None))
        self.client.initiate_connection()
        self.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.engine = new_engine(initial_stream_window_size=20000)
        self.uploads = {stream_id: b"u" * size for stream_id, size in sizes.items()}
        self.received: dict[int, int] = dict.fromkeys(sizes, 0)
        self.answers: dict[int, int] = dict.fromkeys(sizes, 0)
        self.ended: set[int] = set()
        for stream_id, size in sizes.items():
            self.client.send_headers(stream_id, [*GET, (b"content-length", b"%d" % size)])

    def upload(self) -> None:
        for stream_id, rest in list(self.uploads.items()):
            size = min(len(rest), self.client.local_flow_control_window(stream_id), 16384)
            if size or not rest:
                self.client.send_data(stream_id, rest[:size], end_stream=size == len(rest))
                self.uploads[stream_id] = rest[size:]
                if size == len(rest):
                    del self.uploads[stream_id]

    def serve(self) -> None:
        engine = self.engine
        engine.receive_data(self.client.data_to_send(), 1.0)
        events, engine.events = engine.events, []
        for event in events:
            if isinstance(event, Data):
                self.received[event.stream_id] += len(event.data)
                engine.consume(event.stream_id, len(event.data), 1.0)
            if isinstance(event, Request | Data) and event.end_stream:
                self.answer(event.stream_id, self.sizes[event.stream_id])

    def answer(self, stream_id: int, size: int) -> None:
        assert self.received[stream_id] == size
        self.engine.send_head(stream_id, 200, [(b"x-size", b"%d" % size)], 1.0)
        self.engine.send_data(stream_id, b"d" * size, False, 1.0)
        self.engine.send_trailers(stream_id, [(b"x-end", b"1")], 1.0)

    def collect(self) -> None:
        for event in self.client.receive_data(take(self.engine)):
            if isinstance(event, DataReceived):
                self.answers[event.stream_id] += len(event.data)
                self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.ended.add(event.stream_id)


@pytest.mark.parametrize("window", [1, 1000, 65535, 2**20])
def test_h2_takes_what_we_send(window: int) -> None:
    """Uploads and answers of many sizes at once, with h2's client checking each frame of ours."""
    step = 1 if window == 1 else 7919
    echo = Echo({2 * index + 1: index * step for index in range(20)}, window)
    for _ in range(10000):
        echo.upload()
        echo.serve()
        echo.collect()
        if len(echo.ended) == len(echo.sizes):
            break
    assert echo.answers == echo.sizes
    assert echo.engine.is_idle
