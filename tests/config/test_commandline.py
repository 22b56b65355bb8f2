"""The command line, and what comes of it together with environment and files."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypercorn.config import Config, ConfigError, parse_bind
from hypercorn.config.commandline import build_parser, parse
from hypercorn.config.options import TABLE
from hypercorn.config.printing import configuration_table
from hypercorn.config.sources import environment_values, load

Load = Callable[..., Config]

#: Every option of Hypercorn 0.18: flag, argument, attribute, value.
HYPERCORNS_OPTIONS = [
    ("--access-log", "f", "accesslog", "f"),
    ("--access-logfile", "f", "accesslog", "f"),
    ("--access-logformat", "%(h)s", "access_log_format", "%(h)s"),
    ("--backlog", "5", "backlog", 5),
    ("-b", "h:1", "bind", (parse_bind("h:1"),)),
    ("--bind", "h:1", "bind", (parse_bind("h:1"),)),
    ("--ca-certs", "f", "ca_certs", "f"),
    ("--certfile", "f", "certfile", "f"),
    ("--cert-reqs", "2", "verify_mode", ssl.CERT_REQUIRED),
    ("--ciphers", "x", "ciphers", "x"),
    ("-D", None, "daemon", True),
    ("--daemon", None, "daemon", True),
    ("--debug", None, "debug", True),
    ("--error-log", "f", "errorlog", "f"),
    ("--error-logfile", "f", "errorlog", "f"),
    ("--log-file", "f", "errorlog", "f"),
    ("--graceful-timeout", "9", "graceful_timeout", 9.0),
    ("--read-timeout", "9", "read_timeout", 9.0),
    ("--max-requests", "9", "max_requests", 9),
    ("--max-requests-jitter", "9", "max_requests_jitter", 9),
    ("-g", "7", "group", 7),
    ("--group", "7", "group", 7),
    ("-k", "trio", "worker_class", "trio"),
    ("--worker-class", "uvloop", "worker_class", "uvloop"),
    ("--keep-alive", "9", "keep_alive_timeout", 9.0),
    ("--keyfile", "f", "keyfile", "f"),
    ("--keyfile-password", "x", "keyfile_password", "x"),
    ("--insecure-bind", "h:1", "insecure_bind", (parse_bind("h:1"),)),
    ("--log-config", "f", "logconfig", "f"),
    ("--log-level", "debug", "loglevel", "DEBUG"),
    ("-p", "f", "pid_path", "f"),
    ("--pid", "f", "pid_path", "f"),
    ("--quic-bind", "h:1", "quic_bind", (parse_bind("h:1"),)),
    ("--reload", None, "use_reloader", True),
    ("--root-path", "/x/", "root_path", "/x"),
    ("--server-name", "x", "server_names", ["x"]),
    ("--statsd-host", "h:1", "statsd_host", "h:1"),
    ("--statsd-prefix", "x", "statsd_prefix", "x"),
    ("-m", "18", "umask", 18),
    ("--umask", "022", "umask", 0o22),
    ("-u", "7", "user", 7),
    ("--user", "root", "user", 0),
    ("--verify-mode", "CERT_OPTIONAL", "verify_mode", ssl.CERT_OPTIONAL),
    ("--websocket-ping-interval", "9", "websocket_ping_interval", 9.0),
    ("-w", "9", "workers", 9),
    ("--workers", "0", "workers", 0),
]


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("HYPERCORN_") or name in ("PORT", "WEB_CONCURRENCY"):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


def loaded(*argv: str) -> Config:
    return load(parse(argv))


def mistakes_of(*argv: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        loaded(*argv).resolve()
    return [str(mistake) for mistake in raised.value.mistakes]


@pytest.mark.parametrize(("flag", "argument", "name", "value"), HYPERCORNS_OPTIONS)
def test_hypercorns_options(flag: str, argument: str | None, name: str, value: object) -> None:
    argv = [flag, *([] if argument is None else [argument]), "asgi:m:app"]
    if flag == "--keyfile":
        argv += ["--certfile", "f"]
    if flag in ("--access-log", "--error-log", "--cert-reqs"):
        with pytest.warns(DeprecationWarning, match=f"{flag} is deprecated"):
            config = loaded(*argv)
    else:
        config = loaded(*argv)
    settings = config.resolve()
    assert getattr(settings, name) == value
    assert settings.application_path == "asgi:m:app"


@pytest.mark.parametrize("name", [name for name, option in TABLE.items() if option.flags])
def test_every_setting_has_help(name: str) -> None:
    assert TABLE[name].help
    assert TABLE[name].flag in build_parser().format_help()


def test_only_these_settings_have_no_flag() -> None:
    assert [name for name, option in TABLE.items() if not option.flags] == [
        "application_path",
        "logconfig_dict",
    ]


def test_no_flag_is_given_twice() -> None:
    flags = [flag for option in TABLE.values() for flag in (*option.flags, *option.deprecated)]
    assert len(flags) == len(set(flags))


def test_options_may_be_abbreviated_and_repeated() -> None:
    settings = loaded(
        "--graceful", "7", "-b", "a:1", "m:app", "--bind=b:2", "-w3", "--alpn-protocol", "h2"
    ).resolve()
    assert settings.graceful_timeout == 7
    assert settings.bind == (parse_bind("a:1"), parse_bind("b:2"))
    assert (settings.workers, settings.alpn_protocols) == (3, ["h2"])


def test_deprecated_flags_yield_to_their_successors() -> None:
    with pytest.warns(DeprecationWarning, match="use --access-logfile instead"):
        config = loaded("--access-logfile", "new", "--access-log", "old")
    assert (config.accesslog, config.source_of("accesslog")) == ("new", "--access-logfile")


@pytest.mark.parametrize(
    ("flag", "name", "value"),
    [
        ("--no-server-header", "include_server_header", False),
        ("--no-h2c-upgrade", "h2c_upgrade", False),
        ("--no-reuse-port", "reuse_port", False),
        ("--reuse-port", "reuse_port", True),
        ("--preload", "preload_app", True),
        ("--no-daemon", "daemon", False),
    ],
)
def test_switches(flag: str, name: str, value: bool) -> None:
    assert getattr(loaded(flag), name) is value


def test_a_switch_overrides_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("use_reloader = true\nh2c_upgrade = false\n")
    config = loaded("-c", "c.toml", "--no-reload")
    assert (config.use_reloader, config.h2c_upgrade) == (False, False)


@pytest.mark.parametrize(
    ("argv", "mistake"),
    [
        (["--wrokers", "3"], "--wrokers: there is no such option; did you mean --workers?"),
        (["--zzz=1"], "--zzz: there is no such option"),
        (["a:b", "c:d"], "one application is served, what is 'c:d'?"),
        (["--wrokers", "3", "a:b"], "--wrokers: there is no such option; did you mean --workers?"),
        (["--timeout", "3", "a:b"], "--timeout: there is no such option; here it is --worker-timeout"),
        (
            ["--ws-ping-interval", "3", "a:b"],
            "--ws-ping-interval: there is no such option; here it is --websocket-ping-interval",
        ),
        (["--workers"], "-w/--workers: a value is wanted after it"),
        (["--reload=yes"], "--reload/--no-reload: it takes no value, and 'yes' was given"),
        (
            ["--work", "3"],
            "--work: it may mean --workers or --worker-class or --worker-connections or --worker-timeout: write it whole",
        ),
        (["--keep", "3"], "--keep: it may mean --keep-alive or --keep-alive-max-requests: write it whole"),
        (["-w", "many"], "--workers: a whole number is wanted, not 'many'"),
        (["-m", "08"], "--umask: an octal number is wanted after a zero, not '08'"),
        (["-k", "gevent"], "--worker-class: asyncio, uvloop or trio is wanted, not 'gevent'; Gunicorn's"),
        (["-b", "a:b:c"], "--bind: 'a:b:c' is no bind"),
        (["--keyfile", "k"], "--keyfile: certfile is missing beside it"),
        (["-c", "nowhere.toml"], "nowhere.toml: the configuration cannot be read: No such file or directory"),
        (["--env-file", "nowhere"], "--env-file: '"),
    ],
)
def test_mistakes(argv: list[str], mistake: str) -> None:
    told = mistakes_of(*argv)
    assert told[0].startswith(mistake)
    assert all("\n" not in line for line in told)


def test_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.toml").write_text("workers = 1\nbacklog = 1\nthreads = 1\n")
    monkeypatch.setenv("HYPERCORN_WORKERS", "2")
    monkeypatch.setenv("HYPERCORN_BACKLOG", "2")
    config = loaded("-c", "c.toml", "-w", "3")
    assert (config.workers, config.backlog, config.threads) == (3, 2, 1)
    sources = {name: config.source_of(name) for name in ("workers", "backlog", "threads", "graceful_timeout")}
    assert sources == {
        "workers": "--workers",
        "backlog": "$HYPERCORN_BACKLOG",
        "threads": f"{tmp_path}/c.toml: threads",
        "graceful_timeout": "default",
    }


@pytest.mark.parametrize("name", TABLE)
def test_every_setting_has_a_variable(name: str) -> None:
    [(option, given, variable)] = list(environment_values({f"HYPERCORN_{name.upper()}": "1"}))
    assert (option.name, variable) == (name, f"HYPERCORN_{name.upper()}")
    assert given in ("1", ["1"])


@pytest.mark.parametrize(
    ("environ", "name", "value", "source"),
    [
        ({"WEB_CONCURRENCY": "3"}, "workers", 3, "$WEB_CONCURRENCY"),
        ({"WEB_CONCURRENCY": "3", "HYPERCORN_WORKERS": "4"}, "workers", 4, "$HYPERCORN_WORKERS"),
        ({"WEB_CONCURRENCY": "3", "HYPERCORN_WORKERS": ""}, "workers", 3, "$WEB_CONCURRENCY"),
        ({"WEB_CONCURRENCY": ""}, "workers", 1, "default"),
        ({"PORT": "81"}, "bind", (parse_bind("0.0.0.0:81"),), "$PORT"),
        (
            {"PORT": "81", "HYPERCORN_BIND": "a:1, b:2"},
            "bind",
            (parse_bind("a:1"), parse_bind("b:2")),
            "$HYPERCORN_BIND",
        ),
        ({"HYPERCORN_DAEMON": "1"}, "daemon", True, "$HYPERCORN_DAEMON"),
        ({"HYPERCORN_APPLICATION_PATH": "m:app"}, "application_path", "m:app", "$HYPERCORN_APPLICATION_PATH"),
        ({"HYPERCORN_READ_TIMEOUT": "none"}, "read_timeout", None, "$HYPERCORN_READ_TIMEOUT"),
    ],
)
def test_the_environment(
    environ: dict[str, str], name: str, value: object, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, text in environ.items():
        monkeypatch.setenv(variable, text)
    config = loaded()
    assert getattr(config.resolve(), name) == value
    assert config.source_of(name) == source


def test_mistakes_of_all_sources_are_told_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.hypercorn]\nbacklog = 'x'\n")
    monkeypatch.setenv("WEB_CONCURRENCY", "y")
    assert mistakes_of("--threads", "z") == [
        "--threads: a whole number is wanted, not 'z'",
        "pyproject.toml: tool.hypercorn: backlog: a whole number is wanted, not 'x'",
        "$WEB_CONCURRENCY: a whole number is wanted, not 'y'",
    ]


def test_pyproject(tmp_path: Path) -> None:
    assert loaded().workers == 1
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert loaded().workers == 1
    (tmp_path / "pyproject.toml").write_text("[tool.hypercorn]\nworkers = 5\n")
    assert loaded().workers == 5
    assert loaded("-c", "none").workers == 1
    (tmp_path / "c.toml").write_text("backlog = 6\n")
    assert loaded("-c", "c.toml").workers == 1
    (tmp_path / "pyproject.toml").write_text("[tool.hypercorn")
    assert mistakes_of()[0].startswith("pyproject.toml: cannot be read: TOMLDecodeError")


def test_a_config_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.toml").write_text("backlog = 6\n")
    monkeypatch.setenv("HYPERCORN_CONFIG", "c.toml")
    assert loaded().backlog == 6
    assert loaded("-c", "none").backlog == 100


def test_python_files_and_modules(tmp_path: Path) -> None:
    (tmp_path / "own_settings.py").write_text("workers = 2\napplication_path = 'm:app'\n")
    assert loaded("-c", "file:own_settings.py").workers == 2
    config = loaded("-c", "python:own_settings")
    assert (config.workers, config.application_path) == (2, "m:app")
    assert loaded("-c", "python:own_settings", "other:app").application_path == "other:app"
    (tmp_path / "broken.py").write_text("workers = 1 / 0\n")
    assert mistakes_of("-c", "file:broken.py") == [
        "file:broken.py: the configuration cannot be read: ZeroDivisionError: division by zero"
    ]
    assert mistakes_of("-c", "python:nowhere_at_all") == [
        "python:nowhere_at_all: the configuration cannot be read: ModuleNotFoundError: No module named 'nowhere_at_all'"
    ]


@pytest.mark.parametrize("form", ["c.toml", "file:settings_to_reload.py", "python:settings_to_reload", None])
def test_everything_is_read_anew(form: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(workers: int) -> None:
        (tmp_path / "c.toml").write_text(f"workers = {workers}\n")
        (tmp_path / "settings_to_reload.py").write_text(f"workers = {workers}\n")
        (tmp_path / "pyproject.toml").write_text(f"[tool.hypercorn]\nworkers = {workers}\n")

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # its cache knows files only by the second
    write(2)
    config = loaded(*(["-c", form] if form else []), "--backlog", "7")
    assert config.workers == 2
    write(33)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = config.resolve().config.reloaded()
    assert (again.workers, again.backlog) == (33, 7)
    assert again.reloaded().workers == 33


def test_a_configuration_that_a_program_made_is_not_read_anew() -> None:
    config = Config()
    assert config.reloaded() is config


def test_an_environment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "env"
    file.write_text("HYPERCORN_WORKERS=5\nAPPLICATIONS_OWN='a b'\nTAKEN=no\nWITHOUT_VALUE\n")
    monkeypatch.setenv("TAKEN", "yes")
    config = loaded("--env-file", "env")
    assert config.workers == 5
    assert (os.environ["APPLICATIONS_OWN"], os.environ["TAKEN"]) == ("a b", "yes")
    file.write_text("HYPERCORN_WORKERS=6\nTAKEN=no\n")
    assert config.reloaded().workers == 6
    assert os.environ["TAKEN"] == "yes"


def test_an_environment_file_that_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env").write_text("HYPERCORN_BACKLOG=5\n")
    (tmp_path / "c.toml").write_text("env_file = 'env'\n")
    assert loaded("-c", "c.toml").backlog == 5
    monkeypatch.setenv("HYPERCORN_ENV_FILE", "nowhere")
    assert mistakes_of("-c", "c.toml")[0].endswith("cannot be read: No such file or directory")


def test_environment_files_need_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    assert mistakes_of("--env-file", "env") == [
        "--env-file: python-dotenv is not installed; install it with: pip install 'hypercorn[dotenv]'"
    ]


def test_the_table_of_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    config = loaded("--certfile", "c", "--keyfile-password", "hush")
    lines = {line.split()[0]: line.split()[1:] for line in configuration_table(config).splitlines()}
    assert list(lines) == list(TABLE)
    assert lines["workers"] == ["3", "$WEB_CONCURRENCY"]
    assert lines["certfile"] == ["'c'", "--certfile"]
    assert lines["keyfile_password"] == ["(secret)", "--keyfile-password"]
    assert lines["backlog"] == ["100", "default"]
    assert "hush" not in configuration_table(config)
