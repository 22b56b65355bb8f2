"""What `Config.resolve()` gives: every setting checked and parsed, and nothing that may change any more."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from .checks import ALPN_PROTOCOLS
from .options import TABLE, Options

if TYPE_CHECKING:
    from typing import Self

    from .binds import Bind
    from .config import Config


class Settings(Options):
    """The settings of one server. Only this travels to arbiter and workers.

    Frozen: assignment raises `dataclasses.FrozenInstanceError`; use `replace`.

    Attributes:
        config: what the settings were made from. Users override methods in subclasses of `Config`: call them on it
            (`create_ssl_context`, `response_headers`, `create_sockets`, `log`), and read values only from here.
        ssl_enabled: `bind` speaks TLS and `insecure_bind` counts.
    """

    application_path: str
    bind: tuple[Bind, ...]
    insecure_bind: tuple[Bind, ...]
    quic_bind: tuple[Bind, ...]
    logger_class: type[Any] | str
    config: Config
    ssl_enabled: bool

    def __init__(self, config: Config, ssl_enabled: bool, values: Mapping[str, Any]) -> None:
        """`values` holds each setting of the table, checked; made by `Config.resolve`."""
        vars(self).update(values, config=config, ssl_enabled=ssl_enabled)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot assign to {name!r}: settings do not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot delete {name!r}: settings do not change")

    def __repr__(self) -> str:
        changed = ", ".join(
            f"{name}={'...' if option.secret else repr(getattr(self, name))}"
            for name, option in TABLE.items()
            if getattr(self, name) != option.default
        )
        return f"Settings({changed})"

    def replace(self, **changes: Any) -> Self:
        """A copy in which these settings differ; they are taken as they are, unchecked.

        Raises:
            TypeError: there is no such setting.
        """
        unknown = changes.keys() - vars(self).keys()
        if unknown:
            raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
        copy = object.__new__(type(self))
        vars(copy).update(vars(self), **changes)
        return copy

    __replace__ = replace


def without_effect(settings: Settings) -> list[str]:
    """A sentence for each setting that was given and does nothing, yet or in this configuration, or surely not what is meant."""
    sentences = [
        f"{option.flag} has no effect: {option.without_effect}"
        for name, option in TABLE.items()
        if option.without_effect is not None and getattr(settings, name) not in (option.default, ())
    ]
    sentences.extend(_of_users(settings))
    if settings.root_path and not settings.root_path.startswith("/"):
        sentences.append(f"--root-path {settings.root_path!r} does not begin with /, as paths do")
    sentences.extend(_with_tls(settings) if settings.ssl_enabled else _in_clear_text(settings))
    return sentences


def _of_users(settings: Settings) -> Iterator[str]:
    for name, present in (("user", os.geteuid()), ("group", os.getegid())):
        if os.geteuid() != 0 and getattr(settings, name) not in (None, present):
            yield f"--{name} has no effect on the workers: only root can change to another {name}"
    if settings.workers == 0 and os.geteuid() == 0:
        for name in ("user", "group"):
            if getattr(settings, name) not in (None, 0):
                yield f"--{name} has no effect on the application: without workers this process runs it, as root"


def _with_tls(settings: Settings) -> Iterator[str]:
    if not settings.config.has_own_ssl_context:
        if settings.ca_certs and not settings.verify_mode:
            yield "--ca-certs has no effect: --verify-mode does not ask for certificates"
        elif settings.verify_mode and not settings.ca_certs:
            yield "--verify-mode lets no client with a certificate in: --ca-certs is missing beside it"
    if unspoken := [name for name in settings.alpn_protocols if name not in ALPN_PROTOCOLS]:
        spoken = ", ".join(ALPN_PROTOCOLS)
        yield f"--alpn-protocol {', '.join(unspoken)} has no effect: what is spoken over TLS is {spoken}"


def _in_clear_text(settings: Settings) -> Iterator[str]:
    if settings.insecure_bind:
        yield "--insecure-bind has no effect: without --certfile, --bind is in clear text"
    if settings.config.has_own_ssl_context:
        yield "create_ssl_context has no effect: without --certfile or ssl_enabled, --bind is in clear text"
    for name, option in TABLE.items():
        if option.group != "TLS" or name in ("certfile", "keyfile", "sni_certificates"):
            continue
        if getattr(settings, name) != option.default:
            yield f"{option.flag} has no effect: without --certfile, --bind is in clear text"
