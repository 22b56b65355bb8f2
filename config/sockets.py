"""Listening sockets: made from binds, owned by whoever opened them."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from .binds import Bind, BindKind

#: Tries to find a port that is free on every address of a host name.
_PORT_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket.

    Attributes:
        key: unique among the listeners of one arbiter; names it in messages.
        sock: non-blocking, listening.
        bind: what it was made from.
        secure: TLS is spoken on it.
        shared: several workers accept from it (no `SO_REUSEPORT` socket of its own per slot).
    """

    key: int
    sock: socket.socket
    bind: Bind
    secure: bool
    shared: bool


@dataclass
class Sockets:
    """The sockets of one server, as `Config.create_sockets` makes them."""

    secure_sockets: list[socket.socket]
    insecure_sockets: list[socket.socket]
    quic_sockets: list[socket.socket] = field(default_factory=list[socket.socket])


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """How sockets are opened.

    Attributes:
        kind: `socket.SOCK_STREAM`, or `socket.SOCK_DGRAM` for QUIC.
        backlog: connections that wait to be accepted; None: the sockets do not listen yet.
        umask: mask while a Unix socket file is made, None leaves the process's own.
        user, group: numeric owner of a Unix socket file, None leaves it.
        inheritable: the sockets stay open in programs that are exec'd, as Hypercorn's do.
    """

    kind: socket.SocketKind = socket.SOCK_STREAM
    backlog: int | None = 100
    umask: int | None = None
    user: int | None = None
    group: int | None = None
    inheritable: bool = False


class BindError(OSError):
    """A bind cannot be opened: one sentence that names it and says what to do. Exit status 1.

    Args:
        number: becomes `errno`, which programs written for Hypercorn look at; None: the system was not asked.
    """

    def __init__(self, sentence: str, number: int | None = None) -> None:
        super().__init__(sentence)
        self.errno = number


class SocketTypeError(BindError):
    """An inherited descriptor is a socket of the wrong type; both are numbers of `socket.SocketKind`."""

    def __init__(self, expected: int, actual: int, bind: Bind | None = None) -> None:
        self.expected = socket.SocketKind(expected)
        self.actual = socket.SocketKind(actual)
        where = "" if bind is None else f"cannot bind {bind}: "
        super().__init__(
            f"{where}a {self.expected.name} socket is wanted, the descriptor is a {self.actual.name}",
            errno.EPROTOTYPE,
        )


def supports_reuse_port(bind: Bind) -> bool:
    """Whether this bind can have one listening socket per worker between which the kernel shares connections."""
    return bind.kind is BindKind.INET and hasattr(socket, "SO_REUSEPORT") and os.uname().sysname == "Linux"


def open_bind(
    bind: Bind,
    settings: SocketSettings = SocketSettings(),
    copies: int | None = None,
    ours: Sequence[socket.socket] = (),
) -> list[list[socket.socket]]:
    """Open a bind: one group of sockets for each of its addresses (a host name may have several).

    All sockets are non-blocking; stream sockets are listening, but with a backlog of None. With `copies` None each
    group is one plain socket. Otherwise each is `copies` sockets that share one port by `SO_REUSEPORT` (see `open_copy` for more
    of them later); only for binds where `supports_reuse_port`. A port that somebody else holds is an error then too,
    although the kernel would let the same user join. Resolving a host name may block.

    `ours` are listening sockets of the caller, who is about to give them up. They are not in the way: an address that
    overlaps with theirs is opened beside them, and one that is the very same is not opened again: its group is one
    duplicate of the socket that has it, with the queue of that.

    Raises:
        BindError: it cannot be opened.
    """
    try:
        if bind.kind is BindKind.DESCRIPTOR:
            return [[_adopt(bind, settings)]]
        if bind.kind is BindKind.INET:
            return _open_inet(bind, settings, copies, ours)
        return [[_open_unix(bind, settings, ours)]]
    except BindError:
        raise
    except OSError as error:
        raise BindError(f"cannot bind {bind}: {_explain(bind, error)}", error.errno) from error
    except UnicodeError as error:  # from the encoding of host names (RFC 3490)
        raise BindError(f"cannot bind {bind}: {bind.host!r} is no host name") from error


def open_copy(sock: socket.socket, backlog: int) -> socket.socket:
    """One more member of a group of `SO_REUSEPORT` sockets, listening on the address of `sock`.

    Raises:
        OSError: the address cannot be joined.
    """
    return _bound(sock.family, sock.getsockname(), SocketSettings(sock.type, backlog), reuse_port=True)


def start_listening(sockets: Sockets, backlog: int) -> None:
    """Make ready to accept what `Config.create_sockets` gave, which may be the user's own.

    Raises:
        BindError: somebody has begun to listen on such an address since it was bound.
    """
    for sock in (*sockets.secure_sockets, *sockets.insecure_sockets):
        sock.set_inheritable(False)
        sock.setblocking(False)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            continue
        try:
            sock.listen(backlog)
        except OSError as error:
            where = socket_url(sock, secure=False)
            raise BindError(
                f"cannot listen on {where}: {os.strerror(error.errno or 0)}", error.errno
            ) from error


