"""Sets up the two loggers of the server, `hypercorn.error` and `hypercorn.access`, from the settings.

The rest of the server calls `logging.getLogger("hypercorn.error")` and nothing here but `configure` and
`reopen`. Loggers belong to the process: of several servers in one process the last one configured decides.
"""

from __future__ import annotations

import datetime
import json
import logging
import logging.config
import os
import re
import sys
import time
import tomllib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from .log_targets import FileTarget, ForwardTarget, LogTarget, StreamTarget

if TYPE_CHECKING:
    from ..config.options import Options
    from ..config.settings import Settings

ERROR = "hypercorn.error"
ACCESS = "hypercorn.access"
#: The one that has no idea of its own of an access line.
DEFAULT_LOGGER_CLASS = "hypercorn.logging.Logger"
#: `%%`, or an atom of `access_log_format` with flags and conversion.
DIRECTIVE = re.compile(r"%(?:(%)|\(([^)]*)\)([#0\- +]*\d*(?:\.\d+)?)([diouxXeEfFgGrsa]))")


class LogConfigurationError(Exception):
    """A log file or a log configuration cannot be used; the message is one sentence for the operator.

    Attributes:
        setting: that is wrong, if it is known.
    """

    def __init__(self, sentence: str, setting: str | None = None) -> None:
        super().__init__(sentence)
        self.setting = setting


def configure(settings: Settings, *, is_guest: bool = False) -> None:
    """Attach targets and formats to both loggers, then apply `logconfig` or `logconfig_dict`.

    May be called again, with other settings or after a fork: what an earlier call attached is replaced,
    handlers that others attached stay.

    Args:
        is_guest: the process is somebody else's program: a logger that it gave handlers gets no stream beside them.

    Raises:
        LogConfigurationError: a file cannot be opened, the log configuration is missing or wrong, or
            `access_log_format` is no format, or `statsd_host` no host and port.
    """
    # Its lines are made by the workers, but this is where a mistake can still be told to whoever started us.
    is_checked = settings.accesslog is not None or not is_guest
    if is_checked and settings.logger_class == DEFAULT_LOGGER_CLASS:
        check_format(settings.access_log_format)
    if settings.statsd_host is not None:
        parse_statsd_host(settings.statsd_host)
    if not (is_guest and _is_taken(ERROR, settings.errorlog)):
        attach(ERROR, settings.errorlog, sys.stderr, settings)
    if settings.accesslog is not None and not (is_guest and _is_taken(ACCESS, settings.accesslog)):
        attach(ACCESS, settings.accesslog, sys.stdout, settings)
    apply_logconfig(settings)


def check_format(access_log_format: str) -> None:
    """
    Raises:
        LogConfigurationError: a `%` begins neither `%%` nor `%(atom)s`.
    """
    for literal in DIRECTIVE.sub("\0", access_log_format).split("\0"):
        if "%" in literal:
            wrong = literal[literal.index("%") :][:10]
            raise LogConfigurationError(
                f"access log format: {wrong!r} is neither %% nor %(atom)s", "access_log_format"
            )


def parse_statsd_host(text: str) -> tuple[str, int]:
    """Host and port of `name:port` or `[v6]:port`.

    Raises:
        LogConfigurationError: it has another form.
    """
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise LogConfigurationError(f"statsd host {text!r} is not of the form host:port", "statsd_host")
    return host.strip("[]"), int(port)


def access_logger(settings: Settings) -> logging.Logger | None:
    """The logger that access lines go to, or None where nobody wants them. Call it after `configure`."""
    if isinstance(settings.accesslog, logging.Logger):
        logger = settings.accesslog
    else:
        logger = logging.getLogger(ACCESS)
        # A log configuration may ask for access lines without `accesslog` being set.
        if settings.accesslog is None and not (_has_logconfig(settings) and logger.handlers):
            return None
    return logger if logger.isEnabledFor(logging.INFO) else None


def reopen() -> None:
    """Open the log files anew, after they have been rotated. A file that cannot be opened stays as it was."""
    for name in (ERROR, ACCESS, None):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, FileTarget):
                try:
                    handler.reopen()
                except OSError as error:
                    logging.getLogger(ERROR).warning(
                        "Log file %s cannot be reopened: %s", handler.baseFilename, error
                    )
            elif isinstance(handler, logging.FileHandler):
                # One that a log configuration made: it opens its file again with the next record.
                handler.close()


class _Silence(logging.NullHandler):
    """Keeps the last-resort handler of `logging` quiet."""


def attach(name: str, target: logging.Logger | str | None, stream: TextIO, settings: Options) -> None:
    """Make `target` what the logger `name` writes to, in place of what an earlier call attached.

    Args:
        stream: what `"-"` means.

    Raises:
        LogConfigurationError: the file cannot be opened.
    """
    logger = logging.getLogger(name)
    # Made first: if it fails, everything stays as it was.
    handler = _make_handler(target, stream, settings)
    others = _others(logger)
    replaced = [old for old in logger.handlers if old not in others]
    # Ours comes first: programs look for it there.
    logger.handlers = others if target is logger else [handler, *others]
    for old in replaced:
        old.close()
    if target is logger:
        return
    logger.disabled = False
    if isinstance(target, logging.Logger):
        logger.setLevel(target.getEffectiveLevel())
    else:
        logger.setLevel(settings.loglevel.upper())
    # The user's own logger propagates by itself, and without a target only a log configuration wants records.
    logger.propagate = name == ERROR and (
        isinstance(target, str) or (target is None and _has_logconfig(settings))
    )


