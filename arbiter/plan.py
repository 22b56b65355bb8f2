"""Decides what the arbiter does next: `step(state, event, now) -> commands`.

Knows no operating system and no clock. A step takes one event in and then brings what is (`State`) towards what
shall be: every active slot has a ready worker of the target generation, every listener somebody who accepts from it,
and never more than one worker above the number wanted. Replacement is therefore no procedure with a position, but
what follows from "this worker is not of the target generation" as often as a step is taken.

A new generation is the *target* until one of its workers becomes ready, which makes it *proven*. If it fails before,
the target is the proven generation again: what served keeps serving.
"""

from __future__ import annotations

import dataclasses
import signal

from ..config.supervision import Draining, DrainReason, Failed, Failure, Ready, Retire
from . import messages as m
from .coverage import cover
from .lifecycle import BEATING, TABLE, Action, WorkerEvent, WorkerState
from .messages import Command, Event, Request, Severity
from .state import Generation, Mode, Slot, State, Worker

#: Exit status, see the design.
EXIT_FAILED = 1
EXIT_NOT_READY = 3
EXIT_NO_APPLICATION = 4

#: What a worker may take beyond the time that it grants its connections and its application, in seconds.
MARGIN = 1.0
#: What importing an application may take beyond the start of its lifespan.
IMPORT_SECONDS = 60.0
QUICK_SECONDS = 2.0
DUMP_SECONDS = 1.0
FAILED_SECONDS = 5.0
#: Workers beat once a second. Without a beat for so long, siblings serve the worker's queue until it beats again.
STALL_SECONDS = 2.5
#: How often a stalled worker is looked at.
LOOK_SECONDS = 1.0
#: A worker that served so long before it died is no member of a crash loop.
STABLE_SECONDS = 30.0
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
#: The longest delay while nobody serves or is about to: one try a second costs less than no service.
LONGEST_OUTAGE = 1.0
#: The arbiter itself was not scheduled for so long (machine suspended, process stopped): the workers were not either.
LAG_SECONDS = 5.0
MOST_WORKERS = 500


def step(state: State, event: Event, now: float) -> list[Command]:
    """Take one event in; gives what is to be done, in this order.

    Args:
        state: changed in place; `state.due` says when a Tick is wanted next.
        event: what happened.
        now: monotonic seconds.
    """
    decision = _Step(state, now)
    if not state.is_over:
        decision.take(event)
        decision.reconcile()
        state.due = _due(state, now)
    return decision.commands


def delay_after(deaths: int) -> float:
    """Seconds to wait before the next try after so many deaths in a row: none at first, then doubling."""
    return 0.0 if deaths <= 1 else min(FIRST_DELAY * 2.0 ** min(deaths - 2, 16), LONGEST_DELAY)


def _due(state: State, now: float) -> float | None:
    moments = [worker.deadline for worker in state.workers.values() if worker.deadline is not None]
    moments += [
        worker.beat + _patience(state, worker, now)
        for worker in state.workers.values()
        if worker.state in BEATING and worker.limits.worker_timeout
    ]
    # What could be done by now has been done in this very step.
    starts = [_starts_at(state, slot) for slot in state.active() if _awaits_time(state, slot)]
    moments += [moment for moment in starts if moment > now]
    return min(moments, default=None)


def _starts_at(state: State, slot: Slot) -> float:
    """When a worker may be started in this slot."""
    is_outage = state.is_empty(slot.number) and not any(
        worker.state in (WorkerState.STARTING, WorkerState.READY) for worker in state.workers.values()
    )
    return min(slot.not_before, slot.failed_at + LONGEST_OUTAGE) if is_outage else slot.not_before


def _patience(state: State, worker: Worker, now: float) -> float:
    """Seconds without a beat until something is to be done: siblings, if there are any, help before it is killed."""
    timeout = worker.limits.worker_timeout
    if worker.is_stalled:
        return min(now - worker.beat + LOOK_SECONDS, timeout)
    can_be_helped = worker.state is WorkerState.READY and len(state.slots) > 1
    return min(STALL_SECONDS, timeout) if can_be_helped else timeout


