"""What a backtest on bars fills, when, and at which price; each test names where backtrader's own broker differs."""

import datetime
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.errors import ConfigError
from btx.model.fees import FeeLevel
from btx.model.instrument import PriceBand
from btx.rules.account import Terms
from tests.unit.bt.bar_rig import FEES, FREE, SPOT, bars_of, flat, play
from tests.values import d

LIMIT, STOP = bt.Order.Limit, bt.Order.Stop


def test_a_market_order_fills_at_the_next_open_and_the_fee_is_taken_from_the_coin() -> None:
    """The position is what is left of it, and all of it can be sold."""
    run = play(bars_of(*flat(100), (101, 102, 100, 101), *flat(103, 104)), {
        1: lambda s: s.buy(size=1.0),
        2: lambda s: s.close(),
    })  # fmt: skip

    assert run.fill(1) == (2, 1.0, 101.0)
    assert run.fill(2) == (3, -0.998, 103.0)
    assert run.strategy.position.size == 0.0
    assert len(run.trades) == 1
    assert run.broker.ledger()["BTC"] == 0
    assert run.broker.ledger()["USDT"] == d(10_000) - 101 + d("0.998") * 103 * (1 - d("0.002"))
    assert run.broker.getcash() == run.broker.getvalue() == float(run.broker.ledger()["USDT"])


def test_an_order_on_a_data_without_a_new_bar_waits_for_one() -> None:
    """Stock fills it on the bar that is there, whose low was before the order."""
    run = play(
        [bars_of(*flat(*[50] * 6)), bars_of((100, 110, 80, 100), (100, 105, 95, 100), symbol="ETH/USDT", minutes=3)],
        {4: lambda s: s.buy(data=s.datas[1], size=1, price=85, exectype=LIMIT)},
        terms=[Terms(instrument=SPOT), Terms(instrument=attrs.evolve(SPOT, symbol="ETH/USDT", base="ETH"))],
    )

    assert run.orders(1) == ["Submitted", "Accepted"]


def test_an_order_sent_while_a_long_bar_is_made_sees_only_its_close() -> None:
    run = play(
        [bars_of(*flat(*[50] * 6)), bars_of((100, 100, 100, 100), (100, 140, 60, 120), symbol="ETH/USDT", minutes=3)],
        {4: lambda s: s.buy(data=s.datas[1], size=1)},
        terms=[Terms(instrument=SPOT), Terms(instrument=attrs.evolve(SPOT, symbol="ETH/USDT", base="ETH"))],
    )

    assert run.fill(1) == (6, 1.0, 120.0)


def test_an_order_can_be_cancelled_in_the_bar_that_sent_it() -> None:
    """Stock forgets such a cancel and fills the order."""
    run = play(bars_of(*flat(100, 100, 100)), {1: lambda s: s.cancel(s.buy(size=1))})

    assert run.orders(1) == ["Submitted", "Canceled"]


def test_a_limit_that_crosses_takes_at_the_open_and_one_that_rested_makes_at_its_own_price() -> None:
    run = play(bars_of(*flat(100, 99), (97, 98, 95, 97), *flat(97)), {
        1: lambda s: (s.buy(size=1, price=99.5, exectype=LIMIT), s.buy(size=1, price=98, exectype=LIMIT)),
    })  # fmt: skip

    assert run.fill(1) == (2, 1.0, 99.0)
    assert run.fill(2) == (3, 1.0, 98.0), "stock gives it the open, 97: but the gain of a gap is not the maker's"
    fees = [each[-1]["fills"][0] for each in run.told if each[2] == "Completed"]
    assert [(fill.fee, fill.fee_asset) for fill in fees] == [(d("0.002"), "BTC"), (d("0.001"), "BTC")]


def test_a_post_only_order_that_would_take_is_refused() -> None:
    run = play(bars_of(*flat(100, 99)), {1: lambda s: s.buy(size=1, price=99.5, exectype=LIMIT, post_only=True)})

    assert run.orders(1)[-1] == "Rejected"
    assert run.reason(1) == "post-only, and it would take at 99.0"


def test_what_must_fill_at_once_and_does_not_expires() -> None:
    run = play(bars_of(*flat(100), (100, 100, 90, 95)), {
        1: lambda s: s.buy(size=1, price=95, exectype=LIMIT, time_in_force="IOC"),
    })  # fmt: skip

    assert run.orders(1)[-1] == "Expired"


