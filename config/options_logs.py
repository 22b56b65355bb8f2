"""Settings of what the server tells: logs and figures; see `options`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import checks
from .checks import one_of
from .declaration import as_mapping, option

if TYPE_CHECKING:
    from logging import Logger


class LogOptions:
    """Logging"""

    accesslog: str | Logger | None = option(
        None,
        "--access-logfile",
        metavar="FILE",
        parse=checks.log_target,
        deprecated=("--access-log",),
        help='write a line for each request to this file, or "-" for standard output (default: none)',
    )
    access_log_format: str = option(
        '%(h)s %(l)s %(l)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        "--access-logformat",
        metavar="FORMAT",
        help="what such a line says: %(h)s is the client, %(s)s the status and so on (default: in docs/settings.md)",
    )
    errorlog: str | Logger | None = option(
        "-",
        "--error-logfile",
        "--log-file",
        metavar="FILE",
        parse=checks.log_target,
        deprecated=("--error-log",),
        help='write all other messages to this file, or "-" for standard error',
    )
    loglevel: str = option(
        "INFO", "--log-level", metavar="LEVEL", parse=checks.log_level, help="lowest level that is logged"
    )
    log_format: str = option(
        "text",
        "--log-format",
        metavar="NAME",
        check=one_of("text", "json"),
        help="write lines as text or as json",
    )
    use_colors: bool | None = option(None, "--use-colors", help="colour the log (default: on a terminal)")
    logconfig: str | None = option(
        None,
        "--log-config",
        metavar="FILE",
        help="logging configuration: ini, or json:, toml: or yaml: and a path",
    )
    logconfig_dict: dict[str, Any] | None = option(
        None, parse=as_mapping, help="the same as a table, used without --log-config"
    )


class LoggerOptions:
    """Logging"""

    logger_class: type[Any] | str = option(
        "hypercorn.logging.Logger",
        "--logger-class",
        metavar="CLASS",
        parse=checks.logger_class,
        help="log with this class, module.Class (default: the server's own)",
    )


class MetricOptions:
    """Metrics"""

    statsd_host: str | None = option(
        None,
        "--statsd-host",
        metavar="HOST:PORT",
        help="send counts and times of requests to this statsd server",
    )
    statsd_prefix: str = option(
        "",
        "--statsd-prefix",
        metavar="TEXT",
        help="put this before the names of statsd figures",
    )
    dogstatsd_tags: str = option(
        "",
        "--dogstatsd-tags",
        metavar="TAGS",
        help="add these tags to statsd figures, with commas between them",
    )
