"""A logger class that overrides Hypercorn's methods gets what the server writes to its error log."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, ClassVar

from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.statsd import StatsdLogger


class Noting(Logger):
    """Notes what it is told, and passes it on."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.told: list[tuple[str, str]] = []

    async def info(self, message: str, *args: Any, **kwargs: Any) -> None:
        # Loggers that format in another way than the standard library could do nothing with arguments.
        assert not args
        assert not kwargs
        self.told.append(("info", message))
        await super().info("passed on: " + message, *args, **kwargs)

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        assert not args
        assert not kwargs
        error = sys.exception()
        self.told.append(("exception", repr(error)))
        if "oneself" in str(error):
            raise ValueError("by the logger")
        await super().exception(message, *args, **kwargs)


async def failing(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        raise OSError(f"mine {scope['path']}")


def test_overridden_methods_are_called(serve: Any, tmp_path: Path) -> None:
    made: list[Noting] = []

    class Made(Noting):
        def __init__(self, config: Config) -> None:
            super().__init__(config)
            made.append(self)

    log = tmp_path / "log"
    server = serve(failing, logger_class=Made, loglevel="info", errorlog=str(log))
    for path in ("/", "/oneself"):
        client = server.connect()
        client.send(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        assert client.response()[0] == 500
        client.close()  # which the server would wait for
    server.stop()
    server.join()
    (logger,) = made
    url = f"http://127.0.0.1:{server.port}"
    assert ("info", f"Running on {url} (CTRL + C to quit)") in logger.told
    assert ("exception", "OSError('mine /')") in logger.told
    lines = log.read_text()
    assert f"[INFO] passed on: Running on {url}" in lines
    assert "OSError: mine /\n" in lines
    assert "in _method" not in lines.partition("OSError: mine /\n")[0]
    assert "OSError: mine /oneself\n" not in lines.partition("Error in the logger class")[0]
    assert "ValueError: by the logger" in lines


def test_untouched_methods_cost_no_detour(serve: Any, tmp_path: Path) -> None:
    class Plain(Logger):
        pass

    log = tmp_path / "log"
    server = serve(failing, logger_class=Plain, loglevel="info", errorlog=str(log))
    assert f"[INFO] Running on http://127.0.0.1:{server.port}" in log.read_text()


class Kept(logging.Handler):
    """Keeps what is logged in the class."""

    lines: ClassVar[list[str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.getMessage()}")


class Elsewhere(Logger):
    """Only puts other loggers into place."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.access_logger = None
        self.error_logger = logging.Logger("elsewhere", logging.INFO)  # noqa: LOG001 - nobody else has it
        self.error_logger.addHandler(Kept())


class Mutating(Logger):
    """Decides about the access log when it is made."""

    def __init__(self, config: Config) -> None:
        config.accesslog = logging.Logger("decided", logging.INFO)  # noqa: LOG001 - nobody else has it
        config.accesslog.addHandler(Kept())
        config.access_log_format = "%(m)s %(s)s"
        super().__init__(config)


def test_what_a_class_changes_when_it_is_made_counts(serve: Any, tmp_path: Path) -> None:
    for logger_class, accesslog in ((Elsewhere, str(tmp_path / "access")), (Mutating, None)):
        Kept.lines.clear()
        server = serve(failing, logger_class=logger_class, loglevel="info", accesslog=accesslog)
        client = server.connect()
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert client.response()[0] == 500
        client.close()
        server.stop()
        server.join()
        if logger_class is Elsewhere:
            assert Kept.lines[0] == f"elsewhere Running on http://127.0.0.1:{server.port} (CTRL + C to quit)"
            assert "elsewhere Error in the application: GET /" in Kept.lines
            assert (tmp_path / "access").read_text() == ""
        else:
            assert Kept.lines == ["decided GET 500"]


def test_a_statsd_logger_counts_requests_and_errors(serve: Any, tmp_path: Path) -> None:
    sent: list[str] = []

    class Counting(StatsdLogger):
        async def _socket_send(self, message: bytes) -> None:
            sent.append(message.decode().partition(":")[0])

    server = serve(failing, logger_class=Counting, loglevel="info", errorlog=str(tmp_path / "log"))
    client = server.connect()
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert client.response()[0] == 500
    client.close()
    server.stop()
    server.join()
    for name in ("hypercorn.log.exception", "hypercorn.requests", "hypercorn.request.status.500"):
        assert sent.count(name) == 1
