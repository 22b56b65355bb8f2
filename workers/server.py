"""Serves one application on one event loop: from start-up over accepting to the drained end.

One `Server` is what a worker process runs, and what `hypercorn.asyncio.serve` and `hypercorn.trio.serve` run in
somebody else's program. It owns the connections and the running exchanges, sweeps their deadlines with one
coarse tick, and knows nothing of processes or signals: `drain` is called by whoever does.
"""

from __future__ import annotations

import logging
import random
import socket
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from ..config.settings import Settings
from ..config.sockets import Listener
from ..protocols.engine import DefaultFields, Engine
from ..protocols.events import Refused, Request, SwitchToHTTP2
from .acceptor import Acceptor
from .access_log import AccessLog, make_access_log
from .access_records import LoggedExchange, record_of, record_of_refusal
from .asgi_http import ASGIExchange
from .connection import Connection
from .draining import Draining
from .engines import HTTP2Factory, http1_factory, http2_factory
from .exchange import Exchange
from .lifespan import Application, Lifespan
from .logger_class import hand_over
from .runtime import Runtime, Task
from .supervision import Adopt, Counter, DrainReason, Release, Supervisor

if TYPE_CHECKING:
    from .tls import TLSLayer
    from .tls_contexts import TLSContexts

logger = logging.getLogger("hypercorn.error")

_CONNECTIONS_OPEN = int(Counter.CONNECTIONS_OPEN)
_CONNECTIONS_TOTAL = int(Counter.CONNECTIONS_TOTAL)
_REQUESTS_OPEN = int(Counter.REQUESTS_OPEN)
_REQUESTS_TOTAL = int(Counter.REQUESTS_TOTAL)
_ERRORS = int(Counter.ERRORS)

#: The longest time between two sweeps, in seconds; also how late a coarse deadline may be noticed.
_LONGEST_TICK = 0.5
_SHORTEST_TICK = 0.02


