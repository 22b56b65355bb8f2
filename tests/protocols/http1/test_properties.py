"""The contract between the two lanes and h11, and what must hold for any input at all."""

from __future__ import annotations

import re

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypercorn.protocols.engine import Closing, DefaultFields, LocalProtocolError
from hypercorn.protocols.events import Data, Refused, Request, SwitchToHTTP2, Trailers
from hypercorn.protocols.http1 import HTTP1Engine, HTTP1Parameters
from hypercorn.protocols.http1.body import ChunkedBody
from hypercorn.protocols.http1.request import HeadReader, ask_reference
from hypercorn.protocols.http1.rules import Refusal
from hypercorn.protocols.http1.sending import LARGE

from .conftest import output_of

PARAMETERS = HTTP1Parameters()

# ---- heads that are right but for at most two faults

RIGHT_LINES = [
    b"Accept: */*",
    b"X: a b\tc",
    b"X:",
    b"x-y_z: \t a \t",
    b"!#$%&'*+-.^_`|~: \xe9\xff",
    b"Cookie: a=b",
    b"Cookie: c",
    b"Content-Length: 5",
    b"content-length: 0",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:CHUNKED",
    b"Connection: close",
    b"Connection: keep-alive, upgrade",
    b"Expect: 100-continue",
    b"Upgrade: websocket",
]
WRONG_LINES = [
    b"Host: b",
    b"Content-Length: 5, 5",
    b"Content-Length: 6",
    b"Content-Length: +5",
    b"Content-Length: 5_0",
    b"Content-Length:",
    b"Content-Length: 184467440737095516160",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding:",
    b"Expect: x",
    b" X: folded",
    b"X : a",
    b": a",
    b"X",
    b"X: a\rb",
    b"X: a\nb",
    b"X: \x00",
    b"X: \x01",
    b"\xe9: a",
]
METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"PURGE"]
TARGETS = [b"/", b"/a?b", b"//", b"/?", b"/|^%zz?'\"", b"*", b"http://a/b", b"http://b"]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2"]
HOSTS = [b"Host: a", b"HOST:a:80", b"host: [::1]", b"Host:"]
FAULTS = [
    b"",
    b" ",
    b"\t",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n ",
    b"\x00",
    b"\x0b",
    b"\x7f",
    b"\xe9",
    b":",
    b"#",
    b"a",
    b"/",
    b"1",
]


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A complete head: it ends at its first empty line."""
    lines = [
        b" ".join(
            [draw(st.sampled_from(METHODS)), draw(st.sampled_from(TARGETS)), draw(st.sampled_from(VERSIONS))]
        ),
        draw(st.sampled_from(HOSTS)),
        *draw(st.lists(st.sampled_from(RIGHT_LINES), max_size=4, unique=True)),
    ]
    if not draw(st.integers(0, 3)):
        lines.append(draw(st.sampled_from(WRONG_LINES)))
    text = b"\r\n".join(lines) + b"\r\n"
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        # One octet replaced by something else, or something put in front of it.
        place = draw(st.integers(0, len(text) - 1))
        text = text[:place] + draw(st.sampled_from(FAULTS)) + text[place + draw(st.integers(0, 1)) :]
    text = text.lstrip(b"\r\n") or b"X"
    return text.partition(b"\r\n\r\n")[0].removesuffix(b"\r\n") + b"\r\n\r\n"


def ask_h11(data: bytes) -> h11.Request | None:
    """What h11 makes of a head, or None if it refuses."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


def read(head: bytes) -> Request | Refusal:
    try:
        return HeadReader(PARAMETERS).read(head, 1)
    except Refusal as refusal:
        return refusal


@settings(max_examples=500, deadline=None)
@given(heads())
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\n\nX: y\r\n\r\n")
def test_whatever_is_taken_h11_takes_with_the_same_meaning(head: bytes) -> None:
    request = read(head)
    reference = ask_h11(head)
    if isinstance(request, Refusal):
        assert 400 <= request.status <= 505
        return
    assert reference is not None, "h11 refuses what was taken"
    assert request.method == reference.method.decode()
    if reference.target[:1] in b"/*":
        assert request.raw_path == reference.target.partition(b"?")[0]
        assert request.query == reference.target.partition(b"?")[2]
        # h11 writes the framing fields in its own way.
        framing = (b"content-length", b"transfer-encoding")
        ours = [(name, value.lower() if name in framing else value) for name, value in request.fields]
        assert ours == list(reference.headers)
    length = dict(reference.headers).get(b"content-length")
    is_chunked = any(name == b"transfer-encoding" for name, _ in reference.headers)
    assert request.end_stream is (not is_chunked and not int(length or 0))


