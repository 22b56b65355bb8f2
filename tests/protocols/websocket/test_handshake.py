"""The opening handshake: what is accepted, what is refused and how."""

from __future__ import annotations

import pytest

from hypercorn.protocols.engine import LocalProtocolError
from hypercorn.protocols.events import Fields, Request
from hypercorn.protocols.websocket import Handshake, Refusal, accept, read_handshake

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
FIELDS: Fields = [(b"host", b"x"), (b"sec-websocket-version", b"13"), (b"sec-websocket-key", KEY)]


def request(fields: Fields, http_version: str = "1.1") -> Request:
    method = "CONNECT" if http_version == "2" else "GET"
    return Request(1, http_version, method, b"/", b"", fields, False, upgrade="websocket")


def handshake(*extra: tuple[bytes, bytes], http_version: str = "1.1") -> Handshake:
    fields = [field for field in FIELDS if http_version == "1.1" or field[0] != b"sec-websocket-key"]
    result = read_handshake(request([*fields, *extra], http_version))
    assert isinstance(result, Handshake)
    return result


def refusal(fields: Fields, http_version: str = "1.1") -> Refusal:
    result = read_handshake(request(fields, http_version))
    assert isinstance(result, Refusal)
    return result


def test_the_example_of_the_rfc() -> None:
    accepted = accept(handshake(), None, [], per_message_deflate=True)
    assert accepted.status == 101
    assert accepted.fields == [(b"sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]
    assert accepted.deflate is None


def test_http2_needs_no_key_and_is_accepted_with_200() -> None:
    accepted = accept(handshake(http_version="2"), None, [], per_message_deflate=True)
    assert (accepted.status, accepted.fields) == (200, [])


def test_a_key_over_http2_is_answered_all_the_same() -> None:
    asked = read_handshake(request(FIELDS, "2"))
    assert isinstance(asked, Handshake)
    accepted = accept(asked, None, [], per_message_deflate=True)
    assert (accepted.status, accepted.fields) == (
        200,
        [(b"sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")],
    )


def test_raw_names_are_understood() -> None:
    fields = [(b"Host", b"x"), (b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Key", KEY)]
    assert isinstance(read_handshake(request(fields)), Handshake)


@pytest.mark.parametrize("version", [[], [b"8"], [b"13", b"13"], [b"013"]])
def test_another_version_is_told_ours(version: list[bytes]) -> None:
    fields = [(b"host", b"x"), (b"sec-websocket-key", KEY)]
    refused = refusal(fields + [(b"sec-websocket-version", value) for value in version])
    assert refused.status == 426
    assert (b"sec-websocket-version", b"13") in refused.fields
    assert (b"upgrade", b"websocket") in refused.fields
    assert refusal(fields, "2").status == 400
    assert (b"sec-websocket-version", b"13") in refusal(fields, "2").fields


@pytest.mark.parametrize("keys", [[], [KEY, KEY], [b"short"], [b"c2hvcnQ="], [b"*" * 24], [b"\xe4" * 24]])
def test_the_key_is_sixteen_bytes_once(keys: list[bytes]) -> None:
    fields = [*FIELDS[:2], *((b"sec-websocket-key", key) for key in keys)]
    assert refusal(fields).status == 400


def test_an_authority_is_needed() -> None:
    assert refusal(FIELDS[1:]).status == 400


def test_subprotocols_keep_their_order_over_several_fields() -> None:
    offered = handshake((b"sec-websocket-protocol", b"a, b,,"), (b"sec-websocket-protocol", b"c"))
    assert offered.subprotocols == ("a", "b", "c")
    accepted = accept(offered, "b", [(b"x-a", b"1")], per_message_deflate=True)
    assert (b"sec-websocket-protocol", b"b") in accepted.fields
    assert (b"x-a", b"1") in accepted.fields


def test_a_subprotocol_that_was_not_offered() -> None:
    with pytest.raises(LocalProtocolError, match="subprotocol"):
        accept(handshake(), "a", [], per_message_deflate=True)


@pytest.mark.parametrize(
    "name",
    [b"Sec-WebSocket-Protocol", b"sec-websocket-accept", b"sec-websocket-extensions", b":status", b"upgrade"],
)
def test_fields_of_the_handshake_are_not_the_applications(name: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="not the application's"):
        accept(handshake(), None, [(name, b"x")], per_message_deflate=True)


@pytest.mark.parametrize("text", [b"a b", b"a;", b"a; =1", b'a; b="', b'a; b="1" c', b";a", b"(", b'a; b=""'])
def test_malformed_extensions_are_refused(text: bytes) -> None:
    assert refusal([*FIELDS, (b"sec-websocket-extensions", text)]).status == 400


@pytest.mark.parametrize("text", [b"", b",", b"x-unknown", b'x-a; b=c; d, x-b , ,x-c;e="f"'])
def test_unknown_extensions_are_passed_over(text: bytes) -> None:
    offered = handshake((b"sec-websocket-extensions", text))
    assert accept(offered, None, [], per_message_deflate=True).deflate is None
