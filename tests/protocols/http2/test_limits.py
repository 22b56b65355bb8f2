"""What a peer may not do too much of, and how HTTP/1.1 hands over."""

from __future__ import annotations

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

from hypercorn.protocols.engine import Closing, GraveFault
from hypercorn.protocols.events import Data, Refused, Request, SwitchToHTTP2

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")]
REFUSED, CALM = 7, 11
LAST = 2**31 - 1
FRAME = 16384


# ---- streams at once


def test_too_many_streams_are_refused(connect: Any) -> None:
    peer = connect(max_concurrent_streams=2)
    for stream_id in (1, 3, 5):
        peer.get(stream_id)
    assert [request.stream_id for request in peer.requests()] == [1, 3]
    peer.expect_stream_error(5, REFUSED)
    peer.respond(1)
    peer.get(7)
    assert [request.stream_id for request in peer.requests()] == [7]


def test_streams_that_the_peer_reset_count_while_their_exchange_runs(connect: Any) -> None:
    peer = connect(max_concurrent_streams=2)
    for stream_id in (1, 3):
        peer.get(stream_id)
        peer.send(RstStreamFrame(stream_id, error_code=8))
    peer.get(5)
    assert [request.stream_id for request in peer.requests()] == [1, 3]
    peer.engine.exchange_ended(1, peer.now)
    assert [request.stream_id for request in peer.requests()] == [5]
    peer.engine.send_data(3, b"", True, peer.now)  # it ends its response, to nobody
    peer.get(7)
    assert [request.stream_id for request in peer.requests()] == [7]


def test_an_answer_that_waits_for_its_window_leaves_nothing_running_when_it_is_reset(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}, max_concurrent_streams=1)
    peer.get(1)
    peer.respond(1, b"x")
    peer.engine.exchange_ended(1, peer.now)  # long before the peer has read anything
    peer.send(RstStreamFrame(1, error_code=8))
    peer.get(3)
    assert [request.stream_id for request in peer.requests()] == [1, 3]


def test_neither_does_a_tunnel_whose_application_has_left_before_its_peer(connect: Any) -> None:
    peer = connect(max_concurrent_streams=1)
    peer.send(peer.headers(1, [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]]))
    peer.engine.send_head(1, 200, [], peer.now)
    peer.engine.send_data(1, b"a Close frame", False, peer.now)
    peer.engine.exchange_ended(1, peer.now)
    peer.send(RstStreamFrame(1, error_code=8))  # instead of a Close frame of its own
    peer.get(3)
    assert [request.stream_id for request in peer.requests()] == [1, 3]


def test_pushes_that_the_peer_gives_back_take_no_place_of_its_requests(connect: Any) -> None:
    peer = connect(max_concurrent_streams=2)
    peer.get(1)
    for _ in range(2):
        promised = peer.engine.push(1, "GET", b"/style.css", [], peer.now)
        peer.send(RstStreamFrame(promised, error_code=8))
    peer.respond(1)
    peer.frames()
    peer.get(3)
    peer.get(5)
    assert [request.stream_id for request in peer.requests()] == [1, 2, 4, 3, 5]
    assert peer.engine.push(3, "GET", b"/style.css", [], peer.now) is None  # two of them run, all the same
    peer.engine.exchange_ended(2, peer.now)
    assert peer.engine.push(3, "GET", b"/style.css", [], peer.now) == 6


def test_an_exchange_that_never_reports_its_end_is_forgotten(connect: Any) -> None:
    peer = connect(max_concurrent_streams=1)
    peer.get(1)
    peer.send(RstStreamFrame(1, error_code=8))
    peer.now += 61
    peer.get(3)
    assert peer.requests()[-1].stream_id == 3


# ---- floods: each yields one step of an attack; all must end in ENHANCE_YOUR_CALM


def rapid_reset(peer: Any, index: int) -> None:
    peer.get(2 * index + 1)
    peer.send(RstStreamFrame(2 * index + 1, error_code=8))
    peer.engine.exchange_ended(2 * index + 1, peer.now)


