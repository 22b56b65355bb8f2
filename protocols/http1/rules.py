"""What is refused, and with which status code: the rules that stand above both lanes of `request.py`.

h11 is the reference parser. Where RFC 9110 and RFC 9112 are stricter than h11, or leave a choice that h11 leaves
open as well, the rule is here and only here, or in `common.py` where HTTP/2 has it too. Nothing here knows about
connections, buffers or time.
"""

from __future__ import annotations

from typing import Literal

from ..common import has_no_host, host_fault, list_members, read_length
from ..events import Fields, Request
from . import grammar
from .parameters import HTTP1Parameters


class Refusal(Exception):
    """A request breaks a rule: it is answered with `status`, and the connection ends.

    Attributes:
        status: the status code of the answer.
        reason: one line for the log that names the rule.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class FieldFacts:
    """What the fields of one head say about connection and framing, whatever the request line says.

    Attributes:
        fields: all field lines in order, as they are handed up.
        host: the value of Host, or None.
        content_length: the announced length, or None.
        is_chunked: `Transfer-Encoding: chunked`, and nothing else.
        wants_close, wants_keep_alive: these connection options were given (RFC 9112 §9.3).
        expects_continue: `Expect: 100-continue`.
        expects_other: an expectation that is not known.
        upgrades: the protocols of Upgrade in lower case; empty unless the connection option is given too.
        http2_settings: the value of HTTP2-Settings if it is there once and named as a connection option.
        is_simple: Host is there, and nothing but Host and connection options needs to be looked at.
    """

    __slots__ = (
        "content_length",
        "expects_continue",
        "expects_other",
        "fields",
        "host",
        "http2_settings",
        "is_chunked",
        "is_simple",
        "upgrades",
        "wants_close",
        "wants_keep_alive",
    )

    def __init__(self, fields: Fields, host: bytes | None) -> None:
        self.fields = fields
        self.host = host
        self.content_length: int | None = None
        self.is_chunked = False
        self.wants_close = False
        self.wants_keep_alive = False
        self.expects_continue = False
        self.expects_other = False
        self.upgrades: frozenset[bytes] = frozenset()
        self.http2_settings: bytes | None = None
        self.is_simple = host is not None


#: Transfer codings of the IANA registry that are not chunked: known, though never spoken here.
_KNOWN_CODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity"})

#: Fields beside Host and Connection that change what a request means to this layer.
_MEANINGFUL = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})

#: Of those that have a list as value: several lines are one list (RFC 9110 §5.3).
_LISTS = frozenset({b"connection", b"transfer-encoding", b"expect", b"upgrade"})

#: Never merged from a trailer section (RFC 9110 §6.5.1): framing, routing, modifiers, authentication, and what says
#: how the content is to be read.
FORBIDDEN_TRAILERS = frozenset(
    b"""
    transfer-encoding content-length host connection keep-alive proxy-connection te trailer upgrade http2-settings
    cache-control expect max-forwards pragma range if-match if-none-match if-modified-since if-unmodified-since if-range
    authorization proxy-authorization proxy-authenticate www-authenticate cookie set-cookie
    age date expires location retry-after vary warning
    content-encoding content-type content-range
    """.split()
)


def read_facts(fields: Fields, handed_up: Fields) -> FieldFacts:
    """Look at the fields that this layer must understand.

    Arguments:
        fields: the field lines with names in lower case.
        handed_up: the same as the application will see them.

    Raises:
        Refusal: a rule about one of these fields is broken.
    """
    table = dict(fields)
    if len(table) != len(fields):
        table = _merge(fields)
    host = table.get(b"host")
    if host is not None and (fault := host_fault(host)):
        raise Refusal(400, fault)
    facts = FieldFacts(handed_up, host)
    options = list_members(table.get(b"connection", b""))
    facts.wants_close = b"close" in options
    facts.wants_keep_alive = b"keep-alive" in options
    if not table.keys().isdisjoint(_MEANINGFUL):
        facts.is_simple = False
        _read_framing(facts, table)
        _read_expect(facts, table)
        if b"upgrade" in options and b"upgrade" in table:
            facts.upgrades = list_members(table[b"upgrade"])
            if b"http2-settings" in options:
                facts.http2_settings = table.get(b"http2-settings")
    return facts


def _merge(fields: Fields) -> dict[bytes, bytes]:
    table: dict[bytes, bytes] = {}
    for name, value in fields:
        if name not in table:
            table[name] = value
        elif name in _LISTS:
            table[name] += b"," + value
        elif name == b"host":
            raise Refusal(400, "more than one Host field (RFC 9112 §3.2)")
        elif name == b"content-length":
            raise Refusal(400, "more than one Content-Length field (RFC 9112 §6.3)")
        elif name == b"http2-settings":
            table[name] = b","  # Never valid: RFC 7540 §3.2.1 wants exactly one, else no upgrade.
    return table


def _read_framing(facts: FieldFacts, table: dict[bytes, bytes]) -> None:
    length = table.get(b"content-length")
    coding = table.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise Refusal(400, "both Transfer-Encoding and Content-Length (RFC 9112 §6.1)")
        _check_coding(coding)
        facts.is_chunked = True
    elif length is not None:
        facts.content_length = read_length(length)
        if facts.content_length is None:
            raise Refusal(400, "Content-Length is not a plain number, or too large (RFC 9110 §8.6)")


def _check_coding(value: bytes) -> None:
    codings = [coding.strip(b" \t").lower() for coding in value.split(b",")]
    if codings == [b"chunked"]:
        return
    others = [coding for coding in codings if coding != b"chunked"]
    is_framed = codings.count(b"chunked") == 1 and codings[-1] == b"chunked"
    is_unknown = b"chunked" not in codings and not _KNOWN_CODINGS.issuperset(others)
    if not all(map(grammar.TOKEN.fullmatch, others)):
        raise Refusal(400, "Transfer-Encoding is malformed (RFC 9112 §6.1)")
    if is_framed or is_unknown:
        raise Refusal(501, "a transfer coding that is not implemented (RFC 9112 §6.1)")
    raise Refusal(400, "chunked is not the final transfer coding, once (RFC 9112 §6.3)")


def _read_expect(facts: FieldFacts, table: dict[bytes, bytes]) -> None:
    expect = table.get(b"expect")
    if expect is not None:
        expectations = list_members(expect)
        facts.expects_continue = b"100-continue" in expectations
        facts.expects_other = bool(expectations - {b"100-continue"})


def check_octets(data: bytes | bytearray, start: int, end: int) -> None:
    """Raise `Refusal` if a head or trailer section, complete or not, holds what none may from `start` to `end`."""
    match = grammar.BAD_OCTETS.search(data, start, end)
    if match is None:
        return
    found = match[0]
    if found[:1] == b"\r":
        raise Refusal(400, "a CR without LF (RFC 9112 §2.2)")
    if found == b"\n":
        raise Refusal(400, "an LF without CR (RFC 9112 §2.2)")
    if found[:1] == b"\n":
        raise Refusal(400, "a line begins with white space (RFC 9112 §2.2, §5.2)")
    raise Refusal(400, "a control character (RFC 9110 §5.5)")


def split_request_line(line: bytes | bytearray) -> tuple[bytes, bytes, Literal["1.0", "1.1"]]:
    """Method, target and version of a request line without its CRLF.

    Raises:
        Refusal: the line is malformed, or its major version is not 1.
    """
    match = grammar.REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Refusal(400, "the request line is malformed (RFC 9112 §3)")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise Refusal(505, "the major version is not 1 (RFC 9110 §15.6.6)")
    # A minor version above ours is answered as the highest that we know (RFC 9110 §2.5).
    return bytes(method), bytes(target), "1.0" if minor == b"0" else "1.1"


def split_target(method: bytes, target: bytes, secure: bool) -> tuple[bytes | None, bytes, bytes]:
    """Authority (of an absolute-form only), path and query of a request target (RFC 9112 §3.2).

    Arguments:
        method: the method, on which the allowed forms depend.
        target: the request target.
        secure: the connection is encrypted.

    Raises:
        Refusal: the target has none of the forms that the method allows, or asks for https in clear text.
    """
    if target[:1] == b"/":
        path, _, query = target.partition(b"?")
        if b"#" in target:
            raise Refusal(400, "a fragment in the request target (RFC 9112 §3.2)")
        return None, path, query
    if target == b"*" and method == b"OPTIONS":
        return None, target, b""
    match = grammar.ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise Refusal(400, "the request target is malformed (RFC 9112 §3.2)")
    scheme, authority, path, query = match.groups()
    if has_no_host(authority):
        raise Refusal(400, "the request target has no host (RFC 9110 §4.2.1)")
    if fault := host_fault(authority):
        raise Refusal(400, fault)
    if len(scheme) == len(b"https") and not secure:
        raise Refusal(421, "an https target on a connection in clear text (RFC 9110 §7.4)")
    if path is None and query is None and method == b"OPTIONS":
        return authority, b"*", b""
    return authority, path or b"/", query or b""


def check_request(method: bytes, version: str, facts: FieldFacts) -> None:
    """Raise `Refusal` for what only request line and fields together show to be wrong."""
    if version == "1.1":
        if facts.host is None:
            raise Refusal(400, "no Host field (RFC 9112 §3.2)")
        if facts.expects_other:
            raise Refusal(417, "an expectation that is not known (RFC 9110 §10.1.1)")
    elif facts.is_chunked:
        raise Refusal(400, "Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)")
    if method == b"CONNECT":
        raise Refusal(501, "CONNECT is not implemented by an origin server (RFC 9110 §9.3.6)")
    if method != method.upper():
        # Methods are case-sensitive (RFC 9110 §9.1): "get" is not GET, and nobody has registered it.
        raise Refusal(501, "the method has lower-case letters, so it is none that is known (RFC 9110 §9.1)")


def refuse_large_head(head: bytes | bytearray, parameters: HTTP1Parameters) -> None:
    """Raise the `Refusal` for a head above the limit, complete or not: it depends on where it is too large."""
    limit = parameters.limit_request_line or parameters.max_head_size
    if not 0 <= head.find(b"\r\n") <= limit:
        raise Refusal(414, "the request line is too long")
    raise Refusal(431, "the head is too large")


def describe(request: Request | None, buffer: bytes | bytearray) -> tuple[str, bytes, str]:
    """Method, target and version for the log: of the open request, else as far as they can be told from input."""
    if request is not None:
        target = request.raw_path + (b"?" + request.query if request.query else b"")
        return request.method, target, request.http_version
    match = grammar.REQUEST_LINE.match(buffer)
    if match is None:
        return "", b"", ""
    method, target, major, minor = match.groups()
    return bytes(method).decode(), bytes(target), f"{int(major)}.{int(minor)}"
