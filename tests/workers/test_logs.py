"""Targets, formats and configuration of the two loggers."""

from __future__ import annotations

import gc
import io
import json
import logging
import logging.config
import os
import re
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hypercorn.config import Config, Settings
from hypercorn.workers import log_targets, logs
from hypercorn.workers.log_config import LogConfigurationError

STAMP = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\]"


def configure(*, is_guest: bool = False, **settings: Any) -> Settings:
    made = Config.from_mapping(settings).resolve()
    logs.configure(made, is_guest=is_guest)
    return made


def access_logger(settings: Settings) -> logging.Logger | None:
    return logs.access_logger(settings)  # type: ignore[arg-type]


def log_failure(logger: logging.Logger) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("Error in %s", "it")


error = logging.getLogger(logs.ERROR)


def test_defaults(capfd: pytest.CaptureFixture[str]) -> None:
    settings = configure()
    error.info("hello %s", "there")
    error.debug("not this")
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(STAMP + rf" \[{os.getpid()}\] \[INFO\] hello there\n", err)
    assert error.propagate
    assert access_logger(settings) is None


def test_replaced_stream(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    error.info("hello")
    assert capsys.readouterr().err.endswith("[INFO] hello\n")


def test_absent_streams(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # What Python makes of descriptors that are closed when it starts.
    monkeypatch.setattr(sys, "stdout", None)
    configure(accesslog="-")
    logging.getLogger(logs.ACCESS).info("nowhere, and not on standard error either")
    monkeypatch.setattr(sys, "stderr", None)
    settings = configure(errorlog="/dev/stderr", accesslog="/dev/stdout")
    error.error("nowhere")
    logger = access_logger(settings)
    assert logger is not None
    logger.info("nowhere")
    monkeypatch.undo()
    assert capsys.readouterr() == ("", "")


def test_stream_that_raises_what_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Window(io.StringIO):
        def write(self, text: str, /) -> int:
            raise RuntimeError("the window is closed")

    monkeypatch.setattr(sys, "stderr", Window())
    configure()
    error.error("nowhere")


def test_closed_stream_whose_number_is_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "stream").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        number = stream.fileno()
        configure()
        error.error("before")
    monkeypatch.undo()
    with (tmp_path / "other").open("w") as other:
        os.dup2(other.fileno(), number)
        error.error("after")
        if number != other.fileno():
            os.close(number)
    assert (tmp_path / "other").read_text() == ""
    assert (tmp_path / "stream").read_text().endswith("before\n")


def test_configure_again_replaces_only_ours(tmp_path: Path) -> None:
    mine = logging.StreamHandler(io.StringIO())
    error.addHandler(mine)
    configure(errorlog=str(tmp_path / "one"))
    configure(errorlog=str(tmp_path / "two"), loglevel="debug")
    error.debug("hello")
    assert (tmp_path / "one").read_text() == ""
    assert (tmp_path / "two").read_text().endswith("[DEBUG] hello\n")
    assert mine.stream.getvalue() == "hello\n"
    assert len(error.handlers) == 2


def test_guest_leaves_the_loggers_of_its_host_alone(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    error.addHandler(logging.StreamHandler(stream))
    configure(is_guest=True)
    error.warning("hello")
    assert stream.getvalue() == "hello\n"
    assert capsys.readouterr().err == ""


def test_guest_logs_to_a_file_that_its_host_asks_for(tmp_path: Path) -> None:
    stream = io.StringIO()
    error.addHandler(logging.StreamHandler(stream))
    configure(is_guest=True, errorlog=str(tmp_path / "error"))
    error.warning("hello")
    assert stream.getvalue() == "hello\n"
    assert (tmp_path / "error").read_text().endswith("[WARNING] hello\n")


def test_no_error_log(capfd: pytest.CaptureFixture[str]) -> None:
    configure(errorlog=None)
    error.error("nobody hears")
    assert capfd.readouterr() == ("", "")


def test_access_targets(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = configure(accesslog="-")
    logger = access_logger(settings)
    assert logger is logging.getLogger(logs.ACCESS)
    assert logger.propagate is False
    logger.info("a line")
    assert capfd.readouterr().out.endswith("[INFO] a line\n")
    assert access_logger(configure(accesslog=str(tmp_path / "a"), loglevel="warning")) is None


def test_wrong_access_format() -> None:
    with pytest.raises(LogConfigurationError, match="'%h' is neither %% nor"):
        configure(accesslog="-", access_log_format="100%% %h")
    with pytest.raises(LogConfigurationError, match="'%h' is neither %% nor"):
        configure(access_log_format="%h")
    configure(accesslog="-", access_log_format="%h", logger_class="site.Logger")
    configure(is_guest=True, access_log_format="%h")


def test_user_loggers() -> None:
    stream = io.StringIO()
    mine = logging.getLogger("test_logs.mine")
    mine.handlers = [logging.StreamHandler(stream)]
    mine.propagate = False
    mine.setLevel("WARNING")
    settings = configure(errorlog=mine, accesslog=mine)
    error.info("too low")
    error.warning("hello")
    assert stream.getvalue() == "hello\n"
    assert access_logger(settings) is None
    mine.setLevel("INFO")
    assert access_logger(settings) is mine


def test_own_logger_as_target() -> None:
    stream = io.StringIO()
    error.addHandler(logging.StreamHandler(stream))
    error.setLevel("DEBUG")
    configure(errorlog=error)
    error.debug("untouched")
    assert stream.getvalue() == "untouched\n"


def test_unusable_file(tmp_path: Path) -> None:
    with pytest.raises(LogConfigurationError, match=r"cannot be opened: No such file or directory$"):
        configure(errorlog=str(tmp_path / "no" / "file"))


def test_json_records(tmp_path: Path) -> None:
    configure(errorlog=str(tmp_path / "log"), log_format="json")
    log_failure(error)
    error.warning("line\nfeed", extra={"stream": 3, "where": Path("/x")})
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", first["time"])
    assert (first["level"], first["logger"], first["pid"]) == ("ERROR", logs.ERROR, os.getpid())
    assert first["message"] == "Error in it"
    assert first["exception"].startswith("Traceback")
    assert first["exception"].endswith("ValueError: broken")
    assert (second["message"], second["stream"], second["where"]) == ("line\nfeed", 3, "/x")


def test_text_exception_and_controls(tmp_path: Path) -> None:
    configure(errorlog=str(tmp_path / "log"))
    log_failure(error)
    error.info("a\x1b[31m\r\x00b\tc")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0].endswith("[ERROR] Error in it")
    assert lines[1].startswith("Traceback")
    assert lines[-2] == "ValueError: broken"
    assert lines[-1].endswith("a\\x1b[31m\\x0d\\x00b\tc")


@pytest.mark.parametrize(
    ("environment", "use_colors", "coloured"),
    [
        ({"TERM": "xterm"}, None, True),
        ({"TERM": "dumb"}, None, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, None, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, None, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, True),
        ({"TERM": "xterm"}, False, False),
    ],
)
def test_colours_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], use_colors: bool | None, coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ours, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        configure(use_colors=use_colors)
        error.error("hello")
        assert (b"[\x1b[31mERROR\x1b[0m] hello" in os.read(ours, 1000)) == coloured
    os.close(ours)


def test_bad_arguments_do_not_raise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(errorlog=str(tmp_path / "log"))
    error.propagate = False  # pytest's own handler does raise
    error.info("%d", "no number")
    assert "--- Logging error ---" in capsys.readouterr().err
    assert (tmp_path / "log").read_text() == ""


def test_reopen_after_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_targets, "_FOLLOW_INTERVAL_S", 600.0)  # or it would be noticed by itself
    path = tmp_path / "log"
    configure(errorlog=str(path))
    error.info("before")
    path.rename(tmp_path / "log.1")
    error.info("still before")
    logs.reopen()
    error.info("after")
    assert len((tmp_path / "log.1").read_text().splitlines()) == 2
    assert path.read_text().endswith("after\n")


