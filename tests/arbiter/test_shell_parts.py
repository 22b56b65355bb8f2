"""The small parts of the shell: scoreboard, child's side, PID file, notify, watched files, listeners."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypercorn.arbiter import pidfile
from hypercorn.arbiter.banner import banner, name_of
from hypercorn.arbiter.channel import open_line
from hypercorn.arbiter.child import Child
from hypercorn.arbiter.listeners import ListenerTable
from hypercorn.arbiter.notify import Notifier, passed_sockets
from hypercorn.arbiter.scoreboard import Scoreboard
from hypercorn.arbiter.wakeup import wake_up
from hypercorn.arbiter.watcher import Watch
from hypercorn.config import Config, ConfigError
from hypercorn.config.settings import Settings
from hypercorn.config.sockets import BindError, socket_url
from hypercorn.config.supervision import Drain, Draining, DrainReason, Failed, Failure, Ready, Retire
from hypercorn.workers.interruption import signals_given_back
from hypercorn.workers.supervision import Supervisor


def settings(**values: object) -> Settings:
    return Config.from_mapping(values).resolve()


class TestWakeUp:
    @pytest.fixture(autouse=True)
    def _signals(self) -> Iterator[None]:
        """Other tests start programs, which inherit what is ignored here, and interrupt them."""
        with signals_given_back():
            yield

    def test_signals_in_their_order(self) -> None:
        with wake_up() as arrived:
            assert arrived.drain() == []
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
                signal.raise_signal(number)
            assert arrived.drain() == [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM]
            assert arrived.drain() == []

    def test_the_same_signal_many_times(self) -> None:
        with wake_up() as arrived:
            for _ in range(1000):
                signal.raise_signal(signal.SIGWINCH)
                signal.raise_signal(signal.SIGTERM)
            assert arrived.drain() == [signal.SIGWINCH, signal.SIGTERM]

    def test_each_worker_more_or_fewer_counts(self) -> None:
        with wake_up() as arrived:
            for number in (signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTTIN):
                signal.raise_signal(number)
            assert arrived.drain() == [signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTTIN]

    def test_more_than_the_pipe_holds(self) -> None:
        with wake_up() as arrived:
            for _ in range(70_000):
                signal.raise_signal(signal.SIGHUP)
            assert arrived.drain() == [signal.SIGHUP]
            signal.raise_signal(signal.SIGTERM)
            assert arrived.drain() == [signal.SIGTERM]


class TestScoreboard:
    def test_what_a_child_writes_the_parent_reads(self) -> None:
        board = Scoreboard(4, 2)
        row = board.claim(slot=3, generation=7, now=1.5)
        if (pid := os.fork()) == 0:
            row.counters[1] = 2**64 - 1
            row.beat = 99.25
            os._exit(0)
        os.waitpid(pid, 0)
        assert (row.counters[0], row.counters[1], row.beat) == (0, 2**64 - 1, 99.25)
        assert (row.slot, row.generation) == (3, 7)

    def test_totals_keep_what_the_gone_have_counted(self) -> None:
        board = Scoreboard(2, 2)
        first, second = board.claim(1, 1, 0.0), board.claim(2, 1, 0.0)
        first.counters[0] = first.counters[1] = 5
        second.counters[0] = second.counters[1] = 3
        board.release(first, lasting=frozenset({0}))
        assert board.totals() == [8, 3]
        again = board.claim(1, 2, 0.0)
        assert list(again.counters) == [0, 0]
        assert [row.index for row in board.workers()] == sorted([second.index, again.index])

    def test_a_full_board(self) -> None:
        board = Scoreboard(1, 1)
        board.claim(1, 1, 0.0)
        with pytest.raises(OSError, match="no more than 1"):
            board.claim(2, 1, 0.0)


def test_the_child_is_a_supervisor() -> None:
    ours, theirs = open_line()
    row = Scoreboard(1, 2).claim(2, 5, 0.0)
    told: list[str] = []
    child = Child(2, 5, row, theirs, lambda: told.append("ready"))
    supervisor: Supervisor = child
    supervisor.beat(12.0)
    supervisor.ready()
    supervisor.retire()
    supervisor.draining()
    supervisor.failed(Failure.STARTUP, "why")
    assert ours.receive() == ([Ready(), Retire(), Draining(), Failed(Failure.STARTUP, "why")], True)
    assert (row.beat, told, supervisor.channel()) == (12.0, ["ready"], theirs.sock)
    assert supervisor.instructions() == []
    ours.send(Drain(DrainReason.STOP))
    ours.close()
    assert supervisor.instructions() == [Drain(DrainReason.STOP)]
    assert supervisor.instructions() is None
    theirs.close()


def test_a_long_last_word_is_heard_whole() -> None:
    ours, theirs = open_line()
    child = Child(1, 1, Scoreboard(1, 1).claim(1, 1, 0.0), theirs)
    failed = Failed(Failure.APPLICATION, "why", "a long traceback\n" * 200_000)

    def end() -> None:
        child.failed(failed.failure, failed.reason, failed.report)
        theirs.close()

    ending = threading.Thread(target=end)
    ending.start()
    heard: list[object] = []
    is_open = True
    while is_open:
        select.select([ours.sock], [], [])
        reports, is_open = ours.receive()
        heard += reports
    ending.join()
    ours.close()
    assert heard == [failed]


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="there are no real-time signals")
def test_signals_of_others_wake_up_for_nothing() -> None:
    """Real-time signals but the first and the last have no names."""
    nameless = signal.SIGRTMIN + 1
    with signals_given_back(), wake_up() as waking:
        signal.signal(nameless, lambda number, frame: None)
        for number in (nameless, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        assert waking.drain() == [signal.SIGUSR1]


class TestPIDFile:
    def test_written_whole_and_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "server.pid"
        pidfile.write(str(path))
        assert path.read_text() == f"{os.getpid()}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        pidfile.remove(str(path))
        assert not list(tmp_path.iterdir())

    def test_another_living_process_keeps_it(self, tmp_path: Path) -> None:
        path = tmp_path / "server.pid"
        path.write_text(f"{os.getppid()}\n")
        with pytest.raises(pidfile.PIDFileError, match="which is running"):
            pidfile.write(str(path))
        pidfile.remove(str(path))
        assert path.exists()

    @pytest.mark.parametrize("stale", ["", "nonsense", "-1", "4194305", "9" * 30])
    def test_a_stale_one_is_taken_over(self, tmp_path: Path, stale: str) -> None:
        path = tmp_path / "server.pid"
        path.write_text(stale)
        pidfile.write(str(path))
        assert pidfile.read(str(path)) == os.getpid()

    def test_a_link_that_leads_nowhere_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "server.pid"
        path.symlink_to("gone")
        pidfile.write(str(path))
        assert path.read_text() == f"{os.getpid()}\n"
        assert [entry.name for entry in tmp_path.iterdir()] == ["server.pid"]

    def test_one_that_another_is_writing(self, tmp_path: Path) -> None:
        path = tmp_path / "server.pid"
        path.touch()
        locked, done = os.pipe(), os.pipe()
        if (pid := os.fork()) == 0:
            file = os.open(path, os.O_RDWR)
            fcntl.lockf(file, fcntl.LOCK_EX)
            os.write(locked[1], b"1")
            os.close(done[1])
            os.read(done[0], 1)
            os._exit(0)
        os.read(locked[0], 1)
        with pytest.raises(pidfile.PIDFileError, match="is being written by another process"):
            pidfile.write(str(path))
        for descriptor in (*locked, *done):
            os.close(descriptor)
        os.waitpid(pid, 0)
        assert [entry.name for entry in tmp_path.iterdir()] == ["server.pid"]

    @pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")
    def test_a_process_that_has_ended_and_nobody_has_collected(self, tmp_path: Path) -> None:
        path = tmp_path / "server.pid"
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        path.write_text(f"{pid}\n")
        pidfile.write(str(path))
        assert pidfile.read(str(path)) == os.getpid()
        os.waitpid(pid, 0)

    def test_what_is_no_file_stays(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        for path in (tmp_path, pipe):
            mode = path.stat().st_mode
            with pytest.raises(pidfile.PIDFileError, match="is no regular file; choose another"):
                pidfile.write(str(path))
            assert path.stat().st_mode == mode

    def test_nowhere_to_write(self, tmp_path: Path) -> None:
        with pytest.raises(pidfile.PIDFileError, match="cannot write"):
            pidfile.write(str(tmp_path / "missing" / "server.pid"))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager whose queue is full, of pings."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(30)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
            other.setblocking(False)
            while True:
                other.sendto(b"WATCHDOG=1", sock.getsockname())
        yield sock


class TestNotify:
    def test_the_environment_is_taken(self) -> None:
        environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
        assert Notifier.from_environment(environment).ping_seconds == 1.5
        assert environment == {}

    def test_a_watchdog_of_another(self) -> None:
        environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
        assert Notifier.from_environment(environment).ping_seconds is None

    def test_nobody_there(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        Notifier(None).ready("text")
        Notifier(str(tmp_path / "gone")).status("text")
        assert not caplog.messages
        Notifier(str(tmp_path / "gone")).ready("text")
        assert caplog.messages == ["The service manager has not taken READY=1: No such file or directory"]

    def test_a_busy_manager_is_waited_for(self, manager: socket.socket) -> None:
        notifier = Notifier(manager.getsockname(), patience=30)
        telling = threading.Thread(target=notifier.stopping, args=("text",))
        telling.start()
        while (message := manager.recv(100)) == b"WATCHDOG=1":
            pass
        telling.join()
        assert message == b"STOPPING=1\nSTATUS=text"

    def test_one_that_takes_nothing_is_not_waited_for_without_end(
        self, manager: socket.socket, caplog: pytest.LogCaptureFixture
    ) -> None:
        notifier = Notifier(manager.getsockname(), patience=0.01)
        notifier.ready("text")
        notifier.reloading("text")
        notifier.stopping("text")
        assert caplog.messages == [
            f"The service manager has not taken {state}=1: timed out"
            for state in ("READY", "RELOADING", "STOPPING")
        ]

    def test_pings_and_further_texts_do_not_wait(self, manager: socket.socket) -> None:
        endless = Notifier(manager.getsockname(), patience=1e9)
        endless.ping()
        endless.status("text")

    @pytest.mark.parametrize("usec", ["", "0", "-1", "soon", "²", "9" * 5000])
    def test_a_watchdog_that_is_no_time(self, usec: str) -> None:
        environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": usec}
        assert Notifier.from_environment(environment).ping_seconds is None

    def test_an_address_that_is_none(self, caplog: pytest.LogCaptureFixture) -> None:
        Notifier.from_environment({"NOTIFY_SOCKET": ""}).ready("text")
        assert not caplog.messages


def listen_fds(count: str) -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}


class TestPassedSockets:
    def test_they_are_binds_and_the_environment_is_taken(self, tmp_path: Path) -> None:
        environment = {**listen_fds("2"), "LISTEN_FDNAMES": "a:b"}
        spare = [os.open(tmp_path, os.O_RDONLY) for _ in range(5)]  # so that 3 and 4 are open
        assert [bind.fd for bind in passed_sockets(environment)] == [3, 4]
        for descriptor in spare:
            os.close(descriptor)
        assert environment == {}

    def test_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert passed_sockets({}) == passed_sockets(listen_fds("")) == passed_sockets(listen_fds("0")) == ()
        assert not capsys.readouterr().err

    @pytest.mark.parametrize(("owner", "told"), [("1", "1"), ("-1", "-1"), ("many", "many"), ("", "none")])
    def test_those_of_another_process_are_not_ours(
        self, owner: str, told: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert passed_sockets({"LISTEN_PID": owner, "LISTEN_FDS": "2"}) == ()
        said = capsys.readouterr().err
        assert said.startswith(
            f"hypercorn: warning: $LISTEN_PID: sockets were passed to process {told}, not to"
        )

    @pytest.mark.parametrize("count", ["-1", "two", "²", "1.0", "9" * 5000])
    def test_what_is_no_number(self, count: str) -> None:
        with pytest.raises(ConfigError, match=r"^\$LISTEN_FDS: the number of passed sockets is wanted, not "):
            passed_sockets(listen_fds(count))

    @pytest.mark.parametrize("count", ["1000000", "9" * 20])
    def test_more_than_are_open(self, count: str) -> None:
        with pytest.raises(ConfigError, match=r"^\$LISTEN_FDS: .* but descriptor \d+ is not open; unset it"):
            passed_sockets(listen_fds(count))


class TestWatch:
    def test_defaults_and_patterns(self, tmp_path: Path) -> None:
        watch = Watch.from_settings(
            settings(
                reload_dirs=[str(tmp_path), str(tmp_path)],
                reload_includes=["*.html", "data/*.json"],
                reload_excludes=["generated"],
            )
        )
        assert watch.directories == (str(tmp_path),)
        for name in ("app.py", "a/b/c.py", "t/page.html", "data/x.json"):
            assert watch.matches(str(tmp_path / name)), name
        for name in (
            "x.json",
            ".git/x.py",
            "a/__pycache__/x.py",
            ".venv/lib/x.py",
            "generated/x.py",
            ".#app.py",
            "x.pyc",
        ):
            assert not watch.matches(str(tmp_path / name)), name
        assert not watch.matches("/elsewhere/app.py")

    def test_excludes_do_not_look_above_the_directory(self, tmp_path: Path) -> None:
        below = tmp_path / "venv" / "app"
        assert Watch.from_settings(settings(reload_dirs=[str(below)])).matches(str(below / "app.py"))


class TestListeners:
    def test_one_for_each_slot_on_one_port(self) -> None:
        table = ListenerTable()
        keys = table.open(settings(bind="127.0.0.1:0"), [1, 2, 3])
        assert sorted(keys.own) == [1, 2, 3]
        assert len({one.sock.getsockname() for one in table.get(keys.all())}) == 1
        assert not keys.shared
        more = table.open(settings(bind="127.0.0.1:0"), [4])
        assert more.of(1) == keys.of(1)
        assert len(table.urls(settings(bind="127.0.0.1:0"))) == 1
        table.close_all()
        assert not table.keys()

    def test_shared_ones(self, tmp_path: Path) -> None:
        table = ListenerTable()
        path = tmp_path / "x.sock"
        keys = table.open(settings(bind=[f"unix:{path}", "127.0.0.1:0"], reuse_port=False), [1, 2])
        assert len(keys.shared) == 2
        assert keys.of(1) == keys.of(2)
        table.close_all()
        assert not path.exists()

    def test_common_binds_stay(self, tmp_path: Path) -> None:
        table = ListenerTable()
        first = table.open(settings(bind=["127.0.0.1:0", f"unix:{tmp_path}/x.sock"]), [1])
        second = table.open(settings(bind=["127.0.0.1:0", f"unix:{tmp_path}/y.sock"]), [1])
        assert first.own == second.own
        assert first.shared != second.shared
        table.close(first.all() - second.all())
        assert [path.name for path in tmp_path.iterdir()] == ["y.sock"]
        table.close_all()

    def test_nothing_changes_when_one_cannot_be_opened(self, tmp_path: Path) -> None:
        table = ListenerTable()
        first = table.open(settings(bind="127.0.0.1:0"), [1])
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = f"127.0.0.1:{other.getsockname()[1]}"
            with pytest.raises(BindError):
                table.open(settings(bind=["127.0.0.1:0", f"unix:{tmp_path}/x.sock", taken]), [1])
        assert table.keys() == first.all()
        assert not list(tmp_path.iterdir())
        table.close_all()

    def test_tls_on_the_same_address(self) -> None:
        table = ListenerTable()
        plain = settings(bind="127.0.0.1:0")
        first = table.open(plain, [1])
        tls = plain.replace(ssl_enabled=True)
        second = table.open(tls, [1])
        [before], [after] = table.get(first.all()), table.get(second.all())
        assert after.secure
        assert before.sock.getsockname() == after.sock.getsockname()
        table.close_all()

    @pytest.mark.parametrize("reuse_port", [None, False])
    @pytest.mark.parametrize(("old", "new"), [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")])
    def test_an_address_that_overlaps_with_one_that_is_left(
        self, reuse_port: bool | None, old: str, new: str
    ) -> None:
        table = ListenerTable()
        first = table.open(settings(bind=f"{old}:0", reuse_port=reuse_port), [1, 2])
        port = table.get(first.all())[0].sock.getsockname()[1]
        second = table.open(settings(bind=f"{new}:{port}", reuse_port=reuse_port), [1, 2])
        assert not first.all() & second.all()
        table.close(first.all())
        assert {one.sock.getsockname() for one in table.get(second.all())} == {(new, port)}
        with socket.create_connection(("127.0.0.1", port)):
            pass
        table.close_all()

    @pytest.mark.parametrize("reuse_port", [None, False])
    def test_the_same_address_by_another_name_keeps_its_queue(self, reuse_port: bool | None) -> None:
        table = ListenerTable()
        first = table.open(settings(bind="127.0.0.1:0", reuse_port=reuse_port), [1])
        [before] = table.get(first.all())
        port = before.sock.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            second = table.open(settings(bind=f"localhost:{port}", reuse_port=reuse_port), [1])
            table.close(first.all())
            listeners = [one for one in table.get(second.all()) if one.sock.family == socket.AF_INET]
            listeners[0].sock.accept()[0].close()
        table.close_all()

    def test_an_address_that_is_wanted_twice(self, hold_port: Callable[[], int]) -> None:
        port = hold_port()
        table = ListenerTable()
        table.open(settings(bind=f"127.0.0.1:{port}"), [1])
        with pytest.raises(BindError, match="overlaps"):
            table.open(settings(bind=[f"127.0.0.1:{port}", f"0.0.0.0:{port}"]), [1])
        table.close_all()

    def test_the_same_socket_file_by_another_name(self, tmp_path: Path) -> None:
        table = ListenerTable()
        path = tmp_path / "x.sock"
        first = table.open(settings(bind=f"unix:{path}"), [1])
        second = table.open(settings(bind=f"unix:{tmp_path}/./x.sock"), [1])
        table.close(first.all())
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        table.close(second.all())
        assert not path.exists()

    def test_tls_on_the_same_socket_file(self, tmp_path: Path) -> None:
        table = ListenerTable()
        plain = settings(bind=f"unix:{tmp_path}/x.sock")
        first = table.open(plain, [1])
        table.open(plain.replace(ssl_enabled=True), [1])
        table.close(first.all())
        assert (tmp_path / "x.sock").exists()
        table.close_all()
        assert not (tmp_path / "x.sock").exists()

    def test_a_file_that_somebody_else_made_stays(self, tmp_path: Path) -> None:
        table = ListenerTable()
        path = tmp_path / "x.sock"
        table.open(settings(bind=f"unix:{path}"), [1])
        path.unlink()
        path.write_text("new")
        table.close_all()
        assert path.read_text() == "new"

    def test_sockets_of_the_users_own(self) -> None:
        class Own(Config):
            def create_sockets(self):  # type: ignore[no-untyped-def]
                from hypercorn.config.sockets import Sockets

                sock = socket.socket()
                sock.bind(("127.0.0.1", 0))
                return Sockets([], [sock])

        table = ListenerTable()
        keys = table.open(Own().resolve(), [1, 2])
        (listener,) = table.get(keys.shared)
        assert listener.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert listener.sock.getblocking() is False
        assert table.urls(Own().resolve()) == [socket_url(listener.sock, False)]
        assert table.open(Own().resolve(), [3]).shared == keys.shared
        table.close_all()


def test_a_name_that_is_no_utf_8_can_be_a_title() -> None:
    settings = Config.from_mapping(proc_name=os.fsdecode(b"shop \xff")).resolve()
    assert name_of(settings) == "shop \\udcff"


def test_the_banner_says_what_is_needed() -> None:
    lines = "\n".join(
        banner(settings(application_path="app:app", workers=4, use_reloader=True), ["http://127.0.0.1:8000"])
    )
    for text in (
        "app:app",
        "http://127.0.0.1:8000",
        "4 (asyncio)",
        "*.py",
        os.getcwd(),
        f"kill -TERM {os.getpid()}",
    ):
        assert text in lines
