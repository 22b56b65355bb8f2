"""`Config`: Hypercorn's attributes and habits, and what `resolve` makes of them."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hypercorn.config
from hypercorn.config import Config, ConfigError, parse_bind, without_effect
from hypercorn.config.surroundings import enter

#: What users of Hypercorn 0.18 find; `daemon` differs on purpose.
DEFAULTS = {
    "access_log_format": '%(h)s %(l)s %(l)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
    "accesslog": None,
    "alpn_protocols": ["h2", "http/1.1"],
    "alt_svc_headers": [],
    "backlog": 100,
    "bind": ["127.0.0.1:8000"],
    "insecure_bind": [],
    "quic_bind": [],
    "ca_certs": None,
    "certfile": None,
    "ciphers": "ECDHE+AESGCM",
    "daemon": False,
    "debug": False,
    "dogstatsd_tags": "",
    "errorlog": "-",
    "graceful_timeout": 3.0,
    "read_timeout": None,
    "group": None,
    "h11_max_incomplete_size": 16384,
    "h11_pass_raw_headers": False,
    "h2_max_concurrent_streams": 100,
    "h2_max_header_list_size": 65536,
    "h2_max_inbound_frame_size": 16384,
    "include_date_header": True,
    "include_server_header": True,
    "keep_alive_timeout": 5.0,
    "keep_alive_max_requests": 1000,
    "keyfile": None,
    "keyfile_password": None,
    "logconfig": None,
    "logconfig_dict": None,
    "loglevel": "INFO",
    "max_app_queue_size": 10,
    "max_requests": None,
    "max_requests_jitter": 0,
    "pid_path": None,
    "root_path": "",
    "server_names": [],
    "shutdown_timeout": 60.0,
    "ssl_handshake_timeout": 60.0,
    "startup_timeout": 60.0,
    "statsd_host": None,
    "statsd_prefix": "",
    "umask": None,
    "use_reloader": False,
    "user": None,
    "verify_flags": None,
    "verify_mode": None,
    "websocket_max_message_size": 16777216,
    "websocket_ping_interval": None,
    "worker_class": "asyncio",
    "workers": 1,
    "wsgi_max_body_size": 16777216,
}


class FakeLogger:
    def __init__(self, config: Config) -> None:
        self.config = config


def mistakes_of(config: Config) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        config.resolve()
    return [str(mistake) for mistake in raised.value.mistakes]


@pytest.fixture
def warnings_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("hypercorn.error")
    propagates, logger.propagate = logger.propagate, True
    yield caplog
    logger.propagate = propagates


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_defaults_are_hypercorns(name: str, value: object) -> None:
    assert getattr(Config(), name) == value


def test_defaults_can_be_resolved() -> None:
    settings = Config().resolve()
    assert settings.bind == (parse_bind("127.0.0.1:8000"),)
    assert settings.application_path == ""
    assert settings.ssl_enabled is False
    for name, value in DEFAULTS.items():
        if not name.endswith("bind"):
            assert getattr(settings, name) == value


def test_there_is_no_application_before_one_is_assigned() -> None:
    assert not hasattr(Config(), "application_path")


def test_lists_belong_to_one_configuration() -> None:
    first = Config()
    first.server_names.append("a")
    first.bind.append("b")
    first.sni_certificates["c"] = ("d", "e")
    second = Config()
    assert (second.server_names, second.bind, second.sni_certificates) == ([], ["127.0.0.1:8000"], {})


@pytest.mark.parametrize("name", ["bind", "insecure_bind", "quic_bind"])
def test_a_bind_may_be_text_or_a_list(name: str) -> None:
    config = Config()
    setattr(config, name, "a:1")
    assert getattr(config, name) == ["a:1"]
    setattr(config, name, ["b:1", "c:1"])
    assert getattr(config, name) == ["b:1", "c:1"]


def test_root_path_loses_its_slash() -> None:
    config = Config()
    config.root_path = "/x/"
    assert config.root_path == "/x"


def test_cert_reqs_can_only_be_set() -> None:
    config = Config()
    with pytest.warns(Warning, match="cert_reqs is deprecated"):
        config.set_cert_reqs(2)
    assert config.verify_mode is ssl.VerifyMode.CERT_REQUIRED
    with pytest.warns(Warning, match="cert_reqs is deprecated"):
        config = Config.from_mapping(cert_reqs=1)
    assert config.verify_mode is ssl.VerifyMode.CERT_OPTIONAL
    with pytest.raises(AttributeError):
        _ = config.cert_reqs


def test_unknown_names_are_kept() -> None:
    config = Config.from_mapping({"anything": 1}, other=2)
    assert (config.anything, config.other) == (1, 2)  # type: ignore[attr-defined]


def test_mappings() -> None:
    config = Config.from_mapping({"workers": 2, "backlog": 3}, workers=4, log="read-only")
    assert (config.workers, config.backlog) == (4, 3)
    assert config.log != "read-only"
    assert Config.from_mapping().workers == 1


def test_toml(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('workers = 2\nbind = "a:1"\n[tool.hypercorn]\nworkers = 9\n')
    config = Config.from_toml(file)
    assert (config.workers, config.bind) == (2, ["a:1"])
    assert config.source_of("workers") == f"{file}: workers"


def test_a_python_file(tmp_path: Path, warnings_logged: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "c.py"
    file.write_text(
        "from __future__ import annotations\nimport os\nworkers = 1 + 1\ncount_of_things = 3\nwokers = 4\n"
    )
    config = Config.from_pyfile(file)
    assert (config.workers, config.count_of_things) == (2, 3)  # type: ignore[attr-defined]
    assert not hasattr(config, "os")
    config.resolve()
    assert [record.getMessage() for record in warnings_logged.records] == [
        f"{file}: wokers: there is no such setting; did you mean workers?"
    ]


def test_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wanted:
        workers = 3
        _bind = ("a:1",)

    assert Config.from_object(Wanted).workers == 3
    assert Config.from_object(Wanted()).bind == ("a:1",)
    (tmp_path / "some_settings_module.py").write_text("workers = 5\nclass Inner:\n    workers = 6\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert Config.from_object("some_settings_module").workers == 5
    assert Config.from_object("some_settings_module.Inner").workers == 6
    for missing in ("some_settings_module.Outer", "no_such_module_at_all", "no_such_package.at_all"):
        with pytest.raises(ImportError):
            Config.from_object(missing)


def test_another_configuration_as_object() -> None:
    class Own(Config):
        backlog = 7

        def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
            return [(b"x", protocol.encode())]

    own = Own()
    own.workers = 8
    own.bind = "a:1"
    config = Config.from_object(own)
    assert (config.workers, config.backlog, config.bind) == (8, 7, ["a:1"])
    assert config.response_headers("h2") == [(b"x", b"h2")]
    assert Config.from_object(Config()).response_headers("h2")[1] == (b"server", b"hypercorn-h2")


def test_subclasses_override_attributes() -> None:
    class Own(Config):
        workers = 4
        bind = ("127.0.0.1:0",)
        server_names = ["a"]  # noqa: RUF012 - as users of Hypercorn write it
        surprise = 1

        def __init__(self) -> None:  # without super().__init__(), as Hypercorn allows
            self.backlog = 9

    config = Own()
    config.server_names.append("b")
    assert Own.server_names == ["a"]
    settings = config.resolve()
    assert (settings.workers, settings.backlog, settings.server_names) == (4, 9, ["a", "b"])
    assert settings.bind == (parse_bind("127.0.0.1:0"),)
    assert settings.config is config
    assert config.source_of("workers") == "Own.workers"


class Pickled(Config):
    workers = 4


def test_configurations_can_be_pickled() -> None:
    config = Pickled()
    config.bind = "a:1"
    config.logger_class = FakeLogger
    assert config.log.config is config
    copy = pickle.loads(pickle.dumps(config))
    assert (type(copy), copy.workers, copy.bind) == (Pickled, 4, ["a:1"])
    assert copy.log.config is copy
    settings = pickle.loads(pickle.dumps(config.resolve()))
    assert (settings.workers, settings.bind) == (4, (parse_bind("a:1"),))


def test_a_class_may_choose_its_logger() -> None:
    class Own(Config):
        logger_class = FakeLogger

    assert Own().resolve().logger_class is FakeLogger
    assert isinstance(Own().log, FakeLogger)


def test_the_logger_is_made_once_and_late() -> None:
    config = Config()
    config.logger_class = f"{__name__}.no_such_class"  # nobody minds before a line is logged
    config.resolve()
    config.logger_class = FakeLogger
    assert isinstance(config.log, FakeLogger)
    assert config.log is config.log


def test_response_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypercorn.config, "time", lambda: 784111777.5)
    config = Config()
    assert config.response_headers("h11") == [
        (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (b"server", b"hypercorn-h11"),
    ]
    config.include_date_header = config.include_server_header = False
    config.alt_svc_headers = ['h3=":443"', "clear"]
    assert config.response_headers("h2") == [(b"alt-svc", b'h3=":443"'), (b"alt-svc", b"clear")]


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("workers", "4", 4),
        ("graceful_timeout", 4, 4.0),
        ("graceful_timeout", "0.5", 0.5),
        ("read_timeout", "none", None),
        ("read_timeout", None, None),
        ("max_requests", "none", None),
        ("accesslog", "none", "none"),
        ("daemon", "yes", True),
        ("daemon", "Off", False),
        ("use_colors", None, None),
        ("server_names", "a", ["a"]),
        ("server_names", ("a", "b"), ["a", "b"]),
        ("certfile", Path("/x"), "/x"),
        ("loglevel", "debug", "DEBUG"),
        ("root_path", "/x/", "/x"),
        ("umask", "022", 0o022),
        ("umask", "0o22", 0o022),
        ("umask", "22", 22),
        ("umask", 18, 18),
        ("umask", "0", 0),
        ("user", "root", 0),
        ("user", "1000", 1000),
        ("group", "root", 0),
        ("verify_mode", "CERT_REQUIRED", ssl.CERT_REQUIRED),
        ("verify_mode", 1, ssl.CERT_OPTIONAL),
        ("verify_mode", "2", ssl.CERT_REQUIRED),
        ("verify_mode", ssl.CERT_NONE, ssl.CERT_NONE),
        ("verify_flags", "VERIFY_X509_STRICT", ssl.VERIFY_X509_STRICT),
        (
            "verify_flags",
            ["VERIFY_X509_STRICT", "VERIFY_CRL_CHECK_LEAF"],
            ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_LEAF,
        ),
        (
            "verify_flags",
            "VERIFY_X509_STRICT, VERIFY_CRL_CHECK_LEAF",
            ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_LEAF,
        ),
        ("verify_flags", ssl.VERIFY_X509_STRICT, ssl.VERIFY_X509_STRICT),
        ("tls_minimum_version", 1.3, "1.3"),
        ("logconfig_dict", '{"version": 1}', {"version": 1}),
        ("logconfig_dict", {"version": 1}, {"version": 1}),
        ("logger_class", FakeLogger, FakeLogger),
        ("accesslog", "", None),
        ("accesslog", False, None),
        ("errorlog", "", None),
        ("worker_class", "trio", "trio"),
    ],
)
def test_values(name: str, given: object, value: object) -> None:
    config = Config.from_mapping({name: given, "keyfile": None})
    resolved = getattr(config.resolve(), name)
    assert resolved == value
    assert type(resolved) is type(value)


def test_a_logger_may_stand_for_a_log_file() -> None:
    logger = logging.getLogger("mine")
    assert Config.from_mapping(accesslog=logger).resolve().accesslog is logger


@pytest.mark.parametrize(
    "given",
    [
        {"a.example": ["c", "k"], "b.example": ("c2", "k2", "secret")},
        ["a.example=c,k", "b.example=c2,k2,secret"],
        '{"a.example": ["c", "k"], "b.example": ["c2", "k2", "secret"]}',
    ],
)
def test_certificates_by_name(given: object) -> None:
    settings = Config.from_mapping(sni_certificates=given, certfile="x").resolve()
    assert settings.sni_certificates == {"a.example": ("c", "k"), "b.example": ("c2", "k2", "secret")}
    assert settings.ssl_enabled
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "given", "mistake"),
    [
        ("workers", "four", "a whole number is wanted, not 'four'"),
        ("workers", True, "a whole number is wanted, not True"),
        ("workers", 1.5, "a whole number is wanted, not 1.5"),
        ("workers", None, "a value is wanted"),
        ("workers", -1, "a number from 0 to 500 is wanted, not -1"),
        ("backlog", 2**31, "a number from 0 to 2147483647 is wanted, not 2147483648"),
        ("graceful_timeout", "nan", "a number is wanted, not 'nan'"),
        ("graceful_timeout", "inf", "a number is wanted, not 'inf'"),
        ("graceful_timeout", [1], "a number is wanted, not [1]"),
        ("startup_timeout", 0, "more than 0 is wanted, not 0"),
        ("daemon", "maybe", "true or false is wanted, not 'maybe'"),
        ("daemon", 2, "true or false is wanted, not 2"),
        ("certfile", 3, "text is wanted, not 3"),
        ("server_names", 3, "text or a list of text is wanted, not 3"),
        ("server_names", [3], "text is wanted, not 3"),
        ("logconfig_dict", "{", "a table is wanted, not '{'"),
        ("bind", "host:x", "'host:x' is no bind: 'x' is no port, which is a number from 0 to 65535"),
        (
            "loglevel",
            "loud",
            "CRITICAL, FATAL, ERROR, WARNING, WARN, INFO, DEBUG or NOTSET is wanted, not 'loud'",
        ),
        ("lifespan", "maybe", "auto, on or off is wanted, not 'maybe'"),
        ("log_format", "xml", "text or json is wanted, not 'xml'"),
        ("umask", "09", "an octal number is wanted after a zero, not '09'"),
        ("umask", 0o1000, "a number from 0 to 511 is wanted, not 512"),
        ("user", "no-such-user", "there is no user 'no-such-user'"),
        ("group", "no-such-group", "there is no group 'no-such-group'"),
        (
            "verify_mode",
            "CERT_MAYBE",
            "one of CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED is wanted, not 'CERT_MAYBE'",
        ),
        ("verify_mode", 7, "one of CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED is wanted, not 7"),
        ("tls_minimum_version", "1.1", "1.2 or 1.3 is wanted, not '1.1'"),
        ("worker_class", "gevent", "asyncio, uvloop or trio is wanted, not 'gevent'"),
        ("h2_max_inbound_frame_size", 100, "a number from 16384 to 16777215 is wanted, not 100"),
        ("keyfile", "k", "certfile is missing beside it"),
    ],
)
def test_mistakes(name: str, given: object, mistake: str) -> None:
    [told] = mistakes_of(Config.from_mapping({name: given}))
    assert told.startswith(f"{name}: {mistake}")


@pytest.mark.parametrize("given", ["example=", "=c,k", {"example": []}, {"example": ["a", "b", "c", "d"]}, 3])
def test_mistakes_in_certificates_by_name(given: object) -> None:
    [told] = mistakes_of(Config.from_mapping(sni_certificates=given, certfile="c"))
    assert told.startswith(
        ("sni_certificates: a server name with its", "sni_certificates: a table is wanted")
    )


def test_asking_for_certificates_needs_an_authority() -> None:
    class Own(Config):
        def create_ssl_context(self) -> ssl.SSLContext | None:
            raise AssertionError("made where it is used")

    given = {"certfile": "c", "verify_mode": "CERT_REQUIRED"}
    [told] = mistakes_of(Config.from_mapping(given))
    assert told.startswith("verify_mode: ca_certs is missing beside it")
    Own.from_mapping(given).resolve()
    Config.from_mapping(given, ca_certs="a").resolve()
    Config.from_mapping(given, verify_mode="CERT_NONE").resolve()
    Config.from_mapping(verify_mode="CERT_REQUIRED").resolve()
    # Clients that have none are served, as they were by Hypercorn.
    [told] = without_effect(Config.from_mapping(given, verify_mode="CERT_OPTIONAL").resolve())
    assert told.startswith("--verify-mode lets no client with a certificate in")


def test_protocols_that_are_not_spoken_are_told() -> None:
    given = {"certfile": "c", "alpn_protocols": ["h3", "http/2", "h2", "http/1.0"]}
    [told] = without_effect(Config.from_mapping(given).resolve())
    assert (
        told == "--alpn-protocol h3, http/2 has no effect: what is spoken over TLS is h2, http/1.1, http/1.0"
    )


OWN_CONTEXT = "def create_ssl_context():\n    raise AssertionError('made where it is used')\n"


@pytest.mark.parametrize("enabling", ["certfile = 'own'\nkeyfile = 'own'\n", "ssl_enabled = True\n"])
def test_a_settings_file_may_make_the_context(tmp_path: Path, enabling: str) -> None:
    (tmp_path / "own.py").write_text(enabling + OWN_CONTEXT)
    config = Config.from_pyfile(tmp_path / "own.py")
    for each in (config, Config.from_object(config)):
        assert each.has_own_ssl_context
        assert each.resolve().ssl_enabled
        enter(each, each.resolve())
        assert not without_effect(each.resolve())


def test_a_context_without_tls_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_CONTEXT)
    settings = Config.from_pyfile(tmp_path / "own.py").resolve()
    assert not settings.ssl_enabled
    [told] = without_effect(settings)
    assert told.startswith("create_ssl_context has no effect: without --certfile or ssl_enabled")


def test_tls_without_a_certificate_or_a_context() -> None:
    assert mistakes_of(Config.from_mapping(ssl_enabled=True)) == [
        "ssl_enabled: certfile is missing beside it"
    ]
    assert not Config.from_mapping(ssl_enabled=False, certfile="c").resolve().ssl_enabled


def test_every_mistake_is_told_with_where_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('workers = "x"\nbacklog = 1\nbind = ["ok:1", "bad:"]\n')
    config = Config.from_toml(tmp_path / "c.toml")
    config.backlog = -5
    assert mistakes_of(config) == [
        f"{tmp_path}/c.toml: bind: 'bad:' is no bind: '' is no port, which is a number from 0 to 65535",
        "Config.backlog: a number from 0 to 2147483647 is wanted, not -5",
        f"{tmp_path}/c.toml: workers: a whole number is wanted, not 'x'",
    ]


def test_an_event_loop_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", None)
    assert mistakes_of(Config.from_mapping(worker_class="trio")) == [
        "worker_class: trio is not installed; install it with: pip install 'hypercorn[trio]'"
    ]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("worker", "workers"),
        ("keepalive_timeout", "keep_alive_timeout"),
        ("keep-alive-timeout", "keep_alive_timeout"),
    ],
)
def test_unknown_names_are_told_once(
    name: str, nearest: str, warnings_logged: pytest.LogCaptureFixture
) -> None:
    config = Config.from_mapping({name: 1})
    config.resolve()
    config.resolve()
    assert [record.getMessage() for record in warnings_logged.records] == [
        f"{name}: there is no such setting; did you mean {nearest}?"
    ]


def test_a_name_near_nothing_is_told_too(warnings_logged: pytest.LogCaptureFixture) -> None:
    Config.from_mapping(xyzzy=1).resolve()
    assert [record.getMessage() for record in warnings_logged.records] == ["xyzzy: there is no such setting"]


def test_what_a_program_assigns_is_its_own_affair(warnings_logged: pytest.LogCaptureFixture) -> None:
    config: Any = Config()
    config.my_own_thing = 1
    config.resolve()
    assert not warnings_logged.records


def test_settings_are_frozen() -> None:
    settings = Config().resolve()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.workers = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del settings.workers
    changed = settings.replace(workers=2)
    assert (changed.workers, settings.workers, changed.backlog) == (2, 1, 100)
    with pytest.raises(TypeError, match="no such setting: wokers"):
        settings.replace(wokers=2)


def test_settings_do_not_follow_the_configuration() -> None:
    config = Config()
    settings = config.resolve()
    config.server_names.append("late")
    config.workers = 7
    assert (settings.server_names, settings.workers) == ([], 1)


def test_settings_without_effect_are_named() -> None:
    assert without_effect(Config().resolve()) == []
    config = Config.from_mapping(quic_bind=["127.0.0.1:1"], insecure_bind="127.0.0.1:2")
    assert without_effect(config.resolve()) == [
        "--quic-bind has no effect: HTTP/3 is not served yet",
        "--insecure-bind has no effect: without --certfile, --bind is in clear text",
    ]
    config.certfile = "c"
    assert len(without_effect(config.resolve())) == 1
    config.ca_certs = "a"
    assert "--ca-certs has no effect: --verify-mode does not ask for certificates" in without_effect(
        config.resolve()
    )
    config.verify_mode = ssl.CERT_REQUIRED
    assert len(without_effect(config.resolve())) == 1


def test_statsd_has_a_logger_of_its_own() -> None:
    class Statsd:
        pass

    config = Config()
    default = config.logger_class
    config.set_statsd_logger_class(Statsd)
    assert config.logger_class is default
    config.statsd_host = "localhost:8125"
    config.set_statsd_logger_class(Statsd)
    assert config.logger_class is Statsd
    config.logger_class = FakeLogger
    config.set_statsd_logger_class(Statsd)
    assert config.logger_class is FakeLogger


@pytest.mark.parametrize("name", ["no_such_module_at_all.Logger", "logging.no_such_class", "Logger"])
def test_a_logger_class_that_is_nowhere(name: str) -> None:
    config = Config.from_mapping(logger_class=name)
    with pytest.raises(ImportError):
        _ = config.logger_class


def test_quic_is_announced() -> None:
    config = Config()
    config.include_date_header = config.include_server_header = False
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        config._set_quic_addresses([sock])
        port = sock.getsockname()[1]
    assert config.response_headers("h2") == [(b"alt-svc", f'h3=":{port}"; ma=3600'.encode())]
    config.alt_svc_headers = ["clear"]
    assert config.response_headers("h2") == [(b"alt-svc", b"clear")]


def test_importing_stays_cheap() -> None:
    heavy = "('ssl', 'argparse', 'asyncio', 'trio', 'tomllib', 'difflib', 'email')"
    code = f"import sys, hypercorn.config as c; c.Config().resolve(); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
