"""Every case of tests/corpus/http1: whole, byte by byte, and with another request behind it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from hypercorn.protocols.engine import Closing

CORPUS = Path(__file__).parents[2] / "corpus" / "http1"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


def cases(name: str) -> list[Any]:
    found = tomllib.loads((CORPUS / name).read_text())["case"]
    return [pytest.param(case, id=case["name"]) for case in found]


def fields_of(pairs):
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def check_request(session, case) -> None:
    [request] = session.requests
    assert request.method == case["method"]
    assert request.raw_path == case["path"].encode("latin-1")
    assert request.query == case["query"].encode("latin-1")
    assert request.http_version == case["version"]
    assert request.fields == fields_of(case["fields"])
    assert session.body == case["body"].encode("latin-1")
    assert session.trailers == fields_of(case["trailers"])
    assert session.ends == 1
    assert session.is_open
    assert not session.output


@pytest.mark.parametrize("case", cases("valid/requests.toml"))
def test_valid(case, connect, cut) -> None:
    session = connect()
    session.say(case["input"].encode("latin-1"), cut)
    check_request(session, case)
    session.answer()
    assert session.is_open is case["keep_alive"]
    assert (b"connection: close" in session.output) is not case["keep_alive"]


@pytest.mark.parametrize("case", cases("valid/requests.toml"))
def test_valid_with_a_request_behind(case, connect, cut) -> None:
    session = connect()
    session.say(case["input"].encode("latin-1") + NEXT, cut)
    check_request(session, case)
    session.answer()
    assert len(session.requests) == 1 + case["keep_alive"]
    if case["keep_alive"]:
        assert session.requests[1].raw_path == b"/next"


def check_refused(session, status: int) -> None:
    assert session.refused == [status]
    assert session.output.startswith(b"HTTP/1.1 %d " % status)
    assert session.output.count(b"HTTP/1.1 ") == 1
    assert b"\r\ncontent-length: 0\r\n" in session.output
    assert b"\r\nconnection: close\r\n" in session.output
    assert b"\r\ndate: today\r\n" in session.output
    assert session.output.endswith(b"\r\n\r\n")
    assert session.engine.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize("case", cases("invalid/heads.toml"))
@pytest.mark.parametrize("behind", [b"", NEXT], ids=["alone", "request behind"])
def test_invalid_head(case, behind, connect, cut) -> None:
    session = connect()
    session.say(case["input"].encode("latin-1") + behind, cut)
    assert not session.requests
    check_refused(session, case["status"])


@pytest.mark.parametrize("case", cases("invalid/heads.toml"))
def test_invalid_head_behind_a_request(case, connect, cut) -> None:
    """It is answered only after the request before it."""
    session = connect()
    session.say(NEXT + case["input"].encode("latin-1"), cut)
    assert len(session.requests) == 1
    assert not session.output
    assert session.is_open
    session.answer()
    first = b"HTTP/1.1 200 OK\r\ndate: today\r\nserver: us\r\ncontent-length: 2\r\n\r\nok"
    assert session.output.startswith(first)
    session.output = session.output[len(first) :]
    check_refused(session, case["status"])


@pytest.mark.parametrize("case", cases("invalid/bodies.toml"))
@pytest.mark.parametrize("behind", [b"", NEXT], ids=["alone", "request behind"])
def test_invalid_body(case, behind, connect, cut) -> None:
    session = connect()
    session.say(case["input"].encode("latin-1") + behind, cut)
    assert len(session.requests) == 1
    assert session.ends == 0
    assert session.stream_closed
    check_refused(session, case["status"])
    session.answer()  # Too late: does nothing.
    check_refused(session, case["status"])


@pytest.mark.parametrize("case", cases("invalid/bodies.toml"))
def test_invalid_body_while_answering(case, connect) -> None:
    """The answer on its way cannot become another one: it ends before it is complete."""
    head, _, body = case["input"].encode("latin-1").partition(b"\r\n\r\n")
    session = connect()
    session.say(head + b"\r\n\r\n")
    session.head()
    session.data(b"part")
    session.say(body)
    assert session.stream_closed
    assert not session.refused
    assert session.output.endswith(b"4\r\npart\r\n")
    assert session.engine.closing is Closing.AFTER_FLUSH
