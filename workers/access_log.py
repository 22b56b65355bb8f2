"""Access lines: one per response, two per WebSocket (its handshake and its end).

The format string is taken apart once; what is left per line is one `%` over a tuple of exactly the values
that the format names. Nothing is computed for atoms that it does not name, and where nobody wants access
lines there is no `AccessLog` at all.

Values that a peer chose are escaped (`\\xHH` for control characters, quotes and backslashes), so that no
request can forge a line or a field.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
from collections.abc import Callable
from http import HTTPStatus
from time import localtime, strftime, time
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from .log_formats import SecondStamp, iso_time, line_stamp
from .log_targets import LogTarget
from .logger_class import CustomAccessLog, makes_access_lines
from .logs import ACCESS, DIRECTIVE, access_logger, check_format

if TYPE_CHECKING:
    from ..config.settings import Settings
    from .runtime import Runtime

Fields: TypeAlias = list[tuple[bytes, bytes]]


class AccessRecord:
    """What happened in one exchange.

    Attributes:
        client, server: (address, port); None for Unix sockets.
        method: `GET` for a WebSocket.
        scheme: `http`, `https`, `ws` or `wss`.
        raw_path: as sent, without the query.
        query: what followed `?`, or `b""`.
        http_version: `1.0`, `1.1` or `2`.
        status: status code of the response; 0 if none was sent.
        request_fields: names in lower case.
        response_fields: as the application gave them.
        bytes_sent: bytes of content (for a WebSocket: of messages).
        duration: seconds, from the head of the request on.
        event: `request`; `open` and `close` of a WebSocket.
        close_code: of a WebSocket's `close` (RFC 6455 §7.4); takes the place of the status.
    """

    __slots__ = (
        "bytes_sent",
        "client",
        "close_code",
        "duration",
        "event",
        "http_version",
        "method",
        "query",
        "raw_path",
        "request_fields",
        "response_fields",
        "scheme",
        "server",
        "status",
    )

    def __init__(  # noqa: PLR0913 - plain data, made once per request on the hot path
        self,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        method: str,
        scheme: str,
        raw_path: bytes,
        query: bytes,
        http_version: str,
        status: int,
        request_fields: Fields,
        response_fields: Fields,
        bytes_sent: int,
        duration: float,
        event: Literal["request", "open", "close"] = "request",
        close_code: int | None = None,
    ) -> None:
        self.client = client
        self.server = server
        self.method = method
        self.scheme = scheme
        self.raw_path = raw_path
        self.query = query
        self.http_version = http_version
        self.status = status
        self.request_fields = request_fields
        self.response_fields = response_fields
        self.bytes_sent = bytes_sent
        self.duration = duration
        self.event = event
        self.close_code = close_code


class AccessLog(Protocol):
    """Takes note of exchanges. Does not raise, does not block beyond `log_targets.PATIENCE_S`."""

    def log(self, record: AccessRecord) -> None: ...

    def close(self) -> None:
        """Give back what is held for this server alone; the loggers stay."""
        ...


def make_access_log(settings: Settings, runtime: Runtime) -> AccessLog | None:
    """What the settings ask for, or None if that is nothing. Call it in the worker, after `logs.configure`.

    Raises:
        LogConfigurationError: the format of lines is wrong, or `statsd_host` is no host and port.
    """
    if makes_access_lines(settings):
        return CustomAccessLog(settings, runtime)
    logger = access_logger(settings)
    log = None if logger is None else LineAccessLog(settings, logger)
    if settings.statsd_host is None:
        return log
    from .statsd import StatsdAccessLog

    return StatsdAccessLog(settings, log)


class LineAccessLog:
    """Writes lines: directly to the target that `logs.configure` made, else through the logger."""

    def __init__(self, settings: Settings, logger: logging.Logger) -> None:
        self._logger = logger
        self._target = _sole_target(logger)
        if settings.log_format == "json":
            self.log = self._log_json
        else:
            self._render = compile_format(settings.access_log_format)
            self._stamp = line_stamp()
            self._after_stamp = f"] [{os.getpid()}] [INFO] "
            self.log = self._log_text

    def _log_text(self, record: AccessRecord) -> None:
        now = time()
        line = self._render(record, now)
        if self._target is not None:
            self._target.write_line("[" + self._stamp(now) + self._after_stamp + line)
        else:
            self._logger.info("%s", line)

    def _log_json(self, record: AccessRecord) -> None:
        facts = describe(record)
        if self._target is not None:
            head = {"time": iso_time(time()), "level": "INFO", "logger": ACCESS, "pid": os.getpid()}
            self._target.write_line(_encode_json(head | facts))
        else:
            self._logger.info("%s", _encode_json(facts))

    def close(self) -> None:
        """Nothing: targets belong to the logger."""


_encode_json = json.JSONEncoder(separators=(",", ":")).encode


def _sole_target(logger: logging.Logger) -> LogTarget | None:
    """Where lines can go past `logging`: nobody else listens, filters or formats."""
    handlers = logger.handlers
    if logger.name != ACCESS or logger.propagate or logger.filters or len(handlers) != 1:
        return None
    handler = handlers[0]
    return handler if isinstance(handler, LogTarget) and not handler.filters else None


# ---- text

Atom: TypeAlias = Callable[[AccessRecord], Any]

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), ord('"'), ord("\\"))}


def compile_format(access_log_format: str) -> Callable[[AccessRecord, float], str]:
    """A function of a record and the time of day (seconds since the epoch) that gives the line.

    Atoms that do not exist give `-`. The environment (`%({x}e)s`) is read here, once.

    Raises:
        LogConfigurationError: a `%` begins neither `%%` nor `%(atom)s`.
    """
    check_format(access_log_format)
    template: list[str] = []
    atoms: list[Atom] = []
    stamp = SecondStamp(_render_common_log_time)
    moment = 0.0
    position = 0
    for match in DIRECTIVE.finditer(access_log_format):
        template.append(access_log_format[position : match.start()])
        position = match.end()
        percent, name, flags, conversion = match.groups()
        if percent:
            template.append("%%")
        else:
            template.append(f"%{flags}{conversion}" if name in _NUMBERS or conversion in "rsa" else "%s")
            atoms.append((lambda record: stamp(moment)) if name == "t" else _find_atom(name))
    template.append(access_log_format[position:])
    pattern, functions = "".join(template), tuple(atoms)

    def render(record: AccessRecord, now: float) -> str:
        nonlocal moment
        moment = now
        return pattern % tuple([atom(record) for atom in functions])

    return render


def _render_common_log_time(second: int) -> str:
    moment = localtime(second)
    # Not %b, which speaks the language of the locale.
    month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][
        moment.tm_mon - 1
    ]
    return strftime(f"[%d/{month}/%Y:%H:%M:%S %z]", moment)


def _escape(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.translate(_ESCAPES)


def _field_atom(name: bytes, of_response: bool = False) -> Atom:
    def value_of(record: AccessRecord) -> str:
        fields = record.response_fields if of_response else record.request_fields
        for field_name, value in fields:
            if field_name.lower() == name:
                return _escape(value.decode("latin-1"))
        return "-"

    return value_of


def lowered(fields: Fields) -> Fields:
    """The same fields, names in lower case."""
    return [(name.lower(), value) for name, value in fields]


def _find_atom(name: str) -> Atom:
    if name in _ATOMS:
        return _ATOMS[name]
    if name in _NUMBERS:
        return _NUMBERS[name]
    fixed = "-"
    if name.startswith("{") and name[-2:] in ("}i", "}o"):
        return _field_atom(name[1:-2].lower().encode("latin-1"), of_response=name.endswith("o"))
    if name.startswith("{") and name.endswith("}e"):
        environment = {key.lower(): value for key, value in os.environ.items()}
        fixed = _escape(environment.get(name[1:-2].lower(), "-"))
    elif name == "p":
        fixed = f"<{os.getpid()}>"
    return lambda record: fixed


def _client(record: AccessRecord) -> str:
    client = record.client
    return f"{client[0]}:{client[1]}" if client is not None else "-"


def _path(record: AccessRecord) -> str:
    return _escape(record.raw_path.decode("latin-1"))


def _query(record: AccessRecord) -> str:
    return _escape(record.query.decode("latin-1"))


def _path_and_query(record: AccessRecord) -> str:
    return f"{_path(record)}?{_query(record)}" if record.query else _path(record)


def _request_line(record: AccessRecord) -> str:
    return f"{_escape(record.method)} {_escape(record.raw_path.decode('latin-1'))} {record.http_version}"


def _request_line_with_query(record: AccessRecord) -> str:
    return f"{_escape(record.method)} {_path_and_query(record)} {record.http_version}"


def _status(record: AccessRecord) -> int | str:
    return (record.status if record.close_code is None else record.close_code) or "-"


def _phrase(record: AccessRecord) -> str:
    try:
        return HTTPStatus(record.status).phrase
    except ValueError:
        return f"<???{record.status}???>" if record.status else "-"


def _user(record: AccessRecord) -> str:
    """The user name of HTTP Basic authentication (RFC 7617)."""
    for name, value in record.request_fields:
        if name == b"authorization":
            scheme, _, credentials = value.partition(b" ")
            if scheme.lower() != b"basic":
                break
            try:
                user = base64.b64decode(credentials.strip(), validate=True).partition(b":")[0]
            except binascii.Error:
                break
            text = user.decode("utf-8", "backslashreplace")
            # Unicode has line ends and directions too (U+2028, U+202E), which `_escape` need not know: bytes then.
            return _escape(text if text.isprintable() else user.decode("latin-1")) or "-"
    return "-"


#: As Hypercorn names them, and `u` and `M` of Gunicorn.
_ATOMS: dict[str, Atom] = {
    "h": _client,
    "l": lambda record: "-",
    "u": _user,
    "r": _request_line,
    "R": _request_line_with_query,
    "s": _status,
    "st": _phrase,
    "S": lambda record: record.scheme,
    "m": lambda record: _escape(record.method),
    "U": _path,
    "Uq": _path_and_query,
    "q": _query,
    "H": lambda record: record.http_version,
    "b": lambda record: record.bytes_sent or "-",
    "f": _field_atom(b"referer"),
    "a": _field_atom(b"user-agent"),
    "L": lambda record: f"{record.duration:.6f}",
}
#: These may stand in numeric conversions too (`%(D)d`).
_NUMBERS: dict[str, Atom] = {
    "B": lambda record: record.bytes_sent,
    "T": lambda record: int(record.duration),
    "M": lambda record: int(record.duration * 1_000),
    "D": lambda record: int(record.duration * 1_000_000),
}


# ---- JSON


def describe(record: AccessRecord) -> dict[str, Any]:
    """The facts of a record, as the JSON format has them."""
    client = record.client
    facts = {
        "event": record.event,
        "client": f"{client[0]}:{client[1]}" if client is not None else None,
        "method": record.method,
        "scheme": record.scheme,
        "path": record.raw_path.decode("latin-1"),
        "query": record.query.decode("latin-1"),
        "http_version": record.http_version,
        "status": record.status or None,
        "bytes": record.bytes_sent,
        "duration": round(record.duration, 6),
        "referer": None,
        "user_agent": None,
    }
    for name, value in record.request_fields:
        if name == b"user-agent":
            facts["user_agent"] = value.decode("latin-1")
        elif name == b"referer":
            facts["referer"] = value.decode("latin-1")
    if record.close_code is not None:
        facts["close_code"] = record.close_code
    return facts
