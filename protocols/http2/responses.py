"""What an application sends as fields, checked and put into the form that HTTP/2 wants (RFC 9113 §8.2)."""

from __future__ import annotations

from collections.abc import Iterable

from ..common import read_length
from ..engine import LocalProtocolError
from .field_decoder import Field
from .requests import CONNECTION_FIELDS, IN_VALUES, LOWER_TOKEN

_NO_PAIRS = "the response fields are not pairs of bytes"
#: Framing has no place in trailers (RFC 9110 §6.5.1).
_NOT_IN_TRAILERS = CONNECTION_FIELDS | {b"content-length", b"te", b"trailer", b"host"}


def as_pairs(fields: Iterable[Iterable[bytes]]) -> list[Field]:
    """`fields` as tuples of bytes. Raises LocalProtocolError if they are no pairs of bytes."""
    try:
        return [(bytes(memoryview(name)), bytes(memoryview(value))) for name, value in fields]
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(_NO_PAIRS) from error


def clean_fields(fields: list[Field], dropped: frozenset[bytes] = CONNECTION_FIELDS) -> list[Field]:
    """`fields` with lower-case names and stripped values, without `dropped`.

    Raises:
        LocalProtocolError: a name is not a token (pseudo-header fields are not), a value has a control
            character, or these are no pairs of bytes.
    """
    cleaned: list[Field] = []
    try:
        for name, value in fields:
            name = name.strip().lower()
            if not name or name.translate(None, LOWER_TOKEN):
                raise LocalProtocolError(f"Invalid field name {name!r} in a response")
            value = value.strip(b" \t")
            if value.translate(None, IN_VALUES):
                raise LocalProtocolError(f"Invalid value of field {name!r} in a response")
            if name not in dropped:
                cleaned.append((name, value))
    except (AttributeError, TypeError, ValueError) as error:
        raise LocalProtocolError(_NO_PAIRS) from error
    return cleaned


def response_head(status: int, fields: list[Field], defaults: list[Field]) -> tuple[list[Field], int | None]:
    """The field section of a final response, and its announced length if there is one.

    Raises:
        LocalProtocolError: as `clean_fields`; or the status is not final, or there are several lengths.
    """
    if not 200 <= status <= 999:
        raise LocalProtocolError(f"Status {status} is not that of a final response")
    cleaned = clean_fields(fields)
    length = _content_length(cleaned)
    if status in (204, 205) and length is not None:  # RFC 9110 §8.6, §15.3.6
        cleaned = [field for field in cleaned if field[0] != b"content-length"]
        length = None
    names = {field[0] for field in cleaned}
    head = [(b":status", b"%d" % status), *cleaned]
    head += [field for field in defaults if field[0] not in names]
    return head, length


def trailer_section(fields: list[Field]) -> list[Field]:
    """The fields of a trailer section; what frames a message is dropped. Raises as `clean_fields`."""
    return clean_fields(fields, _NOT_IN_TRAILERS)


def _content_length(fields: list[Field]) -> int | None:
    values = [value for name, value in fields if name == b"content-length"]
    if not values:
        return None
    length = read_length(values[0])
    if length is None or len(values) > 1:
        raise LocalProtocolError(f"Invalid or repeated content-length {b', '.join(values)!r} in a response")
    return length
