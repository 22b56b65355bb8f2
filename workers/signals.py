"""What a worker does with signals, whichever loop receives them."""

from __future__ import annotations

import signal

from .logs import reopen
from .server import Server
from .supervision import DrainReason

#: SIGINT is not among them for supervised workers: they ignore it, see `boot.py`.
HANDLED = (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1)


class SignalActions:
    """Turns signals into calls on the server.

    TERM (where nobody supervises also INT, and HUP: the terminal is gone) drains, a second one makes it quick;
    QUIT is quick at once; USR1 reopens the log files.
    """

    def __init__(self, server: Server, *, is_supervised: bool) -> None:
        self._server = server
        self._reason = DrainReason.REPLACE if is_supervised else DrainReason.STOP
        self._was_asked = False
        self.handled = HANDLED if is_supervised else (*HANDLED, signal.SIGINT, signal.SIGHUP)

    def act(self, number: int) -> None:
        """Handle one signal; called from the loop, not from a signal handler."""
        if number == signal.SIGUSR1:
            reopen()
        elif number == signal.SIGQUIT or self._was_asked:
            self._server.drain(DrainReason.QUICK)
        else:
            self._was_asked = True
            self._server.drain(self._reason)
