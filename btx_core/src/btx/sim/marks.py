"""Mark prices and funding: what the exchange asks of them, and how a simulated market has them.

Made up, as no file of bars has them, from the market's own prints and a seed, at whole seconds:

- index = mean of the last prices now and 15, 30 and 45 s ago, times 1 + w, where w wanders between
  -``premium`` and +``premium`` (a line between dice that fall once an hour);
- mark = index x (1 + rate x time to the next funding / funding interval), which is Binance's "Price 1"
  (https://www.binance.com/en/support/faq/360033525071, 2019-09-10, later revised), to eight decimals.

So the mark is near the last price and not equal to it, does not jump with a single print, and is the same
whoever asks and however often.  Rates come from files, or from the seed: at the listing's interval, around 0.01 % in
eight hours.
"""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Protocol

import attrs

from btx.model.derivatives import FundingRate
from btx.model.time import NS_PER_S
from btx.rules.funding import due
from btx.sim.dice import key_of, mix, unit
from btx.sim.margin_events import MarkChange
from btx.sim.market import Market
from btx.sim.orders import Listing

__all__ = ("PREMIUM", "MarketMarks", "Marks")

_GRID = Decimal("0.00000001")
_HOUR_NS = 3600 * NS_PER_S
_LOOKS_NS = tuple(seconds * NS_PER_S for seconds in (0, 15, 30, 45))
PREMIUM = Decimal("0.0003")
"""How far a made-up index lies from the last price at most, as a fraction, unless somebody says otherwise."""
_TYPICAL_RATE = Decimal("0.0001")
_TYPICAL_NS = 8 * 3600 * NS_PER_S  # that rate is of so long


class Marks(Protocol):
    """What the margin exchange asks, all as of the market's now."""

    def mark(self, venue_symbol: str) -> MarkChange:
        """Return mark and index price, and the next funding as it stands."""

    def rates(self, venue_symbol: str, after_ns: int, until_ns: int) -> Sequence[FundingRate]:
        """Return the rates settled later than ``after_ns`` and not later than ``until_ns``, oldest first."""

    def next_funding_ns(self, venue_symbol: str, after_ns: int) -> int | None:
        """Return when the next rate after a time is settled; None when there is none any more."""


