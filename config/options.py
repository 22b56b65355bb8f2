"""The one table of settings.

Each is declared once, below, in the class of its group: type and name, default, flags, help and what else `Option`
knows. The command line, the environment, `Config`'s attributes, validation, `--print-config` and the reference manual
are made from it. Adding a setting is adding it here, and running `python -m hypercorn.config.manual`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import checks
from .checks import above, at_least, between, one_of
from .declaration import Option, as_mapping, collect, option

if TYPE_CHECKING:
    from logging import Logger
    from ssl import VerifyFlags, VerifyMode

_LARGEST_WINDOW = 2**31 - 1  # RFC 9113 §6.9.1


class ApplicationPathOptions:
    """Application"""

    application_path: str = option(
        "",
        help="what to serve: module:name, asgi:module:name, wsgi:module:name, or a file's path for the module",
    )


class ApplicationOptions:
    """Application"""

    factory: bool = option(False, "--factory", help="the name is a function that returns the application")
    app_dir: str | None = option(
        None,
        "--app-dir",
        metavar="DIR",
        help="directory to import the application from, instead of the current one",
    )
    chdir: str | None = option(
        None, "--chdir", metavar="DIR", help="change to this directory before the application is loaded"
    )
    env_file: str | None = option(
        None,
        "--env-file",
        metavar="FILE",
        help="read environment variables from this file (the real ones win)",
    )
    root_path: str = option(
        "",
        "--root-path",
        metavar="PATH",
        parse=checks.root_path,
        help="path that the application is mounted at",
    )
    lifespan: str = option(
        "auto",
        "--lifespan",
        metavar="MODE",
        check=one_of("auto", "on", "off"),
        help="run the ASGI lifespan: auto (if the application knows it), on or off",
    )
    startup_timeout: float = option(
        60.0, "--startup-timeout", metavar="SECONDS", check=above(0), help="time for the lifespan's start"
    )
    shutdown_timeout: float = option(
        60.0, "--shutdown-timeout", metavar="SECONDS", check=above(0), help="time for the lifespan's end"
    )
    max_app_queue_size: int = option(
        10,
        "--max-app-queue-size",
        metavar="N",
        check=at_least(1),
        help="messages that wait for the application before its peer is held back",
    )
    threads: int | None = option(
        None,
        "--threads",
        metavar="N",
        check=at_least(1),
        help="threads for WSGI applications in each worker (default: processors + 4, at most 32)",
    )
    wsgi_max_body_size: int = option(
        16 * 1024 * 1024,
        "--wsgi-max-body-size",
        metavar="BYTES",
        check=at_least(0),
        help="largest request body for a WSGI application",
    )
    wsgi_spool_size: int = option(
        512 * 1024,
        "--wsgi-spool-size",
        metavar="BYTES",
        check=at_least(0),
        help="request bodies for WSGI above this size wait on disk",
    )


class BindOptions:
    """Binding"""

    bind: list[str] = option(
        ["127.0.0.1:8000"],
        "-b",
        "--bind",
        metavar="BIND",
        variables={"PORT": "0.0.0.0:{}"},
        help="host:port, host, [IPv6]:port, unix:path, unix:@name or fd://number; may be repeated",
    )
    insecure_bind: list[str] = option(
        [], "--insecure-bind", metavar="BIND", help="bind for clear text when TLS is on; may be repeated"
    )
    quic_bind: list[str] = option(
        [],
        "--quic-bind",
        metavar="BIND",
        without_effect="HTTP/3 is not served yet",
        help="bind for HTTP/3 when TLS is on; may be repeated",
    )


class SocketOptions:
    """Binding"""

    backlog: int = option(
        100, "--backlog", metavar="N", check=at_least(0), help="connections that wait to be accepted"
    )
    reuse_port: bool | None = option(
        None, "--reuse-port", help="one listening socket for each worker (default: where the system can)"
    )
    umask: int | None = option(
        None,
        "-m",
        "--umask",
        metavar="MASK",
        parse=checks.umask,
        check=between(0, 0o777),
        help="mask for Unix socket files; octal with a leading zero",
    )
    user: int | None = option(
        None,
        "-u",
        "--user",
        parse=checks.user_id,
        help="user, name or number: owns Unix sockets, runs the workers",
    )
    group: int | None = option(
        None, "-g", "--group", parse=checks.group_id, help="group, name or number: as for --user"
    )


class WorkerOptions:
    """Workers"""

    workers: int = option(
        1,
        "-w",
        "--workers",
        metavar="N",
        variables={"WEB_CONCURRENCY": "{}"},
        check=at_least(0),
        help="worker processes; 0 serves in the process itself",
    )
    worker_class: str = option(
        "asyncio",
        "-k",
        "--worker-class",
        metavar="NAME",
        parse=checks.installed_worker_class,
        help="event loop: asyncio, uvloop or trio",
    )
    worker_connections: int = option(
        0,
        "--worker-connections",
        metavar="N",
        check=at_least(0),
        help="open connections in a worker, above which it accepts no more; 0: as many as descriptors allow",
    )
    worker_timeout: float = option(
        30.0,
        "--worker-timeout",
        metavar="SECONDS",
        check=at_least(0),
        help="a worker whose event loop stands still for so long is replaced; 0: never",
    )
    max_requests: int | None = option(
        None,
        "--max-requests",
        metavar="N",
        check=at_least(1),
        help="requests after which a worker is replaced",
    )
    max_requests_jitter: int = option(
        0,
        "--max-requests-jitter",
        metavar="N",
        check=at_least(0),
        help="at most so many more, drawn by each worker",
    )
    preload_app: bool = option(
        False, "--preload", help="load the application once, before the workers are forked, to share memory"
    )


class TimeoutOptions:
    """Timeouts and limits"""

    graceful_timeout: float = option(
        3.0,
        "--graceful-timeout",
        metavar="SECONDS",
        check=at_least(0),
        help="time that requests in flight have when a worker stops",
    )
    keep_alive_timeout: float = option(
        5.0, "--keep-alive", metavar="SECONDS", check=at_least(0), help="time that an idle connection is kept"
    )
    keep_alive_max_requests: int = option(
        1000, "--keep-alive-max-requests", metavar="N", check=at_least(1), help="requests on one connection"
    )
    header_timeout: float | None = option(
        None,
        "--header-timeout",
        metavar="SECONDS",
        check=above(0),
        help="time for a request's head once it has begun (default: --keep-alive bounds both)",
    )
    read_timeout: float | None = option(
        None,
        "--read-timeout",
        metavar="SECONDS",
        check=above(0),
        help="a peer that sends nothing for so long is cut",
    )
    write_timeout: float = option(
        60.0,
        "--write-timeout",
        metavar="SECONDS",
        check=at_least(0),
        help="a peer that takes nothing for so long is cut; 0: never",
    )
    limit_request_line: int = option(
        8190, "--limit-request-line", metavar="BYTES", check=at_least(1), help="longest request line (414)"
    )
    limit_request_fields: int = option(
        100, "--limit-request-fields", metavar="N", check=at_least(1), help="header fields of a request (431)"
    )
    limit_request_field_size: int = option(
        8190,
        "--limit-request-field-size",
        metavar="BYTES",
        check=at_least(1),
        help="longest header field (431)",
    )
    h11_max_incomplete_size: int = option(
        16 * 1024,
        "--h11-max-incomplete-size",
        metavar="BYTES",
        check=at_least(1),
        help="largest head of an HTTP/1.1 request",
    )


class HTTPOptions:
    """HTTP"""

    server_names: list[str] = option(
        [], "--server-name", metavar="NAME", help="Host that is served, any other gets 404; may be repeated"
    )
    include_server_header: bool = option(True, "--server-header", help="send the Server field")
    include_date_header: bool = option(True, "--date-header", help="send the Date field")
    alt_svc_headers: list[str] = option(
        [], "--alt-svc-header", metavar="VALUE", help="value of an Alt-Svc field to send; may be repeated"
    )
    h11_pass_raw_headers: bool = option(
        False, "--h11-pass-raw-headers", help="give applications the field names as received on HTTP/1.1"
    )
    h2c_upgrade: bool = option(True, "--h2c-upgrade", help="HTTP/2 in clear text by Upgrade")
    h2c_prior_knowledge: bool = option(
        True, "--h2c-prior-knowledge", help="HTTP/2 in clear text by prior knowledge"
    )


class HTTP2Options:
    """HTTP/2"""

    h2_max_concurrent_streams: int = option(
        100,
        "--h2-max-concurrent-streams",
        metavar="N",
        check=between(1, _LARGEST_WINDOW),
        help="streams open at once on a connection",
    )
    h2_max_header_list_size: int = option(
        2**16,
        "--h2-max-header-list-size",
        metavar="BYTES",
        check=at_least(1),
        help="size of a request's decoded header fields",
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
        help="what a peer may send on a stream before the application has read it",
    )
    h2_initial_connection_window_size: int = option(
        1024 * 1024,
        "--h2-initial-connection-window-size",
        metavar="BYTES",
        check=between(2**16 - 1, _LARGEST_WINDOW),
        help="the same for all streams of a connection",
    )
    h2_ping_interval: float | None = option(
        None, "--h2-ping-interval", metavar="SECONDS", check=above(0), help="ping idle peers so often"
    )
    h2_ping_timeout: float = option(
        20.0,
        "--h2-ping-timeout",
        metavar="SECONDS",
        check=above(0),
        help="a ping is answered within this time",
    )


class WebSocketOptions:
    """WebSocket"""

    websocket_max_message_size: int = option(
        16 * 1024 * 1024,
        "--websocket-max-message-size",
        metavar="BYTES",
        check=at_least(1),
        help="largest message (1009)",
    )
    websocket_ping_interval: float | None = option(
        None, "--websocket-ping-interval", metavar="SECONDS", check=above(0), help="ping peers so often"
    )
    websocket_ping_timeout: float | None = option(
        20.0,
        "--websocket-ping-timeout",
        metavar="SECONDS",
        check=at_least(0),
        help="a pong is awaited so long; 0 or none: for ever",
    )
    websocket_per_message_deflate: bool = option(
        True, "--websocket-per-message-deflate", help="compress messages where the peer offers it"
    )


class TLSOptions:
    """TLS"""

    certfile: str | None = option(
        None,
        "--certfile",
        metavar="FILE",
        help="certificate chain, PEM; may hold the key too; switches TLS on",
    )
    keyfile: str | None = option(None, "--keyfile", metavar="FILE", help="private key, PEM")
    keyfile_password: str | None = option(
        None, "--keyfile-password", metavar="TEXT", secret=True, help="password of the private key"
    )
    ca_certs: str | None = option(
        None, "--ca-certs", metavar="FILE", help="authorities that client certificates are checked against"
    )
    ciphers: str = option("ECDHE+AESGCM", "--ciphers", metavar="TEXT", help="OpenSSL's list, for TLS 1.2")
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
        help="names of ssl.VerifyFlags with commas between them",
    )
    tls_minimum_version: str = option(
        "1.2",
        "--tls-minimum-version",
        metavar="VERSION",
        parse=checks.version_number,
        check=one_of("1.2", "1.3"),
        help="lowest version that is spoken: 1.2 or 1.3",
    )
    sni_certificates: dict[str, tuple[str, ...]] = option(
        {},
        "--sni-certificate",
        metavar="NAME=CERTFILE,KEYFILE",
        parse=checks.certificates,
        secret=True,
        help="another certificate for this server name; may be repeated",
    )
    alpn_protocols: list[str] = option(
        ["h2", "http/1.1"],
        "--alpn-protocol",
        metavar="NAME",
        help="protocol to offer in TLS; may be repeated",
    )
    ssl_handshake_timeout: float = option(
        60.0, "--ssl-handshake-timeout", metavar="SECONDS", check=above(0), help="time for the handshake"
    )


class LogOptions:
    """Logging"""

    accesslog: str | Logger | None = option(
        None,
        "--access-logfile",
        metavar="FILE",
        parse=checks.log_target,
        deprecated=("--access-log",),
        help='file of the access log, or "-" for standard output',
    )
    access_log_format: str = option(
        '%(h)s %(l)s %(l)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        "--access-logformat",
        metavar="FORMAT",
        help="format of a line of the access log with % atoms (default: in the manual)",
    )
    errorlog: str | Logger | None = option(
        "-",
        "--error-logfile",
        "--log-file",
        metavar="FILE",
        parse=checks.log_target,
        deprecated=("--error-log",),
        help='file of the error log, or "-" for standard error',
    )
    loglevel: str = option(
        "INFO", "--log-level", metavar="LEVEL", parse=checks.log_level, help="lowest level that is logged"
    )
    log_format: str = option(
        "text", "--log-format", metavar="NAME", check=one_of("text", "json"), help="lines as text or as json"
    )
    use_colors: bool | None = option(None, "--use-colors", help="colour the log (default: on a terminal)")
    logconfig: str | None = option(
        None,
        "--log-config",
        metavar="FILE",
        help="logging configuration: ini, or json:, toml: or yaml: and a path",
    )
    logconfig_dict: dict[str, Any] | None = option(
        None, parse=as_mapping, help="the same as a table, used without --log-config"
    )


class LoggerOptions:
    """Logging"""

    logger_class: type[Any] | str = option(
        "hypercorn.logging.Logger",
        "--logger-class",
        metavar="CLASS",
        parse=checks.logger_class,
        help="dotted name of the class that logs (default: the server's own)",
    )


class MetricOptions:
    """Metrics"""

    statsd_host: str | None = option(
        None,
        "--statsd-host",
        metavar="HOST:PORT",
        help="where to send figures for statsd",
    )
    statsd_prefix: str = option(
        "",
        "--statsd-prefix",
        metavar="TEXT",
        help="what the names of the figures begin with",
    )
    dogstatsd_tags: str = option(
        "",
        "--dogstatsd-tags",
        metavar="TAGS",
        help="tags for figures, with commas between them",
    )


class ProcessOptions:
    """Process"""

    daemon: bool = option(False, "-D", "--daemon", help="run in the background")
    pid_path: str | None = option(
        None, "-p", "--pid", metavar="FILE", help="write the process id to this file"
    )
    proc_name: str | None = option(
        None, "--name", metavar="NAME", help="show this name in the list of processes"
    )


class DevelopmentOptions:
    """Development"""

    use_reloader: bool = option(False, "--reload", help="restart the workers when files change")
    reload_dirs: list[str] = option(
        [],
        "--reload-dir",
        metavar="DIR",
        help="watch this directory (default: the current one); may be repeated",
    )
    reload_includes: list[str] = option(
        [], "--reload-include", metavar="PATTERN", help="watch such files too, not only *.py; may be repeated"
    )
    reload_excludes: list[str] = option(
        [], "--reload-exclude", metavar="PATTERN", help="do not watch such files; may be repeated"
    )
    reload_poll: bool = option(
        False, "--reload-poll", help="look at the files again and again, for mounts that report no changes"
    )
    debug: bool = option(False, "--debug", help="asyncio's debug mode")


#: Every setting by its name, in the order of the help.
TABLE: dict[str, Option] = collect(
    (
        ApplicationPathOptions,
        ApplicationOptions,
        BindOptions,
        SocketOptions,
        WorkerOptions,
        TimeoutOptions,
        HTTPOptions,
        HTTP2Options,
        WebSocketOptions,
        TLSOptions,
        LogOptions,
        LoggerOptions,
        MetricOptions,
        ProcessOptions,
        DevelopmentOptions,
    )
)


class Options(
    ApplicationOptions,
    SocketOptions,
    WorkerOptions,
    TimeoutOptions,
    HTTPOptions,
    HTTP2Options,
    WebSocketOptions,
    TLSOptions,
    LogOptions,
    MetricOptions,
    ProcessOptions,
    DevelopmentOptions,
):
    """Attributes that `Config` and `Settings` share, with their defaults as class attributes.

    All of the table but what `Config` has as properties, or, as for the application, not before it is assigned.
    """
