"""`hypercorn.typing`: every name that programs import, and what a type checker makes of such a program."""

from __future__ import annotations

import subprocess
import sys
import typing
from pathlib import Path

import pytest

import hypercorn.typing

NAMES = [
    "ASGIVersions",
    "HTTPScope",
    "WebsocketScope",
    "LifespanScope",
    "WWWScope",
    "Scope",
    "HTTPRequestEvent",
    "HTTPResponseStartEvent",
    "HTTPResponseBodyEvent",
    "HTTPResponseTrailersEvent",
    "HTTPServerPushEvent",
    "HTTPEarlyHintEvent",
    "HTTPDisconnectEvent",
    "WebsocketConnectEvent",
    "WebsocketAcceptEvent",
    "WebsocketReceiveEvent",
    "WebsocketSendEvent",
    "WebsocketResponseStartEvent",
    "WebsocketResponseBodyEvent",
    "WebsocketDisconnectEvent",
    "WebsocketCloseEvent",
    "LifespanStartupEvent",
    "LifespanShutdownEvent",
    "LifespanStartupCompleteEvent",
    "LifespanStartupFailedEvent",
    "LifespanShutdownCompleteEvent",
    "LifespanShutdownFailedEvent",
    "ASGIReceiveEvent",
    "ASGISendEvent",
    "ASGIReceiveCallable",
    "ASGISendCallable",
    "ASGIFramework",
    "WSGIFramework",
    "Framework",
    "H2SyncStream",
    "H2AsyncStream",
    "Event",
    "WorkerContext",
    "TaskGroup",
    "ResponseSummary",
    "AppWrapper",
    "SingleTask",
    "H11SendableEvent",
    "WorkerFunc",
    "LifespanState",
    "ConnectionState",
]


@pytest.mark.parametrize("name", NAMES)
def test_name(name: str) -> None:
    assert getattr(hypercorn.typing, name) is not None


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="'NoSuchName'"):
        hypercorn.typing.NoSuchName  # noqa: B018


def test_annotations_can_be_evaluated() -> None:
    assert typing.get_type_hints(hypercorn.typing.HTTPScope)["method"] is str
    assert typing.get_type_hints(hypercorn.typing.WebsocketReceiveEvent)["text"] == str | None


def test_importing_types_loads_no_protocol_library() -> None:
    code = "import sys, hypercorn.typing; print(sorted({'h11', 'h2', 'wsproto', 'trio', 'uvloop'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_user_program_passes_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    # From elsewhere, as a user would: the package is found where it is installed.
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path)]
    program = Path(__file__).with_name("typed_program.py")
    done = subprocess.run([*command, str(program)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
