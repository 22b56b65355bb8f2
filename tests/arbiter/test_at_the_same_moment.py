"""Two arbiters that start at the same moment: what only one may have, one has."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hypercorn.arbiter import pidfile
from hypercorn.config import BindError, parse_bind
from hypercorn.config.sockets import open_bind, supports_reuse_port

PROCESSES, ROUNDS = 4, 30


def successes(take: Callable[[], object]) -> int:
    """How many of several processes that do it at once can `take`; they keep what they have until all have tried."""
    begin, told, end = os.pipe(), os.pipe(), os.pipe()
    pids: list[int] = []
    for _ in range(PROCESSES):
        if (pid := os.fork()) == 0:
            try:
                os.close(begin[1])
                os.close(end[1])
                os.read(begin[0], 1)
                taken = take()
                os.write(told[1], b"1" if taken else b"0")
                os.close(told[1])
                os.read(end[0], 1)
            finally:  # whatever it was, the rest of the tests is not this process's to run
                os._exit(0)
        pids.append(pid)
    os.close(begin[1])
    os.close(told[1])
    with open(told[0], "rb") as answers:
        words = answers.read()
    os.close(end[1])
    for pid in pids:
        os.waitpid(pid, 0)
    os.close(begin[0])
    os.close(end[0])
    assert len(words) == PROCESSES
    return words.count(b"1")


@pytest.mark.parametrize("stale", ["", "4194305\n"])
def test_one_has_the_pid_file(tmp_path: Path, stale: str) -> None:
    path = tmp_path / "server.pid"

    def take() -> bool:
        try:
            pidfile.write(str(path))
        except pidfile.PIDFileError:
            return False
        return True

    for _ in range(ROUNDS):
        if stale:
            path.write_text(stale)
        assert successes(take) == 1
        assert [entry.name for entry in tmp_path.iterdir()] == ["server.pid"]
        assert pidfile.read(str(path)) not in (None, int(stale or 0))
        path.unlink()


@pytest.mark.parametrize("copies", [None, 2])
def test_one_has_the_port(hold_port: Callable[[], int], copies: int | None) -> None:
    bind = parse_bind(f"127.0.0.1:{hold_port()}")
    if copies and not supports_reuse_port(bind):
        pytest.skip("the kernel shares no connections between sockets")

    def take() -> object:
        try:
            return open_bind(bind, copies=copies)
        except BindError:
            return None

    for _ in range(ROUNDS):
        assert successes(take) == 1
