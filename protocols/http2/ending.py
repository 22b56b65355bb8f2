"""How an HTTP/2 connection ends: by a stop, its limit of requests, idleness, the GOAWAY of its peer, or a fault.

Unless something is broken it drains, which RFC 9113 §6.8 calls a graceful shutdown: two GOAWAYs, so that no request
that is on its way is lost. The first has the highest possible stream: the peer opens no more here, and what crosses it
is served. The final one has the last stream that is served, and follows when all that was on its way must have
arrived: a tenth of a second after a PING has come back, or `drain_delay`. `Drain` has the states; why they are so
many, and which clients lost requests with fewer, is told in `docs/decisions/http2-engine.md`.

It reads no frames and looks at no clock: the layers above say what has happened, by the methods under "what happens".
"""

from __future__ import annotations

import enum

from ..engine import NEVER, Closing, DefaultFields, GraveFault
from ..events import StreamClosed
from .errors import ENHANCE_YOUR_CALM, NO_ERROR
from .frames import MAX_STREAM_ID, goaway, ping
from .parameters import HTTP2Parameters
from .priorities import Scheduler
from .state import HTTP2State

_PROBE_PING = b"anybody?"
_DRAIN_PING = b"draining"
#: How long a connection that carries requests side by side must be without one to count as quiet.
_QUIET_SECONDS = 0.05
#: How long the answer to a PING is waited for: to the one before the first GOAWAY, and to the probe.
_PING_SECONDS = 0.5
#: The first of these where nothing is open and the stop of a server waits for this alone.
_IDLE_PING_SECONDS = 0.25
#: How long the final GOAWAY then waits for what was in flight between PING and GOAWAY, unless a stop waits for this
#: alone.
_IN_FLIGHT_SECONDS = 0.1
#: How many `drain_delay`s a connection that has reached its limit of requests may wait for a quiet moment.
_LIMIT_PATIENCE = 10
#: After so many probes that were answered only when a request followed, the peer is one that does not read while it is
#: idle.
_MAX_CROSSED_PROBES = 2


class Drain(enum.Enum):
    """How far the end of a connection has been announced.

    It goes down this list and may leave some out. Only PROBING leads back: when a request comes, or a stop.
    """

    NOT = "not"
    WAITING = "waiting for a quiet moment"
    PROBING = "it is quiet, and a PING asks whether the peer reads"
    ANNOUNCED = "PING and first GOAWAY sent"
    ACKNOWLEDGED = "and the PING answered"
    FINAL = "final GOAWAY sent"


