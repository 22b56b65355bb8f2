"""Records of TLS 1.3 made by hand (RFC 8446 §5.2, §7), for what no client's library would send."""

from __future__ import annotations

import hashlib
import hmac
import ssl
import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HANDSHAKE = 22
APPLICATION_DATA = 23

#: The message that announces new keys and asks for none (§4.6.3).
KEY_UPDATE = b"\x18\0\0\1\0"
#: The same, and the other side shall change its keys too.
KEY_UPDATE_REQUESTED = b"\x18\0\0\1\1"


class Records:
    """What a client that has done its handshake sends, from its first record on."""

    def __init__(self, client: ssl.SSLObject, key_log: Path) -> None:
        """Take over from `client`, which has sent nothing since its handshake.

        Args:
            client: with TLS 1.3.
            key_log: the `keylog_filename` of its context, which no other connection has used.
        """
        assert client.version() == "TLSv1.3"
        assert client.cipher() == ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)
        [secret] = [
            line.split()[2] for line in key_log.read_text().splitlines() if line.startswith("CLIENT_TRAFFIC")
        ]
        self._secret = bytes.fromhex(secret)
        self._begin()

    def _expanded(self, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label without a context (§7.1), of one block of the hash at most."""
        label = b"tls13 " + label
        information = struct.pack("!HB", size, len(label)) + label + b"\0"
        return hmac.new(self._secret, information + b"\1", hashlib.sha384).digest()[:size]

    def _begin(self) -> None:
        self._key = AESGCM(self._expanded(b"key", 32))
        self._iv = int.from_bytes(self._expanded(b"iv", 12))
        self._number = 0

    def change_keys(self) -> None:
        """What comes behind a `KEY_UPDATE` is encrypted so."""
        self._secret = self._expanded(b"traffic upd", 48)
        self._begin()

    def record(self, kind: int, content: bytes) -> bytes:
        inner = content + bytes([kind])
        head = struct.pack("!BHH", APPLICATION_DATA, 0x0303, len(inner) + 16)
        nonce = (self._iv ^ self._number).to_bytes(12)
        self._number += 1
        return head + self._key.encrypt(nonce, inner, head)
