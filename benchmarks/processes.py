"""Processor time and memory of a process and all its descendants, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """The process and its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_fields(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:  # grows while we walk
        found.extend(children.get(pid, ()))
    return found


def processor_seconds(root: int) -> float:
    """User and system time of the tree so far, of children that were waited for too."""
    total = 0
    for pid in tree(root):
        try:
            total += sum(int(value) for value in _fields(pid)[11:15])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / _TICKS


def memory_kib(root: int) -> list[int]:
    """Proportional set size of each process of the tree: pages that are shared count for their share."""
    return [
        int(line.split()[1])
        for pid in tree(root)
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    ]


def _fields(pid: int) -> list[str]:
    """What follows the name in /proc/pid/stat; the name may hold anything, brackets and spaces too."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
