"""What holds for all tests.

Memory has a bound, so that a back-pressure that fails ends a test and not the machine; Ctrl-C means something, also
where a shell that runs the tests in the background has switched it off; and the loggers of the server, which every server
of a process sets up anew, are afterwards as they were.
"""

from __future__ import annotations

import fcntl
import logging
import resource
import signal
import socket
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

#: Address space of the test process and of the servers it starts; far above what any test needs.
_ADDRESS_SPACE = 8 << 30


def pytest_configure() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(hard, _ADDRESS_SPACE)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture
def hold_port() -> Iterator[Callable[[], int]]:
    """A function that gives a port of 127.0.0.1, for a server that has to be told one.

    The system gives it to nobody else until the test ends: it is bound, which lets a server listen on it all the same.
    """
    with ExitStack() as stack:

        def hold() -> int:
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
            return int(sock.getsockname()[1])

        yield hold


@pytest.fixture(autouse=True)
def _server_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("hypercorn.error", "hypercorn.access")]
    before = [(list(logger.handlers), logger.propagate, logger.level, logger.disabled) for logger in loggers]
    yield
    for logger, (handlers, propagate, level, disabled) in zip(loggers, before, strict=True):
        for handler in [handler for handler in logger.handlers if handler not in handlers]:
            logger.removeHandler(handler)
            handler.close()
        for each in list(logger.filters):
            logger.removeFilter(each)
        logger.propagate, logger.disabled = propagate, disabled
        logger.setLevel(level)


def wait_until_full(sock: socket.socket) -> None:
    """Until nothing more arrives: the server's socket takes no more."""
    before, now = -1, 0
    while before != now or not now:
        time.sleep(0.1)
        size = fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4))
        before, now = now, int.from_bytes(size, sys.byteorder)