class HTTP2End(HTTP2State):
    """The second layer: counts what ends a connection, and says so to the peer."""

    __slots__ = (
        "_drain",
        "_drain_latest",
        "_drains_at_once",
        "_is_stopping",
        "_peer_left",
        "_probes_left",
        "_reads_while_idle",
        "_requests",
        "_requests_at_probe",
        "_was_parallel",
    )

    def __init__(self, parameters: HTTP2Parameters, defaults: DefaultFields, now: float) -> None:
        super().__init__(parameters, defaults, now)
        self._drain = Drain.NOT
        #: The end of waiting for a quiet moment.
        self._drain_latest = NEVER
        #: The server stops; and waits for nothing but the end of its connections.
        self._is_stopping = False
        self._drains_at_once = False
        #: The peer has sent GOAWAY.
        self._peer_left = False
        #: How many requests there have been, and whether one was ever opened beside another.
        self._requests = 0
        self._was_parallel = False
        #: Whether the peer reads while nothing is open, once that is known.
        self._reads_while_idle: bool | None = None
        self._requests_at_probe = 0
        self._probes_left = _MAX_CROSSED_PROBES

    # ---- what happens

    def _drain_requested(self, at_once: bool, is_idle: bool) -> None:
        """The server stops or is replaced: `Engine.drain`.

        The first GOAWAY waits for a quiet moment, but not beyond `drain_delay`: some clients, those on the h2 library
        among them, give up all that is open when they see a GOAWAY. An idle connection is told `at_once`, and has a
        quarter of a second for what was on its way; it ends when its PING is answered, or when it is told so again.
        """
        self._is_stopping = True
        was_told = self._drain is Drain.ACKNOWLEDGED or (
            self._drains_at_once and self._drain is Drain.ANNOUNCED
        )
        self._drains_at_once = self._drains_at_once or at_once
        if at_once and is_idle:
            if was_told:
                self._send_final_goaway()
            else:
                self._announce()
        elif self._drain in (Drain.NOT, Drain.WAITING, Drain.PROBING):
            self._wait_for_quiet(self._parameters.drain_delay)

    def _limit_reached(self) -> None:
        """`keep_alive_max_requests`: nothing hurries, but twice as many are enough."""
        if self._drain is Drain.NOT or (self._drain is Drain.PROBING and not self._has_served(2)):
            self._wait_for_quiet(_LIMIT_PATIENCE * self._parameters.drain_delay)
        elif self._drain in (Drain.WAITING, Drain.PROBING):
            self._announce()

    def _all_done(self) -> None:
        """The last open stream is over."""
        if self._drain is Drain.WAITING and not self._is_over:
            if self._was_parallel and not self._drains_at_once:
                # Its next requests may be on their way already: see whether they come.
                self._drain_deadline = min(self._drain_latest, self._now + _QUIET_SECONDS)
            else:
                self._became_quiet()
        if self._drain_limit is not None or self._peer_left:
            self._close()
        elif not self._is_over:
            self._begin_idleness()

    def _idle_overdue(self, *, has_begun: bool) -> None:
        """End an idle connection, but serve the request that may be on its way if it `has_begun` with HTTP/2."""
        self._idle_deadline = NEVER
        if not has_begun:
            self._close()
        elif self._drain is Drain.NOT:
            self._end_idle()
        elif self._drain is Drain.WAITING:
            self._became_quiet()

    def _drain_overdue(self) -> None:
        """`_drain_deadline` has passed."""
        if self._drain is Drain.PROBING:
            self._probe_over(is_answered=False)
        elif self._drain is not Drain.WAITING:
            self._send_final_goaway()
        elif not self._streams:
            self._became_quiet()
        elif self._now < self._drain_latest:
            self._drain_deadline = self._drain_latest
        else:
            self._announce()

    def _ping_acknowledged(self, payload: bytes) -> None:
        """A PING of ours has come back, `_ALIVE_PING` of `engine.py` perhaps, or one that was never sent."""
        if payload == _PROBE_PING and self._drain is Drain.PROBING:
            self._probe_over(is_answered=True)
        elif payload == _DRAIN_PING and self._drain is Drain.ANNOUNCED:
            if self._drains_at_once and not self._streams:
                self._send_final_goaway()
            else:
                # The peer has read the PING, but perhaps not yet what stands behind it.
                self._drain = Drain.ACKNOWLEDGED
                self._drain_deadline = min(self._drain_deadline, self._now + _IN_FLIGHT_SECONDS)
                self._update_deadline()

    # ---- a quiet moment

    def _begin_idleness(self) -> None:
        """Count from now; not while the peer reads what stands in the transport: see `set_transport_writable`."""
        self._idle_deadline = self._now + self._parameters.keep_alive_timeout if self._is_writable else NEVER
        self._update_deadline()

    def _has_served(self, times: int) -> bool:
        """`keep_alive_max_requests` has been reached so many times."""
        limit = self._parameters.keep_alive_max_requests
        return bool(limit) and self._requests >= times * limit

    def _wait_for_quiet(self, seconds: float) -> None:
        self._drain = Drain.WAITING
        self._drain_latest = self._drain_deadline = self._now + seconds
        self._update_deadline()
        if not self._streams:
            self._all_done()

    def _became_quiet(self) -> None:
        """Nothing is open, and the server stops, or the limit of requests is reached.

        At the limit, who has sent one request after the other is told both GOAWAYs with the end of its last answer.
        """
        if self._is_stopping:
            self._announce()
        elif self._was_parallel:
            self._end_idle()
        else:
            self._send_both_goaways()

    def _end_idle(self) -> None:
        """Nothing is open and nothing hurries; it matters whether this client reads while it is idle.

        One that does is told in two steps, and so loses nothing. One that does not gets both GOAWAYs at once: httpx
        would fail the request that finds the first alone, but tries again what is said not to have been looked at. For
        others that would be a loss: not all content can be sent twice.
        """
        if self._reads_while_idle is None:
            self._send_probe()
        elif self._reads_while_idle:
            self._announce()
        else:
            self._send_both_goaways()

    def _probe_over(self, *, is_answered: bool) -> None:
        """The probe was answered, or has had its time."""
        if self._requests != self._requests_at_probe:
            self._probe_crossed(is_answered)
        elif not is_answered and not self._is_writable:
            # The probe has not left yet.
            self._drain_deadline = self._now + _PING_SECONDS
        else:
            self._reads_while_idle = is_answered
            self._end_idle()

    def _probe_crossed(self, is_answered: bool) -> None:
        """It was not quiet.

        Who reads nothing while it is idle answers when it reads for its request, but the two may also have crossed;
        only the limit has to come to an end with this.
        """
        self._drain_deadline = NEVER
        if self._has_served(1):
            if is_answered:
                self._probes_left -= 1
                if not self._probes_left:
                    self._reads_while_idle = False
            self._drain = Drain.WAITING
            quiet = NEVER if self._streams else self._now + _QUIET_SECONDS
            self._drain_deadline = min(self._drain_latest, quiet)
        else:
            self._drain = Drain.NOT
        self._update_deadline()

    # ---- what is said

    def _send_probe(self) -> None:
        self._drain = Drain.PROBING
        self._requests_at_probe = self._requests
        self._frames.append(ping(_PROBE_PING))
        self._drain_deadline = self._now + _PING_SECONDS
        self._update_deadline()

    def _announce(self) -> None:
        """The first GOAWAY, unless it has been sent; then a stop may only shorten the wait for its PING."""
        if not self._streams:
            # First, for the h2 library takes no RST_STREAM after a GOAWAY, and loses the answer that came with it.
            self._stop_all_leftovers()
        if self._drain not in (Drain.ANNOUNCED, Drain.ACKNOWLEDGED):
            self._drain = Drain.ANNOUNCED
            # The PING stands first: the h2 library takes no frame but GOAWAY after a GOAWAY.
            self._frames += (ping(_DRAIN_PING), goaway(MAX_STREAM_ID, NO_ERROR))
            self._drain_deadline = self._now + min(self._parameters.drain_delay, _PING_SECONDS)
        if self._drains_at_once and not self._streams:
            self._drain_deadline = min(self._drain_deadline, self._now + _IDLE_PING_SECONDS)
        self._update_deadline()

    def _send_both_goaways(self) -> None:
        self._stop_all_leftovers()
        self._frames.append(goaway(MAX_STREAM_ID, NO_ERROR))
        self._send_final_goaway()

    def _send_final_goaway(self) -> None:
        self._drain = Drain.FINAL
        self._drain_deadline = NEVER
        self._drain_limit = self._last_stream_id
        self._frames.append(goaway(self._last_stream_id, NO_ERROR))
        self._update_deadline()
        if not self._streams:
            self._close()

    # ---- the end itself

    def _close(self) -> None:
        """Nothing is open: say goodbye, unless the final GOAWAY has been sent already."""
        if not self._is_over:
            self._stop_all_leftovers()
            is_said = self._drain_limit is not None
            self._end(b"" if is_said else goaway(self._last_served(), NO_ERROR), Closing.AFTER_FLUSH)

    def _fail(self, code: int, reason: str, closing: Closing = Closing.AFTER_FLUSH) -> None:
        """The connection cannot go on; whatever is open is lost."""
        if not self._is_over:
            self.fault = reason
            if code == ENHANCE_YOUR_CALM and self._streams:
                self.fault = GraveFault(f"{reason}; requests that were open: {len(self._streams)}")
            self._end(goaway(self._last_served(), code, reason), closing)

    def _last_served(self) -> int:
        """For GOAWAY: never more than has been said before (RFC 9113 §6.8)."""
        return self._last_stream_id if self._drain_limit is None else self._drain_limit

    def _end(self, farewell: bytes, closing: Closing) -> None:
        self._is_over = True
        if farewell:
            self._frames.append(farewell)
        self.closing = closing
        self.events += [StreamClosed(each) for each in self._streams if each not in self._waiting]
        self._streams.clear()
        self._waiting.clear()
        self._leftovers.clear()
        self._abandoned.clear()
        self._scheduler = Scheduler(0)
        self._unsent = self._unread = self._pushes = 0
        self._idle_deadline = self._block_deadline = self._read_deadline = NEVER
        self._ping_deadline = self._drain_deadline = self._stall_deadline = NEVER
        self._leftover_deadline = self._waiting_deadline = NEVER
        self._update_deadline()
