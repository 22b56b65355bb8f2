"""What the cases of the HTTP/2 tests on the wire are made of: acts of a peer, and what it must be told."""

from __future__ import annotations

from .http2_peer import (
    CANCEL,
    EARLY,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    HOLD,
    PADDED,
    PROTOCOL,
    RST_STREAM,
    WITH_PRIORITY,
    Act,
    Fields,
    Peer,
    block,
    frame,
    number,
)


def sends(*data: bytes) -> Act:
    return lambda peer: peer.send(*data)


def headers(stream_id: int, fields: Fields = GET, flags: int = END_STREAM | END_HEADERS) -> Act:
    return lambda peer: peer.headers(stream_id, fields, flags)


def opened(fields: Fields = HOLD) -> Act:
    return headers(1, fields, END_HEADERS)


def half_closed(peer: Peer) -> None:
    peer.headers(1, HOLD)


def closed(peer: Peer) -> None:
    peer.headers(1)
    peer.answered(1)


def reset(peer: Peer) -> None:
    peer.headers(1, HOLD, END_HEADERS)
    peer.send(frame(RST_STREAM, 0, 1, number(CANCEL)))


def answered_early(peer: Peer) -> None:
    peer.headers(1, EARLY, END_HEADERS)
    peer.answered(1)


def reset_half_closed(peer: Peer) -> None:
    peer.headers(1, HOLD)
    peer.send(frame(RST_STREAM, 0, 1, number(CANCEL)))


def padded(kind: int, flags: int, payload: bytes, padding: int) -> bytes:
    return frame(kind, flags | PADDED, 1, bytes([padding]) + payload + bytes(padding))


def answered(stream_id: int = 1) -> Act:
    return lambda peer: peer.answered(stream_id)


def alive(peer: Peer) -> None:
    peer.alive()


def connection_error(*codes: int) -> Act:
    return lambda peer: peer.connection_error(*codes)


def stream_error(*codes: int) -> Act:
    return lambda peer: peer.stream_error(*codes)


def hpack_block(*parts: bytes) -> bytes:
    """GET / in indexed fields, and parts of one's own."""
    return frame(
        HEADERS, END_STREAM | END_HEADERS, 1, b"".join((b"\x82\x86\x84", b"\x01\x09127.0.0.1", *parts))
    )


def bad_request(fields: Fields, *more: tuple[str, str]) -> tuple[Act, ...]:
    return headers(1, [*fields, *more]), stream_error(PROTOCOL)


def without(name: str) -> Fields:
    return [field for field in GET if field[0] != name]


def with_priority(dependency: int, weight: int) -> bytes:
    flags = END_STREAM | END_HEADERS | WITH_PRIORITY
    return frame(HEADERS, flags, 1, number(dependency) + bytes([weight]) + block(GET))


def unfinished(*data: bytes) -> tuple[Act, ...]:
    return sends(frame(HEADERS, END_STREAM, 1, block(GET)), *data), connection_error(PROTOCOL)
