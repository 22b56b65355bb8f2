"""One ASGI WebSocket: the application's call, the handshake and its refusal; the same for every loop and protocol.

What happens while the WebSocket is open is `WebSocketTunnel`'s (`websocket_tunnel.py`).

It is imported when the first WebSocket is asked for: wsproto comes with it.
"""

from __future__ import annotations

import enum
import logging
from operator import index
from time import monotonic
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote_to_bytes

from ..protocols.engine import LocalProtocolError
from ..protocols.websocket import (
    Handshake,
    Refusal,
    SessionParameters,
    WebSocketSession,
    accept,
    read_handshake,
)
from .connection import PIECE_COST, TURN_SIZE
from .errors import ClientDisconnected, UnexpectedMessageError, as_bytes, as_fields, is_departure, is_failure
from .websocket_tunnel import INTERNAL_ERROR, NORMAL, Message, WebSocketTunnel

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..protocols.engine import MultiplexedEngine
    from ..protocols.events import Fields, Request
    from .connection import Connection
    from .runtime import Task

logger = logging.getLogger("hypercorn.error")


class State(enum.Enum):
    """What the application may send next."""

    HANDSHAKE = "before the WebSocket is accepted"
    OPEN = "after the WebSocket was accepted"
    DENIAL = "while a denial response is sent"


_ACCEPTED = State.OPEN


def session_parameters(settings: Settings) -> SessionParameters:
    """The figures of a session, from the configuration."""
    return SessionParameters(
        max_message_size=settings.websocket_max_message_size,
        max_queued_messages=max(1, settings.max_app_queue_size),
        ping_interval=settings.websocket_ping_interval,
        ping_timeout=settings.websocket_ping_timeout,
    )


