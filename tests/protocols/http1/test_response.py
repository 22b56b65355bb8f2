"""What is written for what the application sends, and what it may not send."""

from __future__ import annotations

import pytest

from hypercorn.protocols.engine import Closing, LocalProtocolError
from hypercorn.protocols.http1.sending import LARGE

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
OLD = b"GET / HTTP/1.0\r\n\r\n"
OLD_KEPT = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
STATUS = b"HTTP/1.1 200 OK\r\n"
ADDED = b"date: today\r\nserver: us\r\n"
LENGTH = [(b"content-length", b"5")]


def open_session(connect, request=GET):
    session = connect()
    session.say(request)
    return session


# ---- framing


def test_known_body_gets_a_length(connect) -> None:
    session = open_session(connect)
    session.answer(b"hello")
    assert session.output == STATUS + ADDED + b"content-length: 5\r\n\r\nhello"


def test_empty_body_gets_a_length(connect) -> None:
    session = open_session(connect)
    session.answer(b"")
    assert session.output == STATUS + ADDED + b"content-length: 0\r\n\r\n"


def test_streamed_body_is_chunked(connect) -> None:
    session = open_session(connect)
    session.head()
    session.settle()
    assert session.take_output() == STATUS + ADDED + b"transfer-encoding: chunked\r\n\r\n"
    session.data(b"hello")
    assert session.take_output() == b"5\r\nhello\r\n"
    session.data(b"")
    assert session.take_output() == b""
    session.data(b"x" * 16, True)
    assert session.take_output() == b"10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"
    assert session.engine.is_idle


def test_streamed_body_with_a_length(connect) -> None:
    session = open_session(connect)
    session.head(200, LENGTH)
    session.settle()
    assert session.output == STATUS + b"content-length: 5\r\n" + ADDED + b"\r\n"
    session.data(b"hel")
    session.data(b"lo")
    assert not session.engine.is_idle
    session.data(b"", True)
    assert session.output.endswith(b"\r\n\r\nhello")
    assert session.engine.is_idle


BODY = bytes(LARGE)


def pieces_of(engine):
    """What the engine gives, one call a line: the bytes, and what goes behind them."""
    pieces = []
    while data := engine.data_to_send():
        pieces.append((data, engine.apart))
        engine.apart = b""
    return pieces


@pytest.mark.parametrize("fields", [[], [(b"content-length", b"%d" % LARGE)]])
def test_large_content_is_not_copied(fields, connect) -> None:
    session = open_session(connect)
    engine = session.engine
    engine.send_head(1, 200, fields, 0.0)
    engine.send_data(1, BODY, True, 0.0)
    [(head, body)] = pieces_of(engine)
    assert head.startswith(STATUS)
    assert b"content-length: %d\r\n" % LARGE in head
    assert head.endswith(b"\r\n\r\n")
    assert body is BODY
    assert engine.is_idle


def test_content_around_large_content(connect) -> None:
    session = open_session(connect)
    engine = session.engine
    engine.send_head(1, 200, [(b"content-length", b"%d" % (3 * LARGE + 8))], 0.0)
    for data in (b"ab", b"cd", BODY, b"ef", BODY, BODY, b"gh"):
        engine.send_data(1, data, data == b"gh", 0.0)
    (front, behind), *others = pieces_of(engine)
    assert front.endswith(b"\r\n\r\nabcd")
    assert behind is BODY
    assert others == [(b"ef", BODY), (BODY, b"gh")]
    assert others[1][0] is BODY


def test_nothing_between_large_pieces(connect) -> None:
    session = open_session(connect)
    engine = session.engine
    session.head()
    for data in (BODY, b"", BODY, b"", b""):
        engine.send_data(1, data, False, 0.0)
    engine.send_data(1, b"", True, 0.0)
    assert b"".join(data + behind for data, behind in pieces_of(engine)).count(BODY) == 2
    assert engine.is_idle


