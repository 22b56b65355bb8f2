"""TLS without a socket, the same for every loop.

`TLSLayer` stands between a connection's socket and its engine: ciphertext in, plaintext out, and the other
way round. It works on two memory buffers of OpenSSL (`TLSMemory`), so it never blocks, waits or logs, and knows no
deadline: the time a handshake may take is the connection's affair. What it holds is small: all that has been
received is given out by the same call, and what is to be sent is the caller's at the next `data_to_send`.
"""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import get_ident
from time import sleep
from typing import Any, ClassVar, TypeVar

from ..config.tls import own_certificate
from .certificates import subject_of

T = TypeVar("T")

# What the largest record holds (2^14 octets): one read never takes more.
_RECORD_SIZE = 16 * 1024

# What `encrypt_in_pieces` takes at a time (256 KB: 141 µs instead of 300 in one piece, 1 MB: 560 instead of 1,070).
_PIECE_SIZE = 4 * _RECORD_SIZE

#: `_ssl.ENCODING_DER`.
_DER = 2

_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}

#: OpenSSL's name of a cipher suite to its registered number, as far as contexts have been asked.
_cipher_suites: dict[str, int] = {}

_WRONG_PORT = b"This port speaks HTTPS. Please use https:// in the address.\n"
_PLAIN_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n" % len(_WRONG_PORT)
)
#: How a request in clear text begins. OpenSSL judges 5 octets, so the end of the method may be still to come. HTTP/2's
#: preface is none: who sends it does not read HTTP/1.1.
_PLAIN_REQUEST = re.compile(rb"(?!PRI )([A-Z-]+)(?: |\Z)")
#: As much is kept for that; a method that is longer is known by its beginning.
_BEGINNING_SIZE = 16


class TLSError(Exception):
    """The peer broke the rules of TLS, or what arrived was tampered with: the connection cannot go on."""


class TLSHandshakeError(TLSError):
    """No TLS connection could be agreed on; the text is one line for the debug log."""


class TLSMemory:
    """OpenSSL's side of all connections of a loop: what was received for it, what it has to send.

    Such a buffer never shrinks. With a pair of its own, a connection that once had a large request or response would
    keep as much for as long as it lives, and the processor would find the memory of each one cold. So every call
    of a `TLSLayer` empties both before it returns, and the next may be another's. What peers say is in them encrypted
    only: should a mistake ever leave something behind, another peer could not read it. What connections receive and
    encrypt at a time bounds their size.

    Calls come from the loop's thread, one after the other, but for those of finalizers: a coroutine that an application
    has abandoned may send something when the garbage collector closes it, in any thread and in the middle of a call.

    Attributes:
        incoming, outgoing: empty between calls.
        user: the thread in which a call is under way, 0 between calls. To look at it and to set it is one step as long
            as nothing is called in between, for a thread gives way only there. A lock would cost 0.4 µs a call.
    """

    __slots__ = ("incoming", "outgoing", "user")

    def __init__(self) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.user = 0

    def call_when_free(self, call: Callable[..., T], *arguments: Any) -> T:
        """Make a call in the middle of another, which then finds the buffers as they were, or after another thread's."""
        me = get_ident()
        if self.user != me:
            while self.user:
                sleep(0)  # it has microseconds left
            return call(*arguments)
        received, output = self.incoming.read(), self.outgoing.read()
        self.user = 0
        try:
            return call(*arguments)
        finally:
            while self.user:
                sleep(0)
            self.user = me
            self.incoming.write(received)
            self.outgoing.write(output)

    def clear(self) -> None:
        """Throw away what is there, in small pieces: memory may just have run out."""
        for buffer in (self.incoming, self.outgoing):
            while buffer.pending:
                buffer.read(_RECORD_SIZE)


