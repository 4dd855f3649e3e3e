"""An account with many perpetuals, for `backtest_speed.py`: bars, rules and a strategy that holds."""

import time
from array import array
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import numpy as np

from btx.bt.backtest import BacktestStore, Period, StartingAccount
from btx.defaults import open_venue
from btx.model.account import AccountSnapshot
from btx.model.calendar import Calendar
from btx.model.derivatives import FundingRate
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.market import BarColumns
from btx.model.order import OrderRequest
from btx.model.restrictions import Restrictions
from btx.model.time import NS_PER_MINUTE, Interval
from btx.model.venue import Scenario, VenueInfo
from btx.rules.account import Terms

START_NS = 1_748_736_000_000_000_000
MINUTE = Interval.parse("1m")


class Shelf:
    """The same seeded bars for every symbol."""

    is_whole = True
    words = "bars of a benchmark"

    def __init__(self, count: int) -> None:
        dice = np.random.default_rng(1)
        close = np.round(60_000 * np.exp(np.cumsum(dice.normal(0, 0.0002, count))), 1)
        opening = np.concatenate(([60_000.0], close[:-1]))
        opens = START_NS + NS_PER_MINUTE * np.arange(count)
        self._columns: dict[str, Any] = {
            "open_ns": array("q", opens.tolist()),
            "close_ns": array("q", (opens + NS_PER_MINUTE).tolist()),
            "open": array("d", opening.tolist()),
            "high": array("d", (np.maximum(opening, close) + 5).tolist()),
            "low": array("d", (np.minimum(opening, close) - 5).tolist()),
            "close": array("d", close.tolist()),
            "volume": array("d", [10.0] * count),
        }

    def begins_ns(self) -> int:
        return START_NS

    def columns(self, symbol: str, interval: Interval, start_ns: int | None, end_ns: int | None) -> BarColumns:  # noqa: ARG002
        return BarColumns(symbol=symbol, interval=interval, **{name: each[:] for name, each in self._columns.items()})


class Rules:
    """Binance's BTC perpetual under many names."""

    def __init__(self, *, rates: int) -> None:
        self._venue = open_venue("binance")
        (self._terms,) = self._venue.listed(Scenario(market="usdm", symbols=("BTC/USDT:USDT",)))
        self._rates = rates

    @property
    def info(self) -> VenueInfo:
        return self._venue.info

    def terms(self, symbol: str) -> Terms:
        base = symbol.partition("/")[0]
        return attrs.evolve(self._terms, instrument=attrs.evolve(self._terms.instrument, symbol=symbol, base=base))

    def fees(self, instrument: Instrument) -> FeeSchedule:
        return self._venue.commission(instrument, None)

    def calendar(self, instrument: Instrument) -> Calendar:
        return self._venue.calendar(instrument)

    def restrictions(self, instrument: Instrument) -> Restrictions:
        return self._venue.restrictions(instrument)

    def rates(self, instrument: Instrument) -> Sequence[FundingRate]:
        return [
            FundingRate(symbol=instrument.symbol, time_ns=START_NS + NS_PER_MINUTE * number, rate=Decimal("0.00001"))
            for number in range(1, self._rates + 1)
        ]

    def veto(self, request: OrderRequest, account: AccountSnapshot) -> str | None:  # noqa: ARG002
        return None


class Holder(bt.Strategy):
    """Buys one of everything, and holds it; may ask for the value at every bar."""

    params: Any = (("asks", False),)

    def next(self) -> None:
        if len(self) == 1:
            for data in self.datas:
                self.buy(data=data, size=0.01)
        elif self.p.asks:
            self.broker.getvalue()


class Fifty:
    """A run of it; ``is_funded``: with a funding in every bar, ``is_marked``: valued at every bar."""

    def __init__(self, positions: int, bars: int, *, is_funded: bool = False, is_marked: bool = False) -> None:
        store = BacktestStore(
            name="binance/backtest/usdm",
            title="Binance",
            source=Shelf(bars),
            intervals=(MINUTE,),
            period=Period(),
            account=StartingAccount(cash=Decimal(1_000_000), currency="USDT", commission=Decimal(0)),
            market="usdm",
            is_margined=True,
            rules=Rules(rates=bars if is_funded else 0),
        )
        self._cerebro = bt.Cerebro(stdstats=False)
        self._cerebro.setbroker(store.getbroker())
        for number in range(positions):
            self._cerebro.adddata(store.getdata(f"C{number}/USDT", interval="1m"))
        self._cerebro.addstrategy(Holder, asks=is_marked)

    def seconds(self) -> float:
        """Run it, and return its CPU seconds."""
        started = time.process_time()
        self._cerebro.run()
        return time.process_time() - started
