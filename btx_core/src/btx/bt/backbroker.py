"""backtrader's own simulated broker, which does only what can change something."""

from collections import defaultdict
from typing import Any

import backtrader as bt
from backtrader.utils import num2date

__all__ = ("BacktestBroker",)

_STOCK = bt.CommInfoBase
_COUNTING = (
    *("getvaluesize", "profitandloss", "cashadjust", "get_leverage", "stocklike"),
    *("get_credit_interest", "_get_credit_interest"),
)


# A position, the lines of its data's closes and stamps, its commission's params, and whether the data is known.
_Page = tuple[Any, Any, Any, Any, bool]


def _is_known(data: Any) -> bool:
    """Say whether all numbers of a data are there, and are numbers."""
    return bool(getattr(data, "is_bulk", False))


class _Position(bt.Position):
    """A position that works out the time it was last looked at when it is asked."""

    seen: Any = None  # stamps, index and time zone of that bar
    _datetime: Any = None

    @property
    def datetime(self) -> Any:
        """Naive time of the data's zone, as backtrader keeps it."""
        if self.seen is not None:
            stamps, index, zone = self.seen
            self.datetime = num2date(stamps[index], zone)
        return self._datetime

    @datetime.setter
    def datetime(self, moment: Any) -> None:
        self.seen = None
        self._datetime = moment


class BacktestBroker(bt.brokers.BackBroker):
    """``bt.brokers.BackBroker`` to the last bit: fills, cash, values, interest, fund mode and the order of news.

    ``next()`` of the stock class goes through orders, interest, margins and values
    at every bar.  Here, while there is no order, what is held is only valued
    anew; and while nothing is held either, nothing is done, for the stock round
    would write the same numbers again.  Commission objects that count interest
    or margin, or in a way of their own, get the stock round at every bar.
    """

    def __init__(self) -> None:
        self.cash: float
        self._pages: list[_Page] | None = []  # what is held or was, and how it is counted; None: not as plain stock
        self._rested: tuple[float, int] | None = None  # cash and datas after a round that left nothing to do
        super().__init__()

    @property
    def cerebro(self) -> Any:
        """The cerebro it belongs to; backtrader sets it."""
        return self._cerebro

    @cerebro.setter
    def cerebro(self, cerebro: Any) -> None:
        from btx.bt.fastrun import install

        self._cerebro = cerebro
        install(cerebro)

    def init(self) -> None:
        super().init()
        self.positions: Any = defaultdict(_Position)
        self._forget()

    def setcommission(self, *args: Any, **kwargs: Any) -> None:
        super().setcommission(*args, **kwargs)
        self._forget()

    def addcommissioninfo(self, comminfo: Any, name: str | None = None) -> None:
        super().addcommissioninfo(comminfo, name=name)
        self._forget()

    def next(self) -> None:
        if not self._did_little():
            self._forget()
            super().next()

    def turn(self) -> bool:
        """Do a round that tells nothing, and say so; False: nothing was done, and there is more to do than that."""
        return not self.notifs and self._did_little()

    def _did_little(self) -> bool:
        if self.pending or self.submitted or self._toactivate or self._cash_addition:
            return False
        positions = self.positions
        if self._rested == (self.cash, len(positions)):
            for pos in positions.values():
                if pos.size:
                    break  # by hand: a round of orders would have been none of rest
            else:
                return True
        pages = self._pages
        if pages is not None and len(pages) != len(positions):
            pages = self._pages = self._turn_pages()
        if pages is None or self._userhist or self._fundhist or not self.p.shortcash:
            return False
        self._value_anew(pages)
        if self._value == self.cash:
            self._rested = (self.cash, len(positions)) if self._can_rest() else None
        return True

    def _forget(self) -> None:
        self._rested = None
        self._pages = []

    def _can_rest(self) -> bool:
        """Say whether the closes to come cannot change what was just counted: 0 units times a number, not a NaN."""
        return all(not pos.size and _is_known(data) and len(data) for data, pos in self.positions.items())

    def _turn_pages(self) -> "list[_Page] | None":
        """Return the positions, if they cost no interest and no margin, and are worth their size times their price."""
        if type(self)._get_value is not bt.brokers.BackBroker._get_value or self.cerebro.p.oldsync:
            return None
        pages: list[_Page] = []
        for data, pos in self.positions.items():
            info = self.getcommissioninfo(data)
            counts = all(getattr(type(info), name) is getattr(_STOCK, name) for name in _COUNTING)
            if not counts or not info._stocklike or info._creditrate:
                return None
            pages.append((pos, data.lines.close, data.lines.datetime, info.p, _is_known(data)))
        return pages

    def _value_anew(self, pages: "list[_Page]") -> None:
        """Do what is left of the stock round, sum by sum in its order: floats are not associative."""
        cash = self.cash = self.cash - 0.0
        value = own = unrealized = 0.0
        for pos, closes, stamps, params, is_known in pages:
            close = closes.array[closes._idx]
            size = pos.size
            if size:
                if is_known:
                    pos.seen = (stamps.array, stamps._idx, stamps._tz)
                else:
                    pos.datetime = num2date(stamps.array[stamps._idx], stamps._tz)
                pos.adjbase = close
            worth = size * close
            gain = size * (close - pos.price) * params.mult
            value += worth
            unrealized += gain
            if worth > 0:
                own += (worth - gain) / params.leverage
                own += gain
            else:
                own += worth
        self._value = cash + own
        self._fundval = self._value / self._fundshares
        self._valuemkt = own
        self._valuelever = cash + value
        self._valuemktlever = value
        self._leverage = value / (own or 1.0)
        self._unrealized = unrealized
