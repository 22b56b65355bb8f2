"""Where log lines go: a file, a stream, or a logger of the user's own.

A line is one `write` (files are opened with O_APPEND), so several workers may share a target. Writing never
raises into the server and never waits long: a pipe, socket or terminal that takes nothing is given
`PATIENCE_S` once. Until it takes bytes again, and while the disk is full, lines are dropped and counted, and the
count is written first when it does. Files are followed across rotation: once a second the path is compared with what is open.

This module knows nothing of formats or settings.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import stat
import time
from typing import TextIO

PATIENCE_S = 0.2
_FOLLOW_INTERVAL_S = 1.0
#: What a pipe that polls writable takes without blocking (POSIX PIPE_BUF).
_CHUNK = select.PIPE_BUF if hasattr(select, "PIPE_BUF") else 512


def _notice(dropped: int) -> bytes:
    return f"({dropped} log lines were dropped here: the target took none)\n".encode()


class LogTarget(logging.Handler):
    """A handler that can also be given a finished line, past the `logging` machinery."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        # The border to whatever a log call was given: arguments that do not fit their message.
        except Exception:  # noqa: BLE001
            self.handleError(record)
            return
        self.write_line(text)

    def write_line(self, text: str) -> None:
        """Write `text` and a line feed. Never raises; waits at most `PATIENCE_S`."""
        data = text.encode("utf-8", "backslashreplace") + b"\n"
        self.acquire()
        try:
            self._write(data)
        except Exception:  # noqa: BLE001
            # A full disk, a closed stream, a stream of the program's own, which may raise anything: there is no
            # better place to report to.
            return
        finally:
            self.release()

    def is_terminal(self) -> bool:
        return False

    def _write(self, data: bytes) -> None:
        raise NotImplementedError


class FileTarget(LogTarget, logging.FileHandler):
    """Appends to the file at `path`; `owner` is the (user, group) that a file made by root is given to.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str, owner: tuple[int, int] | None = None) -> None:
        # A FileHandler to whoever looks, but its buffered stream is never opened.
        logging.FileHandler.__init__(self, path, delay=True)
        self._owner = owner
        self._fd = -1
        self._follow_at = 0.0
        self._dropped = 0
        self._is_torn = False
        self.reopen()

    def reopen(self) -> None:
        """Open the path anew, and only then let go of what was open.

        Raises:
            OSError: the file cannot be opened; the old one stays.
        """
        # Not blocking matters for a FIFO only: nobody may be reading it.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self.baseFilename, flags, 0o666)
        if self._owner is not None:
            with contextlib.suppress(OSError):
                os.fchown(fd, *self._owner)
        self.acquire()
        try:
            status = os.fstat(fd)
            previous, self._fd = self._fd, fd
            self._identity = (status.st_dev, status.st_ino)
            self._is_torn = False
            self._follow_at = time.monotonic() + _FOLLOW_INTERVAL_S
            if previous >= 0:
                os.close(previous)
        finally:
            self.release()

    def let_go(self) -> None:
        """Close the file; another line would open it again.

        `close` does not: `logging.config`, with which applications set up their own logs, closes every handler of the
        process, those too that stay in use, and a worker that has given root up might not get the file back.
        """
        self.acquire()
        try:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
        finally:
            self.release()

    def __del__(self) -> None:
        # A log configuration that names our loggers drops their handlers.
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    def _write(self, data: bytes) -> None:
        if self._fd < 0:
            # Let go by a later configuration, while a server made earlier in this process still uses it.
            self.reopen()
        elif time.monotonic() >= self._follow_at:
            self._follow()
        if self._dropped:
            data = _notice(self._dropped) + data
        if self._is_torn:
            data = b"\n" + data
        try:
            written = os.write(self._fd, data)
        except OSError:
            self._dropped += 1
            raise
        # What a disk took that was full soon after is half a line: it is ended before the next.
        self._is_torn = written < len(data)
        self._dropped = self._dropped + 1 if self._is_torn else 0

    def _follow(self) -> None:
        self._follow_at = time.monotonic() + _FOLLOW_INTERVAL_S
        try:
            status = os.stat(self.baseFilename)
        except OSError:
            # It is not there any more, or its directory is not for us: what is open is kept if it cannot be made.
            pass
        else:
            if (status.st_dev, status.st_ino) == self._identity:
                return
        with contextlib.suppress(OSError):
            self.reopen()


class StreamTarget(LogTarget, logging.StreamHandler[TextIO]):
    """Writes to a standard stream, by its descriptor where it has one, until the stream is closed."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._fd = -1
        self._poll: select.poll | None = None
        self._is_stalled = False
        self._dropped = 0
        # Replaced streams (a test's, a notebook's) have no descriptor of their own.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._fd = stream.fileno()
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                self._poll = select.poll()
                self._poll.register(self._fd, select.POLLOUT)

    def is_terminal(self) -> bool:
        return self._fd >= 0 and os.isatty(self._fd)

    def _write(self, data: bytes) -> None:
        if self._fd < 0:
            self.stream.write(data.decode())
            self.stream.flush()
        elif getattr(self.stream, "closed", False):
            pass  # its number is another file's by now
        elif self._poll is None:
            os.write(self._fd, data)
        elif len(data) <= _CHUNK:
            self._write_piece(self._poll, data)
        else:
            for start in range(0, len(data), _CHUNK):
                if not self._write_piece(self._poll, data[start : start + _CHUNK]):
                    break

    def _write_piece(self, poll: select.poll, data: bytes) -> bool:
        # An error on the descriptor counts as writable: the write then says which.
        if not poll.poll(0 if self._is_stalled else PATIENCE_S * 1000):
            self._is_stalled = True
            self._dropped += 1
            return False
        self._is_stalled = False
        if self._dropped:
            notice = _notice(self._dropped)
            self._dropped = 0
            if len(notice) + len(data) > _CHUNK:
                os.write(self._fd, notice)
                return self._write_piece(poll, data)
            data = notice + data
        os.write(self._fd, data)
        return True


class ForwardTarget(logging.Handler):
    """Hands records to a logger that the user configured."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self.logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        if self.logger.isEnabledFor(record.levelno):
            self.logger.handle(record)
