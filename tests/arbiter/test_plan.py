"""Decisions about starts, deaths and the stop, event by event; the world of conftest.py checks what must always hold."""

from __future__ import annotations

from typing import Any

import pytest

from hypercorn.arbiter import messages as m
from hypercorn.arbiter import plan, timing
from hypercorn.arbiter.lifecycle import WorkerState
from hypercorn.arbiter.messages import Request
from hypercorn.arbiter.state import State
from hypercorn.config.supervision import Draining, DrainReason, Failed, Failure, Ready

from .commands import of


class TestStart:
    def test_a_worker_for_each_slot(self, make_world: Any) -> None:
        world = make_world()
        assert of(world.commands, m.StartWorker) == [m.StartWorker(n, n, 1) for n in (1, 2, 3)]

    def test_a_stop_among_many_starts_is_heeded_at_once(self) -> None:
        state = State()
        keys = m.ListenerKeys({slot: frozenset({slot}) for slot in range(1, 401)})
        first = plan.step(state, m.Configured(1, m.Limits(400), keys), 0.0)
        assert of(first, m.StartWorker) == [m.StartWorker(1, 1, 1)]
        plan.step(state, m.Asked(Request.STOP), 0.1)
        assert not of(plan.step(state, m.Forked(1, 100), 0.2), m.StartWorker)
        assert of(plan.step(state, m.Exited(1), 0.3), m.Exit)

    def test_it_is_announced_when_all_are_ready(self, make_world: Any) -> None:
        world = make_world()
        world.ready(1, 2)
        assert not of(world.commands, m.Announce)
        announced = world.ready(3)
        assert of(announced, m.Announce)
        assert of(announced, m.Notify) == [m.Notify(m.Phase.READY, "3 of 3 workers ready, generation 1")]

    def test_it_is_announced_when_the_last_has_failed(self, make_world: Any) -> None:
        world = make_world()
        world.ready(1, 2)
        assert of(world.fails(3), m.Announce)

    def test_the_first_ready_serves_the_queues_of_all(self, make_world: Any) -> None:
        world = make_world()
        assert of(world.ready(2), m.TellAdopt) == [m.TellAdopt(2, (1, 3))]
        assert of(world.ready(1), m.TellRelease) == [m.TellRelease(2, (1,))]
        world.ready(3)
        assert [process.accepts for process in world.processes.values()] == [{1}, {2}, {3}]

    def test_shared_listeners_need_no_adoption(self, make_world: Any) -> None:
        world = make_world(shared=frozenset({99}))
        world.ready(2)
        assert all(99 in process.accepts for process in world.processes.values())
        assert all(99 not in command.keys for command in of(world.commands, m.TellAdopt))

    @pytest.mark.parametrize(("failure", "status"), [(Failure.STARTUP, 3), (Failure.APPLICATION, 4)])
    def test_when_none_becomes_ready_it_exits_with_the_reason(
        self, make_world: Any, failure: Failure, status: int
    ) -> None:
        world = make_world(2)
        world.fails(1, failure, "no module named app")
        assert world.exit is None
        world.fails(2, failure, "no module named app")
        assert world.exit == m.Exit(status, "no module named app")

    def test_an_exit_status_tells_what_a_message_could_not(self, make_world: Any) -> None:
        world = make_world(1)
        world.exits(1, status=4)
        assert world.exit is not None
        assert (world.exit.status, "ended with status 4" in world.exit.reason) == (4, True)

    def test_killed_before_ready_is_a_failure(self, make_world: Any) -> None:
        world = make_world(1)
        world.exits(1, signal=9)
        assert world.exit == m.Exit(3, "worker 1 (pid 1001) was killed by SIGKILL before it was ready")

    def test_one_failure_is_tried_again_when_others_serve(self, make_world: Any) -> None:
        world = make_world(2)
        world.fails(2)
        assert not world.of_slot(2)
        world.ready(1)
        world.pass_time(1)
        assert world.of_slot(2)

    def test_a_start_without_end_is_killed(self, make_world: Any) -> None:
        world = make_world(1)
        assert not of(world.pass_time(119), m.DumpStacks)
        assert of(world.pass_time(1), m.DumpStacks)
        assert of(world.pass_time(1), m.KillWorker)
        world.exits(1, signal=9)
        assert world.exit is not None
        assert world.exit.status == 3

    def test_stop_before_ready(self, make_world: Any) -> None:
        world = make_world(2)
        assert of(world.ask(Request.STOP), m.TellDrain) == [m.TellDrain(n, DrainReason.STOP) for n in (1, 2)]
        world.ready()
        world.drained()
        assert world.exit == m.Exit(0)

    def test_stop_does_not_wait_for_an_import(self, make_world: Any) -> None:
        world = make_world(1)
        world.ask(Request.STOP)
        assert of(world.pass_time(4.0), m.KillWorker)