class TLSLayer:
    """The server's side of one TLS connection.

    After every call `data_to_send` may have something: a step of the handshake, an alert, a new ticket.

    Attributes:
        handshake_begun: the peer has sent something.
        handshake_done: the peer may send and be sent application data. Never turns False again.
        has_failed: `receive` has raised, and nothing more can be done.
        received_close: the peer has sent close_notify (RFC 8446 §6.1): nothing more comes from it. It may
            still read what is sent.
    """

    #: What its methods raise, here so that a server without TLS need not import this module to name it.
    error: ClassVar = TLSError
    #: More than this is for `encrypt_in_pieces`: as one object it would be above glibc's threshold for memory of its own,
    #: and each of its pages cost a fault (128 KB: 108 µs instead of 84 in pieces). Up to here one call costs less.
    at_once: ClassVar = 7 * _RECORD_SIZE

    __slots__ = (
        "_beginning",
        "_incoming",
        "_info",
        "_memory",
        "_object",
        "_outgoing",
        "_output",
        "_sent_close",
        "handshake_begun",
        "handshake_done",
        "has_failed",
        "received_close",
    )

    def __init__(self, context: ssl.SSLContext, memory: TLSMemory) -> None:
        self._memory = memory
        self._incoming = memory.incoming
        self._outgoing = memory.outgoing
        self._object = context.wrap_bio(memory.incoming, memory.outgoing, server_side=True)
        #: What OpenSSL has to send, but for what `encrypt` gives at once.
        self._output = b""
        #: The first octets received, until the handshake is done.
        self._beginning = b""
        self._info: dict[str, Any] | None = None
        self.has_failed = False
        self._sent_close = False
        self.handshake_begun = False
        self.handshake_done = False
        self.received_close = False

    def receive(self, ciphertext: bytes) -> bytes:
        """Take what came from the socket and give all plaintext in it; `b""` if there is none yet.

        The plaintext is never longer than all ciphertext received up to now and not yet given out, so the
        size of the socket reads bounds the memory.

        Raises:
            TLSHandshakeError: the handshake has failed.
            TLSError: a later rule was broken. In both cases `data_to_send` has the alert for the peer, and
                the connection is over.
        """
        if self.has_failed:
            raise TLSError("data after TLS has failed")
        if self.received_close or not ciphertext:
            return b""
        memory, incoming = self._memory, self._incoming
        size = len(ciphertext)
        me = get_ident()
        if memory.user:
            return memory.call_when_free(self.receive, ciphertext)
        memory.user = me
        try:
            incoming.write(ciphertext)
            if not self.handshake_done and not (self._shake_hands(ciphertext) and incoming.pending):
                return b""
            # Not more can come out than went in: most often this is the one record that was received, whole.
            plaintext = self._read(size if size < _RECORD_SIZE else _RECORD_SIZE)  # noqa: FURB136 - min() costs more
            if incoming.pending or len(plaintext) >= size:
                plaintext = self._with_rest(plaintext)
        except ssl.SSLError as error:
            if self._sent_close:  # whatever it was, nobody waits for it any more
                self.received_close = True
                return b""
            self.has_failed = True
            raise TLSError(_reason(error)) from None
        finally:
            if self._outgoing.pending or incoming.pending:
                self._put_away()
            memory.user = 0
        return b"" if self._sent_close else plaintext

    def encrypt(self, plaintext: bytes | memoryview, rest: bytes | memoryview = b"") -> bytes:
        """All ciphertext that is ready for the socket once `plaintext` and `rest` are in it, in one call.

        Both are dropped once TLS has failed or is closed. OpenSSL's memory keeps the size of the largest call: see
        `at_once`.

        Args:
            plaintext: what is to be sent.
            rest: what is to be sent behind it, and is not copied for it.

        Raises:
            TLSError: the handshake is not done, or the peer keeps back the rest of a message of TLS. It is over.
        """
        if not plaintext or self.has_failed or self._sent_close:
            return self.data_to_send()
        memory = self._memory
        me = get_ident()
        if memory.user:
            return memory.call_when_free(self.encrypt, plaintext, rest)
        memory.user = me
        try:
            # Memory takes everything at once.
            if not rest:
                self._object.write(plaintext)
            else:
                filled = -len(plaintext) % _RECORD_SIZE  # every record costs something
                view = memoryview(rest)
                self._object.write(b"".join((plaintext, view[:filled])))
                if len(rest) > filled:
                    self._object.write(view[filled:])
            ciphertext = self._outgoing.read()
        except ssl.SSLError as error:
            # Besides a handshake that is not done: the peer keeps back the rest of a message of TLS, and OpenSSL
            # wants that first.
            self.has_failed = True
            raise TLSError(_reason(error)) from None
        finally:
            if self._outgoing.pending:
                self._put_away()
            memory.user = 0
        return self.data_to_send() + ciphertext if self._output else ciphertext

    def encrypt_in_pieces(self, plaintext: bytes, rest: bytes = b"") -> Iterator[bytes]:
        """As `encrypt`, a piece at a time, for any length of both.

        What is not asked for yet is not encrypted yet, so nothing else may be encrypted in between. It ends early once TLS
        has failed or is closed.

        Raises:
            TLSError: as `encrypt`, before any piece.
        """
        for front, behind in _pieces(memoryview(plaintext), memoryview(rest)):
            if self.has_failed or self._sent_close:
                return
            yield self.encrypt(front, behind)

    @property
    def output_size(self) -> int:
        """How many bytes `data_to_send` has."""
        return len(self._output)

    def data_to_send(self) -> bytes:
        """All ciphertext that is ready for the socket; it is the caller's from here. `b""`: none."""
        output, self._output = self._output, b""
        return output

    def _put_away(self) -> None:
        """Leave the memory empty to the next connection."""
        try:
            self._output += self._outgoing.read()
        except MemoryError:
            self.has_failed = True  # the peer could make nothing of what came behind it
        # Besides, what was received behind a failure or behind the end, which nobody can read.
        self._memory.clear()

    def close(self) -> None:
        """Send close_notify, as the last thing; what still arrives is thrown away. May be called again."""
        if self._sent_close or self.has_failed:
            return
        self._sent_close = True
        self._send_close()

    def _send_close(self) -> None:
        memory = self._memory
        me = get_ident()
        if memory.user:
            memory.call_when_free(self._send_close)
            return
        memory.user = me
        try:
            # The error is nearly always "want read", for the peer has not answered with its own yet. Otherwise
            # there was no connection to close (the handshake was under way) or data has crossed ours.
            with suppress(ssl.SSLError):
                self._object.unwrap()
        finally:
            self._put_away()
            memory.user = 0

    @property
    def alpn(self) -> str | None:
        """The protocol that both sides have agreed on (RFC 7301), or None."""
        return self._object.selected_alpn_protocol()

    def tls_info(self) -> dict[str, Any]:
        """The `tls` extension of an ASGI scope (version 0.2 of its specification), once the handshake is done.

        The first call makes it, in well under a millisecond; later calls give the same dictionary.

        `server_cert` is None if the context was not made by `config.tls`. `client_cert_chain` is what the
        client sent, its own certificate alone in a resumed session; it is empty unless `verify_mode` asks for
        certificates. A certificate that cannot be verified ends the
        handshake, so `client_cert_error` is always None.
        """
        if self._info is None:
            chain = self._client_chain()
            self._info = {
                "server_cert": own_certificate(self._object.context),
                "client_cert_chain": [ssl.DER_cert_to_PEM_cert(certificate) for certificate in chain],
                "client_cert_name": subject_of(chain[0]) if chain else None,
                "client_cert_error": None,
                "tls_version": _VERSIONS.get(self._object.version() or ""),
                "cipher_suite": self._cipher_suite(),
            }
        return self._info

    def _shake_hands(self, ciphertext: bytes) -> bool:
        self.handshake_begun = True
        if len(self._beginning) < _BEGINNING_SIZE:
            self._beginning += ciphertext[:_BEGINNING_SIZE]
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self.has_failed = True
            if (request := _PLAIN_REQUEST.match(self._beginning)) is not None:
                self._outgoing.read()  # an alert, which a client that speaks no TLS could not read
                self._outgoing.write(_PLAIN_ANSWER)
                if request[1] != b"HEAD":
                    self._outgoing.write(_WRONG_PORT)
                raise TLSHandshakeError("http request") from None
            if (name := getattr(self._object, "refused_name", None)) is not None:  # see `tls_contexts.py`
                raise TLSHandshakeError(f"the server name {name!r} is not ASCII") from None
            raise TLSHandshakeError(_reason(error)) from None
        self.handshake_done = True
        self._beginning = b""
        return True

    def _read(self, size: int) -> bytes:
        """Take from one record; `b""` if there is no whole one, or none to come."""
        try:
            plaintext = self._object.read(size)
        except ssl.SSLWantReadError:
            return b""  # a part of a record, or a record of TLS's own
        except ssl.SSLZeroReturnError:
            plaintext = b""
        if not plaintext:
            self.received_close = True
        return plaintext

    def _with_rest(self, plaintext: bytes) -> bytes:
        """`plaintext` and that of all further records."""
        pieces = [plaintext]
        # Asking first spares the exception that says that nothing is left.
        while (left := self._incoming.pending) or self._object.pending():
            plaintext = self._read(_RECORD_SIZE)
            if plaintext:
                pieces.append(plaintext)
            elif self.received_close or self._incoming.pending == left:
                break  # otherwise it was a record without content: LibreSSL says so, OpenSSL reads on
        return b"".join(pieces)

    def _client_chain(self) -> list[bytes]:
        """In DER form, the client's own first."""
        certificate = self._object.getpeercert(binary_form=True)
        if certificate is None:
            return []
        # A resumed session keeps the client's own certificate only.
        return _sent_chain(self._object) or [certificate]

    def _cipher_suite(self) -> int | None:
        cipher = self._object.cipher()
        if cipher is None:
            return None
        if cipher[0] not in _cipher_suites:
            # The upper half of OpenSSL's `id` says "TLS"; the lower is the registered number.
            known = self._object.context.get_ciphers()
            _cipher_suites.update({str(suite["name"]): int(suite["id"]) & 0xFFFF for suite in known})
        return _cipher_suites.get(cipher[0])


