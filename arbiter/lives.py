"""What happens to single workers, and what follows from it for them: the table of `lifecycle.py` put to work.

Decides what a worker is told, how long it may take, and what its end means. Whether a worker is wanted at all is decided
in `reconciling.py`.
"""

from __future__ import annotations

import signal

from ..config.supervision import Draining, DrainReason, ExitStatus, Failed, Failure, Ready, Retire
from . import messages as m
from .lifecycle import TABLE, Action, WorkerEvent, WorkerState
from .messages import Severity
from .state import Mode, Slot, Worker
from .timing import (
    DUMP_SECONDS,
    FAILED_SECONDS,
    FIRST_DELAY,
    MARGIN,
    QUICK_SECONDS,
    STABLE_SECONDS,
    STALL_SECONDS,
    delay_after,
    doubted_at,
    given_up_at,
    must_beat,
    starts_at,
)
from .turn import Turn, sentence

#: What the whole service ends with when no worker became ready.
_STATUS = {
    Failure.APPLICATION: ExitStatus.NO_APPLICATION,
    Failure.CONFIGURATION: ExitStatus.WRONG_USAGE,
    Failure.STARTUP: ExitStatus.NOT_READY,
}


class Lives:
    """The workers' lives in one step."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.state = turn.state
        self.now = turn.now

    # What can happen

    def said(self, event: m.Said) -> None:
        """A worker sent a report."""
        worker = self.state.workers.get(event.worker)
        if worker is None:
            return
        match event.report:
            case Ready():
                self.advance(worker, WorkerEvent.SAID_READY)
            case Retire():
                self.advance(worker, WorkerEvent.SAID_RETIRE)
            case Draining():
                self.advance(worker, WorkerEvent.SAID_DRAINING)
            case Failed():
                worker.failure = worker.failure or event.report
                self.advance(worker, WorkerEvent.SAID_FAILED)

    def look(self, worker: Worker, beat: float) -> None:
        """Time has passed; `beat` is when the worker's loop was last alive."""
        if beat > worker.beat:
            worker.beat, worker.doubted_since = beat, None
        if worker.deadline is not None and self.now >= worker.deadline:
            self.advance(worker, WorkerEvent.LATE)
        elif must_beat(worker):
            self._look_for_beats(worker)
        worker.is_stalled = worker.limits.worker_timeout > 0 and self.now - worker.beat >= STALL_SECONDS

    def _look_for_beats(self, worker: Worker) -> None:
        given_up = given_up_at(worker)
        if given_up is not None and self.now >= given_up:
            self.advance(worker, WorkerEvent.SILENT)
        elif given_up is None and self.now >= doubted_at(worker):
            worker.doubted_since = self.now

    def advance(self, worker: Worker, event: WorkerEvent) -> None:
        """One transition of the table, and what it asks for."""
        entry = TABLE.get((worker.state, event))
        if entry is None:
            self.turn.log(f"Internal: {worker} {event.value} while {worker.state.value}", Severity.ERROR)
            return
        worker.state, action = entry
        if action is not Action.NOTHING:
            getattr(self, f"_{action.name.lower()}")(worker)

    # The actions of the table

    def _serve(self, worker: Worker) -> None:
        state = self.state
        worker.ready_at = worker.beat = self.now
        worker.deadline = None
        self.turn.log(f"{worker} is ready")
        slot = state.slots[worker.slot]
        slot.failure = slot.told = None
        if worker.generation not in state.generations or (state.proven or 0) >= worker.generation:
            return
        state.proven = worker.generation
        state.target = max(state.target, state.proven)
        self.turn.do(m.Settle(worker.generation))
        if state.generations[worker.generation].sets_count:
            state.apply_count(state.generations[worker.generation], self.now)

    def _note_failure(self, worker: Worker) -> None:
        worker.deadline = self.now + FAILED_SECONDS

    def _replace(self, worker: Worker) -> None:
        worker.wants_successor = True
        self.turn.log(f"{worker} has served its share and is replaced")

    def _leave(self, worker: Worker) -> None:
        self.turn.log(f"{worker} drains by itself")
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
        self.turn.log(f"{worker} drains")
        self.turn.do(m.TellDrain(worker.number, reason))

    def _tell_end(self, worker: Worker) -> None:
        """Its idle connections need not wait for their clients any longer; its time stays as it was."""
        self.turn.do(m.TellDrain(worker.number, DrainReason.STOP))

    def _tell_hurry(self, worker: Worker) -> None:
        worker.was_asked = worker.was_hurried = True
        worker.deadline = self.now + QUICK_SECONDS
        self.turn.do(m.TellDrain(worker.number, DrainReason.QUICK))

    def _dump(self, worker: Worker) -> None:
        silence = self.now - worker.beat
        what = "is not ready after" if worker.ready_at is None else "has not answered for"
        worker.silence = f"{what} {silence:.0f} s"
        worker.deadline = self.now + DUMP_SECONDS
        self.turn.do(m.DumpStacks(worker.number))

    def _give_up(self, worker: Worker) -> None:
        worker.deadline = None
        self.turn.do(m.TellStacks(worker.number, sentence(f"{worker} {worker.silence} and is killed")))
        self.turn.do(m.KillWorker(worker.number))

    def _kill(self, worker: Worker) -> None:
        worker.deadline = None
        self.turn.log(f"{worker} has not ended in time and is killed", Severity.WARNING)
        self.turn.do(m.KillWorker(worker.number))

    def _bury(self, worker: Worker) -> None:
        worker.deadline = None

    # The end of a worker

    def exited(self, event: m.Exited) -> None:
        """A worker is gone; what that means depends on what had been wished."""
        state = self.state
        worker = state.workers.get(event.worker)
        if worker is None:
            return
        reason = _describe(event)
        is_aborted = worker.state in (WorkerState.ABORTING, WorkerState.KILLED)
        self.advance(worker, WorkerEvent.EXITED)
        state.remove(worker)
        slot = state.slots[worker.slot]
        # That one could not start says nothing of newer code.
        says_nothing = worker.ready_at is None and state.is_outdated(worker)
        if worker.was_asked or says_nothing or not slot.is_active or state.mode is not Mode.RUNNING:
            self._left(worker, event, reason)
        elif worker.ready_at is None:
            failure = worker.failure or _failure_from(event, f"{worker} {reason} before it was ready")
            self._failed_to_start(worker, slot, failure)
        else:
            self._died(worker, slot, "was killed because it hung" if is_aborted else reason)

    def _left(self, worker: Worker, event: m.Exited, reason: str) -> None:
        """A wished end; what went wrong on the way counts only when the service ends with it."""
        went_wrong = event.status != 0
        if worker.failure is not None and worker.ready_at is None:
            # Its status only says so too, and there may never have been a process.
            reason = f"could not start: {worker.failure.reason}"
        self.turn.log(f"{worker} {reason}", Severity.WARNING if went_wrong else Severity.INFO)
        if went_wrong and self.state.mode is Mode.STOPPING and worker.ready_at is not None:
            self.state.exit = self.state.exit or m.Exit(
                ExitStatus.FAILED, f"{worker} {reason} while it stopped"
            )

    def _died(self, worker: Worker, slot: Slot, reason: str) -> None:
        lived = self.now - (worker.ready_at or self.now)
        slot.deaths = 1 if lived >= STABLE_SECONDS else slot.deaths + 1
        delay = delay_after(slot.deaths)
        slot.failed_at, slot.not_before = self.now, self.now + delay
        wait = starts_at(self.state, slot) - self.now
        when = f"in {wait:g} s" if delay else "now"
        self.turn.log(f"{worker} {reason}; it is replaced {when}", Severity.ERROR)

    def _failed_to_start(self, worker: Worker, slot: Slot, failure: Failed) -> None:
        state = self.state
        present = state.serving
        is_reloading = present is not None and present.limits.is_reloading
        slot.deaths += 1
        delay = max(delay_after(slot.deaths), FIRST_DELAY)
        slot.failed_at, slot.not_before = self.now, self.now + delay
        if state.proven is None:
            self._log_failure(worker, failure)
            slot.failure, slot.is_waiting = failure, is_reloading
            self._perhaps_end(is_reloading)
        elif worker.generation == state.target != state.proven:
            self._roll_back(state.proven, failure)
        else:
            # Unless there is newer code already.
            slot.is_waiting = (
                is_reloading and worker.generation == state.target and state.is_empty(slot.number)
            )
            wait = starts_at(state, slot) - self.now
            self._log_failure(worker, failure, f"; next try in {wait:g} s")

    def _log_failure(self, worker: Worker, failure: Failed, outlook: str = "") -> None:
        """With its traceback only once for what is wrong with several workers, or several tries of one, alike."""
        slots = self.state.slots
        is_known = failure.reason in [slot.told for slot in slots.values()]
        slots[worker.slot].told = failure.reason
        if is_known and not outlook:
            return
        is_named = failure.reason.startswith(str(worker))
        report = "" if is_known else failure.report.removeprefix(failure.reason)
        sentence = failure.reason if is_named else f"{worker} could not start: {failure.reason}"
        self.turn.log(f"{sentence}{outlook}{report}", Severity.ERROR)

    def _roll_back(self, proven: int, failure: Failed) -> None:
        target = self.state.target
        self.turn.log(
            f"Generation {target} cannot start, generation {proven} keeps serving: "
            f"{failure.report or failure.reason}",
            Severity.ERROR,
        )
        self.state.target = proven

    def _perhaps_end(self, is_reloading: bool) -> None:
        if is_reloading:
            self.turn.log("The next change of the files is awaited")
            return
        failures = [slot.failure for slot in self.state.active()]
        first = next((failure for failure in failures if failure is not None), None)
        if first is None or None in failures:
            return
        status = _STATUS[first.failure]
        self.state.exit = m.Exit(status, first.reason)
        self.turn.log("No worker could start, so the service ends", Severity.ERROR)
        self.stop(Mode.QUICK)

    # The end of all

    def stop(self, mode: Mode) -> None:
        """All workers leave, then the service ends."""
        again = self.state.mode is Mode.QUICK
        is_news = self.state.mode is not mode
        if not self.state.is_ending:
            self.turn.do(m.Notify(m.Phase.STOPPING, "stopping"))
        self.state.mode = mode
        if self.state.exit is None and is_news:
            self.turn.log("Stopping" if mode is Mode.STOPPING else "Stopping quickly")
        for worker in list(self.state.workers.values()):
            self.advance(worker, WorkerEvent.DRAIN if mode is Mode.STOPPING else WorkerEvent.HURRY)
            if again and worker.state is not WorkerState.KILLED:
                self.advance(worker, WorkerEvent.LATE)


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
    is_application = event.status == ExitStatus.NO_APPLICATION
    return Failed(Failure.APPLICATION if is_application else Failure.STARTUP, reason)