def test_of_a_bar_that_spans_both_exits_the_stop_is_taken_whichever_was_sent_first() -> None:
    """Stock takes the one that was sent first."""

    def exits(strategy: Any) -> None:
        target = strategy.sell(size=0.998, price=110, exectype=LIMIT)
        strategy.sell(size=0.998, price=90, exectype=STOP, oco=target)

    run = play(bars_of(*flat(100, 100), (100, 115, 85, 100)), {1: lambda s: s.buy(size=1), 2: exits})

    assert run.orders(2)[-1] == "Canceled"
    assert run.fill(3) == (3, -0.998, 90.0)


def test_a_stop_fills_at_its_trigger_or_worse_at_the_open() -> None:
    run = play(bars_of(*flat(100, 100), (100, 100, 94, 96), (90, 91, 89, 90)), {
        1: lambda s: s.buy(size=2),
        2: lambda s: (s.sell(size=1, price=95, exectype=STOP), s.sell(size=0.9, price=93, exectype=STOP)),
    })  # fmt: skip

    assert run.fill(2) == (3, -1.0, 95.0)
    assert run.fill(3) == (4, -0.9, 90.0)


def test_a_stop_limit_does_not_fill_at_a_price_that_may_have_been_before_its_trigger() -> None:
    """Bought from 105 on, for 104 at most: bar 2 was at 100, but perhaps before it was at 106; bar 3 closes below."""
    stop_limit = {"size": 1, "price": 105, "plimit": 104, "exectype": bt.Order.StopLimit}
    first = play(bars_of(*flat(100), (100, 106, 100, 105.5), *flat(103)), {1: lambda s: s.buy(**stop_limit)})
    second = play(bars_of(*flat(100), (100, 106, 100, 103)), {1: lambda s: s.buy(**stop_limit)})

    assert first.fill(1) == (3, 1.0, 104.0)
    assert second.fill(1) == (2, 1.0, 104.0)


def test_a_bracket_protects_what_has_filled_and_the_stop_may_come_in_the_entrys_own_bar() -> None:
    """A limit entry is reached on the way down, so a lower low came later; stock lets the exits begin a bar later."""
    run = play(bars_of(*flat(100), (100, 100, 90, 94), *flat(94)), {
        1: lambda s: s.buy_bracket(size=1, price=98, stopprice=95, limitprice=110),
    })  # fmt: skip

    assert run.fill(1) == (2, 1.0, 98.0)
    assert run.fill(2) == (2, -0.999, 95.0)
    assert run.orders(3)[-1] == "Canceled"
    assert run.strategy.position.size == 0


def test_a_part_of_an_entry_is_protected_and_the_exits_share_it() -> None:
    """Stock protects nothing before all of an entry has filled, and a part of one exit ends the other."""
    orders: list[Any] = []
    run = play(
        bars_of(
            *[(100, 100, 100, 100, 5)] * 3,
            *[(110, 110, 110, 110, 4)],
            *[(90, 90, 90, 90, 100)] * 2,
        ),
        {
            1: lambda s: orders.extend(s.buy_bracket(size=10, price=100, stopprice=95, limitprice=110)),
            3: lambda s: s.cancel(orders[0]),
        },
        prepare=lambda broker: broker.set_volume_share(0.6),
        fee=FREE,
    )

    fills = [(each[0], each[1], each[3]) for each in run.told if each[3] and each[2] in {"Partial", "Completed"}]
    assert fills == [(2, 1, 3.0), (3, 1, 6.0), (4, 3, -2.4), (5, 2, -3.6)]
    assert run.orders(1)[-1] == "Canceled"
    assert run.orders(2)[-1] == "Completed"
    assert run.orders(3)[-1] == "Canceled"
    assert run.strategy.position.size == 0


def test_an_exit_that_has_sold_all_is_over_when_its_entry_is() -> None:
    orders: list[Any] = []
    run = play(
        bars_of(*flat(100), (100, 100, 100, 100, 3), (110, 110, 110, 110, 100), *flat(105, 105)),
        {
            1: lambda s: orders.extend(s.buy_bracket(size=10, price=100, stopprice=95, limitprice=110)),
            3: lambda s: s.cancel(orders[0]),
        },
        prepare=lambda broker: broker.set_volume_share(1.0),
        fee=FREE,
    )

    assert run.orders(1)[2:] == ["Partial", "Canceled"]
    assert run.orders(3)[2:] == ["Partial", "Completed"]
    assert run.orders(2)[2:] == ["Canceled"]
    assert len(run.trades) == 1


