"""How one setting is declared: `option(...)` in a class body of `options`.

The annotation of the attribute gives the type, the class its group. What a user gave, text from the command line or
the environment or a value from a file, becomes a value of that type in `Option.convert`, and nowhere else.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

T = TypeVar("T")

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(slots=True, kw_only=True)
class Option:
    """One setting: everything that is known of it.

    Attributes:
        name: attribute of `Config` and `Settings`.
        type: its annotation, as written.
        group: heading of the help and the manual.
        default: value when nobody says anything.
        flags: of the command line; a bool also gets `--no-…` for its long ones.
        help: one line.
        metavar: name of the argument in the help.
        variables: of the environment, beside `HYPERCORN_<NAME>`, which comes first; each with the value that it
            means, in which {} stands for its text.
        parse: takes what a user gave, text or not, and returns the value; raises ValueError.
        check: returns what is wanted instead if the value is not allowed.
        deprecated: flags that warn.
        without_effect: why the setting does nothing yet.
        secret: not to be shown.
    """

    default: Any
    help: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    parse: Callable[[Any], Any] | None = None
    check: Callable[[Any], str | None] | None = None
    deprecated: tuple[str, ...] = ()
    without_effect: str | None = None
    secret: bool = False
    name: str = ""
    type: str = ""
    group: str = ""

    @property
    def variable(self) -> str:
        """The variable of the environment that is ours alone."""
        return f"HYPERCORN_{self.name.upper()}"

    @property
    def kind(self) -> str:
        """The type without `| None`."""
        return self.type.removesuffix(" | None")

    @property
    def flag(self) -> str:
        """The flag that stands for the setting in messages."""
        return next((flag for flag in self.flags if flag.startswith("--")), "")

    @property
    def may_be_none(self) -> bool:
        return self.type != self.kind

    def convert(self, given: object) -> Any:
        """The value of this setting that `given` means.

        Raises:
            ValueError: says what is wanted, in words that follow a colon.
        """
        if given is None or (given == "none" and self.may_be_none and not self.kind.startswith("str")):
            if self.may_be_none:
                return None
            raise ValueError("a value is wanted")
        value = self.parse(given) if self.parse is not None else _PARSERS[self.kind](given)
        wanted = self.check(value) if self.check is not None and value is not None else None
        if wanted is not None:
            raise ValueError(f"{wanted} is wanted, not {given!r}")
        return value


def option(default: T, *flags: str, help: str, **details: Any) -> T:
    """Declare a setting; `details` are attributes of `Option`. For the type checker it is its default."""
    return cast("T", Option(default=default, flags=flags, help=help, **details))


def collect(groups: Iterable[type]) -> dict[str, Option]:
    """The settings that the classes declare, by name; the attributes of the classes become the defaults."""
    table: dict[str, Option] = {}
    for group in groups:
        for name, annotation in group.__annotations__.items():
            declared: Option = group.__dict__[name]
            declared.name = name
            declared.type = annotation
            declared.group = (group.__doc__ or "").rstrip(".")
            table[name] = declared
            setattr(group, name, copy.copy(declared.default))
    return table


def as_integer(given: object) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if isinstance(given, str):
        with contextlib.suppress(ValueError):
            return int(given)
    raise ValueError(f"a whole number is wanted, not {given!r}")


def as_number(given: object) -> float:
    if isinstance(given, int | float | str) and not isinstance(given, bool):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(given)
            if math.isfinite(number):
                return number
    raise ValueError(f"a number is wanted, not {given!r}")


def as_boolean(given: object) -> bool:
    if isinstance(given, bool):
        return given
    text = given.lower() if isinstance(given, str) else str(given)
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"true or false is wanted, not {given!r}")


def as_text(given: object) -> str:
    """Text or a path, without what neither the system nor OpenSSL takes."""
    text = _as_any_text(given)
    if "\0" in text:
        raise ValueError(f"text without a zero byte is wanted, not {given!r}")
    return text


def _as_any_text(given: object) -> str:
    if isinstance(given, str):
        return given
    if hasattr(given, "__fspath__"):
        return str(given)
    raise ValueError(f"text is wanted, not {given!r}")


def as_texts(given: object) -> list[str]:
    """A list of text; one text is a list of one. What zero bytes mean in it is for its reader to say."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list | tuple | set | frozenset):
        return [_as_any_text(item) for item in cast("Iterable[object]", given)]
    raise ValueError(f"text or a list of text is wanted, not {given!r}")


def as_mapping(given: object) -> dict[str, Any]:
    """A mapping, or the text of a JSON object."""
    if isinstance(given, str):
        import json

        with contextlib.suppress(ValueError):
            given = json.loads(given)
    if isinstance(given, Mapping):
        return dict(cast("Mapping[str, Any]", given))
    raise ValueError(f"a table is wanted, not {given!r}")


_PARSERS: dict[str, Callable[[object], Any]] = {
    "int": as_integer,
    "float": as_number,
    "bool": as_boolean,
    "str": as_text,
    "list[str]": as_texts,
    "dict[str, Any]": as_mapping,
}
