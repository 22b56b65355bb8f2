"""What lies between a model's client and worker: what has been sent arrives in pieces, and the transport may be full."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

#: Sizes of what arrives at the client at once: around heads of frames, and all of it.
_pieces = st.sampled_from([1, 2, 7, 9, 30, 100, 1000, 20000, 200000])


class TimedWorker:
    """The passing of time in a model's worker.

    Attributes:
        now: the present time.
    """

    now: float

    @property
    def deadline(self) -> float:
        raise NotImplementedError

    def _handle_deadline(self) -> None:
        raise NotImplementedError

    def wait(self, seconds: float) -> None:
        """Let time pass; the server's sweep comes by until no deadline is left behind."""
        self.now += seconds
        for _ in range(10):
            if self.deadline > self.now:
                return
            self._handle_deadline()
        raise AssertionError("a deadline that does not move")


class NetworkMachine(RuleBasedStateMachine):
    """The rules that the models of all protocols have in common; how the server is reached is each one's own."""

    client: Any
    worker: Any

    @precondition(lambda self: self.worker.output)
    @rule(size=_pieces)
    def deliver_to_client(self, size: int) -> None:
        data = bytes(self.worker.output[:size])
        del self.worker.output[:size]
        self.client.receive(data)

    @precondition(lambda self: not self.worker.is_blocked)
    @rule()
    def block(self) -> None:
        self.worker.block()

    @precondition(lambda self: self.worker.is_blocked)
    @rule()
    def unblock(self) -> None:
        self.worker.unblock()
