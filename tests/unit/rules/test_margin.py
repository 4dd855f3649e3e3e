"""Margin, against the venue's own worked examples where there are some."""

import itertools
import json
from decimal import Decimal
from pathlib import Path

import pytest

from btx.model.derivatives import LeverageTier
from btx.model.order import Side
from btx.rules import margin
from btx.rules.contracts import value
from btx.rules.positions import Position
from tests.perpetuals import BTCUSD, BTCUSDT, ETHUSDT, INVERSE, LINEAR, tiers_of
from tests.values import d

FLAT_RATE = (LeverageTier(floor=d(0), max_leverage=20, maintenance_rate=d("0.01")),)


def held(quantity: str | int, price: str | int, instrument: object = LINEAR) -> Position:
    assert instrument in (LINEAR, INVERSE)
    flat = Position.of(INVERSE if instrument is INVERSE else LINEAR)
    cost = value(INVERSE if flat.inverse else LINEAR, d(quantity), d(price))
    return Position(quantity=d(quantity), cost=cost, multiplier=flat.multiplier, inverse=flat.inverse)


# --- tiers -----------------------------------------------------------------------------------------------


def test_a_cap_belongs_to_its_tier() -> None:
    assert [margin.tier_of(BTCUSDT, d(each)).max_leverage for each in (0, 50_000, "50000.01", "1e12")] == [
        125,
        125,
        100,
        5,
    ]


def test_what_is_beyond_a_last_cap_is_in_the_last_tier() -> None:
    tiers = (LeverageTier(floor=d(0), cap=d(10), max_leverage=5, maintenance_rate=d("0.1")),)

    assert margin.tier_of(tiers, d(11)) is tiers[0]


def test_without_tiers_nothing_can_be_said() -> None:
    with pytest.raises(ValueError, match="no leverage tiers are known"):
        margin.tier_of((), d(1))


def test_maintenance_of_a_notional_is_as_on_the_venues_page() -> None:
    """Maintenance of the liquidation example: 356,512.508 and 71,200.81144; COIN-M: 300 BTC is 12.5 % less 11.605."""
    assert round(margin.maintenance_margin(ETHUSDT, d("4918775.081")), 3) == d("356512.508")
    assert round(margin.maintenance_margin(BTCUSDT, d("3500032.458")), 4) == d("71200.8114")
    assert margin.tier_of(BTCUSD, d(300)).maintenance_amount == d("11.605")


def test_tiers_join_in_the_venues_own_table(btx_data: Path) -> None:
    """https://developers.binance.com: Notional and Leverage Brackets, as of October 2024, ten symbols."""
    table = json.loads((btx_data / "reference/binance_usdm_leverage_tiers_2024-10_10sym.json").read_text())
    for rows in table.values():
        tiers = [
            LeverageTier(
                floor=d(row["info"]["notionalFloor"]),
                cap=d(row["info"]["notionalCap"]),
                max_leverage=int(row["maxLeverage"]),
                maintenance_rate=d(row["info"]["maintMarginRatio"]),
                maintenance_amount=d(row["info"]["cum"]),
            )
            for row in rows
        ]
        for lower, upper in itertools.pairwise(tiers):
            assert lower.cap == upper.floor
            steps = [upper.floor * tier.maintenance_rate - tier.maintenance_amount for tier in (lower, upper)]
            assert abs(steps[0] - steps[1]) < d("0.01")


def test_leverage_and_notional_limit_each_other() -> None:
    assert margin.max_leverage(BTCUSDT, d(600_000)) == 50
    assert margin.max_notional(BTCUSDT, 100) == 250_000
    assert margin.max_notional(BTCUSDT, 5) is None
    assert margin.max_notional(BTCUSDT, 126) == 0


def test_the_ratio_is_infinite_when_nothing_is_left() -> None:
    assert margin.margin_ratio(d(50), d(200)) == d("0.25")
    assert margin.margin_ratio(d(50), d(0)) == margin.margin_ratio(d(50), d(-1)) == Decimal("Infinity")
    assert margin.margin_ratio(d(0), d(-1)) == 0


