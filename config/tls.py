"""Makes the TLS context of a server from its settings, and says in one sentence what is wrong with a file.

It only reads files and calls OpenSSL: it never logs, prompts or waits (an encrypted key without a password is
an error, where OpenSSL would ask at the terminal). `ssl` is imported here and in what uses this module, so a
server without TLS never loads it: import this module where TLS is known to be wanted.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol
from weakref import WeakKeyDictionary

from . import checks
from .errors import TLSConfigError

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_CERTIFICATE = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----")
_FIRST_CERTIFICATE = re.compile(
    r"-----BEGIN (?:X509 )?CERTIFICATE-----\s*?\n(.*?)-----END (?:X509 )?CERTIFICATE-----", re.DOTALL
)
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")

#: In the form that `_normalised` gives; with digits alone at its end it would be an address.
_HOST_NAME = re.compile(r"(?:[a-z0-9_-]+\.)*(?![0-9]+\Z)[a-z0-9_-]+")

#: What each context shows to its peers, for the `server_cert` of ASGI's TLS extension: OpenSSL knows it,
#: but the ssl module has no way to ask.
_own_certificates: WeakKeyDictionary[ssl.SSLContext, str] = WeakKeyDictionary()


class TLSSettings(Protocol):
    """What is read from the settings: the mutable `Config` and the frozen `Settings` both have it."""

    @property
    def ssl_enabled(self) -> bool: ...
    @property
    def certfile(self) -> str | None: ...
    @property
    def keyfile(self) -> str | None: ...
    @property
    def keyfile_password(self) -> str | None: ...
    @property
    def ca_certs(self) -> str | None: ...
    @property
    def verify_mode(self) -> ssl.VerifyMode | None: ...
    @property
    def verify_flags(self) -> ssl.VerifyFlags | None: ...
    @property
    def ciphers(self) -> str: ...
    @property
    def tls_minimum_version(self) -> str: ...
    @property
    def alpn_protocols(self) -> Sequence[str]: ...
    @property
    def sni_certificates(self) -> Mapping[str, Sequence[str]]: ...


def create_ssl_context(settings: TLSSettings) -> ssl.SSLContext | None:
    """Make the context for TLS listeners; None unless `ssl_enabled`.

    `certfile` alone may hold the chain and its private key; without it the caller has to load a certificate. Names
    of `sni_certificates` are exact or begin with `*.` (one label); a client that asks for another name, or for none,
    gets `certfile`.

    Reads the files; blocks as long as that takes.

    Raises:
        TLSConfigError: a file is missing, unreadable or not what it should be, a key does not belong to its
            certificate, a password is wrong, or OpenSSL does not take a setting.
    """
    if not settings.ssl_enabled:
        return None
    context = _create(settings, settings.certfile, settings.keyfile, settings.keyfile_password)
    if settings.sni_certificates:
        by_name = {
            _normalised(name): _create_for_name(settings, name, files)
            for name, files in settings.sni_certificates.items()
        }
        _choose_by_name(context, by_name)
    return context


def watched_files(settings: TLSSettings) -> tuple[str, ...]:
    """The files that `create_ssl_context` reads: those whose change asks for a new context."""
    paths = [settings.certfile, settings.keyfile, settings.ca_certs]
    for files in settings.sni_certificates.values():
        paths.extend(files[:2])
    return tuple(dict.fromkeys(path for path in paths if path))


def own_certificate(context: ssl.SSLContext) -> str | None:
    """The certificate that `context` shows, as PEM; None for a context that was not made here."""
    return _own_certificates.get(context)


def shows_certificate(context: ssl.SSLContext) -> bool:
    """Whether a usual client that names no server is shown a certificate."""
    if context in _own_certificates or context.sni_callback is not None:  # that may choose one for each name
        return True
    # The ssl module has no way to ask.
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    client_context.set_ciphers("ALL:@SECLEVEL=0")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        with contextlib.suppress(ssl.SSLWantReadError):
            client_context.wrap_bio(to_client, to_server).do_handshake()
        with contextlib.suppress(ssl.SSLWantReadError):
            context.wrap_bio(to_server, to_client, server_side=True).do_handshake()
    except ssl.SSLError as error:
        return getattr(error, "reason", None) != "NO_SHARED_CIPHER"
    return True


def _create(
    settings: TLSSettings, certfile: str | None, keyfile: str | None, password: str | None
) -> ssl.SSLContext:
    # The standard library's defaults for servers: no TLS compression, our order of ciphers, SSLKEYLOGFILE,
    # and from 3.13 strict checks of client certificates.
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # Programs written for Hypercorn compare this. What else a server wants it gets before it is served with, as
    # contexts of the user's own do (`workers.tls_contexts`).
    context.options = ssl.OP_NO_COMPRESSION
    # Each ticket costs processor time and 250 bytes per full handshake. A browser that opens several
    # connections at once may use one ticket for all, and gets a new one with each.
    context.num_tickets = 1
    _set_protocols(context, settings)
    _set_verification(context, settings)
    if certfile is not None:
        _load_certificate(context, certfile, keyfile, password)
    return context


def _create_for_name(settings: TLSSettings, name: str, files: Sequence[str]) -> ssl.SSLContext:
    certificate = _certificate_files(name, files)
    try:
        return _create(settings, *certificate)
    except TLSConfigError as error:
        raise TLSConfigError(f"sni_certificates {name!r}: {error}", "sni_certificates") from error.__cause__


def _set_protocols(context: ssl.SSLContext, settings: TLSSettings) -> None:
    version = _VERSIONS.get(str(settings.tls_minimum_version))
    if version is None:
        raise TLSConfigError(
            f"tls_minimum_version {settings.tls_minimum_version!r} is not one of 1.2, 1.3",
            "tls_minimum_version",
        )
    context.minimum_version = version
    try:
        context.set_ciphers(settings.ciphers)
    except ssl.SSLError:
        raise TLSConfigError(
            f"ciphers {settings.ciphers!r} selects no cipher that OpenSSL knows", "ciphers"
        ) from None
    if settings.alpn_protocols:
        try:
            context.set_alpn_protocols(list(settings.alpn_protocols))
            # Once more, without those that are not spoken: the server must not select them (RFC 7301 §3.2).
            context.set_alpn_protocols(
                [name for name in settings.alpn_protocols if name in checks.ALPN_PROTOCOLS]
            )
        except (ssl.SSLError, ValueError):
            raise TLSConfigError(
                f"alpn_protocols {list(settings.alpn_protocols)!r} has a bad name: 1 to 255 letters of ASCII "
                "are wanted",
                "alpn_protocols",
            ) from None


def _set_verification(context: ssl.SSLContext, settings: TLSSettings) -> None:
    try:
        if settings.verify_mode is not None:
            context.verify_mode = checks.verify_mode(settings.verify_mode)
        if settings.verify_flags is not None:
            context.verify_flags = checks.verify_flags(settings.verify_flags)
    except ValueError as error:
        raise TLSConfigError(f"verify_mode and verify_flags: {error}", "verify_mode") from None
    if settings.ca_certs is not None:
        _read(settings.ca_certs, "ca_certs")
        try:
            context.load_verify_locations(cafile=settings.ca_certs)
        except ssl.SSLError:
            raise TLSConfigError(
                f"ca_certs {settings.ca_certs!r} is not a PEM file of certificates", "ca_certs"
            ) from None


def _load_certificate(
    context: ssl.SSLContext, certfile: str, keyfile: str | None, password: str | None
) -> None:
    chain = _read(certfile, "certfile")
    if _CERTIFICATE.search(chain) is None:
        raise TLSConfigError(f"certfile {certfile!r} holds no certificate in PEM form", "certfile")
    key = chain if keyfile is None else _read(keyfile, "keyfile")
    key_path = certfile if keyfile is None else keyfile
    key_setting = "certfile" if keyfile is None else "keyfile"
    if _PRIVATE_KEY.search(key) is None:
        hint = "; keyfile is not set" if keyfile is None else " in PEM form"
        raise TLSConfigError(f"{key_path!r} holds no private key{hint}", key_setting)

    asked = False

    def give_password() -> str:
        nonlocal asked
        asked = True
        if password is None:
            raise TLSConfigError(
                f"the private key in {key_path!r} is encrypted, and no password for it is set", key_setting
            )
        return password

    try:
        context.load_cert_chain(certfile, keyfile, give_password)
    except TLSConfigError:
        raise
    except (ssl.SSLError, OSError, ValueError) as error:
        _explain(error, certfile, keyfile, chain, asked)
    if (shown := _first_certificate(chain)) is not None:
        _own_certificates[context] = shown


def _explain(error: Exception, certfile: str, keyfile: str | None, chain: bytes, asked: bool) -> NoReturn:
    reason = getattr(error, "reason", None)
    key_path, setting = (certfile, "certfile") if keyfile is None else (keyfile, "keyfile")
    # The second one is said if the key is of another kind, so that OpenSSL asks for the certificate of such a key.
    if reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
        text = (
            f"the private key in {key_path!r} does not belong to the first certificate in {certfile!r}, which must "
            "be the server's own"
        )
    elif _first_certificate(chain) is None:
        text, setting = f"the certificate in {certfile!r} is damaged", "certfile"
    elif asked:
        text, setting = f"the password for the private key in {key_path!r} is wrong", "keyfile_password"
    elif reason is not None:  # for example EE_KEY_TOO_SMALL, CA_MD_TOO_WEAK
        words = str(reason).replace("_", " ").lower()
        text, setting = f"OpenSSL refuses {certfile!r} with {key_path!r}: {words}", "certfile"
    else:
        text = f"the private key in {key_path!r} is damaged"
    raise TLSConfigError(text, setting) from error


def _first_certificate(chain: bytes) -> str | None:
    """The first certificate of a PEM file, without what stands around it; None if it is damaged."""
    found = _FIRST_CERTIFICATE.search(chain.decode("ascii", "replace"))
    if found is None:
        return None
    pem = f"-----BEGIN CERTIFICATE-----\n{found[1].strip()}\n-----END CERTIFICATE-----\n"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem)
    except ssl.SSLError:
        return None
    return pem


def _read(path: str, setting: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TLSConfigError(f"{setting} {path!r} cannot be read: {error.strerror}", setting) from error


def _certificate_files(name: str, files: Sequence[str]) -> tuple[str, str | None, str | None]:
    if isinstance(files, str) or not 1 <= len(files) <= 3:
        raise TLSConfigError(
            f"sni_certificates {name!r} wants certfile, keyfile and perhaps a password", "sni_certificates"
        )
    certfile, keyfile, password = (*files, None, None)[:3]
    return str(certfile), keyfile, password


def _normalised(name: str) -> str:
    """The form in which a client names a server (RFC 6066 §3): A-labels in lower case, no final dot."""
    wildcard, plain = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        plain = plain.rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        plain = ""
    if _HOST_NAME.fullmatch(plain) is None:
        raise TLSConfigError(
            f"sni_certificates {name!r} is neither a host name nor *. and a host name, and clients ask for no other",
            "sni_certificates",
        )
    return wildcard + plain


def _choose_by_name(default: ssl.SSLContext, by_name: Mapping[str, ssl.SSLContext]) -> None:
    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.rstrip(".").lower()
        found = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
        if found is not None:
            connection.context = found

    default.sni_callback = choose
