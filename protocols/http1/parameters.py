"""The figures that an HTTP/1.1 engine is made with. Plain data: nothing is checked here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HTTP1Parameters:
    """Limits and timeouts of one HTTP/1.1 connection. Sizes are bytes, times are seconds.

    Attributes:
        limit_request_line: longest request line without its CRLF; 0: only `max_head_size` bounds it.
        limit_request_fields: most field lines in a head, and in a trailer section; 0: unlimited.
        limit_request_field_size: longest field line without its CRLF; 0: only `max_head_size` bounds it.
        max_head_size: longest head (request line, fields, empty line), and longest trailer section.
        keep_alive_timeout: an idle connection is closed after so long. It bounds the head as well when
            `header_timeout` is None: the head's first byte does not prolong it.
        header_timeout: for the head, counted from its first byte.
        read_timeout: for the next bytes of a body while the engine wants to read; None: for ever.
        keep_alive_max_requests: the response to this many-th request closes the connection.
        pass_raw_names: field names are handed up as sent, not in lower case.
        h2c_upgrade: `Upgrade: h2c` (RFC 7540 §3.2) is honoured on cleartext connections.
        h2c_prior_knowledge: the HTTP/2 preface is understood at the start of the connection.
        max_buffered_body: body bytes handed up and not yet consumed above which reading pauses.
    """

    limit_request_line: int = 8190
    limit_request_fields: int = 100
    limit_request_field_size: int = 8190
    max_head_size: int = 16384
    keep_alive_timeout: float = 5.0
    header_timeout: float | None = None
    read_timeout: float | None = None
    keep_alive_max_requests: int = 1000
    pass_raw_names: bool = False
    h2c_upgrade: bool = True
    h2c_prior_knowledge: bool = True
    max_buffered_body: int = 65536
