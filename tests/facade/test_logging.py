"""`hypercorn.logging` and `hypercorn.statsd`, used and subclassed as programs do."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import pickle
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hypercorn.config import Config
from hypercorn.logging import AccessLogAtoms, Logger, _create_logger
from hypercorn.statsd import SocketStatsdLogger, StatsdLogger


def scope(**changes: Any) -> Any:
    return {
        "type": "http",
        "http_version": "2",
        "asgi": {},
        "method": "GET",
        "headers": [(b"User-Agent", b"curl"), (b"X-Hypercorn", b"Hypercorn"), (b"Referer", b"hypercorn")],
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"a=b",
        "scheme": "https",
        "client": ("127.0.0.1", 80),
        "server": None,
        "extensions": {},
        "state": {},
    } | changes


RESPONSE: Any = {"status": 200, "headers": [(b"Content-Length", b"5"), (b"X-Hypercorn", b"Hypercorn")]}


def test_atoms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("Random", "Environ")
    atoms = AccessLogAtoms(scope(), RESPONSE, 0.02302)
    expected = {
        "h": "127.0.0.1:80",
        "l": "-",
        "r": "GET / 2",
        "R": "GET /?a=b 2",
        "s": "200",
        "st": "OK",
        "S": "https",
        "m": "GET",
        "U": "/",
        "Uq": "/?a=b",
        "q": "a=b",
        "H": "2",
        "b": "5",
        "B": "5",
        "f": "hypercorn",
        "a": "curl",
        "T": 0,
        "D": 23020,
        "L": "0.023020",
        "p": f"<{os.getpid()}>",
    }
    assert {name: atoms[name] for name in expected} == expected
    assert atoms["{X-Hypercorn}i"] == atoms["{x-hypercorn}o"] == "Hypercorn"
    assert atoms["{random}e"] == "Environ"
    assert atoms["{absent}e"] == atoms["{absent}i"] == atoms["absent"] == "-"


def test_atoms_where_there_is_nothing() -> None:
    atoms = AccessLogAtoms(scope(type="websocket", client=None, query_string=b""), None, 1)
    assert (atoms["h"], atoms["s"], atoms["st"], atoms["m"], atoms["Uq"]) == (None, "-", "-", "GET", "/")
    odd: Any = {"status": 441, "headers": []}
    assert AccessLogAtoms(scope(), odd, 0)["st"] == "<???441???>"


def test_a_decoded_path_cannot_forge_a_line() -> None:
    assert AccessLogAtoms(scope(path="/\n[fake]"), RESPONSE, 0)["r"] == "GET /\\x0a[fake] 2"


@pytest.mark.parametrize(
    ("target", "name", "kind"),
    [
        (logging.getLogger("test_logging.special"), "test_logging.special", None),
        ("-", "hypercorn.access", logging.StreamHandler),
        ("file", "hypercorn.access", logging.FileHandler),
        (None, None, None),
    ],
)
def test_access_logger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Any, name: Any, kind: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config()
    config.accesslog = target
    config.access_log_format = "%h"
    logger = Logger(config)
    assert logger.access_log_format == "%h"
    assert logger.getEffectiveLevel() == logging.INFO  # of the error logger
    if name is None:
        assert logger.access_logger is None
        return
    assert logger.access_logger is not None
    assert logger.access_logger.name == name
    if kind is not None:
        (handler,) = logger.access_logger.handlers
        assert isinstance(handler, kind)
        assert logger.access_logger.propagate is False


def test_create_logger(capfd: pytest.CaptureFixture[str]) -> None:
    import sys

    assert _create_logger("hypercorn.error", None, "INFO", sys.stderr) is None
    logger = _create_logger("hypercorn.error", "-", "DEBUG", sys.stderr)
    assert logger is not None
    logger.debug("hello")
    assert capfd.readouterr().err.endswith("[DEBUG] hello\n")


def test_without_error_log_nothing_is_written() -> None:
    config = Config()
    config.errorlog = None
    logger = Logger(config)
    asyncio.run(logger.error("nobody hears"))
    with pytest.raises(AttributeError):
        logger.handlers  # noqa: B018


def test_methods_log(tmp_path: Path) -> None:
    config = Config.from_mapping(
        errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a"), loglevel="debug"
    )

    async def main() -> None:
        logger = config.log
        for name in ("critical", "error", "warning", "info", "debug"):
            await getattr(logger, name)("as %s", name)
        await logger.log(logging.INFO, "as log")
        try:
            raise ValueError("broken")
        except ValueError:
            await logger.exception("as exception")
        await logger.access(scope(), RESPONSE, 0.1)

    asyncio.run(main())
    levels = [line.split("] ", 2)[2] for line in (tmp_path / "e").read_text().splitlines() if line[0] == "["]
    assert levels == [
        "[CRITICAL] as critical",
        "[ERROR] as error",
        "[WARNING] as warning",
        "[INFO] as info",
        "[DEBUG] as debug",
        "[INFO] as log",
        "[ERROR] as exception",
    ]
    assert "ValueError: broken" in (tmp_path / "e").read_text()
    assert (
        (tmp_path / "a").read_text().endswith(f'{time.strftime("%z")}] "GET / 2" 200 5 "hypercorn" "curl"\n')
    )


class AtomsLogger(Logger):
    def atoms(self, request: Any, response: Any, request_time: float) -> Mapping[str, str]:
        return {"x": f"{response['status']} of {request['path']}"}


def test_subclass_with_atoms_of_its_own() -> None:
    stream = io.StringIO()
    target = logging.getLogger("test_logging.atoms")
    target.handlers, target.propagate = [logging.StreamHandler(stream)], False
    target.setLevel("INFO")
    config = Config.from_mapping(logger_class=AtomsLogger, accesslog=target, access_log_format="<%(x)s>")
    asyncio.run(config.log.access(scope(), RESPONSE, 0.1))
    assert stream.getvalue() == "<200 of />\n"


def test_a_config_that_has_logged_can_be_pickled() -> None:
    config = Config()
    assert config.log is config.log
    assert pickle.loads(pickle.dumps(config)).bind == config.bind


class RecordingStatsd(StatsdLogger):
    sent: list[str]

    async def _socket_send(self, message: bytes) -> None:
        self.__dict__.setdefault("sent", []).append(message.decode())


def test_statsd_logger() -> None:
    async def main(logger: RecordingStatsd) -> list[str]:
        await logger.access(scope(), RESPONSE, 0.25)
        await logger.access(scope(), None, 1)  # type: ignore[arg-type]
        for name in ("critical", "error", "warning", "exception"):
            await getattr(logger, name)("message")
        await logger.info("", extra={"metric": "queue", "value": 7, "mtype": "gauge"})
        await logger.debug("text", extra={"metric": "jobs", "value": 2, "mtype": "counter"})
        await logger.log(logging.INFO, "text", extra={"metric": "wait", "value": 3.5, "mtype": "histogram"})
        await logger.decrement("jobs", 1, sampling_rate=0.5)
        return logger.sent

    config = Config.from_mapping(errorlog=None, dogstatsd_tags="tag", statsd_prefix="site", statsd_host="h:1")
    assert asyncio.run(main(RecordingStatsd(config))) == [
        "site.hypercorn.request.duration:250.0|ms|#tag",
        "site.hypercorn.requests:1|c|@1.0|#tag",
        "site.hypercorn.request.status.200:1|c|@1.0|#tag",
        "site.hypercorn.request.duration:1000|ms|#tag",
        "site.hypercorn.requests:1|c|@1.0|#tag",
        "site.hypercorn.log.critical:1|c|@1.0|#tag",
        "site.hypercorn.log.error:1|c|@1.0|#tag",
        "site.hypercorn.log.warning:1|c|@1.0|#tag",
        "site.hypercorn.log.exception:1|c|@1.0|#tag",
        "site.queue:7|g|#tag",
        "site.jobs:2|c|@1.0|#tag",
        "site.wait:3.5|ms|#tag",
        "site.jobs:-1|c|@0.5|#tag",
    ]


def test_statsd_over_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        config = Config.from_mapping(errorlog=None, statsd_host=f"127.0.0.1:{server.getsockname()[1]}")
        logger = SocketStatsdLogger(config)
        asyncio.run(logger.increment("name", 1))
        assert server.recv(100) == b"name:1|c|@1.0"
        logger.close()


def test_statsd_needs_a_way_to_send() -> None:
    with pytest.raises(NotImplementedError):
        asyncio.run(StatsdLogger(Config.from_mapping(errorlog=None)).increment("name", 1))
