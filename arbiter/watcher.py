"""`--reload`: a process beside the arbiter that watches files and says which have changed.

A process of its own, because watchfiles runs threads and the arbiter, which forks, must not. Each line that it
writes is a JSON list of paths.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config.settings import Settings

DEFAULT_INCLUDES = ("*.py",)
DEFAULT_EXCLUDES = (
    ".git", ".hg", ".svn", "__pycache__", ".venv", "venv", "node_modules", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", ".tox", ".nox", ".idea", "*.py[cod]", ".#*", ".*.sw?", "*~", "*.tmp", "*___jb_tmp___", "4913",
)  # fmt: skip

#: How often the watcher looks whether the arbiter is still there, in milliseconds.
_LOOK_MS = 1000


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched. Patterns are those of `fnmatch`, for names and for paths below the directory.

    `files` are those that settings were read from, wherever they are and whatever they are called.
    """

    directories: tuple[str, ...]
    files: tuple[str, ...]
    includes: tuple[str, ...]
    excludes: tuple[str, ...]
    is_polling: bool

    @classmethod
    def from_settings(cls, settings: Settings) -> Watch:
        """Patterns of the settings add to the defaults."""
        directories = settings.reload_dirs or [settings.app_dir or os.curdir, *_directory_of(settings)]
        return cls(
            _outermost(os.path.abspath(directory) for directory in directories),
            settings.config.files,
            tuple(dict.fromkeys((*DEFAULT_INCLUDES, *settings.reload_includes))),
            tuple(dict.fromkeys((*DEFAULT_EXCLUDES, *settings.reload_excludes))),
            settings.reload_poll,
        )

    def matches(self, path: str) -> bool:
        """Whether a change of this file counts."""
        below = self._below(path)
        return below is not None and any(
            _fits(below, pattern, with_parents=False) for pattern in self.includes
        )

    def is_within(self, path: str) -> bool:
        """Whether this directory is watched."""
        return self._below(path) is not None

    def _below(self, path: str) -> Path | None:
        """The path below the watched directory that it is in; None if there is none, or it is excluded."""
        for directory in self.directories:
            if Path(path).is_relative_to(directory):
                below = Path(path).relative_to(directory)
                excluded = any(_fits(below, pattern, with_parents=True) for pattern in self.excludes)
                return None if excluded else below
        return None

    def files_in(self, directory: str) -> set[str]:
        """The files in and below `directory` whose change counts. Blocks."""
        found: set[str] = set()
        for root, directories, names in os.walk(directory):
            directories[:] = [name for name in directories if self.is_within(os.path.join(root, name))]
            found.update(path for name in names if self.matches(path := os.path.join(root, name)))
        return found

    def __str__(self) -> str:
        how = ", by polling" if self.is_polling else ""
        return ", ".join((*self.directories, *self.files)) + f" ({', '.join(self.includes)}{how})"


def _directory_of(settings: Settings) -> list[str]:
    """Where the application is, if it was named by the path of a file."""
    mode, colon, rest = settings.application_path.partition(":")
    text = rest if colon and mode in ("asgi", "wsgi") else settings.application_path
    module = text.partition("(")[0].partition(":")[0]
    if "/" not in module and not module.endswith(".py"):
        return []
    found = [
        os.path.dirname(os.path.join(start, module)) or os.curdir for start in (settings.app_dir or "", "")
    ]
    return [directory for directory in found if os.path.isdir(directory)][:1]


def _outermost(directories: Iterable[str]) -> tuple[str, ...]:
    """Without those below another, which are watched with it."""
    once = tuple(dict.fromkeys(directories))
    return tuple(one for one in once if not any(Path(other) in Path(one).parents for other in once))


def _fits(path: Path, pattern: str, *, with_parents: bool) -> bool:
    names = path.parts if with_parents else (path.name,)
    return fnmatch(str(path), pattern) or any(fnmatch(name, pattern) for name in names)


def run(watch: Watch, descriptor: int, arbiter: int) -> int:
    """Write a line to `descriptor` for each set of changes, until the arbiter with that pid is gone. Blocks.

    The first line comes once files are watched, with or without a change.

    Imports watchfiles, which starts threads: only for a process of its own.
    """
    is_told = False
    settings = _stamps(watch.files)
    with contextlib.suppress(BrokenPipeError):
        for found in _changes(watch):
            if os.getppid() != arbiter:
                break
            # Looked at rather than watched: a file that is replaced whole, as editors do, is another one.
            before, settings = settings, _stamps(watch.files)
            paths = {path for path in watch.files if before[path] != settings[path]}
            for path in found:
                paths |= watch.files_in(path) if os.path.isdir(path) else {path}
            if paths or not is_told:
                os.write(descriptor, _line(paths))
                is_told = True
    return 0


def _changes(watch: Watch) -> Iterator[set[str]]:
    """The files that have changed and the directories that are new, if any, at least every `_LOOK_MS`.

    A watched directory that is another one by now (removed and made again, or a link that leads elsewhere) is new, and
    watched in its turn: the system goes on watching the one that it was.
    """
    from watchfiles import Change
    from watchfiles import watch as watch_files

    def counts(change: Change, path: str) -> bool:
        # What a new directory has in it may have been written before it was watched, or moved there with it.
        return watch.matches(path) or (
            change is Change.added and watch.is_within(path) and os.path.isdir(path)
        )

    replaced: set[str] = set()
    while True:
        with contextlib.ExitStack() as stack:
            held = {directory: _hold(directory, stack) for directory in watch.directories}
            looks = watch_files(
                *watch.directories,
                watch_filter=counts,
                debounce=400,
                rust_timeout=_LOOK_MS,
                yield_on_timeout=True,
                raise_interrupt=False,
                force_polling=watch.is_polling or None,
            )
            for found in looks:
                yield {path for _, path in found} | replaced
                if replaced := _replaced(held):
                    break


def _hold(directory: str, stack: contextlib.ExitStack) -> int:
    """A descriptor of the directory, so that none that takes its place can have its inode."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, descriptor)
    return descriptor


def _replaced(held: dict[str, int]) -> set[str]:
    """Those of the directories that are others by now; none as long as one is missing, which cannot be watched."""
    try:
        return {one for one, fd in held.items() if not os.path.samestat(os.stat(one), os.fstat(fd))}
    except OSError:
        return set()


def _stamps(files: Iterable[str]) -> dict[str, tuple[int, ...] | None]:
    """What tells that a file has changed; None while there is none."""
    stamps: dict[str, tuple[int, ...] | None] = {}
    for path in files:
        try:
            found = os.stat(path)
        except OSError:
            stamps[path] = None
        else:
            stamps[path] = (found.st_mtime_ns, found.st_size, found.st_ino)
    return stamps


def _line(paths: Iterable[str]) -> bytes:
    # A pipe takes up to PIPE_BUF (at least 512, here 4096) bytes in one piece; nobody reads more than a few names.
    chosen: list[str] = []
    for path in sorted(paths):
        chosen.append(os.path.relpath(path))
        if sum(map(len, chosen)) > 1000:
            break
    return json.dumps(chosen).encode() + b"\n"
