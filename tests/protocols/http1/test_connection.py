"""The life of a connection: keep-alive, pipelining, unread bodies, deadlines, end of input, drain."""

from __future__ import annotations

import math

import pytest

from hypercorn.protocols.engine import Closing
from hypercorn.protocols.events import Data, Request, StreamClosed

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length


# ---- keep-alive and pipelining


def test_requests_follow_each_other(connect, cut) -> None:
    session = connect()
    for number in (1, 2, 3):
        session.say(GET, cut)
        assert session.stream_id == number
        assert not session.engine.is_idle
        session.answer()
        assert session.engine.is_idle
    assert session.output.count(b"200 OK") == 3
    assert b"connection" not in session.output


def test_pipelined_requests_wait_for_their_turn(connect) -> None:
    session = connect()
    session.say(GET + post(5) + b"hello" + GET + GET[:5])
    assert len(session.requests) == 1
    session.answer()
    assert (len(session.requests), session.body) == (2, b"hello")
    session.answer()
    assert len(session.requests) == 3
    session.answer()
    assert len(session.requests) == 3
    assert not session.engine.is_idle
    session.say(GET[5:])
    assert len(session.requests) == 4


def test_too_many_pipelined_requests_pause_reading(connect) -> None:
    session = connect(keep_alive_max_requests=10_000)
    session.say(GET)
    session.say(GET * 2000)
    assert session.engine.wants_read
    session.say(GET * 2000)
    assert not session.engine.wants_read
    for number in range(1, 4002):
        assert len(session.events) == number
        session.answer()
        session.take_output()
    assert session.engine.wants_read
    assert session.engine.is_idle


def test_pipelined_input_behind_a_complete_body_pauses_reading(connect) -> None:
    session = connect()
    session.say(post(1) + b"x" + GET * 4000)
    assert not session.engine.wants_read
    session.engine.consume(1, 1, 0.0)
    assert not session.engine.wants_read


def test_last_request_of_a_connection(connect) -> None:
    session = connect(keep_alive_max_requests=2)
    session.say(GET)
    session.answer()
    assert session.is_open
    session.take_output()
    session.say(GET)
    session.answer()
    assert b"\r\nconnection: close\r\n" in session.output
    assert session.engine.closing is Closing.AFTER_FLUSH
    session.say(GET)
    assert len(session.requests) == 2


def test_same_fields_again_are_new_lists(connect) -> None:
    session = connect()
    session.say(GET)
    session.answer()
    session.requests[0].fields.append((b"x", b"y"))
    session.say(GET)
    assert session.requests[1].fields == [(b"host", b"a")]


def test_equal_fields_are_judged_for_each_request(connect) -> None:
    session = connect()
    session.say(b"GET / HTTP/1.0\r\nX: y\r\nConnection: keep-alive\r\n\r\n")
    session.answer()
    session.take_output()
    session.say(b"GET / HTTP/1.1\r\nX: y\r\nConnection: keep-alive\r\n\r\n")
    assert session.refused == [400]


def test_refused_fields_are_not_remembered(connect) -> None:
    session = connect(limit_request_fields=1)
    session.say(GET)
    session.answer()
    session.say(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n")
    assert session.refused == [431]


def test_large_field_blocks_are_not_remembered_but_served(connect) -> None:
    session = connect()
    for _ in range(2):
        session.say(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n")
        session.answer()
    assert len(session.requests[1].fields) == 2


def test_raw_names(connect, cut) -> None:
    session = connect(pass_raw_names=True)
    session.say(b"POST / HTTP/1.1\r\nHOST: a\r\nContent-Length: 1\r\nX-Y: z\r\n\r\n1", cut)
    assert session.requests[0].fields == [(b"HOST", b"a"), (b"Content-Length", b"1"), (b"X-Y", b"z")]
    assert session.body == b"1"
    session.answer()
    session.say(b"GET http://b/ HTTP/1.1\r\nHOST: a\r\n\r\n", cut)
    assert session.requests[1].fields == [(b"HOST", b"b")]


# ---- limits


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 30 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"a" * 30, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 30 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 3 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 3 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 3, 431),
        (b"GET http://a/" + b"a" * 30 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ],
)
def test_limits(head, status, connect, cut) -> None:
    session = connect(
        limit_request_line=32, limit_request_fields=3, limit_request_field_size=32, max_head_size=100
    )
    session.say(head, cut)
    assert session.refused == [status]
    assert not session.requests


