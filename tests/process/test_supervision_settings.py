"""Settings that change under a running server, and what the surroundings of one ask for."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]

COMMAND = [sys.executable, "-m", "hypercorn"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("errorlog = 'missing/error.log'", "errorlog: log file missing/error.log cannot be opened"),
        ("accesslog = '-'\naccess_log_format = '%'", "access_log_format: access log format: '%' is neither"),
        ("logconfig = 'missing.json'", "logconfig: there is no log configuration file missing.json"),
    ],
)
def test_a_wrong_log_at_a_reload_changes_nothing(
    start: Start, application: Path, wrong: str, told: str
) -> None:
    file = application / "hypercorn.toml"
    file.touch()
    arbiter = start("-c", "hypercorn.toml")
    arbiter.port()
    before = arbiter.workers()
    file.write_text(wrong)
    arbiter.signal(signal.SIGHUP)
    arbiter.wait_for(
        f"Generation 2 cannot start, generation 1 keeps serving: .*hypercorn.toml: {re.escape(told)}"
    )
    assert int(arbiter.get()) in before
    file.write_text("")
    arbiter.signal(signal.SIGHUP)
    arbiter.wait_for("Generation 3 serves")


def test_a_changed_log_is_that_of_all_workers(start: Start, application: Path) -> None:
    """Of the first of a new generation too, which starts before the arbiter knows that the settings are of use."""
    file = application / "hypercorn.toml"
    file.write_text("accesslog = 'old.log'\n")
    arbiter = start("-c", "hypercorn.toml")
    arbiter.port()
    file.write_text("accesslog = 'new.log'\naccess_log_format = 'new %(s)s'\n")
    arbiter.signal(signal.SIGHUP)
    arbiter.wait_for("Generation 2 serves")
    arbiter.wait_for("has ended")
    arbiter.get()
    arbiter.signal(signal.SIGTERM)
    arbiter.ends()
    assert (application / "new.log").read_text().endswith("new 200\n")
    assert not (application / "old.log").read_text()


def test_a_configuration_that_exits_at_a_reload_changes_nothing(start: Start, application: Path) -> None:
    file = application / "conf.py"
    file.touch()
    arbiter = start("-c", "file:conf.py")
    arbiter.port()
    file.write_text("import sys\nsys.exit('not here')\n")
    arbiter.signal(signal.SIGHUP)
    arbiter.wait_for("not used, nothing changes: file:conf.py: .* SystemExit: not here")
    assert int(arbiter.get()) in arbiter.workers()


def test_a_daemon_that_the_system_refuses() -> None:
    code = (
        "import resource, sys\n"
        "from hypercorn.config import Config\n"
        "from hypercorn.run import run\n"
        "config = Config.from_mapping(application_path='app:app', daemon=True)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "sys.exit(run(config))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "hypercorn: cannot go into the background: Too many open files\n",
    )


def test_a_hangup_that_is_ignored_stays_so(start: Start) -> None:
    server = start("-w", "0", command=["nohup", *COMMAND])
    server.port()
    server.signal(signal.SIGHUP)
    server.signal(signal.SIGTERM)
    assert server.ends() == 0
    assert "SIGTERM" in server.text()
    assert "SIGHUP" not in server.text()
