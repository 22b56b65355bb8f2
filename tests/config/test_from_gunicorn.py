"""`hypercorn --from-gunicorn`: what becomes of a configuration of Gunicorn."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hypercorn.config import Config, ConfigError
from hypercorn.config.from_gunicorn import translated
from hypercorn.config.gunicorn_table import ROWS
from hypercorn.config.options import TABLE

Translate = Callable[..., str]

#: Every setting of Gunicorn once, as a file for a threaded WSGI service behind a proxy has them.
EVERYTHING = r"""
import multiprocessing

config = "elsewhere.py"
wsgi_app = "shop.wsgi"
bind = ["tcp://127.0.0.1:9000", "unix:///run/shop.sock", "[::1]:9001", "unix:\0shop"]
backlog = 512
workers = "0x3"
worker_class = "sync"
threads = 8
worker_connections = 200
max_requests = 1000
max_requests_jitter = 50
timeout = 90
graceful_timeout = 45
keepalive = 75
asgi_loop = "auto"
asgi_lifespan = "off"
asgi_disconnect_grace_period = 5
websocket_max_message_size = 0
http_parser = "python"
limit_request_line = 8000
limit_request_fields = 50
limit_request_field_size = 4000
reload = True
reload_engine = "poll"
reload_extra_files = ["templates/*.html", "/etc/shop/settings.yaml"]
spew = True
check_config = True
print_config = True
preload_app = True
sendfile = False
reuse_port = True
chdir = "."
daemon = False
raw_env = ["DJANGO_SETTINGS_MODULE=shop.settings", "SECRET=hush"]
pidfile = "/run/shop.pid"
worker_tmp_dir = "/dev/shm"
user = "www-data-of-elsewhere"
group = 33
umask = 0o007
initgroups = True
tmp_upload_dir = "/var/tmp"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
forwarded_allow_ips = "10.0.0.1,10.0.0.2"
pythonpath = "/srv/shop,/srv/lib"
paste = "production.ini"
raw_paste_global_conf = ["a=b"]
proxy_protocol = True
proxy_allow_ips = "10.0.0.1"
protocol = "uwsgi"
uwsgi_allow_ips = "10.0.0.1"
permit_obsolete_folding = True
strip_header_spaces = True
permit_unconventional_http_method = True
permit_unconventional_http_version = True
casefold_http_method = True
forwarder_headers = "SCRIPT_NAME"
header_map = "refuse"
root_path = "/shop"
accesslog = "-"
disable_redirect_access_to_syslog = True
access_log_format = '%(h)s "%(r)s" %(s)s %(M)s'
errorlog = "/var/log/shop.log"
loglevel = "Warning"
capture_output = True
logger_class = "shop.logs.Logger"
logconfig = "logging.ini"
logconfig_dict = {"loggers": {"gunicorn.error": {"level": "INFO", "handlers": []}}}
logconfig_json = "logging.json"
syslog_addr = "udp://log:514"
syslog = True
syslog_prefix = "shop"
syslog_facility = "local1"
enable_stdio_inheritance = True
statsd_host = "localhost"
dogstatsd_tags = "a,b"
statsd_prefix = "shop"
enable_backlog_metric = True
proc_name = "shop"
default_proc_name = "other"
keyfile = "key.pem"
certfile = "cert.pem"
ssl_version = 2
cert_reqs = 2
ca_certs = "ca.pem"
suppress_ragged_eofs = False
do_handshake_on_connect = True
ciphers = "ECDHE+CHACHA20"
http_protocols = "h2,h1"
http2_cleartext = "both"
http2_max_concurrent_streams = 20
http2_initial_window_size = 100000
http2_max_frame_size = 20000
http2_max_header_list_size = 0
dirty_apps = ["shop.jobs:Jobs"]
dirty_workers = 2
dirty_timeout = 10
dirty_threads = 3
dirty_graceful_timeout = 4
control_socket = "/run/shop.ctl"
control_socket_mode = 0o660
control_socket_disable = True


def _hook(*args):
    raise AssertionError("hooks are not called")


