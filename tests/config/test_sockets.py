"""Real sockets: on loopback, in a temporary directory, abstract and inherited."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypercorn.config import BindError, Config, ConfigError, Sockets, SocketTypeError, parse_bind
from hypercorn.config.sockets import (
    SocketSettings,
    close_all,
    open_bind,
    open_copy,
    remove_socket_file,
    socket_url,
    start_listening,
    supports_reuse_port,
)

Open = Callable[..., list[list[socket.socket]]]

reuses_ports = pytest.mark.skipif(
    not supports_reuse_port(parse_bind("127.0.0.1")),
    reason="the kernel shares no connections between sockets",
)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.fixture
def opened() -> Iterator[Open]:
    groups: list[list[socket.socket]] = []

    def open_one(
        text: str, settings: SocketSettings | None = None, copies: int | None = None
    ) -> list[list[socket.socket]]:
        new = open_bind(parse_bind(text), settings or SocketSettings(), copies)
        groups.extend(new)
        return new

    yield open_one
    close_all(groups)


def reaches(sock: socket.socket) -> bool:
    with socket.socket(sock.family, sock.type) as client:
        client.settimeout(30)
        client.connect(sock.getsockname())
        sock.settimeout(30)
        peer, _ = sock.accept()
        peer.close()
    return True


def test_a_socket_listens_and_does_not_block(opened: Open) -> None:
    [[sock]] = opened("127.0.0.1:0")
    assert sock.getblocking() is False
    assert sock.get_inheritable() is False
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
    assert socket_url(sock, secure=False) == f"http://127.0.0.1:{sock.getsockname()[1]}"
    assert reaches(sock)


@needs_ipv6
def test_ipv6_is_ipv6_only(opened: Open) -> None:
    [[sock]] = opened("[::1]:0")
    assert sock.family == socket.AF_INET6
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    assert socket_url(sock, secure=True) == f"https://[::1]:{sock.getsockname()[1]}"
    assert reaches(sock)


def test_every_address_of_a_host_name_has_the_same_port(opened: Open) -> None:
    groups = opened("localhost:0")
    ports = {sock.getsockname()[1] for [sock] in groups}
    assert len(ports) == 1
    assert len({sock.family for [sock] in groups}) == len(groups)


@pytest.fixture
def name_service(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def answer(*addresses: str) -> None:
        def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return answer


def test_addresses_of_a_name_that_the_machine_lacks_are_passed_over(
    opened: Open, name_service: Callable[..., None]
) -> None:
    name_service("203.0.113.77", "127.0.0.1")
    [[sock]] = opened("name:0")
    assert sock.getsockname()[0] == "127.0.0.1"
    name_service("203.0.113.77", "203.0.113.78")
    with pytest.raises(BindError, match="no interface of this machine"):
        opened("name:0")


@pytest.mark.parametrize("copies", [None, pytest.param(2, marks=reuses_ports)])
def test_no_address_stays_open_when_one_fails(
    opened: Open, name_service: Callable[..., None], copies: int | None
) -> None:
    [[other]] = opened("127.0.0.1:0")
    name_service("127.0.0.2", "127.0.0.1")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BindError, match="the address is in use"):
        opened(f"name:{other.getsockname()[1]}", None, copies)
    assert os.listdir("/proc/self/fd") == before


def test_there_is_an_end_to_choosing_ports(opened: Open, name_service: Callable[..., None]) -> None:
    name_service("127.0.0.1", "127.1")  # the same address: no port is free on both
    with pytest.raises(BindError, match="the address is in use"):
        opened("name:0")


def test_an_empty_host_is_every_ipv4_address(opened: Open) -> None:
    [[sock]] = opened(":0")
    assert sock.getsockname()[0] == "0.0.0.0"


@reuses_ports
@pytest.mark.parametrize("copies", [1, 3])
def test_a_group_shares_the_port_that_the_first_was_given(opened: Open, copies: int) -> None:
    [group] = opened("127.0.0.1:0", None, copies)
    assert len(group) == copies
    assert len({sock.getsockname() for sock in group}) == 1
    assert all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) for sock in group)
    with open_copy(group[0], 10) as another:
        assert another.getsockname() == group[0].getsockname()
        assert another.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert another.getblocking() is False


@reuses_ports
def test_a_group_joins_nobody_elses_port(opened: Open, hold_port: Callable[[], int]) -> None:
    port = hold_port()
    [group] = opened(f"127.0.0.1:{port}", None, 2)
    with pytest.raises(BindError, match=f"cannot bind 127.0.0.1:{port}: the address is in use"):
        opened(f"127.0.0.1:{port}", None, 2)
    close_all([group])
    [again] = opened(f"127.0.0.1:{port}", None, 2)
    assert again[1].getsockname()[1] == port


def test_a_port_in_use_is_one_sentence(opened: Open) -> None:
    [[sock]] = opened("127.0.0.1:0")
    port = sock.getsockname()[1]
    with pytest.raises(BindError) as raised:
        opened(f"127.0.0.1:{port}")
    assert str(raised.value).startswith(f"cannot bind 127.0.0.1:{port}: the address is in use; ")
    assert raised.value.errno == errno.EADDRINUSE  # programs try another port then
    assert isinstance(raised.value.__cause__, OSError)


def test_no_descriptor_is_left(opened: Open) -> None:
    with socket.socket() as probe:
        lowest_free = probe.fileno()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(BindError, match=r"too many open files; raise the limit"):
            opened("127.0.0.1:0")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_address_that_no_interface_has(opened: Open) -> None:
    with pytest.raises(BindError, match=r"^cannot bind 203\.0\.113\.77:0: no interface of this machine"):
        opened("203.0.113.77:0")


@needs_ipv6
def test_an_address_that_each_interface_has(opened: Open) -> None:
    with pytest.raises(BindError, match=r"once for each interface; name one, as in \[fe80::1%eth0\]:8000"):
        opened("[fe80::1]:0")


def test_a_name_that_nobody_knows(opened: Open) -> None:
    with pytest.raises(
        BindError, match=r"^cannot bind nobody\.invalid:0: the host name 'nobody.invalid' cannot be"
    ):
        opened("nobody.invalid:0")


def test_a_name_that_cannot_be_one(opened: Open) -> None:
    with pytest.raises(BindError, match=r"is no host name$"):
        opened(f"{'x' * 70}.invalid:0")


def test_a_unix_socket(opened: Open, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    [[sock]] = opened(f"unix:{path}", SocketSettings(umask=0o177))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert socket_url(sock, secure=False) == f"http://unix:{path}"
    assert reaches(sock)


def test_the_umask_of_the_process_returns(opened: Open, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        opened(f"unix:{tmp_path}/s", SocketSettings(umask=0o077))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_a_unix_socket_is_given_away(opened: Open, tmp_path: Path) -> None:
    opened(f"unix:{tmp_path}/s", SocketSettings(user=os.getuid(), group=os.getgid()))
    status = os.stat(tmp_path / "s")
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())


def test_a_stale_unix_socket_is_replaced(opened: Open, tmp_path: Path) -> None:
    [[sock]] = opened(f"unix:{tmp_path}/s")
    sock.close()
    [[sock]] = opened(f"unix:{tmp_path}/s")
    assert reaches(sock)


def test_a_unix_socket_that_is_answered_stays(opened: Open, tmp_path: Path) -> None:
    [[sock]] = opened(f"unix:{tmp_path}/s")
    with pytest.raises(BindError, match="the address is in use"):
        opened(f"unix:{tmp_path}/s")
    with pytest.raises(OSError, match="in use") as raised:
        remove_socket_file(f"{tmp_path}/s")
    assert raised.value.errno == errno.EADDRINUSE
    assert (tmp_path / "s").is_socket()
    sock.settimeout(30)
    sock.accept()[0].close()  # the question whether anybody is there
    sock.accept()[0].close()
    assert reaches(sock)


def test_a_unix_socket_whose_queue_is_full_stays(opened: Open, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    opened(f"unix:{path}", SocketSettings(backlog=0))
    with contextlib.ExitStack() as stack, contextlib.suppress(BlockingIOError):
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect(path)
    with socket.socket(socket.AF_UNIX) as last:
        last.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            last.connect(path)
        with pytest.raises(BindError, match="the address is in use"):
            opened(f"unix:{path}")


def test_a_file_in_the_way_stays(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(BindError, match="the file exists and is no socket; remove it"):
        opened(f"unix:{tmp_path}/s")
    assert (tmp_path / "s").read_text() == "precious"


def test_a_link_that_leads_nowhere_is_not_called_in_use(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "s").symlink_to("gone")
    with pytest.raises(BindError, match="it is a symbolic link to gone, which does not exist; remove it"):
        opened(f"unix:{tmp_path}/s")
    assert (tmp_path / "s").is_symlink()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("none/s", "the directory does not exist"),
        ("file/s", "what stands before the last / is no directory"),
        ("x" * 120, "too long"),
    ],
)
def test_a_unix_path_that_cannot_be(opened: Open, tmp_path: Path, path: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BindError, match=reason):
        opened(f"unix:{tmp_path}/{path}")


def test_the_owner_removes_its_file(opened: Open, tmp_path: Path) -> None:
    [[sock]] = opened(f"unix:{tmp_path}/s")
    sock.close()
    remove_socket_file(f"{tmp_path}/s")
    assert not (tmp_path / "s").exists()
    remove_socket_file(f"{tmp_path}/s")


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="abstract sockets are Linux's")
def test_an_abstract_socket(opened: Open) -> None:
    name = f"hypercorn-{uuid.uuid4()}"
    [[sock]] = opened(f"unix:@{name}")
    assert sock.getsockname() == b"\0" + name.encode()
    assert socket_url(sock, secure=False) == f"http://unix:@{name}"
    assert reaches(sock)
    with pytest.raises(BindError, match="the address is in use"):
        opened(f"unix:@{name}")


@pytest.mark.parametrize("listening", [True, False])
def test_an_inherited_socket(opened: Open, listening: bool) -> None:
    original = socket.socket()
    original.bind(("127.0.0.1", 0))
    if listening:
        original.listen()
    address = original.getsockname()
    [[sock]] = opened(f"fd://{original.detach()}")
    assert sock.getsockname() == address
    assert sock.getblocking() is False
    assert sock.get_inheritable() is False
    assert reaches(sock)


def test_an_inherited_socket_of_the_wrong_type(opened: Open) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as original:
        with pytest.raises(
            SocketTypeError,
            match=r"^cannot bind fd://\d+: a SOCK_STREAM socket is wanted, .* is a SOCK_DGRAM",
        ) as raised:
            opened(f"fd://{original.fileno()}")
        assert (raised.value.expected, raised.value.actual) == (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        assert original.getsockname()  # still open


def test_an_inherited_descriptor_that_is_no_socket(opened: Open, tmp_path: Path) -> None:
    with open(tmp_path / "f", "w") as file, pytest.raises(BindError, match="the descriptor is no socket"):
        opened(f"fd://{file.fileno()}")
    with pytest.raises(BindError, match="there is no such descriptor"):
        opened("fd://987654")


def close(sockets: Sockets) -> None:
    close_all([sockets.secure_sockets, sockets.insecure_sockets, sockets.quic_sockets])


def test_clear_text_uses_bind_alone() -> None:
    config = Config.from_mapping(
        bind=["127.0.0.1:0", "127.0.0.1:0"], insecure_bind="127.0.0.1:0", quic_bind="[::1]:0"
    )
    sockets = config.create_sockets()
    assert (len(sockets.secure_sockets), len(sockets.insecure_sockets), len(sockets.quic_sockets)) == (
        0,
        2,
        0,
    )
    assert all(sock.get_inheritable() for sock in sockets.insecure_sockets)
    close(sockets)


def test_the_sockets_of_a_configuration_do_not_listen_before_they_are_served() -> None:
    first = Config.from_mapping(bind="127.0.0.1:0").create_sockets()
    (sock,) = first.insecure_sockets
    port = sock.getsockname()[1]
    assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    # Programs that only wanted to know the port make them a second time.
    second = Config.from_mapping(bind=f"127.0.0.1:{port}").create_sockets()
    start_listening(second, 5)
    with pytest.raises(BindError, match=rf"^cannot listen on http://127\.0\.0\.1:{port}: ") as raised:
        start_listening(first, 5)
    assert raised.value.errno == errno.EADDRINUSE
    start_listening(second, 5)  # nothing is wrong with one that listens
    close(first)
    close(second)


def test_tls_uses_all_three() -> None:
    config = Config.from_mapping(
        bind="127.0.0.1:0", insecure_bind="127.0.0.1:0", quic_bind="127.0.0.1:0", certfile="c", keyfile="k"
    )
    sockets = config.create_sockets()
    assert (len(sockets.secure_sockets), len(sockets.insecure_sockets), len(sockets.quic_sockets)) == (
        1,
        1,
        1,
    )
    assert sockets.quic_sockets[0].type == socket.SOCK_DGRAM
    close(sockets)


def test_no_socket_stays_open_when_one_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        before = os.listdir("/proc/self/fd")
        config = Config.from_mapping(bind=["127.0.0.1:0", f"127.0.0.1:{other.getsockname()[1]}"])
        with pytest.raises(BindError, match="the address is in use"):
            config.create_sockets()
        assert os.listdir("/proc/self/fd") == before


def test_a_bind_that_cannot_be_understood() -> None:
    config = Config()
    config.bind = "host:x"
    with pytest.raises(ConfigError, match=r"^Config\.bind: 'host:x' is no bind"):
        config.create_sockets()


def test_a_socket_file_that_cannot_be_given_away_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)
    present = os.geteuid()
    os.seteuid(present or 65534)
    try:
        with pytest.raises(BindError, match=r"^cannot bind unix:x\.sock: its file cannot be given to"):
            open_bind(parse_bind("unix:x.sock"), SocketSettings(user=0))
    finally:
        os.seteuid(present)
    assert not list(tmp_path.iterdir())
