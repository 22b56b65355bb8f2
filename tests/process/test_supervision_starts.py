"""How the command is started: what the caller of a daemon hears, and what whoever starts it leaves to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

import hypercorn

Start = Callable[..., Any]


@pytest.fixture
def gate(application: Path) -> Iterator[Callable[[], TextIO]]:
    """Makes the application wait at its import; what it gives returns once it does, with what to close to let it go on."""
    code = (application / "app.py").read_text()
    (application / "app.py").write_text(f"open('gate').read()\n{code}")
    os.mkfifo(application / "gate")
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(open(application / "gate", "w"))


def told_to_stop_at(moment: str) -> list[str]:
    """The command, which gets TERM when it first calls this function or returns from it."""
    shim = (
        "import os, runpy, signal, sys\n"
        "def look(frame, event, argument):\n"
        f"    if f'{{event}} of {{frame.f_code.co_name}}' == {moment!r}:\n"
        "        sys.setprofile(None)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.setprofile(look)\n"
        "runpy.run_module('hypercorn', run_name='__main__', alter_sys=True)\n"
    )
    return [sys.executable, "-c", shim]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_caller_of_a_daemon_is_told_to_stop(
    start: Start, gate: Callable[[], TextIO], number: signal.Signals
) -> None:
    """The fixture sees that the daemon is gone: it would hold standard error."""
    caller = start("-D", "-w", "1", "-p", "server.pid", "--graceful-timeout", "0")
    gate()
    caller.signal(number)
    caller.wait_for("Received SIGTERM")
    assert caller.ends() == 0
    caller.wait_for("Stopped")
    assert "Traceback" not in caller.text()


def test_the_caller_of_a_daemon_is_told_to_stop_at_once(start: Start) -> None:
    """Before it knows whom to tell."""
    caller = start("-D", "-w", "1", command=told_to_stop_at("call of _wait"))
    assert caller.ends() == 0
    assert "Traceback" not in caller.text()


def test_the_caller_of_a_daemon_that_is_killed_says_so(start: Start, gate: Callable[[], TextIO]) -> None:
    caller = start("-D", "-w", "1")
    gate_of_worker = gate()
    daemon = int(caller.wait_for(r"kill -TERM (\d+)")[1])
    os.kill(daemon, signal.SIGKILL)
    gate_of_worker.close()
    assert caller.ends() == 1
    caller.wait_for(rf"^hypercorn: the daemon \(pid {daemon}\) has ended before it served")


@pytest.mark.parametrize("workers", ["0", "1"])
def test_blocked_signals_are_not_left_so(start: Start, workers: str) -> None:
    shim = (
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'hypercorn', *sys.argv[1:]])\n"
    )
    arbiter = start("-w", workers, command=[sys.executable, "-c", shim])
    if workers != "0":
        os.kill(int(arbiter.get()), signal.SIGKILL)
        arbiter.wait_for("is ready", 2)
    assert arbiter.get()
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0


@pytest.mark.parametrize(
    "moment",
    ["return of interrupt_when_told", "return of write", "call of _listening", "return of open_bind"],
)
@pytest.mark.parametrize("workers", ["0", "1"])
def test_told_to_stop_while_it_takes_what_is_its_own(start: Start, workers: str, moment: str) -> None:
    """The fixture sees that neither file is left."""
    arbiter = start(
        "-w",
        workers,
        "-p",
        "server.pid",
        bind="unix:server.sock",
        command=told_to_stop_at(moment),
    )
    assert arbiter.ends() == 0
    assert "Traceback" not in arbiter.text()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_root_that_may_not_be_given_up(start: Start) -> None:
    limited = ["setpriv", "--bounding-set=-setuid,-setgid", sys.executable, "-m", "hypercorn"]
    arbiter = start("-w", "2", "--user", "65534", command=limited)
    assert arbiter.ends() == 3
    arbiter.wait_for("^hypercorn: cannot change to the configured .*; allow it .CAP_SETUID, CAP_SETGID.")


@needs_root
def test_a_user_who_cannot_read_what_is_installed(start: Start, application: Path) -> None:
    package = Path(hypercorn.__file__).parent
    shutil.copytree(package, application / "hypercorn", ignore=shutil.ignore_patterns("__pycache__"))
    application.chmod(0o700)
    arbiter = start("-w", "2", "--user", "65534")
    assert arbiter.ends() == 3
    arbiter.wait_for("^hypercorn: user 65534 cannot read .*; install it where --user can read it")
    assert "Traceback" not in arbiter.text()