class Server:
    """Serves `application` on `listeners` until it is drained.

    Args:
        application: an ASGI application.
        settings: the resolved configuration.
        runtime: the loop.
        supervisor: the line to the arbiter, or `Unsupervised`.
        with_lifespan: False for applications that cannot have one (WSGI).
        make_http_exchange: makes what serves a request that is not for a WebSocket.
        ended: called when `serve` ends, to give back what the application's adapter holds.
    """

    def __init__(
        self,
        application: Application,
        settings: Settings,
        runtime: Runtime,
        supervisor: Supervisor,
        *,
        with_lifespan: bool = True,
        make_http_exchange: Callable[[Connection, Request], Exchange] = ASGIExchange,
        ended: Callable[[], None] | None = None,
    ) -> None:
        self.application = application
        self.settings = settings
        self.runtime = runtime
        self.supervisor = supervisor
        self.counters = supervisor.counters
        self.state: dict[str, Any] = {}
        self.root_path = settings.root_path
        self.connections: set[Connection] = set()
        self.running: set[Exchange] = set()
        self._access_log: AccessLog | None = None
        self._end_hand_over: Callable[[], None] | None = None
        self._acceptor = Acceptor(runtime, self._accepted, self._has_room)
        self._lifespan = self._make_lifespan() if with_lifespan and settings.lifespan != "off" else None
        self._make_http_exchange = make_http_exchange
        self._ended = ended
        self._server_names = frozenset(name.lower().encode("latin-1") for name in settings.server_names)
        self._fields_second = 0
        self._http1_fields = DefaultFields([])
        self._http2_fields = DefaultFields([])
        #: Makes the engine that every connection starts with.
        self.make_http1_engine = http1_factory(settings, self._http1_fields)
        self._http2: HTTP2Factory | None = None
        self._tls: TLSContexts | None = None
        self._flush_due: list[Connection] = []
        self._requests_left = _requests_left(settings)
        self._draining = Draining(runtime, settings, self.connections, self.running)
        self._ticker: Task | None = None
        self._tick_seconds = _tick_seconds(settings)

    def _make_lifespan(self) -> Lifespan:
        is_required = self.settings.lifespan == "on"
        return Lifespan(self.application, self.runtime, is_required, self.state)

    # ---- the whole life

    async def serve(
        self,
        listeners: Sequence[Listener],
        started: Callable[[], None] | None = None,
        tls: TLSContexts | None = None,
    ) -> None:
        """Start the application, accept, and return once drained.

        Args:
            listeners: listening sockets; they stay open, closing them is their owner's affair.
            started: called when connections are being accepted.
            tls: the certificates, if they are loaded already; else that is done here, where a listener wants it.

        Raises:
            LifespanTimeoutError, LifespanFailureError: the application did not start, or not shut down.
            TLSConfigError: the certificates cannot be loaded.
        """
        self._tls = tls
        if tls is None and any(listener.secure for listener in listeners):
            self._load_tls()
        self._access_log = make_access_log(self.settings, self.runtime)
        self._end_hand_over = hand_over(self.settings, self.runtime)
        self._refresh_fields()
        self._ticker = self.runtime.spawn(self._tick)
        try:
            if self._lifespan is not None:
                await self._lifespan.startup(self.settings.startup_timeout)
            if self._draining.reason is None:
                self._begin(listeners)
                if started is not None:
                    started()
                await self._draining.asked()
                self.supervisor.draining()
                await self._draining.run(self._acceptor)
            if self._lifespan is not None:
                await self._lifespan.shutdown(self.settings.shutdown_timeout)
        finally:
            self._end()

    def _begin(self, listeners: Sequence[Listener]) -> None:
        self._acceptor.add(listeners)
        if (channel := self.supervisor.channel()) is not None:
            self.runtime.watch_readable(channel, self._on_channel)
        self.supervisor.ready()

    def drain(self, reason: DrainReason) -> None:
        """Accept no more, finish what is open, then return from `serve`; a more urgent reason changes how."""
        self._draining.ask(reason)

    def _end(self) -> None:
        """Also reached when `serve` itself is cancelled: leave nothing behind."""
        if (channel := self.supervisor.channel()) is not None:
            self.runtime.forget(channel)
        self._acceptor.stop()
        for exchange in list(self.running):
            exchange.cancel()
        for connection in list(self.connections):
            connection.close()
        if self._lifespan is not None:
            self._lifespan.cancel()
        if self._ticker is not None:
            self._ticker.cancel()
        if self._access_log is not None:
            self._access_log.close()
        if self._end_hand_over is not None:
            self._end_hand_over()
        if self._ended is not None:
            self._ended()
        self.runtime.close()

    @property
    def tasks(self) -> list[Task]:
        """After `serve`: what has been cancelled and may not have ended yet."""
        tasks = [self._ticker, *(exchange.task for exchange in self.running)]
        if self._lifespan is not None:
            tasks.append(self._lifespan.task)
        return [task for task in tasks if task is not None]

    def _on_channel(self) -> None:
        instructions = self.supervisor.instructions()
        if instructions is None:
            logger.warning("The arbiter is gone: worker %d drains", self.supervisor.slot)
            channel = self.supervisor.channel()
            if channel is not None:
                self.runtime.forget(channel)
            self.drain(DrainReason.STOP)
            return
        for instruction in instructions:
            if isinstance(instruction, Adopt):
                self._adopt(instruction.listeners)
            elif isinstance(instruction, Release):
                self._acceptor.remove(instruction.keys, close=True)
            else:
                self._draining.ask(instruction.reason, instruction.ending)

    def _adopt(self, listeners: Sequence[Listener]) -> None:
        if self._draining.reason is None:
            self._acceptor.add(listeners)
            return
        # The arbiter had not heard yet that this worker drains. It finds another now, or has.
        for listener in listeners:
            listener.sock.close()

    # ---- the tick

    async def _tick(self) -> None:
        while True:
            now = monotonic()
            self.supervisor.beat(now)
            try:
                self._look_after_all(now)
            except Exception:
                # A border: `response_headers` may be the user's own code, and without the next turn nothing would
                # ever time out, and the worker be taken for one that hangs.
                logger.exception("Error in the server's tick")
            await self.runtime.sleep(self._tick_seconds)

    def _look_after_all(self, now: float) -> None:
        for connection in list(self.connections):
            if connection.deadline <= now:
                self._sweep(connection, now)
            elif self.runtime.misses_resets and connection.exchanges:
                connection.look_for_reset()
        self._acceptor.tick(now)
        if self._tls is not None:
            self._tls.reload_if_changed(now)
        self._refresh_fields()

    def _sweep(self, connection: Connection, now: float) -> None:
        try:
            connection.handle_deadline(now)
        except Exception:  # noqa: BLE001 - a border: it must not stop the sweep for all the others
            connection.failed()

    def _refresh_fields(self) -> None:
        second = int(time())
        if second != self._fields_second:
            self._fields_second = second
            self._http1_fields.replace(self.settings.config.response_headers("h11"))
            self._http2_fields.replace(self.settings.config.response_headers("h2"))

    # ---- for the acceptor

    def _has_room(self) -> bool:
        limit = self.settings.worker_connections
        return not limit or len(self.connections) < limit

    def _accepted(self, sock: socket.socket, listener: Listener, peer: Any) -> None:
        try:
            connection = Connection(self, sock, listener, peer)
        except Exception:
            # A border: a TLS context may be the user's own, and one that cannot serve must not reach the loop, where
            # trio would end the worker.
            logger.exception("A connection cannot be taken up; it is closed")
            sock.close()
            return
        self.counters[_CONNECTIONS_TOTAL] += 1
        self.counters[_CONNECTIONS_OPEN] += 1
        self.connections.add(connection)
        connection.start()
        if (reason := self._draining.reason) is not None:
            # Taken from the queue of a server that stops: it gets its one answer.
            connection.drain(reason, at_once=False)

    # ---- for connections

    def make_http2_engine(self, now: float, switch: SwitchToHTTP2 | None, *, secure: bool) -> Engine:
        """An HTTP/2 engine, by ALPN (`switch` is None) or taking over from HTTP/1.1."""
        if self._http2 is None:
            self._http2 = http2_factory(self.settings, self._http2_fields)
        return self._http2(now, switch, secure)

    def _load_tls(self) -> None:
        from .tls_contexts import TLSContexts

        self._tls = TLSContexts.from_settings(self.settings)

    def make_tls_layer(self) -> TLSLayer:
        """A TLS layer with the present certificates."""
        assert self._tls is not None  # loaded when any listener is secure
        return self._tls.new_layer()

    def make_exchange(self, connection: Connection, request: Request) -> Exchange | None:
        """The exchange for `request`, or None when the server has answered it itself."""
        self.counters[_REQUESTS_TOTAL] += 1
        if self._server_names and not self._is_served_name(request):
            self._answer_not_found(connection, request)
            return None
        self._requests_left -= 1
        if self._requests_left == 0:
            self._retire()
        if request.upgrade == "websocket":
            from .asgi_websocket import WebSocketExchange

            return WebSocketExchange(connection, request)
        return self._make_http_exchange(connection, request)

    def run_exchange(self, exchange: Exchange) -> None:
        """Start the application's call."""
        self.counters[_REQUESTS_OPEN] += 1
        self.running.add(exchange)
        try:
            exchange.start()
        except Exception:
            # A border: a fault of ours in one request must not cut the others of its connection, nor count as a
            # running request for ever.
            exchange.cancel(is_fault=True)
            if exchange in self.running:  # it would have needed a task, and there is none that could end
                self.exchange_ended(exchange)
                raise
            logger.exception("Error at the beginning of a request; it is given up")

    def exchange_ended(self, exchange: Exchange) -> None:
        """The application's call has returned (its response may have been complete long before)."""
        self.counters[_REQUESTS_OPEN] -= 1
        self.running.discard(exchange)
        self._draining.ended_one()

    def connection_closed(self, connection: Connection) -> None:
        """The connection's socket is closed."""
        self.connections.discard(connection)
        self._acceptor.room_freed()
        self._draining.ended_one()

    def flush_soon(self, connection: Connection) -> None:
        """Settle `connection` at the end of this turn of the loop: one callback for all that ask."""
        self._flush_due.append(connection)
        if len(self._flush_due) == 1:
            self.runtime.call_soon(self._flush)

    def _flush(self) -> None:
        due, self._flush_due = self._flush_due, []
        now = monotonic()
        for connection in due:
            if connection.is_flush_due:
                try:
                    connection.flush(now)
                except Exception:  # noqa: BLE001 - a border: the others of this turn are not to wait for ever
                    connection.failed()

    def count_error(self) -> None:
        """An application failed."""
        self.counters[_ERRORS] += 1

    def _retire(self) -> None:
        if self.supervisor.channel() is None:
            self.drain(DrainReason.STOP)
        else:
            self.supervisor.retire()

    def _is_served_name(self, request: Request) -> bool:
        host = next((value for name, value in request.fields if name.lower() == b"host"), b"")
        return host.lower() in self._server_names

    def _answer_not_found(self, connection: Connection, request: Request) -> None:
        now = monotonic()
        connection.engine.send_head(request.stream_id, 404, [], now)
        connection.engine.send_data(request.stream_id, b"", True, now)
        self.refused(
            connection,
            Refused(404, "not a server name", request.method, request.raw_path, request.http_version),
        )

    # ---- the access log

    def refused(self, connection: Connection, event: Refused) -> None:
        """The server itself has answered."""
        logger.debug("Refused with %d: %s", event.status, event.reason)
        exchange = connection.exchanges.get(event.stream_id)
        if exchange is not None:
            exchange.status = event.status  # it is told of its end next, and then logged, once
        elif self._access_log is not None:
            self._access_log.log(record_of_refusal(connection, event))

    def log_exchange(self, connection: Connection, exchange: LoggedExchange, now: float) -> None:
        """A response is complete or never will be, or a WebSocket has been accepted or has ended."""
        if self._access_log is not None:
            self._access_log.log(record_of(connection, exchange, now))


def _requests_left(settings: Settings) -> int:
    """How many requests this worker serves before it asks for a successor; -1: no limit."""
    if not settings.max_requests:
        return -1
    return settings.max_requests + random.randint(0, settings.max_requests_jitter)


def _tick_seconds(settings: Settings) -> float:
    """Often enough that the shortest timeout is noticed at most a tenth late."""
    timeouts = [
        settings.keep_alive_timeout,
        settings.header_timeout,
        settings.read_timeout,
        settings.write_timeout,
        settings.ssl_handshake_timeout,
        settings.websocket_ping_interval,
    ]
    shortest = min((timeout for timeout in timeouts if timeout), default=_LONGEST_TICK)
    return max(_SHORTEST_TICK, min(_LONGEST_TICK, shortest / 10))
