"""A well-behaved client, a network that delays and cuts, and an application that does what it may: nothing is lost.

Messages arrive whole and in order on both sides, pings are answered, both sides know how it ended, whoever began;
nothing waits for ever once everybody reads; and memory is bounded.
"""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from hypercorn.protocols.engine import Closing
from hypercorn.protocols.websocket import Close, SessionParameters

from ..model_network import NetworkMachine
from .model_client import ModelClient, agree, content
from .model_worker import HIGH_WATER, ModelWorker

LARGEST = 100_000
NO_CODE, ABNORMAL, INTERNAL_ERROR = 1005, 1006, 1011

sizes = st.sampled_from([0, 1, 2, 5, 30, 125, 126, 127, 128, 1000, 4096, 4097, 30000])
all_sizes = sizes | st.sampled_from([65535, 65536, 70000, LARGEST])
pieces = st.sampled_from([1, 2, 5, 6, 7, 14, 50, 1000, 200000])
codes = st.sampled_from([1000, 1001, 1005, 1008, 1011, 3000, 4999])
reasons = st.sampled_from(["", "bye", "é" * 61])
#: For what ends it.
rarely = st.integers(0, 5).map(lambda number: number == 5)


class WellBehavedClient(NetworkMachine):
    """See the module. Whatever the rules have done, `teardown` brings it to its end."""

    client: ModelClient
    worker: ModelWorker

    @initialize(
        parameters=st.fixed_dictionaries(
            {
                "max_queued_messages": st.sampled_from([1, 2, 10]),
                "ping_interval": st.sampled_from([None, 3.0]),
                "ping_timeout": st.sampled_from([None, 2.0, 5.0]),
                "close_timeout": st.sampled_from([1.0, 10.0]),
            }
        ),
        deflate=st.none()
        | st.tuples(
            st.tuples(st.booleans(), st.booleans()),
            st.tuples(st.sampled_from([9, 12, 15]), st.sampled_from([9, 12, 15])),
        ),
        window=st.sampled_from([1000, 65535, 1000000]),
        is_http2=st.booleans(),
        replies_at_once=st.booleans(),
        is_accepted=st.sampled_from([True, True, True, False]),
    )
    def connect(
        self,
        parameters: dict[str, Any],
        deflate: tuple[tuple[bool, bool], tuple[int, int]] | None,
        window: int,
        is_http2: bool,
        replies_at_once: bool,
        is_accepted: bool,
    ) -> None:
        agreed, extension = (None, None) if deflate is None else agree(*deflate)
        self.window = window
        self.client = ModelClient(extension, replies_at_once=replies_at_once)
        self.worker = ModelWorker(
            SessionParameters(max_message_size=LARGEST, **parameters), agreed, 100.0, is_http2=is_http2
        )
        #: The end of the client's side has been delivered.
        self.has_arrived = False
        if is_accepted:
            self.worker.begin()

    # ---- the client

    @precondition(lambda self: self.client.is_open and not self.client.is_in_message)
    @rule(size=all_sizes, is_text=st.booleans(), count=st.sampled_from([1, 1, 2, 12]), arrives=st.booleans())
    def say(self, size: int, is_text: bool, count: int, arrives: bool) -> None:
        size = min(size, LARGEST // 4) if is_text else size
        for _ in range(count):
            self.client.send(content(len(self.client.sent), size, is_text=is_text), end=True)
            if arrives:
                self.deliver_to_server(200000)

    @precondition(lambda self: self.client.is_open)
    @rule(size=sizes, is_text=st.booleans(), end=st.booleans(), arrives=st.booleans())
    def say_fragment(self, size: int, is_text: bool, end: bool, arrives: bool) -> None:
        client = self.client
        if client.is_in_message:
            is_text = client.sends_text
            room = LARGEST - sum(
                len(part.encode() if isinstance(part, str) else part) for part in client._fragments
            )
            size = min(size, room // 4)
        client.send(content(len(client.sent) + 7, size, is_text=is_text), end=end)
        if arrives:
            self.deliver_to_server(200000)

    @precondition(lambda self: self.client.is_open)
    @rule(payload=st.sampled_from([b"", b"x", b"p" * 125]), count=st.sampled_from([1, 1, 1, 600]))
    def ping(self, payload: bytes, count: int) -> None:
        for number in range(count):
            self.client.ping(b"%d" % number if count > 1 and not payload else payload)

    @precondition(lambda self: self.client.is_open and self.client.sent)
    @rule(code=codes, reason=reasons, arrives=st.booleans())
    def client_closes(self, code: int, reason: str, arrives: bool) -> None:
        if arrives and not self.client.is_in_message:
            self.say(30, is_text=True, count=2, arrives=False)  # it is not to overtake these
        self.client.begin_close(code, "" if code == NO_CODE else reason)
        if arrives:
            self.deliver_to_server(200000)

    @precondition(lambda self: self.client._delayed)
    @rule()
    def reply(self) -> None:
        self.client.reply()

    @precondition(lambda self: not self.client.has_left and (self.client.sent or self.client.close))
    @rule(chance=rarely)
    def leave(self, chance: bool) -> None:
        if chance:
            self.client.has_left = True

    # ---- the network

    @precondition(lambda self: self.client.output)
    @rule(size=pieces, count=st.sampled_from([1, 30]))
    def deliver_to_server(self, size: int, count: int = 1) -> None:
        worker = self.worker
        for _ in range(count):
            data = bytes(self.client.output[: max(0, min(size, self.window - worker.unread))])
            del self.client.output[: len(data)]
            if data:
                worker.receive(data)

    @precondition(lambda self: self.client.has_left and not self.client.output and not self.has_arrived)
    @rule()
    def deliver_end(self) -> None:
        self.has_arrived = True
        self.worker.receive_eof()

    @precondition(lambda self: self.worker.has_begun and not self.has_arrived)
    @rule(chance=rarely)
    def lose(self, chance: bool) -> None:
        if chance:
            self.client.has_left = self.has_arrived = True
            self.client.output.clear()
            self.worker.lose()

    # ---- the server

    @rule(seconds=st.sampled_from([0.1, 0.6, 1.1, 2.5, 6.0]), count=st.sampled_from([1, 1, 3]))
    def wait(self, seconds: float, count: int) -> None:
        for _ in range(count):
            self.worker.wait(seconds)

    @rule()
    def flush(self) -> None:
        self.worker.flush()

    @precondition(lambda self: self.worker.wants_turn)
    @rule()
    def take_turn(self) -> None:
        self.worker.take_turn()

    @precondition(lambda self: self.worker.has_begun)
    @rule(code=st.sampled_from([1001, 1012]), chance=rarely)
    def drain(self, code: int, chance: bool) -> None:
        if chance:
            self.worker.drain(code)

    # ---- the application

    @precondition(lambda self: not self.worker.has_begun)
    @rule()
    def accept(self) -> None:
        self.worker.begin()

    @property
    def can_receive(self) -> bool:
        worker = self.worker
        return worker.has_begun and not worker.is_receiving and worker.told is None

    @precondition(lambda self: self.can_receive)
    @rule(count=st.sampled_from([1, 2, 20]))
    def receive(self, count: int) -> None:
        for _ in range(count):
            if self.can_receive:
                self.worker.next_message()

    @precondition(lambda self: self.worker.has_begun)
    @rule(size=all_sizes, is_text=st.booleans(), count=st.sampled_from([1, 1, 5]))
    def send(self, size: int, is_text: bool, count: int) -> None:
        worker = self.worker
        for _ in range(count):
            if worker.session.state.can_send and not worker.is_sending:
                worker.send(content(len(worker.sent) + 3, size, is_text=is_text))

    @precondition(lambda self: self.worker.has_begun)
    @rule(code=codes, reason=st.sampled_from(["", "done", "€" * 60]), chance=rarely)
    def server_closes(self, code: int, reason: str, chance: bool) -> None:
        if chance:
            self.worker.close(code, "" if code == NO_CODE else reason)

    # ---- what holds at each moment

    @invariant()
    def holds(self) -> None:
        if self.worker.has_begun:
            self.memory_is_bounded()
        self.what_has_arrived_is_what_was_sent()

    def memory_is_bounded(self) -> None:
        session, parameters = self.worker.session, self.worker.parameters
        messages = [message for message in session.queue if not isinstance(message, Close)]
        assert not any(isinstance(message, Close) for message in list(session.queue)[:-1])
        assert len(messages) <= parameters.max_queued_messages + 1
        assert session._queued_bytes == sum(map(len, messages))
        assert session._queued_bytes < HIGH_WATER + 2 * LARGEST
        assert session.unsent == sum(map(len, session._output))
        assert session.unsent < HIGH_WATER + 5 * LARGEST
        assert session.taken == 0 or self.worker.has_ended
        if messages and not (self.has_arrived or self.worker.began_close or self.worker.was_overdue):
            assert session.state.can_send, "what the application answers to these messages is lost"
        if not self.worker.has_ended:
            assert self.worker.unread >= 0
            assert len(session._input) - session._position <= self.worker.unread

    def what_has_arrived_is_what_was_sent(self) -> None:
        client, worker = self.client, self.worker
        sent = [message for message, _ in client.sent]
        assert worker.received == sent[: len(worker.received)]
        assert client.got == worker.sent[: len(client.got)]
        assert client.pongs == client.pings[: len(client.pongs)]
        if client.got_close is not None:
            assert client.got == worker.sent

    # ---- the end

    @rule()
    def come_to_rest(self) -> None:
        """Everything arrives, and everybody reads."""
        worker, client = self.worker, self.client
        if not worker.has_begun:
            worker.begin()
        if worker.is_blocked:
            worker.unblock()
        for _ in range(10000):
            worker.flush()
            while worker.wants_turn:
                worker.take_turn()
            before = (len(client.output), len(worker.output), len(worker.received), worker.told)
            if worker.output:
                self.deliver_to_client(200000)
            client.reply()
            if client.output:
                self.deliver_to_server(200000)
                if worker.has_ended:
                    client.output.clear()
            elif client.has_left and not self.has_arrived:
                self.deliver_end()
            while self.can_receive:
                worker.next_message()
            if before == (len(client.output), len(worker.output), len(worker.received), worker.told):
                break
        worker.flush()
        assert not client.output, "a client that has no window"
        assert not worker.output
        assert not worker._held
        assert not worker.is_sending
        assert worker.has_ended or not worker.session.unsent
        self.nothing_is_under_way()

    def nothing_is_under_way(self) -> None:
        worker, client = self.worker, self.client
        if worker.has_ended:
            assert worker.told is not None
            self.check_end(worker.told)
            return
        assert not client.has_left
        assert not worker.unread or client.is_in_message or not worker.session.state.can_send
        if worker.session.state.can_send:
            assert client.close is None
            assert worker.told is None
            assert worker.unread == 0
            assert [message for message, _ in client.sent] == worker.received
            assert client.got == worker.sent
            assert client.pongs == client.pings
        else:
            raise AssertionError("a closing handshake that does not end")

    def check_end(self, told: Close) -> None:
        worker, client = self.worker, self.client
        assert worker.session.ended == told
        assert worker.fed_at_end is not None
        close_has_come = client.close is not None and client.close_end <= worker.fed_at_end
        if worker.was_drained:
            assert told == worker.began_close
        elif worker.is_overdue:
            assert told.code in (ABNORMAL, INTERNAL_ERROR)
        elif close_has_come:
            assert told == client.close
        else:
            assert told == (ABNORMAL, "")
            assert self.has_arrived
        if worker.began_close is None:
            come = [message for message, end in client.sent if end <= worker.fed_at_end]
            assert worker.received == come
        if not worker.was_cut:
            self.check_clients_end(told, close_has_come=close_has_come)

    def check_clients_end(self, told: Close, *, close_has_come: bool) -> None:
        """What the client knows where nothing was cut off."""
        worker, client = self.worker, self.client
        assert client.got == worker.sent
        if worker.began_close is not None:
            code, reason = worker.began_close
            assert client.got_close == (code, reason.encode()[:123].decode(errors="ignore"))
        elif worker.is_overdue:
            assert client.got_close == told
        elif close_has_come:
            assert client.got_close == told
            assert client.pongs == client.pings
        else:
            assert client.got_close is None

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None or not hasattr(self, "worker"):
            return
        self.come_to_rest()
        self.holds()
        worker, client = self.worker, self.client
        if not worker.has_ended:
            client.begin_close(1000, "")
            self.come_to_rest()
        assert worker.has_ended
        assert worker.session.closing is not Closing.OPEN
        worker.wait(100.0)
        worker.flush()
        assert not worker.output


TestWellBehavedClient = WellBehavedClient.TestCase
TestWellBehavedClient.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)
