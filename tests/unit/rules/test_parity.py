"""Parity: whatever differs first is found, and its cause is named."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.order import Liquidity
from btx.model.time import NS_PER_MINUTE
from btx.model.trace import BalanceStep, FillStep, OrderStep, SeenBar, Signal, Trace
from btx.rules.parity import Cause, Difference, compare

BTC = "BTC/USDT"


def seen(minute: int, **changes: Any) -> SeenBar:
    values: dict[str, Any] = {
        "data": BTC,
        "open_ns": minute * NS_PER_MINUTE,
        "close_ns": (minute + 1) * NS_PER_MINUTE,
        "seen_ns": (minute + 1) * NS_PER_MINUTE,
        "open": Decimal(100),
        "high": Decimal(110 + minute),
        "low": Decimal(90),
        "close": Decimal(105),
        "volume": Decimal(7),
    }
    return SeenBar(**values | changes)


def signal(number: int, minute: int, **changes: Any) -> Signal:
    values: dict[str, Any] = {
        "number": number,
        "data": BTC,
        "bar_ns": minute * NS_PER_MINUTE,
        "side": "buy",
        "kind": "Limit",
        "size": Decimal("0.123456789"),
        "price": Decimal(101),
        "limit": None,
    }
    return Signal(**values | changes)


def step(number: int, minute: int, status: str = "Accepted", **changes: Any) -> OrderStep:
    values: dict[str, Any] = {
        "number": number,
        "status": status,
        "told_ns": minute * NS_PER_MINUTE,
        "quantity": Decimal("0.12345"),
        "price": Decimal(101),
    }
    return OrderStep(**values | changes)


def fill(number: int, minute: int, **changes: Any) -> FillStep:
    values: dict[str, Any] = {
        "number": number,
        "data": BTC,
        "price": Decimal(101),
        "quantity": Decimal("0.12345"),
        "fee": Decimal("0.01246845"),
        "fee_asset": "USDT",
        "liquidity": Liquidity.MAKER,
        "time_ns": minute * NS_PER_MINUTE,
    }
    return FillStep(**values | changes)


def balance(minute: int, cash: str = "1000", held: str = "0") -> BalanceStep:
    return BalanceStep(bar_ns=minute * NS_PER_MINUTE, cash=Decimal(cash), positions={BTC: Decimal(held)})


LEFT = Trace(
    name="backtest",
    bars=(seen(0), seen(1), seen(2)),
    signals=(signal(1, 1), signal(2, 2)),
    steps=(step(1, 1), step(2, 2)),
    fills=(fill(1, 2), fill(2, 2)),
    balances=(balance(1), balance(2, held="0.12345"), balance(3)),
    ticks={BTC: Decimal("0.01")},
)
RIGHT = attrs.evolve(LEFT, name="sim")


def differs(left: Trace = LEFT, right: Trace = RIGHT, cut: Trace | None = None) -> Difference:
    found = compare(left, right, cut=cut).first
    assert found is not None
    return found


def replaced(trace: Trace, name: str, place: int, **changes: Any) -> Trace:
    items = list(getattr(trace, name))
    items[place] = attrs.evolve(items[place], **changes)
    return attrs.evolve(trace, **{name: tuple(items)})


def dropped(trace: Trace, name: str, place: int) -> Trace:
    items = list(getattr(trace, name))
    del items[place]
    return attrs.evolve(trace, **{name: tuple(items)})


def test_equal_runs_have_no_difference_and_everything_is_counted() -> None:
    found = compare(LEFT, RIGHT)

    assert found.first is None
    counts = {count.kind: (count.left, count.right, count.equal) for count in found.counts}
    assert counts == {"bar": (3,) * 3, "signal": (2,) * 3, "order": (2,) * 3, "fill": (2,) * 3, "balance": (3,) * 3}


TICK = Decimal("0.01")
CASES = [
    ("bars", 1, {"close": Decimal("105.01")}, Cause.DATA, "the close is 1 tick higher"),
    ("bars", 1, {"low": Decimal("89.98"), "volume": Decimal(8)}, Cause.DATA, "the low is 2 ticks lower, the volume is"),
    ("bars", 1, {"close": Decimal("105.005")}, Cause.DATA, "the close is 0.005 higher"),
    ("bars", 1, {"seen_ns": 150 * 10**9}, Cause.LATE_DATA, "sim: 30 s later"),
    ("bars", 1, {"close_ns": NS_PER_MINUTE}, Cause.LOOK_AHEAD, "sim: the bar is stamped 60 s before it closes"),
    ("bars", 1, {"high": Decimal(112)}, Cause.LOOK_AHEAD, "sim: it shows the bar that comes next in backtest"),
    ("bars", 1, {"open_ns": 0, "close_ns": NS_PER_MINUTE}, Cause.LOOK_AHEAD, "stamped 60 s before it closes"),
    ("bars", 1, {"open_ns": 61 * 10**9}, Cause.BAR_BOUNDARY, "the bars begin at other times"),
    ("bars", 1, {"close_ns": 121 * 10**9, "volume": Decimal(9)}, Cause.BAR_BOUNDARY, "the bars end at other times"),
    ("signals", 0, {"side": "sell"}, Cause.STRATEGY, "the strategy decides otherwise on the same bars"),
    ("signals", 0, {"size": Decimal("0.2")}, Cause.STRATEGY, "asks for another size or price"),
    ("signals", 0, {"size": Decimal("0.1234567891")}, Cause.ROUNDING, "in the last digits"),
    ("steps", 0, {"status": "Margin", "reason": "too poor"}, Cause.REJECTION, "sim: too poor"),
    ("steps", 0, {"status": "Expired"}, Cause.FILL_MODEL, "the order ends otherwise"),
    ("steps", 0, {"quantity": Decimal("0.12346")}, Cause.ROUNDING, "another order on the grid"),
    ("steps", 0, {"told_ns": 90 * 10**9}, Cause.LATENCY, "sim: 30 s later"),
    ("fills", 0, {"time_ns": 119 * 10**9}, Cause.LATENCY, "backtest: 1 s later"),
    ("fills", 0, {"price": Decimal("101.01")}, Cause.FILL_MODEL, "the price is 1 tick higher"),
    ("fills", 0, {"liquidity": Liquidity.TAKER}, Cause.FILL_MODEL, "by another side of the book"),
    ("fills", 0, {"fee": Decimal("0.01246846")}, Cause.ROUNDING, "the fee differs in its last digit"),
    ("fills", 0, {"fee": Decimal("0.00935134")}, Cause.FEE_TIER, "the fee is 0.1 % in USDT against 0.075 % in USDT"),
    ("fills", 0, {"fee": None}, Cause.FEE_TIER, "the fee is 0.1 % in USDT against nothing"),
    (
        "fills",
        0,
        {"fee": Decimal("0.00012345"), "fee_asset": "BTC"},
        Cause.FEE_TIER,
        "0.1 % in USDT against 0.1 % in BTC",
    ),
    ("balances", 1, {"cash": Decimal("1000.0000000001")}, Cause.ROUNDING, "with the same fills"),
    ("balances", 1, {"bar_ns": 119 * 10**9}, Cause.BAR_BOUNDARY, "called at other times"),
    ("balances", 1, {"positions": {BTC: Decimal(1)}}, Cause.ACCOUNT, "money moved that no fill explains"),
]


@pytest.mark.parametrize(("name", "place", "changes", "cause", "why"), CASES)
def test_a_planted_difference_is_named_with_its_cause(
    name: str, place: int, changes: dict[str, Any], cause: Cause, why: str
) -> None:
    found = differs(right=replaced(RIGHT, name, place, **changes))

    assert found.cause is cause
    assert why in found.why
    assert found.left != found.right


@pytest.mark.parametrize("size", ["NaN", "Infinity"])
def test_a_size_that_is_no_number_is_compared_like_any_other(size: str) -> None:
    odd = replaced(LEFT, "signals", 0, size=Decimal(size)), replaced(RIGHT, "signals", 0, size=Decimal(size))

    assert compare(*odd, cut=odd[0]).first is None
    assert differs(odd[0], replaced(odd[1], "signals", 0, price=Decimal("101.0000000001"))).cause is Cause.ROUNDING
    found = differs(odd[0])
    assert found.cause is Cause.STRATEGY
    assert "asks for another size or price" in found.why


@pytest.mark.parametrize(
    ("name", "place", "cause", "why"),
    [
        ("bars", 2, Cause.LATE_DATA, "sim: the bar never came"),
        ("bars", 1, Cause.LATE_DATA, "sim: the bar before it is missing"),
        ("signals", 1, Cause.STRATEGY, "decides otherwise"),
        ("steps", 1, Cause.FILL_MODEL, "the order ends otherwise"),
        ("fills", 1, Cause.FILL_MODEL, "sim: it does not fill"),
        ("balances", 2, Cause.LATE_DATA, "sim: it ended earlier"),
    ],
)
def test_what_one_side_lacks_is_named_and_shown_as_nothing(name: str, place: int, cause: Cause, why: str) -> None:
    found = differs(right=dropped(RIGHT, name, place))
    turned = differs(left=dropped(LEFT, name, place))

    assert found.cause is turned.cause is cause
    assert why in found.why
    assert why.replace("sim", "backtest") in turned.why


def test_the_earliest_difference_counts_and_at_one_time_the_one_that_comes_first_in_causes() -> None:
    both = replaced(replaced(RIGHT, "fills", 0, price=Decimal(99)), "bars", 2, close=Decimal(1))
    at_once = replaced(replaced(RIGHT, "fills", 1, price=Decimal(99)), "steps", 1, quantity=Decimal(1))

    assert differs(right=both).kind == "fill"
    assert differs(right=at_once).kind == "order"


def test_a_bar_that_comes_late_is_blamed_on_the_side_where_it_does() -> None:
    late = replaced(LEFT, "bars", 1, seen_ns=150 * 10**9)

    assert differs(left=late).why == "backtest: 30 s later"
    later = replaced(LEFT, "bars", 1, open_ns=61 * 10**9)
    assert differs(left=later).cause is Cause.BAR_BOUNDARY


def test_who_decides_otherwise_without_the_bars_to_come_looks_ahead() -> None:
    honest = attrs.evolve(RIGHT, signals=(signal(1, 2),))
    without_future = attrs.evolve(LEFT, signals=())

    assert differs(right=honest, cut=without_future).cause is Cause.LOOK_AHEAD
    assert differs(right=honest, cut=LEFT).cause is Cause.STRATEGY
    assert differs(right=honest).cause is Cause.STRATEGY


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_run_that_breaks_off_is_the_difference(side: str) -> None:
    ahead = attrs.evolve(LEFT, name="it", error="IndexError: array index out of range", read_ahead=True)
    broken = attrs.evolve(LEFT, name="it", bars=LEFT.bars[:2], error="ZeroDivisionError: division by zero")

    assert differs(**{side: ahead}) == Difference(
        kind="run",
        time_ns=0,
        cause=Cause.LOOK_AHEAD,
        why="it: a bar was read that had not come",
        left=ahead.error if side == "left" else "it goes on",
        right=ahead.error if side == "right" else "it goes on",
    )
    assert differs(**{side: broken}).cause is Cause.STRATEGY
    assert differs(**{side: broken}).time_ns == 3 * NS_PER_MINUTE


def test_what_differs_is_shown_in_words_a_trader_reads() -> None:
    limited = replaced(RIGHT, "signals", 0, limit=Decimal("100.50"))
    refused = replaced(RIGHT, "steps", 0, status="Rejected", reason="no", price=None)

    assert differs(right=limited).right == (
        "order 1 at the bar of 1970-01-01T00:01:00.000Z: buy 0.123456789 BTC/USDT Limit 101 limit 100.5"
    )
    assert differs(right=refused).right == "order 1 Rejected at 1970-01-01T00:01:00.000Z, quantity 0.12345: no"
    assert differs(right=replaced(RIGHT, "fills", 0, price=Decimal(99), liquidity=None)).right == (
        "order 1 at 1970-01-01T00:02:00.000Z: 0.12345 at 99, fee 0.01246845 USDT"
    )
