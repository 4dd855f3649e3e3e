"""The book of the live path: the rules of :mod:`btx.rules.book`, changed in place.

Copying two sides of some thousand levels for each delta costs more than all
else that happens to a frame.  Here a level that changes costs one look into a
dictionary, and one that comes or goes a bisection.  Places are found by the
price's nearest double, which is hashed and compared many times faster than a
decimal; it keeps prices of up to 15 digits apart, and no grid of a venue has more.
What is handed out are the venue's exact levels.
"""

from bisect import bisect_left, insort

from btx.model.market import BookDelta, BookLevel, BookSnapshot
from btx.rules.book import Fit, fit

__all__ = ("Ladder",)

_MOST = 5  # times the depth of a snapshot: deltas tell of levels without end


class _Side:
    """One side: prices in rising order, and the level of each.

    A snapshot of the best N levels says nothing of what lies behind its last
    one, the ``edge``, and a delta only what changed there: who looks beyond it
    may miss a level that has stood since before the snapshot.
    """

    __slots__ = ("best_is_last", "edge", "levels", "prices")

    def __init__(self, levels: tuple[BookLevel, ...], *, best_is_last: bool, depth: int) -> None:
        self.best_is_last = best_is_last
        self.levels: dict[float, BookLevel] = {float(level[0]): level for level in levels}
        self.prices = sorted(self.levels)
        self.edge: float | None = self._worst() if len(self.prices) >= depth else None

    def change(self, changes: tuple[BookLevel, ...]) -> None:
        levels, prices = self.levels, self.prices
        for level in changes:
            price = float(level[0])
            if price in levels:
                if level[1]:
                    levels[price] = level
                else:
                    del levels[price]
                    del prices[bisect_left(prices, price)]
            elif level[1]:
                levels[price] = level
                insort(prices, price)

    def cut(self, depth: int) -> None:
        """Forget the worst levels, so that ``depth`` are left."""
        if self.best_is_last:
            gone, self.prices = self.prices[:-depth], self.prices[-depth:]
        else:
            gone, self.prices = self.prices[depth:], self.prices[:depth]
        for price in gone:
            del self.levels[price]
        if self.edge is None or self._is_worse(self.edge, self._worst()):
            self.edge = self._worst()

    def top(self, depth: int) -> tuple[BookLevel, ...]:
        prices = self.prices[: -depth - 1 : -1] if self.best_is_last else self.prices[:depth]
        return tuple(map(self.levels.__getitem__, prices))

    def is_known(self, depth: int) -> bool:
        """Say whether the best ``depth`` levels lie before the edge."""
        if self.edge is None:
            return True
        if len(self.prices) < depth:
            return False
        return not self._is_worse(self.prices[-depth] if self.best_is_last else self.prices[depth - 1], self.edge)

    def _worst(self) -> float:
        return self.prices[0 if self.best_is_last else -1]

    def _is_worse(self, price: float, than: float) -> bool:
        return price < than if self.best_is_last else price > than


class Ladder:
    """A book that begins with a snapshot of at most ``depth`` levels a side."""

    __slots__ = ("_asks", "_bids", "_most", "sequence", "symbol", "time_ns")

    def __init__(self, snapshot: BookSnapshot, *, depth: int) -> None:
        self.symbol = snapshot.symbol
        self.sequence = snapshot.sequence
        self.time_ns = snapshot.time_ns
        self._most = _MOST * depth
        self._bids = _Side(snapshot.bids, best_is_last=True, depth=depth)
        self._asks = _Side(snapshot.asks, best_is_last=False, depth=depth)

    def apply(self, delta: BookDelta) -> Fit:
        """Take a delta in if it is the next; say whether it was."""
        found = fit(self.sequence, delta)
        if found is Fit.NEXT:
            self.sequence = delta.last_sequence
            self.time_ns = delta.time_ns
            for side, changes in ((self._bids, delta.bids), (self._asks, delta.asks)):
                side.change(changes)
                if len(side.prices) > self._most:
                    side.cut(self._most // 2)
        return found

    @property
    def is_crossed(self) -> bool:
        """Somebody buys at or above what somebody sells at: never true of a sound book."""
        bids, asks = self._bids.prices, self._asks.prices
        return bool(bids and asks) and bids[-1] >= asks[0]

    def is_known(self, depth: int) -> bool:
        """Say whether nothing can be missing among the best ``depth`` levels of a side."""
        return self._bids.is_known(depth) and self._asks.is_known(depth)

    def top(self, depth: int) -> BookSnapshot:
        """Return the best ``depth`` levels of both sides, as a value."""
        return BookSnapshot(
            symbol=self.symbol,
            bids=self._bids.top(depth),
            asks=self._asks.top(depth),
            sequence=self.sequence,
            time_ns=self.time_ns,
        )