class TestDeaths:
    def test_the_first_is_replaced_at_once_and_its_queue_adopted(self, world: Any) -> None:
        commands = world.exits(2, signal=9)
        assert [command.slot for command in of(commands, m.StartWorker)] == [2]
        assert of(commands, m.TellAdopt) == [m.TellAdopt(1, (2,))]
        assert "was killed by SIGKILL; it is replaced now" in world.log()
        assert of(world.ready(), m.TellRelease) == [m.TellRelease(1, (2,))]

    def test_more_of_them_take_longer_and_longer(self, world: Any) -> None:
        delays = []
        for _ in range(5):
            [worker] = world.of_slot(2)
            world.exits(worker, status=1)
            since = world.now
            while not world.of_slot(2):
                world.pass_time(0.25)
            delays.append(world.now - since)
            world.ready()
        assert delays == [0.0, 0.5, 1.0, 2.0, 4.0]

    def test_one_that_had_served_for_long_starts_the_count_anew(self, world: Any) -> None:
        for _ in range(3):
            world.exits(world.of_slot(1)[0], status=1)
            world.pass_time(timing.STABLE_SECONDS + 1)
            world.ready()
            world.pass_time(timing.STABLE_SECONDS + 1)
        assert world.log().count("it is replaced now") == 3

    def test_the_adopter_dies_too(self, world: Any) -> None:
        world.exits(2, signal=9)
        assert of(world.exits(1, signal=9), m.TellAdopt) == [m.TellAdopt(3, (1, 2))]

    def test_all_die(self, world: Any) -> None:
        for worker in (1, 2, 3):
            world.exits(worker, signal=9)
        assert world.exit is None
        world.ready(3)
        assert world.processes[world.of_slot(3)[0]].accepts == {1, 2, 3}

    def test_a_worker_that_an_operator_ends_is_replaced_before_it_has_left(self, world: Any) -> None:
        commands = world.say(2, Draining())
        assert [command.slot for command in of(commands, m.StartWorker)] == [2]
        world.exits(2)
        assert "it is replaced" not in world.log()

    def test_delays_have_a_limit(self) -> None:
        assert [timing.delay_after(deaths) for deaths in (0, 1, 2, 100)] == [
            0.0,
            0.0,
            0.5,
            timing.LONGEST_DELAY,
        ]

    def test_one_that_fails_again_and_again_says_why_in_full_only_once(self, make_world: Any) -> None:
        world = make_world(2)
        world.ready(1)
        for _ in range(3):
            [worker] = world.of_slot(2)
            world.say(worker, Failed(Failure.STARTUP, "no database", "no database\nTraceback ..."))
            world.exits(worker, 3)
            world.pass_time(5)
        assert world.log().count("Traceback") == 1
        lines = [line for line in world.log().splitlines() if "no database" in line]
        assert [line.partition("; ")[2] for line in lines] == [
            "next try in 0.5 s",
            "next try in 0.5 s",
            "next try in 1 s",
        ]