def test_a_partial_fill_ends_the_other_order_of_an_oco_pair_as_it_does_live() -> None:
    def pair(strategy: Any) -> None:
        first = strategy.buy(size=10, price=99, exectype=LIMIT)
        strategy.buy(size=10, price=95, exectype=LIMIT, oco=first)

    run = play(
        bars_of(*flat(100, 100), (100, 100, 98, 99, 10), (99, 99, 98, 99, 1000)),
        {1: pair},
        prepare=lambda broker: broker.set_volume_share(0.1),
    )

    assert run.orders(1)[2:] == ["Partial", "Completed"]
    assert run.orders(2)[-1] == "Canceled"


def test_no_more_than_a_share_of_a_bars_volume_fills() -> None:
    run = play(
        bars_of(*flat(100), *[(100, 100, 100, 100, 4)] * 4),
        {1: lambda s: (s.buy(size=1), s.buy(size=0.5))},
        prepare=lambda broker: broker.set_volume_share(0.25),
    )

    fills = [(each[0], each[1], each[3]) for each in run.told if each[3]]
    assert fills == [(2, 1, 1.0), (3, 2, 0.5)]


def test_a_limit_order_ends_with_its_time_and_the_bar_in_which_it_ends_is_not_its_own() -> None:
    run = play(bars_of(*flat(100, 100), *flat(100), (100, 100, 90, 100)), {
        1: lambda s: s.buy(size=1, price=95, exectype=LIMIT, valid=datetime.timedelta(seconds=150)),
    })  # fmt: skip

    assert run.orders(1)[-1] == "Expired"
    assert not any(each[3] for each in run.told)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"size": 0.01, "price": 100, "exectype": LIMIT}, "below the minimum of 5"),
        ({"size": 0.0001}, "below the minimum quantity of 0.001"),
        ({"size": 1, "postonly": True}, "postonly= is no argument of an order"),
    ],
)
def test_the_venues_rules_refuse_in_the_words_of_the_live_broker(words: dict[str, Any], text: str) -> None:
    run = play(bars_of(*flat(100, 100)), {1: lambda s: s.buy(**words)})

    assert run.orders(1) == ["Rejected"]
    assert text in run.reason(1)


def test_a_price_stays_within_the_band_around_the_average_of_the_last_minutes() -> None:
    band = PriceBand(bid_up=d(2), bid_down=d("0.5"), ask_up=d(2), ask_down=d("0.5"), minutes=3)
    run = play(
        bars_of(*flat(10), (100, 100, 100, 100, 1), (100, 100, 100, 100, 1), (400, 400, 400, 400, 2), *flat(400)),
        {
            2: lambda s: s.buy(size=1, price=1, exectype=LIMIT),
            4: lambda s: [s.buy(size=1, price=price, exectype=LIMIT) for price in (124, 125)],
        },
        terms=Terms(instrument=attrs.evolve(SPOT, price_band=band)),
    )

    assert run.orders(1)[0] == "Rejected", "below the smallest notional; of fewer minutes the band says nothing"
    assert "124 is too far from the average of 3 min, 250, for a BUY" in run.reason(2)
    assert run.orders(3) == ["Submitted", "Accepted"]


def test_sizes_and_prices_lie_on_the_venues_grid() -> None:
    run = play(bars_of(*flat(100, 100, 99)), {1: lambda s: s.buy(size=1.23456, price=99.999, exectype=LIMIT)})

    assert run.fill(1) == (3, 1.234, 99.99)


def test_an_extension_may_stop_an_order() -> None:
    assert play(bars_of(*flat(100, 100)), {1: lambda s: s.buy(size=1)}, vetoed="no").reason(1) == "no"


def test_what_is_not_owned_cannot_be_sold_and_what_is_not_there_cannot_be_spent() -> None:
    """Stock opens a short position."""
    run = play(bars_of(*flat(100, 100, 100)), {1: lambda s: (s.sell(size=1), s.buy(size=101))})

    assert run.orders(1) == run.orders(2) == ["Submitted", "Margin"]
    assert run.reason(1) == "1 BTC needed, 0 free"
    assert run.reason(2) == "10100 USDT needed, 10000 free"


def test_what_rests_has_reserved_its_money() -> None:
    run = play(bars_of(*flat(100, 100, 100)), {
        1: lambda s: (s.buy(size=60, price=90, exectype=LIMIT), s.buy(size=60, price=90, exectype=LIMIT)),
    })  # fmt: skip

    assert run.orders(1) == ["Submitted", "Accepted"]
    assert run.orders(2) == ["Submitted", "Margin"]


