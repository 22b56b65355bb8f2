"""A log configuration of the user's own: `logconfig`, a file of four kinds, or `logconfig_dict`.

The files are read and applied by `logging.config`; this adds what it lacks, one sentence for each mistake.
"""

from __future__ import annotations

import json
import logging.config
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ..config.options import Options


class LogConfigurationError(Exception):
    """A log file or a log configuration cannot be used; the message is one sentence for the operator.

    Attributes:
        setting: that is wrong, if it is known.
    """

    def __init__(self, sentence: str, setting: str | None = None) -> None:
        super().__init__(sentence)
        self.setting = setting


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
