"""The opening handshake as pure functions: RFC 6455 §4.2 over HTTP/1.1, RFC 8441 §5 over HTTP/2.

What the HTTP engine has checked already (method, version, Upgrade and Connection, no content, `:protocol`) is
not checked again: it sets `Request.upgrade` for nothing else. It also writes Upgrade and Connection.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING

from ..engine import LocalProtocolError
from . import deflate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..events import Fields, Request
    from .deflate import DeflateParameters, Parameter

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_TOKEN})(?:[ \t]*=[ \t]*(?:({_TOKEN})|"({_TOKEN})"))?')
_NAME = re.compile(rf"[ \t]*({_TOKEN})")
_SEPARATOR = re.compile(r"[ \t]*(?:,|$)")

#: What an application cannot set in an accepting response, because the handshake itself does.
_RESERVED = frozenset(
    {
        b"connection",
        b"content-length",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"transfer-encoding",
        b"upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class Handshake:
    """A handshake that may be accepted.

    Attributes:
        status: of the response that accepts it.
        key: Sec-WebSocket-Key as sent. HTTP/2 needs none (RFC 8441 §5), but undici 7 sends one and wants its answer.
        subprotocols: what the client offers, in its order of preference.
        offers: the extensions that the client offers, with their parameters.
    """

    status: int
    key: bytes | None
    subprotocols: tuple[str, ...]
    offers: tuple[tuple[str, list[Parameter]], ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a handshake that breaks a rule; `reason` is for the debug log."""

    status: int
    fields: Fields
    reason: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The accepting response head, and the compression that it agrees to."""

    status: int
    fields: Fields
    deflate: DeflateParameters | None


def read_handshake(request: Request) -> Handshake | Refusal:
    """Judge a request whose `upgrade` is `"websocket"`."""
    is_http2 = request.http_version == "2"
    values: dict[bytes, list[bytes]] = {}
    for name, value in request.fields:
        # Names keep their case where raw names are passed to the application.
        values.setdefault(name.lower(), []).append(value)
    if values.get(b"sec-websocket-version") != [b"13"]:
        # 426 belongs to Upgrade, which HTTP/2 does not have.
        upgrade = [] if is_http2 else [(b"connection", b"upgrade, close"), (b"upgrade", b"websocket")]
        fields = [(b"sec-websocket-version", b"13"), *upgrade]
        return Refusal(400 if is_http2 else 426, fields, "the version of WebSocket is not 13")
    if b"host" not in values:
        return _refuse(is_http2, "no authority")
    keys = values.get(b"sec-websocket-key", [])
    key = keys[0] if len(keys) == 1 and _is_key(keys[0]) else None
    if key is None and not is_http2:
        return _refuse(is_http2, "Sec-WebSocket-Key is not 16 bytes in base64")
    subprotocols = _members(values.get(b"sec-websocket-protocol", []))
    offers = _read_extensions(b", ".join(values.get(b"sec-websocket-extensions", [])).decode("latin-1"))
    if offers is None:
        return _refuse(is_http2, "Sec-WebSocket-Extensions is malformed")
    return Handshake(200 if is_http2 else 101, key, subprotocols, offers)


def _refuse(is_http2: bool, reason: str) -> Refusal:
    return Refusal(400, [] if is_http2 else [(b"connection", b"close")], reason)


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def _members(values: list[bytes]) -> tuple[str, ...]:
    """The members of a list field; what clients put there besides tokens is passed on as it is."""
    members = (member.strip().decode("latin-1") for value in values for member in value.split(b","))
    return tuple(member for member in members if member)


def _read_extensions(text: str) -> tuple[tuple[str, list[Parameter]], ...] | None:
    """The offers of Sec-WebSocket-Extensions (RFC 6455 §9.1), or None if it does not follow the grammar."""
    offers: list[tuple[str, list[Parameter]]] = []
    position = 0
    while position < len(text):
        parameters: list[Parameter] = []
        if (name := _NAME.match(text, position)) is not None:
            position = name.end()
            while (parameter := _PARAMETER.match(text, position)) is not None:
                position = parameter.end()
                parameters.append((parameter[1], parameter[2] or parameter[3]))
            offers.append((name[1], parameters))
        # Empty members are allowed in a list (RFC 9110 §5.6.1.2).
        if (separator := _SEPARATOR.match(text, position)) is None:
            return None
        position = separator.end()
    return tuple(offers)


def accept(
    handshake: Handshake,
    subprotocol: str | None,
    fields: Iterable[tuple[bytes, bytes]],
    *,
    per_message_deflate: bool,
) -> Accepted:
    """The response that accepts `handshake`.

    Args:
        subprotocol: the one that the application has chosen among the offered, if any.
        fields: what the application adds.
        per_message_deflate: compression is allowed.

    Raises:
        LocalProtocolError: a subprotocol that was not offered, or a field that is not the application's to set.
    """
    head: Fields = []
    if handshake.key is not None:
        token = base64.b64encode(sha1(handshake.key + _GUID, usedforsecurity=False).digest())
        head.append((b"sec-websocket-accept", token))
    if subprotocol is not None:
        if subprotocol not in handshake.subprotocols:
            raise LocalProtocolError(f"the client has not offered the subprotocol {subprotocol!r}")
        head.append((b"sec-websocket-protocol", subprotocol.encode("latin-1")))
    agreed = deflate.negotiate(handshake.offers) if per_message_deflate else None
    if agreed is not None:
        head.append((b"sec-websocket-extensions", agreed[1].encode("ascii")))
    for name, value in fields:
        if name.lower() in _RESERVED or name.startswith(b":"):
            raise LocalProtocolError(f"{name!r} is not the application's to set in an accepted handshake")
        head.append((bytes(name), bytes(value)))
    return Accepted(handshake.status, head, agreed[0] if agreed else None)
