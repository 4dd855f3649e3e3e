"""The limits: what breaks one is named with both numbers, and what only reduces always passes."""

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.model.order import OrderType, Side
from btx.model.time import NS_PER_MINUTE
from btx.rules.risk import NO_LIMITS, Exposure, Limits, check_daily_loss, check_risk, lacking_margin
from btx.rules.wallet import MarginAccount, apply_fill
from tests.perpetuals import INVERSE, LINEAR, USDT_TERMS, account, traded
from tests.values import d, request

LIMITS = Limits()
NOW_NS = 10 * NS_PER_MINUTE
HELD = Exposure(now_ns=NOW_NS, equity=d(1000), day_start_equity=d(1000), position=d(5), last_price=d(100))
FLAT = attrs.evolve(HELD, position=d(0))
MARKET = {"order_type": OrderType.MARKET, "price": None}
SELL = {"side": Side.SELL}


def breach(
    limits: Limits = LIMITS, exposure: Exposure = FLAT, known: dict[str, Any] | None = None, **changes: Any
) -> str | None:
    found = check_risk(limits, request(**changes), attrs.evolve(exposure, **(known or {})))
    return found.rule if found is not None else None


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"quantity": d(10)}, None),  # all the account has
        ({"quantity": d("10.01")}, "order_share"),
        ({"quantity": d("10.01")} | MARKET, "order_share"),
        ({"quantity": d(10), "price": d(104)}, "order_share"),
        ({"quantity": d(9), "price": d(105)}, None),
        ({"quantity": d(9), "price": d("105.01")}, "collar_bps"),
        ({"quantity": d(9), "price": d(1)}, None),  # a price better than the market is none of the collar's
        ({"quantity": d(9), "price": d("94.9")} | SELL, "collar_bps"),
        ({"quantity": d(9), "price": d(110)} | SELL, None),
        ({"quantity": d(8), "price": None, "trigger_price": d(120), "order_type": OrderType.STOP_MARKET}, None),
        ({"quantity": d(8), "price": d(122), "trigger_price": d(120), "order_type": OrderType.STOP_LIMIT}, None),
        (
            {"quantity": d(7), "price": d(130), "trigger_price": d(120), "order_type": OrderType.STOP_LIMIT},
            "collar_bps",
        ),
    ],
)
def test_an_order_has_a_size_and_a_price(changes: dict[str, Any], rule: str | None) -> None:
    assert breach(**changes) == rule


def test_inverse_contracts_are_counted_in_quote_units() -> None:
    rich = {"equity": d(1000), "last_price": d(60_000)}

    assert breach(known=rich, instrument=INVERSE, quantity=d(10), price=d(60_000)) is None
    assert breach(known=rich, instrument=INVERSE, quantity=d(11), price=d(60_000)) == "order_share"


@pytest.mark.parametrize(
    ("known", "changes", "rule"),
    [
        ({"position": d(5)}, {"quantity": d(5)}, None),
        ({"position": d(5)}, {"quantity": d("5.01")}, "position_share"),
        ({"position": d(4), "pending_buys": d(1)}, {"quantity": d("5.01")}, "position_share"),
        ({"position": d(4), "pending_sells": d(9)}, {"quantity": d(6)}, None),  # what sells may not fill
        ({"position": d(-5)}, {"quantity": d("5.01")} | SELL, "position_share"),
        ({"position": d(-4), "pending_sells": d(1)}, {"quantity": d("5.01")} | SELL, "position_share"),
        ({"position": d(0), "quote_rate": d(2)}, {"quantity": d("5.01")}, "order_share"),
        ({"last_price": None}, {"quantity": d(5)}, None),
        ({"last_price": None}, {"quantity": d(1)} | MARKET, "last_price"),
        ({"worst_price": d(105)}, {"quantity": d(1)} | MARKET, None),
        ({"worst_price": d(106)}, {"quantity": d(1)} | MARKET, "collar_bps"),
        ({"worst_price": d(104)}, {"quantity": d(10)} | MARKET, "order_share"),
    ],
)
def test_what_is_held_and_what_may_still_fill_count(
    known: dict[str, Any], changes: dict[str, Any], rule: str | None
) -> None:
    assert breach(known=known, **changes) == rule


def test_limits_in_cash_hold_beside_the_shares() -> None:
    limits = Limits(order_notional=d(300), position_notional=d(700))

    assert breach(limits, quantity=d(3)) is None
    assert breach(limits, quantity=d("3.01")) == "order_notional"
    assert breach(limits, HELD, quantity=d("2.01")) == "position_notional"
    assert breach(limits, quantity=d(11)) == "order_notional"


def test_a_text_has_both_numbers() -> None:
    found = check_risk(LIMITS, request(quantity=d("12.3456789")), HELD)

    assert found is not None
    assert found.text == "the order would be worth 1234.57: the limit is 100% of the equity, 1000 (order)"
    assert not found.is_halt


def test_so_many_orders_leave_in_a_minute_of_market_time() -> None:
    limits = Limits(orders_per_minute=2)
    minute_ago = NOW_NS - NS_PER_MINUTE

    assert breach(limits, known={"order_times_ns": (minute_ago, NOW_NS - 1)}, quantity=d(1)) is None
    assert breach(limits, known={"order_times_ns": (minute_ago + 1, NOW_NS)}, quantity=d(1)) == "orders_per_minute"


