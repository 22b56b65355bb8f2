"""HTTP/2 from outside: the cases of h2spec, with frames written by hand to a running server.

The same table runs on every loop, in clear text (prior knowledge) and over TLS (ALPN). It asks for more than
h2spec does where that has a choice: a connection error must be said with GOAWAY before the connection closes.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hpack import Encoder
from tests.conftest import wait_until_full

from .http2_acts import (
    alive,
    answered,
    answered_early,
    bad_request,
    closed,
    connection_error,
    half_closed,
    headers,
    hpack_block,
    opened,
    padded,
    reset,
    reset_half_closed,
    sends,
    stream_error,
    unfinished,
    with_priority,
    without,
)
from .http2_peer import (
    ACK,
    CANCEL,
    CLOSED,
    COMPRESSION,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    FRAME_SIZE,
    GET,
    GOAWAY,
    HEAD,
    HEADERS,
    HOLD,
    INITIAL_WINDOW,
    LOOPS,
    MAX_FRAME,
    MAX_STREAMS,
    MAX_WINDOW,
    NO_ERROR,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PROTOCOL,
    PUSH_PROMISE,
    REFUSED,
    RST_STREAM,
    SETTINGS,
    WEBSOCKET,
    WINDOW_UPDATE,
    Act,
    Peer,
    Server,
    block,
    frame,
    number,
    setting,
    window,
)

# ---- cases that need more than a line


def head_has_no_body(peer: Peer) -> None:
    peer.headers(1, HEAD)
    _, flags, _, _ = peer.until(lambda kind, flags: kind == HEADERS)
    assert flags & END_STREAM


def too_many_streams(peer: Peer) -> None:
    limit = peer.settings[MAX_STREAMS]
    for stream_id in range(1, 2 * limit + 2, 2):
        peer.headers(stream_id, HOLD)
    peer.stream_error(PROTOCOL, REFUSED)


def small_window(peer: Peer) -> None:
    peer.send(setting((INITIAL_WINDOW, 1)))
    peer.headers(1)
    assert peer.body()[3] == b"h"
    peer.send(window(1, 1))
    assert peer.body()[3] == b"e"


def window_after_headers(peer: Peer) -> None:
    peer.send(setting((INITIAL_WINDOW, 0)))
    peer.headers(1)
    peer.until(lambda kind, flags: kind == HEADERS)
    peer.send(setting((INITIAL_WINDOW, 1)))
    assert peer.body()[3] == b"h"


def negative_window(peer: Peer) -> None:
    peer.send(setting((INITIAL_WINDOW, 3)))
    peer.headers(1)
    assert peer.body()[3] == b"hel"
    peer.send(setting((INITIAL_WINDOW, 2)), window(1, 1))
    peer.alive()  # and no DATA, which `until` would pass over: the next must be the fourth letter
    peer.send(window(1, 1))
    assert peer.body()[3] == b"l"


def several_windows(peer: Peer) -> None:
    peer.send(setting((INITIAL_WINDOW, 100), (INITIAL_WINDOW, 1)))
    peer.headers(1)
    assert peer.body()[3] == b"h"


def largest_data(peer: Peer) -> None:
    peer.headers(1, POST, END_HEADERS)
    peer.send(frame(DATA, END_STREAM, 1, bytes(16384)))
    peer.answered(1)


def settings_acknowledged(peer: Peer) -> None:
    peer.send(setting((MAX_STREAMS, 100)))
    assert peer.read()[:3] == (SETTINGS, ACK, 0)


def ping_ack_is_not_answered(peer: Peer) -> None:
    peer.send(frame(PING, ACK, 0, b"nobodyis"), frame(PING, 0, 0, b"expected"))
    assert peer.read()[3] == b"expected"


def error_closes(peer: Peer) -> None:
    peer.send(frame(PING, 0, 0, bytes(6)))
    peer.connection_error(FRAME_SIZE)


def last_stream_is_said(peer: Peer) -> None:
    closed(peer)
    peer.send(frame(PING, 0, 3, bytes(8)))
    kind, _, stream_id, payload = peer.read()
    assert (kind, stream_id, struct.unpack(">LL", payload[:8])) == (GOAWAY, 0, (1, PROTOCOL))


def both_literals(first: bytes) -> tuple[tuple[str, tuple[Act, ...]], ...]:
    """A literal field of one kind (RFC 7541 §6.2): name indexed or new, value plain or Huffman coded."""
    indexed = bytes([first[0] | (0x0F if first[0] < 0x40 else 0x3A)]) + (b"\x2b" if first[0] < 0x40 else b"")
    huffman = Encoder().huffman_coder.encode
    name, value = huffman(b"x-test"), huffman(b"test")
    return (
        ("indexed name", (sends(hpack_block(indexed + b"\x04test")), answered())),
        (
            "indexed name, Huffman",
            (sends(hpack_block(indexed + bytes([0x80 | len(value)]) + value)), answered()),
        ),
        ("new name", (sends(hpack_block(first + b"\x06x-test\x04test")), answered())),
        (
            "new name, Huffman",
            (
                sends(
                    hpack_block(first + bytes([0x80 | len(name)]) + name + bytes([0x80 | len(value)]) + value)
                ),
                answered(),
            ),
        ),
    )


PRIORITY_FRAME = frame(PRIORITY, 0, 1, number(0) + b"\xff")
FIRST_PART = block(GET)
#: Without the table size that stands at the beginning of a whole block.
SECOND_PART = block([("x-dummy", "a" * 50)])[1:]

CASES: dict[str, tuple[Act, ...]] = {
    # generic
    "generic 1 preface": (alive,),
    "generic 2 PRIORITY on an idle stream": (sends(PRIORITY_FRAME), alive),
    "generic 2 WINDOW_UPDATE on half-closed": (half_closed, sends(window(1, 100)), alive),
    "generic 2 PRIORITY on half-closed": (half_closed, sends(PRIORITY_FRAME), alive),
    "generic 2 RST_STREAM on half-closed": (reset_half_closed, alive),
    "generic 2 PRIORITY on closed": (closed, sends(PRIORITY_FRAME), alive),
    "generic 3.1 DATA": (headers(1, POST, END_HEADERS), sends(frame(DATA, 1, 1, b"test")), answered()),
    "generic 3.1 several DATA": (
        headers(1, POST, END_HEADERS),
        sends(frame(DATA, 0, 1, b"test"), frame(DATA, 1, 1, b"test")),
        answered(),
    ),
    "generic 3.1 padded DATA": (
        headers(1, POST, END_HEADERS),
        sends(padded(DATA, END_STREAM, b"test", 6)),
        answered(),
    ),
    "generic 3.2 HEADERS": (headers(1), answered()),
    "generic 3.2 padded HEADERS": (
        sends(padded(HEADERS, END_STREAM | END_HEADERS, block(GET), 6)),
        answered(),
    ),
    "generic 3.2 HEADERS with priority": (sends(with_priority(0, 255)), answered()),
    "generic 3.3 PRIORITY with weight 1": (
        sends(frame(PRIORITY, 0, 1, number(0) + b"\0")),
        headers(1),
        answered(),
    ),
    "generic 3.3 PRIORITY with weight 256": (sends(PRIORITY_FRAME), headers(1), answered()),
    "generic 3.3 PRIORITY with dependency": (
        sends(PRIORITY_FRAME, frame(PRIORITY, 0, 3, number(1) + b"\xff")),
        headers(1),
        answered(),
    ),
    "generic 3.3 PRIORITY, exclusive": (
        sends(PRIORITY_FRAME, frame(PRIORITY, 0, 3, number(0x80000001) + b"\xff")),
        headers(1),
        answered(),
    ),
    "generic 3.3 PRIORITY on a higher stream": (
        sends(frame(PRIORITY, 0, 5, number(0) + b"\xff")),
        headers(3),
        answered(3),
    ),
    "generic 3.4 RST_STREAM": (reset, alive),
    "generic 3.5 SETTINGS": (settings_acknowledged,),
    "generic 3.7 PING": (alive,),
    "generic 3.8 GOAWAY": (half_closed, sends(frame(GOAWAY, 0, 0, number(0, NO_ERROR))), alive),
    "generic 3.9 WINDOW_UPDATE of the connection": (sends(window(0, 1)), headers(1), answered()),
    "generic 3.9 WINDOW_UPDATE of a stream": (
        opened(POST),
        sends(window(1, 1), frame(DATA, 1, 1)),
        answered(),
    ),
    "generic 3.10 CONTINUATION": (
        sends(frame(HEADERS, END_STREAM, 1, FIRST_PART), frame(CONTINUATION, END_HEADERS, 1, SECOND_PART)),
        answered(),
    ),
    "generic 3.10 several CONTINUATION": (
        sends(
            frame(HEADERS, END_STREAM, 1, FIRST_PART),
            frame(CONTINUATION, 0, 1, SECOND_PART),
            frame(CONTINUATION, END_HEADERS, 1, SECOND_PART),
        ),
        answered(),
    ),
    "generic 4 GET": (headers(1), answered()),
    "generic 4 HEAD": (head_has_no_body,),
    "generic 4 POST": (opened(POST), sends(frame(DATA, END_STREAM, 1, b"test")), answered()),
    "generic 4 POST with trailers": (
        opened([*POST, ("trailer", "x-test")]),
        sends(frame(DATA, 0, 1, b"test")),
        headers(1, [("x-test", "ok")]),
        answered(),
    ),
    "generic 5 indexed field": (sends(hpack_block(b"\x90")), answered()),
    **{f"generic 5 with indexing, {name}": acts for name, acts in both_literals(b"\x40")},
    **{f"generic 5 without indexing, {name}": acts for name, acts in both_literals(b"\x00")},
    **{f"generic 5 never indexed, {name}": acts for name, acts in both_literals(b"\x10")},
    "generic 5 table size": (sends(frame(HEADERS, 5, 1, b"\x20" + block(GET)[1:])), answered()),
    "generic 5 table size twice": (
        sends(frame(HEADERS, 5, 1, b"\x20\x3f\xe1\x1f" + block(GET)[1:])),
        answered(),
    ),
    # hpack
    "hpack 2.3.3 unknown index": (sends(hpack_block(b"\xc6")), connection_error(COMPRESSION)),
    "hpack 4.2 table size at the end": (sends(hpack_block(b"\x21")), connection_error(COMPRESSION)),
    "hpack 5.2 padding longer than 7 bits": (
        sends(hpack_block(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")),
        connection_error(COMPRESSION),
    ),
    "hpack 5.2 padding of zeros": (
        sends(hpack_block(b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")),
        connection_error(COMPRESSION),
    ),
    "hpack 5.2 EOS in a string": (
        sends(hpack_block(b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\xff\xff\xff\xfa\x42\xfa\x84")),
        connection_error(COMPRESSION),
    ),
    "hpack 6.1 index 0": (sends(hpack_block(b"\x80")), connection_error(COMPRESSION)),
    "hpack 6.3 table larger than agreed": (
        sends(frame(HEADERS, 5, 1, b"\x3f\xe2\x1f" + block(GET)[1:])),
        connection_error(COMPRESSION),
    ),
    # http2
    "3.5 valid preface": (alive,),
    "4.1 unknown frame type": (sends(frame(0xFF, 0, 0, bytes(8))), alive),
    "4.1 undefined flag": (sends(frame(PING, 0x16, 0, b"ok      ")), alive),
    "4.1 reserved bit": (sends(frame(PING, 0, 0x80000000, b"ok      ")), alive),
    "4.2 DATA of 2^14": (largest_data,),
    "4.2 DATA too large": (opened(POST), sends(frame(DATA, 1, 1, bytes(16385))), stream_error(FRAME_SIZE)),
    "4.2 HEADERS too large": (
        sends(frame(HEADERS, 5, 1, block([*GET, ("x-large", "a" * 16385)]))),
        connection_error(FRAME_SIZE),
    ),
    "4.3 invalid block": (sends(frame(HEADERS, 5, 1, b"\x40")), connection_error(COMPRESSION)),
    "4.3 PRIORITY within a block": unfinished(PRIORITY_FRAME),
    "4.3 HEADERS within a block": unfinished(frame(HEADERS, 5, 3, block(GET))),
    "5.1 idle: DATA": (sends(frame(DATA, 1, 1, b"test")), connection_error(PROTOCOL)),
    "5.1 idle: RST_STREAM": (sends(frame(RST_STREAM, 0, 1, number(CANCEL))), connection_error(PROTOCOL)),
    "5.1 idle: WINDOW_UPDATE": (sends(window(1, 100)), connection_error(PROTOCOL)),
    "5.1 idle: CONTINUATION": (sends(frame(CONTINUATION, 4, 1, block(GET))), connection_error(PROTOCOL)),
    "5.1 half-closed: DATA": (half_closed, sends(frame(DATA, 1, 1, b"test")), stream_error(CLOSED)),
    "5.1 half-closed: HEADERS": (half_closed, headers(1), stream_error(CLOSED)),
    "5.1 half-closed: CONTINUATION": (
        half_closed,
        sends(frame(CONTINUATION, 4, 1, SECOND_PART)),
        connection_error(CLOSED, PROTOCOL),
    ),
    "5.1 answering: DATA": (headers(1), sends(frame(DATA, 1, 1, b"test")), stream_error(CLOSED)),
    "5.1 answering: HEADERS": (headers(1), headers(1), stream_error(CLOSED)),
    "5.1 reset: DATA": (reset, sends(frame(DATA, 1, 1, b"test")), stream_error(CLOSED)),
    "5.1 reset: HEADERS": (reset, headers(1), stream_error(CLOSED)),
    "5.1 reset: CONTINUATION": (
        reset,
        sends(frame(CONTINUATION, 4, 1, SECOND_PART)),
        connection_error(CLOSED, PROTOCOL),
    ),
    "5.1 closed: DATA": (closed, sends(frame(DATA, 1, 1, b"test")), connection_error(CLOSED)),
    "5.1 closed: HEADERS": (closed, headers(1), connection_error(CLOSED)),
    "5.1 closed: CONTINUATION": (
        closed,
        sends(frame(CONTINUATION, 4, 1, SECOND_PART)),
        connection_error(CLOSED, PROTOCOL),
    ),
    "5.1.1 even stream": (headers(2), connection_error(PROTOCOL)),
    "5.1.1 smaller stream": (headers(5), answered(5), headers(3), connection_error(PROTOCOL)),
    "5.1.2 too many streams": (too_many_streams,),
    "5.3.1 HEADERS on itself": (sends(with_priority(1, 255)), stream_error(PROTOCOL)),
    "5.3.1 PRIORITY on itself": (sends(frame(PRIORITY, 0, 2, number(2) + b"\xff")), stream_error(PROTOCOL)),
    "5.4.1 error closes": (error_closes,),
    "5.4.1 GOAWAY names the last stream": (last_stream_is_said,),
    "5.5 unknown frame": (sends(frame(0x16, 0, 0, bytes(8))), alive),
    "5.5 unknown frame within a block": unfinished(frame(0x16, 0, 0, bytes(8))),
    "6.1 DATA on stream 0": (sends(frame(DATA, 1, 0, b"test")), connection_error(PROTOCOL)),
    "6.1 DATA on a closed stream": (closed, sends(frame(DATA, 1, 1, b"test")), stream_error(CLOSED)),
    "6.1 too much padding": (
        opened(POST),
        sends(frame(DATA, END_STREAM | PADDED, 1, b"\x06test")),
        connection_error(PROTOCOL),
    ),
    "6.2 PRIORITY within a block": unfinished(PRIORITY_FRAME),
    "6.2 HEADERS within a block": unfinished(frame(HEADERS, 5, 3, block(GET))),
    "6.2 HEADERS on stream 0": (headers(0), connection_error(PROTOCOL)),
    "6.2 too much padding": (
        sends(frame(HEADERS, 5 | PADDED, 1, bytes([len(block(GET)) + 1]) + block(GET))),
        connection_error(PROTOCOL),
    ),
    "6.3 PRIORITY on stream 0": (
        sends(frame(PRIORITY, 0, 0, number(0) + b"\xff")),
        connection_error(PROTOCOL),
    ),
    "6.3 PRIORITY of 4 bytes": (opened(), sends(frame(PRIORITY, 0, 1, bytes(4))), stream_error(FRAME_SIZE)),
    "6.4 RST_STREAM on stream 0": (sends(frame(RST_STREAM, 0, 0, number(8))), connection_error(PROTOCOL)),
    "6.4 RST_STREAM on idle": (sends(frame(RST_STREAM, 0, 1, number(8))), connection_error(PROTOCOL)),
    "6.4 RST_STREAM of 3 bytes": (
        opened(),
        sends(frame(RST_STREAM, 0, 1, bytes(3))),
        connection_error(FRAME_SIZE),
    ),
    "6.5 ACK with payload": (sends(frame(SETTINGS, ACK, 0, b"\0")), connection_error(FRAME_SIZE)),
    "6.5 SETTINGS on a stream": (sends(frame(SETTINGS, 0, 1, bytes(6))), connection_error(PROTOCOL)),
    "6.5 SETTINGS of 3 bytes": (sends(frame(SETTINGS, 0, 0, bytes(3))), connection_error(FRAME_SIZE)),
    "6.5.2 ENABLE_PUSH 2": (sends(setting((2, 2))), connection_error(PROTOCOL)),
    "6.5.2 INITIAL_WINDOW_SIZE": (sends(setting((INITIAL_WINDOW, 2**31))), connection_error(FLOW_CONTROL)),
    "6.5.2 MAX_FRAME_SIZE too small": (sends(setting((MAX_FRAME, 16383))), connection_error(PROTOCOL)),
    "6.5.2 MAX_FRAME_SIZE too large": (sends(setting((MAX_FRAME, 2**24))), connection_error(PROTOCOL)),
    "6.5.2 unknown setting": (sends(setting((0xFF, 1))), alive),
    "6.5.3 several values": (several_windows,),
    "6.5.3 acknowledged": (settings_acknowledged,),
    "6.7 PING": (alive,),
    "6.7 PING ACK": (ping_ack_is_not_answered,),
    "6.7 PING on a stream": (sends(frame(PING, 0, 1, bytes(8))), connection_error(PROTOCOL)),
    "6.7 PING of 6 bytes": (sends(frame(PING, 0, 0, bytes(6))), connection_error(FRAME_SIZE)),
    "6.8 GOAWAY on a stream": (sends(frame(GOAWAY, 0, 1, number(0, 0))), connection_error(PROTOCOL)),
    "6.9 WINDOW_UPDATE by 0": (sends(window(0, 0)), connection_error(PROTOCOL)),
    "6.9 WINDOW_UPDATE by 0 on a stream": (opened(), sends(window(1, 0)), stream_error(PROTOCOL)),
    "6.9 WINDOW_UPDATE of 3 bytes": (
        sends(frame(WINDOW_UPDATE, 0, 0, bytes(3))),
        connection_error(FRAME_SIZE),
    ),
    "6.9.1 window of 1": (small_window,),
    "6.9.1 window of the connection too large": (
        sends(window(0, MAX_WINDOW), window(0, MAX_WINDOW)),
        connection_error(FLOW_CONTROL),
    ),
    "6.9.1 window of a stream too large": (
        opened(),
        sends(window(1, MAX_WINDOW), window(1, MAX_WINDOW)),
        stream_error(FLOW_CONTROL),
    ),
    "6.9.2 window changed after HEADERS": (window_after_headers,),
    "6.9.2 negative window": (negative_window,),
    "6.9.2 INITIAL_WINDOW_SIZE too large": (
        sends(setting((INITIAL_WINDOW, 2**31))),
        connection_error(FLOW_CONTROL),
    ),
    "6.10 several CONTINUATION": (
        sends(
            frame(HEADERS, END_STREAM, 1, FIRST_PART),
            frame(CONTINUATION, 0, 1, SECOND_PART),
            frame(CONTINUATION, END_HEADERS, 1, SECOND_PART),
        ),
        answered(),
    ),
    "6.10 other frame after CONTINUATION": unfinished(
        frame(CONTINUATION, 0, 1, SECOND_PART), frame(DATA, END_STREAM, 1, b"test")
    ),
    "6.10 CONTINUATION on stream 0": unfinished(frame(CONTINUATION, 4, 0, SECOND_PART)),
    "6.10 CONTINUATION after END_HEADERS": (
        opened(),
        sends(frame(CONTINUATION, 4, 1, SECOND_PART)),
        connection_error(PROTOCOL),
    ),
    "6.10 CONTINUATION after the last": (
        sends(
            frame(HEADERS, 0, 1, block(HOLD)),
            frame(CONTINUATION, 4, 1, SECOND_PART),
            frame(CONTINUATION, 4, 1, SECOND_PART),
        ),
        connection_error(PROTOCOL),
    ),
    "6.10 CONTINUATION after DATA": (
        opened(),
        sends(frame(DATA, 0, 1, b"test"), frame(CONTINUATION, 4, 1, SECOND_PART)),
        connection_error(PROTOCOL),
    ),
    "7 GOAWAY with an unknown code": (half_closed, sends(frame(GOAWAY, 0, 0, number(0, 0xFF))), alive),
    "7 RST_STREAM with an unknown code": (opened(), sends(frame(RST_STREAM, 0, 1, number(0xFF))), alive),
    "8.1 second HEADERS without END_STREAM": (
        opened(POST),
        headers(1, [("x-test", "ok")], END_HEADERS),
        stream_error(PROTOCOL),
    ),
    "8.1.2 uppercase name": bad_request(GET, ("X-TEST", "ok")),
    "8.1.2.1 unknown pseudo-header": bad_request(GET, (":test", "ok")),
    "8.1.2.1 pseudo-header of responses": bad_request(GET, (":status", "200")),
    "8.1.2.1 pseudo-header in trailers": (
        opened(POST),
        headers(1, [(":method", "200")]),
        stream_error(PROTOCOL),
    ),
    "8.1.2.1 pseudo-header after others": bad_request([*without(":path"), ("x-test", "ok")], (":path", "/")),
    "8.1.2.2 connection": bad_request(GET, ("connection", "keep-alive")),
    "8.1.2.2 TE": bad_request(GET, ("trailers", "test"), ("te", "trailers, deflate")),
    "8.1.2.3 empty :path": bad_request([*without(":path"), (":path", "")]),
    "8.1.2.3 no :method": bad_request(without(":method")),
    "8.1.2.3 no :scheme": bad_request(without(":scheme")),
    "8.1.2.3 no :path": bad_request(without(":path")),
    "8.1.2.3 :method twice": bad_request(GET, (":method", "GET")),
    "8.1.2.3 :scheme twice": bad_request(GET, (":scheme", "http")),
    "8.1.2.3 :path twice": bad_request(GET, (":path", "/")),
    "8.1.2.6 content-length and DATA": (
        opened([*POST, ("content-length", "1")]),
        sends(frame(DATA, END_STREAM, 1, b"test")),
        stream_error(PROTOCOL),
    ),
    "8.1.2.6 content-length and several DATA": (
        opened([*POST, ("content-length", "1")]),
        sends(frame(DATA, 0, 1, b"test"), frame(DATA, END_STREAM, 1, b"test")),
        stream_error(PROTOCOL),
    ),
    # the same where the application has answered before the request is complete
    "early 5.1 DATA on reset": (
        answered_early,
        sends(frame(RST_STREAM, 0, 1, number(CANCEL)), frame(DATA, 1, 1, b"test")),
        connection_error(CLOSED),
    ),
    "early 5.1 HEADERS on reset": (
        answered_early,
        sends(frame(RST_STREAM, 0, 1, number(CANCEL))),
        headers(1),
        connection_error(CLOSED),
    ),
    "early 6.9 WINDOW_UPDATE by 0": (answered_early, sends(window(1, 0)), stream_error(PROTOCOL)),
    "early 6.9.1 window too large": (
        answered_early,
        sends(window(1, MAX_WINDOW), window(1, MAX_WINDOW)),
        stream_error(FLOW_CONTROL),
    ),
    "early 8.1 second HEADERS without END_STREAM": (
        answered_early,
        headers(1, [("x-test", "ok")], END_HEADERS),
        stream_error(PROTOCOL),
    ),
    "early 8.1.2.1 pseudo-header in trailers": (
        answered_early,
        sends(frame(DATA, 0, 1, b"1")),
        headers(1, [(":method", "POST")]),
        stream_error(PROTOCOL),
    ),
    "early 8.1.2.6 content-length and DATA": (
        answered_early,
        sends(frame(DATA, END_STREAM, 1, b"test")),
        stream_error(PROTOCOL),
    ),
    "early request that ends well": (answered_early, sends(frame(DATA, END_STREAM, 1, b"1")), alive),
    "8.2 PUSH_PROMISE": (
        opened(),
        sends(frame(PUSH_PROMISE, END_HEADERS, 1, number(3) + block(GET))),
        connection_error(PROTOCOL),
    ),
}


@pytest.fixture(scope="module", params=LOOPS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(str(request.param), tmp_path_factory.mktemp("http2"))
    yield running
    running.stop()


@pytest.fixture(params=("http", "https"))
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("case", CASES)
def test_case(case: str, scheme: str, server: Server) -> None:
    peer = Peer(server.connect(scheme))
    try:
        for act in CASES[case]:
            act(peer)
    finally:
        peer.close()


def test_invalid_preface(scheme: str, server: Server) -> None:
    """h2spec 3.5: over TLS it is a connection error; in clear text it is no HTTP at all, and gets no answer."""
    peer = Peer(server.connect(scheme), b"")
    try:
        peer.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
        if scheme == "https":
            assert peer.read()[0] == SETTINGS
            peer.connection_error(PROTOCOL)
        else:
            assert peer.sock.recv(65536) == b""
    finally:
        peer.close()


def test_websockets_that_were_reset_make_room(scheme: str, server: Server) -> None:
    """A stream counts against the limit until its application has returned, and not for longer."""
    peer = Peer(server.connect(scheme))
    try:
        count = peer.settings[MAX_STREAMS] + 20
        for stream_id in range(1, 2 * count, 2):
            peer.headers(stream_id, WEBSOCKET, END_HEADERS)
            peer.until(lambda kind, flags: kind in (HEADERS, RST_STREAM))
            assert peer.fields.get(":status") == "200", (stream_id, peer.fields)
            peer.fields = {}
            peer.send(frame(RST_STREAM, 0, stream_id, number(CANCEL)))
        peer.headers(2 * count + 1)
        peer.answered(2 * count + 1)
    finally:
        peer.close()


def test_push_is_offered_where_it_is_possible(scheme: str, server: Server) -> None:
    """RFC 9113 §8.4: not to a client that has switched it off, and not on a stream that is pushed itself."""
    peer = Peer(server.connect(scheme))
    try:
        peer.headers(1, [GET[0], GET[1], (":path", "/push"), GET[3]])
        kind, _, found, payload = peer.until(lambda kind, flags: kind in (PUSH_PROMISE, HEADERS))
        assert (kind, found, payload[:4]) == (PUSH_PROMISE, 1, number(2))
        assert peer.promised(payload)[":path"] == "/pushed%20%C3%A9?a=%41"
        offered: dict[int, bool] = {}
        while len(offered) < 2:
            _, _, found, _ = peer.until(lambda kind, flags: kind == HEADERS)
            offered[found] = "http.response.push" in peer.fields["x-extensions"].split(",")
        assert offered == {1: True, 2: False}
        peer.send(setting((2, 0)))
        peer.headers(3, [GET[0], GET[1], (":path", "/push"), GET[3]])
        kind, _, found, _ = peer.until(lambda kind, flags: kind in (PUSH_PROMISE, HEADERS))
        assert (kind, found) == (HEADERS, 3)
        assert "push" not in peer.fields["x-extensions"]
    finally:
        peer.close()


def test_broken_record_while_the_client_does_not_read(server: Server) -> None:
    """RFC 8446 §5.2 ends the connection; the application must not go on sending to nobody."""
    peer = Peer(server.connect("https"))
    try:
        peer.send(setting((INITIAL_WINDOW, MAX_WINDOW)), window(0, MAX_WINDOW - 65535))
        peer.headers(1, [GET[0], GET[1], (":path", "/endless"), GET[3]])
        wait_until_full(peer.sock)
        socket.socket.sendall(peer.sock, b"\x17\x03\x03\x00\x20" + bytes(32))
        with contextlib.suppress(ConnectionResetError):
            while socket.socket.recv(peer.sock, 1 << 20):
                pass
    finally:
        peer.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_stop_during_a_handshake(loop: str, tmp_path: Path) -> None:
    """The connection is told to go away once HTTP/2 is agreed on, and its request is answered."""
    server = Server(loop, tmp_path, "--keep-alive", "600")  # what waits for it fails the test
    other = Peer(server.connect("http"))
    client = server.begin_handshake()
    try:
        other.headers(1, HOLD)  # keeps the server from ending
        other.alive()
        server.begin_stop()
        client.finish(PREFACE + setting() + frame(HEADERS, END_STREAM | END_HEADERS, 1, block(GET)))
        kinds = [(kind, found) for kind, _, found, _ in client.read_frames()]
        assert {(GOAWAY, 0), (DATA, 1)} <= set(kinds), kinds
        other.send(frame(RST_STREAM, 0, 1, number(CANCEL)))
    finally:
        client.close()
        other.close()
        server.wait()
