"""Who accepts from which listener: no queue without a worker as long as any worker can serve it. Pure."""

from __future__ import annotations

from .messages import TellAdopt, TellRelease
from .state import State, Worker


def cover(state: State) -> list[TellAdopt | TellRelease]:
    """Give listeners whose own worker is not ready to siblings, and back when it is.

    A worker whose loop stands still counts as not ready here: what it accepts from, siblings accept from as well. A
    sibling must be of a generation that knows the listener. Adopting comes before releasing. Changes
    `Worker.adopted` of the workers concerned.
    """
    ready = [worker for worker in state.ready() if not worker.is_stalled]
    owned = _owned(state, ready)
    orphans = _known(state) - owned - {key for worker in ready for key in worker.adopted}
    commands: list[TellAdopt | TellRelease] = []
    for worker, keys in _assign(state, ready, orphans).items():
        state.workers[worker].adopted.update(keys)
        commands.append(TellAdopt(worker, tuple(keys)))
    for heir in ready:
        returned = heir.adopted & owned
        if returned:
            heir.adopted -= returned
            commands.append(TellRelease(heir.number, tuple(sorted(returned))))
    return commands


def _owned(state: State, ready: list[Worker]) -> set[int]:
    return {key for worker in ready for key in state.generations[worker.generation].keys.of(worker.slot)}


def _known(state: State) -> set[int]:
    return {key for generation in state.generations.values() for key in generation.keys.all()}


def _assign(state: State, ready: list[Worker], orphans: set[int]) -> dict[int, list[int]]:
    """Spread orphans evenly: each goes to the worker that has adopted least."""
    given: dict[int, list[int]] = {}
    for key in sorted(orphans):
        heirs = [worker for worker in ready if key in state.generations[worker.generation].keys.all()]
        if heirs:
            heir = min(
                heirs,
                key=lambda worker: (len(worker.adopted) + len(given.get(worker.number, ())), worker.slot),
            )
            given.setdefault(heir.number, []).append(key)
    return given