def test_large_chunks_stay_whole(connect) -> None:
    session = open_session(connect)
    session.head()
    session.data(BODY)
    session.data(b"", True)
    assert session.output.endswith(b"chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (LARGE, BODY))


def test_chunked_when_the_application_says_so(connect) -> None:
    session = open_session(connect)
    session.answer(b"hello", fields=[(b"Transfer-Encoding", b" Chunked ")])
    assert session.output == STATUS + ADDED + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


def test_http10_streams_until_close(connect) -> None:
    for request in (OLD, OLD_KEPT):
        session = open_session(connect, request)
        session.head(200, [(b"transfer-encoding", b"chunked")])
        session.data(b"hello")
        session.data(b"x", True)
        assert session.output == STATUS + ADDED + b"connection: close\r\n\r\nhellox"
        assert session.engine.closing is Closing.AFTER_FLUSH


def test_http10_keep_alive(connect) -> None:
    session = open_session(connect, OLD_KEPT)
    session.answer(b"hello")
    assert session.output == STATUS + ADDED + b"content-length: 5\r\nconnection: keep-alive\r\n\r\nhello"
    assert session.is_open
    session = open_session(connect, OLD)
    session.answer(b"hello")
    assert session.output == STATUS + ADDED + b"content-length: 5\r\nconnection: close\r\n\r\nhello"


@pytest.mark.parametrize(
    ("fields", "body", "framing"),
    [
        ([], b"", b""),
        ([], b"hello", b"content-length: 5\r\n"),
        ([(b"transfer-encoding", b"chunked")], b"", b""),
    ],
)
def test_head_request(fields, body, framing, connect) -> None:
    session = open_session(connect, HEAD)
    session.answer(body, fields=fields)
    assert session.output == STATUS + ADDED + framing + b"\r\n"
    assert session.is_open


def test_head_request_keeps_the_length_and_drops_the_body(connect) -> None:
    session = open_session(connect, HEAD)
    session.head(200, LENGTH)
    session.settle()
    session.data(b"something")
    session.data(b"else", True)
    assert session.output == STATUS + b"content-length: 5\r\n" + ADDED + b"\r\n"


@pytest.mark.parametrize(
    ("status", "line"),
    [(204, b""), (304, b"content-length: 5\r\n"), (205, b""), (404, b"content-length: 5\r\n")],
)
def test_statuses_without_content(status, line, connect) -> None:
    session = open_session(connect)
    session.answer(b"hello", status, LENGTH)
    head, _, body = session.output.partition(b"\r\n\r\n")
    assert (line in head + b"\r\n") is True
    assert head.count(b"content-length") == (0 if status == 204 else 1)
    assert b"transfer-encoding" not in head
    assert body == (b"hello" if status == 404 else b"")
    if status == 205:
        assert b"content-length: 0" in head
    assert session.engine.is_idle


def test_204_in_pieces(connect) -> None:
    session = open_session(connect)
    session.head(204, [(b"transfer-encoding", b"chunked")])
    session.data(b"a")
    session.data(b"b", True)
    assert session.output == b"HTTP/1.1 204 No Content\r\n" + ADDED + b"\r\n"


def test_unknown_status(connect) -> None:
    session = open_session(connect)
    session.answer(status=799)
    assert session.output.startswith(b"HTTP/1.1 799 \r\n")


@pytest.mark.parametrize("body", [b"hell", b"helloo", b""])
def test_wrong_length_at_once(body, connect) -> None:
    session = open_session(connect)
    session.head(200, LENGTH)
    with pytest.raises(LocalProtocolError, match="content-length"):
        session.engine.send_data(1, body, True, 0.0)
    session.engine.reset_stream(1, 0.0)
    session.settle()
    assert session.output.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert session.output.endswith(b"\r\nconnection: close\r\n\r\n")
    assert session.engine.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize(("body", "end"), [(b"lo!", False), (b"l", True)])
def test_wrong_length_in_pieces(body, end, connect) -> None:
    session = open_session(connect)
    session.head(200, LENGTH)
    session.data(b"hel")
    with pytest.raises(LocalProtocolError, match="content-length"):
        session.engine.send_data(1, body, end, 0.0)
    session.engine.reset_stream(1, 0.0)
    session.settle()
    assert session.output.endswith(b"\r\n\r\nhel")
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_reset_of_a_response_that_only_the_end_of_the_connection_ends(connect) -> None:
    session = open_session(connect, OLD)
    session.head()
    session.data(b"x")
    session.engine.reset_stream(1, 0.0)
    assert session.engine.closing is Closing.ABORT


@pytest.mark.parametrize(("request_", "status"), [(HEAD, 200), (GET, 204), (GET, 304)])
def test_reset_of_a_response_without_content(request_, status, connect) -> None:
    """Its head is all of it: a reset could only destroy it on its way."""
    session = open_session(connect, request_)
    session.head(status)
    session.data(b"x")
    session.engine.reset_stream(1, 0.0)
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_reset_before_the_head(connect) -> None:
    session = open_session(connect)
    session.engine.reset_stream(1, 0.0)
    session.settle()
    assert session.output.startswith(b"HTTP/1.1 500 ")


# ---- fields


def test_fields_of_the_application_come_first_and_once(connect) -> None:
    session = open_session(connect)
    session.answer(fields=[(b"Server", b"mine"), (b"X-A", b" 1\t"), (b"x-a", b"\xe9")])
    assert session.output == (
        STATUS + b"Server: mine\r\nX-A: 1\r\nx-a: \xe9\r\ndate: today\r\ncontent-length: 2\r\n\r\nok"
    )


def test_default_fields_change(connect) -> None:
    session = open_session(connect)
    session.answer()
    session.take_output()
    session.defaults.replace([(b"date", b"tomorrow")])
    session.say(GET)
    session.answer()
    assert session.output == STATUS + b"date: tomorrow\r\ncontent-length: 2\r\n\r\nok"


def test_equal_heads_are_remembered_and_others_are_not_mixed_up(connect) -> None:
    session = open_session(connect)
    fields = [(b"x", b"1")]
    session.answer(fields=fields)
    first = session.take_output()
    session.say(GET)
    session.answer(fields=[(b"x", b"1")])
    assert session.take_output() == first
    fields[0] = (b"x", b"2")
    session.say(GET)
    session.answer(fields=fields)
    assert b"x: 2\r\n" in session.take_output()
    session.say(GET)
    session.answer(status=201, fields=fields)
    assert session.take_output().startswith(b"HTTP/1.1 201 ")


def test_pairs_that_change_are_not_remembered(connect) -> None:
    session = open_session(connect)
    pair = [b"x", b"1"]
    session.answer(fields=[pair])
    session.take_output()
    pair[1] = b"2"
    session.say(GET)
    session.answer(fields=[pair])
    assert b"x: 2\r\n" in session.output


def test_values_that_change_are_not_remembered(connect) -> None:
    session = open_session(connect)
    value = bytearray(b"1")
    session.answer(fields=[(b"x", value)])
    session.take_output()
    value[:] = b"2"
    session.say(GET)
    session.answer(fields=[(b"x", value)])
    assert b"x: 2\r\n" in session.output


@pytest.mark.parametrize(
    "field",
    [
        (b"x", b"a\r\ny: b"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\x00b"),
        (b"x", b"a\r\n"),
        (b"x", b"\x7f"),
        (b"", b"a"),
        (b"x y", b"a"),
        (b"x:", b"a"),
        (b"x\r\ny", b"a"),
        (b"\xe9", b"a"),
        (b"transfer-encoding: chunked\r\nx", b"a"),
        (b"connection", b"close\r\nx: y"),
        (b"connection", b"a b"),
        (b"transfer-encoding", b"gzip"),
        (b"transfer-encoding", b"chunked\r\nx: y"),
        (b"content-length", b"-1"),
        (b"content-length", b"5\r\n"),
        (b"content-length", b"5, 5"),
        (b"content-length", b""),
    ],
)
def test_invalid_fields(field, connect) -> None:
    session = open_session(connect)
    with pytest.raises(LocalProtocolError):
        session.engine.send_head(1, 200, [(b"a", b"b"), field], 0.0)
    session.settle()
    assert not session.output
    session.answer(status=500)  # Nothing was sent: another head may be.
    assert session.output.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"content-length", b"5"), (b"Content-Length", b"5")],
        [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")],
    ],
)
def test_contradictory_framing(fields, connect) -> None:
    session = open_session(connect)
    with pytest.raises(LocalProtocolError):
        session.engine.send_head(1, 200, fields, 0.0)


