"""backtrader's commission objects: of what is owned, and of what is held on margin."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import backtrader as bt

from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.rules.contracts import is_inverse
from btx.rules.filters import to_grid_quantity

__all__ = ("commission_of", "margin_commission_of")


class _SpotCommission(bt.CommInfoBase):
    """Taker's rate, for estimates; what a fill really cost is on the fill."""

    params = (
        ("stocklike", True),
        ("commtype", bt.CommInfoBase.COMM_PERC),
        ("percabs", True),
        ("instrument", None),
        ("quote_rate", None),
    )

    def getsize(self, price: float, cash: float) -> float:
        """Return how much ``cash`` buys at ``price``, down to the step; the stock method gives whole units."""
        rate = self.p.quote_rate()
        if not price > 0 or not cash > 0 or not rate:
            return 0.0
        quote = Decimal(repr(float(cash))) / rate
        return float(to_grid_quantity(self.p.instrument, quote / Decimal(repr(float(price)))))


def commission_of(instrument: Instrument, schedule: FeeSchedule, *, quote_rate: Callable[[], Decimal | None]) -> Any:
    """Return the commission object of an instrument; ``quote_rate`` is a quote unit's worth in the broker's cash."""
    return _SpotCommission(commission=float(schedule.taker), instrument=instrument, quote_rate=quote_rate)


class _MarginCommission(bt.CommInfoBase):
    """A contract's margin and profit, in its settle asset, and the taker's rate for estimates."""

    params = (
        ("stocklike", False),
        ("commtype", bt.CommInfoBase.COMM_PERC),
        ("percabs", True),
        ("instrument", None),
        ("leverage_now", None),
        ("settle_rate", None),
    )

    def worth(self, size: float, price: float) -> float:
        """Return what a size is worth at a price, with its sign."""
        multiplier = float(self.p.instrument.multiplier)
        if is_inverse(self.p.instrument):
            return size * multiplier / price if price else 0.0
        return size * multiplier * price

    def get_leverage(self) -> float:
        return float(self.p.leverage_now())

    def get_margin(self, price: float) -> float:
        """Return what one unit, or one contract, is opened with."""
        return self.worth(1.0, price) / self.get_leverage()

    def getsize(self, price: float, cash: float) -> float:
        """Return how much can be opened at ``price`` with ``cash`` as its margin, down to the step."""
        rate = self.p.settle_rate()
        if not price > 0 or not cash > 0 or not rate:
            return 0.0
        one = Decimal(repr(self.worth(1.0, float(price))))
        worth = Decimal(repr(float(cash))) / rate * self.p.leverage_now()
        return float(to_grid_quantity(self.p.instrument, worth / one))

    def _getcommission(self, size: float, price: float, pseudoexec: bool) -> float:  # noqa: ARG002 -- backtrader's own
        return abs(self.worth(size, price)) * float(self.p.commission)

    def profitandloss(self, size: float, price: float, newprice: float) -> float:
        if is_inverse(self.p.instrument):
            return self.worth(size, price) - self.worth(size, newprice)
        return self.worth(size, newprice - price)

    def cashadjust(self, size: float, price: float, newprice: float) -> float:
        return self.profitandloss(size, price, newprice)


def margin_commission_of(
    instrument: Instrument,
    schedule: FeeSchedule,
    *,
    leverage: Callable[[], int],
    settle_rate: Callable[[], Decimal | None],
) -> Any:
    """Return the commission object of a contract; ``settle_rate`` is what a unit of its margin is worth as cash."""
    return _MarginCommission(
        commission=float(schedule.taker), instrument=instrument, leverage_now=leverage, settle_rate=settle_rate
    )
