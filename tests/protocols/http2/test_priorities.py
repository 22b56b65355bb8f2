"""Who comes first when several responses wait: RFC 7540's dependencies and weights, RFC 9218's urgency."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hyperframe.frame import (
    DataFrame,
    PriorityFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from hypercorn.protocols.http2.dependencies import DependencyTree

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")]
PROTOCOL, FLOW_CONTROL = 1, 3
FRAME = 16384


def order(peer: Any) -> list[int]:
    """The streams of the DATA frames that come out, in order."""
    return [frame.stream_id for frame in peer.of_type(DataFrame) if frame.data]


@pytest.fixture
def wide(connect: Any) -> Any:
    """A peer whose windows are no limit, and whose transport is full for now."""
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**30})
    peer.send(WindowUpdateFrame(0, window_increment=2**30))
    peer.frames()
    peer.engine.set_transport_writable(False, peer.now)
    return peer


def respond_large(peer: Any, *stream_ids: int, frames: int = 3) -> None:
    for stream_id in stream_ids:
        peer.respond(stream_id, b"x" * FRAME * frames)
    peer.engine.set_transport_writable(True, peer.now)


def test_equals_take_turns(wide: Any) -> None:
    for stream_id in (1, 3, 5):
        wide.get(stream_id)
    respond_large(wide, 1, 3, 5)
    assert order(wide) == [1, 3, 5] * 3


def test_urgency(wide: Any) -> None:
    wide.get(1, priority="u=5")
    wide.get(3, priority="u=1")
    wide.get(5)
    respond_large(wide, 1, 3, 5)
    assert order(wide) == [3, 3, 3, 5, 5, 5, 1, 1, 1]


def test_incremental(wide: Any) -> None:
    wide.get(1, priority="u=3, i")
    wide.get(3, priority="i;x=1,u=3")
    respond_large(wide, 1, 3)
    assert order(wide) == [1, 3] * 3


def test_incremental_beside_whole(wide: Any) -> None:
    """Neither kind starves the other; of those to be sent whole the first is served first."""
    wide.get(1, priority="i")
    wide.get(3, priority="u=3")
    wide.get(5, priority="u=3")
    respond_large(wide, 5, 3, 1)
    served = order(wide)
    assert served[:6] in ([1, 3] * 3, [3, 1] * 3)
    assert served[6:] == [5, 5, 5]


def test_priority_update(wide: Any) -> None:
    wide.get(1, priority="u=1")
    wide.send_bytes(b"\0\0\x07\x10\0\0\0\0\0\0\0\0\x03u=0")  # before the stream
    wide.send_bytes(b"\0\0\x07\x10\0\0\0\0\0\0\0\0\x01u=7")
    wide.get(3, priority="u=6")
    respond_large(wide, 1, 3)
    assert order(wide) == [3, 3, 3, 1, 1, 1]


def test_nonsense_priority_is_ignored(wide: Any) -> None:
    wide.get(1, priority="u=9, q, i=3, =")
    wide.get(3, priority="u=2")
    respond_large(wide, 1, 3)
    assert order(wide) == [3, 3, 3, 1, 1, 1]


def test_dependencies(wide: Any) -> None:
    wide.get(1)
    wide.get(3)
    wide.get(5)
    wide.send(
        PriorityFrame(1, depends_on=5, stream_weight=15), PriorityFrame(5, depends_on=3, stream_weight=15)
    )
    respond_large(wide, 1, 3, 5)
    assert order(wide) == [3, 3, 3, 5, 5, 5, 1, 1, 1]


def test_a_dependency_on_a_dependent(wide: Any) -> None:
    """RFC 7540 §5.3.3: the new parent moves up first, and takes along what depends on it."""
    for stream_id in (1, 3, 5):
        wide.get(stream_id)
    wide.send(
        PriorityFrame(3, depends_on=1, stream_weight=15),
        PriorityFrame(5, depends_on=3, stream_weight=15),
        PriorityFrame(1, depends_on=3, stream_weight=15),
    )
    respond_large(wide, 1, 3, 5)
    served = order(wide)
    assert served[:3] == [3, 3, 3]
    assert sorted(served[3:]) == [1, 1, 1, 5, 5, 5]


def test_weights(wide: Any) -> None:
    wide.send(wide.headers(1, GET, "END_STREAM", "PRIORITY", depends_on=0, stream_weight=31, exclusive=False))
    wide.send(wide.headers(3, GET, "END_STREAM", "PRIORITY", depends_on=0, stream_weight=7, exclusive=False))
    respond_large(wide, 1, 3, frames=8)
    served = order(wide)
    assert served[:10].count(1) == 8


def test_exclusive_dependency(wide: Any) -> None:
    wide.get(1)
    wide.send(wide.headers(3, GET, "END_STREAM", "PRIORITY", depends_on=0, stream_weight=15, exclusive=True))
    respond_large(wide, 1, 3)
    assert order(wide) == [3, 3, 3, 1, 1, 1]


def test_a_push_depends_on_the_stream_of_its_promise(wide: Any) -> None:
    wide.get(1)
    wide.send(PriorityFrame(1, depends_on=0, stream_weight=7))
    assert wide.engine.push(1, "GET", b"/style.css", [], wide.now) == 2
    respond_large(wide, 2, 1)
    assert order(wide) == [1, 1, 1, 2, 2, 2]


def test_idle_groups(wide: Any) -> None:
    """Streams may depend on idle ones, as nghttp2's and old Firefox's do."""
    wide.send(
        PriorityFrame(101, depends_on=0, stream_weight=199),
        PriorityFrame(103, depends_on=101, stream_weight=0),
    )
    wide.send(
        wide.headers(1, GET, "END_STREAM", "PRIORITY", depends_on=103, stream_weight=15, exclusive=False)
    )
    wide.send(
        wide.headers(3, GET, "END_STREAM", "PRIORITY", depends_on=101, stream_weight=15, exclusive=False)
    )
    respond_large(wide, 1, 3, frames=4)
    served = order(wide)
    assert sorted(served) == [1] * 4 + [3] * 4
    assert served[:4].count(3) >= 3


def test_urgency_replaces_dependencies(wide: Any) -> None:
    wide.get(1)
    wide.get(3)
    wide.send(PriorityFrame(1, depends_on=3, stream_weight=15))
    wide.get(5, priority="u=0")
    wide.send(PriorityFrame(5, depends_on=1, stream_weight=15))
    respond_large(wide, 1, 3, 5)
    assert order(wide)[:3] == [5, 5, 5]


def test_deep_and_wide_trees_do_no_harm(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**30}, max_control_frames=10**6)
    peer.send(WindowUpdateFrame(0, window_increment=2**30))
    for stream_id in range(1, 1001, 2):
        peer.send(
            PriorityFrame(stream_id + 2, depends_on=stream_id, stream_weight=0, exclusive=stream_id % 3 == 0)
        )
    for stream_id in range(999, 0, -2):
        peer.send(PriorityFrame(stream_id, depends_on=stream_id + 2, stream_weight=255))
    for stream_id in range(1, 201, 2):
        peer.get(stream_id)
        peer.engine.send_head(stream_id, 200, [], peer.now)
        peer.engine.send_data(stream_id, b"x" * 20000, True, peer.now)
    assert len(peer.output()) > 100 * 20000
    assert peer.engine.is_idle


def test_a_stalled_stream_does_not_stop_others(connect: Any) -> None:
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 20000})
    peer.get(1)
    peer.get(3)
    peer.send(WindowUpdateFrame(3, window_increment=10**6))
    peer.send(PriorityFrame(3, depends_on=1, stream_weight=15))
    peer.engine.set_transport_writable(False, peer.now)
    respond_large(peer, 1, 3)
    served = order(peer)
    assert served.count(1) == 2
    assert served.count(3) == 3  # 45,535 bytes of the connection's window are left
    peer.send(WindowUpdateFrame(0, window_increment=10**6))
    assert set(order(peer)) == {3}


def test_the_tree_forgets_when_it_is_full() -> None:
    tree = DependencyTree(8)
    for stream_id in range(1, 41, 2):
        tree.depend(stream_id, stream_id + 100, 16, False)
    tree.activate(1, [1])
    assert tree.next([1]) == 1
    for stream_id in range(3, 17, 2):
        tree.activate(stream_id, range(1, stream_id + 2, 2))
    for stream_id in range(5, 17, 2):
        tree.deactivate(stream_id)
    assert {tree.next([1, 3]) for _ in range(6)} == {1, 3}
    tree.deactivate(1)
    tree.deactivate(3)
    tree.deactivate(77)
    assert tree.next([]) is None
    tree.remove(1)
    tree.remove(77)


def test_signals_too_deep_are_dropped() -> None:
    tree = DependencyTree(200)
    for stream_id in range(1, 301, 2):
        tree.depend(stream_id + 2, stream_id, 16, False)
    tree.activate(301, [301])
    tree.depend(1, 301, 16, False)  # a loop, and deeper than the package looks
    tree.deactivate(301)
    tree.activate(1, [1])
    assert tree.next([1]) == 1


def test_a_tree_stays_a_tree() -> None:
    """Whatever streams are made to depend on those that depend on them: each stands in one place only."""
    tree = DependencyTree(200)
    streams = range(1, 61, 2)
    for stream_id in streams:
        tree.depend(stream_id, max(stream_id - 2, 0), 16, False)
        tree.activate(stream_id, streams)
    random = Random(1)
    for _ in range(500):
        stream_id, parent = random.sample(streams, 2)
        tree.depend(stream_id, parent, random.randint(1, 256), random.random() < 0.5)
        tree.activate(stream_id, streams)
        nodes = list(tree._tree._streams.values())
        places = sorted(child.stream_id for node in nodes for child in node.children)
        assert places == list(streams)
    for stream_id in streams[1:]:
        tree.deactivate(stream_id)
    assert tree.next(streams) == 1


def test_a_tree_that_is_planted_while_streams_wait(wide: Any) -> None:
    wide.get(1)
    wide.get(3)
    wide.respond(1, b"x" * FRAME * 3)
    wide.respond(3, b"x" * FRAME * 3)
    wide.send(PriorityFrame(1, depends_on=0, stream_weight=15))  # says nothing new
    wide.send(PriorityFrame(1, depends_on=3, stream_weight=15))
    wide.engine.set_transport_writable(True, wide.now)
    assert order(wide) == [3, 3, 3, 1, 1, 1]


def test_a_peer_without_dependencies(connect: Any) -> None:
    """SETTINGS_NO_RFC7540_PRIORITIES (RFC 9218 §2.1)."""
    peer = connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**20, 9: 1})
    peer.send(WindowUpdateFrame(0, window_increment=2**20))
    peer.get(1)
    peer.get(3)
    peer.send(PriorityFrame(1, depends_on=3, stream_weight=15))
    peer.engine.set_transport_writable(False, peer.now)
    respond_large(peer, 1, 3)
    assert order(peer) == [1, 1, 1, 3, 3, 3]


def test_a_peer_that_takes_back_that_it_has_no_dependencies(connect: Any) -> None:
    """RFC 9218 §2.1: the value of the first SETTINGS frame stays; it may be said again."""
    peer = connect(settings={9: 1})
    peer.send(SettingsFrame(0, settings={9: 1}), SettingsFrame(0, settings={3: 7}))
    peer.expect_alive()
    peer.send(SettingsFrame(0, settings={9: 0}))
    peer.expect_connection_error(PROTOCOL)


def test_early_priorities_are_bounded(wide: Any) -> None:
    for stream_id in range(1, 201, 2):
        wide.send_bytes(b"\0\0\x07\x10\0\0\0\0\0" + stream_id.to_bytes(4, "big") + b"u=7")
    assert len(wide.engine._early_priorities) == 64
    wide.get(99)
    wide.send_bytes(b"\0\0\x07\x10\0\0\0\0\0" + (201).to_bytes(4, "big") + b"u=0")
    wide.send_bytes(b"\0\0\x07\x10\0\0\0\0\0" + (203).to_bytes(4, "big") + b"u=0")
    wide.get(201)
    assert len(wide.engine._early_priorities) < 20
    respond_large(wide, 99, 201)
    assert order(wide) == [201] * 3 + [99] * 3


def test_two_priority_fields_count_together(wide: Any) -> None:
    wide.send(wide.headers(1, [*GET, ("priority", "u=5"), ("priority", "i")], "END_STREAM"))
    wide.get(3, priority="u=4")
    respond_large(wide, 1, 3)
    assert order(wide) == [3, 3, 3, 1, 1, 1]
