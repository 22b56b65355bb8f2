from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercorn.config import Bind, BindKind, parse_bind


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("127.0.0.1", "127.0.0.1", 8000),
        ("127.0.0.1:0", "127.0.0.1", 0),
        (":9000", "", 9000),
        ("localhost", "localhost", 8000),
        ("example.org:443", "example.org", 443),
        ("[::1]:5000", "::1", 5000),
        ("[::1]:0", "::1", 0),
        ("[::1]", "::1", 8000),
        ("[::]", "::", 8000),
        ("::1", "::1", 8000),
        ("::", "::", 8000),
        ("2001:db8::1", "2001:db8::1", 8000),
        ("2001:db8:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:1", 8000),
        ("2001:db8:0:0:0:0:0:1:80", "2001:db8:0:0:0:0:0:1", 80),
        ("::1:8000", "::1", 8000),
        (":::8000", "::", 8000),
        ("fe80::1%lo", "fe80::1%lo", 8000),
        ("[fe80::1%lo]:81", "fe80::1%lo", 81),
        ("[::ffff:127.0.0.1]:81", "127.0.0.1", 81),
        ("[::ffff:0:0]", "0.0.0.0", 8000),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_bind(text) == Bind(text, BindKind.INET, host=host, port=port)


def test_unix_sockets_and_descriptors() -> None:
    assert parse_bind("unix:/run/a b.sock") == Bind("unix:/run/a b.sock", BindKind.UNIX, path="/run/a b.sock")
    assert parse_bind("unix:relative") == Bind("unix:relative", BindKind.UNIX, path="relative")
    assert parse_bind("unix:@name") == Bind("unix:@name", BindKind.ABSTRACT, path="name")
    assert parse_bind("fd://3") == Bind("fd://3", BindKind.DESCRIPTOR, fd=3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("host:", "'' is no port"),
        ("host:http", "'http' is no port"),
        ("host:65536", "'65536' is no port"),
        ("host:-1", "'-1' is no port"),
        ("host:8_0", "'8_0' is no port"),
        ("host:٨", "is no port"),
        ("8000", "written :8000"),
        ("[::1", "is no host"),
        ("[::1]8000", "is no host"),
        ("[127.0.0.1]:80", "'127.0.0.1' is no IPv6 address"),
        ("[]:80", "'' is no IPv6 address"),
        ("1:2:3", "'1:2' is no IPv6 address"),
        ("a host:80", "is no host"),
        ("http://127.0.0.1:80", "write host:port"),
        ("/run/x.sock", "unix:path"),
        ("unix:", "wants a path"),
        ("unix:@", "wants a path"),
        ("unix:\0x", "unix:@name"),
        ("fd://", "number of a descriptor"),
        ("fd://x", "number of a descriptor"),
        ("fd://99999999999", "number of a descriptor"),
        ("a\0b:80", "is no host"),
        ("fd://-1", "number of a descriptor"),
    ],
)
def test_what_is_no_bind(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"is no bind|is empty") as raised:
        parse_bind(text)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@settings(deadline=None)  # the machine may be busy
@given(st.text(alphabet=":[]/.%@0123456789abcdefunixd\0 é", max_size=30) | st.text(max_size=30))
def test_any_text_is_a_bind_or_one_sentence(text: str) -> None:
    try:
        bind = parse_bind(text)
    except ValueError:
        return
    assert str(bind) == text
    assert 0 <= bind.port <= 65535
