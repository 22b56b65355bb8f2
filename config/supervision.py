"""What an arbiter and its workers tell each other: plain values that both sides know.

They live here because neither side may import the other. How they travel is `arbiter/channel.py`, who says them
when is `workers/supervision.py`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from .sockets import Listener

#: A signal to stop that comes again so soon is the same request, sent to a process and then to its group.
SAME_REQUEST_SECONDS = 0.25


class ExitStatus(enum.IntEnum):
    """How a worker's process ends, and with it the whole service; `docs/signals.md` has the whole meaning."""

    CLEAN = 0
    FAILED = 1  # while it served, or for want of something that the system refused
    WRONG_USAGE = 2
    NOT_READY = 3
    NO_APPLICATION = 4


class DrainReason(enum.Enum):
    """Why a worker is told to finish: it decides what WebSocket peers are told (RFC 6455 §7.4.1).

    In the order of their urgency: a later one takes the place of an earlier one.
    """

    REPLACE = "replace"  # a successor serves already: 1012
    STOP = "stop"  # the service ends: 1001
    QUICK = "quick"  # finish nothing, only leave in order

    def outranks(self, other: DrainReason) -> bool:
        """Whether a drain for `other` is to become one for this reason."""
        order = list(DrainReason)
        return order.index(self) > order.index(other)


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
    """Accept no more, finish what is open, exit.

    `ending` are keys of listeners that nobody accepts from afterwards, other than at a stop, where that is true of all:
    what waits in their queues is served before they are closed.
    """

    reason: DrainReason
    ending: tuple[int, ...] = ()


Instruction: TypeAlias = Adopt | Release | Drain


class Failure(enum.Enum):
    """Why a worker could not become ready."""

    APPLICATION = "application"  # cannot be loaded: exit status 4
    CONFIGURATION = "configuration"  # what only a worker may look at: exit status 2
    STARTUP = "startup"  # lifespan failed or timed out, or anything else: exit status 3


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker accepts connections: application loaded, lifespan started."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker gives up before it was ready; `reason` is one sentence for the operator, `report` what to log of it.

    The arbiter logs, not the worker, so that what is wrong with all workers is told once.
    """

    failure: Failure
    reason: str
    report: str = ""


@dataclass(frozen=True, slots=True)
class Retire:
    """A worker has served its share and asks for a successor."""


@dataclass(frozen=True, slots=True)
class Draining:
    """A worker has begun to drain."""


Report: TypeAlias = Ready | Failed | Retire | Draining