def close_all(groups: list[list[socket.socket]]) -> None:
    """Close what `open_bind` opened; socket files stay, see `remove_socket_file`."""
    for group in groups:
        for sock in group:
            sock.close()


def remove_socket_file(path: str) -> None:
    """Remove the file of a Unix socket, if it is one and nobody listens on it any more.

    For the owner at its exit, after it has closed the listener: the file of a successor stays.

    Raises:
        OSError: somebody listens on it (EADDRINUSE), it is another type of file (EEXIST), or it cannot be removed.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "the file exists and is no socket")
    if _is_answered(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def socket_url(sock: socket.socket, secure: bool) -> str:
    """The real address of a listening socket as banners show it: `https://[::1]:8443`, `http://unix:/run/x`."""
    address = sock.getsockname()
    scheme = "https" if secure else "http"
    if sock.family == socket.AF_INET:
        return f"{scheme}://{address[0]}:{address[1]}"
    if sock.family == socket.AF_INET6:
        return f"{scheme}://[{address[0]}]:{address[1]}"
    if isinstance(address, bytes):  # abstract, begins with a zero byte
        return f"{scheme}://unix:@{os.fsdecode(address[1:])}"
    return f"{scheme}://unix:{address}"


def _open_inet(
    bind: Bind, settings: SocketSettings, copies: int | None, ours: Sequence[socket.socket]
) -> list[list[socket.socket]]:
    addresses = _resolve(bind, settings.kind)

    def open_group(family: int, address: tuple[str | int, ...]) -> list[socket.socket]:
        return _open_group(family, address, settings, copies, _on_port(ours, family, address[1]))

    for _ in range(1, _PORT_ATTEMPTS):
        try:
            return _open_addresses(bind, addresses, open_group)
        except OSError as error:
            # The port that the kernel chose on the first address may be taken on the second: choose again.
            if bind.port or error.errno != errno.EADDRINUSE:
                raise
    return _open_addresses(bind, addresses, open_group)


def _open_addresses(
    bind: Bind,
    addresses: list[tuple[int, str, int]],
    open_group: Callable[[int, tuple[str | int, ...]], list[socket.socket]],
) -> list[list[socket.socket]]:
    groups: list[list[socket.socket]] = []
    port = bind.port
    unavailable: OSError | None = None
    try:
        for family, host, scope in addresses:
            address = (host, port, 0, scope) if scope else (host, port)
            try:
                groups.append(open_group(family, address))
            except OSError as error:
                # "localhost" has an IPv6 address where the kernel has no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or len(addresses) == 1:
                    raise
                unavailable = error
                continue
            port = port or groups[0][0].getsockname()[1]
    except BaseException:
        close_all(groups)
        raise
    if not groups and unavailable is not None:
        raise unavailable
    return groups


def _open_group(
    family: int,
    address: tuple[str | int, ...],
    settings: SocketSettings,
    copies: int | None,
    ours: list[socket.socket],
) -> list[socket.socket]:
    same = next((sock for sock in ours if _has_address(sock, address)), None)
    if same is not None:
        return [same.dup()]
    for sock in ours:
        # Only such sockets let another be bound to an address that overlaps with theirs, and only if it is one too.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if copies is None:
        return [_bound(family, address, settings, reuse_port=bool(ours))]
    # The first has the address to itself: joining somebody else's by SO_REUSEPORT would share his connections. Once it
    # listens, nobody can have been as fast, and others of this user's may join it.
    group = [_bound(family, address, settings, reuse_port=bool(ours))]
    try:
        group[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for _ in range(1, copies):
            group.append(_bound(family, group[0].getsockname(), settings, reuse_port=True))
    except BaseException:
        close_all([group])
        raise
    return group


def _on_port(ours: Sequence[socket.socket], family: int, port: str | int) -> list[socket.socket]:
    return [sock for sock in ours if sock.family == family and sock.getsockname()[1] == port]


def _has_address(sock: socket.socket, address: tuple[str | int, ...]) -> bool:
    name = sock.getsockname()
    # An IPv6 name has a flow label and a scope besides host and port.
    return bool(name == (*address, 0, 0)[: len(name)])


def _bound(
    family: int, address: tuple[str | int, ...], settings: SocketSettings, *, reuse_port: bool
) -> socket.socket:
    sock = socket.socket(family, settings.kind)
    try:
        _set_options(sock, family, settings.kind)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        return _listening(sock, settings)
    except BaseException:
        sock.close()
        raise


def _set_options(sock: socket.socket, family: int, kind: int) -> None:
    if family != socket.AF_UNIX and kind == socket.SOCK_STREAM:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _listening(sock: socket.socket, settings: SocketSettings) -> socket.socket:
    sock.setblocking(False)
    sock.set_inheritable(settings.inheritable)
    if settings.kind == socket.SOCK_STREAM and settings.backlog is not None:
        sock.listen(settings.backlog)
    return sock


def _resolve(bind: Bind, kind: socket.SocketKind) -> list[tuple[int, str, int]]:
    """Family, address and scope of each address of the bind's host, without duplicates."""
    if not bind.host:
        return [(socket.AF_INET, "0.0.0.0", 0)]
    found = socket.getaddrinfo(bind.host, bind.port, type=kind, flags=socket.AI_PASSIVE)
    addresses = [
        (int(family), str(address[0]), int(address[-1]) if family == socket.AF_INET6 else 0)
        for family, _, _, _, address in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]
    return list(dict.fromkeys(addresses))


