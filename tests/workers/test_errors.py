"""Which errors of an application only say that its client is gone."""

from __future__ import annotations

import pytest

from hypercorn.workers.errors import ClientDisconnected, is_departure


class FrameworkError(Exception):
    """What a framework makes of the server's error."""


def chained(outer: BaseException, inner: BaseException, *, by_cause: bool = False) -> BaseException:
    if by_cause:
        outer.__cause__ = inner
    else:
        outer.__context__ = inner
    return outer


def endless() -> BaseException:
    error = FrameworkError()
    return chained(error, error, by_cause=True)


GONE = ClientDisconnected()
MISTAKE = chained(KeyError(), GONE)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (GONE, True),
        (chained(FrameworkError(), GONE), True),
        (chained(FrameworkError(), GONE, by_cause=True), True),
        (chained(FrameworkError(), chained(FrameworkError(), GONE)), True),
        (ExceptionGroup("", [GONE, chained(FrameworkError(), GONE)]), True),
        (chained(FrameworkError(), ExceptionGroup("", [GONE])), True),
        (FrameworkError(), False),
        (OSError(), False),
        (MISTAKE, False),
        (chained(FrameworkError(), MISTAKE), False),
        (ExceptionGroup("", [GONE, FrameworkError()]), False),
        (endless(), False),
    ],
    ids=repr,
)
def test_is_departure(error: BaseException, expected: bool) -> None:
    assert is_departure(error) is expected
