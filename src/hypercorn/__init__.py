"""An application server for ASGI and WSGI: a supervising arbiter and asyncio, uvloop or trio workers."""

from .config import Config
from .config.version import __version__

__all__ = ["Config", "__version__"]
