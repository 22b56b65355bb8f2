"""The line between arbiter and worker: typed messages over a socket pair, with listeners as descriptors.

Each message is a length and JSON; descriptors travel beside it (SCM_RIGHTS) in the order of the listeners named in
it. Nothing blocks but `finish`: what the socket does not take at once waits in `Channel` until the next `send` or
`flush`.
"""

from __future__ import annotations

import array
import errno
import json
import os
import select
import socket
import struct
import time
from collections import deque
from typing import Any, Generic, TypeAlias, TypeVar

from ..config.binds import Bind, BindKind
from ..config.sockets import Listener
from ..config.supervision import (
    Adopt,
    Drain,
    Draining,
    DrainReason,
    Failed,
    Failure,
    Instruction,
    Ready,
    Release,
    Report,
    Retire,
)

Message: TypeAlias = Instruction | Report
Incoming = TypeVar("Incoming", Instruction, Report)

_LENGTH = struct.Struct("!I")
_READ_SIZE = 65536
#: The kernel passes at most 253 descriptors with one message (SCM_MAX_FD); more listeners take more messages.
MOST_DESCRIPTORS = 64
#: The system has no memory for a message, or too many descriptors are under way: the other side is still there.
_NOT_NOW = (errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS)


class ChannelError(Exception):
    """What arrived is no message: the two sides are not of one version, or memory is damaged."""


