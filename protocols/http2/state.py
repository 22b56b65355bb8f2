"""What both directions of an HTTP/2 connection share: its streams, how they end, its windows and its output.

The engine is built in six layers, each in its file and each using only those below it: state, ending, sending,
control, receiving, engine. They are one object, because every step of one direction touches the other.
"""

from __future__ import annotations

from ..engine import NEVER, Closing, DefaultFields
from ..events import Data, Event, Request, StreamClosed, Trailers
from .allowance import Allowance
from .errors import ENHANCE_YOUR_CALM, NO_ERROR, REFUSED_STREAM, ConnectionFault, StreamFault
from .field_encoder import FieldEncoder
from .frames import DEFAULT_FRAME_SIZE, DEFAULT_WINDOW, rst_stream, window_update
from .parameters import HTTP2Parameters
from .priorities import Scheduler
from .streams import HeldInput, Stream

#: How many streams that we have reset are remembered, so that what was on its way is not held against the peer.
_REMEMBERED_RESETS = 1000
#: How long a peer may go on with a request that has been answered already, before it is told to stop.
LEFTOVER_SECONDS = 2.0
#: Windows are given back in so many steps: fewer are fewer frames, but hold an upload over a long way to less.
_WINDOW_STEPS = 8
#: The window of a stream grows to so many times its initial size, but never beyond the connection's.
_WINDOW_GROWTH = 4
#: A stream that was open for so long costs its peer nothing when it is reset: with N open at most that makes N / 0.25 a
#: second, no more work than so many requests that are answered. A client's deadlines end calls like that, many at once,
#: and must not take all else on the connection with them.
_LONG_OPEN_SECONDS = 0.25
#: A reset request whose exchange never reported its end stops counting as running after this many seconds.
_ABANDONED_SECONDS = 60.0


