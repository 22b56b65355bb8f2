"""The worker table: complete where something can happen, and without ways back."""

from __future__ import annotations

import itertools

import pytest

from hypercorn.arbiter.lifecycle import BEATING, TABLE, Action, WorkerEvent, WorkerState
from hypercorn.arbiter.lives import Lives

S, E = WorkerState, WorkerEvent

#: What cannot happen, and why.
IMPOSSIBLE = {
    **{(S.GONE, event): "it is forgotten at once" for event in E},
    **{(state, E.SILENT): "not watched in this state" for state in S if state not in BEATING},
    (S.STARTING, E.SAID_RETIRE): "it has served nothing",
    (S.READY, E.SAID_READY): "said once",
    (S.READY, E.SAID_FAILED): "it is ready",
    (S.READY, E.LATE): "no deadline in service",
    (S.FAILED, E.SAID_READY): "it has given up",
    (S.FAILED, E.SAID_RETIRE): "it has given up",
    (S.KILLED, E.LATE): "no deadline after the kill",
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(S, E)))
def test_each_pair_is_in_the_table_or_impossible(state: WorkerState, event: WorkerEvent) -> None:
    assert ((state, event) in TABLE) != ((state, event) in IMPOSSIBLE)


def test_a_worker_that_is_to_go_never_comes_back() -> None:
    rank = {
        S.STARTING: 0,
        S.READY: 1,
        S.ASKED: 2,
        S.DRAINING: 3,
        S.FAILED: 3,
        S.ABORTING: 4,
        S.KILLED: 5,
        S.GONE: 6,
    }
    for (state, _), (following, _) in TABLE.items():
        assert rank[following] >= rank[state]


def test_every_exit_ends_it() -> None:
    for state in set(S) - {S.GONE}:
        assert TABLE[state, E.EXITED] == (S.GONE, Action.BURY)


def test_the_plan_knows_each_action() -> None:
    for action in {action for _, action in TABLE.values()} - {Action.NOTHING}:
        assert callable(getattr(Lives, f"_{action.name.lower()}"))


def test_each_action_is_used() -> None:
    assert {action for _, action in TABLE.values()} == set(Action)
