"""Responses on the wire: whatever the application sends or fails to send, framing stays right and the worker lives."""

from __future__ import annotations

import calendar
import json
import time
from typing import Any
from urllib.parse import quote

import pytest


def get(target: str, method: str = "GET", version: str = "1.1", fields: bytes = b"") -> bytes:
    return b"%b %b HTTP/%b\r\nHost: test\r\n%b\r\n" % (
        method.encode(),
        target.encode(),
        version.encode(),
        fields,
    )


def respond(arguments: str) -> str:
    """The target whose application answers with these keyword arguments."""
    return "/respond?" + quote(arguments)


def log_since(server: Any, mark: int, wanted: str) -> str:
    """What the server has logged since `mark`, once `wanted` is in it."""
    deadline = time.monotonic() + 5
    while True:
        text = str(server.log.read_bytes()[mark:].decode())
        if wanted in text or time.monotonic() > deadline:
            return text
        time.sleep(0.01)


def log_mark(server: Any) -> int:
    return len(server.log.read_bytes())


# ---- framing (RFC 9110 §6.4, §8.6, RFC 9112 §6)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    "headers",
    ["[]", "[(b'content-length', b'5')]", "[(b'transfer-encoding', b'chunked')]", "[(b'etag', b'x')]"],
)
def test_no_content_where_none_may_be(
    server: Any, status: int, method: str, version: str, headers: str
) -> None:
    client = server.connect()
    target = respond(f"status={status}, body=b'12345', headers={headers}")
    client.send(get(target, method, version, b"Connection: keep-alive\r\n"))
    response = client.response(method)
    assert response.status == status
    assert response.get("transfer-encoding") is None
    assert not response.closes
    assert client.get().json()["path"] == "/sentinel"


def test_reset_content_has_none(server: Any) -> None:
    client = server.connect()
    response = client.get(respond("status=205, body=b'12345', headers=[(b'content-length', b'5')]"))
    assert (response.status, response.body, response.get("content-length")) == (205, b"", "0")
    assert client.get().status == 200


@pytest.mark.parametrize("headers", ["[]", "[(b'content-length', b'5')]"])
def test_head_has_the_length_of_get(server: Any, headers: str) -> None:
    client = server.connect()
    target = respond(f"body=b'12345', headers={headers}")
    client.send(get(target, "HEAD"))
    head = client.response("HEAD")
    whole = client.get(target)
    assert head.get("content-length") == whole.get("content-length") == "5"
    assert [name for name, _ in head.fields] == [name for name, _ in whole.fields]


def test_head_of_a_stream(server: Any) -> None:
    client = server.connect()
    client.send(get("/stream", "HEAD"))
    assert client.response("HEAD").get("content-length") is None
    assert client.get("/stream").body == b"onetwo"


def test_too_few_bytes(server: Any) -> None:
    client = server.connect()
    response = client.get("/short")
    assert not response.is_complete
    assert client.rest() == b""


def test_too_many_bytes(server: Any) -> None:
    client = server.connect()
    response = client.get("/long")
    assert response.status == 200
    assert response.body == b"12345"
    assert client.rest() == b""


@pytest.mark.parametrize(
    "headers",
    [
        "[(b'x', b'a\\r\\nset-cookie: b')]",
        "[(b'x', b'a\\nb')]",
        "[(b'x', b'a\\rb')]",
        "[(b'x', b'a\\0b')]",
        "[(b'x', b'\\r\\n')]",
        "[(b'x', b'a\\r\\n\\r\\nHTTP/1.1 200 OK')]",
        "[(b'x', b'a\\r\\n b')]",
        "[(b'x\\r\\ny', b'a')]",
        "[(b'x:', b'a')]",
        "[(b'x y', b'a')]",
        "[(b' x', b'a')]",
        "[(b'', b'a')]",
        "[(b'x\\xe9', b'a')]",
        "[(b'content-length', b'5\\r\\nx: y')]",
        "[(b'connection', b'close\\r\\nx: y')]",
        "[(b'connection', b'a b')]",
        "[(b'content-length', b'+2')]",
        "[(b'content-length', b'2,2')]",
        "[(b'content-length', b'')]",
        "[(b'content-length', b'2'), (b'content-length', b'2')]",
        "[(b'content-length', b'2'), (b'Content-Length', b'3')]",
        "[(b'content-length', b'2'), (b'transfer-encoding', b'chunked')]",
        "[(b'transfer-encoding', b'gzip')]",
        "[(b'transfer-encoding', b'chunked, chunked')]",
        "[('x', 'y')]",
        "[(b'x', 'y')]",
        "[(b'x', 1)]",
        "[(b'x', None)]",
        "[(b'x',)]",
        "[b'xy']",
        "[1]",
        "1",
        "None",
        "{'x': 'y'}",
    ],
)
def test_bad_headers_are_refused(server: Any, headers: str) -> None:
    mark = log_mark(server)
    response = server.get(respond(f"headers={headers}"))
    assert (response.status, response.body) == (500, b"")
    assert response.closes
    assert "Error in the application" in log_since(server, mark, "Error in")


