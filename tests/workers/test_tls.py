"""TLS against a client on memory buffers: versions, names, client certificates, endings."""

from __future__ import annotations

import itertools
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.workers.tls_client import Client, client_context, nothing, server_context

from hypercorn.workers.tls import TLSError, TLSHandshakeError, TLSLayer, TLSMemory

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

#: All connections here share it, as those of a loop do.
MEMORY = TLSMemory()


@pytest.fixture(scope="module")
def ca_pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def tls_layer(context: ssl.SSLContext) -> TLSLayer:
    return TLSLayer(context, MEMORY)


@pytest.fixture(autouse=True)
def _memory_is_left_empty() -> Iterator[None]:
    yield
    assert (MEMORY.incoming.pending, MEMORY.outgoing.pending) == (0, 0)


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
        assert not server.output_size
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
        for size, head in itertools.product(
            (1, 16374, 16375, 100_000), (b"0123456789", bytes(16384), bytes(20000))
        ):
            rest = os.urandom(size)
            apart, together = server.encrypt(head, rest), server.encrypt(head + rest)
            assert len(apart) == len(together)  # the head has no record of its own
            assert client.hear(apart) == client.hear(together) == head + rest

    @pytest.mark.parametrize("head", [b"", b"0123456789", bytes(65536), bytes(80_000)])
    def test_in_pieces(self, pair: tuple[TLSLayer, Client], head: bytes) -> None:
        server, client = pair
        for size in (1, 65526, 65527, 65536, 131_072, 131_073, 300_000):
            body = os.urandom(size)
            pieces = list(server.encrypt_in_pieces(head, body) if head else server.encrypt_in_pieces(body))
            assert all(len(piece) < 150_000 for piece in pieces)
            whole = b"".join(pieces)
            assert client.hear(whole) == head + body
            at_once = server.encrypt(head + body)
            assert client.hear(at_once) == head + body
            assert len(whole) == len(at_once)  # not a record more

    def test_pieces_that_are_not_wanted_any_more(self, pair: tuple[TLSLayer, Client]) -> None:
        server, client = pair
        pieces = server.encrypt_in_pieces(bytes(1 << 20))
        first = next(pieces)
        server.close()
        assert list(pieces) == []
        assert client.hear(first + server.data_to_send()) == bytes(65536)

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
    @pytest.mark.parametrize(
        "method", [b"GET", b"HEAD", b"DELETE", b"CONNECT", b"M-SEARCH", b"A", b"BASELINE-CONTROL"]
    )
    @pytest.mark.parametrize("size", [1, 4, 5, 100])
    def test_http(self, pem: str, method: bytes, size: int) -> None:
        server = tls_layer(server_context(pem))
        request = method + b" / HTTP/1.1\r\nhost: a\r\n\r\n"
        pieces = [request[at : at + size] for at in range(0, len(request), size)]
        with pytest.raises(TLSHandshakeError, match="http request"):
            list(map(server.receive, pieces))
        answer = server.data_to_send()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        if method == b"HEAD":
            assert body == b""
        else:
            assert b"content-length: %d" % len(body) in head

    @pytest.mark.parametrize(
        "junk",
        [
            b"\0" * 100,
            b"SSH-2.0-x\r\n",
            b"PING\r\n",
            b"get / HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x00\x05hello",
            b"\x80\x2e\x01",
        ],
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
        assert not server.output_size

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
        # OpenSSL 3.2 and later say less.
        with pytest.raises(TLSError, match=r"bad record mac|record layer failure") as caught:
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
