from decimal import Decimal

import attrs
import pytest

from btx.model.account import Lots
from btx.model.order import Offset, Order, Side, Status
from btx.rules.lots import after_fill, after_order, free, rolled
from btx.rules.orders import apply, new_order
from tests.values import fill, leg, report

HELD = Lots(
    symbol="BTC/USDT",
    long_today=Decimal(3),
    long_yesterday=Decimal(2),
    short_today=Decimal(1),
    short_yesterday=Decimal(4),
)


def sold(quantity: int, offset: Offset, **changes: object) -> Order:
    return new_order(attrs.evolve(leg(quantity, side=Side.SELL), offset=offset, **changes))


def test_the_position_is_what_is_long_less_what_is_short() -> None:
    assert HELD.net == 0
    assert Lots(symbol="x").net == 0


@pytest.mark.parametrize(
    ("side", "offset", "changed"),
    [
        (Side.BUY, Offset.OPEN, {"long_today": 5}),
        (Side.SELL, Offset.OPEN, {"short_today": 3}),
        (Side.SELL, Offset.CLOSE_TODAY, {"long_today": 1}),
        (Side.SELL, Offset.CLOSE_YESTERDAY, {"long_yesterday": 0}),
        (Side.SELL, Offset.CLOSE, {"long_yesterday": 0}),
        (Side.BUY, Offset.CLOSE_TODAY, {"short_today": 0}),
        (Side.BUY, Offset.CLOSE, {"short_yesterday": 2}),
    ],
)
def test_a_fill_opens_or_closes_what_its_offset_says(side: Side, offset: Offset, changed: dict[str, int]) -> None:
    expected = attrs.evolve(HELD, **{name: Decimal(number) for name, number in changed.items()})

    assert after_fill(HELD, fill("f1", 2, side=side), offset) == expected


def test_a_plain_close_takes_what_is_older_first_and_then_the_rest() -> None:
    after = after_fill(HELD, fill("f1", 4, side=Side.SELL), Offset.CLOSE)

    assert (after.long_yesterday, after.long_today) == (0, 1)


def test_only_fills_that_are_new_are_counted_by_their_own_offset_or_their_orders() -> None:
    order = sold(3, Offset.CLOSE_TODAY)
    once = apply(order, fill("f1", 1, side=Side.SELL))
    twice = apply(once, fill("f2", 1, side=Side.SELL, offset=Offset.CLOSE_YESTERDAY))

    after = after_order(after_order(HELD, order, once), once, twice)

    assert (after.long_today, after.long_yesterday) == (2, 1)


def test_what_living_orders_close_is_not_free() -> None:
    order = sold(2, Offset.CLOSE_TODAY)
    over = apply(sold(2, Offset.CLOSE_YESTERDAY), report(Status.CANCELED))
    opening = sold(9, Offset.OPEN)

    assert free(HELD, [order, over, opening]) == attrs.evolve(HELD, long_today=Decimal(1))
    assert free(attrs.evolve(HELD, symbol="ETH/USDT"), [order]) == attrs.evolve(HELD, symbol="ETH/USDT")


def test_on_another_trading_day_nothing_was_opened_today() -> None:
    after = rolled(HELD)

    assert (after.long_today, after.long_yesterday, after.short_today, after.short_yesterday) == (0, 5, 0, 5)
    assert rolled(after) == after
