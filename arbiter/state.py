"""What the plan knows: slots, workers, generations. Plain data and questions about it, no decisions."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from ..config.supervision import Failed
from .lifecycle import WorkerState
from .messages import Exit, Limits, ListenerKeys


class Mode(enum.Enum):
    """What the whole service is about."""

    RUNNING = "running"
    PAUSED = "paused"  # WINCH: no workers, listeners open
    STOPPING = "stopping"
    QUICK = "stopping quickly"


@dataclass(slots=True)
class Slot:
    """A worker's numbered place.

    Attributes:
        number: from 1.
        is_active: a worker belongs here; a slot that is not keeps its listeners, which siblings adopt.
        deaths: how often in a row a worker ended here that should not have.
        failed_at: when a worker last ended here that should not have.
        not_before: no worker is started here earlier, unless nobody else serves.
        failure: why no worker became ready here at the first start.
        is_waiting: with --reload: nothing is started before files change.
        is_opening: its listeners are being opened.
        told: the last reason for a failure here that was logged in full.
        workers: the processes of this slot, oldest first.
    """

    number: int
    is_active: bool = True
    deaths: int = 0
    failed_at: float = 0.0
    not_before: float = 0.0
    failure: Failed | None = None
    is_waiting: bool = False
    is_opening: bool = False
    told: str | None = None
    workers: list[Worker] = field(default_factory=list["Worker"])

    def forgive(self, now: float) -> None:
        """Whatever went wrong here before has no consequences any more."""
        self.failure = self.told = None
        self.is_waiting = False
        self.deaths, self.not_before = 0, now


@dataclass(slots=True)
class Worker:
    """One process, from the decision to fork it to its end.

    Attributes:
        number: unique for the arbiter's life; older workers have lower ones.
        was_asked: its end is wished.
        was_hurried: it was told to leave quickly: nothing that it says gives it more time.
        wants_successor: it has served its share.
        is_stalled: its loop has not beaten for a while; siblings serve its queue.
        doubted_since: when it was first found without a beat for nearly as long as it may be.
        silence: why it has to dump its stacks.
        adopted: keys of listeners of other slots that it serves.
        deadline: when its time in this state is up.
    """

    number: int
    slot: int
    generation: int
    limits: Limits
    beat: float
    state: WorkerState = WorkerState.STARTING
    pid: int = 0
    ready_at: float | None = None
    was_asked: bool = False
    was_hurried: bool = False
    wants_successor: bool = False
    is_stalled: bool = False
    doubted_since: float | None = None
    silence: str = ""
    failure: Failed | None = None
    adopted: set[int] = field(default_factory=set[int])
    deadline: float | None = None

    def __str__(self) -> str:
        return f"worker {self.slot} (pid {self.pid})" if self.pid else f"worker {self.slot}"


@dataclass(slots=True)
class Generation:
    """Settings that workers are started with; `sets_count` if its `limits.workers` is to be applied."""

    number: int
    limits: Limits
    keys: ListenerKeys
    sets_count: bool = False


@dataclass(slots=True)
class State:
    """Everything that `plan.step` knows; it alone changes this.

    Attributes:
        target: generation that all workers shall have.
        proven: newest generation of which a worker became ready, None before the first.
        last_generation, last_worker: numbers given out.
        is_rereading: the configuration is being read for a new generation.
        is_replacing: a service manager was told RELOADING and awaits READY.
        stop_asked_at: when an operator first wished the end.
        due: when a `Tick` is wanted next.
        stepped_at: when the last step was taken.
    """

    mode: Mode = Mode.RUNNING
    slots: dict[int, Slot] = field(default_factory=dict[int, Slot])
    workers: dict[int, Worker] = field(default_factory=dict[int, Worker])
    generations: dict[int, Generation] = field(default_factory=dict[int, Generation])
    open_keys: set[int] = field(default_factory=set[int])
    target: int = 0
    proven: int | None = None
    last_generation: int = 1
    last_worker: int = 0
    is_announced: bool = False
    is_replacing: bool = False
    is_rereading: bool = False
    status: str = ""
    exit: Exit | None = None
    is_over: bool = False
    stop_asked_at: float | None = None
    due: float | None = None
    stepped_at: float = 0.0

    @property
    def is_ending(self) -> bool:
        return self.mode in (Mode.STOPPING, Mode.QUICK)

    @property
    def serving(self) -> Generation | None:
        """The generation that the service stands on."""
        return self.generations.get(self.target if self.proven is None else self.proven)

    def active(self) -> list[Slot]:
        """The slots that shall have a worker now."""
        if self.mode is not Mode.RUNNING:
            return []
        return [slot for _, slot in sorted(self.slots.items()) if slot.is_active]

    def is_active(self, slot: int) -> bool:
        """Whether a worker belongs into this slot."""
        return slot in self.slots and self.slots[slot].is_active

    def activate(self, number: int, now: float) -> None:
        """A worker belongs into this slot from now on."""
        slot = self.slots.setdefault(number, Slot(number))
        slot.is_active = True
        slot.deaths, slot.not_before = 0, now

    def apply_count(self, generation: Generation, now: float) -> None:
        """Let as many slots be active as the generation says."""
        generation.sets_count = False
        for number in range(1, generation.limits.workers + 1):
            if not self.is_active(number):
                self.activate(number, now)
        for slot in self.slots.values():
            slot.is_active = slot.number <= generation.limits.workers

    def add(self, worker: Worker) -> None:
        """A worker is about to be forked."""
        self.workers[worker.number] = worker
        self.slots[worker.slot].workers.append(worker)

    def remove(self, worker: Worker) -> None:
        """A worker is gone."""
        del self.workers[worker.number]
        self.slots[worker.slot].workers.remove(worker)

    def is_outdated(self, worker: Worker) -> bool:
        """Nothing is started with its code and settings any more."""
        return worker.generation not in (self.target, self.proven)

    def ready(self) -> list[Worker]:
        """The workers in service."""
        return [worker for worker in self.workers.values() if worker.state is WorkerState.READY]

    def ready_in(self, slot: int) -> list[Worker]:
        """The workers in service of one slot, oldest first."""
        return [worker for worker in self.slots[slot].workers if worker.state is WorkerState.READY]

    def is_empty(self, slot: int) -> bool:
        """Nobody serves here or is about to; who leaves on request does not count."""
        return all(worker.was_asked for worker in self.slots[slot].workers)

    def has_starting(self, slot: int) -> bool:
        """A worker of this slot is between fork and ready, and may still get there."""
        return any(worker.ready_at is None and not worker.was_asked for worker in self.slots[slot].workers)
