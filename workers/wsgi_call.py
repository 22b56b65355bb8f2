"""One call of a WSGI application, in its thread: the rules of PEP 3333, and what it posts to the loop."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeAlias, cast

from .connection import PIECE_COST
from .errors import ClientDisconnected
from .file_part import FilePart
from .wsgi_environ import Environ, ErrorLog, FileWrapper

logger = logging.getLogger("hypercorn.error")

Outbox: TypeAlias = "deque[tuple[bytes | FilePart | list[bytes], bool]]"
ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]

#: Bytes that an application may be ahead of its client; then its thread waits.
HIGH_WATER = 128 * 1024

#: Statuses whose responses have no content, so that there is no length of it to tell.
_WITHOUT_LENGTH = frozenset((204, 304))

_NOT_STARTED = "the WSGI application has not called start_response()"

#: Fields of one connection (RFC 9110 §7.6.1), which PEP 3333 forbids to applications; `connection` itself is
#: left to the engine.
_HOP_BY_HOP = frozenset((b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"))


class Call:
    """The call as its thread sees it: PEP 3333's rules, and an outbox for the loop.

    Args:
        application: what is called.
        environ: complete but for `wsgi.early_hints`.
        notify: let the loop look at the outbox.
        takes_files: files may go into the outbox, too.

    Attributes:
        outbox: for the loop to take: pieces of content, each with whether it is the last; the `Link` values of early
            hints.
        answer: all of the content, where the loop is to see no part of it before the rest; behind the outbox.
        status, fields: of the response; final once a piece of content is in the outbox.
        has_ended: the thread has done with the call, and posts nothing more.
        failure: what the application raised, or what made its response impossible.
        is_gone: nobody takes what the application gives: it should stop.
    """

    # What most requests never change stands here once, instead of being written for each.
    status = 0
    fields: list[tuple[bytes, bytes]]
    outbox: Outbox | None = None
    answer: bytes | None = None
    has_ended = False
    failure: BaseException | None = None
    is_gone = False
    #: Bytes of content that the thread has posted and the loop has taken, with what their pieces cost: each has one
    #: writer, so neither needs a lock.
    _posted = 0
    _taken = 0
    _room: threading.Lock | None = None
    _head_is_posted = False
    _is_complete = False
    #: Bytes of content that may still come; None: not announced.
    _announced: int | None = None

    def __init__(
        self,
        application: Callable[..., Any],
        environ: Environ,
        notify: Callable[[], None],
        takes_files: bool,
    ) -> None:
        self._application = application
        self._environ = environ
        self._notify = notify
        self._takes_files = takes_files
        # Kept, for an application may do to its environ what it likes.
        self._errors: ErrorLog = environ["wsgi.errors"]
        self._is_head = environ["REQUEST_METHOD"] == "HEAD"
        environ["wsgi.early_hints"] = self.early_hints

    # ---- the loop's side

    def taken(self, size: int) -> None:
        """The loop has taken a piece of `size` bytes from the outbox."""
        self._taken += size + PIECE_COST
        if self._room is not None:
            self._make_room()

    def leave(self) -> None:
        """Nobody takes anything any more."""
        self.is_gone = True
        self._make_room()
        self._throw_away()

    def _make_room(self) -> None:
        room = self._room
        if room is not None and (self.is_gone or self._posted - self._taken < HIGH_WATER):
            self._room = None
            room.release()

    def _throw_away(self) -> None:
        """Empty the outbox and close its files, in either thread: who takes a file out has it alone."""
        outbox = self.outbox
        while outbox:
            try:
                content, _ = outbox.popleft()
            except IndexError:  # the other thread was quicker
                return
            if isinstance(content, FilePart):
                content.close()

    # ---- the application's thread

    def run(self) -> None:
        """Run the application, in a thread. Raises nothing."""
        try:
            if not self.is_gone:  # the client may have left while this waited for a thread
                self._call_application()
        except BaseException as error:  # noqa: BLE001
            # A border: whatever the application raises belongs to its request. What it raises because the
            # client has left is nobody's fault.
            if self.failure is None and not (self.is_gone and isinstance(error, OSError)):
                self.failure = error if isinstance(error, Exception) else _as_failure(error)
        if self.is_gone:
            self._throw_away()  # what was posted after the loop had done so
        self._errors.flush()
        self._environ = {}  # it refers to this object
        self.has_ended = True
        try:  # noqa: SIM105 - costs nothing
            self._notify()
        except ClientDisconnected:
            pass  # the loop is no more: nobody is left to be told

    def _call_application(self) -> None:
        result = self._application(self._environ, self.start_response)
        if type(result) is list or type(result) is tuple:
            # Nothing of the application runs between the items, and none has a `close`: they are one piece.
            self._finish(b"".join(cast("Iterable[bytes]", result)))
            return
        try:
            if type(result) is not FileWrapper or not self._finish_with_file(result):
                self._iterate(result)
        finally:
            if (close := getattr(result, "close", None)) is not None:
                close()

    def _iterate(self, result: Iterable[object]) -> None:
        for piece in result:
            if not isinstance(piece, bytes):
                raise TypeError(f"a WSGI application yields bytes, not {type(piece).__name__}")
            # A HEAD request needs the head, which is complete with the first content; nobody takes the rest.
            if piece and (self._is_head or not self._write(piece)):
                break
            if self.is_gone:
                return
        if not self._is_complete:
            self._finish(b"")
            self._notify()

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333, "The start_response() Callable". A reason phrase may be missing."""
        if exc_info is not None:
            try:
                if self._head_is_posted:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # a cycle otherwise
        elif self.status:
            raise RuntimeError("start_response() was called again without exc_info")
        code = _status_code(status)
        self.fields, self._announced = _native_fields(headers)
        self.status = code
        return self._write_imperatively

    def early_hints(self, headers: Iterable[tuple[str, str]]) -> None:
        """`wsgi.early_hints`: send the `Link` fields of `headers` now, with a 103 (RFC 8297)."""
        links = [value.encode("latin-1") for name, value in headers if name.lower() == "link"]
        if links and not self._head_is_posted:
            self._append(links, False)
            self._notify()

    def _write_imperatively(self, data: object) -> None:
        """What `start_response` returns. Raises ClientDisconnected once nobody takes the data."""
        if not isinstance(data, bytes):
            raise TypeError(f"write() takes bytes, not {type(data).__name__}")
        if data and not self._is_head:
            self._write(data)

    def _write(self, data: bytes) -> bool:
        """Hand over a piece of the body, and wait while the client is too far behind.

        False: the announced length is exceeded, the application should stop.

        Raises:
            ClientDisconnected: nobody takes it.
        """
        if self.is_gone:
            raise ClientDisconnected
        is_fitting = True
        if self._announced is not None:
            is_fitting = len(data) <= self._announced
            if not is_fitting:
                self._log_excess()
                data = data[: self._announced]
            self._announced -= len(data)
            if self._is_complete:
                return False
            # With the last announced byte the client has all, whatever the application does after it.
            self._is_complete = self._announced == 0
        self._post(data, len(data))
        self._notify()
        if not self._is_complete:
            self._wait_for_room()
        return is_fitting

    def _finish(self, body: bytes) -> None:
        """Hand over the end of the body, or all of it."""
        if not self.status:
            raise RuntimeError(_NOT_STARTED)
        if self._announced is not None:
            if len(body) > self._announced:
                self._log_excess()
                body = body[: self._announced]
            if self._is_complete:
                return  # `write` has given the last byte that was announced: the loop has the end already
        elif not self._head_is_posted and self.status not in _WITHOUT_LENGTH and (body or not self._is_head):
            self.fields.append((b"content-length", b"%d" % len(body)))
        self._is_complete = True
        if self._is_head:
            body = b""
        if self._head_is_posted:
            self._post(body, len(body))
        else:
            self.answer = body

    def _log_excess(self) -> None:
        logger.error(
            "The WSGI application gives more than the Content-Length that it announced: %s %s",
            self._environ.get("REQUEST_METHOD"),
            # As it was sent: decoded, it may hold line feeds, and so lines that we have not written.
            self._environ.get("RAW_URI", "").partition("?")[0],
        )

    def _finish_with_file(self, wrapper: FileWrapper) -> bool:
        """Hand over what is left of a file, for the loop to send; False where it has to be read.

        It has a descriptor of its own, so that a client that takes its time keeps the file but not the thread.
        """
        if (
            not self._takes_files
            or self._is_head
            or self._head_is_posted
            or not _may_have_content(self.status)
        ):
            return False
        part = wrapper.part(self._announced)
        if part is None:
            return False
        if not part.size:
            part.close()
            return False
        if self._announced is None:
            self.fields.append((b"content-length", b"%d" % part.size))
        self._is_complete = True
        self._post(part, 0)
        self._notify()
        return True

    def _post(self, content: bytes | FilePart, size: int) -> None:
        if not self.status:
            raise RuntimeError(_NOT_STARTED)
        self._head_is_posted = True
        self._posted += size + PIECE_COST
        self._append(content, self._is_complete)

    def _append(self, item: bytes | FilePart | list[bytes], is_last: bool) -> None:
        if self.outbox is None:
            self.outbox = deque()
        self.outbox.append((item, is_last))

    def _wait_for_room(self) -> None:
        if self._posted - self._taken < HIGH_WATER:
            return
        room = threading.Lock()
        room.acquire()
        self._room = room
        # What was taken between the look and the line above has found nobody to release.
        if self._posted - self._taken >= HIGH_WATER and not self.is_gone:
            room.acquire()


