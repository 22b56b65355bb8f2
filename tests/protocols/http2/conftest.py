"""A peer for the HTTP/2 engine: speaks in frames (hyperframe) and in header blocks (hpack)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from hypercorn.protocols.engine import Closing, DefaultFields
from hypercorn.protocols.events import Data, Event, Request, StreamClosed, Trailers
from hypercorn.protocols.http2 import HTTP2Engine, HTTP2Parameters

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")]
POST = [(":method", "POST"), *GET[1:]]


class Peer:
    """The client's side of one engine, and what the engine has said so far."""

    def __init__(self, parameters: HTTP2Parameters, bytewise: bool, settings: dict[int, int] | None) -> None:
        self.now = 100.0
        self.bytewise = bytewise
        defaults = DefaultFields([(b"server", b"test")])
        self.engine = HTTP2Engine(parameters, defaults, self.now, secure=False)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.defaults = defaults
        self.send_bytes(PREFACE)
        self.send(SettingsFrame(0, settings=settings or {}), SettingsFrame(0, flags=["ACK"]))
        self.greeting = self.frames()

    # ---- to the engine

    def send_bytes(self, data: bytes) -> None:
        if self.bytewise:
            for index in range(len(data)):
                self.engine.receive_data(data[index : index + 1], self.now)
        else:
            self.engine.receive_data(data, self.now)

    def send(self, *frames: Frame) -> None:
        self.send_bytes(b"".join(frame.serialize() for frame in frames))

    def block(self, fields: list[tuple[str, str]], **extra: str) -> bytes:
        extras = [(name.replace("_", "-"), value) for name, value in extra.items()]
        return self.encoder.encode([*fields, *extras])

    def headers(
        self, stream_id: int, fields: list[tuple[str, str]] = GET, *flags: str, **figures: Any
    ) -> HeadersFrame:
        frame = HeadersFrame(stream_id, self.block(fields), flags=["END_HEADERS", *flags])
        for name, value in figures.items():
            setattr(frame, name, value)
        return frame

    def get(self, stream_id: int, **extra: str) -> None:
        fields = [*GET, *((name.replace("_", "-"), value) for name, value in extra.items())]
        self.send(self.headers(stream_id, fields, "END_STREAM"))

    def post(self, stream_id: int, **extra: str) -> None:
        fields = [*POST, *((name.replace("_", "-"), value) for name, value in extra.items())]
        self.send(self.headers(stream_id, fields))

    def data(self, stream_id: int, data: bytes, end: bool = False) -> None:
        self.send(DataFrame(stream_id, data, flags=["END_STREAM"] if end else []))

    def respond(self, stream_id: int, body: bytes = b"", status: int = 200, **fields: str) -> None:
        section = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
        self.engine.send_head(stream_id, status, section, self.now)
        self.engine.send_data(stream_id, body, True, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass, with the engine's deadlines."""
        end = self.now + seconds
        while self.engine.deadline <= end:
            self.now = self.engine.deadline
            self.engine.handle_deadline(self.now)
            assert self.engine.deadline > self.now, "a deadline that does not move"
        self.now = end

    # ---- from the engine

    def output(self) -> bytes:
        parts: list[bytes] = []
        while data := self.engine.data_to_send():
            parts.append(data)
        return b"".join(parts)

    def frames(self) -> list[Frame]:
        """What the engine has sent since the last call."""
        data = memoryview(self.output())
        frames: list[Frame] = []
        while data:
            frame, length = Frame.parse_frame_header(data[:9])
            frame.parse_body(data[9 : 9 + length])
            frames.append(frame)
            data = data[9 + length :]
        return frames

    def of_type(self, kind: type[Frame], frames: list[Frame] | None = None) -> list[Any]:
        return [frame for frame in (self.frames() if frames is None else frames) if isinstance(frame, kind)]

    def events(self) -> list[Event]:
        events, self.engine.events = self.engine.events, []
        return events

    def fields(self, frame: Frame) -> list[tuple[str, str]]:
        """The fields of a HEADERS frame; each frame must be decoded once, in order."""
        assert isinstance(frame, HeadersFrame)
        return [(str(name), str(value)) for name, value in self.decoder.decode(frame.data)]

    def body(self, stream_id: int, frames: list[Frame]) -> bytes:
        return b"".join(f.data for f in frames if isinstance(f, DataFrame) and f.stream_id == stream_id)

    # ---- what is to be expected

    def requests(self) -> list[Request]:
        return [event for event in self.events() if isinstance(event, Request)]

    def expect_connection_error(self, *codes: int) -> None:
        goaways = self.of_type(GoAwayFrame)
        assert goaways, "no GOAWAY"
        assert goaways[-1].error_code in codes, goaways[-1]
        assert self.engine.closing is not Closing.OPEN
        assert self.engine.fault

    def expect_stream_error(self, stream_id: int, *codes: int) -> None:
        resets = {frame.stream_id: frame.error_code for frame in self.of_type(RstStreamFrame)}
        assert resets.get(stream_id) in codes, resets
        self.expect_alive()

    def expect_alive(self) -> None:
        self.send(PingFrame(0, opaque_data=b"alive?!?"))
        pings = self.of_type(PingFrame)
        assert [ping.opaque_data for ping in pings if "ACK" in ping.flags] == [b"alive?!?"]
        assert self.engine.closing is Closing.OPEN


@pytest.fixture(params=["whole", "bytewise"])
def bytewise(request: pytest.FixtureRequest) -> bool:
    return request.param == "bytewise"


@pytest.fixture
def connect(bytewise: bool) -> Callable[..., Peer]:
    """A function that makes a connected `Peer`; keywords are parameters, `settings` are the client's."""

    def make(settings: dict[int, int] | None = None, **parameters: Any) -> Peer:
        return Peer(HTTP2Parameters(**parameters), bytewise, settings)

    return make


@pytest.fixture
def peer(connect: Callable[..., Peer]) -> Peer:
    """A connected peer with default parameters."""
    return connect()


__all__ = ["ContinuationFrame", "Data", "Peer", "StreamClosed", "Trailers", "WindowUpdateFrame"]
