"""The logger that programs may subclass and name as `Config.logger_class`.

The server itself writes through the standard loggers `hypercorn.error` and `hypercorn.access`
(`hypercorn.workers.logs`). Of a subclass it calls the methods that are overridden, `access` also for overridden `atoms`.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, cast

from .config import Config
from .workers import logs
from .workers.log_config import apply_logconfig

if TYPE_CHECKING:
    from .typing import ResponseSummary, WWWScope


def _create_logger(  # pyright: ignore[reportUnusedFunction] - programs import it
    name: str,
    target: logging.Logger | str | None,
    level: str | None,
    sys_default: IO[str],
    *,
    propagate: bool = True,
) -> logging.Logger | None:
    """The logger `name` with `target` as what it writes to, `target` itself if it is a logger, or None.

    Raises:
        LogConfigurationError: the file cannot be opened.
    """
    if isinstance(target, logging.Logger):
        return target
    if not target:
        return None
    config = Config()
    if level is not None:
        config.loglevel = level
    return _attach(name, target, sys_default, config, propagate)


def _attach(name: str, target: str, stream: IO[str], config: Config, propagate: bool) -> logging.Logger:
    logs.attach(name, target, cast("Any", stream), config)
    logger = logging.getLogger(name)
    logger.propagate = propagate
    return logger


class Logger:
    """Logs for a server. Attributes that it does not have are those of the error logger.

    Attributes:
        access_logger, error_logger: None where `accesslog` or `errorlog` is.
        access_log_format: `%(atom)s` and what `atoms` has for it.
    """

    def __init__(self, config: Config) -> None:
        """
        Raises:
            LogConfigurationError: a log file or the log configuration cannot be used.
        """
        self.access_log_format = config.access_log_format
        self.access_logger = self._make_logger(logs.ACCESS, config.accesslog, sys.stdout, config, False)
        self.error_logger = self._make_logger(logs.ERROR, config.errorlog, sys.stderr, config, True)
        apply_logconfig(config)

    @staticmethod
    def _make_logger(
        name: str, target: logging.Logger | str | None, stream: IO[str], config: Config, propagate: bool
    ) -> logging.Logger | None:
        if isinstance(target, logging.Logger) or not target:
            return target or None
        return _attach(name, target, stream, config, propagate)

    async def access(self, request: WWWScope, response: ResponseSummary, request_time: float) -> None:
        """Write the line of one request; `request_time` in seconds. A response that was not sent is None."""
        if self.access_logger is not None:
            self.access_logger.info(self.access_log_format, self.atoms(request, response, request_time))

    async def critical(self, message: str, *args: Any, **kwargs: Any) -> None:
        if self.error_logger is not None:
            self.error_logger.critical(message, *args, **kwargs)

    async def error(self, message: str, *args: Any, **kwargs: Any) -> None:
        if self.error_logger is not None:
            self.error_logger.error(message, *args, **kwargs)

    async def warning(self, message: str, *args: Any, **kwargs: Any) -> None:
        if self.error_logger is not None:
            self.error_logger.warning(message, *args, **kwargs)

    async def info(self, message: str, *args: Any, **kwargs: Any) -> None:
        if self.error_logger is not None:
            self.error_logger.info(message, *args, **kwargs)

    async def debug(self, message: str, *args: Any, **kwargs: Any) -> None:
        if self.error_logger is not None:
            self.error_logger.debug(message, *args, **kwargs)

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        if self.error_logger is not None:
            self.error_logger.exception(message, *args, **kwargs)

    async def log(self, level: int, message: str, *args: Any, **kwargs: Any) -> None:
        if self.error_logger is not None:
            self.error_logger.log(level, message, *args, **kwargs)

    def atoms(
        self, request: WWWScope, response: ResponseSummary | None, request_time: float
    ) -> Mapping[str, str]:
        """What `access_log_format` may name; override it for atoms of your own."""
        return AccessLogAtoms(request, response, request_time)

    def __getattr__(self, name: str) -> Any:
        if name == "error_logger":  # not set yet: __init__ of a subclass came to nothing
            raise AttributeError(name)
        return getattr(self.error_logger, name)


class AccessLogAtoms(dict[str, str]):
    """The atoms of one access line. Fields and environment are found in any case; what is missing is `-`."""

    def __init__(self, request: WWWScope, response: ResponseSummary | None, request_time: float) -> None:
        fields: dict[str, str] = {}
        for kind, headers in (("i", request["headers"]), ("o", response["headers"] if response else ())):
            for name, value in headers:
                fields[f"{{{name.decode('latin-1').lower()}}}{kind}"] = value.decode("latin-1")
        super().__init__(fields)
        method = request["method"] if request["type"] == "http" else "GET"
        # Decoded, a path may hold line feeds; they must not reach the log.
        path = request["path"].translate(_CONTROLS)
        query = request["query_string"].decode("latin-1").translate(_CONTROLS)
        full_path = f"{path}?{query}" if query else path
        version = request.get("http_version", "ws")
        client = request.get("client")
        length = self["{content-length}o"]
        atoms: dict[str, Any] = {
            "h": f"{client[0]}:{client[1]}" if client else None,
            "l": "-",
            "t": time.strftime("[%d/%b/%Y:%H:%M:%S %z]"),
            "r": f"{method} {path} {version}",
            "R": f"{method} {full_path} {version}",
            "s": str(response["status"]) if response else "-",
            "st": _phrase(response["status"]) if response else "-",
            "S": request["scheme"],
            "m": method,
            "U": path,
            "Uq": full_path,
            "q": query,
            "H": version,
            "b": length,
            "B": length,
            "f": self["{referer}i"],
            "a": self["{user-agent}i"],
            "T": int(request_time),
            "D": int(request_time * 1_000_000),
            "L": f"{request_time:.6f}",
            "p": f"<{os.getpid()}>",
        }
        self.update(atoms)

    def __getitem__(self, key: str, /) -> str:
        if not key.startswith("{"):
            return self.get(key, "-")
        folded = key.lower()
        if folded.endswith("}e"):
            wanted = folded[1:-2]
            return next((value for name, value in os.environ.items() if name.lower() == wanted), "-")
        return self.get(folded, "-")


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"<???{status}???>"
