"""The reference manual of the settings, made from the table.

python -m hypercorn.config.manual docs/settings.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from .declaration import Option
from .options import TABLE

_INTRODUCTION = """\
# Settings

This page is made from the table in `config/options.py` by `python -m hypercorn.config.manual docs/settings.md`.

## Where they come from

Later ones win:

1. defaults
2. a file: `--config FILE` or `$HYPERCORN_CONFIG`, else the table `[tool.hypercorn]` of `pyproject.toml` in the current
   directory
    - `hypercorn.toml` is a TOML file, whose top-level keys are the names below
    - `file:settings.py` is a Python file, which is executed, and whose names are the names below
    - `python:package.module` is a module or an object in one
    - `none` is no file at all
3. the environment: `$HYPERCORN_` and the name in capitals (`HYPERCORN_WORKERS=4`), lists with commas between the items;
   also the variables of the tables below. An empty variable counts as not set. `--env-file FILE` adds the variables
   of a file to the environment, for the application too; those that are set already win
4. the command line

A program assigns the names as attributes of `hypercorn.config.Config`.

A value of the wrong type or out of range is an error, and all errors are told at once, each with where it was made
(exit status 2). An unknown name in a file is told in the error log with the nearest name that exists.
`hypercorn --print-config` shows each setting with its value and source; `hypercorn --check-config module:app` also loads
the application.

## Words

- Times are in seconds and may have a fraction, sizes are in bytes.
- A flag that is listed with `--no-` switches off what the file or the environment switched on.
- Flags that may be repeated replace the list of the file or the environment as a whole.
- A bind is `host:port`, `host` (port 8000), `:port` (every IPv4 address), `[IPv6]:port`, `[IPv6]`, `unix:path`,
  `unix:@name` (abstract, Linux) or `fd://number` (inherited). Port 0 lets the kernel choose. A host name is opened on
  each of its addresses. An IPv6 address without brackets is taken whole, unless what stands before its last colon is an
  address already: `::1:8000` is port 8000 of `::1`.
- With a certificate, `bind` speaks TLS and `insecure_bind` clear text; without one `insecure_bind` does not count.
- A umask with a leading zero is octal (`022`), any other decimal.

"""


def manual() -> str:
    """The whole page."""
    groups: dict[str, list[Option]] = {}
    for option in TABLE.values():
        groups.setdefault(option.group, []).append(option)
    return _INTRODUCTION + "\n".join(_section(group, options) for group, options in groups.items())


def _section(group: str, options: list[Option]) -> str:
    rows = [
        f"| `{option.name}` | {_flags(option)} | {_type(option)} | {_default(option)} | {_meaning(option)} |"
        for option in options
    ]
    return "\n".join(
        (
            f"## {group}\n",
            "| name | command line | type | default | |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
        )
    )


def _flags(option: Option) -> str:
    if option.name == "application_path":
        return "(without a flag)"
    return " ".join(f"`{flag}`" for flag in _all_flags(option)) or "(file and program only)"


def _all_flags(option: Option) -> Iterator[str]:
    for flag in option.flags:
        yield flag
        if option.kind == "bool" and flag.startswith("--"):
            yield f"--no-{flag.removeprefix('--')}"


def _type(option: Option) -> str:
    return option.type.replace(" | ", " or ")


def _default(option: Option) -> str:
    return f"`{option.default!r}`" if option.default not in (None, [], {}, "") else ""


def _meaning(option: Option) -> str:
    parts = [option.help.replace("|", "\\|")]
    if option.variables:
        parts.append("also " + ", ".join(_variable(*item) for item in option.variables.items()))
    if option.deprecated:
        parts.append("deprecated: " + ", ".join(f"`{flag}`" for flag in option.deprecated))
    if option.without_effect is not None:
        parts.append(f"**no effect: {option.without_effect}**")
    return "; ".join(parts)


def _variable(name: str, form: str) -> str:
    return f"`${name}`" if form == "{}" else f"`${name}` (as `{form.format('$' + name)}`)"


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/settings.md").write_text(manual(), encoding="utf-8")
