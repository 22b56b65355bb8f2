"""TLS's other side on memory buffers, and contexts for both."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import trustme

from hypercorn.config import Config
from hypercorn.workers.tls import TLSLayer


def server_context(certfile: str, **changes: Any) -> ssl.SSLContext:
    context = Config.from_mapping({"certfile": certfile, **changes}).create_ssl_context()
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


def nothing(plaintext: bytes) -> None:
    assert plaintext == b""
