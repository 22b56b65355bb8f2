"""A well-behaved client that pipelines, a network that delays and cuts, and applications that do what they may.

Requests and responses are whole, in order and each other's; nothing waits for ever once everybody reads; a connection
ends for a reason, and what had arrived by then is answered.
"""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from hypercorn.protocols.engine import Closing
from hypercorn.protocols.http1 import HTTP1Parameters
from hypercorn.protocols.http1.state import MAX_WAITING

from ..model_network import NetworkMachine
from .model_client import ClientRequest, ModelClient
from .model_worker import Exchange, ModelWorker

READ_SIZE = 81920
sizes = st.sampled_from([0, 1, 2, 9, 100, 4096, 20000, 65535, 65536, 65537, 70000])
CLOSE = [(b"connection", b"close")]
#: For what ends it.
rarely = st.integers(0, 7).map(lambda number: number == 7)
pieces = st.sampled_from([1, 2, 3, 10, 50, 1000, READ_SIZE, READ_SIZE])


class WellBehavedClient(NetworkMachine):
    """See the module. Whatever the rules have done, `teardown` brings it to its end."""

    client: ModelClient
    worker: ModelWorker

    @initialize(
        parameters=st.fixed_dictionaries(
            {
                "keep_alive_timeout": st.sampled_from([1000.0, 5.0, 1000.0]),
                "header_timeout": st.sampled_from([None, 2.0]),
                "read_timeout": st.sampled_from([None, 3.0]),
                "keep_alive_max_requests": st.sampled_from([1000, 3, 1000]),
                "max_buffered_body": st.sampled_from([1, 1000, 65536]),
                "h2c_prior_knowledge": st.booleans(),
            }
        )
    )
    def connect(self, parameters: dict[str, Any]) -> None:
        self.client = ModelClient()
        self.worker = ModelWorker(HTTP1Parameters(**parameters), 100.0)
        #: The end of the client's side has been delivered; and that of the server's.
        self.has_arrived = False
        self.has_ended = False

    # ---- the client

    @precondition(lambda self: self.client.may_request)
    @rule(
        method=st.sampled_from(["GET", "GET", "HEAD", "POST", "POST", "PUT"]),
        version=st.sampled_from(["1.1", "1.1", "1.1", "1.0"]),
        body=sizes | st.sampled_from(["chunked", "chunked", "chunked", "chunked"]),
        expects=st.sampled_from([False, False, True]),
        option=st.sampled_from(["", "", "keep-alive", "keep-alive"]) | st.sampled_from(["", "", "", "close"]),
        arrives=st.booleans(),
    )
    def request(
        self, method: str, version: str, body: int | str, expects: bool, option: str, arrives: bool
    ) -> None:
        has_body = method in ("POST", "PUT")
        if version == "1.0" and body == "chunked":
            body = 20000
        expects = expects and has_body and body != 0
        self.client.request(
            method,
            version,
            body if has_body else None,
            expects=expects and version == "1.1",
            option=option,
        )
        if arrives:
            self.deliver_to_server(READ_SIZE)

    @precondition(lambda self: self.client.may_request and self.client.unanswered < 20)
    @rule(
        bodies=st.lists(st.sampled_from([None, None, 0, 10, 70000, "chunked"]), min_size=1, max_size=6),
        arrives=st.booleans(),
    )
    def pipeline(self, bodies: list[int | str | None], arrives: bool) -> None:
        """Whole requests, one behind the other."""
        for body in bodies:
            self.client.request("GET" if body is None else "POST", "1.1", body, expects=False, option="")
            if self.client.unfinished is not None:
                self.client.send(20)
                self.client.end([])
        if arrives:
            self.deliver_to_server(READ_SIZE, 10)

    @precondition(lambda self: self.client.unfinished is not None)
    @rule(size=sizes, is_patient=st.sampled_from([True, True, False]), arrives=st.booleans())
    def upload(self, size: int, is_patient: bool, arrives: bool) -> None:
        request = self.client.requests[-1]
        if not (request.awaits_continue and is_patient):
            self.client.send(size)
            if arrives:
                self.deliver_to_server(READ_SIZE)

    @precondition(lambda self: self.client.unfinished is not None)
    @rule(with_trailers=st.booleans(), is_patient=st.sampled_from([True, True, False]))
    def end_upload(self, with_trailers: bool, is_patient: bool) -> None:
        request = self.client.requests[-1]
        if not (request.awaits_continue and is_patient):
            self.client.end([(b"x-a", b"1"), (b"x-b", b"2")] if with_trailers else [])

    @precondition(lambda self: self.client.requests and not self.client.has_left)
    @rule(chance=rarely)
    def leave(self, chance: bool) -> None:
        if chance:
            self.client.has_left = True

    # ---- the network

    @precondition(lambda self: self.client.output and self.worker.is_reading)
    @rule(size=pieces, count=st.sampled_from([1, 30]))
    def deliver_to_server(self, size: int, count: int = 1) -> None:
        for _ in range(count):
            data = bytes(self.client.output[:size])
            if data and self.worker.is_reading:
                del self.client.output[:size]
                self.worker.receive(data)

    @precondition(lambda self: self.client.has_left and not self.client.output and not self.has_arrived)
    @rule()
    def deliver_end(self) -> None:
        if self.worker.is_reading:
            self.has_arrived = True
            self.worker.receive_eof()

    # ---- the server

    @rule(seconds=st.sampled_from([0.1, 0.6, 1.1, 2.5, 6.0]))
    def wait(self, seconds: float) -> None:
        self.worker.wait(seconds)

    @precondition(lambda self: self.worker.exchanges)
    @rule(at_once=st.booleans(), chance=rarely)
    def drain(self, at_once: bool, chance: bool) -> None:
        if chance:
            self.worker.drain(at_once)

    @rule()
    def flush(self) -> None:
        self.worker.settle()

    # ---- the application

    @precondition(lambda self: self.worker.open)
    @rule()
    def ask(self) -> None:
        assert self.worker.open is not None
        self.worker.ask(self.worker.open)

    @precondition(lambda self: any(exchange.unread for exchange in self.worker.exchanges.values()))
    @rule(size=sizes, chance=st.integers(0, 3))
    def consume(self, size: int, chance: int) -> None:
        exchanges = [exchange for exchange in self.worker.exchanges.values() if exchange.unread]
        self.worker.consume(exchanges[-1 if chance else 0], size)

    @precondition(lambda self: self.can_start)
    @rule(
        status=st.sampled_from([200, 200, 200, 404, 204, 205, 304]),
        fields=st.sampled_from(
            [[], [], [(b"x-a", b"1")], [(b"transfer-encoding", b"chunked")], [(b"x-a", b"2")], CLOSE]
        ),
        length=st.none() | sizes,
        hints=st.sampled_from([0, 0, 1, 2]),
    )
    def respond(self, status: int, fields: list[tuple[bytes, bytes]], length: int | None, hints: int) -> None:
        exchange = self.worker.open
        assert exchange is not None
        for _ in range(hints):
            self.worker.hint(exchange)
        if fields and fields[0][0] == b"transfer-encoding":
            length = None
        if exchange.is_open:
            self.worker.start(exchange, status, fields, length)

    @property
    def can_start(self) -> bool:
        return self.worker.open is not None and not self.worker.open.status

    @property
    def can_send(self) -> bool:
        exchange = self.worker.open
        return exchange is not None and exchange.status > 0 and not exchange.is_waiting

    @precondition(lambda self: self.can_send)
    @rule(size=sizes, end=st.booleans(), settle=st.booleans())
    def send(self, size: int, end: bool, settle: bool) -> None:
        assert self.worker.open is not None
        self.worker.send(self.worker.open, size, end=end, settle=settle)

    @precondition(lambda self: self.can_send)
    @rule(size=sizes)
    def send_file(self, size: int) -> None:
        assert self.worker.open is not None
        self.worker.send_file(self.worker.open, size)

    @precondition(lambda self: self.can_send)
    @rule()
    def send_trailers(self) -> None:
        assert self.worker.open is not None
        self.worker.send_trailers(self.worker.open)

    @precondition(lambda self: self.can_start)
    @rule(size=sizes, length=st.booleans(), count=st.sampled_from([1, 1, 1, 3]))
    def answer(self, size: int, length: bool, count: int) -> None:
        for _ in range(count):
            if self.can_start and (exchange := self.worker.open) is not None:
                self.worker.start(exchange, 200, [], size if length else None)
                self.worker.send(exchange, size, end=True, settle=True)

    @precondition(lambda self: self.worker.open)
    @rule(chance=rarely)
    def fail(self, chance: bool) -> None:
        if chance:
            assert self.worker.open is not None
            self.worker.fail(self.worker.open)

    # ---- what holds at each moment

    @invariant()
    def holds(self) -> None:
        self.memory_is_bounded()
        assert set(self.worker.refused) <= {408}
        assert not self.worker.refused or self.worker.was_overdue
        for exchange in self.worker.exchanges.values():
            self.what_has_arrived_is_what_was_sent(exchange, self.client.requests[exchange.id - 1])
        for request in self.client.requests:
            if request.status and request.status not in (408, 500):
                assert request.number in self.worker.exchanges

    def memory_is_bounded(self) -> None:
        engine, parameters = self.worker.engine, self.worker.parameters
        assert len(engine._buffer) <= MAX_WAITING + READ_SIZE
        exchange = self.worker.open
        if exchange is not None and not exchange.request.end_stream:
            assert engine._unconsumed == exchange.unread
            assert exchange.unread <= parameters.max_buffered_body + MAX_WAITING + READ_SIZE

    def what_has_arrived_is_what_was_sent(self, exchange: Exchange, request: ClientRequest) -> None:
        given = exchange.request
        assert (given.method, given.raw_path, given.http_version, given.fields) == (
            request.method,
            b"/%d" % request.number,
            request.version,
            request.fields,
        )
        assert exchange.received <= request.sent
        if exchange.is_request_over:
            assert request.is_sent
            assert exchange.received == request.sent
            assert exchange.trailers == request.trailers
        assert request.got <= exchange.content_size or exchange.has_failed
        if request.is_answered:
            self.check_answer(exchange, request)

    def check_answer(self, exchange: Exchange, request: ClientRequest) -> None:
        if request.awaits_continue and not request.sent and not request.is_sent:
            assert request.says_close, "a client that may send content now, or the next request"
        if exchange.has_failed or (exchange.was_lost and request.status == 408):
            assert request.status == (500 if exchange.has_failed else 408)
            assert request.says_close
            assert not request.got
            return
        assert exchange.is_complete or exchange.is_bodiless or exchange.sent == exchange.length
        assert request.status == exchange.status
        assert request.got == exchange.content_size
        assert request.got_trailers == exchange.sent_trailers
        assert request.informational.count(103) == exchange.hints
        kept = [field for field in exchange.fields if field[0].startswith(b"x-")]
        assert [field for field in request.got_fields if field[0].startswith(b"x-")] == kept
        assert [value for name, value in request.got_fields if name == b"date"] == [b"today"]
        if exchange.length is not None and exchange.status not in (204, 205):
            assert (b"content-length", b"%d" % exchange.length) in request.got_fields

    # ---- the end

    def progress(self) -> tuple[object, ...]:
        """What changes as long as something is under way."""
        worker = self.worker
        unread = worker.open.unread if worker.open is not None else 0
        return worker.fed, worker.is_reading, unread, len(worker.output), self.has_arrived

    @rule()
    def come_to_rest(self) -> None:
        """Everything arrives, and applications take what they get."""
        worker, client = self.worker, self.client
        if worker.is_blocked:
            worker.unblock()
        for _ in range(10000):
            worker.settle()
            before = self.progress()
            if worker.output:
                self.deliver_to_client(len(worker.output))
            if client.output and worker.is_reading:
                self.deliver_to_server(READ_SIZE)
            elif client.has_left and not client.output and not self.has_arrived:
                self.deliver_end()
            exchange = worker.open
            if exchange is not None:
                worker.consume(exchange, exchange.unread)
            if before == self.progress():
                break
        else:
            raise AssertionError("it never comes to rest")
        self.nothing_is_under_way()

    def nothing_is_under_way(self) -> None:
        worker, client = self.worker, self.client
        exchange = worker.open
        assert exchange is None or not exchange.is_waiting, "an application that is never woken"
        if worker.is_over:
            return
        if client.output:
            assert exchange is not None, "a connection that is not read"
            assert exchange.is_request_over
            assert len(worker.engine._buffer) >= MAX_WAITING
            return
        if exchange is None:
            assert not self.has_arrived, "a connection that does not end"
            assert len(worker.exchanges) == len(client.requests)
            assert worker.engine.is_idle == all(request.is_sent for request in client.requests)
            assert worker.engine.wants_read
        else:
            request = client.requests[exchange.id - 1]
            assert exchange.received == request.sent
            assert exchange.is_request_over == request.is_sent
            assert exchange.is_request_over or not self.has_arrived
            assert worker.engine.wants_read or len(worker.engine._buffer) >= MAX_WAITING

    def finish(self) -> None:
        """Everybody says what is left to be said."""
        worker, client = self.worker, self.client
        for round_ in range(200):
            self.come_to_rest()
            self.holds()
            if worker.is_over or (client.unfinished is None and worker.open is None and not client.output):
                return
            request = client.unfinished
            if request is not None and not request.awaits_continue:
                client.end([])
            elif request is not None and (request.is_answered or round_ > 100):
                assert request.is_answered, "100 (Continue) that never comes"
                client.end([])
            exchange = worker.open
            if exchange is not None:
                if not exchange.status:
                    worker.start(exchange, 200, [], None)
                worker.send(exchange, 1000, end=bool(round_ % 2), settle=True)
        raise AssertionError("it never ends")

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None or not hasattr(self, "worker"):
            return
        worker, client = self.worker, self.client
        self.finish()
        if not worker.is_over:
            assert worker.engine.is_idle
            client.has_left = True
            self.come_to_rest()
        assert worker.is_over
        worker.settle()
        self.deliver_the_end()
        self.check_end()

    def deliver_the_end(self) -> None:
        worker, client = self.worker, self.client
        if worker.output:
            self.deliver_to_client(len(worker.output))
        if worker.engine.closing is not Closing.ABORT:  # a reset is no end
            client.receive(b"")
        self.holds()
        assert worker.engine.data_to_send() == b""
        assert not worker.engine.events

    def check_end(self) -> None:
        """What had arrived is answered, unless the connection could not go on behind an answer."""
        worker, client = self.worker, self.client
        assert worker.fed_at_end is not None
        for request in client.requests:
            exchange = worker.exchanges.get(request.number)
            if exchange is not None and exchange.was_cut:
                assert worker.engine.closing is Closing.ABORT or request.is_answered or request.is_cut
                return
            if not request.is_sent or request.end > worker.fed_at_end:
                if not request.is_answered:
                    assert worker.was_overdue or worker.eof or worker.was_drained or client.is_told_close
                    return
            else:
                assert request.is_answered, request.number
            if request.says_close or (worker.has_given_up and request.number == len(worker.exchanges)):
                return
        assert worker.eof or worker.was_overdue or worker.was_drained


TestWellBehavedClient = WellBehavedClient.TestCase
TestWellBehavedClient.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
