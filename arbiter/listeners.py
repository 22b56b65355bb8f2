"""Which listener belongs to which slot: opening, keeping, closing. The arbiter owns all of them.

Each TCP bind has one `SO_REUSEPORT` socket per slot where the system can; everything else is one socket that all
workers share. A bind that two configurations have in common keeps its sockets, and so what waits in their queues.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from socket import getaddrinfo, socket
from typing import TypeAlias

from ..config.binds import Bind, BindKind
from ..config.config import Config
from ..config.settings import Settings
from ..config.sockets import (
    BindError,
    Listener,
    SocketSettings,
    close_all,
    open_bind,
    open_copy,
    socket_url,
    start_listening,
    supports_reuse_port,
)
from .messages import ListenerKeys

_EVERYWHERE = {"0.0.0.0", "::"}

Place: TypeAlias = tuple[Bind, bool]


@dataclass(slots=True)
class _Group:
    """The sockets of one address: one for each slot, or only `shared`."""

    own: dict[int, Listener] = field(default_factory=dict[int, Listener])
    shared: Listener | None = None
    file: tuple[str, int] | None = None

    def listeners(self) -> list[Listener]:
        return [*self.own.values(), *([] if self.shared is None else [self.shared])]

    def has_address_of(self, sock: socket) -> bool:
        name = sock.family, sock.getsockname()
        return any((one.sock.family, one.sock.getsockname()) == name for one in self.listeners()[:1])


class ListenerTable:
    """All listeners of one arbiter. Nothing here blocks, but for resolving host names in `open`."""

    def __init__(self) -> None:
        self._places: dict[Place, list[_Group]] = {}
        self._listeners: dict[int, Listener] = {}
        self._last_key = 0

    def open(self, settings: Settings, slots: Iterable[int]) -> ListenerKeys:
        """Open what these settings bind and is not open yet, for each of `slots`.

        Returns the listeners of these settings, slots of earlier calls included.

        Raises:
            BindError: one cannot be opened; then all is as it was before.
        """
        before = set(self._listeners)
        slots = list(slots)
        try:
            places = list(self._wanted(settings, slots))
            for place in places:
                self._extend(place, settings, slots)
        except BindError:
            self.close(set(self._listeners) - before)
            raise
        except OSError as error:
            self.close(set(self._listeners) - before)
            raise BindError(f"cannot open a listener: {error}", error.errno) from error
        return self._keys(places, slots)

    def get(self, keys: Iterable[int]) -> tuple[Listener, ...]:
        """The listeners with these keys; such as are closed already are left out."""
        return tuple(self._listeners[key] for key in sorted(keys) if key in self._listeners)

    def urls(self, settings: Settings) -> list[str]:
        """The real addresses of these settings' binds, such as http://127.0.0.1:8000."""
        places = self._own_places() if _makes_its_own(settings) else _places(settings)
        groups = [group for place in places for group in self._places.get(place, [])]
        return [socket_url(one.sock, one.secure) for group in groups for one in group.listeners()[:1]]

    def keys(self) -> frozenset[int]:
        """All that are open."""
        return frozenset(self._listeners)

    def close_all(self) -> None:
        """The end: see `close`."""
        self.close(self.keys())

    def close(self, keys: Iterable[int]) -> None:
        """Close our copies; the file of a Unix socket is removed if it is still the one that we made."""
        for key in set(keys) & self._listeners.keys():
            self._listeners.pop(key).sock.close()
        files = {group.file for groups in self._places.values() for group in groups}
        for place, groups in list(self._places.items()):
            for group in groups:
                self._prune(group)
            self._places[place] = [group for group in groups if group.listeners()]
            if not self._places[place]:
                del self._places[place]
        kept = {group.file for groups in self._places.values() for group in groups}
        for file in files - kept:
            if file is not None:
                _remove_file(*file)

    def keep_only(self, keys: Iterable[int]) -> None:
        """In a worker: close the copies of all other listeners; files stay."""
        for key in self._listeners.keys() - set(keys):
            self._listeners.pop(key).sock.close()

    def _prune(self, group: _Group) -> None:
        group.own = {slot: one for slot, one in group.own.items() if one.key in self._listeners}
        if group.shared is not None and group.shared.key not in self._listeners:
            group.shared = None

    def _wanted(self, settings: Settings, slots: Sequence[int]) -> Iterator[Place]:
        """The places of the settings, each with its groups in the table."""
        if _makes_its_own(settings):
            yield from self._made_by_config(settings)
            return
        places = list(_places(settings))
        for place in places:
            if place not in self._places:
                bind, is_secure = place
                # An address that is wanted both ways (port 0 may be) is two addresses.
                switched = None if (bind, not is_secure) in places else self._other_way(place)
                self._places[place] = switched or self._open(place, settings, slots, places)
            yield place

    def _own_places(self) -> list[Place]:
        return [place for place in self._places if place[0].text == "create_sockets"]

    def _made_by_config(self, settings: Settings) -> Iterator[Place]:
        """`Config.create_sockets` was overridden: its sockets are shared, and made only once."""
        if present := self._own_places():
            yield from present
            return
        sockets = settings.config.create_sockets()
        try:
            start_listening(sockets, settings.backlog)
        except BindError:
            close_all([sockets.secure_sockets, sockets.insecure_sockets])
            raise
        for is_secure, made in ((True, sockets.secure_sockets), (False, sockets.insecure_sockets)):
            for sock in made:
                bind = Bind("create_sockets", BindKind.DESCRIPTOR, fd=sock.fileno())
                self._places[bind, is_secure] = [self._group(bind, is_secure, [sock], None)]
                yield bind, is_secure

    def _open(
        self, place: Place, settings: Settings, slots: Sequence[int], wanted: Sequence[Place]
    ) -> list[_Group]:
        bind, is_secure = place
        own = list(slots) if supports_reuse_port(bind) and settings.reuse_port is not False else None
        # What these settings do not name any more; what they do name must not be bound twice.
        leaving = [group for other, groups in self._places.items() if other not in wanted for group in groups]
        ours = [one.sock for group in leaving for one in group.listeners()]
        groups: list[_Group] = []
        try:
            opened = open_bind(bind, _socket_settings(settings), len(own) if own else None, ours)
        except BindError as error:
            if error.errno == errno.EADDRINUSE and (other := self._in_the_way(bind)) is not None:
                text = (
                    f"cannot bind {bind}: it overlaps with {other}, which is bound too; leave one of them out"
                )
                raise BindError(text, error.errno) from error
            raise
        for sockets in opened:
            twin = next((group for group in leaving if group.has_address_of(sockets[0])), None)
            if twin is None:
                groups.append(self._group(bind, is_secure, sockets, own))
            else:
                sockets[0].close()
                groups.append(self._twin(twin, bind, is_secure))
        return groups

    def _in_the_way(self, bind: Bind) -> Bind | None:
        """One of ours that has an address of `bind`, or all addresses of its port."""
        if bind.kind is not BindKind.INET:
            return None
        wanted = {str(address[4][0]) for address in getaddrinfo(bind.host or "0.0.0.0", bind.port)}
        for listener in self._listeners.values():
            if listener.bind.kind is BindKind.INET:
                host, port = listener.sock.getsockname()[:2]
                if port == bind.port and (host in wanted or _EVERYWHERE & {host, *wanted}):
                    return listener.bind
        return None

    def _group(self, bind: Bind, is_secure: bool, sockets: list[socket], slots: list[int] | None) -> _Group:
        if slots:
            pairs = zip(slots, sockets, strict=True)
            return _Group({slot: self._add(sock, bind, is_secure, False) for slot, sock in pairs})
        return _Group(shared=self._add(sockets[0], bind, is_secure, True), file=_file_of(bind))

    def _other_way(self, place: Place) -> list[_Group] | None:
        """The same bind with TLS instead of without, or the reverse."""
        bind, is_secure = place
        groups = self._places.get((bind, not is_secure))
        if groups is None:
            return None
        return [self._twin(group, bind, is_secure) for group in groups]

    def _twin(self, group: _Group, bind: Bind, is_secure: bool) -> _Group:
        """The same sockets, with what waits in their queues, under other keys."""

        def copy(listener: Listener) -> Listener:
            return self._add(listener.sock.dup(), bind, is_secure, listener.shared)

        own = {slot: copy(one) for slot, one in group.own.items()}
        return _Group(own, None if group.shared is None else copy(group.shared), group.file)

    def _extend(self, place: Place, settings: Settings, slots: Sequence[int]) -> None:
        bind, is_secure = place
        for group in self._places[place]:
            if group.shared is None:
                model = next(iter(group.own.values())).sock
                for slot in slots:
                    if slot not in group.own:
                        sock = open_copy(model, settings.backlog)
                        group.own[slot] = self._add(sock, bind, is_secure, False)

    def _add(self, sock: socket, bind: Bind, is_secure: bool, is_shared: bool) -> Listener:
        self._last_key += 1
        listener = Listener(self._last_key, sock, bind, is_secure, is_shared)
        self._listeners[listener.key] = listener
        return listener

    def _keys(self, places: Sequence[Place], slots: Iterable[int]) -> ListenerKeys:
        groups = [group for place in places for group in self._places[place]]
        known = {*slots, *(slot for group in groups for slot in group.own)}
        own = {
            slot: frozenset(group.own[slot].key for group in groups if slot in group.own) for slot in known
        }
        return ListenerKeys(own, frozenset(group.shared.key for group in groups if group.shared is not None))


def _places(settings: Settings) -> list[Place]:
    """What is to be bound, once each, and whether TLS is spoken there."""
    if not settings.ssl_enabled:
        return list(dict.fromkeys((bind, False) for bind in settings.bind))
    both = [(bind, True) for bind in settings.bind] + [(bind, False) for bind in settings.insecure_bind]
    return list(dict.fromkeys(both))


def _makes_its_own(settings: Settings) -> bool:
    return type(settings.config).create_sockets is not Config.create_sockets


def _socket_settings(settings: Settings) -> SocketSettings:
    return SocketSettings(
        backlog=settings.backlog, umask=settings.umask, user=settings.user, group=settings.group
    )


def _file_of(bind: Bind) -> tuple[str, int] | None:
    if bind.kind is not BindKind.UNIX:
        return None
    path = os.path.abspath(bind.path)
    return path, os.stat(path).st_ino


def _remove_file(path: str, inode: int) -> None:
    with contextlib.suppress(OSError):
        if os.stat(path).st_ino == inode:
            os.unlink(path)
