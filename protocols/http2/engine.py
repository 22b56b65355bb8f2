"""The HTTP/2 engine: RFC 9113 for a server, with RFC 8441 (WebSocket), RFC 9218 and RFC 7540 priorities.

Frames and HPACK are ours (`docs/decisions/http2-engine.md`), written for few and cheap steps; h2 and hpack are
the judges in the tests. It is a `MultiplexedEngine`.

It refuses to do: tunnels for plain CONNECT (501), HTTP semantics beyond framing, and anything that needs a
clock or a socket.
"""

from __future__ import annotations

import enum

from ..engine import NEVER, Closing, DefaultFields
from ..events import Request, SwitchToHTTP2
from .errors import CANCEL, NO_ERROR, ConnectionFault
from .frames import (
    DATA,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    MAX_STREAM_ID,
    SETTINGS_ENABLE_CONNECT_PROTOCOL,
    SETTINGS_INITIAL_WINDOW_SIZE,
    SETTINGS_MAX_CONCURRENT_STREAMS,
    SETTINGS_MAX_FRAME_SIZE,
    SETTINGS_MAX_HEADER_LIST_SIZE,
    goaway,
    ping,
    rst_stream,
    settings,
    window_update,
)
from .parameters import HTTP2Parameters
from .receiving import MAX_WAITING_FRAMES, ReceivingSide
from .requests import CONNECTION_FIELDS, RequestHead
from .streams import Stream

_QUIET_PING = b"anybody?"
_DRAIN_PING = b"draining"
_ALIVE_PING = b"stillyou"
#: How long a connection that carries requests side by side must be without one to count as quiet.
_QUIET_SECONDS = 0.05
#: How long the last GOAWAY waits for the answer to the PING before the first, and how long the question whether the peer
#: reads waits for its answer.
_PING_SECONDS = 0.5
#: The first of these where nothing is open and the stop of a server waits for this alone.
_FAREWELL_SECONDS = 0.25
#: How long the last GOAWAY then waits for what the client has sent between PING and GOAWAY, unless a stop waits for this
#: alone.
_BETWEEN_SECONDS = 0.1
#: How many `drain_delay`s a connection that has reached its limit of requests may wait for a quiet moment.
_PATIENCE = 10
_NOT_FORWARDED = CONNECTION_FIELDS | {b"http2-settings"}


class Drain(enum.Enum):
    """How far the end of a connection has been announced."""

    NOT = "not"
    WAITING = "waiting for a quiet moment"
    ASKING = "it is quiet, and the peer is asked whether it reads"
    ANNOUNCED = "first GOAWAY sent"
    HEARD = "and its PING answered"
    FINAL = "last GOAWAY sent"


