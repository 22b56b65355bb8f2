"""The PID file: written whole or not at all, never over that of a living arbiter, removed only if it is still ours."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from typing import TextIO


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
    _refuse_if_alive(read(path), path)
    directory = os.path.dirname(os.path.abspath(path))
    try:
        descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=".pid-")
    except OSError as error:
        raise PIDFileError(f"cannot write the PID file {path}: {error.strerror}") from error
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(f"{os.getpid()}\n")
        _place(temporary, path)
    except OSError as error:
        raise PIDFileError(f"cannot write the PID file {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _refuse_if_alive(owner: int | None, path: str) -> None:
    if owner is not None and owner != os.getpid() and _is_alive(owner):
        raise PIDFileError(
            f"{path} names process {owner}, which is running; stop it or choose another file, "
            "or remove this one if that process is something else by now"
        )


def _place(temporary: str, path: str) -> None:
    """Give the file its name. Of several arbiters that do so at the same moment one succeeds."""
    while not os.path.islink(path):
        try:
            os.link(temporary, path)
            return
        except FileExistsError:
            pass
        except OSError:  # not every file system has such links
            break
        try:
            if _replaces(temporary, path):
                return
        except FileNotFoundError:  # another has removed it: once more
            continue
        except OSError:  # a lock wants it to be writable, and not every file system has locks
            break
    os.rename(temporary, path)


def _replaces(temporary: str, path: str) -> bool:
    """Put the file in the place of one that names nobody, unless another has just done so."""
    with open(path, "r+", encoding="ascii") as present:
        try:
            # Not flock: that is what `flock server.pid hypercorn` holds.
            fcntl.lockf(present, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = f"{path} is being written by another process; stop it or choose another file"
            raise PIDFileError(text) from None
        _refuse_if_alive(_process_in(present), path)
        if not os.path.samestat(os.fstat(present.fileno()), os.stat(path)):
            return False
        os.rename(temporary, path)
        return True


def remove(path: str) -> None:
    """Remove the file if it names this process; another arbiter's stays."""
    if read(path) == os.getpid():
        with contextlib.suppress(OSError):
            os.unlink(path)


def read(path: str) -> int | None:
    """The process that the file names, None if there is no such file or it names none."""
    try:
        with open(path, encoding="ascii") as file:
            return _process_in(file)
    except OSError:
        return None


def _process_in(file: TextIO) -> int | None:
    try:
        number = int(file.read(32))
    except ValueError:
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
