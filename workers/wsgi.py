"""Serves a WSGI application (PEP 3333): each call runs in a thread of a bounded pool, and needs no task of the loop.

A request becomes an environ at once; a thread runs the application from its call to its `close()` and posts what
it gives; one turn of the loop then sends what any number of threads have posted. A small complete answer costs one
crossing each way, shared with the other requests of its batch. A streaming one may run `wsgi_call.HIGH_WATER` bytes
ahead of what the client takes, then its thread waits. No thread is ever interrupted: an application whose client has
left learns it when it next yields or writes.
"""

from __future__ import annotations

import io
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from ..config.version import __version__
from ..protocols.engine import LocalProtocolError
from .connection import FLUSH_SIZE
from .errors import ClientDisconnected
from .file_part import FilePart
from .http_exchange import COMPLETE, HEAD, HTTPExchange
from .threads import Threads, default_thread_count
from .wsgi_call import Call, Outbox
from .wsgi_environ import Environ, Environs, constant_environ
from .wsgi_input import RequestBody, RequestBodyTooLarge

if TYPE_CHECKING:
    from ..protocols.events import Fields, Request
    from .connection import Connection
    from .runtime import Runtime, Task

logger = logging.getLogger("hypercorn.error")

Message = dict[str, Any]

#: Requests that may wait for a thread, for each thread; and at least so many. Beyond, the answer is 503.
WAITING_PER_THREAD = 100
WAITING_AT_LEAST = 1000

_READ_SIZE = 64 * 1024


class WSGISettings(Protocol):
    """What is read from the settings."""

    @property
    def threads(self) -> int | None: ...
    @property
    def workers(self) -> int: ...
    @property
    def root_path(self) -> str: ...
    @property
    def wsgi_max_body_size(self) -> int: ...
    @property
    def wsgi_spool_size(self) -> int: ...


