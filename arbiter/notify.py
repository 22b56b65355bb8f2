"""Talks to systemd, or whatever else speaks sd_notify(3) and passes sockets by sd_listen_fds(3).

`READY=1` is sent when every slot has a ready worker, or has failed to get one while at least one other is ready: from
then on the service serves, and replacing what failed is the arbiter's daily work.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

from ..config.binds import Bind, BindKind
from ..config.errors import ConfigError, Mistake, complain

logger = logging.getLogger("hypercorn.error")

FIRST_LISTEN_FD = 3
#: How long a manager that is busy elsewhere is waited for, in seconds: it acts upon what it is told, once each.
PATIENCE_S = 1.0


class Notifier:
    """Sends messages to the socket named by NOTIFY_SOCKET; without it every method does nothing.

    Nobody to tell is no reason to stop serving: what nobody takes within `patience` seconds is lost, and logged if it is
    a state that the manager acts upon. Pings never wait.
    """

    def __init__(
        self, address: str | None, watchdog_seconds: float | None = None, patience: float = PATIENCE_S
    ) -> None:
        self._patience = patience
        self._is_stuck = False
        self._address = b"\0" + os.fsencode(address[1:]) if address and address[0] == "@" else address
        #: How often `ping` is wanted: half of what systemd allows, None for never.
        self.ping_seconds = watchdog_seconds / 2 if address and watchdog_seconds else None

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Notifier:
        """Take what systemd said from the environment, so that applications do not inherit it."""
        address = environment.pop("NOTIFY_SOCKET", None)
        microseconds = _number(environment.pop("WATCHDOG_USEC", ""))
        owner = environment.pop("WATCHDOG_PID", "")
        is_ours = owner in ("", str(os.getpid())) and microseconds is not None
        return cls(address or None, microseconds / 1_000_000 if microseconds and is_ours else None)

    def ready(self, status: str) -> None:
        """The service serves, at first or again."""
        self._tell("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")

    def reloading(self, status: str) -> None:
        """Configuration or code is being replaced; `ready` says when it is done."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """The stop has begun."""
        self._tell("STOPPING=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Only the text is new."""
        # There may be one for each of hundreds of workers, so whoever takes none is waited for only once.
        self._send(0.0 if self._is_stuck else self._patience, f"STATUS={status}")

    def ping(self) -> None:
        """The arbiter is alive."""
        self._send(0.0, "WATCHDOG=1")

    def _tell(self, state: str, *details: str) -> None:
        error = self._send(self._patience, state, *details)
        if error is not None:
            logger.warning("The service manager has not taken %s: %s", state, error.strerror or error)

    def _send(self, patience: float, *lines: str) -> OSError | None:
        if self._address is None:
            return None
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(patience)
                # Only a connected socket waits for a place in the other's queue.
                sock.connect(self._address)
                sock.send("\n".join(lines).encode())
        except OSError as error:
            self._is_stuck = isinstance(error, TimeoutError | BlockingIOError)
            return error
        self._is_stuck = False
        return None


def passed_sockets(environment: MutableMapping[str, str]) -> tuple[Bind, ...]:
    """The sockets that were passed to this process, as binds; what is said of them is taken from the environment.

    Raises:
        ConfigError: their number is none, or is larger than that of open descriptors.
    """
    owner = environment.pop("LISTEN_PID", "")
    given = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if given in ("", "0"):
        return ()
    if owner != str(os.getpid()):
        complain(
            f"warning: $LISTEN_PID: sockets were passed to process {owner or 'none'}, not to this one, and are not used; "
            "where a shell starts the command, write exec before it"
        )
        return ()
    count = _number(given)
    if count is None:
        raise ConfigError([Mistake("$LISTEN_FDS", f"the number of passed sockets is wanted, not {given!r}")])
    # One by one: a number that is too large is not even counted to.
    return tuple(_passed(FIRST_LISTEN_FD + index, count) for index in range(count))


def _passed(descriptor: int, count: int) -> Bind:
    try:
        os.fstat(descriptor)
    except (OSError, OverflowError):
        text = (
            f"it says that sockets were passed, {count} from descriptor {FIRST_LISTEN_FD} on, but descriptor "
            f"{descriptor} is not open; unset it, or have whoever starts this pass them"
        )
        raise ConfigError([Mistake("$LISTEN_FDS", text)]) from None
    return Bind(f"fd://{descriptor} of $LISTEN_FDS", BindKind.DESCRIPTOR, fd=descriptor)


def _number(text: str) -> int | None:
    """A number as systemd writes it, which has at most 64 bits; None if it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None