@pytest.mark.parametrize("status", [0, 99, 100, 101, 103, 1000])
def test_not_a_final_status(status, connect) -> None:
    session = open_session(connect)
    with pytest.raises(LocalProtocolError):
        session.engine.send_head(1, status, [], 0.0)


def test_content_before_the_head_and_second_head(connect) -> None:
    session = open_session(connect)
    with pytest.raises(LocalProtocolError):
        session.engine.send_data(1, b"x", False, 0.0)
    with pytest.raises(LocalProtocolError):
        session.engine.send_trailers(1, [], 0.0)
    session.head()
    with pytest.raises(LocalProtocolError):
        session.engine.send_head(1, 200, [], 0.0)


# ---- Connection


@pytest.mark.parametrize("value", [b"close", b"x, Close"])
def test_application_closes(value, connect) -> None:
    session = open_session(connect)
    session.answer(fields=[(b"Connection", value)])
    lines = session.output.split(b"\r\n")
    assert lines.count(b"connection: " + value.lower()) == 1
    assert session.engine.closing is Closing.AFTER_FLUSH


def test_application_cannot_keep_alive_what_ends(connect) -> None:
    session = open_session(connect, OLD)
    session.answer(fields=[(b"connection", b"keep-alive")])
    assert session.output.count(b"connection: close\r\n") == 1
    assert b"keep-alive" not in session.output


