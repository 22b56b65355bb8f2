"""A well-behaved client, a network that delays and cuts, and applications that do what they may: nothing is lost.

Everything that either side sends is found at the other, in order, and whole where it ended; nothing waits once the
windows are open; both sides agree about the windows; and what is over leaves nothing behind.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from hypercorn.protocols.engine import Closing
from hypercorn.protocols.http2 import HTTP2Parameters

from ..model_network import NetworkMachine
from .model_client import ClientStream, ModelClient
from .model_worker import Exchange, ModelWorker

NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 2, 7, 8
TABLE_SIZE, ENABLE_PUSH, WINDOW, FRAME_SIZE = 1, 2, 4, 5

sizes = st.sampled_from([0, 1, 2, 37, 511, 1000, 4096, 4097, 16384, 16385, 70000])
lengths = st.none() | sizes
pieces = st.sampled_from([1, 7, 9, 30, 100, 1000, 20000, 200000])
choices = st.integers(0, 7)
windows = st.sampled_from([0, 1, 100, 5000, 65535, 1000000])
FIELDS = {
    "none": [],
    "one": [(b"x-a", b"1")],
    "two": [(b"x-a", b"2"), (b"content-type", b"text/plain")],
    "big": [(b"x-big", b"b" * 40000)],
}
field_lists = st.sampled_from(list(FIELDS))
priorities = st.sampled_from([b"u=0", b"u=1, i", b"u=3", b"u=7", b"i"])
dependencies = st.none() | st.fixed_dictionaries(
    {
        "priority_weight": st.sampled_from([1, 16, 256]),
        "priority_depends_on": st.sampled_from([0, 1, 3, 5]),
        "priority_exclusive": st.booleans(),
    }
)


class WellBehavedClient(NetworkMachine):
    """See the module. Whatever the rules have done, `teardown` brings it to its end."""

    client: ModelClient
    worker: ModelWorker

    @initialize(
        parameters=st.fixed_dictionaries(
            {
                "max_concurrent_streams": st.sampled_from([2, 5, 100]),
                "initial_stream_window_size": st.sampled_from([1, 1000, 65535, 262144]),
                "initial_connection_window_size": st.sampled_from([65535, 1048576]),
                "max_unread_size": st.sampled_from([65535, 8388608]),
                "max_inbound_frame_size": st.sampled_from([16384, 40000]),
                "send_low_water": st.sampled_from([0, 100, 16384]),
                "send_high_water": st.sampled_from([200, 65536]),
                "max_unsent_size": st.sampled_from([1000, 4194304]),
                "keep_alive_max_requests": st.sampled_from([0, 3, 1000]),
                "keep_alive_timeout": st.sampled_from([5.0, 1000.0]),
                "write_timeout": st.sampled_from([None, 1.0]),
                "read_timeout": st.sampled_from([None, 3.0]),
                "ping_interval": st.sampled_from([None, 2.0]),
            }
        ),
        window=windows,
        upgrade=st.booleans(),
    )
    def connect(self, parameters: dict[str, Any], window: int, upgrade: bool) -> None:
        self.client = ModelClient({WINDOW: window}, upgrade)
        self.worker = ModelWorker(HTTP2Parameters(**parameters), self.client.upgrade_settings, 100.0)

    # ---- what there is to choose from

    @property
    def is_over(self) -> bool:
        return self.worker.engine.closing is not Closing.OPEN

    def requests(self) -> list[ClientStream]:
        """Those that the client may send more of."""
        return [stream for stream in self.client.streams.values() if stream.can_send]

    def served(self, streams: list[ClientStream]) -> list[ClientStream]:
        """`streams` without those whose requests wait for the application of one that the client has reset."""
        return [stream for stream in streams if stream.id not in self.worker.engine._waiting]

    def unfinished(self) -> list[ClientStream]:
        return [stream for stream in self.client.streams.values() if not stream.is_over]

    def responding(self) -> list[Exchange]:
        return [exchange for exchange in self.worker.exchanges.values() if exchange.is_sending]

    def calls(self) -> list[Exchange]:
        return [exchange for exchange in self.worker.exchanges.values() if not exchange.is_call_over]

    def ended_calls(self) -> list[Exchange]:
        return [exchange for exchange in self.calls() if exchange.is_complete or exchange.is_closed]

    # ---- the client

    @precondition(lambda self: self.client.may_open)
    @rule(
        kind=st.sampled_from(["GET", "GET", "HEAD", "POST", "POST", "POST", "websocket"]),
        fields=field_lists,
        length=lengths,
        priority=st.none() | priorities,
        dependency=dependencies,
        arrives=st.booleans(),
    )
    def request(
        self,
        kind: str,
        fields: str,
        length: int | None,
        priority: bytes | None,
        dependency: dict[str, Any] | None,
        arrives: bool,
    ) -> None:
        if kind == "websocket" and not self.client.h2.remote_settings.enable_connect_protocol:
            kind = "POST"
        given = FIELDS[fields]
        if priority is not None:
            given = [*given, (b"priority", priority)]
        if dependency is not None:
            next_id = self.client.h2.get_next_available_stream_id()
            if dependency["priority_depends_on"] == next_id or fields == "big":
                dependency = None  # h2 would make a frame that is too large for itself
        end = kind in ("GET", "HEAD")
        if kind != "POST":
            length = None
        self.client.open(kind, given, length, end, **dependency or {})
        if arrives:
            self.deliver_to_server(200000)

    @precondition(lambda self: self.requests())
    @rule(
        choice=choices,
        size=sizes,
        padding=st.none() | st.sampled_from([0, 1, 255]),
        end=st.booleans(),
        arrives=st.booleans(),
    )
    def upload(self, choice: int, size: int, padding: int | None, end: bool, arrives: bool) -> None:
        requests = self.requests()
        self.client.send(requests[choice % len(requests)], size, padding, end)
        if arrives:
            self.deliver_to_server(200000)

    @precondition(lambda self: self.requests())
    @rule(choice=choices)
    def upload_bytewise(self, choice: int) -> None:
        requests = self.requests()
        for _ in range(40):
            self.client.send(requests[choice % len(requests)], 1)

    @precondition(lambda self: self.requests())
    @rule(choice=choices)
    def upload_trailers(self, choice: int) -> None:
        requests = [
            stream
            for stream in self.requests()
            if stream.length in (None, stream.sent) and stream.kind != "websocket"
        ]
        if requests:
            self.client.send_trailers(requests[choice % len(requests)])

    @precondition(lambda self: self.unfinished())
    @rule(choice=choices)
    def reset(self, choice: int) -> None:
        streams = self.unfinished()
        self.client.reset(streams[choice % len(streams)])

    @precondition(lambda self: len(self.requests()) > 1 and not self.client.output)
    @rule(kind=st.sampled_from(["GET", "POST"]))
    def reset_all_and_go_on(self, kind: str) -> None:
        """As a client does whose calls have a deadline."""
        for stream in self.unfinished():
            self.client.reset(stream)
        while self.client.may_open and len(self.unfinished()) < 5:
            self.client.open(kind, [], None, kind == "GET")
        self.deliver_to_server(200000)

    @precondition(lambda self: self.client.may_change_settings)
    @rule(
        values=st.fixed_dictionaries(
            {},
            optional={
                WINDOW: windows,
                TABLE_SIZE: st.sampled_from([0, 50, 4096, 65536]),
                FRAME_SIZE: st.sampled_from([16384, 30000]),
                ENABLE_PUSH: st.sampled_from([0, 1]),
            },
        )
    )
    def change_settings(self, values: dict[int, int]) -> None:
        self.client.change_settings(values)

    @rule(size=st.sampled_from([0, 100, 4096]))
    def change_encoder(self, size: int) -> None:
        if size != self.client.h2.encoder.header_table_size:  # or hpack forgets to say what came before
            self.client.h2.encoder.header_table_size = size

    @rule()
    def ping(self) -> None:
        self.client.ping()

    @rule(stream_id=st.sampled_from([1, 3, 5, 7, 9, 11]), priority=priorities)
    def update_priority(self, stream_id: int, priority: bytes) -> None:
        self.client.update_priority(stream_id, priority)

    @rule(
        ids=st.permutations([0, 1, 3, 5, 7, 9]), weight=st.sampled_from([1, 16, 200]), exclusive=st.booleans()
    )
    def prioritize(self, ids: list[int], weight: int, exclusive: bool) -> None:
        stream_id, depends_on = (ids[1], ids[0]) if not ids[0] else (ids[0], ids[1])
        self.client.prioritize(stream_id, depends_on, weight, exclusive)

    @precondition(lambda self: self.unfinished())
    @rule(choice=choices, size=pieces)
    def give_window(self, choice: int, size: int) -> None:
        streams = [stream for stream in self.unfinished() if not stream.is_answered]
        if streams:
            self.client.give(size, streams[choice % len(streams)].id)

    @rule(size=pieces)
    def give_connection_window(self, size: int) -> None:
        self.client.give(size)

    @precondition(lambda self: self.worker.exchanges and not self.client.has_left)
    @rule()
    def leave(self) -> None:
        self.client.leave()

    # ---- the network

    @precondition(lambda self: self.client.output)
    @rule(size=pieces)
    def deliver_to_server(self, size: int) -> None:
        if self.worker.engine.wants_read:
            data = bytes(self.client.output[:size])
            del self.client.output[:size]
            self.worker.receive(data)

    # ---- the worker

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.6, 1.1, 3.5]))
    def wait(self, seconds: float) -> None:
        self.worker.wait(seconds)

    @precondition(lambda self: self.worker.exchanges)
    @rule(at_once=st.booleans())
    def drain(self, at_once: bool) -> None:
        self.worker.drain(at_once)

    @rule()
    def flush(self) -> None:
        self.worker.settle()

    @precondition(lambda self: self.responding())
    @rule(
        choice=choices,
        status=st.sampled_from([200, 200, 200, 204, 205, 304, 500]),
        fields=field_lists,
        length=lengths,
        inform=st.booleans(),
    )
    def respond(self, choice: int, status: int, fields: str, length: int | None, inform: bool) -> None:
        exchanges = [exchange for exchange in self.responding() if exchange.head is None]
        if exchanges:
            exchange = exchanges[choice % len(exchanges)]
            if inform and exchange.id & 1:  # h2 knows no informational response to a push
                self.worker.inform(exchange, 103)
            self.worker.start(exchange, status, FIELDS[fields], length)

    @precondition(lambda self: self.responding())
    @rule(choice=choices, size=sizes, end=st.booleans(), settle=st.booleans())
    def send(self, choice: int, size: int, end: bool, settle: bool) -> None:
        exchanges = [exchange for exchange in self.responding() if exchange.head is not None]
        if exchanges:
            self.worker.send(exchanges[choice % len(exchanges)], size, end)
            if settle:
                self.worker.settle()

    @precondition(lambda self: self.responding())
    @rule(choice=choices, settle=st.booleans())
    def send_trailers(self, choice: int, settle: bool) -> None:
        exchanges = [exchange for exchange in self.responding() if exchange.head is not None]
        if exchanges:
            self.worker.send_trailers(exchanges[choice % len(exchanges)])
            if settle:
                self.worker.settle()

    @precondition(lambda self: self.responding())
    @rule(choice=choices)
    def fail(self, choice: int) -> None:
        exchanges = self.responding()
        self.worker.fail(exchanges[choice % len(exchanges)])

    @precondition(lambda self: self.responding())
    @rule(choice=choices)
    def push(self, choice: int) -> None:
        exchanges = self.responding()
        self.worker.push(exchanges[choice % len(exchanges)])

    @precondition(lambda self: self.calls())
    @rule(choice=choices, size=sizes, settle=st.booleans())
    def consume(self, choice: int, size: int, settle: bool) -> None:
        exchanges = [exchange for exchange in self.calls() if exchange.unread and not exchange.is_closed]
        if exchanges:
            self.worker.consume(exchanges[choice % len(exchanges)], size)
            if settle:
                self.worker.settle()

    @precondition(lambda self: self.ended_calls())
    @rule(choice=choices)
    def end_call(self, choice: int) -> None:
        exchanges = self.ended_calls()
        self.worker.end_call(exchanges[choice % len(exchanges)])

    # ---- what holds at each moment

    @invariant()
    def holds(self) -> None:
        self.nobody_has_broken_a_rule()
        self.memory_is_bounded()
        self.what_has_arrived_is_what_was_sent()
        self.streams_are_lost_for_a_reason()
        self.goaway_says_what_is_served()

    def nobody_has_broken_a_rule(self) -> None:
        engine = self.worker.engine
        if engine.fault:
            assert engine.fault in (
                "nothing received for too long",
                "no answer to a PING",
                "a frame or header block took too long",
            )

    def memory_is_bounded(self) -> None:
        engine, parameters = self.worker.engine, self.worker.parameters
        high = max(parameters.send_high_water, parameters.send_low_water + 1)
        for stream in engine._streams.values():
            assert stream.buffered < high + 2 * 70000
        assert engine._unsent == sum(stream.buffered for stream in engine._streams.values())
        assert engine._unread == sum(stream.unread for stream in engine._streams.values())
        assert engine._unread <= max(parameters.max_unread_size, parameters.initial_connection_window_size)

    def what_has_arrived_is_what_was_sent(self) -> None:
        worker = self.worker
        for stream in self.client.streams.values():
            exchange = worker.exchanges.get(stream.id)
            if exchange is None:
                assert stream.head is None
                assert not stream.is_answered
                assert stream.reset_code in (None, REFUSED_STREAM)
                continue
            assert exchange.request.raw_path == (b"/pushed" if stream.kind == "push" else b"/%d" % stream.id)
            assert exchange.request.fields == [(b"host", b"a"), *stream.fields]
            assert stream.got <= exchange.sent
            assert exchange.received <= stream.sent
            if stream.is_answered:
                assert exchange.is_complete
                assert stream.got == exchange.sent
                assert stream.head == exchange.head
                assert stream.got_trailers == exchange.sent_trailers
                assert stream.informational == exchange.informational
            if exchange.is_request_over and not exchange.request.end_stream:
                assert stream.is_ended
                assert exchange.received == stream.sent
                assert exchange.trailers == stream.trailers
            if stream.reset_code is not None:
                self.check_reset(stream, exchange)

    def check_reset(self, stream: ClientStream, exchange: Exchange) -> None:
        code = stream.reset_code
        if code == NO_ERROR:
            assert stream.is_answered
        elif code == INTERNAL_ERROR:
            assert exchange.was_cut
        else:
            assert code == CANCEL
            assert exchange.was_stalled

    def streams_are_lost_for_a_reason(self) -> None:
        worker = self.worker
        for exchange in worker.exchanges.values():
            if exchange.was_lost and not worker.engine.fault:
                assert exchange.was_stalled or exchange.id in self.client.resets

    def goaway_says_what_is_served(self) -> None:
        if self.client.goaways and self.client.goaways[-1] < 2**31 - 1:
            served = [stream_id for stream_id in self.worker.exchanges if stream_id & 1]
            assert max(served, default=0) <= self.client.goaways[-1]

    # ---- the end

    def deliver_all(self) -> None:
        worker, client = self.worker, self.client
        while client.output or worker.output:
            data = bytes(client.output)
            client.output.clear()
            worker.receive(data)
            data = bytes(worker.output)
            worker.output.clear()
            client.receive(data)

    def quiesce(self) -> None:
        """Everything arrives, applications take what they get, and windows are given as they are needed."""
        worker = self.worker
        if worker.is_blocked:
            worker.unblock()
        for _ in range(1000):
            worker.settle()
            self.deliver_all()
            if self.is_over:
                return
            unread = [exchange for exchange in self.calls() if exchange.unread and not exchange.is_closed]
            for exchange in unread:
                worker.consume(exchange, exchange.unread)
            worker.settle()
            if not unread and not worker.output:
                self.what_needs_no_window_is_there()
                if not self.open_windows():
                    return
        raise AssertionError("it never comes to rest")

    def what_needs_no_window_is_there(self) -> None:
        if self.worker.engine._waiting:
            assert self.worker.places_taken == self.worker.parameters.max_concurrent_streams
        for stream in self.served(self.unfinished()):
            exchange = self.worker.exchanges.get(stream.id)
            assert exchange is not None, "a request that nobody has seen"
            assert stream.head == exchange.head
            if stream.got == exchange.sent:
                assert stream.is_answered == exchange.is_complete

    def open_windows(self) -> bool:
        """Give windows where they hold something back; whether there was any."""
        held_back = [stream for stream in self.unfinished() if self.is_awaited(stream)]
        for stream in held_back:
            if self.client.window(stream.id) <= 0:
                self.client.give(4999 - self.client.window(stream.id), stream.id)
        if held_back and self.client.window() <= 0:
            self.client.give(9999)
        return bool(self.client.output)

    def is_awaited(self, stream: ClientStream) -> bool:
        exchange = self.worker.exchanges.get(stream.id)
        return exchange is not None and not exchange.is_closed and stream.got < exchange.sent

    @rule()
    def come_to_rest(self) -> None:
        self.quiesce()
        if not self.is_over:
            self.nothing_is_under_way()
            self.windows_agree()

    def nothing_is_under_way(self) -> None:
        assert not self.client.pings
        assert not self.client.unacknowledged
        for stream in self.served(self.unfinished()):
            exchange = self.worker.exchanges[stream.id]
            assert stream.got == exchange.sent
            if not exchange.is_complete:
                assert exchange.received == stream.sent
                assert exchange.is_request_over == stream.is_ended
        for exchange in self.worker.open.values():
            assert not exchange.is_waiting, "an application that is never woken"

    def windows_agree(self) -> None:
        engine, h2 = self.worker.engine, self.client.h2
        assert h2.outbound_flow_control_window == engine._receive_window
        assert self.client.window() == engine._send_window
        parameters = self.worker.parameters
        full = parameters.initial_connection_window_size
        target = min(full, max(parameters.max_unread_size, full) - engine._unread)
        assert target - engine._receive_window < max(target / 8, 1024)
        for stream_id, ours in {**engine._streams, **engine._leftovers}.items():
            if not ours.is_remote_closed:
                assert h2.streams[stream_id].outbound_flow_control_window == ours.receive_window
            assert self.client.window(stream_id) == ours.send_window
        for stream in self.served(self.requests()):
            exchange = self.worker.exchanges[stream.id]
            if not exchange.is_complete:
                assert h2.local_flow_control_window(stream.id) > 0, "an upload that has no window"

    def finish(self) -> Iterator[None]:
        """Everybody says what is left to be said."""
        worker, client = self.worker, self.client
        goals: dict[int, int] = {}
        for round_ in range(100):
            self.quiesce()
            yield
            if not self.unfinished() and not self.calls():
                return
            requests = self.served(self.requests())
            awaited = [stream for stream in requests if not worker.exchanges[stream.id].is_complete]
            assert not awaited or client.h2.outbound_flow_control_window > 0
            for stream in requests:
                goal = goals.setdefault(
                    stream.id, stream.sent + 30000 if stream.length is None else stream.length
                )
                assert stream not in awaited or client.h2.streams[stream.id].outbound_flow_control_window > 0
                client.send(stream, goal - stream.sent, end=True)
                if not stream.is_ended and round_ > 50:
                    client.reset(stream)
            for exchange in self.responding():
                if exchange.head is None:
                    worker.start(exchange, 200, [], None)
                worker.send(exchange, 20000, end=round_ > 3)
            for exchange in self.ended_calls():
                worker.end_call(exchange)
            worker.settle()
        raise AssertionError("it never ends")

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None or not hasattr(self, "worker"):
            return
        for _ in self.finish():
            self.holds()
            if self.is_over:
                break
        else:
            self.nothing_is_left()
            self.worker.drain(at_once=True)
            self.deliver_all()
        self.check_end()

    def nothing_is_left(self) -> None:
        engine = self.worker.engine
        assert not engine._streams
        assert not engine._abandoned
        assert not engine._leftovers
        assert engine.is_idle
        assert engine._unsent == engine._unread == engine._pushes == 0
        assert not engine._scheduler.ready

    def check_end(self) -> None:
        self.deliver_all()
        assert self.is_over
        self.holds()
        if not self.worker.engine.fault:
            assert self.client.goaways
            for exchange in self.worker.exchanges.values():
                assert exchange.is_complete or exchange.is_closed


TestWellBehavedClient = WellBehavedClient.TestCase
TestWellBehavedClient.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
