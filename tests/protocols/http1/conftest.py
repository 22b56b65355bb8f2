"""A connection without a socket: an engine, the time, and all that came out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hypercorn.protocols.engine import Closing, DefaultFields
from hypercorn.protocols.events import Data, Event, Fields, Refused, Request, StreamClosed, Trailers
from hypercorn.protocols.http1 import HTTP1Engine, HTTP1Parameters

DEFAULTS: Fields = [(b"date", b"today"), (b"server", b"us")]


def output_of(engine: HTTP1Engine) -> bytes:
    """All that the engine has ready."""
    output = b""
    while data := engine.data_to_send():
        output += data + engine.apart
        engine.apart = b""
    assert not engine.apart
    return output


class Session:
    """An engine, driven as the connection drives it: events and output are taken after every call."""

    def __init__(self, *, secure: bool = False, **parameters: Any) -> None:
        self.defaults = DefaultFields(DEFAULTS)
        self.engine = HTTP1Engine(HTTP1Parameters(**parameters), self.defaults, 0.0, secure)
        self.now = 0.0
        self.events: list[Event] = []
        self.output = b""

    def settle(self) -> None:
        self.events += self.engine.events
        self.engine.events = []
        self.output += output_of(self.engine)

    def say(self, data: bytes, cut: Callable[[bytes], list[bytes]] | None = None) -> None:
        """The peer sends `data`."""
        for piece in cut(data) if cut else [data]:
            self.engine.receive_data(piece, self.now)
            self.settle()

    def eof(self) -> None:
        self.engine.receive_eof(self.now)
        self.settle()

    def wait(self, seconds: float) -> None:
        """Time passes; the engine is woken if it wanted to be."""
        self.now += seconds
        if self.engine.deadline <= self.now:
            self.engine.handle_deadline(self.now)
        self.settle()

    def head(self, status: int = 200, fields: Fields | None = None) -> None:
        """The application sends a response head, which is not flushed yet."""
        self.engine.send_head(self.stream_id, status, fields or [], self.now)

    def data(self, data: bytes, end: bool = False) -> None:
        self.engine.send_data(self.stream_id, data, end, self.now)
        self.settle()

    def answer(self, body: bytes = b"ok", status: int = 200, fields: Fields | None = None) -> None:
        """The application sends a whole response."""
        self.head(status, fields)
        self.data(body, True)

    @property
    def requests(self) -> list[Request]:
        return [event for event in self.events if isinstance(event, Request)]

    @property
    def stream_id(self) -> int:
        return next(event.stream_id for event in reversed(self.events) if isinstance(event, Request))

    @property
    def body(self) -> bytes:
        return b"".join(event.data for event in self.events if isinstance(event, Data))

    @property
    def trailers(self) -> Fields:
        return [field for event in self.events if isinstance(event, Trailers) for field in event.fields]

    @property
    def ends(self) -> int:
        """How many requests are complete."""
        return sum(
            isinstance(event, Trailers) or getattr(event, "end_stream", False) for event in self.events
        )

    @property
    def refused(self) -> list[int]:
        return [event.status for event in self.events if isinstance(event, Refused)]

    @property
    def stream_closed(self) -> bool:
        return any(isinstance(event, StreamClosed) for event in self.events)

    @property
    def is_open(self) -> bool:
        return self.engine.closing is Closing.OPEN

    def take_output(self) -> bytes:
        output, self.output = self.output, b""
        return output


@pytest.fixture
def connect() -> type[Session]:
    """Makes a session; arguments are those of `HTTP1Parameters`."""
    return Session


def _whole(data: bytes) -> list[bytes]:
    return [data]


def _bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


@pytest.fixture(params=[_whole, _bytewise], ids=["whole", "bytewise"])
def cut(request: pytest.FixtureRequest) -> Callable[[bytes], list[bytes]]:
    """Each way in which the bytes of a peer may arrive."""
    return request.param  # type: ignore[no-any-return]