@settings(max_examples=500, deadline=None)
@given(heads())
def test_both_lanes_agree(head: bytes) -> None:
    """What the fast lane takes means the same by the way of the other lane."""
    fast = read(head)
    reader = HeadReader(PARAMETERS)
    try:
        slow: Request | Refusal = reader._read_uncommon(head, 1)
    except Refusal as refusal:
        slow = refusal
    if isinstance(fast, Refusal) or isinstance(slow, Refusal):
        assert isinstance(fast, Refusal)
        assert isinstance(slow, Refusal)
        assert fast.status == slow.status
        return
    assert all(getattr(fast, name) == getattr(slow, name) for name in Request.__slots__)


# ---- however it is cut


def run(pieces: list[bytes]) -> tuple[list[object], bytes, Closing]:
    """Everything that comes out for some input, with each request answered at once when it is complete."""
    engine = HTTP1Engine(PARAMETERS, DefaultFields([]), 0.0)
    told: list[object] = []
    output = b""
    for piece in pieces:
        engine.receive_data(piece, 0.0)
        while engine.events:
            events, engine.events = engine.events, []
            for event in events:
                output += note(engine, event, told)
            output += engine.data_to_send()
    return told, output, engine.closing


def note(engine: HTTP1Engine, event: object, told: list[object]) -> bytes:
    if isinstance(event, Request):
        told.append((event.method, event.raw_path, event.query, event.http_version, event.fields, b""))
    elif isinstance(event, Data):
        *most, body = told[-1]  # type: ignore[misc]
        told[-1] = (*most, body + event.data)
    elif isinstance(event, Refused):
        told.append(event.status)
    elif isinstance(event, Trailers):
        told.append(event.fields)
    elif isinstance(event, SwitchToHTTP2):
        told.append("HTTP/2")
    if isinstance(event, Trailers) or getattr(event, "end_stream", False):
        stream_id = event.stream_id  # type: ignore[attr-defined]
        engine.send_head(stream_id, 200, [], 0.0)
        engine.send_data(stream_id, b"ok", True, 0.0)
    return engine.data_to_send()


bodies = st.sampled_from(
    [
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"5;a=b\r\nhello\r\n",
        b"5\nhello",
        b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
    ]
)
messages = st.lists(st.builds(lambda head, body: head + body, heads(), bodies), max_size=4).map(b"".join)
noise = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [b"\r", b"\n", b"\r\n", b" ", b":", b"GET", b"/", b"PRI * ", b"HTTP/1.1", b"0", b";"]
        ),
        max_size=20,
    ).map(b"".join),
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(messages, noise), st.lists(st.integers(1, 40), max_size=30))
def test_cuts_change_nothing(data: bytes, sizes: list[int]) -> None:
    whole = run([data])
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    told, output, closing = run([*pieces, data])
    assert without_refused_body(told) == without_refused_body(whole[0])
    # Of several faults another one may be found first.
    assert STATUS_LINE.sub(b"HTTP/1.1 4xx", output) == STATUS_LINE.sub(b"HTTP/1.1 4xx", whole[1])
    assert closing is whole[2]


STATUS_LINE = re.compile(rb"HTTP/1.1 [45][^\r]*")


def without_refused_body(told: list[object]) -> list[object]:
    """How much of a body was handed up before its fault was found depends on the cuts, and the status may."""
    if not told or not isinstance(told[-1], int):
        return told
    *before, _ = told
    if before and isinstance(before[-1], tuple):
        before[-1] = before[-1][:-1]
    return [*before, "refused"]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(noise, messages), max_size=5))
def test_nothing_that_a_peer_sends_raises(pieces: list[bytes]) -> None:
    _, output, closing = run(pieces)
    if b"HTTP/1.1 4" in output or b"HTTP/1.1 5" in output:
        assert closing is Closing.AFTER_FLUSH


# ---- chunked bodies

chunk = st.sampled_from(
    [b"5\r\nhello\r\n", b"00A\r\n0123456789\r\n", b"1;a\r\n\r\r\n", b'2 ;a;b="c;\\"";d=e\r\n\r\n\r\n']
)
last_chunk = st.sampled_from(
    [b"0\r\n\r\n", b"000;a\r\n\r\n", b"0\r\nX: y\r\nz:\r\n\r\n", b"0\r\n\r\nrest", b""]
)


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    """A chunked body that is right but for at most two faults."""
    text = b"".join(draw(st.lists(chunk, max_size=4))) + draw(last_chunk)
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(text)))
        text = (
            text[:place]
            + draw(st.sampled_from([*FAULTS, b";", b"0", b"-", b"x", b"="]))
            + text[place + draw(st.integers(0, 1)) :]
        )
    return text


def decode(pieces: list[bytes]) -> tuple[bytes, list[tuple[bytes, bytes]], bytes] | None:
    """Content, trailers and what follows of a complete and right body, else None."""
    body = ChunkedBody(PARAMETERS)
    content = b""
    rest = b""
    try:
        for piece in pieces:
            if body.is_complete:
                rest += piece
            else:
                content += body.feed(piece)
    except Refusal:
        return None
    return (content, body.trailers, body.rest + rest) if body.is_complete else None