class MarketMarks:
    """The marks of a simulated market.

    ``rates`` are of those that have a file of them, by the venue's symbol and in market time; ``premium`` is how far
    the index may lie from the last price, as a fraction. ``on_tick``: marks lie on the grid of orders' prices.
    """

    def __init__(
        self,
        market: Market,
        listings: Iterable[Listing],
        *,
        seed: int,
        rates: Mapping[str, Sequence[FundingRate]],
        premium: Decimal = PREMIUM,
        on_tick: bool = False,
    ) -> None:
        self._market = market
        self._listings = {each.venue_symbol: each for each in listings}
        self._keys = {symbol: key_of(seed, "mark", each.instrument.symbol) for symbol, each in self._listings.items()}
        self._rates = rates
        self._premium = float(premium)
        self._grids = {
            symbol: each.instrument.tick_size if on_tick else _GRID for symbol, each in self._listings.items()
        }
        self._known: dict[str, MarkChange] = {}

    def mark(self, venue_symbol: str) -> MarkChange:
        """Return mark and index price as of the last whole second, and the next funding as it stands."""
        time_ns = self._market.now_ns - self._market.now_ns % NS_PER_S
        known = self._known.get(venue_symbol)
        if known is None or known.time_ns != time_ns:
            known = self._known[venue_symbol] = self._at(venue_symbol, time_ns)
        return known

    def mark_at(self, venue_symbol: str, time_ns: int) -> MarkChange:
        """Return what :meth:`mark` was at a time that is over."""
        time_ns = min(time_ns, self._market.now_ns)
        return self._at(venue_symbol, time_ns - time_ns % NS_PER_S)

    def rates(self, venue_symbol: str, after_ns: int, until_ns: int) -> Sequence[FundingRate]:
        """Return the rates settled later than ``after_ns`` and not later than ``until_ns``, oldest first."""
        if self._listings[venue_symbol].instrument.delivery_ns is not None:
            return ()
        if (of_file := self._rates.get(venue_symbol)) is not None:
            return due(of_file, after_ns, until_ns)
        interval_ns = self._listings[venue_symbol].funding_interval_ns
        first, last = after_ns // interval_ns + 1, until_ns // interval_ns
        dealt = [self._dealt(venue_symbol, number) for number in range(first, last + 1)]
        return [attrs.evolve(each, mark_price=self._at(venue_symbol, each.time_ns).mark_price) for each in dealt]

    def bounds(self, venue_symbol: str, start_ns: int, end_ns: int) -> tuple[Decimal, Decimal]:
        """Return a price below and one above which no mark of ``[start_ns, end_ns]`` lies."""
        low, high = self._market.reach(venue_symbol, start_ns - _LOOKS_NS[-1], end_ns)
        rates = [rate for at in (start_ns, end_ns) if (rate := self._next(venue_symbol, at)) is not None]
        most = max((abs(rate.rate) for rate in rates), default=Decimal(0))
        margin, grid = (1 + Decimal(self._premium)) * (1 + most) - 1 + _GRID, self._grids[venue_symbol]
        return low * (1 - margin) - grid, high * (1 + margin) + grid

    def next_funding_ns(self, venue_symbol: str, after_ns: int) -> int | None:
        """Return when the next rate after a time is settled; None when there is none any more."""
        rate = self._next(venue_symbol, after_ns)
        return rate.time_ns if rate is not None else None

    def _next(self, venue_symbol: str, after_ns: int) -> FundingRate | None:
        if self._listings[venue_symbol].instrument.delivery_ns is not None:
            return None
        of_file = self._rates.get(venue_symbol)
        if of_file is None:
            return self._dealt(venue_symbol, after_ns // self._listings[venue_symbol].funding_interval_ns + 1)
        number = bisect.bisect_right(of_file, after_ns, key=_time)
        return of_file[number] if number < len(of_file) else None

    def _dealt(self, venue_symbol: str, number: int) -> FundingRate:
        stir = (unit(mix(self._keys[venue_symbol] ^ number)) - 0.5) * 4
        interval_ns = self._listings[venue_symbol].funding_interval_ns
        rate = _TYPICAL_RATE * interval_ns / _TYPICAL_NS * (1 + Decimal(stir))
        rate = rate.quantize(_GRID, rounding=ROUND_HALF_EVEN)
        symbol = self._listings[venue_symbol].instrument.symbol
        return FundingRate(symbol=symbol, time_ns=number * interval_ns, rate=rate)

    def _at(self, venue_symbol: str, time_ns: int) -> MarkChange:
        looks = [self._market.price_at(venue_symbol, time_ns - back_ns) for back_ns in _LOOKS_NS]
        grid = self._grids[venue_symbol]
        index = _on(grid, sum(looks, Decimal(0)) / len(looks) * self._drift(venue_symbol, time_ns))
        coming = self._next(venue_symbol, time_ns)
        mark = index
        if coming is not None:
            interval_ns = self._listings[venue_symbol].funding_interval_ns
            left = Decimal(min(coming.time_ns - time_ns, interval_ns)) / interval_ns
            mark = _on(grid, index * (1 + coming.rate * left))
        return MarkChange(
            venue_symbol=venue_symbol,
            mark_price=mark,
            index_price=index,
            funding_rate=coming.rate if coming is not None else None,
            next_funding_ns=coming.time_ns if coming is not None else None,
            time_ns=time_ns,
        )

    def _drift(self, venue_symbol: str, time_ns: int) -> Decimal:
        hour, within_ns = divmod(time_ns, _HOUR_NS)
        key = self._keys[venue_symbol]
        here, there = (2 * unit(mix(key ^ ~number)) - 1 for number in (hour, hour + 1))
        return Decimal(1 + self._premium * (here + (there - here) * within_ns / _HOUR_NS))


def _on(grid: Decimal, price: Decimal) -> Decimal:
    return max((price / grid).quantize(Decimal(1), rounding=ROUND_HALF_EVEN) * grid, grid)


def _time(rate: FundingRate) -> int:
    return rate.time_ns
