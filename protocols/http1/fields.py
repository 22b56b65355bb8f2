"""Splits a block of field lines, of a head or of a trailer section, within the limits."""

from __future__ import annotations

from ..events import Fields
from .parameters import HTTP1Parameters
from .rules import Refusal


def split_fields(block: bytes, parameters: HTTP1Parameters) -> Fields:
    """The fields of a block that `grammar.FIELD_BLOCK` matches, in order.

    Raises:
        Refusal: there are too many fields, or one is too large.
    """
    if block == b"\r\n":
        return []
    lines = block[:-4].split(b"\r\n")
    if len(lines) > parameters.limit_request_fields > 0:
        raise Refusal(431, "too many fields")
    limit = parameters.limit_request_field_size
    if len(block) > limit > 0 and max(map(len, lines)) > limit:
        raise Refusal(431, "a field is too large")
    fields: Fields = []
    if parameters.pass_raw_names:
        for line in lines:
            name, _, value = line.partition(b":")
            fields.append((name, value.strip()))
        return fields
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip()))
    return fields
