"""A seeded market: minutes that look like a liquid crypto market, from any seed, for any length.

Returns share a market factor, their volatility clusters and follows the hour of
the day, and now and then they jump; volume follows activity and the hour.  Days
are dealt one by one, so the same minute of the same seed is the same however
much history or future was asked for.
"""

import itertools
import math
import random
from decimal import Decimal

import attrs

from btx.model.instrument import Instrument
from btx.model.time import NS_PER_DAY, NS_PER_MINUTE
from btx.rules.contracts import is_inverse
from btx.sim.tape import Row, Tape

__all__ = ("SYNTHETIC_ORIGIN_NS", "synthetic_tape")

SYNTHETIC_ORIGIN_NS = 1_748_736_000_000_000_000
"""2025-06-01T00:00:00Z, where synthetic markets begin unless told otherwise."""

_MINUTES = 1440
_SHOCK, _MEMORY = 0.08, 0.90  # how much of the variance comes from the last return, and from the last variance
_JUMP_CHANCE = 1 / 1500  # per minute: about one a day


@attrs.frozen
class _Character:
    """What tells one coin from another: price, base units per minute, volatility of a minute, market share of it."""

    price: float
    volume: float
    volatility: float
    beta: float


_CHARACTERS = {
    "BTC": _Character(100_000.0, 15.0, 0.0006, 0.85),
    "ETH": _Character(2_500.0, 250.0, 0.0008, 0.8),
    "BNB": _Character(650.0, 60.0, 0.0006, 0.7),
    "SOL": _Character(150.0, 2_000.0, 0.0009, 0.7),
    "XRP": _Character(2.2, 120_000.0, 0.0009, 0.6),
}
_CHARACTERS |= {
    "HK.00700": _Character(400.0, 60_000.0, 0.0006, 0.7),
    "HK.00005": _Character(80.0, 60_000.0, 0.0004, 0.7),
    "US.AAPL": _Character(230.0, 120_000.0, 0.0005, 0.7),
    "rb": _Character(3_000.0, 20_000.0, 0.0005, 0.6),
    "ag": _Character(8_300.0, 15_000.0, 0.0006, 0.6),
    "sc": _Character(520.0, 300_000.0, 0.0006, 0.6),
    "m": _Character(2_900.0, 20_000.0, 0.0005, 0.6),
    "SR": _Character(5_600.0, 10_000.0, 0.0004, 0.6),
    "IF": _Character(3_900.0, 30_000.0, 0.0004, 0.6),
}
_OTHER = _Character(10.0, 5_000.0, 0.001, 0.5)


def synthetic_tape(instrument: Instrument, *, seed: int, origin_ns: int, start_ns: int, end_ns: int) -> Tape:
    """Return the minutes of ``[start_ns, end_ns)``; at ``origin_ns`` the price is the coin's typical one."""
    character = _CHARACTERS.get(instrument.base, _OTHER)
    first_day = (start_ns - origin_ns) // NS_PER_DAY
    last_day = (end_ns - 1 - origin_ns) // NS_PER_DAY
    deals = {
        day: _deal_day(instrument.symbol, character, seed, origin_ns, day)
        for day in range(min(first_day, 0), max(last_day, 0) + 1)
    }
    rows: list[Row] = []
    for day in range(first_day, last_day + 1):
        level = math.log(character.price) + _drift(deals, day)
        day_ns = origin_ns + day * NS_PER_DAY
        rows.extend(_rows(instrument, deals[day], level, day_ns))
    return Tape(
        instrument=instrument,
        rows=[row for row in rows if start_ns <= row.open_ns < end_ns],
        synthesised=(f"{instrument.symbol}: everything (seeded market)",),
    )


@attrs.frozen
class _Minute:
    """A minute before it is put on the grids: log return, reach above and below, base units."""

    log_return: float
    above: float
    below: float
    volume: float


def _deal_day(symbol: str, character: _Character, seed: int, origin_ns: int, day: int) -> tuple[_Minute, ...]:
    common = random.Random(f"{seed}/market/{day}")
    own = random.Random(f"{seed}/{symbol}/{day}")
    variance = 1.0
    last = 0.0
    minutes = []
    for number in range(_MINUTES):
        hour = ((origin_ns // NS_PER_MINUTE + number) % _MINUTES) / 60
        busy = 1.0 + 0.4 * math.cos((hour - 14.5) / 24 * math.tau)  # Europe and America are awake
        variance = (1 - _SHOCK - _MEMORY) + _SHOCK * last * last + _MEMORY * variance
        shared = common.gauss(0.0, 1.0)
        alone = own.gauss(0.0, 1.0)
        last = math.sqrt(variance) * (character.beta * shared + math.sqrt(1 - character.beta**2) * alone)
        if own.random() < _JUMP_CHANCE:
            last += own.choice((-1, 1)) * own.uniform(3.0, 7.0)
        scale = character.volatility * busy
        activity = math.sqrt(variance) * (0.5 + 0.5 * abs(last)) * math.exp(own.gauss(-0.18, 0.6))
        minutes.append(
            _Minute(
                last * scale,
                abs(own.gauss(0.0, 0.35)) * scale,
                abs(own.gauss(0.0, 0.35)) * scale,
                character.volume * busy * busy * activity,
            )
        )
    return tuple(minutes)


def _drift(deals: dict[int, tuple[_Minute, ...]], day: int) -> float:
    """Return how far the log price is from the origin's when ``day`` begins."""
    days = range(day) if day >= 0 else range(day, 0)
    total = math.fsum(minute.log_return for other in days for minute in deals[other])
    return total if day >= 0 else -total


def _rows(instrument: Instrument, minutes: tuple[_Minute, ...], level: float, day_ns: int) -> list[Row]:
    tick, step = instrument.tick_size, instrument.step_size
    levels = list(itertools.accumulate((minute.log_return for minute in minutes), initial=level))
    rows = []
    for number, minute in enumerate(minutes):
        open_ = _ticks(levels[number], tick)
        close = _ticks(levels[number + 1], tick)
        high = max(open_, close, _ticks(max(levels[number : number + 2]) + minute.above, tick))
        low = min(open_, close, _ticks(min(levels[number : number + 2]) - minute.below, tick))
        # Contracts of an inverse are counted in quote units.
        worth = math.exp(levels[number]) if is_inverse(instrument) else 1.0
        steps = max(round(minute.volume * worth / float(instrument.multiplier * step)), 50)
        rows.append(
            Row(
                day_ns + number * NS_PER_MINUTE,
                open_ * tick,
                high * tick,
                low * tick,
                close * tick,
                steps * step,
            )
        )
    return rows


def _ticks(log_price: float, tick: Decimal) -> int:
    return max(round(math.exp(log_price) / float(tick)), 1)
