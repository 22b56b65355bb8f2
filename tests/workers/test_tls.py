"""TLS against a client on memory buffers: versions, names, client certificates, endings, renewal."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from hypercorn.config.errors import TLSConfigError
from hypercorn.config.tls import create_ssl_context, watched_files
from hypercorn.workers.tls import TLSContexts, TLSError, TLSHandshakeError, TLSLayer, TLSMemory

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

#: All connections here share it, as those of a loop do.
MEMORY = TLSMemory()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    authority.issue_cert("example.test").private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def ca_pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def settings(certfile: str, **changes: Any) -> Any:
    chosen = SimpleNamespace(
        certfile=certfile,
        keyfile=None,
        keyfile_password=None,
        ca_certs=None,
        verify_mode=None,
        verify_flags=None,
        ciphers="ECDHE+AESGCM",
        tls_minimum_version="1.2",
        alpn_protocols=["h2", "http/1.1"],
        sni_certificates={},
    )
    vars(chosen).update(changes)
    return chosen


def server_context(certfile: str, **changes: Any) -> ssl.SSLContext:
    context = create_ssl_context(settings(certfile, **changes))
    assert context is not None
    return context


def client_context(authority: trustme.CA, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    authority.configure_trust(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class Client:
    """The peer: the standard library's TLS on memory buffers."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None, session: Any = None) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)

    def say(self, data: bytes) -> bytes:
        """`data` as ciphertext, behind all that is due before it."""
        self.tls.write(data)
        return self.outgoing.read()

    def hear(self, ciphertext: bytes) -> bytes:
        """The plaintext in `ciphertext`."""
        self.incoming.write(ciphertext)
        heard = b""
        try:
            while piece := self.tls.read(65536):
                heard += piece
        except ssl.SSLWantReadError:
            pass
        return heard

    def shake_hands(self, server: TLSLayer, feed: Callable[[bytes], None] | None = None) -> None:
        """Exchange flights until both sides are done; `feed` hands bytes to the server its own way."""
        feed = feed or (lambda data: nothing(server.receive(data)))
        for _ in range(4):
            done = False
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            feed(self.outgoing.read())
            self.incoming.write(server.data_to_send())
            if done and server.handshake_done:
                return
        raise AssertionError("no handshake in four flights")


def tls_layer(context: ssl.SSLContext) -> TLSLayer:
    return TLSLayer(context, MEMORY)


@pytest.fixture(autouse=True)
def _memory_is_left_empty() -> Iterator[None]:
    yield
    assert (MEMORY.incoming.pending, MEMORY.outgoing.pending) == (0, 0)


def nothing(plaintext: bytes) -> None:
    assert plaintext == b""


def connected(server: ssl.SSLContext, client: ssl.SSLContext, **options: Any) -> tuple[TLSLayer, Client]:
    layer, peer = tls_layer(server), Client(client, **options)
    peer.shake_hands(layer)
    return layer, peer


