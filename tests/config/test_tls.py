"""Settings and files to a context: what is loaded, and the sentence for each thing that can be wrong."""

from __future__ import annotations

import contextlib
import gc
import ssl
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from hypercorn.config import Config
from hypercorn.config.errors import TLSConfigError
from hypercorn.config.tls import create_ssl_context, own_certificate, watched_files


@dataclass
class Chosen:
    """The settings that the module reads, and no others."""

    certfile: str | None = None
    keyfile: str | None = None
    keyfile_password: str | None = None
    ca_certs: str | None = None
    verify_mode: Any = None
    verify_flags: Any = None
    ciphers: str = "ECDHE+AESGCM"
    tls_minimum_version: str = "1.2"
    alpn_protocols: Sequence[str] = ("h2", "http/1.1")
    sni_certificates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ssl_enabled: bool = True


@dataclass
class Files:
    """Where the files of one certificate stand."""

    certificate: str
    key: str
    both: str
    encrypted: str
    authority: str


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_files(authority, tmp_path_factory.mktemp("files"), "example.test")


@pytest.fixture(scope="module")
def other(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_files(authority, tmp_path_factory.mktemp("other"), "other.test", "*.sub.test")


def write_files(authority: trustme.CA, folder: Path, *names: str, **options: Any) -> Files:
    leaf = authority.issue_cert(*names, **options)
    paths = Files(*(str(folder / f"{name}.pem") for name in ("cert", "key", "both", "encrypted", "ca")))
    leaf.cert_chain_pems[0].write_to_path(paths.certificate)
    leaf.private_key_pem.write_to_path(paths.key)
    leaf.private_key_and_cert_chain_pem.write_to_path(paths.both)
    authority.cert_pem.write_to_path(paths.authority)
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    Path(paths.encrypted).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return paths


def shown_to(context: ssl.SSLContext, name: str | None, authority: trustme.CA) -> set[str]:
    """The names in the certificate that a client which asks for `name` is shown."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    authority.configure_trust(client_context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = client.getpeercert()
    assert certificate is not None
    return {str(value) for _, value in certificate["subjectAltName"]}  # type: ignore[misc, arg-type]


def chosen_of(context: ssl.SSLContext, offered: list[str]) -> str | None:
    """The protocol that is agreed on with a client that offers these."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    client_context.set_alpn_protocols(offered)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return server.selected_alpn_protocol()


class TestContext:
    def test_no_certificate_means_no_tls(self) -> None:
        assert create_ssl_context(Chosen(ssl_enabled=False)) is None
        assert Config().create_ssl_context() is None
        assert Config.from_mapping(certfile="nowhere", ssl_enabled=False).create_ssl_context() is None

    def test_a_certificate_of_the_program_s_own(
        self, files: Files, other: Files, authority: trustme.CA
    ) -> None:
        class Own(Config):
            @property
            def ssl_enabled(self) -> bool:
                return True

            def create_ssl_context(self) -> ssl.SSLContext | None:
                context = super().create_ssl_context()
                assert context is not None
                context.load_cert_chain(files.certificate, files.key)
                return context

        config = Own.from_mapping(
            ca_certs=files.authority,
            verify_mode="CERT_OPTIONAL",
            tls_minimum_version="1.3",
            sni_certificates={"other.test": other.both},
        )
        context = config.create_ssl_context()
        assert context is not None
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_OPTIONAL
        assert chosen_of(context, ["http/1.1", "h2"]) == "h2"
        assert shown_to(context, None, authority) == {"example.test"}
        assert shown_to(context, "other.test", authority) == {"other.test", "*.sub.test"}
        assert watched_files(config.resolve()) == (files.authority, other.both)
        assert own_certificate(context) is None  # it is not known which one was loaded

    def test_certificate_and_key(self, files: Files, authority: trustme.CA) -> None:
        context = create_ssl_context(Chosen(files.certificate, files.key))
        assert context is not None
        assert shown_to(context, "example.test", authority) == {"example.test"}
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_NONE
        # Programs written for Hypercorn look for these and no others; `workers.tls_contexts` adds to them.
        assert context.options == ssl.OP_NO_COMPRESSION

    def test_one_file_with_both(self, files: Files, authority: trustme.CA) -> None:
        context = create_ssl_context(Chosen(files.both))
        assert context is not None
        assert shown_to(context, None, authority) == {"example.test"}

    def test_encrypted_key(self, files: Files) -> None:
        assert create_ssl_context(Chosen(files.certificate, files.encrypted, "secret"))

    def test_settings_as_users_write_them(self, files: Files, other: Files, authority: trustme.CA) -> None:
        config = Config.from_mapping(
            certfile=Path(files.both),
            alpn_protocols="http/1.1",
            tls_minimum_version=1.3,
            sni_certificates={"other.test": Path(other.both)},
        )
        context = config.create_ssl_context()
        assert context is not None
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert shown_to(context, "other.test", authority) == {"other.test", "*.sub.test"}
        assert chosen_of(context, ["h2", "http/1.1"]) == "http/1.1"

    @pytest.mark.parametrize(
        ("configured", "chosen"), [(["h3", "acme-tls/1", "h2"], "h2"), (["http/2", "h3"], None)]
    )
    def test_protocols_that_are_not_spoken_are_not_selected(
        self, files: Files, configured: list[str], chosen: str | None
    ) -> None:
        context = create_ssl_context(Chosen(files.both, alpn_protocols=configured))
        assert context is not None
        assert chosen_of(context, ["h3", "http/2", "acme-tls/1", "h2"]) == chosen

    def test_settings_reach_openssl(self, files: Files) -> None:
        context = create_ssl_context(
            Chosen(
                files.certificate,
                files.key,
                ca_certs=files.authority,
                verify_mode=ssl.CERT_REQUIRED,
                verify_flags=ssl.VERIFY_X509_STRICT,
                ciphers="ECDHE+CHACHA20",
                tls_minimum_version="1.3",
            )
        )
        assert context is not None
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.verify_flags == ssl.VERIFY_X509_STRICT
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert len(context.get_ca_certs()) == 1
        tls12 = {suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"}
        assert tls12
        assert all("CHACHA20" in name for name in tls12)

    @pytest.mark.parametrize("mode", ["CERT_OPTIONAL", 1, ssl.CERT_OPTIONAL])
    def test_verify_mode_as_users_write_it(self, files: Files, mode: Any) -> None:
        context = create_ssl_context(Chosen(files.both, verify_mode=mode))
        assert context is not None
        assert context.verify_mode == ssl.CERT_OPTIONAL

    def test_own_certificate(self, files: Files) -> None:
        context = create_ssl_context(Chosen(files.both))
        assert context is not None
        shown = own_certificate(context)
        assert shown is not None
        expected = ssl.PEM_cert_to_DER_cert(Path(files.certificate).read_text())
        assert ssl.PEM_cert_to_DER_cert(shown) == expected
        assert own_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) is None

    def test_a_context_goes_with_its_last_user(self, files: Files, other: Files) -> None:
        settings = Chosen(files.both, sni_certificates={"other.test": [other.both]})
        gone = weakref.ref(create_ssl_context(settings))  # type: ignore[arg-type, var-annotated]
        gc.collect()
        assert gone() is None

    def test_watched_files(self, files: Files, other: Files) -> None:
        settings = Chosen(
            files.certificate,
            files.key,
            ca_certs=files.authority,
            sni_certificates={
                "a.test": (other.certificate, other.key, "a password"),
                "b.test": (files.certificate, files.key),
            },
        )
        assert watched_files(settings) == (
            files.certificate,
            files.key,
            files.authority,
            other.certificate,
            other.key,
        )


class TestServerNames:
    @pytest.fixture
    def context(self, files: Files, other: Files) -> ssl.SSLContext:
        names = {
            "Other.Test.": (other.certificate, other.key),
            "*.sub.test": (other.both,),
            "exact.sub.test": (files.both,),
            "an_other.1-2.test": (other.both,),
            "bücher.test": (other.certificate, other.encrypted, "secret"),
        }
        context = create_ssl_context(Chosen(files.both, sni_certificates=names))
        assert context is not None
        return context

    @pytest.mark.parametrize(
        "name",
        ["other.test", "OTHER.test", "an_other.1-2.test", "a.sub.test", "B.SUB.test", "xn--bcher-kva.test"],
    )
    def test_its_own_certificate(self, context: ssl.SSLContext, authority: trustme.CA, name: str) -> None:
        assert shown_to(context, name, authority) == {"other.test", "*.sub.test"}

    @pytest.mark.parametrize(
        "name", [None, "example.test", "unknown.test", "sub.test", "a.b.sub.test", "exact.sub.test"]
    )
    def test_all_others_get_the_default(
        self, context: ssl.SSLContext, authority: trustme.CA, name: str | None
    ) -> None:
        assert shown_to(context, name, authority) == {"example.test"}

    @pytest.mark.parametrize(
        ("name", "entry", "complaint"),
        [
            ("*", ("{both}",), r"'\*' is neither a host name nor"),
            ("a.*.test", ("{both}",), r"'a\.\*\.test' is neither"),
            ("a" * 64 + ".test", ("{both}",), "is neither a host name nor"),
            ("127.0.0.1", ("{both}",), r"'127\.0\.0\.1' is neither a host name nor"),
            ("::1", ("{both}",), "'::1' is neither"),
            ("a b", ("{both}",), "'a b' is neither"),
            ("*.", ("{both}",), "is neither"),
            ("a.test", (), "'a.test' wants certfile, keyfile"),
            ("a.test", "cert.pem", "'a.test' wants certfile, keyfile"),
            ("a.test", ("/no/such.pem",), "'/no/such.pem' cannot be read: No such file"),
        ],
    )
    def test_mistakes(self, files: Files, name: str, entry: Any, complaint: str) -> None:
        if isinstance(entry, tuple):
            entry = tuple(path.format(both=files.both) for path in entry)
        with pytest.raises(TLSConfigError, match=complaint):
            create_ssl_context(Chosen(files.both, sni_certificates={name: entry}))


class TestMistakes:
    """Each ends in one sentence that names the file."""

    def complaint(self, *args: Any, **settings: Any) -> str:
        with pytest.raises(TLSConfigError) as caught:
            create_ssl_context(Chosen(*args, **settings))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_missing_files(self, files: Files, tmp_path: Path) -> None:
        missing = str(tmp_path / "missing.pem")
        assert f"certfile {missing!r} cannot be read: No such file" in self.complaint(missing, files.key)
        assert f"keyfile {missing!r} cannot be read: No such file" in self.complaint(files.both, missing)
        assert f"ca_certs {missing!r} cannot be read" in self.complaint(files.both, ca_certs=missing)

    def test_a_folder(self, tmp_path: Path) -> None:
        assert "cannot be read: Is a directory" in self.complaint(str(tmp_path))

    def test_no_key(self, files: Files) -> None:
        assert "holds no private key; keyfile is not set" in self.complaint(files.certificate)
        assert "holds no private key in PEM form" in self.complaint(files.certificate, files.certificate)

    def test_no_certificate(self, files: Files) -> None:
        assert "holds no certificate in PEM form" in self.complaint(files.key, files.key)

    def test_der(self, files: Files, tmp_path: Path) -> None:
        der = tmp_path / "cert.der"
        der.write_bytes(ssl.PEM_cert_to_DER_cert(Path(files.certificate).read_text()))
        assert "holds no certificate in PEM form" in self.complaint(str(der), files.key)

    def test_key_of_another_certificate(self, files: Files, other: Files) -> None:
        complaint = self.complaint(files.certificate, other.key)
        assert complaint == (
            f"the private key in {other.key!r} does not belong to the first certificate in "
            f"{files.certificate!r}, which must be the server's own"
        )

    def test_key_of_another_kind_and_a_chain_in_the_wrong_order(
        self, files: Files, authority: trustme.CA, tmp_path: Path
    ) -> None:
        rsa = write_files(trustme.CA(), tmp_path, "rsa.test", key_type=trustme.KeyType.RSA)
        assert self.complaint(files.certificate, rsa.key) == (
            f"the private key in {rsa.key!r} does not belong to the first certificate in {files.certificate!r}, "
            "which must be the server's own"
        )
        reverse = tmp_path / "reverse.pem"
        for issuer in (authority, trustme.CA(key_type=trustme.KeyType.RSA)):
            reverse.write_bytes(issuer.cert_pem.bytes() + Path(files.certificate).read_bytes())
            complaint = self.complaint(str(reverse), files.key)
            assert (
                f"to the first certificate in {str(reverse)!r}, which must be the server's own" in complaint
            )

    def test_passwords(self, files: Files) -> None:
        assert "is encrypted, and no password" in self.complaint(files.certificate, files.encrypted)
        assert "is wrong" in self.complaint(files.certificate, files.encrypted, "guess")
        assert "is wrong" in self.complaint(files.certificate, files.encrypted, "long" * 1000)

    @pytest.mark.parametrize("length", [60, 300])
    def test_cut_off_certificate(self, files: Files, tmp_path: Path, length: int) -> None:
        damaged = tmp_path / "damaged.pem"
        damaged.write_text(Path(files.certificate).read_text()[:length])
        assert f"the certificate in {str(damaged)!r} is damaged" in self.complaint(str(damaged), files.key)

    def test_damaged_certificate(self, files: Files, tmp_path: Path) -> None:
        damaged = tmp_path / "damaged.pem"
        damaged.write_text(Path(files.certificate).read_text().replace("MII", "NJK", 1))
        assert "is damaged" in self.complaint(str(damaged), files.key)

    def test_line_ends_that_openssl_does_not_know(self, files: Files, tmp_path: Path) -> None:
        for line_end, word in (("\r\n", "wrong"), ("\r", "the certificate")):
            written = tmp_path / "written.pem"
            written.write_bytes(Path(files.certificate).read_text().replace("\n", line_end).encode())
            assert word in self.complaint(str(written), files.encrypted, "guess")

    def test_damaged_key(self, files: Files, tmp_path: Path) -> None:
        damaged = tmp_path / "damaged.pem"
        damaged.write_text(Path(files.key).read_text()[:100])
        complaint = self.complaint(files.certificate, str(damaged))
        assert complaint == f"the private key in {str(damaged)!r} is damaged"

    def test_authorities(self, files: Files) -> None:
        assert "is not a PEM file of certificates" in self.complaint(files.both, ca_certs=files.key)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("ciphers", "NO+SUCH"),
            ("tls_minimum_version", "1.1"),
            ("alpn_protocols", [""]),
            ("alpn_protocols", ["é"]),
            ("verify_mode", "CERT_SOMETIMES"),
            ("verify_flags", "NO_FLAG"),
        ],
    )
    def test_settings(self, files: Files, name: str, value: Any) -> None:
        assert name in self.complaint(files.both, **{name: value})

    def test_too_weak_for_openssl(self, files: Files, tmp_path: Path) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.RSA)
        weak = write_files(authority, tmp_path, "weak.test")
        # Security level 5 asks for keys of 15360 bits.
        assert "OpenSSL refuses" in self.complaint(weak.both, ciphers="ECDHE+AESGCM:@SECLEVEL=5")
