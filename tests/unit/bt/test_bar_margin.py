"""Positions on margin in a backtest on bars: money to the last decimal, funding, liquidation, legs and contracts."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.bt.analyzers import Costs
from btx.model.account import BookingKind
from btx.model.derivatives import FundingRate, MarginMode, PositionMode
from btx.model.time import NS_PER_MINUTE
from btx.rules.account import Terms
from tests.backtests import START_NS
from tests.unit.bt.bar_rig import COIN, FREE, PERP, TIERS, Run, bars_of, flat, play
from tests.values import d

TEN = Terms(instrument=PERP, tiers=TIERS, leverage=10)
LIMIT, STOP = bt.Order.Limit, bt.Order.Stop


def margined(rows: Any, script: dict[int, Callable[[Any], Any]], **words: Any) -> Run:
    terms = words.setdefault("terms", TEN)
    return play(bars_of(*rows, symbol=terms.instrument.symbol), script, **words)


def rate(minute: float, fraction: str, *, mark: str | None = None, symbol: str = PERP.symbol) -> FundingRate:
    return FundingRate(
        symbol=symbol,
        time_ns=START_NS + int(minute * NS_PER_MINUTE),
        rate=d(fraction),
        mark_price=d(mark) if mark is not None else None,
    )


def booked(run: Run, kind: BookingKind, asset: str = "USDT") -> Decimal:
    return run.broker.booked().get((kind, asset), Decimal(0))


def test_the_wallet_moves_by_what_is_realised_and_by_fees_and_a_short_needs_no_coin() -> None:
    run = margined(flat(100, 100, 110, 105), {
        1: lambda s: s.buy(size=2),
        2: lambda s: s.sell(size=5),
        3: lambda s: s.close(),
    }, analyzers=[Costs])  # fmt: skip

    fees = (d(2) * 100 + d(5) * 110 + d(3) * 105) * d("0.002")
    assert run.broker.ledger() == {"USDT": 10_000 + 20 + 15 - fees}
    assert booked(run, BookingKind.FEE) == -fees
    assert booked(run, BookingKind.REALISED) == 35
    assert [round(trade.pnl, 9) for trade in run.trades] == [20.0, 15.0]
    assert sum(trade.pnlcomm for trade in run.trades) == pytest.approx(float(35 - fees))
    costs = run.strategy.analyzers[0].get_analysis()
    assert costs["fees"] == {"USDT": -fees}


def test_cash_is_what_is_available_and_value_is_the_equity_as_live() -> None:
    seen: list[tuple[float, float]] = []
    margined(flat(100, 100, 110), {
        1: lambda s: s.buy(size=2),
        3: lambda s: seen.append((s.broker.getcash(), s.broker.getvalue())),
    }, fee=FREE)  # fmt: skip

    assert seen == [(10_020 - 22, 10_020.0)]


def test_an_order_needs_its_initial_margin() -> None:
    run = margined(flat(100, 100, 100), {1: lambda s: (s.buy(size=999), s.buy(size=1001)), 2: lambda s: s.close()})

    assert run.orders(2) == ["Submitted", "Margin"]
    assert run.reason(
        2
    ) == "10010.00000000000000000000 USDT needed as margin, 10000 available" or "needed" in run.reason(2)


def test_leverage_has_a_largest_position() -> None:
    run = margined(flat(1000, 1000), {1: lambda s: s.buy(size=200)},
                   cash="1000000", terms=attrs.evolve(TEN, leverage=50))  # fmt: skip

    assert run.orders(1) == ["Submitted", "Margin"]
    assert "more than leverage 50 allows, the most is 100000" in run.reason(1)


def test_funding_is_paid_by_who_holds_at_the_stamp_and_at_its_mark_price() -> None:
    """At the close of bar 3, within bar 5 and after the end of the position."""
    rates = [rate(1, "0.5"), rate(3, "0.001", mark="120"), rate(4.5, "-0.002"), rate(7, "0.5")]
    run = margined(flat(100, 100, 100, 110, 110, 110, 110, 110), {
        1: lambda s: s.buy(size=2),
        5: lambda s: s.close(),
    }, funding=rates, fee=FREE)  # fmt: skip

    assert booked(run, BookingKind.FUNDING) == -2 * d("0.12") + 2 * d("0.22")
    assert run.broker.ledger()["USDT"] == 10_000 + 20 + d("0.20")


def test_a_short_receives_what_a_long_pays() -> None:
    run = margined(flat(*[100] * 5), {1: lambda s: s.sell(size=2)}, funding=[rate(3, "0.001")], fee=FREE)

    assert booked(run, BookingKind.FUNDING) == d("0.2")


def test_where_nobody_knows_the_rates_the_usual_one_is_assumed_and_said(caplog: pytest.LogCaptureFixture) -> None:
    run = margined(flat(*[100] * (9 * 60)), {1: lambda s: s.buy(size=2)}, funding=None, fee=FREE)

    assert booked(run, BookingKind.FUNDING) == d("-0.02")
    assert "0.0001 every 8 h is assumed" in caplog.text


@pytest.mark.parametrize("mode", list(MarginMode))
def test_a_position_is_liquidated_within_the_bar_at_the_price_of_the_formula(mode: MarginMode) -> None:
    """10 at 100 with 10x: (wallet + P x 10 - 1000) = 0.01 x P x 10, of an isolated one the wallet is 100."""
    cash = "100" if mode is MarginMode.CROSS else "5000"
    run = margined(
        [*flat(100, 100), (100, 101, 90.92, 95), (95, 96, 80, 90), *flat(90)],
        {1: lambda s: s.buy(size=10)},
        cash=cash,
        terms=attrs.evolve(TEN, margin_mode=mode),
        fee=FREE,
    )

    liquidated = next(each for each in run.told if each[-1].get("origin") == "LIQUIDATION")
    assert (liquidated[0], liquidated[3], liquidated[4]) == (4, -10.0, 90.91)
    fee = min(d("90.91") * 10 * d("0.01"), d(100) - d("90.9"))
    assert booked(run, BookingKind.LIQUIDATION_FEE) == -fee
    assert run.broker.ledger()["USDT"] == d(cash) - d("90.9") - fee
    assert run.strategy.position.size == 0.0
    assert len(run.trades) == 1


def test_a_jump_through_the_liquidation_price_closes_at_the_open_and_the_fund_pays_the_rest() -> None:
    run = margined([*flat(100, 100), (80, 85, 80, 85)], {1: lambda s: s.buy(size=10)}, cash="100", fee=FREE)

    assert run.told[-1][4] == 80.0
    assert run.broker.ledger()["USDT"] == 0
    assert booked(run, BookingKind.LIQUIDATION_FEE) == 100


def test_a_stop_on_the_way_comes_before_the_liquidation() -> None:
    run = margined([*flat(100, 100), (100, 100, 80, 85)], {
        1: lambda s: s.buy(size=10),
        2: lambda s: s.sell(size=10, price=95, exectype=STOP),
    }, cash="100", fee=FREE)  # fmt: skip

    assert run.fill(2) == (3, -10.0, 95.0)
    assert run.broker.ledger()["USDT"] == 50


def test_a_target_in_the_same_bar_does_not_save_a_position() -> None:
    run = margined([*flat(100, 100), (100, 120, 80, 85)], {
        1: lambda s: s.buy(size=10),
        2: lambda s: s.sell(size=10, price=110, exectype=LIMIT),
    }, cash="100", fee=FREE)  # fmt: skip

    assert run.orders(2)[-1] == "Canceled"
    assert run.reason(2) == "the position is liquidated"


def test_cross_positions_go_together_on_their_common_way_down() -> None:
    eth = attrs.evolve(PERP, symbol="ETH/USDT:USDT", base="ETH")
    rows = [*flat(100, 100), (100, 100, 80, 90)]
    run = play(
        [bars_of(*rows, symbol=PERP.symbol), bars_of(*rows, symbol=eth.symbol)],
        {1: lambda s: (s.buy(size=10), s.buy(data=s.datas[1], size=10))},
        terms=[TEN, attrs.evolve(TEN, instrument=eth)],
        cash="200",
        fee=FREE,
    )

    closed = [each[4] for each in run.told if each[-1].get("origin") == "LIQUIDATION"]
    assert closed == [90.91, 90.91]


def test_close_never_turns_a_position_over() -> None:
    run = margined([*flat(100, 100), (100, 100, 90, 100), *flat(100, 100)], {
        1: lambda s: s.buy(size=2),
        2: lambda s: (s.sell(size=2, price=95, exectype=STOP, reduce_only=True), s.close()),
    })  # fmt: skip

    assert run.strategy.position.size == 0.0
    assert run.fill(3) == (3, -2.0, 100.0)
    assert run.orders(2)[-1] == "Canceled"


def test_two_orders_that_close_all_there_is_close_it_once() -> None:
    run = margined(flat(100, 100, 100, 100), {1: lambda s: s.buy(size=2), 2: lambda s: (s.close(), s.sell(size=1))})

    assert run.strategy.position.size == -1.0, "close() closes, and what comes beside it opens"


def test_the_liquidation_price_can_be_asked_for() -> None:
    asked: list[Any] = []
    margined(flat(100, 100, 100), {
        1: lambda s: (asked.append(s.broker.liquidation_price(s.data)), s.buy(size=10)),
        2: lambda s: asked.append(s.broker.liquidation_price(s.data)),
    }, cash="100", fee=FREE)  # fmt: skip

    assert asked[0] is None
    assert round(asked[1], 3) == d("90.909")


def test_each_leg_of_a_hedged_account_has_its_own_data_and_position() -> None:
    def open_both(strategy: Any) -> None:
        strategy.buy(size=3)
        strategy.sell(data=strategy.datas[1], size=2)

    run = margined(flat(100, 100, 110, 110), {
        1: open_both,
        2: lambda s: s.sell(data=s.datas[0], size=4),
        3: lambda s: s.close(data=s.datas[1]),
    }, mode=PositionMode.HEDGE, legs=("long", "short"), fee=FREE)  # fmt: skip

    long, short = run.strategy.datas
    assert run.broker.getposition(long).size == 3.0
    assert run.broker.getposition(short).size == 0.0
    assert "through zero" in run.reason(3)
    assert booked(run, BookingKind.REALISED) == -20


def test_an_inverse_contract_earns_coins() -> None:
    run = margined(
        flat(100, 100, 125, 125),
        {1: lambda s: s.buy(size=10), 3: lambda s: s.close()},
        terms=Terms(instrument=COIN, leverage=5),
        cash="10",
    )

    fees = (d(10) + d(8)) * d("0.002")
    assert run.broker.ledger() == {"BTC": 10 + 2 - fees}
    assert booked(run, BookingKind.FEE, "BTC") == -fees
    assert [trade.pnl for trade in run.trades] == [2.0]


def test_a_contract_is_delivered_at_its_end() -> None:
    over = attrs.evolve(PERP, symbol="BTC/USDT:USDT-250601", delivery_ns=START_NS + 3 * NS_PER_MINUTE)
    script = {1: lambda s: s.buy(size=2), 4: lambda s: s.buy(size=1)}
    run = margined(flat(100, 100, 110, 110, 120), script, terms=attrs.evolve(TEN, instrument=over), fee=FREE)

    assert [each[-1]["origin"] for each in run.told if "origin" in each[-1]][-1] == "DELIVERY"
    assert run.broker.ledger()["USDT"] == 10_020
    assert "was delivered at 2025-06-01T00:03" in str(run.told[-1][5])


def test_a_delivery_costs_a_taker_s_fee() -> None:
    over = attrs.evolve(PERP, symbol="BTC/USDT:USDT-250601", delivery_ns=START_NS + 3 * NS_PER_MINUTE)
    terms = attrs.evolve(TEN, instrument=over)
    run = margined(flat(100, 100, 110, 110, 120), {1: lambda s: s.buy(size=2)}, terms=terms)

    fees = (d(200) + d(220)) * d("0.002")
    assert [each[-1]["origin"] for each in run.told if "origin" in each[-1]] == ["DELIVERY"]
    assert run.broker.ledger()["USDT"] == 10_020 - fees
    assert booked(run, BookingKind.FEE, "USDT") == -fees


def test_what_only_reduces_ends_when_there_is_nothing_left() -> None:
    run = margined(flat(100, 100, 100, 110, 120), {
        1: lambda s: s.buy(size=2),
        2: lambda s: (s.sell(size=2, price=115, exectype=LIMIT, reduce_only=True), s.sell(size=2, reduce_only=True)),
    })  # fmt: skip

    assert run.orders(2)[-1] == "Canceled"
    assert run.reason(2) == "nothing is left to reduce"
