"""The environ of PEP 3333: CGI variables, as native strings of latin-1 characters, and the server's objects."""

from __future__ import annotations

import io
import logging
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from .file_part import FilePart

if TYPE_CHECKING:
    from ..protocols.events import Fields, Request
    from .connection import Connection

logger = logging.getLogger("hypercorn.error")

Environ = dict[str, Any]

#: Bytes that are read at a time from a regular file behind `wsgi.file_wrapper`.
FILE_PIECE = 128 * 1024

#: Environ names of fields, remembered: clients send the same few names again and again. The bound is for
#: clients that do not.
_names: dict[bytes, str] = {}
_NAMES_LIMIT = 1000

_SPECIAL = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}

_DEFAULT_PORTS = {"http": "80", "https": "443"}


def constant_environ(software: str, threads: int, workers: int) -> Environ:
    """What is the same for all requests."""
    return {
        "SERVER_SOFTWARE": software,
        "wsgi.version": (1, 0),
        "wsgi.errors": ErrorLog(),
        "wsgi.multithread": threads > 1,
        "wsgi.multiprocess": workers > 1,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
    }


def make_environ(scope: dict[str, Any], constant: Environ) -> Environ | None:
    """The environ for one request, without `wsgi.input`; None if its path is not below `root_path`.

    Args:
        scope: of type `http`.
        constant: `constant_environ`.

    `SCRIPT_NAME` is `root_path`, `PATH_INFO` the rest of the path with its percent-encoding undone.
    """
    path = _native_path(scope)
    root = scope.get("root_path", "").encode().decode("latin-1")
    if not _is_below(path, root):
        return None
    environ = {**constant, "SCRIPT_NAME": root, "SERVER_PROTOCOL": "HTTP/" + scope["http_version"]}
    _add_fields(environ, scope["headers"])
    _add_addresses(environ, scope["scheme"], scope.get("server"), scope.get("client"))
    raw_path = scope.get("raw_path")
    target = path if raw_path is None else raw_path.decode("latin-1")
    _add_target(environ, scope["method"], path[len(root) :], target, scope["query_string"])
    return environ


class Environs:
    """Makes the environs of one connection's requests.

    A client that keeps its connection sends the same fields again and again: they are remembered in the form
    that they have in the environ.

    Args:
        constant: `constant_environ`.
        connection: of it only scheme and addresses are kept.
    """

    __slots__ = ("_client", "_common", "_constant", "_fields", "_scheme", "_server", "_version")

    def __init__(self, constant: Environ, connection: Connection) -> None:
        self._constant = constant
        self._scheme = connection.scheme
        self._server = connection.local
        self._client = connection.client
        self._version = ""
        self._fields: Fields = []
        self._common: Environ = {}

    def make(self, request: Request, root: str) -> Environ | None:
        """The environ for `request`, without `wsgi.input`; None if its path is not below `root`.

        Args:
            root: `root_path` as a native string.
        """
        raw_path = request.raw_path
        target = raw_path.decode("latin-1")
        path = unquote_to_bytes(raw_path).decode("latin-1") if "%" in target else target
        if root:
            if not _is_below(path, root):
                return None
            path = path[len(root) :]
        if request.fields != self._fields or request.http_version != self._version:
            self._remember(request, root)
        environ = self._common.copy()
        _add_target(environ, request.method, path, target, request.query)
        return environ

    def _remember(self, request: Request, root: str) -> None:
        environ = {
            **self._constant,
            "SCRIPT_NAME": root,
            "SERVER_PROTOCOL": "HTTP/" + request.http_version,
        }
        _add_fields(environ, request.fields)
        _add_addresses(environ, self._scheme, self._server, self._client)
        self._common = environ
        self._fields = request.fields
        self._version = request.http_version


def _is_below(path: str, root: str) -> bool:
    return not root or path == root or path.startswith(root + "/")


def _add_target(environ: Environ, method: str, path: str, target: str, raw_query: bytes) -> None:
    environ["REQUEST_METHOD"] = method
    environ["PATH_INFO"] = path
    if raw_query:
        query = raw_query.decode("latin-1")
        environ["QUERY_STRING"] = query
        environ["REQUEST_URI"] = environ["RAW_URI"] = f"{target}?{query}"
    else:
        environ["QUERY_STRING"] = ""
        environ["REQUEST_URI"] = environ["RAW_URI"] = target


