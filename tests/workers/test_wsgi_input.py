"""A body that one thread reads while another feeds it, in memory and on disk."""

from __future__ import annotations

import errno
import io
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypercorn.workers.wsgi_input import RequestBody, RequestBodyTooLarge, _warn_once

LIMIT = 1 << 30


def reader_of(body: RequestBody) -> io.BufferedReader:
    return io.BufferedReader(body, 1000)


@settings(max_examples=100, deadline=None)
@example([b"a", b"", b"b"], 1000, 10)
@given(st.lists(st.binary(max_size=3000), max_size=30), st.integers(0, 5000), st.integers(1, 4000))
def test_read_at_once(pieces: list[bytes], spool_size: int, size: int) -> None:
    body = RequestBody(spool_size, LIMIT)
    for piece in pieces:
        body.feed(piece)
    body.end()
    with reader_of(body) as reader:
        assert b"".join(iter(lambda: reader.read(size), b"")) == b"".join(pieces)
        assert reader.read() == b""


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=60), st.integers(0, 5000))
def test_read_while_it_arrives(pieces: list[bytes], spool_size: int) -> None:
    body = RequestBody(spool_size, LIMIT)
    got: list[bytes] = []
    with reader_of(body) as reader:
        thread = threading.Thread(target=lambda: got.extend(iter(lambda: reader.read1(700), b"")))
        thread.start()
        for piece in pieces:
            body.feed(piece)
        body.end()
        thread.join(10)
        assert not thread.is_alive()
    assert b"".join(got) == b"".join(pieces)


def test_lines() -> None:
    body = RequestBody(100, LIMIT)
    body.feed(b"one\ntw")
    body.feed(b"o\nthree" + b"." * 1000)
    body.end()
    with reader_of(body) as reader:
        assert reader.readline() == b"one\n"
        assert reader.readlines() == [b"two\n", b"three" + b"." * 1000]


def test_memory_stays_bounded_and_the_file_s_space_is_used_again() -> None:
    body = RequestBody(1000, LIMIT)
    with reader_of(body) as reader:
        for _ in range(3):
            for _ in range(100):
                body.feed(b"x" * 100)
            assert body._memory_size <= 1000
            assert body._file is not None
            assert os.fstat(body._file.fileno()).st_size >= 9000
            assert reader.read(10_000) == b"x" * 10_000
            assert os.fstat(body._file.fileno()).st_size == 0


def test_too_large_after_what_fits() -> None:
    body = RequestBody(1000, 10)
    body.feed(b"12345")
    body.feed(b"678901")
    with reader_of(body) as reader:
        assert reader.read(5) == b"12345"
        with pytest.raises(RequestBodyTooLarge):
            reader.read(1)
    assert isinstance(body.failure, RequestBodyTooLarge)


def test_a_failure_wakes_the_reader() -> None:
    starts = threading.Semaphore(0)
    body = RequestBody(1000, LIMIT, starts.release)
    caught: list[OSError] = []

    def read() -> None:
        try:
            body.readinto(bytearray(10))
        except OSError as error:
            caught.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert starts.acquire(timeout=10)
    body.fail(OSError(errno.EPIPE, "gone"))
    thread.join(10)
    assert [error.errno for error in caught] == [errno.EPIPE]


def test_a_failure_after_the_end_is_none() -> None:
    body = RequestBody(1000, LIMIT)
    body.feed(b"all")
    body.end()
    body.fail(OSError())
    with reader_of(body) as reader:
        assert reader.read() == b"all"


@pytest.mark.parametrize("spool_size", [0, LIMIT])
def test_what_comes_after_the_reader_was_closed_is_dropped(spool_size: int) -> None:
    body = RequestBody(spool_size, LIMIT)
    body.feed(b"x" * 10_000)
    with reader_of(body) as reader:
        assert reader.read(1) == b"x"
    body.feed(b"y" * 10_000)
    body.end()
    assert body.failure is None


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "pwrite", full)
    body = RequestBody(0, LIMIT)
    body.feed(b"data")
    with reader_of(body) as reader, pytest.raises(OSError, match="no space left"):
        reader.read()


def test_no_temporary_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container whose only file system is read-only."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    _warn_once.cache_clear()
    for _ in range(2):
        body = RequestBody(10, 1000)
        body.feed(b"x" * 500)
        body.feed(b"y" * 500)
        body.end()
        with reader_of(body) as reader:
            assert reader.read() == b"x" * 500 + b"y" * 500
    [record] = caplog.records
    assert record.getMessage().startswith("Large request bodies are kept in memory")
