"""What is looked at on the machine before anything is forked or bound."""

from __future__ import annotations

import os
from pathlib import Path
from ssl import SSLContext
from typing import Any

import pytest
import trustme

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
        "certfile: certfile 'c' cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("wrong", "source"),
    [
        ({"keyfile": "nowhere"}, "keyfile"),
        ({"ca_certs": "nowhere"}, "ca_certs"),
        ({"ciphers": "none such"}, "ciphers"),
        ({"alpn_protocols": [""]}, "alpn_protocols"),
        ({"sni_certificates": {"a.test": ["nowhere"]}}, "sni_certificates: sni_certificates 'a.test'"),
        ({"sni_certificates": {"*": ["pem"]}}, "sni_certificates"),
    ],
)
def test_a_mistake_of_tls_is_told_with_its_source(here: Path, wrong: dict[str, Any], source: str) -> None:
    trustme.CA().issue_cert("example.test").private_key_and_cert_chain_pem.write_to_path(str(here / "pem"))
    with pytest.raises(ConfigError) as caught:
        entered(Config.from_mapping(certfile="pem", **wrong))
    [mistake] = caught.value.mistakes
    assert str(mistake).startswith(f"{source}: ")


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