# --- the liquidation price -------------------------------------------------------------------------------
# https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93 (USD-M, 2020-08-14): wallet 1,535,443.01 USDT,
# ETHUSDT 3,683.979 at 1,456.84 marked 1,335.18, BTCUSDT 109.488 at 32,481.98 marked 31,967.27. freqtrade tests with the
# same numbers (tests/exchange/test_binance.py, test_liquidation_price_binance), the isolated ones are its own.

WALLET = d("1535443.01")
ETH = held("3683.979", "1456.84")
BITCOIN = held("109.488", "32481.98")


def test_the_cross_example_of_the_venue_comes_out() -> None:
    free = WALLET + BITCOIN.profit(d("31967.27")) - margin.maintenance_margin(BTCUSDT, BITCOIN.worth(d("31967.27")))
    price = margin.liquidation_price_cross([ETH], free=free, tiers=ETHUSDT, mark_price=d("1335.18"))
    assert price is not None
    assert round(price, 2) == d("1153.26")

    free = WALLET + ETH.profit(d("1335.18")) - margin.maintenance_margin(ETHUSDT, ETH.worth(d("1335.18")))
    price = margin.liquidation_price_cross([BITCOIN], free=free, tiers=BTCUSDT, mark_price=d("31967.27"))
    assert price is not None
    assert round(price, 2) == d("26316.89")


@pytest.mark.parametrize(("position", "tiers", "price"), [(ETH, ETHUSDT, "1114.78"), (BITCOIN, BTCUSDT, "18778.73")])
def test_the_isolated_numbers_of_another_implementation_come_out(
    position: Position, tiers: tuple[LeverageTier, ...], price: str
) -> None:
    found = margin.liquidation_price_isolated(position, wallet=WALLET, tiers=tiers)

    assert found is not None
    assert round(found, 2) == d(price)


def test_the_coin_margined_calculator_of_the_venue_is_met_within_a_tick() -> None:
    """101 BTC, 100,000 contracts long at 45,000: the venue's calculator says 33,599.40.

    https://dev.binance.vision/t/coin-margined-futures-liquidation-price-calculation-help-cm-variable/6292 (2021); the
    asker's own 33,578.86 comes of the amount 11.81 that the help page had wrong, and has corrected to 11.605 since.
    """
    price = margin.liquidation_price_cross(
        [held(100_000, 45_000, INVERSE)], free=d(101), tiers=BTCUSD, mark_price=d(45_000)
    )

    assert price is not None
    assert abs(price - d("33599.40")) < d("0.1")


def test_the_tier_is_the_one_at_the_liquidation_price_not_at_the_entry() -> None:
    tiers = tiers_of((10_000, 20, 1), (100_000, 10, 10))

    price = margin.liquidation_price_isolated(held(1, 10_500), wallet=d(1_050), tiers=tiers)

    assert price is not None
    assert margin.tier_of(tiers, price) is tiers[0]
    assert price - d("0.01") * price == 9_450 or abs(price * d("0.99") - 9_450) < d("1e-9")


def test_a_position_that_cannot_lose_its_wallet_has_no_liquidation_price() -> None:
    assert margin.liquidation_price_isolated(held(1, 100), wallet=d(101), tiers=FLAT_RATE) is None
    assert margin.liquidation_price_isolated(held(-100, 100, INVERSE), wallet=d(101), tiers=FLAT_RATE) is None
    assert margin.liquidation_price_isolated(Position(), wallet=d(101), tiers=FLAT_RATE) is None


def test_a_long_and_a_short_of_one_size_are_liquidated_by_their_maintenance_alone() -> None:
    hedge = [held(1, 100), held(-1, 90)]  # locked at -10: what is left of 30 after that pays for 20 of maintenance

    price = margin.liquidation_price_cross(hedge, free=d(30), tiers=FLAT_RATE, mark_price=d(95))

    assert price == 1_000


