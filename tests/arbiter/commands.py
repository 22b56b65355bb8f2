"""What tests of the plan ask of a list of commands."""

from __future__ import annotations

from typing import Any

from hypercorn.arbiter import messages as m


def of(commands: list[m.Command], kind: type[Any]) -> list[Any]:
    """Those of one kind."""
    return [command for command in commands if isinstance(command, kind)]
