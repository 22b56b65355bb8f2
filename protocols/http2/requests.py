"""What a received field section means: a request head or trailers, or why it is malformed (RFC 9113 §8).

Where RFC 9113 lets a server be lenient this is not: field names are tokens, values have no controls, the
target has only visible ASCII, as in HTTP/1.1. Whatever passes here means the same in both versions, and
HTTP/1.1 would take it too.

But for one thing: `:scheme` may be "https" in clear text, where HTTP/1.1 answers 421 to such a target. There
it is an exception, while here every request has a scheme, and a proxy that ends TLS passes on the client's.
"""

from __future__ import annotations

from ..common import has_no_host, host_fault, list_members, read_length
from .errors import MalformedMessage
from .field_decoder import Field
from .priorities import parse_priority

LOWER_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_TOKEN = LOWER_TOKEN + b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_VISIBLE = bytes(range(0x21, 0x7F))
_IN_TARGET = _VISIBLE.replace(b"#", b"")  # a fragment is none of the target
IN_VALUES = b"\t " + _VISIBLE + bytes(range(0x80, 0x100))
_IN_SCHEME = b"+-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

#: Fields of a connection, not of a message (RFC 9113 §8.2.2).
CONNECTION_FIELDS = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
_SPECIAL = CONNECTION_FIELDS | {b"te", b"host", b"content-length", b"cookie", b"expect", b"priority"}
#: Several of them are one list (RFC 9110 §5.3).
_LISTS = frozenset((b"expect", b"priority"))
_COMBINED = frozenset((b"cookie", b"host"))
_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))


class RequestHead:
    """A checked request, as `Request` wants it and as the stream needs it. Shared by equal requests.

    Attributes:
        content_length: the announced length, or None.
        expects_continue: `Expect: 100-continue` was sent.
        protocol: `:protocol` of an extended CONNECT (RFC 8441), else None.
        priority: urgency and incremental of the `priority` field (RFC 9218), or None.
        refusal: status code and reason of an answer without asking an application, or None.
    """

    __slots__ = (
        "content_length",
        "expects_continue",
        "fields",
        "method",
        "priority",
        "protocol",
        "query",
        "raw_path",
        "refusal",
    )

    def __init__(self, method: str, raw_path: bytes, query: bytes, fields: list[Field]) -> None:
        self.method = method
        self.raw_path = raw_path
        self.query = query
        self.fields = fields
        self.content_length: int | None = None
        self.expects_continue = False
        self.protocol: bytes | None = None
        self.priority: tuple[int, bool] | None = None
        self.refusal: tuple[int, str] | None = None

    def with_target(self, raw_path: bytes, query: bytes) -> RequestHead:
        """The same request for another target."""
        head = RequestHead(self.method, raw_path, query, self.fields)
        head.content_length = self.content_length
        head.expects_continue = self.expects_continue
        head.protocol = self.protocol
        head.priority = self.priority
        head.refusal = self.refusal
        return head


def read_request(received: list[Field]) -> RequestHead:
    """The request that a field section stands for.

    Raises:
        MalformedMessage: it breaks a rule of RFC 9113 §8.2 or §8.3.
    """
    pseudo, regular = _split(received)
    _check_syntax(regular)
    specials = _specials(regular)
    method, raw_path, query = _control_data(pseudo)
    authority = _authority(pseudo.get(b":authority"), specials.get(b"host"))
    fields = [(b"host", authority)]
    if specials.keys() & _COMBINED:
        fields += _combined(regular)
    else:
        fields += regular
    head = RequestHead(method, raw_path, query, fields)
    head.protocol = pseudo.get(b":protocol")
    if specials:
        _apply(specials, head)
    if head.refusal is None:
        head.refusal = _not_implemented(head)
    return head


def read_trailers(received: list[Field]) -> list[Field]:
    """The fields of a trailer section.

    Raises:
        MalformedMessage: as `read_request`, and for pseudo-header fields.
    """
    pseudo, regular = _split(received)
    if pseudo:
        raise MalformedMessage("pseudo-header field in trailers")
    _check_syntax(regular)
    _specials(regular)
    return regular


def _split(received: list[Field]) -> tuple[dict[bytes, bytes], list[Field]]:
    """Pseudo-header fields, which stand first and only once, and the others."""
    pseudo: dict[bytes, bytes] = {}
    count = 0
    for name, value in received:
        if name[:1] != b":":
            break
        if name not in _PSEUDO:
            raise MalformedMessage("unknown pseudo-header field")
        if name in pseudo:
            raise MalformedMessage("repeated pseudo-header field")
        pseudo[name] = value
        count += 1
    return pseudo, received[count:]


