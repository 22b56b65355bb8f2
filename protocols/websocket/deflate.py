"""permessage-deflate (RFC 7692): the choice among a client's offers, and (de)compression with bounded output.

wsproto's own extension class is not used: it decompresses whatever arrives before anybody can look at the size
(a factor of a thousand), takes invalid offers, and fails behind a final block.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .frames import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

EXTENSION = "permessage-deflate"

#: One extension or subprotocol parameter: `name`, `name=token` or `name="token"`.
Parameter = tuple[str, str | None]

#: A window of 4 KiB and a small hash table keep a connection's compressor at some 40 KiB instead of 260, for a
#: few per cent of the ratio; the peer is told to keep to the same window where it lets us.
_WINDOW_BITS = 12
_MEMORY_LEVEL = 5

#: What every sender leaves away (§7.2.1).
_TAIL = b"\x00\x00\xff\xff"
#: Blocks that say "last of all" within one message; none is needed, and each costs a new decompressor.
_MAX_FINAL_BLOCKS = 16

_WINDOW_VALUE = re.compile(r"8|9|1[0-5]")


@dataclass(frozen=True, slots=True)
class DeflateParameters:
    """What was agreed on. `server` is about what we send, `client` about what we receive."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15


def negotiate(offers: Iterable[tuple[str, list[Parameter]]]) -> tuple[DeflateParameters, str] | None:
    """The first offer that can be accepted, with the answer for Sec-WebSocket-Extensions (RFC 7692 §5.1)."""
    for name, parameters in offers:
        if name == EXTENSION and (agreed := _accept(parameters)) is not None:
            return agreed
    return None


def _accept(parameters: list[Parameter]) -> tuple[DeflateParameters, str] | None:
    offer = dict(parameters)
    if len(offer) != len(parameters):
        return None  # §7.1: no parameter twice
    answer = [EXTENSION]
    flags: list[bool] = []
    for name in ("server_no_context_takeover", "client_no_context_takeover"):
        flags.append(name in offer)
        if offer.pop(name, None) is not None:
            return None
        if flags[-1]:
            answer.append(name)
    server_bits = _window(offer.pop("server_max_window_bits", "15"))
    asks_client_bits = "client_max_window_bits" in offer
    client_bits = _window(offer.pop("client_max_window_bits", None) or "15")
    # zlib cannot write for a window of 256 bytes.
    if offer or server_bits is None or client_bits is None or server_bits == 8:
        return None
    server_bits = min(server_bits, _WINDOW_BITS)
    answer.append(f"server_max_window_bits={server_bits}")
    if asks_client_bits:
        client_bits = min(client_bits, _WINDOW_BITS)
        answer.append(f"client_max_window_bits={client_bits}")
    return DeflateParameters(flags[0], flags[1], server_bits, client_bits), "; ".join(answer)


def _window(value: str | None) -> int | None:
    return int(value) if value is not None and _WINDOW_VALUE.fullmatch(value) else None


class Inflater:
    """Decompresses the peer's messages, piece by piece, and never beyond a limit."""

    def __init__(self, parameters: DeflateParameters) -> None:
        self._window_bits = parameters.client_max_window_bits
        self._keeps_context = not parameters.client_no_context_takeover
        self._stream = zlib.decompressobj(-self._window_bits)
        self._final_blocks = 0

    def feed(self, data: bytes, limit: int) -> bytes:
        """Decompress a piece of a message.

        Raises:
            RemoteProtocolError: more than `limit` bytes would come out (1009), or it is no deflate data (1007).
        """
        output = b""
        try:
            while True:
                output += self._stream.decompress(data, limit + 1 - len(output))
                if len(output) > limit:
                    raise RemoteProtocolError(1009, "message too big")
                if not self._stream.eof:
                    return output
                # §7.2.3.4: a block may be marked as the last of all, and more may follow.
                data = self._stream.unused_data
                self._renew()
        except zlib.error:
            raise RemoteProtocolError(1007, "compressed data is invalid") from None

    def _renew(self) -> None:
        self._final_blocks += 1
        if self._final_blocks > _MAX_FINAL_BLOCKS:
            raise RemoteProtocolError(1008, "too many final blocks in one message")
        self._stream = zlib.decompressobj(-self._window_bits)

    def finish(self, limit: int) -> bytes:
        """The message is complete: give what was held back. `limit` and errors as for `feed`."""
        output = self.feed(_TAIL, limit)
        self._final_blocks = 0
        if not self._keeps_context:
            self._stream = zlib.decompressobj(-self._window_bits)
        return output


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self, mode: int, /) -> bytes: ...


class Deflater:
    """Compresses our messages. The compressor is made for the first one: many connections only listen."""

    def __init__(self, parameters: DeflateParameters) -> None:
        self._window_bits = parameters.server_max_window_bits
        self._keeps_context = not parameters.server_no_context_takeover
        self._stream: _Compressor | None = None

    def _make(self) -> _Compressor:
        return zlib.compressobj(wbits=-self._window_bits, memLevel=_MEMORY_LEVEL)

    def compress(self, payload: bytes) -> bytes:
        """The payload of a frame for a whole message."""
        stream = self._stream or self._make()
        if self._keeps_context:
            self._stream = stream
        return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]
