"""Access lines: every atom, JSON, escaping, the way to the target, and loggers of the user's own."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import re
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hypercorn.config import Config, Settings
from hypercorn.workers import logs
from hypercorn.workers.access_log import AccessRecord, compile_format, make_access_log
from hypercorn.workers.log_config import LogConfigurationError
from hypercorn.workers.statsd import Statsd

DEFAULT = '%(h)s %(l)s %(l)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
NOON = 1_700_000_000.25


class Runtime:
    """Spawns on the running asyncio loop."""

    tasks: ClassVar[list[asyncio.Task[None]]] = []

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(function()))
        return self.tasks[-1]


def record(**changes: Any) -> AccessRecord:
    facts = {
        "client": ("192.0.2.1", 4321),
        "server": ("192.0.2.2", 80),
        "method": "GET",
        "scheme": "http",
        "raw_path": b"/a%20path",
        "query": b"x=1",
        "http_version": "1.1",
        "status": 200,
        "request_fields": [(b"host", b"example"), (b"referer", b"http://r/"), (b"user-agent", b"curl/8")],
        "response_fields": [(b"content-type", b"text/plain"), (b"content-length", b"999")],
        "bytes_sent": 1234,
        "duration": 1.5004005,
    }
    return AccessRecord(**(facts | changes))


def settings_of(**settings: Any) -> Settings:
    return Config.from_mapping({"errorlog": None, "root_path": "/root", **settings}).resolve()


def make(settings: Settings | None = None, **others: Any) -> Any:
    settings = settings or settings_of(**others)
    logs.configure(settings)
    return make_access_log(settings, Runtime())  # type: ignore[arg-type]


def render(access_log_format: str, **changes: Any) -> str:
    return compile_format(access_log_format)(record(**changes), NOON)


def test_default_format() -> None:
    assert re.fullmatch(
        r"192\.0\.2\.1:4321 - - \[\d\d/[A-Z][a-z]{2}/2023:\d\d:\d\d:\d\d [+-]\d{4}\] "
        r'"GET /a%20path 1\.1" 200 1234 "http://r/" "curl/8"',
        render(DEFAULT),
    )


@pytest.mark.parametrize(
    ("atom", "value"),
    [
        ("h", "192.0.2.1:4321"),
        ("l", "-"),
        ("u", "-"),
        ("r", "GET /a%20path 1.1"),
        ("R", "GET /a%20path?x=1 1.1"),
        ("s", "200"),
        ("st", "OK"),
        ("S", "http"),
        ("m", "GET"),
        ("U", "/a%20path"),
        ("Uq", "/a%20path?x=1"),
        ("q", "x=1"),
        ("H", "1.1"),
        ("b", "1234"),
        ("B", "1234"),
        ("f", "http://r/"),
        ("a", "curl/8"),
        ("T", "1"),
        ("M", "1500"),
        ("D", "1500400"),
        ("L", "1.500401"),
        pytest.param("p", f"<{os.getpid()}>", id="p-pid"),
        ("{Host}i", "example"),
        ("{x-absent}i", "-"),
        ("{Content-Type}o", "text/plain"),
        ("{x-absent}o", "-"),
        ("{access_log_test}e", "of the environment"),
        ("{ABSENT_VARIABLE}e", "-"),
        ("no-such-atom", "-"),
    ],
)
def test_atoms(monkeypatch: pytest.MonkeyPatch, atom: str, value: str) -> None:
    monkeypatch.setenv("ACCESS_LOG_TEST", "of the environment")
    assert render(f"%({atom})s") == value
    assert render(f"100%% %({atom})s|") == f"100% {value}|"


def test_atoms_where_there_is_nothing() -> None:
    nothing = {"client": None, "status": 0, "bytes_sent": 0, "query": b"", "request_fields": []}
    assert render("%(h)s %(s)s %(st)s %(b)s %(B)s %(q)s| %(R)s %(a)s", **nothing) == (
        "- - - - 0 | GET /a%20path 1.1 -"
    )
    assert render("%(st)s", status=799) == "<???799???>"


def test_numeric_conversions() -> None:
    assert render("%(D)d %(B)8d|%(s)-5s|%(s)d|%(T)05d") == "1500400     1234|200  |200|00001"


def test_basic_user() -> None:
    def user(value: bytes) -> str:
        return render("%(u)s", request_fields=[(b"authorization", value)])

    assert user(b"Basic YW5uOnBhc3M6d29yZA==") == "ann"
    assert user(b"basic OnBhc3M=") == "-"
    assert user(b"Basic !!") == "-"
    assert user(b"Bearer YW5uOnBhc3M=") == "-"
    assert user(b"Basic " + base64.b64encode("jörg:".encode())) == "jörg"
    for name in ("a\u2028b", "a\u202eb", "a\nb"):
        assert user(b"Basic " + base64.b64encode(f"{name}:".encode())).isprintable()


def test_websocket_end() -> None:
    ended = {"event": "close", "scheme": "ws", "status": 101, "close_code": 1001}
    assert render("%(S)s %(r)s %(s)s", **ended) == "ws GET /a%20path 1.1 1001"


def test_lines_and_fields_cannot_be_forged() -> None:
    fields = [(b"user-agent", b'x" 200 "\\\n\x7f\x9b\xe9')]
    assert render('"%(a)s" %(q)s', request_fields=fields, query=b'"\t') == (
        '"x\\x22 200 \\x22\\x5c\\x0a\\x7f\\x9bé" \\x22\\x09'
    )


@pytest.mark.parametrize("access_log_format", ["100%", "%h", "%(h) s%", "%(h"])
def test_wrong_formats(access_log_format: str) -> None:
    with pytest.raises(LogConfigurationError, match="is neither"):
        compile_format(access_log_format)


def test_off_is_none() -> None:
    assert make() is None
    assert make(accesslog="-", loglevel="ERROR") is None


def test_text_line_in_a_file(tmp_path: Path) -> None:
    make(accesslog=str(tmp_path / "log"), access_log_format="%(h)s %(s)s").log(record())
    assert re.fullmatch(
        rf"\[\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{{4}}\] \[{os.getpid()}\] \[INFO\] 192\.0\.2\.1:4321 200\n",
        (tmp_path / "log").read_text(),
    )


def test_both_ways_give_the_same_line(tmp_path: Path) -> None:
    direct = make(accesslog=str(tmp_path / "direct"))
    direct.log(record())
    through = make(accesslog=str(tmp_path / "through"))
    logging.getLogger(logs.ACCESS).addFilter(lambda each: True)
    through = make(accesslog=str(tmp_path / "through"))
    through.log(record())
    moment = re.compile(r"\[[^]]*\d\d:\d\d [+-]\d{4}\]")
    lines = [moment.sub("", (tmp_path / name).read_text()) for name in ("direct", "through")]
    assert lines[0] == lines[1]


def test_two_servers_with_files_of_their_own(tmp_path: Path) -> None:
    first = make(accesslog=str(tmp_path / "one"), access_log_format="1")
    second = make(accesslog=str(tmp_path / "two"), access_log_format="2")
    first.log(record())
    second.log(record())
    assert (tmp_path / "one").read_text().endswith("] 1\n")
    assert (tmp_path / "two").read_text().endswith("] 2\n")
    first._target.close()


def test_json(tmp_path: Path) -> None:
    log = make(accesslog=str(tmp_path / "log"), log_format="json")
    log.log(record())
    log.log(record(event="close", close_code=1006, client=None, status=101, request_fields=[]))
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert first.pop("time").startswith("20")
    assert first == {
        "level": "INFO",
        "logger": "hypercorn.access",
        "pid": os.getpid(),
        "event": "request",
        "client": "192.0.2.1:4321",
        "method": "GET",
        "scheme": "http",
        "path": "/a%20path",
        "query": "x=1",
        "http_version": "1.1",
        "status": 200,
        "bytes": 1234,
        "duration": 1.500401,
        "referer": "http://r/",
        "user_agent": "curl/8",
    }
    assert (second["event"], second["close_code"], second["client"], second["referer"]) == (
        "close",
        1006,
        None,
        None,
    )


def test_logger_of_the_user() -> None:
    stream = io.StringIO()
    mine = logging.getLogger("test_access_log.mine")
    mine.handlers, mine.propagate = [logging.StreamHandler(stream)], False
    mine.setLevel("INFO")
    make(accesslog=mine, access_log_format="100%% %(s)s").log(record())
    assert stream.getvalue() == "100% 200\n"


class CustomLogger:
    """What a user writes: only the shape matters here."""

    def __init__(self, config: Config) -> None:
        self.calls: list[tuple[Any, Any, float]] = []

    async def access(self, request: Any, response: Any, request_time: float) -> None:
        if request["path"] == "/fail":
            raise ValueError("broken logger")
        await asyncio.sleep(0)
        self.calls.append((request, response, request_time))


def test_custom_logger_class(tmp_path: Path) -> None:
    async def main() -> None:
        log = make(settings)
        for each in (
            record(),
            record(status=0, event="open"),
            record(event="close"),
            record(raw_path=b"/fail"),
        ):
            log.log(each)
        await asyncio.gather(*Runtime.tasks)

    settings = settings_of(logger_class=CustomLogger, errorlog=str(tmp_path / "log"))
    asyncio.run(main())
    (request, response, seconds), (websocket, missing, _) = settings.config.log.calls
    assert request["type"] == "http"
    assert request["method"] == "GET"
    assert request["path"] == "/a path"
    assert request["raw_path"] == b"/a%20path"
    assert request["query_string"] == b"x=1"
    assert request["root_path"] == "/root"
    assert request["client"] == ("192.0.2.1", 4321)
    assert response == {"status": 200, "headers": record().response_fields}
    assert seconds == 1.5004005
    assert (websocket["type"], missing) == ("websocket", None)
    assert "ValueError: broken logger" in (tmp_path / "log").read_text()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        yield sock


def test_statsd(server: socket.socket, tmp_path: Path) -> None:
    log = make(
        statsd_host=f"127.0.0.1:{server.getsockname()[1]}",
        statsd_prefix="site",
        dogstatsd_tags="a:b,c",
        accesslog=str(tmp_path / "log"),
    )
    log.log(record(duration=0.25))
    log.log(record(status=0, duration=1.0))
    error = logging.getLogger(logs.ERROR)
    error.warning("careful")
    error.critical("worse")
    error.error("it", exc_info=ValueError())
    error.info("level", extra={"metric": "queue", "value": 3, "mtype": "gauge"})
    log.log(record(event="close"))
    assert [server.recv(1000).decode() for _ in range(9)] == [
        "site.hypercorn.request.duration:250.0|ms|#a:b,c",
        "site.hypercorn.requests:1|c|@1.0|#a:b,c",
        "site.hypercorn.request.status.200:1|c|@1.0|#a:b,c",
        "site.hypercorn.request.duration:1000.0|ms|#a:b,c",
        "site.hypercorn.requests:1|c|@1.0|#a:b,c",
        "site.hypercorn.log.warning:1|c|@1.0|#a:b,c",
        "site.hypercorn.log.critical:1|c|@1.0|#a:b,c",
        "site.hypercorn.log.exception:1|c|@1.0|#a:b,c",
        "site.queue:3|g|#a:b,c",
    ]
    assert len((tmp_path / "log").read_text().splitlines()) == 3


def test_statsd_made_again_counts_once(server: socket.socket) -> None:
    for _ in range(2):
        make(statsd_host=f"127.0.0.1:{server.getsockname()[1]}")
    logging.getLogger(logs.ERROR).error("once")
    logging.getLogger(logs.ERROR).info("end", extra={"metric": "end", "value": 0, "mtype": "counter"})
    assert server.recv(1000) == b"hypercorn.log.error:1|c|@1.0"
    assert server.recv(1000) == b"end:0|c|@1.0"


def test_statsd_of_two_servers_in_one_process(server: socket.socket) -> None:
    host = f"127.0.0.1:{server.getsockname()[1]}"
    first, second = make(statsd_host=host, statsd_prefix="a"), make(statsd_host=host, statsd_prefix="b")
    first.log(record())
    second.log(record())
    names = [server.recv(1000).partition(b":")[0] for _ in range(6)]
    assert [name.partition(b".")[0] for name in names] == [b"a"] * 3 + [b"b"] * 3
    second.close()
    first.log(record())
    assert server.recv(1000).startswith(b"a.")
    first.close()


def test_statsd_that_is_not_there(server: socket.socket) -> None:
    host = f"127.0.0.1:{server.getsockname()[1]}"
    server.close()
    statsd = Statsd(host, "", "")
    for _ in range(3):
        statsd.send("name", 1, "c")
    statsd.close()


@pytest.mark.parametrize("host", ["localhost", "localhost:port", ":8125", "localhost:65536", ""])
def test_wrong_statsd_host(host: str) -> None:
    with pytest.raises(LogConfigurationError, match="is not of the form host:port"):
        Statsd(host, "", "")
    with pytest.raises(LogConfigurationError, match="is not of the form host:port"):
        make(statsd_host=host)


def test_statsd_host_that_cannot_be_found(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", logs.ERROR):
        statsd = Statsd("no-such-host.invalid:8125", "", "")
    assert caplog.messages[0].startswith("No figures for statsd: no-such-host.invalid:8125 cannot be found")
    statsd.send("name", 1, "c")
    statsd.close()
