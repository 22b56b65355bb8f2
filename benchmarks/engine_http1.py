"""Processor time of the HTTP/1.1 engine alone: no socket, no loop, no application.

    python benchmarks/engine_http1.py

Prints microseconds, the best of several rounds: a head parsed for the first time (cold) and with the same field
block again (warm), and whole exchanges.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

from hypercorn.protocols.engine import DefaultFields
from hypercorn.protocols.http1 import HTTP1Engine, HTTP1Parameters
from hypercorn.protocols.http1.request import HeadReader

SMALL = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n"
BROWSER = (
    b"GET /a/b?x=1 HTTP/1.1\r\n"
    b"Host: www.example.org\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Referer: https://www.example.org/start\r\n"
    b"Connection: keep-alive\r\n"
    b"Cookie: session=abcdef0123456789abcdef0123456789; theme=dark\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"Sec-Fetch-Dest: document\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-Site: same-origin\r\n"
    b"Sec-Fetch-User: ?1\r\n"
    b"Priority: u=0, i\r\n"
    b"Cache-Control: max-age=0\r\n"
    b"\r\n"
)
UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10240\r\n\r\n" + bytes(10240)
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"400\r\n"
    + bytes(1024)
    + b"\r\n0\r\n\r\n"
)

ANSWER = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"13")]
UNSIZED = [(b"content-type", b"text/plain; charset=utf-8")]
DEFAULTS = DefaultFields([(b"date", b"Fri, 20 Nov 2026 21:00:00 GMT"), (b"server", b"hypercorn-h11")])


def measure(name: str, call: Callable[[], object], number: int = 20000) -> None:
    best = min(timeit.repeat(call, number=number, repeat=7)) / number
    print(f"{name:<44} {best * 1e6:7.2f}")


def parse_cold(head: bytes) -> Callable[[], object]:
    reader = HeadReader(HTTP1Parameters())

    def call() -> None:
        reader._block = b""
        reader.read(head, 1)

    return call


def parse_warm(head: bytes) -> Callable[[], object]:
    reader = HeadReader(HTTP1Parameters())
    return lambda: reader.read(head, 1)


def exchange(data: bytes, answer: list[tuple[bytes, bytes]], is_cold: bool) -> Callable[[], object]:
    engine = HTTP1Engine(HTTP1Parameters(keep_alive_max_requests=10**9), DEFAULTS, 0.0)
    reader, writer = engine._reader, engine._writer

    def call() -> bytes:
        if is_cold:
            reader._block = b""
            writer._status = 0
        engine.receive_data(data, 1.0)
        engine.events = []
        stream_id = engine._open
        engine.send_head(stream_id, 200, answer, 1.0)
        engine.send_data(stream_id, b"Hello, world!", True, 1.0)
        return engine.data_to_send()

    return call


def main() -> None:
    measure("head, 2 lines, cold", parse_cold(SMALL))
    measure("head, 2 lines, warm", parse_warm(SMALL))
    measure("head, 15 fields of a browser, cold", parse_cold(BROWSER))
    measure("head, 15 fields of a browser, warm", parse_warm(BROWSER))
    measure("exchange, small GET, cold", exchange(SMALL, ANSWER, True))
    measure("exchange, small GET, warm", exchange(SMALL, ANSWER, False))
    measure("exchange, small GET, warm, length unknown", exchange(SMALL, UNSIZED, False))
    measure("exchange, browser GET, cold", exchange(BROWSER, ANSWER, True))
    measure("exchange, browser GET, warm", exchange(BROWSER, ANSWER, False))
    measure("exchange, 10 KB upload, warm", exchange(UPLOAD, ANSWER, False))
    measure("exchange, chunked 1 KB upload, warm", exchange(CHUNKED, ANSWER, False))


if __name__ == "__main__":
    main()
