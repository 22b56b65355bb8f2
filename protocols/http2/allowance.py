"""How much of something a peer may do: a burst, refilled by time and by useful work."""

from __future__ import annotations


class Allowance:
    """A bucket of `burst` tokens, full at first, that regains `per_second` of them."""

    __slots__ = ("_burst", "_filled_at", "_per_second", "_tokens")

    def __init__(self, burst: int, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens: float = burst
        self._filled_at = now

    def spend(self, now: float, tokens: float = 1) -> bool:
        """Take tokens. False: there are not so many, the peer has gone too far."""
        self._tokens -= tokens
        if self._tokens >= 0:
            return True
        # Time is only looked at when the bucket seems empty.
        gained = (now - self._filled_at) * self._per_second
        self._filled_at = now
        self._tokens = min(self._tokens + gained, self._burst)
        return self._tokens >= 0

    def earn(self, tokens: float = 1) -> None:
        """Give tokens back for useful work; never above the burst."""
        self._tokens = min(self._tokens + tokens, self._burst)