def decode_by_h11(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes] | None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    content = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                content += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return content, list(event.headers), connection.trailing_data[0]
            elif not isinstance(event, h11.Request):
                return None
    except h11.RemoteProtocolError:
        return None


def without_bad_space(data: bytes) -> bytes:
    """A right chunked body without white space before ";", which RFC 9112 §7.1.1 allows and h11 does not."""
    parts = []
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        parts += [re.sub(rb"[ \t]+;", b";", line), b"\r\n"]
        if not size:
            return b"".join((*parts, data))
        parts.append(data[: size + 2])
        data = data[size + 2 :]


@settings(max_examples=500, deadline=None)
@given(chunked(), st.lists(st.integers(0, 6), max_size=20))
@example(b"5;a\r\nhello\r\n0\r\nX: y\r\n\r\nrest", [])
@example(b"4 ;a\r\n2 ;\n\r\n0\r\n\r\n", [])
def test_whatever_chunked_body_is_taken_h11_takes_with_the_same_meaning(
    data: bytes, sizes: list[int]
) -> None:
    ours = decode([data])
    if ours is not None:
        assert decode_by_h11(without_bad_space(data)) == ours
    pieces = []
    tail = data
    for size in sizes:
        pieces.append(tail[:size])
        tail = tail[size:]
    assert decode([*pieces, tail]) == ours


# ---- responses

response_fields = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"x",
                b"X-Y",
                b"content-type",
                b"date",
                b"Connection",
                b"content-length",
                b"transfer-encoding",
                b"a b",
                b"",
            ]
        ),
        st.one_of(
            st.sampled_from([b"5", b"0", b"chunked", b"close", b"keep-alive", b"a", b"a\r\nb: c"]),
            st.binary(max_size=5),
        ),
    ),
    max_size=4,
)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([b"GET", b"HEAD"]),
    st.sampled_from([b"1.1", b"1.0"]),
    st.sampled_from([200, 204, 205, 304, 404, 500]),
    response_fields,
    st.lists(st.sampled_from([0, 1, 5, 300, LARGE]), min_size=1, max_size=4),
    st.booleans(),
)
def test_what_is_written_h11_reads_with_the_same_meaning(
    method: bytes,
    version: bytes,
    status: int,
    fields: list[tuple[bytes, bytes]],
    sizes: list[int],
    flushes: bool,
) -> None:
    engine = HTTP1Engine(PARAMETERS, DefaultFields([(b"date", b"today"), (b"server", b"us")]), 0.0)
    engine.receive_data(
        method + b" / HTTP/" + version + b"\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", 0.0
    )
    output = b""
    try:
        engine.send_head(1, status, fields, 0.0)
    except LocalProtocolError:
        assert not engine.data_to_send()
        return
    sent = b""
    try:
        for index, size in enumerate(sizes):
            piece = b"x" * size
            if flushes:
                output += output_of(engine)
            engine.send_data(1, piece, index == len(sizes) - 1, 0.0)
            sent += piece
    except LocalProtocolError:
        return
    output += output_of(engine)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(output)
    if engine.closing is Closing.AFTER_FLUSH:
        client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code == status
    received = b""
    while isinstance(event := client.next_event(), h11.Data):
        received += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    has_content = method != b"HEAD" and status not in (204, 205, 304)
    assert received == (sent if has_content else b"")
    assert not client.trailing_data[0]
    closes = client.their_state in (h11.MUST_CLOSE, h11.CLOSED)
    if version == b"1.1":
        assert closes is (engine.closing is Closing.AFTER_FLUSH)


def test_h11_has_a_veto() -> None:
    with pytest.raises(Refusal, match="h11"):
        ask_reference(b"GET / HTTP/1.1\r\n\r\n")


def test_h11_is_not_imported_for_common_requests() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from hypercorn.protocols.engine import DefaultFields\n"
        "from hypercorn.protocols.http1 import HTTP1Engine, HTTP1Parameters\n"
        "engine = HTTP1Engine(HTTP1Parameters(), DefaultFields([]), 0.0)\n"
        "engine.receive_data(b'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n', 0.0)\n"
        "assert engine.events and 'h11' not in sys.modules\n"
        "engine.send_head(1, 200, [], 0.0); engine.send_data(1, b'', True, 0.0); engine.events = []\n"
        "engine.receive_data(b'OPTIONS * HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n', 0.0)\n"
        "assert engine.events and 'h11' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("octet", range(256))
def test_every_octet_in_every_place(octet: int) -> None:
    """Whatever single octet is put where: what h11 refuses is refused."""
    octets = bytes([octet])
    for head in (
        b"GET%b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1%b\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n%bHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost%b: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a%bb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r%bX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b%b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1%b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked%b\r\n\r\n",
    ):
        data = head % octets
        if isinstance(read(data), Request):
            assert ask_h11(data) is not None, data
