import pytest

from btx.model.time import NS_PER_MINUTE, NS_PER_S
from btx_binance.sim.meters import ORDERS, WEIGHT, Meters
from btx_binance.sim.wire import WireError

T0 = 1_700_000_040 * NS_PER_S  # a whole minute


def test_used_weight_adds_up_and_starts_again_with_the_minute() -> None:
    meters = Meters()

    meters.request("ip", 40, T0)
    meters.request("ip", 2, T0 + 59 * NS_PER_S)

    assert meters.headers("ip", None, T0 + 59 * NS_PER_S) == {
        "X-MBX-USED-WEIGHT": "42",
        "X-MBX-USED-WEIGHT-1M": "42",
    }
    assert meters.used("ip", WEIGHT, T0 + NS_PER_MINUTE) == 0
    assert meters.used("elsewhere", WEIGHT, T0) == 0


def test_past_the_weight_limit_comes_429_with_the_time_to_come_back() -> None:
    meters = Meters()
    meters.request("ip", 6000, T0)

    with pytest.raises(WireError) as refused:
        meters.request("ip", 1, T0 + NS_PER_S)

    assert (refused.value.code, refused.value.status) == (-1003, 429)
    assert "current limit is 6000 request weight per 1 MINUTE" in refused.value.message
    assert refused.value.retry_at_ms == (T0 + NS_PER_MINUTE) // 1_000_000


def test_carrying_on_after_429_ends_in_a_ban_that_outlasts_the_minute_and_grows() -> None:
    meters = Meters()
    statuses = []

    def ask(now_ns: int) -> None:
        try:
            meters.request("ip", 6001, now_ns)
        except WireError as refused:
            statuses.append(refused.status)

    for _ in range(11):
        ask(T0)
    ask(T0 + 119 * NS_PER_S)
    for _ in range(11):
        ask(T0 + 120 * NS_PER_S)
    ask(T0 + (120 + 599) * NS_PER_S)

    assert statuses == [429] * 10 + [418, 418] + [429] * 10 + [418, 418]


def test_an_account_may_place_a_hundred_orders_in_ten_seconds() -> None:
    meters = Meters()

    for _ in range(100):
        meters.order("alice", T0)

    with pytest.raises(WireError, match="current limit is 100 orders per 10 SECOND") as refused:
        meters.order("alice", T0 + 9 * NS_PER_S)
    assert (refused.value.code, refused.value.status) == (-1015, 429)
    meters.order("bob", T0)
    meters.order("alice", T0 + 10 * NS_PER_S)
    assert [row["count"] for row in meters.order_counts("alice", T0 + 10 * NS_PER_S)] == [1, 101]
    assert meters.headers("ip", "bob", T0)["X-MBX-ORDER-COUNT-10S"] == "1"
    assert [limit.letters for limit in ORDERS] == ["10S", "1D"]


def test_a_clock_that_is_set_back_does_not_bring_a_count_back_that_was_forgotten() -> None:
    meters = Meters()
    meters.take("here", WEIGHT, 160, 61 * NS_PER_S)

    set_back = meters.used("here", WEIGHT, 59 * NS_PER_S)
    meters.take("here", WEIGHT, 1, 59 * NS_PER_S)

    assert set_back == 160
    assert meters.used("here", WEIGHT, 59 * NS_PER_S) == 161
    assert meters.used("here", WEIGHT, 61 * NS_PER_S) == 0
