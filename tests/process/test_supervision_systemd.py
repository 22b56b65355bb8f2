"""What systemd sees: its notify socket, recorded; sockets that it passes; unit files that it accepts."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., Any]


class Manager:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + address[1:] if address.startswith("@") else address)
        self.sock.settimeout(30)

    def hears(self, line: str) -> dict[str, str]:
        """The next message that has this line, as a mapping."""
        while True:
            message = self.sock.recv(4096).decode().split("\n")
            if line in message:
                return dict(part.split("=", 1) for part in message)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    is_path = request.param == "path"
    made = Manager(str(tmp_path / "notify") if is_path else f"@hypercorn-test-{os.getpid()}")
    yield made
    made.sock.close()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_from_start_to_stop(start: Start, manager: Manager, workers: str) -> None:
    arbiter = start("-w", workers, environment={"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"})
    ready = manager.hears("READY=1")
    assert ready["MAINPID"] == str(arbiter.pid)
    assert arbiter.get()
    manager.hears("WATCHDOG=1")
    manager.hears("WATCHDOG=1")
    if workers != "0":
        arbiter.signal(signal.SIGHUP)
        assert int(manager.hears("RELOADING=1")["MONOTONIC_USEC"]) > 0
        assert manager.hears("READY=1")["STATUS"] == "2 of 2 workers ready, generation 2"
    arbiter.signal(signal.SIGTERM)
    manager.hears("STOPPING=1")
    assert arbiter.ends() == 0


def test_ready_only_when_the_application_is(start: Start, manager: Manager, application: Path) -> None:
    code = (application / "app.py").read_text()
    (application / "app.py").write_text(f"import os\nopen('gate').read()\n{code}")
    os.mkfifo(application / "gate")
    arbiter = start("-w", "1", environment={"NOTIFY_SOCKET": manager.address})
    gate = os.open(application / "gate", os.O_WRONLY)  # returns once the worker is importing
    manager.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.sock.recv(4096)
    manager.sock.settimeout(30)
    os.close(gate)
    assert manager.hears("READY=1")["STATUS"] == "1 of 1 workers ready, generation 1"
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0


@pytest.mark.parametrize("workers", ["0", "2"])
def test_socket_activation(start: Start, workers: str) -> None:
    """A shim sets LISTEN_PID as systemd does, between fork and exec, and has the socket at descriptor 3."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        shim = (
            "import os, sys\n"
            f"os.dup2({listener.fileno()}, 3, inheritable=True)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
            "os.execv(sys.executable, [sys.executable, '-m', 'hypercorn', *sys.argv[1:]])\n"
        )
        arbiter = start("-w", workers, command=[sys.executable, "-c", shim], pass_fds=(listener.fileno(),))
        assert arbiter.port() == address[1]
        assert arbiter.get()
        if workers != "0":
            arbiter.signal(signal.SIGHUP)
            arbiter.wait_for("Generation 2 serves")
            arbiter.wait_for("has ended", 2)
            assert arbiter.get()
            environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in arbiter.workers()]
            assert environments
        arbiter.signal(signal.SIGTERM)
        assert arbiter.ends() == 0


def passing(count: str, before: str) -> list[str]:
    """The command, in an environment that says that so many sockets are passed, after this statement."""
    shim = (
        f"import os, socket, sys\n{before}\n"
        f"os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS={count!r})\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'hypercorn', *sys.argv[1:]])\n"
    )
    return [sys.executable, "-c", shim]


@pytest.mark.parametrize("count", ["two", "-1", "²", "1000000"])
def test_a_number_of_passed_sockets_that_is_none(start: Start, count: str) -> None:
    arbiter = start("-w", "1", command=passing(count, "os.closerange(3, 100)"))
    assert arbiter.ends() == 2
    arbiter.wait_for(r"^hypercorn: \$LISTEN_FDS: ")
    assert len(arbiter.log) == 1


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ("os.open(os.devnull, os.O_RDONLY)", "the descriptor is no socket"),
        ("socket.socket(type=socket.SOCK_DGRAM).detach()", "a SOCK_STREAM socket is wanted"),
        ("socket.socketpair()[0].detach()", "a connection, not a listening socket; .* say Accept=no"),
    ],
)
def test_a_passed_descriptor_that_is_no_listening_socket(start: Start, made: str, reason: str) -> None:
    arbiter = start("-w", "1", command=passing("1", f"os.dup2({made}, 99); os.dup2(99, 3)"))
    assert arbiter.ends() == 1
    arbiter.wait_for(rf"^hypercorn: cannot bind fd://3 of \$LISTEN_FDS: .*{reason}")
    assert len(arbiter.log) == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("name", ["hypercorn.service", "hypercorn.socket"])
def test_the_unit_files_are_accepted(name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", str(ROOT / "examples" / "systemd" / name)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
