"""Figures of all workers in memory that arbiter and workers share; nothing is ever sent.

An anonymous shared map, made before the first fork, with one row for each worker process: whose it is, which the arbiter
writes before the fork and when it has the pid, and what the worker alone writes, its heartbeat and its counters. Each is
one aligned word of eight bytes, which is written and read whole; nobody relies on an order between two of them. Row 0 is
the sum of the workers that have gone, so that totals never fall.
"""

from __future__ import annotations

import mmap

#: Columns before the counters, eight bytes each: heartbeat (double), pid, slot, generation.
_BEAT, _PID, _SLOT, _GENERATION, _FIRST_COUNTER = range(5)


class Row:
    """One worker's part of the scoreboard."""

    def __init__(self, index: int, columns: memoryview[int], beat: memoryview[float]) -> None:
        self.index = index
        self._columns = columns
        self._beat = beat
        #: One unsigned 64-bit figure for each counter; what they mean is the workers' business.
        self.counters = columns[_FIRST_COUNTER:]

    @property
    def beat(self) -> float:
        """When the worker's loop was last alive, monotonic seconds."""
        return float(self._beat[0])

    @beat.setter
    def beat(self, now: float) -> None:
        self._beat[0] = now

    @property
    def pid(self) -> int:
        return int(self._columns[_PID])

    @pid.setter
    def pid(self, pid: int) -> None:
        self._columns[_PID] = pid

    @property
    def slot(self) -> int:
        return int(self._columns[_SLOT])

    @property
    def generation(self) -> int:
        return int(self._columns[_GENERATION])

    def begin(self, slot: int, generation: int, now: float) -> None:
        """Empty the row for a new worker."""
        for column in range(len(self._columns)):
            self._columns[column] = 0
        self._columns[_SLOT] = slot
        self._columns[_GENERATION] = generation
        self.beat = now


class Scoreboard:
    """The map and who has which row."""

    def __init__(self, rows: int, counters: int) -> None:
        width = _FIRST_COUNTER + counters
        memory = memoryview(mmap.mmap(-1, (rows + 1) * width * 8))
        numbers, doubles = memory.cast("Q"), memory.cast("d")
        self._rows = [
            Row(
                index,
                numbers[index * width : (index + 1) * width],
                doubles[index * width : index * width + 1],
            )
            for index in range(rows + 1)
        ]
        self._past = self._rows[0]
        self._free = list(range(rows, 0, -1))
        self._used: set[int] = set()

    def claim(self, slot: int, generation: int, now: float) -> Row:
        """A row for a new worker.

        Raises:
            OSError: there is none left.
        """
        if not self._free:
            raise OSError(f"no more than {len(self._rows) - 1} processes can be supervised")
        row = self._rows[self._free.pop()]
        row.begin(slot, generation, now)
        self._used.add(row.index)
        return row

    def release(self, row: Row, lasting: frozenset[int]) -> None:
        """Take back the row of a worker that is gone.

        `lasting` are the counters that count events and go on counting; others say what is now, and now is nothing.
        """
        for counter in lasting:
            self._past.counters[counter] += row.counters[counter]
        self._used.discard(row.index)
        self._free.append(row.index)

    def workers(self) -> list[Row]:
        """The rows in use."""
        return [self._rows[index] for index in sorted(self._used)]

    def totals(self) -> list[int]:
        """The sum of each counter over all workers, those that are gone included."""
        rows = [self._past, *self.workers()]
        return [sum(row.counters[counter] for row in rows) for counter in range(len(self._past.counters))]
