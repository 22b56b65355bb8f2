"""Figures for a statsd server, by UDP: never blocks, and what cannot be sent is lost.

Names and types are Hypercorn's: per request `hypercorn.requests` (counter), `hypercorn.request.duration`
(milliseconds), `hypercorn.request.status.<code>` (counter); per record of the error log
`hypercorn.log.{critical,error,warning,exception}` (counter), and whatever a record carries as `metric`,
`value` and `mtype` in its `extra`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import TYPE_CHECKING

from .logs import ERROR, parse_statsd_host

if TYPE_CHECKING:
    from ..config.settings import Settings
    from .access_log import AccessLog, AccessRecord

_LEVELS = {logging.CRITICAL: "critical", logging.ERROR: "error", logging.WARNING: "warning"}
#: `mtype` of a log record, and statsd's letter for it.
_KINDS = {"gauge": "g", "counter": "c", "histogram": "ms"}


class Statsd:
    """A connected UDP socket. A host that cannot be resolved (which may block) is one warning: the service is
    worth more than its figures.

    Args:
        host: `name:port` or `[v6]:port`.

    Raises:
        LogConfigurationError: `host` has another form.
    """

    def __init__(self, host: str, prefix: str, tags: str) -> None:
        self._socket: socket.socket | None = None
        name, port = parse_statsd_host(host)
        try:
            found = socket.getaddrinfo(name, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            logging.getLogger(ERROR).warning("No figures for statsd: %s cannot be found: %s", host, error)
        else:
            family, kind, protocol, _, address = found[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            with contextlib.suppress(OSError):  # no route: every send says so again
                self._socket.connect(address)
        self._prefix = prefix.rstrip(".") + "." if prefix else ""
        self._tags = f"|#{tags}" if tags else ""

    def send(self, name: str, value: float, kind: str) -> None:
        """One figure; `kind` is `g`, `c` (sent with its rate of 1) or `ms`."""
        rate = "|@1.0" if kind == "c" else ""
        self.send_datagram(f"{self._prefix}{name}:{value}|{kind}{rate}{self._tags}".encode())

    def send_datagram(self, data: bytes) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(data)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def __del__(self) -> None:
        # A logger, which may own this, is never told of its end.
        if getattr(self, "_socket", None) is not None:
            self.close()


class StatsdAccessLog:
    """Counts every response, and writes its line if `lines` is given."""

    def __init__(self, settings: Settings, lines: AccessLog | None) -> None:
        self._statsd = Statsd(settings.statsd_host or "", settings.statsd_prefix, settings.dogstatsd_tags)
        self._lines = lines
        logger = logging.getLogger(ERROR)
        # The last one counts what is logged; another server of this process goes on with its own responses.
        for handler in [handler for handler in logger.handlers if isinstance(handler, StatsdHandler)]:
            logger.removeHandler(handler)
        self._handler = StatsdHandler(self._statsd)
        logger.addHandler(self._handler)

    def log(self, record: AccessRecord) -> None:
        if self._lines is not None:
            self._lines.log(record)
        if record.event == "close":
            return
        self._statsd.send("hypercorn.request.duration", record.duration * 1_000, "ms")
        self._statsd.send("hypercorn.requests", 1, "c")
        if record.status:
            self._statsd.send(f"hypercorn.request.status.{record.status}", 1, "c")

    def close(self) -> None:
        """Send no more: the socket is closed."""
        logging.getLogger(ERROR).removeHandler(self._handler)
        self._handler.close()
        self._statsd.close()
        if self._lines is not None:
            self._lines.close()


class StatsdHandler(logging.Handler):
    """Counts records of the error log, and sends the figures that they carry."""

    def __init__(self, statsd: Statsd) -> None:
        super().__init__()
        self._statsd = statsd

    def emit(self, record: logging.LogRecord) -> None:
        level = "exception" if record.exc_info else _LEVELS.get(record.levelno)
        if level is not None:
            self._statsd.send(f"hypercorn.log.{level}", 1, "c")
        metric, value = getattr(record, "metric", None), getattr(record, "value", None)
        kind = _KINDS.get(getattr(record, "mtype", ""))
        if metric and value is not None and kind is not None:
            self._statsd.send(metric, value, kind)
