"""Programs from the documents about Hypercorn, run as they are written there.

Only their ports are changed, to ones that the kernel has just given out. Where a document leaves something out ("your
application", the body of a handler) the shortest thing that can stand there does.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Start = Callable[..., "Program"]

ASGI = '''
async def app(scope, receive, send):
    """Simple ASGI application"""
    await send({
        'type': 'http.response.start',
        'status': 200,
        'headers': [[b'content-type', b'text/plain']],
    })
    await send({
        'type': 'http.response.body',
        'body': b'Hello World',
    })
'''

WSGI = '''
def wsgi_app(environ, start_response):
    """Simple WSGI application"""
    status = '200 OK'
    headers = [('Content-type', 'text/plain')]
    start_response(status, headers)
    return [b'Hello World']
'''

QUICKSTART = r"""
import asyncio
from hypercorn.config import Config
from hypercorn.asyncio import serve

async def app(scope, receive, send):
    assert scope['type'] == 'http'
    response_body = b'Hello, world!'
    headers = [
        (b'content-type', b'text/plain'),
        (b'content-length', str(len(response_body)).encode())
    ]
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    await send({'type': 'http.response.body', 'body': response_body})

async def main():
    config = Config()
    config.bind = [f"0.0.0.0:{os.environ.get('PORT', '8000')}"]
    print(f"Serving on {config.bind[0]}...")
    await serve(app, config)

if __name__ == '__main__':
    import os
    asyncio.run(main())
"""

API_CONFIG = """
from hypercorn.config import Config

config = Config()
config.bind = ["localhost:8080"]  # As an example configuration setting
"""

API_ASYNCIO = """
import asyncio
from hypercorn.asyncio import serve

asyncio.run(serve(app, config))
"""

API_TRIO = """
import trio
from hypercorn.trio import serve

trio.run(serve, app, config)
"""

API_UVLOOP = """
import asyncio

import uvloop
from hypercorn.asyncio import serve

asyncio.run(serve(app, config))
"""

API_GRACEFUL = """
import asyncio
import signal
from typing import Any

from hypercorn.asyncio import serve

shutdown_event = asyncio.Event()

def _signal_handler(*_: Any) -> None:
    shutdown_event.set()

loop = asyncio.get_event_loop()
loop.add_signal_handler(signal.SIGTERM, _signal_handler)
loop.run_until_complete(
    serve(app, config, shutdown_trigger=shutdown_event.wait)
)
"""

API_NO_SIGNALS = """
import asyncio
from hypercorn.asyncio import serve

loop = asyncio.get_event_loop()
loop.run_until_complete(
    serve(app, config, shutdown_trigger=lambda: asyncio.Future())
)
"""

API_SSL_ERRORS = """
import asyncio
import ssl
from hypercorn.asyncio import serve

def _exception_handler(loop, context):
    exception = context.get("exception")
    if isinstance(exception, ssl.SSLError):
        pass  # Handshake failure
    else:
        loop.default_exception_handler(context)

loop = asyncio.new_event_loop()
loop.set_exception_handler(_exception_handler)
loop.run_until_complete(serve(app, config))
loop.close()
"""

BASIC_ASYNCIO = """
import asyncio
from hypercorn.config import Config
from hypercorn.asyncio import serve
{asgi}
async def main():
    config = Config()
    config.bind = ["127.0.0.1:8000"]
    
    # Serve until manually stopped
    await serve(app, config)

asyncio.run(main())
"""

SHUTDOWN_TRIGGER = """
import asyncio
import signal
from hypercorn.config import Config
from hypercorn.asyncio import serve
{asgi}
async def shutdown_trigger():
    '''Wait for SIGTERM or SIGINT'''
    shutdown_event = asyncio.Event()
        
    def signal_handler():
        shutdown_event.set()
        
    loop = asyncio.get_event_loop()
    loop.add_signal_handler(signal.SIGTERM, signal_handler)
    loop.add_signal_handler(signal.SIGINT, signal_handler)
    
    await shutdown_event.wait()

async def main():
    config = Config()
    config.bind = ["0.0.0.0:8000"]
    
    # Serve with graceful shutdown on signals
    await serve(app, config, shutdown_trigger=shutdown_trigger)

asyncio.run(main())
"""

# `start_soon` takes no keywords, as the document has it: `partial` is added.
TRIO_NURSERY = """
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
{asgi}
async def main():
    config = Config()  
    config.bind = ["127.0.0.1:8000"]
    
    async with trio.open_nursery() as nursery:
        # Start server in nursery
        nursery.start_soon(partial(serve, app, config, task_status=trio.TASK_STATUS_IGNORED))
        
        # Server is now running - do other work
        await trio.sleep(60)  # Run for 60 seconds
        
        # Nursery cleanup will shutdown server

