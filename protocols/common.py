"""What HTTP/1.1 and HTTP/2 have in common: values that both check by the same rules, and the preface between them.

Nothing here refuses anything. HTTP/1.1 answers with a status code what HTTP/2 resets, so each says it in its own way.
"""

from __future__ import annotations

import re
from functools import lru_cache

#: What a client begins HTTP/2 with, and what nobody can take for HTTP/1.1 (RFC 9113 §3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: The largest Content-Length and chunk size that are believed: what a 64-bit number holds elsewhere on the way. One
#: that does not fit is an attempt to be read differently there.
LARGEST_SIZE = (1 << 63) - 1

# RFC 9110 §7.2 and RFC 3986 §3.2: Host = uri-host [ ":" port ], without userinfo. It may be empty. Groups: what may be
# an IPv6 address, and the port. No comma, which RFC 3986 would allow in a name: it joins two Hosts that were one list.
# Repetitions are possessive where they can be, as in `http1/grammar.py`.
_HOST = re.compile(
    rb"(?:\[(?:([0-9A-Fa-f:.]++)|[vV][0-9A-Fa-f]++\.[-._~!$&'()*+,;=:0-9A-Za-z]++)\]"
    rb"|(?:[-._~!$&'()*+;=0-9A-Za-z]|%[0-9A-Fa-f]{2})*)"
    rb"(?::0*+([0-9]{0,5}+))?"
)

# RFC 9110 §8.6: Content-Length = 1*DIGIT. Twenty digits are beyond any body.
_CONTENT_LENGTH = re.compile(rb"[0-9]{1,20}+")


def read_length(value: bytes) -> int | None:
    """The number that a Content-Length stands for; None if it is no plain number, or larger than any content."""
    if _CONTENT_LENGTH.fullmatch(value) is None:
        return None
    length = int(value)
    return length if length <= LARGEST_SIZE else None


@lru_cache(256)
def list_members(value: bytes) -> frozenset[bytes]:
    """The members of a comma-separated list in lower case, without empty ones (RFC 9110 §5.6.1)."""
    return frozenset(member for part in value.lower().split(b",") if (member := part.strip(b" \t")))


@lru_cache(256)
def host_fault(value: bytes) -> str:
    """Why `value` is no host with an optional port (RFC 9110 §7.2); empty if it is one, or empty."""
    match = _HOST.fullmatch(value)
    if match is None:
        return "the host is malformed (RFC 9110 §7.2)"
    literal, port = match.groups()
    if literal is not None and not _is_address(literal.decode()):
        return "the host is a malformed IPv6 address (RFC 3986 §3.2.2)"
    if port and int(port) > 65535:
        return "the host has a port that there is not (RFC 9110 §4.2.1)"
    return ""


def _is_address(literal: str) -> bool:
    from ipaddress import IPv6Address

    try:
        IPv6Address(literal)
    except ValueError:
        return False
    return True


def has_no_host(authority: bytes) -> bool:
    """Whether the host of an authority is empty, which a target must not have (RFC 9110 §4.2.1)."""
    return not authority or authority[:1] == b":"
