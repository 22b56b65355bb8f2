"""The PID file: written whole or not at all, never over that of a living arbiter, removed only if it is still ours."""

from __future__ import annotations

import contextlib
import os
import tempfile


class PIDFileError(Exception):
    """The file cannot be written; one sentence for the operator. Exit status 1."""


def write(path: str) -> None:
    """Write this process's id.

    Raises:
        PIDFileError: a living process is named in it already, or the file cannot be written, or is no regular one.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        # A device would be replaced for the whole system, and a pipe keep us waiting.
        raise PIDFileError(
            f"cannot write the PID file {path}: it exists and is no regular file; choose another"
        )
    owner = read(path)
    if owner is not None and owner != os.getpid() and _is_alive(owner):
        raise PIDFileError(f"{path} names process {owner}, which is running; stop it or choose another file")
    directory = os.path.dirname(os.path.abspath(path))
    try:
        descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=".pid-")
    except OSError as error:
        raise PIDFileError(f"cannot write the PID file {path}: {error.strerror}") from error
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(f"{os.getpid()}\n")
        os.rename(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise PIDFileError(f"cannot write the PID file {path}: {error.strerror}") from error


def remove(path: str) -> None:
    """Remove the file if it names this process; another arbiter's stays."""
    if read(path) == os.getpid():
        with contextlib.suppress(OSError):
            os.unlink(path)


def read(path: str) -> int | None:
    """The process that the file names, None if there is no such file or it names none."""
    try:
        with open(path, encoding="ascii") as file:
            number = int(file.read(32))
    except (OSError, ValueError):
        return None
    return number if number > 0 else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OverflowError:  # no process can have that number
        return False
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """It has ended, and whoever started it has not asked for its status yet: a container's first process may never."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name before it is in brackets, and may hold any.
            return file.read().rpartition(")")[2].split()[:1] == ["Z"]
    except OSError:  # not every system has such files
        return False