@pytest.mark.parametrize(
    ("equity", "start", "is_halt"),
    [("951", "1000", False), ("950", "1000", True), ("1100", "1000", False), ("1", None, False), ("-1", "0", False)],
)
def test_the_days_loss_halts(equity: str, start: str | None, *, is_halt: bool) -> None:
    day_start = d(start) if start is not None else None

    found = check_daily_loss(LIMITS, equity=d(equity), day_start_equity=day_start)

    assert (found is not None) is is_halt
    assert found is None or found.is_halt
    assert check_daily_loss(NO_LIMITS, equity=d(equity), day_start_equity=day_start) is None
    known = {"equity": d(equity), "day_start_equity": day_start}
    assert (breach(known=known, quantity=d("0.001")) == "daily_loss_share") is is_halt


BROKEN: dict[str, Any] = {
    "equity": d(1),
    "last_price": None,
    "order_times_ns": (NOW_NS,) * 100,
}


@pytest.mark.parametrize(
    ("known", "changes"),
    [
        ({"position": d(6)}, SELL),
        ({"position": d(8), "pending_sells": d(2)}, SELL | MARKET),
        ({"position": d(-6)}, {}),
        ({"position": d(-8), "pending_buys": d(2)}, MARKET),
        ({"position": d(0)}, {"reduce_only": True}),
    ],
)
def test_what_only_reduces_passes_whatever_is_broken(known: dict[str, Any], changes: dict[str, Any]) -> None:
    assert breach(known=BROKEN | known, **changes) is None


@pytest.mark.parametrize(
    ("known", "changes"),
    [
        ({"position": d("5.99")}, SELL),
        ({"position": d(6), "pending_sells": d(1)}, SELL),
        ({"position": d(-6), "pending_buys": d(1)}, {}),
    ],
)
def test_what_may_turn_the_position_around_is_no_reduction(known: dict[str, Any], changes: dict[str, Any]) -> None:
    assert breach(known=BROKEN | known, **changes) == "daily_loss_share"


def test_without_limits_everything_passes() -> None:
    assert breach(NO_LIMITS, known=BROKEN, quantity=d(10**9)) is None


sizes = st.decimals("0.001", "50", places=3)
signed = st.decimals("-50", "50", places=3)


@given(position=signed, quantity=sizes, pending=sizes, side=st.sampled_from(Side))
def test_no_order_that_passes_makes_a_larger_position_than_allowed(
    position: Decimal, quantity: Decimal, pending: Decimal, side: Side
) -> None:
    exposure = attrs.evolve(FLAT, position=position, pending_buys=pending, pending_sells=pending)

    passed = check_risk(LIMITS, request(side=side, quantity=quantity), exposure) is None

    after = side.sign * position + pending + quantity
    if passed:
        assert after * 100 <= 1000 or quantity <= -side.sign * position - pending


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Limits)])
def test_a_limit_is_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0: a limit is positive"):
        Limits(**{name: 0})


# --- margin --------------------------------------------------------------------------------------------------


def lacking(quantity: str | int, *, owned: MarginAccount | None = None, leverage: int = 10, **changes: Any) -> str:
    """Return what is missing for an order at 100, where the mark price is."""
    orders = changes.pop("open_orders", ())
    asked = request(instrument=LINEAR, quantity=d(quantity), **changes)
    known = owned if owned is not None else account(1000, USDT_TERMS)
    price = mark_price = d(100)
    found = lacking_margin(
        known, asked, leverage=leverage, price=price, mark_price=mark_price, open_orders=orders, fee_rate=d("0.0005")
    )
    return found or ""


def test_an_order_needs_its_initial_margin_and_its_fee() -> None:
    assert lacking(99) == ""
    assert lacking("99.6") == (
        "insufficient margin: 1000 USDT are available, which opens 99.5025 at a leverage of 10; 1000.98 are needed"
    )
    assert lacking("99.6", leverage=11) == ""


def test_where_margins_hold_the_fee_of_closing_an_order_needs_two_fees() -> None:
    charged = attrs.evolve(USDT_TERMS, closing_fee=d("0.0005"))

    assert lacking(99, owned=account(1000, charged)) == ""
    assert lacking("99.1", owned=account(1000, charged)) == (
        "insufficient margin: 1000 USDT are available, which opens 99.0099 at a leverage of 10; 1000.91 are needed"
    )


def test_what_rests_and_opens_reserves_its_part() -> None:
    resting = request(instrument=LINEAR, quantity=d(60))

    assert lacking(39, open_orders=[resting]) == ""
    assert "400 USDT are available" in lacking(41, open_orders=[resting])


def test_what_closes_asks_for_nothing_and_only_what_turns_the_position_does() -> None:
    long = apply_fill(account(1000, USDT_TERMS), traded(USDT_TERMS, 90, 100)).account

    assert lacking(90, owned=long, **SELL) == ""
    assert lacking(95, owned=long, **SELL) == ""
    assert "insufficient margin" in lacking(20, owned=long)
    assert lacking(180, owned=long, **SELL) == ""  # as large on the other side: the venue asks for the difference
    assert "insufficient margin" in lacking(290, owned=long, **SELL)


def test_a_leverage_has_a_largest_position() -> None:
    rich = account(10_000_000, USDT_TERMS)

    assert lacking(400, owned=rich, leverage=125) == ""
    assert lacking(501, owned=rich, leverage=125) == (
        "at a leverage of 125 the venue takes positions of 50000 USDT at most: lower the leverage, or order less"
    )


def test_without_the_venues_tiers_nothing_is_said() -> None:
    assert lacking(10_000, owned=account(1, attrs.evolve(USDT_TERMS, tiers=()))) == ""
    assert lacking(10_000, owned=MarginAccount()) == ""
