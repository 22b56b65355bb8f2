"""Makes engines from settings: the one place where configuration meets the protocols' parameters."""

from __future__ import annotations

from collections.abc import Callable

from ..config.settings import Settings
from ..protocols.engine import DefaultFields, Engine
from ..protocols.events import SwitchToHTTP2
from ..protocols.http1 import HTTP1Engine, HTTP1Parameters

#: Without keep-alive (`keep_alive_timeout` is 0) a client still needs time for its first request, as by default.
_FIRST_REQUEST_SECONDS = 5.0
#: And in HTTP/2 its requests do not all begin at the same time.
_SHORTEST_HTTP2_SECONDS = 1.0
#: What the applications of a connection may leave unread together; not less than so many streams may send, for one that
#: does not read must not hold up others.
_MAX_UNREAD_SIZE = 8 * 1024 * 1024
_UNREAD_STREAMS = 4

HTTP1Factory = Callable[[float, bool], Engine]
HTTP2Factory = Callable[[float, SwitchToHTTP2 | None, bool], Engine]


def http1_factory(settings: Settings, defaults: DefaultFields) -> HTTP1Factory:
    """A function of the time and of "over TLS" that makes HTTP/1.1 engines."""
    keeps_alive = settings.keep_alive_timeout > 0
    parameters = HTTP1Parameters(
        limit_request_line=settings.limit_request_line,
        limit_request_fields=settings.limit_request_fields,
        limit_request_field_size=settings.limit_request_field_size,
        max_head_size=settings.h11_max_incomplete_size,
        keep_alive_timeout=settings.keep_alive_timeout if keeps_alive else _FIRST_REQUEST_SECONDS,
        header_timeout=settings.header_timeout,
        read_timeout=settings.read_timeout,
        keep_alive_max_requests=settings.keep_alive_max_requests if keeps_alive else 1,
        pass_raw_names=settings.h11_pass_raw_headers,
        h2c_upgrade=settings.h2c_upgrade,
        h2c_prior_knowledge=settings.h2c_prior_knowledge,
    )

    def make(now: float, secure: bool) -> Engine:
        return HTTP1Engine(parameters, defaults, now, secure)

    return make


def http2_factory(settings: Settings, defaults: DefaultFields) -> HTTP2Factory:
    """A function of the time, of what came before and of "over TLS" that makes HTTP/2 engines.

    Imports the HTTP/2 package: called when HTTP/2 is first spoken.
    """
    from ..protocols.http2 import HTTP2Engine, HTTP2Parameters

    parameters = HTTP2Parameters(
        max_concurrent_streams=settings.h2_max_concurrent_streams,
        max_header_list_size=settings.h2_max_header_list_size,
        max_inbound_frame_size=settings.h2_max_inbound_frame_size,
        initial_stream_window_size=settings.h2_initial_stream_window_size,
        initial_connection_window_size=settings.h2_initial_connection_window_size,
        max_unread_size=max(_MAX_UNREAD_SIZE, _UNREAD_STREAMS * settings.h2_initial_stream_window_size),
        keep_alive_timeout=settings.keep_alive_timeout or _SHORTEST_HTTP2_SECONDS,
        keep_alive_max_requests=settings.keep_alive_max_requests,
        header_timeout=settings.header_timeout,
        read_timeout=settings.read_timeout,
        write_timeout=settings.write_timeout or None,
        ping_interval=settings.h2_ping_interval,
        ping_timeout=settings.h2_ping_timeout,
    )

    def make(now: float, switch: SwitchToHTTP2 | None, secure: bool) -> Engine:
        return HTTP2Engine(parameters, defaults, now, upgrade=switch, secure=secure)

    return make
