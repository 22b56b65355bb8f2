"""The lane that takes every frame: wsproto decodes and judges, with our limits in an extension of its own.

The session hands over whatever its fast lane does not take: fragmented messages, frames that are not complete
yet (a bad text must be refused before its end), and everything that breaks a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    CloseReason,
    FrameDecoder,
    FrameProtocol,
    MessageDecoder,
    Opcode,
    ParseFailed,
    RsvBits,
)

from .frames import RemoteProtocolError

if TYPE_CHECKING:
    from .deflate import Inflater

#: How many frames are read before others get their turn: each costs some ten microseconds, however short it is.
FRAMES_PER_TURN = 64

_NO_BITS = RsvBits(False, False, False)
_RSV1 = RsvBits(True, False, False)


class _Rules(Extension):
    """Decompression and the limit of size, at the places where wsproto lets an extension look at a frame.

    wsproto decompresses in no other way, so a limit here holds before memory is spent.
    """

    name = "rules"

    def __init__(self, inflater: Inflater | None, max_message_size: int) -> None:
        self._inflater = inflater
        self._max_message_size = max_message_size
        self._is_control = False
        self._is_compressed = False
        #: The size of the present message so far, decompressed.
        self._size = 0

    def offer(self) -> bool | str:
        """Nothing is offered: a server answers, and `deflate.negotiate` does that."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._is_control = opcode.iscontrol()
        if self._is_control:
            return _NO_BITS
        # RFC 7692 §6: the bit stands on the first frame of a message only.
        allowed = _NO_BITS
        if opcode is not Opcode.CONTINUATION:
            self._is_compressed = rsv.rsv1
            allowed = _RSV1 if self._inflater is not None else _NO_BITS
        if not self._is_compressed and self._size + payload_length > self._max_message_size:
            raise ParseFailed("message too big", CloseReason.MESSAGE_TOO_BIG)
        return allowed

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        if self._is_control:
            return data
        if self._is_compressed and self._inflater is not None:
            data = self._inflater.feed(data, self._max_message_size - self._size)
        self._size += len(data)
        return data

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        if self._is_control or not fin:
            return None
        rest = None
        if self._is_compressed and self._inflater is not None:
            rest = self._inflater.finish(self._max_message_size - self._size)
        self._size = 0
        return rest


class ReferenceLane:
    """Takes bytes and gives whole messages and control frames.

    Attributes:
        frames_left: how many more frames may be read in this turn of the loop.
    """

    def __init__(self, inflater: Inflater | None, max_message_size: int) -> None:
        self._frames = FrameDecoder(client=False, extensions=[_Rules(inflater, max_message_size)])
        self._messages = MessageDecoder()
        self._payload = bytearray()
        self.frames_left = FRAMES_PER_TURN

    @property
    def is_between_messages(self) -> bool:
        """No frame and no message has begun, so that the fast lane could go on."""
        return self._frames.header is None and self._messages.opcode is None

    @property
    def is_at_rest(self) -> bool:
        """Between messages, and every byte that was fed has been used."""
        return self.is_between_messages and not len(self._frames.buffer)

    @property
    def held_size(self) -> int:
        """Bytes of the message that has begun, decompressed."""
        return len(self._payload)

    def feed(self, data: bytes) -> None:
        """Take bytes that follow those given before."""
        self._frames.receive_bytes(data)

    def take_rest(self) -> bytes:
        """Give back the bytes that no frame has used yet."""
        buffer = self._frames.buffer
        rest = bytes(buffer.consume_at_most(len(buffer)))
        buffer.commit()
        return rest

    def next_item(self) -> tuple[int, bytes] | str | bytes | None:
        """The next message, or control frame as opcode and payload.

        None: more bytes are needed, or no more frames may be read.

        Raises:
            RemoteProtocolError: the peer broke a rule; nothing may be fed after that.
        """
        try:
            while self.frames_left and (frame := self._frames.process_buffer()) is not None:
                self.frames_left -= 1
                assert isinstance(frame.payload, (bytes, bytearray))  # raw until a MessageDecoder has seen it
                payload = bytes(frame.payload)  # no copy but for wsproto 1.2
                if frame.opcode.iscontrol():
                    return int(frame.opcode), payload
                decoded = self._messages.process_frame(frame)
                if not decoded.message_finished:
                    self._payload += payload
                elif not self._payload:
                    return decoded.payload if isinstance(decoded.payload, str) else payload
                else:
                    return self._join(payload, is_text=decoded.opcode is Opcode.TEXT)
            return None
        except ParseFailed as error:
            raise RemoteProtocolError(int(error.code), _as_reason(error)) from None

    def _join(self, payload: bytes, *, is_text: bool) -> str | bytes:
        """The whole message. Pieces are kept as bytes: many small `str` would take far more memory."""
        whole = self._payload
        whole += payload
        self._payload = bytearray()
        return whole.decode() if is_text else bytes(whole)


def _as_reason(error: ParseFailed) -> str:
    return "invalid UTF-8" if error.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA else str(error)
