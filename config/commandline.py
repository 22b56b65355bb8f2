"""The command line, made from the table: text in, an `Invocation` out.

Values stay text here; `sources` puts them into a `Config` and `Config.resolve` checks them.
"""

from __future__ import annotations

import argparse
import os
import platform
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .config import suggestion
from .declaration import Option
from .errors import ConfigError, Mistake
from .options import TABLE
from .version import __version__

_DESCRIPTION = "Serve an ASGI or WSGI application, for example: hypercorn --workers 4 module:app"
_EPILOG = (
    "Each setting is also read from a TOML or Python file (--config), [tool.hypercorn] in pyproject.toml and the "
    "variable HYPERCORN_<NAME>; the command line wins, then the environment, then the file. "
    "--print-config shows the names, the values and where they came from."
)

#: Flags of Gunicorn, Uvicorn and others, and ours.
_ELSEWHERE = {
    **dict.fromkeys(("-t", "--timeout"), "--worker-timeout"),
    **dict.fromkeys(("--host", "--port", "--uds", "--fd"), "--bind"),
    **dict.fromkeys(("-e", "--env"), "the environment itself, or --env-file"),
    "-n": "--name",
    "--loop": "--worker-class",
    "--ws-max-size": "--websocket-max-message-size",
    "--ws-max-queue": "--max-app-queue-size",
    "--ws-ping-interval": "--websocket-ping-interval",
    "--ws-ping-timeout": "--websocket-ping-timeout",
    "--ws-per-message-deflate": "--websocket-per-message-deflate",
    "--h11-max-incomplete-event-size": "--h11-max-incomplete-size",
    "--log-config-json": "--log-config json:FILE",
    "--http-protocols": "--alpn-protocol",
    "--worker-tmp-dir": "not needed: workers beat in shared memory",
    "--no-access-log": "the default: lines are written only with --access-logfile",
    "--pythonpath": "--app-dir",
    "--reload-engine": "--reload-poll",
    "--reload-extra-file": "--reload-include",
    "--ssl-certfile": "--certfile",
    "--ssl-keyfile": "--keyfile",
    "--ssl-ca-certs": "--ca-certs",
    "--limit-max-requests": "--max-requests",
    "--limit-concurrency": "--worker-connections",
    "--timeout-keep-alive": "--keep-alive",
    "--timeout-graceful-shutdown": "--graceful-timeout",
    **dict.fromkeys(
        ("--forwarded-allow-ips", "--proxy-headers"), "a middleware: hypercorn.middleware.ProxyFixMiddleware"
    ),
}


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the command line said.

    Attributes:
        values: setting to what was given, text, texts or a bool.
        flags: setting to the flag that gave it.
        config_path: argument of --config, None if it was not given.
        directory: what relative paths of files of settings are relative to, also after a change of directory.
        check_config, print_config: the flags.
        from_gunicorn: argument of --from-gunicorn, None if it was not given.
    """

    values: dict[str, Any]
    flags: dict[str, str]
    config_path: str | None
    directory: str
    check_config: bool = False
    print_config: bool = False
    from_gunicorn: str | None = None


def parse(argv: Sequence[str]) -> Invocation:
    """Understand the command line; prints and exits for --help and --version.

    Raises:
        ConfigError: it cannot be understood.
    """
    parser = build_parser()
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        raise ConfigError(_unknown(parser, unknown))
    values = vars(given)
    flags: dict[str, str] = {}
    for name, option in TABLE.items():
        if name in values:
            flags[name] = option.flag or "command line"
        for flag in option.deprecated:
            if flag in values:
                warnings.warn(
                    f"{flag} is deprecated, use {option.flag} instead", DeprecationWarning, stacklevel=2
                )
                if name not in flags:
                    values[name], flags[name] = values[flag], flag
    values = {name: value for name, value in values.items() if name in TABLE}
    return Invocation(
        values, flags, given.config, _directory(), given.check_config, given.print_config, given.from_gunicorn
    )


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        text = f"the current directory cannot be used: {error.strerror}; change to one that exists"
        raise ConfigError([Mistake("", text)]) from error


def build_parser() -> argparse.ArgumentParser:
    """The parser; a setting that is not given leaves no trace in its result."""
    parser = _Parser(
        "hypercorn",
        usage="hypercorn [options] application",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        argument_default=argparse.SUPPRESS,
        add_help=False,
    )
    heading = TABLE["application_path"].group
    groups = {heading: parser.add_argument_group(heading)}
    groups[heading].add_argument(
        "application_path", metavar="application", nargs="?", help=_escaped(TABLE["application_path"].help)
    )
    group = parser.add_argument_group("Configuration")
    group.add_argument("-h", "--help", action="help", help="show this text and exit")
    group.add_argument("--version", action="version", version=_version(), help="show the version and exit")
    group.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=None,
        help="TOML file, file: and a Python file, python: and a module, or none (default: pyproject.toml)",
    )
    for flag, text in (
        ("--check-config", "check the settings, load the application and exit"),
        ("--print-config", "show each setting with its value and source, and exit"),
    ):
        group.add_argument(flag, action="store_true", default=False, help=text)
    group.add_argument(
        "--from-gunicorn",
        metavar="FILE",
        default=None,
        help="show what a configuration file of Gunicorn means here, as TOML, and exit",
    )
    for option in TABLE.values():
        if option.flags:
            if option.group not in groups:
                groups[option.group] = parser.add_argument_group(option.group)
            _add(groups[option.group], option)
    return parser


def _add(group: argparse._ArgumentGroup, option: Option) -> None:  # pyright: ignore[reportPrivateUsage]
    details: dict[str, Any] = {"dest": option.name, "help": _escaped(help_text(option))}
    if option.kind == "bool":
        details["action"] = argparse.BooleanOptionalAction
    else:
        details["metavar"] = option.metavar or option.name.upper()
        if isinstance(option.default, list | dict):
            details["action"] = "append"
    group.add_argument(*option.flags, **details)
    for flag in option.deprecated:
        group.add_argument(flag, dest=flag, help=argparse.SUPPRESS)


def help_text(option: Option) -> str:
    """The help of a setting with its default, where that says something."""
    default = option.default
    if default in (None, "", [], {}) or "default:" in option.help:
        return option.help
    if isinstance(default, bool):
        default = "on" if default else "off"
    elif isinstance(default, list):
        default = ", ".join(map(str, option.default))
    elif isinstance(default, float):
        default = f"{default:g}"
    return f"{option.help} (default: {default})"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _version() -> str:
    return f"hypercorn {__version__} ({platform.python_implementation()} {platform.python_version()})"


def _unknown(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> list[Mistake]:
    flags = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
    if not flags:
        return [Mistake("", f"one application is served, what is {argument!r}?") for argument in arguments]
    # What follows an unknown flag may be its value, and the application then what seems too much.
    known = [known for action in parser._actions for known in action.option_strings]  # pyright: ignore[reportPrivateUsage]
    return [Mistake(flag, f"there is no such option{_advice(flag, known)}") for flag in flags]


def _advice(flag: str, known: list[str]) -> str:
    if flag in _ELSEWHERE:
        return f"; here it is {_ELSEWHERE[flag]}"
    return suggestion(flag, known)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Where argparse would exit: whoever re-reads the configuration must survive it."""
        raise ConfigError([_reworded(message)])


def _reworded(message: str) -> Mistake:
    """What argparse says, as our other mistakes are said."""
    flag, _, text = message.removeprefix("argument ").partition(": ")
    if text.startswith("expected"):
        return Mistake(flag, "a value is wanted after it")
    if text.startswith("ignored explicit argument"):
        return Mistake(
            flag, f"it takes no value, and {text.removeprefix('ignored explicit argument ')} was given"
        )
    if flag == "ambiguous option":
        short, _, matches = text.partition(" could match ")
        return Mistake(short, f"it may mean {matches.replace(', ', ' or ')}: write it whole")
    return Mistake("", message)