def test_exactly_at_the_limits(connect, cut) -> None:
    head = b"GET /aaaaaa HTTP/1.1\r\nHost: a\r\nX: yyyyyyyyyyyyyyyyy\r\n\r\n"
    session = connect(
        limit_request_line=20, limit_request_fields=2, limit_request_field_size=20, max_head_size=len(head)
    )
    session.say(head, cut)
    assert session.requests


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 20000, 414),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (GET[:-2] + b"X: y\r\n" * 3000, 431),
    ],
)
def test_unlimited_lines_are_bounded_by_the_head(head, status, connect) -> None:
    session = connect(limit_request_line=0, limit_request_fields=0, limit_request_field_size=0)
    session.say(head)
    assert session.refused == [status]
    session = connect(limit_request_line=0)
    session.say(b"GET /" + b"a" * 12000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert session.requests


def test_trailer_limits(connect, cut) -> None:
    session = connect(max_head_size=200)
    session.say(CHUNKED + b"0\r\n" + b"X: y\r\n" * 40, cut)
    assert session.refused == [431]
    session = connect(limit_request_fields=2)
    session.say(CHUNKED + b"0\r\n" + b"X: y\r\n" * 3 + b"\r\n", cut)
    assert session.refused == [431]


def test_chunk_extension_limits(connect, cut) -> None:
    session = connect()
    session.say(CHUNKED + b"1;" + b"a" * 1100, cut)
    assert session.refused == [400]
    session = connect()
    session.say(CHUNKED + b"1;" + b"a" * 1100 + b"\r\n")
    assert session.refused == [400]
    session = connect()
    session.say(CHUNKED + (b"1;" + b"a" * 900 + b"\r\nx\r\n") * 20)
    assert session.refused == [400]


# ---- a body that the application does not read


@pytest.mark.parametrize("rest", [b"x" * 90 + GET, b"x" * 80])
def test_small_rest_is_thrown_away(rest, connect, cut) -> None:
    session = connect(max_buffered_body=5)
    session.say(post(100) + b"x" * 10)
    assert not session.engine.wants_read
    session.answer()
    assert session.is_open
    assert session.engine.wants_read
    assert not session.engine.is_idle
    session.say(rest, cut)
    assert session.body == b"x" * 10
    assert len(session.requests) == (2 if GET in rest else 1)


def test_small_chunked_rest_is_thrown_away(connect, cut) -> None:
    session = connect()
    session.say(CHUNKED)
    session.answer()
    session.say(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n" + GET, cut)
    assert len(session.requests) == 2
    assert not session.trailers


def test_large_rest_closes_and_says_so(connect) -> None:
    session = connect()
    session.say(post(1_000_000))
    session.answer()
    assert b"\r\nconnection: close\r\n" in session.output
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_large_rest_behind_a_streamed_answer_closes(connect) -> None:
    session = connect()
    session.say(post(1_000_000))
    session.head()
    session.data(b"x")
    assert session.is_open
    session.data(b"", True)
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_chunked_rest_is_thrown_away_up_to_a_bound(connect) -> None:
    session = connect()
    session.say(CHUNKED)
    session.answer()
    for _ in range(64):
        session.say(b"400\r\n" + b"x" * 1024 + b"\r\n")
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_bad_rest_closes_without_another_answer(connect) -> None:
    session = connect()
    session.say(CHUNKED)
    session.answer()
    session.say(b"xyz\r\n")
    assert session.output.count(b"HTTP/1.1 ") == 1
    assert not session.refused
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_rest_that_does_not_come(connect) -> None:
    session = connect(keep_alive_timeout=5.0)
    session.say(post(10))
    session.answer()
    session.wait(5.0)
    assert session.engine.closing is Closing.AFTER_FLUSH
    assert not session.refused


def test_end_of_input_in_the_rest(connect) -> None:
    session = connect()
    session.say(post(10))
    session.answer()
    session.eof()
    assert session.engine.closing is Closing.AFTER_FLUSH
    assert not session.stream_closed


# ---- Expect: 100-continue

EXPECT = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


def test_continue_is_sent_once(connect, cut) -> None:
    session = connect()
    session.say(EXPECT, cut)
    assert session.requests[0].expects_continue
    assert not session.output
    for _ in range(2):
        session.engine.send_informational(1, 100, [])
        session.settle()
        assert session.output == b"HTTP/1.1 100 Continue\r\n\r\n"
    session.say(b"hello", cut)
    assert session.body == b"hello"
    session.answer()
    assert session.is_open


def test_continue_is_not_sent_once_content_is_here(connect) -> None:
    session = connect()
    session.say(EXPECT + b"h")
    session.engine.send_informational(1, 100, [])
    session.settle()
    assert not session.output


def test_answer_without_continue_closes(connect) -> None:
    """The client may or may not send its body now: nobody could tell what comes next."""
    session = connect()
    session.say(EXPECT)
    session.answer(status=413)
    assert b"\r\nconnection: close\r\n" in session.output
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_no_continue_in_http10_or_without_a_body(connect) -> None:
    session = connect()
    session.say(EXPECT.replace(b"/1.1", b"/1.0"))
    assert not session.requests[0].expects_continue
    session.engine.send_informational(1, 100, [])
    session.settle()
    assert not session.output
    session = connect()
    session.say(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
    assert not session.requests[0].expects_continue


# ---- deadlines


def test_idle_connection_closes_silently(connect) -> None:
    session = connect(keep_alive_timeout=5.0)
    assert session.engine.deadline == 5.0
    session.wait(4.0)
    session.engine.handle_deadline(session.now)  # Too early: nothing happens.
    assert session.is_open
    session.wait(1.0)
    assert session.engine.closing is Closing.AFTER_FLUSH
    assert (session.output, session.events) == (b"", [])


def test_partial_head_times_out(connect) -> None:
    session = connect(keep_alive_timeout=5.0)
    session.now = 4.0
    session.say(GET[:-1])
    assert session.engine.deadline == 5.0
    session.wait(1.0)
    assert session.refused == [408]
    assert session.output.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    refused = session.events[-1]
    assert (refused.method, refused.target, refused.http_version) == ("GET", b"/", "1.1")


def test_header_timeout_counts_from_the_first_byte(connect) -> None:
    session = connect(keep_alive_timeout=5.0, header_timeout=2.0)
    session.now = 4.0
    session.say(b"G")
    assert session.engine.deadline == 6.0
    session.now = 5.0
    session.say(b"E")
    assert session.engine.deadline == 6.0
    session.wait(1.0)
    assert session.refused == [408]
    assert (session.events[-1].method, session.events[-1].http_version) == ("", "")


def test_header_timeout_of_a_pipelined_head(connect) -> None:
    session = connect(keep_alive_timeout=5.0, header_timeout=2.0)
    session.say(GET + GET[:5])
    assert session.engine.deadline == math.inf
    session.now = 10.0
    session.answer()
    assert session.engine.deadline == 12.0


def test_no_deadline_while_the_application_works(connect) -> None:
    session = connect(read_timeout=1.0)
    session.say(GET)
    assert session.engine.deadline == math.inf
    session.now = 100.0
    session.answer()
    assert session.engine.deadline == 105.0


def test_body_times_out(connect) -> None:
    session = connect(read_timeout=2.0)
    session.say(post(5))
    session.now = 1.0
    session.say(b"x")
    assert session.engine.deadline == 3.0
    session.wait(2.0)
    assert session.stream_closed
    assert session.refused == [408]
    assert b"408 Request Timeout" in session.output


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_body_times_out_while_answering(version, connect) -> None:
    session = connect(read_timeout=2.0)
    session.say(post(5).replace(b"1.1", version))
    session.head()
    session.data(b"x")
    session.wait(2.0)
    assert session.stream_closed
    assert not session.refused
    closing = Closing.AFTER_FLUSH if version == b"1.1" else Closing.ABORT
    assert session.engine.closing is closing


# ---- end of input


def test_end_of_input_while_idle(connect) -> None:
    session = connect()
    session.eof()
    assert session.engine.closing is Closing.AFTER_FLUSH
    assert (session.output, session.events) == (b"", [])


def test_end_of_input_in_a_head(connect) -> None:
    session = connect()
    session.say(GET[:10])
    session.eof()
    assert session.engine.closing is Closing.AFTER_FLUSH
    assert (session.output, session.events) == (b"", [])


def test_half_closed_client_gets_its_answers(connect) -> None:
    session = connect()
    session.say(GET + GET + GET[:5])
    session.eof()
    assert session.is_open
    session.answer()
    assert session.is_open
    session.answer()
    assert session.output.count(b"200 OK") == 2
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_half_closed_client_whose_second_body_is_not_complete(connect) -> None:
    session = connect()
    session.say(GET + post(10) + b"x")
    session.eof()
    session.answer()
    assert [type(event) for event in session.events[-3:]] == [Request, Data, StreamClosed]
    assert session.events[-1].stream_id == 2
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_half_closed_client_with_one_request(connect) -> None:
    session = connect()
    session.say(GET)
    session.eof()
    session.answer()
    assert session.output.count(b"200 OK") == 1
    assert session.engine.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize(
    ("version", "starts", "closing"),
    [
        (b"1.1", False, Closing.AFTER_FLUSH),
        (b"1.1", True, Closing.AFTER_FLUSH),
        (b"1.0", True, Closing.ABORT),
    ],
)
def test_end_of_input_in_a_body(version, starts, closing, connect) -> None:
    session = connect()
    session.say(post(10).replace(b"1.1", version) + b"x")
    if starts:
        session.head()
        session.data(b"y")
    session.eof()
    assert isinstance(session.events[-1], StreamClosed)
    assert session.engine.closing is closing


# ---- drain


@pytest.mark.parametrize("at_once", [False, True])
def test_drain_while_idle(at_once, connect) -> None:
    session = connect()
    session.engine.drain(0.0, at_once)
    assert session.is_open is not at_once
    if not at_once:
        session.say(GET)
        session.answer()
        assert b"\r\nconnection: close\r\n" in session.output
        assert session.engine.closing is Closing.AFTER_FLUSH


def test_drain_idle_until_its_deadline(connect) -> None:
    session = connect()
    session.engine.drain(0.0, False)
    session.wait(5.0)
    assert session.engine.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize("at_once", [False, True])
def test_drain_finishes_what_is_open(at_once, connect) -> None:
    session = connect()
    session.say(GET)
    session.engine.drain(0.0, at_once)
    assert session.is_open
    session.answer()
    assert b"\r\nconnection: close\r\n" in session.output
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_drain_after_the_head_was_sent(connect) -> None:
    session = connect()
    session.say(GET)
    session.head()
    session.settle()
    session.engine.drain(0.0, True)
    session.data(b"x", True)
    assert session.output.endswith(b"1\r\nx\r\n0\r\n\r\n")
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_drain_answers_what_has_arrived(connect) -> None:
    session = connect()
    session.say(GET + GET)
    session.engine.drain(0.0, True)
    session.answer()
    assert b"connection: close" not in session.output
    session.answer()
    assert b"\r\nconnection: close\r\n" in session.output
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_drain_at_once_waits_for_a_partial_head(connect) -> None:
    session = connect()
    session.say(GET[:5])
    session.engine.drain(0.0, True)
    assert session.is_open
    session.say(GET[5:])
    assert session.requests


# ---- late and odd calls


def test_calls_for_an_exchange_that_is_over_do_nothing(connect) -> None:
    session = connect()
    session.say(GET)
    session.answer()
    session.say(GET)
    session.take_output()
    engine = session.engine
    engine.send_informational(1, 103, [])
    engine.send_head(1, 200, [], 0.0)
    engine.send_data(1, b"x", True, 0.0)
    engine.send_trailers(1, [], 0.0)
    engine.reset_stream(1, 0.0)
    engine.consume(1, 1, 0.0)
    session.settle()
    assert not session.output
    assert session.is_open


def test_empty_input_does_nothing(connect) -> None:
    session = connect()
    for data in (b"", CHUNKED, b"", b"1\r\nx\r\n0\r\n\r\n", b""):
        session.say(data)
    assert session.body == b"x"
    assert sum(isinstance(event, Data) for event in session.events) == 1


def test_input_after_the_end_is_dropped(connect) -> None:
    session = connect()
    session.say(b"\x00")
    assert session.refused == [400]
    session.say(GET)
    session.eof()
    assert not session.requests


def test_absolute_form_of_https_where_it_belongs(connect, cut) -> None:
    session = connect(secure=True)
    session.say(b"GET https://b/x?y HTTP/1.1\r\nHost: a\r\n\r\n", cut)
    [request] = session.requests
    assert (request.raw_path, request.query, request.fields) == (b"/x", b"y", [(b"host", b"b")])
