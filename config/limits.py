"""What the system grants only so much of: what an operator does when it grants no more."""

from __future__ import annotations

import errno
import os

#: Descriptors that the arbiter, one worker and its event loop need beside the listeners, with some to spare.
_LEAST_DESCRIPTORS = 12

_ADVICE = {
    errno.EMFILE: "raise the limit of open files (ulimit -n, LimitNOFILE=) or start fewer workers",
    errno.ENFILE: "raise the limit of open files of the whole system (fs.file-max)",
    errno.EAGAIN: "raise the limit of processes (ulimit -u, TasksMax=) or start fewer workers",
    errno.ENOMEM: "allow more memory (MemoryMax=) or start fewer workers",
}


def refusal(error: OSError) -> str:
    """What the system has said when it refused a descriptor, a process or memory, and what can be done about it."""
    advice = _ADVICE.get(error.errno or 0)
    said = error.strerror or str(error)
    return said if advice is None else f"{said}; {advice}"


def find_descriptors() -> None:
    """See that enough descriptors are left to serve at all.

    Where there are none, whatever needs one next fails: an import, an event loop, each in its own way.

    Raises:
        OSError: there are not.
    """
    found: list[int] = []
    try:
        while len(found) < _LEAST_DESCRIPTORS:
            found += os.pipe()
    finally:
        for descriptor in found:
            os.close(descriptor)
