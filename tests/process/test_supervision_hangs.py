"""Workers that hang, or stand still: their stacks, their successors, and who serves meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]


@pytest.mark.parametrize(
    "hang", ["time.sleep(600)", "re.match('(a|a)*$', 'a' * 40 + 'b')", "lock.acquire() and lock.acquire()"]
)
def test_a_hung_worker_dumps_its_stacks_and_is_replaced(start: Start, application: Path, hang: str) -> None:
    code = (application / "app.py").read_text().replace("time.sleep(600)", hang)
    (application / "app.py").write_text("import re, threading\nlock = threading.Lock()\n" + code)
    arbiter = start("-w", "2", "--worker-timeout", "2")
    times = 0
    # Again where a worker had no processor at the moment in which it had to show its stacks.
    while not re.search(r"; its stacks:\n(?:.*\n)*?.*app.py\", line \d+ in app", arbiter.text()):
        times += 1
        with socket.create_connection(("127.0.0.1", arbiter.port())) as sock:
            sock.sendall(b"GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n")
            arbiter.wait_for(r"has not answered for \d+ s and is killed; ", times)
            arbiter.wait_for("was killed because it hung", times)
    assert "Fatal" not in arbiter.text()
    for _ in range(10):
        assert arbiter.get()


def test_stacks_are_one_record_of_the_error_log(start: Start, application: Path) -> None:
    arbiter = start(
        "-w",
        "1",
        "--worker-timeout",
        "1",
        "--log-format",
        "json",
        "--error-log",
        "error.log",
        "--pid",
        "server.pid",
    )
    log = application / "error.log"
    while not (
        ready := re.search(r"Running on http://127.0.0.1:(\d+)", log.read_text() if log.exists() else "")
    ):
        time.sleep(0.01)
    # Again where the worker was killed for a pause of the machine, or showed nothing for one.
    while not [message for message in messages_of(log) if "its stacks:\n" in message and "in app" in message]:
        with socket.create_connection(("127.0.0.1", int(ready[1]))) as sock:
            sock.sendall(b"GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                sock.recv(1)  # until the worker is killed
    assert arbiter.process.poll() is None


def messages_of(log: Path) -> list[str]:
    return [json.loads(line)["message"] for line in log.read_text().splitlines()]


def test_a_pause_of_the_whole_process_group_kills_nobody(start: Start) -> None:
    arbiter = start("-w", "2", "--worker-timeout", "2")
    arbiter.port()
    before = arbiter.workers()
    for seconds in (1.9, 2.1, 3.5):
        os.killpg(arbiter.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.killpg(arbiter.pid, signal.SIGCONT)
        assert int(arbiter.get()) in before
        time.sleep(1.5)  # more than enough for a wrong decision
    assert arbiter.workers() == before
    assert "stacks" not in arbiter.text()


def test_siblings_serve_the_queue_of_a_hung_worker(start: Start) -> None:
    """With the timeout far away, no connection waits for it."""
    arbiter = start("-w", "2", "--worker-timeout", "600")
    with socket.create_connection(("127.0.0.1", arbiter.port())) as sock:
        sock.sendall(b"GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n")
        arbiter.wait_for("hang begins")
        answered = {arbiter.get() for _ in range(20)}
    assert len(answered) <= 2
    arbiter.signal(signal.SIGQUIT)
    assert arbiter.ends() == 0


def test_stacks_of_a_daemons_worker_reach_the_error_log(start: Start, application: Path) -> None:
    log = application / "error.log"
    address = f"unix:{application}/daemon.sock"
    options = ("-D", "--pid", "server.pid", "--error-log", "error.log", "--worker-timeout", "1")
    caller = start(*options, bind=address)
    assert caller.ends() == 0
    daemon = int((application / "server.pid").read_text())
    end = os.pidfd_open(daemon)
    try:
        # Again where the worker had no processor at the moment in which it had to show its stacks.
        while "most recent call first" not in log.read_text():
            with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(ConnectionResetError):
                sock.connect(f"{application}/daemon.sock")
                sock.sendall(b"GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n")
                while sock.recv(4096):  # until the worker is killed
                    pass
    finally:
        os.kill(daemon, signal.SIGTERM)
        assert select.select([end], [], [], 30)[0]
        os.close(end)
