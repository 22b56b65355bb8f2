"""One step of the plan as its parts share it: what is known, what time it is, and what is to be done so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from .messages import Command, Log, Severity
from .state import State


@dataclass(slots=True)
class Turn:
    """Lives for one step.

    Attributes:
        state: changed in place.
        now: monotonic seconds.
        commands: carried out in this order, after the step.
    """

    state: State
    now: float
    commands: list[Command] = field(default_factory=list[Command])

    def do(self, command: Command) -> None:
        """Add a command."""
        self.commands.append(command)

    def log(self, text: str, severity: Severity = Severity.INFO) -> None:
        """Add a line for the error log."""
        self.do(Log(severity, sentence(text)))


def sentence(text: str) -> str:
    """The text with a capital in front."""
    return text[:1].upper() + text[1:]
