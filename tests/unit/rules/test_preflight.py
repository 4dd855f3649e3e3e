"""Preflight: what is wrong before the first order is told with what to do about it."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.account import AccountSnapshot, Balance, KeyRights, PositionReport, SymbolTerms
from btx.model.derivatives import MarginMode, MarkPrice, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.order import OrderReport, Status
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, NS_PER_S
from btx.rules.preflight import Facts, Level, Verdict, Wishes, judge, smallest_order
from tests.values import BTC

NAME = BTC.symbol
FEES = FeeSchedule(maker=Decimal("0.0002"), taker=Decimal("0.0005"), tier="VIP 1", source="made up")
FINE = KeyRights(may_read=True, may_trade=True, may_withdraw=False, is_ip_restricted=True)
NOW_NS = 1000 * NS_PER_DAY


def balances(**free: int) -> dict[str, Balance]:
    return {asset: Balance(free=Decimal(amount), locked=Decimal(0)) for asset, amount in free.items()}


SPOT = Facts(
    market_ns=NOW_NS,
    clock_offset_ns=3_000_000,
    clock_doubt_ns=20_000_000,
    receive_window_ns=5 * NS_PER_S,
    account=AccountSnapshot(balances=balances(USDT=100_000), time_ns=NOW_NS),
    rights=FINE,
    wanted=(NAME,),
    instruments={NAME: BTC},
    prices={NAME: Decimal(100)},
    fees={NAME: FEES},
    table={NAME: FEES},
    marks={},
    tiers={},
    open_orders=(),
    known_orders=frozenset({"ours"}),
    disk_free=10 * 2**30,
    journal_trouble=None,
    trader=None,
)
MARGIN = attrs.evolve(
    SPOT,
    is_margined=True,
    account=attrs.evolve(SPOT.account, position_mode=PositionMode.ONE_WAY, fee_tier="VIP 2"),
    tiers={NAME: 125},
    marks={NAME: MarkPrice(symbol=NAME, mark_price=Decimal(100), time_ns=NOW_NS)},
)


def position(**changes: Any) -> PositionReport:
    values: dict[str, Any] = {"symbol": NAME, "quantity": Decimal(2), "time_ns": NOW_NS}
    return PositionReport(**values | changes)


def report(client_order_id: str) -> OrderReport:
    return OrderReport(client_order_id=client_order_id, symbol=NAME, status=Status.NEW, time_ns=NOW_NS)


def named(check: str, facts: Facts, wishes: Wishes = Wishes()) -> Verdict:  # noqa: B008 -- frozen
    (found,) = [each for each in judge(facts, wishes) if each.check == check]
    return found


@pytest.mark.parametrize("facts", [SPOT, MARGIN])
def test_where_all_is_well_every_check_says_so_and_nothing_is_to_be_done(facts: Facts) -> None:
    verdicts = judge(facts, Wishes())

    assert {verdict.level for verdict in verdicts} == {Level.OK}
    assert not any(verdict.cure for verdict in verdicts)
    assert len(verdicts) == len({verdict.check for verdict in verdicts})


CASES: list[tuple[str, dict[str, Any], Level, str]] = [
    ("key", {"rights": None}, Level.WARN, "does not say what the key may do"),
    ("key", {"rights": attrs.evolve(FINE, may_trade=False)}, Level.FAIL, "it may not trade here"),
    ("key", {"rights": attrs.evolve(FINE, may_trade=None)}, Level.WARN, "whether it may trade"),
    ("key", {"account": attrs.evolve(SPOT.account, can_trade=False)}, Level.FAIL, "it may not trade here"),
    ("withdrawals", {"rights": attrs.evolve(FINE, may_withdraw=True)}, Level.FAIL, "the key may withdraw"),
    ("withdrawals", {"rights": attrs.evolve(FINE, may_withdraw=None)}, Level.WARN, "whether the key may withdraw"),
    ("addresses", {"rights": attrs.evolve(FINE, is_ip_restricted=False)}, Level.WARN, "from every address"),
    ("clock", {"clock_offset_ns": -3 * NS_PER_S}, Level.WARN, "ours is +3000 ms from the venue's"),
    ("clock", {"clock_offset_ns": 1, "clock_doubt_ns": 3 * NS_PER_S}, Level.FAIL, "ours is +0 ms from"),
    ("clock", {"clock_doubt_ns": 3 * NS_PER_S}, Level.FAIL, "±3000 ms"),
    ("disk", {"disk_free": 50 * 2**20}, Level.FAIL, "50 MB are free"),
    ("disk", {"disk_free": 500 * 2**20}, Level.WARN, "500 MB are free"),
    ("journal", {"journal_trouble": "it is read only"}, Level.FAIL, "it is read only"),
    ("journal", {"trader": "process 42"}, Level.FAIL, "process 42 trades on this account"),
    (NAME, {"instruments": {}}, Level.FAIL, "the venue lists no such instrument"),
    (NAME, {"instruments": {NAME: attrs.evolve(BTC, is_trading=False)}}, Level.FAIL, "it is not trading now"),
    (f"{NAME} smallest order", {"prices": {}}, Level.WARN, "no price is known"),
    (f"{NAME} smallest order", {"account": attrs.evolve(SPOT.account, balances={})}, Level.WARN, "0 USDT are free"),
    (
        f"{NAME} smallest order",
        {"instruments": {NAME: attrs.evolve(BTC, max_quantity=Decimal("0.00001"), min_notional=Decimal(10**9))}},
        Level.FAIL,
        "no order keeps all the venue's rules",
    ),
    (f"{NAME} fees", {"fees": {}}, Level.WARN, "maker 0.02 %, taker 0.05 % is counted with (VIP 1)"),
    (
        f"{NAME} expiry",
        {"instruments": {NAME: attrs.evolve(BTC, delivery_ns=NOW_NS - 1)}},
        Level.FAIL,
        "it is delivered at",
    ),
    (
        f"{NAME} expiry",
        {"instruments": {NAME: attrs.evolve(BTC, delivery_ns=NOW_NS + 3 * NS_PER_DAY)}},
        Level.WARN,
        "in 3.0 days",
    ),
    (
        f"{NAME} expiry",
        {"instruments": {NAME: attrs.evolve(BTC, delivery_ns=NOW_NS + 30 * NS_PER_DAY)}},
        Level.OK,
        "it is delivered at",
    ),
    ("open orders", {"open_orders": (report("ours"), report("theirs"))}, Level.WARN, "1 of somebody else's: BTC/USDT"),
    ("open orders", {"open_orders": (report("ours"),)}, Level.OK, "1 of earlier runs are taken over"),
]


@pytest.mark.parametrize(("check", "changes", "level", "text"), CASES)
def test_what_is_wrong_is_told_with_what_to_do(check: str, changes: dict[str, Any], level: Level, text: str) -> None:
    found = named(check, attrs.evolve(SPOT, **changes))

    assert found.level is level
    assert text in found.text
    assert bool(found.cure) is (level is not Level.OK)


def test_a_key_that_may_withdraw_passes_where_the_user_says_so() -> None:
    facts = attrs.evolve(SPOT, rights=attrs.evolve(FINE, may_withdraw=True))

    assert named("withdrawals", facts, Wishes(may_withdraw=True)).level is Level.WARN


def test_an_account_on_margin_must_be_as_it_is_wanted() -> None:
    held = attrs.evolve(MARGIN.account, positions=(position(margin_mode=MarginMode.CROSS), position(symbol="ETH/USDT")))
    facts = attrs.evolve(MARGIN, account=held)

    assert named("position mode", facts, Wishes(position_mode=PositionMode.HEDGE)).text == (
        "it is one_way, and hedge is wanted"
    )
    assert named("position mode", facts, Wishes(position_mode=PositionMode.ONE_WAY)).level is Level.OK
    assert named(f"{NAME} position", facts).text == "2 is held (net): it is taken over"
    assert named(f"{NAME} margin mode", facts, Wishes(margin_mode=MarginMode.ISOLATED)).level is Level.FAIL
    assert named(f"{NAME} leverage", facts, Wishes(leverage=200)).text == "200 is wanted, and 125 the most"
    assert named(f"{NAME} leverage", facts, Wishes(leverage=5)).text == (
        "the account does not say what it is, 5 is set at the start, at most 125"
    )
    assert named(f"{NAME} leverage", attrs.evolve(facts, tiers={})).text == (
        "the account does not say what it is, at most unknown"
    )
    several = attrs.evolve(facts, account=attrs.evolve(held, is_multi_asset=True, position_mode=None))
    assert named("assets", several).level is Level.FAIL
    assert named("position mode", several).text == "unknown"
    poor = attrs.evolve(facts, account=attrs.evolve(held, balances={}))
    assert named(f"{NAME} smallest order", poor).level is Level.WARN


def test_leverage_and_modes_are_told_as_they_are_and_as_they_will_be() -> None:
    terms = {NAME: SymbolTerms(leverage=20, margin_mode=MarginMode.CROSS)}
    facts = attrs.evolve(MARGIN, account=attrs.evolve(MARGIN.account, terms=terms))
    isolated = Wishes(margin_mode=MarginMode.ISOLATED)

    assert named(f"{NAME} leverage", facts).text == "it is 20, at most 125"
    assert named(f"{NAME} leverage", facts, Wishes(leverage=20)).text == "it is 20, at most 125"
    assert named(f"{NAME} leverage", facts, Wishes(leverage=5)).text == "it is 20, 5 is set at the start, at most 125"
    assert named(f"{NAME} margin mode", facts).text == "cross"
    assert named(f"{NAME} margin mode", facts, isolated).text == "cross, isolated is set at the start"
    assert named(f"{NAME} margin mode", MARGIN, isolated).text == (
        "the account does not say, isolated is set at the start"
    )
    assert named("position mode", facts, Wishes(position_mode=PositionMode.HEDGE)).text == (
        "it is one_way, hedge is set at the start"
    )


def test_a_symbol_nobody_lists_is_told_with_one_that_is_like_it() -> None:
    facts = attrs.evolve(SPOT, instruments={}, nearest={NAME: "BTC/USDC"})

    assert named(NAME, facts).cure == "write it like BTC/USDC"


@pytest.mark.parametrize(
    ("rate", "left_ns", "level", "text"),
    [
        ("0.0001", NS_PER_HOUR * 3 // 2, Level.OK, "in 1 h 30 min, at 1972-09-27T01:30:00.000Z: 0.01 %, longs pay"),
        ("0.0001", 60 * NS_PER_S, Level.WARN, "longs pay"),
        ("-0.0001", 60 * NS_PER_S, Level.WARN, "shorts pay"),
        ("0", 60 * NS_PER_S, Level.OK, "in 1 min, at 1972-09-27T00:01:00.000Z: 0 %, nobody pays"),
    ],
)
def test_a_funding_that_is_near_is_told_with_who_pays(rate: str, left_ns: int, level: Level, text: str) -> None:
    mark = attrs.evolve(MARGIN.marks[NAME], funding_rate=Decimal(rate), next_funding_ns=NOW_NS + left_ns)

    found = named(f"{NAME} funding", attrs.evolve(MARGIN, marks={NAME: mark}))

    assert (found.level, text in found.text) == (level, True)


def test_the_smallest_order_keeps_the_minimum_of_its_value() -> None:
    instrument = attrs.evolve(BTC, min_notional=Decimal(25), min_quantity=Decimal("0.00001"))

    order = smallest_order(instrument, Decimal(100))

    assert order is not None
    assert order.quantity * Decimal(100) >= 25
    assert (order.quantity - instrument.step_size) * Decimal(100) < 25