on_starting = when_ready = on_reload = nworkers_changed = pre_fork = post_fork = post_worker_init = _hook
worker_int = worker_abort = pre_exec = pre_request = post_request = child_exit = worker_exit = on_exit = _hook
ssl_context = on_dirty_starting = dirty_post_fork = dirty_worker_init = dirty_worker_exit = _hook
unknown_name = "Gunicorn ignores it"
"""

EXPECTED = {
    "application_path": "wsgi:shop.wsgi:application",
    "app_dir": "/srv/shop",
    "chdir": ".",
    "lifespan": "off",
    "threads": 8,
    "wsgi_max_body_size": 2**40,
    "bind": ["127.0.0.1:9000", "unix:/run/shop.sock", "[::1]:9001", "unix:@shop"],
    "backlog": 512,
    "reuse_port": True,
    "umask": 7,
    "user": "www-data-of-elsewhere",
    "group": 33,
    "workers": 3,
    "worker_class": "uvloop",
    "worker_connections": 200,
    "worker_timeout": 90,
    "max_requests": 1000,
    "max_requests_jitter": 50,
    "preload_app": True,
    "graceful_timeout": 45,
    "keep_alive_timeout": 75,
    "header_timeout": 90,
    "limit_request_line": 8000,
    "limit_request_fields": 50,
    "limit_request_field_size": 4000,
    "h11_max_incomplete_size": 8000 + 50 * 4002 + 4,
    "h2c_upgrade": True,
    "h2c_prior_knowledge": True,
    "h2_max_concurrent_streams": 20,
    "h2_max_header_list_size": 2**32 - 1,
    "h2_max_inbound_frame_size": 20000,
    "h2_initial_stream_window_size": 100000,
    "websocket_max_message_size": 2**40,
    "certfile": "cert.pem",
    "keyfile": "key.pem",
    "ca_certs": "ca.pem",
    "ciphers": "ECDHE+CHACHA20",
    "verify_mode": "CERT_REQUIRED",
    "alpn_protocols": ["h2", "http/1.1"],
    "accesslog": "-",
    "access_log_format": '%(h)s "%(m)s %(Uq)s HTTP/%(H)s" %(s)s %(M)s',
    "errorlog": "/var/log/shop.log",
    "loglevel": "warning",
    "logconfig": "json:logging.json",
    "logconfig_dict": {
        "version": 1,
        "disable_existing_loggers": False,
        "loggers": {"hypercorn.error": {"level": "INFO", "handlers": []}},
    },
    "statsd_host": "localhost:8125",
    "statsd_prefix": "shop",
    "dogstatsd_tags": "a,b",
    "daemon": False,
    "pid_path": "/run/shop.pid",
    "proc_name": "shop",
    "use_reloader": True,
    "reload_dirs": [".", "/etc/shop"],
    "reload_includes": ["templates/*.html", "settings.yaml"],
    "reload_poll": True,
}

#: Settings that only belong to others: `Line`s of theirs speak for them.
WITHOUT_A_WORD = {
    "config", "asgi_loop", "http_parser", "default_proc_name", "suppress_ragged_eofs", "do_handshake_on_connect",
    "control_socket_disable",
}  # fmt: skip


@pytest.fixture
def translate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Translate:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def translate(source: str, application: str | None = None) -> str:
        (tmp_path / "gunicorn.conf.py").write_text(source)
        return translated("gunicorn.conf.py", application)

    return translate


def resolved(text: str, tmp_path: Path) -> Any:
    (tmp_path / "hypercorn.toml").write_text(text)
    return Config.from_toml(tmp_path / "hypercorn.toml").resolve()


def test_every_setting(translate: Translate, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = translate(EVERYTHING)
    assert tomllib.loads(text) == EXPECTED
    # A name of an account is kept although there is none of that name here.
    settings = resolved(text.replace('"www-data-of-elsewhere"', '"0"'), tmp_path)
    assert settings.workers == 3
    assert not caplog.records


def test_each_setting_is_carried_or_explained(translate: Translate) -> None:
    said = {
        name
        for name in ROWS
        if f"\n{name} = " in EVERYTHING or f"{name} = " in EVERYTHING.partition("def ")[2]
    }
    assert said == set(ROWS)
    text = translate(EVERYTHING)
    comments = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    values = set(tomllib.loads(text))
    told = {name for name in ROWS if name in comments.replace(",", " ").replace(":", " ").split()}
    assert set(ROWS) - values - told <= WITHOUT_A_WORD


def test_nothing_set_carries_gunicorns_defaults(translate: Translate, tmp_path: Path) -> None:
    text = translate("")
    assert tomllib.loads(text) == {
        "threads": 1,
        "wsgi_max_body_size": 2**40,
        "backlog": 2048,
        "worker_class": "uvloop",
        "worker_timeout": 30,
        "graceful_timeout": 30,
        "keep_alive_timeout": 2,
        "header_timeout": 30,
        "limit_request_line": 4094,
        "h11_max_incomplete_size": 4094 + 100 * 8192 + 4,
        "h2c_upgrade": False,
        "h2c_prior_knowledge": False,
    }
    assert "hypercorn -c hypercorn.toml wsgi:module:application" in text
    assert "X-Forwarded-Proto" in text
    resolved(text, tmp_path)


@pytest.mark.parametrize(
    ("source", "application", "expected"),
    [
        ("", "shop", {"application_path": "wsgi:shop:application", "threads": 1}),
        ("worker_class = 'gthread'", "shop:app", {"application_path": "wsgi:shop:app", "worker_connections": 1000}),
        ("threads = 4", "shop:app", {"application_path": "wsgi:shop:app", "threads": 4}),
        ("worker_class = 'gevent'", "shop:app", {"application_path": "wsgi:shop:app", "threads": 64}),
        ("worker_class = 'asgi'", "shop:make()", {"application_path": "asgi:shop:make()", "threads": None}),
        ("worker_class = 'asgi'\nasgi_loop = 'asyncio'", "shop", {"worker_class": "asyncio"}),
        ("worker_class = 'uvicorn.workers.UvicornWorker'", "a:b", {"application_path": "asgi:a:b"}),
        ("worker_class = 'uvicorn.workers.UvicornH11Worker'", "a:b", {"worker_class": "asyncio"}),
        ("class SyncWorker: pass\nworker_class = SyncWorker", "a:b", {"application_path": "wsgi:a:b"}),
        ("worker_class = 'my.Worker'", "a:b", {"application_path": "a:b", "threads": None}),
        ("wsgi_app = 'a:b'", "c:d", {"application_path": "wsgi:c:d"}),
        ("keepalive = 0\nthreads = 2", None, {"keep_alive_max_requests": 1, "keep_alive_timeout": None}),
        ("timeout = 0", None, {"worker_timeout": 0, "header_timeout": 30}),
        ("max_requests = 0", None, {"max_requests": None}),
        ("limit_request_line = 0", None, {"limit_request_line": 2**20}),
        ("bind = 'unix:/run/x.sock'", None, {"bind": ["unix:/run/x.sock"], "umask": 0}),
        ("bind = ':80'", None, {"bind": [":80"], "umask": None}),
        ("accesslog = '-'", None, {"access_log_format": '%(h)s %(l)s %(u)s %(t)s "%(m)s %(Uq)s HTTP/%(H)s" %(s)s '
                                   '%(b)s "%(f)s" "%(a)s"'}),
        ("certfile = 'c'", None, {"alpn_protocols": ["http/1.1"]}),
        ("loglevel = 'trace'", None, {"loglevel": "info"}),
        ("proc_name = 'a\\x7f\\n\"\\U0001f600'", None, {"proc_name": 'a\x7f\n"\U0001f600'}),
        ("logconfig_dict = {'handlers': {'x': {'stream': None}}}", None, {"logconfig_dict": None}),
    ],
)  # fmt: skip
def test_settings_that_depend_on_others(
    translate: Translate, source: str, application: str | None, expected: dict[str, Any]
) -> None:
    text = translate(source, application)
    values = tomllib.loads(text)
    assert {name: values.get(name) for name in expected} == expected
    Config.from_mapping(values).resolve()


def test_gunicorn_cmd_args_win_over_the_file(translate: Translate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "GUNICORN_CMD_ARGS", "-w 7 --no-sendfile --reload -b :1 -b :2 --keep-alive 9 ignored:app"
    )
    text = translate("workers = 2\nworker_class = 'asgi'")
    values = tomllib.loads(text)
    assert (values["workers"], values["bind"], values["keep_alive_timeout"]) == (7, [":1", ":2"], 9)
    assert "application_path" not in values
    assert "\n# sendfile: there is no switch\n" in text


def test_what_the_file_prints_stays_out(translate: Translate, capsys: pytest.CaptureFixture[str]) -> None:
    tomllib.loads(translate("print('= hello')"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "= hello\n")


def test_values_cannot_leave_a_comment(translate: Translate) -> None:
    text = translate("paste = 'a\\nworkers = 9'\nraw_env = ['A\\nworkers = 8=1']")
    assert "workers" not in tomllib.loads(text)


def test_secrets_stay_where_they_are(translate: Translate) -> None:
    text = translate(EVERYTHING)
    assert "hush" not in text
    assert "SECRET" in text


def test_a_module(translate: Translate, tmp_path: Path) -> None:
    (tmp_path / "gunicorn_settings_of_test.py").write_text("workers = 5")
    assert tomllib.loads(translated("python:gunicorn_settings_of_test"))["workers"] == 5


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("workers = 'many'", "gunicorn.conf.py: workers: a whole number is wanted, not 'many'"),
        ("timeout = -1", "gunicorn.conf.py: timeout: at least 0 is wanted, not -1"),
        ("reload = 'yes'", "gunicorn.conf.py: reload: True or False is wanted, not 'yes'"),
        ("bind = 'ftp://x'", "gunicorn.conf.py: bind: 'ftp://x' is no bind: "),
        ("bind = 8000", "gunicorn.conf.py: bind: a list of text is wanted, not 8000"),
        ("certfile = 'c'\ncert_reqs = 3", "gunicorn.conf.py: cert_reqs: 0, 1 or 2 is wanted, not 3"),
        ("def (", "gunicorn.conf.py: it cannot be executed: SyntaxError: "),
        ("raise SystemExit(0)", "gunicorn.conf.py: it cannot be executed: SystemExit: 0"),
        (
            "import no_such_module",
            "No module named 'no_such_module'; install what it imports beside hypercorn",
        ),
    ],
)
def test_a_file_that_fails(translate: Translate, source: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        translate(source)
    (mistake,) = caught.value.mistakes
    assert told in str(mistake)
    assert "\n" not in str(mistake)


@pytest.mark.parametrize("arguments", ["--no-such-flag", "-w", "'"])
def test_gunicorn_cmd_args_that_fail(
    translate: Translate, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", arguments)
    with pytest.raises(ConfigError, match=r"^\$GUNICORN_CMD_ARGS: "):
        translate("")


def test_all_targets_exist(translate: Translate) -> None:
    assert set(EXPECTED) <= set(TABLE)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("wsgi_app = 'shop:app'\nworkers = 2\n")
    (tmp_path / "shop.py").write_text("def app(environ, start_response): ...\n")
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("HYPERCORN", "GUNICORN"))
    }

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hypercorn", *argv],
            cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    done = run("--from-gunicorn", "gunicorn.conf.py")
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "hypercorn.toml").write_text(done.stdout)
    checked = run("-c", "hypercorn.toml", "--check-config")
    assert checked.returncode == 0, checked.stderr
    missing = run("--from-gunicorn", "nowhere.py")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == "hypercorn: nowhere.py: the file cannot be read: No such file or directory\n"
    beside = run("--from-gunicorn", "gunicorn.conf.py", "-w", "2")
    assert beside.returncode == 2
    assert "only an application is allowed beside it, not --workers" in beside.stderr
