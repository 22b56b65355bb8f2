"""The figures that an HTTP/2 engine is made with. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HTTP2Parameters:
    """Limits and times of one HTTP/2 connection; sizes are in bytes, times in seconds.

    Memory of one connection, in the worst case that a peer can cause: `max_unread_size` plus one connection
    window of request bodies, `max_unsent_size` plus `max_concurrent_streams` times `send_low_water` of response
    bodies (beyond what one call of an application hands over at once), the fields of `max_concurrent_streams` requests,
    one header block of twice `max_header_list_size`, and one incoming frame. What WebSockets hold of messages comes on top:
    `SessionParameters.max_held_size`.

    Attributes:
        max_concurrent_streams: requests that may be open at once; and applications that may run. That of a request
            which the peer has reset runs until its exchange is over (`HTTP2Engine.exchange_ended`): until then another
            request may have to wait.
        max_header_list_size: bound of one field section, counted as RFC 9113 §6.5.2 does (32 bytes extra
            for each field). A larger one is answered with 431; one whose encoded form is more than twice as
            large ends the connection.
        max_inbound_frame_size: SETTINGS_MAX_FRAME_SIZE, 16,384 to 16,777,215.
        initial_stream_window_size: what a peer may send on a stream before the application reads. A window
            is what an upload gets for each round trip, 1 MiB 80 Mbit/s at 100 ms: so that of a stream whose application keeps
            up grows to four times this, but not beyond the connection's.
        initial_connection_window_size: what a peer may have in flight on all streams together; not below
            65,535. It is given back as data arrives, read or not, while `max_unread_size` allows.
        max_unread_size: bytes that applications have not read, over all streams. Beyond it the connection
            window shrinks: only a peer that feeds many streams that nobody reads stalls itself. Not less than
            one connection window.
        send_high_water, send_low_water: `can_send` says no from the first on, `Writable` comes below the
            second, or, where the peer ranks its streams, below the first again; per stream.
        max_unsent_size: response bytes held over all streams, beyond which each stream may only hold
            `send_low_water`.
        keep_alive_timeout: an idle connection is closed with GOAWAY after so long.
        header_timeout: for the preface, and for an unfinished header block or control frame while requests
            are open; None: `keep_alive_timeout`.
        read_timeout: bound between two reads while the content of a request is awaited that the peer has windows
            for; None for never.
        write_timeout: a response whose stream takes no byte for so long because the peer gives no window
            is reset; None for never. (A transport that takes no byte is the connection's to cut.)
        keep_alive_max_requests: after so many requests the connection is drained at the next quiet moment,
            and after twice as many at once; 0 for no limit.
        ping_interval: a PING is sent after so long without a byte from the peer; None for never.
        ping_timeout: the connection is cut when the answer takes longer.
        drain_delay: how long a drain waits for a quiet moment before it is announced.
        max_resets, resets_per_second: streams that the peer may reset, or make us reset, soon after they were opened
            (CVE-2023-44487 and its successors): a burst, and what each second gives back of it; so does each completed
            request, one. As nghttp2 has them by default.
        max_control_frames: burst of frames that do no work (PING, SETTINGS, PRIORITY, tiny WINDOW_UPDATE,
            empty DATA, …); useful frames earn them back, and each second a tenth of it.
    """

    max_concurrent_streams: int = 100
    max_header_list_size: int = 65536
    max_inbound_frame_size: int = 16384
    initial_stream_window_size: int = 262144
    initial_connection_window_size: int = 1048576
    max_unread_size: int = 8388608
    send_high_water: int = 65536
    send_low_water: int = 16384
    max_unsent_size: int = 4194304
    keep_alive_timeout: float = 5.0
    header_timeout: float | None = None
    read_timeout: float | None = None
    write_timeout: float | None = 60.0
    keep_alive_max_requests: int = 1000
    ping_interval: float | None = None
    ping_timeout: float = 20.0
    drain_delay: float = 1.0
    max_resets: int = 1000
    resets_per_second: float = 33.0
    max_control_frames: int = 1000
