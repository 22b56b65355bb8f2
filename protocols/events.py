"""What an engine tells the layer above it: one small class per fact, the same for every protocol.

`stream_id` names one exchange (one request and its response) on a connection. HTTP/2 uses its own stream
identifiers; HTTP/1.1 numbers the requests of a connection 1, 2, 3, …, so that whatever arrives late for an
exchange that is over can be recognised and dropped.

Header fields are `list[tuple[bytes, bytes]]`: names in lower case, values without surrounding white space,
order kept.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Fields: TypeAlias = list[tuple[bytes, bytes]]


class Request:
    """The head of a request has arrived and obeys every rule of its protocol.

    Attributes:
        stream_id: the exchange that it opens.
        http_version: `"1.0"`, `"1.1"` or `"2"`, as ASGI spells it.
        method: the method in upper case.
        raw_path: the path of the target as sent, without the query (`b"*"` for `OPTIONS *`).
        query: what follows `?`, or `b""`.
        fields: the header fields. One `host` field always stands in them when the peer named an authority:
            for HTTP/2 it is made from `:authority` and stands first, for an absolute-form target its
            authority replaces the received value (RFC 9112 §3.2.2).
        end_stream: no body follows; the request is complete.
        expects_continue: the peer waits for 100 (Continue) before it sends the body (RFC 9110 §10.1.1).
            Whoever reads the body first sends it with `Engine.send_informational(stream_id, 100, [])`.
        upgrade: `"websocket"` when the request asks for a WebSocket: an HTTP/1.1 upgrade (RFC 6455) or
            an extended CONNECT (RFC 8441). After an accepting response head (101, or 200 over HTTP/2) the
            stream carries raw bytes both ways, as `Data` and through `Engine.send_data`.
    """

    __slots__ = (
        "end_stream",
        "expects_continue",
        "fields",
        "http_version",
        "method",
        "query",
        "raw_path",
        "stream_id",
        "upgrade",
    )

    def __init__(  # noqa: PLR0913 - plain data, made once per request on the hot path
        self,
        stream_id: int,
        http_version: str,
        method: str,
        raw_path: bytes,
        query: bytes,
        fields: Fields,
        end_stream: bool,
        expects_continue: bool = False,
        upgrade: Literal["websocket"] | None = None,
    ) -> None:
        self.stream_id = stream_id
        self.http_version = http_version
        self.method = method
        self.raw_path = raw_path
        self.query = query
        self.fields = fields
        self.end_stream = end_stream
        self.expects_continue = expects_continue
        self.upgrade: Literal["websocket"] | None = upgrade


class Data:
    """A piece of the request body (or, after an upgrade, of the tunnel). `end_stream`: it is the last."""

    __slots__ = ("data", "end_stream", "stream_id")

    def __init__(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        self.stream_id = stream_id
        self.data = data
        self.end_stream = end_stream


class Trailers:
    """The trailer section of the request (RFC 9110 §6.5). The request is complete."""

    __slots__ = ("fields", "stream_id")

    def __init__(self, stream_id: int, fields: Fields) -> None:
        self.stream_id = stream_id
        self.fields = fields


class StreamClosed:
    """The peer is gone for this exchange before its response was complete: reset, left, or broke a rule.

    Nothing more can be sent on the stream. The application sees `http.disconnect`.
    """

    __slots__ = ("stream_id",)

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id


class Writable:
    """The stream's send buffer has fallen below its low-water mark after `Engine.can_send` said no."""

    __slots__ = ("stream_id",)

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id


class Refused:
    """The engine itself has answered a request that breaks a rule, and wants it in the access log.

    Attributes:
        status: the status code that was sent.
        method, target: as far as they were read; empty where they were not.
        http_version: as far as known, else `""`.
        reason: one line for the debug log that names the rule.
        stream_id: of the `Request` that came before, whose `StreamClosed` follows; 0 if none did.
    """

    __slots__ = ("http_version", "method", "reason", "status", "stream_id", "target")

    def __init__(
        self,
        status: int,
        reason: str,
        method: str = "",
        target: bytes = b"",
        http_version: str = "",
        stream_id: int = 0,
    ) -> None:
        self.stream_id = stream_id
        self.status = status
        self.reason = reason
        self.method = method
        self.target = target
        self.http_version = http_version


class SwitchToHTTP2:
    """This HTTP/1.1 engine is over: an HTTP/2 engine takes the connection from here.

    Attributes:
        request: the request that asked for `Upgrade: h2c` and becomes stream 1 (RFC 7540 §3.2), or None
            for prior knowledge. The engine has put the 101 (Switching Protocols) into its output already.
        settings: the decoded HTTP2-Settings payload of the upgrade, or `b""`.
        trailing: bytes that were received behind it (for prior knowledge: the whole preface).
    """

    __slots__ = ("request", "settings", "trailing")

    def __init__(self, request: Request | None, settings: bytes, trailing: bytes) -> None:
        self.request = request
        self.settings = settings
        self.trailing = trailing


Event: TypeAlias = Request | Data | Trailers | StreamClosed | Writable | Refused | SwitchToHTTP2