def test_reopen_keeps_what_works(tmp_path: Path) -> None:
    path = tmp_path / "dir" / "log"
    path.parent.mkdir()
    configure(errorlog=str(path))
    path.parent.rename(tmp_path / "moved")
    logs.reopen()
    assert "cannot be reopened: [Errno 2]" in (tmp_path / "moved" / "log").read_text()


def test_reopen_of_configured_files(tmp_path: Path) -> None:
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "log")}
    configure(
        errorlog=None,
        logconfig_dict={
            "handlers": {"file": handler},
            "loggers": {"hypercorn.error": {"handlers": ["file"]}},
        },
    )
    error.error("before")
    (tmp_path / "log").rename(tmp_path / "log.1")
    logs.reopen()
    error.error("after")
    assert (tmp_path / "log").read_text() == "after\n"
    for each in list(error.handlers):
        each.close()


def test_rotated_file_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_targets, "_FOLLOW_INTERVAL_S", 0.0)
    path = tmp_path / "log"
    configure(errorlog=str(path))
    error.info("one")
    path.rename(tmp_path / "log.1")
    error.info("two")
    (tmp_path / "other").touch()
    (tmp_path / "other").rename(path)
    error.info("three")
    assert (tmp_path / "log.1").read_text().endswith("one\n")
    assert path.read_text().endswith("three\n")