def made_you_reset_by_window(peer: Any, index: int) -> None:
    peer.get(2 * index + 1)
    peer.send(WindowUpdateFrame(2 * index + 1, window_increment=LAST))
    peer.engine.exchange_ended(2 * index + 1, peer.now)


def made_you_reset_by_data(peer: Any, index: int) -> None:
    peer.get(2 * index + 1)
    peer.data(2 * index + 1, b"x")
    peer.engine.exchange_ended(2 * index + 1, peer.now)


def made_you_reset_by_priority(peer: Any, index: int) -> None:
    peer.get(2 * index + 1)
    peer.send(PriorityFrame(2 * index + 1, depends_on=2 * index + 1, stream_weight=1))
    peer.engine.exchange_ended(2 * index + 1, peer.now)


def malformed_requests(peer: Any, index: int) -> None:
    peer.send(peer.headers(2 * index + 1, [("X", "y")], "END_STREAM"))


def refused_requests(peer: Any, index: int) -> None:
    peer.get(2 * index + 1)


def oversize_requests(peer: Any, index: int) -> None:
    peer.send(peer.headers(2 * index + 1, [*GET, ("x", "y" * 4096)], "END_STREAM"))


def pings(peer: Any, index: int) -> None:
    peer.send(PingFrame(0, opaque_data=b"%08d" % index))


def settings(peer: Any, index: int) -> None:
    peer.send(SettingsFrame(0, settings={3: index}))


def priorities(peer: Any, index: int) -> None:
    peer.send(PriorityFrame(2 * (index % 500) + 1, depends_on=0, stream_weight=index % 256))


def priority_updates(peer: Any, index: int) -> None:
    peer.send_bytes(b"\0\0\x07\x10\0\0\0\0\0" + (2 * index + 1).to_bytes(4, "big") + b"u=1")


def window_updates(peer: Any, index: int) -> None:
    peer.send(WindowUpdateFrame(0, window_increment=1))


def empty_data(peer: Any, index: int) -> None:
    if not index:
        peer.post(1)
    peer.data(1, b"")


def empty_data_after_a_reset(peer: Any, index: int) -> None:
    if not index:
        peer.get(1)
        peer.data(1, b"")
    peer.data(1, b"")


def tiny_data_after_a_reset(peer: Any, index: int) -> None:
    if not index:
        peer.get(1)
        peer.data(1, b"")
    peer.data(1, b"x")


def padding_only(peer: Any, index: int) -> None:
    if not index:
        peer.post(1)
    peer.send(DataFrame(1, b"", pad_length=10, flags=["PADDED"]))


def dribble(peer: Any, index: int) -> None:
    """CVE-2019-9511: a large response is taken byte by byte."""
    if not index:
        peer.get(1)
        peer.respond(1, b"x" * 10**6)
    peer.output()
    peer.send(WindowUpdateFrame(1, window_increment=1))


def resets_of_closed(peer: Any, index: int) -> None:
    if not index:
        peer.get(1)
        peer.respond(1)
    peer.send(RstStreamFrame(1, error_code=8))


def unknown_frames(peer: Any, index: int) -> None:
    peer.send_bytes(b"\0\0\0\x77\0\0\0\0\0")


def goaways(peer: Any, index: int) -> None:
    if not index:
        peer.get(1)
    peer.send(GoAwayFrame(0, last_stream_id=0))


FLOODS: list[Callable[[Any, int], None]] = [
    rapid_reset,
    made_you_reset_by_window,
    made_you_reset_by_data,
    made_you_reset_by_priority,
    malformed_requests,
    refused_requests,
    oversize_requests,
    pings,
    settings,
    priorities,
    priority_updates,
    window_updates,
    empty_data,
    empty_data_after_a_reset,
    tiny_data_after_a_reset,
    padding_only,
    dribble,
    resets_of_closed,
    unknown_frames,
    goaways,
]


