"""A server inside somebody else's program: what `hypercorn.asyncio.serve` and `hypercorn.trio.serve` share.

Nothing here touches the process: no fork, no signal handler, no current directory. Logging is set up only where
the program has not done so itself.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

from ..config.binds import Bind, BindKind
from ..config.config import Config
from ..config.settings import Settings
from ..config.sockets import Listener, Sockets, remove_socket_file, socket_url, start_listening
from . import logs
from .application import LoadedApplication, classify
from .logger_class import check_logger_class
from .runtime import Runtime
from .server import Server
from .supervision import DrainReason, Unsupervised
from .wrapping import make_server

logger = logging.getLogger("hypercorn.error")

#: Settings of processes that the program has not asked for.
_OF_WORKERS = ("workers", "worker_class")
#: What a cancelled server gets beyond `graceful_timeout` for its own end, in seconds.
_END_SECONDS = 1.0


class Embedded:
    """An application with open sockets, and, once there is a loop for it, its server.

    Args:
        application: what to serve.
        config: the number and class of workers have no effect.
        sockets: to serve instead of those that `config` names; they are closed at the end too.

    Raises:
        ConfigError: the configuration is not valid.
        LogConfigurationError: a log file cannot be opened, or a setting of the log is wrong.
        BindError: a bind cannot be opened. Whatever happens, nothing stays open.
    """

    def __init__(
        self, application: LoadedApplication, config: Config, sockets: Sockets | None = None
    ) -> None:
        self.application = application
        self.settings: Settings = config.resolve(without=_OF_WORKERS)
        self.has_started = False
        logs.configure(self.settings, is_guest=True)
        check_logger_class(self.settings)
        self._sockets = config.create_sockets() if sockets is None else sockets
        # Files of sockets that others made, or passed to us, are theirs.
        binds = (*self.settings.bind, *self.settings.insecure_bind) if sockets is None else ()
        own_paths = {bind.path for bind in binds if bind.kind is BindKind.UNIX}
        self._files = own_paths.intersection(map(_socket_file, _stream_sockets(self._sockets)))
        try:
            start_listening(self._sockets, self.settings.backlog)
            self.listeners = list(_listeners(self._sockets))
            #: Where it can be reached, with the ports that the kernel chose.
            self.urls = [socket_url(listener.sock, listener.secure) for listener in self.listeners]
        except BaseException:
            self.close()
            raise

    def make_server(self, runtime: Runtime) -> Server:
        """The server for this loop; once only."""
        return make_server(self.application, self.settings, runtime, Unsupervised())

    def started(self) -> None:
        """Connections are being accepted."""
        self.has_started = True
        for url in self.urls:
            logger.info("Running on %s (CTRL + C to quit)", url)

    @property
    def seconds_to_end(self) -> float:
        """What a cancelled server may take: applications to clean up, and the lifespan to shut down."""
        return min(self.settings.graceful_timeout, self.settings.shutdown_timeout) + _END_SECONDS

    def close(self) -> None:
        """Close the sockets, and remove the files of Unix sockets, but not those of others. Does not block."""
        for sock in _stream_sockets(self._sockets):
            sock.close()
        for path in self._files:
            with contextlib.suppress(OSError):  # a successor's by now
                remove_socket_file(path)
        for sock in self._sockets.quic_sockets:
            sock.close()


class Stopper:
    """Drains a server at the first call, gracefully; another call makes it quick."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._was_asked = False

    def __call__(self) -> None:
        self._server.drain(DrainReason.QUICK if self._was_asked else DrainReason.STOP)
        self._was_asked = True


def classify_for_serving(
    application: Callable[..., Any], config: Config, mode: Literal["asgi", "wsgi"] | None
) -> LoadedApplication:
    """What `serve` looks at before anything else; warns of what it ignores in the name of its caller.

    Raises:
        ApplicationError: `application` is neither ASGI nor WSGI.
    """
    for name, is_set in (("workers", config.workers != 1), ("debug", config.debug)):
        if is_set:
            warnings.warn(
                f"the setting {name} has no effect with serve: the process and its event loop are yours",
                Warning,
                stacklevel=3,
            )
    return classify(application, mode)


def _stream_sockets(sockets: Sockets) -> tuple[socket.socket, ...]:
    return (*sockets.secure_sockets, *sockets.insecure_sockets)


def _listeners(sockets: Sockets) -> Iterator[Listener]:
    keys = itertools.count()
    for group, secure in ((sockets.secure_sockets, True), (sockets.insecure_sockets, False)):
        for sock in group:
            bind = Bind(socket_url(sock, secure), BindKind.DESCRIPTOR, fd=sock.fileno())
            yield Listener(next(keys), sock, bind, secure, shared=False)


def _socket_file(sock: socket.socket) -> str | None:
    if sock.family != socket.AF_UNIX:
        return None
    name = sock.getsockname()
    return name if isinstance(name, str) and name else None