def test_path_that_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As the directory of root's logs for a worker that has given root up; this is refused to root as well.
    monkeypatch.setattr(log_targets, "_FOLLOW_INTERVAL_S", 0.0)
    (tmp_path / "dir").mkdir()
    configure(errorlog=str(tmp_path / "dir" / "log"))
    error.info("one")
    (tmp_path / "dir").rename(tmp_path / "moved")
    (tmp_path / "dir").touch()
    error.info("two")
    lines = (tmp_path / "moved" / "log").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["one", "two"]


def test_files_outlast_a_log_configuration_of_the_application(tmp_path: Path) -> None:
    path = tmp_path / "dir" / "log"
    path.parent.mkdir()
    configure(errorlog=str(path))
    error.error("one")
    # As a directory that a worker may not look into: there the file cannot be opened again.
    path.parent.rename(tmp_path / "moved")
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    error.error("two")
    lines = (tmp_path / "moved" / "log").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["one", "two"]


def test_a_file_whose_handler_is_dropped_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    configure(errorlog=str(path))
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"none": {"class": "logging.NullHandler"}},
            "loggers": {"hypercorn.error": {"handlers": ["none"]}},
        }
    )
    gc.collect()
    names = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert str(path) not in names
    error.handlers.clear()


def test_several_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    configure(errorlog=str(path))
    children = []
    for number in range(4):
        pid = os.fork()
        if pid == 0:
            for _ in range(200):
                error.info("%s", str(number) * 500)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    lines = path.read_text().splitlines()
    assert len(lines) == 800
    assert all(re.search(r"\] (\d)\1{499}$", line) for line in lines)


def test_pipe_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_targets, "PATIENCE_S", 0.01)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        target = log_targets.StreamTarget(stream)
        for _ in range(100):
            target.write_line("x" * 4000)
        target.write_line("y" * 20000)
        held = 0
        while held < 16:
            held += len(os.read(reading, 65536)) // 4001
        target.write_line("back again")
        text = os.read(reading, 65536).decode()
    assert re.fullmatch(r"\(8\d log lines were dropped here: the target took none\)\nback again\n", text)
    os.close(reading)


def test_pipe_without_a_reader() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        log_targets.StreamTarget(stream).write_line("to nobody")


def test_long_lines_pass_a_pipe_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_targets, "PATIENCE_S", 30.0)  # the reader may not be scheduled at once
    reading, writing = os.pipe()
    pieces: list[bytes] = []

    def read() -> None:
        while piece := os.read(reading, 65536):
            pieces.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(writing, "w") as stream:
        log_targets.StreamTarget(stream).write_line("z" * 300_000)
    reader.join()
    os.close(reading)
    assert b"".join(pieces) == b"z" * 300_000 + b"\n"


