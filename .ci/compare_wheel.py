#!/usr/bin/env python3
"""compare_wheel.py WHEEL: does the wheel hold exactly what the folders hold?

The four folders at the top and src/hypercorn become the one package `hypercorn`; a mistake in the map of
pyproject.toml would leave files out without a word.
"""

import sys
import zipfile
from pathlib import Path

FOLDERS = ("arbiter", "config", "protocols", "workers")
ROOT = Path(__file__).resolve().parent.parent


def in_folder(folder: Path) -> set[str]:
    """The files below `folder`, relative to it, that belong into a wheel. Links to folders are not entered."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def expected() -> set[str]:
    """The names that the wheel must hold below `hypercorn/`."""
    names = {f"hypercorn/{folder}/{name}" for folder in FOLDERS for name in in_folder(ROOT / folder)}
    facade = in_folder(ROOT / "src" / "hypercorn")
    return names | {f"hypercorn/{name}" for name in facade if name.partition("/")[0] not in FOLDERS}


def contents(wheel: Path) -> set[str]:
    """The names that the wheel holds, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def differences(wheel: Path) -> list[str]:
    """One line for each file that is missing or too many."""
    there, wanted = contents(wheel), expected()
    return sorted(
        [f"missing in the wheel: {name}" for name in wanted - there]
        + [f"too much in the wheel: {name}" for name in there - wanted]
    )


def main() -> int:
    """Print the differences; exit status 1 if there are any."""
    wheel = Path(sys.argv[1])
    lines = differences(wheel)
    print("\n".join(lines) or f"{wheel.name}: all {len(expected())} files, and no other")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
