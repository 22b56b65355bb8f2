"""What RFC 9113 says about frames that must not come: the cases of h2spec, one by one.

Each case sends frames on a fresh connection and names the error that must follow: of the connection (GOAWAY)
or of a stream (RST_STREAM, and the connection lives).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE, REFUSED, COMPRESSION = 5, 6, 7, 9

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")]
POST = [(":method", "POST"), *GET[1:]]

Act = Callable[[Any], None]


def raw(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBL", len(payload) >> 8, len(payload) & 255, kind, flags, stream_id) + payload


def sends(*frames: Frame) -> Act:
    return lambda peer: peer.send(*frames)


def sends_raw(data: bytes) -> Act:
    return lambda peer: peer.send_bytes(data)


def open_stream(peer: Any) -> None:
    peer.post(1)


def half_closed(peer: Any) -> None:
    peer.get(1)


def closed(peer: Any) -> None:
    peer.get(1)
    peer.respond(1, b"done")


def reset(peer: Any) -> None:
    peer.post(1)
    peer.send(RstStreamFrame(1, error_code=8))


def promised(peer: Any) -> None:
    peer.get(1)
    assert peer.engine.push(1, "GET", b"/pushed", [], peer.now) == 2


def pushed(peer: Any) -> None:
    promised(peer)
    peer.engine.send_head(2, 200, [], peer.now)


def nothing(peer: Any) -> None:
    return


def data(stream_id: int, payload: bytes = b"test", *flags: str) -> Act:
    return sends(DataFrame(stream_id, payload, flags=list(flags)))


def headers(stream_id: int, fields: list[tuple[str, str]] = GET, *flags: str) -> Act:
    return lambda peer: peer.send(peer.headers(stream_id, fields, *flags))


def unfinished_headers(stream_id: int, then: bytes) -> Act:
    def act(peer: Any) -> None:
        peer.send(HeadersFrame(stream_id, peer.block(GET), flags=["END_STREAM"]))
        peer.send_bytes(then)

    return act


def continuation(stream_id: int) -> Act:
    return lambda peer: peer.send(
        ContinuationFrame(stream_id, peer.block([("a", "b")]), flags=["END_HEADERS"])
    )


def windows(stream_id: int, *increments: int) -> Act:
    return sends(*[WindowUpdateFrame(stream_id, window_increment=increment) for increment in increments])


def both(*acts: Act) -> Act:
    def act(peer: Any) -> None:
        for each in acts:
            each(peer)

    return act


def setting(*pairs: tuple[int, int]) -> Act:
    return sends_raw(raw(4, 0, 0, b"".join(struct.pack(">HL", *pair) for pair in pairs)))


def self_dependent_headers(peer: Any) -> None:
    peer.send(peer.headers(1, GET, "END_STREAM", "PRIORITY", depends_on=1, stream_weight=10, exclusive=False))


MAX = 2**31 - 1
BIG = b"\0" * 16385

#: name: what was before, what is sent, codes
CONNECTION_ERRORS: dict[str, tuple[Act, Act, tuple[int, ...]]] = {
    "4.2 oversize HEADERS": (nothing, sends_raw(raw(1, 5, 1, BIG)), (FRAME_SIZE,)),
    "4.2 oversize DATA": (open_stream, sends_raw(raw(0, 0, 1, BIG)), (FRAME_SIZE,)),
    "4.2 oversize unknown": (nothing, sends_raw(raw(0x16, 0, 0, BIG)), (FRAME_SIZE,)),
    "4.3 bad block": (nothing, sends_raw(raw(1, 5, 1, b"\x40")), (COMPRESSION,)),
    "4.3 PRIORITY in a block": (nothing, unfinished_headers(1, raw(2, 0, 1, b"\0\0\0\0\xff")), (PROTOCOL,)),
    "4.3 other HEADERS in a block": (nothing, unfinished_headers(1, raw(1, 5, 3, b"\x82")), (PROTOCOL,)),
    "4.3 unknown frame in a block": (nothing, unfinished_headers(1, raw(0xFF, 0, 0, b"x")), (PROTOCOL,)),
    "5.1 idle: DATA": (nothing, data(1), (PROTOCOL,)),
    "5.1 idle: RST_STREAM": (nothing, sends(RstStreamFrame(1, error_code=8)), (PROTOCOL,)),
    "5.1 idle: WINDOW_UPDATE": (nothing, windows(1, 100), (PROTOCOL,)),
    "5.1 idle: CONTINUATION": (nothing, continuation(1), (PROTOCOL,)),
    "5.1 idle push: WINDOW_UPDATE": (nothing, windows(2, 100), (PROTOCOL,)),
    "5.1 half-closed: CONTINUATION": (half_closed, continuation(1), (PROTOCOL, STREAM_CLOSED)),
    "5.1 reset: DATA": (reset, data(1), (STREAM_CLOSED,)),
    "5.1 reset: HEADERS": (reset, headers(1), (STREAM_CLOSED,)),
    "5.1 reset: CONTINUATION": (reset, continuation(1), (PROTOCOL, STREAM_CLOSED)),
    "5.1 closed: DATA": (closed, data(1), (STREAM_CLOSED,)),
    "5.1 closed: HEADERS": (closed, headers(1), (STREAM_CLOSED,)),
    "5.1 closed: CONTINUATION": (closed, continuation(1), (PROTOCOL, STREAM_CLOSED)),
    "5.1.1 even stream": (nothing, headers(2, GET, "END_STREAM"), (PROTOCOL,)),
    "5.1.1 smaller stream": (
        headers(5, GET, "END_STREAM"),
        headers(3, GET, "END_STREAM"),
        (PROTOCOL,),
    ),
    "5.5 unknown frame in a block": (
        nothing,
        unfinished_headers(1, raw(0x16, 0, 0, b"12345678")),
        (PROTOCOL,),
    ),
    "6.1 DATA on stream 0": (nothing, sends_raw(raw(0, 0, 0, b"test")), (PROTOCOL,)),
    "6.1 too much padding": (open_stream, sends_raw(raw(0, 8, 1, b"\x05test")), (PROTOCOL,)),
    "6.1 padding without length": (open_stream, sends_raw(raw(0, 8, 1, b"")), (FRAME_SIZE,)),
    "6.2 HEADERS on stream 0": (nothing, sends_raw(raw(1, 5, 0, b"\x82")), (PROTOCOL,)),
    "6.2 too much padding": (nothing, sends_raw(raw(1, 13, 1, b"\x09\x82\x86\x84")), (PROTOCOL,)),
    "6.2 too short for its priority": (nothing, sends_raw(raw(1, 0x25, 1, b"\0\0\0")), (FRAME_SIZE,)),
    "6.3 PRIORITY on stream 0": (nothing, sends_raw(raw(2, 0, 0, b"\0\0\0\0\x10")), (PROTOCOL,)),
    "6.4 RST_STREAM on stream 0": (nothing, sends_raw(raw(3, 0, 0, b"\0\0\0\0")), (PROTOCOL,)),
    "6.4 RST_STREAM of length 3": (open_stream, sends_raw(raw(3, 0, 1, b"\0\0\0")), (FRAME_SIZE,)),
    "6.5 SETTINGS ack with payload": (nothing, sends_raw(raw(4, 1, 0, b"\0" * 6)), (FRAME_SIZE,)),
    "6.5 SETTINGS on a stream": (nothing, sends_raw(raw(4, 0, 1, b"")), (PROTOCOL,)),
    "6.5 SETTINGS of length 3": (nothing, sends_raw(raw(4, 0, 0, b"\0\0\0")), (FRAME_SIZE,)),
    "6.5.2 ENABLE_PUSH 2": (nothing, setting((2, 2)), (PROTOCOL,)),
    "6.5.2 INITIAL_WINDOW_SIZE 2^31": (nothing, setting((4, 2**31)), (FLOW_CONTROL,)),
    "6.5.2 MAX_FRAME_SIZE too small": (nothing, setting((5, 16383)), (PROTOCOL,)),
    "6.5.2 MAX_FRAME_SIZE too large": (nothing, setting((5, 2**24)), (PROTOCOL,)),
    "8441 ENABLE_CONNECT_PROTOCOL 2": (nothing, setting((8, 2)), (PROTOCOL,)),
    "9218 NO_RFC7540_PRIORITIES 2": (nothing, setting((9, 2)), (PROTOCOL,)),
    "9218 NO_RFC7540_PRIORITIES too late": (setting((9, 0)), setting((9, 1)), (PROTOCOL,)),
    "6.6 PUSH_PROMISE": (open_stream, sends_raw(raw(5, 4, 1, b"\0\0\0\x02\x82")), (PROTOCOL,)),
    "6.7 PING on a stream": (nothing, sends_raw(raw(6, 0, 1, b"\0" * 8)), (PROTOCOL,)),
    "6.7 PING of length 6": (nothing, sends_raw(raw(6, 0, 0, b"\0" * 6)), (FRAME_SIZE,)),
    "6.8 GOAWAY on a stream": (nothing, sends_raw(raw(7, 0, 1, b"\0" * 8)), (PROTOCOL,)),
    "6.8 GOAWAY too short": (nothing, sends_raw(raw(7, 0, 0, b"\0" * 7)), (FRAME_SIZE,)),
    "6.9 WINDOW_UPDATE by 0": (nothing, sends_raw(raw(8, 0, 0, b"\0\0\0\0")), (PROTOCOL,)),
    "6.9 WINDOW_UPDATE of length 3": (nothing, sends_raw(raw(8, 0, 0, b"\0\0\1")), (FRAME_SIZE,)),
    "6.9.1 connection window overflow": (nothing, windows(0, MAX, MAX), (FLOW_CONTROL,)),
    "6.9.2 stream window overflow by SETTINGS": (
        both(half_closed, windows(1, MAX - 65535)),
        setting((4, 65536)),
        (FLOW_CONTROL,),
    ),
    "6.10 CONTINUATION on stream 0": (nothing, unfinished_headers(1, raw(9, 4, 0, b"")), (PROTOCOL,)),
    "6.10 CONTINUATION on another stream": (nothing, unfinished_headers(1, raw(9, 4, 3, b"")), (PROTOCOL,)),
    "6.10 CONTINUATION after END_HEADERS": (half_closed, continuation(1), (PROTOCOL,)),
    "6.10 CONTINUATION after DATA": (both(open_stream, data(1)), continuation(1), (PROTOCOL,)),
    "9218 PRIORITY_UPDATE on a stream": (open_stream, sends_raw(raw(16, 0, 1, b"\0\0\0\1u=1")), (PROTOCOL,)),
    "9218 PRIORITY_UPDATE too short": (nothing, sends_raw(raw(16, 0, 0, b"\0\0\1")), (FRAME_SIZE,)),
    "9218 PRIORITY_UPDATE of stream 0": (nothing, sends_raw(raw(16, 0, 0, b"\0\0\0\0u=1")), (PROTOCOL,)),
    "9218 PRIORITY_UPDATE of an idle push": (nothing, sends_raw(raw(16, 0, 0, b"\0\0\0\2u=1")), (PROTOCOL,)),
    # RFC 7541
    "hpack 2.3.3 index 70": (nothing, sends_raw(raw(1, 5, 1, b"\xc6")), (COMPRESSION,)),
    "hpack 6.1 index 0": (nothing, sends_raw(raw(1, 5, 1, b"\x80")), (COMPRESSION,)),
    "hpack 4.2 size update at the end": (
        nothing,
        sends_raw(raw(1, 5, 1, b"\x82\x86\x84\x20")),
        (COMPRESSION,),
    ),
    "hpack 6.3 size update too large": (
        nothing,
        sends_raw(raw(1, 5, 1, b"\x3f\xe2\x1f\x82")),
        (COMPRESSION,),
    ),
    "hpack 5.2 padding longer than 7 bits": (
        nothing,
        sends_raw(raw(1, 5, 1, b"\x82\x86\x84\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x9f\xff")),
        (COMPRESSION,),
    ),
    "hpack 5.2 padding of zeros": (
        nothing,
        sends_raw(raw(1, 5, 1, b"\x82\x86\x84\x00\x85\xf2\xb2\x4a\x87\xff\x83\x49\x50\x90")),
        (COMPRESSION,),
    ),
    "hpack 5.2 EOS in a string": (
        nothing,
        sends_raw(raw(1, 5, 1, b"\x82\x86\x84\x00\x88\xf2\xb2\x4a\x84\xff\xff\xff\xff\x83\x49\x50\x9f")),
        (COMPRESSION,),
    ),
    "hpack 5.1 endless integer": (
        nothing,
        sends_raw(raw(1, 5, 1, b"\xff" + b"\x80" * 9 + b"\x01")),
        (COMPRESSION,),
    ),
    # A stream error, but RST_STREAM must not be sent for an idle stream.
    "6.4 idle: PRIORITY that depends on itself": (
        nothing,
        sends(PriorityFrame(1, depends_on=1, stream_weight=10)),
        (PROTOCOL,),
    ),
    "6.4 idle: PRIORITY of length 4": (nothing, sends_raw(raw(2, 0, 1, b"\0\0\0\0")), (FRAME_SIZE,)),
    "5.1 reserved: DATA": (promised, data(2), (PROTOCOL,)),
    "5.1 reserved: HEADERS": (promised, headers(2), (PROTOCOL,)),
    "hpack truncated string": (nothing, sends_raw(raw(1, 5, 1, b"\x40\x0aabc")), (COMPRESSION,)),
}

STREAM_ERRORS: dict[str, tuple[Act, Act, tuple[int, ...]]] = {
    "5.1 half-closed: DATA": (half_closed, data(1), (STREAM_CLOSED,)),
    "5.1 half-closed: HEADERS": (half_closed, headers(1), (STREAM_CLOSED,)),
    "5.3.1 HEADERS that depends on itself": (nothing, self_dependent_headers, (PROTOCOL,)),
    "5.3.1 PRIORITY that depends on itself": (
        open_stream,
        sends(PriorityFrame(1, depends_on=1, stream_weight=10)),
        (PROTOCOL,),
    ),
    "5.1 pushed: DATA": (pushed, data(2), (STREAM_CLOSED,)),
    "6.3 PRIORITY of length 4": (open_stream, sends_raw(raw(2, 0, 1, b"\0\0\0\0")), (FRAME_SIZE,)),
    "6.9 stream WINDOW_UPDATE by 0": (half_closed, sends_raw(raw(8, 0, 1, b"\0\0\0\0")), (PROTOCOL,)),
    "6.9.1 stream window overflow": (half_closed, windows(1, MAX, MAX), (FLOW_CONTROL,)),
    "8.1 trailers without END_STREAM": (
        both(open_stream, data(1)),
        headers(1, [("x-checksum", "1")]),
        (PROTOCOL,),
    ),
}

IGNORED: dict[str, tuple[Act, Act]] = {
    "4.1 unknown frame type": (nothing, sends_raw(raw(0xFF, 0, 0, b"12345678"))),
    "4.1 unknown flags": (nothing, sends_raw(raw(6, 0x16, 0, b"\0" * 8))),
    "4.1 reserved bit": (nothing, sends_raw(raw(6, 0, 0x80000000, b"\0" * 8))),
    "5.1 closed: PRIORITY": (closed, sends(PriorityFrame(1, depends_on=0, stream_weight=5))),
    "5.1 closed: WINDOW_UPDATE": (closed, windows(1, 100)),
    "5.1 closed: RST_STREAM": (closed, sends(RstStreamFrame(1, error_code=8))),
    "5.1 half-closed: WINDOW_UPDATE": (half_closed, windows(1, 100)),
    "5.1 half-closed: PRIORITY": (half_closed, sends(PriorityFrame(1, depends_on=0, stream_weight=5))),
    "5.1 idle: PRIORITY": (nothing, sends(PriorityFrame(1, depends_on=0, stream_weight=5))),
    "6.5.2 unknown setting": (nothing, setting((0xFF, 1))),
    "6.7 PING answer that nobody asked for": (nothing, sends_raw(raw(6, 1, 0, b"whatever"))),
    "6.5 SETTINGS answer that nobody asked for": (nothing, sends(SettingsFrame(0, flags=["ACK"]))),
    "9218 PRIORITY_UPDATE": (open_stream, sends_raw(raw(16, 0, 0, b"\0\0\0\1u=1,i"))),
    "9218 PRIORITY_UPDATE that says nothing": (open_stream, sends_raw(raw(16, 0, 0, b"\0\0\0\1\xff\0"))),
}


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
def test_connection_error(case: str, peer: Any) -> None:
    before, act, codes = CONNECTION_ERRORS[case]
    before(peer)
    peer.frames()
    act(peer)
    peer.expect_connection_error(*codes)


@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_stream_error(case: str, peer: Any) -> None:
    before, act, codes = STREAM_ERRORS[case]
    before(peer)
    peer.frames()
    act(peer)
    peer.expect_stream_error(2 if case.startswith("5.1 pushed") else 1, *codes)


@pytest.mark.parametrize("case", IGNORED)
def test_ignored(case: str, peer: Any) -> None:
    before, act = IGNORED[case]
    before(peer)
    act(peer)
    peer.frames()
    peer.expect_alive()


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"])
def test_an_invalid_preface_ends_the_connection(first: bytes, connect: Any) -> None:
    peer = connect()
    fresh = type(peer.engine)(peer.engine._parameters, peer.defaults, peer.now, secure=False)
    peer.engine = fresh
    peer.send_bytes(first)
    peer.expect_connection_error(PROTOCOL)


@pytest.mark.parametrize(
    "first", [raw(6, 0, 0, b"\0" * 8), raw(4, 1, 0), raw(1, 5, 1, b"\x82"), raw(0x20, 0, 0, b"")]
)
def test_the_preface_has_settings(first: bytes, connect: Any) -> None:
    peer = connect()
    peer.engine = type(peer.engine)(peer.engine._parameters, peer.defaults, peer.now, secure=False)
    peer.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + first)
    peer.expect_connection_error(PROTOCOL)


def test_settings_are_acknowledged_and_pings_answered(peer: Any) -> None:
    peer.send(SettingsFrame(0, settings={3: 7}), PingFrame(0, opaque_data=b"12345678"))
    settings, ping = peer.frames()
    assert "ACK" in settings.flags
    assert "ACK" in ping.flags
    assert ping.opaque_data == b"12345678"


def test_the_greeting(peer: Any) -> None:
    settings, update, ack = peer.greeting
    assert settings.settings == {3: 100, 6: 65536, 8: 1, 4: 262144}
    assert (update.stream_id, update.window_increment) == (0, 1048576 - 65535)
    assert "ACK" in ack.flags


def test_a_goaway_from_the_peer_lets_open_requests_finish(peer: Any) -> None:
    peer.get(1)
    peer.send(GoAwayFrame(0, last_stream_id=0))
    assert peer.engine.closing.name == "OPEN"
    peer.respond(1, b"still")
    frames = peer.frames()
    assert peer.body(1, frames) == b"still"
    assert peer.engine.closing.name == "AFTER_FLUSH"


def test_nothing_is_read_after_the_end(peer: Any) -> None:
    peer.send_bytes(raw(6, 0, 1, b"\0" * 8))
    peer.frames()
    peer.get(1)
    assert peer.frames() == []
    assert peer.events() == []


def test_a_larger_frame_size_works(connect: Any) -> None:
    peer = connect(max_inbound_frame_size=65536)
    assert peer.greeting[0].settings[5] == 65536
    peer.post(1)
    peer.data(1, b"x" * 65536)
    assert [len(event.data) for event in peer.events()[1:]] == [65536]
    peer.send_bytes(raw(0, 0, 1, b"x" * 65537))
    peer.expect_connection_error(FRAME_SIZE)


def test_frames_of_padding_alone_do_not_use_up_the_window(connect: Any) -> None:
    peer = connect(initial_stream_window_size=65535, initial_connection_window_size=65535)
    peer.post(1)
    for _ in range(99):
        peer.send(DataFrame(1, b"", pad_length=249, flags=["PADDED"]))
    given = [(update.stream_id, update.window_increment) for update in peer.of_type(WindowUpdateFrame)]
    assert given.count((0, 8250)) == given.count((1, 8250)) == 3