def _awaits_time(state: State, slot: Slot) -> bool:
    if slot.is_waiting or (slot.failure is not None and state.proven is None):
        return False
    return state.is_empty(slot.number) or any(
        worker.wants_successor for worker in state.ready_in(slot.number)
    )


class _Step:
    """One step: the state, the time, and the commands so far."""

    def __init__(self, state: State, now: float) -> None:
        self.state = state
        self.now = now
        self.commands: list[Command] = []

    # Taking events in

    def take(self, event: Event) -> None:
        match event:
            case m.Said():
                self._said(event)
            case m.Exited():
                self._exited(event)
            case m.Tick():
                self._tick(event)
            case m.Forked(worker, pid):
                self.state.workers[worker].pid = pid
                self._log(
                    f"{self.state.workers[worker]} starts, generation {self.state.workers[worker].generation}"
                )
            case m.Asked(request):
                self._asked(request)
            case m.Changed(paths):
                self._changed(paths)
            case _:
                self._configuration(event)

    def _configuration(self, event: Event) -> None:
        match event:
            case m.Configured(number, limits, keys):
                self._configured(Generation(number, limits, keys, sets_count=True))
            case m.Rejected(reason):
                self._log(f"The configuration is not used, nothing changes: {reason}", Severity.ERROR)
                self.state.is_rereading = False
            case m.Opened(slot, number, keys):
                self.state.slots[slot].is_opening = False
                self.state.open_keys |= keys.all()
                if number in self.state.generations:
                    self.state.generations[number].keys = keys
            case m.OpenFailed(slot, reason):
                self.state.slots[slot].is_opening = False
                self.state.slots[slot].is_active = False
                self._log(f"Worker {slot} cannot be added: {reason}", Severity.ERROR)
            case _:
                raise TypeError(f"not an event: {event!r}")

    def _configured(self, generation: Generation) -> None:
        state = self.state
        state.is_rereading = False
        state.last_generation = max(state.last_generation, generation.number)
        state.generations[generation.number] = generation
        state.open_keys |= generation.keys.all()
        if state.is_ending:
            return
        state.target = generation.number
        state.mode = Mode.RUNNING
        self._forgive_slots()
        if not state.slots:
            self._apply_count(generation)

    def _said(self, event: m.Said) -> None:
        worker = self.state.workers.get(event.worker)
        if worker is None:
            return
        match event.report:
            case Ready():
                self._advance(worker, WorkerEvent.SAID_READY)
            case Retire():
                self._advance(worker, WorkerEvent.SAID_RETIRE)
            case Draining():
                self._advance(worker, WorkerEvent.SAID_DRAINING)
            case Failed():
                worker.failure = worker.failure or event.report
                self._advance(worker, WorkerEvent.SAID_FAILED)

    def _tick(self, event: m.Tick) -> None:
        lag = 0.0 if self.state.due is None else self.now - self.state.due
        for worker in list(self.state.workers.values()):
            worker.beat = max(worker.beat, event.beats.get(worker.number, worker.beat))
            if lag > LAG_SECONDS:
                self._forgive(worker, lag)
            self._check(worker)

    def _forgive(self, worker: Worker, lag: float) -> None:
        worker.beat = self.now
        if worker.deadline is not None:
            worker.deadline += lag

    def _check(self, worker: Worker) -> None:
        if worker.deadline is not None and self.now >= worker.deadline:
            self._advance(worker, WorkerEvent.LATE)
        elif worker.state in BEATING and 0 < worker.limits.worker_timeout <= self.now - worker.beat:
            self._advance(worker, WorkerEvent.SILENT)
        worker.is_stalled = worker.limits.worker_timeout > 0 and self.now - worker.beat >= STALL_SECONDS

    def _asked(self, request: Request) -> None:
        state = self.state
        if request is Request.STOP:
            self._stop(Mode.QUICK if state.is_ending else Mode.STOPPING)
        elif request is Request.QUICK:
            self._stop(Mode.QUICK)
        elif state.is_ending:
            return
        elif request is Request.RELOAD:
            self._reload()
        elif request is Request.RESTART:
            self.commands.append(m.ReopenLogs())
            self._log("Restart: the workers are replaced one by one")
            self._renew()
        elif request is Request.UPGRADE:
            self._log("A hot upgrade (USR2) is not supported yet; nothing is done", Severity.WARNING)
        elif request is Request.PAUSE:
            self._pause()
        else:
            self._resize(1 if request is Request.MORE else -1)

    def _stop(self, mode: Mode) -> None:
        again = self.state.mode is Mode.QUICK
        if not self.state.is_ending:
            self.commands.append(m.Notify(m.Phase.STOPPING, "stopping"))
        is_news = self.state.mode is not mode
        self.state.mode = mode
        if self.state.exit is None and is_news:
            self._log("Stopping" if mode is Mode.STOPPING else "Stopping quickly")
        for worker in list(self.state.workers.values()):
            self._advance(worker, WorkerEvent.DRAIN if mode is Mode.STOPPING else WorkerEvent.HURRY)
            if again and worker.state is not WorkerState.KILLED:
                self._advance(worker, WorkerEvent.LATE)

    def _reload(self) -> None:
        self._log("Reload: the configuration is read again, then the workers are replaced one by one")
        self._tell_preloaded()
        self._replacing()
        self.state.last_generation += 1
        self.state.is_rereading = True
        self.commands.append(m.Reread(self.state.last_generation))

    def _changed(self, paths: tuple[str, ...]) -> None:
        if self.state.is_ending:
            return
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        self._log(f"Changed: {', '.join(paths[:3])}{more}; the workers are replaced")
        self._renew()

    def _renew(self) -> None:
        """Start a generation with the settings of the present one."""
        state = self.state
        self._tell_preloaded()
        self._replacing()
        state.last_generation += 1
        model = state.generations[state.target]
        self.commands.append(m.Renew(state.last_generation, model.number))
        state.generations[state.last_generation] = dataclasses.replace(model, number=state.last_generation)
        state.target = state.last_generation
        state.mode = Mode.RUNNING
        self._forgive_slots()

    def _tell_preloaded(self) -> None:
        serving = self.state.serving
        if serving is not None and serving.limits.is_preloaded:
            self._log(
                "The preloaded application stays as it is; only a new start loads it again", Severity.WARNING
            )

    def _forgive_slots(self) -> None:
        for slot in self.state.slots.values():
            slot.failure = None
            slot.is_waiting = False
            slot.deaths, slot.not_before = 0, self.now

    def _pause(self) -> None:
        serving = self.state.serving
        if serving is not None and serving.limits.is_daemon:
            self._log("All workers drain; HUP brings them back")
            self.state.mode = Mode.PAUSED

    def _resize(self, change: int) -> None:
        state = self.state
        if state.mode is Mode.PAUSED:
            self._log("There are no workers to add to or take from; HUP brings them back", Severity.WARNING)
            return
        active = state.active()
        if change < 0 and len(active) > 1:
            active[-1].is_active = False
        elif change > 0 and len(active) < MOST_WORKERS:
            self._activate(next(n for n in range(1, MOST_WORKERS + 1) if not self._is_active(n)))
        else:
            self._log(f"The number of workers stays at {len(active)}", Severity.WARNING)
            return
        self._log(f"{len(state.active())} workers from now on")

    def _is_active(self, number: int) -> bool:
        return number in self.state.slots and self.state.slots[number].is_active

    def _activate(self, number: int) -> None:
        slot = self.state.slots.setdefault(number, Slot(number))
        slot.is_active = True
        slot.deaths, slot.not_before = 0, self.now

    def _apply_count(self, generation: Generation) -> None:
        generation.sets_count = False
        for number in range(1, generation.limits.workers + 1):
            if not self._is_active(number):
                self._activate(number)
        for slot in self.state.slots.values():
            slot.is_active = slot.number <= generation.limits.workers

    # A worker's life

    def _advance(self, worker: Worker, event: WorkerEvent) -> None:
        entry = TABLE.get((worker.state, event))
        if entry is None:
            self._log(f"Internal: {worker} {event.value} while {worker.state.value}", Severity.ERROR)
            return
        worker.state, action = entry
        if action is not Action.NOTHING:
            getattr(self, f"_{action.name.lower()}")(worker)

    def _serve(self, worker: Worker) -> None:
        state = self.state
        worker.ready_at = worker.beat = self.now
        worker.deadline = None
        self._log(f"{worker} is ready")
        slot = state.slots[worker.slot]
        slot.failure = None
        if worker.generation not in state.generations or (state.proven or 0) >= worker.generation:
            return
        state.proven = worker.generation
        state.target = max(state.target, state.proven)
        self.commands.append(m.Settle(worker.generation))
        if state.generations[worker.generation].sets_count:
            self._apply_count(state.generations[worker.generation])

    def _note_failure(self, worker: Worker) -> None:
        worker.deadline = self.now + FAILED_SECONDS

    def _replace(self, worker: Worker) -> None:
        worker.wants_successor = True
        self._log(f"{worker} has served its share and is replaced")

    def _leave(self, worker: Worker) -> None:
        self._log(f"{worker} drains by itself")
        worker.was_asked = True
        self._give_time(worker)

    def _give_time(self, worker: Worker) -> None:
        if worker.was_hurried:
            return
        limits = worker.limits
        worker.deadline = self.now + limits.graceful_timeout + limits.shutdown_timeout + MARGIN

    def _tell_drain(self, worker: Worker) -> None:
        """Until the worker says that it heard, its loop may be busy: then only the grace counts."""
        worker.was_asked = True
        worker.deadline = self.now + worker.limits.graceful_timeout + MARGIN
        reason = DrainReason.STOP if self.state.is_ending else DrainReason.REPLACE
        self._log(f"{worker} drains")
        self.commands.append(m.TellDrain(worker.number, reason))

    def _tell_hurry(self, worker: Worker) -> None:
        worker.was_asked = worker.was_hurried = True
        worker.deadline = self.now + QUICK_SECONDS
        self.commands.append(m.TellDrain(worker.number, DrainReason.QUICK))

    def _dump(self, worker: Worker) -> None:
        silence = self.now - worker.beat
        what = "is not ready" if worker.ready_at is None else "has not answered"
        self._log(
            f"{worker} {what} after {silence:.0f} s: its stacks follow, then it is killed", Severity.ERROR
        )
        worker.deadline = self.now + DUMP_SECONDS
        self.commands.append(m.DumpStacks(worker.number))

    def _kill(self, worker: Worker) -> None:
        worker.deadline = None
        self._log(f"{worker} has not ended in time and is killed", Severity.WARNING)
        self.commands.append(m.KillWorker(worker.number))

    def _exited(self, event: m.Exited) -> None:
        worker = self.state.workers.get(event.worker)
        if worker is None:
            return
        reason = _describe(event)
        is_aborted = worker.state in (WorkerState.ABORTING, WorkerState.KILLED)
        self._advance(worker, WorkerEvent.EXITED)
        del self.state.workers[worker.number]
        slot = self.state.slots[worker.slot]
        if worker.was_asked or self.state.is_ending or not slot.is_active or self.state.mode is Mode.PAUSED:
            self._left(worker, event, reason)
        elif worker.ready_at is None:
            failure = worker.failure or _failure_from(event, f"{worker} {reason} before it was ready")
            self._failed_to_start(worker, slot, failure)
        else:
            self._died(worker, slot, "was killed because it hung" if is_aborted else reason)

    def _bury(self, worker: Worker) -> None:
        worker.deadline = None

    def _left(self, worker: Worker, event: m.Exited, reason: str) -> None:
        """A wished end; what went wrong on the way counts only when the service ends with it."""
        went_wrong = event.status != 0
        self._log(f"{worker} {reason}", Severity.WARNING if went_wrong else Severity.INFO)
        if went_wrong and self.state.mode is Mode.STOPPING and worker.ready_at is not None:
            self.state.exit = self.state.exit or m.Exit(EXIT_FAILED, f"{worker} {reason} while it stopped")

    def _died(self, worker: Worker, slot: Slot, reason: str) -> None:
        lived = self.now - (worker.ready_at or self.now)
        slot.deaths = 1 if lived >= STABLE_SECONDS else slot.deaths + 1
        delay = delay_after(slot.deaths)
        slot.failed_at, slot.not_before = self.now, self.now + delay
        when = f"in {delay:g} s" if delay else "now"
        self._log(f"{worker} {reason}; it is replaced {when}", Severity.ERROR)

    def _failed_to_start(self, worker: Worker, slot: Slot, failure: Failed) -> None:
        state = self.state
        present = state.serving
        is_reloading = present is not None and present.limits.is_reloading
        slot.deaths += 1
        slot.failed_at, slot.not_before = self.now, self.now + max(delay_after(slot.deaths), FIRST_DELAY)
        if state.proven is None:
            slot.failure, slot.is_waiting = failure, is_reloading
            self._log_failure(worker, failure)
            self._perhaps_give_up(is_reloading)
        elif worker.generation == state.target != state.proven:
            self._roll_back(state.proven, failure)
        else:
            slot.is_waiting = is_reloading and state.is_empty(slot.number)
            self._log_failure(worker, failure)

    def _log_failure(self, worker: Worker, failure: Failed) -> None:
        """Once for what is wrong with several workers of a first start alike."""
        others = [slot.failure for slot in self.state.slots.values() if slot.number != worker.slot]
        if any(other is not None and other.reason == failure.reason for other in others):
            return
        text = failure.report or failure.reason
        is_named = failure.reason.startswith(str(worker))
        self._log(text if is_named else f"{worker} could not start: {text}", Severity.ERROR)

    def _roll_back(self, proven: int, failure: Failed) -> None:
        target = self.state.target
        self._log(
            f"Generation {target} cannot start, generation {proven} keeps serving: "
            f"{failure.report or failure.reason}",
            Severity.ERROR,
        )
        self.state.target = proven

    def _perhaps_give_up(self, is_reloading: bool) -> None:
        if is_reloading:
            self._log("The next change of the files is awaited")
            return
        failures = [slot.failure for slot in self.state.active()]
        first = next((failure for failure in failures if failure is not None), None)
        if first is None or None in failures:
            return
        status = EXIT_NO_APPLICATION if first.failure is Failure.APPLICATION else EXIT_NOT_READY
        self.state.exit = m.Exit(status, first.reason)
        self._log("No worker could start, so the service ends", Severity.ERROR)
        self._stop(Mode.QUICK)

    # Towards what shall be

    def reconcile(self) -> None:
        self._drain_superfluous()
        if self.state.mode is Mode.RUNNING:
            self._fill()
            self._roll()
        if self.state.is_ending:
            self._end()
        else:
            drains = [command for command in self.commands if isinstance(command, m.TellDrain)]
            self.commands = [command for command in self.commands if not isinstance(command, m.TellDrain)]
            self._forget()
            self.commands.extend(cover(self.state))
            ending = self._close()
            # Last: by now somebody else accepts, and of what nobody accepts from any more they have the only copies.
            self.commands.extend(dataclasses.replace(drain, ending=ending) for drain in drains)
            self._report()

    def _drain_superfluous(self) -> None:
        """Workers of retired slots, predecessors of ready ones, and starts that are out of date."""
        state = self.state
        if state.is_ending:
            return
        wanted = {slot.number for slot in state.active()}
        for worker in list(state.workers.values()):
            if worker.state is WorkerState.READY:
                newest = state.ready_in(worker.slot)[-1]
                if worker.slot not in wanted or worker is not newest:
                    self._advance(worker, WorkerEvent.DRAIN)
            elif worker.state is WorkerState.STARTING and (
                worker.slot not in wanted or worker.generation not in (state.target, state.proven)
            ):
                # Not quickly: it may be accepting already, and its word of that be on its way.
                self._advance(worker, WorkerEvent.DRAIN)

    def _fill(self) -> None:
        state = self.state
        for slot in state.active():
            is_held = slot.is_waiting or (slot.failure is not None and state.proven is None)
            if state.is_empty(slot.number) and not is_held and self.now >= _starts_at(state, slot):
                # With nobody in service there is nothing to lose by trying the newest.
                is_safe = state.proven is None or not state.ready()
                self._start(slot, state.target if is_safe else state.proven)
            if state.proven is None and state.generations[state.target].limits.is_reloading:
                return  # one is enough to see whether the code works

    def _roll(self) -> None:
        """Start one successor, if no other replacement is under way."""
        state = self.state
        active = state.active()
        # Places that will be filled again count as if they were.
        if len(state.workers) + sum(state.is_empty(slot.number) for slot in active) > len(active):
            return
        for slot in active:
            serving = state.ready_in(slot.number)
            is_due = (
                self.now >= slot.not_before and not slot.is_opening and not state.has_starting(slot.number)
            )
            if serving and is_due and (serving[-1].generation != state.target or serving[-1].wants_successor):
                self._start(slot, state.target)
                return

    def _start(self, slot: Slot, number: int | None) -> None:
        state = self.state
        generation = state.generations[state.target if number is None else number]
        if slot.number not in generation.keys.own:
            if not slot.is_opening:
                slot.is_opening = True
                self.commands.append(m.OpenListeners(slot.number, generation.number))
            return
        state.last_worker += 1
        limits = generation.limits
        worker = Worker(state.last_worker, slot.number, generation.number, limits, beat=self.now)
        if limits.worker_timeout:
            worker.deadline = self.now + limits.startup_timeout + max(limits.worker_timeout, IMPORT_SECONDS)
        state.workers[worker.number] = worker
        self.commands.append(m.StartWorker(worker.number, slot.number, generation.number))

    def _forget(self) -> None:
        state = self.state
        used = {state.target, state.proven}
        used |= {
            w.generation
            for w in state.workers.values()
            if w.state in (WorkerState.STARTING, WorkerState.READY)
        }
        for number in sorted(state.generations.keys() - used):
            del state.generations[number]
            self.commands.append(m.Forget(number))

    def _close(self) -> tuple[int, ...]:
        state = self.state
        needed = {key for generation in state.generations.values() for key in generation.keys.all()}
        needless = tuple(sorted(state.open_keys - needed))
        if needless:
            state.open_keys -= set(needless)
            self.commands.append(m.CloseListeners(needless))
        return needless

    def _end(self) -> None:
        """The workers have their own copies of the listeners and take what waits there."""
        state = self.state
        if state.open_keys:
            self.commands.append(m.CloseListeners(tuple(sorted(state.open_keys))))
            state.open_keys.clear()
        if not state.workers:
            state.is_over = True
            self.commands.append(state.exit or m.Exit(0))

    # Telling others

    def _replacing(self) -> None:
        if self.state.is_announced:
            self.state.is_replacing = True
            self.commands.append(m.Notify(m.Phase.RELOADING, "replacing the workers"))

    def _replaced(self) -> None:
        if self.state.is_replacing:
            self.state.is_replacing = False
            self.state.status = self._status()
            self.commands.append(m.Notify(m.Phase.READY, self.state.status))

    def _report(self) -> None:
        state = self.state
        if not state.is_announced:
            self._perhaps_announce()
            return
        if state.is_replacing and self._is_settled():
            self._log(f"Generation {state.target} serves: {len(state.ready())} workers are ready")
            self._replaced()
        elif not state.is_replacing and state.status != self._status():
            state.status = self._status()
            self.commands.append(m.Notify(m.Phase.STATUS, state.status))

    def _perhaps_announce(self) -> None:
        state = self.state
        if state.proven is not None and all(
            state.ready_in(slot.number) or slot.deaths for slot in state.active()
        ):
            state.is_announced = True
            state.status = self._status()
            self.commands += [m.Announce(), m.Notify(m.Phase.READY, state.status)]

    def _is_settled(self) -> bool:
        """Every ready worker is of the target generation, and the configuration is not being read."""
        state = self.state
        ready = state.ready()
        return not state.is_rereading and bool(ready) and all(w.generation == state.target for w in ready)

    def _status(self) -> str:
        state = self.state
        wanted = len(state.active())
        return f"{len(state.ready())} of {wanted} workers ready, generation {state.proven}"

    def _log(self, text: str, severity: Severity = Severity.INFO) -> None:
        self.commands.append(m.Log(severity, text[:1].upper() + text[1:]))


def _describe(event: m.Exited) -> str:
    if event.signal:
        return f"was killed by {_signal_name(event.signal)}"
    return f"ended with status {event.status}" if event.status else "has ended"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _failure_from(event: m.Exited, reason: str) -> Failed:
    is_application = event.status == EXIT_NO_APPLICATION
    return Failed(Failure.APPLICATION if is_application else Failure.STARTUP, reason)
