"""`--reload`: files change under a running server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]


def write(file: Path, code: str) -> None:
    """A save at least a second younger than the last, for polling compares whole seconds; and one change, not several."""
    before = file.stat().st_mtime
    new = file.with_name("new~")
    new.write_text(code)
    os.utime(new, (before + 2, before + 2))
    new.replace(file)


def change(file: Path, code: str, number: int) -> None:
    """Another code, whose answer is not the worker's pid but a number."""
    write(file, f"{code}\nos.getpid = lambda: {number}\n")


@pytest.mark.parametrize("polling", [[], ["--reload-poll"]])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_changed_code_is_served_and_broken_code_is_not(
    start: Start, application: Path, workers: str, polling: list[str]
) -> None:
    good = (application / "app.py").read_text()
    arbiter = start("-w", workers, "--reload", *polling)
    arbiter.wait_for(f"watching +{application}")
    arbiter.wait_for("Files are watched now")
    change(application / "app.py", good, 111)
    arbiter.wait_for("has ended", int(workers))
    assert arbiter.get() == "111"
    write(application / "app.py", "def broken(:\n")
    arbiter.wait_for("Generation 3 cannot start, generation 2 keeps serving")
    assert arbiter.get() == "111"
    change(application / "app.py", good, 222)
    arbiter.wait_for("Generation 4 serves")
    arbiter.wait_for("Worker . .pid .* has ended", 2 * int(workers))
    assert arbiter.get() == "222"


def test_a_group_that_is_told_to_end_misses_nobody(start: Start) -> None:
    arbiter = start("-w", "1", "--reload")
    arbiter.wait_for("Files are watched now")
    os.killpg(arbiter.pid, signal.SIGTERM)
    assert arbiter.ends() == 0
    assert "ERROR" not in arbiter.text()


def test_broken_code_at_the_start_waits_for_a_save_that_works(start: Start, application: Path) -> None:
    good = (application / "app.py").read_text()
    (application / "app.py").write_text("def broken(:\n")
    arbiter = start("-w", "3", "--reload")
    arbiter.wait_for("The next change of the files is awaited")
    assert arbiter.text().count("could not start") == 1
    arbiter.wait_for("Files are watched now")
    (application / "app.py").write_text(good)
    assert int(arbiter.get()) in arbiter.workers()


def test_other_files_by_pattern(start: Start, application: Path) -> None:
    other = application / "templates"
    other.mkdir()
    arbiter = start("-w", "1", "--reload", "--reload-include", "*.html", "--reload-exclude", "draft*")
    arbiter.wait_for("Files are watched now")
    (other / "notes.txt").write_text("not watched")
    (other / "draft.html").write_text("not watched")
    (other / "page.html").write_text("watched")
    arbiter.wait_for("Changed: templates/page.html;")
    arbiter.wait_for("Generation 2 serves")
    assert "notes.txt" not in arbiter.text()
    assert "draft.html" not in arbiter.text()


@pytest.mark.parametrize("name", ["conf.py", "conf.toml"])
def test_a_changed_configuration_is_read_again(
    start: Start, application: Path, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A Python file among those watched, and one of another kind elsewhere."""
    is_python = name.endswith(".py")
    file = (application if is_python else tmp_path_factory.mktemp("elsewhere")) / name
    file.write_text("workers = 1\n")
    arbiter = start("-c", f"file:{name}" if is_python else str(file), "--reload")
    arbiter.wait_for(f"watching .*{file.name}")
    arbiter.wait_for("Files are watched now")
    write(file, "workers = 2\n")
    arbiter.wait_for(f"Changed: .*{name}; the configuration is read again, then the workers are replaced")
    arbiter.wait_for("Generation 2 serves: 1 worker is ready|Generation 2 serves: 2 workers are ready")
    arbiter.wait_for("Worker 2 .pid .* is ready")
    assert arbiter.text().count("Changed: ") == 1


def test_the_directory_of_an_application_named_by_its_path(
    start: Start, application: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    good = (application / "app.py").read_text()
    (elsewhere / "there.py").write_text(good)
    arbiter = start("--reload", app=f"asgi:{elsewhere}/there.py:app")
    arbiter.wait_for(f"watching +{application}, {elsewhere} ")
    arbiter.wait_for("Files are watched now")
    change(elsewhere / "there.py", good, 111)
    arbiter.wait_for("has ended")
    assert arbiter.get() == "111"


@pytest.mark.parametrize("polling", [[], ["--reload-poll"]])
def test_what_a_new_directory_has_in_it(
    start: Start, application: Path, polling: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Moved there whole: of its files the system says nothing."""
    made = tmp_path_factory.mktemp("made")
    (made / "deep").mkdir()
    (made / "deep" / "part.py").write_text("")
    (made / "__pycache__").mkdir()
    (made / "__pycache__" / "cached.py").write_text("")
    arbiter = start("--reload", *polling)
    arbiter.wait_for("Files are watched now")
    made.rename(application / "package")
    arbiter.wait_for("Changed: package/deep/part.py;")
    arbiter.wait_for("Generation 2 serves")


@pytest.mark.parametrize("polling", [[], ["--reload-poll"]])
def test_a_directory_that_takes_the_place_of_a_watched_one(
    start: Start, application: Path, polling: list[str]
) -> None:
    for name in ("first", "second"):
        (application / name).mkdir()
        (application / name / "code.py").write_text(name)
    (application / "current").symlink_to("first")
    arbiter = start("-w", "1", "--reload", "--reload-dir", "current", *polling)
    arbiter.wait_for("Files are watched now")
    (application / "next").symlink_to("second")
    (application / "next").rename(application / "current")
    arbiter.wait_for("Changed: current/code.py;")
    write(application / "second" / "code.py", "changed")
    arbiter.wait_for("Changed: current/code.py;", 2)
    (application / "current").unlink()
    (application / "current").mkdir()
    (application / "current" / "other.py").write_text("new")
    arbiter.wait_for("Changed: current/other.py;")
