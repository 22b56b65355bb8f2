"""Decides what the arbiter does next: `step(state, event, now) -> commands`.

Knows no operating system and no clock. A step takes one event in (`lives.py` what happens to workers, `requests.py` what is
asked for) and then brings what is towards what shall be (`reconciling.py`). Replacement is therefore no procedure with a
position, but what follows from "this worker is not of the target generation" as often as a step is taken.

A new generation is the *target* until one of its workers becomes ready, which makes it *proven*. If it fails before,
the target is the proven generation again: what served keeps serving.
"""

from __future__ import annotations

from . import messages as m
from .lives import Lives
from .messages import Command, Event, Severity
from .reconciling import Reconciliation
from .requests import Requests
from .state import Generation, State
from .timing import LAG_SECONDS, due
from .turn import Turn


def step(state: State, event: Event, now: float) -> list[Command]:
    """Take one event in; gives what is to be done, in this order.

    Args:
        state: changed in place; `state.due` says when a Tick is wanted next.
        event: what happened.
        now: monotonic seconds.
    """
    if state.is_over:
        return []
    turn = Turn(state, now)
    lives = Lives(turn)
    _forgive(state, now)
    _take(event, lives)
    Reconciliation(lives).run()
    state.due, state.stepped_at = due(state, now), now
    return turn.commands


def _forgive(state: State, now: float) -> None:
    """Give the workers back the time in which the arbiter was not scheduled: they were not either."""
    if state.due is None or now - state.due <= LAG_SECONDS:
        return
    for worker in state.workers.values():
        worker.beat, worker.doubted_since = now, None
        if worker.deadline is not None:
            worker.deadline += now - state.stepped_at


def _take(event: Event, lives: Lives) -> None:
    match event:
        case m.Said():
            lives.said(event)
        case m.Exited():
            lives.exited(event)
        case m.Tick(beats):
            for worker in list(lives.state.workers.values()):
                lives.look(worker, beats.get(worker.number, worker.beat))
        case m.Forked(number, pid):
            worker = lives.state.workers[number]
            worker.pid = pid
            lives.turn.log(f"{worker} starts, generation {worker.generation}")
        case m.Asked(request):
            Requests(lives).asked(request)
        case m.Changed():
            Requests(lives).changed(event)
        case m.Configured(number, limits, keys):
            Requests(lives).configured(Generation(number, limits, keys, sets_count=True))
        case _:
            _take_answer(event, lives.turn)


def _take_answer(event: Event, turn: Turn) -> None:
    state = turn.state
    match event:
        case m.Rejected(reason):
            turn.log(f"The configuration is not used, nothing changes: {reason}", Severity.ERROR)
            state.is_rereading = False
        case m.Opened(slot, number, keys):
            state.slots[slot].is_opening = False
            state.open_keys |= keys.all()
            if number in state.generations:
                state.generations[number].keys = keys
        case m.OpenFailed(slot, reason):
            state.slots[slot].is_opening = False
            state.slots[slot].is_active = False
            turn.log(f"Worker {slot} cannot be added: {reason}", Severity.ERROR)
        case _:
            raise TypeError(f"not an event: {event!r}")
