"""What is wrong with a configuration, in sentences for whoever wrote it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong: `source` is a flag, a variable or a file and its key, `text` what is wrong there."""

    source: str
    text: str

    def __str__(self) -> str:
        return f"{self.source}: {self.text}" if self.source else self.text


class ConfigError(ValueError):
    """The configuration cannot be used; `mistakes` holds all that is wrong with it. Exit status 2."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class TLSConfigError(ValueError):
    """A TLS setting or one of its files cannot be used; the text is one sentence that names it.

    `setting` is the one that is wrong, "" if that is not known.
    """

    def __init__(self, text: str, setting: str = "") -> None:
        super().__init__(text)
        self.setting = setting


def complain(sentence: str) -> None:
    """Tell whoever started the command, on standard error.

    What takes nothing, a full disk or a closed pipe, must not change the exit status: so nothing is left in a buffer that
    would be written, and fail again, when the interpreter ends.
    """
    line = f"hypercorn: {sentence}\n"
    try:
        descriptor = sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):  # a program's own stream, or none at all
        with contextlib.suppress(OSError, ValueError):
            if sys.stderr is not None:  # to `print` that would mean standard output
                print(line, end="", file=sys.stderr)
        return
    with contextlib.suppress(OSError):
        os.write(descriptor, line.encode(errors="backslashreplace"))
