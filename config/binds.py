"""What to listen on, as text and parsed.

Purely a matter of words: nothing is resolved or opened here, see `sockets` for that.
"""

from __future__ import annotations

import enum
import re
import socket
from dataclasses import dataclass

DEFAULT_PORT = 8000
_LARGEST_DESCRIPTOR = 2**31 - 1

#: An IPv4 address follows (RFC 4291 §2.5.5.2).
_MAPPED = bytes(10) + b"\xff\xff"

_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?")


class BindKind(enum.Enum):
    """Which of its fields a `Bind` uses."""

    INET = "inet"  # host and port, IPv4, IPv6 or a name
    UNIX = "unix"  # path
    ABSTRACT = "abstract"  # path, without the leading @
    DESCRIPTOR = "descriptor"  # fd


@dataclass(frozen=True, slots=True)
class Bind:
    """One place to listen on.

    Attributes:
        text: as the user wrote it; names the bind in messages.
        kind: which of the other fields count.
        host: an address without brackets, a host name, or "" for every IPv4 address.
        port: 0 lets the kernel choose.
        path: of a Unix socket, or the name of an abstract one.
        fd: number of an inherited descriptor.
    """

    text: str
    kind: BindKind
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1

    def __str__(self) -> str:
        return self.text


def parse_bind(text: str) -> Bind:
    """Understand one bind.

    Forms: `host:port`, `host` (port 8000), `:port`, `[v6]:port`, `[v6]`, a bare IPv6 address, `unix:path`,
    `unix:@name` (abstract), `fd://number`. Where an IPv6 address without brackets can be read both ways, the last
    group is the port if what stands before it is an address already: `::1:8000` is port 8000 of `::1`.

    Raises:
        ValueError: one sentence that says what is wrong.
    """
    if text.startswith("unix:"):
        return _parse_unix(text)
    if text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if not _is_decimal(number) or int(number) > _LARGEST_DESCRIPTOR:
            raise ValueError(f"{text!r} is no bind: fd:// wants the number of a descriptor")
        return Bind(text, BindKind.DESCRIPTOR, fd=int(number))
    if "://" in text or "/" in text:
        raise ValueError(f"{text!r} is no bind: write host:port, [IPv6]:port, unix:path or fd://number")
    return _parse_inet(text)


def _parse_unix(text: str) -> Bind:
    path = text.removeprefix("unix:")
    if path in ("", "@"):
        raise ValueError(f"{text!r} is no bind: unix: wants a path, or @ and a name")
    if "\0" in path:
        raise ValueError(f"{text!r} is no bind: an abstract socket is written unix:@name")
    if path.startswith("@"):
        return Bind(text, BindKind.ABSTRACT, path=path[1:])
    return Bind(text, BindKind.UNIX, path=path)


def _parse_inet(text: str) -> Bind:
    host, port = _split(text)
    if not host and port is None:
        raise ValueError("a bind is empty: write host:port, unix:path or fd://number")
    if any(character.isspace() or character in "[]\0" for character in host):
        raise ValueError(f"{text!r} is no bind: {host!r} is no host")
    if ":" in host and not _is_ipv6(host):
        raise ValueError(f"{text!r} is no bind: {host!r} is no IPv6 address")
    if _is_decimal(host):
        raise ValueError(f"{text!r} is no bind: a port alone is written :{host}")
    host = _without_mapping(host)
    return Bind(text, BindKind.INET, host=host, port=DEFAULT_PORT if port is None else _port(text, port))


def _split(text: str) -> tuple[str, str | None]:
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed:
        if not _is_ipv6(bracketed[1]):
            raise ValueError(f"{text!r} is no bind: {bracketed[1]!r} is no IPv6 address")
        return bracketed[1], bracketed[2]
    before, colon, after = text.rpartition(":")
    if not colon:
        return text, None
    if _is_ipv6(text) and not _is_ipv6(before):
        return text, None
    return before, after


def _port(text: str, port: str) -> int:
    if not _is_decimal(port) or int(port) > 65535:
        raise ValueError(f"{text!r} is no bind: {port!r} is no port, which is a number from 0 to 65535")
    return int(port)


def _is_decimal(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _without_mapping(host: str) -> str:
    """An IPv4 address in IPv6's writing (`::ffff:192.0.2.1`) as itself: our IPv6 sockets take IPv6 only."""
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return socket.inet_ntop(socket.AF_INET, packed[12:]) if packed.startswith(_MAPPED) else host


def _is_ipv6(text: str) -> bool:
    address, _, _ = text.partition("%")  # fe80::1%eth0
    try:
        socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):
        return False
    return True
