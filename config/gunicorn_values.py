"""Gunicorn's values: how what its users write is understood, and what some of them are called here.

Facts of Gunicorn 27 only; what becomes of each setting is `gunicorn_table`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

Kind = Callable[[Any], Any]

#: What `limit_request_line = 0` and header limits of 0 come to in Gunicorn.
_LINE_AT_MOST = 8190
_LINE_WITHOUT_LIMIT = 1024 * 1024
_FIELDS_AT_MOST = 32768
_FIELD_SIZE_INSTEAD_OF_0 = 8190

#: Names of worker classes, the last part of dotted ones, in lower case, and what they are.
_WORKERS = {
    **dict.fromkeys(("sync", "syncworker"), "sync"),
    **dict.fromkeys(("gthread", "threadworker"), "gthread"),
    **dict.fromkeys(("gevent", "gevent_wsgi", "gevent_pywsgi", "geventworker"), "greenlets"),
    **dict.fromkeys(("geventpywsgiworker", "geventwsgiworker", "eventlet", "eventletworker"), "greenlets"),
    **dict.fromkeys(("tornado", "tornadoworker"), "tornado"),
    **dict.fromkeys(("asgi", "asgiworker", "uvicornworker"), "asgi"),
    "uvicornh11worker": "asgi on asyncio",
}


def integer(given: Any) -> int:
    """A number, or its text, perhaps as 0x10 or 0o22."""
    if isinstance(given, int):
        number = int(given)
    else:
        try:
            number = int(given, 0)
        except (TypeError, ValueError):
            raise ValueError(f"a whole number is wanted, not {given!r}") from None
    if number < 0:
        raise ValueError(f"at least 0 is wanted, not {given!r}")
    return number


def boolean(given: Any) -> bool:
    if given is None or isinstance(given, bool):
        return bool(given)
    if isinstance(given, str) and given.lower().strip() in ("true", "false"):
        return given.lower().strip() == "true"
    raise ValueError(f"True or False is wanted, not {given!r}")


def text(given: Any) -> str | None:
    """Text without spaces around it; empty text is None."""
    if given is None:
        return None
    if isinstance(given, str) or hasattr(given, "__fspath__"):
        return str(given).strip() or None
    raise ValueError(f"text is wanted, not {given!r}")


def texts(given: object) -> list[str]:
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list | tuple | set | frozenset):
        items = map(text, cast("Iterable[object]", given))
        return [item for item in items if item is not None]
    if given is None:
        return []
    raise ValueError(f"a list of text is wanted, not {given!r}")


def account(given: Any) -> int | str | None:
    """A user or a group: a number, or a name, which need not exist where this runs."""
    if isinstance(given, str):
        return int(given) if given.isdigit() else text(given)
    return None if given is None else integer(given)


def class_name(given: Any) -> str | None:
    """The dotted name of a class; Gunicorn calls a function to get one."""
    if inspect.isfunction(given) or inspect.ismethod(given):
        given = given()
    if inspect.isclass(given):
        return f"{given.__module__}.{given.__qualname__}"
    return text(given)


def mapping(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(cast("Mapping[str, Any]", given))
    raise ValueError(f"a dictionary is wanted, not {given!r}")


def anything(given: Any) -> Any:
    return given


def switch(given: Any) -> str | None:
    """`http2_cleartext` and `proxy_protocol`: a word, or a bool."""
    return ("on" if given else "off") if isinstance(given, bool) else text(given)


def kind_of_worker(name: str | None, threads: int) -> str:
    """sync, gthread, greenlets, tornado, asgi, `asgi on asyncio` or unknown."""
    last = (name or "sync").rpartition("#")[2].rpartition(".")[2].lower()
    kind = _WORKERS.get(last, "unknown")
    return "gthread" if kind == "sync" and threads > 1 else kind


def application(path: str, kind: str) -> str:
    """Our application string: Gunicorn's default name is `application`, its worker class decides how it is called."""
    if ":" not in path:
        path += ":application"
    if kind in ("sync", "gthread", "greenlets"):
        return f"wsgi:{path}"
    return f"asgi:{path}" if kind.startswith("asgi") else path


def bind(given: str) -> str:
    """`tcp://` goes, `unix://` becomes `unix:`, an abstract name's leading NUL an @."""
    given = given.removeprefix("tcp://")
    if given.startswith("unix:"):
        path = given.removeprefix("unix:").removeprefix("//")
        return "unix:" + (f"@{path[1:]}" if path.startswith("\0") else path)
    return given or "0.0.0.0:8000"


def line_limit(given: int) -> int:
    return min(given, _LINE_AT_MOST) if given else _LINE_WITHOUT_LIMIT


def fields_limit(given: int) -> int:
    return min(given, _FIELDS_AT_MOST) if given else _FIELDS_AT_MOST


def field_size_limit(given: int) -> int:
    return given or _FIELD_SIZE_INSTEAD_OF_0


def access_format(given: str) -> str:
    """With Gunicorn's meaning of `r` (query, HTTP/) and `H` (HTTP/)."""
    return given.replace("%(H)s", "HTTP/%(H)s").replace("%(r)s", "%(m)s %(Uq)s HTTP/%(H)s")


def log_dictionary(given: dict[str, Any]) -> dict[str, Any]:
    """For the loggers of this server, and complete: Gunicorn adds the version by itself."""
    loggers = given.get("loggers")
    if isinstance(loggers, dict):
        ours = {
            str(name).replace("gunicorn.", "hypercorn."): logger
            for name, logger in cast("dict[str, Any]", loggers).items()
        }
        given = {**given, "loggers": ours}
    return {"version": 1, "disable_existing_loggers": False, **given}


def protocols(given: Any) -> list[str]:
    """`http_protocols` as ALPN names, in their order."""
    words = [word.strip() for word in (given.split(",") if isinstance(given, str) else texts(given))]
    return [{"h1": "http/1.1", "h2": "h2"}[word] for word in words if word in ("h1", "h2")] or ["http/1.1"]


def statsd_host(given: str) -> str | None:
    """With a port; None for a Unix socket, which is not served."""
    given = given.removeprefix("udp://")
    if given.startswith("unix:") and not given.removeprefix("unix:").isdigit():
        return None
    return given if given.rpartition(":")[2].isdigit() and ":" in given else f"{given}:8125"
