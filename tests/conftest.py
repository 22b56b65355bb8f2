"""What holds for all tests: memory has a bound, so that a back-pressure that fails ends a test and not the machine."""

from __future__ import annotations

import resource

#: Address space of the test process and of the servers it starts; far above what any test needs.
_ADDRESS_SPACE = 8 << 30


def pytest_configure() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(hard, _ADDRESS_SPACE)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
