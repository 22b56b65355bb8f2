"""The two ways from HTTP/1.1 to cleartext HTTP/2: prior knowledge, and `Upgrade: h2c` (RFC 7540 §3.2)."""

from __future__ import annotations

import binascii
import re

from ..common import PREFACE
from ..events import Request
from . import grammar
from .rules import FieldFacts

#: The answer that accepts `Upgrade: h2c`.
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n"

#: Three words, of which neither the second looks like a target nor the third like a version.
_NOT_HTTP1 = re.compile(rb"[!-~]+ (?![/*])[!-9;-~]+ (?!(?i:HTTP))[A-Za-z]+")

_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def is_invalid_preface(data: bytes | bytearray) -> bool:
    """Tell whether a connection begins with what is neither HTTP/1 nor HTTP/2, where a whole preface could stand.

    Such a peer gets no answer (RFC 9113 §3.4): it reads frames or nothing, and an HTTP/1.1 response would be a
    frame of four megabytes to it. What has at least the shape of a request gets its 400, as has a shorter line.
    """
    line, end, _ = bytes(data).partition(b"\r\n")
    return bool(end) and len(line) >= len(PREFACE) and _NOT_HTTP1.fullmatch(line) is not None


def read_settings(request: Request, facts: FieldFacts) -> bytes | None:
    """The decoded HTTP2-Settings of a request that asks for h2c, or None if it does not, or not rightly."""
    encoded = facts.http2_settings
    if b"h2c" not in facts.upgrades or encoded is None or not request.end_stream:
        return None
    if request.http_version != "1.1" or grammar.HTTP2_SETTINGS.fullmatch(encoded) is None:
        return None
    try:
        settings = binascii.a2b_base64(encoded.translate(_URL_SAFE) + b"=" * (-len(encoded) % 4))
    except binascii.Error:
        return None
    # RFC 9113 §6.5.1: a sequence of settings of six bytes each.
    return settings if len(settings) % 6 == 0 else None
