"""Runs a worker on trio: the nursery, its signals, the server."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from ..config.settings import Settings
from ..config.sockets import Listener
from .application import LoadedApplication
from .boot import freeze_heap
from .signals import SignalActions
from .supervision import Supervisor
from .trio_driver import TrioRuntime
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
    trio.run(_serve, settings, listeners, supervisor, application, tls)


async def _serve(
    settings: Settings,
    listeners: Sequence[Listener],
    supervisor: Supervisor,
    application: LoadedApplication,
    tls: TLSContexts | None,
) -> None:
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        runtime = TrioRuntime(nursery)
        server = make_server(application, settings, runtime, supervisor)
        try:
            with SignalActions(server, runtime, is_supervised=supervisor.channel() is not None):
                await server.serve(listeners, freeze_heap, tls)
        except Exception as error:  # noqa: BLE001
            # Carried out of the nursery by hand, which would wrap it in a group.
            failure = error
        finally:
            # trio closes the socket that signals write to before it takes its number away. A signal that came between
            # would be an error on standard error, and a second one could wait for ever for the lock of the first.
            signal.set_wakeup_fd(-1)
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
