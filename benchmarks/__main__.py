"""python -m benchmarks: installs the peers, measures, keeps the raw figures and writes the tables."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from dataclasses import asdict

from .measuring import Plan, measure, measure_memory
from .report import tables, write
from .servers import OURS, ROOT, SERVERS, Server, install, make_certificate
from .works import WORKS, Work

RAW = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds of 2 s; prints, writes no page")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per work (default 3)")
    parser.add_argument("--seconds", type=float, default=2, help="length of each load (default 2)")
    parser.add_argument(
        "--servers", default="", help="only servers whose names contain one of these, by commas"
    )
    parser.add_argument("--works", default="", help="only works whose names contain one of these, by commas")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that all servers run on")
    parser.add_argument("--no-memory", action="store_true", help="leave memory and start-up out")
    parser.add_argument("--list", action="store_true", help="list servers and works")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing, write the page from the raw figures"
    )
    return parser.parse_args()


def chosen(name: str, wanted: str) -> bool:
    """Whether a name contains one of the wanted parts; all do if none is wanted."""
    return not wanted or any(part.strip().lower() in name.lower() for part in wanted.split(","))


def collect(options: argparse.Namespace, servers: list[Server], works: list[Work]) -> dict[str, object]:
    """Install and measure."""
    plan = Plan(2, 2, 1) if options.quick else Plan(options.rounds, options.seconds, 1)
    names = {server.environment for server in servers}
    install(options.python, names | {"peers"} if any(work.is_tls for work in works) else names)
    figures = []
    for is_tls in (False, True):
        if group := [work for work in works if work.is_tls is is_tls]:
            certificate = make_certificate(options.python) if is_tls else None
            figures += measure(options.python, servers, group, plan, certificate)
    memory = [] if options.no_memory else measure_memory(options.python, servers)
    code = "import platform, ssl; print(platform.python_version(), ssl.OPENSSL_VERSION.split()[1])"
    versions = subprocess.run([options.python, "-c", code], capture_output=True, text=True, check=True)
    python, openssl = versions.stdout.split()
    return {
        "date": datetime.date.today().isoformat(),
        "python": python,
        "openssl": openssl,
        "cores": os.cpu_count(),
        "plan": asdict(plan),
        "versions": {server.name: server.version(options.python) for server in servers},
        "figures": figures,
        "memory": memory,
    }


def main() -> int:
    """Do what the command line says; exit status 1 if nothing could be measured."""
    options = arguments()
    # Ours is always there: the others are compared with it.
    servers = [server for server in SERVERS if chosen(server.name, options.servers) or server.name == OURS]
    works = [work for work in WORKS if chosen(work.name, options.works)]
    if options.list:
        print("\n".join(f"server  {server.name}" for server in SERVERS))
        print("\n".join(f"work    {work.name}" for work in WORKS))
        return 0
    if options.report:
        write(json.loads(RAW.read_text()), PAGE)
        return 0
    results = collect(options, servers, works)
    if not results["figures"] and not results["memory"]:
        return 1
    print(tables(results))
    if options.quick or options.servers or options.works:
        print("docs/performance.md is left as it is: not everything was measured.", file=sys.stderr)
    else:
        RAW.write_text(json.dumps(results, indent=1) + "\n")
        write(results, PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
