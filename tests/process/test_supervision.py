"""Real arbiters with real workers and real signals."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from hypercorn.config.supervision import SAME_REQUEST_SECONDS

Start = Callable[..., Any]


class Clients:
    """Threads that ask again and again, each request on a connection of its own; counts what fails."""

    def __init__(self, arbiter: Any, ask: Callable[[socket.socket], str], number: int = 4) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self.pids: set[int] = set()
        self._port = arbiter.port()
        self._ask = ask
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(number)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=20) as sock:
                    self.pids.add(int(self._ask(sock)))
                self.answered += 1
            except (OSError, AssertionError) as error:
                self.failures.append(f"{threading.current_thread().name}: {error!r}")


@pytest.fixture
def ask() -> Callable[[socket.socket], str]:
    def ask(sock: socket.socket) -> str:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return answer.partition(b"\r\n\r\n")[2].decode()

    return ask


def test_it_serves_and_stops(start: Start) -> None:
    arbiter = start("-w", "2")
    assert int(arbiter.get()) in arbiter.workers()
    assert len(arbiter.workers()) == 2
    titles = {Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") for pid in arbiter.workers()}
    assert titles == {b"hypercorn: worker 1 [app:app]", b"hypercorn: worker 2 [app:app]"}
    assert Path(f"/proc/{arbiter.pid}/cmdline").read_bytes().rstrip(b"\0") == b"hypercorn: master [app:app]"
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0


def test_a_timeout_longer_than_the_system_can_sleep(start: Start) -> None:
    arbiter = start("-w", "1", "--worker-timeout", "1e300")
    assert arbiter.get()
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0


def test_a_request_in_flight_is_answered_at_a_stop(start: Start) -> None:
    arbiter = start("-w", "2", "--graceful-timeout", "10")
    with socket.create_connection(("127.0.0.1", arbiter.port())) as sock:
        sock.sendall(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
        arbiter.wait_for("slow begins")
        arbiter.signal(signal.SIGTERM)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")
    assert arbiter.ends() == 0


def test_killed_workers_are_replaced_and_the_service_goes_on(start: Start) -> None:
    arbiter = start("-w", "3")
    arbiter.port()
    for number in range(1, 4):
        victim = min(arbiter.workers())
        os.kill(victim, signal.SIGKILL)
        arbiter.wait_for("was killed by SIGKILL", number)
        assert arbiter.get()
    arbiter.wait_for("Worker .* is ready", 6)
    assert len(arbiter.workers()) == 3
    arbiter.signal(signal.SIGINT)
    assert arbiter.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_rolling_replacement_fails_no_request(start: Start, ask: Any, number: signal.Signals) -> None:
    arbiter = start("-w", "3")
    with Clients(arbiter, ask) as clients:
        before = arbiter.workers()
        arbiter.signal(number)
        arbiter.wait_for("Generation 2 serves")
        arbiter.signal(number)
        arbiter.wait_for("Generation 3 serves")
        arbiter.signal(signal.SIGTTIN)
        arbiter.wait_for("Worker 4 .* is ready")
        arbiter.signal(signal.SIGTTOU)
        arbiter.wait_for("Worker 4 .* has ended")
        arbiter.signal(signal.SIGTTOU)
        arbiter.wait_for("Worker 3 .* has ended", 3)
    assert clients.failures == []
    assert clients.answered > 100
    assert not before & arbiter.workers()
    assert len(arbiter.workers()) == 2


@pytest.mark.parametrize("worker_class", ["asyncio", "uvloop", "trio"])
def test_a_stop_does_not_wait_for_idle_clients_of_a_predecessor(start: Start, worker_class: str) -> None:
    arbiter = start("-w", "1", "-k", worker_class, "--graceful-timeout", "600", "--keep-alive", "600")
    with socket.create_connection(("127.0.0.1", arbiter.port()), timeout=30) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        arbiter.signal(signal.SIGHUP)
        arbiter.wait_for("Worker 1 .* drains")
        arbiter.signal(signal.SIGTERM)
        assert sock.recv(65536) == b""
        assert arbiter.ends() == 0
    arbiter.wait_for("Stopped$")


def test_broken_code_at_a_reload_changes_nothing(start: Start, application: Path) -> None:
    arbiter = start("-w", "2")
    arbiter.port()
    before = arbiter.workers()
    code = (application / "app.py").read_text()
    (application / "app.py").write_text("app = ")
    arbiter.signal(signal.SIGHUP)
    arbiter.wait_for("Generation 2 cannot start, generation 1 keeps serving")
    assert arbiter.workers() == before
    assert int(arbiter.get()) in before
    (application / "app.py").write_text(code)
    arbiter.signal(signal.SIGHUP)
    arbiter.wait_for("has ended", 2)
    assert not before & arbiter.workers()


def test_a_reload_reads_the_configuration_again(start: Start, application: Path) -> None:
    file = application / "hypercorn.toml"
    file.write_text("workers = 1\n")
    arbiter = start("-c", "hypercorn.toml")
    arbiter.port()
    file.write_text("workers = 'many'\n")
    arbiter.signal(signal.SIGHUP)
    arbiter.wait_for("nothing changes: .*workers")
    file.write_text("workers = 3\n")
    arbiter.signal(signal.SIGHUP)
    arbiter.wait_for("Generation 3 serves")
    arbiter.wait_for("Worker .* is ready", 4)
    arbiter.wait_for("has ended")
    assert len(arbiter.workers()) == 3


def test_changed_binds_are_served_and_old_ones_closed(start: Start, application: Path) -> None:
    file = application / "hypercorn.toml"
    file.write_text("workers = 2\nbind = ['unix:first.sock']\n")
    process = start("-c", "hypercorn.toml", bind=None)
    process.wait_for("Running on http://unix:.*first.sock")
    file.write_text("workers = 2\nbind = ['unix:second.sock']\n")
    process.signal(signal.SIGHUP)
    process.wait_for("Generation 2 serves")
    process.wait_for("has ended", 2)
    assert not (application / "first.sock").exists()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(application / "second.sock"))
        sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("options", [(), ("--no-reuse-port",)])
def test_binds_that_overlap_follow_each_other_without_a_gap(
    start: Start, ask: Any, application: Path, hold_port: Callable[[], int], options: tuple[str, ...]
) -> None:
    port = hold_port()
    file = application / "hypercorn.toml"
    file.write_text(f"workers = 2\nbind = ['127.0.0.1:{port}']\n")
    arbiter = start("-c", "hypercorn.toml", *options, bind=None)
    with Clients(arbiter, ask) as clients:
        for generation, host in enumerate(("0.0.0.0", "127.0.0.1", "localhost"), 2):
            file.write_text(f"workers = 2\nbind = ['{host}:{port}']\n")
            arbiter.signal(signal.SIGHUP)
            arbiter.wait_for(f"Generation {generation} serves")
            arbiter.wait_for("has ended", 2 * (generation - 1))
    # Between the last accept from a socket and its close the kernel may complete one more handshake, and resets it: of
    # each client at most one for each of the two sockets of a change.
    assert [failure for failure in clients.failures if "ConnectionResetError" not in failure] == []
    resets = Counter(failure.partition(":")[0] for failure in clients.failures)
    assert max(resets.values(), default=0) <= 6
    assert clients.answered > 100


def test_the_pid_file(start: Start, application: Path) -> None:
    arbiter = start("-w", "1", "-p", "server.pid")
    arbiter.port()
    assert (application / "server.pid").read_text() == f"{arbiter.pid}\n"
    second = start("-w", "1", "-p", "server.pid")
    assert second.ends() == 1
    second.wait_for("^hypercorn: .*server.pid names process")
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0
    assert not (application / "server.pid").exists()


def test_workers_notice_that_their_arbiter_has_vanished(start: Start) -> None:
    arbiter = start("-w", "2")
    arbiter.port()
    arbiter.process.kill()
    arbiter.ends()
    arbiter.wait_for("The arbiter is gone", 2)


def test_threads_of_a_preloaded_application_are_warned_of(start: Start, application: Path) -> None:
    with (application / "app.py").open("a") as file:
        file.write(
            "\nimport threading\nthreading.Thread(target=time.sleep, args=(600,), name='refresher', daemon=True).start()\n"
        )
    arbiter = start("-w", "1", "--preload")
    assert arbiter.get()
    assert arbiter.wait_for("WARNING.*started threads.*refresher")
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0


def test_preloaded_once(start: Start, application: Path) -> None:
    code = (application / "app.py").read_text()
    (application / "app.py").write_text(
        "import os, sys\nprint('loaded by', os.getpid(), file=sys.stderr)\n" + code
    )
    arbiter = start("-w", "2", "--preload")
    arbiter.wait_for(f"loaded by {arbiter.pid}")
    assert int(arbiter.get()) != arbiter.pid
    assert arbiter.text().count("loaded by") == 1
    arbiter.signal(signal.SIGHUP)
    arbiter.wait_for("preloaded application stays as it is")
    arbiter.wait_for("Generation 2 serves")


def test_max_requests_replaces_without_a_failure(start: Start, ask: Any) -> None:
    arbiter = start("-w", "2", "--max-requests", "50")
    with Clients(arbiter, ask, 2) as clients:
        arbiter.wait_for("has served its share", 4)
        arbiter.wait_for("has ended", 3)
    assert clients.failures == []
    assert len(clients.pids) > 3


def test_the_second_term_is_quick(start: Start) -> None:
    arbiter = start("-w", "1", "--graceful-timeout", "600")
    with socket.create_connection(("127.0.0.1", arbiter.port())) as sock:
        sock.sendall(b"GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n")
        arbiter.wait_for("hang begins")
        arbiter.signal(signal.SIGTERM)
        while "Stopping quickly" not in arbiter.text():
            arbiter.signal(signal.SIGTERM)
            time.sleep(0.05)
        assert arbiter.ends() == 0


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_term_that_comes_twice_at_once_is_one(start: Start, workers: str) -> None:
    """As `timeout` sends it: to the process, and to its group."""
    while not is_told_twice_at_once(start("-w", workers)):
        pass  # on a machine that is busy the two were too far from each other to be one


def is_told_twice_at_once(arbiter: Any) -> bool:
    with socket.create_connection(("127.0.0.1", arbiter.port())) as sock:
        sock.sendall(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
        arbiter.wait_for("slow begins")
        began = time.monotonic()
        arbiter.signal(signal.SIGTERM)
        os.killpg(arbiter.pid, signal.SIGTERM)
        while not has_taken_signals(arbiter.pid):
            time.sleep(0.001)
        if time.monotonic() - began > SAME_REQUEST_SECONDS:
            return False
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert arbiter.ends() == 0
    assert "quickly" not in arbiter.text()
    return True


def has_taken_signals(pid: int) -> bool:
    """Whether the process sleeps again, or has ended, with no signal left that waits for it."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return status["State"][0] in "SZ" and not int(status["ShdPnd"], 16)


