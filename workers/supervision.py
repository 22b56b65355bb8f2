"""What a worker needs from whoever started it.

The arbiter implements this for forked workers; a server that runs inside the caller's own process
(`workers = 0`, `hypercorn.asyncio.serve`) uses `Unsupervised`. Workers never import the arbiter.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Sequence
from typing import Protocol

from ..config.supervision import Adopt, Drain, DrainReason, Failure, Instruction, Release

__all__ = [
    "Adopt",
    "Counter",
    "Drain",
    "DrainReason",
    "Failure",
    "Instruction",
    "Release",
    "Supervisor",
    "Unsupervised",
]


class Counter(enum.IntEnum):
    """Index of each figure in a worker's row of the scoreboard (unsigned 64 bit, written by the worker)."""

    CONNECTIONS_OPEN = 0
    CONNECTIONS_TOTAL = 1
    REQUESTS_OPEN = 2
    REQUESTS_TOTAL = 3
    BYTES_SENT = 4
    ERRORS = 5


class Supervisor(Protocol):
    """A worker's line to its arbiter. No method blocks, but for the last word of `failed`."""

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

    def failed(self, failure: Failure, reason: str, report: str = "") -> None:
        """The worker gives up before it was ready.

        `reason` is one sentence for the operator, `report` that and more (a traceback), for whoever supervises to log.
        """
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

    def failed(self, failure: Failure, reason: str, report: str = "") -> None: ...

    def retire(self) -> None: ...

    def draining(self) -> None: ...

    def channel(self) -> socket.socket | None:
        return None

    def instructions(self) -> Sequence[Instruction] | None:
        return ()
