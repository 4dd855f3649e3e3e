"""What a strategy can have at a venue, line by line, made of what the adapter says."""

import attrs
import pytest

from btx.model.order import ListKind, OrderType, TimeInForce
from btx.model.venue import Capabilities
from btx.rules.capabilities import Support, capability_rows, support_of, trails_natively

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
    cancel_all=True,
    order_lists=frozenset(ListKind),
)


def table(capabilities: Capabilities) -> dict[str, str]:
    return {row.feature: row.support.value for row in capability_rows(capabilities)}


def test_a_venue_that_does_everything_leaves_the_core_only_the_exits_of_brackets() -> None:
    assert {feature for feature, support in table(WHOLE).items() if support != "native"} == {"bracket"}


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
        "bracket",
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
