"""Parsers and checks that only some settings need; `declaration` has those of the plain types.

A parser takes text or a value and raises ValueError; a check returns what is wanted instead, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from .declaration import as_integer, as_mapping, as_text, as_texts

if TYPE_CHECKING:
    from ssl import VerifyFlags, VerifyMode

LOG_LEVELS = ("CRITICAL", "FATAL", "ERROR", "WARNING", "WARN", "INFO", "DEBUG", "NOTSET")
WORKER_CLASSES = ("asyncio", "uvloop", "trio")
#: What is spoken over TLS and TCP, by the names of IANA's registry of ALPN protocol IDs (RFC 7301 §6).
ALPN_PROTOCOLS = ("h2", "http/1.1", "http/1.0")
_LARGEST_ID = 2**32 - 2  # the last one means "leave it" to the system


def at_least(least: float) -> Callable[[float], str | None]:
    def check(value: float) -> str | None:
        return None if value >= least else f"at least {least}"

    return check


def above(limit: float) -> Callable[[float], str | None]:
    def check(value: float) -> str | None:
        return None if value > limit else f"more than {limit}"

    return check


def between(least: int, most: int) -> Callable[[int], str | None]:
    def check(value: int) -> str | None:
        return None if least <= value <= most else f"a number from {least} to {most}"

    return check


def one_of(*choices: str) -> Callable[[str], str | None]:
    def check(value: str) -> str | None:
        return None if value in choices else f"{', '.join(choices[:-1])} or {choices[-1]}"

    return check


def log_level(given: object) -> str:
    """The name of a level in capitals."""
    level = as_text(given).upper()
    if level not in LOG_LEVELS:
        raise ValueError(f"{', '.join(LOG_LEVELS[:-1])} or {LOG_LEVELS[-1]} is wanted, not {given!r}")
    return level


def log_target(given: object) -> Any:
    """A path or "-" as text; a logger stays what it is; "" and False are None, as in Hypercorn."""
    if given == "" or given is False:
        return None
    if hasattr(given, "handle") and hasattr(given, "setLevel"):
        return given
    return as_text(given)


def logger_class(given: object) -> Any:
    """A class, or its dotted name, which is imported when the first line is logged."""
    return given if isinstance(given, type) else as_text(given)


def version_number(given: object) -> str:
    """1.2 in a TOML file is a number."""
    return str(given)


def root_path(given: object) -> str:
    return as_text(given).rstrip("/")


def umask(given: object) -> int:
    """Text with a leading zero (022, 0o22) is octal, any other decimal, as in Hypercorn."""
    if isinstance(given, str) and given.startswith("0"):
        try:
            return int(given.removeprefix("0o"), 8)
        except ValueError:
            raise ValueError(f"an octal number is wanted after a zero, not {given!r}") from None
    return as_integer(given)


def user_id(given: object) -> int:
    """A number, or the name of a user."""
    import pwd

    return _id(given, "user", lambda name: pwd.getpwnam(name).pw_uid)


def group_id(given: object) -> int:
    """A number, or the name of a group."""
    import grp

    return _id(given, "group", lambda name: grp.getgrnam(name).gr_gid)


def _id(given: object, what: str, look_up: Callable[[str], int]) -> int:
    if not isinstance(given, str) or given.isdigit():
        number = as_integer(given)
        if not 0 <= number <= _LARGEST_ID:
            raise ValueError(f"a name or a number from 0 to {_LARGEST_ID} is wanted, not {given!r}")
        return number
    try:
        return look_up(given)
    except KeyError:
        raise ValueError(f"there is no {what} {given!r}") from None


def verify_mode(given: object) -> VerifyMode:
    """A member of `ssl.VerifyMode`, its name or its number."""
    import ssl

    return ssl.VerifyMode(_member(ssl.VerifyMode, given))


def verify_flags(given: object) -> VerifyFlags:
    """`ssl.VerifyFlags`, a number, or names: one, several in a list, several with commas."""
    import ssl

    if isinstance(given, int):
        return ssl.VerifyFlags(given)
    names = given.split(",") if isinstance(given, str) else as_texts(given)
    flags = ssl.VerifyFlags(0)
    for name in names:
        flags |= ssl.VerifyFlags(_member(ssl.VerifyFlags, name.strip()))
    return flags


def _member(kind: Any, given: object) -> int:
    members = {name: int(member) for name, member in kind.__members__.items()}
    if isinstance(given, str) and given in members:
        return members[given]
    if isinstance(given, int) or (isinstance(given, str) and given.isdigit()):
        number = int(given)
        if number in members.values():
            return number
    raise ValueError(f"one of {', '.join(members)} is wanted, not {given!r}")


def certificates(given: object) -> dict[str, tuple[str, ...]]:
    """Server name to (certfile, keyfile[, password]); from text `name=certfile,keyfile[,password]`."""
    if isinstance(given, str) and not given.lstrip().startswith("{"):
        given = [given]
    if isinstance(given, list):
        pairs = [_certificate(as_text(item)) for item in cast("list[object]", given)]
    else:
        pairs = list(as_mapping(given).items())
    return {name: _files(name, files) for name, files in pairs}


def _certificate(text: str) -> tuple[str, list[str]]:
    name, _, files = text.partition("=")
    return name, files.split(",") if files else []


def _files(name: str, files: object) -> tuple[str, ...]:
    names: Iterable[object] = cast("Iterable[object]", files) if isinstance(files, list | tuple) else (files,)
    paths = tuple(as_text(item) for item in names)
    if not name or not 1 <= len(paths) <= 3 or not all(paths):
        raise ValueError(
            f"a server name with its certfile, keyfile and perhaps password is wanted for {name!r}"
        )
    return paths


def installed_worker_class(given: object) -> str:
    """asyncio, uvloop or trio, if what it needs is there."""
    from importlib.util import find_spec

    name = as_text(given)
    if name not in WORKER_CLASSES:
        of_gunicorn = (
            "; Gunicorn's classes are not needed, see --from-gunicorn" if _is_gunicorns(name) else ""
        )
        raise ValueError(f"asyncio, uvloop or trio is wanted, not {given!r}{of_gunicorn}")
    if name != "asyncio" and find_spec(name) is None:
        what = "'hypercorn[trio]'" if name == "trio" else name
        raise ValueError(f"{name} is not installed; install it with: pip install {what}")
    return name


def _is_gunicorns(name: str) -> bool:
    return name.endswith("Worker") or name in ("sync", "gthread", "gevent", "eventlet", "tornado", "asgi")
