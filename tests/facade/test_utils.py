"""`hypercorn.utils` and `hypercorn.events`."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

import hypercorn
from hypercorn import utils
from hypercorn.app_wrappers import ASGIWrapper, WSGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated


def test_package() -> None:
    assert hypercorn.Config is Config
    assert hypercorn.__version__.count(".") == 2


@pytest.mark.parametrize(
    ("method", "status", "suppressed"),
    [
        ("HEAD", 200, True),
        ("GET", 101, True),
        ("GET", 204, True),
        ("GET", 304, True),
        ("GET", 200, False),
        ("GET", 404, False),
    ],
)
def test_suppress_body(method: str, status: int, suppressed: bool) -> None:
    assert utils.suppress_body(method, status) is suppressed


def test_build_and_validate_headers() -> None:
    given: Any = [(b" Foo ", b" bar\t"), (bytearray(b"a"), memoryview(b"b"))]
    assert utils.build_and_validate_headers(given) == [(b"Foo", b"bar"), (b"a", b"b")]
    with pytest.raises(ValueError, match="pseudo"):
        utils.build_and_validate_headers([(b":status", b"200")])
    text: Any = [("a", "b")]
    with pytest.raises(TypeError):
        utils.build_and_validate_headers(text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            [(b":authority", b"a"), (b"host", b"h"), (b":path", b"/"), (b"x", b"y")],
            [(b"host", b"a"), (b"x", b"y")],
        ),
        ([(b"x", b"y"), (b"host", b"h")], [(b"host", b"h"), (b"x", b"y")]),
        ([(b"x", b"y")], [(b"host", b""), (b"x", b"y")]),
    ],
)
def test_filter_pseudo_headers(given: Any, expected: Any) -> None:
    assert utils.filter_pseudo_headers(given) == expected


@dataclasses.dataclass
class Request:
    headers: list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("names", "headers", "valid"),
    [
        ([], [], True),
        (["Example.com"], [(b"Host", b"example.COM")], True),
        (["example.com"], [(b"host", b"other"), (b":authority", b"example.com")], True),
        (["example.com"], [(b"host", b"other")], False),
        (["example.com"], [], False),
    ],
)
def test_valid_server_name(names: list[str], headers: Any, valid: bool) -> None:
    config = Config()
    config.server_names = names
    assert utils.valid_server_name(config, Request(headers)) is valid


@pytest.mark.parametrize(
    ("family", "address", "parsed", "text"),
    [
        (socket.AF_INET, ("127.0.0.1", 80), ("127.0.0.1", 80), "127.0.0.1:80"),
        (socket.AF_INET6, ("::1", 80, 0, 0), ("::1", 80), "[::1]:80"),
        (socket.AF_UNIX, "/tmp/file", None, "unix:/tmp/file"),
    ],
)
def test_addresses(family: int, address: Any, parsed: Any, text: str) -> None:
    assert utils.parse_socket_addr(family, address) == parsed
    assert utils.repr_socket_addr(family, address) == text


def test_write_pid_file(tmp_path: Path) -> None:
    utils.write_pid_file(str(tmp_path / "pid"))
    assert (tmp_path / "pid").read_text() == str(os.getpid())


def test_files_are_watched(tmp_path: Path) -> None:
    files = utils.files_to_watch()
    assert Path(utils.__file__) in files
    watched = tmp_path / "module.py"
    watched.touch()
    files = {watched: watched.stat().st_mtime, tmp_path / "gone.py": 0.0}
    assert not utils.check_for_updates(files)
    os.utime(watched, (2e9, 2e9))
    assert utils.check_for_updates(files)
    assert not utils.check_for_updates(files)


def test_stopping() -> None:
    async def main() -> None:
        event = asyncio.Event()
        event.set()
        with pytest.raises(utils.ShutdownError):
            await utils.raise_shutdown(event.wait)
        stop = multiprocessing.get_context("spawn").Event()
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            stop.set()

        await utils.check_multiprocess_shutdown_event(stop, sleep)
        assert slept == [0.1]

    asyncio.run(main())


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def test_load_application(directory: Path) -> None:
    (directory / "site_of_utils.py").write_text(
        "async def app(scope, receive, send): ...\ndef wsgi(environ, start_response): ...\n"
    )
    assert isinstance(utils.load_application("site_of_utils", 1), ASGIWrapper)
    wrapper = utils.load_application("site_of_utils:wsgi", 17)
    assert isinstance(wrapper, WSGIWrapper)
    assert wrapper.max_body_size == 17
    with pytest.raises(utils.NoAppError, match="has no 'absent'"):
        utils.load_application("site_of_utils:absent", 1)
    with pytest.raises(utils.NoAppError, match="there is no module"):
        utils.load_application("no_such_site:app", 1)
    with pytest.raises(ValueError, match="asgi"):
        utils.load_application("http:site_of_utils:app", 1)


def test_load_application_lets_import_errors_through(directory: Path) -> None:
    (directory / "broken_site_of_utils.py").write_text("import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        utils.load_application("broken_site_of_utils:app", 1)


def test_wrap_app() -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None: ...

    def wsgi(environ: Any, start_response: Any) -> Any: ...

    assert isinstance(utils.wrap_app(asgi, 1, None), ASGIWrapper)
    assert isinstance(utils.wrap_app(wsgi, 1, None), WSGIWrapper)
    assert isinstance(utils.wrap_app(wsgi, 1, "asgi"), ASGIWrapper)
    assert utils.is_asgi(asgi)
    assert not utils.is_asgi(wsgi)


def test_errors() -> None:
    assert "startup" in str(utils.LifespanTimeoutError("startup"))
    assert "no database" in str(utils.LifespanFailureError("startup", "no database"))
    assert "http.response.body" in str(utils.UnexpectedMessageError("state", "http.response.body"))
    for error in (utils.NoAppError, utils.FrameTooLargeError, utils.ShutdownError):
        assert issubclass(error, Exception)


def test_events() -> None:
    assert RawData(b"x") == RawData(data=b"x", address=None)
    assert Updated(idle=True) != Updated(idle=False)
    assert Closed() == Closed()
    assert isinstance(Closed(), Event)
    with pytest.raises(dataclasses.FrozenInstanceError):
        RawData(b"").data = b"x"  # type: ignore[misc]