class TestHeartbeat:
    def test_a_silent_worker_dumps_dies_and_is_replaced(self, world: Any) -> None:
        world.processes[2].is_blocked = True
        commands = world.pass_time(30)
        assert of(commands, m.DumpStacks) == [m.DumpStacks(2)]
        commands = world.pass_time(1)
        assert [one for one in commands if isinstance(one, m.TellStacks | m.KillWorker)] == [
            m.TellStacks(2, "Worker 2 (pid 1002) has not answered for 30 s and is killed"),
            m.KillWorker(2),
        ]
        assert [command.slot for command in of(world.exits(2, signal=9), m.StartWorker)] == [2]
        assert "was killed because it hung" in world.log()

    def test_siblings_serve_the_queue_of_one_that_stalls_until_it_goes_on(self, world: Any) -> None:
        world.processes[2].is_blocked = True
        assert of(world.pass_time(3.5), m.TellAdopt) == [m.TellAdopt(1, (2,))]
        world.processes[2].is_blocked = False
        assert of(world.pass_time(1.5), m.TellRelease) == [m.TellRelease(1, (2,))]

    def test_beats_keep_it_alive(self, world: Any) -> None:
        assert not of(world.pass_time(200), m.DumpStacks)

    def test_off(self, make_world: Any) -> None:
        world = make_world(worker_timeout=0)
        world.ready()
        assert world.state.due is None
        assert not world.pass_time(1000, beating=False)

    def test_a_suspended_machine_kills_nobody(self, world: Any) -> None:
        world.now += 3600
        assert not of(world.tick(beating=False), m.DumpStacks)
        assert not of(world.pass_time(29), m.DumpStacks)

    def test_a_worker_alone_is_looked_at_only_when_its_time_is_up(self, make_world: Any) -> None:
        world = make_world(1)
        world.ready()
        assert world.state.due == world.now + 29
        world.pass_time(29, beating=False)
        assert world.state.due == world.now + 1

    @pytest.mark.parametrize("pause", [0.5, 15.0, 28.5, 29.5, 30.5, 35.0, 3600.0])
    @pytest.mark.parametrize("begin", [0.0, 0.5, 28.9, 29.5])
    def test_a_pause_of_arbiter_and_workers_kills_nobody(
        self, make_world: Any, begin: float, pause: float
    ) -> None:
        """After it the arbiter is the first to run, and the workers beat within half a second."""
        world = make_world(1)
        world.ready()
        world.pass_time(begin)
        world.now += pause
        commands = world.tick(beating=False) if world.state.due <= world.now else []
        commands += world.pass_time(0.5, beating=False)
        commands += world.tick()
        assert not of(commands + world.pass_time(100), m.DumpStacks)

    def test_a_hang_is_found_after_a_pause_too(self, make_world: Any) -> None:
        world = make_world(1)
        world.ready()
        world.now += 3600
        world.processes[1].is_blocked = True
        world.tick()
        assert of(world.pass_time(31), m.DumpStacks)

    def test_a_pause_takes_no_time_from_a_worker_that_drains(self, world: Any) -> None:
        world.ask(Request.STOP)
        world.pass_time(1)
        world.now += 600
        assert not of(world.say(1, Draining()), m.KillWorker)
        assert not of(world.tick(), m.KillWorker)
        assert not of(world.pass_time(2), m.KillWorker)
        assert of(world.pass_time(2), m.KillWorker) == [m.KillWorker(2), m.KillWorker(3)]


class TestStop:
    def test_graceful(self, world: Any) -> None:
        commands = world.ask(Request.STOP)
        assert of(commands, m.TellDrain) == [m.TellDrain(n, DrainReason.STOP) for n in (1, 2, 3)]
        assert of(commands, m.CloseListeners) == [m.CloseListeners((1, 2, 3))]
        assert of(commands, m.Notify)[0].phase is m.Phase.STOPPING
        world.drained()
        assert world.exit == m.Exit(0)

    def test_a_worker_that_heard_gets_time_for_its_lifespan(self, make_world: Any) -> None:
        world = make_world(1)
        world.ready()
        world.ask(Request.STOP)
        world.say(1, Draining())
        assert not of(world.pass_time(63), m.KillWorker)
        assert of(world.pass_time(1), m.KillWorker)

    def test_a_worker_that_does_not_hear_is_killed_after_the_grace(self, make_world: Any) -> None:
        world = make_world(1)
        world.ready()
        world.ask(Request.STOP)
        assert of(world.pass_time(4), m.KillWorker)
        world.exits(1, signal=9)
        assert world.exit == m.Exit(0)

    @pytest.mark.parametrize("second", [Request.STOP, Request.QUICK])
    def test_the_second_makes_it_quick(self, world: Any, second: Request) -> None:
        world.ask(Request.STOP)
        world.pass_time(0.3)
        commands = world.ask(second)
        assert of(commands, m.TellDrain) == [m.TellDrain(n, DrainReason.QUICK) for n in (1, 2, 3)]
        assert of(world.pass_time(2), m.KillWorker) == [m.KillWorker(n) for n in (1, 2, 3)]

    def test_one_that_comes_twice_at_once_is_one(self, world: Any) -> None:
        """A process and its group were told."""
        world.ask(Request.STOP)
        world.pass_time(0.2)
        assert not world.ask(Request.STOP)
        assert of(world.ask(Request.QUICK), m.TellDrain)

    def test_the_third_kills(self, world: Any) -> None:
        world.ask(Request.QUICK)
        assert len(of(world.ask(Request.QUICK), m.KillWorker)) == 3
        assert not of(world.ask(Request.STOP), m.KillWorker)

    def test_a_failed_shutdown_of_the_application_is_told(self, make_world: Any) -> None:
        world = make_world(1)
        world.ready()
        world.ask(Request.STOP)
        world.exits(1, status=1)
        assert world.exit == m.Exit(1, "worker 1 (pid 1001) ended with status 1 while it stopped")

    def test_nothing_is_started_any_more(self, world: Any) -> None:
        world.ask(Request.STOP)
        for request in (
            Request.RELOAD,
            Request.RESTART,
            Request.MORE,
            Request.FEWER,
            Request.PAUSE,
            Request.UPGRADE,
        ):
            assert not world.ask(request)
        assert not of(world.exits(1, signal=9), m.StartWorker)
        assert not of(world.give(m.Changed(("app.py",))), m.StartWorker)

    def test_a_configuration_that_comes_too_late(self, world: Any) -> None:
        world.ask(Request.STOP)
        world.configure(2, m.Limits(2), 0)
        world.drained()
        assert world.exit == m.Exit(0)

    def test_after_the_end_nothing_happens(self, make_world: Any) -> None:
        world = make_world(1)
        world.ask(Request.QUICK)
        world.exits(1)
        assert plan.step(world.state, m.Asked(Request.MORE), world.now) == []


