"""A request body that arrives in the loop while the application reads it in its thread.

The body is read ahead, so that a client which sends all before it reads the answer gets along with an
application that answers while it reads. What the application has not read yet waits in memory up to a size,
beyond it in a temporary file; where none can be made, in memory after all.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from typing import IO, Any

from .connection import PIECE_COST

logger = logging.getLogger("hypercorn.error")


@functools.cache
def _warn_once(sentence: str) -> None:
    logger.warning("%s", sentence)


class RequestBodyTooLarge(OSError):
    """The body is larger than `wsgi_max_body_size`. The application may let it pass: it becomes a 413."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")


class RequestBody(io.RawIOBase):
    """The raw side of `wsgi.input`; `io.BufferedReader` adds `readline` and the rest.

    `feed`, `end` and `fail` belong to the loop and never wait for the application. `readinto` belongs to the
    application's thread and blocks until there is something.

    Args:
        spool_size: bytes that may wait in memory.
        limit: bytes that may come at all.
        start: called from the application's thread when it reads for the first time and nothing is there.
    """

    def __init__(self, spool_size: int, limit: int, start: Callable[[], object] | None = None) -> None:
        self._spool_size = spool_size
        self._limit = limit
        self._start = start
        self._lock = threading.Lock()
        self._received = 0
        self._memory: deque[memoryview] = deque()
        self._memory_size = 0
        self._file: IO[bytes] | None = None
        self._may_have_file = True
        self._file_start = 0
        self._file_end = 0
        self._has_ended = False
        self._failure: OSError | None = None
        #: Held by the application's thread while it waits.
        self._waiter: threading.Lock | None = None

    # ---- the loop's side

    def feed(self, data: bytes) -> None:
        """A piece has arrived. Writing to the file is a copy into the system's cache; the first makes it."""
        if not data or self.closed:  # to a reader, no bytes are the end
            return
        self._received += len(data)
        if self._received > self._limit:
            self.fail(RequestBodyTooLarge(self._limit))
            return
        with self._lock:
            cost = len(data) + PIECE_COST
            fits = self._memory_size + cost <= self._spool_size
            if self._file_end == 0 and (fits or not self._has_file()):
                self._memory.append(memoryview(data))
                self._memory_size += cost
            else:
                try:
                    self._write(data)
                except OSError as error:  # for example no space left
                    self._failure = error
        self._wake()

    def end(self) -> None:
        """The body is complete."""
        self._has_ended = True
        self._wake()

    def fail(self, error: OSError) -> None:
        """Nothing more comes: who reads beyond what has come gets `error`. Does nothing after the end."""
        if self._failure is None and not self._has_ended:
            self._failure = error
        self._wake()

    @property
    def failure(self) -> OSError | None:
        """Why the body can never be complete, or None."""
        return self._failure

    def _has_file(self) -> bool:
        """Whether there is a file; without one all waits in memory, which the limit of the body still bounds."""
        if self._file is None and self._may_have_file:
            try:
                self._file = tempfile.TemporaryFile(prefix="hypercorn-", buffering=0)  # noqa: SIM115 - see close()
            except OSError as error:
                self._may_have_file = False
                reason = error.strerror or error
                _warn_once(
                    f"Large request bodies are kept in memory, no temporary file can be made: {reason}"
                )
        return self._file is not None

    def _write(self, data: bytes) -> None:
        file = self._file
        if file is None:
            return  # the application has closed it in this moment
        rest = memoryview(data)
        while rest:
            written = os.pwrite(file.fileno(), rest, self._file_end)
            self._file_end += written
            rest = rest[written:]

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.release()

    # ---- the application's side

    def readable(self) -> bool:
        """True: this is how `io` knows a reader."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill as much of `buffer` as there is, at least one byte; 0 at the end of the body.

        Raises:
            OSError: the client has left, the body is too large, or the disk is full.
        """
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        while not (taken := self._take(view)):
            waiter = threading.Lock()
            waiter.acquire()
            self._waiter = waiter
            # What came between the look and the line above has found nobody to wake.
            if taken := self._take(view):
                break
            if self._failure is not None:
                raise self._failure
            if self._has_ended:
                # Again, for the last piece may have come together with the end.
                return self._take(view)
            if self._start is not None:
                self._start()
                self._start = None
            waiter.acquire()
        return taken

    def _take(self, view: memoryview) -> int:
        with self._lock:
            if self._memory:
                return self._take_from_memory(view)
            if self._file is None or self._file_end == 0:
                return 0
            file, start = self._file, self._file_start
            end = self._file_end
        # Outside the lock: the disk may be slow, and the loop only appends.
        taken = os.preadv(file.fileno(), [view[: end - start]], start)
        with self._lock:
            self._file_start += taken
            if self._file_start == self._file_end:
                # Empty: use its space again, and memory first.
                os.ftruncate(file.fileno(), 0)
                self._file_start = self._file_end = 0
        return taken

    def _take_from_memory(self, view: memoryview) -> int:
        piece = self._memory[0]
        taken = min(len(view), len(piece))
        view[:taken] = piece[:taken]
        if taken == len(piece):
            self._memory.popleft()
            self._memory_size -= PIECE_COST
        else:
            self._memory[0] = piece[taken:]
        self._memory_size -= taken
        return taken

    def close(self) -> None:
        """Give the file back; what still comes is dropped. `io` calls it with the application's last reference."""
        super().close()
        if self._file is not None:
            self._file.close()
            self._file = None
