"""What a connection needs of those that it serves: an exchange per request, a tunnel after an upgrade.

Only what is asked of them stands here. `asgi_http.py`, `asgi_websocket.py` and `wsgi.py` have the exchanges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .supervision import DrainReason

if TYPE_CHECKING:
    from .runtime import Task


class Exchange(Protocol):
    """One call of the application, as its connection sees it. See `asgi_http.py`, `asgi_websocket.py`, `wsgi.py`."""

    #: What runs the call, where that is a task of the loop; kept because a loop may hold only a weak reference.
    task: Task | None
    #: When `handle_deadline` wants to be called, or `NEVER`.
    deadline: float
    #: Status code of the response, 0 if none was sent.
    status: int

    def start(self) -> None:
        """Begin to call the application; the exchange is finished whatever that does."""
        ...

    def data_received(self, data: bytes, end_stream: bool) -> None: ...

    def trailers_received(self, fields: list[tuple[bytes, bytes]]) -> None: ...

    def peer_left(self) -> None:
        """The peer will send nothing more, and is probably gone: tell the application if it listens."""
        ...

    def closed(self) -> None:
        """Nothing can be sent on this exchange any more."""
        ...

    def writable(self) -> None:
        """What was sent has (nearly) gone out: sending may go on."""
        ...

    def handle_deadline(self, now: float) -> None: ...

    def drain(self, reason: DrainReason) -> None:
        """The server is about to stop."""
        ...

    def cancel(self, *, is_fault: bool = False) -> None:
        """Stop the application's call: since the server stops, or, with `is_fault`, for a fault of the server's own."""
        ...


class Tunnel(Protocol):
    """What an accepted HTTP/1.1 upgrade leads to: the whole connection is one exchange's, and bytes are just bytes."""

    def receive_plain(self, data: bytes) -> bool:
        """Take what was read past the engine if nothing is to be done about it there. False: not this time."""
        ...
