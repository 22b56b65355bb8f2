"""Talks to systemd, or whatever else speaks sd_notify(3) and passes sockets by sd_listen_fds(3).

`READY=1` is sent when every slot has a ready worker, or has failed to get one while at least one other is ready: from
then on the service serves, and replacing what failed is the arbiter's daily work.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

FIRST_LISTEN_FD = 3


class Notifier:
    """Sends messages to the socket named by NOTIFY_SOCKET; without it every method does nothing."""

    def __init__(self, address: str | None, watchdog_seconds: float | None = None) -> None:
        self._address = b"\0" + os.fsencode(address[1:]) if address and address[0] == "@" else address
        #: How often `ping` is wanted: half of what systemd allows, None for never.
        self.ping_seconds = watchdog_seconds / 2 if address and watchdog_seconds else None

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Notifier:
        """Take what systemd said from the environment, so that applications do not inherit it."""
        address = environment.pop("NOTIFY_SOCKET", None)
        microseconds = environment.pop("WATCHDOG_USEC", "")
        owner = environment.pop("WATCHDOG_PID", "")
        is_ours = owner in ("", str(os.getpid())) and microseconds.isdigit() and int(microseconds) > 0
        return cls(address, int(microseconds) / 1_000_000 if is_ours else None)

    def ready(self, status: str) -> None:
        """The service serves, at first or again."""
        self._send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")

    def reloading(self, status: str) -> None:
        """Configuration or code is being replaced; `ready` says when it is done."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """The stop has begun."""
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Only the text is new."""
        self._send(f"STATUS={status}")

    def ping(self) -> None:
        """The arbiter is alive."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        # Nobody to tell is no reason to stop serving.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self._address)


def passed_descriptors(environment: MutableMapping[str, str]) -> list[int]:
    """The descriptors of the sockets that were passed to this process; taken from the environment."""
    owner = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if owner != str(os.getpid()) or not count.isdigit():
        return []
    return list(range(FIRST_LISTEN_FD, FIRST_LISTEN_FD + int(count)))
