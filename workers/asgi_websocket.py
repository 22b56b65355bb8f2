"""One ASGI WebSocket: the handshake, the messages, the end; the same for every loop, over HTTP/1.1 and HTTP/2.

The session (`protocols/websocket/`) knows the rules and bounds memory. This class moves bytes between it and
the engine's stream, and messages between it and the application:

    engine stream  ->  data_received  ->  session  ->  receive()
    engine stream  <-  _pump          <-  session  <-  send()

Back-pressure. The session stops reading when the application does not receive; what it has not read is not
consumed, so the peer's window closes. Output leaves the session only while the stream takes it; `send()`
waits until then.

It is imported when the first WebSocket is asked for: wsproto comes with it.
"""

from __future__ import annotations

import enum
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote_to_bytes

from ..protocols.engine import NEVER, Closing, LocalProtocolError
from ..protocols.websocket import (
    Close,
    Handshake,
    Refusal,
    SessionParameters,
    WebSocketSession,
    accept,
    read_handshake,
)
from .connection import FLUSH_SIZE
from .errors import ClientDisconnected, UnexpectedMessageError, is_departure, is_failure
from .supervision import DrainReason

if TYPE_CHECKING:
    from ..config.settings import Settings
    from ..protocols.engine import MultiplexedEngine
    from ..protocols.events import Fields, Request
    from .connection import Connection
    from .runtime import Event, Task

logger = logging.getLogger("hypercorn.error")

Message = dict[str, Any]

#: Read for every message: a global costs less than an enumeration's attribute.
_OPEN = Closing.OPEN

#: Close codes of RFC 6455 §7.4.1 and the IANA registry that this class chooses itself.
NORMAL = 1000
GOING_AWAY = 1001
NO_CODE = 1005
ABNORMAL = 1006
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012


class State(enum.Enum):
    """What the application may send next."""

    HANDSHAKE = "before the WebSocket is accepted"
    OPEN = "after the WebSocket was accepted"
    DENIAL = "while a denial response is sent"
    OVER = "after the handshake was refused"


_ACCEPTED = State.OPEN


def session_parameters(settings: Settings) -> SessionParameters:
    """The figures of a session, from the configuration."""
    return SessionParameters(
        max_message_size=settings.websocket_max_message_size,
        max_queued_messages=max(1, settings.max_app_queue_size),
        ping_interval=settings.websocket_ping_interval,
        ping_timeout=settings.websocket_ping_timeout,
    )


