"""Listening sockets: made from binds, owned by whoever opened them."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from .binds import Bind


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket.

    Attributes:
        key: unique among the listeners of one arbiter; names it in messages.
        sock: non-blocking, listening.
        bind: what it was made from.
        secure: TLS is spoken on it.
        shared: several workers accept from it (no `SO_REUSEPORT` socket of its own per slot).
    """

    key: int
    sock: socket.socket
    bind: Bind
    secure: bool
    shared: bool