def _as_failure(error: BaseException) -> Exception:
    """`exit()` in a request must not end the server."""
    failure = RuntimeError(f"the application raised {type(error).__name__}")
    failure.__cause__ = error
    return failure


def _may_have_content(status: int) -> bool:
    return status not in (0, 204, 205, 304)


@lru_cache(maxsize=128)
def _status_code(status: object) -> int:
    if not isinstance(status, str):
        raise TypeError(f"the status is a str such as '200 OK', not {type(status).__name__}")
    digits, blank = status[:3], status[3:4]
    if not (len(digits) == 3 and digits.isascii() and digits.isdigit() and blank in ("", " ")):
        raise ValueError(f"{status!r} is not a status such as '200 OK'")
    code = int(digits)
    if code < 200:
        raise ValueError(f"{status!r} is not the status of a final response")
    return code


@lru_cache(maxsize=512)
def _field_name(name: str) -> bytes:
    return name.lower().encode("latin-1")


def _native_fields(headers: list[tuple[str, str]]) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """The header fields as ASGI has them, and the length that they announce."""
    fields: list[tuple[bytes, bytes]] = []
    announced: int | None = None
    for name, value in headers:
        key = _field_name(name)
        if key in _HOP_BY_HOP:
            continue
        if key == b"content-length":
            announced = int(value)
        fields.append((key, value.strip().encode("latin-1")))
    return fields, announced