class WebSocketExchange(WebSocketTunnel):
    """Runs the application for one WebSocket; an `exchange.Exchange`."""

    __slots__ = ("_handshake", "_state", "task")

    def __init__(self, connection: Connection, request: Request) -> None:
        super().__init__(connection, request)
        self._state = State.HANDSHAKE
        self._handshake: Handshake | None = None
        self.task: Task | None = None

    # ---- the application's call

    def start(self) -> None:
        """Call the application in a task."""
        self.task = self._connection.runtime.spawn(self.run)

    async def run(self) -> None:
        """Answer a bad handshake, or call the application and finish the exchange whatever it does."""
        server = self._connection.server
        try:
            handshake = read_handshake(self.request)
            if isinstance(handshake, Refusal):
                logger.debug("WebSocket handshake refused with %d: %s", handshake.status, handshake.reason)
                self._answer(handshake.status, handshake.fields)
                return
            self._handshake = handshake
            await server.application(self._scope(handshake), self.receive, self.send)
        except BaseException as error:
            # A border: the application may raise anything, and call sys.exit() too.
            if not is_failure(error, self._connection.runtime.cancellation()):
                raise
            self._application_failed(error)
        else:
            self._application_returned()
        finally:
            # Also when cancelled: the peer must learn that nobody is there any more.
            self._leave(self._drain_code or INTERNAL_ERROR)
            if self.request.http_version == "2":
                if self._connection.websockets is not None:
                    self._connection.websockets.discard(self)
                engine = cast("MultiplexedEngine", self._connection.engine)
                engine.exchange_ended(self._stream_id, monotonic())
                if engine.events:  # a request that has waited for this
                    self._connection.flush_soon()
            server.exchange_ended(self)

    def _scope(self, handshake: Handshake) -> Message:
        request = self.request
        connection = self._connection
        server = connection.server
        extensions: Message = {"websocket.http.response": {}}
        if connection.tls is not None:
            extensions["tls"] = connection.tls.tls_info()
        return {
            "type": "websocket",
            "asgi": {"spec_version": "2.5", "version": "3.0"},
            "http_version": request.http_version,
            "scheme": "wss" if connection.scheme == "https" else "ws",
            "path": unquote_to_bytes(request.raw_path).decode("utf-8", "replace"),
            "raw_path": request.raw_path,
            "query_string": request.query,
            "root_path": server.root_path,
            "headers": request.fields,
            "client": connection.client,
            "server": connection.local,
            "subprotocols": list(handshake.subprotocols),
            "state": server.state.copy(),
            "extensions": extensions,
        }

    def _application_failed(self, error: BaseException) -> None:
        if is_departure(error) and not self._is_sendable:
            return
        logger.error("Error in the application: %s", self._name, exc_info=error)
        self._connection.server.count_error()
        self._leave(INTERNAL_ERROR)

    def _application_returned(self) -> None:
        """A return while the WebSocket is open closes it normally; before an answer it is a fault."""
        if self._state is not State.OPEN and not self.is_closed and not self.is_refused:
            logger.error("The application returned without answering the handshake: %s", self._name)
            self._connection.server.count_error()
            self._leave(INTERNAL_ERROR)
        else:
            self._leave(self._drain_code or NORMAL)

    @property
    def _name(self) -> str:
        return f"WebSocket {self.request.raw_path.decode('latin-1')}"

    @property
    def _is_sendable(self) -> bool:
        """Whether the application could still send something."""
        if self.is_closed or self.is_refused:
            return False
        return self._session is None or self._session.state.can_send

    def _leave(self, code: int) -> None:
        """Bring the exchange to an end that the peer notices, in whatever state it is."""
        if self.is_closed or self.is_refused:
            return
        now = monotonic()
        if self._session is not None:
            self._session.close(code, "", now)
            self._pump(now)
            self._connection.settle(now)
        elif self._state is State.DENIAL:
            if self._connection.engine.reset_stream(self._stream_id, now):
                self.status = 500
                self.response_fields = []
            self._over(now)
        else:
            self._answer(500, [])

    def _answer(self, status: int, fields: Fields) -> None:
        """Answer the handshake without the application's help."""
        now = monotonic()
        engine = self._connection.engine
        self.status = status
        engine.send_head(self._stream_id, status, fields, now)
        engine.send_data(self._stream_id, b"", True, now)
        self._over(now)

    # ---- send()

    async def send(self, message: Message) -> None:
        """The ASGI `send` callable.

        Raises:
            ClientDisconnected: the WebSocket is closed, by whomever (an `OSError`, as ASGI asks for).
            UnexpectedMessageError: the message is not possible now.
            LocalProtocolError: the message would break the protocol.
        """
        try:
            kind = message["type"]
        except (KeyError, TypeError) as error:
            raise LocalProtocolError("the application sent a message without a type") from error
        state = self._state
        if state is _ACCEPTED:
            if kind == "websocket.send":
                self._turn_ends -= PIECE_COST
                if self._send_message(message):
                    await self._wait_writable()
                elif self.bytes_sent >= self._turn_ends:
                    self._turn_ends = self.bytes_sent + TURN_SIZE
                    await self._connection.runtime.sleep(0)
            elif kind == "websocket.close":
                self._close(message)
            else:
                raise UnexpectedMessageError(state, kind)
        elif self.is_closed or self.is_refused:
            raise ClientDisconnected
        elif state is State.DENIAL:
            await self._send_denial_body(kind, message)
        elif kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._answer(403, [])
        elif kind == "websocket.http.response.start":
            self._send_denial_head(message)
        else:
            raise UnexpectedMessageError(state, kind)

    def _accept(self, message: Message) -> None:
        connection = self._connection
        settings = connection.server.settings
        assert self._handshake is not None  # set before the application was called
        fields = as_fields(message.get("headers") or (), "the headers of websocket.accept")
        accepted = accept(
            self._handshake,
            message.get("subprotocol"),
            fields,
            per_message_deflate=settings.websocket_per_message_deflate,
        )
        now = monotonic()
        connection.engine.send_head(self._stream_id, accepted.status, accepted.fields, now)
        self.status = accepted.status
        self.response_fields = accepted.fields
        self._state = State.OPEN
        parameters = session_parameters(settings)
        self._begin(WebSocketSession(parameters, accepted.deflate, now), now)

    def _send_denial_head(self, message: Message) -> None:
        try:
            status = index(message["status"])
        except (KeyError, TypeError) as error:
            raise LocalProtocolError(
                "a number is wanted as the status of websocket.http.response.start"
            ) from error
        fields = as_fields(message.get("headers") or (), "the headers of websocket.http.response.start")
        if status == 101 or (self.request.http_version == "2" and status < 300):
            raise LocalProtocolError(f"the status {status} would accept the WebSocket")
        connection = self._connection
        connection.engine.send_head(self._stream_id, status, fields, monotonic())
        self.status = status
        self.response_fields = fields
        self._state = State.DENIAL
        connection.flush_soon()

    async def _send_denial_body(self, kind: str, message: Message) -> None:
        if kind != "websocket.http.response.body":
            raise UnexpectedMessageError(self._state, kind)
        body = as_bytes(message.get("body", b""), "the body of websocket.http.response.body")
        ended = not message.get("more_body", False)
        connection = self._connection
        now = monotonic()
        connection.engine.send_data(self._stream_id, body, ended, now)
        self.bytes_sent += len(body)
        if ended:
            self._over(now)
            return
        connection.settle(now)
        if not self._may_send():
            await self._wait_writable()

    # ---- from the connection

    def cancel(self, *, is_fault: bool = False) -> None:
        """Stop the application's call; the peer is told."""
        if self.task is not None:
            self.task.cancel()
