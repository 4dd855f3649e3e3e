"""Markets written by hand: a kline file per test, so that what is to happen happens."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from btx.model.venue import Scenario
from tests.e2e.trading import account

Minute = tuple[float, float, float, float, float]  # open, high, low, close, volume

_START_MS = 1_748_736_000_000


def flat(price: float = 50_000, volume: float = 40, *, minutes: int = 1) -> list[Minute]:
    """Minutes in which every trade is at one price."""
    return [(price, price, price, price, volume)] * minutes


def move(start: float, end: float, volume: float = 40) -> list[Minute]:
    """A minute that goes from one price to another."""
    return [(start, max(start, end), min(start, end), end, volume)]


def market(path: Path, *parts: Sequence[Minute], **settings: Any) -> Scenario:
    """Return the world of these minutes in lockstep; the account has money enough if not said otherwise."""
    minutes = [minute for part in parts for minute in part]
    lines = [
        ",".join(map(str, (_START_MS + 60_000 * number, *map(Decimal, map(str, minute)))))
        for number, minute in enumerate(minutes)
    ]
    file = path / "BTCUSDT-1m.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings.setdefault("accounts", (account(USDT="1000000"),))
    return Scenario(data={"BTC/USDT": file}, symbols=("BTC/USDT",), **settings)
