"""What TLS costs per small request and answer: `TLSLayer`, and the TLS transports of asyncio and uvloop.

    python benchmarks/engine_tls.py [rounds]

All three answer 100 bytes with 200 bytes on one connection whose client is on memory buffers, in the same
process, so that its cost can be measured alone and taken off. The transports are given their ciphertext by
hand through the protocol that they put between socket and application; no socket is involved.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import trustme

from hypercorn.config import Config
from hypercorn.workers.tls import TLSLayer, TLSMemory

REQUEST = b"G" * 100
ANSWER = b"A" * 200


class Client:
    """A TLS client on memory buffers."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="example.test")

    def shake_hands(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def ask(self) -> bytes:
        self.tls.write(REQUEST)
        return self.outgoing.read()

    def hear(self, ciphertext: bytes) -> None:
        self.incoming.write(ciphertext)
        assert len(self.tls.read(65536)) == len(ANSWER)


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as folder:
        pem = str(Path(folder) / "both.pem")
        authority.issue_cert("example.test").private_key_and_cert_chain_pem.write_to_path(pem)
        server = Config.from_mapping({"certfile": pem, "alpn_protocols": ["http/1.1"]}).create_ssl_context()
    assert server is not None
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


def measure_layer(rounds: int) -> tuple[float, float]:
    """Seconds per round in the server, and in the client."""
    server_context, client_context = contexts()
    layer, client = TLSLayer(server_context, TLSMemory()), Client(client_context)
    while not (client.shake_hands() and layer.handshake_done):
        layer.receive(client.outgoing.read())
        client.incoming.write(layer.data_to_send())
    server = peer = 0.0
    for _ in range(rounds):
        start = perf_counter()
        request = client.ask()
        middle = perf_counter()
        layer.receive(request)
        answer = layer.encrypt(ANSWER)
        end = perf_counter()
        client.hear(answer)
        peer += perf_counter() - end + middle - start
        server += end - middle
    return server / rounds, peer / rounds


class Answering(asyncio.Protocol):
    """Answers each read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER)  # type: ignore[attr-defined]


async def measure_transport(rounds: int) -> float:
    """Seconds per round over a loopback socket, server and client's TLS together; the client has no transport."""
    server_context, client_context = contexts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, ssl=server_context)
    return await converse(loop, server, client_context, rounds)


class LayeredAnswering(asyncio.Protocol):
    """Answers each read, with `TLSLayer` over a plain transport."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.layer = TLSLayer(context, TLSMemory())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        layer = self.layer
        output = layer.encrypt(ANSWER) if layer.receive(data) else layer.data_to_send()
        if output:
            self.transport.write(output)  # type: ignore[attr-defined]


async def measure_layered_transport(rounds: int) -> float:
    server_context, client_context = contexts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: LayeredAnswering(server_context), "127.0.0.1", 0)
    return await converse(loop, server, client_context, rounds)


async def converse(loop: Any, server: Any, context: ssl.SSLContext, rounds: int) -> float:
    import socket

    sock = socket.create_connection(server.sockets[0].getsockname())
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    client = Client(context)
    while not client.shake_hands():
        await loop.sock_sendall(sock, client.outgoing.read())
        client.incoming.write(await loop.sock_recv(sock, 65536))
    await loop.sock_sendall(sock, client.outgoing.read())
    start = perf_counter()
    for _ in range(rounds):
        await loop.sock_sendall(sock, client.ask())
        client.hear(await loop.sock_recv(sock, 65536))
    spent = perf_counter() - start
    sock.close()
    server.close()
    await asyncio.sleep(0)
    return spent / rounds


def main(rounds: int) -> None:
    import uvloop

    server, peer = min(measure_layer(rounds) for _ in range(3))
    print(f"TLSLayer alone: {server * 1e6:5.1f} us a round (the client beside it: {peer * 1e6:.1f})")
    for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
        for kind, measure in (("TLSLayer", measure_layered_transport), ("its own TLS", measure_transport)):
            with asyncio.Runner(loop_factory=factory) as runner:
                spent = min(runner.run(measure(rounds)) for _ in range(3))
            print(f"{name:7} with {kind:11}: {spent * 1e6:5.1f} us a round, client and sockets included")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
