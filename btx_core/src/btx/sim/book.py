"""The synthetic book: a pure function of seed, last trade and time.

Levels stand on a lattice of prices that belongs to the symbol, and each
changes its quantity once a minute, at a moment of its own.  Only the best bid
and ask follow the last trade.  So the book at any time can be computed without
its past, and two looks at the same time agree.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from btx.model.order import Side
from btx.sim.dice import mix, unit

__all__ = ("DEPTH", "LatticeBook", "Level")

Level = tuple[int, int]  # price in ticks, quantity in steps

DEPTH = 1000  # levels on each side, the best one included
_LIFE_MS = 60_000
_SPACING = 1e-5  # of the price: a level every 0.1 basis points


class _LatticeLevel(NamedTuple):
    since_ms: int
    price: int
    quantity: int


class LatticeBook:
    """The book of one symbol in whole ticks and steps."""

    def __init__(self, *, key: int, reference_price: int, mean_quantity: int) -> None:
        self._key = key
        self._spacing = max(1, round(reference_price * _SPACING))
        self._mean = max(1, mean_quantity)
        self._cache: dict[int, _LatticeLevel] = {}  # by its number on the lattice

    def is_buy(self, trade_id: int) -> bool:
        """Tell whether a trade was a buyer's: it printed at the ask, otherwise at the bid."""
        return bool(mix(self._key ^ trade_id) & 1)

    def top(self, *, last_price: int, trade_id: int) -> tuple[Level, Level]:
        """Return best bid and best ask, (price, quantity) each, after a trade."""
        bits = mix(self._key ^ trade_id)
        spread = 1 + (0, 0, 0, 0, 0, 0, 1, 2)[(bits >> 1) & 7]
        if bits & 1 or last_price == 1:
            ask = max(last_price, 2)
            bid = max(ask - spread, 1)
        else:
            bid, ask = last_price, last_price + spread
        return (bid, self._size(mix(bits), 2)), (ask, self._size(mix(bits + 1), 2))

    def levels(self, side: Side, top: Level, time_ms: int) -> Iterator[Level]:
        """Yield the levels of one side, best first, at most :data:`DEPTH`."""
        yield top
        for number in self._span(side, top[0]):
            level = self._level(number, time_ms)
            yield level.price, level.quantity

    def changes(self, side: Side, *, before: tuple[Level, int], after: tuple[Level, int]) -> dict[int, int]:
        """Return what turns one side at (best level, time in ms) into the side at another; zero removes a level."""
        (old_top, old_ms), (new_top, new_ms) = before, after
        old, new = self._span(side, old_top[0]), self._span(side, new_top[0])
        changed = {self._level(number, new_ms).price: 0 for number in old if number not in new}
        if new_top != old_top:
            changed[old_top[0]] = 0
        for number in new:
            # Nearly all levels live on: look before anything is computed.
            known = self._cache.get(number)
            if known is None or not known.since_ms <= old_ms <= new_ms < known.since_ms + _LIFE_MS:
                known = self._level(number, new_ms)
            if known.since_ms > old_ms or number not in old:
                changed[known.price] = known.quantity
        if new_top != old_top:
            changed[new_top[0]] = new_top[1]
        return changed

    def quantity_at(self, side: Side, price: int, top: Level, time_ms: int) -> int:
        """Return what stands at exactly ``price`` on a side whose best level is ``top``; 0 for no level."""
        if price == top[0]:
            return top[1]
        if price > top[0] if side is Side.BUY else price < top[0]:
            return 0
        level = self._level(price // self._spacing, time_ms)
        return level.quantity if level.price == price else 0

    def _span(self, side: Side, best: int) -> range:
        """Return the lattice numbers of the levels behind the best one."""
        number = best // self._spacing
        price = self._level(number, 0).price
        if side is Side.BUY:
            first = number if price < best else number - 1
            return range(first, max(first - DEPTH + 1, 0), -1)
        first = number if price > best else number + 1
        return range(first, first + DEPTH - 1)

    def _level(self, number: int, time_ms: int) -> _LatticeLevel:
        known = self._cache.get(number)
        if known is not None and known.since_ms <= time_ms < known.since_ms + _LIFE_MS:
            return known
        bits = mix(self._key + 2 * number + 1)
        since_ms = time_ms - (time_ms + bits) % _LIFE_MS
        price = number * self._spacing + (bits >> 32) % self._spacing
        quantity = self._size(mix(bits ^ since_ms), 1)
        level = self._cache[number] = _LatticeLevel(since_ms, price, quantity)
        return level

    def _size(self, bits: int, factor: int) -> int:
        return max(1, round(-math.log(1.0 - unit(bits)) * self._mean * factor))
