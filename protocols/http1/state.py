"""What both directions of an HTTP/1.1 connection share: its state, and how it ends.

The engine is built in four layers, each in its file and each using only those below it: state, receiving, sending,
engine. They are one object, because every step of one direction touches the other.

Two enumerations hold the state: `Reading` says what the next input is, `Writing` what the application may send.
"""

from __future__ import annotations

import enum

from ..engine import NEVER, Closing, DefaultFields
from ..events import Event, Refused, Request, StreamClosed
from . import rules, upgrade
from .body import Body
from .parameters import HTTP1Parameters
from .partial import PartialHead
from .request import HeadReader
from .response import HeadWriter, ResponseHead
from .rules import Refusal


class Reading(enum.Enum):
    """What the next byte of input belongs to."""

    #: The head of the next request, or the empty lines before it.
    HEAD = enum.auto()
    #: The body of the open exchange; of the last one, to be thrown away, when none is open.
    BODY = enum.auto()
    #: A later request: it waits in the buffer until the open exchange is over, and its answer has been taken.
    LATER = enum.auto()
    #: The tunnel of an accepted upgrade.
    TUNNEL = enum.auto()
    #: Nothing: the connection is over, or another engine has it.
    NOTHING = enum.auto()


class Writing(enum.Enum):
    """What the application may send on the open exchange."""

    #: Nothing: no exchange is open.
    NOTHING = enum.auto()
    #: The response head, or informational responses.
    HEAD = enum.auto()
    #: Content; the head is known but held back, so that both leave in one piece.
    HELD = enum.auto()
    #: Content counted by Content-Length.
    LENGTH = enum.auto()
    #: Content in chunks.
    CHUNKS = enum.auto()
    #: Content that ends with the connection.
    UNTIL_CLOSE = enum.auto()
    #: No content: what comes is dropped.
    NO_CONTENT = enum.auto()
    #: The raw bytes of an accepted upgrade.
    TUNNEL = enum.auto()


# Looking a member up in its class costs a hundred nanoseconds on CPython 3.11.
R_HEAD, R_BODY, R_LATER, R_TUNNEL, R_NOTHING = Reading
W_NOTHING, W_HEAD, W_HELD, W_LENGTH, W_CHUNKS, W_UNTIL_CLOSE, W_NO_CONTENT, W_TUNNEL = Writing
#: Nothing of the final response is on its way.
UNANSWERED = frozenset({W_NOTHING, W_HEAD, W_HELD})

#: Input that waits behind the open exchange above which reading pauses.
MAX_WAITING = 65536
#: The rest of a request body that the application did not read: thrown away up to here, beyond it the connection
#: is closed instead.
MAX_DISCARDED = 65536


class HTTP1State:
    """The lowest layer. Attributes without underscore are those of `Engine`."""

    __slots__ = (
        "_body",
        "_buffer",
        "_count",
        "_discarded",
        "_eof",
        "_expects_continue",
        "_head",
        "_is_draining",
        "_is_head_request",
        "_is_http11",
        "_is_writable",
        "_open",
        "_out",
        "_parameters",
        "_partial",
        "_persists",
        "_reader",
        "_reading",
        "_remaining",
        "_request",
        "_secure",
        "_unconsumed",
        "_waits_for_continue",
        "_wants_writable",
        "_writer",
        "_writing",
        "apart",
        "closing",
        "deadline",
        "events",
        "fault",
        "wants_read",
    )

    def __init__(
        self, parameters: HTTP1Parameters, defaults: DefaultFields, now: float, secure: bool = False
    ) -> None:
        self.events: list[Event] = []
        self.deadline = now + parameters.keep_alive_timeout
        self.wants_read = True
        self.closing = Closing.OPEN
        self.fault = ""
        self._parameters = parameters
        self._secure = secure
        self._reader = HeadReader(parameters, secure)
        self._writer = HeadWriter(defaults)
        self._reading = R_HEAD
        self._writing = W_NOTHING
        #: Input that is not understood yet.
        self._buffer: bytearray = bytearray()
        self._partial = PartialHead(self._buffer, parameters)
        self._out: list[bytes] = []
        self.apart = b""
        self._eof = False
        self._is_draining = False
        self._is_writable = True
        self._wants_writable = False
        #: Requests so far; the number of the last one is its stream_id.
        self._count = 0
        #: The stream_id of the open exchange, or 0.
        self._open = 0
        # ---- of the open (or last) exchange
        self._request: Request | None = None
        self._persists = True
        self._is_head_request = False
        self._is_http11 = True
        #: The client waits for 100 (Continue); and it did so when the deadline was set.
        self._expects_continue = False
        self._waits_for_continue = False
        #: The request's body as long as it is not complete, and what of it the application has not consumed yet.
        self._body: Body | None = None
        self._unconsumed = 0
        self._discarded = 0
        self._head = ResponseHead()
        #: With Writing.LENGTH: bytes of content that are still to come.
        self._remaining = 0

    @property
    def is_idle(self) -> bool:
        return self._reading is R_HEAD and not self._buffer

    # ---- the end

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that breaks a rule, unless its answer is under way or done; end the connection."""
        if self._writing not in UNANSWERED:
            self.events.append(StreamClosed(self._open))
            self._cut()
            return
        if self._is_invalid_preface():
            self.fault = "it began with neither HTTP/1 nor the preface of HTTP/2"
            self._buffer.clear()
        elif self._open or self._reading is R_HEAD:
            method, target, version = rules.describe(self._request, self._buffer)
            self.events.append(Refused(refusal.status, refusal.reason, method, target, version, self._open))
            self._out.append(self._writer.write_error(refusal.status))
        if self._open:
            self.events.append(StreamClosed(self._open))
        self._close(Closing.AFTER_FLUSH)

    def _may_be_http2(self) -> bool:
        """Whether the connection may begin with the HTTP/2 preface: over TLS ALPN decides (RFC 9113 §3.2)."""
        return not self._count and not self._secure and self._parameters.h2c_prior_knowledge

    def _is_invalid_preface(self) -> bool:
        return self._may_be_http2() and upgrade.is_invalid_preface(self._buffer)

    def _cut(self) -> None:
        """End the connection in the middle of a response, so that the peer notices.

        Framing tells it, and what was sent so far should arrive; without framing only a reset does.
        """
        is_endless = self._writing is W_UNTIL_CLOSE or self._writing is W_TUNNEL
        self._close(Closing.ABORT if is_endless else Closing.AFTER_FLUSH)

    def _close(self, closing: Closing) -> None:
        self._reading = R_NOTHING
        self._writing = W_NOTHING
        self._open = 0
        self._body = None
        self._request = None
        self._buffer.clear()
        self.deadline = NEVER
        self.wants_read = True
        self.closing = closing
