"""When the box trades: two readings of one calendar must agree."""

import pytest

from btx_futu.hours import calendar_of
from btx_futu.sim.tables import MARKETS


@pytest.mark.parametrize(("market", "symbol"), [("hk", "HK.00700"), ("us", "US.AAPL")])
def test_the_box_is_closed_on_the_days_on_which_the_adapter_expects_no_bar(market: str, symbol: str) -> None:
    box, expected = MARKETS[market].calendar, calendar_of(symbol)

    assert (box.zone, box.hours, box.holidays) == (expected.zone, expected.hours, expected.holidays)
