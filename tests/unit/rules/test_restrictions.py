import pytest

from btx.model.order import Offset
from btx.rules.restrictions import PriceLimits, price_limits, sellable, split_close, within_limits
from tests.values import d


def test_limits_of_futures_are_on_the_tick_inside() -> None:
    limits = price_limits(d(3_778), d("0.07"), tick_size=d(1))

    assert (limits.low, limits.high) == (3_514, 4_042)  # 3513.54 and 4042.46


def test_limits_of_shares_are_on_the_nearest_tick() -> None:
    limits = price_limits(d("10.05"), d("0.1"), tick_size=d("0.01"), to_nearest=True)

    assert (limits.low, limits.high) == (d("9.05"), d("11.06"))  # 9.045 and 11.055


@pytest.mark.parametrize(("price", "allowed"), [("8.99", False), ("9", True), ("11", True), ("11.01", False)])
def test_both_limits_are_allowed_prices(price: str, allowed: bool) -> None:
    assert within_limits(d(price), PriceLimits(low=d(9), high=d(11))) is allowed


def test_without_limits_every_price_is_allowed() -> None:
    assert within_limits(d(1), PriceLimits())


def test_what_was_bought_today_is_not_sold_today() -> None:
    assert sellable(d(1_000), d(300)) == 700
    assert sellable(d(1_000), d(300), locked=d(600)) == 100
    assert sellable(d(100), d(300)) == 0


def test_closing_takes_the_positions_of_one_day_first() -> None:
    assert split_close(d(5), today=d(3), yesterday=d(4)) == ((Offset.CLOSE_TODAY, 3), (Offset.CLOSE_YESTERDAY, 2))
    assert split_close(d(5), today=d(3), yesterday=d(4), today_first=False) == (
        (Offset.CLOSE_YESTERDAY, 4),
        (Offset.CLOSE_TODAY, 1),
    )
    assert split_close(d(2), today=d(3), yesterday=d(4)) == ((Offset.CLOSE_TODAY, 2),)


def test_more_than_is_held_cannot_be_closed() -> None:
    with pytest.raises(ValueError, match="8 cannot be closed: 3 of today and 4 of earlier days are held"):
        split_close(d(8), today=d(3), yesterday=d(4))
