"""Flow control and back-pressure, both ways, and server push."""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe.frame import (
    DataFrame,
    HeadersFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from hypercorn.protocols.engine import LocalProtocolError
from hypercorn.protocols.events import Data, Request, StreamClosed, Trailers, Writable

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")]
FLOW_CONTROL = 3
FRAME = 16384


# ---- receiving


def updates(peer: Any) -> dict[int, int]:
    """WINDOW_UPDATEs by stream since the last look."""
    given: dict[int, int] = {}
    for frame in peer.of_type(WindowUpdateFrame):
        given[frame.stream_id] = given.get(frame.stream_id, 0) + frame.window_increment
    return given


def test_windows_come_back_in_large_steps(connect: Any) -> None:
    peer = connect(initial_stream_window_size=65536, initial_connection_window_size=65536)
    peer.post(1)
    sent = stream_updates = 0
    total: dict[int, int] = {0: 0, 1: 0}
    for _ in range(512):
        peer.data(1, b"x" * 1024)
        peer.engine.consume(1, 1024, peer.now)
        sent += 1024
        for stream_id, size in updates(peer).items():
            total[stream_id] += size
            stream_updates += stream_id
    assert total[1] == sent
    assert total[0] == sent
    assert stream_updates == 64


def test_most_of_a_window_that_is_read_is_the_peers(connect: Any) -> None:
    """Over a long way the rest comes back a round trip later, and holds an upload to less than the window."""
    size = 65536
    peer = connect(initial_stream_window_size=size, initial_connection_window_size=2 * size)
    peer.post(1)
    updates(peer)
    left = {0: 2 * size, 1: size}
    for _ in range(512):
        peer.data(1, b"x" * 1024)
        peer.engine.consume(1, 1024, peer.now)
        given = updates(peer)
        for stream_id in left:
            left[stream_id] += given.get(stream_id, 0) - 1024
        assert left[0] > 2 * size * 3 // 4
        assert left[1] > size * 3 // 4


def test_a_stream_that_is_not_read_gets_no_window(peer: Any) -> None:
    peer.post(1)
    for _ in range(16):
        peer.data(1, b"x" * FRAME)
    assert 1 not in updates(peer)
    # Another stream goes on.
    peer.post(3)
    peer.data(3, b"y" * FRAME, end=True)
    assert [event for event in peer.events() if isinstance(event, Data)][-1].stream_id == 3
    peer.engine.consume(1, 16 * FRAME, peer.now)
    assert updates(peer)[1] >= 16 * FRAME


def test_the_window_of_a_stream_that_is_read_grows(connect: Any) -> None:
    """Over a long way a window is what an upload gets for each round trip."""
    size = 65536
    peer = connect(initial_stream_window_size=size, initial_connection_window_size=8 * size)
    peer.post(1)
    left = size
    for _ in range(64):
        peer.data(1, b"x" * FRAME)
        peer.engine.consume(1, FRAME, peer.now)
        left += updates(peer).get(1, 0) - FRAME
    assert 3 * size < left <= 4 * size
    # Not that of one whose application is behind.
    peer.post(3)
    for _ in range(4):
        peer.data(3, b"x" * FRAME)
    peer.engine.consume(3, 3 * FRAME, peer.now)
    assert updates(peer)[3] == 3 * FRAME


def test_grown_windows_leave_room_for_others(connect: Any) -> None:
    """Should all their applications stop to read, a new stream still gets its whole window."""
    size = 65536
    peer = connect(
        initial_stream_window_size=size, initial_connection_window_size=4 * size, max_unread_size=16 * size
    )
    ids = range(1, 13, 2)
    left = dict.fromkeys(ids, size)
    connection = 4 * size
    for stream_id in ids:
        peer.post(stream_id)
    for _ in range(16):
        for stream_id in ids:
            peer.data(stream_id, b"x" * FRAME)
            peer.engine.consume(stream_id, FRAME, peer.now)
            left[stream_id] -= FRAME
            connection -= FRAME
            for updated, given in updates(peer).items():
                if updated:
                    left[updated] += given
                else:
                    connection += given
    assert size * 6 < sum(left.values()) <= size * (6 + 8)
    for stream_id in ids:
        while left[stream_id] >= FRAME and connection >= FRAME:
            peer.data(stream_id, b"x" * FRAME)
            left[stream_id] -= FRAME
            connection += updates(peer).get(0, 0) - FRAME
    assert max(left.values()) < FRAME
    assert connection >= size


def test_more_than_the_stream_window_resets_the_stream(connect: Any) -> None:
    peer = connect(initial_stream_window_size=65535)
    peer.post(1)
    peer.events()
    for _ in range(3):
        peer.data(1, b"x" * FRAME)
    peer.data(1, b"x" * FRAME)
    peer.expect_stream_error(1, FLOW_CONTROL)
    assert isinstance(peer.events()[-1], StreamClosed)


def test_more_than_the_connection_window_ends_the_connection(connect: Any) -> None:
    peer = connect(max_unread_size=65536, initial_connection_window_size=65535)
    for stream_id in (1, 3, 5):
        peer.post(stream_id)
    for count in range(16):
        peer.data(1 + 2 * (count % 3), b"x" * FRAME)
    peer.expect_connection_error(FLOW_CONTROL)


def test_unread_bytes_of_all_streams_are_bounded(connect: Any) -> None:
    """Behind the bound the connection's window shrinks; what is read, reset or answered gives it back."""
    peer = connect(max_unread_size=262144, initial_connection_window_size=65536)
    window = 65536
    sent = 0
    for stream_id in range(1, 41, 2):
        peer.post(stream_id)
        size = min(FRAME, window)
        if size:
            peer.data(stream_id, b"x" * size)
        sent += size
        window += updates(peer).get(0, 0) - size
    assert window == 0
    assert sent <= 262144
    peer.send(RstStreamFrame(1, error_code=8))
    peer.respond(3)
    peer.engine.consume(5, FRAME, peer.now)
    assert updates(peer)[0] >= 2 * FRAME


def test_a_large_connection_window_is_kept(connect: Any) -> None:
    """One that is larger than what may be unread at most otherwise."""
    size = 2 * 65536
    peer = connect(
        max_unread_size=32768, initial_connection_window_size=size, initial_stream_window_size=2 * size
    )
    peer.post(1)
    window = size
    for _ in range(16):
        peer.data(1, b"x" * FRAME)
        peer.engine.consume(1, FRAME, peer.now)
        window += updates(peer).get(0, 0) - FRAME
    assert window >= size // 2


def test_a_small_window_counts_only_when_acknowledged(connect: Any) -> None:
    """RFC 9113 §6.9.2: until then the peer may use the default."""
    peer = connect(initial_stream_window_size=10)
    engine = type(peer.engine)(peer.engine._parameters, peer.defaults, peer.now, secure=False)
    peer.engine = engine
    peer.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    peer.send(SettingsFrame(0, settings={}))
    peer.encoder = type(peer.encoder)()
    peer.post(1)
    peer.data(1, b"x" * 1000)
    peer.send(SettingsFrame(0, flags=["ACK"]))
    peer.data(1, b"x")
    peer.expect_stream_error(1, FLOW_CONTROL)
    peer.post(3)
    peer.data(3, b"x" * 10)
    peer.data(3, b"x")
    peer.expect_stream_error(3, FLOW_CONTROL)


def with_small_window(connect: Any) -> Any:
    """A peer that has sent 16 KB before it acknowledges a stream window of 1,000."""
    peer = connect(initial_stream_window_size=1000)
    peer.engine = type(peer.engine)(peer.engine._parameters, peer.defaults, peer.now, secure=False)
    peer.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    peer.send(SettingsFrame(0, settings={}))
    peer.encoder = type(peer.encoder)()
    peer.post(1)
    peer.data(1, b"x" * FRAME)
    return peer


def test_what_was_taken_before_a_small_window_was_acknowledged_is_given_back(connect: Any) -> None:
    """The peer counts all that it has sent against the small window: without more it could never send again."""
    peer = with_small_window(connect)
    peer.engine.consume(1, FRAME - 100, peer.now)
    given = updates(peer).get(1, 0)
    peer.send(SettingsFrame(0, flags=["ACK"]))
    given += updates(peer).get(1, 0)
    assert 1000 - FRAME + given == 900
    peer.engine.consume(1, 100, peer.now)
    peer.data(1, b"x" * 900)
    peer.expect_alive()


def test_the_end_needs_no_window(connect: Any) -> None:
    """RFC 9113 §6.9: an empty frame with END_STREAM may come whatever the window, which may be below zero."""
    peer = with_small_window(connect)
    peer.send(SettingsFrame(0, flags=["ACK"]))
    peer.data(1, b"", end=True)
    peer.expect_alive()
    (last,) = [event for event in peer.events() if isinstance(event, Data)][-1:]
    assert last.end_stream


def test_padding_is_given_back(connect: Any) -> None:
    peer = connect(initial_stream_window_size=65535)
    peer.post(1)
    for _ in range(400):
        peer.send(DataFrame(1, b"x", pad_length=255, flags=["PADDED"]))
        peer.engine.consume(1, 1, peer.now)
    assert peer.engine.closing.name == "OPEN"
    assert updates(peer)[1] > 65535


def test_many_tiny_frames_are_gathered(peer: Any) -> None:
    """A byte per frame must not make an object per byte."""
    peer.post(1)
    for index in range(1000):
        peer.data(1, b"%d" % (index % 10))
    peer.send(peer.headers(1, [("x", "y")], "END_STREAM"))
    first = [event for event in peer.events() if isinstance(event, Data)]
    assert len(first) < 50
    peer.engine.consume(1, sum(len(event.data) for event in first), peer.now)
    rest, trailers = peer.events()
    assert isinstance(rest, Data)
    assert b"".join(event.data for event in [*first, rest]) == b"0123456789" * 100
    assert isinstance(trailers, Trailers)
    peer.engine.consume(1, len(rest.data), peer.now)
    assert peer.events() == []


def test_gathered_data_keeps_the_end(peer: Any) -> None:
    peer.post(1)
    for _ in range(40):
        peer.data(1, b"x")
    peer.data(1, b"", end=True)
    first = [event for event in peer.events() if isinstance(event, Data)]
    peer.engine.consume(1, len(first), peer.now)
    (rest,) = peer.events()
    assert (rest.data, rest.end_stream) == (b"x" * (40 - len(first)), True)


# ---- sending


def test_a_window_of_one(connect: Any) -> None:
    """h2spec 6.5.3, 6.9.1, 6.9.2: frames as small as the window, and more when it grows."""
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1})
    peer.get(1)
    peer.respond(1, b"hello")
    assert peer.body(1, peer.frames()) == b"h"
    peer.send(WindowUpdateFrame(1, window_increment=2))
    assert peer.body(1, peer.frames()) == b"el"
    peer.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2}))
    assert peer.body(1, peer.frames()) == b"l"
    peer.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}))  # the window is now -2
    peer.send(WindowUpdateFrame(1, window_increment=2))
    assert peer.body(1, peer.frames()) == b""
    peer.send(WindowUpdateFrame(1, window_increment=1))
    (last,) = peer.frames()
    assert (last.data, "END_STREAM" in last.flags) == (b"o", True)


