"""The engine of one HTTP/1.1 connection: when to read what, what the answer is framed with, and when to close.

It does not parse (`request.py`, `body.py`), does not judge (`rules.py`) and does not format (`response.py`). One
exchange is open at a time; what a pipelining client sends behind it waits in the buffer until it is over.

The two directions are `receiving.py` and `sending.py`, above what they share, `state.py`; here is what depends on time
and on the transport.
"""

from __future__ import annotations

from ..engine import Closing
from ..events import Writable
from .rules import Refusal
from .sending import HTTP1SendingSide
from .state import R_HEAD, R_LATER


class HTTP1Engine(HTTP1SendingSide):
    """One HTTP/1.1 connection, as `protocols.engine.Engine`.

    Arguments:
        parameters: limits and timeouts.
        defaults: the fields that every final response gets.
        now: the time at which the connection was accepted.
        secure: the connection is encrypted; `Upgrade: h2c` is then ignored (RFC 7540 §3.2).
    """

    __slots__ = ()

    ranks_streams = False

    def handle_deadline(self, now: float) -> None:
        if now < self.deadline:
            return
        if self._open and self._waits_for_continue:
            # It was our turn, not the client's, at some time since the deadline was set.
            self._waits_for_continue = self._expects_continue
            self._await_content(now)
        elif self._reading is R_HEAD:
            if self._buffer:
                self._refuse(Refusal(408, "the head did not arrive in time"))
            else:
                self._close(Closing.AFTER_FLUSH)
        elif self._open:
            self._refuse(Refusal(408, "the content did not arrive in time"))
        else:
            self._close(Closing.AFTER_FLUSH)

    def set_transport_writable(self, writable: bool, now: float) -> None:
        self._is_writable = writable
        if not writable:
            if self._reading is R_HEAD:
                self._await_transport()
            return
        if self._wants_writable:
            self._wants_writable = False
            if self._open:
                self.events.append(Writable(self._open))
        if not self._open and self._reading is R_LATER:
            self._await_head(now)

    def drain(self, now: float, at_once: bool) -> None:
        self._is_draining = True
        is_done = not self._open and not self._buffer and self._reading is R_LATER
        if at_once and (self.is_idle or is_done):
            self._close(Closing.AFTER_FLUSH)
