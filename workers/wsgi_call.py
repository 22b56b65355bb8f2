"""One call of a WSGI application: the coroutine in the loop, and the thread that posts to it."""

from __future__ import annotations

import io
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Any, Protocol, TypeAlias, cast

from .errors import ClientDisconnected
from .runtime import Event, Runtime, Task
from .threads import Threads
from .wsgi_environ import Environ
from .wsgi_input import RequestBody, RequestBodyTooLarge

logger = logging.getLogger("hypercorn.error")

Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]

#: Bytes that an application may be ahead of its client; then its thread waits.
HIGH_WATER = 128 * 1024

_READ_SIZE = 64 * 1024

#: Fields of one connection (RFC 9110 §7.6.1), which PEP 3333 forbids to applications; `connection` itself is
#: left to the engine.
_HOP_BY_HOP = frozenset((b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"))


class Adapter(Protocol):
    """What a call needs from the adapter that made it."""

    application: Callable[..., Any]
    runtime: Runtime
    threads: Threads
    max_body_size: int
    spool_size: int

    def wake(self, call: Call) -> None: ...


class Call:
    """One request: what the thread posts, and the coroutine that sends it."""

    # What most requests never change stands here once, instead of being written for each.
    _body: RequestBody | None = None
    _reader: Task | None = None
    #: Bytes of content that the thread has posted and the loop has taken: each has one writer, so neither needs
    #: a lock.
    _posted = 0
    _taken = 0
    _room: threading.Lock | None = None
    _event: Event | None = None
    _has_ended = False
    _failure: BaseException | None = None
    #: The client has left, or what was to be sent is not possible: the thread should stop.
    _is_gone = False
    # The thread's own.
    _status = 0
    _fields: list[tuple[bytes, bytes]]
    _head_is_posted = False
    _is_complete = False
    #: Bytes of content that may still come; None: not announced.
    _announced: int | None = None

    def __init__(self, adapter: Adapter, environ: Environ, receive: Receive, send: Send) -> None:
        self._adapter = adapter
        self._environ = environ
        self._receive = receive
        self._send = send
        #: From the thread to the loop.
        self._outbox: deque[Message] = deque()

    # ---- the loop's side

    def take_first(self, message: Message) -> None:
        """The first piece of the body, most often all of it."""
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            self._environ["wsgi.input"] = io.BytesIO(body)
            return
        self._make_body(None)
        if body and self._body is not None:
            self._body.feed(body)
        self._reader = self._adapter.runtime.spawn(self._read_ahead)

    def read_ahead_when_asked(self) -> None:
        """Leave the body alone until the application reads it."""
        self._make_body(self._ask_for_body)

    def _make_body(self, start: Callable[[], object] | None) -> None:
        adapter = self._adapter
        self._body = RequestBody(adapter.spool_size, adapter.max_body_size, start)
        self._environ["wsgi.input"] = io.BufferedReader(self._body, _READ_SIZE)

    def _ask_for_body(self) -> None:
        self._adapter.runtime.call_from_thread(self._start_reading)

    def _start_reading(self) -> None:
        if self._reader is None and not self._has_ended and not self._is_gone:
            self._reader = self._adapter.runtime.spawn(self._read_ahead)

    async def _read_ahead(self) -> None:
        body = self._body
        if body is None:
            return
        while body.failure is None:
            message = await self._receive()
            if message["type"] != "http.request":
                body.fail(ClientDisconnected())
                return
            if data := message.get("body", b""):
                body.feed(data)
            if not message.get("more_body", False):
                body.end()
                return

    async def run(self) -> None:
        """Run the application in a thread and send what it posts, until it has ended."""
        self._adapter.threads.submit(self._run_application)
        try:
            while True:
                # Asked before the outbox is emptied: what was posted before the end is then sent.
                has_ended = self._has_ended
                if self._outbox:
                    await self._send_posted()
                if has_ended:
                    break
                self._event = self._adapter.runtime.make_event()
                if not self._outbox and not self._has_ended:
                    await self._event.wait()
        finally:
            # Also when cancelled: the thread must not wait for a coroutine that is no more.
            self._leave()
        await self._conclude()

    async def _send_posted(self) -> None:
        outbox = self._outbox
        while outbox:
            message = outbox.popleft()
            if not self._is_gone:
                try:
                    await self._send(message)
                except Exception as error:  # noqa: BLE001 - kept for the end, when the thread has stopped too
                    if not isinstance(error, ClientDisconnected):
                        self._failure = error
                    self._is_gone = True
            self._taken += len(message.get("body", b""))
            if self._room is not None:
                self._make_room()

    def _make_room(self) -> None:
        room = self._room
        if room is not None and (self._is_gone or self._posted - self._taken < HIGH_WATER):
            self._room = None
            room.release()

    def _leave(self) -> None:
        self._is_gone = True
        self._make_room()
        if self._body is not None:
            self._body.fail(ClientDisconnected())
        if self._reader is not None:
            self._reader.cancel()

    async def _conclude(self) -> None:
        failure, self._failure = self._failure, None
        if failure is None:
            return
        if not self._head_is_posted and self._is_too_large():
            await refuse(self._send, 413)
            return
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame

    def _is_too_large(self) -> bool:
        return self._body is not None and isinstance(self._body.failure, RequestBodyTooLarge)

    def woken(self) -> None:
        """The thread has posted something."""
        if self._event is not None:
            self._event.set()

    # ---- the application's thread

    def _run_application(self) -> None:
        try:
            self._call_application()
        except BaseException as error:  # noqa: BLE001
            # A border: whatever the application raises belongs to its request. What it raises because the
            # client has left is nobody's fault.
            if self._failure is None and not (self._is_gone and isinstance(error, OSError)):
                self._failure = error if isinstance(error, Exception) else _as_failure(error)
        self._environ["wsgi.errors"].flush()
        self._environ = {}  # it may refer to this object
        self._has_ended = True
        with suppress(ClientDisconnected):  # the loop is no more: nobody is left to be told
            self._adapter.wake(self)

    def _call_application(self) -> None:
        result = self._adapter.application(self._environ, self.start_response)
        if type(result) is list or type(result) is tuple:
            # Nothing of the application runs between the items, and none has a `close`: they are one piece.
            self._finish(b"".join(cast("Iterable[bytes]", result)))
            return
        try:
            self._iterate(result)
        finally:
            if (close := getattr(result, "close", None)) is not None:
                close()

    def _iterate(self, result: Iterable[object]) -> None:
        is_head = self._is_head()
        for piece in result:
            if not isinstance(piece, bytes):
                raise TypeError(f"a WSGI application yields bytes, not {type(piece).__name__}")
            # A HEAD request needs the head, which is complete with the first content; nobody takes the rest.
            if piece and (is_head or not self._write(piece)):
                break
            if self._is_gone:
                return
        if not self._is_complete:
            self._finish(b"")
            self._adapter.wake(self)

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
        elif self._status:
            raise RuntimeError("start_response() was called again without exc_info")
        code = _status_code(status)
        fields, announced = _native_fields(headers)
        self._status, self._fields, self._announced = code, fields, announced
        return self._write_imperatively

    def early_hints(self, headers: Iterable[tuple[str, str]]) -> None:
        """`wsgi.early_hints`: send the `Link` fields of `headers` now, with a 103 (RFC 8297)."""
        links = [value.encode("latin-1") for name, value in headers if name.lower() == "link"]
        if links and not self._head_is_posted:
            self._outbox.append({"type": "http.response.early_hint", "links": links})
            self._adapter.wake(self)

    def _write_imperatively(self, data: object) -> None:
        """What `start_response` returns. Raises ClientDisconnected once nobody takes the data."""
        if not isinstance(data, bytes):
            raise TypeError(f"write() takes bytes, not {type(data).__name__}")
        if data and not self._is_head():
            self._write(data)

    def _write(self, data: bytes) -> bool:
        """Hand over a piece of the body, and wait while the client is too far behind.

        False: the announced length is exceeded, the application should stop.

        Raises:
            ClientDisconnected: nobody takes it.
        """
        if self._is_gone:
            raise ClientDisconnected
        is_fitting = True
        if self._announced is not None:
            is_fitting = len(data) <= self._announced
            if not is_fitting:
                logger.error("The WSGI application gives more than the Content-Length that it announced")
                data = data[: self._announced]
            self._announced -= len(data)
            if self._is_complete:
                return False
            # With the last announced byte the client has all, whatever the application does after it.
            self._is_complete = self._announced == 0
        self._post_head()
        self._post_body(data)
        self._adapter.wake(self)
        if not self._is_complete:
            self._wait_for_room()
        return is_fitting

    def _finish(self, body: bytes) -> None:
        """Hand over the end of the body, or all of it."""
        is_head = self._is_head()
        if self._announced is not None:
            if len(body) > self._announced:
                logger.error("The WSGI application gives more than the Content-Length that it announced")
                body = body[: self._announced]
        elif not self._head_is_posted and _may_have_length(self._status) and (body or not is_head):
            self._fields.append((b"content-length", b"%d" % len(body)))
        self._post_head()
        self._is_complete = True
        self._post_body(b"" if is_head else body)

    def _is_head(self) -> bool:
        return bool(self._environ["REQUEST_METHOD"] == "HEAD")

    def _post_head(self) -> None:
        if self._head_is_posted:
            return
        if not self._status:
            raise RuntimeError("the WSGI application has not called start_response()")
        self._head_is_posted = True
        self._outbox.append({"type": "http.response.start", "status": self._status, "headers": self._fields})

    def _post_body(self, data: bytes) -> None:
        self._posted += len(data)
        more = not self._is_complete
        self._outbox.append({"type": "http.response.body", "body": data, "more_body": more})

    def _wait_for_room(self) -> None:
        if self._posted - self._taken < HIGH_WATER:
            return
        room = threading.Lock()
        room.acquire()
        self._room = room
        # What was taken between the look and the line above has found nobody to release.
        if self._posted - self._taken >= HIGH_WATER and not self._is_gone:
            room.acquire()


async def refuse(send: Send, status: int) -> None:
    """Answer without the application. The connection is closed: its request body may not have been read."""
    fields = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _as_failure(error: BaseException) -> Exception:
    """`exit()` in a request must not end the server."""
    failure = RuntimeError(f"the application raised {type(error).__name__}")
    failure.__cause__ = error
    return failure


def _may_have_length(status: int) -> bool:
    return status not in (204, 304)


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
