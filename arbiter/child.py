"""The worker's line to its arbiter: what `workers/supervision.py` calls a `Supervisor`.

Runs in the worker's process, after the fork. Knows nothing of event loops: the worker watches `channel()`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from ..config.supervision import Draining, Failed, Failure, Instruction, Ready, Retire
from .channel import Channel
from .scoreboard import Row

#: What the arbiter may take to hear why the worker gives up, in seconds.
_LAST_WORD_SECONDS = 5.0


class Child:
    """Structurally a `Supervisor`; see there for each method.

    Attributes:
        slot, generation: this worker's place.
        counters: its figures in the scoreboard.
    """

    def __init__(
        self,
        slot: int,
        generation: int,
        row: Row,
        line: Channel[Instruction],
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.slot = slot
        self.generation = generation
        self.counters: memoryview | list[int] = row.counters
        self._row = row
        self._line = line
        self._on_ready = on_ready

    def beat(self, now: float) -> None:
        self._row.beat = now
        self._line.flush()

    def ready(self) -> None:
        if self._on_ready is not None:
            self._on_ready()
        self._line.send(Ready())

    def failed(self, failure: Failure, reason: str, report: str = "") -> None:
        self._line.send(Failed(failure, reason, report))
        # The process ends next, and what the application raised may be longer than the socket takes at once.
        self._line.finish(_LAST_WORD_SECONDS)

    def retire(self) -> None:
        self._line.send(Retire())

    def draining(self) -> None:
        self._line.send(Draining())

    def channel(self) -> socket.socket | None:
        return self._line.sock

    def instructions(self) -> Sequence[Instruction] | None:
        instructions, is_open = self._line.receive()
        # What was said before the end still counts; the end is told again by the next call.
        return instructions if instructions or is_open else None
