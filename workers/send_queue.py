"""How much of what was written to a socket its peer has not taken yet: what the kernel still holds.

A socket becomes writable again only when a good part of its buffer, up to some megabytes, is free. A slow reader
takes bytes long before that, and must not be mistaken for one that does not read.
"""

from __future__ import annotations

import array
import socket
import sys

if sys.platform == "win32":

    def untaken(sock: socket.socket) -> int:
        """Bytes that the peer has not acknowledged; 0 where the system does not tell."""
        return 0

else:
    from fcntl import ioctl
    from termios import TIOCOUTQ

    def untaken(sock: socket.socket) -> int:
        """Bytes that the peer has not acknowledged; 0 where the system does not tell."""
        size = array.array("i", [0])
        try:
            ioctl(sock.fileno(), TIOCOUTQ, size)
        except OSError:
            return 0
        return size[0]