class HTTP2State:
    """The lowest layer. Attributes without underscore are those of `Engine`."""

    __slots__ = (
        "_abandoned",
        "_block_deadline",
        "_controls",
        "_defaults",
        "_drain_deadline",
        "_drain_limit",
        "_encoder",
        "_frames",
        "_full_window",
        "_grown_window",
        "_has_greeted",
        "_idle_deadline",
        "_is_acknowledged",
        "_is_over",
        "_is_writable",
        "_last_stream_id",
        "_leftover_deadline",
        "_leftovers",
        "_max_unread",
        "_now",
        "_outputs",
        "_parameters",
        "_peer_frame_size",
        "_peer_window",
        "_ping_deadline",
        "_pushes",
        "_read_deadline",
        "_receive_window",
        "_reset_by_us",
        "_resets",
        "_scheduler",
        "_send_window",
        "_stall_deadline",
        "_streams",
        "_unread",
        "_unsent",
        "_waiting",
        "_waiting_deadline",
        "apart",
        "closing",
        "deadline",
        "events",
        "fault",
        "wants_read",
    )

    def __init__(self, parameters: HTTP2Parameters, defaults: DefaultFields, now: float) -> None:
        self.events: list[Event] = []
        self.deadline = NEVER
        self.wants_read = True
        self.closing = Closing.OPEN
        self.fault = ""
        self._parameters = parameters
        self._defaults = defaults
        self._now = now
        #: The peer's settings have come, and with them the end of its preface.
        self._has_greeted = False
        #: Until the peer has acknowledged our settings it may send as if it did not know them.
        self._is_acknowledged = False
        self._is_over = False
        self._is_writable = True
        self._frames: list[bytes | memoryview] = []
        self._outputs: int = 0
        self.apart = b""
        self._streams: dict[int, Stream] = {}
        #: Answered, but the peer has not ended its request. Nobody waits for the rest, yet it has to keep to the
        #: rules: what is on its way was sent by a peer that could not know. Not counted as running.
        self._leftovers: dict[int, Stream] = {}
        self._pushes: int = 0
        self._last_stream_id: int = 0
        #: The highest stream that will be served, once the final GOAWAY has said so.
        self._drain_limit: int | None = None
        #: Streams that the peer has reset while their applications go on, and since when.
        self._abandoned: dict[int, float] = {}
        #: Requests on open streams whose applications have to wait for those to end, in the order of their arrival.
        self._waiting: dict[int, Request] = {}
        self._reset_by_us: dict[int, None] = {}
        self._encoder = FieldEncoder()
        self._scheduler = Scheduler(parameters.max_concurrent_streams)
        self._peer_frame_size: int = DEFAULT_FRAME_SIZE
        self._peer_window: int = DEFAULT_WINDOW
        self._send_window: int = DEFAULT_WINDOW
        self._receive_window: int = max(DEFAULT_WINDOW, parameters.initial_connection_window_size)
        self._full_window = self._receive_window
        self._max_unread = max(parameters.max_unread_size, self._full_window)
        self._unread: int = 0
        self._grown_window = min(_WINDOW_GROWTH * parameters.initial_stream_window_size, self._full_window)
        self._unsent: int = 0
        self._resets = Allowance(parameters.max_resets, parameters.resets_per_second, now)
        self._controls = Allowance(parameters.max_control_frames, parameters.max_control_frames / 10, now)
        self._idle_deadline = now + parameters.keep_alive_timeout
        self._block_deadline = NEVER
        self._read_deadline = NEVER
        self._ping_deadline = NEVER
        self._drain_deadline = NEVER
        self._stall_deadline = NEVER
        self._leftover_deadline = NEVER
        self._waiting_deadline = NEVER

    def _update_deadline(self) -> None:
        self.deadline = min(
            self._idle_deadline,
            self._block_deadline,
            self._read_deadline,
            self._ping_deadline,
            self._drain_deadline,
            self._stall_deadline,
            self._leftover_deadline,
            self._waiting_deadline,
        )

    # ---- how much a peer may do

    def _spend_control(self, cost: float = 1) -> None:
        if not self._controls.spend(self._now, cost):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many frames that do no work")

    def _spend_reset(self, stream: Stream | None = None) -> None:
        """A stream was reset that the peer has opened: `stream`, or one that has not become a request."""
        if stream is not None and self._now - stream.opened_at >= _LONG_OPEN_SECONDS:
            return
        if not self._resets.spend(self._now):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many streams reset")

    def _abandoned_pushes(self) -> int:
        """Pushes that the peer has reset, with an application still at work: our work, but no requests of the peer."""
        return len([stream_id for stream_id in self._abandoned if not stream_id & 1])

    # ---- requests that wait
    #
    # A stream that the peer has reset is closed, and it may open another in its place (RFC 9113 §5.1.2). Its application
    # may go on for a while all the same, so that this must not be a way to more of them (CVE-2023-44487): the request
    # waits until one has ended. To refuse it would lose calls: clients whose calls have run into a deadline together
    # send those that wait behind them in the same write.

    def _has_room(self) -> bool:
        """Whether one more application may run for requests of the peer: of open streams, or of those it has reset."""
        open_ = len(self._streams) - self._pushes - len(self._waiting)
        running = open_ + len(self._abandoned) - self._abandoned_pushes()
        return running < self._parameters.max_concurrent_streams

    def _let_wait(self, stream: Stream, request: Request) -> None:
        """Give `request` out when there is room: now, if that is so."""
        self._waiting[stream.id] = request
        stream.held = HeldInput()
        self._look_at_abandoned()

    def _look_at_abandoned(self) -> None:
        """Those that have never reported their end do not count for ever; look again when the next has had its time."""
        abandoned, now = self._abandoned, self._now
        for stream_id in [key for key, since in abandoned.items() if since + _ABANDONED_SECONDS <= now]:
            del abandoned[stream_id]
        self._give_out()
        self._waiting_deadline = NEVER
        if self._waiting:
            self._waiting_deadline = min(abandoned.values()) + _ABANDONED_SECONDS
        self._update_deadline()

    def _give_out(self) -> None:
        """Begin with the requests that wait, as far as there is room."""
        waiting = self._waiting
        while waiting and self._has_room():
            stream_id = next(iter(waiting))
            self.events.append(waiting.pop(stream_id))
            stream = self._streams[stream_id]
            if stream.held is not None:
                self._hand_over(stream, stream.held)
            self._restart_read_timeout()

    def _hand_over(self, stream: Stream, held: HeldInput) -> None:
        stream.held = None
        if held.data or held.end_stream:
            stream.handed_over = 1
            self.events.append(Data(stream.id, bytes(held.data), held.end_stream))
        if held.trailers is not None:
            self.events.append(Trailers(stream.id, held.trailers))

    def _application_ended(self, stream_id: int) -> None:
        """The application of a stream that the peer has reset is at work no more, or will soon not be."""
        if self._abandoned.pop(stream_id, None) is not None:
            self._give_out()

    # ---- how a stream ends

    def _drop(self, stream: Stream) -> None:
        """Both sides are done with a stream."""
        del self._streams[stream.id]
        self._scheduler.closed(stream)
        self._unsent -= stream.buffered
        if not stream.id & 1:
            self._pushes -= 1
        if stream.unread:
            self._unread -= stream.unread
            self._top_up()
        if not self._streams:
            self._all_done()
        elif self._waiting:
            self._give_out()

    def _all_done(self) -> None:
        """The last open stream is over: see `HTTP2End`, one layer above."""
        raise NotImplementedError

    def _abort_stream(self, stream: Stream, code: int) -> None:
        """Reset a stream from our side."""
        self._frames.append(rst_stream(stream.id, code))
        self._remember_reset(stream.id)
        self._drop(stream)

    def _lose_stream(self, stream: Stream) -> None:
        """The exchange of this stream has lost its peer, and may go on for a while unless it has given its answer."""
        if self._waiting.pop(stream.id, None) is None:
            self.events.append(StreamClosed(stream.id))
            if stream.is_running and not stream.is_ended:
                self._abandoned[stream.id] = self._now
        self._drop(stream)

    def _remember_reset(self, stream_id: int) -> None:
        remembered = self._reset_by_us
        remembered[stream_id] = None
        if len(remembered) > _REMEMBERED_RESETS:
            del remembered[next(iter(remembered))]

    def _punish_stream(self, fault: StreamFault) -> None:
        """The peer broke a rule on a stream, open or not, or is refused one: reset it."""
        self._frames.append(rst_stream(fault.stream_id, fault.code))
        self._remember_reset(fault.stream_id)
        self._leftovers.pop(fault.stream_id, None)
        stream = self._streams.get(fault.stream_id)
        if stream is not None:
            self._lose_stream(stream)
        if fault.code != REFUSED_STREAM:
            self._spend_reset(stream)
        elif self._is_acknowledged and self._drain_limit is None:
            # Nothing was begun, and most often the peer could not know. If it did, it is an idle frame among others.
            self._spend_control()

    # ---- requests that are answered before they have ended

    def _keep_leftover(self, stream: Stream) -> None:
        """The response is complete and the request is not.

        RST_STREAM with NO_ERROR may ask the peer to stop (RFC 9113 §8.1). It is not sent at once: most often
        the end of the request is on its way, and a peer that breaks a rule in it is owed the error of that rule.
        """
        leftovers = self._leftovers
        stream.answered_at = self._now
        leftovers[stream.id] = stream
        self._judge_leftover(stream)
        if len(leftovers) > self._parameters.max_concurrent_streams:
            self._stop_leftover(next(iter(leftovers)))
        if self._leftover_deadline == NEVER:
            self._leftover_deadline = self._now + LEFTOVER_SECONDS
            self._update_deadline()

    def _judge_leftover(self, stream: Stream) -> None:
        """A peer that has used half of the window, or has announced as much, has more to send than what was on its way."""
        half = stream.window // 2
        if stream.receive_window < half or (stream.expected or 0) > half:
            self._stop_leftover(stream.id)

    def _stop_leftover(self, stream_id: int) -> None:
        del self._leftovers[stream_id]
        self._frames.append(rst_stream(stream_id, NO_ERROR))
        self._remember_reset(stream_id)

    def _stop_all_leftovers(self) -> None:
        for stream_id in list(self._leftovers):
            self._stop_leftover(stream_id)

    def _stop_leftovers(self, now: float) -> None:
        """Stop those that have had their time; look again when the next one has."""
        self._leftover_deadline = NEVER
        for stream_id, stream in list(self._leftovers.items()):
            assert stream.answered_at is not None  # set by `_keep_leftover`
            until = stream.answered_at + LEFTOVER_SECONDS
            if until > now:
                self._leftover_deadline = until
                break
            self._stop_leftover(stream_id)

    # ---- the receive windows

    def _top_up(self) -> None:
        """Give the peer connection window for what has arrived, as far as the unread bytes allow.

        In steps of an eighth of a window: a peer may be left with a step less than the window for a whole round trip.
        """
        target = min(self._full_window, self._max_unread - self._unread)
        missing = target - self._receive_window
        if missing * _WINDOW_STEPS >= target and missing >= 1024 and not self._is_over:
            self._receive_window += missing
            self._frames.append(window_update(0, missing))
            self._restart_read_timeout()

    def _top_up_stream(self, stream: Stream) -> None:
        """Give the peer window on a stream for what its application has taken, in steps as above."""
        window = stream.window
        missing = window - stream.unread - stream.receive_window
        if missing * _WINDOW_STEPS >= window and missing > 0:
            if window < self._grown_window and not stream.unread:
                missing += self._grow(stream)
            stream.receive_window += missing
            self._frames.append(window_update(stream.id, missing))

    def _grow(self, stream: Stream) -> int:
        """Enlarge the window of a stream whose application keeps up, and return by how much.

        A peer far away can send one window in each round trip, so this bounds an upload. Together such windows take half
        of what may be unread at most: should their applications stop reading, there is room for others.
        """
        more = min(stream.window, self._grown_window - stream.window)
        initial = self._parameters.initial_stream_window_size
        grown = sum(each.window - initial for each in self._streams.values() if not each.is_remote_closed)
        if grown + more > self._max_unread // 2:
            return 0
        stream.window += more
        return more

    def _restart_read_timeout(self) -> None:
        """The peer may not have been able to send before."""
        if self._parameters.read_timeout:
            self._read_deadline = self._now + self._parameters.read_timeout
            self._update_deadline()
