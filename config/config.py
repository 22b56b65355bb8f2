"""`Config`: what users write to. Mutable, with Hypercorn's attributes; `resolve()` gives the frozen `Settings`.

It checks nothing until then: values of the wrong type and unknown names are kept, as Hypercorn does.
"""

from __future__ import annotations

import copy
import importlib
import logging
import os
import types
import warnings
from collections.abc import Callable, Container, Iterable, Mapping
from socket import SOCK_DGRAM, SOCK_STREAM
from socket import socket as Socket
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from .binds import Bind, parse_bind
from .errors import ConfigError, Mistake
from .options import TABLE, Options
from .settings import Settings
from .sockets import Sockets, SocketSettings, close_all, open_bind

if TYPE_CHECKING:
    from ssl import SSLContext
    from typing import Self

    from .tls import TLSSettings

FilePath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_BINDS = ("bind", "insecure_bind", "quic_bind")
#: Settings that are properties here.
_PROPERTIES = (*_BINDS, "logger_class")

#: The attributes of which it is remembered where they were set.
_TRACED = frozenset({*TABLE, "ssl_enabled"})

#: Types that values of settings have in a file.
_PLAIN = (str, int, float, list, tuple, dict)

_log = logging.getLogger("hypercorn.error")


class Config(Options):
    """Settings as their users write them; the manual (`docs/settings.md`) describes each attribute.

    May be subclassed: class attributes are defaults, and `create_ssl_context`, `create_sockets`, `response_headers`
    and `ssl_enabled` may be overridden. An instance can be pickled if what was assigned to it can.
    """

    application_path: str
    #: Absolute paths of the files that settings were read from, by `sources.load`.
    files: tuple[str, ...]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Set up here rather than in `__init__`, which subclasses written for Hypercorn need not call."""
        config = super().__new__(cls)
        state = vars(config)
        state.update(
            _sources={}, _unknown={}, _quic_addresses=[], _log=None, _loader=None, _ssl_enabled=None, files=()
        )
        state.update({f"_{name}": copy.copy(TABLE[name].default) for name in _PROPERTIES})
        for name in TABLE:
            default = None if name in _PROPERTIES else getattr(cls, name, None)
            if isinstance(default, list | dict):
                state[name] = copy.copy(cast("list[Any] | dict[str, Any]", default))
        return config

    if TYPE_CHECKING:
        _sources: dict[str, str]
        _unknown: dict[str, str]
        _quic_addresses: list[tuple[Any, ...]]
        _log: Any
        _loader: Callable[[], Config] | None
        _ssl_enabled: bool | None
        _bind: list[str]
        _insecure_bind: list[str]
        _quic_bind: list[str]
        _logger_class: type[Any] | str

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "root_path" and isinstance(value, str):
            value = value.rstrip("/")
        super().__setattr__(name, value)
        if name in _TRACED:
            self._sources[name] = f"Config.{name}"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_log": None}

    def assign(self, name: str, value: Any, source: str) -> None:
        """Set an attribute and remember where it came from. One that is read-only is left alone."""
        try:
            setattr(self, name, value)
        except AttributeError:
            return
        if name in _TRACED:
            self._sources[name] = source

    def given(self, name: str) -> Any:
        """The value of a setting as it was given, unchecked."""
        if name == "logger_class" and type(self).logger_class is Config.logger_class:
            return self._logger_class  # not imported, which reading the property does
        return getattr(self, name, TABLE[name].default)

    def source_of(self, name: str) -> str:
        """Where a setting's value came from: a flag, a variable, a file and its key, or "default"."""
        if name in self._sources:
            return self._sources[name]
        overridden = getattr(type(self), name, None) is not getattr(Config, name, None)
        return f"{type(self).__name__}.{name}" if overridden else "default"

    def is_own(self, name: str) -> bool:
        """Whether this attribute, which is no setting, is not as every `Config` has it."""
        return (
            name in vars(self)
            or (name == "ssl_enabled" and self._ssl_enabled is not None)
            or getattr(type(self), name, None) is not getattr(Config, name, self)
        )

    # Hypercorn's properties

    @property
    def bind(self) -> list[str]:
        return self._bind

    @bind.setter
    def bind(self, value: list[str] | str) -> None:
        self._bind = [value] if isinstance(value, str) else value

    @property
    def insecure_bind(self) -> list[str]:
        return self._insecure_bind

    @insecure_bind.setter
    def insecure_bind(self, value: list[str] | str) -> None:
        self._insecure_bind = [value] if isinstance(value, str) else value

    @property
    def quic_bind(self) -> list[str]:
        return self._quic_bind

    @quic_bind.setter
    def quic_bind(self, value: list[str] | str) -> None:
        self._quic_bind = [value] if isinstance(value, str) else value

    if TYPE_CHECKING:
        # As in Hypercorn: of a property a type checker would say that subclasses cannot choose a class.
        logger_class: type[Any]
    else:

        @property
        def logger_class(self) -> type[Any]:
            """The class that logs; a dotted name, which the default is, is imported when this is read."""
            chosen = self._logger_class
            return _import_attribute(chosen) if isinstance(chosen, str) else chosen

        @logger_class.setter
        def logger_class(self, value: type[Any] | str) -> None:
            self._logger_class = value

    def set_statsd_logger_class(self, statsd_logger: type[Any]) -> None:
        """Log with `statsd_logger` if statsd is wanted and no other class was chosen."""
        default = TABLE["logger_class"].default
        if self.statsd_host is not None and self.logger_class is _import_attribute(default):
            self.logger_class = statsd_logger

    @property
    def log(self) -> Any:
        """The logger, made when it is first needed: an instance of `logger_class`."""
        if self._log is None:
            self._log = self.logger_class(self)
        return self._log

    def set_cert_reqs(self, value: int) -> None:
        """Deprecated: assign `verify_mode`."""
        from ssl import VerifyMode

        warnings.warn("cert_reqs is deprecated, set verify_mode instead", Warning, stacklevel=2)
        self.verify_mode = VerifyMode(value)

    cert_reqs = property(None, set_cert_reqs)

    # What subclasses may override

    @property
    def ssl_enabled(self) -> bool:
        """Whether `bind` speaks TLS; unless it is set, whether there is a `certfile`."""
        return self.certfile is not None if self._ssl_enabled is None else self._ssl_enabled

    @ssl_enabled.setter
    def ssl_enabled(self, value: bool) -> None:
        self._ssl_enabled = value

    @property
    def has_own_ssl_context(self) -> bool:
        """Whether a subclass or a settings file makes the context; what it makes of the settings is its affair."""
        return self.is_own("create_ssl_context")

    def create_ssl_context(self) -> SSLContext | None:
        """The context for TLS listeners, None unless `ssl_enabled`. Reads the files.

        Without a `certfile` it has all but a certificate: one that overrides this loads it.

        Raises:
            ConfigError: a setting of TLS has a value of the wrong type.
            TLSConfigError: a file or a setting cannot be used.
        """
        from .tls import create_ssl_context

        values = {name: self._converted(name) for name, option in TABLE.items() if option.group == "TLS"}
        return create_ssl_context(
            cast("TLSSettings", types.SimpleNamespace(ssl_enabled=self.ssl_enabled, **values))
        )

    def create_sockets(self) -> Sockets:
        """Bind to all addresses, without listening yet; with TLS on, `bind` is for TLS and the other two count.

        Raises:
            ConfigError: a bind cannot be understood.
            BindError: one cannot be opened; none stays open.
        """
        groups: dict[str, list[Socket]] = {name: [] for name in _BINDS}
        try:
            for name in _BINDS if self.ssl_enabled else ("bind",):
                groups[name] = self._open(name)
        except BaseException:
            close_all(list(groups.values()))
            raise
        if self.ssl_enabled:
            return Sockets(groups["bind"], groups["insecure_bind"], groups["quic_bind"])
        return Sockets([], groups["bind"], [])

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """The fields that every response gets; `protocol` is h11, h2 or h3."""
        fields: list[tuple[bytes, bytes]] = []
        if self.include_date_header:
            from email.utils import formatdate

            from . import time  # read there at each call: programs put their own clock in its place

            fields.append((b"date", formatdate(time(), usegmt=True).encode("ascii")))
        if self.include_server_header:
            fields.append((b"server", f"hypercorn-{protocol}".encode("ascii")))
        automatic = [f'h3=":{address[1]}"; ma=3600' for address in self._quic_addresses]
        fields.extend((b"alt-svc", value.encode()) for value in self.alt_svc_headers or automatic)
        return fields

    # Loaders

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None = None, **kwargs: Any) -> Self:
        """A configuration with these attributes; keywords win."""
        return cls.from_pairs({**(mapping or {}), **kwargs}.items(), "")

    @classmethod
    def from_toml(cls, filename: FilePath) -> Self:
        """A configuration from the top-level table of a TOML file.

        Raises:
            OSError: the file cannot be read.
            tomllib.TOMLDecodeError: it is not TOML.
        """
        import tomllib

        with open(filename, "rb") as file:
            return cls.from_pairs(tomllib.load(file).items(), os.fsdecode(filename))

    @classmethod
    def from_pyfile(cls, filename: FilePath) -> Self:
        """A configuration from the names that a Python file defines; executes the file."""
        from runpy import run_path

        path = os.fsdecode(filename)
        return cls._from_attributes(types.SimpleNamespace(**run_path(path)), path)

    @classmethod
    def from_object(cls, instance: object | str) -> Self:
        """A configuration from the attributes of an object, or of what a dotted name leads to.

        Raises:
            ImportError: the name leads nowhere.
        """
        source = instance if isinstance(instance, str) else type(instance).__name__
        if isinstance(instance, str):
            instance = _import(instance)
        return cls._from_attributes(instance, source)

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[str, Any]], source: str) -> Self:
        """A configuration with these attributes; `source` names the file or object in messages."""
        config = cls()
        for name, value in pairs:
            where = f"{source}: {name}" if source else name
            config.assign(name, value, where)
            if not hasattr(cls, name) and name not in TABLE:
                config._unknown[name] = where
        return config

    @classmethod
    def _from_attributes(cls, instance: object, source: str) -> Self:
        config = cls.from_pairs(_attributes(instance), source)
        # A module has names of its own: only those are told of that look like a misspelt setting.
        for name in list(config._unknown):
            if not isinstance(getattr(config, name), _PLAIN) or not suggestion(name, TABLE, 0.8):
                del config._unknown[name]
        return config

    # Towards the server

    def resolve(self, without: Container[str] = ()) -> Settings:
        """Check everything; unknown names from files and mappings are warned about in the error log.

        Args:
            without: settings that have no effect in what follows: not looked at, they get their defaults.

        Raises:
            ConfigError: with every mistake and where it was made.
        """
        values: dict[str, Any] = {}
        mistakes: list[Mistake] = []
        for name, option in TABLE.items():
            try:
                values[name] = option.convert(option.default if name in without else self.given(name))
                if name in _BINDS:
                    values[name] = tuple(parse_bind(text) for text in values[name])
            except ValueError as error:
                mistakes.append(Mistake(self.source_of(name), str(error)))
        mistakes.extend(self._missing_beside(values))
        self._warn_of_unknown_names()
        if mistakes:
            raise ConfigError(mistakes)
        return Settings(self, self.ssl_enabled, values)

    def _missing_beside(self, values: dict[str, Any]) -> list[Mistake]:
        """What is set and cannot do anything without another setting."""
        if self.has_own_ssl_context:
            return []
        if self.certfile is None:
            return [
                Mistake(self.source_of(name), "certfile is missing beside it")
                for name in ("ssl_enabled", "keyfile", "sni_certificates")
                if getattr(self, name)
            ]
        mode = values.get("verify_mode")
        if mode is not None and mode.name == "CERT_REQUIRED" and not self.ca_certs:
            text = "ca_certs is missing beside it: no certificate of a client could be believed"
            return [Mistake(self.source_of("verify_mode"), text)]
        return []

    def _warn_of_unknown_names(self) -> None:
        """Once each; `_unknown` holds a source and a name from a file or a mapping."""
        for name, source in self._unknown.items():
            _log.warning("%s: there is no such setting%s", source, suggestion(name, TABLE))
        self._unknown.clear()

    def wonder_at(self, names: Iterable[tuple[str, str]]) -> None:
        """Warn of these names, each with its source, when the configuration is resolved."""
        self._unknown.update(names)

    def reload_by(self, loader: Callable[[], Config]) -> None:
        """Let `reloaded` return what `loader` does."""
        self._loader = loader

    def reloaded(self) -> Config:
        """The configuration as its files and variables say now; itself if a program made it.

        Raises:
            ConfigError: a file cannot be read.
        """
        return self if self._loader is None else self._loader()

    def _open(self, name: str) -> list[Socket]:
        settings = SocketSettings(
            SOCK_DGRAM if name == "quic_bind" else SOCK_STREAM,
            backlog=None,
            umask=self._converted("umask"),
            user=self._converted("user"),
            group=self._converted("group"),
            inheritable=True,
        )
        groups: list[list[Socket]] = []
        try:
            for bind in self._parsed(name):
                groups.extend(open_bind(bind, settings))
        except BaseException:
            close_all(groups)
            raise
        return [sock for group in groups for sock in group]

    def _parsed(self, name: str) -> list[Bind]:
        try:
            return [parse_bind(text) for text in self._converted(name)]
        except ValueError as error:
            raise ConfigError([Mistake(self.source_of(name), str(error))]) from None

    def _converted(self, name: str) -> Any:
        try:
            return TABLE[name].convert(self.given(name))
        except ValueError as error:
            raise ConfigError([Mistake(self.source_of(name), str(error))]) from None

    def _set_quic_addresses(self, sockets: list[Socket]) -> None:
        self._quic_addresses = [sock.getsockname() for sock in sockets]


def suggestion(name: str, known: Iterable[str], nearness: float = 0.6) -> str:
    """What to add to a sentence about an unknown name: the nearest that exists, if any is near (0 to 1)."""
    from difflib import get_close_matches

    nearest = get_close_matches(name, list(known), 1, nearness)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _attributes(instance: object) -> list[tuple[str, Any]]:
    """What an object says about a configuration; not what every `Config` has by itself."""
    if isinstance(instance, Config):
        names = [name for name in TABLE if instance.source_of(name) != "default"]
        names += [
            name
            for name in dir(instance)
            if not name.startswith("_") and name not in TABLE and instance.is_own(name)
        ]
    else:
        names = [name for name in dir(instance) if not name.startswith("__")]
    pairs = [(name, getattr(instance, name)) for name in names]
    return [(name, value) for name, value in pairs if not isinstance(value, types.ModuleType)]


def _import(path: str) -> Any:
    """A module, or else an attribute of one."""
    try:
        return importlib.import_module(path)
    except ImportError:
        if "." not in path:
            raise
    return _import_attribute(path)


def _import_attribute(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, ValueError):
        raise ImportError(f"there is no {path}") from None
