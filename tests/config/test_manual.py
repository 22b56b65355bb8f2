from __future__ import annotations

from pathlib import Path

from hypercorn.config.manual import manual
from hypercorn.config.options import TABLE

ROOT = Path(__file__).resolve().parents[2]


def test_the_manual_is_current() -> None:
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == manual(), "run: python -m hypercorn.config.manual docs/settings.md"


def test_the_manual_has_every_setting_and_flag() -> None:
    for name, option in TABLE.items():
        assert f"| `{name}` |" in manual()
        assert all(f"`{flag}`" in manual() for flag in (*option.flags, *option.deprecated))