def _check_syntax(fields: list[Field]) -> None:
    """RFC 9113 §8.2.1, all fields at once: what is left when the allowed bytes are taken away."""
    if not fields:
        return
    separators = b"\n" * (len(fields) + 1)
    names = b"\n".join([b"", *[field[0] for field in fields], b""])
    if names.translate(None, LOWER_TOKEN) != separators or b"\n\n" in names:
        raise MalformedMessage("invalid field name")
    values = b"\n".join([b"", *[field[1] for field in fields], b""])
    if values.translate(None, IN_VALUES) != separators:
        raise MalformedMessage("invalid field value")
    if b"\n " in values or b" \n" in values or b"\n\t" in values or b"\t\n" in values:
        raise MalformedMessage("field value with white space around it")


def _specials(fields: list[Field]) -> dict[bytes, bytes]:
    """The fields that mean something to us, checked; cookies are only counted."""
    specials: dict[bytes, bytes] = {}
    for name, value in fields:
        if name in _SPECIAL:
            if name in CONNECTION_FIELDS or (name == b"te" and value.lower() != b"trailers"):
                raise MalformedMessage("connection-specific field")
            if name in specials and name != b"cookie":
                if name not in _LISTS:
                    raise MalformedMessage("field that must not be repeated")
                value = specials[name] + b"," + value
            specials[name] = value
    return specials


def _control_data(pseudo: dict[bytes, bytes]) -> tuple[str, bytes, bytes]:
    """Method, path and query (RFC 9113 §8.3.1, §8.5; RFC 8441 §4)."""
    method = pseudo.get(b":method")
    if not method or method.translate(None, _TOKEN):
        raise MalformedMessage("missing or invalid :method")
    is_connect = method == b"CONNECT"
    if b":protocol" in pseudo:
        if not is_connect or b":authority" not in pseudo:
            raise MalformedMessage(":protocol where it must not be")
    elif is_connect:
        if b":scheme" in pseudo or b":path" in pseudo or not pseudo.get(b":authority"):
            raise MalformedMessage("CONNECT with :scheme or :path, or without :authority")
        return "CONNECT", b"", b""
    scheme = pseudo.get(b":scheme")
    if not scheme or scheme.translate(None, _IN_SCHEME):
        raise MalformedMessage("missing or invalid :scheme")
    name = method.decode("ascii")
    return name, *split_target(pseudo.get(b":path", b""), name)


def _not_implemented(head: RequestHead) -> tuple[int, str] | None:
    if head.method == "CONNECT" and (head.protocol is None or head.protocol.lower() != b"websocket"):
        return 501, "CONNECT to anything but a WebSocket"
    if head.method != head.method.upper():
        # Methods are case-sensitive (RFC 9110 §9.1): "get" is not GET, and nobody has registered it.
        return 501, "the method has lower-case letters, so it is none that is known (RFC 9110 §9.1)"
    return None


def split_target(target: bytes, method: str) -> tuple[bytes, bytes]:
    """Path and query of a `:path`.

    Raises:
        MalformedMessage: it is not one (RFC 9113 §8.3.1).
    """
    if target[:1] != b"/" and (target != b"*" or method != "OPTIONS"):
        raise MalformedMessage("missing or invalid :path")
    if target.translate(None, _IN_TARGET):
        raise MalformedMessage("invalid byte in :path, or a fragment")
    raw_path, _, query = target.partition(b"?")
    return raw_path, query


def _authority(authority: bytes | None, host: bytes | None) -> bytes:
    if authority is None:
        if host is None:
            raise MalformedMessage("neither :authority nor host")
        authority = host
    elif host is not None and host != authority and host.lower() != authority.lower():
        raise MalformedMessage("host and :authority differ")
    if has_no_host(authority):
        raise MalformedMessage("the authority has no host")
    if fault := host_fault(authority):  # it has no "@" either: RFC 9113 §8.3.1
        raise MalformedMessage(fault)
    return authority


def _combined(fields: list[Field]) -> list[Field]:
    """`fields` without `host`, and with one `cookie` field where the first one stood (RFC 9113 §8.2.3)."""
    combined: list[Field] = []
    cookies: list[bytes] = []
    place = 0
    for field in fields:
        if field[0] == b"cookie":
            if not cookies:
                place = len(combined)
                combined.append(field)
            cookies.append(field[1])
        elif field[0] != b"host":
            combined.append(field)
    if len(cookies) > 1:
        combined[place] = (b"cookie", b"; ".join(cookies))
    return combined


def _apply(specials: dict[bytes, bytes], head: RequestHead) -> None:
    length = specials.get(b"content-length")
    if length is not None:
        head.content_length = read_length(length)
        if head.content_length is None:
            raise MalformedMessage("invalid content-length")
    if (expect := specials.get(b"expect")) is not None:
        expectations = list_members(expect)
        head.expects_continue = b"100-continue" in expectations
        if expectations - {b"100-continue"}:
            head.refusal = 417, "an expectation that is not known (RFC 9110 §10.1.1)"
    if (priority := specials.get(b"priority")) is not None:
        head.priority = parse_priority(priority)
