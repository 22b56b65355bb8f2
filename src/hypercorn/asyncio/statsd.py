"""The statsd logger under the name that it has for asyncio; it is the same for every loop."""

from __future__ import annotations

from ..statsd import SocketStatsdLogger as StatsdLogger

__all__ = ["StatsdLogger"]
