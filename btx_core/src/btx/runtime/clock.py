"""Clocks: wall time corrected to the venue, and the market's time a simulator plays."""

import time

import attrs

from btx.model.venue import SimClock

__all__ = ("CERTAIN", "Doubt", "MarketClock")

_NS_PER_S = 1_000_000_000


@attrs.frozen(kw_only=True)
class Doubt:
    """How far the venue's clock may be from ours: so many market nanoseconds, or seconds of waiting."""

    market_ns: int
    wait_s: float


CERTAIN = Doubt(market_ns=0, wait_s=0.0)


class MarketClock:
    """The clock of a session. Without a simulator the market's time is the wire's.

    With one, market time runs ``speed`` times as fast from its origin, or, in
    lockstep and in a replay, stands where :meth:`step_to` put it.
    """

    def __init__(self) -> None:
        self.offset_ns = 0
        self.doubt_ns = 0  # how wrong the offset may be, either way
        self._sim: SimClock | None = None
        self._stepped_ns = 0

    def follow(self, sim: SimClock) -> None:
        """Take market time from a simulator."""
        self._sim = sim
        self._stepped_ns = sim.market_origin_ns

    def step_to(self, market_ns: int) -> None:
        """Set the time of a market that stands; it never goes back."""
        self._stepped_ns = max(self._stepped_ns, market_ns)

    def wire_ns(self) -> int:
        """Return wall time plus the measured offset to the venue's clock."""
        return time.time_ns() + self.offset_ns

    def market_ns(self) -> int:
        """Return the time bars and orders are stamped with."""
        if self._sim is None:
            return self.wire_ns()
        if self._sim.speed is None or self._sim.stands:
            return self._stepped_ns
        elapsed_ns = self.wire_ns() - self._sim.wire_origin_ns
        return self._sim.market_origin_ns + int(elapsed_ns * self._sim.speed)

    def span_ns(self, wall_s: float) -> int:
        """Return how far the market moves, or in a replay moved, by itself in so many seconds of wall time."""
        speed = 1.0 if self._sim is None else self._sim.speed or 0.0
        return int(wall_s * _NS_PER_S * speed)

    def doubt(self) -> Doubt:
        """Return how far the venue's time may be from :meth:`market_ns`; where that is set, it is the very same."""
        if self._sim is not None and self._sim.stands:
            return CERTAIN
        wait_s = self.doubt_ns / _NS_PER_S
        market_ns = self.span_ns(wait_s)
        return Doubt(market_ns=market_ns, wait_s=wait_s) if market_ns else CERTAIN