def test_the_fee_goes_by_the_tier_of_the_last_thirty_days_and_a_new_one_counts_from_the_next_day_on() -> None:
    levels = (
        FeeLevel(tier="regular", maker=d("0.001"), taker=d("0.002")),
        FeeLevel(tier="VIP", maker=d("0.001"), taker=d("0.001"), volume=d(500)),
    )
    day = 24 * 60
    run = play(
        bars_of(*flat(*[100] * (day + 5))),
        {1: lambda s: s.buy(size=6), 2: lambda s: s.buy(size=1), day + 2: lambda s: s.buy(size=1)},
        fee=attrs.evolve(FEES, levels=levels),
    )

    fees = [each[-1]["fills"][0].fee for each in run.told if each[2] == "Completed"]
    assert fees == [d("0.012"), d("0.002"), d("0.001")]


def test_a_flat_rate_of_the_users_own_stands_in_for_the_venues() -> None:
    run = play(
        bars_of(*flat(100, 100)), {1: lambda s: s.buy(size=1)}, prepare=lambda b: b.setcommission(commission=0.01)
    )

    assert run.broker.ledger()["BTC"] == d("0.99")


def test_a_commission_object_that_counts_in_its_own_way_is_for_stock_fills() -> None:
    with pytest.raises(ConfigError, match='fills="stock"'):
        play(bars_of(*flat(100)), {}, prepare=lambda broker: broker.setcommission(commission=2.0, margin=50.0))


def test_fees_can_be_paid_in_the_discount_coin() -> None:
    bnb = attrs.evolve(SPOT, symbol="BNB/USDT", base="BNB")
    run = play(
        [bars_of(*flat(100, 100, 100, 100)), bars_of(*flat(10, 10, 10, 10), symbol="BNB/USDT")],
        {1: lambda s: s.buy(data=s.datas[1], size=10), 2: lambda s: s.buy(size=1), 3: lambda s: s.sell(size=1)},
        terms=[Terms(instrument=SPOT), Terms(instrument=bnb)],
        fee=attrs.evolve(FEES, discount_asset="BNB", discount=d("0.25")),
        prepare=lambda broker: broker.set_fee_discount(True),
    )

    fees = [(each[-1]["fills"][0].fee, each[-1]["fills"][0].fee_asset) for each in run.told if each[2] == "Completed"]
    assert fees == [(d("0.02"), "BNB"), (d("0.015"), "BNB"), (d("0.015"), "BNB")]


def test_cash_may_be_set_before_and_paid_in_while_it_runs() -> None:
    run = play(bars_of(*flat(100, 100)), {1: lambda s: s.broker.add_cash(50)}, prepare=lambda b: b.setcash(200.5))

    assert run.broker.ledger() == {"USDT": d("250.5")}
    assert run.broker.fundvalue == 100.0


def test_an_order_can_be_amended_and_what_breaks_a_rule_leaves_it_as_it_is() -> None:
    orders: list[Any] = []
    took: list[bool] = []
    run = play(bars_of(*flat(100, 100, 100), (100, 100, 94, 95), *flat(95)), {
        1: lambda s: orders.append(s.buy(size=1, price=90, exectype=LIMIT)),
        2: lambda s: took.append(s.broker.amend(orders[0], price=1)),
        3: lambda s: took.append(s.broker.amend(orders[0], price=95, size=2)),
        5: lambda s: took.append(s.broker.amend(orders[0], price=90)),
    })  # fmt: skip

    assert took == [False, True, False]
    assert run.fill(1) == (4, 2.0, 95.0)
    assert "below the minimum of 5" in orders[0].info["amend_refused"]


def test_everything_can_be_cancelled_at_once() -> None:
    ended: list[int] = []
    run = play(bars_of(*flat(100, 100, 100)), {
        1: lambda s: [s.buy(size=1, price=90 + n, exectype=LIMIT) for n in range(3)],
        2: lambda s: ended.extend([s.broker.cancel_all(s.data), s.broker.cancel_all()]),
    })  # fmt: skip

    assert ended == [3, 0]
    assert {run.orders(ref)[-1] for ref in (1, 2, 3)} == {"Canceled"}


def test_slippage_is_of_what_takes_on_the_tick_and_within_the_bar() -> None:
    run = play(
        bars_of(*flat(100), (100, 101, 99, 100), (100, 101, 99, 100)),
        {1: lambda s: (s.buy(size=1), s.buy(size=1, price=99.5, exectype=LIMIT))},
        prepare=lambda broker: broker.set_slippage_perc(0.00333, slip_open=True),
    )

    assert run.fill(1)[2] == 100.34
    assert run.fill(2)[2] == 99.5


def test_cheating_on_close_is_what_it_was() -> None:
    run = play(bars_of(*flat(100, 105)), {1: lambda s: s.buy(size=1)}, prepare=lambda broker: broker.set_coc(True))

    assert run.fill(1) == (2, 1.0, 100.0)


