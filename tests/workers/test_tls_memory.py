"""Connections that share the memory of their loop, whatever becomes of any of them: none hears of another."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
import trustme
from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from hypercorn.workers.tls import TLSError, TLSLayer, TLSMemory

AUTHORITY = trustme.CA()
SERVER = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
AUTHORITY.issue_cert("example.test").configure_cert(SERVER)
SERVER.options |= ssl.OP_NO_RENEGOTIATION

VERSIONS = strategies.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
SIZES = strategies.sampled_from([1, 60, 16383, 16384, 16385, 50_000])
CUTS = strategies.sampled_from([1, 5, 700, 16406, 81920])


class Peer:
    """A client on memory of its own, and what is on its way in both directions."""

    def __init__(self, version: ssl.TLSVersion, server: TLSLayer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.minimum_version = context.maximum_version = version
        AUTHORITY.configure_trust(context)
        self.server = server
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self.is_connected = self.is_broken = False
        self.to_server, self.to_client = b"", b""
        #: What was said and what of it was heard, in both directions.
        self.asked = self.answered = self.heard_by_server = self.heard_by_client = b""

    def move(self) -> None:
        """Everything that the client can do now."""
        self._incoming.write(self.to_client)
        self.to_client = b""
        with suppress(ssl.SSLWantReadError):
            if not self.is_connected:
                self._tls.do_handshake()
                self.is_connected = True
            while piece := self._tls.read(65536):
                self.heard_by_client += piece
        self.to_server += self._outgoing.read()

    def say(self, data: bytes) -> None:
        self._tls.write(data)
        self.asked += data
        self.to_server += self._outgoing.read()

    def leave(self) -> None:
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self.to_server += self._outgoing.read()


class SharedMemory(RuleBasedStateMachine):
    peers = Bundle("peers")

    @initialize()
    def begin(self) -> None:
        self.memory = TLSMemory()

    @rule(target=peers, version=VERSIONS)
    def connect(self, version: ssl.TLSVersion) -> Peer:
        return Peer(version, TLSLayer(SERVER, self.memory))

    @rule(target=peers, version=VERSIONS)
    def connect_and_shake_hands(self, version: ssl.TLSVersion) -> Peer:
        peer = self.connect(version)
        for _ in range(3):
            self.client_moves(peer)
            self.server_reads(peer, 81920, 1, answers=False)
            if peer.server.handshake_done:
                return peer
            peer.to_client += peer.server.data_to_send()
        raise AssertionError("no handshake in three flights")

    @rule(peer=peers)
    def client_moves(self, peer: Peer) -> None:
        if not peer.is_broken:
            peer.move()

    @rule(peer=peers, cut=CUTS, times=strategies.integers(1, 8), answers=strategies.booleans())
    def server_reads(self, peer: Peer, cut: int, times: int, answers: bool) -> None:
        if peer.is_broken:
            return
        for _ in range(times):
            piece, peer.to_server = peer.to_server[:cut], peer.to_server[cut:]
            peer.heard_by_server += peer.server.receive(piece)
        if answers:
            peer.to_client += peer.server.data_to_send()

    @rule(peer=peers, size=SIZES)
    def client_speaks(self, peer: Peer, size: int) -> None:
        if peer.is_connected and not peer.is_broken:
            peer.say(bytes([len(peer.asked) % 251]) * size)

    @rule(peer=peers, size=SIZES, is_apart=strategies.booleans())
    def server_speaks(self, peer: Peer, size: int, is_apart: bool) -> None:
        if peer.server.handshake_done and not peer.is_broken:
            head, data = b"head", bytes([len(peer.answered) % 241]) * size
            server = peer.server
            peer.to_client += server.encrypt(head, data) if is_apart else server.encrypt(head + data)
            peer.answered += head + data

    @rule(peer=consumes(peers))
    def client_leaves(self, peer: Peer) -> None:
        if peer.is_connected:
            peer.leave()
            peer.heard_by_server += peer.server.receive(peer.to_server + b"what comes behind the end")
            assert peer.server.received_close
            assert peer.heard_by_server == peer.asked

    @rule(peer=consumes(peers))
    def server_closes(self, peer: Peer) -> None:
        peer.server.close()
        peer.to_client += peer.server.data_to_send()
        if peer.is_connected and peer.server.handshake_done and not peer.is_broken:
            peer.move()
            assert peer.heard_by_client == peer.answered

    @rule(peer=consumes(peers), junk=strategies.binary(min_size=6, max_size=40000))
    def peer_breaks(self, peer: Peer, junk: bytes) -> None:
        with suppress(TLSError):
            peer.server.receive(peer.to_server)
            peer.server.receive(b"\xff" + junk)
        peer.is_broken = True

    @rule(peer=consumes(peers))
    def peer_is_forgotten(self, peer: Peer) -> None:
        """Its object goes, whatever it was doing."""

    @invariant()
    def nothing_is_left(self) -> None:
        if hasattr(self, "memory"):
            assert (self.memory.incoming.pending, self.memory.outgoing.pending) == (0, 0)

    @rule(peer=peers)
    def all_is_as_it_was_said(self, peer: Peer) -> None:
        if not peer.is_broken:
            assert peer.asked.startswith(peer.heard_by_server)
            assert peer.answered.startswith(peer.heard_by_client)


TestSharedMemory = SharedMemory.TestCase
TestSharedMemory.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


class Scarce:
    """A buffer that gives nothing: there is no memory to put it in."""

    pending = 50_000

    def read(self, size: int = -1) -> bytes:
        raise MemoryError


def test_memory_runs_out_behind_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was encrypted and cannot be taken is lost to its connection, and is not sent to the next one."""
    memory = TLSMemory()
    peers = [Peer(ssl.TLSVersion.TLSv1_3, TLSLayer(SERVER, memory)) for _ in range(2)]
    for _ in range(2):
        for peer in peers:
            peer.move()
            peer.server.receive(peer.to_server)
            peer.to_server, peer.to_client = b"", peer.server.data_to_send()
    monkeypatch.setattr(peers[0].server, "_outgoing", Scarce())
    with pytest.raises(MemoryError):
        peers[0].server.encrypt(b"x" * 50_000)
    peers[1].to_client += peers[1].server.encrypt(b"sound")
    peers[1].move()
    assert peers[1].heard_by_client == b"sound"