def test_the_connection_window_is_obeyed(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**20})
    peer.get(1)
    peer.get(3)
    peer.respond(1, b"x" * 100000)
    assert len(peer.body(1, peer.frames())) == 65535
    # A response without a body needs no window.
    peer.respond(3, b"")
    assert "END_STREAM" in peer.frames()[0].flags
    peer.send(WindowUpdateFrame(0, window_increment=10**6))
    assert len(peer.body(1, peer.frames())) == 100000 - 65535


def test_an_end_that_waits_behind_an_empty_connection_window(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**20})
    peer.get(1)
    peer.get(3)
    peer.engine.send_head(3, 200, [], peer.now)
    peer.engine.send_data(3, b"now", False, peer.now)
    peer.frames()
    peer.respond(1, b"x" * 100000)
    peer.frames()
    peer.engine.send_trailers(3, [(b"a", b"b")], peer.now)
    (trailers,) = peer.frames()
    assert trailers.stream_id == 3


def test_high_and_low_water(connect: Any) -> None:
    peer = connect()
    peer.get(1)
    peer.events()
    peer.engine.send_head(1, 200, [], peer.now)
    peer.engine.set_transport_writable(False, peer.now)
    while peer.engine.can_send(1):
        peer.engine.send_data(1, b"x" * 10000, False, peer.now)
    assert len(peer.body(1, peer.frames())) == 0
    assert peer.events() == []
    peer.engine.set_transport_writable(True, peer.now)
    assert len(peer.body(1, peer.frames())) == 65535
    assert [type(event) for event in peer.events()] == [Writable]
    assert peer.engine.can_send(1)


