"""Messages and descriptors over a socket pair, whole and in pieces."""

from __future__ import annotations

import gc
import os
import resource
import socket
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercorn.arbiter.channel import Channel, ChannelError, decode, encode, open_line
from hypercorn.config.binds import parse_bind
from hypercorn.config.sockets import Listener
from hypercorn.config.supervision import (
    Adopt,
    Drain,
    Draining,
    DrainReason,
    Failed,
    Failure,
    Ready,
    Release,
    Retire,
)

MESSAGES = st.one_of(
    st.sampled_from([Ready(), Retire(), Draining()]),
    st.builds(Failed, st.sampled_from(Failure), st.text()),
    st.builds(Drain, st.sampled_from(DrainReason)),
    st.builds(Release, st.lists(st.integers(0, 2**31)).map(tuple)),
)


@settings(deadline=None)  # the machine may be busy
@given(MESSAGES)
def test_what_is_encoded_is_decoded(message: object) -> None:
    data, descriptors = encode(message)  # type: ignore[arg-type]
    assert descriptors == []
    assert decode(data[4:], deque()) == message


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"nonsense", b'{"type":"other"}', b'{"type":"drain","reason":"x"}',
             b'{"type":"release"}']
)  # fmt: skip
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(ChannelError):
        decode(body, deque())


def test_listeners_travel(tmp_path: object) -> None:
    ours, theirs = open_line()
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    listeners = tuple(
        Listener(key, sock, parse_bind("127.0.0.1:8000"), secure=key == 1, shared=False)
        for key, sock in enumerate(made)
    )
    addresses = [sock.getsockname() for sock in made]
    ours.send(Adopt(listeners[:2]))
    ours.send(Drain(DrainReason.REPLACE, (1, 2)))
    ours.send(Adopt(listeners[2:]))
    for sock in made:
        sock.close()
    (first, drain, second), is_open = theirs.receive()
    assert is_open
    assert drain == Drain(DrainReason.REPLACE, (1, 2))
    assert isinstance(first, Adopt)
    assert isinstance(second, Adopt)
    received = first.listeners + second.listeners
    assert [one.sock.getsockname() for one in received] == addresses
    assert [one.key for one in received] == [0, 1, 2]
    assert received[1].secure
    assert received[0].bind == listeners[0].bind
    assert not os.get_inheritable(received[0].sock.fileno())
    with socket.create_connection(addresses[2]):
        pass
    for one in received:
        one.sock.close()
    ours.close()
    theirs.close()


def test_messages_in_pieces() -> None:
    raw, other = socket.socketpair()
    line = Channel[Ready](other)  # type: ignore[type-var]
    data = b"".join(encode(message)[0] for message in (Ready(), Failed(Failure.STARTUP, "Grüße"), Retire()))
    heard: list[object] = []
    for index in range(len(data)):
        raw.send(data[index : index + 1])
        messages, is_open = line.receive()
        heard += messages
        assert is_open
    assert heard == [Ready(), Failed(Failure.STARTUP, "Grüße"), Retire()]
    raw.close()
    assert line.receive() == ([], False)
    line.close()


def test_last_words_come_with_the_end() -> None:
    ours, theirs = open_line()
    theirs.send(Failed(Failure.APPLICATION, "no module"))
    theirs.close()
    assert ours.receive() == ([Failed(Failure.APPLICATION, "no module")], False)
    ours.close()


def test_a_full_socket_makes_messages_wait() -> None:
    ours, theirs = open_line()
    ours.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for number in range(2000):
        ours.send(Release((number,)))
    heard: list[object] = []
    while len(heard) < 2000:
        heard += theirs.receive()[0]
        ours.flush()
    assert heard == [Release((number,)) for number in range(2000)]
    ours.close()
    theirs.close()


@pytest.mark.parametrize("is_known", [False, True])
def test_talking_to_the_gone_is_no_error_and_leaks_nothing(is_known: bool) -> None:
    ours, theirs = open_line()
    theirs.close()
    if is_known:
        assert ours.receive() == ([], False)
    gc.collect()  # or what earlier tests have left would go with the second
    before = len(os.listdir("/proc/self/fd"))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        ours.send(Adopt((Listener(1, sock, parse_bind("127.0.0.1"), False, False),)))
        ours.send(Drain(DrainReason.QUICK))
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    ours.close()


def test_without_a_descriptor_left_other_messages_still_arrive() -> None:
    """Neither side may fail: it goes on once descriptors are free again."""
    ours, theirs = open_line()
    sock = socket.create_server(("127.0.0.1", 0))
    listener = Listener(1, sock, parse_bind("127.0.0.1:8000"), secure=False, shared=False)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(free := os.dup(sock.fileno()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        ours.send(Adopt((listener,)))
        ours.send(Drain(DrainReason.REPLACE))
        received = theirs.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert received == ([Adopt(()), Drain(DrainReason.REPLACE)], True)
    sock.close()
    ours.close()
    theirs.close()