@pytest.mark.parametrize("worker_class", ["asyncio", "uvloop", "trio"])
def test_without_workers(start: Start, worker_class: str) -> None:
    arbiter = start("-w", "0", "-k", worker_class, "--pid", "server.pid")
    assert int(arbiter.get()) == arbiter.pid
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0


@pytest.mark.parametrize(
    ("workers", "worker_class"), [("0", "asyncio"), ("0", "uvloop"), ("0", "trio"), ("2", "asyncio")]
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_that_come_late_do_not_change_the_exit_status(
    start: Start, workers: str, worker_class: str, number: signal.Signals
) -> None:
    arbiter = start("-w", workers, "-k", worker_class, "--pid", "server.pid")
    arbiter.port()
    while arbiter.process.poll() is None:
        arbiter.signal(number)
    assert arbiter.ends() == 0
    arbiter.wait_for("Stopped$")
    assert len([line for line in arbiter.log if line.endswith(("] Stopping", "] Stopping quickly"))]) <= 2


@pytest.mark.parametrize("worker_class", ["asyncio", "uvloop", "trio"])
def test_signals_that_come_while_the_loop_is_closed(
    start: Start, application: Path, worker_class: str
) -> None:
    with (application / "app.py").open("a") as file:
        file.write(
            "import signal, socket\n"
            "close = socket.socket.close\n"
            "socket.socket.close = lambda self: (close(self), signal.raise_signal(signal.SIGTERM))[0]\n"
        )
    arbiter = start("-w", "0", "-k", worker_class)
    arbiter.port()
    arbiter.signal(signal.SIGTERM)
    assert arbiter.ends() == 0
    arbiter.wait_for("Stopped$")
    assert "wakeup" not in arbiter.text()


@pytest.mark.parametrize("options", [("-w", "0"), ("-w", "2", "--preload")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_while_the_application_is_loaded(
    start: Start, application: Path, options: tuple[str, ...], number: signal.Signals
) -> None:
    # Not `print`: between a call with keywords and one of C code CPython 3.14 does not look for signals.
    (application / "app.py").write_text("import os, time\nos.write(2, b'loading\\n')\ntime.sleep(600)")
    arbiter = start(*options, "--pid", "server.pid")
    arbiter.wait_for("^loading")
    arbiter.signal(number)
    assert arbiter.ends() == 0
    assert "Traceback" not in arbiter.text()


def test_a_thread_that_never_ends_keeps_no_process_for_ever(start: Start, application: Path) -> None:
    with (application / "app.py").open("a") as file:
        file.write("import threading\nthreading.Thread(target=time.sleep, args=(600,)).start()\n")
    arbiter = start("-w", "0")
    arbiter.port()
    arbiter.signal(signal.SIGTERM)
    arbiter.wait_for("Stopped")
    while arbiter.process.poll() is None:
        arbiter.signal(signal.SIGTERM)
        time.sleep(0.1)
    assert arbiter.ends() == 1
    arbiter.wait_for("are left behind")


def test_a_daemon_that_serves_lets_its_caller_go(start: Start, application: Path) -> None:
    caller = start("-D", "-w", "1", "-p", "server.pid", bind="unix:server.sock")
    assert caller.ends() == 0
    daemon = int((application / "server.pid").read_text())
    assert daemon != caller.pid
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(application / "server.sock"))
        sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    end = os.pidfd_open(daemon)
    os.kill(daemon, signal.SIGTERM)
    assert select.select([end], [], [], 30)[0]
    os.close(end)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")
def test_certificates_are_read_before_root_is_given_up(application: Path) -> None:
    code = (
        "import os\n"
        "from hypercorn.config import Config\n"
        "from hypercorn.config.errors import TLSConfigError\n"
        "from hypercorn.run import run\n"
        "class Own(Config):\n"
        "    def create_ssl_context(self):\n"
        "        raise TLSConfigError(f'asked by user {os.geteuid()}')\n"
        "config = Own()\n"
        "config.application_path, config.bind = 'app:app', ['127.0.0.1:0']\n"
        "config.certfile, config.user, config.group = 'own', 65534, 65534\n"
        "raise SystemExit(run(config))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=application, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, "hypercorn: asked by user 0")


def test_the_arbiter_stays_small() -> None:
    code = (
        "import sys, hypercorn.run\n"
        "heavy = {'asyncio', 'ssl', 'h2', 'h11', 'wsproto', 'trio', 'uvloop', 'watchfiles', 'multiprocessing'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGTERM])
def test_without_workers_signals_for_an_arbiter_do_no_harm(
    start: Start, loop: str, end: signal.Signals
) -> None:
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may be run with nohup
    try:
        arbiter = start("-w", "0", "-k", loop, "--pid", "server.pid")
    finally:
        signal.signal(signal.SIGHUP, inherited)
    arbiter.port()
    for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2, signal.SIGWINCH):
        arbiter.signal(number)
    assert int(arbiter.get()) == arbiter.pid
    arbiter.signal(end)
    assert arbiter.ends() == 0


def test_after_the_death_of_an_arbiter_another_starts_in_its_place(start: Start, application: Path) -> None:
    """While a request that the orphans have begun is still under way."""
    options = ("-w", "2", "--pid", "server.pid", "--graceful-timeout", "600")
    address = f"unix:{application}/server.sock"
    code = (application / "app.py").read_text().replace("asyncio.sleep(1)", "asyncio.Event().wait()")
    (application / "app.py").write_text(code)
    first = start(*options, bind=address)
    first.wait_for("Running on")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{application}/server.sock")
        sock.sendall(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
        first.wait_for("slow begins")
        first.process.kill()
        first.process.wait()
        first.wait_for("The arbiter is gone", 2)
        while is_answered(f"{application}/server.sock"):
            time.sleep(0.01)
        second = start(*options, bind=address)
        second.wait_for("Running on")
        assert (application / "server.pid").read_text() == f"{second.pid}\n"
        os.killpg(first.pid, signal.SIGKILL)
    second.signal(signal.SIGTERM)
    assert second.ends() == 0


def is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


def test_binds_that_overlap(start: Start, hold_port: Callable[[], int]) -> None:
    port = hold_port()
    arbiter = start("-b", f"0.0.0.0:{port}", bind=f"127.0.0.1:{port}")
    assert arbiter.ends() == 1
    arbiter.wait_for(f"cannot bind 0.0.0.0:{port}: it overlaps with 127.0.0.1:{port}, which is bound too")
