from decimal import Decimal
from typing import Any

import pytest

from btx.model.fees import FeeLevel, FeeSchedule, OffsetRate
from btx.model.instrument import Instrument
from btx.model.order import Liquidity, Side
from btx.model.time import NS_PER_DAY
from btx.rules.fees import Charge, RollingVolume, at_level, fee_of, level_of
from tests.perpetuals import INVERSE, LINEAR
from tests.values import BTC, d

LEVELS = (
    FeeLevel(tier="Regular", maker=d("0.0002"), taker=d("0.0005")),
    FeeLevel(tier="VIP 1", maker=d("0.00016"), taker=d("0.0004"), volume=d(15_000_000), holding=d(25)),
    FeeLevel(tier="VIP 2", maker=d("0.00014"), taker=d("0.00035"), volume=d(50_000_000), holding=d(100)),
)
SCHEDULE = FeeSchedule(
    maker=d("0.0002"), taker=d("0.0005"), discount_asset="BNB", discount=d("0.1"), levels=LEVELS, source="a test"
)


def charged(instrument: Instrument, side: Side = Side.BUY, **changes: Any) -> Charge:
    asked = {"side": side, "price": d(60_000), "quantity": d("0.123"), "liquidity": Liquidity.TAKER}
    return fee_of(instrument, changes.pop("schedule", SCHEDULE), **(asked | changes))


def test_a_margined_fill_pays_in_its_settle_asset() -> None:
    assert charged(LINEAR) == charged(LINEAR, Side.SELL) == (d("3.69"), "USDT")
    assert charged(LINEAR, liquidity=Liquidity.MAKER) == (d("1.476"), "USDT")
    assert charged(INVERSE, quantity=d(600)) == (d("0.0005"), "BTC")


def test_the_examples_of_the_venues_page_come_out() -> None:
    """https://www.binance.com/en/support/faq/360033544231 (2025); it rounds the notional of its coin-margined one."""
    bought = {"price": d(10_104), "liquidity": Liquidity.TAKER}
    sold = {"price": d(11_104), "liquidity": Liquidity.MAKER}

    assert charged(LINEAR, quantity=d(1), **bought) == (d("5.052"), "USDT")
    assert charged(LINEAR, Side.SELL, quantity=d(1), **sold) == (d("2.2208"), "USDT")
    assert round(charged(INVERSE, quantity=d(10), **bought).amount, 7) == d("0.0000495")
    assert round(charged(INVERSE, Side.SELL, quantity=d(10), **sold).amount, 6) == d("0.000018")


def test_a_spot_fill_pays_in_what_is_received() -> None:
    assert charged(BTC) == (d("0.0000615"), "BTC")
    assert charged(BTC, Side.SELL) == (d("3.69"), "USDT")


def test_what_is_beyond_eight_decimals_is_cut() -> None:
    assert charged(BTC, quantity=d("0.00001"), liquidity=Liquidity.MAKER) == (0, "BTC")
    assert charged(INVERSE, quantity=d(1)) == (d("0.00000083"), "BTC")


def test_the_discount_coin_pays_less_at_its_own_price() -> None:
    assert charged(LINEAR, discount_price=d(600)) == (d("0.005535"), "BNB")


def test_a_rebate_is_paid_in_the_settle_asset() -> None:
    rebate = FeeSchedule(maker=d("-0.00005"), taker=d(0), discount_asset="BNB", discount=d("0.1"), source="a test")

    assert charged(LINEAR, schedule=rebate, liquidity=Liquidity.MAKER, discount_price=d(600)) == (d("-0.369"), "USDT")


def test_without_a_discount_coin_its_price_says_nothing() -> None:
    plain = FeeSchedule(maker=d("0.0002"), taker=d("0.0005"), source="a test")

    assert charged(LINEAR, schedule=plain, discount_price=d(600)) == (d("3.69"), "USDT")


@pytest.mark.parametrize(
    ("volume", "holding", "tier"),
    [
        (0, 0, "Regular"),
        (15_000_000, 24, "Regular"),
        (15_000_000, 25, "VIP 1"),
        (10**9, 99, "VIP 1"),
        (10**9, 100, "VIP 2"),
    ],
)
def test_a_level_is_reached_by_volume_and_holding_at_once(volume: int, holding: int, tier: str) -> None:
    assert at_level(SCHEDULE, d(volume), d(holding)).tier == tier


def test_a_schedule_without_levels_stays_as_it_is() -> None:
    plain = FeeSchedule(maker=d("0.0002"), taker=d("0.0005"), source="a test")

    assert at_level(plain, d(10**12)) is plain
    assert level_of((), d(1)) is None


def test_the_volume_is_of_the_thirty_days_before_today() -> None:
    volume = RollingVolume()
    for day in range(31):
        volume = volume.add(d(1 if day else 100), day * NS_PER_DAY)

    assert volume.at(0) == 0
    assert volume.at(NS_PER_DAY) == 100
    assert volume.at(30 * NS_PER_DAY) == 129
    assert volume.at(31 * NS_PER_DAY - 1) == 129
    assert volume.at(31 * NS_PER_DAY) == 30
    assert len(volume.add(d(1), 31 * NS_PER_DAY).by_day) == 31


def test_a_tier_crossed_in_mid_run_changes_later_fills_only() -> None:
    volume, paid = RollingVolume(), []
    for hour in (1, 2, 25):
        time_ns = hour * NS_PER_DAY // 24
        now = at_level(SCHEDULE, volume.at(time_ns), d(1_000))
        paid.append(charged(LINEAR, schedule=now, quantity=d(1_000)).amount)
        volume = volume.add(d(60_000_000), time_ns)

    assert paid == [30_000, 30_000, 21_000]
    assert isinstance(paid[0], Decimal)


def test_a_rate_of_an_offset_is_a_share_of_the_notional_and_so_much_a_contract() -> None:
    rate = OffsetRate(of_notional=Decimal("0.0001"), per_contract=Decimal("1.5"))

    assert rate.fee(notional=Decimal(30_000), contracts=Decimal(2)) == 6
