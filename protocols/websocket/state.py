"""What all of a WebSocket session shares: where it stands, what is to be sent, and how it ends.

The session is built in three layers, each in its file and each using only those below it: state, receiving, session.
They are one object, for reading brings answers, and how much of them waits decides whether reading goes on.

An end waits its turn. A Close frame, or a frame that breaks a rule, comes behind the messages that were received
before it: it is answered once the application has had those and asks for more, so that its replies still go out, or
after `_GRACE` seconds. RFC 6455 §5.5.1 lets an endpoint wait so.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

from ..engine import NEVER, Closing
from . import frames
from .frames import Close, RemoteProtocolError

#: A hundred sessions whose messages are of the size of their queues stay below this.
_MIN_HELD_SIZE = 16 * 1024 * 1024
#: How long the end may wait for an application that does not ask for it, in seconds.
_GRACE = 2.0
#: How long a peer that is sending a message beyond the limit may take to get all of it out, in seconds.
_LONGEST_REST = 2.0


@dataclass(frozen=True, slots=True)
class SessionParameters:
    """The figures of all sessions of a worker; times in seconds, sizes in bytes.

    Attributes:
        max_message_size: larger messages, decompressed, end the session with 1009.
        max_queued_messages: reading stops while so many wait for the application.
        ping_interval: how often the peer is pinged, or None.
        ping_timeout: how long after a ping *something* must have arrived, or None. A pong may be stuck behind
            a large message or behind our own back-pressure, so any byte counts as a sign of life.
        close_timeout: how long the peer may take to answer a Close frame that it can have.
    """

    max_message_size: int = 16 * 1024 * 1024
    max_queued_messages: int = 10
    ping_interval: float | None = None
    ping_timeout: float | None = 20.0
    close_timeout: float = 10.0

    @property
    def max_held_size(self) -> int:
        """What all sessions of one connection may hold of messages that their applications have not had."""
        return max(2 * self.max_message_size, _MIN_HELD_SIZE)


class State(enum.Enum):
    """Where a WebSocket stands between its handshake and its end.

    Attributes:
        can_send: messages may be sent, and pings are answered.
        is_reading: what the peer sends is looked at; otherwise it is thrown away.
        keeps_messages: messages in it are for the application; otherwise only a Close frame counts.
    """

    #: Messages go both ways.
    OPEN = (True, True, True)
    #: The peer has closed, or broken a rule, and the application has yet to be told: it may still reply to what came before.
    PEER_ENDED = (True, False, True)
    #: We have sent a Close frame, and the peer's is awaited.
    CLOSING = (False, True, False)
    #: Nothing can be sent any more; what was received before is still read.
    LOST = (False, True, True)
    #: It is over, but for output that the peer has yet to take, and the rest of a message that was too big.
    ENDED = (False, False, False)

    def __init__(self, can_send: bool, is_reading: bool, keeps_messages: bool) -> None:
        self.can_send = can_send
        self.is_reading = is_reading
        self.keeps_messages = keeps_messages


# Looking a member up in its class costs a hundred nanoseconds on CPython 3.11.
OPEN, PEER_ENDED, CLOSING, LOST, ENDED = State


class SessionState:
    """The lowest layer. Attributes without underscore are those of `WebSocketSession`."""

    __slots__ = (
        "_is_peer_done",
        "_is_unanswered",
        "_output",
        "_parameters",
        "_pending_end",
        "closing",
        "deadline",
        "ended",
        "queue",
        "state",
        "unsent",
    )

    def __init__(self, parameters: SessionParameters) -> None:
        self._parameters = parameters
        self.state = OPEN
        self.closing = Closing.OPEN
        self.deadline = NEVER
        self.ended: Close | None = None
        #: With State.PEER_ENDED: the peer's Close frame, or our failure as `RemoteProtocolError`.
        self._pending_end: Close | RemoteProtocolError | None = None
        #: The peer's side has ended, or what is read no more ends with what reads as its Close frame.
        self._is_peer_done = False
        self.queue: deque[str | bytes | Close] = deque()
        #: The application has had a message, and has neither sent one nor asked for the next since.
        self._is_unanswered = False
        self._output: list[bytes] = []
        self.unsent = 0

    # ---- what is sent

    def send_frame(self, frame: bytes, rest: bytes = b"") -> None:
        """Send what `encode` gave, unless `unsent` is 0 and the caller can do so himself."""
        self._output.append(frame)
        self.unsent += len(frame)
        if rest:
            self._output.append(rest)
            self.unsent += len(rest)

    # ---- the end

    def _end_in_turn(self, end: Close | RemoteProtocolError, now: float) -> None:
        """Carry out `end` when the application has had what came before it, and asks for more."""
        if self.state is OPEN and (self.queue or self._is_unanswered):
            self.state = PEER_ENDED
            self._pending_end = end
            self.deadline = now + _GRACE  # and no ping before it: nothing that could answer is read
        else:
            self._carry_out_end(end, now)

    def _carry_out_end(self, end: Close | RemoteProtocolError, now: float) -> None:
        if isinstance(end, RemoteProtocolError):
            self._fail(end.code, end.reason, now)
            return
        if self.state.can_send:
            self.send_frame(frames.encode_close(end.code, end.reason))
        self._end(Closing.AFTER_FLUSH, end, now)

    def _fail(self, code: int, reason: str, now: float) -> None:
        """Fail the WebSocket (RFC 6455 §7.1.7): a Close frame, and the stream ends behind it.

        Whose message is too big may be in the middle of sending it. Clients on asyncio take an end of the stream then
        for an error of its own, and forget our code; so it waits until they have sent all, but not for long.
        """
        if self.state.can_send:
            self.send_frame(frames.encode_close(code, reason))
        waits = code == frames.TOO_BIG and not self._is_peer_done
        self._end(Closing.OPEN if waits else Closing.AFTER_FLUSH, Close(code, reason), now)
        if waits:
            self.deadline = now + _LONGEST_REST

    def _end(self, closing: Closing, close: Close, now: float) -> None:
        """Nothing is read or made from here on; the application is told of `close` unless it knows already."""
        self.state = ENDED
        self._pending_end = None
        self.closing = closing
        self._tell_end(close)
        # Somebody must still take the output; a peer that never reads is not waited for.
        self.deadline = now + self._parameters.close_timeout if self._output else NEVER

    def _tell_end(self, close: Close) -> None:
        if self.ended is None:
            self.ended = close
            self.queue.append(close)
