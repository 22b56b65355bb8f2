"""Makes the server for a loaded application, ASGI or WSGI."""

from __future__ import annotations

from ..config.settings import Settings
from .application import LoadedApplication
from .runtime import Runtime
from .server import Server
from .supervision import Supervisor


def make_server(
    application: LoadedApplication, settings: Settings, runtime: Runtime, supervisor: Supervisor
) -> Server:
    """A server for `application`, whatever it speaks."""
    if application.mode == "wsgi":
        from .wsgi import WSGIApplication

        wsgi = WSGIApplication(application.callable, settings, runtime)
        return Server(
            wsgi,
            settings,
            runtime,
            supervisor,
            with_lifespan=False,
            make_http_exchange=wsgi.make_exchange,
            ended=wsgi.close,
        )
    return Server(application.callable, settings, runtime, supervisor)
