"""What the engine knows of one open stream."""

from __future__ import annotations

from collections import deque

from .field_decoder import Field
from .priorities import DEFAULT_URGENCY
from .requests import RequestHead


class Stream:
    """One request and its response, from HEADERS until both sides have ended.

    Attributes:
        opened_at: when its request arrived, or was promised.
        is_remote_closed: the peer has sent END_STREAM.
        receive_window: what the peer may still send.
        unread: bytes handed over, or held, that the application has not consumed.
        handed_over: `Data` events since the application last had consumed all.
        held: data behind those, when the peer sends it in many tiny frames.
        expected: bytes that the announced length still lacks, or None.
        head: the request's head.
        is_tunnel: an accepted extended CONNECT: bytes without length, both ways.
        has_head: the final response head was sent.
        is_bodiless: the response has no body whatever its fields say (HEAD, 204, 205, 304).
        remaining: bytes that the response's content-length still lacks, or None.
        chunks, buffered: response bytes that wait to be sent, and their size.
        is_running: the application's call is not over.
        is_ended: the application has ended the response.
        answered_at: since when the response is complete while the request is not; see `LEFTOVER_SECONDS`.
        trailers: the trailer section to send behind the data.
        window: what `receive_window` is filled up to; it grows while the application keeps up.
        wants_writable: `can_send` has said no.
        stalled_at: when the peer's windows stopped its data, or None.
        urgency, incremental, turn: see `priorities.py`.
    """

    __slots__ = (
        "answered_at",
        "buffered",
        "chunks",
        "expected",
        "handed_over",
        "has_head",
        "head",
        "head_place",
        "held",
        "id",
        "incremental",
        "is_bodiless",
        "is_ended",
        "is_remote_closed",
        "is_running",
        "is_tunnel",
        "opened_at",
        "receive_window",
        "remaining",
        "send_window",
        "stalled_at",
        "trailers",
        "turn",
        "unread",
        "urgency",
        "wants_writable",
        "window",
    )

    def __init__(
        self,
        stream_id: int,
        head: RequestHead,
        receive_window: int,
        window: int,
        send_window: int,
        is_remote_closed: bool,
        now: float,
    ) -> None:
        self.id = stream_id
        self.head = head
        self.opened_at = now
        self.is_remote_closed = is_remote_closed
        self.receive_window = receive_window
        self.window = window
        self.send_window = send_window
        self.unread = 0
        self.handed_over = 0
        self.held: HeldInput | None = None
        self.expected = None if is_remote_closed else head.content_length
        self.is_tunnel = False
        self.has_head = False
        #: Which output, and where in it, its HEADERS frame stands; to put END_STREAM on it afterwards.
        self.head_place: tuple[int, int] | None = None
        self.is_bodiless = False
        self.remaining: int | None = None
        self.chunks: deque[bytes | memoryview] = deque()
        self.buffered = 0
        self.is_running = True
        self.is_ended = False
        self.answered_at: float | None = None
        self.trailers: list[Field] | None = None
        self.wants_writable = False
        self.stalled_at: float | None = None
        self.urgency = DEFAULT_URGENCY
        self.incremental = False
        self.turn = 0


class HeldInput:
    """Received data that was not handed over yet, and whether (and how) the request ends behind it."""

    __slots__ = ("data", "end_stream", "trailers")

    def __init__(self) -> None:
        self.data = bytearray()
        self.end_stream = False
        self.trailers: list[Field] | None = None
