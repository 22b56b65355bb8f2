"""The shape of the repository: four folders at the top that are one package, and who may import whom.

The folders are named in seven places of pyproject.toml, by a link each and by a guard each; a fifth folder must not
be forgotten in any of them, or it would be left out of the wheel without a word.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FACADE = ROOT / "src" / "hypercorn"
FOLDERS = ("arbiter", "config", "protocols", "workers")

#: What each folder may import of the others; the facade may import everything, and nobody the facade.
MAY_IMPORT = {
    "arbiter": {"config"},
    "config": set[str](),
    "protocols": set[str](),
    "workers": {"config", "protocols"},
}
#: The engines perform no I/O and read no clock.
BANNED_IN_PROTOCOLS = {"asyncio", "logging", "os", "signal", "socket", "ssl", "threading", "time", "trio"}
#: Module names that would hide the standard library's (or trio) if a folder came first on the path.
RESERVED = {"asyncio", "trio", "socket", "signal", "logging"}
#: A longer file is several.
LONGEST_FILE = 700


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def all_modules() -> list[Path]:
    return [path for folder in FOLDERS for path in modules(folder)]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """The absolute name of each module that the file imports, as parts; relative ones as `hypercorn.…`."""
    package = ("hypercorn", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            origin = start + tuple((node.module or "").split(".") if node.module else ())
            # `from .. import config` names the module in what it imports.
            yield from ((*origin, alias.name) for alias in node.names)


@pytest.fixture(scope="session")
def pyproject() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_link(folder: str) -> None:
    link = FACADE / folder
    assert link.is_symlink(), (
        f"src/hypercorn/{folder} is no symbolic link: this checkout has lost its links, and editable installs and type "
        f"checkers need them. Make it anew with: ln -s ../../{folder} src/hypercorn/{folder}"
    )
    assert link.readlink() == Path("..", "..", folder)
    assert not (ROOT / folder).is_symlink()


@pytest.mark.parametrize("folder", FOLDERS)
def test_plain_import_is_refused(folder: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert f"ImportError: import hypercorn.{folder}, not {folder}" in result.stderr


def test_application_with_modules_of_the_same_names(tmp_path: Path) -> None:
    for folder in FOLDERS:
        (tmp_path / f"{folder}.py").write_text("mine = True\n")
    code = "import hypercorn.config\nfor name in {names!r}:\n    assert __import__(name).mine"
    subprocess.run([sys.executable, "-c", code.format(names=FOLDERS)], cwd=tmp_path, check=True)


@pytest.mark.parametrize("path", all_modules(), ids=name)
def test_directions(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    allowed = MAY_IMPORT[folder] | {folder}
    wrong = [
        ".".join(parts)
        for parts in imported(path)
        if parts[0] == "hypercorn" and (len(parts) == 1 or parts[1] not in allowed)
    ]
    assert not wrong, f"{name(path)} may import {sorted(allowed)} of hypercorn, not {wrong}"


@pytest.mark.parametrize("path", [*all_modules(), *sorted(FACADE.glob("*.py"))], ids=name)
def test_imports_inside_the_package_are_relative(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    absolute = [
        node.lineno
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").partition(".")[0] in {"hypercorn", *FOLDERS}
        )
        or (
            isinstance(node, ast.Import)
            and any(alias.name.partition(".")[0] in {"hypercorn", *FOLDERS} for alias in node.names)
        )
    ]
    assert not absolute, f"{name(path)}: absolute imports of the package in lines {absolute}"


@pytest.mark.parametrize("path", modules("protocols"), ids=name)
def test_protocols_perform_no_io(path: Path) -> None:
    assert not {parts[0] for parts in imported(path)} & BANNED_IN_PROTOCOLS


@pytest.mark.parametrize("path", all_modules(), ids=name)
def test_no_module_hides_a_known_one(path: Path) -> None:
    # Only the first level can come first on the path: `python workers/x.py`.
    first = path.relative_to(ROOT).parts[1].removesuffix(".py")
    assert first not in RESERVED


def test_pyproject_names_the_folders_everywhere(pyproject: dict[str, object]) -> None:
    tool = pyproject["tool"]
    assert isinstance(tool, dict)
    build = tool["hatch"]["build"]
    links = [f"src/hypercorn/{folder}" for folder in FOLDERS]
    assert build["exclude"] == [f"/{link}" for link in links]
    assert build["targets"]["sdist"]["only-include"][:5] == [*FOLDERS, "src/hypercorn"]
    assert build["targets"]["wheel"]["only-include"] == [*FOLDERS, "src/hypercorn"]
    assert build["targets"]["wheel"]["sources"] == {
        **{folder: f"hypercorn/{folder}" for folder in FOLDERS},
        "src/hypercorn": "hypercorn",
    }
    assert tool["pyright"]["include"] == ["src/hypercorn", *links]
    assert set(tool["coverage"]["paths"]) == {*FOLDERS, "facade"}
    ignored = tool["ruff"]["lint"]["per-file-ignores"]
    assert any({"arbiter", "config", "workers"} <= set(key.strip("{}/*").split(",")) for key in ignored)


def test_every_folder_is_known() -> None:
    """A new package at the top must be added to the places above, or be none of the package."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"benchmarks"} == set(FOLDERS)


def test_wheel_holds_what_the_folders_hold(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is needed to build the wheel: pip install --group dev")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    comparison = subprocess.run(
        [sys.executable, ROOT / ".ci" / "compare_wheel.py", wheel],
        capture_output=True,
        text=True,
        check=False,
    )
    assert comparison.returncode == 0, comparison.stdout + comparison.stderr


@pytest.mark.parametrize("folder", [*FOLDERS, "src", "tests", "benchmarks", "examples"])
def test_no_file_is_too_long(folder: str) -> None:
    lengths = {name(path): path.read_text(encoding="utf-8").count("\n") for path in modules(folder)}
    assert not {path: length for path, length in lengths.items() if length > LONGEST_FILE}
