"""How long things may take, and when the plan wants to be asked again. Pure: every question is given the time."""

from __future__ import annotations

from .lifecycle import BEATING, WorkerState
from .state import Slot, State, Worker

#: What a worker may take beyond the time that it grants its connections and its application, in seconds.
MARGIN = 1.0
#: What importing an application may take beyond the start of its lifespan.
IMPORT_SECONDS = 60.0
QUICK_SECONDS = 2.0
DUMP_SECONDS = 1.0
FAILED_SECONDS = 5.0
#: Workers beat once a second. Without a beat for so long, siblings serve the worker's queue until it beats again.
STALL_SECONDS = 2.5
#: How often a stalled worker, and time itself, is looked at.
LOOK_SECONDS = 1.0
#: A worker that served so long before it died is no member of a crash loop.
STABLE_SECONDS = 30.0
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
#: The longest delay while nobody serves or is about to: one try a second costs less than no service.
LONGEST_OUTAGE = 1.0
#: The arbiter itself was not scheduled for so long (process stopped, container paused): the workers were not either.
LAG_SECONDS = 1.0


def delay_after(deaths: int) -> float:
    """Seconds to wait before the next try after so many deaths in a row: none at first, then doubling."""
    return 0.0 if deaths <= 1 else min(FIRST_DELAY * 2.0 ** min(deaths - 2, 16), LONGEST_DELAY)


def starts_at(state: State, slot: Slot) -> float:
    """When a worker may be started in this slot."""
    is_outage = state.is_empty(slot.number) and not any(
        worker.state in (WorkerState.STARTING, WorkerState.READY) for worker in state.workers.values()
    )
    return min(slot.not_before, slot.failed_at + LONGEST_OUTAGE) if is_outage else slot.not_before


def must_beat(worker: Worker) -> bool:
    """Whether a worker in its state is given up when it does not beat."""
    return worker.state in BEATING and worker.limits.worker_timeout > 0


def doubted_at(worker: Worker) -> float:
    """When a worker that does not beat is doubted: shortly before its time is up.

    It is given up only by a later look. One alone proves nothing: if arbiter and workers were stopped together, the
    arbiter may be the first to go on, and find all workers silent.
    """
    return worker.beat + worker.limits.worker_timeout - _confirmation(worker)


def given_up_at(worker: Worker) -> float | None:
    """When a worker that still does not beat is given up; None while it is not doubted yet."""
    if worker.doubted_since is None:
        return None
    return max(worker.beat + worker.limits.worker_timeout, worker.doubted_since + _confirmation(worker))


def due(state: State, now: float) -> float | None:
    """When the plan wants to be told the time next; None: only events matter."""
    deadlines = [worker.deadline for worker in state.workers.values() if worker.deadline is not None]
    # Looking at the clock often shows whether the time was really there to be used, see `LAG_SECONDS`.
    moments = [min(*deadlines, now + LOOK_SECONDS)] if deadlines else []
    moments += [_looked_at(state, worker, now) for worker in state.workers.values() if must_beat(worker)]
    # What could be done by now has been begun in this very step, and its answers bring the next ones.
    starts = [starts_at(state, slot) for slot in state.active() if _awaits_time(state, slot)]
    moments += [moment for moment in starts if moment > now]
    return min(moments, default=None)


def _confirmation(worker: Worker) -> float:
    return min(LOOK_SECONDS, worker.limits.worker_timeout / 2)


def _looked_at(state: State, worker: Worker, now: float) -> float:
    """Siblings, if there are any, help a silent worker before it is given up."""
    end = given_up_at(worker) or doubted_at(worker)
    if worker.is_stalled:
        return min(now + LOOK_SECONDS, end)
    can_be_helped = worker.state is WorkerState.READY and len(state.slots) > 1
    return min(worker.beat + STALL_SECONDS, end) if can_be_helped else end


def _awaits_time(state: State, slot: Slot) -> bool:
    if slot.is_waiting or (slot.failure is not None and state.proven is None):
        return False
    return state.is_empty(slot.number) or any(
        worker.wants_successor for worker in state.ready_in(slot.number)
    )