class TestOtherRequests:
    def test_upgrade_says_that_it_is_not_there(self, world: Any) -> None:
        [line] = world.ask(Request.UPGRADE)
        assert "not supported yet" in line.text

    def test_pause_only_for_daemons(self, world: Any) -> None:
        assert not world.ask(Request.PAUSE)

    def test_pause_and_back(self, make_world: Any) -> None:
        world = make_world(is_daemon=True)
        world.ready()
        assert len(of(world.ask(Request.PAUSE), m.TellDrain)) == 3
        world.drained()
        assert not world.processes
        assert world.open_keys == {1, 2, 3}
        assert "HUP brings them back" in world.log()
        world.ask(Request.MORE)
        assert not world.processes
        world.ask(Request.RELOAD)
        world.ready()
        assert world.generations() == [2, 2, 2]


class TestMisfits:
    def test_what_must_not_happen_is_told_and_changes_nothing(self, world: Any) -> None:
        commands = plan.step(world.state, m.Said(1, Ready()), world.now)
        assert [command.text for command in of(commands, m.Log)] == [
            "Internal: worker 1 (pid 1001) said ready while ready"
        ]
        assert world.state.workers[1].state is WorkerState.READY

    def test_the_gone_may_still_be_heard(self, world: Any) -> None:
        world.exits(1)
        assert not world.give(m.Said(1, Failed(Failure.STARTUP, "late")))
        assert not of(plan.step(world.state, m.Exited(1), world.now), m.Log)

    def test_no_other_events(self, world: Any) -> None:
        with pytest.raises(TypeError):
            plan.step(world.state, "surprise", world.now)


def test_what_is_wrong_with_all_workers_is_told_once(make_world: Any) -> None:
    world = make_world(3)
    for worker in (1, 2, 3):
        world.say(worker, Failed(Failure.APPLICATION, "no module", "no module\nTraceback: here"))
        world.exits(worker, 4)
    assert world.exit == m.Exit(4, "no module")
    assert world.log().count("Traceback: here") == 1


def test_an_outage_is_short_however_often_workers_die(make_world: Any) -> None:
    world = make_world(2)
    for _ in range(10):
        world.ready()
        for worker in list(world.processes):
            world.exits(worker, signal=9)
        since = world.now
        while not world.processes:
            world.pass_time(0.25)
        assert world.now - since <= timing.LONGEST_OUTAGE


def test_the_delay_that_is_told_is_the_one_that_is_kept(make_world: Any) -> None:
    world = make_world(1)
    for _ in range(5):
        world.ready()
        [worker] = world.processes
        died_at = world.now
        world.exits(worker, signal=9)
        while not world.processes:
            world.pass_time(0.25)
        told = world.log().splitlines()[-2].rpartition("; it is replaced ")[2]
        assert told == ("now" if world.now == died_at else f"in {world.now - died_at:g} s")
