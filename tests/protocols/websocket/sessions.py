"""A session as the tests drive it."""

from __future__ import annotations

from collections.abc import Callable

from hypercorn.protocols.websocket import Close, SessionParameters, WebSocketSession
from hypercorn.protocols.websocket.deflate import DeflateParameters

MakeFrame = Callable[..., bytes]
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x81, 0x82, 0x80, 0x88, 0x89, 0x8A
ROOMY = SessionParameters(max_message_size=100_000, max_queued_messages=10_000)


def session(
    parameters: SessionParameters = ROOMY, deflate: DeflateParameters | None = None
) -> WebSocketSession:
    return WebSocketSession(parameters, deflate, 0.0)


def received(ws: WebSocketSession, data: bytes, cut: int = 0) -> list[str | bytes | Close]:
    """All that the application gets of `data`, which arrives in pieces of `cut` bytes."""
    step = cut or max(1, len(data))
    for at in range(0, len(data), step):
        ws.receive_data(data[at : at + step], 0.0)
    return drained(ws)


def send(ws: WebSocketSession, message: str | bytes) -> None:
    ws.send_frame(*ws.encode(message))


def drained(ws: WebSocketSession) -> list[str | bytes | Close]:
    messages = []
    while (message := ws.next_message(0.0)) is not None or ws.wants_turn:
        if message is not None:
            messages.append(message)
        elif ws.wants_turn:
            ws.wants_turn = False
            ws.next_turn(0.0)
    return messages
