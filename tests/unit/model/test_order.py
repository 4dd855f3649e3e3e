from decimal import Decimal

import attrs
import pytest

from btx.model.order import Order, Side, Status
from tests.values import fill, leg, request


def test_a_side_has_a_sign() -> None:
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)


def test_four_states_are_final() -> None:
    assert {status for status in Status if status.is_final} == {
        Status.FILLED,
        Status.CANCELED,
        Status.REJECTED,
        Status.EXPIRED,
    }


@pytest.mark.parametrize(
    "wrong",
    [{"quantity": Decimal(0)}, {"quantity": Decimal(-1)}, {"price": Decimal(0)}, {"trigger_price": Decimal(-1)}],
)
def test_a_request_for_nothing_or_less_is_refused_at_the_door(wrong: dict[str, Decimal]) -> None:
    with pytest.raises(ValueError):
        request(**wrong)


@pytest.mark.parametrize("wrong", [{"quantity": 0}, {"price": Decimal(0)}])
def test_a_fill_of_nothing_is_refused_at_the_door(wrong: dict[str, Decimal]) -> None:
    with pytest.raises(ValueError):
        fill(**wrong)


def test_values_are_never_changed_in_place() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        fill().price = Decimal(1)  # type: ignore[misc]


def test_an_order_names_its_leg() -> None:
    order = Order(leg=leg("0.5"))

    assert (order.client_order_id, order.quantity, order.missing) == ("a1", Decimal("0.5"), 0)