def test_all_streams_together_hold_a_bounded_amount(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}, max_unsent_size=262144)
    for stream_id in range(1, 201, 2):
        peer.get(stream_id)
        peer.engine.send_head(stream_id, 200, [], peer.now)
        while peer.engine.can_send(stream_id):
            peer.engine.send_data(stream_id, b"x" * 8192, False, peer.now)
    assert peer.engine._unsent < 262144 + 65536 + 100 * (16384 + 8192)
    peer.events()
    peer.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**20}))
    peer.send(WindowUpdateFrame(0, window_increment=2**30))
    peer.output()
    assert len([event for event in peer.events() if isinstance(event, Writable)]) == 100
    assert peer.engine._unsent == 0


def test_output_comes_in_bounded_pieces(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**30})
    peer.send(WindowUpdateFrame(0, window_increment=2**30))
    peer.get(1)
    peer.respond(1, b"x" * 10**6)
    pieces = []
    while piece := peer.engine.data_to_send():
        pieces.append(len(piece))
    assert max(pieces) < 200000
    assert sum(pieces) > 10**6


def test_nothing_is_framed_while_the_transport_is_full(peer: Any) -> None:
    peer.get(1)
    peer.get(3)
    peer.engine.set_transport_writable(False, peer.now)
    peer.respond(1, b"a" * 20000)
    peer.respond(3, b"b" * 100)
    frames = peer.frames()
    assert peer.of_type(DataFrame, frames) == []
    peer.engine.set_transport_writable(True, peer.now)
    assert [frame.stream_id for frame in peer.frames()] == [1, 3, 1]