class WSGIApplication:
    """A WSGI application with its threads, and the way back from them into the loop."""

    def __init__(self, application: Callable[..., Any], settings: WSGISettings, runtime: Runtime) -> None:
        self.application = application
        self.runtime = runtime
        self.max_body_size = settings.wsgi_max_body_size
        self.spool_size = settings.wsgi_spool_size
        self.threads = Threads(
            settings.threads or default_thread_count(), "hypercorn-wsgi", runtime.call_soon, self._signal
        )
        #: Requests that no thread has begun yet.
        self.waiting = self.threads.jobs
        self.waiting_limit = max(WAITING_AT_LEAST, WAITING_PER_THREAD * self.threads.size)
        self._root = settings.root_path.encode().decode("latin-1")
        self._posted: deque[WSGIExchange] = deque()
        self._is_signalled = False
        #: Makes what serves a request.
        self.make_exchange: Callable[[Connection, Request], WSGIExchange] = partial(WSGIExchange, self)
        self._constant_environ = constant_environ(
            f"hypercorn/{__version__}", self.threads.size, settings.workers
        )

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """What is left to ASGI: a WebSocket is refused."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})

    def close(self) -> None:
        """End the threads, each after what it is doing."""
        self.threads.close()

    def environ(self, connection: Connection, request: Request) -> Environ | None:
        """The environ for `request`, without `wsgi.input`; None if its path is not below `root_path`."""
        environs = connection.environs
        if environs is None:
            environs = connection.environs = Environs(self._constant_environ, connection)
        return environs.make(request, self._root)

    # ---- from threads

    def post(self, exchange: WSGIExchange) -> None:
        """From a thread: let the loop look at what the call of `exchange` has posted.

        Raises:
            ClientDisconnected: the loop is no more.
        """
        self._posted.append(exchange)
        if not self._is_signalled:
            self._signal()

    def _signal(self) -> None:
        # One signal serves all that post until the loop has its turn.
        if not self._is_signalled:
            self._is_signalled = True
            try:
                self.runtime.call_from_thread(self._attend)
            except RuntimeError:
                raise ClientDisconnected from None

    def _attend(self) -> None:
        # In this order: a thread that still sees True has posted already.
        self._is_signalled = False
        posted = self._posted
        # Only what is there now: threads that post all the time would keep the loop from everything else.
        for _ in range(len(posted)):
            posted.popleft().pump()
        self.threads.attend()


class WSGIExchange(HTTPExchange):
    """One request: makes its environ, feeds its body, sends what its call posts.

    A request body above `wsgi_max_body_size` is answered with 413 (Content Too Large); a path that is not
    below `root_path` with 404, and when far too many requests wait for a thread, 503.
    """

    #: It needs none.
    task: Task | None = None

    __slots__ = ("_body", "_call", "_environ", "_is_over", "_unasked", "_wsgi")

    def __init__(self, wsgi: WSGIApplication, connection: Connection, request: Request) -> None:
        super().__init__(connection, request)
        self._wsgi = wsgi
        self._environ: Environ | None = None
        self._call: Call | None = None
        self._body: RequestBody | None = None
        #: Bytes of the body that came before the application asked for it; None: it has, or need not.
        self._unasked: int | None = None
        self._is_over = False

    # ---- the request

    def start(self) -> None:
        """Call the application: at once, or with the first piece of the request body."""
        wsgi = self._wsgi
        request = self.request
        environ = wsgi.environ(self._connection, request)
        if environ is None:
            self._refuse(404)
        elif len(wsgi.waiting) >= wsgi.waiting_limit:
            self._refuse(503)
        elif request.end_stream:
            self._begin_call(environ, io.BytesIO())
        elif int(environ.get("CONTENT_LENGTH", 0)) > wsgi.max_body_size:
            self._refuse(413)
        elif request.expects_continue:
            # Whoever reads first makes the 100 (Continue) go out: that is up to the application.
            self._unasked = 0
            self._begin_call(environ, self._make_input(self._ask_for_body))
        else:
            self._environ = environ

    def _begin_call(self, environ: Environ, body: io.IOBase) -> None:
        environ["wsgi.input"] = body
        self._environ = None
        self._call = Call(self._wsgi.application, environ, self._notify, self._can_send_files())
        self._wsgi.threads.submit(self._call.run)

    def _make_input(self, ask: Callable[[], object] | None) -> io.BufferedReader:
        self._body = RequestBody(self._wsgi.spool_size, self._wsgi.max_body_size, ask)
        return io.BufferedReader(self._body, _READ_SIZE)

    def data_received(self, data: bytes, end_stream: bool) -> None:
        """A piece of the request body has arrived, most often all of it."""
        environ = self._environ
        if environ is not None:
            if len(data) > self._wsgi.max_body_size:
                self._refuse(413)
                return
            if end_stream:
                self._consume(len(data))
                self._begin_call(environ, io.BytesIO(data))
                return
            self._begin_call(environ, self._make_input(None))
        body = self._body
        if body is None:
            return
        body.feed(data)
        if self._unasked is not None:
            self._unasked += len(data)
        elif body.failure is None:
            self._consume(len(data))
        if end_stream:
            body.end()

    def trailers_received(self, fields: Fields) -> None:
        """The request is complete. WSGI has no place for its trailers; they are checked and dropped."""
        self.data_received(b"", True)

    def _consume(self, size: int) -> None:
        if size:
            self._connection.engine.consume(self._stream_id, size, monotonic())

    def _ask_for_body(self) -> None:
        self._wsgi.runtime.call_from_thread(self._asked_for_body)

    def _asked_for_body(self) -> None:
        size, self._unasked = self._unasked, None
        if size is None or self.is_closed or self._state is COMPLETE:
            return
        if self._state is HEAD:
            self._connection.engine.send_informational(self._stream_id, 100, [])
        self._consume(size)
        self._connection.settle(monotonic())

    # ---- the response

    def _notify(self) -> None:
        self._wsgi.post(self)

    def pump(self) -> None:
        """Send what the call has posted, as far as the client takes it; see to its end."""
        call = self._call
        if call is None:
            return
        # Asked before the outbox is emptied: what was posted before the end is then sent.
        has_ended = call.has_ended
        try:
            if not self.is_closed:
                if call.outbox or self._file is not None:
                    self._send_posted(call, call.outbox)
                if call.answer is not None and not call.outbox:
                    self._send_answer(call, call.answer)
        except LocalProtocolError as error:
            # Kept for the end, when the thread has stopped too.
            call.failure = call.failure or error
            call.leave()
        except Exception:
            # A border: a fault of ours in one exchange must not keep the others of its batch waiting.
            logger.exception("Error in an exchange; its connection is cut")
            self._connection.abort()
        if has_ended and (call.is_gone or self._state is COMPLETE or not (call.outbox or self._file)):
            self._end(call)

    def _send_answer(self, call: Call, content: bytes) -> None:
        """Send a whole response, which is most of them."""
        call.answer = None
        now = monotonic()
        self._begin_response(call.status, call.fields, now)
        self._connection.engine.send_data(self._stream_id, content, True, now)
        self.bytes_sent = len(content)
        self._complete(now)

    def _send_posted(self, call: Call, outbox: Outbox | None) -> None:
        connection = self._connection
        now = monotonic()
        if self._file is not None:
            if self._file.left:
                return
            self._file_sent(now)
        if not outbox or call.is_gone:
            return
        for _ in range(len(outbox)):  # what is posted meanwhile has the next turn
            if call.is_gone or not self._may_send():
                break
            content, is_last = outbox.popleft()
            if isinstance(content, list):
                links = [(b"link", link) for link in content]
                connection.engine.send_informational(self._stream_id, 103, links)
                continue
            if self._state is HEAD:
                self._begin_response(call.status, call.fields, now)
            if isinstance(content, FilePart):
                self._send_file(content, now)
                return
            self._send_content(call, content, is_last, now)
            if is_last:
                return
        connection.settle(now)

    def _send_content(self, call: Call, content: bytes, is_last: bool, now: float) -> None:
        connection = self._connection
        connection.engine.send_data(self._stream_id, content, is_last, now)
        self.bytes_sent += len(content)
        call.taken(len(content))
        if is_last:
            self._complete(now)
            return
        connection.unflushed += len(content)
        if connection.unflushed >= FLUSH_SIZE:
            connection.settle(now)

    def _send_file(self, file: FilePart, now: float) -> None:
        """Send a file that is the whole body."""
        if not self._begin_file(file):
            file.close()
            raise LocalProtocolError("a file cannot be the content of this response")
        if not file.left:
            self._file_sent(now)

    def _file_sent(self, now: float) -> None:
        if not self.is_closed:
            self._end_file()
            self._connection.engine.send_data(self._stream_id, b"", True, now)
            self._complete(now)

    def writable(self) -> None:
        """Output has drained."""
        call = self._call
        if call is not None and (call.outbox or self._file is not None):
            self.pump()

    # ---- the end

    def _refuse(self, status: int) -> None:
        self._environ = None
        self._answer(status)
        self._end_call()

    def _end(self, call: Call) -> None:
        """The thread has done with the call, and what it posted is sent, or cannot be."""
        if self._is_over:
            return
        failure, call.failure = call.failure, None
        if failure is not None:
            if self._state is HEAD and not self.is_closed and self._is_too_large():
                self._answer(413)
            else:
                self._application_failed(failure)
        elif self._state is not COMPLETE:
            self._application_failed(None)
        self._end_call()

    def _end_call(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._call_over()
            self._connection.server.exchange_ended(self)
            self._call = None

    def _is_too_large(self) -> bool:
        return self._body is not None and isinstance(self._body.failure, RequestBodyTooLarge)

    def _response_over(self) -> None:
        if self._body is not None:
            self._body.fail(ClientDisconnected())
        if self._call is not None:
            if self.is_closed:
                self._call.leave()
                if self._call.has_ended:
                    self._end(self._call)
        elif self.is_closed and self._environ is not None:
            # No thread has it yet, so there is no other end to come.
            self._environ = None
            self._end_call()

    # ---- from the connection

    def peer_left(self) -> None:
        """The peer has closed its side: what is missing of the request body never comes."""
        if self._body is not None:
            self._body.fail(ClientDisconnected())

    def cancel(self, *, is_fault: bool = False) -> None:
        """Cut what has not been sent. The thread cannot be stopped; nobody waits for it."""
        self._is_cancelled = not is_fault
        self._end_call()
