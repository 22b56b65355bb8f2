"""Names that programs import from `hypercorn.utils`: errors of the server, and functions around applications."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from multiprocessing.synchronize import Event as EventType
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from .workers import application
from .workers.application import ApplicationError, classify, is_asgi
from .workers.errors import LifespanFailureError, LifespanTimeoutError, UnexpectedMessageError

if TYPE_CHECKING:
    from .config import Config
    from .typing import AppWrapper, Framework

__all__ = [
    "FrameTooLargeError",
    "LifespanFailureError",
    "LifespanTimeoutError",
    "NoAppError",
    "ShutdownError",
    "UnexpectedMessageError",
    "build_and_validate_headers",
    "check_for_updates",
    "check_multiprocess_shutdown_event",
    "files_to_watch",
    "filter_pseudo_headers",
    "is_asgi",
    "load_application",
    "parse_socket_addr",
    "raise_shutdown",
    "repr_socket_addr",
    "suppress_body",
    "valid_server_name",
    "wrap_app",
    "write_pid_file",
]


class ShutdownError(Exception):
    """Raised beside a server to end it, see `raise_shutdown`."""


class NoAppError(Exception):
    """What an application string names is not there."""


class FrameTooLargeError(Exception):
    """A WebSocket message is longer than `websocket_max_message_size`."""


# ---- applications


def load_application(path: str, wsgi_max_body_size: int) -> AppWrapper:
    """Import the application that `path` names and wrap it.

    Raises:
        NoAppError: there is no such module, or no such name in it.
        ValueError: `path` is no application string.
        Exception: whatever the application's own code raises when it is imported.
    """
    try:
        target = application.parse_target(path)
    except ApplicationError as error:
        raise ValueError(error.sentence) from None
    try:
        loaded = application.load_target(target)
    except ApplicationError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise NoAppError(error.sentence) from None
    return wrap_app(loaded.callable, wsgi_max_body_size, loaded.mode)


def wrap_app(app: Framework, wsgi_max_body_size: int, mode: Literal["asgi", "wsgi"] | None) -> AppWrapper:
    """`app` behind one call, whatever it is; `mode` None finds out which.

    Raises:
        ApplicationError: it is neither.
    """
    from .app_wrappers import wrap

    return wrap(app, classify(app, mode).mode, wsgi_max_body_size)


# ---- fields


def suppress_body(method: str, status_code: int) -> bool:
    """Whether a response has no content by its nature (RFC 9110 §6.4.1)."""
    return method == "HEAD" or 100 <= status_code < 200 or status_code in (204, 304)


def build_and_validate_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The fields of an application as bytes, without white space around names and values.

    Raises:
        ValueError: a name begins with `:`.
        TypeError: a name or value is text.
    """
    fields: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name[:1] == b":":
            raise ValueError(f"{bytes(name)!r} is a pseudo-header field, which an application cannot set")
        fields.append((bytes(name).strip(), bytes(value).strip()))
    return fields


def filter_pseudo_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """HTTP/2 fields as HTTP/1.1 has them: `host` first, from `:authority` if that is there."""
    authority: bytes | None = None
    host = b""
    fields: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name == b":authority":
            authority = value
        elif name == b"host":
            host = value
        elif not name.startswith(b":"):
            fields.append((name, value))
    return [(b"host", host if authority is None else authority), *fields]


class _HasHeaders(Protocol):
    @property
    def headers(self) -> Iterable[tuple[bytes, bytes]]: ...


def valid_server_name(config: Config, request: _HasHeaders) -> bool:
    """Whether the request is for one of `config.server_names`; any is if there are none."""
    if not config.server_names:
        return True
    fields = {name.lower(): value for name, value in request.headers}
    host = fields.get(b":authority", fields.get(b"host", b""))
    return host.decode("latin-1").lower() in (name.lower() for name in config.server_names)


# ---- files of the program


def files_to_watch() -> dict[Path, float]:
    """The files of all modules that are loaded, and when each was changed."""
    files: dict[Path, float] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if name is not None:
            path = Path(name)
            if (changed := _changed_at(path)) is not None:
                files[path] = changed
    return files


def check_for_updates(files: dict[Path, float]) -> bool:
    """Whether a file was changed since `files_to_watch`, and notes new times in `files`."""
    for path, noted in list(files.items()):
        changed = _changed_at(path)
        if changed is None:
            continue  # an editor may be between its unlink and its rename
        if changed > noted:
            files[path] = changed
            return True
    return False


def _changed_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def write_pid_file(pid_path: str) -> None:
    """Write the number of this process to `pid_path`.

    Raises:
        OSError: it cannot be written.
    """
    Path(pid_path).write_text(f"{os.getpid()}", "ascii")


# ---- stopping


async def raise_shutdown(shutdown_event: Callable[..., Awaitable[Any]]) -> None:
    """Wait for `shutdown_event()`.

    Raises:
        ShutdownError: always, once it has returned.
    """
    await shutdown_event()
    raise ShutdownError


async def end_of_trigger(shutdown_trigger: Callable[..., Awaitable[Any]]) -> None:
    """Wait for `shutdown_trigger()`; a `ShutdownError`, as it is or out of a group of tasks, is an end like others."""
    try:
        await shutdown_trigger()
    except* ShutdownError:
        pass


async def check_multiprocess_shutdown_event(
    shutdown_event: EventType, sleep: Callable[[float], Awaitable[Any]]
) -> None:
    """Return once an event of `multiprocessing` is set; it is looked at ten times a second."""
    while not shutdown_event.is_set():
        await sleep(0.1)


# ---- addresses


def parse_socket_addr(family: int, address: tuple[Any, ...]) -> tuple[str, int] | None:
    """(host, port) of an address as the socket module has it; None for families without ports."""
    return (address[0], address[1]) if family in (socket.AF_INET, socket.AF_INET6) else None


def repr_socket_addr(family: int, address: tuple[Any, ...] | str) -> str:
    """The address as a bind is written."""
    if family == socket.AF_INET:
        return f"{address[0]}:{address[1]}"
    if family == socket.AF_INET6:
        return f"[{address[0]}]:{address[1]}"
    return f"unix:{address}" if family == socket.AF_UNIX else f"{address}"
