"""A WebSocket of an application: between the session and the engine's stream, over HTTP/1.1 and HTTP/2, on every loop.

The session (`protocols/websocket/`) knows the rules and bounds memory. `WebSocketTunnel` moves bytes between it and the
engine's stream, and messages between it and the application:

    engine stream  ->  data_received, receive_plain  ->  session  ->  receive()
    engine stream  <-  _pump                         <-  session  <-  _send_message

Back-pressure. The session stops reading when the application does not receive; what it has not read is not consumed, so
the peer's window closes. Output leaves the session only while the stream takes it; the sender waits until then.

It refuses to do: anything with the handshake, its refusal, and the application's call; `asgi_websocket.py` adds those.
"""

from __future__ import annotations

from operator import attrgetter
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..protocols.engine import NEVER, Closing, LocalProtocolError
from ..protocols.websocket import Close, WebSocketSession
from .connection import FLUSH_SIZE, TURN_SIZE
from .errors import ClientDisconnected, as_bytes
from .supervision import DrainReason

if TYPE_CHECKING:
    from ..protocols.events import Fields, Request
    from .connection import Connection
    from .runtime import Signal

Message = dict[str, Any]

#: Read for every message: a global costs less than an enumeration's attribute.
_OPEN = Closing.OPEN

#: What a WebSocket may hold of messages without a look at what others of its connection hold.
_LARGE_HELD_SIZE = 65536

#: Close codes of RFC 6455 §7.4.1 and the IANA registry that are chosen here.
NORMAL = 1000
GOING_AWAY = 1001
ABNORMAL = 1006
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012


