"""How a record of the server's own becomes a line: as text or as JSON, and the time that each begins with."""

from __future__ import annotations

import datetime
import json
import logging
import time
import traceback
from collections.abc import Callable
from typing import Any


class SecondStamp:
    """A clock reading as text, made once a second by `render`."""

    def __init__(self, render: Callable[[int], str]) -> None:
        self._render = render
        self._made = (0, render(0))

    def __call__(self, now: float) -> str:
        """The text for `now`, seconds since the epoch."""
        second = int(now)
        # One tuple, replaced whole: threads log too.
        made = self._made
        if made[0] != second:
            made = self._made = (second, self._render(second))
        return made[1]


def line_stamp() -> SecondStamp:
    """`2026-01-31 23:59:59 +0100`, as every text line begins."""
    return SecondStamp(lambda second: time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(second)))


def _render_iso(second: int) -> str:
    moment = datetime.datetime.fromtimestamp(second).astimezone()
    # With a place for the milliseconds.
    return f"{moment:%Y-%m-%dT%H:%M:%S}.%03d{moment.isoformat()[19:]}"


_iso_stamp = SecondStamp(_render_iso)


def iso_time(now: float) -> str:
    """`2026-01-31T23:59:59.123+01:00`, as every JSON line has it."""
    return _iso_stamp(now) % (int(now * 1000) % 1000)


#: What must not reach a terminal or a log reader as it is; line feeds and tabs are a message's own.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}
_COLOURS = {"DEBUG": "36", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


class TextFormatter(logging.Formatter):
    """`[time] [pid] [LEVEL] message`, and a traceback below it."""

    def __init__(self, colours: bool = False) -> None:
        super().__init__()
        self._stamp = line_stamp()
        self._levels = (
            {name: f"\x1b[{code}m{name}\x1b[0m" for name, code in _COLOURS.items()} if colours else {}
        )

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if exception := _exception_text(record):
            message = f"{message}\n{exception}"
        level = self._levels.get(record.levelname, record.levelname)
        return f"[{self._stamp(record.created)}] [{record.process}] [{level}] {message.translate(_CONTROLS)}"


class JSONFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, pid, message, the traceback as `exception`, and `extra`s."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = {
            "time": iso_time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if exception := _exception_text(record):
            facts["exception"] = exception
        for name, value in record.__dict__.items():
            if name not in _RECORD_ATTRIBUTES:
                facts.setdefault(name, value)
        return json.dumps(facts, default=str, separators=(",", ":"))


_RECORD_ATTRIBUTES = frozenset((*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"))


def _exception_text(record: logging.LogRecord) -> str:
    parts: list[str] = []
    if record.exc_info and record.exc_info[1] is not None:
        parts.append("".join(traceback.format_exception(record.exc_info[1])).rstrip())
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)
