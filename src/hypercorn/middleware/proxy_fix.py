"""Believes what proxies in front of the server say about the client: its address, the scheme, the host.

Every proxy appends, and a client may send the same fields itself: only as many values, counted from the right,
as there are trusted proxies are to be believed. The last one to be believed was written by the outermost proxy,
about the client. Use this only where every request comes through those proxies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from ..typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

Fields = Iterable[tuple[bytes, bytes]]

#: RFC 7239 §4: `token=token` or `token="quoted"`; and what separates them.
_PAIR = re.compile(r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*""")
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class ProxyFixMiddleware:
    """Gives the application the scope as the outermost trusted proxy saw it.

    Args:
        mode: `legacy` reads X-Forwarded-For, -Proto and -Host, `modern` reads Forwarded (RFC 7239).
        trusted_hops: how many proxies there are. A field with fewer values is not believed at all.
    """

    def __init__(
        self, app: ASGIFramework, mode: Literal["legacy", "modern"] = "legacy", trusted_hops: int = 1
    ) -> None:
        self.app = app
        self.mode = mode
        self.trusted_hops = trusted_hops

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "lifespan":
            if self.mode == "modern":
                said = _read_forwarded(scope["headers"], self.trusted_hops)
            else:
                said = {
                    "for": _get_trusted_value(b"x-forwarded-for", scope["headers"], self.trusted_hops),
                    "proto": _get_trusted_value(b"x-forwarded-proto", scope["headers"], self.trusted_hops),
                    "host": _get_trusted_value(b"x-forwarded-host", scope["headers"], self.trusted_hops),
                }
            # A copy of its own, since whoever called may still look at the scope.
            scope = cast("Scope", _corrected(dict(scope), said))
        await self.app(scope, receive, send)


def _corrected(scope: dict[str, Any], said: dict[str, str | None]) -> dict[str, Any]:
    client, proto, host = said.get("for"), said.get("proto"), said.get("host")
    if client:
        scope["client"] = _parse_node(client)
    scheme = _SCHEMES.get((proto or "").lower())
    if scheme is not None:
        is_websocket = scope["type"] == "websocket"
        scope["scheme"] = scheme.replace("http", "ws") if is_websocket else scheme
    if host:
        fields = [(name, value) for name, value in scope["headers"] if name.lower() != b"host"]
        scope["headers"] = [*fields, (b"host", host.encode("latin-1"))]
    return scope


def _get_trusted_value(name: bytes, headers: Fields, trusted_hops: int) -> str | None:
    """The value that the outermost trusted proxy appended to the field `name`, if it did."""
    values = [
        value.strip()
        for field_name, line in headers
        if field_name.lower() == name
        for value in line.decode("latin-1").split(",")
    ]
    return values[-trusted_hops] if len(values) >= trusted_hops > 0 else None


def _read_forwarded(headers: Fields, trusted_hops: int) -> dict[str, str | None]:
    elements: list[dict[str, str | None]] = []
    for name, line in headers:
        if name.lower() == b"forwarded":
            elements += _parse_forwarded(line.decode("latin-1"))
    return elements[-trusted_hops] if len(elements) >= trusted_hops > 0 else {}


def _parse_forwarded(line: str) -> list[dict[str, str | None]]:
    """The elements of one field line. From the first mistake on it counts as one element that says nothing."""
    elements: list[dict[str, str | None]] = [{}]
    position = 0
    while match := _PAIR.match(line, position):
        name, value = match.groups()
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        elements[-1][name.lower()] = value
        position = match.end()
        separator = line[position : position + 1]
        position += 1
        if separator == ",":
            elements.append({})
        elif separator != ";":
            break
    if position < len(line):
        elements[-1] = {}
    return elements


def _parse_node(node: str) -> tuple[str, int]:
    """(address, port) of a node as RFC 7239 §6 writes it; the port is 0 where there is none."""
    if node.startswith("["):
        host, _, port = node[1:].partition("]")
        port = port.removeprefix(":")
    elif node.count(":") == 1:
        host, _, port = node.partition(":")
    else:
        host, port = node, ""
    return host, int(port) if port.isdecimal() and port.isascii() else 0
