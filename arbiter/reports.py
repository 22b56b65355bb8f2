"""What is told to others about the whole service: the announcement, and a service manager's states. Pure."""

from __future__ import annotations

from . import messages as m
from .state import State
from .turn import Turn


def replacing(turn: Turn) -> None:
    """All workers are about to be replaced."""
    if turn.state.is_announced:
        turn.state.is_replacing = True
        turn.do(m.Notify(m.Phase.RELOADING, "replacing the workers"))


def report(turn: Turn) -> None:
    """Tell what has become true with this step."""
    state = turn.state
    if not state.is_announced:
        _perhaps_announce(turn)
    elif state.is_replacing and _is_settled(state):
        count = len(state.ready())
        turn.log(
            f"Generation {state.target} serves: {count} {'worker is' if count == 1 else 'workers are'} ready"
        )
        state.is_replacing = False
        state.status = _status(state)
        turn.do(m.Notify(m.Phase.READY, state.status))
    elif not state.is_replacing and state.status != _status(state):
        state.status = _status(state)
        turn.do(m.Notify(m.Phase.STATUS, state.status))


def _perhaps_announce(turn: Turn) -> None:
    state = turn.state
    if state.proven is not None and all(
        state.ready_in(slot.number) or slot.deaths for slot in state.active()
    ):
        state.is_announced = True
        state.status = _status(state)
        turn.do(m.Announce())
        turn.do(m.Notify(m.Phase.READY, state.status))


def _is_settled(state: State) -> bool:
    """Every ready worker is of the target generation, and the configuration is not being read."""
    ready = state.ready()
    return not state.is_rereading and bool(ready) and all(w.generation == state.target for w in ready)


def _status(state: State) -> str:
    return f"{len(state.ready())} of {len(state.active())} workers ready, generation {state.proven}"
