"""Decisions about replacements, by HUP, USR1 and `--reload`, and about the size; as in test_plan.py."""

from __future__ import annotations

from typing import Any

import pytest

from hypercorn.arbiter import messages as m
from hypercorn.arbiter import requests
from hypercorn.arbiter.messages import Request
from hypercorn.config.supervision import Draining, DrainReason, Failed, Failure

from .commands import of


class TestReplacement:
    @pytest.mark.parametrize("has_heard", [False, True])
    def test_a_stop_reaches_a_predecessor_that_drains(self, world: Any, has_heard: bool) -> None:
        world.ask(Request.RELOAD)
        world.ready()
        if has_heard:
            world.say(1, Draining())
        told = of(world.ask(Request.STOP), m.TellDrain)
        assert {(each.worker, each.reason) for each in told} == {
            (worker, DrainReason.STOP) for worker in world.processes
        }

    @pytest.mark.parametrize("request_", [Request.RELOAD, Request.RESTART])
    def test_slot_by_slot_the_successor_first(self, world: Any, request_: Request) -> None:
        world.ask(request_)
        for slot in (1, 2, 3):
            assert [len(world.of_slot(n)) for n in (1, 2, 3)] == [2 if n == slot else 1 for n in (1, 2, 3)]
            assert of(world.ready(), m.TellDrain) == [m.TellDrain(slot, DrainReason.REPLACE)]
            world.drained()
        assert world.generations() == [2, 2, 2]
        assert of(world.commands, m.Forget) == [m.Forget(1)]
        assert "Generation 2 serves" in world.log()

    def test_a_service_manager_hears_of_it(self, world: Any) -> None:
        world.ask(Request.RESTART)
        for _ in range(3):
            world.ready()
            world.drained()
        phases = [command.phase for command in of(world.commands, m.Notify)]
        assert phases[:2] == [m.Phase.READY, m.Phase.RELOADING]
        assert phases[-1] is m.Phase.READY or m.Phase.READY in phases[2:]

    @pytest.mark.parametrize("request_", [Request.RELOAD, Request.RESTART])
    def test_a_successor_that_fails_leaves_the_predecessor(self, world: Any, request_: Request) -> None:
        world.ask(request_)
        world.fails(4, Failure.APPLICATION, "invalid syntax (app.py, line 3)")
        assert world.generations() == [1, 1, 1]
        assert "Generation 2 cannot start, generation 1 keeps serving: invalid syntax" in world.log()
        assert not of(world.pass_time(100), m.StartWorker)
        assert of(world.commands, m.Notify)[-1].phase is m.Phase.READY

    def test_a_configuration_that_is_wrong_changes_nothing(self, world: Any) -> None:
        world.next_limits = "Config.workers: a whole number is wanted"
        commands = world.ask(Request.RELOAD)
        assert not of(commands, m.StartWorker)
        assert "nothing changes: Config.workers" in world.log()
        assert [command.phase for command in of(commands, m.Notify)] == [m.Phase.RELOADING, m.Phase.READY]

    def test_reload_after_a_rejected_one(self, world: Any) -> None:
        world.next_limits = "wrong"
        world.ask(Request.RELOAD)
        world.next_limits = None
        world.ask(Request.RELOAD)
        for _ in range(3):
            world.ready()
            world.drained()
        assert world.generations() == [3, 3, 3]

    def test_new_binds_are_served_before_old_ones_close(self, world: Any) -> None:
        world.next_base = 100
        world.ask(Request.RELOAD)
        assert {1, 2, 3, 101, 102, 103} <= world.open_keys
        world.ready()
        assert world.processes[4].accepts == {101, 102, 103}
        for _ in range(3):
            world.drained()
            world.ready()
        assert world.open_keys == {101, 102, 103}

    def test_new_binds_close_again_when_the_application_fails(self, world: Any) -> None:
        world.next_base = 100
        world.ask(Request.RELOAD)
        world.fails(4)
        assert world.open_keys == {1, 2, 3}

    def test_old_binds_close_before_their_last_worker_drains(self, make_world: Any) -> None:
        world = make_world(1)
        world.ready()
        world.next_base = 100
        world.ask(Request.RELOAD)
        assert [one for one in world.ready() if isinstance(one, m.CloseListeners | m.TellDrain)] == [
            m.CloseListeners((1,)),
            m.TellDrain(1, DrainReason.REPLACE, ending=(1,)),
        ]

    def test_more_workers_by_configuration(self, world: Any) -> None:
        world.next_limits = m.Limits(5)
        world.ask(Request.RELOAD)
        assert len(world.processes) == 4
        for _ in range(4):
            world.ready()
            world.drained()
        assert world.generations() == [2] * 5

    def test_fewer_workers_by_configuration(self, world: Any) -> None:
        world.next_limits = m.Limits(1)
        world.ask(Request.RELOAD)
        for _ in range(3):
            world.ready()
            world.drained()
        assert world.generations() == [2]
        assert world.processes[world.of_slot(1)[0]].accepts == {1, 2, 3}

    def test_a_failed_reload_does_not_change_the_number(self, world: Any) -> None:
        world.next_limits = m.Limits(5)
        world.ask(Request.RELOAD)
        world.fails(4)
        assert len(world.pass_time(60)) == 0 or world.generations() == [1, 1, 1]

    def test_a_second_reload_overtakes_the_first(self, world: Any) -> None:
        world.ask(Request.RESTART)
        commands = world.ask(Request.RESTART)
        assert of(commands, m.TellDrain) == [m.TellDrain(4, DrainReason.REPLACE)], (
            "it may have begun to accept, so it must not be hurried"
        )
        world.drained()
        for _ in range(3):
            world.ready()
            world.drained()
        assert world.generations() == [3, 3, 3]

    def test_a_crash_in_the_middle_gets_the_proven_generation(self, world: Any) -> None:
        world.ask(Request.RESTART)
        commands = world.exits(3, signal=9)
        assert [(c.slot, c.generation) for c in of(commands, m.StartWorker)] == [(3, 1)]
        world.ready()
        world.drained()
        for _ in range(4):
            world.ready()
            world.drained()
        assert world.generations() == [2, 2, 2]

    def test_a_late_failure_is_tried_again(self, world: Any) -> None:
        """Once a worker of the generation serves, a failure is bad luck, not a bad generation."""
        world.ask(Request.RESTART)
        world.ready()
        world.drained()
        world.fails(5)
        assert world.generations() == [2, 1, 1]
        world.pass_time(2)
        for _ in range(3):
            world.ready()
            world.drained()
            world.pass_time(2)
        assert world.generations() == [2, 2, 2]

    def test_the_predecessor_that_hangs_in_its_drain_is_killed(self, world: Any) -> None:
        world.ask(Request.RESTART)
        world.ready()
        assert of(world.pass_time(4), m.KillWorker) == [m.KillWorker(1)]
        world.exits(1, signal=9)
        assert "it is replaced" not in world.log()

    def test_retire_replaces_one_slot(self, world: Any) -> None:
        commands = world.retires(2)
        assert [(c.slot, c.generation) for c in of(commands, m.StartWorker)] == [(2, 1)]
        world.ready()
        world.drained()
        assert not of(world.pass_time(10), m.StartWorker)
        assert world.of_slot(2) == [4]

    def test_retirement_of_all_goes_one_by_one(self, world: Any) -> None:
        for worker in (1, 2, 3):
            world.retires(worker)
        assert len(world.processes) == 4

    def test_a_successor_of_a_retired_one_that_fails_is_tried_again(self, world: Any) -> None:
        world.retires(2)
        world.fails(4)
        assert world.of_slot(2) == [2]
        world.pass_time(2)
        assert len(world.of_slot(2)) == 2

    def test_preloaded_code_stays(self, make_world: Any) -> None:
        world = make_world(is_preloaded=True)
        world.ready()
        world.ask(Request.RELOAD)
        assert "preloaded application stays as it is" in world.log()

    def test_logs_are_reopened(self, world: Any) -> None:
        assert of(world.ask(Request.RESTART), m.ReopenLogs)
        assert not of(world.ask(Request.RELOAD), m.ReopenLogs)


