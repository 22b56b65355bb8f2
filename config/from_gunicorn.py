"""`hypercorn --from-gunicorn gunicorn.conf.py`: a configuration of Gunicorn in, the equal TOML file out.

The file is executed, as Gunicorn does it, and so are the functions that it names for a worker class; its hooks are not.
What each setting becomes is `gunicorn_table`. Gunicorn need not be installed, unless the file imports it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import runpy
import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn, cast

from .binds import parse_bind
from .errors import ConfigError, Mistake
from .gunicorn_table import ROWS, Given, Line, Row
from .gunicorn_values import boolean, texts
from .options import TABLE

_WIDTH = 100
#: These may not exist on the machine that translates.
_NOT_CHECKED = ("user", "group")


def translated(location: str, application: str | None = None) -> str:
    """The TOML file that does what Gunicorn does with the configuration at `location`.

    Args:
        location: path of a Python file, perhaps after `file:`, or `python:` and a module. It is executed; what it
            prints goes to standard error.
        application: what would stand on Gunicorn's command line.

    `$GUNICORN_CMD_ARGS` is heeded, as Gunicorn does: it wins over the file.

    Raises:
        ConfigError: the file cannot be read or fails, or values in it are not allowed.
    """
    said = {**_read(location), **_from_environment()}
    if application is not None:
        said["wsgi_app"] = application
    given = _understood(said, location)
    lines = [line for row in ROWS.values() for line in _lines(row, given, location)]
    return "\n".join((*_head(location, given), *_settings(lines), *_sentences(lines), ""))


def _read(location: str) -> dict[str, Any]:
    """The settings that the file sets."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with contextlib.redirect_stdout(sys.stderr):
            if location.startswith("python:"):
                names = vars(importlib.import_module(location.removeprefix("python:")))
            else:
                names = runpy.run_path(location.removeprefix("file:"), run_name="__config__")
    # The border to somebody's program: whatever it raises, exit() included, is a sentence.
    except (Exception, SystemExit) as error:
        raise ConfigError([Mistake(location, _reason(error, location))]) from error
    return {name: value for name, value in names.items() if name in ROWS}


def _reason(error: BaseException, location: str) -> str:
    path = os.path.abspath(location.removeprefix("file:"))
    if isinstance(error, OSError) and error.filename in (path, location.removeprefix("file:")):
        return f"the file cannot be read: {error.strerror}"
    reason = f"it cannot be executed: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        reason += f"; install what it imports beside hypercorn ({sys.executable} -m pip install ...)"
    return reason


def _from_environment() -> dict[str, Any]:
    try:
        words = shlex.split(os.environ.get("GUNICORN_CMD_ARGS", ""))
    except ValueError as error:
        raise ConfigError([Mistake("$GUNICORN_CMD_ARGS", f"it cannot be split: {error}")]) from None
    parser = _Parser(argument_default=argparse.SUPPRESS, add_help=False)
    parser.add_argument("application", nargs="*")
    for row in ROWS.values():
        if row.all_flags:
            _add(parser, row)
    given = vars(parser.parse_args(words))
    return {name: value for name, value in given.items() if name in ROWS}


def _add(parser: argparse.ArgumentParser, row: Row) -> None:
    if row.kind is boolean:
        action = "store_false" if row.default is True else "store_true"
        parser.add_argument(*row.all_flags, dest=row.name, action=action)
    elif row.name == "proxy_protocol":
        parser.add_argument(*row.all_flags, dest=row.name, nargs="?", const="auto")
    else:
        action = "append" if row.kind is texts else "store"
        parser.add_argument(*row.all_flags, dest=row.name, action=action)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError([Mistake("$GUNICORN_CMD_ARGS", message)])


def _understood(said: dict[str, Any], location: str) -> Given:
    values = {row.name: row.default for row in ROWS.values()}
    mistakes: list[Mistake] = []
    for name, value in said.items():
        try:
            values[name] = _value(ROWS[name], value)
        except ValueError as error:
            mistakes.append(Mistake(f"{location}: {name}", str(error)))
    if mistakes:
        raise ConfigError(mistakes)
    return Given(values, frozenset(said))


def _value(row: Row, value: Any) -> Any:
    try:
        return row.kind(value)
    except ValueError:
        raise
    except Exception as error:  # a function for the worker class may raise anything
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _lines(row: Row, given: Given, location: str) -> Iterator[Line]:
    """The lines of one setting, with values that this server allows."""
    try:
        for line in row.becomes(given, row.name):
            if line.name == "bind":
                for bind in line.value:
                    parse_bind(bind)
            if line.name is not None and line.name not in _NOT_CHECKED:
                TABLE[line.name].convert(line.value)
            yield line
    except ValueError as error:
        raise ConfigError([Mistake(f"{location}: {row.name}", str(error))]) from None


def _head(location: str, given: Given) -> Iterator[str]:
    command = "hypercorn -c hypercorn.toml"
    if given["wsgi_app"] is None:
        how = "wsgi:module:application" if given.is_wsgi else "module:application"
        command += f" {how}  (Gunicorn's default name is application, here it is app)"
    yield f"# What {location} means to Gunicorn, made by hypercorn --from-gunicorn."
    yield f"# Save it as hypercorn.toml and serve with: {command}"


def _settings(lines: list[Line]) -> Iterator[str]:
    """The TOML, in the order of the manual."""
    order = list(TABLE)
    # The last one wins: a later row may know better, as with log configurations.
    by_name = {line.name: line for line in lines if line.name is not None and line.value is not None}
    group = ""
    for name, line in sorted(by_name.items(), key=lambda item: order.index(item[0])):
        if TABLE[name].group != group:
            group = TABLE[name].group
            yield f"\n## {group}\n"
        yield from _comment(_sentence(line))
        try:
            yield f"{name} = {_toml(line.value)}"
        except ValueError as error:
            yield from _comment(
                f"{name} is left out: {error}; say it in a Python file (-c file:...) or a TOML table"
            )


def _sentence(line: Line) -> str:
    if line.source == line.name:
        return line.text
    return f"{line.source}: {line.text}" if line.text else f"{line.source} in Gunicorn"


def _sentences(lines: list[Line]) -> Iterator[str]:
    """What has no equal, one comment for the settings that share it."""
    sources: dict[str, list[str]] = {}
    for line in lines:
        if line.name is None:
            sources.setdefault(line.text, []).append(line.source)
    if sources:
        yield "\n## What has no equal here\n"
    for sentence, names in sources.items():
        yield from _comment(f"{', '.join(names)}: {sentence}", "#   ")


def _comment(sentence: str, indent: str = "# ") -> list[str]:
    # A value in the sentence may hold line ends, which must not leave the comment.
    return textwrap.wrap(
        sentence, _WIDTH, initial_indent="# ", subsequent_indent=indent, break_on_hyphens=False
    )


def _toml(value: object) -> str:
    """
    Raises:
        ValueError: TOML has nothing for it.
    """
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, cast('Iterable[object]', value)))}]"
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value).items()
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in pairs) + "}"
    raise ValueError(f"TOML cannot say {value!r}")
