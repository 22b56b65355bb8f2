"""An application, its configuration, and looks at a server from outside, for tests of servers in other programs."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable
from typing import Any

from hypercorn.config import Config

HoldPort = Callable[[], int]


def make_config(**settings: Any) -> Config:
    return Config.from_mapping({"bind": "127.0.0.1:0", "errorlog": None, **settings})


class App:
    """Answers with 2 bytes; notes what becomes of it."""

    def __init__(self, *, waits: bool = False, slow_start: bool = False, cleanup_steps: int = 0) -> None:
        self.events: list[str] = []
        self.waits = waits
        self.slow_start = slow_start
        self.cleanup_steps = cleanup_steps
        self.called: Callable[[], None] = lambda: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self.events.append("request")
        self.called()
        try:
            if self.waits:
                await receive()
                await receive()
        finally:
            self.events.append("done")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        self.events.append("startup")
        if self.slow_start:
            self.called()
            await receive()
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        self.events.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})


def port_of(urls: list[str]) -> int:
    return int(urls[0].rpartition(":")[2])


def is_refused(port: int) -> bool:
    """Whether nobody listens there; to be asked of a port that is held, which no other test can have got meanwhile."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def get(port: int, path: str = "/") -> bytes:
    """For threads."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: sock.recv(4096), b""))


def ask(port: int, requests: int) -> bytes:
    """All answers to requests that are sent together; for threads."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * (requests - 1))
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        return b"".join(iter(lambda: sock.recv(4096), b""))


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