def _native_path(scope: dict[str, Any]) -> str:
    """The path, each octet as one character (PEP 3333, "Unicode Issues")."""
    path: str = scope["path"]
    if path.isascii():
        return path
    raw_path = scope.get("raw_path")
    if "\ufffd" in path and raw_path is not None:
        # Octets that are no UTF-8 were replaced; the application gets them as they are, unless some
        # middleware has given the request another path.
        octets = unquote_to_bytes(raw_path)
        if octets.decode("utf-8", "replace") == path:
            return octets.decode("latin-1")
    return path.encode().decode("latin-1")


def _add_fields(environ: Environ, fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Add `HTTP_*`, `CONTENT_TYPE` and `CONTENT_LENGTH`; several fields of one name become a list."""
    for name, value in fields:
        key = _names.get(name)
        if key is None:
            key = _environ_name(name)
        if not key:
            continue
        text = value.decode("latin-1")
        if key in environ:
            # RFC 6265 §5.4 for cookies that HTTP/2 has cut in pieces (RFC 9113 §8.2.3), else RFC 9110 §5.3.
            text = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + text
        environ[key] = text


def _environ_name(name: bytes) -> str:
    """`""` for names that must not get in.

    An underscore would be taken for a hyphen, which lets a client forge what a proxy adds; `HTTP_PROXY` is
    the variable that HTTP clients obey (httpoxy, CVE-2016-5385).
    """
    if b"_" in name or name.lower() == b"proxy":
        key = ""
    else:
        key = _SPECIAL.get(name.lower()) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(_names) < _NAMES_LIMIT:
        _names[name] = key
    return key


def _add_addresses(
    environ: Environ, scheme: str, server: tuple[str, int | None] | None, client: tuple[str, int] | None
) -> None:
    environ["wsgi.url_scheme"] = scheme
    if server is not None and server[1] is not None:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = server[0], str(server[1])
    else:  # a Unix socket: what the client thinks it speaks to
        name, port = _split_host(environ.get("HTTP_HOST", ""))
        environ["SERVER_NAME"] = name or "localhost"
        environ["SERVER_PORT"] = port or _DEFAULT_PORTS.get(scheme, "80")
    if client is not None:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    else:
        environ["REMOTE_ADDR"] = ""


def _split_host(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and port.isdigit() else (host, "")


class FileWrapper:
    """`wsgi.file_wrapper`: reads a file-like object in pieces, a regular file in larger ones."""

    def __init__(self, file: Any, block_size: int = 8192) -> None:
        self._file = file
        self._size = max(block_size, FILE_PIECE) if _is_regular(file) else block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data: bytes = self._file.read(self._size)
        if not data:
            raise StopIteration
        return data

    def part(self, limit: int | None) -> FilePart | None:
        """What is left of the file from its present position, at most `limit` bytes, with a descriptor of its own.

        None where reading the object is not the same as reading the descriptor: it is no regular file, or the
        object does something to what it reads (text, decompression), which only plain ones are known not to do.
        """
        file = getattr(self._file, "file", self._file)  # as the named ones of `tempfile` have
        if type(file) not in _BUFFERED or type(getattr(file, "raw", file)) is not io.FileIO:
            return None
        if not _is_regular(file):
            return None
        if file.writable():
            file.flush()
        start = file.tell()
        size = max(0, os.fstat(file.fileno()).st_size - start)
        return FilePart(os.dup(file.fileno()), start, size if limit is None else min(size, limit))


_BUFFERED = (io.BufferedReader, io.BufferedRandom, io.FileIO)


def _is_regular(file: Any) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError, TypeError, ValueError):
        return False


class ErrorLog(io.TextIOBase):
    """`wsgi.errors`: each line becomes one record of the error log. Shared by all threads."""

    def __init__(self) -> None:
        #: Lines without their end yet, by thread.
        self._unfinished: dict[int, str] = {}

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str, /) -> int:
        """Log the complete lines; what follows the last line end waits for more, or for `flush`."""
        thread = threading.get_ident()
        *lines, rest = (self._unfinished.pop(thread, "") + text).split("\n")
        if rest:
            self._unfinished[thread] = rest
        for line in lines:
            logger.error("%s", line)
        return len(text)

    def flush(self) -> None:
        """Log what this thread has written since its last line end. Also at the end of each request."""
        if self._unfinished and (rest := self._unfinished.pop(threading.get_ident(), "")):
            logger.error("%s", rest)

    def close(self) -> None:
        """Only flush: it is not one request's to close."""
        self.flush()
