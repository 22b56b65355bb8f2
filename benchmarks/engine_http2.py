"""Processor time of the HTTP/2 engine alone, in µs per request: no socket, no loop, no application.

Run: python -m benchmarks.engine_http2 [h2]   (with "h2": the h2 library on the same work, for comparison)

The client's bytes are made beforehand by h2's client side, as they would arrive: 16 requests in one read. They
are replayed many times, with new stream identifiers written over the old ones.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from time import process_time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from h2.settings import SettingCodes, Settings
from hpack import NeverIndexedHeaderTuple

from hypercorn.protocols.engine import DefaultFields
from hypercorn.protocols.events import Data, Request
from hypercorn.protocols.http2 import HTTP2Engine, HTTP2Parameters

Fields = list[tuple[str, str]]
Server = Callable[[bytes], bytes]

STREAMS = 16
ROUNDS = 1000

SMALL: Fields = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost:8000"), (":path", "/")]
BROWSER: Fields = [
    *SMALL,
    ("sec-ch-ua", '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ("priority", "u=0, i"),
]


class Work:
    """One kind of request: its fields (with a path of its own each time or not) and two sizes."""

    def __init__(
        self, name: str, fields: Fields, upload: int = 0, answer: int = 12, paths: bool = False
    ) -> None:
        self.name = name
        self.fields = fields
        self.upload = upload
        self.answer = b"x" * answer
        self.paths = paths


WORKS = [
    Work("small", SMALL),
    Work("browser", BROWSER),
    Work("browser, new path each", BROWSER, paths=True),
    Work("10 KB upload", SMALL, upload=10240),
    Work("100 KB answer", SMALL, answer=102400),
]


def reads(work: Work) -> Iterator[bytes]:
    """The preface, then the bytes of `STREAMS` requests, again and again."""
    client = H2Connection(H2Configuration(client_side=True))
    client.local_settings = Settings(
        client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1}
    )
    client.initiate_connection()
    client.increment_flow_control_window(2**31 - 1 - 65535)
    yield client.data_to_send()
    stream_id = 1
    for _ in range(ROUNDS):
        # The peer of this client is never heard, so its windows are looked after here.
        client.outbound_flow_control_window = 2**30
        for _ in range(STREAMS):
            fields = [*work.fields]
            if work.paths:
                # As curl, nghttp2 and Chrome do: a path is not put into the table.
                fields[3] = NeverIndexedHeaderTuple(":path", f"/articles/{stream_id}/comments?page=1")
            client.send_headers(stream_id, fields, end_stream=not work.upload)
            if work.upload:
                client.send_data(stream_id, b"u" * work.upload, end_stream=True)
            client.reset_stream(stream_id)  # forget it; the frame itself is cut off
            stream_id += 2
        data = client.data_to_send()
        yield without_resets(data)


def without_resets(data: bytes) -> bytes:
    """`data` without its RST_STREAM frames."""
    kept: list[bytes] = []
    pos = 0
    while pos < len(data):
        high, low, kind = struct.unpack_from(">HBB", data, pos)
        end = pos + 9 + (high << 8 | low)
        if kind != 3:
            kept.append(data[pos:end])
        pos = end
    return b"".join(kept)


def ours(work: Work) -> Server:
    """The engine of this server, driven as its connection does."""
    defaults = DefaultFields([(b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"), (b"server", b"hypercorn-h2")])
    parameters = HTTP2Parameters(keep_alive_max_requests=10**9)
    engine = HTTP2Engine(parameters, defaults, 0.0, secure=False)
    length = b"%d" % len(work.answer)
    body = work.answer

    def serve(data: bytes) -> bytes:
        engine.receive_data(data, 1.0)
        events, engine.events = engine.events, []
        for event in events:
            kind = type(event)
            if kind is Data:
                engine.consume(event.stream_id, len(event.data), 1.0)  # type: ignore[union-attr]
            if (kind is Data or kind is Request) and event.end_stream:  # type: ignore[union-attr]
                stream_id = event.stream_id  # type: ignore[union-attr]
                engine.send_head(
                    stream_id, 200, [(b"content-type", b"text/plain"), (b"content-length", length)], 1.0
                )
                engine.send_data(stream_id, body, True, 1.0)
        out: list[bytes] = []
        while more := engine.data_to_send():
            out.append(more)
        return b"".join(out)

    return serve


def theirs(work: Work) -> Server:
    """The h2 library with its validation switched off, doing the same."""
    config = H2Configuration(
        client_side=False,
        header_encoding=None,
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )
    server = H2Connection(config)
    server.initiate_connection()
    server.increment_flow_control_window(2**24)
    length = b"%d" % len(work.answer)

    def answer(event: Event) -> None:
        if isinstance(event, DataReceived):
            server.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, StreamEnded):
            fields = [
                (b":status", b"200"),
                (b"content-type", b"text/plain"),
                (b"content-length", length),
                (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
                (b"server", b"hypercorn-h2"),
            ]
            server.send_headers(event.stream_id, fields)
            for start in range(0, len(work.answer), 16384):
                server.send_data(event.stream_id, work.answer[start : start + 16384])
            server.end_stream(event.stream_id)

    def serve(data: bytes) -> bytes:
        for event in server.receive_data(data):
            if not isinstance(event, RequestReceived):
                answer(event)
        return server.data_to_send()

    return serve


def measure(work: Work, make: Callable[[Work], Server]) -> float:
    """µs per request, of the second half of the rounds."""
    server = make(work)
    inputs = list(reads(work))
    half = len(inputs) // 2
    answered = sum(len(server(data)) for data in inputs[:half])
    if answered < (half - 1) * STREAMS * len(work.answer):
        raise RuntimeError("not all requests were answered")
    start = process_time()
    for data in inputs[half:]:
        server(data)
    return (process_time() - start) / (len(inputs) - half) / STREAMS * 1e6


def main() -> None:
    """Print one line per work."""
    compare = "h2" in sys.argv[1:]
    for work in WORKS:
        line = f"{work.name:24} {measure(work, ours):8.1f}"
        if compare:
            line += f"   h2 {measure(work, theirs):8.1f}"
        print(line)


if __name__ == "__main__":
    main()
