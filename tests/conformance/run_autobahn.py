"""Run Autobahn's WebSocket fuzzing client against a real server on each loop, and print a table.

    python tests/conformance/run_autobahn.py [--loops asyncio,uvloop,trio] [--cases '*'] [--table FILE]

Autobahn's test suite needs CPython 2.7: it is looked for as `python2.7` on the path and under ~/.pyenv, or
named by AUTOBAHN_PYTHON. An environment is made once, under AUTOBAHN_HOME or the user's cache. Without
CPython 2.7 the run says so and exits with 77, which test runners know as "skipped".

Exit status 1: at least one case was neither OK nor INFORMATIONAL, or closed in another way than expected.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: Behaviours that pass; "OK" alone passes for the way a case is closed, where it says anything.
GOOD = ("OK", "INFORMATIONAL")
SKIPPED = 77
SECTIONS = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8",
    "7": "Close handling",
    "9": "Limits and performance",
    "10": "Miscellaneous",
    "12": "Compression (different payloads)",
    "13": "Compression (different parameters)",
}


def find_python() -> str | None:
    """An interpreter of CPython 2.7 that runs, or None. (A shim of pyenv's may be found that has none behind it.)"""
    found = sorted(map(str, Path.home().glob(".pyenv/versions/2.7.*/bin/python2.7")), reverse=True)
    for python in (os.environ.get("AUTOBAHN_PYTHON"), shutil.which("python2.7"), *found):
        if python and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python
    return None


def find_wstest() -> Path | None:
    """Autobahn's command, in an environment that is made when it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = Path(os.environ.get("AUTOBAHN_HOME", cache / "hypercorn-autobahn"))
    wstest = home / "env" / "bin" / "wstest"
    if wstest.exists():
        return wstest
    if (python := find_python()) is None:
        return None
    home.mkdir(parents=True, exist_ok=True)
    tool = home / "tool"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--target", str(tool), "virtualenv<20.22"], check=True
    )
    make = [python, "-m", "virtualenv", "-q", str(home / "env")]
    subprocess.run(make, check=True, env={**os.environ, "PYTHONPATH": str(tool)})
    subprocess.run([str(home / "env/bin/pip"), "install", "-q", "autobahntestsuite==25.10.1"], check=True)
    return wstest


@contextmanager
def server(loop: str) -> Iterator[int]:
    """A real server with one worker; gives its port. What it logs as errors is printed at the end."""
    command = [sys.executable, "-m", "hypercorn", "-k", loop, "-b", "127.0.0.1:0", "autobahn_app:app"]
    lines: list[str] = []
    with subprocess.Popen(command, cwd=HERE, stderr=subprocess.PIPE, text=True) as process:
        log = process.stderr
        assert log is not None  # asked for
        try:
            for line in log:
                if (match := re.search(r"Running on http://127\.0\.0\.1:(\d+)", line)) is not None:
                    reader = threading.Thread(target=lambda: lines.extend(log))
                    reader.start()
                    yield int(match[1])
                    break
            else:
                raise SystemExit(f"the server did not start with -k {loop}")
        finally:
            process.terminate()
        reader.join()
    print(*(line for line in lines if "[INFO]" not in line), sep="", end="", flush=True)


def run_cases(wstest: Path, port: int, loop: str, cases: list[str]) -> dict[str, dict[str, str]]:
    """The results by case: `behavior`, `behaviorClose` and more, as Autobahn reports them."""
    with tempfile.TemporaryDirectory() as directory:
        spec = {
            "outdir": directory,
            "servers": [{"agent": loop, "url": f"ws://127.0.0.1:{port}"}],
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (Path(directory) / "spec.json").write_text(json.dumps(spec))
        command = [str(wstest), "-m", "fuzzingclient", "-s", "spec.json"]
        subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL)
        index: dict[str, dict[str, dict[str, str]]] = json.loads((Path(directory) / "index.json").read_text())
        for result in index[loop].values():
            if not is_good(result):
                report = json.loads((Path(directory) / result["reportfile"]).read_text())
                result["why"] = " ".join(str(report[key]) for key in ("result", "resultClose", "duration"))
    return index[loop]


def is_good(result: dict[str, str]) -> bool:
    """Whether a case passed, in what it did and in how it closed."""
    return result["behavior"] in GOOD and result["behaviorClose"] in GOOD


def make_table(results: dict[str, dict[str, dict[str, str]]]) -> str:
    """A Markdown table: one row for each section, one column for each loop."""
    lines = ["| Section | " + " | ".join(results) + " |", "| --- |" + " --- |" * len(results)]
    for section, title in SECTIONS.items():
        cells = []
        for by_case in results.values():
            mine = [r for case, r in by_case.items() if case.partition(".")[0] == section]
            counts = Counter(r["behavior"] if is_good(r) else f"not passed: {r['behavior']}" for r in mine)
            cells.append(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "-")
        lines.append(f"| {section} {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loops", default="asyncio,uvloop,trio")
    parser.add_argument("--cases", default="*", help="comma-separated, as Autobahn writes them: 1.*,6.4.1")
    parser.add_argument("--table", type=Path, help="write the table to this file too")
    arguments = parser.parse_args()
    if (wstest := find_wstest()) is None:
        print("skipped: no CPython 2.7 for Autobahn's test suite (set AUTOBAHN_PYTHON)")
        return SKIPPED
    results: dict[str, dict[str, dict[str, str]]] = {}
    for loop in arguments.loops.split(","):
        with server(loop) as port:
            results[loop] = run_cases(wstest, port, loop, arguments.cases.split(","))
        passed = sum(is_good(result) for result in results[loop].values())
        print(f"{loop}: {passed} of {len(results[loop])} passed", flush=True)
    table = make_table(results)
    print(table)
    if arguments.table is not None:
        arguments.table.write_text(table + "\n")
    bad = [(loop, case, r) for loop, cases in results.items() for case, r in cases.items() if not is_good(r)]
    for loop, case, result in bad:
        print(f"{loop} {case}: {result['behavior']}, closed {result['behaviorClose']}: {result['why']}")
    return 1 if bad or not all(results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