@pytest.fixture(params=VERSIONS, ids=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    chosen: ssl.TLSVersion = request.param
    return chosen


@pytest.fixture
def pair(pem: str, authority: trustme.CA, version: ssl.TLSVersion) -> tuple[TLSLayer, Client]:
    return connected(server_context(pem), client_context(authority, version))


class TestData:
    def test_both_ways(self, pair: tuple[TLSLayer, Client]) -> None:
        server, client = pair
        assert server.handshake_done
        assert server.receive(client.say(b"ping")) == b"ping"
        assert client.hear(server.encrypt(b"pong")) == b"pong"
        assert not server.has_output
        assert server.data_to_send() == b""

    def test_byte_by_byte(self, pem: str, authority: trustme.CA, version: ssl.TLSVersion) -> None:
        server, client = tls_layer(server_context(pem)), Client(client_context(authority, version))

        def one_by_one(data: bytes) -> None:
            for byte in data:
                nothing(server.receive(bytes([byte])))

        client.shake_hands(server, one_by_one)
        ciphertext = client.say(b"ping") + client.say(b"pong")
        pieces = [server.receive(bytes([byte])) for byte in ciphertext]
        assert [piece for piece in pieces if piece] == [b"ping", b"pong"]

    def test_data_right_behind_the_handshake(self, pem: str, authority: trustme.CA) -> None:
        server, client = tls_layer(server_context(pem)), Client(client_context(authority))
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        nothing(server.receive(client.outgoing.read()))
        client.incoming.write(server.data_to_send())
        client.tls.do_handshake()
        assert server.receive(client.say(b"GET")) == b"GET"
        assert server.handshake_done

    def test_many_records_in_one_read(self, pair: tuple[TLSLayer, Client]) -> None:
        server, client = pair
        pieces = [bytes([number]) * (number * 90) for number in range(1, 200)]
        ciphertext = b"".join(client.say(piece) for piece in pieces)
        assert server.receive(ciphertext) == b"".join(pieces)

    def test_a_large_write_is_one_call(self, pair: tuple[TLSLayer, Client]) -> None:
        server, client = pair
        body = os.urandom(1 << 20)
        ciphertext = server.encrypt(body)
        assert len(ciphertext) < len(body) + 64 * 40  # 64 records, each with its overhead
        assert client.hear(ciphertext) == body

    def test_a_large_write_behind_a_head(self, pair: tuple[TLSLayer, Client]) -> None:
        server, client = pair
        head = b"0123456789"
        for size in (1, 16374, 16375, 100_000):
            rest = os.urandom(size)
            apart, together = server.encrypt(head, rest), server.encrypt(head + rest)
            assert len(apart) == len(together)  # the head has no record of its own
            assert client.hear(apart) == client.hear(together) == head + rest

    def test_a_large_upload(self, pair: tuple[TLSLayer, Client]) -> None:
        server, client = pair
        body = os.urandom(1 << 20)
        ciphertext = client.say(body)
        parts = [server.receive(ciphertext[at : at + 65536]) for at in range(0, len(ciphertext), 65536)]
        assert b"".join(parts) == body
        # Nothing is kept back beyond one record.
        assert all(len(part) >= 65536 - 17 * 1024 for part in parts[:-1])

    def test_empty_writes(self, pair: tuple[TLSLayer, Client]) -> None:
        server, _ = pair
        server.data_to_send()
        assert server.encrypt(b"") == b""

    def test_sending_before_the_handshake(self, pem: str) -> None:
        with pytest.raises(TLSError):
            tls_layer(server_context(pem)).encrypt(b"early")


class TestInformation:
    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [(["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (["x"], None)],
    )
    def test_alpn(self, pem: str, authority: trustme.CA, offered: list[str], chosen: str | None) -> None:
        context = client_context(authority)
        context.set_alpn_protocols(offered)
        server, client = connected(server_context(pem), context)
        assert server.alpn == client.tls.selected_alpn_protocol() == chosen

    def test_without_client_certificate(self, pair: tuple[TLSLayer, Client], pem: str) -> None:
        server, client = pair
        info = server.tls_info()
        number = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}[client.tls.version() or ""]
        suite = {"TLSv1.2": {0xC030, 0xC02C}, "TLSv1.3": {0x1302}}[client.tls.version() or ""]
        assert info["tls_version"] == number
        assert info["cipher_suite"] in suite
        assert (info["client_cert_chain"], info["client_cert_name"], info["client_cert_error"]) == (
            [],
            None,
            None,
        )
        shown = client.tls.getpeercert(binary_form=True)
        assert ssl.PEM_cert_to_DER_cert(info["server_cert"]) == shown
        assert server.tls_info() is info

    def test_certificate_of_the_name_asked_for(self, pem: str, authority: trustme.CA, tmp_path: Path) -> None:
        other = str(tmp_path / "other.pem")
        authority.issue_cert("other.test").private_key_and_cert_chain_pem.write_to_path(other)
        names = {"other.test": (other,), "*.wild.test": (other,)}
        context = server_context(pem, sni_certificates=names)
        for name in ("other.test", "a.wild.test"):
            server, client = connected(context, client_context(authority), name=name)
            shown = client.tls.getpeercert(binary_form=True)
            assert ssl.PEM_cert_to_DER_cert(server.tls_info()["server_cert"]) == shown
            assert ("DNS", "other.test") in client.tls.getpeercert()["subjectAltName"]  # type: ignore[index]
            assert server.alpn is None

    def test_the_user_s_own_context(self, pem: str, authority: trustme.CA) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server, _ = connected(context, client_context(authority))
        assert server.tls_info()["server_cert"] is None


class TestClientCertificates:
    @pytest.fixture
    def context(self, pem: str, ca_pem: str) -> ssl.SSLContext:
        return server_context(pem, ca_certs=ca_pem, verify_mode=ssl.CERT_REQUIRED)

    def test_name_and_chain(
        self, context: ssl.SSLContext, authority: trustme.CA, version: ssl.TLSVersion
    ) -> None:
        with_certificate = client_context(authority, version)
        authority.create_child_ca().issue_cert(
            "jo@example.test",
            common_name="jo",
            organization_name='Shop "A, B"',
            organization_unit_name="#1 ü",
        ).configure_cert(with_certificate)
        server, _ = connected(context, with_certificate)
        info = server.tls_info()
        assert info["client_cert_name"] == 'CN=jo,OU=\\#1 ü,O=Shop \\"A\\, B\\"'
        assert info["client_cert_error"] is None
        chain = info["client_cert_chain"]
        assert all(certificate.startswith("-----BEGIN CERTIFICATE-----\n") for certificate in chain)
        assert len(chain) == 2

    def test_required_and_missing(
        self, context: ssl.SSLContext, authority: trustme.CA, version: ssl.TLSVersion
    ) -> None:
        server, client = tls_layer(context), Client(client_context(authority, version))
        with pytest.raises(TLSHandshakeError, match="peer did not return a certificate"):
            client.shake_hands(server)
        assert not server.handshake_done
        client.incoming.write(server.data_to_send())
        with pytest.raises(ssl.SSLError, match=r"(?i)alert|handshake failure"):
            client.tls.read()

    def test_of_another_authority(self, context: ssl.SSLContext, authority: trustme.CA) -> None:
        stranger = client_context(authority)
        trustme.CA().issue_cert("jo@example.test", common_name="eve").configure_cert(stranger)
        with pytest.raises(TLSHandshakeError, match="certificate verify failed: unable to get local issuer"):
            Client(stranger).shake_hands(tls_layer(context))

    def test_optional(self, pem: str, ca_pem: str, authority: trustme.CA) -> None:
        context = server_context(pem, ca_certs=ca_pem, verify_mode="CERT_OPTIONAL")
        server, _ = connected(context, client_context(authority))
        assert server.tls_info()["client_cert_chain"] == []

    def test_also_after_resumption(
        self, context: ssl.SSLContext, authority: trustme.CA, version: ssl.TLSVersion
    ) -> None:
        with_certificate = client_context(authority, version)
        authority.issue_cert("jo@example.test", common_name="jo").configure_cert(with_certificate)
        server, client = connected(context, with_certificate)
        client.hear(server.encrypt(b"so that the ticket is read"))
        again, client = connected(context, with_certificate, session=client.tls.session)
        assert client.tls.session_reused
        assert again.tls_info()["client_cert_name"] is not None
        assert "CN=jo" in again.tls_info()["client_cert_name"]


class TestFailures:
    def test_http(self, pem: str) -> None:
        server = tls_layer(server_context(pem))
        with pytest.raises(TLSHandshakeError, match="http request"):
            server.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        answer = server.data_to_send()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"content-length: %d" % len(body) in head

    @pytest.mark.parametrize(
        "junk", [b"\0" * 100, b"SSH-2.0-x\r\n", b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01"]
    )
    def test_junk(self, pem: str, junk: bytes) -> None:
        server = tls_layer(server_context(pem))
        with pytest.raises(TLSHandshakeError):
            server.receive(junk + b"\0" * 100)
        assert not server.handshake_done
        with pytest.raises(TLSError, match="after TLS has failed"):
            server.receive(b"more")
        # at most an alert: type 21
        assert server.encrypt(b"nobody hears it")[:1] in (b"", b"\x15")
        server.close()
        assert not server.has_output

    def test_too_old_a_client(self, pem: str, authority: trustme.CA) -> None:
        server = tls_layer(server_context(pem, tls_minimum_version="1.3"))
        client = Client(client_context(authority, ssl.TLSVersion.TLSv1_2))
        with pytest.raises(TLSHandshakeError, match="unsupported protocol"):
            client.shake_hands(server)
        assert server.data_to_send()[:1] == b"\x15"

    def test_no_cipher_in_common(self, pem: str, authority: trustme.CA) -> None:
        context = client_context(authority, ssl.TLSVersion.TLSv1_2)
        context.set_ciphers("ECDHE+CHACHA20")
        with pytest.raises(TLSHandshakeError, match="no shared cipher"):
            Client(context).shake_hands(tls_layer(server_context(pem)))

    def test_client_that_distrusts_us(self, pem: str, version: ssl.TLSVersion) -> None:
        server, client = tls_layer(server_context(pem)), Client(client_context(trustme.CA(), version))
        with pytest.raises(ssl.SSLCertVerificationError):
            client.shake_hands(server)
        with pytest.raises(TLSHandshakeError, match="alert unknown ca"):
            server.receive(client.outgoing.read())

    def test_tampered_record(self, pair: tuple[TLSLayer, Client]) -> None:
        server, client = pair
        ciphertext = bytearray(client.say(b"ping"))
        ciphertext[-1] ^= 1
        with pytest.raises(TLSError, match="bad record mac") as caught:
            server.receive(bytes(ciphertext))
        assert not isinstance(caught.value, TLSHandshakeError)
        assert server.handshake_done
        assert server.data_to_send() != b""


class TestEndings:
    def test_ours(self, pair: tuple[TLSLayer, Client]) -> None:
        server, client = pair
        last = server.encrypt(b"last")
        server.close()
        server.close()
        assert client.hear(last + server.encrypt(b"too late")) == b"last"
        assert client.tls.read() == b""  # close_notify, not a cut
        assert not server.received_close
        # what still came from the client is dropped, its own end is noticed
        nothing(server.receive(client.say(b"meanwhile")))
        client.tls.unwrap()
        nothing(server.receive(client.outgoing.read()))
        assert server.received_close

    def test_the_peer_s(self, pair: tuple[TLSLayer, Client]) -> None:
        server, client = pair
        ciphertext = client.say(b"bye")
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        assert server.receive(ciphertext + client.outgoing.read()) == b"bye"
        assert server.received_close
        nothing(server.receive(b"whatever comes behind it"))
        # The answer to what it asked before can still be sent.
        answer = server.encrypt(b"answer")
        server.close()
        client.incoming.write(answer + server.data_to_send())

    def test_close_before_the_handshake(self, pem: str) -> None:
        server = tls_layer(server_context(pem))
        server.close()
        assert server.data_to_send() == b""

    def test_close_in_the_handshake(self, pem: str, authority: trustme.CA) -> None:
        server, client = tls_layer(server_context(pem)), Client(client_context(authority))
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        server.receive(client.outgoing.read())
        server.close()

    def test_data_crosses_our_close(self, pair: tuple[TLSLayer, Client]) -> None:
        server, client = pair
        crossing = client.say(b"x" * 100_000)
        server.close()
        for at in range(0, len(crossing), 1000):
            nothing(server.receive(crossing[at : at + 1000]))


class Deployment:
    """Certificate files as a deployment tool leaves them, and a worker's contexts that watch them."""

    def __init__(self, folder: Path, authority: trustme.CA) -> None:
        self.folder = folder
        self.authority = authority
        self.certificate = folder / "tls.crt"
        self.key = folder / "tls.key"
        self.now = 100.0

    def issue(self, name: str, folder: Path | None = None) -> None:
        leaf = self.authority.issue_cert(name)
        folder = folder or self.folder
        leaf.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
        leaf.private_key_pem.write_to_path(str(folder / "tls.key"))

    def watch(self) -> TLSContexts:
        chosen = settings(str(self.certificate), keyfile=str(self.key))
        return TLSContexts(lambda: create_ssl_context(chosen), watched_files(chosen))

    def look(self, contexts: TLSContexts, times: int = 2) -> bool:
        """Whether `times` looks, a second apart, have led to a new context."""
        renewed = False
        for _ in range(times):
            self.now += 1.0
            renewed |= contexts.reload_if_changed(self.now)
        return renewed

    def shown(self, contexts: TLSContexts) -> str:
        layer, client = contexts.new_layer(), Client(client_context(self.authority))
        client.shake_hands(layer)
        certificate: Any = client.tls.getpeercert()
        return str(certificate["subjectAltName"][0][1])


@pytest.fixture
def deployment(tmp_path: Path, authority: trustme.CA) -> Deployment:
    made = Deployment(tmp_path, authority)
    made.issue("old.test")
    return made


class TestRenewal:
    def test_unchanged(self, deployment: Deployment) -> None:
        contexts = deployment.watch()
        first = contexts.current
        assert not deployment.look(contexts, 5)
        assert contexts.current is first

    def test_new_files(self, deployment: Deployment) -> None:
        contexts = deployment.watch()
        open_layer, open_client = contexts.new_layer(), Client(client_context(deployment.authority))
        open_client.shake_hands(open_layer)
        deployment.issue("new.test")
        assert not deployment.look(contexts, 1)  # perhaps still being written
        assert deployment.shown(contexts) == "old.test"
        assert deployment.look(contexts, 1)
        assert deployment.shown(contexts) == "new.test"
        assert open_layer.receive(open_client.say(b"still here")) == b"still here"
        assert not deployment.look(contexts, 3)

    def test_at_most_one_look_a_second(self, deployment: Deployment) -> None:
        contexts = deployment.watch()
        assert not contexts.reload_if_changed(10.0)
        deployment.issue("new.test")
        assert not contexts.reload_if_changed(10.9)
        assert not contexts.reload_if_changed(11.0)  # the first look at the change
        assert not contexts.reload_if_changed(11.9)
        assert contexts.reload_if_changed(12.0)

    def test_swapped_link(self, tmp_path: Path, authority: trustme.CA) -> None:
        deployment = Deployment(tmp_path, authority)
        for version in ("1", "2"):
            (tmp_path / version).mkdir()
            deployment.issue(f"v{version}.test", tmp_path / version)
        data = tmp_path / "..data"
        data.symlink_to("1")
        deployment.certificate.symlink_to("..data/tls.crt")
        deployment.key.symlink_to("..data/tls.key")
        contexts = deployment.watch()
        assert deployment.shown(contexts) == "v1.test"
        (tmp_path / "new").symlink_to("2")
        (tmp_path / "new").replace(data)
        assert deployment.look(contexts)
        assert deployment.shown(contexts) == "v2.test"

    def test_broken_pair_in_between(self, deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "hypercorn.error")
        contexts = deployment.watch()
        good_key = deployment.key.read_bytes()
        deployment.issue("new.test")
        new_key = deployment.key.read_bytes()
        deployment.key.write_bytes(good_key)
        assert not deployment.look(contexts, 6)
        assert deployment.shown(contexts) == "old.test"
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert record.exc_info is None
        assert "does not belong to the certificate" in record.getMessage()
        assert "\n" not in record.getMessage()
        deployment.key.write_bytes(new_key)
        assert deployment.look(contexts)
        assert deployment.shown(contexts) == "new.test"
        assert "reloaded" in caplog.records[-1].getMessage()

    def test_missing_for_a_while(self, deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
        contexts = deployment.watch()
        deployment.certificate.unlink()
        assert not deployment.look(contexts, 4)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        deployment.issue("new.test")
        assert deployment.look(contexts)
        assert deployment.shown(contexts) == "new.test"

    def test_the_same_complaint_is_made_once(
        self, deployment: Deployment, caplog: pytest.LogCaptureFixture
    ) -> None:
        contexts = deployment.watch()
        for number in range(3):
            deployment.certificate.write_text("no certificate" + "!" * number)
            assert not deployment.look(contexts)
        assert len(caplog.records) == 1

    def test_on_demand(self, deployment: Deployment) -> None:
        contexts = deployment.watch()
        deployment.issue("new.test")
        assert contexts.reload()
        assert deployment.shown(contexts) == "new.test"
        assert not deployment.look(contexts, 3)
        deployment.key.unlink()
        assert not contexts.reload()
        assert deployment.shown(contexts) == "new.test"

    def test_first_context_must_work(self, deployment: Deployment) -> None:
        deployment.key.unlink()
        with pytest.raises(TLSConfigError, match="keyfile"):
            deployment.watch()

    def test_a_hook_s_own_mistakes(self, pem: str, caplog: pytest.LogCaptureFixture) -> None:
        made: list[Any] = [server_context(pem), RuntimeError("vault is sealed"), None]

        def make() -> ssl.SSLContext | None:
            made_now = made.pop(0)
            if isinstance(made_now, Exception):
                raise made_now
            context: ssl.SSLContext | None = made_now
            return context

        contexts = TLSContexts(make, ())
        first = contexts.current
        assert not contexts.reload()
        assert not contexts.reload()
        assert contexts.current is first
        assert "RuntimeError: vault is sealed" in caplog.records[0].getMessage()
        assert "gave no context" in caplog.records[1].getMessage()

    @pytest.mark.parametrize("made", [ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "context"])
    def test_what_a_hook_may_not_give(self, made: Any) -> None:
        with pytest.raises(TLSConfigError, match="create_ssl_context gave"):
            TLSContexts(lambda: made, ())

    def test_a_hook_that_raises(self) -> None:
        with pytest.raises(
            TLSConfigError, match=r"^create_ssl_context failed: ZeroDivisionError: integer division"
        ):
            TLSContexts(lambda: 1 // 0, ())  # type: ignore[arg-type,return-value]

    def test_files_for_root_alone(self, pem: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        # A file that is gone can be read by nobody; root, who may run this, reads all others.
        with caplog.at_level("INFO", "hypercorn.error"):
            TLSContexts(lambda: server_context(pem), (pem,)).tell_unreadable()
            TLSContexts(lambda: server_context(pem), (pem, str(tmp_path / "key"))).tell_unreadable()
        (line,) = (record.getMessage() for record in caplog.records)
        assert str(tmp_path / "key") in line
        assert "HUP" in line

    def test_a_hook_s_context_may_not_renegotiate_nor_compress(self, pem: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.options = ssl.Options(0)
        served = TLSContexts(lambda: context, ()).current
        for option in (ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_COMPRESSION, ssl.OP_CIPHER_SERVER_PREFERENCE):
            assert served.options & option
