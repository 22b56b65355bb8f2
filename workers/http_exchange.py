"""What every HTTP exchange is, whatever interface its application speaks: how a response begins, ends and fails.

`asgi_http.py` and `wsgi.py` add the application's side. It refuses to wait for anything: who sends looks at
`Connection.is_blocked` and the engine's `can_send` and is told by `writable()` when sending may go on.
"""

from __future__ import annotations

import enum
import logging
from time import monotonic
from typing import TYPE_CHECKING, cast

from ..protocols.engine import NEVER
from ..protocols.events import Fields, Request
from .connection import FLUSH_SIZE
from .errors import ClientDisconnected, is_departure
from .supervision import DrainReason

if TYPE_CHECKING:
    from ..protocols.engine import MultiplexedEngine, PlainEngine
    from .connection import Connection
    from .file_part import FilePart

logger = logging.getLogger("hypercorn.error")


class State(enum.Enum):
    """What the application may send next."""

    HEAD = "before the response has started"
    BODY = "while the response body is sent"
    FILE = "while a file is sent as the response body"
    TRAILERS = "after the response body, before its trailers"
    COMPLETE = "after the response is complete"


#: A response is held to the end of the loop's turn, to be written together with those of its siblings, when the
#: connection was settled so recently: where applications take longer, each response goes out by itself.
HELD_SECONDS = 0.0005

# Looking a member up in its class costs a hundred nanoseconds on CPython 3.11.
HEAD, BODY, FILE, TRAILERS, COMPLETE = State


