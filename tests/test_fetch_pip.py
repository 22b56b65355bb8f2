"""Fetching pip where Python came without it: `.ci/fetch_pip.py` against an index of the test's own."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / ".ci" / "fetch_pip.py"
CONTENT = b"a wheel"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of an index on the loopback, and the folder that it shows."""
    folder = tmp_path / "index"
    (folder / "pip").mkdir(parents=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder
        server.shutdown()


def fetch(address: str, directory: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PIP_INDEX_URL": address + "/", "no_proxy": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, SCRIPT, directory],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def link(name: str, digest: str = DIGEST, attributes: str = "") -> str:
    return f'<a href="../files/{name}#sha256={digest}" {attributes}>{name}</a><br/>\n'


def test_the_newest_that_fits(index: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = index
    (folder / "files").mkdir()
    (folder / "files" / "pip-26.10-py3-none-any.whl").write_bytes(CONTENT)
    (folder / "pip" / "index.html").write_text(
        link("pip-26.10-py3-none-any.whl", attributes='data-requires-python="&gt;=3.10"')
        + link("pip-26.9-py3-none-any.whl")
        + link("pip-27.0b1-py3-none-any.whl")
        + link("pip-28.0-py3-none-any.whl", attributes='data-requires-python="&gt;=3.99"')
        + link("pip-29.0-py3-none-any.whl", attributes='data-yanked="broken"')
        + link("pip-30.0.tar.gz")
    )
    done = fetch(address, tmp_path)
    path = tmp_path / "pip-26.10-py3-none-any.whl"
    assert (done.returncode, done.stdout) == (0, f"{path}\n"), done.stderr
    assert path.read_bytes() == CONTENT


def test_a_wrong_digest_is_refused(index: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = index
    (folder / "files").mkdir()
    (folder / "files" / "pip-26.1-py3-none-any.whl").write_bytes(b"another wheel")
    (folder / "pip" / "index.html").write_text(link("pip-26.1-py3-none-any.whl"))
    done = fetch(address, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip-26.1-py3-none-any.whl is not what the index says it is" in done.stderr
    assert not list(tmp_path.glob("*.whl"))


def test_an_index_without_it(index: tuple[str, Path], tmp_path: Path) -> None:
    address, _folder = index
    done = fetch(address, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"pip cannot be fetched from the package index: {address}/pip/ has no wheel of it\n"
