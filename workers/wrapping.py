"""Makes the server for a loaded application: ASGI as it is, WSGI behind its adapter."""

from __future__ import annotations

from ..config.settings import Settings
from .application import LoadedApplication
from .runtime import Runtime
from .server import Server
from .supervision import Supervisor


def make_server(
    application: LoadedApplication, settings: Settings, runtime: Runtime, supervisor: Supervisor
) -> Server:
    """A server that speaks ASGI inwards, whatever the application speaks."""
    if application.mode == "wsgi":
        from .wsgi import WSGIApplication

        adapter = WSGIApplication(application.callable, settings, runtime)
        return Server(adapter, settings, runtime, supervisor, with_lifespan=False, ended=adapter.close)
    return Server(application.callable, settings, runtime, supervisor)