def _others(logger: logging.Logger) -> list[logging.Handler]:
    """The handlers of `logger` that are not ours."""
    return [h for h in logger.handlers if not isinstance(h, LogTarget | ForwardTarget | _Silence)]


def _is_taken(name: str, target: logging.Logger | str | None) -> bool:
    """Whether the program itself has seen to this logger, and does not ask for a file or logger as well."""
    others = _others(logging.getLogger(name))
    return target in (None, "-") and any(type(h).__module__.partition(".")[0] != "hypercorn" for h in others)


def _has_logconfig(settings: Options) -> bool:
    return settings.logconfig is not None or settings.logconfig_dict is not None


def _make_handler(target: logging.Logger | str | None, stream: TextIO, settings: Options) -> logging.Handler:
    if target is None:
        return _Silence()
    if isinstance(target, logging.Logger):
        return ForwardTarget(target)
    handler: LogTarget
    if target in ("-", "/dev/stdout", "/dev/stderr"):
        # By descriptor, since what is behind the two paths may be a socket, which cannot be opened.
        handler = StreamTarget({"/dev/stdout": sys.stdout, "/dev/stderr": sys.stderr}.get(target, stream))
    else:
        try:
            handler = FileTarget(target, _file_owner(settings))
        except OSError as error:
            setting = "accesslog" if target == settings.accesslog else "errorlog"
            text = f"log file {target} cannot be opened: {error.strerror}"
            raise LogConfigurationError(text, setting) from None
    if settings.log_format == "json":
        handler.setFormatter(JSONFormatter())
    else:
        handler.setFormatter(TextFormatter(_wants_colours(handler, settings.use_colors)))
    return handler


def _file_owner(settings: Options) -> tuple[int, int] | None:
    """Who must be able to reopen a log file that is made before root's privileges are dropped."""
    # A `Config` that is not resolved yet may hold a name.
    if os.geteuid() != 0 or not isinstance(settings.user, int):
        return None
    return settings.user, -1 if settings.group is None else settings.group


def _wants_colours(target: LogTarget, use_colors: bool | None) -> bool:
    if use_colors is not None:
        return use_colors
    # https://no-color.org: present and not empty, whatever its value.
    return target.is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


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


def apply_logconfig(settings: Options) -> None:
    """Apply `logconfig`, or else `logconfig_dict`, if there is one.

    Raises:
        LogConfigurationError: it is missing or wrong.
    """
    try:
        if settings.logconfig is not None:
            _apply_file(settings.logconfig)
        elif settings.logconfig_dict is not None:
            _apply_mapping(dict(settings.logconfig_dict), "logconfig_dict")
    except LogConfigurationError as error:
        error.setting = "logconfig_dict" if settings.logconfig is None else "logconfig"
        raise


def _apply_file(name: str) -> None:
    kind, colon, path = name.partition(":")
    if not colon or kind not in ("ini", "json", "toml", "yaml"):
        kind, path = Path(name).suffix.lstrip(".").replace("yml", "yaml"), name
    if not Path(path).is_file():
        raise LogConfigurationError(f"there is no log configuration file {path}")
    if kind not in _READERS:
        defaults = {"__file__": path, "here": str(Path(path).resolve().parent)}
        try:
            logging.config.fileConfig(path, defaults, disable_existing_loggers=False)
        # What `logging.config` raises depends on the classes that the file names.
        except Exception as error:
            raise LogConfigurationError(f"log configuration {path} is wrong: {_reason(error)}") from error
        return
    try:
        mapping: Any = _READERS[kind](Path(path).read_text("utf-8"))
    # Each reader has its own kind of error.
    except Exception as error:
        raise LogConfigurationError(f"log configuration {path} cannot be read: {_reason(error)}") from error
    if not isinstance(mapping, dict):
        raise LogConfigurationError(f"log configuration {path} is no mapping")
    _apply_mapping(cast("dict[str, Any]", mapping), path)


def _apply_mapping(mapping: dict[str, Any], source: str) -> None:
    # The default of `logging` would silence every logger that the mapping does not name, ours included.
    try:
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **mapping})
    # As in _apply_file.
    except Exception as error:
        raise LogConfigurationError(f"log configuration {source} is wrong: {_reason(error)}") from error


def _read_yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise LogConfigurationError("PyYAML is needed for it: pip install 'hypercorn[yaml]'") from None
    return yaml.safe_load(text)


_READERS: dict[str, Callable[[str], Any]] = {"json": json.loads, "toml": tomllib.loads, "yaml": _read_yaml}


def _reason(error: Exception) -> str:
    # `logging.config` wraps what happened ("Unable to configure handler 'x'") around the reason.
    cause = error.__cause__
    text = f"{error} ({cause})" if cause is not None else str(error) or type(error).__name__
    if isinstance(error, KeyError):
        text = f"there is no {text}"
    return " ".join(text.split())
