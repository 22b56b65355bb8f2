"""What a worker needs from whoever started it.

The arbiter implements this for forked workers; a server that runs inside the caller's own process
(`workers = 0`, `hypercorn.asyncio.serve`) uses `Unsupervised`. Workers never import the arbiter.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ..config.sockets import Listener


class Counter(enum.IntEnum):
    """Index of each figure in a worker's row of the scoreboard (unsigned 64 bit, written by the worker)."""

    CONNECTIONS_OPEN = 0
    CONNECTIONS_TOTAL = 1
    REQUESTS_OPEN = 2
    REQUESTS_TOTAL = 3
    BYTES_SENT = 4
    ERRORS = 5


class DrainReason(enum.Enum):
    """Why a worker is told to finish: it decides what WebSocket peers are told (RFC 6455 §7.4.1)."""

    STOP = "stop"  # the service ends: 1001
    REPLACE = "replace"  # a successor serves already: 1012
    QUICK = "quick"  # finish nothing, only leave in order


@dataclass(frozen=True, slots=True)
class Adopt:
    """Serve these listeners too: their own worker is gone or not ready."""

    listeners: tuple[Listener, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Stop accepting on adopted listeners: their own worker is ready. `keys` are `Listener.key`s."""

    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """Accept no more, finish what is open, exit."""

    reason: DrainReason


Instruction: TypeAlias = Adopt | Release | Drain


class Failure(enum.Enum):
    """Why a worker could not become ready."""

    APPLICATION = "application"  # cannot be loaded: exit status 4
    STARTUP = "startup"  # lifespan failed or timed out, or anything else: exit status 3


class Supervisor(Protocol):
    """A worker's line to its arbiter. No method blocks."""

    slot: int
    generation: int
    #: One unsigned 64-bit figure per `Counter`.
    counters: memoryview | list[int]

    def beat(self, now: float) -> None:
        """Note in the scoreboard that the event loop is alive at `now` (monotonic seconds)."""
        ...

    def ready(self) -> None:
        """The application is loaded, its lifespan has started, connections are being accepted."""
        ...

    def failed(self, failure: Failure, reason: str) -> None:
        """The worker gives up before it was ready; `reason` is one sentence for the operator."""
        ...

    def retire(self) -> None:
        """The worker has served its share (`max_requests`): please start a successor and drain me."""
        ...

    def draining(self) -> None:
        """The worker has begun to drain."""
        ...

    def channel(self) -> socket.socket | None:
        """The non-blocking socket that is readable when `instructions` has something, or None."""
        ...

    def instructions(self) -> Sequence[Instruction] | None:
        """Everything the arbiter has said since the last call; None once the arbiter is gone."""
        ...


class Unsupervised:
    """The supervisor of a server that nobody supervises."""

    def __init__(self) -> None:
        self.slot = 0
        self.generation = 0
        self.counters: memoryview | list[int] = [0] * len(Counter)

    def beat(self, now: float) -> None: ...

    def ready(self) -> None: ...

    def failed(self, failure: Failure, reason: str) -> None: ...

    def retire(self) -> None: ...

    def draining(self) -> None: ...

    def channel(self) -> socket.socket | None:
        return None

    def instructions(self) -> Sequence[Instruction] | None:
        return ()
