"""Where settings come from, in order of precedence: command line, environment, file, defaults.

`load` can be called again with the same invocation: it then reads the files anew.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, cast

from .commandline import Invocation
from .config import Config, suggestion
from .declaration import Option
from .errors import ConfigError, Mistake
from .options import TABLE

#: What --env-file has put into the environment: it may change it again when it is read anew.
_from_env_file: dict[str, str] = {}


def load(invocation: Invocation) -> Config:
    """Make the configuration that the invocation, the environment and the files ask for.

    Values that cannot be understood stay as they were given, for `Config.resolve` to complain about. The result's
    `reloaded()` calls this again. Writes what --env-file says to `os.environ`. Blocks while it reads the files.

    Raises:
        ConfigError: a file of settings cannot be read.
    """
    config = _from_file(invocation)
    given = invocation.values.get("env_file") or os.environ.get("HYPERCORN_ENV_FILE") or config.env_file
    env_file: str | None = None
    with contextlib.suppress(ValueError):  # of which `Config.resolve` will complain
        env_file = TABLE["env_file"].convert(given)
    if env_file:
        _read_env_file(os.path.join(invocation.directory, env_file))
    for option, value, variable in environment_values(os.environ):
        _assign(config, option, value, f"${variable}")
    config.wonder_at(misspelt_variables(os.environ))
    for name, value in invocation.values.items():
        _assign(config, TABLE[name], value, invocation.flags[name])
    config.files = tuple(_files(invocation, config, env_file))
    config.reload_by(functools.partial(load, invocation))
    return config


def load_file(path: str | None, config_class: type[Config] = Config) -> Config:
    """The configuration in a file: TOML, `file:` and a Python file, or `python:` and a module or object.

    Raises: whatever reading or executing it raises.
    """
    if path is None:
        return config_class()
    if path.startswith("python:"):
        return config_class.from_object(path.removeprefix("python:"))
    if path.startswith("file:"):
        return config_class.from_pyfile(path.removeprefix("file:"))
    return config_class.from_toml(path)


def environment_values(environ: Mapping[str, str]) -> Iterator[tuple[Option, Any, str]]:
    """Each setting that a variable sets, its value and the variable; an empty variable counts as not set."""
    for option in TABLE.values():
        for variable, form in {option.variable: "{}", **option.variables}.items():
            text = environ.get(variable)
            if text:
                yield option, _split(option, form.format(text)), variable
                break


def misspelt_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that look like one of ours, and the name of a setting that each almost has.

    Others may begin with HYPERCORN_ too: those that a cluster makes for a service of that name, for example.
    """
    for variable in environ:
        name = variable.removeprefix("HYPERCORN_").lower()
        if name in TABLE or name == "config" or not variable.startswith("HYPERCORN_"):
            continue
        if suggestion(name, TABLE, 0.8):
            yield name, f"${variable}"


def _split(option: Option, text: str) -> str | list[str]:
    if option.kind != "list[str]":
        return text
    return [item.strip() for item in text.split(",") if item.strip()]


def _assign(config: Config, option: Option, given: Any, source: str) -> None:
    # What cannot be understood is kept: `Config.resolve` finds all mistakes and tells them together.
    with contextlib.suppress(ValueError):
        given = option.convert(given)
    config.assign(option.name, given, source)


def _from_file(invocation: Invocation) -> Config:
    path = invocation.config_path or os.environ.get("HYPERCORN_CONFIG")
    if path == "none":
        return Config()
    if path is None:
        return _from_pyproject(os.path.join(invocation.directory, "pyproject.toml"))
    try:
        return load_file(_prepared(path, invocation.directory))
    except (Exception, SystemExit) as error:  # a Python file may raise anything, and exit() ends no arbiter
        text = f"the configuration cannot be read: {_described(error)}"
        if path.endswith(".py") and ":" not in path and not isinstance(error, OSError):
            text += f"; for a Python file write file:{path}"
        raise ConfigError([Mistake(path, text)]) from error


def _files(invocation: Invocation, config: Config, env_file: str | None) -> Iterator[str]:
    """The files that were read; pyproject.toml only if it says something of us."""
    path = invocation.config_path or os.environ.get("HYPERCORN_CONFIG")
    if path is None:
        path = "pyproject.toml"
        if not any(config.source_of(name).startswith(path) for name in TABLE):
            path = "none"
    if path.startswith("python:"):
        name = path.removeprefix("python:")
        module = sys.modules.get(name) or sys.modules.get(name.rpartition(".")[0])
        path = getattr(module, "__file__", None) or "none"
    for file in (path, env_file):
        if file and file != "none":
            yield os.path.abspath(os.path.join(invocation.directory, file.removeprefix("file:")))


def _prepared(path: str, directory: str) -> str:
    """The path such that it can be read from any directory, and modules be found and read anew."""
    prefix, colon, name = path.partition(":")
    if prefix == "python" and colon:
        if directory not in sys.path:
            sys.path.insert(0, directory)
        _forget(name)
        return path
    if prefix == "file" and colon:
        return f"file:{os.path.join(directory, name)}"
    return os.path.join(directory, path)


def _forget(name: str) -> None:
    """Have the module imported anew that `name`, the module or something in it, leads to."""
    for candidate in (name, name.rpartition(".")[0]):
        if sys.modules.pop(candidate, None) is not None:
            return


def _from_pyproject(path: str) -> Config:
    import tomllib

    try:
        with open(path, "rb") as file:
            tool = tomllib.load(file).get("tool")
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError) as error:  # also what is no UTF-8
        text = f"cannot be read: {_described(error)}; --config none ignores it"
        raise ConfigError([Mistake("pyproject.toml", text)]) from error
    table: Any = cast("dict[str, Any]", tool).get("hypercorn", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError([Mistake("pyproject.toml: tool.hypercorn", f"a table is wanted, not {table!r}")])
    return Config.from_pairs(cast("dict[str, Any]", table).items(), "pyproject.toml: tool.hypercorn")


def _read_env_file(path: str) -> None:
    try:
        from dotenv import dotenv_values
    except ImportError:
        text = "python-dotenv is not installed; install it with: pip install 'hypercorn[dotenv]'"
        raise ConfigError([Mistake("--env-file", text)]) from None
    try:
        with open(path, encoding="utf-8") as file:
            values = dotenv_values(stream=file)
    except (OSError, ValueError) as error:
        raise ConfigError([Mistake("--env-file", f"{path!r} cannot be read: {_described(error)}")]) from error
    for name, value in values.items():
        if value is not None and os.environ.get(name) == _from_env_file.get(name):
            os.environ[name] = _from_env_file[name] = value


def _described(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"
