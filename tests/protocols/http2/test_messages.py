"""Requests, responses and trailers: what is malformed (RFC 9113 §8), and what the application gets and sends."""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, RstStreamFrame

from hypercorn.protocols.engine import LocalProtocolError
from hypercorn.protocols.events import Data, Refused, Request, StreamClosed, Trailers

Fields = list[tuple[str, str]]

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org")]
NO_ERROR, PROTOCOL, INTERNAL = 0, 1, 2


def changed(name: str, value: str | None) -> Fields:
    """GET with one pseudo-header field changed or left out."""
    fields = [(key, value if key == name else old) for key, old in GET]
    return [(key, text) for key, text in fields if text is not None]


MALFORMED: dict[str, Fields] = {
    "upper-case name": [*GET, ("X-Test", "ok")],
    "space in a name": [*GET, ("x test", "ok")],
    "colon in a name": [*GET, ("x:test", "ok")],
    "non-ASCII name": [*GET, ("x-tést", "ok")],
    "no name": [*GET, ("", "ok")],
    "line feed in a name": [*GET, ("a\nb", "ok")],
    "line feed in a value": [*GET, ("x-test", "a\nb: c")],
    "carriage return in a value": [*GET, ("x-test", "a\rb")],
    "NUL in a value": [*GET, ("x-test", "a\0b")],
    "control in a value": [*GET, ("x-test", "a\x07b")],
    "value with space before it": [*GET, ("x-test", " a")],
    "value with tab behind it": [*GET, ("x-test", "a\t")],
    "unknown pseudo-header field": [*GET, (":test", "ok")],
    "response pseudo-header field": [*GET, (":status", "200")],
    "pseudo-header field behind others": [*GET[:3], ("x-test", "ok"), GET[3]],
    "no method": changed(":method", None),
    "no scheme": changed(":scheme", None),
    "no path": changed(":path", None),
    "empty path": changed(":path", ""),
    "path without slash": changed(":path", "index.html"),
    "asterisk without OPTIONS": changed(":path", "*"),
    "space in the path": changed(":path", "/a b"),
    "control in the path": changed(":path", "/a\nb"),
    "fragment in the path": changed(":path", "/p#frag"),
    "fragment in the query": changed(":path", "/p?q#frag"),
    "non-ASCII path": changed(":path", "/é"),
    "empty method": changed(":method", ""),
    "method that is no token": changed(":method", "GE T"),
    "empty scheme": changed(":scheme", ""),
    "two methods": [*GET, (":method", "POST")],
    "two schemes": [*GET, (":scheme", "https")],
    "two paths": [*GET, (":path", "/b")],
    "two authorities": [*GET, (":authority", "b")],
    "no authority": changed(":authority", None),
    "empty authority": changed(":authority", ""),
    "empty host": [*changed(":authority", None), ("host", "")],
    "port in the authority and no host": changed(":authority", ":80"),
    "two ports in the authority": changed(":authority", "a:b:c"),
    "port in the authority that there is not": changed(":authority", "a:99999"),
    "authority that is a list": changed(":authority", "a,b"),
    "authority with half an escape": changed(":authority", "%zz"),
    "authority with brackets the wrong way round": changed(":authority", "]a["),
    "authority with a malformed IPv6 address": changed(":authority", "[::g]"),
    "host that is a list": [*changed(":authority", None), ("host", "a,b")],
    "host with a port that there is not": [*changed(":authority", None), ("host", "a:99999")],
    "user in the authority": changed(":authority", "me@example.org"),
    "slash in the authority": changed(":authority", "example.org/x"),
    "host that differs": [*GET, ("host", "example.com")],
    "two hosts": [*changed(":authority", None), ("host", "a"), ("host", "b")],
    "connection": [*GET, ("connection", "keep-alive")],
    "keep-alive": [*GET, ("keep-alive", "5")],
    "proxy-connection": [*GET, ("proxy-connection", "close")],
    "transfer-encoding": [*GET, ("transfer-encoding", "chunked")],
    "upgrade": [*GET, ("upgrade", "h2c")],
    "te": [*GET, ("te", "trailers, deflate")],
    "negative length": [*GET, ("content-length", "-1")],
    "length with plus": [*GET, ("content-length", "+0")],
    "two lengths": [*GET, ("content-length", "0"), ("content-length", "1")],
    "two equal lengths": [*GET, ("content-length", "0"), ("content-length", "0")],
    "list of lengths": [*GET, ("content-length", "0, 0")],
    "length that no number of 64 bits holds": [*GET, ("content-length", "9" * 19)],
    "length without a body": [*GET, ("content-length", "1")],
    "protocol without CONNECT": [*GET, (":protocol", "websocket")],
    "CONNECT with path": [(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")],
    "CONNECT with scheme": [(":method", "CONNECT"), (":authority", "a:1"), (":scheme", "http")],
    "CONNECT without authority": [(":method", "CONNECT")],
    "extended CONNECT without path": [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a"),
    ],
    "extended CONNECT without authority": [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        ("host", "a"),
    ],
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_answered_and_reset(case: str, peer: Any) -> None:
    """A proxy passes the answer on, and takes the reset alone for our failure (RFC 9113 §8.1.1)."""
    peer.send(peer.headers(1, MALFORMED[case], "END_STREAM"))
    assert [(type(event), event.status) for event in peer.events()] == [(Refused, 400)]
    answer, reset = peer.frames()
    assert peer.fields(answer)[0] == (":status", "400")
    assert "END_STREAM" in answer.flags
    assert (reset.stream_id, reset.error_code) == (1, PROTOCOL)
    peer.get(3)
    assert [request.stream_id for request in peer.requests()] == [3]


@pytest.mark.parametrize(
    "fields", [[(":path", "/")], [("X-Bad", "1")], [("connection", "close")], [(":x", "")]]
)
def test_malformed_trailers_reset_the_stream(fields: Fields, peer: Any) -> None:
    peer.post(1)
    peer.events()
    peer.send(peer.headers(1, fields, "END_STREAM"))
    assert [type(event) for event in peer.events()] == [StreamClosed]
    peer.expect_stream_error(1, PROTOCOL)


def test_a_request(peer: Any) -> None:
    peer.send(
        peer.headers(
            1,
            [
                (":method", "GET"),
                (":path", "/a%20b/?x=1?y"),
                (":authority", "example.org:8000"),
                (":scheme", "http"),
                ("accept", ""),
                ("x-latin", "\x21caf"),
                ("te", "trailers"),
            ],
            "END_STREAM",
        )
    )
    (request,) = peer.requests()
    assert (request.method, request.raw_path, request.query) == ("GET", b"/a%20b/", b"x=1?y")
    assert request.fields == [
        (b"host", b"example.org:8000"),
        (b"accept", b""),
        (b"x-latin", b"!caf"),
        (b"te", b"trailers"),
    ]
    assert (request.http_version, request.end_stream, request.upgrade) == ("2", True, None)
    assert not request.expects_continue


def test_equal_requests_do_not_share_their_fields(peer: Any) -> None:
    for stream_id in (1, 3, 5, 7):
        peer.get(stream_id, accept="*/*")
    requests = peer.requests()
    requests[0].fields.clear()
    assert [len(request.fields) for request in requests] == [0, 2, 2, 2]
    assert requests[3].fields == [(b"host", b"example.org"), (b"accept", b"*/*")]


def test_host_stands_first_and_once(peer: Any) -> None:
    peer.send(peer.headers(1, [*GET, ("a", "b"), ("host", "EXAMPLE.org"), ("c", "d")], "END_STREAM"))
    fields = changed(":authority", None)
    peer.send(peer.headers(3, [*fields, ("a", "b"), ("host", "other.org")], "END_STREAM"))
    first, second = peer.requests()
    assert first.fields == [(b"host", b"example.org"), (b"a", b"b"), (b"c", b"d")]
    assert second.fields == [(b"host", b"other.org"), (b"a", b"b")]


def test_cookies_are_joined(peer: Any) -> None:
    crumbs = [("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2"), ("cookie", "c=3")]
    peer.send(peer.headers(1, [*GET, *crumbs], "END_STREAM"))
    (request,) = peer.requests()
    assert request.fields[1:] == [(b"cookie", b"a=1; b=2; c=3"), (b"accept", b"*/*")]


def test_options_asterisk(peer: Any) -> None:
    peer.send(peer.headers(1, [(":method", "OPTIONS"), (":path", "*"), *GET[1:2], *GET[3:]], "END_STREAM"))
    (request,) = peer.requests()
    assert (request.method, request.raw_path) == ("OPTIONS", b"*")


def test_a_body_and_trailers(peer: Any) -> None:
    peer.post(1, content_length="6")
    peer.data(1, b"abc")
    peer.send(DataFrame(1, b"def", pad_length=5, flags=["PADDED"]))
    peer.send(peer.headers(1, [("x-checksum", "1")], "END_STREAM"))
    request, first, second, trailers = peer.events()
    assert isinstance(request, Request)
    assert not request.end_stream
    assert [(event.data, event.end_stream) for event in (first, second)] == [(b"abc", False), (b"def", False)]
    assert isinstance(trailers, Trailers)
    assert trailers.fields == [(b"x-checksum", b"1")]


@pytest.mark.parametrize(("length", "pieces"), [("4", [b"abcd", b"e"]), ("4", [b"abc"]), ("0", [b"a"])])
def test_a_body_that_differs_from_its_length(length: str, pieces: list[bytes], peer: Any) -> None:
    peer.post(1, content_length=length)
    for index, piece in enumerate(pieces):
        peer.data(1, piece, end=index == len(pieces) - 1)
    assert isinstance(peer.events()[-1], StreamClosed)
    peer.expect_stream_error(1, PROTOCOL)


def test_trailers_after_too_little(peer: Any) -> None:
    peer.post(1, content_length="4")
    peer.send(peer.headers(1, [("x", "y")], "END_STREAM"))
    peer.expect_stream_error(1, PROTOCOL)


def test_a_header_block_in_pieces(peer: Any) -> None:
    block = peer.block(GET)
    peer.send(
        HeadersFrame(1, block[:3], flags=["END_STREAM"]),
        ContinuationFrame(1, block[3:5]),
        ContinuationFrame(1, block[5:], flags=["END_HEADERS"]),
    )
    (request,) = peer.requests()
    assert request.end_stream
    assert request.fields == [(b"host", b"example.org")]


def test_expect_continue(peer: Any) -> None:
    peer.post(1, expect="100-continue")
    peer.get(3, expect="100-continue")
    assert [request.expects_continue for request in peer.requests()] == [True, False]
    peer.engine.send_informational(1, 100, [])
    peer.engine.send_informational(1, 103, [(b"Link", b"</a.css>; rel=preload")])
    peer.respond(1, b"ok")
    peer.engine.send_informational(1, 103, [])
    frames = peer.frames()
    assert [peer.fields(frame) for frame in frames if isinstance(frame, HeadersFrame)] == [
        [(":status", "100")],
        [(":status", "103"), ("link", "</a.css>; rel=preload")],
        [(":status", "200"), ("server", "test")],
    ]


def test_an_https_request_in_clear_text_is_served(peer: Any) -> None:
    """It comes from a proxy that has ended TLS."""
    peer.send(peer.headers(1, changed(":scheme", "https"), "END_STREAM"))
    assert [request.stream_id for request in peer.requests()] == [1]


@pytest.mark.parametrize("expect", [("the-unexpected",), ("100-continue, other",), ("100-continue", "other")])
def test_an_unknown_expectation_is_answered(expect: tuple[str, ...], peer: Any) -> None:
    for stream_id, path in ((1, "/a"), (3, "/b")):
        fields = [*changed(":path", path), *(("expect", value) for value in expect)]
        peer.send(peer.headers(stream_id, fields, "END_STREAM"))
        (event,) = peer.events()
        assert isinstance(event, Refused)
        assert (event.status, event.target) == (417, path.encode())
        peer.expect_alive()


# ---- too large


def test_too_large_a_field_section_is_answered(connect: Any) -> None:
    peer = connect(max_header_list_size=4096)
    peer.send(peer.headers(1, [*GET, *[(f"x-{index}", "y" * 100) for index in range(40)]], "END_STREAM"))
    (event,) = peer.events()
    assert isinstance(event, Refused)
    assert event.status == 431
    (head,) = peer.of_type(HeadersFrame)
    assert peer.fields(head) == [(":status", "431"), ("server", "test"), ("content-length", "0")]
    assert "END_STREAM" in head.flags
    # The tables are in step: the next request decodes.
    peer.get(3, x_39="y" * 100)
    assert peer.requests()[0].fields[1] == (b"x-39", b"y" * 100)


# ---- CONNECT


def test_plain_connect_is_not_implemented(peer: Any) -> None:
    peer.send(peer.headers(1, [(":method", "CONNECT"), (":authority", "example.org:443")]))
    (event,) = peer.events()
    assert isinstance(event, Refused)
    assert event.status == 501
    frames = peer.frames()
    assert peer.fields(frames[0])[0] == (":status", "501")
    assert isinstance(frames[1], RstStreamFrame)
    assert frames[1].error_code == NO_ERROR


def connect_fields(protocol: str) -> Fields:
    return [(":method", "CONNECT"), (":protocol", protocol), *GET[1:], ("sec-websocket-version", "13")]


def test_an_unknown_protocol_is_not_implemented(peer: Any) -> None:
    peer.send(peer.headers(1, connect_fields("connect-udp")))
    (event,) = peer.events()
    assert isinstance(event, Refused)
    assert event.status == 501


@pytest.mark.parametrize("method", ["get", "Get"])
def test_a_method_in_lower_case_is_not_the_one_in_upper_case(method: str, peer: Any) -> None:
    for stream_id, path in ((1, "/a"), (3, "/b")):
        fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "example.org")]
        peer.send(peer.headers(stream_id, fields, "END_STREAM"))
        (event,) = peer.events()
        assert isinstance(event, Refused)
        assert (event.status, event.method) == (501, method)
        peer.expect_alive()


def test_a_websocket_tunnel(peer: Any) -> None:
    peer.send(peer.headers(1, connect_fields("websocket")))
    (request,) = peer.requests()
    assert (request.upgrade, request.end_stream, request.raw_path) == ("websocket", False, b"/")
    peer.engine.send_head(1, 200, [], peer.now)
    peer.data(1, b"up")
    peer.engine.send_data(1, b"down", False, peer.now)
    (event,) = peer.events()
    assert isinstance(event, Data)
    assert event.data == b"up"
    frames = peer.frames()
    assert peer.body(1, frames) == b"down"
    peer.data(1, b"", end=True)
    assert peer.events()[-1].end_stream
    peer.engine.send_data(1, b"", True, peer.now)
    assert "END_STREAM" in peer.frames()[-1].flags
    assert peer.engine.is_idle


def test_a_refused_websocket(peer: Any) -> None:
    peer.send(peer.headers(1, connect_fields("websocket")))
    peer.respond(1, b"no", 403)
    assert [type(frame) for frame in peer.frames()] == [HeadersFrame, DataFrame]
    peer.data(1, b"", end=True)
    assert peer.frames() == []


# ---- responses


def test_a_response(peer: Any) -> None:
    peer.get(1)
    peer.engine.send_head(
        1,
        200,
        [(b"Content-Type", b" text/plain\t"), (b"connection", b"close"), (b"Server", b"app")],
        peer.now,
    )
    peer.engine.send_data(1, b"Hello, ", False, peer.now)
    peer.engine.send_data(1, b"world", True, peer.now)
    frames = peer.frames()
    assert peer.fields(frames[0]) == [(":status", "200"), ("content-type", "text/plain"), ("server", "app")]
    assert peer.body(1, frames) == b"Hello, world"
    assert ["END_STREAM" in frame.flags for frame in frames][-1]
    assert peer.engine.is_idle


def test_new_default_fields_are_used(peer: Any) -> None:
    for stream_id in (1, 3, 5, 7):
        peer.get(stream_id)
        if stream_id == 5:
            peer.defaults.replace([(b"date", b"now")])
        peer.respond(stream_id)
    heads = [peer.fields(frame) for frame in peer.of_type(HeadersFrame)]
    assert [head[1] for head in heads] == [("server", "test")] * 2 + [("date", "now")] * 2


def test_remembered_heads_survive_changes_of_the_table(peer: Any) -> None:
    """Other field blocks between equal heads change what indices mean."""
    for stream_id in range(1, 41, 2):
        peer.get(stream_id)
        peer.engine.send_informational(stream_id, 103, [(b"x-early", b"%d" % (stream_id // 5))])
        peer.engine.send_head(stream_id, 200, [(b"a", b"b"), (b"c", b"%d" % (stream_id // 9))], peer.now)
        peer.engine.send_data(stream_id, b"x", False, peer.now)
        peer.engine.send_trailers(stream_id, [(b"x-t", b"%d" % (stream_id // 7))], peer.now)
        early, head, trailers = [peer.fields(frame) for frame in peer.of_type(HeadersFrame)]
        assert early == [(":status", "103"), ("x-early", str(stream_id // 5))]
        assert head == [(":status", "200"), ("a", "b"), ("c", str(stream_id // 9)), ("server", "test")]
        assert trailers == [("x-t", str(stream_id // 7))]


def test_a_large_head_is_continued(peer: Any) -> None:
    peer.get(1)
    peer.engine.send_head(1, 200, [(b"x-%d" % index, b"v" * 9000) for index in range(4)], peer.now)
    peer.engine.send_data(1, b"", True, peer.now)
    frames = peer.frames()
    assert [type(frame).__name__ for frame in frames] == [
        "HeadersFrame",
        "ContinuationFrame",
        "ContinuationFrame",
    ]
    assert "END_STREAM" in frames[0].flags
    assert ["END_HEADERS" in frame.flags for frame in frames] == [False, False, True]
    frames[0].data = b"".join(frame.data for frame in frames)
    assert len(peer.fields(frames[0])) == 6


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [("HEAD", 200, "5"), ("GET", 304, "5"), ("GET", 204, None), ("GET", 205, None)],
)
def test_responses_without_a_body(method: str, status: int, length: str | None, peer: Any) -> None:
    peer.send(peer.headers(1, changed(":method", method), "END_STREAM"))
    peer.engine.send_head(1, status, [(b"content-length", b"5")], peer.now)
    peer.engine.send_data(1, b"hello", False, peer.now)
    peer.engine.send_data(1, b"", True, peer.now)
    (head,) = peer.frames()
    assert "END_STREAM" in head.flags
    assert dict(peer.fields(head)).get("content-length") == length


def test_a_head_that_is_out_already_is_ended_by_an_empty_frame(peer: Any) -> None:
    peer.get(1)
    peer.engine.send_head(1, 200, [], peer.now)
    (head,) = peer.frames()
    assert "END_STREAM" not in head.flags
    peer.engine.send_data(1, b"", True, peer.now)
    (end,) = peer.frames()
    assert isinstance(end, DataFrame)
    assert (end.data, "END_STREAM" in end.flags) == (b"", True)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"x", b"a\r\nb: c")],
        [(b"x", b"a\nb")],
        [(b"x", b"a\0")],
        [(b"x y", b"a")],
        [(b":status", b"200")],
        [(b"", b"a")],
        [(b"x:", b"a")],
        [(b"content-length", b"five")],
        [(b"content-length", b"5"), (b"content-length", b"6")],
        [(b"content-length", b"5"), (b"content-length", b"5")],
        [("x", b"a")],
        [(b"x", 5)],
        [[b"x", "a"]],
        [(b"x",)],
        [None],
    ],
)
def test_invalid_response_fields_are_refused(fields: Any, peer: Any) -> None:
    peer.get(1)
    with pytest.raises(LocalProtocolError):
        peer.engine.send_head(1, 200, fields, peer.now)
    assert peer.frames() == []
    peer.respond(1, b"instead", 500)
    assert peer.body(1, peer.frames()) == b"instead"


def test_pairs_may_be_lists(peer: Any) -> None:
    peer.get(1)
    peer.engine.send_head(1, 200, [[b"x-a", b"1"]], peer.now)
    assert ("x-a", "1") in peer.fields(peer.frames()[0])


def test_wrong_statuses_are_refused(peer: Any) -> None:
    peer.get(1)
    for status in (100, 101, 1000, 0):
        with pytest.raises(LocalProtocolError):
            peer.engine.send_head(1, status, [], peer.now)
    for status in (101, 200):
        with pytest.raises(LocalProtocolError):
            peer.engine.send_informational(1, status, [])


def test_the_length_of_a_response_is_checked(peer: Any) -> None:
    peer.get(1)
    peer.engine.send_head(1, 200, [(b"content-length", b"5")], peer.now)
    with pytest.raises(LocalProtocolError, match="longer"):
        peer.engine.send_data(1, b"123456", False, peer.now)
    peer.engine.send_data(1, b"123", False, peer.now)
    with pytest.raises(LocalProtocolError, match="shorter"):
        peer.engine.send_data(1, b"4", True, peer.now)
    with pytest.raises(LocalProtocolError, match="shorter"):
        peer.engine.send_trailers(1, [(b"a", b"b")], peer.now)
    peer.engine.send_data(1, b"45", True, peer.now)
    assert peer.body(1, peer.frames()) == b"12345"


def test_calls_in_the_wrong_order(peer: Any) -> None:
    peer.get(1)
    with pytest.raises(LocalProtocolError):
        peer.engine.send_data(1, b"x", False, peer.now)
    with pytest.raises(LocalProtocolError):
        peer.engine.send_trailers(1, [], peer.now)
    peer.engine.send_head(1, 200, [], peer.now)
    with pytest.raises(LocalProtocolError):
        peer.engine.send_head(1, 200, [], peer.now)


def test_response_trailers(peer: Any) -> None:
    peer.get(1)
    peer.engine.send_head(1, 200, [], peer.now)
    peer.engine.send_data(1, b"body", False, peer.now)
    peer.engine.send_trailers(1, [(b"Grpc-Status", b"0"), (b"content-length", b"9")], peer.now)
    head, body, trailers = peer.frames()
    peer.fields(head)
    assert "END_STREAM" not in body.flags
    assert "END_STREAM" in trailers.flags
    assert peer.fields(trailers) == [("grpc-status", "0")]
    assert peer.engine.is_idle


def test_no_trailers_just_end(peer: Any) -> None:
    peer.get(1)
    peer.engine.send_head(1, 200, [], peer.now)
    peer.engine.send_trailers(1, [], peer.now)
    assert "END_STREAM" in peer.frames()[-1].flags


def test_invalid_trailers_are_refused(peer: Any) -> None:
    peer.get(1)
    peer.engine.send_head(1, 200, [], peer.now)
    with pytest.raises(LocalProtocolError):
        peer.engine.send_trailers(1, [(b"a", b"b\r\n")], peer.now)


# ---- the ends of streams


def test_an_application_that_fails_resets_its_stream(peer: Any) -> None:
    peer.get(1)
    peer.engine.send_head(1, 200, [], peer.now)
    peer.engine.send_data(1, b"half", False, peer.now)
    peer.frames()
    peer.engine.reset_stream(1, peer.now)
    (reset,) = peer.frames()
    assert (reset.stream_id, reset.error_code) == (1, INTERNAL)
    assert peer.engine.is_idle


def test_a_peer_that_resets(peer: Any) -> None:
    peer.get(1)
    peer.events()
    peer.send(RstStreamFrame(1, error_code=8))
    (event,) = peer.events()
    assert isinstance(event, StreamClosed)
    peer.engine.send_head(1, 200, [], peer.now)
    peer.engine.send_data(1, b"too late", True, peer.now)
    peer.engine.send_trailers(1, [], peer.now)
    peer.engine.reset_stream(1, peer.now)
    peer.engine.consume(1, 5, peer.now)
    assert peer.engine.can_send(1)
    assert peer.frames() == []


def test_the_end_of_input_ends_all(peer: Any) -> None:
    peer.get(1)
    peer.post(3)
    peer.events()
    peer.engine.receive_eof(peer.now)
    assert sorted(event.stream_id for event in peer.events()) == [1, 3]
    assert peer.engine.closing.name == "AFTER_FLUSH"


@pytest.mark.parametrize("shape", ["a block without its end", "a part of a frame"])
def test_a_request_that_has_begun_is_served_by_a_drain_at_once(shape: str, peer: Any) -> None:
    block = peer.block(GET)
    begin = HeadersFrame(1, block[:3], flags=["END_STREAM"]).serialize()
    request = begin + ContinuationFrame(1, block[3:], flags=["END_HEADERS"]).serialize()
    cut = len(begin) if shape == "a block without its end" else 4
    peer.send_bytes(request[:cut])
    peer.engine.drain(peer.now, at_once=True)
    peer.send_bytes(request[cut:])
    (event,) = peer.events()
    assert isinstance(event, Request)
    peer.respond(1, b"served")
    assert peer.body(1, peer.frames()) == b"served"
    peer.wait(1)
    assert peer.engine.closing.name == "AFTER_FLUSH"


def test_a_peer_may_give_back_all_that_is_pushed(connect: Any) -> None:
    peer = connect(max_resets=2)
    peer.get(1)
    for _ in range(4):
        promised = peer.engine.push(1, "GET", b"/style.css", [], peer.now)
        peer.send(RstStreamFrame(promised, error_code=8))
        peer.engine.exchange_ended(promised, peer.now)
    peer.frames()
    peer.expect_alive()
