"""The few lines that greet whoever starts the server."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..config.settings import Settings
from ..config.version import __version__
from .watcher import Watch


def banner(settings: Settings, urls: Sequence[str]) -> list[str]:
    """The lines; `urls` are the real addresses."""
    rows = [
        ("application", settings.application_path),
        ("listening", ", ".join(urls)),
        ("workers", _workers(settings)),
    ]
    if settings.use_reloader:
        rows.append(("watching", str(Watch.from_settings(settings))))
    rows.append(("stop", f"CTRL + C, or kill -TERM {os.getpid()}"))
    return [f"hypercorn {__version__}", *(f"  {name:<12} {text}" for name, text in rows if text)]


def name_of(settings: Settings) -> str:
    """What the service is called in process titles."""
    name = settings.proc_name or settings.application_path or "application"
    # A path need not be UTF-8, and a title must be.
    return name.encode(errors="backslashreplace").decode()


def _workers(settings: Settings) -> str:
    if settings.workers == 0:
        return f"none, served by this process ({settings.worker_class})"
    preloaded = ", application preloaded" if settings.preload_app else ""
    return f"{settings.workers} ({settings.worker_class}{preloaded})"
