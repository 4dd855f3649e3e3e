import csv
from decimal import Decimal
from pathlib import Path

import pytest

from btx.model.derivatives import FundingRate, MarkPrice
from btx.model.time import NS_PER_HOUR, from_ms
from btx.rules.funding import due, expected_payment, funding_payment, interval_ns
from tests.perpetuals import INVERSE, LINEAR
from tests.values import d

HOURS = [0, 8, 16, 20, 24]
RATES = [FundingRate(symbol=LINEAR.symbol, time_ns=hour * NS_PER_HOUR, rate=d("0.0001")) for hour in HOURS]


def test_longs_pay_and_shorts_receive_a_positive_rate() -> None:
    assert funding_payment(LINEAR, d(2), d(50_000), d("0.0001")) == -10
    assert funding_payment(LINEAR, d(-2), d(50_000), d("0.0001")) == 10
    assert funding_payment(LINEAR, d(2), d(50_000), d("-0.0001")) == 10
    assert funding_payment(INVERSE, d(-1_000), d(50_000), d("0.0001")) == d("0.0002")


def test_a_payment_has_eight_decimals_the_rest_is_cut() -> None:
    assert funding_payment(LINEAR, d("0.001"), d("90776.94748889"), d("0.00006818")) == d("-0.00618917")
    assert funding_payment(LINEAR, d("-0.001"), d("90776.94748889"), d("0.00006818")) == d("0.00618917")


def test_a_rate_is_due_once_after_the_last_look_and_up_to_now() -> None:
    assert [rate.time_ns // NS_PER_HOUR for rate in due(RATES, 0, 16 * NS_PER_HOUR)] == [8, 16]
    assert [rate.time_ns // NS_PER_HOUR for rate in due(RATES, -1, 0)] == [0]
    assert not due(RATES, 16 * NS_PER_HOUR, 16 * NS_PER_HOUR)
    assert not due((), 0, 10**18)


def test_the_interval_is_the_last_one_as_venues_change_it() -> None:
    assert interval_ns(RATES) == 4 * NS_PER_HOUR
    assert interval_ns(RATES[:1]) is None


def test_the_next_payment_is_guessed_from_the_running_rate() -> None:
    mark = MarkPrice(symbol=LINEAR.symbol, mark_price=d(50_000), funding_rate=d("0.0001"), time_ns=0)

    assert expected_payment(LINEAR, d(1), mark) == -5
    assert expected_payment(LINEAR, d(1), MarkPrice(symbol=LINEAR.symbol, mark_price=d(1), time_ns=0)) is None


@pytest.mark.parametrize(
    ("name", "paid"),
    [
        ("binance_usdm_BTCUSDT_funding_2025-03_06", "800.33680776"),
        ("binance_usdm_ETHUSDT_funding_2025-03_06", "25.21136704"),
        ("bybit_linear_BTCUSDT_funding_2025-09_10", "592.04665809"),
    ],
)
def test_a_constant_long_pays_what_the_recorded_rates_add_up_to(btx_data: Path, name: str, paid: str) -> None:
    """The sums were counted by another program, without rounding a single payment."""
    with (btx_data / f"funding/{name}.csv").open() as lines:
        rates = [
            FundingRate(
                symbol=LINEAR.symbol,
                time_ns=from_ms(int(row["funding_time_ms"])),
                rate=d(row["funding_rate"]),
                mark_price=d(row["mark_price"]),
            )
            for row in csv.DictReader(lines)
        ]
    settled = due(rates, rates[0].time_ns - 1, rates[-1].time_ns)

    total = sum(
        (funding_payment(LINEAR, d(1), each.mark_price or Decimal(0), each.rate) for each in settled), Decimal(0)
    )

    assert len(settled) == len(rates)
    assert abs(total + d(paid)) < len(rates) * d("1e-8")
