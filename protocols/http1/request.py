"""Reads the head of a request: a fast lane for the common shape, h11 for all others, one set of rules for both.

The fast lane takes a head in the strict subset of RFC 9112 with an origin-form target and asks nobody. What it
does not take is shown to h11, which may refuse it, and is read here by the same grammar. Both lanes end in
`rules`. The contract, kept by property tests: what the fast lane takes, h11 takes with the same meaning, and
what h11 refuses is never taken.
"""

from __future__ import annotations

from ..events import Fields, Request
from . import grammar, rules
from .fields import split_fields
from .parameters import HTTP1Parameters
from .rules import FieldFacts, Refusal

_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}

#: A field block above this size is not remembered: idle connections stay small.
_REMEMBERED_BLOCK = 4096


class HeadReader:
    """Reads the heads of one connection.

    A client that keeps its connection sends the same fields again and again: the last field block and what it
    meant are remembered, and an equal block is not parsed again.

    Arguments:
        parameters: limits.
        secure: the connection is encrypted.

    Attributes:
        facts: what the fields of the last head said about framing and connection.
    """

    __slots__ = ("_block", "_parameters", "_secure", "facts")

    def __init__(self, parameters: HTTP1Parameters, secure: bool = False) -> None:
        self._parameters = parameters
        self._secure = secure
        self._block = b""
        self.facts = FieldFacts([], None)

    def read(self, head: bytes, stream_id: int) -> Request:
        """The request whose complete head, with the empty line at its end, is `head`.

        Raises:
            Refusal: the head breaks a rule or a limit.
        """
        line = grammar.ORIGIN_FORM_LINE.match(head)
        if line is None:
            return self._read_uncommon(head, stream_id)
        end = line.end()
        self._check_line_limit(end - 2)
        block = head[end:]
        if block != self._block:
            if grammar.FIELD_BLOCK.fullmatch(block) is None:
                return self._read_uncommon(head, stream_id)
            self._read_block(block)
        method, path, query, minor = line.groups()
        facts = self.facts
        if facts.is_simple and minor == b"1" and method in _METHODS:
            return Request(stream_id, "1.1", _METHODS[method], path, query, facts.fields.copy(), True)
        version = "1.1" if minor == b"1" else "1.0"
        rules.check_request(method, version, facts)
        return _request(stream_id, version, method, path, query, facts)

    def _check_line_limit(self, size: int) -> None:
        if size > self._parameters.limit_request_line > 0:
            raise Refusal(414, "the request line is too long")

    def _read_block(self, block: bytes) -> None:
        """Understand a field block that has the right grammar, and remember it."""
        self._block = b""
        fields = split_fields(block, self._parameters)
        if self._parameters.pass_raw_names:
            self.facts = rules.read_facts([(name.lower(), value) for name, value in fields], fields)
        else:
            self.facts = rules.read_facts(fields, fields)
        if len(block) <= _REMEMBERED_BLOCK:
            self._block = block

    def _read_uncommon(self, head: bytes, stream_id: int) -> Request:
        rules.check_octets(head, 0, len(head))
        line, _, block = head.partition(b"\r\n")
        self._check_line_limit(len(line))
        method, target, version = rules.split_request_line(line)
        if grammar.FIELD_BLOCK.fullmatch(block) is None:
            raise Refusal(400, "a field line is malformed (RFC 9112 §5)")
        self._read_block(block)
        facts = self.facts
        rules.check_request(method, version, facts)
        authority, path, query = rules.split_target(method, target, self._secure)
        ask_reference(head)
        request = _request(stream_id, version, method, path, query, facts)
        if authority is not None:
            request.fields = _with_host(request.fields, authority)
        return request


def _request(
    stream_id: int, version: str, method: bytes, path: bytes, query: bytes, facts: FieldFacts
) -> Request:
    has_body = facts.is_chunked or bool(facts.content_length)
    expects_continue = has_body and facts.expects_continue and version == "1.1"
    request = Request(
        stream_id, version, method.decode(), path, query, facts.fields.copy(), not has_body, expects_continue
    )
    if b"websocket" in facts.upgrades and method == b"GET" and version == "1.1" and not has_body:
        request.upgrade = "websocket"
    return request


def _with_host(fields: Fields, authority: bytes) -> Fields:
    """`fields` with the authority of an absolute-form target as Host (RFC 9112 §3.2.2)."""
    replaced = [(name, authority if name.lower() == b"host" else value) for name, value in fields]
    if replaced == fields and not any(name.lower() == b"host" for name, _ in fields):
        return [(b"host", authority), *fields]
    return replaced


def ask_reference(head: bytes) -> None:
    """Raise `Refusal` unless h11 takes the head, too. h11 is imported when it is first asked."""
    import h11

    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    connection.receive_data(head)
    try:
        connection.next_event()
    except h11.RemoteProtocolError as error:
        raise Refusal(error.error_status_hint, f"refused by h11: {error}") from error
