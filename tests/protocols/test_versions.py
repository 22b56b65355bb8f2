"""What HTTP/2 takes, HTTP/1.1 takes with the same meaning: an application is not to be told apart by the version."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypercorn.protocols.http1.parameters import HTTP1Parameters
from hypercorn.protocols.http1.request import HeadReader
from hypercorn.protocols.http1.rules import Refusal
from hypercorn.protocols.http2.errors import MalformedMessage
from hypercorn.protocols.http2.requests import read_request

Fields = list[tuple[bytes, bytes]]

HOSTS = st.one_of(
    st.sampled_from([b"a", b"a:80", b"[::1]:80", b"[v1.a]", b"a,b", b"a:b:c", b"a:99999", b"[::g]", b"]a["]),
    st.sampled_from([b"%41", b"%zz", b":80", b"", b"a:", b"me@a", b"a/b", b"a_b"]),
    st.text("a1:[]%@,.#/?-", max_size=6).map(str.encode),
)
TARGETS = st.one_of(
    st.sampled_from([b"/", b"*", b"/p#frag", b"/p?q#frag", b"/%zz", b"/|^?`", b"p", b"http://a/"]),
    st.text("/a?#%*\\ \x7f", max_size=6).map(str.encode),
)
FIELDS = st.lists(
    st.one_of(
        st.tuples(
            st.just(b"content-length"), st.sampled_from([b"5", b"5", b"05", b"5, 5", b"+5", b"9" * 19])
        ),
        st.tuples(
            st.just(b"expect"),
            st.sampled_from([b"100-continue", b"100-Continue, ", b"other", b"a, 100-continue"]),
        ),
        st.tuples(st.just(b"x"), st.sampled_from([b"", b"1", b"a\tb", b"\xe9"])),
    ),
    max_size=3,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([b"GET", b"POST", b"OPTIONS", b"get"]), HOSTS, st.booleans(), TARGETS, FIELDS)
@example(b"POST", b"a", False, b"/", [(b"content-length", b"5"), (b"content-length", b"5")])
@example(b"POST", b"a", True, b"/", [(b"content-length", b"9" * 19)])
@example(b"GET", b"a", True, b"/p#frag", [])
@example(b"GET", b"a,b", True, b"/", [])
@example(b"GET", b"a,b", False, b"/", [])
@example(b"GET", b"a", False, b"/", [(b"expect", b"other")])
def test_both_versions_take_the_same(
    method: bytes, host: bytes, has_authority: bool, target: bytes, fields: Fields
) -> None:
    name = b":authority" if has_authority else b"host"
    control = [(b":method", method), (b":scheme", b"http"), (b":path", target)]
    try:
        ours = read_request([*control, (name, host), *fields])
    except MalformedMessage:
        return
    lines = [b"%b %b HTTP/1.1" % (method, target), *(b"%b: %b" % pair for pair in [(b"host", host), *fields])]
    reader = HeadReader(HTTP1Parameters())
    status = None
    try:
        theirs = reader.read(b"\r\n".join([*lines, b"", b""]), 1)
    except Refusal as refusal:
        status = refusal.status
    assert status == (None if ours.refusal is None else ours.refusal[0])
    if status is not None:
        return
    assert (ours.method, ours.raw_path, ours.query, ours.fields) == (
        theirs.method,
        theirs.raw_path,
        theirs.query,
        theirs.fields,
    )
    assert ours.content_length == reader.facts.content_length
    assert ours.expects_continue == reader.facts.expects_continue