def _pieces(plaintext: memoryview, rest: memoryview) -> Iterator[tuple[memoryview, memoryview]]:
    """Both in pieces of `_PIECE_SIZE`, one of which may have the end of the first and the beginning of the second."""
    while len(plaintext) >= _PIECE_SIZE:
        yield plaintext[:_PIECE_SIZE], plaintext[:0]
        plaintext = plaintext[_PIECE_SIZE:]
    if plaintext:
        filled = _PIECE_SIZE - len(plaintext)
        yield plaintext, rest[:filled]
        rest = rest[filled:]
    while rest:
        yield rest[:_PIECE_SIZE], rest[:0]
        rest = rest[_PIECE_SIZE:]


def _sent_chain(connection: ssl.SSLObject) -> list[bytes]:
    """All certificates that the peer has sent, in DER form."""
    if sys.version_info >= (3, 13):
        return connection.get_unverified_chain()
    # What 3.13 made a method of was there before, one attribute further in.
    inner = getattr(connection, "_sslobj")  # noqa: B009 - to the type checkers there is no such attribute
    return [certificate.public_bytes(_DER) for certificate in inner.get_unverified_chain() or ()]


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words, for example `no shared cipher`."""
    verification = getattr(error, "verify_message", None)
    words = str(error.reason or error).replace("_", " ").lower()
    return f"{words}: {verification}" if verification else words
