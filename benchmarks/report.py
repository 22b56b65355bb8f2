"""From the raw figures to the tables of docs/performance.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .servers import OURS

_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"

#: Server -> round -> figure.
Rounds = Mapping[str, Mapping[int, float]]


def write(results: Mapping[str, Any], page: Path) -> None:
    """Put the tables between the two marks of the page.

    Raises:
        ValueError: the page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    if _BEGIN not in text or _END not in text:
        raise ValueError(f"{page} has no {_BEGIN} … {_END}")
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    page.write_text(f"{head}{_BEGIN}\n\n{tables(results)}\n{_END}{tail}", encoding="utf-8")


def tables(results: Mapping[str, Any]) -> str:
    """All tables as Markdown."""
    figures = results["figures"]
    works = list(dict.fromkeys(figure["work"] for figure in figures))
    servers = [server for server in results["versions"] if any(f["server"] == server for f in figures)]
    parts = [_conditions(results)]
    for title, key in (
        ("Processor time per request, µs", "microseconds"),
        ("Requests per second", "rate"),
    ):
        rows = [
            [server, *(_median(_rounds(figures, work, key), server) for work in works)] for server in servers
        ]
        parts.append(f"### {title}\n\n{_table(['server', *works], rows)}")
    rows = [
        [server, *(_ratio(_rounds(figures, work, "microseconds"), server) for work in works)]
        for server in servers
    ]
    parts.append(
        "### Processor time per request, as a multiple of ours\n\nThe median of the rounds, and the lowest and highest "
        f"round. Below 1 the other server needs less.\n\n{_table(['server', *works], rows)}"
    )
    if results["memory"]:
        rows = [
            [
                m["server"],
                f"{m['idle_kib'] / 1024:.1f}",
                f"{m['worker_kib'] / 1024:.1f}",
                str(m["connection_bytes"]),
                f"{m['start_seconds']:.2f}",
            ]
            for m in results["memory"]
        ]
        head = [
            "server",
            "PSS at rest, MiB",
            "of that the worker",
            "bytes per kept connection",
            "start to first answer, s",
        ]
        parts.append(
            f"### Memory and start\n\nThe whole tree of processes, one worker.\n\n{_table(head, rows)}"
        )
    return "\n".join(parts)


def _conditions(results: Mapping[str, Any]) -> str:
    plan = results["plan"]
    # "uvicorn, zttp" and "uvicorn, httptools" are one package.
    packages = {name.partition(",")[0]: version for name, version in results["versions"].items()}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return (
        f"{results['date']}, CPython {results['python']} with OpenSSL {results['openssl']}, {results['cores']} cores, "
        f"{plan['rounds']} rounds of {plan['seconds']:g} s per server and work, one worker.\n\nVersions: {versions}.\n"
    )


def _rounds(figures: Iterable[Mapping[str, Any]], work: str, key: str) -> Rounds:
    found: dict[str, dict[int, float]] = {}
    for figure in figures:
        if figure["work"] == work:
            value = figure["requests"] / figure["seconds"] if key == "rate" else figure[key]
            found.setdefault(figure["server"], {})[figure["round"]] = value
    return found


def _median(rounds: Rounds, server: str) -> str:
    if server not in rounds:
        return "-"
    value = statistics.median(rounds[server].values())
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _ratio(rounds: Rounds, server: str) -> str:
    ours = rounds.get(OURS, {})
    ratios = [value / ours[number] for number, value in rounds.get(server, {}).items() if ours.get(number)]
    if not ratios:
        return "-"
    if server == OURS:
        return "1"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
