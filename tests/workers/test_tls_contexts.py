"""Certificates that are replaced while a worker serves."""

from __future__ import annotations

import logging
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.workers.tls_client import Client, client_context, server_context

from hypercorn.config import Config
from hypercorn.config.errors import TLSConfigError
from hypercorn.config.tls import watched_files
from hypercorn.workers.tls import TLSHandshakeError
from hypercorn.workers.tls_contexts import TLSContexts


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
        config = Config.from_mapping({"certfile": str(self.certificate), "keyfile": str(self.key)})
        return TLSContexts(config.create_ssl_context, watched_files(config))

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
        assert "does not belong to the first certificate" in record.getMessage()
        assert "\n" not in record.getMessage()
        deployment.key.write_bytes(new_key)
        assert deployment.look(contexts)
        assert deployment.shown(contexts) == "new.test"
        told = caplog.records[-1].getMessage()
        assert told == f"TLS certificate reloaded from {deployment.certificate}, {deployment.key}"
        deployment.key.write_bytes(new_key + b"\n")
        assert deployment.look(contexts)
        assert caplog.records[-1].getMessage() == f"TLS certificate reloaded from {deployment.key}"

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

    def test_a_hook_s_context_without_a_certificate(self, pem: str, caplog: pytest.LogCaptureFixture) -> None:
        def take_up(*, has_certificate: bool = False, ciphers: str = "", by_name: bool = False) -> list[str]:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            if ciphers:
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers(ciphers)
            if has_certificate:
                context.load_cert_chain(pem)
            if by_name:
                context.sni_callback = lambda *_: None
            caplog.clear()
            TLSContexts(lambda: context, ())
            return [record.getMessage() for record in caplog.records]

        for ciphers in ("", "ECDHE+AESGCM", "ECDHE+AES:@SECLEVEL=0"):
            [told] = take_up(ciphers=ciphers)
            assert told.startswith("The context of create_ssl_context seems to have no certificate")
            assert take_up(ciphers=ciphers, has_certificate=True) == []
        assert take_up(by_name=True) == []

    def test_a_hook_that_raises(self) -> None:
        with pytest.raises(TLSConfigError, match=r"^create_ssl_context failed: ZeroDivisionError: .*zero"):
            TLSContexts(lambda: 1 // 0, ())  # type: ignore[arg-type,return-value]

    def test_files_for_root_alone(self, pem: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        # A file that is gone can be read by nobody; root, who may run this, reads all others.
        with caplog.at_level("INFO", "hypercorn.error"):
            TLSContexts(lambda: server_context(pem), (pem,)).tell_unreadable()
            TLSContexts(lambda: server_context(pem), (pem, str(tmp_path / "key"))).tell_unreadable()
        (line,) = (record.getMessage() for record in caplog.records)
        assert str(tmp_path / "key") in line
        assert "HUP" in line

    def test_a_key_for_root_alone_that_was_replaced(
        self, pem: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = server_context(pem)

        def make() -> ssl.SSLContext:
            if user:
                raise TLSConfigError("keyfile 'k' cannot be read: Permission denied") from PermissionError()
            return made

        user = 0
        monkeypatch.setattr(os, "geteuid", lambda: user)
        contexts = TLSContexts(make, ())
        user = 65534
        assert not contexts.reload()
        [told] = (record.getMessage() for record in caplog.records)
        assert told.endswith(
            "cannot be read: Permission denied; send HUP to the master, so that it is read as root"
        )

    def test_a_hook_s_context_may_not_renegotiate_nor_compress(self, pem: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.options = ssl.Options(0)
        served = TLSContexts(lambda: context, ()).current
        for option in (ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_COMPRESSION, ssl.OP_CIPHER_SERVER_PREFERENCE):
            assert served.options & option


class TestNames:
    @pytest.fixture
    def unraisable(self, monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
        """What the program's own hook is told."""
        told: list[BaseException | None] = []
        monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append(args.exc_value))
        return told

    def test_one_that_is_not_ascii_is_no_noise(
        self,
        pem: str,
        authority: trustme.CA,
        unraisable: list[BaseException | None],
    ) -> None:
        context = server_context(pem, sni_certificates={"example.test": (pem,)})
        contexts = TLSContexts(lambda: context, ())
        contexts.reload()
        layer, client = contexts.new_layer(), Client(client_context(authority), name="bucher.test")
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        with pytest.raises(TLSHandshakeError, match=r"the server name b'b\\xfccher.test' is not ASCII"):
            layer.receive(client.outgoing.read().replace(b"bucher", b"b\xfccher"))
        assert unraisable == []
        Client(client_context(authority), name="other.test").shake_hands(contexts.new_layer())

    def test_what_else_cannot_be_raised_is_the_program_s(
        self, pem: str, authority: trustme.CA, unraisable: list[BaseException | None]
    ) -> None:
        class Finalized:
            def __del__(self) -> None:
                b"\xfc".decode("ascii")

        def choose(*_: Any) -> None:
            Finalized()
            b"\xfd".decode("ascii")

        context = server_context(pem)
        context.sni_callback = choose
        contexts = TLSContexts(lambda: context, ())
        with pytest.raises(TLSHandshakeError):
            Client(client_context(authority), name="a.test").shake_hands(contexts.new_layer())
        told = [error.object for error in unraisable if isinstance(error, UnicodeDecodeError)]
        assert told == [b"\xfc", b"\xfd"]

    def test_without_certificates_by_name_the_hook_is_left_alone(
        self, pem: str, unraisable: list[BaseException | None]
    ) -> None:
        before = sys.unraisablehook
        TLSContexts(lambda: server_context(pem), ())
        assert sys.unraisablehook is before
        assert unraisable == []