trio.run(main)
"""

SERVER_MANAGER = """
import asyncio
from hypercorn.config import Config
from hypercorn.asyncio import serve
{asgi}
class ServerManager:
    def __init__(self):
        self.shutdown_event = asyncio.Event()
        
    async def start_server(self, app):
        config = Config()
        config.bind = ["0.0.0.0:8000"]
        
        # Serve with custom shutdown trigger
        await serve(app, config, shutdown_trigger=self.shutdown_event.wait)
        
    def shutdown(self):
        '''Trigger graceful shutdown'''
        self.shutdown_event.set()

async def usage():
    # Usage
    manager = ServerManager()

    # In one task
    task = asyncio.create_task(manager.start_server(app))

    # Later, from another part of application
    await asyncio.get_running_loop().run_in_executor(None, input)
    manager.shutdown()  # Triggers graceful shutdown
    await task

asyncio.run(usage())
"""

WSGI_INTEGRATION = """
import asyncio
from hypercorn.config import Config
from hypercorn.asyncio import serve
{wsgi}
async def main():
    config = Config()
    config.bind = ["127.0.0.1:8000"]
    
    # Serve WSGI app (mode auto-detected)
    await serve(wsgi_app, config)

asyncio.run(main())
"""

MIXED_MODES = """
import asyncio
from hypercorn.config import Config
from hypercorn.asyncio import serve
{asgi}{wsgi}
async def main():
    config = Config()
    config.bind = ["127.0.0.1:8000"]
    
    # Explicitly specify mode (useful for ambiguous applications)
    await serve(app, config, mode="asgi")
    # or
    await serve(wsgi_app, config, mode="wsgi")

asyncio.run(main())
"""

RUN = """
from hypercorn.config import Config
from hypercorn.run import run

# Create and configure server
config = Config()
config.bind = ["0.0.0.0:8000"] 
config.workers = 4
config.worker_class = "asyncio"
config.application_path = "app:application"

# Run the server
exit_code = run(config)
print(f"Server exited with code: {exit_code}")
"""


class Program:
    """A program of a document in a process of its own."""

    def __init__(self, arguments: list[str], directory: Path, port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(
            arguments,
            cwd=directory,
            env={**os.environ, "PORT": str(port), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def get(self) -> bytes:
        """The body of one answer, once the server is there."""
        end = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("localhost", self.port), timeout=20) as sock:
                    sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                    answer = b"".join(iter(lambda: sock.recv(4096), b""))
                    break
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.process.communicate()[0]
                assert time.monotonic() < end
                time.sleep(0.02)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        return body

    def enter(self) -> None:
        """Give it a line on standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def wait_for(self, text: str) -> None:
        """Read what is printed up to a line with `text`."""
        assert self.process.stdout is not None
        while text not in (line := self.process.stdout.readline()):
            assert line

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; the exit status and what was printed."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str]:
        output = self.process.communicate(timeout=20)[0]
        return self.process.returncode, output


@pytest.fixture
def start(tmp_path: Path, hold_port: Callable[[], int]) -> Iterator[Start]:
    """Run a program, given as Python or as a command line."""
    programs: list[Program] = []

    def start_one(text: str = "", command: str = "", **files: str) -> Program:
        port = hold_port()
        for name, content in files.items():
            (tmp_path / f"{name}.py").write_text(content)
        if command:
            text = re.sub(r"^hypercorn", f"{sys.executable} -m hypercorn", command)
            arguments = re.sub(r":8000\b", f":{port}", text).split()
        else:
            text = text.replace("{asgi}", ASGI).replace("{wsgi}", WSGI)
            if sys.version_info >= (3, 14) and "\nloop = asyncio.get_event_loop()" in text:
                # There is no loop before one is made there.
                text = text.replace("asyncio.get_event_loop()", "asyncio.new_event_loop()") + "loop.close()\n"
            (tmp_path / "program.py").write_text(re.sub(r":80[08]0\b", f":{port}", text))
            arguments = [sys.executable, "-W", "error", "program.py"]
            if "get_event_loop()" in text:
                # As deprecated outside a loop as it was in the Python versions of that document.
                arguments[1:3] = ["-W", "ignore::DeprecationWarning"]
        programs.append(Program(arguments, tmp_path, port))
        return programs[-1]

    yield start_one
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate()


