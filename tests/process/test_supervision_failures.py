"""Applications and settings that do not work: what is said, once, and with which status it ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "hypercorn"]

Start = Callable[..., Any]

LIFESPAN_FAILS = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("import nothing_of_that_name", 4, "nothing_of_that_name"),
        ("app = ", 4, "syntax"),
        (
            LIFESPAN_FAILS,
            3,
            "no database",
        ),
        ("import os\nos._exit(7)", 3, "before it was ready"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_when_no_worker_becomes_ready(
    start: Start, application: Path, workers: str, code: str, status: int, reason: str
) -> None:
    (application / "app.py").write_text(code)
    arbiter = start("-w", workers)
    assert arbiter.ends() == status
    arbiter.wait_for(f"^hypercorn: .*{reason}")


def test_a_port_in_use(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        name = f"127.0.0.1:{other.getsockname()[1]}"
        arbiter = start("-w", "2", bind=name)
        assert arbiter.ends() == 1
    arbiter.wait_for(f"^hypercorn: cannot bind {name}: the address is in use")


def test_without_workers_and_without_application(start: Start, application: Path) -> None:
    (application / "app.py").write_text("app = ")
    arbiter = start("-w", "0")
    assert arbiter.ends() == 4
    arbiter.wait_for("^hypercorn: ")


def test_a_daemon_that_fails_tells_its_caller(start: Start, application: Path) -> None:
    (application / "app.py").write_text("app = ")
    caller = start("-D", "-w", "1")
    assert caller.ends() == 4
    caller.wait_for("^hypercorn: ")


def test_a_context_hook_that_raises_is_named(start: Start, application: Path) -> None:
    (application / "own.py").write_text(
        "certfile = 'own'\ndef create_ssl_context():\n    raise RuntimeError('no vault')\n"
    )
    arbiter = start("-w", "2", "-c", "file:own.py")
    assert arbiter.ends() == 3
    arbiter.wait_for('own.py., line 3, in create_ssl_context$|own.py", line 3, in create_ssl_context$')
    arbiter.wait_for("^hypercorn: create_ssl_context failed: RuntimeError: no vault$")


def test_the_traceback_of_an_application_that_cannot_be_loaded_comes_once(
    start: Start, application: Path
) -> None:
    (application / "app.py").write_text("raise RuntimeError('bad luck')\n")
    arbiter = start("-w", "3")
    assert arbiter.ends() == 4
    arbiter.wait_for("^hypercorn: module 'app' failed to import: RuntimeError: bad luck$")
    assert arbiter.text().count("Traceback") == 1


@pytest.mark.parametrize("worker_class", ["asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_application_that_raises_keyboard_interrupt(
    start: Start, application: Path, workers: str, worker_class: str
) -> None:
    code = (application / "app.py").read_text().replace("time.sleep(600)", "raise KeyboardInterrupt")
    (application / "app.py").write_text(code)
    arbiter = start("-w", workers, "-k", worker_class)
    with contextlib.suppress(AssertionError, OSError):
        arbiter.get("/hang")
    arbiter.wait_for("The application raised KeyboardInterrupt, which ends its process")
    if workers == "0":
        assert arbiter.ends() == 1
    else:
        assert arbiter.get()
        arbiter.signal(signal.SIGTERM)
        assert arbiter.ends() == 0


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_logger_class_that_cannot_be_made(start: Start, workers: str) -> None:
    arbiter = start("-w", workers, "--logger-class", "json.JSONDecoder")
    assert arbiter.ends() == 2
    arbiter.wait_for("^hypercorn: --logger-class: 'json.JSONDecoder' cannot be used: TypeError")
    assert "Traceback" not in arbiter.text()


def test_the_traceback_of_a_lifespan_that_fails_is_the_applications(start: Start, application: Path) -> None:
    (application / "app.py").write_text(
        "async def app(scope, receive, send):\n    await receive()\n    raise RuntimeError('bad luck')\n"
    )
    arbiter = start("-w", "3")
    assert arbiter.ends() == 3
    arbiter.wait_for("^hypercorn: lifespan startup failed: RuntimeError: bad luck$")
    assert arbiter.text().count("Traceback") == 1
    assert arbiter.text().count("  File ") == 1


def limited(descriptors: int) -> list[str]:
    return ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *COMMAND]


@pytest.mark.parametrize("descriptors", [6, 8, 10, 14])
@pytest.mark.parametrize("arguments", [["-w", "0"], ["-w", "1"], ["-w", "2", "--reload"]])
def test_too_few_descriptors_to_serve_with(start: Start, descriptors: int, arguments: list[str]) -> None:
    arbiter = start(*arguments, command=limited(descriptors))
    assert arbiter.ends() == 1
    arbiter.wait_for(
        "^hypercorn: .*Too many open files; raise the limit of open files|^hypercorn: cannot bind"
    )
    assert "Traceback" not in arbiter.text()


@pytest.mark.parametrize("worker_class", ["asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("arguments", [["-w", "0"], ["-w", "1"], ["-w", "1", "--reload"]])
def test_just_enough_descriptors_to_serve_with(start: Start, arguments: list[str], worker_class: str) -> None:
    arbiter = start(*arguments, "-k", worker_class, command=limited(17))
    assert arbiter.get()
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0
    assert "Traceback" not in arbiter.text()


def refused(call: str, error: str, *options: str, command: list[str] = COMMAND) -> list[str]:
    """The command, to which the system answers each such call, or those that `error` counts, with this error."""
    traced = ["strace", "-D", "-f", "-o", os.devnull, f"--trace={call}", f"--inject={call}:error={error}"]
    if shutil.which("strace") is None or subprocess.run([*traced, "true"], check=False).returncode:
        pytest.skip("needs strace, and to be allowed to use it")
    return [*traced, *options, *command]


@pytest.mark.parametrize(
    ("error", "advice"), [("EAGAIN", "raise the limit of processes"), ("ENOMEM", "allow more memory")]
)
def test_a_watcher_that_the_system_refuses(start: Start, error: str, advice: str) -> None:
    arbiter = start("-w", "1", "--reload", command=refused("clone,clone3,fork,vfork", error))
    assert arbiter.ends() == 1
    arbiter.wait_for(f"^hypercorn: files cannot be watched, as --reload wants it: .*; {advice}")
    assert "Traceback" not in arbiter.text()


@pytest.mark.parametrize("error", ["ENOBUFS", "ENOMEM"])
def test_a_message_for_which_there_is_no_memory_at_first(start: Start, error: str) -> None:
    """The first of each process: of the worker that it is ready, of the arbiter that it is to drain."""
    arbiter = start("-w", "1", command=refused("sendto", f"{error}:when=1"))
    assert arbiter.get()
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0
    assert "killed" not in arbiter.text()


def test_a_last_word_for_which_there_is_no_memory_has_its_time(application: Path) -> None:
    """The socket could be written to all the time, so that nothing but the time ends it."""
    code = (
        "from hypercorn.arbiter.channel import open_line\n"
        "from hypercorn.config.supervision import Ready\n"
        "ours, theirs = open_line()\n"
        "theirs.send(Ready())\n"
        "theirs.finish(0.01)\n"
        "print(ours.receive())\n"
    )
    command = refused("sendto", "ENOBUFS", command=[sys.executable, "-c", code])
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30, cwd=application)
    assert done.stdout == "([], True)\n"


def test_a_pid_file_where_there_are_no_locks(start: Start, application: Path) -> None:
    """As on NFS without its lock service: one that names nobody is replaced nevertheless."""
    without = refused("fcntl", "ENOLCK", "-P", str(application / "server.pid"))
    (application / "server.pid").write_text("4194305\n")
    arbiter = start("-w", "1", "-p", "server.pid", command=without)
    assert arbiter.get()
    assert int((application / "server.pid").read_text()) == arbiter.pid
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_a_file_in_memory_that_the_system_forbids(start: Start, error: str) -> None:
    arbiter = start("-w", "1", command=refused("memfd_create", error))
    assert arbiter.get()
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0


@pytest.mark.parametrize(("call", "error"), [("inotify_add_watch", "ENOSPC"), ("inotify_init1", "EMFILE")])
def test_files_that_the_system_does_not_watch(start: Start, call: str, error: str) -> None:
    """The service goes on: what was asked for above all is that it serves."""
    arbiter = start("-w", "1", "--reload", command=refused(call, error))
    arbiter.wait_for(
        r"Files cannot be watched: .*; if that is a limit, raise it \(fs.inotify.max_user_watches"
    )
    arbiter.wait_for("Files are not watched any more")
    assert arbiter.get()
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0
    assert "Traceback" not in arbiter.text()


def test_workers_that_the_system_refuses(start: Start) -> None:
    arbiter = start("-w", "12", command=limited(40))
    arbiter.wait_for(
        r"Worker \d+ could not start: a process cannot be forked: Too many open files; raise the limit"
    )
    assert int(arbiter.get()) in arbiter.workers()
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0
    assert "ended with status" not in arbiter.text()
