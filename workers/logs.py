"""Sets up the two loggers of the server, `hypercorn.error` and `hypercorn.access`, from the settings.

The rest of the server calls `logging.getLogger("hypercorn.error")` and nothing here but `configure` and
`reopen`. Loggers belong to the process: of several servers in one process the last one configured decides.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, TextIO

from .log_config import LogConfigurationError, apply_logconfig
from .log_formats import JSONFormatter, TextFormatter
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


def attach(name: str, target: logging.Logger | str | None, stream: TextIO | None, settings: Options) -> None:
    """Make `target` what the logger `name` writes to, in place of what an earlier call attached.

    Args:
        stream: what `"-"` means; None where the process was started without it.

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
        if isinstance(old, FileTarget):
            old.let_go()
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


def _make_handler(
    target: logging.Logger | str | None, stream: TextIO | None, settings: Options
) -> logging.Handler:
    if target is None:
        return _Silence()
    if isinstance(target, logging.Logger):
        return ForwardTarget(target)
    handler: LogTarget
    if target in ("-", "/dev/stdout", "/dev/stderr"):
        # By descriptor, since what is behind the two paths may be a socket, which cannot be opened.
        stream = {"/dev/stdout": sys.stdout, "/dev/stderr": sys.stderr}.get(target, stream)
        if stream is None:
            return _Silence()
        handler = StreamTarget(stream)
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