@pytest.mark.parametrize("attack", FLOODS, ids=lambda attack: attack.__name__)
def test_floods_end_the_connection(attack: Any, connect: Any) -> None:
    peer = connect(
        settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0} if attack is dribble else None,
        max_header_list_size=4096,
        max_resets=100,
        max_control_frames=300,
    )
    for index in range(700):
        attack(peer, index)
        if peer.engine.closing is not Closing.OPEN:
            break
    peer.expect_connection_error(CALM)


@pytest.mark.parametrize("attack", [rapid_reset, pings], ids=lambda attack: attack.__name__)
def test_the_same_slowly_is_no_attack(attack: Any, connect: Any) -> None:
    peer = connect(
        max_resets=100, max_control_frames=300, keep_alive_timeout=10**6, keep_alive_max_requests=10**6
    )
    for index in range(700):
        peer.now += 0.031 if attack is rapid_reset else 0.04
        attack(peer, index)
        peer.output()
    peer.expect_alive()


@pytest.mark.parametrize("attack", [rapid_reset, made_you_reset_by_window, made_you_reset_by_data])
def test_not_so_slowly_is_one(attack: Any, connect: Any) -> None:
    peer = connect(max_resets=100, keep_alive_timeout=10**6, keep_alive_max_requests=10**6)
    for index in range(700):
        peer.now += 0.025
        attack(peer, index)
        if peer.engine.closing is not Closing.OPEN:
            break
    peer.expect_connection_error(CALM)


def test_how_many_resets_a_connection_has_at_first(connect: Any) -> None:
    peer = connect(keep_alive_max_requests=0)
    for index in range(1000):
        rapid_reset(peer, index)
        peer.output()
    peer.expect_alive()
    rapid_reset(peer, 1000)
    peer.expect_connection_error(CALM)


def open_and_reset(peer: Any, seconds: float, end: Callable[[Any, int], None]) -> None:
    """As many streams as may be open, again and again; each for `seconds`."""
    for first in range(1, 4001, 200):
        for stream_id in range(first, first + 200, 2):
            peer.get(stream_id)
        peer.now += seconds
        for stream_id in range(first, first + 200, 2):
            if peer.engine.closing is Closing.OPEN:
                end(peer, stream_id)
        for stream_id in range(first, first + 200, 2):
            peer.engine.exchange_ended(stream_id, peer.now)


def cancel(peer: Any, stream_id: int) -> None:
    peer.send(RstStreamFrame(stream_id, error_code=8))


def break_window(peer: Any, stream_id: int) -> None:
    peer.send(WindowUpdateFrame(stream_id, window_increment=LAST))


@pytest.mark.parametrize("end", [cancel, break_window])
def test_resets_of_streams_that_were_open_for_long_are_no_attack(end: Any, connect: Any) -> None:
    """Deadlines of a client: there cannot be many a second."""
    peer = connect(max_resets=50, keep_alive_max_requests=0)
    open_and_reset(peer, 0.25, end)
    peer.frames()
    peer.expect_alive()


@pytest.mark.parametrize("end", [cancel, break_window])
def test_of_those_that_were_not_they_are(end: Any, connect: Any) -> None:
    peer = connect(max_resets=50, keep_alive_max_requests=0)
    open_and_reset(peer, 0.24, end)
    peer.expect_connection_error(CALM)


def test_a_flood_for_which_requests_are_cut_is_for_operators(connect: Any) -> None:
    peer = connect(max_resets=5)
    peer.get(1)
    for index in range(1, 7):
        rapid_reset(peer, index)
    assert isinstance(peer.engine.fault, GraveFault)
    assert peer.engine.fault == "too many streams reset; requests that were open: 1"
    peer = connect(max_resets=5)
    for index in range(6):
        rapid_reset(peer, index)
    assert not isinstance(peer.engine.fault, GraveFault)


def test_resets_among_served_requests_are_no_attack(connect: Any) -> None:
    peer = connect(max_resets=100, keep_alive_max_requests=10**6)
    for stream_id in range(1, 2001, 4):
        peer.get(stream_id)
        peer.respond(stream_id)
        peer.get(stream_id + 2)
        peer.send(RstStreamFrame(stream_id + 2, error_code=8))
        peer.engine.exchange_ended(stream_id + 2, peer.now)
        peer.output()
    peer.expect_alive()


