"""Settings of connections: their times and limits, the protocols spoken on them, TLS; see `options`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import checks
from .checks import above, at_least, between, one_of
from .declaration import option

if TYPE_CHECKING:
    from ssl import VerifyFlags, VerifyMode


_LARGEST_WINDOW = 2**31 - 1  # RFC 9113 §6.9.1
#: What a parameter of SETTINGS can say (RFC 9113 §6.5.1).
LARGEST_SETTING = 2**32 - 1


class TimeoutOptions:
    """Timeouts and limits"""

    graceful_timeout: float = option(
        3.0,
        "--graceful-timeout",
        metavar="SECONDS",
        check=at_least(0),
        help="time that running requests have when a worker stops",
    )
    keep_alive_timeout: float = option(
        5.0,
        "--keep-alive",
        metavar="SECONDS",
        check=at_least(0),
        help="time that an idle connection is kept open; 0: one request each in HTTP/1.1, a second in HTTP/2",
    )
    keep_alive_max_requests: int = option(
        1000,
        "--keep-alive-max-requests",
        metavar="N",
        check=at_least(1),
        help="requests that one connection may make",
    )
    header_timeout: float | None = option(
        None,
        "--header-timeout",
        metavar="SECONDS",
        check=above(0),
        help="time in which the head of a request must arrive once it has begun (default: that of --keep-alive)",
    )
    read_timeout: float | None = option(
        None,
        "--read-timeout",
        metavar="SECONDS",
        check=above(0),
        help="cut a client that sends nothing of an awaited request body for so long",
    )
    write_timeout: float = option(
        60.0,
        "--write-timeout",
        metavar="SECONDS",
        check=at_least(0),
        help="cut a client that takes nothing of its response for so long; 0: never",
    )
    limit_request_line: int = option(
        8190,
        "--limit-request-line",
        metavar="BYTES",
        check=at_least(1),
        help="longest request line; above: status 414",
    )
    limit_request_fields: int = option(
        100,
        "--limit-request-fields",
        metavar="N",
        check=at_least(1),
        help="header fields that an HTTP/1.1 request may have; above: 431 (HTTP/2: h2_max_header_list_size)",
    )
    limit_request_field_size: int = option(
        8190,
        "--limit-request-field-size",
        metavar="BYTES",
        check=at_least(1),
        help="longest header field of an HTTP/1.1 request; above: 431",
    )
    h11_max_incomplete_size: int = option(
        16 * 1024,
        "--h11-max-incomplete-size",
        metavar="BYTES",
        check=at_least(1),
        help="largest head of an HTTP/1.1 request, all fields together",
    )


class HTTPOptions:
    """HTTP"""

    server_names: list[str] = option(
        [],
        "--server-name",
        metavar="NAME",
        help="serve this value of Host, and 404 to others; may be repeated",
    )
    include_server_header: bool = option(True, "--server-header", help="send the Server field")
    include_date_header: bool = option(True, "--date-header", help="send the Date field")
    alt_svc_headers: list[str] = option(
        [], "--alt-svc-header", metavar="VALUE", help="value of an Alt-Svc field to send; may be repeated"
    )
    h11_pass_raw_headers: bool = option(
        False, "--h11-pass-raw-headers", help="keep the case of field names as HTTP/1.1 clients write them"
    )
    h2c_upgrade: bool = option(
        True, "--h2c-upgrade", help="HTTP/2 without TLS for clients that ask for it by Upgrade"
    )
    h2c_prior_knowledge: bool = option(
        True, "--h2c-prior-knowledge", help="HTTP/2 without TLS for clients that begin with it"
    )


class HTTP2Options:
    """HTTP/2"""

    h2_max_concurrent_streams: int = option(
        100,
        "--h2-max-concurrent-streams",
        metavar="N",
        check=between(1, _LARGEST_WINDOW),
        help="requests at once on one connection",
    )
    h2_max_header_list_size: int = option(
        2**16,
        "--h2-max-header-list-size",
        metavar="BYTES",
        check=between(1, LARGEST_SETTING),
        help="size of a request's header fields, decoded",
    )
    h2_max_inbound_frame_size: int = option(
        2**14,
        "--h2-max-inbound-frame-size",
        metavar="BYTES",
        check=between(2**14, 2**24 - 1),
        help="largest frame that is accepted",
    )
    h2_initial_stream_window_size: int = option(
        256 * 1024,
        "--h2-initial-stream-window-size",
        metavar="BYTES",
        check=between(1, _LARGEST_WINDOW),
        help="what a client may send ahead of the application in one request; grows to four times as much, within "
        "the connection's, while the application keeps up",
    )
    h2_initial_connection_window_size: int = option(
        1024 * 1024,
        "--h2-initial-connection-window-size",
        metavar="BYTES",
        check=between(2**16 - 1, _LARGEST_WINDOW),
        help="the same for all requests of a connection",
    )
    h2_ping_interval: float | None = option(
        None,
        "--h2-ping-interval",
        metavar="SECONDS",
        check=above(0),
        help="ping idle clients so often (default: never)",
    )
    h2_ping_timeout: float = option(
        20.0,
        "--h2-ping-timeout",
        metavar="SECONDS",
        check=above(0),
        help="cut a client that has not answered a ping for so long",
    )


class WebSocketOptions:
    """WebSocket"""

    websocket_max_message_size: int = option(
        16 * 1024 * 1024,
        "--websocket-max-message-size",
        metavar="BYTES",
        check=at_least(1),
        help="largest message; above, the connection is closed with code 1009",
    )
    websocket_ping_interval: float | None = option(
        None,
        "--websocket-ping-interval",
        metavar="SECONDS",
        check=above(0),
        help="ping clients so often (default: never)",
    )
    websocket_ping_timeout: float | None = option(
        20.0,
        "--websocket-ping-timeout",
        metavar="SECONDS",
        check=at_least(0),
        help="cut a client that has not answered a ping for so long; 0: never",
    )
    websocket_per_message_deflate: bool = option(
        True, "--websocket-per-message-deflate", help="compress messages for clients that offer it"
    )


class TLSOptions:
    """TLS"""

    certfile: str | None = option(
        None,
        "--certfile",
        metavar="FILE",
        help="certificate and its chain, PEM; switches TLS on; may hold the key too",
    )
    keyfile: str | None = option(None, "--keyfile", metavar="FILE", help="private key, PEM")
    keyfile_password: str | None = option(
        None, "--keyfile-password", metavar="TEXT", secret=True, help="password of the private key"
    )
    ca_certs: str | None = option(
        None, "--ca-certs", metavar="FILE", help="authorities whose client certificates are believed, PEM"
    )
    ciphers: str = option(
        "ECDHE+AESGCM", "--ciphers", metavar="TEXT", help="ciphers for TLS 1.2, in OpenSSL's way of writing"
    )
    verify_mode: VerifyMode | None = option(
        None,
        "--verify-mode",
        metavar="MODE",
        parse=checks.verify_mode,
        deprecated=("--cert-reqs",),
        help="client certificates: CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED",
    )
    verify_flags: VerifyFlags | None = option(
        None,
        "--verify-flags",
        metavar="FLAGS",
        parse=checks.verify_flags,
        help="how certificates are checked: names of Python's ssl.VerifyFlags, with commas between them",
    )
    tls_minimum_version: str = option(
        "1.2",
        "--tls-minimum-version",
        metavar="VERSION",
        parse=checks.version_number,
        check=one_of("1.2", "1.3"),
        help="lowest version of TLS that is spoken: 1.2 or 1.3",
    )
    sni_certificates: dict[str, tuple[str, ...]] = option(
        {},
        "--sni-certificate",
        metavar="NAME=CERTFILE,KEYFILE",
        parse=checks.certificates,
        secret=True,
        help="certificate for clients that ask for this server name; may be repeated",
    )
    alpn_protocols: list[str] = option(
        ["h2", "http/1.1"],
        "--alpn-protocol",
        metavar="NAME",
        help="protocol to offer: h2, http/1.1 or http/1.0, the first is preferred; may be repeated",
    )
    ssl_handshake_timeout: float = option(
        60.0,
        "--ssl-handshake-timeout",
        metavar="SECONDS",
        check=above(0),
        help="time that a client has for the TLS handshake",
    )
