"""Says who a certificate belongs to: its subject as one string, spelled as RFC 4514 wants it.

The ssl module gives a subject only as a tuple of long names and texts, from which values that are not text
and attribute types that it does not know cannot be told; so the subject is read from the certificate's own
encoding (DER, ITU-T X.690). No signature and no date is checked here: OpenSSL has done that before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# RFC 4514 §3, as the content octets of each object identifier. All other types are written with numbers.
_SHORT_NAMES = {
    b"\x55\x04\x03": "CN",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x09": "STREET",
    b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19": "DC",
    b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01": "UID",
}

# The string types of ASN.1 that a name may have (RFC 5280 §4.1.2.4), and how their octets are read.
_CHARSETS = {
    0x0C: "utf-8",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}

# RFC 4514 §2.4: always escaped, escaped at the beginning (blank, number sign), escaped at the end (blank).
_SPECIAL = re.compile(r'["+,;<>\\]|^[ #]| $')


def subject_of(certificate: bytes) -> str:
    """The subject of a DER certificate (RFC 5280 §4.1), most specific part first, for example `CN=jo,O=Shop`.

    Raises:
        ValueError: these bytes are not a certificate.
    """
    try:
        signed = next(_elements(next(_elements(certificate))[1]))[1]
        fields = [element for element in _elements(signed) if element[0] != 0xA0]  # without the version
        # serial number, signature, issuer, validity, subject
        parts = [_relative_name(content) for _, content in _elements(fields[4][1])]
    except (IndexError, StopIteration) as error:
        raise ValueError("not a certificate") from error
    return ",".join(reversed(parts))


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and content of each element that stands in `data`, one after the other.

    Only the first is taken of the whole certificate; what a lazy caller does not ask for is not read.
    """
    start = 0
    while start < len(data):
        tag, length, start = data[start], data[start + 1], start + 2
        if length & 0x80:
            size = length & 0x7F
            length, start = int.from_bytes(data[start : start + size], "big"), start + size
        if start + length > len(data):
            raise ValueError("not a certificate: an element is longer than what holds it")
        yield tag, data[start : start + length]
        start += length


def _relative_name(attributes: bytes) -> str:
    return "+".join(_attribute(content) for _, content in _elements(attributes))


def _attribute(content: bytes) -> str:
    (_, kind), (tag, value) = _elements(content)
    name = _SHORT_NAMES.get(kind)
    charset = _CHARSETS.get(tag)
    if name is not None and charset is not None:
        try:
            return f"{name}={_escape(value.decode(charset))}"
        except UnicodeDecodeError:
            pass  # octets that are not what their type says: shown as they are
    encoded = bytes([tag]) + _length(len(value)) + value
    return f"{name or _dotted(kind)}=#{encoded.hex()}"


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text).replace("\0", "\\00")


def _length(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def _dotted(kind: bytes) -> str:
    """An object identifier in numbers (X.690 §8.19): seven bits an octet, the first two numbers in one."""
    numbers: list[int] = []
    number = 0
    for octet in kind:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(part) for part in (first, numbers[0] - 40 * first, *numbers[1:]))
