"""How often OpenD may be asked."""

import pytest

from btx.model.time import NS_PER_S
from btx_futu.sim.answers import WireError
from btx_futu.sim.meters import Meters

ORDERS = 15  # in 30 seconds, of an account
ASK_ORDER = "Trd_PlaceOrder"


def full(at_s: int) -> Meters:
    meters = Meters()
    for _ in range(ORDERS):
        meters.take(ASK_ORDER, 1, at_s * NS_PER_S)
    return meters


def test_an_account_that_orders_too_often_is_refused_until_half_a_minute_has_passed() -> None:
    meters = full(at_s=0)

    with pytest.raises(WireError, match="at most 15 requests of Trd_PlaceOrder in 30 seconds"):
        meters.take(ASK_ORDER, 1, 30 * NS_PER_S - 1)
    meters.take(ASK_ORDER, 2, NS_PER_S)
    meters.take("Trd_ModifyOrder", 1, NS_PER_S)
    meters.take(ASK_ORDER, 1, 30 * NS_PER_S)


def test_a_clock_that_is_set_back_keeps_nobody_from_asking_until_it_is_as_late_again() -> None:
    meters = full(at_s=3600)

    for _ in range(ORDERS):
        meters.take(ASK_ORDER, 1, 0)

    with pytest.raises(WireError):
        meters.take(ASK_ORDER, 1, 0)