def encode(message: Message) -> tuple[bytes, list[int]]:
    """The bytes of a message and the descriptors that go with it."""
    described, descriptors = _describe(message)
    body = json.dumps(described, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body, descriptors


def decode(body: bytes, descriptors: deque[int]) -> Message:
    """The message of `body`, without its length; takes as many descriptors from the left as it names.

    Raises:
        ChannelError: it is none.
    """
    try:
        return _restore(json.loads(body), descriptors)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ChannelError(f"no message of the arbiter's channel: {body[:80]!r}") from error


def _describe(message: Message) -> tuple[dict[str, Any], list[int]]:
    match message:
        case Ready():
            return {"type": "ready"}, []
        case Failed(failure, reason, report):
            return {"type": "failed", "failure": failure.value, "reason": reason, "report": report}, []
        case Retire():
            return {"type": "retire"}, []
        case Draining():
            return {"type": "draining"}, []
        case Drain(reason, ending):
            return {"type": "drain", "reason": reason.value, "ending": ending}, []
        case Release(keys):
            return {"type": "release", "keys": keys}, []
        case Adopt(listeners):
            described = [_describe_listener(listener) for listener in listeners]
            return {"type": "adopt", "listeners": described}, [
                listener.sock.fileno() for listener in listeners
            ]


def _restore(described: dict[str, Any], descriptors: deque[int]) -> Message:
    match described["type"]:
        case "ready":
            return Ready()
        case "failed":
            return Failed(Failure(described["failure"]), str(described["reason"]), str(described["report"]))
        case "retire":
            return Retire()
        case "draining":
            return Draining()
        case "drain":
            return Drain(DrainReason(described["reason"]), tuple(described["ending"]))
        case "release":
            return Release(tuple(described["keys"]))
        case "adopt":
            listeners = described["listeners"]
            return Adopt(tuple(_restore_listener(one, descriptors) for one in listeners if descriptors))
        case _:
            raise ValueError("unknown type")


def _describe_listener(listener: Listener) -> dict[str, Any]:
    bind = listener.bind
    return {
        "key": listener.key,
        "secure": listener.secure,
        "shared": listener.shared,
        "bind": [bind.text, bind.kind.value, bind.host, bind.port, bind.path, bind.fd],
    }


def _restore_listener(described: dict[str, Any], descriptors: deque[int]) -> Listener:
    text, kind, host, port, path, fd = described["bind"]
    sock = socket.socket(fileno=descriptors.popleft())
    sock.setblocking(False)
    bind = Bind(text, BindKind(kind), host, port, path, fd)
    return Listener(described["key"], sock, bind, described["secure"], described["shared"])


class Channel(Generic[Incoming]):
    """One end of the line; `Incoming` is what the other side says."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._incoming = bytearray()
        self._descriptors: deque[int] = deque()
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        self._is_open = True

    def send(self, message: Message) -> None:
        """Send a message now or later. The other side being gone is not an error: its end is seen elsewhere.

        Raises:
            OSError: it has to wait, and there are no descriptors left for copies of those that go with it.
        """
        if not self._is_open:
            return
        data, descriptors = encode(message)
        self.flush()
        if not self._outgoing:
            try:
                sent = self._send_some(data, descriptors)
            except BlockingIOError:
                sent = 0
            except OSError:
                return
            if sent == len(data):
                return
            if sent:
                data, descriptors = data[sent:], []
        # Our own copies: the caller may close its sockets while the message waits.
        self._outgoing.append((data, [os.dup(descriptor) for descriptor in descriptors]))

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._outgoing and self._is_open:
            data, descriptors = self._outgoing[0]
            try:
                sent = self._send_some(data, descriptors)
            except BlockingIOError:
                return
            except OSError:
                self._drop()
                return
            _close(descriptors)
            if sent < len(data):
                self._outgoing[0] = (data[sent:], [])
            else:
                self._outgoing.popleft()

    def finish(self, seconds: float) -> None:
        """Send what waits, for which the other side has these seconds. Blocks."""
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        deadline = time.monotonic() + seconds
        # Looked at each time, for a socket that could be written to may refuse nevertheless (`_NOT_NOW`).
        while self._outgoing and self._is_open and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self.flush()

    def _send_some(self, data: bytes, descriptors: list[int]) -> int:
        try:
            if not descriptors:
                return self.sock.send(data)
            rights = array.array("i", descriptors)
            return self.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError as error:
            if error.errno in _NOT_NOW:
                raise BlockingIOError(error.errno, error.strerror) from None
            raise

    def _drop(self) -> None:
        for _, descriptors in self._outgoing:
            _close(descriptors)
        self._outgoing.clear()

    def receive(self) -> tuple[list[Incoming], bool]:
        """All messages that have arrived, and whether the other side is still there.

        Of listeners for which this process has no descriptor left, an `Adopt` has none.

        Raises:
            ChannelError: something else has arrived.
        """
        messages: list[Any] = []
        # Message by message, so that none takes the descriptors of the next when some of its own are missing.
        while self._is_open and self._read_some():
            messages += self._take()
        return messages, self._is_open

    def _read_some(self) -> bool:
        try:
            data, ancillary, _, _ = self.sock.recvmsg(_READ_SIZE, socket.CMSG_SPACE(MOST_DESCRIPTORS * 4))
        except BlockingIOError:
            return False
        except OSError:
            data, ancillary = b"", []
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(rights[: len(rights) - len(rights) % received.itemsize])
                for descriptor in received:
                    os.set_inheritable(descriptor, False)
                self._descriptors.extend(received)
        self._incoming += data
        self._is_open = bool(data)
        return self._is_open

    def _take(self) -> list[Incoming]:
        messages: list[Any] = []
        while len(self._incoming) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._incoming)[0]
            if len(self._incoming) < end:
                break
            body = bytes(self._incoming[_LENGTH.size : end])
            del self._incoming[:end]
            messages.append(decode(body, self._descriptors))
        return messages

    def close(self) -> None:
        """Give up the line; descriptors that nobody took are closed."""
        self._is_open = False
        self._drop()
        _close(self._descriptors)
        self._descriptors.clear()
        self.sock.close()


def _close(descriptors: list[int] | deque[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def open_line() -> tuple[Channel[Report], Channel[Instruction]]:
    """Both ends: the arbiter's, which hears reports, and the worker's, which hears instructions."""
    ours, theirs = socket.socketpair()
    return Channel[Report](ours), Channel[Instruction](theirs)
