"""Subjects as RFC 4514 strings, compared with what another implementation makes of them."""

from __future__ import annotations

import datetime

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type as StringType
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercorn.workers.certificates import subject_of

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(name: x509.Name) -> bytes:
    now = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 1000, now, now)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def name_of(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])


def test_order_and_short_names() -> None:
    name = name_of(
        (NameOID.DOMAIN_COMPONENT, "test"),
        (NameOID.COUNTRY_NAME, "CH"),
        (NameOID.STATE_OR_PROVINCE_NAME, "Bern"),
        (NameOID.LOCALITY_NAME, "Thun"),
        (NameOID.STREET_ADDRESS, "Way 1"),
        (NameOID.ORGANIZATION_NAME, "Shop"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "Till"),
        (NameOID.USER_ID, "jo"),
        (NameOID.COMMON_NAME, "Jo"),
    )
    assert (
        subject_of(certificate(name))
        == "CN=Jo,UID=jo,OU=Till,O=Shop,STREET=Way 1,L=Thun,ST=Bern,C=CH,DC=test"
    )


def test_several_values_in_one_part() -> None:
    both = x509.RelativeDistinguishedName(
        [x509.NameAttribute(NameOID.COMMON_NAME, "Jo"), x509.NameAttribute(NameOID.USER_ID, "jo")]
    )
    organization = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Shop")])
    text = subject_of(certificate(x509.Name([organization, both])))
    assert text in ("CN=Jo+UID=jo,O=Shop", "UID=jo+CN=Jo,O=Shop")


def test_other_types_are_numbers_and_octets() -> None:
    name = name_of((NameOID.EMAIL_ADDRESS, "a@b.test"), (NameOID.SERIAL_NUMBER, "7"))
    assert subject_of(certificate(name)) == "2.5.4.5=#130137,1.2.840.113549.1.9.1=#1608" + b"a@b.test".hex()


@pytest.mark.parametrize("kind", [StringType.UTF8String, StringType.BMPString, StringType.UniversalString])
def test_string_types(kind: StringType) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Zoë", _type=kind)])
    assert subject_of(certificate(name)) == "CN=Zoë"


def test_octets_that_are_no_text() -> None:
    der = certificate(name_of((NameOID.COMMON_NAME, "Zoë")))
    assert subject_of(der.replace("Zoë".encode(), b"Zo\xff\xff")) == "CN=#0c045a6fffff"


def test_long_values() -> None:
    text = "x" * 64
    assert (
        subject_of(certificate(name_of((NameOID.SERIAL_NUMBER, text))))
        == "2.5.4.5=#1340" + text.encode().hex()
    )
    name = x509.Name(
        [
            x509.NameAttribute(
                x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), "y" * 300, _type=StringType.UTF8String
            )
        ]
    )
    assert subject_of(certificate(name)) == "1.3.6.1.4.1.99999.1=#0c82012c" + b"y".hex() * 300


def test_no_subject() -> None:
    assert subject_of(certificate(x509.Name([]))) == ""


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_escapes(text: str) -> None:
    name = name_of((NameOID.COMMON_NAME, text))
    assert subject_of(certificate(name)) == name.rfc4514_string()


def test_what_is_no_certificate() -> None:
    whole = trustme.CA().cert_pem.bytes()
    der = x509.load_pem_x509_certificate(whole).public_bytes(serialization.Encoding.DER)
    for junk in (b"", b"\x30", b"\x30\x82", b"junk", der[:40], der[:-1], b"\x30\x03\x30\x01\x05"):
        with pytest.raises(ValueError, match="certificate"):
            subject_of(junk)
