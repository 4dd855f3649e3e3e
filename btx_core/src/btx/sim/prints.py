"""Prints: trades inside a minute that sum exactly to its bar. Integers only: ticks and steps.

The count of prints follows from the bar alone, so that trade ids are the same
whether or not anybody looks at the trades.
"""

import math

import attrs

from btx.sim.dice import mix, unit

__all__ = ("MinuteBar", "Shape", "make_prints", "shape_of")

_MINUTE_MS = 60_000
_MIN_PRINTS, _MAX_PRINTS = 8, 40
_BITS = 1 << 20


@attrs.frozen(kw_only=True)
class MinuteBar:
    """A bar in whole ticks and steps; ``key`` seeds what happens inside it."""

    key: int
    open: int
    high: int
    low: int
    close: int
    volume: int


@attrs.frozen(kw_only=True)
class Shape:
    """How a bar is cut: prices it must touch, number of prints, and parts each step is cut into."""

    turns: tuple[int, ...]
    count: int
    parts: int  # 1, or a power of ten where the volume has fewer steps than prices to touch


def shape_of(bar: MinuteBar, *, unit_notional: float) -> Shape:
    """Return how many prints a bar has and which prices they touch; ``unit_notional``: quote units of tick × step."""
    if not bar.volume:
        return Shape(turns=(), count=0, parts=1)
    bits = mix(bar.key)
    turns = _turns(bar, is_low_first=bool(bits & 1))
    parts = 1
    while bar.volume * parts < len(turns):
        parts *= 10
    notional = max(bar.close * bar.volume * unit_notional, 1.0)
    wanted = 6.0 * (math.log10(notional) - 2.0) * (0.75 + 0.5 * unit(mix(bits)))
    count = min(max(int(wanted), _MIN_PRINTS, len(turns)), _MAX_PRINTS, bar.volume * parts)
    return Shape(turns=turns, count=count, parts=parts)


def make_prints(bar: MinuteBar, shape: Shape) -> list[tuple[int, int, int]]:
    """Return (milliseconds after the open, price, quantity) of each print, in order of time.

    The first price is the open, the last the close, high and low are touched
    and never passed, and quantities, in ``1 / shape.parts`` steps, are positive
    and sum to the volume.  Milliseconds increase and lie inside the minute.
    """
    if not shape.count:
        return []
    bits = [mix(bar.key + number) for number in range(1, shape.count + 1)]
    prices = _prices(bar, shape, bits)
    quantities = _quantities(bar.volume * shape.parts, bits)
    slot = _MINUTE_MS // shape.count
    times = [number * slot + 1 + (one >> 40) % (slot - 1) for number, one in enumerate(bits)]
    return list(zip(times, prices, quantities, strict=True))


def _turns(bar: MinuteBar, *, is_low_first: bool) -> tuple[int, ...]:
    """Return open, both extremes and close, without stops that are already there; as few as possible."""
    by_low = _without_repeats((bar.open, bar.low, bar.high, bar.close))
    by_high = _without_repeats((bar.open, bar.high, bar.low, bar.close))
    if len(by_low) != len(by_high):
        return min(by_low, by_high, key=len)
    return by_low if is_low_first else by_high


def _without_repeats(stops: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(stop for number, stop in enumerate(stops) if not number or stop != stops[number - 1])


def _prices(bar: MinuteBar, shape: Shape, bits: list[int]) -> list[int]:
    """Walk from turn to turn in about equal numbers of prints, trembling but never past high and low."""
    legs = len(shape.turns) - 1
    if not legs:
        return [bar.open] * shape.count
    stops = [round(number * (shape.count - 1) / legs) for number in range(legs + 1)]
    tremble = (bar.high - bar.low) / 6
    prices = []
    for leg in range(legs):
        start, end = shape.turns[leg], shape.turns[leg + 1]
        first, last = stops[leg], stops[leg + 1]
        prices.append(start)
        for number in range(first + 1, last):
            way = start + (end - start) * (number - first) / (last - first)
            way += tremble * ((bits[number] & (_BITS - 1)) / _BITS - 0.5)
            prices.append(min(max(round(way), bar.low), bar.high))
    prices.append(shape.turns[-1])
    return prices


def _quantities(volume: int, bits: list[int]) -> list[int]:
    """Cut ``volume`` into one positive part per print: many small, few large."""
    weights = [_BITS * _BITS // (1 + ((one >> 20) & (_BITS - 1))) for one in bits]
    spare = volume - len(bits)
    total = sum(weights)
    parts = [1 + spare * weight // total for weight in weights]
    parts[weights.index(max(weights))] += volume - sum(parts)
    return parts