def test_a_client_that_updates_windows_after_each_frame_is_no_attack(connect: Any) -> None:
    peer = connect(max_control_frames=300)
    peer.get(1)
    peer.engine.send_head(1, 200, [], peer.now)
    for _ in range(2000):
        peer.engine.send_data(1, b"tick", False, peer.now)
        assert peer.body(1, peer.frames()) == b"tick"
        peer.send(WindowUpdateFrame(0, window_increment=4), WindowUpdateFrame(1, window_increment=4))
    peer.expect_alive()


def test_a_proxy_that_returns_windows_in_odd_pieces_is_no_attack(connect: Any) -> None:
    """HAProxy, for each 16 KB: most of it and then the rest, on the stream and on the connection."""
    peer = connect(max_control_frames=300)
    peer.get(1)
    peer.engine.send_head(1, 200, [], peer.now)
    for _ in range(500):
        peer.engine.send_data(1, b"x" * FRAME, False, peer.now)
        peer.output()
        for part in (FRAME - 57, 57):
            for stream_id in (1, 0):
                peer.send(WindowUpdateFrame(stream_id, window_increment=part))
            peer.output()
    peer.expect_alive()


def test_endless_header_blocks(connect: Any) -> None:
    """CVE-2024-27316: by size, by number, and empty."""
    for part in (b"x" * 16384, b"x", b""):
        peer = connect(max_header_list_size=65536)
        peer.send(HeadersFrame(1, b""))
        for _ in range(80):
            if peer.engine.closing is Closing.OPEN:
                peer.send(ContinuationFrame(1, part))
        peer.expect_connection_error(CALM)


def in_frames(stream_id: int, block: bytes) -> list[Frame]:
    """A request without a body, in frames of 16 KiB."""
    first, *others = [block[start : start + 16384] for start in range(0, len(block), 16384)]
    frames: list[Frame] = [HeadersFrame(stream_id, first, flags=["END_STREAM"])]
    frames += [ContinuationFrame(stream_id, part) for part in others]
    frames[-1].flags.add("END_HEADERS")
    return frames


def test_a_header_block_somewhat_too_large_is_answered(connect: Any) -> None:
    peer = connect(max_header_list_size=65536)
    peer.send(*in_frames(1, peer.block(GET) + (b"\x00\x01x\x7f\x81\x3e" + b"y" * 8064) * 12))
    (event,) = peer.events()
    assert isinstance(event, Refused)
    assert event.status == 431
    peer.expect_alive()


def test_not_again_and_again(connect: Any) -> None:
    """Reading such a block costs some milliseconds, and as many requests as a connection may have would be many."""
    peer = connect(max_header_list_size=4096, keep_alive_max_requests=0)
    for index in range(60):
        if peer.engine.closing is not Closing.OPEN:
            break
        oversize_requests(peer, index)
    peer.expect_connection_error(CALM)


def test_a_large_limit_allows_large_blocks(connect: Any) -> None:
    peer = connect(max_header_list_size=2 << 20)
    peer.send(*in_frames(1, peer.block(GET) + (b"\x00\x01x\x7f\x81\x3e" + b"y" * 8064) * 200))
    assert len(peer.requests()[0].fields) == 201


def test_an_hpack_bomb(connect: Any) -> None:
    """Each byte is a reference to one large entry: no memory, and not much time."""
    peer = connect()
    big = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000
    peer.send(HeadersFrame(1, big + b"\xbe" * 200, flags=["END_HEADERS", "END_STREAM"]))
    (event,) = peer.events()
    assert isinstance(event, Refused)
    assert event.status == 431
    peer.expect_alive()
    peer.send(HeadersFrame(3, b"\xbe" * 300, flags=["END_HEADERS", "END_STREAM"]))
    peer.expect_connection_error(CALM)


