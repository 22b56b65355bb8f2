"""The command `hypercorn` up to the point where it would serve."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hypercorn.__main__
from hypercorn.config import Config, without_effect
from hypercorn.config.version import __version__

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    (tmp_path / "good.py").write_text("async def app(scope, receive, send): ...\n")
    (tmp_path / "bad.py").write_text("1 / 0\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "deep.py").write_text("async def app(scope, receive, send): ...\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HYPERCORN_")}

    def run(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hypercorn", *argv],
            cwd=tmp_path,
            env={**environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_version(command: Command) -> None:
    done = command("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(f"hypercorn {__version__} (")


def test_help(command: Command) -> None:
    done = command("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: hypercorn [options] application\n")
    for heading in ("Configuration:", "Binding:", "Workers:", "TLS:", "Development:"):
        assert f"\n{heading}\n" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "name the application to serve, for example: hypercorn module:app"),
        (["--check-config"], "name the application to serve, for example: hypercorn module:app"),
        (["-k", "eventlib", "good:app"], "--worker-class: asyncio, uvloop or trio is wanted, not 'eventlib'"),
        (
            ["--verify-mode", "X", "good:app"],
            "--verify-mode: one of CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED is wanted, not 'X'",
        ),
        (
            ["-w", "100000000", "good:app"],
            "--workers: a number from 0 to 500 is wanted, not '100000000'",
        ),
        (
            ["--h2-max-header-list-size", "4294967296", "good:app"],
            "--h2-max-header-list-size: a number from 1 to 4294967295 is wanted, not '4294967296'",
        ),
        (
            ["-u", "99999999999", "good:app"],
            "--user: a name or a number from 0 to 4294967294 is wanted, not '99999999999'",
        ),
        (
            ["--logger-class", "nosuch.Class", "--check-config", "good:app"],
            "--logger-class: 'nosuch.Class' cannot be used: ModuleNotFoundError: No module named 'nosuch'",
        ),
        (
            ["--statsd-host", "foo", "good:app"],
            "--statsd-host: statsd host 'foo' is not of the form host:port",
        ),
        (
            ["--error-logfile", "no/x", "good:app"],
            "--error-logfile: log file no/x cannot be opened: No such file or directory",
        ),
        (
            ["--access-logformat", "%z", "good:app"],
            "--access-logformat: access log format: '%z' is neither %% nor %(atom)s",
        ),
        (["--wat"], "--wat: there is no such option"),
        (
            ["-c", "none.toml", "good:app"],
            "none.toml: the configuration cannot be read: No such file or directory",
        ),
        (["--chdir", "no", "good:app"], "--chdir: cannot change to 'no': No such file or directory"),
        (
            ["--chdir", "no", "--check-config", "good:app"],
            "--chdir: cannot change to 'no': No such file or directory",
        ),
        (["--app-dir", "no", "good:app"], "--app-dir: there is no directory 'no'"),
        (["--reload", "--reload-dir", "no", "good:app"], "--reload-dir: there is no directory 'no'"),
        (
            ["--certfile", "no", "good:app"],
            "--certfile: certfile 'no' cannot be read: No such file or directory",
        ),
        (
            ["--certfile", "no", "--check-config", "good:app"],
            "--certfile: certfile 'no' cannot be read: No such file or directory",
        ),
    ],
)
def test_wrong_usage_is_one_sentence(argv: list[str], told: str, command: Command) -> None:
    done = command(*argv)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"hypercorn: {told}\n")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "pyproject.toml",
            b"[project]\nname = '\xe9'\n",
            "pyproject.toml: cannot be read: UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe9"
            + " in position 18: invalid continuation byte; --config none ignores it",
        ),
        (
            "pyproject.toml",
            b"[tool]\nhypercorn = 'good:app'\n",
            "pyproject.toml: tool.hypercorn: a table is wanted, not 'good:app'",
        ),
        ("c.toml", b"env_file = 3\n", "c.toml: env_file: text is wanted, not 3"),
        *(
            (
                "c.toml",
                b'%s = "a\\u0000"\n' % name.encode(),
                f"c.toml: {name}: text without a zero byte is wanted, not 'a\\x00'",
            )
            for name in ("chdir", "pid_path", "errorlog", "certfile", "proc_name", "application_path")
        ),
    ],
)
def test_a_wrong_file_is_one_sentence(
    name: str, content: bytes, told: str, command: Command, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    done = command(
        *(["-c", name] if name == "c.toml" else []), *([] if "application" in told else ["good:app"])
    )
    where = f"{tmp_path}/" if name == "c.toml" else ""
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"hypercorn: {where}{told}\n")


def test_other_tables_of_tools_are_not_ours(command: Command, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("tool = 3\n")
    assert command("--check-config", "good:app").returncode == 0


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    (gone := tmp_path / "gone").mkdir()
    code = (
        "import os, sys; os.rmdir(os.getcwd())\n"
        "from hypercorn.__main__ import main; sys.exit(main(['good:app']))"
    )
    # -P: as for an installed command, modules are not looked for in the current directory.
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=gone, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "hypercorn: the current directory cannot be used: No such file or directory; change to one that exists\n"
    )


def test_a_log_configuration_that_is_none(command: Command) -> None:
    done = command("--log-config", "bad.py", "good:app")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("hypercorn: --log-config: log configuration bad.py is wrong: ")


def test_a_python_file_without_its_prefix(command: Command, tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("import os\n")
    done = command("-c", "settings.py", "good:app")
    assert done.returncode == 2
    assert done.stderr.endswith("; for a Python file write file:settings.py\n")


def test_a_misspelt_variable_is_told(command: Command) -> None:
    done = command("--check-config", "good:app", HYPERCORN_WROKERS="3", HYPERCORN_SERVICE_HOST="10.0.0.1")
    assert done.returncode == 0
    assert (
        "hypercorn: warning: $HYPERCORN_WROKERS: there is no such setting; did you mean workers?"
        in done.stderr
    )
    assert "SERVICE_HOST" not in done.stderr


def test_misspelt_names_are_told_beside_mistakes(command: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("wrokers = 3\nbacklog = 'many'\n")
    done = command("-c", "bad.toml", "good:app")
    assert done.returncode == 2
    assert "wrokers: there is no such setting; did you mean workers?" in done.stderr
    assert "backlog: a whole number is wanted, not 'many'" in done.stderr


def test_every_mistake_has_its_line(command: Command) -> None:
    done = command("-w", "x", "--backlog", "y", "good:app", WEB_CONCURRENCY="3", HYPERCORN_THREADS="z")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "hypercorn: $HYPERCORN_THREADS: a whole number is wanted, not 'z'",
        "hypercorn: --backlog: a whole number is wanted, not 'y'",
        "hypercorn: --workers: a whole number is wanted, not 'x'",
    ]


def test_trio_that_is_not_installed(tmp_path: Path) -> None:
    code = "import sys; sys.modules['trio'] = None; from hypercorn.__main__ import main; main(['-k', 'trio', 'm:app'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "hypercorn: --worker-class: trio is not installed; install it with: pip install 'hypercorn[trio]'\n"
    )


def test_an_unknown_name_in_a_file_is_told(command: Command, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.hypercorn]\nwokers = 2\n")
    done = command("--check-config", "good:app")
    assert done.returncode == 0
    assert (
        "pyproject.toml: tool.hypercorn: wokers: there is no such setting; did you mean workers?"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["good:app"], 0),
        (["good"], 0),
        (["--chdir", "inner", "deep:app"], 0),
        (["--app-dir", "inner", "deep:app"], 0),
        (["deep:app"], 4),
        (["bad:app"], 4),
        (["nowhere:app"], 4),
        (["good:missing"], 4),
        (["-w", "-1", "good:app"], 2),
    ],
)
def test_check_config(argv: list[str], status: int, command: Command) -> None:
    done = command("--check-config", *argv)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("hypercorn: ")


def test_print_config(command: Command) -> None:
    done = command("--print-config", "-w", "3", PORT="81")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["workers", "3", "--workers"] in lines
    assert ["bind", "['0.0.0.0:81']", "$PORT"] in lines


def test_what_has_no_effect_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[Config] = []

    def run(config: Config) -> int:
        served.append(config)
        return 7

    monkeypatch.setattr(hypercorn.__main__, "run", run)
    argv = ["-c", "none", "--quic-bind", "127.0.0.1:0", "-w", "2", "--verify-mode", "CERT_REQUIRED", "m:app"]
    assert hypercorn.__main__.main(argv) == 7
    assert capsys.readouterr().err.splitlines() == [
        "hypercorn: warning: --quic-bind has no effect: HTTP/3 is not served yet",
        "hypercorn: warning: --verify-mode has no effect: without --certfile, --bind is in clear text",
    ]
    assert (served[0].application_path, served[0].workers) == ("m:app", 2)


def test_the_arguments_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Config] = []
    monkeypatch.setattr(hypercorn.__main__, "run", lambda config: served.append(config) or 0)
    monkeypatch.setattr(sys, "argv", ["hypercorn", "-c", "none", "-w", "5", "m:app"])
    assert hypercorn.__main__.main() == hypercorn.__main__.main([]) == 0
    assert [config.workers for config in served] == [5, 5]


def test_a_file_is_loaded_as_hypercorns_programs_do(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("workers = 3\n")
    assert hypercorn.__main__._load_config(str(tmp_path / "c.toml")).workers == 3
    assert hypercorn.__main__._load_config(None).workers == 1


def shell(line: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line, "sh", sys.executable],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    # The reader has gone before anything is written: it ends, and only then the command starts.
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hypercorn", "--print-config"],
            cwd=tmp_path,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    done = shell('"$1" -m hypercorn --print-config >/dev/full', tmp_path)
    assert done.returncode == 1
    assert done.stderr == "hypercorn: standard output cannot be written: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("--no-such-option", 2),
        ("--check-config bad:app", 4),
        ("--check-config good:app", 0),
        ("--quic-bind 127.0.0.1:0 --check-config good:app", 0),
        ("-b fd://99 good:app", 1),
    ],
)
def test_standard_error_that_takes_nothing_changes_no_status(
    command: Command, tmp_path: Path, arguments: str, status: int
) -> None:
    assert shell(f'"$1" -m hypercorn {arguments} 2>/dev/full', tmp_path).returncode == status


def test_a_closed_stream_in_the_place_of_standard_error_changes_no_status(tmp_path: Path) -> None:
    code = (
        "import io, sys\n"
        "sys.stderr = io.StringIO()\n"
        "sys.stderr.close()\n"
        "from hypercorn.__main__ import main\n"
        "sys.exit(main(['--check-config', 'none:app']))\n"
    )
    assert shell(f'"$1" -c "{code}"', tmp_path).returncode == 4


def test_without_any_standard_error_nothing_is_said(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.stderr = None\n"
        "from hypercorn.__main__ import main\n"
        "sys.exit(main(['--check-config', 'none:app']))\n"
    )
    done = shell(f'"$1" -c "{code}"', tmp_path)
    assert (done.returncode, done.stdout) == (4, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os, sys\n"
        "os.write(2, b'to the descriptor')\n"
        "print('to the streams', file=sys.stderr)\n"
        "print('to the streams')\n"
        "async def app(scope, receive, send): ...\n"
        "open('seen', 'w').write(' '.join(os.ttyname(n) if os.isatty(n) else 'open' for n in range(3)))\n"
    )
    done = shell(f'"$1" -m hypercorn --check-config app:app {closed}', tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "seen").read_text() == "open open open"


def test_what_is_surely_not_meant_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    config = Config.from_mapping(user=0, root_path="shop")
    assert without_effect(config.resolve()) == [
        "--user has no effect on the workers: only root can change to another user",
        "--root-path 'shop' does not begin with /, as paths do",
    ]


def test_root_that_is_not_given_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert without_effect(Config.from_mapping(user=65534, workers=1).resolve()) == []
    assert without_effect(Config.from_mapping(user=65534, group=0, workers=0).resolve()) == [
        "--user has no effect on the application: without workers this process runs it, as root",
    ]
