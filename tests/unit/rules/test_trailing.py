"""Trailing stops that are moved here."""

from decimal import Decimal
from typing import Any

import pytest

from btx.model.order import OrderRequest, OrderType, Side
from btx.rules.trailing import first_trigger, is_emulated, is_of_position, moved, next_trigger
from tests.groups import asked


def trailing(**changes: Any) -> OrderRequest:
    whole = {"order_type": OrderType.TRAILING_STOP, "price": None, "trail_amount": Decimal(5)}
    return asked(**(whole | changes))


@pytest.mark.parametrize(
    ("changes", "able", "emulated"),
    [
        ({}, (10, 2000), True),
        ({"trail_amount": None, "trail_bps": 100}, (10, 2000), False),
        ({"trail_amount": None, "trail_bps": 100}, None, True),
        ({"trail_amount": None, "trail_bps": 5}, (10, 2000), True),
        ({"order_type": OrderType.STOP_MARKET}, None, False),
    ],
)
def test_a_trail_the_venue_cannot_do_is_emulated(
    changes: dict[str, Any], able: tuple[int, int] | None, emulated: bool
) -> None:
    assert is_emulated(trailing(**changes), trailing_bps=able) is emulated


@pytest.mark.parametrize(
    ("changes", "able", "is_meant"),
    [
        ({}, ("mode", "Full"), False),
        ({"params": {"mode": "Full"}}, ("mode", "Full"), True),
        ({"params": {"mode": "Full"}}, None, False),
        ({"params": {"mode": "Partial"}}, ("mode", "Full"), False),
        ({"params": {"mode": "Full"}, "order_type": OrderType.STOP_MARKET}, ("mode", "Full"), False),
    ],
)
def test_a_position_s_own_trail_is_asked_for_by_a_word_of_the_venue_s(
    changes: dict[str, Any], able: tuple[str, str] | None, is_meant: bool
) -> None:
    assert is_of_position(trailing(**changes), position_trail=able) is is_meant


def test_a_stop_begins_a_trail_away_from_the_last_price_and_on_the_grid() -> None:
    assert first_trigger(trailing(), price=Decimal("100.004")) == 95
    assert first_trigger(trailing(side=Side.BUY), price=Decimal("100.004")) == Decimal("105.01")
    assert first_trigger(trailing(trail_amount=None, trail_bps=50), price=Decimal(200)) == 199
    assert next_trigger(trailing(), None, high=Decimal(120), low=Decimal(90), close=Decimal(100)) == 95


def test_a_stop_never_begins_below_the_lowest_price() -> None:
    assert first_trigger(trailing(), price=Decimal(3)) == Decimal("0.01")


@pytest.mark.parametrize(
    ("side", "high", "low", "trigger"),
    [
        (Side.SELL, 104, 99, Decimal(99)),
        (Side.SELL, "100.00", 90, None),
        (Side.SELL, "100.005", 90, None),  # less than a tick
        (Side.SELL, 98, 90, None),
        (Side.BUY, 110, 80, Decimal(85)),
        (Side.BUY, 110, 91, None),
    ],
)
def test_a_stop_moves_in_its_favour_only_and_by_a_tick_at_least(
    side: Side, high: str, low: str, trigger: Decimal | None
) -> None:
    current = Decimal(95)

    moved_to = next_trigger(trailing(side=side), current, high=Decimal(high), low=Decimal(low), close=Decimal(95))

    assert moved_to == trigger


def test_a_limit_price_keeps_its_distance_to_the_stop() -> None:
    request = trailing(trigger_price=Decimal(95), price=Decimal(94))

    assert moved(request, Decimal(99)).price == 98
    assert moved(trailing(price=Decimal(94)), Decimal(99)).price == 94
    assert moved(trailing(), Decimal(99)).trigger_price == 99