@pytest.mark.parametrize("headers", ["[('x', 'y')]", "[(b'x', 'y')]", "[(b'x', 1)]", "[(b'x',)]", "[1]"])
def test_the_log_says_what_is_wrong_with_headers(server: Any, headers: str) -> None:
    mark = log_mark(server)
    assert server.get(respond(f"headers={headers}")).status == 500
    assert "the response fields are not pairs of bytes" in log_since(server, mark, "pairs of bytes")


@pytest.mark.parametrize(
    "status", ["0", "99", "100", "101", "199", "1000", "-200", "200.5", "'200'", "b'200'", "None"]
)
def test_bad_status_is_refused(server: Any, status: str) -> None:
    mark = log_mark(server)
    response = server.get(respond(f"status={status}"))
    assert response.status == 500
    assert response.closes
    assert "Error in the application" in log_since(server, mark, "Error in")


@pytest.mark.parametrize("body", ["'text'", "5", "None", "[1, 2]", "{}"])
def test_bad_body_is_refused(server: Any, body: str) -> None:
    mark = log_mark(server)
    response = server.get(respond(f"body={body}"))
    assert response.status == 500
    assert response.closes
    assert "Error in the application" in log_since(server, mark, "Error in")


@pytest.mark.parametrize("body", ["b'ok'", "bytearray(b'ok')", "memoryview(b'ok')"])
def test_bytes_of_all_kinds(server: Any, body: str) -> None:
    assert server.get(respond(f"body={body}")).body == b"ok"


def test_framing_of_the_application_is_its_own(server: Any) -> None:
    client = server.connect()
    response = client.get(respond("headers=[(b'Transfer-Encoding', b'chunked')], body=b'abc'"))
    assert (response.get("transfer-encoding"), response.body) == ("chunked", b"abc")
    assert client.get().status == 200


def test_application_may_close(server: Any) -> None:
    client = server.connect()
    assert client.get(respond("headers=[(b'connection', b'close')]")).get("connection") == "close"
    assert client.rest() == b""


def test_fields_of_the_application_are_not_repeated(server: Any) -> None:
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    response = server.get(respond(f"headers=[(b'Date', b'{date}'), (b'SERVER', b'mine')]"))
    assert response.get("date") == date
    assert response.get("server") == "mine"


def test_date_goes_on(server: Any) -> None:
    client = server.connect()
    first = client.get().get("date")
    deadline = time.monotonic() + 30
    # A server, or a test, that has not been scheduled for a while is behind for a moment.
    while (last := client.get().get("date")) == first or seconds_off(last) >= 2:
        assert time.monotonic() < deadline, (first, last)
        time.sleep(0.05)


