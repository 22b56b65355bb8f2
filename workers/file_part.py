"""A part of a file that is to be sent as it is, by `os.sendfile` or read in pieces."""

from __future__ import annotations

import os
import stat


class FilePart:
    """Bytes of an open regular file. Its owner closes it.

    Attributes:
        descriptor: of the file; its own position is neither used nor changed.
        offset: where the next byte to send stands.
        left: how many are still to be sent.
        size: how many there were to send.
    """

    __slots__ = ("descriptor", "left", "offset", "size")

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self.left = self.size = size

    @property
    def sent(self) -> int:
        """How many bytes have been sent."""
        return self.size - self.left

    def close(self) -> None:
        """Close the descriptor, once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def open_file(path: str, limit: int | None) -> FilePart:
    """The file at `path`, at most `limit` bytes of it, open. Blocks as long as the file system takes to open it.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path!r} is not a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return FilePart(descriptor, 0, status.st_size if limit is None else min(status.st_size, limit))
