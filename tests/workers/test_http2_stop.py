"""The stop of a server and the requests of HTTP/2 that are on their way meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)
from tests.workers.conftest import Client, Running, Serve

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
LAST = 2**31 - 1
CANCEL = 8


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def frames_of(client: Client) -> Iterator[Frame]:
    while head := client.file.read(9):
        frame, length = Frame.parse_frame_header(memoryview(head))
        frame.parse_body(memoryview(client.file.read(length)))
        yield frame


def get(stream_id: int) -> bytes:
    return HeadersFrame(stream_id, Encoder().encode(GET), flags=["END_STREAM", "END_HEADERS"]).serialize()


def idle_client(server: Running) -> tuple[Client, Iterator[Frame]]:
    """One that has had an answer, and what comes behind that."""
    client = server.connect()
    client.send(PREFACE + SettingsFrame(0).serialize() + get(1))
    frames = frames_of(client)
    for frame in frames:
        if isinstance(frame, DataFrame) and "END_STREAM" in frame.flags:
            break
    return client, frames


def test_what_an_idle_client_has_just_sent_is_served(serve: Serve) -> None:
    server = serve(app)
    client, frames = idle_client(server)
    server.stop()
    seen = list(until_goaway(frames))
    assert seen[-1].last_stream_id == LAST
    (ping,) = [frame for frame in seen if isinstance(frame, PingFrame)]
    # Sent before it could know.
    client.send(get(3) + PingFrame(0, opaque_data=ping.opaque_data, flags=["ACK"]).serialize())
    rest = list(frames)
    assert [frame.data for frame in rest if isinstance(frame, DataFrame)] == [b"hello"]
    assert [frame.last_stream_id for frame in rest if isinstance(frame, GoAwayFrame)] == [3]
    assert not any(isinstance(frame, RstStreamFrame) for frame in rest)
    client.close()
    server.join()


def test_one_that_says_nothing_does_not_hold_it_up(serve: Serve) -> None:
    server = serve(app)
    _, frames = idle_client(server)
    server.stop()
    server.join()
    assert [frame.last_stream_id for frame in frames if isinstance(frame, GoAwayFrame)] == [LAST, 1]


def test_what_is_cancelled_in_the_end_is_no_failure(serve: Serve, caplog: Any) -> None:
    async def never(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        await receive()
        await receive()  # for a disconnect that does not come

    caplog.set_level(logging.INFO, "hypercorn.error")
    server = serve(never, graceful_timeout=0.1)
    client = server.connect()
    client.send(PREFACE + SettingsFrame(0).serialize() + get(1))
    frames = frames_of(client)
    for frame in frames:
        if isinstance(frame, DataFrame):
            break
    server.stop()
    server.join()
    assert [frame.error_code for frame in frames if isinstance(frame, RstStreamFrame)] == [CANCEL]
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in records] == ["Cancelling 1 request that did not finish in time"]


def until_goaway(frames: Iterator[Frame]) -> Iterator[Any]:
    for frame in frames:
        yield frame
        if isinstance(frame, GoAwayFrame):
            return


def test_who_has_had_no_answer_by_then_is_told_that_the_server_stops(serve: Serve) -> None:
    async def never(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await receive()
        await receive()  # for a disconnect that does not come

    server = serve(never, graceful_timeout=0.1)
    client = server.connect()
    client.send(PREFACE + SettingsFrame(0).serialize() + get(1))
    frames = frames_of(client)
    next(frames)
    server.stop()
    (head,) = [frame for frame in frames if isinstance(frame, HeadersFrame)]
    assert Decoder().decode(head.data)[0] == (":status", "503")
    assert "END_STREAM" in head.flags
    client.close()
    server.join()