class HTTPExchange:
    """One request and its response.

    Attributes:
        status: the status code that was sent, 0 before.
        response_fields: the fields the application sent with it.
        bytes_sent: bytes of content, without head and framing.
        is_closed: nothing more can be sent, and the response is not complete.
    """

    __slots__ = (
        "_connection",
        "_file",
        "_is_cancelled",
        "_multiplexed",
        "_state",
        "_stream_id",
        "bytes_sent",
        "is_closed",
        "request",
        "response_fields",
        "started_at",
        "status",
    )

    #: An HTTP exchange has no deadline of its own.
    deadline = NEVER
    #: For the access log, where WebSockets have one.
    close_code = None

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        #: The engine if its exchanges run side by side.
        self._multiplexed: MultiplexedEngine | None = None
        if request.http_version == "2":
            self._multiplexed = cast("MultiplexedEngine", connection.engine)
        self.request = request
        self._stream_id = request.stream_id
        self._state = HEAD
        #: What the connection sends at present by itself.
        self._file: FilePart | None = None
        #: The server has stopped the application.
        self._is_cancelled = False
        self.is_closed = False
        self.bytes_sent: int = 0
        self.response_fields: Fields = []
        self.started_at = monotonic()
        self.status = 0

    @property
    def _description(self) -> str:
        return f"{self.request.method} {self.request.raw_path.decode('latin-1')}"

    # ---- the response

    def _begin_response(self, status: int, fields: Fields, now: float) -> None:
        """Send the head. Raises LocalProtocolError."""
        self._connection.engine.send_head(self._stream_id, status, fields, now)
        self.status = status
        self.response_fields = fields
        self._state = BODY

    def _may_send(self) -> bool:
        """More content may be given now: it goes out, or is what the peer's order of its streams chooses from."""
        connection = self._connection
        may_wait = not connection.is_blocked or connection.is_ranked
        return may_wait and connection.engine.can_send(self._stream_id)

    def _can_send_files(self) -> bool:
        """Whether `_begin_file` may be possible, as far as the connection goes."""
        return self._multiplexed is None and self._connection.tls is None

    def _begin_file(self, file: FilePart) -> bool:
        """Let the connection send `file` from the descriptor; it may be all gone at once.

        Returns False, and nothing has happened, where content does not stand on the wire as it is.
        """
        connection = self._connection
        if not self._can_send_files():
            return False
        if not cast("PlainEngine", connection.engine).leave_content(self._stream_id, file.size):
            return False
        self._file = file
        connection.send_file(file)
        return True

    def _end_file(self) -> None:
        """Give the file back, sent or not."""
        if (file := self._file) is not None:
            self._file = None
            self.bytes_sent += file.sent
            if file.left:
                self._connection.give_up_file()
            file.close()

    def _complete(self, now: float) -> None:
        self._state = COMPLETE
        connection = self._connection
        connection.exchange_over(self._stream_id)
        connection.server.log_exchange(connection, self, now)
        self._response_over()
        if connection.unflushed >= FLUSH_SIZE:
            self._flush_much(now)
        elif (
            self._multiplexed is not None
            and connection.exchanges
            and now - connection.settled_at < HELD_SECONDS
        ):
            connection.flush_soon()
        else:
            connection.settle(now)

    def _flush_much(self, now: float) -> None:
        """Write what has gathered; if the peer ranks its streams, when all who speak in this turn have spoken."""
        connection = self._connection
        others = len(connection.exchanges) - (self._state is not COMPLETE)
        if others and connection.engine.ranks_streams:
            connection.flush_soon()
        else:
            connection.settle(now)

    def _response_over(self) -> None:
        """The response is complete, or can never be: wake what waits."""

    # ---- failures

    def _application_failed(self, error: BaseException | None) -> None:
        """The application raised, or returned without a complete response (`error` is None)."""
        if self.is_closed and (error is None or is_departure(error)):
            self._application_gave_up(error)
            return
        if error is not None:
            logger.error("Error in the application: %s", self._description, exc_info=error)
        else:
            logger.error("The application returned without completing its response: %s", self._description)
        self._connection.server.count_error()
        if self.is_closed or self._state is COMPLETE:
            return
        if self._state is HEAD:
            self._answer(500)
        else:
            self._cut()

    def _application_gave_up(self, error: BaseException | None) -> None:
        """The application has ended because its client is gone: no failure."""
        if error is not None and not isinstance(error, ClientDisconnected):
            # It may hide a mistake of the application after all.
            logger.info("The client has left: %s (%r)", self._description, error)

    def _answer(self, status: int) -> None:
        """Answer without content instead of the application, and end the connection: what the client has sent
        may not have been read."""
        now = monotonic()
        self.status = status
        self.response_fields = []
        engine = self._connection.engine
        engine.send_head(self._stream_id, status, [(b"connection", b"close")], now)
        engine.send_data(self._stream_id, b"", True, now)
        self._complete(now)

    def _cut(self) -> None:
        connection = self._connection
        now = monotonic()
        if self._is_cancelled and self._multiplexed is not None:
            self._multiplexed.cancel_stream(self._stream_id, now)
        elif connection.engine.reset_stream(self._stream_id, now):
            self.status = 500
            self.response_fields = []
            self.bytes_sent = 0
        self._over()
        connection.settle(now)

    def _call_over(self) -> None:
        """The application's call has ended or is given up; a response that nobody will finish must not look
        finished."""
        if self._state is not COMPLETE and not self.is_closed:
            # Where the server did it, it has said of how many.
            level = logging.INFO if self._is_cancelled else logging.ERROR
            logger.log(
                level, "The application was stopped before its response was complete: %s", self._description
            )
            if self._is_cancelled and self._state is HEAD:
                self._answer(503)  # the server stops: the client, or its proxy, may ask another
            else:
                self._cut()
        if self._multiplexed is not None:
            self._multiplexed.exchange_ended(self._stream_id, monotonic())
            if self._multiplexed.events:  # a request that has waited for this
                self._connection.flush_soon()

    def _over(self) -> None:
        self.is_closed = True
        self._end_file()
        connection = self._connection
        connection.exchange_over(self._stream_id)
        connection.server.log_exchange(connection, self, monotonic())
        self._response_over()

    # ---- from the connection

    def closed(self) -> None:
        """The stream is gone before the response was complete."""
        if not self.is_closed and self._state is not COMPLETE:
            self._over()

    def handle_deadline(self, now: float) -> None:
        """An HTTP exchange has no deadline of its own."""

    def drain(self, reason: DrainReason) -> None:
        """A response in progress is finished; the engine closes the connection after it."""
