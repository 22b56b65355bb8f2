"""Settings that reach an engine, as a client sees them."""

from __future__ import annotations

import base64
import logging
import struct
from typing import Any

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")  # and empty SETTINGS
SETTINGS, PING, WINDOW_UPDATE = 4, 6, 8


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        names = b" ".join(name for name, _ in scope["headers"])
        length = (b"content-length", b"%d" % len(names))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": names})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.accept"})


def read_frame(client: Any) -> tuple[int, bytes]:
    """Type and payload of the next HTTP/2 frame; type -1 at the end of the connection."""
    try:
        head = client.file.read(9)
    except ConnectionResetError:
        head = b""
    if not head:
        return -1, b""
    return head[3], client.file.read(int.from_bytes(head[:3], "big"))


def test_http2_limits_are_told_to_the_client(serve: Any) -> None:
    client = serve(
        app,
        h2_max_concurrent_streams=7,
        h2_max_header_list_size=9_999,
        h2_max_inbound_frame_size=20_000,
        h2_initial_stream_window_size=70_000,
        h2_initial_connection_window_size=100_000,
    ).connect()
    client.send(PREFACE)
    kind, payload = read_frame(client)
    assert kind == SETTINGS
    told = dict(struct.iter_unpack(">HL", payload))
    assert {number: told[number] for number in (3, 4, 5, 6)} == {3: 7, 4: 70_000, 5: 20_000, 6: 9_999}
    kind, payload = read_frame(client)
    assert (kind, int.from_bytes(payload, "big")) == (WINDOW_UPDATE, 100_000 - 65_535)


def test_without_keep_alive_a_connection_serves_one_request(serve: Any) -> None:
    """And that is no question of time: the client is told so."""
    client = serve(app, keep_alive_timeout=0).connect()
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    status, fields, _ = client.response()
    assert (status, fields["connection"]) == (200, "close")
    assert client.rest() == b""


def test_http2_clients_are_pinged_and_cut(serve: Any) -> None:
    settings = {"keep_alive_timeout": 60, "h2_ping_interval": 0.1, "h2_ping_timeout": 0.1}
    client = serve(app, **settings).connect()
    client.send(PREFACE)
    kinds: list[int] = []
    while -1 not in kinds:
        kinds.append(read_frame(client)[0])
    assert kinds.count(PING) == 1


def test_names_of_fields_keep_their_case(serve: Any) -> None:
    client = serve(app, h11_pass_raw_headers=True).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Upper: b\r\n\r\n")
    assert client.response()[2] == b"Host X-Upper"


def test_the_case_of_names_means_nothing_to_the_server(serve: Any, caplog: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        head = {"type": "http.response.start", "status": 200, "headers": [(b"X-Upper", b"3")]}
        await send({**head, "trailers": True})
        await send({"type": "http.response.body", "body": b"a"})
        await send({"type": "http.response.trailers", "headers": [(b"x-last", b"4")]})

    caplog.set_level(logging.INFO, "hypercorn.access")
    server = serve(
        app,
        h11_pass_raw_headers=True,
        server_names=["a"],
        accesslog=logging.getLogger("hypercorn.access"),
        access_log_format="%(a)s %({Referer}i)s %({X-Upper}o)s",
    )
    client = server.connect()
    client.send(
        b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: 1\r\nREFERER: 2\r\nTE: trailers\r\nConnection: close\r\n\r\n"
    )
    assert client.head()[0] == 200
    assert client.rest() == b"1\r\na\r\n0\r\nx-last: 4\r\n\r\n"
    server.stop()
    server.join()
    lines = [record.getMessage() for record in caplog.records if record.name == "hypercorn.access"]
    assert lines == ["1 2 3"]


def test_websockets_are_not_compressed(serve: Any) -> None:
    request = (
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: %b\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n"
    ) % base64.b64encode(bytes(16))
    for is_wanted in (True, False):
        client = serve(app, websocket_per_message_deflate=is_wanted).connect()
        client.send(request)
        status, fields = client.head()
        assert (status, "sec-websocket-extensions" in fields) == (101, is_wanted)
