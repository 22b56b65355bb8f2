"""One HTTP exchange with an ASGI application: the scope, `receive()` and `send()`, for every protocol and loop.

Back-pressure is explicit: `send()` waits while the stream or the socket is full, and the peer may send more
of the request body only as the application takes it.
"""

from __future__ import annotations

import logging
import os
from operator import index
from time import monotonic
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote_to_bytes

from ..protocols.engine import LocalProtocolError
from ..protocols.events import Fields, Request
from .connection import FLUSH_SIZE, PIECE_COST, TURN_SIZE
from .errors import (
    ClientDisconnected,
    UnexpectedMessageError,
    as_bytes,
    as_fields,
    is_departure,
    is_failure,
)
from .file_part import FilePart, open_file
from .http_exchange import BODY, COMPLETE, FILE, HEAD, TRAILERS, HTTPExchange

if TYPE_CHECKING:
    from .connection import Connection
    from .runtime import Signal, Task

logger = logging.getLogger("hypercorn.error")

Message = dict[str, Any]

#: Pieces of a body that wait for the application are put together up to this size: a peer that sends bytes one by one must
#: not cost an object for each.
GATHERED_SIZE = 4096
#: How much of a file is read, and held, at a time.
FILE_PIECE = 1 << 18
#: What is not encoded in the path of a push, beside letters and digits. The specification wants it decoded; those who
#: give it encoded, or with a query, mean what they write.
_IN_TARGETS = "/?%:@!$&'()*+,;=-._~"

#: Where early hints and pushes are possible; the hints have no effect behind the head.
_OPEN_TO_HINTS = (HEAD, BODY, FILE)

#: The extensions of every HTTP scope; HTTP/2 has more.
_EXTENSIONS: Message = {
    "http.response.early_hint": {},
    "http.response.pathsend": {},
    "http.response.trailers": {},
}


