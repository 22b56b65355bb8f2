"""Runs a worker on asyncio or uvloop: the loop, its signals, the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..config.settings import Settings
from ..config.sockets import Listener
from .application import LoadedApplication
from .asyncio_driver import AsyncioRuntime
from .boot import freeze_heap
from .signals import SignalActions
from .supervision import Supervisor
from .wrapping import make_server

if TYPE_CHECKING:
    from .tls_contexts import TLSContexts


def run(
    settings: Settings,
    listeners: Sequence[Listener],
    supervisor: Supervisor,
    application: LoadedApplication,
    tls: TLSContexts | None,
) -> None:
    """Serve until drained; raises what `Server.serve` raises."""
    with asyncio.Runner(debug=settings.debug, loop_factory=_loop_factory(settings)) as runner:
        runner.run(_serve(settings, listeners, supervisor, application, tls))


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if settings.worker_class != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop


async def _serve(
    settings: Settings,
    listeners: Sequence[Listener],
    supervisor: Supervisor,
    application: LoadedApplication,
    tls: TLSContexts | None,
) -> None:
    runtime = AsyncioRuntime()
    server = make_server(application, settings, runtime, supervisor)
    with SignalActions(server, runtime, is_supervised=supervisor.channel() is not None):
        await server.serve(listeners, freeze_heap, tls)
