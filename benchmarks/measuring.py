"""The measurement itself: rounds in which the servers take turns, and memory one server at a time."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .processes import memory_kib, processor_seconds
from .running import Running, StartError, idle_connections, running
from .servers import Certificate, Server
from .works import LoadError, Work, run

#: Kept connections that are opened to see what one costs.
_IDLE_CONNECTIONS = 500


@dataclass(frozen=True)
class Figure:
    """One server, one work, one round."""

    server: str
    work: str
    round: int
    requests: int
    seconds: float
    microseconds: float


@dataclass(frozen=True)
class Memory:
    """One server at rest: kibibytes of the whole tree and of its largest process, which is the worker; bytes of a kept
    connection; seconds to the first answer."""

    server: str
    idle_kib: int
    worker_kib: int
    connection_bytes: int
    start_seconds: float


@dataclass(frozen=True)
class Plan:
    """How much is measured: rounds, seconds of each load, seconds of the warm-up of each server and work."""

    rounds: int
    seconds: float
    warm_up: float


def measure(
    python: str, servers: Sequence[Server], works: Sequence[Work], plan: Plan, certificate: Certificate | None
) -> list[dict[str, object]]:
    """All works on all servers that can do them; with a certificate over TLS. A failure is told and left out."""
    figures: list[dict[str, object]] = []
    with contextlib.ExitStack() as stack:
        up = []
        for server in servers:
            if any(work.needs <= server.speaks for work in works):
                try:
                    up.append(stack.enter_context(running(server, python, certificate)))
                except StartError as error:
                    _say(f"  {error}")
        for work in works:
            figures += _measure_work(work, [one for one in up if work.needs <= one.server.speaks], plan)
    return figures


def _measure_work(work: Work, up: list[Running], plan: Plan) -> list[dict[str, object]]:
    _say(work.name)
    figures: list[dict[str, object]] = []
    able = [one for one in up if _try(work, one, plan.warm_up) is not None]
    for number in range(plan.rounds):
        # The order changes each round, so that no server always follows the same neighbour.
        turn = number % len(able) if able else 0
        for one in able[turn:] + able[:turn]:
            before = processor_seconds(one.pid)
            load = _try(work, one, plan.seconds)
            if load is None:
                continue
            requests, seconds = load
            spent = (processor_seconds(one.pid) - before) * 1e6 / requests
            figures.append(asdict(Figure(one.server.name, work.name, number, requests, seconds, spent)))
            _say(f"  {one.server.name:26} {spent:8.1f} µs  {requests / seconds:9.0f} /s")
    return figures


def _try(work: Work, one: Running, seconds: float) -> tuple[int, float] | None:
    try:
        load = run(work, one.port, seconds)
    except LoadError as error:
        _say(f"  {one.server.name:26} {error}")
        return None
    return load.requests, load.seconds


def measure_memory(python: str, servers: Sequence[Server]) -> list[dict[str, object]]:
    """Each server alone: pages that two servers share would count half otherwise."""
    found: list[dict[str, object]] = []
    _say("memory and start")
    for server in servers:
        if "http1" not in server.speaks:
            continue
        try:
            with running(server, python, None) as one:
                time.sleep(1)  # what a server does after its first answer: imports, a first collection
                idle = memory_kib(one.pid)
                connections = idle_connections(one.port, _IDLE_CONNECTIONS)
                each = (sum(memory_kib(one.pid)) - sum(idle)) * 1024 // _IDLE_CONNECTIONS
                for connection in connections:
                    connection.close()
        except (StartError, OSError) as error:
            _say(f"  {server.name}: {error}")
            continue
        found.append(asdict(Memory(server.name, sum(idle), max(idle), each, one.start_seconds)))
        _say(
            f"  {server.name:26} {sum(idle) / 1024:6.1f} MiB  {each:6} B/connection  {one.start_seconds:5.2f} s to answer"
        )
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