def test_answers_wait_for_a_peer_that_does_not_read(connect: Any) -> None:
    peer = connect(max_control_frames=10**6)
    peer.engine.set_transport_writable(False, peer.now)
    for index in range(2000):
        if not peer.engine.wants_read:
            break
        pings(peer, index)
    assert index < 600
    peer.engine.set_transport_writable(True, peer.now)
    assert peer.engine.wants_read
    assert len(peer.frames()) == index


def test_what_is_remembered_is_bounded(connect: Any) -> None:
    peer = connect(max_resets=10**6, keep_alive_max_requests=0)
    for stream_id in range(1, 2201, 2):
        peer.post(stream_id)
        peer.respond(stream_id, b"no", 200 + stream_id % 300)
    engine = peer.engine
    assert len(engine._reset_by_us) == 1000
    assert len(engine._heads) <= 32
    assert len(engine._blocks._known) <= 32
    assert len(engine._abandoned) == 0


# ---- upgrade from HTTP/1.1


def upgraded(peer: Any, payload: bytes, trailing: bytes = b"") -> Any:
    fields = [(b"user-agent", b"x"), (b"upgrade", b"h2c"), (b"http2-settings", b"AAMAAABk"), (b"host", b"h")]
    request = Request(
        1, "1.1", "GET", b"/up", b"q", [*fields, (b"connection", b"upgrade, http2-settings")], True
    )
    switch = SwitchToHTTP2(request, payload, trailing)
    peer.engine = type(peer.engine)(
        peer.engine._parameters, peer.defaults, peer.now, upgrade=switch, secure=False
    )
    return peer


def test_upgrade(connect: Any) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
    peer = upgraded(connect(), b"\0\x04\0\0\0\x05", preface)
    (request,) = peer.requests()
    assert (request.stream_id, request.http_version, request.end_stream) == (1, "2", True)
    assert request.fields == [(b"host", b"h"), (b"user-agent", b"x")]
    peer.respond(1, b"hello world")
    frames = peer.frames()
    assert [type(frame) for frame in frames[:1]] == [SettingsFrame]
    assert peer.body(1, frames) == b"hello"
    peer.send(WindowUpdateFrame(1, window_increment=100))
    assert peer.body(1, peer.frames()) == b" world"
    peer.get(3)
    assert len(peer.requests()) == 1


def test_data_after_an_upgrade_waits_for_the_preface(connect: Any) -> None:
    """What comes right behind the 101 has to fit into the client's buffer for that."""
    peer = upgraded(connect(), b"")
    peer.requests()
    peer.respond(1, b"x" * 50_000)
    frames = peer.frames()
    assert HeadersFrame in map(type, frames)
    assert DataFrame not in map(type, frames)
    peer.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert not peer.frames()
    peer.send(SettingsFrame(0))
    assert len(peer.body(1, peer.frames())) == 50_000


@pytest.mark.parametrize("payload", [b"\0\x04\0", b"\0\x02\0\0\0\x09"])
def test_an_upgrade_with_invalid_settings(payload: bytes, connect: Any) -> None:
    peer = upgraded(connect(), payload)
    assert peer.events() == []
    assert peer.engine.closing is Closing.AFTER_FLUSH


def test_prior_knowledge_by_way_of_http1(connect: Any) -> None:
    peer = connect()
    block = peer.block(GET)
    trailing = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
        + HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"]).serialize()
    )
    switch = SwitchToHTTP2(None, b"", trailing)
    peer.engine = type(peer.engine)(
        peer.engine._parameters, peer.defaults, peer.now, upgrade=switch, secure=False
    )
    assert [request.stream_id for request in peer.requests()] == [1]


def test_data_for_an_exchange_that_failed_is_dropped(peer: Any) -> None:
    peer.post(1)
    peer.engine.reset_stream(1, peer.now)
    peer.events()
    peer.data(1, b"x" * 1000, end=True)
    assert [event for event in peer.events() if isinstance(event, Data)] == []
    peer.frames()
    peer.expect_alive()
