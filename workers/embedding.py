"""A server inside somebody else's program: what `hypercorn.asyncio.serve` and `hypercorn.trio.serve` share.

Nothing here touches the process: no fork, no signal handler, no current directory. Logging is set up only where
the program has not done so itself.
"""

from __future__ import annotations

import itertools
import logging
import socket
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ..config.binds import Bind, BindKind
from ..config.config import Config
from ..config.sockets import Listener, Sockets, remove_socket_file, socket_url
from . import logs
from .application import classify
from .runtime import Runtime
from .server import Server
from .supervision import Unsupervised
from .wrapping import make_server


@dataclass
class Embedded:
    """A server that is ready to `serve`, and the sockets that it owns."""

    server: Server
    listeners: list[Listener]
    sockets: Sockets

    @property
    def urls(self) -> list[str]:
        """Where it can be reached, with the ports that the kernel chose."""
        return [socket_url(listener.sock, listener.secure) for listener in self.listeners]

    def close(self) -> None:
        """Close the sockets, and remove the files of Unix sockets. Does not block."""
        paths = [_socket_file(listener.sock) for listener in self.listeners]
        for sock in (*(listener.sock for listener in self.listeners), *self.sockets.quic_sockets):
            sock.close()
        for path in filter(None, paths):
            remove_socket_file(path)


def embed(
    application: Callable[..., Any], config: Config, runtime: Runtime, mode: Literal["asgi", "wsgi"] | None
) -> Embedded:
    """Open the sockets of `config` and make a server for `application`.

    Raises:
        ConfigError: the configuration is not valid.
        BindError: a bind cannot be opened.
    """
    _warn_of_ignored(config)
    settings = config.resolve()
    if not logging.getLogger(logs.ERROR).handlers:
        logs.configure(settings)
    sockets = config.create_sockets()
    _prepare(sockets, settings.backlog)
    server = make_server(classify(application, mode), settings, runtime, Unsupervised())
    return Embedded(server, list(_listeners(sockets)), sockets)


def _prepare(sockets: Sockets, backlog: int) -> None:
    """`create_sockets` may be the user's own, and Hypercorn's gives inheritable sockets that do not listen yet."""
    for sock in (*sockets.secure_sockets, *sockets.insecure_sockets):
        sock.set_inheritable(False)
        sock.setblocking(False)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(backlog)


def _warn_of_ignored(config: Config) -> None:
    if config.workers != 1:
        warnings.warn(
            "workers has no effect with serve(): it is one server in your loop", Warning, stacklevel=4
        )
    if config.debug:
        warnings.warn("debug has no effect with serve(): the event loop is yours", Warning, stacklevel=4)


def _listeners(sockets: Sockets) -> Iterator[Listener]:
    keys = itertools.count()
    for group, secure in ((sockets.secure_sockets, True), (sockets.insecure_sockets, False)):
        for sock in group:
            bind = Bind(socket_url(sock, secure), BindKind.DESCRIPTOR, fd=sock.fileno())
            yield Listener(next(keys), sock, bind, secure, shared=False)


def _socket_file(sock: socket.socket) -> str | None:
    name = sock.getsockname()
    return name if sock.family == socket.AF_UNIX and isinstance(name, str) and name else None