def test_fifo_as_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(LogConfigurationError, match="cannot be opened"):
        configure(errorlog=str(tmp_path / "fifo"))


MAPPING = {
    "version": 1,
    "formatters": {"plain": {"format": "%(name)s says %(message)s"}},
    "handlers": {
        "out": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stdout"}
    },
    "loggers": {"hypercorn.error": {"handlers": ["out"], "level": "DEBUG"}},
}
INI = """
[loggers]
keys=root,error
[handlers]
keys=out
[formatters]
keys=plain
[logger_root]
handlers=
[logger_error]
qualname=hypercorn.error
handlers=out
level=DEBUG
[handler_out]
class=StreamHandler
args=(sys.stdout,)
formatter=plain
[formatter_plain]
format=%(name)s says %(message)s
"""
TOML = """
version = 1
formatters.plain.format = "%(name)s says %(message)s"
handlers.out = {class = "logging.StreamHandler", formatter = "plain", stream = "ext://sys.stdout"}
loggers."hypercorn.error" = {handlers = ["out"], level = "DEBUG"}
"""


@pytest.mark.parametrize(
    ("name", "prefix", "text"),
    [
        ("log.ini", "", INI),
        ("log.conf", "", INI),
        ("log.txt", "ini:", INI),
        ("log.json", "", json.dumps(MAPPING)),
        ("log", "json:", json.dumps(MAPPING)),
        ("log.toml", "", TOML),
        ("log.cfg", "toml:", TOML),
        ("log.yml", "", json.dumps(MAPPING)),
        ("log", "yaml:", json.dumps(MAPPING)),
    ],
)
def test_logconfig(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, prefix: str, text: str
) -> None:
    bystander = logging.getLogger("test_logs.bystander")
    (tmp_path / name).write_text(text)
    root = list(logging.getLogger().handlers)
    try:
        configure(logconfig=f"{prefix}{tmp_path / name}")
        error.debug("hello")
    finally:
        logging.getLogger().handlers = root
    assert capsys.readouterr().out == "hypercorn.error says hello\n"
    assert not bystander.disabled


def test_logconfig_dict_may_ask_for_access_lines() -> None:
    mapping = {**MAPPING, "loggers": {"hypercorn.access": {"handlers": ["out"], "level": "INFO"}}}
    assert access_logger(configure(logconfig_dict=mapping)) is logging.getLogger(logs.ACCESS)
    assert access_logger(configure()) is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("log.json", "{", "cannot be read"),
        ("log.json", "[]", "is no mapping"),
        ("log.toml", "=", "cannot be read"),
        ("log.ini", "nothing", "is wrong"),
        ("log.json", '{"handlers": {"x": {"class": "no.Such"}}}', "is wrong: .*'x'"),
    ],
)
def test_wrong_logconfig(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(LogConfigurationError, match=said):
        configure(logconfig=str(tmp_path / name))
    with pytest.raises(LogConfigurationError, match="there is no log configuration file"):
        configure(logconfig=str(tmp_path / "absent.json"))


def test_a_file_that_took_nothing_for_a_while(tmp_path: Path) -> None:
    # A FIFO that is full refuses a write as a full disk does, and can be emptied.
    path = tmp_path / "log"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    target = log_targets.FileTarget(str(path))
    for _ in range(100):
        target.write_line("x" * 4000)
    kept = 0
    while data := _read(reading):
        kept += len(data)
    target.write_line("back again")
    target.write_line("and again")
    text = os.read(reading, 65536).decode()
    os.close(reading)
    target.let_go()
    dropped = 100 - kept // 4001
    assert dropped > 0
    assert text == f"({dropped} log lines were dropped here: the target took none)\nback again\nand again\n"


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


def test_a_line_that_fits_in_part(tmp_path: Path) -> None:
    target = log_targets.FileTarget(str(tmp_path / "log"))
    target.write_line("first")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        target.write_line("second")
        target.write_line("third")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    target.write_line("fourth")
    target.let_go()
    assert (tmp_path / "log").read_text() == (
        "first\nseco\n(2 log lines were dropped here: the target took none)\nfourth\n"
    )
