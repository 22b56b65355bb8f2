"""The arbiter's side of `--reload`: the process that watches files, and what it says."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable

from setproctitle import setproctitle

from ..config.supervision import ExitStatus
from . import process, watcher

logger = logging.getLogger("hypercorn.error")

_ADVICE = (
    "if that is a limit, raise it (fs.inotify.max_user_watches, fs.inotify.max_user_instances), watch less "
    "(--reload-dir) or poll (--reload-poll)"
)


class Watching:
    """Forks the watcher.

    Args:
        watch: which files.
        title: of the process.
        let_go: called in it, to close what is the arbiter's.

    Attributes:
        reader: a descriptor to watch: `changes` has something when it is readable; None once the process has ended.

    Raises:
        OSError: no process or descriptor is left.
    """

    def __init__(self, watch: watcher.Watch, title: str, let_go: Callable[[], None]) -> None:
        self._watch = watch
        reader, writer = os.pipe()
        arbiter = os.getpid()

        def run() -> int:
            let_go()
            os.close(reader)
            setproctitle(title)
            # A whole group may be told to end; this process ends when the arbiter does, which would miss it before.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            try:
                return watcher.run(watch, writer, arbiter)
            except (OSError, RuntimeError) as error:  # the latter is watchfiles' own
                logger.error("Files cannot be watched: %s; %s", error, _ADVICE)
                return ExitStatus.FAILED

        try:
            self._pid = process.fork(run)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self.reader: int | None = reader
        self._rest = b""
        self._is_begun = False

    def changes(self) -> tuple[str, ...]:
        """The paths that have changed since the last call; blocks unless the reader is readable."""
        assert self.reader is not None  # or nobody would call
        data = os.read(self.reader, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines and not self._is_begun:
            self._is_begun = True
            logger.info("Files are watched now")
        if not data:
            logger.error("Files are not watched any more: the watching process has ended")
            self.let_go()
        return tuple(dict.fromkeys(path for line in lines for path in json.loads(line)))

    def has_settings(self, paths: tuple[str, ...]) -> bool:
        """Whether settings are read from one of these."""
        return any(os.path.abspath(path) in self._watch.files for path in paths)

    def let_go(self) -> None:
        """Close the reader; also for children of the arbiter."""
        if self.reader is not None:
            os.close(self.reader)
            self.reader = None

    def stop(self) -> None:
        """End the process; blocks until it is gone."""
        if self.reader is not None:
            process.kill(self._pid, signal.SIGKILL)
            process.wait(self._pid)
            self.let_go()
