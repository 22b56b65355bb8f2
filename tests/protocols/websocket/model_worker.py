"""What `workers/websocket_tunnel.py` and the connection do with a session, without sockets and applications."""

from __future__ import annotations

from hypercorn.protocols.engine import NEVER, Closing
from hypercorn.protocols.websocket import Close, SessionParameters, WebSocketSession
from hypercorn.protocols.websocket.deflate import DeflateParameters

from ..model_network import TimedWorker

HIGH_WATER = 65536


class ModelWorker(TimedWorker):
    """One WebSocket on a stream; `output` is what was written to the socket and nobody has delivered yet.

    Attributes:
        is_http2: output is held back by the stream, not by the socket; and the peer may end its side alone.
        received: the messages that the application has had.
        told: the end, as it was told.
        sent: the messages that the application has sent.
        fed, plain, consumed: bytes given to the session, those of them that `receive_plain` took in a way that
            is not counted, and the rest as far as the session has said that it is read.
        began_close: what the application, or the server as it stops, has begun to close with.
        was_drained: it was the server, or the server has told the application so as it stops.
        fed_at_end: `fed` when the session ended.
        was_overdue: some deadline has passed.
        is_overdue: a peer that was silent for too long ended it.
        has_ended: nothing more may be sent.
        was_cut: and what was sent before may be lost.
    """

    def __init__(
        self, parameters: SessionParameters, deflate: DeflateParameters | None, now: float, *, is_http2: bool
    ) -> None:
        self.parameters = parameters
        self.now = now
        self.is_http2 = is_http2
        self._deflate = deflate
        self._session: WebSocketSession | None = None
        self._early: list[bytes] = []
        self._peer_left = False
        self._held: list[bytes] = []
        self.is_flush_due = False
        self.is_blocked = False
        self.output = bytearray()
        self.received: list[str | bytes] = []
        self.told: Close | None = None
        self.sent: list[str | bytes] = []
        self.fed = self.plain = self.consumed = 0
        self.began_close: Close | None = None
        self.was_drained = False
        self.fed_at_end: int | None = None
        self.is_overdue = self.was_overdue = False
        self.heard_at = self.closed_at = now
        self.has_ended = False
        self.was_cut = False
        #: The application waits in `receive()`; in `send()`; and has not sent since it had the last message.
        self.is_receiving = False
        self.is_sending = False
        self._is_replying = False

    @property
    def session(self) -> WebSocketSession:
        assert self._session is not None
        return self._session

    @property
    def has_begun(self) -> bool:
        return self._session is not None

    @property
    def unread(self) -> int:
        """Bytes that the peer has no window for until they are read."""
        return self.fed - self.plain - self.consumed

    def begin(self) -> None:
        """The application accepts."""
        session = self._session = WebSocketSession(self.parameters, self._deflate, self.now)
        early, self._early = self._early, []
        for data in early:
            session.receive_data(data, self.now)
        if self._peer_left:
            session.receive_eof(self.now)
        self._pump()
        self.is_flush_due = True

    # ---- the connection

    def can_send(self) -> bool:
        return not self.is_http2 or sum(map(len, self._held)) < HIGH_WATER

    @property
    def _is_socket_full(self) -> bool:
        return self.is_blocked and not self.is_http2

    def flush(self) -> None:
        """Write what there is, if the peer takes it."""
        self.is_flush_due = False
        if self.is_blocked:
            return
        while self._held:
            for data in self._held:
                self.output += data
            self._held.clear()
            if self.is_http2:
                self._writable()  # the stream's buffer is low again

    @property
    def wants_turn(self) -> bool:
        return self._session is not None and self._session.wants_turn

    def take_turn(self) -> None:
        """Others have had their turn of the loop."""
        session = self.session
        session.wants_turn = False
        session.next_turn(self.now)
        self._pump()
        if session.queue:
            self._wake_receiver()
        self._note_end()
        self.flush()

    def block(self) -> None:
        self.is_blocked = True

    def unblock(self) -> None:
        self.is_blocked = False
        if not self.is_http2:
            self._writable()
        self.flush()

    def receive(self, data: bytes) -> None:
        """Something has arrived, for which there was a window."""
        self.fed += len(data)
        self.heard_at = self.now
        if self.has_ended:
            return
        session = self._session
        if session is None:
            self._early.append(data)
            return
        if not self.is_http2 and not self.is_flush_due and session.receive_plain(data):
            self.plain += len(data)
            if session.queue:
                self._wake_receiver()
            return
        self._data_received(session, data, end_stream=False)
        self.flush()

    def _data_received(self, session: WebSocketSession, data: bytes, *, end_stream: bool) -> None:
        if data:
            session.receive_data(data, self.now)
        if end_stream:
            session.receive_eof(self.now)
        if session.unsent or session.closing is not Closing.OPEN:
            self._pump()
        elif session.taken:
            self._consume(session)
        self._wake_receiver()
        self._note_end()

    def receive_eof(self) -> None:
        """The peer has closed its side behind all that it has sent."""
        if self.has_ended:
            return
        session = self._session
        if session is None:
            self._peer_left = True
        elif self.is_http2:
            self._data_received(session, b"", end_stream=True)
            self.flush()
        else:
            session.receive_eof(self.now)
            self._pump()
            self._wake_receiver()
            self.lose()

    def lose(self) -> None:
        """The stream is gone."""
        if self.has_ended:
            return
        assert self._session is not None
        self.was_cut = True
        self._session.connection_lost(self.now)
        self._over()
        self._note_end()

    @property
    def deadline(self) -> float:
        return NEVER if self._session is None or self.has_ended else self._session.deadline

    def _handle_deadline(self) -> None:
        self._act_on_deadline(self.session)
        self.flush()

    def _act_on_deadline(self, session: WebSocketSession) -> None:
        is_held = self._is_socket_full or not self.can_send()
        if not (is_held and session.unsent and not session.state.can_send):
            self.was_overdue = True
        is_due = session._pending_end is None and session.ended is None
        was_open = session.state.can_send
        was_stalled = session._is_stalled
        session.handle_deadline(self.now, is_held=is_held)
        if session.closing is not Closing.OPEN and is_due:
            self.is_overdue = True
            timeout = self.parameters.ping_timeout if was_open else self.parameters.close_timeout
            assert timeout is not None
            assert self.now - (self.heard_at if was_open else self.closed_at) >= timeout
            assert not (was_open and (was_stalled or is_held))
        self._pump()
        self._wake_receiver()
        self._note_end()

    def drain(self, code: int) -> None:
        """The server is about to stop."""
        if self.has_ended:
            return
        session = self.session
        if session.state.can_send:
            self.began_close, self.was_drained = Close(code, ""), True
            self.closed_at = self.now
        elif session.ended is None:
            self.was_drained = True
        session.close(code, "", self.now, tell=True)
        self._pump()
        self._wake_receiver()
        self._note_end()
        self.flush()

    # ---- the application

    def next_message(self) -> None:
        """It calls `receive()`."""
        session = self.session
        assert self.told is None
        message = session.next_message(self.now)
        self._is_replying = not session.queue
        self._pump()
        self.is_flush_due = True
        self._note_end()
        if message is None:
            self.is_receiving = True
        elif isinstance(message, Close):
            assert not session.queue
            self.told = message
            assert session.next_message(self.now) is None
        else:
            self.received.append(message)

    def send(self, message: str | bytes) -> None:
        """It calls `send()`, which returns or waits."""
        session = self.session
        assert session.state.can_send
        assert not self.is_sending
        self.sent.append(message)
        frame, rest = session.encode(message)
        if self._is_replying:
            self._is_replying = False
            is_free = not (self.is_flush_due or self.is_blocked or self.has_ended or self.is_http2)
            if is_free and not session.unsent:
                assert not self._held
                self.output += frame + rest
                return
        session.send_frame(frame, rest)
        self._pump()
        self.is_flush_due = True
        self.is_sending = bool(session.unsent) or self._is_socket_full or not self.can_send()

    def close(self, code: int, reason: str) -> None:
        """It closes."""
        session = self.session
        if session.state.can_send:
            self.began_close = Close(code, reason)
            self.closed_at = self.now
        session.close(code, reason, self.now)
        self._pump()
        self.is_flush_due = True
        self._note_end()

    def _wake_receiver(self) -> None:
        self.is_receiving = False

    def _wake_senders(self) -> None:
        held = self.session.unsent
        self.is_sending = not self.has_ended and (bool(held) or self._is_socket_full or not self.can_send())

    def _writable(self) -> None:
        if self._session is not None:
            self._pump()
            self._wake_senders()
            self._note_end()

    # ---- between the session and the stream

    def _pump(self) -> None:
        session = self.session
        if self.has_ended:
            return
        while session.unsent and not self._is_socket_full and self.can_send():
            size = session.unsent
            data = session.data_to_send(self.now)
            assert len(data) == size
            self._held.append(data)
        if session.queue:
            self._wake_receiver()
        if session.taken:
            self._consume(session)
        if session.closing is Closing.ABORT:
            self.was_cut = True
            self._held.clear()
            self._over()
        elif session.closing is not Closing.OPEN and not session.unsent:
            self._over()

    def _consume(self, session: WebSocketSession) -> None:
        assert session.taken > 0
        self.consumed += session.taken
        session.taken = 0

    def _over(self) -> None:
        self.has_ended = True
        assert self.session.ended is not None or self.was_cut
        self._wake_receiver()
        self._wake_senders()
        self.is_flush_due = True

    def _note_end(self) -> None:
        session = self.session
        if self.fed_at_end is None and session.ended is not None:
            self.fed_at_end = self.fed
