"""A logger that also counts, for programs that subclass it and bring their own way of sending.

Setting `statsd_host` needs none of this: workers then send the same figures by themselves
(`hypercorn.workers.statsd`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from .logging import Logger
from .workers.statsd import Statsd

if TYPE_CHECKING:
    from .config import Config
    from .typing import ResponseSummary, WWWScope

#: Keys of `extra` in a call that carries a figure.
METRIC_VAR = "metric"
VALUE_VAR = "value"
MTYPE_VAR = "mtype"
#: Values of `extra["mtype"]`.
GAUGE_TYPE = "gauge"
COUNTER_TYPE = "counter"
HISTOGRAM_TYPE = "histogram"


class StatsdLogger(Logger):
    """Counts requests, status codes and log calls. Subclasses send: override `_socket_send`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.dogstatsd_tags = config.dogstatsd_tags
        prefix = config.statsd_prefix
        self.prefix = prefix + "." if prefix and not prefix.endswith(".") else prefix

    async def critical(self, message: str, *args: Any, **kwargs: Any) -> None:
        await super().critical(message, *args, **kwargs)
        await self.increment("hypercorn.log.critical", 1)

    async def error(self, message: str, *args: Any, **kwargs: Any) -> None:
        await super().error(message, *args, **kwargs)
        await self.increment("hypercorn.log.error", 1)

    async def warning(self, message: str, *args: Any, **kwargs: Any) -> None:
        await super().warning(message, *args, **kwargs)
        await self.increment("hypercorn.log.warning", 1)

    async def info(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.log(logging.INFO, message, *args, **kwargs)

    async def debug(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.log(logging.DEBUG, message, *args, **kwargs)

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        await super().exception(message, *args, **kwargs)
        await self.increment("hypercorn.log.exception", 1)

    async def log(self, level: int, message: str, *args: Any, **kwargs: Any) -> None:
        """Log, and send the figure that `extra` carries, if any; without a message only the figure."""
        extra: dict[str, Any] = kwargs.get("extra") or {}
        metric, value = extra.get(METRIC_VAR), extra.get(VALUE_VAR)
        if metric and value is not None:
            if extra.get(MTYPE_VAR) == GAUGE_TYPE:
                await self.gauge(metric, value)
            elif extra.get(MTYPE_VAR) == COUNTER_TYPE:
                await self.increment(metric, value)
            elif extra.get(MTYPE_VAR) == HISTOGRAM_TYPE:
                await self.histogram(metric, value)
        if message:
            await super().log(level, message, *args, **kwargs)

    async def access(self, request: WWWScope, response: ResponseSummary | None, request_time: float) -> None:
        # Its type says "never None", as that of programs which override it; it is prepared for None.
        await super().access(request, cast("ResponseSummary", response), request_time)
        await self.histogram("hypercorn.request.duration", request_time * 1_000)
        await self.increment("hypercorn.requests", 1)
        if response is not None:
            await self.increment(f"hypercorn.request.status.{response['status']}", 1)

    async def gauge(self, name: str, value: int) -> None:
        await self._send(f"{self.prefix}{name}:{value}|g")

    async def increment(self, name: str, value: int, sampling_rate: float = 1.0) -> None:
        await self._send(f"{self.prefix}{name}:{value}|c|@{sampling_rate}")

    async def decrement(self, name: str, value: int, sampling_rate: float = 1.0) -> None:
        await self._send(f"{self.prefix}{name}:-{value}|c|@{sampling_rate}")

    async def histogram(self, name: str, value: float) -> None:
        await self._send(f"{self.prefix}{name}:{value}|ms")

    async def _send(self, message: str) -> None:
        if self.dogstatsd_tags:
            message = f"{message}|#{self.dogstatsd_tags}"
        await self._socket_send(message.encode("ascii", "backslashreplace"))

    async def _socket_send(self, message: bytes) -> None:
        """Send one datagram; it must not raise for what the network does."""
        raise NotImplementedError


class SocketStatsdLogger(StatsdLogger):
    """Sends by UDP to `config.statsd_host`, without ever blocking: on every event loop alike.

    Raises:
        LogConfigurationError: `statsd_host` is no host and port. Resolving it may block.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._statsd = Statsd(config.statsd_host or "", "", "")

    async def _socket_send(self, message: bytes) -> None:
        self._statsd.send_datagram(message)

    def close(self) -> None:
        """Close the socket."""
        self._statsd.close()