class HTTP2Engine(ReceivingSide):
    """One HTTP/2 connection, as `protocols.engine.Engine` describes it.

    Args:
        parameters: limits and times.
        defaults: fields for each final response, shared by the worker's engines.
        now: the time.
        upgrade: what an HTTP/1.1 engine has left behind, if it was one that began the connection. With a
            request in it that request becomes stream 1 and is emitted again.
        secure: the connection is encrypted; only used for the scheme of pushed requests.
    """

    __slots__ = (
        "_asked_behind",
        "_does_read",
        "_drain",
        "_drain_latest",
        "_drains_at_once",
        "_is_ping_due",
        "_is_stopping",
        "_questions_left",
    )

    def __init__(
        self,
        parameters: HTTP2Parameters,
        defaults: DefaultFields,
        now: float,
        *,
        upgrade: SwitchToHTTP2 | None = None,
        secure: bool,
    ) -> None:
        super().__init__(parameters, defaults, now, secure)
        self._drain = Drain.NOT
        self._drains_at_once = False
        self._drain_latest = NEVER
        #: Whether the peer reads while nothing is open, once that is known.
        self._does_read: bool | None = None
        #: How many requests there had been when it was asked, and how often it may be asked in vain.
        self._asked_behind = 0
        self._questions_left = 2
        self._is_stopping = False
        #: The ping deadline is for the answer to a PING, not for sending the next one.
        self._is_ping_due = False
        self._block_deadline = now + self._header_timeout()
        self._send_preface()
        self._expect_activity(now)
        if upgrade is not None:
            self._take_over(upgrade, now)
        self._update_deadline()

    def _header_timeout(self) -> float:
        timeout = self._parameters.header_timeout
        return self._parameters.keep_alive_timeout if timeout is None else timeout

    def _send_preface(self) -> None:
        parameters = self._parameters
        values = [
            (SETTINGS_MAX_CONCURRENT_STREAMS, parameters.max_concurrent_streams),
            (SETTINGS_MAX_HEADER_LIST_SIZE, parameters.max_header_list_size),
            (SETTINGS_ENABLE_CONNECT_PROTOCOL, 1),
        ]
        if parameters.initial_stream_window_size != DEFAULT_WINDOW:
            values.append((SETTINGS_INITIAL_WINDOW_SIZE, parameters.initial_stream_window_size))
        if parameters.max_inbound_frame_size != DEFAULT_FRAME_SIZE:
            values.append((SETTINGS_MAX_FRAME_SIZE, parameters.max_inbound_frame_size))
        self._frames.append(settings(values))
        if self._receive_window > DEFAULT_WINDOW:
            self._frames.append(window_update(0, self._receive_window - DEFAULT_WINDOW))

    def _take_over(self, upgrade: SwitchToHTTP2, now: float) -> None:
        """RFC 7540 §3.2: the request that asked for the upgrade is stream 1, half closed by the peer."""
        if upgrade.request is not None:
            try:
                self._apply_settings(upgrade.settings)
            except ConnectionFault as fault:
                self._fail(fault.code, fault.reason)
                return
            self._open_upgraded(upgrade.request)
        if upgrade.trailing:
            self.receive_data(upgrade.trailing, now)

    def _open_upgraded(self, request: Request) -> None:
        fields = [field for field in request.fields if field[0] not in _NOT_FORWARDED]
        if not fields or fields[0][0] != b"host":
            fields.sort(key=lambda field: field[0] != b"host")
        head = RequestHead(request.method, request.raw_path, request.query, fields)
        self._last_stream_id = 1
        self._streams[1] = Stream(1, head, 0, self._peer_window, True, self._now)
        self._idle_deadline = NEVER
        self._requests = 1
        self.events.append(
            Request(1, "2", request.method, request.raw_path, request.query, fields.copy(), end_stream=True)
        )

    @property
    def is_idle(self) -> bool:
        """No exchange is open and no part of a request has arrived."""
        return not self._streams and self._block is None and not self._pending

    # ---- what comes from the transport

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes that were read from the transport. Never raises for what a peer sent."""
        self._now = now
        if self._is_over:
            return
        try:
            self._read(data)
        except ConnectionFault as fault:
            self._fail(fault.code, fault.reason)
        if not self._is_over:
            self._expect_activity(now)
            if not self._is_writable and len(self._frames) > MAX_WAITING_FRAMES:
                self.wants_read = False

    def _expect_activity(self, now: float) -> None:
        """Set the deadlines that every read moves."""
        parameters = self._parameters
        changed = False
        if self._is_incomplete():
            if self._block_deadline == NEVER:
                self._block_deadline = now + self._header_timeout()
                changed = True
        elif self._block_deadline != NEVER:
            self._block_deadline = NEVER
            changed = True
        if parameters.read_timeout:
            self._read_deadline = now + parameters.read_timeout
            changed = True
        if parameters.ping_interval:
            self._ping_deadline = now + parameters.ping_interval
            self._is_ping_due = False
            changed = True
        if changed:
            self._update_deadline()

    def _is_incomplete(self) -> bool:
        """Something that should come in one piece has begun: the preface, a header block, a control frame."""
        if self._block is not None or self._expected_frame is not None:
            return True
        pending = self._pending
        return bool(pending) and (len(pending) < 4 or pending[3] != DATA)

    def receive_eof(self, now: float) -> None:
        """The peer has closed its sending side: no window will ever come, so all is lost that is open."""
        self._now = now
        if not self._is_over:
            self._end(
                b"" if self._preface_left else goaway(self._last_served(), NO_ERROR), Closing.AFTER_FLUSH
            )

    def handle_deadline(self, now: float) -> None:
        """`deadline` has passed."""
        self._now = now
        if self._is_over:
            return
        if self._idle_deadline <= now:
            self._idle_overdue()
        elif self._block_deadline <= now:
            self._fail(NO_ERROR, "a frame or header block took too long")
        elif self._read_deadline <= now:
            self._read_overdue()
        elif self._ping_deadline <= now:
            self._ping_or_cut(now)
        if not self._is_over:
            if self._drain_deadline <= now:
                self._drain_overdue()
            if self._stall_deadline <= now:
                self._reset_stalled(now)
            if self._leftover_deadline <= now:
                self._stop_leftovers(now)
            if self._waiting_deadline <= now:
                self._look_at_abandoned()
            self._update_deadline()

    def _idle_overdue(self) -> None:
        """End an idle connection, but serve the request that may be on its way at this moment."""
        self._idle_deadline = NEVER
        if self._preface_left:
            self._close()
        elif self._drain is Drain.NOT:
            self._end_quietly()
        elif self._drain is Drain.WAITING:
            self._announce_quietly()

    def _read_overdue(self) -> None:
        """Give up a peer that owes some request its content; one that waits for answers only owes nothing."""
        if self._receive_window > 0 and any(
            not stream.is_remote_closed and not stream.is_tunnel and stream.receive_window > 0
            for stream in self._streams.values()
            if stream.id not in self._waiting
        ):
            self._fail(NO_ERROR, "nothing received for too long")
        else:
            self._read_deadline = NEVER  # the next read, or window that is given, sets it again

    def _ping_or_cut(self, now: float) -> None:
        if not self._is_writable:
            # What waits for the socket stands before any PING, and a peer that takes none of it is the connection's
            # to cut.
            self._is_ping_due = False
            self._ping_deadline = now + (self._parameters.ping_interval or NEVER)
        elif self._is_ping_due:
            self._fail(NO_ERROR, "no answer to a PING", Closing.ABORT)
        else:
            self._is_ping_due = True
            self._frames.append(ping(_ALIVE_PING))
            self._ping_deadline = now + self._parameters.ping_timeout

    def _reset_stalled(self, now: float) -> None:
        """Reset the responses that the peer's windows have held back for too long; look again in time."""
        timeout = self._parameters.write_timeout or NEVER
        self._stall_deadline = NEVER
        for stream in list(self._streams.values()):
            since = stream.stalled_at
            if since is None:
                continue
            if since + timeout <= now:
                self._frames.append(rst_stream(stream.id, CANCEL))
                self._remember_reset(stream.id)
                self._lose_stream(stream)
            else:
                self._stall_deadline = min(self._stall_deadline, since + timeout)

    # ---- the end

    def drain(self, now: float, at_once: bool) -> None:
        """Take no new work, finish what is open, then close (RFC 9113 §6.8).

        Two steps: GOAWAY with the highest possible stream, so that the peer opens no more; when what was on
        its way must have arrived (a tenth of a second after a PING has come back, or `drain_delay`), GOAWAY with the
        last stream that is served. The first step waits for a quiet moment, but not beyond `drain_delay`: some clients, those
        on the h2 library among them, give up all that is open when they see a GOAWAY. An idle connection is told
        `at_once`, and has a quarter of a second for what was on its way; it ends when its PING is answered, or when it is
        told so again.
        """
        self._is_stopping = True
        self._now = now
        if self._is_over:
            return
        was_told = self._drain is Drain.HEARD or (self._drains_at_once and self._drain is Drain.ANNOUNCED)
        self._drains_at_once = self._drains_at_once or at_once
        if at_once and self.is_idle:
            if was_told:
                self._finish_drain()
            else:
                self._announce_quietly()
        elif self._drain in (Drain.NOT, Drain.WAITING, Drain.ASKING):
            self._wait_for_quiet(self._parameters.drain_delay)

    def _limit_reached(self) -> None:
        """`keep_alive_max_requests`: nothing hurries, but twice as many are enough."""
        if self._drain is Drain.NOT or (self._drain is Drain.ASKING and not self._has_served(2)):
            self._wait_for_quiet(_PATIENCE * self._parameters.drain_delay)
        elif self._drain in (Drain.WAITING, Drain.ASKING):
            self._announce_drain()

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

    def _all_done(self) -> None:
        if self._drain is Drain.WAITING and not self._is_over:
            if self._was_parallel and not self._drains_at_once:
                # Its next requests may be on their way already: see whether they come.
                self._drain_deadline = min(self._drain_latest, self._now + _QUIET_SECONDS)
            else:
                self._announce_quietly()
        super()._all_done()

    def _drain_overdue(self) -> None:
        if self._drain is Drain.ASKING:
            self._after_asking(is_answered=False)
        elif self._drain is not Drain.WAITING:
            self._finish_drain()
        elif not self._streams:
            self._announce_quietly()
        elif self._now < self._drain_latest:
            self._drain_deadline = self._drain_latest
        else:
            self._announce_drain()

    def _announce_quietly(self) -> None:
        """Nothing is open, and the server stops, or the limit of requests is reached.

        At the limit, who has sent one request after the other is told both GOAWAYs with the end of its last answer.
        """
        if self._is_stopping:
            self._announce_drain()
        elif self._was_parallel:
            self._end_quietly()
        else:
            self._say_all()

    def _end_quietly(self) -> None:
        """Nothing is open and nothing hurries; it matters whether this client reads while it is idle.

        One that does is told in two steps, and so loses nothing. One that does not gets both GOAWAYs at once: httpx would
        fail the request that finds the first alone, but tries again what is said not to have been looked at. For others
        that would be a loss: not all content can be sent twice.
        """
        if self._does_read is None:
            self._drain = Drain.ASKING
            self._asked_behind = self._requests
            self._frames.append(ping(_QUIET_PING))
            self._drain_deadline = self._now + _PING_SECONDS
            self._update_deadline()
        elif self._does_read:
            self._announce_drain()
        else:
            self._say_all()

    def _after_asking(self, *, is_answered: bool) -> None:
        is_at_limit = self._has_served(1)
        if self._requests != self._asked_behind:
            # It was not quiet. Who reads nothing while it is idle answers when it reads for its request, but the two may also
            # have crossed; only the limit has to come to an end with this.
            if is_at_limit and is_answered:
                self._questions_left -= 1
                if not self._questions_left:
                    self._does_read = False
            self._drain = Drain.WAITING if is_at_limit else Drain.NOT
            self._drain_deadline = NEVER
            if is_at_limit:
                quiet = NEVER if self._streams else self._now + _QUIET_SECONDS
                self._drain_deadline = min(self._drain_latest, quiet)
            self._update_deadline()
        elif not is_answered and not self._is_writable:
            # It has not been asked yet.
            self._drain_deadline = self._now + _PING_SECONDS
        else:
            self._does_read = is_answered
            self._end_quietly()

    def _say_all(self) -> None:
        self._stop_all_leftovers()
        self._frames.append(goaway(MAX_STREAM_ID, NO_ERROR))
        self._finish_drain()

    def _announce_drain(self) -> None:
        if not self._streams:
            # First, for the h2 library takes no RST_STREAM after a GOAWAY, and loses the answer that came with it.
            self._stop_all_leftovers()
        if self._drain not in (Drain.ANNOUNCED, Drain.HEARD):
            self._drain = Drain.ANNOUNCED
            # The PING stands first: the h2 library takes no frame but GOAWAY after a GOAWAY.
            self._frames += (ping(_DRAIN_PING), goaway(MAX_STREAM_ID, NO_ERROR))
            self._drain_deadline = self._now + min(self._parameters.drain_delay, _PING_SECONDS)
        if self._drains_at_once and not self._streams:
            self._drain_deadline = min(self._drain_deadline, self._now + _FAREWELL_SECONDS)
        self._update_deadline()

    def _pong_received(self, payload: bytes) -> None:
        if payload == _QUIET_PING and self._drain is Drain.ASKING:
            self._after_asking(is_answered=True)
        elif payload == _DRAIN_PING and self._drain is Drain.ANNOUNCED:
            if self._drains_at_once and not self._streams:
                self._finish_drain()
            else:
                # It has read the PING, but perhaps not yet what stands behind it.
                self._drain = Drain.HEARD
                self._drain_deadline = min(self._drain_deadline, self._now + _BETWEEN_SECONDS)
                self._update_deadline()

    def _finish_drain(self) -> None:
        self._drain = Drain.FINAL
        self._drain_deadline = NEVER
        self._drain_limit = self._last_stream_id
        self._frames.append(goaway(self._last_stream_id, NO_ERROR))
        self._update_deadline()
        if not self._streams:
            self._close()
