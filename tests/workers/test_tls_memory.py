"""Connections that share the memory of their loop, whatever becomes of any of them: none hears of another."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path
from threading import Thread, get_ident

import pytest
import trustme
from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from tests.workers.tls_records import APPLICATION_DATA, HANDSHAKE, KEY_UPDATE, Records

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

    def __init__(self, version: ssl.TLSVersion, server: TLSLayer, key_log: Path | None = None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if key_log is not None:
            context.keylog_filename = str(key_log)
        context.check_hostname = False
        context.minimum_version = context.maximum_version = version
        AUTHORITY.configure_trust(context)
        self.server = server
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing)
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
                self.tls.do_handshake()
                self.is_connected = True
            while piece := self.tls.read(65536):
                self.heard_by_client += piece
        self.to_server += self._outgoing.read()

    def say(self, data: bytes) -> None:
        self.tls.write(data)
        self.asked += data
        self.to_server += self._outgoing.read()

    def leave(self) -> None:
        with suppress(ssl.SSLError):
            self.tls.unwrap()
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


def connected(memory: TLSMemory, context: ssl.SSLContext = SERVER) -> Peer:
    peer = Peer(ssl.TLSVersion.TLSv1_3, TLSLayer(context, memory))
    for _ in range(2):
        peer.move()
        peer.server.receive(peer.to_server)
        peer.to_server, peer.to_client = b"", peer.server.data_to_send()
    peer.move()
    return peer


class Scarce:
    """A buffer that gives nothing: there is no memory to put it in."""

    pending = 50_000

    def read(self, size: int = -1) -> bytes:
        raise MemoryError


@pytest.mark.parametrize("is_end", [False, True])
def test_memory_runs_out(monkeypatch: pytest.MonkeyPatch, is_end: bool) -> None:
    """What was encrypted and cannot be taken is lost to its connection, and is not sent to the next one."""
    memory = TLSMemory()
    poor, sound = connected(memory), connected(memory)
    monkeypatch.setattr(poor.server, "_outgoing", Scarce())
    if is_end:
        poor.server.close()
    else:
        with pytest.raises(MemoryError):
            poor.server.encrypt(b"x" * 50_000)
    assert (memory.incoming.pending, memory.outgoing.pending) == (0, 0)
    assert poor.server.has_failed
    sound.to_client += sound.server.encrypt(b"sound")
    sound.move()
    assert sound.heard_by_client == b"sound"


def test_a_call_finds_the_buffers_as_they_were_before_one_in_its_middle() -> None:
    memory = TLSMemory()
    memory.user = get_ident()
    memory.incoming.write(b"received")
    memory.outgoing.write(b"to be sent")

    def other(argument: str) -> str:
        assert (memory.incoming.pending, memory.outgoing.pending, memory.user) == (0, 0, 0)
        return argument

    assert memory.call_when_free(other, "given back") == "given back"
    assert (memory.incoming.read(), memory.outgoing.read()) == (b"received", b"to be sent")
    assert memory.user == get_ident()


def test_calls_in_the_middle_of_a_call() -> None:
    """As a finalizer makes them that the garbage collector runs. Here OpenSSL itself calls back, for the name."""
    memory = TLSMemory()
    other, ending = connected(memory), connected(memory)
    calls: list[str | None] = []

    def call_others(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        calls.append(name)
        other.to_client += other.server.encrypt(b"heard")
        other.say(b"said")
        other.heard_by_server += other.server.receive(other.to_server)
        ending.server.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("example.test").configure_cert(context)
    context.sni_callback = call_others  # type: ignore[assignment]
    outer = Peer(ssl.TLSVersion.TLSv1_3, TLSLayer(context, memory))
    outer.move()
    # A record without a meaning that may come here (RFC 8446 §5) is in the buffer when the others are called.
    outer.server.receive(outer.to_server + b"\x14\x03\x03\0\1\1")
    outer.to_server, outer.to_client = b"", outer.server.data_to_send()
    outer.move()
    outer.server.receive(outer.to_server)
    assert len(calls) == 1
    outer.to_client += outer.server.encrypt(b"all is well")
    outer.move()
    other.move()
    ending.to_client += ending.server.data_to_send()
    ending.move()
    assert (other.heard_by_server, other.heard_by_client) == (b"said", b"heard")
    assert outer.heard_by_client == b"all is well"


def test_calls_from_another_thread() -> None:
    """The garbage collector runs finalizers in whichever thread it is started."""
    memory = TLSMemory()
    peers = [connected(memory), connected(memory)]

    def talk(peer: Peer) -> None:
        for _ in range(300):
            peer.to_client += peer.server.encrypt(b"x" * 40_000)

    threads = [Thread(target=talk, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for peer in peers:
        peer.move()
        assert peer.heard_by_client == b"x" * 40_000 * 300


class TestMessagesOfTLS:
    @pytest.fixture
    def peer(self, tmp_path: Path) -> tuple[TLSLayer, Records]:
        peer = Peer(ssl.TLSVersion.TLSv1_3, TLSLayer(SERVER, TLSMemory()), key_log=tmp_path / "keys")
        for _ in range(2):
            peer.move()
            peer.server.receive(peer.to_server)
            peer.to_server, peer.to_client = b"", peer.server.data_to_send()
        return peer.server, Records(peer.tls, tmp_path / "keys")

    def test_between_data(self, peer: tuple[TLSLayer, Records]) -> None:
        server, client = peer
        said = client.record(APPLICATION_DATA, b"a") + client.record(HANDSHAKE, KEY_UPDATE)
        client.change_keys()
        for content in (b"b", b"", b"", b"c"):
            said += client.record(APPLICATION_DATA, content)
        assert server.receive(said) == b"abc"

    def test_that_is_not_whole_when_something_is_to_be_sent(self, peer: tuple[TLSLayer, Records]) -> None:
        server, client = peer
        assert server.receive(client.record(HANDSHAKE, KEY_UPDATE[:4])) == b""
        with pytest.raises(TLSError):
            server.encrypt(b"answer")
        assert server.has_failed