class TestSize:
    def test_one_more_has_listeners_of_its_own(self, world: Any) -> None:
        commands = world.ask(Request.MORE)
        assert of(commands, m.OpenListeners) == [m.OpenListeners(4, 1)]
        assert of(commands, m.TellAdopt)[0].keys == (4,)
        world.ready()
        assert world.processes[4].accepts == {4}

    def test_one_fewer_leaves_its_queue_to_a_sibling(self, world: Any) -> None:
        commands = world.ask(Request.FEWER)
        assert of(commands, m.TellAdopt) == [m.TellAdopt(1, (3,))]
        assert commands.index(m.TellAdopt(1, (3,))) < commands.index(m.TellDrain(3, DrainReason.REPLACE))
        world.drained()
        assert len(world.processes) == 2
        assert 3 in world.open_keys

    def test_the_place_is_used_again(self, world: Any) -> None:
        world.ask(Request.FEWER)
        world.drained()
        commands = world.ask(Request.MORE)
        assert [command.slot for command in of(commands, m.StartWorker)] == [3]
        assert of(world.ready(), m.TellRelease) == [m.TellRelease(1, (3,))]

    def test_never_fewer_than_one(self, make_world: Any) -> None:
        world = make_world(1)
        world.ready()
        assert not of(world.ask(Request.FEWER), m.TellDrain)
        assert "stays at 1: the last one stays" in world.log()

    def test_never_more_than_can_be_supervised(
        self, make_world: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(requests, "MOST_WORKERS", 2)
        world = make_world(2)
        world.ready()
        assert not of(world.ask(Request.MORE), m.StartWorker)
        assert "stays at 2: the most that can be supervised" in world.log()

    def test_listeners_that_cannot_be_opened(self, world: Any) -> None:
        world.carry_out_plainly = world.carry_out
        world.carry_out = lambda command: (
            [m.OpenFailed(command.slot, "too many files")]
            if isinstance(command, m.OpenListeners)
            else world.carry_out_plainly(command)
        )
        world.ask(Request.MORE)
        assert "Worker 4 cannot be added: too many files" in world.log()
        assert len(world.state.active()) == 3


class TestReloader:
    def test_one_worker_tries_the_code_first(self, make_world: Any) -> None:
        world = make_world(is_reloading=True)
        assert len(world.processes) == 1
        world.ready()
        assert len(world.processes) == 3

    def test_code_that_fails_at_first_waits_for_a_change(self, make_world: Any) -> None:
        world = make_world(is_reloading=True)
        world.fails(1, Failure.APPLICATION, "invalid syntax")
        assert world.exit is None
        assert not world.pass_time(1000)
        assert world.log().count("invalid syntax") == 1
        world.give(m.Changed(("app.py",)))
        assert len(world.processes) == 1
        world.ready()
        world.ready()
        assert world.generations() == [2, 2, 2]

    @pytest.mark.parametrize("is_reloading", [True, False])
    def test_a_failure_says_nothing_of_newer_code(self, make_world: Any, is_reloading: bool) -> None:
        world = make_world(1, is_reloading=is_reloading)
        world.say(1, Failed(Failure.APPLICATION, "no such module"))
        world.give(m.Changed(("app.py",)))
        world.exits(1, 4)
        assert world.exit is None
        world.ready()
        assert world.generations() == [2]

    def test_code_that_fails_later_leaves_the_old(self, make_world: Any) -> None:
        world = make_world(is_reloading=True)
        world.ready()
        world.ready()
        world.give(m.Changed(("app.py", "b.py", "c.py", "d.py")))
        assert "Changed: app.py, b.py, c.py and 1 more" in world.log()
        world.fails(4, Failure.APPLICATION, "invalid syntax")
        assert not of(world.pass_time(100), m.StartWorker)
        assert world.generations() == [1, 1, 1]
        world.give(m.Changed(("app.py",)))
        for _ in range(3):
            world.ready()
            world.drained()
        assert world.generations() == [3, 3, 3]

    def test_a_crash_with_broken_code_waits_for_a_change(self, make_world: Any) -> None:
        world = make_world(1, is_reloading=True)
        world.ready()
        world.exits(1, status=1)
        world.fails(2, Failure.APPLICATION, "invalid syntax")
        assert not of(world.pass_time(100), m.StartWorker)
        assert of(world.give(m.Changed(("app.py",))), m.StartWorker)
