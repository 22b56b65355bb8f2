"""One table of settings, its sources, binds and TLS contexts."""

if __name__ != "hypercorn.config":
    raise ImportError("import hypercorn.config, not config", name=__name__)

import socket as _socket
from time import time

from .binds import Bind, BindKind, parse_bind
from .config import Config, FilePath
from .errors import ConfigError, Mistake
from .settings import Settings, without_effect
from .sockets import BindError, Listener, Sockets, SocketTypeError

# Names that Hypercorn's module had.
BYTES = 1
OCTETS = 1
SECONDS = 1.0
SocketKind = _socket.SocketKind

__all__ = [
    "BYTES",
    "OCTETS",
    "SECONDS",
    "Bind",
    "BindError",
    "BindKind",
    "Config",
    "ConfigError",
    "FilePath",
    "Listener",
    "Mistake",
    "Settings",
    "SocketKind",
    "SocketTypeError",
    "Sockets",
    "parse_bind",
    "time",
    "without_effect",
]
