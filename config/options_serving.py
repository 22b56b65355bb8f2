"""Settings of what is served, where, and by which processes; `options` puts the table together."""

from __future__ import annotations

from . import checks
from .checks import above, at_least, between, one_of
from .declaration import option

#: The arbiter can supervise twice as many processes: each may have a successor beside it.
MOST_WORKERS = 500


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
        help="add the variables of this file to the environment, where those that are set win; needs python-dotenv",
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
        100,
        "--backlog",
        metavar="N",
        check=between(0, 2**31 - 1),
        help="connections that may wait to be accepted",
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
        check=between(0, MOST_WORKERS),
        help="worker processes, up to 500; 0: serve in this one, without a supervisor",
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

    use_reloader: bool = option(
        False,
        "--reload",
        help="replace the workers when files change, and read changed files of settings again",
    )
    reload_dirs: list[str] = option(
        [],
        "--reload-dir",
        metavar="DIR",
        help="watch this directory (default: the current one and the application's); may be repeated",
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
        help="look at the files again and again, where changes are not reported (network mounts, some containers);"
        " of several changes of a file in one second only the first is seen",
    )
    debug: bool = option(False, "--debug", help="switch asyncio's debug mode on")