class WebSocketExchange:
    """Runs the application for one WebSocket.

    Attributes:
        status: the status code of the answer to the handshake, 0 before.
        response_fields: the fields that the application sent with it.
        bytes_sent: bytes of frames, or of a denial response's content.
        close_code: for the access log: None at the handshake, at the end the code that ended the WebSocket.
    """

    __slots__ = (
        "_connection",
        "_disconnect",
        "_drain_code",
        "_early",
        "_handshake",
        "_has_connected",
        "_is_replying",
        "_peer_left",
        "_receive_event",
        "_send_event",
        "_session",
        "_state",
        "_stream_id",
        "bytes_sent",
        "close_code",
        "deadline",
        "is_closed",
        "request",
        "response_fields",
        "started_at",
        "status",
        "task",
    )

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self.request = request
        self._stream_id = request.stream_id
        self._state = State.HANDSHAKE
        self._handshake: Handshake | None = None
        self._session: WebSocketSession | None = None
        #: What came before the handshake was answered; the window bounds it, since it is not consumed.
        self._early: list[bytes] = []
        self._has_connected = False
        #: The application has not sent anything since it had the last message that was there.
        self._is_replying = False
        self._disconnect: Message | None = None
        self._drain_code = 0
        self._peer_left = False
        self._receive_event: Event | None = None
        self._send_event: Event | None = None
        self.is_closed = False
        self.bytes_sent = 0
        self.close_code: int | None = None
        self.deadline = NEVER
        self.response_fields: Fields = []
        self.started_at = monotonic()
        self.status = 0
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
            if not is_failure(error, self._connection.runtime.cancelled):
                raise
            self._application_failed(error)
        else:
            self._application_returned()
        finally:
            # Also when cancelled: the peer must learn that nobody is there any more.
            self._leave(self._drain_code or INTERNAL_ERROR)
            if self.request.http_version == "2":
                cast("MultiplexedEngine", self._connection.engine).exchange_ended(self._stream_id)
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
        if self._state in (State.HANDSHAKE, State.DENIAL) and not self.is_closed:
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
        if self.is_closed or self._state is State.OVER:
            return False
        return self._session is None or self._session.is_open

    def _leave(self, code: int) -> None:
        """Bring the exchange to an end that the peer notices, in whatever state it is."""
        if self.is_closed or self._state is State.OVER:
            return
        now = monotonic()
        if self._session is not None:
            self._session.close(code, "", now)
            self._pump(now)
            self._connection.settle(now)
        elif self._state is State.DENIAL:
            self._connection.engine.reset_stream(self._stream_id, now)
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

    def _over(self, now: float) -> None:
        """Nothing is sent or received on the stream from here on."""
        if self._state is State.OVER or self.is_closed:
            return
        session = self._session
        if session is None:
            self._state = State.OVER
        else:
            self.is_closed = True
            self.close_code = session.ended.code if session.ended is not None else ABNORMAL
        self.deadline = NEVER
        connection = self._connection
        connection.exchange_over(self._stream_id)
        connection.server.log_exchange(connection, self, now)
        self._wake_receiver()
        self._wake_senders()
        connection.settle(now)

    # ---- receive()

    async def receive(self) -> Message:
        """The ASGI `receive` callable."""
        if not self._has_connected:
            self._has_connected = True
            return {"type": "websocket.connect"}
        while True:
            if self._disconnect is not None:
                return self._disconnect
            session = self._session
            if session is not None:
                now = monotonic()
                message = session.next_message(now)
                self._is_replying = not session.has_more
                if session.taken or session.unsent or session.closing is not _OPEN:
                    # It went on reading.
                    self._pump(now)
                    self._connection.flush_soon()
                if message is not None:
                    return self._as_event(message)
            elif self.is_closed or self._peer_left or self._state is State.OVER:
                return self._as_event(Close(ABNORMAL, ""))
            event = self._receive_event
            if event is None:
                event = self._receive_event = self._connection.runtime.make_event()
            await event.wait()

    def _as_event(self, message: str | bytes | Close) -> Message:
        if type(message) is bytes:
            return {"type": "websocket.receive", "bytes": message, "text": None}
        if type(message) is str:
            return {"type": "websocket.receive", "bytes": None, "text": message}
        assert isinstance(message, Close)  # nothing else is left
        self._disconnect = {"type": "websocket.disconnect", "code": message.code, "reason": message.reason}
        return self._disconnect

    def _wake_receiver(self) -> None:
        if (event := self._receive_event) is not None:
            self._receive_event = None
            event.set()

    # ---- send()

    async def send(self, message: Message) -> None:
        """The ASGI `send` callable.

        Raises:
            ClientDisconnected: the WebSocket is closed, by whomever (an `OSError`, as ASGI asks for).
            UnexpectedMessageError: the message is not possible now.
            LocalProtocolError: the message would break the protocol.
        """
        kind = message["type"]
        state = self._state
        if state is _ACCEPTED:
            if kind == "websocket.send":
                if self._send_message(message):
                    await self._wait_writable()
            elif kind == "websocket.close":
                self._close(message)
            else:
                raise UnexpectedMessageError(state, kind)
        elif self.is_closed or state is State.OVER:
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
        fields = list(message.get("headers") or ())
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
        session = self._session = WebSocketSession(session_parameters(settings), accepted.deflate, now)
        if self.request.http_version != "2":
            connection.tunnel = self
        connection.server.log_exchange(connection, self, now)
        early, self._early = self._early, []
        for data in early:
            session.receive_data(data, now)
        if self._peer_left:
            session.receive_eof(now)
        if self._drain_code:
            session.close(self._drain_code, "", now, tell=True)
        self._pump(now)
        connection.flush_soon()

    def _send_message(self, message: Message) -> bool:
        """Give a message to the stream; True when it has not gone out and the sender must wait."""
        session = self._session
        assert session is not None  # in this state
        if self.is_closed or not session.is_open:
            raise ClientDisconnected
        data = message.get("text")
        if data is None:
            data = message.get("bytes")
            if data is None:
                raise LocalProtocolError("a websocket.send message has neither text nor bytes")
            if type(data) is not bytes:
                data = bytes(data)
        elif not isinstance(data, str):
            raise LocalProtocolError("the text of a websocket.send message is not a string")
        frame = session.encode(data)
        connection = self._connection
        if self._is_replying:
            # The peer probably waits for just this. What is sent next has to wait for the end of the turn.
            self._is_replying = False
            if connection.tunnel is self and not session.unsent and connection.send_at_once(frame):
                self.bytes_sent += len(frame)
                return connection.is_blocked or self.is_closed
        session.send_frame(frame)
        now = monotonic()
        self._pump(now)
        if connection.unflushed >= FLUSH_SIZE:
            connection.settle(now)
        else:
            connection.flush_soon()
        if session.unsent or connection.is_blocked:
            return True
        return not connection.engine.can_send(self._stream_id)

    def _close(self, message: Message) -> None:
        session = self._session
        assert session is not None  # in this state
        code = message.get("code")
        now = monotonic()
        session.close(NORMAL if code is None else int(code), message.get("reason") or "", now)
        self._pump(now)
        self._connection.flush_soon()

    def _send_denial_head(self, message: Message) -> None:
        status = int(message["status"])
        if self.request.http_version == "2" and status < 300:
            raise LocalProtocolError(f"over HTTP/2 the status {status} would accept the WebSocket")
        fields = [(bytes(name), bytes(value)) for name, value in message.get("headers") or ()]
        connection = self._connection
        connection.engine.send_head(self._stream_id, status, fields, monotonic())
        self.status = status
        self.response_fields = fields
        self._state = State.DENIAL
        connection.flush_soon()

    async def _send_denial_body(self, kind: str, message: Message) -> None:
        if kind != "websocket.http.response.body":
            raise UnexpectedMessageError(self._state, kind)
        body = bytes(message.get("body", b""))
        ended = not message.get("more_body", False)
        connection = self._connection
        now = monotonic()
        connection.engine.send_data(self._stream_id, body, ended, now)
        self.bytes_sent += len(body)
        if ended:
            self._over(now)
            return
        connection.settle(now)
        if connection.is_blocked or not connection.engine.can_send(self._stream_id):
            await self._wait_writable()

    async def _wait_writable(self) -> None:
        connection = self._connection
        while not self.is_closed:
            held = self._session is not None and self._session.unsent
            if not held and not connection.is_blocked and connection.engine.can_send(self._stream_id):
                return
            event = self._send_event
            if event is None:
                event = self._send_event = connection.make_event()
            await event.wait()
        raise ClientDisconnected

    def _wake_senders(self) -> None:
        if (event := self._send_event) is not None:
            self._send_event = None
            event.set()

    # ---- between the session and the stream

    def _pump(self, now: float) -> None:
        """Move what the session has ready to the stream, tell the engine what was read, obey its end."""
        session = self._session
        if session is None or self.is_closed:
            return
        connection = self._connection
        engine = connection.engine
        stream_id = self._stream_id
        while session.unsent and not connection.is_blocked and engine.can_send(stream_id):
            data = session.data_to_send(now)
            engine.send_data(stream_id, data, False, now)
            self.bytes_sent += len(data)
            connection.unflushed += len(data)
        if session.taken:
            engine.consume(stream_id, session.taken, now)
            session.taken = 0
        self.deadline = session.deadline
        if session.closing is not _OPEN:
            self._end_stream(session, now)

    def _end_stream(self, session: WebSocketSession, now: float) -> None:
        """Do with the stream what the session says, once its last output is out."""
        engine = self._connection.engine
        if session.closing is Closing.ABORT:
            engine.reset_stream(self._stream_id, now)
        elif session.unsent:
            return
        else:
            engine.send_data(self._stream_id, b"", True, now)
        self._over(now)

    # ---- from the connection

    def receive_plain(self, data: bytes) -> bool:
        """Take a read of an HTTP/1.1 connection past the engine; see `connection.Tunnel`."""
        session = self._session
        if session is None or not session.receive_plain(data):
            return False
        if (event := self._receive_event) is not None and session.has_more:
            self._receive_event = None
            event.set()
        return True

    def data_received(self, data: bytes, end_stream: bool) -> None:
        """A piece of the tunnel has arrived."""
        session = self._session
        if session is None:
            if data:
                self._early.append(data)
            if end_stream:
                self.peer_left()
            return
        now = monotonic()
        if data:
            session.receive_data(data, now)
        if end_stream:
            session.receive_eof(now)
        if session.unsent or session.closing is not _OPEN:
            self._pump(now)
        elif session.taken:
            self._connection.engine.consume(self._stream_id, session.taken, now)
            session.taken = 0
        self.deadline = session.deadline
        if (event := self._receive_event) is not None:
            self._receive_event = None
            event.set()

    def trailers_received(self, fields: Fields) -> None:
        """A tunnel has no trailers; where a peer sends some, its side has ended."""
        self.data_received(b"", True)

    def peer_left(self) -> None:
        """The peer has closed its side. Without a Close frame that is the end (RFC 6455 §7.1.5: 1006)."""
        self._peer_left = True
        if self._session is not None:
            now = monotonic()
            self._session.receive_eof(now)
            self._pump(now)
        self._wake_receiver()

    def closed(self) -> None:
        """The stream is gone; what was received before can still be read."""
        if self.is_closed or self._state is State.OVER:
            return
        now = monotonic()
        if self._session is None:
            self.is_closed = True
            self._connection.exchange_over(self._stream_id)
            self._connection.server.log_exchange(self._connection, self, now)
            self._wake_receiver()
            self._wake_senders()
        else:
            self._session.receive_eof(now)
            self._over(now)

    def writable(self) -> None:
        """Output has drained."""
        self._pump(monotonic())
        self._wake_senders()

    def handle_deadline(self, now: float) -> None:
        """A ping is due, or the peer has not answered in time."""
        if self._session is not None:
            self._session.handle_deadline(now)
            self._pump(now)
            self._wake_receiver()

    def drain(self, reason: DrainReason) -> None:
        """The server is about to stop: peer and application are told, the application gets time to finish."""
        self._drain_code = SERVICE_RESTART if reason is DrainReason.REPLACE else GOING_AWAY
        session = self._session
        if session is not None and not self.is_closed:
            now = monotonic()
            session.close(self._drain_code, "", now, tell=True)
            self._pump(now)
            self._wake_receiver()

    def cancel(self) -> None:
        """Stop the application's call; the peer is told."""
        if self.task is not None:
            self.task.cancel()
