"""backtrader's commission object for a spot instrument."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import backtrader as bt

from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.rules.filters import to_grid_quantity

__all__ = ("commission_of",)


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