def test_other_connection_options_stay(connect) -> None:
    session = open_session(connect)
    session.answer(status=426, fields=[(b"connection", b"x"), (b"upgrade", b"h2c")])
    assert b"\r\nupgrade: h2c\r\n" in session.output
    assert b"\r\nconnection: upgrade, x\r\n" in session.output
    assert session.is_open


# ---- informational responses


def test_early_hints(connect) -> None:
    session = open_session(connect)
    session.engine.send_informational(1, 103, [(b"link", b"</a>"), (b"content-length", b"5")])
    session.settle()
    assert session.take_output() == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    session.head()
    session.engine.send_informational(1, 103, [(b"link", b"</a>")])
    session.data(b"x", True)
    assert session.output.startswith(STATUS)


@pytest.mark.parametrize(
    ("status", "fields"), [(101, []), (200, []), (103, [(b"x", b"a\r\nb: c")]), (103, [(b"\n", b"")])]
)
def test_invalid_informational(status, fields, connect) -> None:
    session = open_session(connect)
    with pytest.raises(LocalProtocolError):
        session.engine.send_informational(1, status, fields)
    session.settle()
    assert not session.output


def test_no_informational_in_http10(connect) -> None:
    session = open_session(connect, OLD)
    session.engine.send_informational(1, 103, [])
    session.settle()
    assert not session.output


# ---- trailers


def test_trailers(connect) -> None:
    session = open_session(connect)
    session.head()
    session.data(b"hello")
    session.take_output()
    session.engine.send_trailers(1, [(b"x", b"y"), (b"Content-Length", b"5")], 0.0)
    session.settle()
    assert session.output == b"0\r\nx: y\r\n\r\n"
    assert session.engine.is_idle


def test_trailers_behind_a_held_head(connect) -> None:
    session = open_session(connect)
    session.head()
    session.engine.send_trailers(1, [(b"x", b"y")], 0.0)
    session.settle()
    assert session.output == STATUS + ADDED + b"transfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n\r\n"


def test_invalid_trailers(connect) -> None:
    session = open_session(connect)
    session.head()
    with pytest.raises(LocalProtocolError):
        session.engine.send_trailers(1, [(b"x", b"y\r\n\r\n")], 0.0)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [(GET, [(b"content-length", b"0")]), (HEAD, []), (OLD, [])],
    ids=["length", "HEAD", "1.0"],
)
def test_trailers_are_dropped_without_chunks(request_, fields, connect) -> None:
    session = open_session(connect, request_)
    session.head(200, fields)
    session.engine.send_trailers(1, [(b"x", b"y")], 0.0)
    session.settle()
    assert session.output.endswith(b"\r\n\r\n")
    assert b"x: y" not in session.output
    assert session.is_open is (request_ is not OLD)