def test_a_hedge_may_be_liquidated_on_both_sides_and_the_nearer_is_told() -> None:
    tiers = tiers_of((100, 20, 1), (10_000, 10, 20))
    hedge = [held(2, 100), held(-1, 100)]

    below = margin.liquidation_price_cross(hedge, free=d(40), tiers=tiers, mark_price=d(80))
    hedge = [held("1.1", 100), held(-1, 100)]
    above = margin.liquidation_price_cross(hedge, free=d(40), tiers=tiers, mark_price=d(150))

    assert below is not None
    assert above is not None
    assert below < 80
    assert above > 150


def test_the_bankruptcy_price_leaves_nothing() -> None:
    assert margin.bankruptcy_price(held(2, 100), wallet=d(20)) == 90
    assert margin.bankruptcy_price(held(-2, 100), wallet=d(20)) == 110
    assert (
        margin.liquidation_price_cross(
            [held(1, 100), held(-1, 100)], free=d(5), tiers=(margin._NOTHING_KEPT), mark_price=d(100)
        )
        is None
    )


# --- orders ----------------------------------------------------------------------------------------------
# https://www.binance.com/en/support/faq/87fa7ee33b574f7084d42bd2ce2e463b: 1 BTC at 9,253.30, 20x, mark 9,259.84, last
# 9,258.99: a margin of 462.66 and no open loss for a long; the open loss of a short is 6.54.


def test_what_an_order_costs_is_as_on_the_venues_page() -> None:
    market = {"price": d("9253.30"), "mark_price": d("9259.84")}

    assert round(margin.initial_margin(d("9253.30"), 20), 2) == d("462.66")
    assert margin.open_loss(LINEAR, Side.BUY, d(1), **market) == 0
    assert margin.open_loss(LINEAR, Side.SELL, d(1), **market) == d("6.54")
    long = margin.order_cost(LINEAR, Side.BUY, d(1), **market, last_price=d("9258.99"), leverage=20)
    short = margin.order_cost(LINEAR, Side.SELL, d(1), **market, last_price=d("9258.99"), leverage=20)
    assert round(long, 2) == d("462.66")
    assert round(short, 2) == d("463.64") + d("6.54")  # the page's assumed price: 9,258.99 x 1.0015


def test_a_coin_margined_short_costs_margin_at_its_own_price() -> None:
    cost = margin.order_cost(
        INVERSE, Side.SELL, d(100), price=d(10_000), mark_price=d(10_000), last_price=d(10_100), leverage=10
    )

    assert cost == d("0.1")


def test_only_the_larger_side_of_the_open_orders_needs_margin() -> None:
    def reserved(held: int, buys: int = 0, sells: int = 0) -> Decimal:
        return margin.order_margin(
            LINEAR,
            leverage=10,
            held=d(held),
            mark_price=d(100),
            buys=[(d(buys), d(100))],
            sells=[(d(sells), d(100))],
        )

    assert reserved(0, buys=2, sells=3) == 30
    assert reserved(1, buys=2, sells=2) == 20
    assert reserved(2, sells=3) == 0  # what closes, and opens less than it closed
    assert reserved(2, sells=5) == 10
    assert reserved(-2, buys=5) == 10


def test_an_order_at_a_bad_price_reserves_its_loss_too() -> None:
    reserved = margin.order_margin(LINEAR, leverage=10, held=d(0), mark_price=d(90), buys=[(d(1), d(100))])

    assert reserved == 20


