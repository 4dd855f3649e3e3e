"""Writes down what a run does, in whatever environment, so that two runs can be compared."""

import traceback
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import backtrader as bt

from btx.bt.folds import close_ns_of
from btx.errors import BtxError, ConfigError
from btx.model.instrument import InstrumentKind
from btx.model.time import NS_PER_DAY, NS_PER_MS
from btx.model.trace import BalanceStep, FillStep, OrderStep, SeenBar, Signal, Trace

__all__ = ("Recorder", "trace_run")

_EPOCH_DAYS = 719_163
_MS_PER_DAY = NS_PER_DAY // NS_PER_MS


class _Share(bt.sizers.PercentSizer):
    """A share of the cash; of coin-margined contracts, whose cash is coins, in contracts."""

    def _getsizing(self, comminfo: Any, cash: float, data: Any, isbuy: bool) -> float:
        size: float = super()._getsizing(comminfo, cash, data, isbuy)
        if data.instrument.kind is not InstrumentKind.INVERSE or self.broker.getposition(data).size:
            return size
        return float(cash * self.p.percents / 100 * data.close[0] // float(data.instrument.multiplier))


class Recorder(bt.Analyzer):
    """Bars, signals, orders, fills and balances of one run; ``take`` makes the trace of them."""

    params = (("store", None),)

    def start(self) -> None:
        self.bars: list[SeenBar] = []
        self.balances: list[BalanceStep] = []
        self._orders: dict[int, Any] = {}  # by ref: what was first told of each
        self._steps: list[tuple[int, OrderStep]] = []
        self._fills: dict[int, tuple[Any, ...]] = {}
        self._lengths = {data._name: 0 for data in self.datas}

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        now_ns = self.p.store.session.clock.market_ns()
        for data in self.datas:
            if len(data) > self._lengths[data._name]:
                self._lengths[data._name] = len(data)
                self.bars.append(_seen(data, now_ns))
        broker = self.strategy.broker
        self.balances.append(
            BalanceStep(
                bar_ns=max(close_ns_of(data.lines) for data in self.datas if len(data)),
                cash=_exact(broker.getcash()),
                positions={data._name: _exact(broker.getposition(data).size) for data in self.datas},
            )
        )

    def notify_order(self, order: Any) -> None:
        self._orders.setdefault(order.ref, order)
        self._fills[order.ref] = tuple(order.info.get("fills") or ())
        request = self.strategy.broker.request_of(order)
        step = OrderStep(
            number=0,
            status=order.getstatusname(),
            told_ns=self.p.store.session.clock.market_ns(),
            quantity=request.quantity if request is not None else None,
            price=request.price if request is not None else None,
            trigger=request.trigger_price if request is not None else None,
            reason=order.info.get("reason") or "",
        )
        self._steps.append((order.ref, step))

    def take(self, name: str, error: Exception | None) -> Trace:
        """Return the trace of the run, which ``error`` ended."""
        numbers = {ref: number for number, ref in enumerate(sorted(self._orders), 1)}
        return Trace(
            name=name,
            bars=tuple(self.bars),
            signals=tuple(_signal(numbers[ref], self._orders[ref]) for ref in numbers),
            steps=tuple(attrs.evolve(step, number=numbers[ref]) for ref, step in self._steps),
            fills=tuple(
                _fill(numbers[ref], self._orders[ref].data._name, fill) for ref in numbers for fill in self._fills[ref]
            ),
            balances=tuple(self.balances),
            ticks={data._name: data.instrument.tick_size for data in self.datas if self._lengths[data._name]},
            error=_told(error) if error is not None else "",
            read_ahead=isinstance(error, IndexError),
        )


def trace_run(store: Any, strategy: Any, feeds: Iterable[Mapping[str, Any]], *, name: str, percents: float) -> Trace:
    """Run a strategy on a store's datas and return what it did; ``feeds`` are the arguments of ``store.getdata``.

    An order that says no size has ``percents`` of the cash.  What the strategy raises is in the trace.

    Raises:
        BtxError: the run could not be made.
    """
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker(on_stop="keep"))
    for feed in feeds:
        cerebro.adddata(store.getdata(**feed))
    cerebro.addstrategy(strategy)
    cerebro.addsizer(_Share, percents=percents)
    recorders: list[Recorder] = []

    class _Kept(Recorder):
        def start(self) -> None:
            super().start()
            recorders.append(self)

    cerebro.addanalyzer(_Kept, store=store)
    try:
        cerebro.run()
    except BtxError:
        raise
    except Exception as error:  # the strategy's own: that one side raises is a difference
        if not recorders:
            raise ConfigError(f"the strategy cannot be made: {_told(error)}") from error
        return recorders[0].take(name, error)
    return recorders[0].take(name, None)


def _told(error: Exception) -> str:
    """Return an exception in one line, with the place it was raised at."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name} line {last.lineno})"


def _seen(data: Any, now_ns: int) -> SeenBar:
    lines = data.lines
    return SeenBar(
        data=data._name,
        open_ns=round(lines.ts_ms[0]) * NS_PER_MS,
        close_ns=close_ns_of(lines),
        seen_ns=now_ns,
        open=_exact(lines.open[0]),
        high=_exact(lines.high[0]),
        low=_exact(lines.low[0]),
        close=_exact(lines.close[0]),
        volume=_exact(lines.volume[0]),
    )


def _signal(number: int, order: Any) -> Signal:
    created = order.created
    return Signal(
        number=number,
        data=order.data._name,
        bar_ns=round((created.dt - _EPOCH_DAYS) * _MS_PER_DAY) * NS_PER_MS,
        side="buy" if order.isbuy() else "sell",
        kind=order.getordername(),
        size=_exact(abs(created.size)),
        price=_exact(created.price) if created.price is not None else None,
        limit=_exact(created.pricelimit) if created.pricelimit is not None else None,
    )


def _fill(number: int, data: str, fill: Any) -> FillStep:
    return FillStep(
        number=number,
        data=data,
        price=fill.price,
        quantity=fill.quantity,
        fee=fill.fee,
        fee_asset=fill.fee_asset,
        liquidity=fill.liquidity,
        time_ns=fill.time_ns,
    )


def _exact(number: float) -> Decimal:
    """Return the decimal that a float is written as."""
    return Decimal(repr(float(number)))