class WebSocketTunnel:
    """One WebSocket from its request to its end, without the application's call.

    Attributes:
        session: what follows the handshake; None before the application has accepted.
        status: the status code of the answer to the handshake, 0 before.
        response_fields: the fields that the application sent with it.
        bytes_sent: bytes of frames, or of a denial response's content.
        close_code: for the access log: None at the handshake, at the end the code that ended the WebSocket.
        deadline: when `handle_deadline` wants to be called, or `NEVER`.
        is_closed: the WebSocket has ended, or the peer left before it was accepted.
        is_refused: the handshake was answered otherwise, and that answer is complete.
    """

    __slots__ = (
        "_connection",
        "_drain_code",
        "_early",
        "_end",
        "_has_connected",
        "_is_replying",
        "_peer_left",
        "_receivable",
        "_sendable",
        "_session",
        "_stream_id",
        "_turn_ends",
        "bytes_sent",
        "close_code",
        "deadline",
        "is_closed",
        "is_refused",
        "request",
        "response_fields",
        "started_at",
        "status",
    )

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self.request = request
        self._stream_id = request.stream_id
        self._session: WebSocketSession | None = None
        #: What came before the handshake was answered; the window bounds it, since it is not consumed.
        self._early: list[bytes] = []
        self._has_connected = False
        #: The application has not sent anything since it had the last message that was there.
        self._is_replying = False
        #: The application has been told.
        self._end: Close | None = None
        self._drain_code = 0
        #: In HTTP/2 the peer may end its side with the request itself; in HTTP/1.1 only the request ends so.
        self._peer_left = request.end_stream and request.http_version == "2"
        self._receivable: Signal | None = None
        self._sendable: Signal | None = None
        #: The value of `bytes_sent` at which others get their turn, if no message had its cost.
        self._turn_ends = TURN_SIZE
        self.is_closed = False
        self.is_refused = False
        self.bytes_sent: int = 0
        self.close_code: int | None = None
        self.deadline = NEVER
        self.response_fields: Fields = []
        self.started_at = monotonic()
        self.status = 0

    def _begin(self, session: WebSocketSession, now: float) -> None:
        """The handshake is done."""
        connection = self._connection
        self._session = session
        if self.request.http_version != "2":
            connection.tunnel = self
        elif connection.websockets is None:
            connection.websockets = {self}
        else:
            connection.websockets.add(self)
        connection.server.log_exchange(connection, self, now)
        early, self._early = self._early, []
        for data in early:
            session.receive_data(data, now)
        self._bound_held_size(session, now)
        if self._peer_left and self.request.http_version == "2":
            session.receive_eof(now)  # in HTTP/1.1 the engine tells it, behind what it has kept until now
        if self._drain_code:
            session.close(self._drain_code, "", now, tell=True)
        self._pump(now)
        connection.flush_soon()

    # ---- receive()

    async def receive(self) -> Message:
        """The ASGI `receive` callable."""
        if not self._has_connected:
            self._has_connected = True
            return {"type": "websocket.connect"}
        while (message := self._next_message()) is None:
            if self._receivable is None:
                self._receivable = self._connection.runtime.make_signal()
            await self._receivable.wait()
            self._turn_ends = self.bytes_sent + TURN_SIZE  # others have had theirs meanwhile
        if type(message) is bytes:
            return {"type": "websocket.receive", "bytes": message, "text": None}
        if type(message) is str:
            return {"type": "websocket.receive", "bytes": None, "text": message}
        assert type(message) is Close  # nothing else is left
        self._end = message
        return {"type": "websocket.disconnect", "code": message.code, "reason": message.reason}

    def _next_message(self) -> str | bytes | Close | None:
        """What the application is to be told next, and again and again once it is the end; None: nothing yet."""
        session = self._session
        if session is None:
            return Close(ABNORMAL, "") if self.is_closed or self._peer_left or self.is_refused else None
        if self._end is not None:
            return self._end
        now = monotonic()
        message = session.next_message(now)
        self._is_replying = not session.queue
        if (
            session.taken
            or session.unsent
            or session.wants_turn
            or session.closing is not _OPEN
            or session.deadline != self.deadline
        ):
            # It went on reading.
            self._bound_held_size(session, now)
            self._pump(now)
            self._connection.flush_soon()
        return message

    def _wake_receiver(self) -> None:
        if self._receivable is not None:
            self._receivable.notify()

    # ---- send()

    def _send_message(self, message: Message) -> bool:
        """Give a message to the stream; True when it has not gone out and the sender must wait."""
        session = self._session
        assert session is not None  # in this state
        if not session.state.can_send:
            raise ClientDisconnected
        data = message.get("text")
        if data is None:
            data = message.get("bytes")
            if data is None:
                raise LocalProtocolError("a websocket.send message has neither text nor bytes")
            if type(data) is not bytes:
                data = as_bytes(data, "bytes of websocket.send")
        elif not isinstance(data, str):
            raise LocalProtocolError("the text of a websocket.send message is not a string")
        frame, rest = session.encode(data)
        connection = self._connection
        if self._is_replying:
            # The peer probably waits for just this. What is sent next has to wait for the end of the turn.
            self._is_replying = False
            if connection.tunnel is self and not session.unsent and connection.send_at_once(frame, rest):
                self.bytes_sent += len(frame) + len(rest)
                return connection.is_blocked or self.is_closed
        session.send_frame(frame, rest)
        now = monotonic()
        self._pump(now)
        if connection.unflushed >= FLUSH_SIZE:
            connection.settle(now)
        else:
            connection.flush_soon()
        return session.unsent > 0 or not self._may_send()

    def _close(self, message: Message) -> None:
        session = self._session
        assert session is not None  # in this state
        code = message.get("code")
        reason = message.get("reason") or ""
        if not isinstance(reason, str):
            raise LocalProtocolError("the reason of a websocket.close message is not a string")
        now = monotonic()
        session.close(NORMAL if code is None else int(code), reason, now)
        self._pump(now)
        self._connection.flush_soon()

    def _may_send(self) -> bool:
        """The stream takes output."""
        connection = self._connection
        return not connection.is_blocked and connection.engine.can_send(self._stream_id)

    async def _wait_writable(self) -> None:
        while not (self.is_closed or self.is_refused):
            is_held = self._session is not None and self._session.unsent > 0
            if not is_held and self._may_send():
                return
            if self._sendable is None:
                self._sendable = self._connection.runtime.make_signal()
            await self._sendable.wait()
        raise ClientDisconnected

    def _wake_senders(self) -> None:
        if self._sendable is not None:
            self._sendable.notify()

    # ---- between the session and the stream

    def _pump(self, now: float) -> None:
        """Move what the session has ready to the stream, tell the engine what was read, obey its end."""
        session = self._session
        if session is None:
            return
        if self.is_closed:
            if session.wants_turn:
                self._ask_for_turn(session)  # what came before the end is still read
            return
        connection = self._connection
        engine = connection.engine
        stream_id = self._stream_id
        while session.unsent and self._may_send():
            data = session.data_to_send(now)
            engine.send_data(stream_id, data, False, now)
            self.bytes_sent += len(data)
            connection.unflushed += len(data)
        if session.queue:
            self._wake_receiver()  # reading may have gone on as output was taken
        if session.taken:
            engine.consume(stream_id, session.taken, now)
            session.taken = 0
        if session.wants_turn:
            self._ask_for_turn(session)
        self.deadline = session.deadline
        if session.closing is not _OPEN:
            self._end_stream(session, now)

    def _ask_for_turn(self, session: WebSocketSession) -> None:
        session.wants_turn = False
        self._connection.runtime.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        session = self._session
        assert session is not None  # it has asked for this
        now = monotonic()
        try:
            session.next_turn(now)
            self._bound_held_size(session, now)
            self._pump(now)
            if session.queue:
                self._wake_receiver()
            self._connection.settle(now)
        except Exception:  # noqa: BLE001 - a border, as in `Transport.failed`
            self._connection.failed()

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

    def _over(self, now: float) -> None:
        """Nothing is sent or received on the stream from here on."""
        if self.is_refused or self.is_closed:
            return
        session = self._session
        if session is None:
            self.is_refused = True
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

    # ---- from the connection

    def receive_plain(self, data: bytes) -> bool:
        """Take a read of an HTTP/1.1 connection past the engine; see `exchange.Tunnel`."""
        session = self._session
        if session is None or not session.receive_plain(data):
            return False
        if session.queue and self._receivable is not None:
            self._receivable.notify()
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
        if session.unsent or session.wants_turn or session.closing is not _OPEN:
            self._pump(now)
        elif session.taken:
            self._connection.engine.consume(self._stream_id, session.taken, now)
            session.taken = 0
        self.deadline = session.deadline
        if self._receivable is not None:
            self._receivable.notify()
        self._bound_held_size(session, now)

    def _bound_held_size(self, session: WebSocketSession, now: float) -> None:
        """The session may have read on: fail those of the connection that hold most, while all together hold too much.

        HTTP/1.1 has one for each connection, whose message is bounded.
        """
        websockets = self._connection.websockets
        if websockets is not None and session.held_size >= _LARGE_HELD_SIZE:
            while sum(each.held_size for each in websockets) > session.max_held_size:
                max(websockets, key=attrgetter("held_size")).give_up(now)

    @property
    def held_size(self) -> int:
        """Bytes of messages that the application has not had."""
        return self._session.held_size if self._session is not None else 0

    def give_up(self, now: float) -> None:
        """Too much is held on the connection, and most of it here."""
        assert self._session is not None  # otherwise nothing is held
        self._session.give_up(now)
        self._pump(now)
        self._wake_receiver()
        self._connection.flush_soon()

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
        if self.is_closed or self.is_refused:
            return
        now = monotonic()
        if self._session is None:
            self.is_closed = True
            self._connection.exchange_over(self._stream_id)
            self._connection.server.log_exchange(self._connection, self, now)
            self._wake_receiver()
            self._wake_senders()
        else:
            self._session.connection_lost(now)
            self._over(now)
            self._pump(now)

    def writable(self) -> None:
        """Output has drained."""
        self._pump(monotonic())
        self._wake_senders()

    def handle_deadline(self, now: float) -> None:
        """A ping is due, or the peer has not answered in time."""
        session = self._session
        if session is None:
            return
        session.handle_deadline(now, is_held=not self._may_send())
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
