"""Fetches pip's wheel from the package index, with the standard library alone: fetch_pip.py DIRECTORY.

For machines whose Python comes without ensurepip (Debian without python3-venv) and without pip: a wheel of pip can be
run where it lies, and so install itself. The index is `PIP_INDEX_URL`, or pypi.org. The path of the wheel goes to
standard output. What the index says of the file's digest is checked; nothing is kept if it differs.
"""

import hashlib
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit
from urllib.request import Request, urlopen

WHEEL = re.compile(r"pip-(\d+(?:\.\d+)*)-py3-none-any\.whl")
LOWEST_PYTHON = re.compile(r">=\s*3\.(\d+)")
TIMEOUT = 60


class Releases(HTMLParser):
    """Collects, from a page of an index (PEP 503), the wheels that this Python can run, each with its version."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[tuple[int, ...], str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        url = values.get("href") or ""
        name = WHEEL.fullmatch(urlsplit(url).path.rpartition("/")[2])
        lowest = LOWEST_PYTHON.search(values.get("data-requires-python") or "")
        fits = lowest is None or int(lowest[1]) <= sys.version_info.minor
        if tag == "a" and name and fits and "data-yanked" not in values:
            self.found.append((tuple(map(int, name[1].split("."))), url))


def read(url: str) -> bytes:
    with urlopen(Request(url, headers={"accept": "text/html, */*;q=0.1"}), timeout=TIMEOUT) as answer:
        return answer.read()


def fetch(directory: Path) -> Path:
    """Download the newest wheel into the directory.

    Raises:
        OSError: the index or the file cannot be read.
        ValueError: the index has no such wheel, or the digest differs.
    """
    page = (os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple").rstrip("/") + "/pip/"
    releases = Releases()
    releases.feed(read(page).decode())
    if not releases.found:
        raise ValueError(f"{page} has no wheel of it")
    url, digest = urldefrag(urljoin(page, max(releases.found)[1]))
    content = read(url)
    name = url.rpartition("/")[2]
    if f"sha256={hashlib.sha256(content).hexdigest()}" != digest:
        raise ValueError(f"{name} is not what the index says it is")
    path = directory / name
    path.write_bytes(content)
    return path


if __name__ == "__main__":
    try:
        print(fetch(Path(sys.argv[1])))
    except (OSError, ValueError) as error:
        sys.exit(f"pip cannot be fetched from the package index: {error}")
