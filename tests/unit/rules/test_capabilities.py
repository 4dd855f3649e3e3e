"""What a strategy can have at a venue, line by line, made of what the adapter says."""

from decimal import Decimal

import attrs
import pytest

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import ListKind, OrderRequest, OrderType, Side, TimeInForce
from btx.model.time import NS_PER_S
from btx.model.venue import Capabilities, DeadMan
from btx.rules.capabilities import Support, capability_rows, expires_natively, resting_time, support_of, trails_natively
from tests.values import BTC

BARE = Capabilities(
    order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
    times_in_force=frozenset(),
    intervals=(),
    channels=frozenset(),
)
WHOLE = attrs.evolve(
    BARE,
    order_types=frozenset(OrderType),
    times_in_force=frozenset(TimeInForce),
    post_only=True,
    iceberg=True,
    trailing_bps=(10, 2000),
    replace=True,
    dead_man=DeadMan.COUNTDOWN,
    cancel_all=True,
    order_lists=frozenset(ListKind),
)


def table(capabilities: Capabilities) -> dict[str, str]:
    return {row.feature: row.support.value for row in capability_rows(capabilities)}


def test_a_venue_that_does_everything_leaves_the_core_only_the_exits_of_brackets() -> None:
    assert {feature for feature, support in table(WHOLE).items() if support != "native"} == {"bracket"}


def test_an_order_that_keeps_its_ids_is_the_best_of_amendments() -> None:
    rows = {row.feature: row for row in capability_rows(attrs.evolve(BARE, amend=True))}

    assert rows["amend"].support is Support.NATIVE
    assert rows["amend"].remark.startswith("in place")


def test_a_bare_venue_says_what_the_core_does_and_what_nobody_does() -> None:
    rows = table(BARE)

    assert {feature for feature, support in rows.items() if support == "native"} == {
        "market order",
        "limit order",
        "time in force GTC",
        "cancel",
    }
    assert {feature for feature, support in rows.items() if support == "emulated"} == {
        "valid until a time (GTD)",
        "valid for the day (DAY)",
        "OCO",
        "amend",
        "cancel all",
    }
    assert rows["trailing stop"] == rows["iceberg (display_size)"] == rows["time in force IOC"] == "no"


def test_a_trailing_stop_is_emulated_where_stops_rest_at_the_venue() -> None:
    with_stops = attrs.evolve(BARE, order_types=BARE.order_types | {OrderType.STOP_LIMIT})

    assert support_of(OrderType.TRAILING_STOP, with_stops) is Support.EMULATED
    assert support_of(OrderType.TRAILING_STOP, BARE) is Support.NO
    assert support_of(OrderType.STOP_MARKET, with_stops) is Support.NO


@pytest.mark.parametrize(
    ("trail_bps", "is_native"), [(9, False), (10, True), (2000, True), (2001, False), (None, False)]
)
def test_the_venue_trails_within_its_range_of_basis_points(trail_bps: int | None, *, is_native: bool) -> None:
    assert trails_natively(trail_bps, WHOLE) is is_native
    assert not trails_natively(trail_bps, BARE)
    assert not trails_natively(trail_bps, attrs.evolve(WHOLE, trailing_bps=None))


def test_the_remarks_say_where_the_native_ends() -> None:
    remarks = {row.feature: row.remark for row in capability_rows(WHOLE)}
    endless = {row.feature: row.remark for row in capability_rows(attrs.evolve(WHOLE, trailing_bps=None))}

    assert remarks["trailing stop"] == "10 to 2000 basis points; emulated beyond them, and for an amount"
    assert endless["trailing stop"] == ""
    assert "OCO lists" in remarks["bracket"]


def test_what_a_venue_makes_of_params_is_said_with_their_names() -> None:
    able = attrs.evolve(WHOLE, trailing_bps=None, position_trail=("mode", "Full"), attaching=frozenset({"tp", "sl"}))
    rows = {row.feature: row for row in capability_rows(able)}

    assert rows["trailing stop"].remark == "with params mode=Full the venue's, kept with the position"
    assert rows["exits attached to an order"].remark == "params sl, tp: orders of the strategy"
    assert "exits attached to an order" not in table(WHOLE)


@pytest.mark.parametrize(
    ("order_type", "life_s", "natively"),
    [
        (OrderType.LIMIT, 601, True),
        (OrderType.LIMIT, 600, False),
        (OrderType.LIMIT, None, False),
        (OrderType.STOP_LIMIT, 601, True),
        (OrderType.STOP_MARKET, 601, False),
    ],
)
def test_the_venue_ends_orders_with_a_limit_that_live_long_enough(
    order_type: OrderType, life_s: int | None, natively: bool
) -> None:
    able = attrs.evolve(WHOLE, good_till_min_s=600.0)
    request = OrderRequest(
        instrument=BTC,
        side=Side.BUY,
        order_type=order_type,
        quantity=Decimal(1),
        expires_ns=5 + life_s * NS_PER_S if life_s is not None else None,
        signal_ns=5,
    )

    assert expires_natively(request, able) is natively
    assert not expires_natively(request, attrs.evolve(able, times_in_force=frozenset()))
    remarks = {row.feature: row.remark for row in capability_rows(able)}
    assert remarks["valid until a time (GTD)"].startswith("orders with a limit of more than 600 s; others are")


def test_a_market_on_margin_says_its_modes() -> None:
    able = attrs.evolve(WHOLE, margined=True, reduce_only=True, position_modes=frozenset({PositionMode.ONE_WAY}))
    modes = attrs.evolve(able, margin_modes=frozenset({MarginMode.CROSS, MarginMode.ISOLATED}))

    assert list(table(modes).items())[-5:] == [
        ("reduce-only order", "native"),
        ("one position of an instrument (one-way mode)", "native"),
        ("a long and a short one at once (hedge mode)", "no"),
        ("one margin for all positions (cross)", "native"),
        ("a margin of each position's own (isolated)", "native"),
    ]
    assert "reduce-only order" not in table(WHOLE)


def test_the_exits_of_a_bracket_rest_as_lists_or_side_by_side_or_are_kept_here() -> None:
    def exits(capabilities: Capabilities) -> str:
        return next(row.remark for row in capability_rows(capabilities) if row.feature == "bracket")

    with_stops = attrs.evolve(BARE, order_types=BARE.order_types | {OrderType.STOP_MARKET})
    on_margin = attrs.evolve(with_stops, margined=True, reduce_only=True)

    assert "as OCO lists" in exits(WHOLE)
    assert "side by side and only close" in exits(on_margin)
    assert "kept by the core" in exits(with_stops)
    assert "no stop orders" in exits(BARE)


def test_an_order_rests_until_cancelled_or_for_the_day_where_nothing_rests_longer() -> None:
    for_the_day = attrs.evolve(BARE, times_in_force=frozenset({TimeInForce.DAY}))

    assert resting_time(BARE) is resting_time(WHOLE) is TimeInForce.GTC
    assert resting_time(for_the_day) is TimeInForce.DAY
    assert table(for_the_day)["time in force GTC"] == "no"
    assert table(for_the_day)["valid for the day (DAY)"] == "native"
