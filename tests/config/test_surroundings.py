"""What is looked at on the machine before anything is forked or bound."""

from __future__ import annotations

import os
from pathlib import Path
from ssl import SSLContext

import pytest

from hypercorn.config import Config, ConfigError
from hypercorn.config.surroundings import enter


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    return tmp_path


def entered(config: Config) -> None:
    enter(config, config.resolve())


def test_directories_are_those_below_chdir(here: Path) -> None:
    (here / "inner" / "code").mkdir()
    entered(Config.from_mapping(chdir="inner", app_dir="code", reload_dirs=[".", "code"]))
    assert Path.cwd() == here / "inner"


@pytest.mark.usefixtures("here")
def test_every_mistake_is_told_with_its_source() -> None:
    config = Config.from_mapping(app_dir="a", reload_dirs=["inner", "b"], certfile="c")
    with pytest.raises(ConfigError) as caught:
        entered(config)
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        "app_dir: there is no directory 'a'",
        "reload_dirs: there is no directory 'b'",
        "TLS: certfile 'c' cannot be read: No such file or directory",
    ]


def test_a_directory_that_cannot_be_entered(here: Path) -> None:
    (here / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^chdir: cannot change to 'file': Not a directory$"):
        entered(Config.from_mapping(chdir="file"))
    assert os.getcwd() == str(here)


@pytest.mark.usefixtures("here")
def test_a_context_of_the_programs_own_is_left_to_it() -> None:
    class Own(Config):
        def create_ssl_context(self) -> SSLContext | None:
            raise AssertionError("made once, where it is used")

    entered(Own.from_mapping(certfile="nowhere"))
