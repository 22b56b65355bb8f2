"""A world for the plan: carries commands out on plain values, and checks what must hold after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hypercorn.arbiter import messages as m
from hypercorn.arbiter.plan import step
from hypercorn.arbiter.state import State
from hypercorn.config.supervision import Draining, DrainReason, Failed, Failure, Ready, Report, Retire


@dataclass
class Process:
    slot: int
    generation: int
    accepts: set[int]
    drain: DrainReason | None = None
    is_ready: bool = False
    is_aborting: bool = False
    is_killed: bool = False
    is_blocked: bool = False


@dataclass
class World:
    """Plays the operating system and the workers for one plan."""

    limits: m.Limits
    shared: frozenset[int] = frozenset()
    state: State = field(default_factory=State)
    now: float = 100.0
    processes: dict[int, Process] = field(default_factory=dict)
    keys: dict[int, m.ListenerKeys] = field(default_factory=dict)
    open_keys: set[int] = field(default_factory=set)
    commands: list[m.Command] = field(default_factory=list)
    exit: m.Exit | None = None
    next_limits: m.Limits | str | None = None
    is_resized: bool = False
    next_base: int | None = None
    base: int = 0

    def __post_init__(self) -> None:
        self.configure(1, self.limits, 0)

    # what happens

    def give(self, event: m.Event) -> list[m.Command]:
        """One event and what follows from it; returns the commands."""
        events, taken = [event], []
        while events and self.exit is None:
            for command in step(self.state, events.pop(0), self.now):
                taken.append(command)
                self.commands.append(command)
                events.extend(self.carry_out(command))
        self.check()
        return taken

    def configure(self, generation: int, limits: m.Limits, base: int) -> list[m.Command]:
        self.base = base
        slots = {*range(1, limits.workers + 1), *self.state.slots}
        self.keys[generation] = self.make_keys(base, slots)
        return self.give(m.Configured(generation, limits, self.keys[generation]))

    def make_keys(self, base: int, slots: set[int]) -> m.ListenerKeys:
        keys = m.ListenerKeys({slot: frozenset({base + slot}) for slot in slots}, self.shared)
        self.open_keys |= keys.all()
        return keys

    def say(self, worker: int, report: Report) -> list[m.Command]:
        if isinstance(report, Ready):
            self.processes[worker].is_ready = True
        return self.give(m.Said(worker, report))

    def ready(self, *slots: int) -> list[m.Command]:
        """The starting workers of these slots, of all if none is named, become ready."""
        taken: list[m.Command] = []
        for number, process in list(self.processes.items()):
            if not process.is_ready and (not slots or process.slot in slots):
                taken += self.say(number, Ready())
        return taken

    def exits(self, worker: int, status: int = 0, signal: int = 0) -> list[m.Command]:
        del self.processes[worker]
        return self.give(m.Exited(worker, status, signal))

    def fails(
        self, worker: int, failure: Failure = Failure.STARTUP, reason: str = "no database"
    ) -> list[m.Command]:
        taken = self.say(worker, Failed(failure, reason))
        return taken + self.exits(worker, 4 if failure is Failure.APPLICATION else 3)

    def drained(self) -> list[m.Command]:
        """Whoever was asked to drain does so and exits."""
        taken: list[m.Command] = []
        for number, process in list(self.processes.items()):
            if process.drain is not None and number in self.processes:
                taken += self.say(number, Draining())
                taken += self.exits(number)
        return taken

    def ask(self, request: m.Request) -> list[m.Command]:
        self.is_resized |= request in (m.Request.MORE, m.Request.FEWER, m.Request.PAUSE, m.Request.RELOAD)
        return self.give(m.Asked(request))

    def pass_time(self, seconds: float, *, beating: bool = True) -> list[m.Command]:
        """Let time pass in steps, as the loop would: a Tick at each deadline."""
        taken: list[m.Command] = []
        end = self.now + seconds
        while self.exit is None and self.state.due is not None and self.state.due <= end:
            self.now = max(self.now, self.state.due)
            taken += self.tick(beating)
            assert self.state.due is None or self.state.due > self.now, "the loop would spin"
        self.now = max(self.now, end)
        return taken

    def tick(self, beating: bool = True) -> list[m.Command]:
        alive = [n for n, p in self.processes.items() if beating and not p.is_blocked]
        return self.give(m.Tick(dict.fromkeys(alive, self.now)))

    # what is done about it

    def carry_out(self, command: m.Command) -> list[m.Event]:
        match command:
            case m.StartWorker(worker, slot, generation):
                keys = self.state.generations[generation].keys.of(slot)
                assert keys <= self.open_keys
                self.processes[worker] = Process(slot, generation, set(keys))
                return [m.Forked(worker, 1000 + worker)]
            case m.TellDrain(worker, reason):
                if reason is DrainReason.STOP:
                    assert not self.processes[worker].accepts & self.open_keys, "it has not the only copies"
                self.processes[worker].drain = reason
                self.processes[worker].accepts.clear()
            case m.TellAdopt(worker, keys):
                assert self.processes[worker].is_ready
                assert set(keys) <= self.open_keys
                self.processes[worker].accepts.update(keys)
            case m.TellRelease(worker, keys):
                assert set(keys) <= self.processes[worker].accepts
                self.processes[worker].accepts.difference_update(keys)
            case m.DumpStacks(worker):
                self.processes[worker].is_aborting = True
            case m.KillWorker(worker):
                self.processes[worker].is_killed = True
            case m.CloseListeners(keys):
                assert set(keys) <= self.open_keys
                self.open_keys.difference_update(keys)
            case m.OpenListeners(slot, generation):
                known = set(self.state.generations[generation].keys.own) | {slot}
                keys = self.make_keys(
                    min(self.state.generations[generation].keys.all() - self.shared) - 1, known
                )
                return [m.Opened(slot, generation, keys)]
            case m.Reread(generation):
                return self.reread(generation)
            case m.Exit():
                self.exit = command
            case _:
                pass
        return []

    def reread(self, generation: int) -> list[m.Event]:
        if isinstance(self.next_limits, str):
            return [m.Rejected(self.next_limits)]
        limits = self.next_limits or self.limits
        self.base = self.base if self.next_base is None else self.next_base
        slots = {*range(1, limits.workers + 1), *self.state.slots}
        return [m.Configured(generation, limits, self.make_keys(self.base, slots))]

    # what must hold

    def check(self) -> None:
        texts = [command.text for command in self.commands if isinstance(command, m.Log)]
        assert not [text for text in texts if text.startswith("Internal")]
        assert set(self.processes) == set(self.state.workers) or self.exit is not None
        if self.exit is not None:
            assert not self.processes, "the arbiter leaves while workers live"
            assert not self.open_keys
            return
        self.check_number()
        if not self.state.is_ending:
            self.check_queues()

    def check_number(self) -> None:
        by_themselves = [
            w for w in self.state.workers.values() if w.was_asked and not self.processes[w.number].drain
        ]
        places = {slot.number for slot in self.state.active()}
        wanted = len(places)
        staying = [
            p
            for n, p in self.processes.items()
            if not self.state.workers[n].was_asked
            # Whoever dumps its stacks ends too, and is not replaced where there is no place for it any more.
            and (p.slot in places or not p.is_aborting)
        ]
        assert len(staying) <= wanted + 1, "more than one worker above the number wanted"
        if not self.is_resized:
            given_up = [w for w in self.state.workers.values() if w.was_asked and w.ready_at is None]
            extra = len(self.processes) - wanted - len(by_themselves) - len(given_up)
            assert extra <= 1 or not wanted, "a successor was started before the last predecessor had gone"

    def check_queues(self) -> None:
        """Every open listener has somebody who accepts, if anybody in service could."""
        workers = self.state.workers
        serving = [
            n for n, p in self.processes.items() if p.is_ready and p.drain is None and not p.is_aborting
        ]
        serving = [n for n in serving if not workers[n].was_asked and not workers[n].is_stalled]
        accepted = {key for n in serving for key in self.processes[n].accepts}
        able = {key for n in serving for key in self.state.generations[workers[n].generation].keys.all()}
        assert able <= accepted, "a queue that nobody serves"

    # looking

    def of_slot(self, slot: int) -> list[int]:
        return [number for number, process in self.processes.items() if process.slot == slot]

    def log(self) -> str:
        return "\n".join(command.text for command in self.commands if isinstance(command, m.Log))

    def generations(self) -> list[int]:
        """Of the workers in service, by slot."""
        return [
            p.generation
            for p in sorted(self.processes.values(), key=lambda p: p.slot)
            if p.is_ready and not p.drain
        ]

    def retires(self, worker: int) -> list[m.Command]:
        return self.say(worker, Retire())


@pytest.fixture
def make_world() -> Callable[..., World]:
    def make(workers: int = 3, shared: frozenset[int] = frozenset(), **limits: object) -> World:
        return World(m.Limits(workers, **limits), shared)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Three workers, all in service."""
    made = make_world()
    made.ready()
    return made