def test_quickstart(start: Start) -> None:
    program = start(QUICKSTART)
    assert b"Hello, world!" in program.get()
    status, output = program.stop()
    assert status == 0
    assert f"Serving on 0.0.0.0:{program.port}..." in output
    assert f"Running on http://0.0.0.0:{program.port} (CTRL + C to quit)" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("end", "number", "status"),
    [
        (API_ASYNCIO, signal.SIGTERM, 0),
        (API_ASYNCIO, signal.SIGINT, 0),
        (API_TRIO, signal.SIGINT, 0),
        (API_UVLOOP, signal.SIGTERM, 0),
        (API_GRACEFUL, signal.SIGTERM, 0),
        (API_NO_SIGNALS, signal.SIGTERM, -signal.SIGTERM),
        (API_SSL_ERRORS, signal.SIGTERM, 0),
    ],
    ids=["asyncio", "asyncio-ctrl-c", "trio", "uvloop", "graceful", "no-signals", "ssl-errors"],
)
def test_api_usage(start: Start, end: str, number: signal.Signals, status: int) -> None:
    program = start(ASGI + API_CONFIG + end)
    assert b"Hello World" in program.get()
    ended, output = program.stop(number)
    assert ended == status
    assert "Traceback" not in output


def test_command_that_the_quickstart_names(start: Start) -> None:
    program = start(command="hypercorn my_module:app --bind 127.0.0.1:8000", my_module=ASGI)
    assert b"Hello World" in program.get()
    assert program.stop()[0] == 0


@pytest.mark.parametrize("text", [BASIC_ASYNCIO, SHUTDOWN_TRIGGER, WSGI_INTEGRATION])
def test_asyncio_integration(start: Start, text: str) -> None:
    program = start(text)
    assert b"Hello World" in program.get()
    status, output = program.stop()
    assert status == 0
    assert "Traceback" not in output


def test_trio_integration(start: Start) -> None:
    """The end that the document's last comment promises, not after 60 seconds but at a line of input."""
    text = TRIO_NURSERY.replace("trio.sleep(60)", "trio.to_thread.run_sync(input)")
    program = start(text.replace("# Nursery cleanup", "nursery.cancel_scope.cancel()  #"))
    assert b"Hello World" in program.get()
    program.enter()
    status, output = program.end()
    assert status == 0
    assert "Traceback" not in output


def test_trio_integration_and_ctrl_c(start: Start) -> None:
    program = start(TRIO_NURSERY)
    assert b"Hello World" in program.get()
    status, output = program.stop(signal.SIGINT)
    assert status in (1, 130, -signal.SIGINT)
    assert "KeyboardInterrupt" in output  # of the program's own sleep


def test_custom_shutdown_logic(start: Start) -> None:
    program = start(SERVER_MANAGER)
    assert b"Hello World" in program.get()
    program.enter()
    status, output = program.end()
    assert status == 0
    assert "Traceback" not in output


def test_mixed_modes(start: Start) -> None:
    program = start(MIXED_MODES)
    for _ in range(2):
        program.wait_for("Running on")
        assert b"Hello World" in program.get()
        program.process.send_signal(signal.SIGTERM)
    assert program.end() == (0, "")


def test_run(start: Start) -> None:
    program = start(RUN, app=ASGI.replace("def app(", "def application("))
    assert b"Hello World" in program.get()
    status, output = program.stop()
    assert status == 0
    assert "Server exited with code: 0" in output


@pytest.mark.parametrize(
    "command",
    [
        "hypercorn --bind 127.0.0.1:8000 app:application",
        "hypercorn --bind 0.0.0.0:8000 --workers 4 app:application",
        "hypercorn --certfile cert.pem --keyfile key.pem --bind 0.0.0.0:8000 app:application",
        "hypercorn --reload --bind 127.0.0.1:8000 app:application",
        """hypercorn --bind 0.0.0.0:8000 --workers 8 --worker-class uvloop --access-logfile access.log
        --error-logfile error.log --pid hypercorn.pid app:application""",
    ],
    ids=["basic", "workers", "https", "reload", "production"],
)
def test_command_line(start: Start, tmp_path: Path, command: str) -> None:
    application = ASGI.replace("def app(", "def application(")
    if "certfile" in command:
        pytest.importorskip("trustme")
        import trustme

        issued = trustme.CA().issue_cert("localhost")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    program = start(command=command, app=application)
    if "certfile" in command:
        get_with_tls(program)
    else:
        assert b"Hello World" in program.get()
    assert program.stop()[0] == 0
    if "access.log" in command:
        assert '"GET / 1.1" 200' in (tmp_path / "access.log").read_text()
        assert "application  app:application" in (tmp_path / "error.log").read_text()


def get_with_tls(program: Program) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    end = time.monotonic() + 20
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", program.port), timeout=20)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.02)
    with sock, context.wrap_socket(sock) as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert b"Hello World" in b"".join(iter(lambda: tls.recv(4096), b""))
