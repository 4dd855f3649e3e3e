"""T+1, price limits and fees of closing today's positions, at a venue that has them."""

from decimal import Decimal

import backtrader as bt

from btx.model.calendar import Calendar
from btx.model.restrictions import Restrictions
from btx.rules.account import Terms
from tests.unit.bt.bar_rig import FREE, PERP, bars_of, flat, play
from tests.values import d

DAY = 24 * 60
HALVES = 12 * 60  # minutes of a bar, so that two are a day


def test_what_was_bought_today_is_sold_tomorrow() -> None:
    run = play(
        bars_of(*flat(*[100] * 6), minutes=HALVES),
        {1: lambda s: s.buy(size=1), 2: lambda s: s.close(), 3: lambda s: s.close(), 4: lambda s: s.close()},
        fee=FREE,
        restricted=Restrictions(sells_next_day=True),
        hours=Calendar(name="toy"),
    )

    assert run.orders(2) == ["Rejected"]
    assert "1 cannot be sold today, 0 can" in run.reason(2)
    assert run.fill(3) == (4, -1.0, 100.0)


def test_an_exit_of_today_waits_for_tomorrow() -> None:
    run = play(
        bars_of(*flat(100), (100, 100, 80, 80), *flat(80, 80), minutes=HALVES),
        {1: lambda s: s.buy_bracket(size=1, price=100, stopprice=90, limitprice=120)},
        fee=FREE,
        restricted=Restrictions(sells_next_day=True),
    )

    assert run.fill(1)[0] == 2
    assert run.fill(2) == (3, -1.0, 80.0)


def test_no_order_leaves_the_days_price_limits_and_none_fills_while_the_price_is_locked_there() -> None:
    locked = (110, 110, 110, 110)
    run = play(
        bars_of(*flat(100, 100), locked, locked, (110, 110, 105, 108), *flat(108), minutes=HALVES),
        {
            2: lambda s: s.buy(size=1),
            3: lambda s: (
                s.buy(size=1, price=111, exectype=bt.Order.Limit),
                s.sell(size=1, price=89, exectype=bt.Order.Limit),
            ),
        },
        fee=FREE,
        restricted=Restrictions(price_limit=d("0.1")),
    )

    assert run.fill(1) == (5, 1.0, 110.0)
    assert run.orders(2) == ["Rejected"]
    assert "111 lies outside today's price limits, 90.00 to 110.00" in run.reason(2)
    assert "89 lies outside" in run.reason(3)


def test_closing_what_was_opened_today_has_a_fee_of_its_own() -> None:
    """3 of yesterday and 2 of today, closed at once: today's first at a tenth of a per cent, the rest at nothing."""

    def fees(*, first: bool) -> list[Decimal]:
        run = play(
            bars_of(*flat(*[100] * 6), minutes=HALVES, symbol=PERP.symbol),
            {1: lambda s: s.buy(size=3), 2: lambda s: s.buy(size=2), 3: lambda s: s.sell(size=4)},
            terms=Terms(instrument=PERP, leverage=1),
            fee=FREE,
            restricted=Restrictions(close_today_rate=d("0.001"), closes_today_first=first),
        )
        return [each[-1]["fills"][0].fee for each in run.told if each[2] == "Completed"]

    assert fees(first=True) == [0, 0, d("0.2")]
    assert fees(first=False) == [0, 0, d("0.1")]
