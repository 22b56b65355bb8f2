"""TLS on real connections: time, the wrong protocol on either port, and how a connection ends."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
from h2.connection import H2Connection
from tests.workers.conftest import Running, Serve
from tests.workers.tls_client import Handshake, dial
from tests.workers.tls_records import APPLICATION_DATA, HANDSHAKE, KEY_UPDATE

from hypercorn.workers import transport
from hypercorn.workers.connection import READ_SIZE

GET = b"GET / HTTP/1.1\r\nhost: example.test\r\n\r\n"


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def test_the_handshake_takes_nothing_from_the_time_for_the_first_request(
    serve: Serve, pem: str, context: ssl.SSLContext
) -> None:
    server = serve(hello, certfile=pem, keep_alive_timeout=0.5)
    slow = Handshake(server, context)
    slow.sock.sendall(slow.step())
    with context.wrap_socket(dial(server), server_hostname="example.test") as idle:
        assert idle.recv(1) == b""  # and so is the time of the other, if it was running
    began = time.monotonic()
    slow.finish()
    while slow.sock.recv(65536):
        pass
    assert time.monotonic() - began > 0.4
    slow.sock.close()


def test_a_handshake_that_drips_is_ended_and_disturbs_nobody(
    serve: Serve, pem: str, context: ssl.SSLContext
) -> None:
    server = serve(hello, certfile=pem, ssl_handshake_timeout=1)
    slow = Handshake(server, context)

    def serve_another() -> None:
        began = time.monotonic()
        try:
            with context.wrap_socket(dial(server), server_hostname="example.test") as client:
                client.sendall(GET)
                assert client.recv(12) == b"HTTP/1.1 200"
        except OSError:
            # A client that was itself not scheduled for so long is rightly given up.
            if time.monotonic() - began < 1:
                raise

    said = slow.step()
    served = 0
    for byte in said:
        try:
            slow.sock.sendall(bytes([byte]))
        except ConnectionError:  # a reset, or a broken pipe
            break
        serve_another()
        served += 1
        # Where others are served quickly the drip would end before its time.
        select.select([slow.sock], [], [], 0.005)
    assert 0 < served < len(said)
    slow.sock.close()


def test_plain_http_on_the_tls_port(serve: Serve, pem: str, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(hello, certfile=pem, loglevel="debug")
    with caplog.at_level(logging.DEBUG, "hypercorn.error"), dial(server) as sock:
        sock.sendall(GET)
        assert sock.makefile("rb").read().startswith(b"HTTP/1.1 400 ")
    (line,) = [record for record in caplog.records if "TLS" in record.message]
    assert (line.levelname, line.exc_info) == ("DEBUG", None)
    assert "http request" in line.message


def test_a_client_that_leaves_in_the_handshake(
    serve: Serve, pem: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(hello, certfile=pem, loglevel="debug")
    with caplog.at_level(logging.DEBUG, "hypercorn.error"), dial(server) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""
    (line,) = [record for record in caplog.records if "TLS" in record.message]
    assert (line.levelname, line.exc_info) == ("DEBUG", None)
    assert "left" in line.message


def test_a_failed_handshake_is_said_once(serve: Serve, pem: str, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(hello, certfile=pem, loglevel="debug", graceful_timeout=30.0)
    with caplog.at_level(logging.DEBUG, "hypercorn.error"), dial(server) as sock:
        sock.sendall(b"\0" * 100)
        assert sock.recv(1) == b""
        # It stops once it has waited long enough for our end, which does not come.
        server.close()
    (line,) = [record.message for record in caplog.records if "TLS" in record.message]
    assert "wrong version number" in line


def test_a_server_name_that_is_not_ascii_is_said_with_the_peer(
    serve: Serve, pem: str, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(hello, certfile=pem, sni_certificates={"example.test": [pem]}, loglevel="debug")
    client = Handshake(server, context)
    peer = client.sock.getsockname()
    with caplog.at_level(logging.DEBUG, "hypercorn.error"), client.sock as sock:
        sock.sendall(client.step().replace(b"example", b"ex\xe4mple"))
        while sock.recv(100):
            pass
        sock.close()
        server.close()
    (line,) = [record.message for record in caplog.records if "TLS" in record.message]
    assert line == f"TLS with {peer} failed: the server name b'ex\\xe4mple.test' is not ASCII"


def test_tls_on_the_plain_port(serve: Serve, context: ssl.SSLContext) -> None:
    server = serve(hello)
    with dial(server) as sock, pytest.raises(ssl.SSLError):
        context.wrap_socket(sock, server_hostname="example.test")
    with dial(server) as sock:
        sock.sendall(GET)
        assert sock.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_end_is_said(serve: Serve, pem: str, context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    """RFC 8446 §6.1: close_notify from us, and an answer to the client's own."""
    context.minimum_version = context.maximum_version = version
    server = serve(hello, certfile=pem)
    sock = context.wrap_socket(dial(server), server_hostname="example.test", suppress_ragged_eofs=False)
    sock.sendall(GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    assert sock.makefile("rb").read().endswith(b"hello")
    sock.close()
    sock = context.wrap_socket(dial(server), server_hostname="example.test", suppress_ragged_eofs=False)
    sock.sendall(GET)
    assert sock.recv(12) == b"HTTP/1.1 200"
    while b"hello" not in sock.recv(65536):
        pass
    sock.unwrap().close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_another_worker_is_no_harm(
    serve: Serve, pem: str, context: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    """Each worker has its own keys for tickets: a foreign one means a full handshake, not an error."""
    context.minimum_version = context.maximum_version = version

    def visit(server: Running, session: ssl.SSLSession | None) -> tuple[bool | None, ssl.SSLSession | None]:
        with context.wrap_socket(dial(server), server_hostname="example.test", session=session) as sock:
            sock.sendall(GET)
            assert sock.recv(12) == b"HTTP/1.1 200"
            return sock.session_reused, sock.session

    first, second = serve(hello, certfile=pem), serve(hello, certfile=pem)
    is_reused, session = visit(first, None)
    assert not is_reused
    assert visit(second, session)[0] is False
    assert visit(first, session)[0] is True


def test_certificates_of_clients(serve: Serve, pem: str, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = serve(hello, certfile=pem, ca_certs=str(tmp_path / "ca.pem"), verify_mode="CERT_REQUIRED")

    def ask(issuer: trustme.CA | None) -> bytes:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        if issuer is not None:
            issuer.issue_cert("client@example.test").configure_cert(context)
        with context.wrap_socket(dial(server), server_hostname="example.test") as sock:
            sock.sendall(GET)
            return sock.recv(12)

    assert ask(authority) == b"HTTP/1.1 200"
    for stranger in (None, trustme.CA()):
        with pytest.raises(ssl.SSLError):
            ask(stranger)


def test_a_peer_that_resets_in_the_handshake(
    serve: Serve, pem: str, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(hello, certfile=pem, loglevel="debug")
    with caplog.at_level(logging.DEBUG, "hypercorn.error"):
        client = Handshake(server, context)
        client.sock.sendall(client.step())
        client.hear()
        client.reset()
        server.stop()
        server.join()
    (line,) = [record for record in caplog.records if "TLS" in record.message]
    assert (line.levelname, line.exc_info) == ("DEBUG", None)
    assert "Connection reset by peer" in line.message


def test_a_client_that_refuses_the_certificate_and_resets(
    serve: Serve, pem: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(hello, certfile=pem, loglevel="debug")
    with caplog.at_level(logging.DEBUG, "hypercorn.error"):
        client = Handshake(server, ssl.create_default_context())
        client.sock.sendall(client.step())
        client.hear()
        with pytest.raises(ssl.SSLCertVerificationError):
            client.step()
        client.sock.sendall(client.unsent())
        client.reset()
        server.stop()
        server.join()
    (line,) = [record.message for record in caplog.records if "TLS" in record.message]
    assert "unknown ca" in line or "Connection reset by peer" in line


@pytest.mark.parametrize("how", ["waits", "closes", "resets"])
def test_an_end_of_http2_and_of_tls_in_one_piece(
    serve: Serve, pem: str, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """GOAWAY and close_notify: there is nobody left to tell, and nothing has gone wrong."""
    begun, may_end = threading.Event(), threading.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            begun.set()
            assert may_end.wait(30)  # the loop stands still: all that the other client does has come by then
        await hello(scope, receive, send)

    context.set_alpn_protocols(["h2"])
    server = serve(app, certfile=pem)
    client = Handshake(server, context)
    client.sock.sendall(client.step())
    client.finish()
    http2 = H2Connection()
    http2.initiate_connection()
    client.sock.sendall(client.encrypted(http2.data_to_send()))
    assert client.sock.recv(65536)
    context.set_alpn_protocols(["http/1.1"])
    with context.wrap_socket(dial(server), server_hostname="example.test") as other:
        other.sendall(GET)
        assert begun.wait(30)
        http2.close_connection()
        client.sock.sendall(client.encrypted(http2.data_to_send()) + client.end())
        if how == "resets":
            client.reset()
        elif how == "closes":
            client.sock.shutdown(socket.SHUT_WR)
        may_end.set()
        assert other.recv(12) == b"HTTP/1.1 200"
    with contextlib.suppress(OSError):  # reset, or closed already
        while client.sock.recv(65536):
            pass
    client.sock.close()
    server.stop()
    server.join()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_an_application_learns_that_tls_has_failed(
    serve: Serve, pem: str, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """The client is waited for all the same, for it may still read why."""
    monkeypatch.setattr(transport, "LINGER_SECONDS", 600.0)
    monkeypatch.setattr(transport, "LINGER_LONGEST", 600.0)
    begun, told = threading.Event(), threading.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            begun.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            told.set()

    context.set_alpn_protocols([protocol])
    server = serve(app, certfile=pem)
    client = Handshake(server, context)
    client.sock.sendall(client.step())
    client.finish()
    request = GET
    if protocol == "h2":
        http2 = H2Connection()
        http2.initiate_connection()
        head = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "example.test")]
        http2.send_headers(1, head, end_stream=True)
        request = http2.data_to_send()
    client.sock.sendall(client.encrypted(request))
    assert begun.wait(30)
    client.sock.sendall(b"this is no record of TLS")
    assert told.wait(30)
    while client.sock.recv(65536):
        pass
    client.sock.close()


def test_an_application_is_called_though_tls_has_failed_since_its_request(
    serve: Serve, pem: str, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    """What has failed is in the second read. On trio either may come first: that, or what the first has started."""
    scopes: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        while (await receive())["type"] != "http.disconnect":
            pass
        scopes.append(scope)

    server = serve(app, certfile=pem)
    request = b"POST / HTTP/1.1\r\nhost: example.test\r\ncontent-length: %d\r\n\r\n" % READ_SIZE
    times = 20
    for _ in range(times):
        client = Handshake(server, context)
        client.sock.sendall(client.step())
        client.finish()
        client.sock.sendall(client.encrypted(request + b"x" * READ_SIZE) + b"this is no record of TLS")
        client.sock.shutdown(socket.SHUT_WR)
        while client.sock.recv(65536):
            pass
        client.sock.close()
    server.stop()
    server.join()
    assert [scope["extensions"]["tls"]["tls_version"] for scope in scopes] == [0x0304] * times
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_stop_does_not_wait_for_who_has_said_nothing(serve: Serve, pem: str) -> None:
    server = serve(hello, certfile=pem, ssl_handshake_timeout=300, graceful_timeout=300)
    with dial(server) as silent:
        server.stop()
        server.join()
        assert silent.recv(1) == b""


def test_a_message_of_tls_that_is_kept_back_ends_the_connection(
    serve: Serve, pem: str, context: ssl.SSLContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenSSL sends nothing before it has all of it: that is told in one debug line, and is no fault of ours."""
    context.keylog_filename = str(tmp_path / "keys")
    client = Handshake(serve(hello, certfile=pem), context)
    with caplog.at_level(logging.DEBUG, "hypercorn.error"):
        client.sock.sendall(client.step())
        client.finish()
        records = client.records(tmp_path / "keys")
        client.sock.sendall(records.record(APPLICATION_DATA, GET) + records.record(HANDSHAKE, KEY_UPDATE[:4]))
        with contextlib.suppress(ConnectionResetError):
            while client.sock.recv(65536):
                pass
    client.sock.close()
    lines = [
        record for record in caplog.records if record.levelno > logging.DEBUG or "TLS with" in record.message
    ]
    assert [record.levelname for record in lines] == ["DEBUG"]
