"""What scripted strategies do at a bar: quantities and prices that any instrument takes."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from btx.testing import sizes

__all__ = ("Step", "buy", "cancel", "close", "limit", "price_at", "size_of")

Step = Callable[[Any], Any]


def size_of(data: Any, times: int = 4) -> float:
    """Return so many times the least quantity of a data's instrument."""
    return float(sizes.usual(data.instrument, _price(data), times=times))


def price_at(data: Any, bps: int) -> float:
    """Return the price on the grid so many basis points above (below: negative) the last close."""
    return float(sizes.on_grid(data.instrument, _price(data), bps=bps))


def _price(data: Any) -> Decimal:
    return Decimal(repr(data.close[0]))


def buy(name: str, times: int = 4) -> Step:
    """Buy at the market; the order is kept under a name."""
    return lambda strategy: strategy.kept.update({name: strategy.buy(size=size_of(strategy.data, times))})


def limit(name: str, bps: int, times: int = 4, *, sells: bool = False) -> Step:
    """Buy, or sell, with a limit so far from the market; the order is kept under a name."""

    def step(strategy: Any) -> None:
        price, size = price_at(strategy.data, bps), size_of(strategy.data, times)
        send = strategy.sell if sells else strategy.buy
        strategy.kept[name] = send(size=size, exectype=strategy.Limit, price=price)

    return step


def close(name: str) -> Step:
    """Close the position; the order is kept under a name."""
    return lambda strategy: strategy.kept.update({name: strategy.close()})


def cancel(name: str) -> Step:
    """Cancel an order that is kept under a name."""
    return lambda strategy: strategy.cancel(strategy.kept[name])
