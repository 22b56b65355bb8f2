"""What happens to the arbiter (events) and what it decides to do (commands).

Plain values between the pure plan and the loop that carries it out; no command does anything by itself.

They are not the messages of `config/supervision.py`, though some sound alike: those travel to one worker and carry sockets,
these name workers and listeners by number, so that the plan can be run without either. Reports are the exception:
they are the same on both sides, and `Said` only adds who.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ..config.supervision import DrainReason, Report


class Request(enum.Enum):
    """What an operator can ask for with a signal; `docs/signals.md` has the whole meaning."""

    STOP = "stop"  # TERM, INT
    QUICK = "quick"  # QUIT
    RELOAD = "reload"  # HUP
    RESTART = "restart"  # USR1
    UPGRADE = "upgrade"  # USR2
    MORE = "more"  # TTIN
    FEWER = "fewer"  # TTOU
    PAUSE = "pause"  # WINCH


class Severity(enum.IntEnum):
    """The numbers of the standard library's log levels, which the plan cannot import."""

    INFO = 20
    WARNING = 30
    ERROR = 40


@dataclass(frozen=True, slots=True)
class Limits:
    """What the plan needs of the settings; times in seconds, see `Settings` for each."""

    workers: int
    worker_timeout: float = 30.0
    startup_timeout: float = 60.0
    graceful_timeout: float = 3.0
    shutdown_timeout: float = 60.0
    is_daemon: bool = False
    is_reloading: bool = False  # --reload: failures wait for the next change
    is_preloaded: bool = False


@dataclass(frozen=True, slots=True)
class ListenerKeys:
    """The listeners of one generation by `Listener.key`: those of each slot, and those that all workers share."""

    own: Mapping[int, frozenset[int]] = field(default_factory=dict[int, frozenset[int]])
    shared: frozenset[int] = frozenset()

    def of(self, slot: int) -> frozenset[int]:
        """What a worker of this slot accepts from."""
        return self.own.get(slot, frozenset()) | self.shared

    def all(self) -> frozenset[int]:
        """Every listener of the generation."""
        return self.shared.union(*self.own.values())


# Events


@dataclass(frozen=True, slots=True)
class Configured:
    """The settings of a generation are valid and its listeners are open. The first event of all."""

    generation: int
    limits: Limits
    keys: ListenerKeys


@dataclass(frozen=True, slots=True)
class Opened:
    """Listeners of a new slot, made for `OpenListeners`. `keys` are those of the whole generation."""

    slot: int
    generation: int
    keys: ListenerKeys


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """`OpenListeners` was not possible."""

    slot: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The configuration that `Reread` read cannot be used."""

    reason: str


@dataclass(frozen=True, slots=True)
class Forked:
    """A worker asked for with `StartWorker` runs now."""

    worker: int
    pid: int


@dataclass(frozen=True, slots=True)
class Said:
    """A worker sent a report."""

    worker: int
    report: Report


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker is gone: its exit status, or the number of the signal that killed it."""

    worker: int
    status: int = 0
    signal: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator asked for something."""

    request: Request


@dataclass(frozen=True, slots=True)
class Changed:
    """Files under `--reload` have changed; `has_settings` if settings are read from one of them."""

    paths: tuple[str, ...]
    has_settings: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. `beats` says when each worker's loop was last alive."""

    beats: Mapping[int, float] = field(default_factory=dict[int, float])


Event: TypeAlias = (
    Configured | Opened | OpenFailed | Rejected | Forked | Said | Exited | Asked | Changed | Tick
)


# Commands


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Fork a worker for a slot, with the listeners of the slot in that generation. Answered by Forked or Exited."""

    worker: int
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class TellDrain:
    """Ask a worker to drain. `ending` are listeners that have just been closed here, see `Drain`."""

    worker: int
    reason: DrainReason
    ending: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TellAdopt:
    """Let a worker accept from these listeners too."""

    worker: int
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TellRelease:
    """Let a worker stop accepting from listeners that it had adopted."""

    worker: int
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DumpStacks:
    """Let a worker write where its threads stand."""

    worker: int


@dataclass(frozen=True, slots=True)
class TellStacks:
    """Log what a worker has written of that, under this sentence."""

    worker: int
    sentence: str


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End a worker at once."""

    worker: int


@dataclass(frozen=True, slots=True)
class OpenListeners:
    """Open the listeners of a slot that is new in a generation. Answered by Opened or OpenFailed."""

    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class CloseListeners:
    """Close listeners that nobody needs any more."""

    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reread:
    """Read the configuration again, for a new generation. Answered by Configured or Rejected."""

    generation: int


@dataclass(frozen=True, slots=True)
class Renew:
    """A new generation begins with the settings of another."""

    generation: int
    like: int


@dataclass(frozen=True, slots=True)
class Settle:
    """This generation serves now: its settings are the arbiter's own."""

    generation: int


@dataclass(frozen=True, slots=True)
class Forget:
    """No worker will be started in this generation any more."""

    generation: int


@dataclass(frozen=True, slots=True)
class ReopenLogs:
    """Open the log files anew: somebody has moved them away."""


class Phase(enum.Enum):
    """What a service manager can be told."""

    READY = "ready"
    RELOADING = "reloading"
    STOPPING = "stopping"
    STATUS = "status"  # only the text is new


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell whoever started the arbiter how the service does."""

    phase: Phase
    status: str


@dataclass(frozen=True, slots=True)
class Announce:
    """The service is up for the first time: every slot has a ready worker or has failed to get one."""


@dataclass(frozen=True, slots=True)
class Log:
    """One line for the error log."""

    severity: Severity
    text: str


@dataclass(frozen=True, slots=True)
class Exit:
    """All is over. `reason` is one sentence for standard error, empty for a clean stop."""

    status: int
    reason: str = ""


Command: TypeAlias = (
    StartWorker
    | TellDrain
    | TellAdopt
    | TellRelease
    | DumpStacks
    | TellStacks
    | KillWorker
    | OpenListeners
    | CloseListeners
    | Reread
    | Renew
    | Settle
    | Forget
    | ReopenLogs
    | Notify
    | Announce
    | Log
    | Exit
)