# ---- push


def test_push(peer: Any) -> None:
    peer.get(1)
    peer.events()
    peer.engine.send_head(1, 200, [], peer.now)
    promised = peer.engine.push(1, "GET", b"/style.css?v=1", [(b"Accept", b"text/css")], peer.now)
    assert promised == 2
    peer.engine.send_data(1, b"", True, peer.now)
    (request,) = peer.events()
    assert isinstance(request, Request)
    assert (request.stream_id, request.method, request.raw_path, request.query) == (
        2,
        "GET",
        b"/style.css",
        b"v=1",
    )
    assert request.fields == [(b"host", b"example.org"), (b"accept", b"text/css")]
    assert request.end_stream
    peer.respond(2, b"css")
    frames = peer.frames()
    assert [type(frame) for frame in frames] == [
        HeadersFrame,
        PushPromiseFrame,
        DataFrame,
        HeadersFrame,
        DataFrame,
    ]
    peer.fields(frames[0])
    assert frames[1].promised_stream_id == 2
    assert peer.decoder.decode(frames[1].data)[0] == (":method", "GET")
    assert peer.body(2, frames) == b"css"
    assert peer.engine.is_idle


def test_a_push_that_the_peer_does_not_want(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.ENABLE_PUSH: 0})
    peer.get(1)
    assert peer.engine.push(1, "GET", b"/", [], peer.now) is None
    peer = connect(settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 1})
    peer.get(1)
    assert peer.engine.push(1, "GET", b"/", [], peer.now) == 2
    assert peer.engine.push(1, "GET", b"/", [], peer.now) is None
    assert peer.engine.push(2, "GET", b"/", [], peer.now) is None
    assert peer.engine.push(9, "GET", b"/", [], peer.now) is None
    peer.send(RstStreamFrame(2, error_code=8))
    assert peer.engine.push(1, "HEAD", b"/", [], peer.now) == 4


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [("POST", b"/", []), ("GET", b"style.css", []), ("GET", b"/ x", []), ("GET", b"/", [(b"a", b"b\n")])],
)
def test_an_invalid_push(method: str, path: bytes, fields: Any, peer: Any) -> None:
    peer.get(1)
    with pytest.raises(LocalProtocolError):
        peer.engine.push(1, method, path, fields, peer.now)
    assert peer.frames() == []
