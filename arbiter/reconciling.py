"""Brings what is towards what shall be, after every event. Pure.

What shall be: every active slot has a ready worker of the target generation, every listener somebody who accepts from it,
and there is never more than one worker above the number wanted. No procedure is remembered from step to step: each
looks at the state anew, so whatever happens in the middle of a replacement is only another state.

    1. superfluous workers drain        predecessors of ready ones, retired slots, starts that are out of date
    2. an empty slot is filled          that may be by now, see `timing.starts_at`; the answer brings the next step
    3. one successor is started         if no other replacement is under way
    4. generations are forgotten        that nobody serves or will
    5. queues get somebody              see `coverage.py`
    6. listeners are closed             that no generation names any more
"""

from __future__ import annotations

import dataclasses

from . import messages as m
from .coverage import cover
from .lifecycle import WorkerEvent, WorkerState
from .lives import Lives
from .reports import report
from .state import Mode, Slot, Worker
from .timing import IMPORT_SECONDS, starts_at


class Reconciliation:
    """One run of the list above."""

    def __init__(self, lives: Lives) -> None:
        self.turn = lives.turn
        self.state = lives.state
        self.lives = lives

    def run(self) -> None:
        """Add what is to be done to the step's commands."""
        state = self.state
        if state.is_ending:
            self._end()
            return
        self._drain_superfluous()
        if state.mode is Mode.RUNNING:
            self._fill()
            self._roll()
        drains = [command for command in self.turn.commands if isinstance(command, m.TellDrain)]
        self.turn.commands = [one for one in self.turn.commands if not isinstance(one, m.TellDrain)]
        self._forget()
        self.turn.commands.extend(cover(state))
        ending = self._close()
        # Last: by now somebody else accepts, and of what nobody accepts from any more they have the only copies.
        self.turn.commands.extend(dataclasses.replace(drain, ending=ending) for drain in drains)
        report(self.turn)

    def _drain_superfluous(self) -> None:
        state = self.state
        wanted = {slot.number for slot in state.active()}
        for worker in list(state.workers.values()):
            if worker.state is WorkerState.READY:
                newest = state.ready_in(worker.slot)[-1]
                if worker.slot not in wanted or worker is not newest:
                    self.lives.advance(worker, WorkerEvent.DRAIN)
            elif worker.state is WorkerState.STARTING and (
                worker.slot not in wanted or state.is_outdated(worker)
            ):
                # Not quickly: it may be accepting already, and its word of that be on its way.
                self.lives.advance(worker, WorkerEvent.DRAIN)

    def _fill(self) -> None:
        state = self.state
        for slot in state.active():
            is_held = (
                slot.is_waiting or slot.is_opening or (slot.failure is not None and state.proven is None)
            )
            if state.is_empty(slot.number) and not is_held and self.turn.now >= starts_at(state, slot):
                # With nobody in service there is nothing to lose by trying the newest.
                is_safe = state.proven is None or not state.ready()
                self._start(slot, state.target if is_safe else state.proven)
                # Forking hundreds takes its time, and between two of them the arbiter can hear a signal.
                return
            if state.proven is None and state.generations[state.target].limits.is_reloading:
                return  # one is enough to see whether the code works

    def _roll(self) -> None:
        state = self.state
        active = state.active()
        # Places that will be filled again count as if they were.
        if len(state.workers) + sum(state.is_empty(slot.number) for slot in active) > len(active):
            return
        for slot in active:
            serving = state.ready_in(slot.number)
            is_due = (
                self.turn.now >= slot.not_before
                and not slot.is_opening
                and not state.has_starting(slot.number)
            )
            if serving and is_due and (serving[-1].generation != state.target or serving[-1].wants_successor):
                self._start(slot, state.target)
                return

    def _start(self, slot: Slot, number: int | None) -> None:
        state = self.state
        generation = state.generations[state.target if number is None else number]
        if slot.number not in generation.keys.own:
            slot.is_opening = True
            self.turn.do(m.OpenListeners(slot.number, generation.number))
            return
        state.last_worker += 1
        limits = generation.limits
        worker = Worker(state.last_worker, slot.number, generation.number, limits, beat=self.turn.now)
        if limits.worker_timeout:
            seconds = limits.startup_timeout + max(limits.worker_timeout, IMPORT_SECONDS)
            worker.deadline = self.turn.now + seconds
        state.add(worker)
        self.turn.do(m.StartWorker(worker.number, slot.number, generation.number))

    def _forget(self) -> None:
        state = self.state
        if any(slot.is_opening for slot in state.slots.values()):
            return  # the answer, which comes at once, may name listeners that only such a generation names now
        used = {state.target, state.proven}
        used |= {
            w.generation
            for w in state.workers.values()
            if w.state in (WorkerState.STARTING, WorkerState.READY)
        }
        for number in sorted(state.generations.keys() - used):
            del state.generations[number]
            self.turn.do(m.Forget(number))

    def _close(self) -> tuple[int, ...]:
        state = self.state
        needed = {key for generation in state.generations.values() for key in generation.keys.all()}
        needless = tuple(sorted(state.open_keys - needed))
        if needless:
            state.open_keys -= set(needless)
            self.turn.do(m.CloseListeners(needless))
        return needless

    def _end(self) -> None:
        """The workers have their own copies of the listeners and take what waits there."""
        state = self.state
        if state.open_keys:
            # First: a worker that is told to drain takes what waits and closes its copies. If it did not have the only
            # ones, clients could still connect where nobody accepts any more.
            self.turn.commands.insert(0, m.CloseListeners(tuple(sorted(state.open_keys))))
            state.open_keys.clear()
        if not state.workers:
            state.is_over = True
            self.turn.do(state.exit or m.Exit(0))
