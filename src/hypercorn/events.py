"""What passes between a connection and its protocol, for programs that name these types.

The engines of this server have events of their own (`hypercorn.protocols.events`).
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass


class Event(ABC):  # noqa: B024 - a name for the three below
    """Any of them."""


@dataclass(frozen=True)
class RawData(Event):
    """Bytes, and for a datagram where they come from or go to."""

    data: bytes
    address: tuple[str, int] | None = None


@dataclass(frozen=True)
class Closed(Event):
    """The connection is over."""


@dataclass(frozen=True)
class Updated(Event):
    """The connection is idle or no longer idle."""

    idle: bool
