"""Tables of trading rules as text."""

from decimal import Decimal

from btx.sim.skin.tables import rows, tiers


def test_a_table_is_a_name_and_its_numbers_a_line() -> None:
    assert list(rows("\nBTC/USDT  0.1  5\nETH/USDT 0.01 7\n")) == [
        ("BTC/USDT", [Decimal("0.1"), Decimal(5)]),
        ("ETH/USDT", [Decimal("0.01"), Decimal(7)]),
    ]


def test_tiers_join_where_they_meet() -> None:
    lower, upper = tiers("50000:125:0.004 250000:100:0.005")

    assert (lower.maintenance_amount, upper.floor, upper.cap, upper.max_leverage) == (0, 50_000, 250_000, 100)
    assert 50_000 * lower.maintenance_rate == 50_000 * upper.maintenance_rate - upper.maintenance_amount