def seconds_off(date: str) -> float:
    return abs(calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")) - time.time())


def test_unknown_status_code(server: Any) -> None:
    assert server.get(respond("status=299")).status == 299


def test_early_hints(server: Any) -> None:
    client = server.connect()
    hint = client.get("/early-hint")
    assert (hint.status, hint.get("link")) == (103, "</style.css>; rel=preload")
    assert client.response().status == 200
    client.send(get("/early-hint", version="1.0"))
    assert client.response().status == 200


def test_trailers_for_who_takes_them(server: Any) -> None:
    client = server.connect()
    client.send(get("/trailers", fields=b"TE: trailers\r\nConnection: TE\r\n"))
    response = client.response()
    assert (response.body, response.trailers) == (b"body", (("x-sum", "42"),))
    response = client.get("/trailers")
    assert (response.body, response.trailers) == (b"body", ())
    client.send(get("/trailers", "HEAD", fields=b"TE: trailers\r\nConnection: TE\r\n"))
    client.response("HEAD")
    assert client.get().status == 200


def test_trailers_alone_are_the_head_of_a_200(server: Any) -> None:
    client = server.connect()
    response = client.get("/trailers-only")
    assert (response.status, response.body, response.trailers) == (200, b"", ())
    assert (response.get("grpc-status"), response.get("grpc-message")) == ("5", "none")
    assert client.get().status == 200


# ---- failures of the application


@pytest.mark.parametrize(
    "path",
    [
        "/raise-early", "/raise-between", "/return-early", "/no-start", "/double-start", "/exit", "/base",
        "/base-group", "/generator-exit", "/cancelled",
    ],
)  # fmt: skip
def test_failure_before_the_response(server: Any, path: str) -> None:
    mark = log_mark(server)
    client = server.connect()
    client.send(get(path) + get("/smuggled"))
    response = client.response()
    assert (response.status, response.body) == (500, b"")
    assert response.closes
    assert client.rest() == b""
    assert "application" in log_since(server, mark, "application")
    assert server.process.poll() is None
    assert server.get("/alive").status == 200


@pytest.mark.parametrize("path", ["/raise-late", "/return-between", "/exit-between"])
def test_failure_in_the_response(server: Any, path: str) -> None:
    mark = log_mark(server)
    client = server.connect()
    client.send(get(path) + get("/smuggled"))
    response = client.response()
    assert response.status == 200
    assert not response.is_complete
    assert client.rest() == b""
    assert "application" in log_since(server, mark, "application")
    assert server.process.poll() is None


@pytest.mark.parametrize("path", ["/raise-late", "/return-between"])
def test_failure_in_a_response_that_ends_with_the_connection(server: Any, path: str) -> None:
    client = server.connect()
    client.send(get(path, version="1.0"))
    with pytest.raises(ConnectionResetError):
        client.response()  # its body goes on to the end of the connection


def test_failure_after_the_response(server: Any) -> None:
    mark = log_mark(server)
    client = server.connect()
    assert client.get("/raise-after").body == b"ok"
    assert client.get().status == 200
    assert "ValueError: after" in log_since(server, mark, "ValueError: after")


def test_sending_after_the_response(server: Any) -> None:
    client = server.connect()
    assert client.get("/send-after?sent").body == b"ok"
    assert client.get().status == 200
    assert server.seen("sent", bool) == ["UnexpectedMessageError"]


# ---- receive()


def test_receive_after_the_response(server: Any) -> None:
    client = server.connect()
    client.send(b"POST /receive-after?after HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx")
    assert client.response().body == b"ok"
    assert server.seen("after", bool) == ["http.disconnect"] * 2
    assert client.get().status == 200


@pytest.mark.parametrize("leave", ["close", "reset", "end"])
def test_disconnect_while_waiting(server: Any, leave: str) -> None:
    client = server.connect()
    client.send(get(f"/wait?{leave}"))
    assert server.seen(leave, bool) == ["waiting"]
    getattr(client, leave)()
    assert server.seen(leave, lambda seen: len(seen) > 1)[:2] == ["waiting", "http.disconnect"]
    # Whoever has been told so cannot send any more.
    expected = ["waiting", "http.disconnect", "OSError", "http.disconnect"]
    assert server.seen(leave, lambda seen: len(seen) > 3) == expected


@pytest.mark.parametrize("leave", ["close", "reset", "end"])
@pytest.mark.parametrize(
    "path",
    ["/leave-unanswered", "/leave-between", "/leave-with-the-error", "/leave-with-an-error-of-its-own"],
)
def test_giving_up_after_a_disconnect_is_no_failure(server: Any, path: str, leave: str) -> None:
    key = f"{path[1:]}-{leave}"
    client = server.connect()
    client.send(get(f"{path}?{key}"))
    assert server.seen(key, bool) == ["waiting"]
    mark = log_mark(server)
    getattr(client, leave)()
    assert server.seen(key, lambda seen: len(seen) > 1) == ["waiting", "left"]
    if leave == "end":
        client.rest()
    assert server.get("/raise-early").status == 500
    text = log_since(server, mark, "/raise-early")
    assert not [line for line in text.splitlines() if "ERROR" in line and path in line]


def test_mistake_while_giving_up_is_a_failure(server: Any) -> None:
    client = server.connect()
    client.send(get("/leave-with-a-mistake?mistake"))
    assert server.seen("mistake", bool) == ["waiting"]
    mark = log_mark(server)
    client.close()
    assert "ZeroDivisionError" in log_since(server, mark, "ZeroDivisionError")


@pytest.mark.parametrize("leave", ["close", "reset", "end"])
def test_disconnect_in_the_content(server: Any, leave: str) -> None:
    key = f"content-{leave}"
    client = server.connect()
    client.send(f"POST /body-then-gone?{key} HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc".encode())
    assert server.seen(key, lambda seen: len(seen) > 1) == ["entered", "http.request"]
    getattr(client, leave)()
    assert server.seen(key, lambda seen: len(seen) > 2)[-1] == "http.disconnect"


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_two_tasks_learn_that_the_client_is_gone(server: Any, leave: str) -> None:
    key = f"two-{leave}"
    client = server.connect()
    client.send(get(f"/two-tasks?{key}"))
    assert client.sock.recv(15) == b"HTTP/1.1 200 OK"
    getattr(client, leave)()
    assert sorted(server.seen(key, lambda seen: len(seen) == 2)) == ["receive", "send"]


@pytest.mark.parametrize("when", ["connected", "in line", "in head"])
@pytest.mark.parametrize("leave", ["close", "reset", "end"])
def test_leaving_before_a_request(server: Any, when: str, leave: str) -> None:
    client = server.connect()
    client.send({"connected": b"", "in line": b"GET /smug", "in head": b"GET / HTTP/1.1\r\nHost:"}[when])
    getattr(client, leave)()
    if leave == "end":
        assert client.rest() == b""
    assert server.get("/alive").status == 200


def test_half_closed_clients_get_all_answers(server: Any) -> None:
    client = server.connect()
    client.send(get("/1") + get("/big") + get("/3"))
    client.end()
    assert client.response().json()["path"] == "/1"
    assert len(client.response().body) == 20_000
    assert client.response().json()["path"] == "/3"
    assert client.rest() == b""


# ---- between requests


def test_contexts_of_requests_are_their_own(server: Any) -> None:
    client = server.connect()
    post = b"POST /context?2 HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)
    client.send(get("/context?1") * 3 + post + get("/context?3"))
    assert [client.response().body for _ in range(5)] == [b"unset"] * 5
    assert client.get("/context?4").body == b"unset"


def test_state_is_copied_for_each_request(server: Any) -> None:
    client = server.connect()
    client.send(get("/state") * 2)
    first, second = client.response().json(), client.response().json()
    assert first[0] == second[0] == ["from_lifespan"]
    assert second[1] == first[1] + 1


# ---- content that the application does not read


def test_small_unread_content_is_overlooked(server: Any) -> None:
    client = server.connect()
    post = b"POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n"
    client.send(post + b"G" * 500)
    assert client.response().body == b"ok"
    client.send(b"G" * 500 + get("/behind"))
    assert client.response().json()["path"] == "/behind"


def test_unread_chunks_are_overlooked(server: Any) -> None:
    client = server.connect()
    client.send(b"POST /early HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc")
    assert client.response().body == b"ok"
    client.send(b"de\r\n0\r\nA: b\r\n\r\n" + get("/behind"))
    assert client.response().json()["path"] == "/behind"


def test_malformed_unread_chunks_end_the_connection(server: Any) -> None:
    client = server.connect()
    client.send(b"POST /early HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc")
    assert client.response().body == b"ok"
    client.send(b"de0\r\n\r\n" + get("/smuggled"))
    assert client.rest() == b""


@pytest.mark.parametrize("size", [100_000, 5_000_000, 60_000_000])
@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [("/early", b"", 200), ("/raise-early", b"", 500), ("/", b"Transfer-Encoding: foo\r\n", 501)],
)
def test_client_that_sends_on_can_read_the_answer(
    server: Any, size: int, target: str, fields: bytes, status: int
) -> None:
    length = b"" if fields else b"Content-Length: %d\r\n" % size
    request = get(target, "POST", fields=fields + length)
    while not sends_on(client := server.connect(), request, size):
        pass  # so late that the server need not listen any more
    response = client.response()
    assert response.status == status
    assert response.closes or size == 100_000


def sends_on(client: Any, request: bytes, size: int) -> bool:
    """Send a request and its content; False if the client was silent for nearly as long as the server lingers."""
    client.send(request)
    piece, silence, last = bytes(65536), 0.0, time.monotonic()
    try:
        for sent in range(0, size, len(piece)):
            client.send(piece[: size - sent])
            silence, last = max(silence, time.monotonic() - last), time.monotonic()
    except OSError:
        if size > 5_000_000:
            return True
        silence = max(silence, time.monotonic() - last)
        assert silence > 1
    return silence < 1


def test_request_body_and_response_at_once(server: Any) -> None:
    client = server.connect()
    client.send(get("/both-ways", "POST", fields=b"Transfer-Encoding: chunked\r\n"))
    assert client._file.readline() == b"HTTP/1.1 200 OK\r\n"
    while client._file.readline() != b"\r\n":
        pass
    for number in range(50):
        piece = json.dumps(number).encode() * 9
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert client._file.readline() == b"%x\r\n" % len(piece)
        assert client._file.readline() == piece + b"\r\n"
    client.send(b"0\r\n\r\n")
    assert client._file.read(5) == b"0\r\n\r\n"
    assert client.get().status == 200
