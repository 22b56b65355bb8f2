"""What settings name on this machine: directories and the files of TLS. Looked at before anything is forked or bound.

`Config.resolve` judges values by themselves; this needs the file system, and the directory that `chdir` names.
"""

from __future__ import annotations

import os

from .config import Config
from .errors import ConfigError, Mistake
from .settings import Settings


def enter(config: Config, settings: Settings) -> None:
    """Change to the directory of `chdir`, and see that directories and certificates are there. Reads the files.

    Raises:
        ConfigError: with every mistake and where it was made.
    """
    if settings.chdir is not None:
        try:
            os.chdir(settings.chdir)
        except OSError as error:
            text = f"cannot change to {settings.chdir!r}: {error.strerror}"
            raise ConfigError([Mistake(config.source_of("chdir"), text)]) from error
    named = [
        ("app_dir", settings.app_dir),
        *(("reload_dirs", directory) for directory in settings.reload_dirs),
    ]
    mistakes = [
        Mistake(config.source_of(name), f"there is no directory {directory!r}")
        for name, directory in named
        if directory is not None and not os.path.isdir(directory)
    ]
    mistakes.extend(_tls_mistakes(config, settings))
    if mistakes:
        raise ConfigError(mistakes)


def _tls_mistakes(config: Config, settings: Settings) -> list[Mistake]:
    # A context of the program's own is made where it is used, and only there.
    if not settings.ssl_enabled or config.has_own_ssl_context:
        return []
    from .errors import TLSConfigError
    from .tls import create_ssl_context

    try:
        create_ssl_context(settings)
    except TLSConfigError as error:
        return [Mistake(config.source_of(error.setting) if error.setting else "TLS", str(error))]
    return []
