"""WebSocket (RFC 6455, RFC 7692, RFC 8441) on the raw tunnel of one stream, the same over HTTP/1.1 and HTTP/2.

`handshake` decides about a request, `WebSocketSession` is what follows. Neither knows the stream it runs on.
Importing this package imports wsproto, so it is imported when the first WebSocket is asked for.
"""

from __future__ import annotations

from .frames import Close
from .handshake import Accepted, Handshake, Refusal, accept, read_handshake
from .session import WebSocketSession
from .state import SessionParameters

__all__ = [
    "Accepted",
    "Close",
    "Handshake",
    "Refusal",
    "SessionParameters",
    "WebSocketSession",
    "accept",
    "read_handshake",
]
