"""Requests on the wire: what is taken and with which meaning, and what is refused with which status code.

A table of raw bytes against real servers, one per loop. The rules are those of RFC 9110 and RFC 9112 for an origin
server; where they leave a choice, the choice is that of `docs/decisions/http1-two-lanes.md`.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

HOST = b"Host: test\r\n"
#: Follows each request that breaks a rule: if it is ever answered, the request was understood as shorter than it is.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"


def get(line: bytes, fields: bytes = HOST) -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


def field(line: bytes) -> bytes:
    return b"GET /field HTTP/1.1\r\n" + HOST + line + b"\r\n\r\n"


def post(fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"POST /post HTTP/" + version + b"\r\n" + HOST + fields + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body)


# What is taken: request, and what the application must see of it.
TAKEN: dict[str, tuple[bytes, dict[str, Any]]] = {
    # ---- request line (RFC 9112 §2.2, §3)
    "plain": (get(b"GET /a?b=c HTTP/1.1"), {"method": "GET", "path": "/a", "query": "b=c", "version": "1.1"}),
    "empty line before": (b"\r\n" + get(b"GET /a HTTP/1.1"), {"path": "/a"}),
    "two empty lines before": (b"\r\n\r\n" + get(b"GET /a HTTP/1.1"), {"path": "/a"}),
    "unknown method": (get(b"BREW /a HTTP/1.1"), {"method": "BREW"}),
    "method with all of tchar": (get(b"A!#$%&'*+-.^_`|~9 /a HTTP/1.1"), {"method": "A!#$%&'*+-.^_`|~9"}),
    "TRACE": (get(b"TRACE /a HTTP/1.1"), {"method": "TRACE"}),
    "DELETE with content": (
        b"DELETE /a HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi",
        {"method": "DELETE", "body": "hi"},
    ),
    "GET with content": (b"GET /a HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi", {"body": "hi"}),
    "HTTP/1.2 as 1.1": (get(b"GET /a HTTP/1.2"), {"version": "1.1"}),
    "HTTP/1.9 as 1.1": (get(b"GET /a HTTP/1.9"), {"version": "1.1"}),
    # ---- targets (RFC 9112 §3.2)
    "double slash": (get(b"GET //a//b HTTP/1.1"), {"path": "//a//b", "raw_path": "//a//b"}),
    "double slash with a host in it": (get(b"GET //evil/a HTTP/1.1"), {"path": "//evil/a"}),
    "dot segments are the application's": (get(b"GET /a/../b HTTP/1.1"), {"raw_path": "/a/../b"}),
    "encoded": (get(b"GET /%61%2Fb?%61 HTTP/1.1"), {"path": "/a/b", "raw_path": "/%61%2Fb", "query": "%61"}),
    "empty query": (get(b"GET /a? HTTP/1.1"), {"path": "/a", "query": ""}),
    "two question marks": (get(b"GET /a?b?c HTTP/1.1"), {"path": "/a", "query": "b?c"}),
    "absolute in path": (get(b"GET /http://x/ HTTP/1.1"), {"path": "/http://x/"}),
    "absolute form": (
        get(b"GET http://other:80/a?b HTTP/1.1"),
        {"path": "/a", "query": "b", "headers": [["host", "other:80"]]},
    ),
    "absolute form, scheme in capitals": (get(b"GET HTTP://test/a HTTP/1.1"), {"path": "/a"}),
    "absolute form without path": (get(b"GET http://other HTTP/1.1"), {"path": "/", "raw_path": "/"}),
    "absolute form, query without path": (get(b"GET http://other?b HTTP/1.1"), {"path": "/", "query": "b"}),
    "absolute form of HTTP/1.0 without Host": (
        get(b"GET http://other/a HTTP/1.0", b"Connection: keep-alive\r\n"),
        {"headers": [["host", "other"], ["connection", "keep-alive"]], "version": "1.0"},
    ),
    "asterisk": (get(b"OPTIONS * HTTP/1.1"), {"method": "OPTIONS", "path": "*", "raw_path": "*"}),
    "absolute form of asterisk": (get(b"OPTIONS http://test HTTP/1.1"), {"path": "*"}),
    "OPTIONS of a path": (get(b"OPTIONS /a HTTP/1.1"), {"path": "/a"}),
    # ---- Host (RFC 9112 §3.2, RFC 9110 §7.2)
    "host in capitals": (get(b"GET /a HTTP/1.1", b"HOST: TEST\r\n"), {"headers": [["host", "TEST"]]}),
    "host with port": (get(b"GET /a HTTP/1.1", b"Host: test:8000\r\n"), {"path": "/a"}),
    "host with empty port": (get(b"GET /a HTTP/1.1", b"Host: test:\r\n"), {"path": "/a"}),
    "host of IPv6": (get(b"GET /a HTTP/1.1", b"Host: [::1]:80\r\n"), {"path": "/a"}),
    "empty host": (get(b"GET /a HTTP/1.1", b"Host:\r\n"), {"headers": [["host", ""]]}),
    # ---- fields (RFC 9112 §5)
    "no space after colon": (field(b"A:b"), {"headers": [["host", "test"], ["a", "b"]]}),
    "white space around value": (field(b"A: \t b c \t "), {"headers": [["host", "test"], ["a", "b c"]]}),
    "empty value": (field(b"A:"), {"headers": [["host", "test"], ["a", ""]]}),
    "obs-text": (field(b"A: \xe9\xff"), {"headers": [["host", "test"], ["a", "\xe9\xff"]]}),
    "same name twice": (field(b"A: 1\r\nA: 2"), {"headers": [["host", "test"], ["a", "1"], ["a", "2"]]}),
    "tab inside": (field(b"A: b\tc"), {"headers": [["host", "test"], ["a", "b\tc"]]}),
    "colon in value": (field(b"A: b:c: d"), {"headers": [["host", "test"], ["a", "b:c: d"]]}),
    # ---- content (RFC 9112 §6)
    "length": (post(b"Content-Length: 3", b"abc"), {"body": "abc"}),
    "length nought": (post(b"Content-Length: 0"), {"body": ""}),
    "length with leading noughts": (post(b"Content-Length: 0003", b"abc"), {"body": "abc"}),
    "POST without length": (post(b"A: b"), {"body": ""}),
    "chunked": (chunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), {"body": "abcde"}),
    "chunked in capitals": (post(b"Transfer-Encoding: CHUNKED", b"3\r\nabc\r\n0\r\n\r\n"), {"body": "abc"}),
    "chunked with white space": (
        post(b"Transfer-Encoding:\t chunked \t", b"1\r\na\r\n0\r\n\r\n"),
        {"body": "a"},
    ),
    "chunk size in hexadecimal": (
        chunked(b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
        {"body": "0123456789" * 2},
    ),
    "chunk size with leading noughts": (chunked(b"0003\r\nabc\r\n000\r\n\r\n"), {"body": "abc"}),
    "chunk extensions": (chunked(b'3;a;b=c;d="e;\\" f"\r\nabc\r\n0;z\r\n\r\n'), {"body": "abc"}),
    "chunk extension with bad white space": (chunked(b"3 ; a = b\r\nabc\r\n0\r\n\r\n"), {"body": "abc"}),
    "trailers": (chunked(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nB: 2\r\n\r\n"), {"body": "abc"}),
    "forbidden trailers are dropped": (
        chunked(b"3\r\nabc\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: evil\r\n\r\n"),
        {"body": "abc", "headers": [["host", "test"], ["transfer-encoding", "chunked"]]},
    ),
    "content that looks like a request": (
        post(b"Content-Length: %d" % len(SMUGGLED), SMUGGLED),
        {"body": SMUGGLED.decode()},
    ),
    # ---- Connection, Upgrade, TE, Expect
    "keep-alive with 1.0": (
        get(b"GET /a HTTP/1.0", b"Connection: keep-alive\r\n"),
        {"version": "1.0", "headers": [["connection", "keep-alive"]]},
    ),
    "connection options that nobody knows": (field(b"Connection: foo, ,bar"), {"path": "/field"}),
    "unknown upgrade is ignored": (field(b"Connection: upgrade\r\nUpgrade: foo/2"), {"path": "/field"}),
    "h2c without settings is ignored": (field(b"Connection: Upgrade\r\nUpgrade: h2c"), {"path": "/field"}),
    "upgrade without connection option": (field(b"Upgrade: websocket"), {"path": "/field"}),
    "TE": (field(b"TE: trailers, deflate;q=0.5\r\nConnection: TE"), {"path": "/field"}),
    "expectation without content": (field(b"Expect: 100-continue"), {"path": "/field"}),
}


@pytest.mark.parametrize("case", TAKEN)
@pytest.mark.parametrize("cut", ["whole", "cut"])
def test_is_taken(server: Any, case: str, cut: str) -> None:
    raw, expected = TAKEN[case]
    client = server.connect()
    if cut == "whole":
        client.send(raw)
    else:
        for start in range(0, len(raw), 7):
            client.send(raw[start : start + 7])
    response = client.response()
    assert response.status == 200
    seen = response.json()
    assert {name: seen[name] for name in expected} == expected
    assert not response.closes
    assert client.get().json()["path"] == "/sentinel"


#: What is refused: status code, request.
REFUSED: dict[str, tuple[int, bytes]] = {
    # ---- request line (RFC 9112 §2.2, §3)
    "space before method": (400, get(b" GET / HTTP/1.1")),
    "two spaces": (400, get(b"GET  / HTTP/1.1")),
    "tab between": (400, get(b"GET\t/ HTTP/1.1")),
    "space at the end": (400, get(b"GET / HTTP/1.1 ")),
    "space in target": (400, get(b"GET /a b HTTP/1.1")),
    "no version": (400, get(b"GET /")),
    "no target": (400, get(b"GET HTTP/1.1")),
    "HTTP/0.9": (400, b"GET /\r\n\r\n"),
    "version in lower case": (400, get(b"GET / http/1.1")),
    "version with three parts": (400, get(b"GET / HTTP/1.1.1")),
    "version with two digits": (400, get(b"GET / HTTP/1.10")),
    "version without minor": (400, get(b"GET / HTTP/1")),
    "version 0.9 in words": (505, get(b"GET / HTTP/0.9")),
    "version 2.0": (505, get(b"GET / HTTP/2.0")),
    "version 9.9": (505, get(b"GET / HTTP/9.9")),
    "method that is no token": (400, get(b"G@T / HTTP/1.1")),
    "method in lower case": (501, get(b"get / HTTP/1.1")),
    "CONNECT": (501, get(b"CONNECT test:80 HTTP/1.1")),
    "CONNECT with a path": (501, get(b"CONNECT /a HTTP/1.1")),
    "NUL in target": (400, get(b"GET /\0 HTTP/1.1")),
    "non-ASCII in target": (400, get(b"GET /\xc3\xa9 HTTP/1.1")),
    "DEL in target": (400, get(b"GET /\x7f HTTP/1.1")),
    "CR in request line": (400, get(b"GET /\rX HTTP/1.1")),
    "bare LF ends request line": (400, b"GET / HTTP/1.1\nHost: test\r\n\r\n"),
    "bare LF everywhere": (400, b"GET / HTTP/1.1\nHost: test\n\n"),
    "bare CR ends request line": (400, b"GET / HTTP/1.1\rHost: test\r\n\r\n"),
    "garbage": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "many empty lines": (400, b"\r\n" * 20 + get(b"GET / HTTP/1.1")),
    # ---- targets (RFC 9112 §3.2)
    "fragment": (400, get(b"GET /a#b HTTP/1.1")),
    "fragment in query": (400, get(b"GET /a?b#c HTTP/1.1")),
    "authority form of GET": (400, get(b"GET test:80 HTTP/1.1")),
    "relative": (400, get(b"GET a/b HTTP/1.1")),
    "asterisk of GET": (400, get(b"GET * HTTP/1.1")),
    "asterisk with more": (400, get(b"OPTIONS *x HTTP/1.1")),
    "absolute form without host": (400, get(b"GET http:///a HTTP/1.1")),
    "absolute form with port alone": (400, get(b"GET http://:80/a HTTP/1.1")),
    "absolute form with userinfo": (400, get(b"GET http://u:p@test/a HTTP/1.1")),
    "absolute form with fragment": (400, get(b"GET http://test/a#b HTTP/1.1")),
    "absolute form of another scheme": (400, get(b"GET ftp://test/a HTTP/1.1")),
    "absolute form of https in clear text": (421, get(b"GET https://test/a HTTP/1.1")),
    "absolute form without Host": (400, get(b"GET http://test/a HTTP/1.1", b"")),
    "absolute form with malformed Host": (400, get(b"GET http://test/a HTTP/1.1", b"Host: a b\r\n")),
    "absolute form with two Hosts": (400, get(b"GET http://test/a HTTP/1.1", HOST + HOST)),
    # ---- Host (RFC 9112 §3.2)
    "no Host": (400, get(b"GET / HTTP/1.1", b"")),
    "no Host, 1.2": (400, get(b"GET / HTTP/1.2", b"")),
    "two Hosts": (400, get(b"GET / HTTP/1.1", HOST + b"Host: other\r\n")),
    "two equal Hosts": (400, get(b"GET / HTTP/1.1", HOST + HOST)),
    "two Hosts with 1.0": (400, get(b"GET / HTTP/1.0", HOST + b"HOST: other\r\n")),
    "Host with space": (400, get(b"GET / HTTP/1.1", b"Host: a b\r\n")),
    "Host as list": (400, get(b"GET / HTTP/1.1", b"Host: a, b\r\n")),
    "Host with path": (400, get(b"GET / HTTP/1.1", b"Host: a/b\r\n")),
    "Host with userinfo": (400, get(b"GET / HTTP/1.1", b"Host: u@a\r\n")),
    "Host with port that is none": (400, get(b"GET / HTTP/1.1", b"Host: a:b\r\n")),
    "Host with two ports": (400, get(b"GET / HTTP/1.1", b"Host: a:1:2\r\n")),
    "Host with non-ASCII": (400, get(b"GET / HTTP/1.1", b"Host: \xe9\r\n")),
    "Host as list without space": (400, get(b"GET / HTTP/1.1", b"Host: a,b\r\n")),
    "Host with IPv4 in brackets": (400, get(b"GET / HTTP/1.1", b"Host: [127.0.0.1]\r\n")),
    "Host with malformed IPv6": (400, get(b"GET / HTTP/1.1", b"Host: [1::2::3]\r\n")),
    "Host with port that there is not": (400, get(b"GET / HTTP/1.1", b"Host: a:65536\r\n")),
    "Host with bad encoding": (400, get(b"GET / HTTP/1.1", b"Host: a%2\r\n")),
    "malformed Host with 1.0": (400, get(b"GET / HTTP/1.0", b"Host: a/b\r\n")),
    # ---- fields (RFC 9112 §2.2, §5)
    "space before colon": (400, field(b"A : b")),
    "tab before colon": (400, field(b"A\t: b")),
    "space in name": (400, field(b"A b: c")),
    "empty name": (400, field(b": b")),
    "no colon": (400, field(b"A")),
    "name with non-ASCII": (400, field(b"A\xe9: b")),
    "name with bracket": (400, field(b"A(: b")),
    "name with NUL": (400, field(b"A\0: b")),
    "obs-fold": (400, field(b"A: b\r\n c")),
    "obs-fold with tab": (400, field(b"A: b\r\n\tc")),
    "obs-fold of nothing": (400, field(b"A: b\r\n \r\nC: d")),
    "white space before the first field": (400, b"GET / HTTP/1.1\r\n A: b\r\n" + HOST + b"\r\n"),
    "white space before Host": (400, b"GET / HTTP/1.1\r\n Host: test\r\n\r\n"),
    "NUL in value": (400, field(b"A: b\0c")),
    "CR in value": (400, field(b"A: b\rc")),
    "LF in value": (400, field(b"A: b\nC: d")),
    "CR before CRLF": (400, field(b"A: b\r")),
    "other control character in value": (400, field(b"A: b\x01c")),
    "DEL in value": (400, field(b"A: b\x7f")),
    "LF ends the head": (400, b"GET / HTTP/1.1\r\nHost: test\r\n\n"),
    "LF LF ends the head": (400, b"GET / HTTP/1.1\r\nHost: test\n\n"),
    "CR CR ends the head": (400, b"GET / HTTP/1.1\r\nHost: test\r\rX: y\r\n\r\n"),
    # ---- Content-Length (RFC 9110 §8.6, RFC 9112 §6.3)
    **{
        f"Content-Length: {value!r}": (400, post(b"Content-Length: " + value, b"abc"))
        for value in (
            b"", b"-3", b"+3", b"3 3", b"3, 3", b"3,3", b"3,4", b"3,", b"0x3", b"3.0", b"3e0", b"3_0", b"a", b"\xb3",
            b"3;", b"'3'", b'"3"', b"9" * 40, b"18446744073709551619", b"9223372036854775808", b"\xef\xbc\x93",
        )
    },
    "two equal Content-Lengths": (400, post(b"Content-Length: 3\r\nContent-Length: 3", b"abc")),
    "two Content-Lengths": (400, post(b"Content-Length: 3\r\nContent-Length: 0", b"abc")),
    "two Content-Lengths of GET": (400, field(b"Content-Length: 0\r\nContent-length: 40")),
    "space before the colon of Content-Length": (400, post(b"Content-Length : 3", b"abc")),
    # ---- Transfer-Encoding (RFC 9112 §6.1, §6.3, §7)
    "both": (400, post(b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n")),
    "both, the other way round": (400, post(b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n")),
    "both with unknown coding": (400, post(b"Content-Length: 5\r\nTransfer-Encoding: foo", b"0\r\n\r\n")),
    "chunked with 1.0": (400, post(b"Transfer-Encoding: chunked", b"0\r\n\r\n", b"1.0")),
    "both with 1.0": (400, post(b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n", b"1.0")),
    "unknown coding": (501, post(b"Transfer-Encoding: foo", b"0\r\n\r\n")),
    "unknown coding before chunked": (501, post(b"Transfer-Encoding: foo, chunked", b"0\r\n\r\n")),
    "gzip before chunked": (501, post(b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n")),
    "gzip before chunked in two fields": (
        501,
        post(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    ),
    "gzip alone": (400, post(b"Transfer-Encoding: gzip", b"0\r\n\r\n")),
    "identity": (400, post(b"Transfer-Encoding: identity", b"0\r\n\r\n")),
    "chunked not last": (400, post(b"Transfer-Encoding: chunked, gzip", b"0\r\n\r\n")),
    "chunked, identity": (400, post(b"Transfer-Encoding: chunked, identity", b"0\r\n\r\n")),
    "chunked twice": (400, post(b"Transfer-Encoding: chunked, chunked", b"0\r\n\r\n")),
    "chunked in two fields": (400, post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n")),
    "empty coding": (400, post(b"Transfer-Encoding:", b"0\r\n\r\n")),
    "chunked with parameter": (400, post(b"Transfer-Encoding: chunked;a=b", b"0\r\n\r\n")),
    "quoted chunked": (400, post(b'Transfer-Encoding: "chunked"', b"0\r\n\r\n")),
    "xchunked": (501, post(b"Transfer-Encoding: xchunked", b"0\r\n\r\n")),
    "chunked after VT": (400, post(b"Transfer-Encoding: \x0bchunked", b"0\r\n\r\n")),
    "chunked after NBSP": (400, post(b"Transfer-Encoding: \xa0chunked", b"0\r\n\r\n")),
    "folded chunked": (400, post(b"Transfer-Encoding:\r\n chunked", b"0\r\n\r\n")),
    "space before the colon of Transfer-Encoding": (400, post(b"Transfer-Encoding : chunked", b"0\r\n\r\n")),
    # ---- chunks (RFC 9112 §7.1)
    **{
        f"chunk line {line!r}": (400, chunked(line + b"\r\nabc\r\n0\r\n\r\n"))
        for line in (
            b"", b" 3", b"3 ", b"+3", b"-3", b"0x3", b"3h", b"3_0", b"g", b"3,", b"3;", b"3;;a", b"3;a=", b"3;=a",
            b"3;a b", b'3;a="b', b"3;a=\0", b"3;a\rb", b"3\r", b"3\t", b"1" * 17, b"f" * 32, b"f" * 16, b"8" + b"0" * 15, b"\xb3", b"3;a=" + b"x" * 2000,
        )
    },
    "chunk line ends with LF": (400, chunked(b"3\nabc\r\n0\r\n\r\n")),
    "extension ends with LF": (400, chunked(b"3;a\nabc\r\n0\r\n\r\n")),
    "chunk ends with LF": (400, chunked(b"3\r\nabc\n0\r\n\r\n")),
    "chunk ends with CR": (400, chunked(b"3\r\nabc\r0\r\n\r\n")),
    "chunk too long for its size": (400, chunked(b"3\r\nabcd\r\n0\r\n\r\n")),
    "chunk too short for its size": (400, chunked(b"5\r\nabc\r\n0\r\n\r\n\r\n")),
    "chunk without end of line": (400, chunked(b"3\r\nabc0\r\n\r\n")),
    "last chunk ends with LF": (400, chunked(b"3\r\nabc\r\n0\n\n")),
    "trailers end with LF": (400, chunked(b"0\r\n\n")),
    "trailer without colon": (400, chunked(b"0\r\nA\r\n\r\n")),
    "trailer with space before colon": (400, chunked(b"0\r\nA : b\r\n\r\n")),
    "trailer with obs-fold": (400, chunked(b"0\r\nA: b\r\n c\r\n\r\n")),
    "trailer with LF": (400, chunked(b"0\r\nA: b\nC: d\r\n\r\n")),
    "trailer with NUL": (400, chunked(b"0\r\nA: \0\r\n\r\n")),
    "too many trailers": (431, chunked(b"0\r\n" + b"A: b\r\n" * 101 + b"\r\n")),
    "too large a trailer": (431, chunked(b"0\r\nA: " + b"b" * 8190 + b"\r\n\r\n")),
    "too large a trailer section": (431, chunked(b"0\r\n" + (b"A: " + b"b" * 4000 + b"\r\n") * 6)),
    # ---- expectations (RFC 9110 §10.1.1)
    "unknown expectation": (417, post(b"Content-Length: 3\r\nExpect: 200-ok", b"abc")),
    "unknown expectation beside a known one": (417, post(b"Content-Length: 3\r\nExpect: 100-continue, x", b"abc")),
    # ---- limits (RFC 9110 §15.5.15, RFC 6585 §5)
    "request line one too long": (414, get(b"GET /" + b"a" * (8191 - 14) + b" HTTP/1.1")),
    "request line without end": (414, b"GET /" + b"a" * 20_000),
    "one field too many": (431, get(b"GET / HTTP/1.1", HOST + b"A: b\r\n" * 100)),
    "ten thousand fields": (431, get(b"GET / HTTP/1.1", HOST + b"A: b\r\n" * 10_000)),
    "field one too large": (431, field(b"A: " + b"b" * (8191 - 3))),
    "field without end": (431, b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000),
    "head one too large": (431, b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 8000 + b"\r\nB: " + b"b" * 8330 + b"\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("place", ["first", "second"])
def test_is_refused(server: Any, case: str, place: str) -> None:
    """Whole and at the beginning of a connection; in pieces and behind another request."""
    status, raw = REFUSED[case]
    raw += SMUGGLED
    client = server.connect()
    if place == "first":
        client.send(raw)
    else:
        send_in_pieces(client, get(b"GET /first HTTP/1.1") + raw)
        assert client.response().json()["path"] == "/first"
    response = client.response()
    assert response.status == status
    assert response.closes
    assert client.rest() == b""


def send_in_pieces(client: Any, raw: bytes) -> None:
    size = max(1, min(11, len(raw) // 40))
    if len(raw) > 2000:
        size = 1500
    try:
        for start in range(0, len(raw), size):
            client.send(raw[start : start + size])
    except OSError:
        pass  # It was answered before all of it was sent, which is as well.


AT_THE_LIMIT = {
    "request line": get(b"GET /" + b"a" * (8190 - 14) + b" HTTP/1.1"),
    "fields": get(b"GET / HTTP/1.1", HOST + b"A: b\r\n" * 99),
    "field": field(b"A: " + b"b" * (8190 - 3)),
    "head": b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 8180 + b"\r\nB: " + b"b" * (16384 - 16 - 12 - 8185 - 5 - 2) + b"\r\n\r\n",
    "trailers": chunked(b"0\r\n" + b"A: b\r\n" * 100 + b"\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", AT_THE_LIMIT)
@pytest.mark.parametrize("cut", ["whole", "cut"])
def test_exactly_at_the_limit(server: Any, case: str, cut: str) -> None:
    raw = AT_THE_LIMIT[case]
    if case == "head":
        assert len(raw) == 16384
    client = server.connect()
    if cut == "whole":
        client.send(raw)
    else:
        send_in_pieces(client, raw)
    assert client.response().status == 200
    assert client.get().status == 200


CLOSES = {
    "close": field(b"Connection: close"),
    "close in capitals": field(b"Connection: CLOSE"),
    "close among others": field(b"Connection: foo, close ,bar"),
    "close in a second field": field(b"Connection: keep-alive\r\nConnection: close"),
    "close beats keep-alive": field(b"Connection: keep-alive, close"),
    "1.0": get(b"GET /a HTTP/1.0"),
    "1.0 without fields": b"GET /a HTTP/1.0\r\n\r\n",
    "1.0 with close and keep-alive": get(b"GET /a HTTP/1.0", b"Connection: keep-alive, close\r\n"),
}


@pytest.mark.parametrize("case", CLOSES)
def test_the_connection_ends(server: Any, case: str) -> None:
    client = server.connect()
    client.send(CLOSES[case] + SMUGGLED)
    response = client.response()
    assert response.status == 200
    assert response.closes
    assert client.rest() == b""


def test_keep_alive_of_1_0_is_confirmed(server: Any) -> None:
    client = server.connect()
    for _ in range(2):
        client.send(get(b"GET /a HTTP/1.0", b"Connection: Keep-Alive\r\n"))
        response = client.response()
        assert response.get("connection") == "keep-alive"
        assert response.get("content-length")


def test_stream_to_1_0_ends_with_the_connection(server: Any) -> None:
    client = server.connect()
    client.send(get(b"GET /stream HTTP/1.0", b"Connection: keep-alive\r\n"))
    response = client.response()
    assert response.get("transfer-encoding") is None
    assert response.body == b"onetwo"


# ---- expectations


def expecting(path: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST %b HTTP/%b\r\nHost: test\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n" % (
        path,
        version,
    )


def test_100_comes_when_the_application_reads(server: Any) -> None:
    client = server.connect()
    client.send(expecting(b"/echo"))
    response = client.response()
    assert (response.status, response.fields) == (100, [])
    client.send(b"abc")
    assert client.response().json()["body"] == "abc"
    assert client.get().status == 200


def test_no_100_without_reading(server: Any) -> None:
    client = server.connect()
    client.send(expecting(b"/early"))
    response = client.response()
    assert response.status == 200
    assert response.closes
    assert client.rest() == b""


def test_no_100_for_1_0(server: Any) -> None:
    client = server.connect()
    client.send(expecting(b"/echo", b"1.0"))
    client.send(b"abc")
    assert client.response().json()["body"] == "abc"


def test_no_100_once_content_is_there(server: Any) -> None:
    client = server.connect()
    client.send(expecting(b"/echo") + b"abc")
    assert client.response().json()["body"] == "abc"
    assert client.get().status == 200


# ---- pipelining


def test_thousands_of_requests_at_once(server: Any) -> None:
    count = 990  # below keep_alive_max_requests
    for _ in range(3):
        raw = b"".join(get(b"GET /%d HTTP/1.1" % number) for number in range(count))
        client = server.connect()
        writer = threading.Thread(target=client.send, args=(raw,))
        writer.start()
        for number in range(count):
            assert client.response().json()["path"] == f"/{number}"
        writer.join()


def test_pipelined_with_content_of_all_kinds(server: Any) -> None:
    client = server.connect()
    names = [name for name in TAKEN if name != "absolute form of HTTP/1.0 without Host"]
    client.send(b"".join(TAKEN[name][0] for name in names))
    for name in names:
        seen = client.response().json()
        expected = TAKEN[name][1]
        assert {key: seen[key] for key in expected} == expected, name


def test_head_between_others(server: Any) -> None:
    client = server.connect()
    client.send(get(b"GET /1 HTTP/1.1") + get(b"HEAD /2 HTTP/1.1") + get(b"GET /3 HTTP/1.1"))
    assert client.response().json()["path"] == "/1"
    head = client.response("HEAD")
    assert int(head.get("content-length") or 0) > 0
    assert client.response().json()["path"] == "/3"


def test_request_that_never_ends_is_not_run(server: Any) -> None:
    client = server.connect()
    client.send(b"GET /smuggled HTTP/1.1\r\nHost: test\r\n")
    client.end()
    assert client.rest() == b""


def test_content_that_never_ends_is_not_complete(server: Any) -> None:
    client = server.connect()
    client.send(b"POST /body-then-gone?incomplete HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc")
    client.end()
    assert client.rest() == b""
    seen = server.seen("incomplete", lambda seen: "http.disconnect" in seen)
    assert seen[-1] == "http.disconnect"
    assert json.dumps(seen).count("disconnect") == 1
