"""Writes response heads and trailer sections: checks what the application set, adds what the server adds.

How the body is framed is decided by the engine, which appends the framing and Connection to what is made here.
"""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

from ..common import list_members, read_length
from ..engine import DefaultFields, LocalProtocolError
from ..events import Fields
from . import grammar, rules

_PHRASES = {int(status): status.phrase for status in HTTPStatus}


@lru_cache(128)
def status_line(status: int) -> bytes:
    """The status line of a response (RFC 9112 §4): always HTTP/1.1, whatever the request was (RFC 9110 §6.2)."""
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode()


@lru_cache(512)
def _lower_name(name: bytes) -> bytes:
    if grammar.TOKEN.fullmatch(name) is None:
        raise LocalProtocolError(f"the response field name {name!r} is not a token")
    return name.lower()


def _check_lines(lines: bytes, count: int, fields: Fields) -> bytes:
    """Give back `lines`, made of `count` of `fields`, unless a value could end its line.

    All are checked at once. They are counted, too: a value that holds a whole well-formed line passes the grammar.
    """
    if grammar.FIELD_LINES.fullmatch(lines) is None or lines.count(b"\n") != count:
        wrong = [name for name, value in fields if grammar.FIELD_VALUE.fullmatch(value.strip(b" \t")) is None]
        raise LocalProtocolError(f"the response has an invalid value in {b', '.join(wrong)!r}")
    return lines


def _field_lines(fields: Fields, left_out: frozenset[bytes]) -> bytes:
    """The lines of those `fields` that are not `left_out`.

    Raises:
        LocalProtocolError: a name is not a token, or a value could end its line.
    """
    lines = [
        b"%b: %b\r\n" % (name, value.strip(b" \t"))
        for name, value in fields
        if _lower_name(name) not in left_out
    ]
    return _check_lines(b"".join(lines), len(lines), fields)


class ResponseHead:
    """A final response head without its framing.

    Attributes:
        start: status line and field lines, those of the server included, without Transfer-Encoding and Connection.
        content_length: what the application announced, or None.
        is_chunked: the application asked for the chunked coding.
        closes: the application asked for the end of the connection.
        options: the connection options that it set beside close and keep-alive.
    """

    __slots__ = ("closes", "content_length", "is_chunked", "options", "start")

    def __init__(self) -> None:
        self.start = b""
        self.content_length: int | None = None
        self.is_chunked = False
        self.closes = False
        self.options: frozenset[bytes] = frozenset()


class HeadWriter:
    """Makes the heads of one connection's responses, and remembers the last one."""

    __slots__ = ("_added", "_added_names", "_defaults", "_fields", "_generation", "_head", "_status")

    def __init__(self, defaults: DefaultFields) -> None:
        self._defaults = defaults
        self._generation = -1
        #: The lines of the default fields of this generation, and their names.
        self._added = b""
        self._added_names: frozenset[bytes] = frozenset()
        self._status = 0
        self._fields: Fields = []
        self._head = ResponseHead()

    def write(self, status: int, fields: Fields) -> ResponseHead:
        """The head of a final response, or of 101.

        Raises:
            LocalProtocolError: a field or the status is not valid, or framing fields contradict each other.
        """
        if self._generation != self._defaults.generation:
            self._renew_defaults()
        elif self._status == status and self._fields == fields:
            return self._head
        try:
            head = self._make(status, fields)
        except (AttributeError, TypeError, ValueError) as error:
            raise LocalProtocolError("the response fields are not pairs of bytes") from error
        # A copy, down to the pairs: the caller may change its list.
        self._fields = [(name, bytes(value)) for name, value in fields]
        self._status = status
        self._head = head
        return head

    def write_error(self, status: int) -> bytes:
        """A whole response without content that ends the connection."""
        return self.write(status, [(b"content-length", b"0")]).start + b"connection: close\r\n\r\n"

    def _renew_defaults(self) -> None:
        defaults = self._defaults
        if defaults.lines is None:
            names = frozenset(name.lower() for name, _ in defaults.fields)
            defaults.lines = _field_lines(defaults.fields, frozenset()), names
        self._generation = defaults.generation
        self._added, self._added_names = defaults.lines

    def _make(self, status: int, fields: Fields) -> ResponseHead:
        if not 101 <= status <= 999:
            raise LocalProtocolError(f"{status} is not a status code")
        head = ResponseHead()
        names: set[bytes] = set()
        lines: list[bytes] = []
        for raw_name, value in fields:
            name = _lower_name(raw_name)
            names.add(name)
            if name not in _FRAMING or _read_framing(head, status, name, value.strip(b" \t")):
                lines.append(b"%b: %b\r\n" % (raw_name, value.strip(b" \t")))
        if head.is_chunked and head.content_length is not None:
            raise LocalProtocolError("the response has both content-length and transfer-encoding")
        checked = _check_lines(b"".join(lines), len(lines), fields)
        added = self._added
        if not names.isdisjoint(self._added_names):
            added = _field_lines(self._defaults.fields, frozenset(names))
        head.start = b"%b%b%b" % (status_line(status), checked, added)
        return head


_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"upgrade"})


def _read_framing(head: ResponseHead, status: int, name: bytes, value: bytes) -> bool:
    """Take note of a field that concerns framing; tell whether its line is written as it is."""
    if name == b"connection":
        options = list_members(value)
        if not all(map(grammar.TOKEN.fullmatch, options)):
            raise LocalProtocolError(f"the response field connection has an invalid value: {value!r}")
        head.closes = head.closes or b"close" in options
        head.options |= options - {b"close", b"keep-alive"}
        return False
    if name == b"upgrade":
        head.options |= {b"upgrade"}  # RFC 9110 §7.8: never without the connection option.
        return True
    if name == b"transfer-encoding":
        if value.lower() != b"chunked":
            raise LocalProtocolError(f"the transfer coding {value!r} is not implemented")
        head.is_chunked = True
        return False
    length = read_length(value)
    if length is None:
        raise LocalProtocolError(f"the response has an invalid content-length: {value!r}")
    if head.content_length is not None:
        raise LocalProtocolError("the response has more than one content-length")
    head.content_length = length
    # RFC 9110 §8.6: none in 1xx and 204; RFC 9110 §15.3.6: 205 has no content.
    return status >= 200 and status not in (204, 205)


def informational(status: int, fields: Fields) -> bytes:
    """A whole 1xx response (RFC 9110 §15.2)."""
    if not 100 <= status <= 199 or status == 101:
        raise LocalProtocolError(f"{status} is not the status code of an informational response")
    return status_line(status) + _field_lines(fields, _FRAMING) + b"\r\n"


def trailer_section(fields: Fields) -> bytes:
    """The last chunk and the trailer section, without fields that may not stand there (RFC 9110 §6.5.1)."""
    return b"0\r\n" + _field_lines(fields, rules.FORBIDDEN_TRAILERS) + b"\r\n"