class ASGIExchange(HTTPExchange):
    """Runs the application for one request, in a task."""

    __slots__ = (
        "_chunks",
        "_end_unread",
        "_knows_peer_left",
        "_must_send_continue",
        "_peer_left",
        "_receivable",
        "_sendable",
        "_sends_trailers",
        "_trailers",
        "_turn_ends",
        "task",
    )

    def __init__(self, connection: Connection, request: Request) -> None:
        super().__init__(connection, request)
        self._chunks: list[bytes] | None = [] if not request.end_stream else None
        #: The request is complete, and the application has not been told so yet.
        self._end_unread = request.end_stream
        self._must_send_continue = request.expects_continue
        self._peer_left = False
        #: The application has been told so, while its response was not complete.
        self._knows_peer_left = False
        self._receivable: Signal | None = None
        self._sendable: Signal | None = None
        self._sends_trailers = False
        self._trailers: Fields = []
        #: The value of `bytes_sent` at which others get their turn, if no piece had its cost.
        self._turn_ends = TURN_SIZE
        self.task: Task | None = None

    # ---- the application's call

    def start(self) -> None:
        """Call the application in a task."""
        self.task = self._connection.runtime.spawn(self.run)

    async def run(self) -> None:
        """Call the application and finish the exchange whatever it does."""
        server = self._connection.server
        try:
            await server.application(self._scope(), self.receive, self.send)
        except BaseException as error:
            # A border: the application may raise anything, and call sys.exit() too.
            if not is_failure(error, self._connection.runtime.cancellation()):
                raise
            self._application_failed(error)
        else:
            if self._state is not COMPLETE and not self.is_closed:
                self._application_failed(None)
        finally:
            # Also when cancelled.
            self._call_over()
            server.exchange_ended(self)

    def _application_failed(self, error: BaseException | None) -> None:
        if self._knows_peer_left and not self.is_closed and (error is None or is_departure(error)):
            self._application_gave_up(error)
            # What the engine still says is not for the log: nobody is there to be answered.
            now = monotonic()
            self._connection.engine.reset_stream(self._stream_id, now)
            self._over()
            self._connection.settle(now)
            return
        super()._application_failed(error)

    def _scope(self) -> Message:
        request = self.request
        connection = self._connection
        server = connection.server
        raw_path = request.raw_path
        if b"%" in raw_path:
            path = unquote_to_bytes(raw_path).decode("utf-8", "replace")
        else:
            path = raw_path.decode("utf-8", "replace")
        extensions = _EXTENSIONS.copy()
        if self._multiplexed is not None and self._multiplexed.can_push(self._stream_id):
            extensions["http.response.push"] = {}
        if connection.tls is not None:
            extensions["tls"] = connection.tls.tls_info()
        return {
            "type": "http",
            "asgi": {"spec_version": "2.5", "version": "3.0"},
            "http_version": request.http_version,
            "method": request.method.upper(),
            "scheme": connection.scheme,
            "path": path,
            "raw_path": raw_path,
            "query_string": request.query,
            "root_path": server.root_path,
            "headers": request.fields,
            "client": connection.client,
            "server": connection.local,
            "state": server.state.copy(),
            "extensions": extensions,
        }

    # ---- receive()

    async def receive(self) -> Message:
        """The ASGI `receive` callable."""
        if self._must_send_continue:
            self._must_send_continue = False
            if self._state is HEAD:
                self._connection.engine.send_informational(self._stream_id, 100, [])
                self._connection.settle(monotonic())
        while True:
            if self.is_closed:
                return {"type": "http.disconnect"}
            if (chunks := self._chunks) is None:
                if self._end_unread:
                    # The first call for a request without a body.
                    self._end_unread = False
                    return {"type": "http.request", "body": b"", "more_body": False}
                if self._peer_left or self._state is COMPLETE:
                    return self._disconnect()
            elif chunks or self._end_unread:
                return self._take_body(chunks)
            elif self._peer_left or self._state is COMPLETE:
                return self._disconnect()
            if self._receivable is None:
                self._receivable = self._connection.runtime.make_signal()
            await self._receivable.wait()

    def _disconnect(self) -> Message:
        # A peer that closed only its sending side and one that is gone look the same. Who does not listen may answer;
        # whoever has been told can no longer send.
        self._knows_peer_left = self._state is not COMPLETE
        return {"type": "http.disconnect"}

    def _take_body(self, chunks: list[bytes]) -> Message:
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        ended = self._end_unread
        if ended:
            self._chunks = None
            self._end_unread = False
        else:
            self._chunks = []
        if body:
            now = monotonic()
            self._connection.engine.consume(self._stream_id, len(body), now)
            self._connection.settle(now)
        return {"type": "http.request", "body": body, "more_body": not ended}

    def _wake_receiver(self) -> None:
        if self._receivable is not None:
            self._receivable.notify()

    def data_received(self, data: bytes, end_stream: bool) -> None:
        """A piece of the request body has arrived."""
        chunks = self._chunks
        if chunks is not None and data:
            if chunks and len(chunks[-1]) + len(data) <= GATHERED_SIZE:
                chunks[-1] += data
            else:
                chunks.append(data)
        if end_stream:
            self._end_unread = True
            self._must_send_continue = False
        self._wake_receiver()

    def trailers_received(self, fields: Fields) -> None:
        """The request is complete. ASGI has no message for its trailers; they are checked and dropped."""
        self.data_received(b"", True)

    # ---- send()

    async def send(self, message: Message) -> None:
        """The ASGI `send` callable.

        Raises:
            ClientDisconnected: the peer is gone (an `OSError`, as ASGI asks for), or the application was told so.
            UnexpectedMessageError: the message is not possible now.
            LocalProtocolError: the message would break the protocol.
        """
        if self.is_closed or self._knows_peer_left:
            raise ClientDisconnected
        try:
            kind = message["type"]
        except (KeyError, TypeError) as error:
            raise LocalProtocolError("the application sent a message without a type") from error
        state = self._state
        if kind == "http.response.body" and state is BODY:
            await self._send_body(message)
        elif kind == "http.response.start" and state is HEAD:
            self._send_head(message)
        else:
            await self._send_extension(kind, message)

    def _send_head(self, message: Message) -> None:
        try:
            given: Any = message.get("headers", ())
            fields = cast("Fields", given) if type(given) is list else list(given)
            status = index(message["status"])
        except (KeyError, TypeError) as error:
            raise LocalProtocolError(
                "a number as status and pairs of bytes as headers are wanted in http.response.start"
            ) from error
        connection = self._connection
        self._begin_response(status, fields, monotonic())
        self._sends_trailers = bool(message.get("trailers", False))
        self._must_send_continue = False
        connection.flush_soon()

    async def _send_body(self, message: Message) -> None:
        body = message.get("body", b"")
        if type(body) is not bytes:
            body = as_bytes(body, "the body of http.response.body")
        ended = not message.get("more_body", False)
        connection = self._connection
        now = monotonic()
        is_last = ended and not self._sends_trailers
        connection.engine.send_data(self._stream_id, body, is_last, now)
        self.bytes_sent += len(body)
        connection.unflushed += len(body)
        if is_last:
            self._complete(now)
            return
        self._turn_ends -= PIECE_COST
        if ended:
            self._state = TRAILERS
        if connection.unflushed >= FLUSH_SIZE:
            self._flush_much(now)
        else:
            connection.flush_soon()
        if not self._may_send():
            await self._wait_writable()
        elif self.bytes_sent >= self._turn_ends:
            self._turn_ends = self.bytes_sent + TURN_SIZE
            await connection.runtime.sleep(0)

    async def _wait_writable(self) -> None:
        while not self.is_closed and self._state is not COMPLETE:
            if self._may_send():
                return
            if self._sendable is None:
                self._sendable = self._connection.runtime.make_signal()
            await self._sendable.wait()
        if self.is_closed and self._state is not COMPLETE:
            raise ClientDisconnected

    async def _send_file(self, given: Any) -> None:
        """Send the content of a file as the whole body, as much as was announced: it may have grown since.

        Where it stands on the wire as it is, the connection sends it; else a thread reads it in pieces.
        """
        path = str(given)
        if not os.path.isabs(path):
            raise ValueError(f"http.response.pathsend takes an absolute path, not {given!r}")
        announced = _announced(self.response_fields)
        file = open_file(path, None if announced is None else announced - self.bytes_sent)
        # Nothing else can be the content from here on: neither beside the file, nor behind a part of it.
        self._state = FILE
        if self.request.method == "HEAD":
            file.close()
        elif file.size and self._begin_file(file):
            try:
                await self._wait_writable()
            finally:
                self._end_file()
        else:
            try:
                await self._send_pieces(file)
            finally:
                file.close()
        await self._send_body({})

    async def _send_pieces(self, file: FilePart) -> None:
        runtime = self._connection.runtime
        while file.left:
            piece = await runtime.run_in_thread(
                lambda: os.pread(file.descriptor, min(FILE_PIECE, file.left), file.offset)
            )
            if self.is_closed:
                raise ClientDisconnected  # what an engine is given now nobody takes, nor drops
            if not piece:
                raise OSError(f"a file has become shorter while it was sent, by {file.left} bytes")
            file.offset += len(piece)
            file.left -= len(piece)
            await self._send_body({"body": piece, "more_body": True})

    async def _send_extension(self, kind: str, message: Message) -> None:
        connection = self._connection
        now = monotonic()
        if kind == "http.response.early_hint" and self._state in _OPEN_TO_HINTS:
            links = [
                (b"link", as_bytes(link, "a link of http.response.early_hint"))
                for link in message.get("links", ())
            ]
            # The specification names the time behind the head, too, when it is too late for a hint: may be ignored.
            if self._state is HEAD:
                connection.engine.send_informational(self._stream_id, 103, links)
                connection.settle(now)
        elif kind == "http.response.push" and self._multiplexed is not None and self._state in _OPEN_TO_HINTS:
            path = quote(str(message.get("path")), _IN_TARGETS).encode("ascii")
            fields = as_fields(message.get("headers", ()), "the headers of http.response.push")
            self._multiplexed.push(self._stream_id, "GET", path, fields, now)
            connection.settle(now)
        elif kind == "http.response.pathsend" and self._state is BODY:
            await self._send_file(message.get("path"))
        elif kind == "http.response.trailers" and self._state in (HEAD, TRAILERS):
            fields = as_fields(message.get("headers", ()), "the headers of http.response.trailers")
            self._trailers.extend(fields)
            if not message.get("more_trailers", False):
                self._send_trailers(now)
        else:
            raise UnexpectedMessageError(self._state, kind)

    def _send_trailers(self, now: float) -> None:
        engine = self._connection.engine
        if self._state is HEAD:
            # Trailers alone, as gRPC's applications answer a call that fails: they are the head of a 200.
            self._send_head({"status": 200, "headers": self._trailers})
            engine.send_data(self._stream_id, b"", True, now)
        elif self._trailers and _accepts_trailers(self.request.fields):
            engine.send_trailers(self._stream_id, self._trailers, now)
        else:
            engine.send_data(self._stream_id, b"", True, now)
        self._complete(now)

    def _response_over(self) -> None:
        if self.is_closed:
            self._chunks = (
                None  # `receive()` says only "disconnect" now, and the application may run for long
            )
        # Tasks of the application other than the one that runs the exchange may be waiting, too.
        self._wake_receiver()
        self.writable()

    # ---- from the connection

    def peer_left(self) -> None:
        """The peer has closed its side: an application that listens learns it, one that sends may go on."""
        self._peer_left = True
        self._wake_receiver()

    def writable(self) -> None:
        """Output has drained."""
        if self._sendable is not None:
            self._sendable.notify()

    def cancel(self, *, is_fault: bool = False) -> None:
        """Stop the application's call; what it has not sent is cut."""
        self._is_cancelled = not is_fault
        if self.task is not None:
            self.task.cancel()


def _announced(fields: Fields) -> int | None:
    """The Content-Length of a response that an engine has taken."""
    return next((int(value) for name, value in fields if name.lower() == b"content-length"), None)


def _accepts_trailers(fields: Fields) -> bool:
    """Whether the client said that it keeps trailers (RFC 9110 §6.5.1, §10.1.4)."""
    return any(
        member.strip().lower() == b"trailers"
        for name, value in fields
        if name.lower() == b"te"
        for member in value.split(b",")
    )
