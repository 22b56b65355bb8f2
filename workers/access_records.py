"""Makes access records of exchanges: where what happened on a connection becomes what is logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from ..protocols.events import Fields, Refused, Request
from .access_log import AccessRecord, lowered

if TYPE_CHECKING:
    from .connection import Connection


class LoggedExchange(Protocol):
    """What an access record says of an exchange.

    Attributes:
        status: status code of the response, 0 if none was sent.
        bytes_sent: bytes given to the engine as content.
        started_at: monotonic time at which the head of the request was read.
        close_code: of a WebSocket that has ended; None before, and for HTTP.
    """

    request: Request
    status: int
    response_fields: Fields
    bytes_sent: int
    started_at: float

    @property
    def close_code(self) -> int | None: ...


def record_of(connection: Connection, exchange: LoggedExchange, now: float) -> AccessRecord:
    """The record of `exchange` at the time `now`."""
    request = exchange.request
    scheme = connection.scheme
    close_code = exchange.close_code
    if request.upgrade is None:
        event: Literal["request", "open", "close"] = "request"
    else:
        event = "open" if close_code is None else "close"
        scheme = "wss" if connection.secure else "ws"
    fields = request.fields
    if connection.server.settings.h11_pass_raw_headers:
        fields = lowered(fields)
    has_content = request.method != "HEAD" and exchange.status not in (204, 205, 304)
    return AccessRecord(
        connection.client,
        connection.local,
        request.method if request.upgrade is None else "GET",
        scheme,
        request.raw_path,
        request.query,
        request.http_version,
        exchange.status,
        fields,
        exchange.response_fields,
        exchange.bytes_sent if has_content else 0,
        now - exchange.started_at,
        event,
        close_code,
    )


def record_of_refusal(connection: Connection, event: Refused) -> AccessRecord:
    """The record of a request that the server itself has answered; what was not read of it is `-`."""
    path, _, query = event.target.partition(b"?")
    return AccessRecord(
        connection.client,
        connection.local,
        event.method or "-",
        connection.scheme,
        path or b"-",
        query,
        event.http_version or "-",
        event.status,
        [],
        [],
        0,
        0.0,
    )