def _open_unix(bind: Bind, settings: SocketSettings, ours: Sequence[socket.socket]) -> socket.socket:
    for present in ours:
        if present.family == socket.AF_UNIX and _is_named(present, bind):
            return present.dup()
    sock = socket.socket(socket.AF_UNIX, settings.kind)
    try:
        _set_options(sock, socket.AF_UNIX, settings.kind)
        if bind.kind is BindKind.ABSTRACT:
            sock.bind(b"\0" + os.fsencode(bind.path))
        else:
            _bind_file(sock, bind.path, settings)
        return _listening(sock, settings)
    except BaseException:
        sock.close()
        raise


def _is_named(sock: socket.socket, bind: Bind) -> bool:
    name = sock.getsockname()
    if bind.kind is BindKind.ABSTRACT:
        return bool(name == b"\0" + os.fsencode(bind.path))
    return isinstance(name, str) and os.path.realpath(name) == os.path.realpath(bind.path)


def _bind_file(sock: socket.socket, path: str, settings: SocketSettings) -> None:
    remove_socket_file(path)
    if os.path.islink(path):  # to the system the name is taken, although there is nothing
        raise BindError(
            f"cannot bind unix:{path}: it is a symbolic link to {os.readlink(path)}, which does not exist; "
            "remove it or choose another path",
            errno.EEXIST,
        )
    with _umask(settings.umask):
        sock.bind(path)
    if settings.user is not None or settings.group is not None:
        try:
            os.chown(
                path,
                -1 if settings.user is None else settings.user,
                -1 if settings.group is None else settings.group,
            )
        except OSError as error:
            os.unlink(path)
            raise BindError(
                f"cannot bind unix:{path}: its file cannot be given to the configured user or group: {error.strerror}; "
                "leave out --user and --group, or start as root",
                error.errno,
            ) from error


@contextlib.contextmanager
def _umask(mask: int | None) -> Generator[None]:
    if mask is None:
        yield
        return
    previous = os.umask(mask)
    try:
        yield
    finally:
        os.umask(previous)


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # its queue is full, so it has one
            return True
    return True


def _adopt(bind: Bind, settings: SocketSettings) -> socket.socket:
    sock = socket.socket(fileno=bind.fd)
    try:
        actual = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        if actual != settings.kind:
            raise SocketTypeError(settings.kind, actual, bind)
        # V6ONLY cannot be changed any more, and is its opener's affair.
        _set_options(sock, socket.AF_INET if sock.family == socket.AF_INET6 else sock.family, settings.kind)
        return _listening(sock, settings)
    except BaseException:
        sock.detach()  # it is not ours to close
        raise


def _explain(bind: Bind, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host name {bind.host!r} cannot be resolved ({error.strerror}); write an address or correct it"
    advice = {
        errno.EADDRINUSE: "the address is in use; stop whatever listens there or choose another",
        errno.EACCES: "permission denied; choose a port above 1023 or a directory that you may write to, "
        "or start as root with --user and --group",
        errno.EADDRNOTAVAIL: "no interface of this machine has that address; choose one that exists, or 0.0.0.0",
        errno.EAFNOSUPPORT: "the system does not support such addresses; choose another",
        errno.ENOENT: "the directory does not exist; make it",
        errno.ENOTDIR: "what stands before the last / is no directory; correct the path",
        errno.EROFS: "the file system is read-only; choose a directory that can be written to",
        errno.EEXIST: "the file exists and is no socket; remove it or choose another path",
        errno.EBADF: "there is no such descriptor; was it passed by whoever started this?",
        errno.ENOTSOCK: "the descriptor is no socket",
        errno.EMFILE: "too many open files; raise the limit (ulimit -n, LimitNOFILE=) or start fewer workers",
    }
    if "AF_UNIX path too long" in str(error):
        return "the path is too long for a Unix socket; choose a shorter one"
    if error.errno == errno.EINVAL and bind.kind is BindKind.DESCRIPTOR:
        return "the descriptor is a connection, not a listening socket; in a socket unit of systemd, say Accept=no"
    if error.errno == errno.EINVAL and bind.host.lower().startswith("fe80:"):
        return "such an address exists once for each interface; name one, as in [fe80::1%eth0]:8000"
    return advice.get(error.errno or 0, str(error))