def test_how_much_can_be_opened_goes_by_money_and_by_tier() -> None:
    def most(available: str | int, leverage: int = 10, held: str | int = 0, side: Side = Side.BUY) -> Decimal:
        return margin.max_open(
            LINEAR,
            tiers_of((10_000, 20, 1), (100_000, 10, 10), (200_000, 5, 20)),
            side=side,
            leverage=leverage,
            available=d(available),
            price=d(100),
            mark_price=d(100),
            fee_rate=d("0.001"),
            held=d(held),
        )

    assert most(101) * d("10.1") == 101
    assert most(-1) == 0
    assert most(10**9) == 1_000
    assert most(10**9, held=400) == 600
    assert most(10**9, held=400, side=Side.SELL) == 1_000
    assert most(10**9, held=2_000) == 0
    assert most(2_010, leverage=1) * d("100.1") == 2_010


# --- the fee of closing ----------------------------------------------------------------------------------


def test_a_position_keeps_the_fee_of_being_closed_at_its_bankruptcy_price() -> None:
    """0.2 BTC at 28,000 with leverage 10 go bankrupt at 25,200 long and at 30,800 short; a taker pays 0.055 %."""
    taker = d("0.00055")
    long, short = (margin.closing_rate(held(each, 28_000), 10, taker=taker) for each in ("0.2", "-0.2"))

    assert (long * 5600, short * 5600) == (d("0.2") * 25_200 * taker, d("0.2") * 30_800 * taker)
    assert margin.initial_margin(d(5600), 10, fee_rate=long) == 560 + d("2.772")


@pytest.mark.parametrize(
    ("position", "mark", "leverage", "told", "apart"),
    [
        # BTCUSDT on 2024-06-26, by the entry price: margins went by it then.
        pytest.param(held("0.001", "60766.7"), "60766.7", 10, ("6.10674952", "0.33391302"), "0.00000001", id="2024"),
        # ETHUSDT on 2025-11-03, by the mark price its value and profit tell.
        pytest.param(held("-0.01", "3642.075"), "3642.33", 30, ("1.23480936", "0.20281586"), "0.000002", id="2025"),
    ],
)
def test_the_margins_of_positions_on_live_accounts_hold_the_fee(
    position: Position, mark: str, leverage: int, told: tuple[str, str], apart: str
) -> None:
    rate, notional = margin.closing_rate(position, leverage, taker=d("0.00055")), abs(position.worth(d(mark)))
    tiers = margin.with_fee((LeverageTier(floor=d(0), max_leverage=100, maintenance_rate=d("0.005")),), rate)

    assert abs(margin.initial_margin(notional, leverage, fee_rate=rate) - d(told[0])) <= d(apart)
    assert abs(margin.maintenance_margin(tiers, notional) - d(told[1])) <= d(apart)


def test_contracts_settled_in_coins_are_worth_more_coins_where_a_long_goes_bankrupt() -> None:
    long, short = (margin.closing_rate(held(each, 28_000, INVERSE), 10, taker=d("0.001")) for each in (100, -100))

    assert (long, short) == (d("0.0011"), d("0.0009"))


def test_the_liquidation_price_knows_of_the_fee() -> None:
    position, rate = held("0.2", 28_000), margin.closing_rate(held("0.2", 28_000), 10, taker=d("0.00055"))

    tiers = margin.with_fee(FLAT_RATE, rate)
    price = margin.liquidation_price_isolated(position, wallet=d(560), tiers=tiers)

    assert price is not None
    assert price > margin.liquidation_price_isolated(position, wallet=d(560), tiers=FLAT_RATE)
    left = 560 + position.profit(price)
    assert abs(left - d("0.2") * price * (d("0.01") + rate)) < d("1e-12")


def test_without_a_fee_tiers_are_what_they_are() -> None:
    assert margin.with_fee(FLAT_RATE, d(0)) == FLAT_RATE


def test_orders_may_reserve_fees_besides_their_margin() -> None:
    buys = [(d(1), d(100))]

    plain = margin.order_margin(LINEAR, leverage=10, held=d(0), mark_price=d(100), buys=buys)
    charged = margin.order_margin(LINEAR, leverage=10, held=d(0), mark_price=d(100), buys=buys, fee_rate=d("0.0011"))

    assert (plain, charged) == (10, d("10.11"))
