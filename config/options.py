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
        help="what to serve: module:name, or path/to/file.py:name; asgi: or wsgi: in front of it says how it is called",
    )


class ApplicationOptions:
    """Application"""

    factory: bool = option(False, "--factory", help="the application is what the named function returns")
    app_dir: str | None = option(
        None,
        "--app-dir",
        metavar="DIR",
        help="import the application from this directory first",
    )
    chdir: str | None = option(None, "--chdir", metavar="DIR", help="change to this directory first")
    env_file: str | None = option(
        None,
        "--env-file",
        metavar="FILE",
        help="add the variables of this file to the environment, where those that are set win",
    )
    root_path: str = option(
        "",
        "--root-path",
        metavar="PATH",
        parse=checks.root_path,
        help="path below which a proxy has mounted the application",
    )
    lifespan: str = option(
        "auto",
        "--lifespan",
        metavar="MODE",
        check=one_of("auto", "on", "off"),
        help="run start and shutdown of an ASGI application: on, off, or auto: if it knows them",
    )
    startup_timeout: float = option(
        60.0,
        "--startup-timeout",
        metavar="SECONDS",
        check=above(0),
        help="time that an ASGI application has to start",
    )
    shutdown_timeout: float = option(
        60.0,
        "--shutdown-timeout",
        metavar="SECONDS",
        check=above(0),
        help="time that an ASGI application has to shut down",
    )
    max_app_queue_size: int = option(
        10,
        "--max-app-queue-size",
        metavar="N",
        check=at_least(1),
        help="received messages that may wait for the application; above, the client is held back",
    )
    threads: int | None = option(
        None,
        "--threads",
        metavar="N",
        check=at_least(1),
        help="threads in each worker for a WSGI application (default: processors + 4, at most 32)",
    )
    wsgi_max_body_size: int = option(
        16 * 1024 * 1024,
        "--wsgi-max-body-size",
        metavar="BYTES",
        check=at_least(0),
        help="largest request body that a WSGI application gets",
    )
    wsgi_spool_size: int = option(
        512 * 1024,
        "--wsgi-spool-size",
        metavar="BYTES",
        check=at_least(0),
        help="a larger request body for a WSGI application is kept on disk",
    )


class BindOptions:
    """Binding"""

    bind: list[str] = option(
        ["127.0.0.1:8000"],
        "-b",
        "--bind",
        metavar="BIND",
        variables={"PORT": "0.0.0.0:{}"},
        help="address to listen on: host:port, [IPv6]:port, unix:path, unix:@name or fd://number; may be repeated",
    )
    insecure_bind: list[str] = option(
        [],
        "--insecure-bind",
        metavar="BIND",
        help="address for HTTP without TLS while --bind has TLS; may be repeated",
    )
    quic_bind: list[str] = option(
        [],
        "--quic-bind",
        metavar="BIND",
        without_effect="HTTP/3 is not served yet",
        help="address for HTTP/3, which is not served yet; may be repeated",
    )


class SocketOptions:
    """Binding"""

    backlog: int = option(
        100, "--backlog", metavar="N", check=at_least(0), help="connections that may wait to be accepted"
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
        help="permissions that Unix sockets do not get; with a leading zero it is octal",
    )
    user: int | None = option(
        None,
        "-u",
        "--user",
        parse=checks.user_id,
        help="user who owns Unix sockets and, when started by root, runs the workers: a name or a number",
    )
    group: int | None = option(None, "-g", "--group", parse=checks.group_id, help="group, likewise")


class WorkerOptions:
    """Workers"""

    workers: int = option(
        1,
        "-w",
        "--workers",
        metavar="N",
        variables={"WEB_CONCURRENCY": "{}"},
        check=at_least(0),
        help="worker processes; 0: serve in this one, without a supervisor",
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
        help="connections that a worker holds at most; 0: as many as the system allows",
    )
    worker_timeout: float = option(
        30.0,
        "--worker-timeout",
        metavar="SECONDS",
        check=at_least(0),
        help="replace a worker whose event loop stands still for so long; 0: never",
    )
    max_requests: int | None = option(
        None,
        "--max-requests",
        metavar="N",
        check=at_least(1),
        help="replace a worker after so many requests",
    )
    max_requests_jitter: int = option(
        0,
        "--max-requests-jitter",
        metavar="N",
        check=at_least(0),
        help="spread --max-requests: each worker draws a number up to this one and adds it",
    )
    preload_app: bool = option(
        False,
        "--preload",
        help="load the application once for all workers, which saves memory; a reload does not load it again",
    )


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
        help="time that an idle connection is kept open",
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
        help="cut a client that sends nothing for so long, whatever it waits for",
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
        help="header fields that a request may have; above: 431",
    )
    limit_request_field_size: int = option(
        8190,
        "--limit-request-field-size",
        metavar="BYTES",
        check=at_least(1),
        help="longest header field; above: 431",
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
        check=at_least(1),
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
        help="what a client may send ahead of the application in one request",
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
        help="protocol to offer, the first is preferred; may be repeated",
    )
    ssl_handshake_timeout: float = option(
        60.0,
        "--ssl-handshake-timeout",
        metavar="SECONDS",
        check=above(0),
        help="time that a client has for the TLS handshake",
    )


class LogOptions:
    """Logging"""

    accesslog: str | Logger | None = option(
        None,
        "--access-logfile",
        metavar="FILE",
        parse=checks.log_target,
        deprecated=("--access-log",),
        help='write a line for each request to this file, or "-" for standard output (default: none)',
    )
    access_log_format: str = option(
        '%(h)s %(l)s %(l)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        "--access-logformat",
        metavar="FORMAT",
        help="what such a line says: %(h)s is the client, %(s)s the status and so on (default: in docs/settings.md)",
    )
    errorlog: str | Logger | None = option(
        "-",
        "--error-logfile",
        "--log-file",
        metavar="FILE",
        parse=checks.log_target,
        deprecated=("--error-log",),
        help='write all other messages to this file, or "-" for standard error',
    )
    loglevel: str = option(
        "INFO", "--log-level", metavar="LEVEL", parse=checks.log_level, help="lowest level that is logged"
    )
    log_format: str = option(
        "text",
        "--log-format",
        metavar="NAME",
        check=one_of("text", "json"),
        help="write lines as text or as json",
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
        help="log with this class, module.Class (default: the server's own)",
    )


class MetricOptions:
    """Metrics"""

    statsd_host: str | None = option(
        None,
        "--statsd-host",
        metavar="HOST:PORT",
        help="send counts and times of requests to this statsd server",
    )
    statsd_prefix: str = option(
        "",
        "--statsd-prefix",
        metavar="TEXT",
        help="put this before the names of statsd figures",
    )
    dogstatsd_tags: str = option(
        "",
        "--dogstatsd-tags",
        metavar="TAGS",
        help="add these tags to statsd figures, with commas between them",
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
        False,
        "--reload-poll",
        help="look at the files again and again, where changes are not reported (network mounts, some containers)",
    )
    debug: bool = option(False, "--debug", help="switch asyncio's debug mode on")


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
