"""The HTTP/2 engine: RFC 9113 for a server, with RFC 8441 (WebSocket), RFC 9218 and RFC 7540 priorities.

Frames and HPACK are ours (`docs/decisions/http2-engine.md`), written for few and cheap steps; h2 and hpack are
the judges in the tests. It is a `MultiplexedEngine`, built in the layers that `state.py` names; here is what the
transport and the time have to say.

It refuses to do: tunnels for plain CONNECT (501), HTTP semantics beyond framing, and anything that needs a
clock or a socket.
"""

from __future__ import annotations

from ..engine import NEVER, Closing, DefaultFields
from ..events import Request, SwitchToHTTP2
from .errors import CANCEL, NO_ERROR, ConnectionFault
from .frames import (
    DATA,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
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
from .receiving import MAX_WAITING_FRAMES, HTTP2ReceivingSide
from .requests import CONNECTION_FIELDS, RequestHead
from .streams import Stream

_ALIVE_PING = b"stillyou"
_NOT_FORWARDED = CONNECTION_FIELDS | {b"http2-settings"}


class HTTP2Engine(HTTP2ReceivingSide):
    """One HTTP/2 connection, as `protocols.engine.Engine` describes it.

    Args:
        parameters: limits and times.
        defaults: fields for each final response, shared by the worker's engines.
        now: the time.
        upgrade: what an HTTP/1.1 engine has left behind, if it was one that began the connection. With a
            request in it that request becomes stream 1 and is emitted again.
        secure: the connection is encrypted; only used for the scheme of pushed requests.
    """

    __slots__ = ("_is_ping_due",)

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
        self._streams[1] = Stream(1, head, 0, 0, self._peer_window, True, self._now)
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
            self._idle_overdue(has_begun=not self._preface_left)
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
        """See `Engine`."""
        self._now = now
        if not self._is_over:
            self._drain_requested(at_once, self.is_idle)