def test_a_trailing_stop_follows_the_closes() -> None:
    run = play(bars_of(*flat(100, 100, 110), (110, 110, 105, 105), *flat(105)), {
        1: lambda s: s.buy(size=1),
        2: lambda s: s.sell(size=0.998, exectype=bt.Order.StopTrail, trailamount=4.0),
    })  # fmt: skip

    assert run.fill(2) == (4, -0.998, 106.0)


def test_an_order_for_the_close_of_the_session_fills_there() -> None:
    day = 24 * 60
    run = play(bars_of(*flat(*[100] * (day - 1), 107, 108)), {
        5: lambda s: s.buy(size=1, exectype=bt.Order.Close),
    })  # fmt: skip

    assert run.fill(1)[1:] == (1.0, 107.0)


@pytest.mark.parametrize("words", [{}, {"runonce": False}, {"exactbars": 1}, {"preload": False}])
def test_every_way_of_running_gives_the_same(words: dict[str, Any]) -> None:
    rows = [(100 + n % 7, 103 + n % 5 + n % 7, 96 + n % 3, 100 + (n * 3) % 7) for n in range(60)]

    def busy(strategy: Any) -> None:
        if strategy.position.size:
            strategy.close()
        else:
            strategy.buy_bracket(size=1, price=99, stopprice=96, limitprice=104)

    script = dict.fromkeys(range(1, 60, 6), busy)

    first, again = play(bars_of(*rows), script), play(bars_of(*rows), script, cerebro_words=words)

    assert [each[:7] for each in first.told] == [each[:7] for each in again.told]
    assert first.broker.ledger() == again.broker.ledger()
    assert len(first.trades) == len(again.trades) > 3


def test_an_order_within_a_replayed_bar_fills_in_its_next_part() -> None:
    def replay(cerebro: Any, data: Any) -> None:
        cerebro.replaydata(data, timeframe=bt.TimeFrame.Minutes, compression=5)

    seen: list[float] = []

    def buy_late(strategy: Any) -> None:
        seen.append(strategy.data.close[0])
        if len(seen) == 3:
            strategy.buy(size=1)

    rows = [(100 + n, 101 + n, 99 + n, 100.5 + n) for n in range(10)]
    run = play(bars_of(*rows), dict.fromkeys(range(1, 9), buy_late), add=replay, fee=FREE)

    assert seen[2] == 102.5
    assert run.fill(1)[1:] == (1.0, 103.0)
    assert run.broker.ledger() == {"USDT": d(9_897), "BTC": d(1)}


def test_an_order_on_resampled_bars_fills_at_their_next_open() -> None:
    def resample(cerebro: Any, data: Any) -> None:
        cerebro.adddata(data)
        cerebro.resampledata(data, timeframe=bt.TimeFrame.Minutes, compression=5)

    rows = [(100 + n, 101 + n, 99 + n, 100.5 + n) for n in range(15)]
    run = play(bars_of(*rows), {
        5: lambda s: s.buy(data=s.datas[1], size=1),
        6: lambda s: s.buy(data=s.datas[1], size=2),
    }, add=resample, fee=FREE)  # fmt: skip

    assert run.fill(1) == (10, 1.0, 105.0)
    assert run.fill(2) == (10, 2.0, 109.5), "of the bar that had begun only the close was certainly later"


def test_a_second_run_of_one_broker_begins_anew() -> None:
    run = play(bars_of(*flat(100, 100, 110, 110)), {1: lambda s: s.buy(size=1), 3: lambda s: s.close()})
    before = run.broker.ledger()

    run.broker.cerebro.run()

    assert run.broker.ledger() == before
    assert [told[2] for told in run.told] == 2 * [told[2] for told in run.told[: len(run.told) // 2]]


def test_decimals_of_floats_close_their_trades() -> None:
    """Stock sums 0.1 ten times to something else than 1, and the trade stays open for ever."""

    def sell_all(strategy: Any) -> None:
        strategy.sell(size=1)

    run = play(
        bars_of(*flat(*[100] * 15)),
        dict.fromkeys(range(1, 11), lambda s: s.buy(size=0.1)) | {12: sell_all},
        fee=FREE,
    )

    assert run.strategy.position.size == 0.0
    assert len(run.trades) == 1
    assert run.broker.ledger()["BTC"] == Decimal(0)


def test_exits_that_only_a_venue_would_make_are_refused_in_a_backtest() -> None:
    run = play(bars_of(*flat(100, 100, 100)), {1: lambda s: s.buy(size=1, params={"takeProfit": 120})})

    assert run.orders(1)[-1] == "Rejected"
    assert "which nobody does in backtest: write buy_bracket()" in run.reason(1)
