"""A client that keeps to the rules, for the model of a WebSocket: wsproto's, with the network in the test's hands.

wsproto is also the judge of what the server sends. It does not look at what follows a Close frame; that is done here.
"""

from __future__ import annotations

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping, Pong
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

from hypercorn.protocols.websocket import Close
from hypercorn.protocols.websocket.deflate import DeflateParameters, negotiate

_TEXT = "".join(chr(33 + index * index % 90) + "é€😀"[index % 3] * (index % 11 == 0) for index in range(997))
_BINARY = bytes((index * index * 7 + index // 251) & 255 for index in range(65521))


def content(number: int, size: int, *, is_text: bool) -> str | bytes:
    """The message `number` of either side, of `size` characters or bytes: a lost or swapped one shows."""
    start = number * 31 % 900
    if is_text:
        return (_TEXT[start:] + _TEXT * (size // len(_TEXT) + 1))[:size]
    return (_BINARY[start:] + _BINARY * (size // len(_BINARY) + 1))[:size]


def agree(flags: tuple[bool, bool], bits: tuple[int, int]) -> tuple[DeflateParameters, PerMessageDeflate]:
    """What both sides make of an offer: context takeover, and window bits, of the server and of the client."""
    offer: list[tuple[str, str | None]] = [
        ("server_max_window_bits", str(bits[0])),
        ("client_max_window_bits", str(bits[1])),
    ]
    if flags[0]:
        offer.append(("server_no_context_takeover", None))
    if flags[1]:
        offer.append(("client_no_context_takeover", None))
    agreed = negotiate([("permessage-deflate", offer)])
    assert agreed is not None
    extension = PerMessageDeflate()
    extension.finalize(agreed[1])
    return agreed[0], extension


class ModelClient:
    """`output` is what it has sent and nobody has delivered yet.

    Attributes:
        sent: its complete messages, each with where it ends in all that was sent.
        got: the messages that have arrived.
        pings, pongs: payloads of pings that it has sent, and of the answers.
        close: the Close frame that it has sent, and where that ends.
        got_close: the one that has arrived.
        has_left: it sends nothing more, and not even that it leaves is on its way behind it.
    """

    def __init__(self, extension: PerMessageDeflate | None, *, replies_at_once: bool) -> None:
        self._connection = Connection(ConnectionType.CLIENT, [] if extension is None else [extension])
        self._replies_at_once = replies_at_once
        self._delayed: list[Event] = []
        self._fragments: list[str | bytes] = []
        self._parts: list[str | bytes] = []
        self.output = bytearray()
        self.size = 0
        self.sent: list[tuple[str | bytes, int]] = []
        self.got: list[str | bytes] = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.close: Close | None = None
        self.close_end = 0
        self.got_close: Close | None = None
        self.has_left = False

    # ---- to the server

    @property
    def is_open(self) -> bool:
        return self._connection.state is ConnectionState.OPEN and not self.has_left

    @property
    def is_in_message(self) -> bool:
        return bool(self._fragments)

    def _send(self, event: Event) -> None:
        data = self._connection.send(event)
        self.output += data
        self.size += len(data)

    def send(self, data: str | bytes, *, end: bool) -> None:
        """Send a message or a fragment; a further fragment has the kind of the first."""
        self._fragments.append(data)
        self._send(Message(data=data, message_finished=end))
        if end:
            fragments, self._fragments = self._fragments, []
            self.sent.append((type(data)().join(fragments), self.size))  # type: ignore[arg-type]

    @property
    def sends_text(self) -> bool:
        """The kind of the message that has begun."""
        return isinstance(self._fragments[0], str)

    def ping(self, payload: bytes) -> None:
        self.pings.append(payload)
        self._send(Ping(payload=payload))

    def begin_close(self, code: int, reason: str) -> None:
        self.close = Close(code, reason)
        # wsproto knows an empty frame by its own constant.
        self._send(CloseConnection(code=CloseReason(1005) if code == 1005 else code, reason=reason))
        self.close_end = self.size

    def reply(self) -> None:
        """Answer what was not answered at once."""
        delayed, self._delayed = self._delayed, []
        for event in delayed:
            self._answer(event)

    def _answer(self, event: Event) -> None:
        if self.has_left:
            return
        if isinstance(event, Ping):
            if self.is_open:
                self._send(event.response())
        elif isinstance(event, CloseConnection) and self._connection.state is ConnectionState.REMOTE_CLOSING:
            self.close = Close(int(event.code), event.reason or "")
            self._send(event.response())
            self.close_end = self.size

    # ---- from the server

    def receive(self, data: bytes) -> None:
        assert self.got_close is None, "something behind a Close frame"
        self._connection.receive_data(data)
        events = list(self._connection.events())
        for event in events:
            assert self.got_close is None, "something behind a Close frame"
            self._on_event(event)
        if self.got_close is not None:
            assert not len(self._connection._proto._frame_decoder.buffer)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Message):
            self._parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
            if event.message_finished:
                self.got.append(type(self._parts[0])().join(self._parts))  # type: ignore[arg-type]
                self._parts = []
        elif isinstance(event, Pong):
            self.pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            # In another state it is wsproto's complaint about our bytes.
            assert self._connection.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED), event
            self.got_close = Close(int(event.code), event.reason or "")
        if isinstance(event, Ping | CloseConnection):
            if self._replies_at_once:
                self._answer(event)
            else:
                self._delayed.append(event)
