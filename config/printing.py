"""The settings as `--print-config` shows them: name, value and where the value came from."""

from __future__ import annotations

from .config import Config
from .options import TABLE


def configuration_table(config: Config) -> str:
    """One line per setting, in the order of the help; secrets are not shown."""
    rows = [(name, _shown(config, name), config.source_of(name)) for name in TABLE]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    # One long value (a log format) must not push all sources out of sight.
    widths[1] = min(widths[1], 40)
    return "\n".join(f"{name:{widths[0]}}  {value:{widths[1]}}  {source}" for name, value, source in rows)


def _shown(config: Config, name: str) -> str:
    value = config.given(name)
    if TABLE[name].secret and value:
        return "(secret)"
    return repr(value)
