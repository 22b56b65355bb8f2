"""Serves a WSGI application (PEP 3333) as an ASGI one: each call runs in a thread of a bounded pool.

The loop's side is a coroutine that hands over the request and then sends what the thread posts; the thread
runs the application from its call to its `close()`. A small complete answer costs one crossing each way. A
streaming one may run `HIGH_WATER` bytes ahead of what the client takes, then its thread waits. No thread is
ever interrupted: an application whose client has left learns it when it next yields or writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ..config.version import __version__
from .errors import ClientDisconnected
from .runtime import Runtime
from .threads import Threads, default_thread_count
from .wsgi_call import Call, Message, Receive, Send, refuse
from .wsgi_environ import constant_environ, make_environ

#: Requests that may wait for a thread, for each thread; and at least so many. Beyond, the answer is 503.
WAITING_PER_THREAD = 100
WAITING_AT_LEAST = 1000


class WSGISettings(Protocol):
    """What is read from the settings."""

    @property
    def threads(self) -> int | None: ...
    @property
    def workers(self) -> int: ...
    @property
    def wsgi_max_body_size(self) -> int: ...
    @property
    def wsgi_spool_size(self) -> int: ...


class WSGIApplication:
    """An ASGI 3 callable around a WSGI application.

    A request body above `wsgi_max_body_size` is answered with 413 (Content Too Large); a path that is not
    below `root_path` with 404, a WebSocket with 403, and when far too many requests wait for a thread, 503.
    """

    def __init__(self, application: Callable[..., Any], settings: WSGISettings, runtime: Runtime) -> None:
        self.application = application
        self.runtime = runtime
        self.max_body_size = settings.wsgi_max_body_size
        self.spool_size = settings.wsgi_spool_size
        self.threads = Threads(
            settings.threads or default_thread_count(), "hypercorn-wsgi", runtime.call_soon
        )
        self._waiting_limit = max(WAITING_AT_LEAST, WAITING_PER_THREAD * self.threads.size)
        self._woken: deque[Call] = deque()
        self._is_waking = False
        self._constant_environ = constant_environ(
            f"hypercorn/{__version__}", self.threads.size, settings.workers
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """The ASGI 3 interface. A lifespan scope returns at once: there is nothing to start."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})

    def close(self) -> None:
        """End the threads, each after what it is doing. They also end with the last reference to this."""
        self.threads.close()

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        environ = make_environ(scope, self._constant_environ)
        if environ is None:
            return await refuse(send, 404)
        if "CONTENT_LENGTH" in environ and int(environ["CONTENT_LENGTH"]) > self.max_body_size:
            return await refuse(send, 413)
        if self.threads.waiting >= self._waiting_limit:
            return await refuse(send, 503)
        call = Call(self, environ, receive, send)
        if "HTTP_EXPECT" in environ and environ["HTTP_EXPECT"].lower() == "100-continue":
            # Whoever reads first makes the 100 (Continue) go out: that is up to the application.
            call.read_ahead_when_asked()
        else:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            if len(message.get("body", b"")) > self.max_body_size:
                return await refuse(send, 413)
            call.take_first(message)
        if "http.response.early_hint" in scope.get("extensions", ()):
            environ["wsgi.early_hints"] = call.early_hints
        await call.run()

    def wake(self, call: Call) -> None:
        """From a thread: let the loop look at what `call` has posted.

        One wake-up of the loop serves all calls that have posted until it runs.

        Raises:
            ClientDisconnected: the loop is no more.
        """
        self._woken.append(call)
        if not self._is_waking:
            self._is_waking = True
            try:
                self.runtime.call_from_thread(self._wake_all)
            except RuntimeError:
                raise ClientDisconnected from None

    def _wake_all(self) -> None:
        # In this order: a thread that still sees True has its call in the queue already.
        self._is_waking = False
        while self._woken:
            self._woken.popleft().woken()
