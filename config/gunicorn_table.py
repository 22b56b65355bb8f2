"""Every setting of Gunicorn 27, once: how its value is understood, its default, its flags, and what it becomes here.

A setting becomes `Line`s: a setting of ours with its value, or a sentence about what to do instead, or both. Adding or
changing one is changing its row.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import gunicorn_values as values
from .gunicorn_values import Kind, account, anything, boolean, class_name, integer, mapping, text, texts
from .options import TABLE
from .options_protocols import LARGEST_SETTING

#: Larger than any message or body.
_UNLIMITED = 2**40


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the translation.

    Attributes:
        source: Gunicorn's setting.
        name: of ours, None for a sentence alone.
        value: of ours.
        text: what to know of it.
    """

    source: str
    name: str | None = None
    value: Any = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """All settings of Gunicorn with their values, and the names of those that somebody set."""

    values: dict[str, Any]
    said: frozenset[str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def worker(self) -> str:
        """What kind of worker it is, see `gunicorn_values.kind_of_worker`."""
        return values.kind_of_worker(self["worker_class"], self["threads"])

    @property
    def is_wsgi(self) -> bool:
        """False also where the worker class does not tell."""
        return self.worker in ("sync", "gthread", "greenlets")

    @property
    def has_tls(self) -> bool:
        return self["certfile"] is not None

    @property
    def speaks_http2(self) -> bool:
        return "h2" in values.protocols(self["http_protocols"])


Translation = Callable[[Given, str], Iterator[Line]]


@dataclass(frozen=True, slots=True)
class Row:
    """One setting of Gunicorn.

    Attributes:
        kind: understands what was given, raises ValueError.
        default: Gunicorn's.
        becomes: what it is here.
        flags: of GUNICORN_CMD_ARGS, where it is not `--` and the name with hyphens; "" for none.
    """

    name: str
    kind: Kind
    default: Any
    becomes: Translation
    flags: str | None = None

    @property
    def all_flags(self) -> list[str]:
        return ["--" + self.name.replace("_", "-")] if self.flags is None else self.flags.split()


def same(to: str, sentence: str = "", convert: Kind = anything) -> Translation:
    """Our setting `to` means the same, and so does its default."""

    def translate(given: Given, name: str) -> Iterator[Line]:
        if name in given.said and given[name] is not None:
            yield Line(name, to, convert(given[name]), sentence)

    return translate


def carried(to: str, sentence: str = "", convert: Kind = anything) -> Translation:
    """Our setting `to` means the same, but its default is another one: Gunicorn's is written down."""

    def translate(given: Given, name: str) -> Iterator[Line]:
        default = "" if name in given.said else f"Gunicorn's default; Hypercorn's is {TABLE[to].default:g}"
        yield Line(name, to, convert(given[name]), ". ".join(part for part in (default, sentence) if part))

    return translate


def missing(sentence: str) -> Translation:
    """There is nothing of the kind here; `sentence` says what to do instead, {} is the value."""

    def translate(given: Given, name: str) -> Iterator[Line]:
        if name in given.said and given[name] != ROWS[name].default:
            yield Line(name, text=sentence.format(given[name]))

    return translate


def silent(_given: Given, _name: str) -> Iterator[Line]:
    """Nothing is to be said: another row speaks for it, or it says nothing about serving."""
    yield from ()


# Settings that depend on others


def _bind(given: Given, name: str) -> Iterator[Line]:
    if name in given.said:
        yield Line(
            name,
            "bind",
            [values.bind(item) for item in given[name]],
            "$PORT, where it is set, wins over this line",
        )


def _workers(given: Given, name: str) -> Iterator[Line]:
    if name in given.said:
        yield Line(
            name, "workers", max(given[name], 1), "$WEB_CONCURRENCY, where it is set, wins over this line"
        )


def _worker_class(given: Given, name: str) -> Iterator[Line]:
    worker = given.worker
    loop = "asyncio" if worker == "asgi on asyncio" or given["asgi_loop"] == "asyncio" else "uvloop"
    sentence = {
        "sync": "a class of workers is not needed: this is the event loop below the threads",
        "gthread": "a class of workers is not needed: this is the event loop below the threads",
        "greenlets": "there are no greenlets and nothing is patched: each request has a thread",
        "tornado": "no Tornado worker: serve the WSGI or ASGI form of the application, else keep Gunicorn",
        "unknown": f"{given[name]} is not known: see whether the application is ASGI or WSGI",
    }.get(worker, "")
    yield Line(name, "worker_class", loop, sentence)


def _threads(given: Given, name: str) -> Iterator[Line]:
    if given.worker == "gthread":
        yield Line(name, "threads", max(given[name], 1))
    elif given.worker == "sync":
        text = "a sync worker serves one request at a time; more threads serve more, if the application allows it"
        yield Line(name, "threads", 1, text)
    elif given.worker == "greenlets":
        text = "as many requests as are to wait side by side in each worker; greenlets were bounded by worker_connections"
        yield Line("worker_class", "threads", 64, text)


def _worker_connections(given: Given, name: str) -> Iterator[Line]:
    if given.worker in ("gthread", "greenlets"):
        yield from carried("worker_connections")(given, name)
    elif name in given.said:
        yield Line(
            name,
            text=f"had no effect on this class of workers; worker_connections = {given[name]} would have",
        )


def _timeout(given: Given, name: str) -> Iterator[Line]:
    sentence = ""
    if given.worker in ("sync", "unknown"):
        sentence = (
            "watches the event loop only: a request may take longer, limit it in the proxy or the application"
        )
    if name in given.said or sentence:
        yield Line(name, "worker_timeout", given[name], sentence)
    text = "Gunicorn has no limit of its own for a request's head; without this keep_alive_timeout would bound it"
    yield Line(name, "header_timeout", given[name] or 30, text)


def _keepalive(given: Given, name: str) -> Iterator[Line]:
    if given[name] == 0 and given.worker != "sync":
        yield Line(name, "keep_alive_max_requests", 1, "keepalive = 0: a connection serves one request")
    elif given.worker == "sync":
        text = "a sync worker closed each connection; here they are kept for so long, which costs no thread"
        yield Line(name, "keep_alive_timeout", given[name] or 2, text)
    else:
        yield from carried("keep_alive_timeout")(given, name)


def _message_size(given: Given, name: str) -> Iterator[Line]:
    if name in given.said:
        yield Line(name, "websocket_max_message_size", given[name] or _UNLIMITED)


def _head_size(given: Given, name: str) -> Iterator[Line]:
    yield from carried("limit_request_line", convert=values.line_limit)(given, name)
    line = values.line_limit(given[name])
    fields = values.fields_limit(given["limit_request_fields"])
    size = line + fields * (values.field_size_limit(given["limit_request_field_size"]) + 2) + 4
    text = "what Gunicorn's three limits allow together; less is safer, Hypercorn's default is 16384"
    yield Line(name, "h11_max_incomplete_size", size, text)


def _extra_files(given: Given, name: str) -> Iterator[Line]:
    directory = os.path.abspath(given["chdir"] or os.curdir)
    patterns: list[str] = []
    directories: list[str] = []
    for item in given[name]:
        path = os.path.join(directory, item)
        if path.startswith(os.path.join(directory, "")):
            patterns.append(os.path.relpath(path, directory))
        else:
            patterns.append(os.path.basename(path))
            directories.append(os.path.dirname(path))
    if patterns:
        yield Line(name, "reload_includes", patterns)
    if directories:
        yield Line(name, "reload_dirs", [".", *dict.fromkeys(directories)])


def _umask(given: Given, name: str) -> Iterator[Line]:
    if name in given.said or any(item.startswith("unix:") for item in given["bind"]):
        text = f"for Unix sockets, as in Gunicorn: {given[name]} is {given[name]:#o}"
        yield Line(name, "umask", given[name], text)


def _raw_env(given: Given, name: str) -> Iterator[Line]:
    if given[name]:
        names = ", ".join(item.partition("=")[0] for item in given[name])
        yield Line(
            name,
            text=f"set {names} in the unit (Environment=), the container or a file: env_file, which needs"
            " hypercorn[dotenv] and does not replace variables that are set",
        )


def _forwarded(given: Given, name: str) -> Iterator[Line]:
    yield Line(
        name,
        text="Gunicorn took the scheme from X-Forwarded-Proto of these peers"
        f" ({', '.join(given[name]) or 'none'}, and of Unix sockets); here fields of proxies mean nothing by themselves:"
        " wrap an ASGI application in hypercorn.middleware.ProxyFixMiddleware, a WSGI application in"
        " werkzeug.middleware.proxy_fix.ProxyFix, or set Django's SECURE_PROXY_SSL_HEADER",
    )


def _pythonpath(given: Given, name: str) -> Iterator[Line]:
    first, *others = [item.strip() for item in (given[name] or "").split(",") if item.strip()] or [""]
    if first:
        text = f"only the first; put {', '.join(others)} into $PYTHONPATH" if others else ""
        yield Line(name, "app_dir", first, text)


def _root_path(given: Given, name: str) -> Iterator[Line]:
    if given[name] and given.is_wsgi:
        yield Line(
            name, text=f"Gunicorn ignores it for WSGI; root_path = {given[name]!r} would set SCRIPT_NAME here"
        )
    else:
        yield from same("root_path")(given, name)


def _access_format(given: Given, name: str) -> Iterator[Line]:
    if name in given.said or given["accesslog"]:
        text = "[time] [pid] [INFO] stands before each line; r and H are spelt out to print what they did; h has the port too; {x}e is of the process's environment"
        yield Line(name, "access_log_format", values.access_format(given[name]), text)


def _loglevel(given: Given, name: str) -> Iterator[Line]:
    if name in given.said and given[name]:
        known = given[name].lower() in ("critical", "error", "warning", "info", "debug")
        text = "" if known else f"Gunicorn takes {given[name]!r} for info"
        yield Line(name, "loglevel", given[name].lower() if known else "info", text)


def _log_dictionary(given: Given, name: str) -> Iterator[Line]:
    if given[name]:
        yield Line(
            name, "logconfig_dict", values.log_dictionary(given[name]), "gunicorn. in names became hypercorn."
        )


def _log_file(prefix: str) -> Translation:
    text = "rename the loggers in it: gunicorn.error to hypercorn.error, gunicorn.access to hypercorn.access"
    return same("logconfig", text, lambda path: prefix + path)


def _statsd(given: Given, name: str) -> Iterator[Line]:
    if given[name]:
        host = values.statsd_host(given[name])
        text = "the figures' names begin with hypercorn. for gunicorn.; there is no gauge of the workers"
        if host is None:
            yield Line(name, text="only by UDP here: have statsd listen on a port")
        else:
            yield Line(name, "statsd_host", host, text)


def _keyfile(given: Given, name: str) -> Iterator[Line]:
    if given[name] and not given.has_tls:
        yield Line(name, text="TLS needs a certfile too")
    else:
        yield from same("keyfile")(given, name)


def _cert_reqs(given: Given, name: str) -> Iterator[Line]:
    if name in given.said and given.has_tls:
        names = ("CERT_NONE", "CERT_OPTIONAL", "CERT_REQUIRED")
        if given[name] >= len(names):
            raise ValueError(f"0, 1 or 2 is wanted, not {given[name]!r}")
        yield Line(name, "verify_mode", names[given[name]])


def _ciphers(given: Given, name: str) -> Iterator[Line]:
    if given[name] or not given.has_tls:
        yield from same("ciphers")(given, name)
    else:
        yield Line(
            name,
            text="Gunicorn leaves them to OpenSSL; here TLS 1.2 is spoken with ECDHE+AESGCM only, unless ciphers says more",
        )


def _protocols(given: Given, name: str) -> Iterator[Line]:
    if given.has_tls:
        default = "Gunicorn's default; Hypercorn offers HTTP/2 too" if name not in given.said else ""
        yield Line(name, "alpn_protocols", values.protocols(given[name]), default)


def _clear_http2(given: Given, name: str) -> Iterator[Line]:
    mode = given[name] if given.speaks_http2 else "off"
    default = "" if name in given.said else "Gunicorn's default; Hypercorn's is true"
    text = "for every peer: Gunicorn allows it to those of forwarded_allow_ips" if mode != "off" else default
    yield Line(name, "h2c_upgrade", mode in ("upgrade", "both"), text)
    yield Line(name, "h2c_prior_knowledge", mode in ("prior-knowledge", "both", "on"), text)


def _http2(to: str, unlimited: int = 0) -> Translation:
    def translate(given: Given, name: str) -> Iterator[Line]:
        if given.speaks_http2:
            how = same if TABLE[to].default == ROWS[name].default else carried
            yield from how(to, "", convert)(given, name)

    def convert(size: int) -> int:
        return size or unlimited

    return translate


def _application(given: Given, name: str) -> Iterator[Line]:
    if given[name]:
        yield Line(name, "application_path", values.application(given[name], given.worker))


def _body_size(given: Given, name: str) -> Iterator[Line]:
    if given.is_wsgi:
        text = "Gunicorn does not limit request bodies, Hypercorn's default is 16777216: choose a limit"
        yield Line("worker_class", "wsgi_max_body_size", _UNLIMITED, text)
    yield from missing("requests wait on disk in $TMPDIR: set that to {}")(given, name)


_PREFORK = "each worker imports the application itself: do it where the application's module is imported"
_START = "{}, or in the unit (ExecStartPre=)".format
_UWSGI = "uwsgi is not spoken: have the proxy speak HTTP (nginx: proxy_pass for uwsgi_pass)"
_LENIENT = "requests must keep to RFC 9112; have the client or the proxy repaired"
_SYSLOG = "have journald or the container take the output, or give a SysLogHandler in a log configuration"
_DIRTY = "no side processes: use a task queue or concurrent.futures.ProcessPoolExecutor"
_PROXY = "the PROXY protocol is not spoken: have the proxy send X-Forwarded-For or Forwarded"

_ROWS = (
    Row("config", text, "./gunicorn.conf.py", silent, "-c --config"),
    Row("wsgi_app", text, None, _application, ""),
    # Server socket
    Row("bind", texts, ["127.0.0.1:8000"], _bind, "-b --bind"),
    Row("backlog", integer, 2048, carried("backlog")),
    # Workers
    Row("workers", integer, 1, _workers, "-w --workers"),
    Row("worker_class", class_name, "sync", _worker_class, "-k --worker-class"),
    Row("threads", integer, 1, _threads),
    Row("worker_connections", integer, 1000, _worker_connections),
    Row("max_requests", integer, 0, same("max_requests", convert=lambda number: number or None)),
    Row("max_requests_jitter", integer, 0, same("max_requests_jitter")),
    Row("timeout", integer, 30, _timeout, "-t --timeout"),
    Row("graceful_timeout", integer, 30, carried("graceful_timeout")),
    Row("keepalive", integer, 2, _keepalive, "--keep-alive"),
    Row("asgi_loop", text, "auto", silent),
    Row("asgi_lifespan", text, "auto", same("lifespan")),
    Row("asgi_disconnect_grace_period", integer, 3, missing(
        "an application is told of a disconnect and never cancelled: have it watch for http.disconnect")),
    Row("websocket_max_message_size", integer, 16777216, _message_size),
    Row("http_parser", text, "auto", silent),
    # Security
    Row("limit_request_line", integer, 4094, _head_size),
    Row("limit_request_fields", integer, 100, same("limit_request_fields", convert=values.fields_limit)),
    Row("limit_request_field_size", integer, 8190, same(
        "limit_request_field_size", convert=values.field_size_limit), "--limit-request-field_size"),
    # Debugging
    Row("reload", boolean, False, same(
        "use_reloader", "watches the directories of reload_dirs, not the imported modules")),
    Row("reload_engine", text, "auto", same("reload_poll", convert=lambda engine: engine == "poll")),
    Row("reload_extra_files", texts, [], _extra_files, "--reload-extra-file"),
    Row("spew", boolean, False, missing("use python -m trace or a debugger")),
    Row("check_config", boolean, False, missing("is a flag here: hypercorn --check-config")),
    Row("print_config", boolean, False, missing("is a flag here: hypercorn --print-config")),
    # Server mechanics
    Row("preload_app", boolean, False, same("preload_app"), "--preload"),
    Row("sendfile", boolean, True, missing("there is no switch"), "--no-sendfile"),
    Row("reuse_port", boolean, False, same("reuse_port")),
    Row("chdir", text, None, same("chdir")),
    Row("daemon", boolean, False, same("daemon"), "-D --daemon"),
    Row("raw_env", texts, [], _raw_env, "-e --env"),
    Row("pidfile", text, None, same("pid_path"), "-p --pid"),
    Row("worker_tmp_dir", text, None, missing("not needed: workers beat in shared memory, not in files")),
    Row("user", account, None, same("user"), "-u --user"),
    Row("group", account, None, same("group"), "-g --group"),
    Row("umask", integer, 0, _umask, "-m --umask"),
    Row("initgroups", boolean, False, missing("not needed: workers always get the groups of their user")),
    Row("tmp_upload_dir", text, None, _body_size, ""),
    Row("secure_scheme_headers", mapping, {}, missing(
        "there is no such list: the middleware of forwarded_allow_ips reads X-Forwarded-Proto"), ""),
    Row("forwarded_allow_ips", lambda given: (text(given) or "").split(","), ["127.0.0.1", "::1"], _forwarded),
    Row("pythonpath", text, None, _pythonpath),
    Row("paste", text, None, missing(
        "serve a module that says: from paste.deploy import loadapp; app = loadapp('config:{}', relative_to='.')"),
        "--paste --paster"),
    Row("raw_paste_global_conf", texts, [], missing("give global_conf to loadapp, see paste"), "--paste-global"),
    Row("proxy_protocol", values.switch, "off", missing(_PROXY)),
    Row("proxy_allow_ips", anything, "127.0.0.1,::1", missing(_PROXY), "--proxy-allow-from"),
    Row("protocol", text, "http", missing(_UWSGI)),
    Row("uwsgi_allow_ips", anything, "127.0.0.1,::1", missing(_UWSGI), "--uwsgi-allow-from"),
    Row("permit_obsolete_folding", boolean, False, missing(_LENIENT)),
    Row("strip_header_spaces", boolean, False, missing(_LENIENT)),
    Row("permit_unconventional_http_method", boolean, False, missing(_LENIENT)),
    Row("permit_unconventional_http_version", boolean, False, missing(_LENIENT)),
    Row("casefold_http_method", boolean, False, missing(_LENIENT)),
    Row("forwarder_headers", anything, "SCRIPT_NAME,PATH_INFO", missing(
        "no request sets SCRIPT_NAME or PATH_INFO: say root_path, or use the middleware of forwarded_allow_ips")),
    Row("header_map", text, "drop", missing("names with an underscore are dropped for WSGI, {} is not offered")),
    Row("root_path", text, None, _root_path),
    # Logging
    Row("accesslog", text, None, same("accesslog"), "--access-logfile"),
    Row("disable_redirect_access_to_syslog", boolean, False, missing(_SYSLOG)),
    Row("access_log_format", text, '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"', _access_format,
        "--access-logformat"),
    Row("errorlog", text, "-", same("errorlog"), "--error-logfile --log-file"),
    Row("loglevel", text, "info", _loglevel, "--log-level"),
    Row("capture_output", boolean, False, missing("have journald, the container or the shell take the output")),
    Row("logger_class", class_name, "gunicorn.glogging.Logger", missing(
        "{} logs in Gunicorn's way: derive a class from hypercorn.logging.Logger and name it in logger_class")),
    Row("logconfig", text, None, _log_file(""), "--log-config"),
    Row("logconfig_dict", mapping, {}, _log_dictionary, ""),
    Row("logconfig_json", text, None, _log_file("json:"), "--log-config-json"),
    Row("syslog_addr", text, None, missing(_SYSLOG), "--log-syslog-to"),
    Row("syslog", boolean, False, missing(_SYSLOG), "--log-syslog"),
    Row("syslog_prefix", text, None, missing(_SYSLOG), "--log-syslog-prefix"),
    Row("syslog_facility", text, "user", missing(_SYSLOG), "--log-syslog-facility"),
    Row("enable_stdio_inheritance", boolean, False, missing(
        "a daemon has no output: name log files, or let systemd run the service"), "-R --enable-stdio-inheritance"),
    Row("statsd_host", text, None, _statsd),
    Row("dogstatsd_tags", text, None, same("dogstatsd_tags")),
    Row("statsd_prefix", text, None, same("statsd_prefix")),
    Row("enable_backlog_metric", boolean, False, missing("read the queue with: ss -ltn")),
    # Process naming
    Row("proc_name", text, None, same("proc_name"), "-n --name"),
    Row("default_proc_name", text, "gunicorn", silent, ""),
    # Hooks
    Row("on_starting", anything, None, missing(_START("before the command starts")), ""),
    Row("on_reload", anything, None, missing("where the command to reload is given (systemd: ExecReload=)"), ""),
    Row("when_ready", anything, None, missing(
        "systemd is told when workers are ready (Type=notify), others see the log line"), ""),
    Row("pre_fork", anything, None, missing(_PREFORK), ""),
    Row("post_fork", anything, None, missing(
        _PREFORK + "; with preload_app use os.register_at_fork(after_in_child=...)"), ""),
    Row("post_worker_init", anything, None, missing(
        "at the end of the application's module, or in the lifespan's startup (ASGI)"), ""),
    Row("worker_int", anything, None, missing("in the lifespan's shutdown (ASGI) or with atexit"), ""),
    Row("worker_abort", anything, None, missing("a worker that hangs has its stacks written to the error log"), ""),
    Row("pre_exec", anything, None, missing("where the upgrade is asked for, before USR2 is sent"), ""),
    Row("pre_request", anything, None, missing("in a middleware of the application"), ""),
    Row("post_request", anything, None, missing("in a middleware of the application"), ""),
    Row("child_exit", anything, None, missing(
        "nothing runs in the arbiter: clean up with atexit in the worker, or in a job of its own (prometheus_client:"
        " mark_process_dead)"), ""),
    Row("worker_exit", anything, None, missing("in the lifespan's shutdown (ASGI) or with atexit"), ""),
    Row("nworkers_changed", anything, None, missing("the number is in the log"), ""),
    Row("on_exit", anything, None, missing("after the command ends, or in the unit (ExecStopPost=)"), ""),
    Row("ssl_context", anything, None, missing(
        "start the server from a program: override create_ssl_context of hypercorn.config.Config, then"
        " hypercorn.run.run(config)"), ""),
    # TLS
    Row("keyfile", text, None, _keyfile),
    Row("certfile", text, None, same("certfile")),
    Row("ssl_version", anything, None, missing("Gunicorn ignores it; here tls_minimum_version is 1.2 or 1.3")),
    Row("cert_reqs", integer, 0, _cert_reqs),
    Row("ca_certs", text, None, same("ca_certs")),
    Row("suppress_ragged_eofs", boolean, True, silent),
    Row("do_handshake_on_connect", boolean, False, silent),
    Row("ciphers", text, None, _ciphers),
    # HTTP/2
    Row("http_protocols", anything, "h1", _protocols),
    Row("http2_cleartext", values.switch, "off", _clear_http2),
    Row("http2_max_concurrent_streams", integer, 100, _http2("h2_max_concurrent_streams")),
    Row("http2_initial_window_size", integer, 65535, _http2("h2_initial_stream_window_size")),
    Row("http2_max_frame_size", integer, 16384, _http2("h2_max_inbound_frame_size")),
    Row("http2_max_header_list_size", integer, 65536, _http2("h2_max_header_list_size", LARGEST_SETTING)),
    # Dirty arbiters
    Row("dirty_apps", anything, [], missing(_DIRTY), "--dirty-app"),
    Row("dirty_workers", integer, 0, missing(_DIRTY)),
    Row("dirty_timeout", integer, 300, missing(_DIRTY)),
    Row("dirty_threads", integer, 1, missing(_DIRTY)),
    Row("dirty_graceful_timeout", integer, 30, missing(_DIRTY)),
    Row("on_dirty_starting", anything, None, missing(_DIRTY), ""),
    Row("dirty_post_fork", anything, None, missing(_DIRTY), ""),
    Row("dirty_worker_init", anything, None, missing(_DIRTY), ""),
    Row("dirty_worker_exit", anything, None, missing(_DIRTY), ""),
    # Control
    Row("control_socket", text, None, missing("no control socket: send signals to the arbiter")),
    Row("control_socket_mode", integer, 0o600, missing("no control socket: send signals to the arbiter")),
    Row("control_socket_disable", boolean, False, silent, "--no-control-socket"),
)  # fmt: skip

#: Every setting by its name.
ROWS: dict[str, Row] = {row.name: row for row in _ROWS}
