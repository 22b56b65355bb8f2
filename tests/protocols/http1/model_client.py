"""A client that keeps to the rules and does not wait for answers, for the model of an HTTP/1.1 connection.

Requests are written by hand, for h11 does not send a second one before the first is answered. h11 reads the responses,
and is the judge of them: it raises RemoteProtocolError for bytes that a server must not send.
"""

from __future__ import annotations

import h11

Fields = list[tuple[bytes, bytes]]

_PERIOD = 65521
_CONTENT = bytes((index * index * 7 + index // 251) & 255 for index in range(_PERIOD)) * 4


def content(number: int, start: int, size: int) -> bytes:
    """`size` bytes of the content of request or response `number` from `start` on: lost or swapped bytes show."""
    offset = (number * 7919 + start) % _PERIOD
    return _CONTENT[offset : offset + size]


class ClientRequest:
    """A request, and what has come in answer to it.

    Attributes:
        length: the Content-Length; None and `is_chunked`: chunks; None otherwise: no content.
        closes: the client wants nothing behind it.
        awaits_continue: the content is not sent before the server asks for it.
        end: where it ends in all that the client sends; 0 while it is not complete.
        is_answered: the final response is complete.
        is_cut: and it was not, at the end of the connection.
        says_close: it announces that end.
    """

    def __init__(self, number: int, method: str, version: str, length: int | None) -> None:
        self.number = number
        self.method = method
        self.version = version
        self.length = length
        self.is_chunked = False
        self.closes = False
        self.awaits_continue = False
        self.fields: Fields = []
        self.sent = 0
        self.trailers: Fields = []
        self.end = 0
        self.informational: list[int] = []
        self.status = 0
        self.got_fields: Fields = []
        self.got = 0
        self.got_trailers: Fields = []
        self.is_answered = False
        self.is_cut = False
        self.says_close = False

    @property
    def is_sent(self) -> bool:
        return self.end > 0


class ModelClient:
    """`output` is what it has sent and nobody has delivered yet."""

    def __init__(self) -> None:
        self.requests: list[ClientRequest] = []
        self.output = bytearray()
        self.size = 0
        self.has_left = False
        self._answered = 0
        self._reader: h11.Connection | None = None

    # ---- to the server

    @property
    def is_told_close(self) -> bool:
        return any(request.says_close for request in self.requests)

    @property
    def unanswered(self) -> int:
        return len(self.requests) - self._answered

    @property
    def may_request(self) -> bool:
        if self.has_left or self.is_told_close:
            return False
        return not self.requests or (self.requests[-1].is_sent and not self.requests[-1].closes)

    @property
    def unfinished(self) -> ClientRequest | None:
        """The request that the client may go on to send."""
        if self.has_left or not self.requests or self.requests[-1].is_sent:
            return None
        return self.requests[-1]

    def _write(self, data: bytes) -> None:
        self.output += data
        self.size += len(data)

    def request(
        self, method: str, version: str, body: int | str | None, *, expects: bool, option: str
    ) -> None:
        """Send a head. `body`: a length, "chunked" or None; `option`: of the Connection field, or empty."""
        length = body if isinstance(body, int) else None
        request = ClientRequest(len(self.requests) + 1, method, version, length)
        request.is_chunked = body == "chunked"
        request.closes = option == "close" or (version == "1.0" and option != "keep-alive")
        request.awaits_continue = expects
        fields = request.fields
        fields.append((b"host", b"a"))
        if option:
            fields.append((b"connection", option.encode()))
        if expects:
            fields.append((b"expect", b"100-continue"))
        if length is not None:
            fields.append((b"content-length", b"%d" % length))
        elif request.is_chunked:
            fields.append((b"transfer-encoding", b"chunked"))
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        self._write(b"%b /%d HTTP/%b\r\n%b\r\n" % (method.encode(), request.number, version.encode(), lines))
        self.requests.append(request)
        if length in (None, 0) and not request.is_chunked:
            request.end = self.size

    def send(self, size: int) -> None:
        """Send a piece of the content of the last request."""
        request = self.requests[-1]
        if request.length is not None:
            size = min(size, request.length - request.sent)
        data = content(request.number, request.sent, size)
        request.sent += size
        if request.is_chunked:
            if size:
                self._write(b"%x;a=b\r\n%b\r\n" % (size, data))
            return
        self._write(data)
        if request.sent == request.length:
            request.end = self.size

    def end(self, trailers: Fields) -> None:
        """End the content of the last request; `trailers` are for chunks."""
        request = self.requests[-1]
        if request.length is not None:
            self.send(request.length - request.sent)
            return
        request.trailers = trailers
        self._write(b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in trailers))
        request.end = self.size

    # ---- from the server

    def receive(self, data: bytes) -> None:
        """`b""`: the server has closed its side."""
        while True:
            if self._reader is None:
                if not data:
                    return
                assert self._answered < len(self.requests), "an answer to nothing"
                self._reader = self._make_reader(self.requests[self._answered])
            request = self.requests[self._answered]
            reader = self._reader
            try:
                reader.receive_data(data)
                while (event := reader.next_event()) is not h11.NEED_DATA:
                    self._on_event(request, event)
                    if request.is_answered:
                        break
            except h11.RemoteProtocolError:
                assert not data, "a response that h11 does not understand"
                request.is_cut = True
            if not request.is_answered:
                return
            data = reader.trailing_data[0]
            self._answered += 1
            self._reader = None

    def _make_reader(self, request: ClientRequest) -> h11.Connection:
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=request.method, target="/", headers=[("host", "a")]))
        reader.send(h11.EndOfMessage())
        return reader

    def _on_event(self, request: ClientRequest, event: object) -> None:
        if isinstance(event, h11.InformationalResponse):
            request.informational.append(event.status_code)
            if event.status_code == 100:
                assert request.awaits_continue or request.sent, "100 (Continue) that nobody expects"
                request.awaits_continue = False
        elif isinstance(event, h11.Response):
            request.status = event.status_code
            request.got_fields = list(event.headers)
            request.says_close = (b"connection", b"close") in request.got_fields
        elif isinstance(event, h11.Data):
            data = bytes(event.data)
            assert data == content(request.number, request.got, len(data))
            request.got += len(data)
        elif isinstance(event, h11.EndOfMessage):
            request.is_answered = True
            request.got_trailers = list(event.headers)
