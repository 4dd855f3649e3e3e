"""What a journal adds up to."""

from collections.abc import Mapping
from decimal import Decimal

import attrs
import pytest

from btx.model.journal import (
    Delivered,
    Event,
    GroupState,
    Halted,
    Intent,
    Note,
    Record,
    Resumed,
    RunEnded,
    RunStarted,
    Sent,
    Snapshot,
    StrategyState,
    UnknownRecord,
)
from btx.model.order import (
    CancelRequested,
    Fill,
    Group,
    GroupKind,
    Leg,
    Member,
    OrderEvent,
    OutcomeUnknown,
    PlaceRefused,
    Side,
    Status,
)
from btx.model.venue import Environment
from btx.rules.orders import apply, new_order
from btx.rules.recovery import (
    History,
    balance_steps,
    expected_totals,
    never_left,
    positions,
    replay,
    undelivered,
    unfinished,
    whole,
)
from btx.rules.risk import DAY_START
from btx.rules.wallet import Key
from tests.values import d, fill, leg, report, request

SENT = Sent(client_order_id="a1", time_ns=7)
GROUP = Group(group_id="g1", kind=GroupKind.OCO, members=(Member(member_id="a1", request=request()),))


def intent(client_order_id: str = "a1", *, quantity: int = 6, group_id: str | None = None, **changes: object) -> Intent:
    one: Leg = attrs.evolve(leg(quantity, **changes), client_order_id=client_order_id, group_id=group_id)
    return Intent(leg=one, environment=Environment.LIVE, session="toy/live/spot", run="a")


def heard(*events: OrderEvent) -> list[Record]:
    return [Event(order_event=each) for each in events]


def snapshot(**balances: int) -> Snapshot:
    return Snapshot(balances={asset: Decimal(total) for asset, total in balances.items()}, time_ns=5)


def started(run: str) -> RunStarted:
    return RunStarted(run=run, session="toy/live/spot", environment=Environment.LIVE, version="1", time_ns=1)


# --- orders -------------------------------------------------------------------------------------------


def test_an_intent_is_an_order_that_nothing_was_heard_of() -> None:
    assert replay([intent()]).orders["a1"].status is Status.PENDING_NEW


def test_what_was_heard_is_folded_into_its_order() -> None:
    fills: list[Fill] = [fill("f1", 2), fill("f2", 4)]

    orders = replay([intent(), intent("b1"), *heard(*fills, fills[0])]).orders

    assert orders["a1"].fills == tuple(fills)
    assert orders["a1"].status is Status.FILLED
    assert orders["b1"].status is Status.PENDING_NEW


def test_a_second_intent_of_an_order_takes_nothing_back() -> None:
    orders = replay([intent(), *heard(fill()), intent(quantity=9)]).orders

    assert (orders["a1"].quantity, orders["a1"].filled) == (6, 2)


def test_an_event_that_contradicts_its_order_changes_nothing() -> None:
    history = replay([intent(), snapshot(), *heard(fill("f1", 2), fill("f1", 3))])

    assert history.orders["a1"].filled == 2
    assert history.fills_since == 1


def test_an_event_of_an_order_nobody_here_intended_makes_none() -> None:
    assert replay(heard(CancelRequested(client_order_id="z", time_ns=1))).orders == {}


def test_a_placement_without_an_answer_stays_unknown() -> None:
    lost = OutcomeUnknown(client_order_id="a1", reason="cut", time_ns=1)

    assert replay([intent(), *heard(lost)]).orders["a1"].status is Status.UNKNOWN


def test_the_first_time_an_order_left_counts() -> None:
    assert replay([intent(), SENT, attrs.evolve(SENT, time_ns=9)]).sent_ns == {"a1": 7}


@pytest.mark.parametrize(
    ("records", "left_out"),
    [
        ([intent()], ("a1",)),
        ([intent(), *heard(CancelRequested(client_order_id="a1", time_ns=1))], ("a1",)),
        ([intent(), SENT], ()),
        ([intent(), *heard(PlaceRefused(client_order_id="a1", reason="no", time_ns=1))], ()),
        ([intent(), *heard(report(Status.NEW))], ()),  # its Sent was lost with the power, the order was not
    ],
)
def test_only_what_was_never_sent_and_never_heard_of_has_never_left(
    records: list[Record], left_out: tuple[str, ...]
) -> None:
    assert never_left(replay(records)) == left_out


def test_unfinished_is_what_is_not_settled_and_every_leg_of_a_group_that_is_not_over() -> None:
    ended = heard(report(Status.CANCELED))
    over = GroupState(group=GROUP, is_over=True, time_ns=2)
    running = GroupState(group=GROUP, time_ns=1)

    assert unfinished(replay([intent()])).keys() == {"a1"}
    assert unfinished(replay([intent(), *heard(report(Status.CANCELED, filled=d(2)))])).keys() == {"a1"}
    assert unfinished(replay([intent(), *ended])) == {}
    assert unfinished(replay([running, intent(group_id="g1"), *ended])).keys() == {"a1"}
    assert unfinished(replay([running, intent(group_id="g1"), *ended, over])) == {}
    assert unfinished(replay([intent(group_id="nobody's"), *ended])) == {}


def test_an_order_that_was_split_is_kept_whole() -> None:
    both = [attrs.evolve(intent(), leg=attrs.evolve(leg(3), parts=2))]
    both.append(attrs.evolve(intent("a2"), leg=attrs.evolve(leg(3), client_order_id="a2", member_id="a1", parts=2)))
    history = replay([*both, intent("a3"), *heard(report(Status.CANCELED))])

    assert whole(history, ["a2"]) == {"a1", "a2"}
    assert whole(history, ["a3"]) == {"a3"}


def test_undelivered_is_each_fill_the_strategy_was_not_told_of() -> None:
    told = Delivered(client_order_id="a1", fill_id="f1")
    other = Delivered(client_order_id="b1", fill_id="f2")
    records = [intent(), intent("b1"), *heard(fill("f1", 2), fill("f2", 4)), told, other]

    assert undelivered(replay(records)) == {"a1": (fill("f2", 4),)}
    assert undelivered(replay([*records, Delivered(client_order_id="a1", fill_id="f2")])) == {}


# --- the account --------------------------------------------------------------------------------------


def test_without_a_snapshot_nobody_knows_what_the_account_must_hold() -> None:
    assert expected_totals(replay([intent(), *heard(fill())])) is None


def test_a_snapshot_counts_what_came_before_and_fills_count_after_it() -> None:
    history = replay(
        [
            intent(),
            *heard(fill("f1", 2)),
            snapshot(USDT=1000, BTC=2),
            *heard(fill("f1", 2), fill("f2", 1, fee=d("0.5"), fee_asset="TOY")),
        ]
    )

    assert expected_totals(history) == {"USDT": 900, "BTC": 3, "TOY": d("-0.5")}
    assert history.fills_since == 1
    assert history.snapshot == snapshot(USDT=1000, BTC=2)


def test_a_fee_that_is_told_late_is_taken_off_once() -> None:
    late = fill("f1", 1, fee=d("0.1"), fee_asset="USDT")
    records = [intent(), snapshot(USDT=1000), *heard(fill("f1", 1), late, late)]

    assert expected_totals(replay(records)) == {"USDT": d("899.9"), "BTC": 1}
    assert replay(records).fills_since == 1


def test_a_fee_is_told_late_of_the_right_fill_though_the_fills_change_places() -> None:
    before = new_order(leg())
    for event in (fill("f1", 1, time_ns=5), fill("f2", 1, time_ns=6)):
        before = apply(before, event)
    after = apply(before, fill("f2", 1, time_ns=1, fee=d("0.1"), fee_asset="BTC"))

    assert [each.fill_id for each in after.fills] == ["f2", "f1"]
    assert balance_steps(before, after) == {"BTC": d("-0.1")}
    assert balance_steps(after, after) == {}


def test_positions_are_what_the_delivered_fills_add_up_to_less_fees_in_the_coin() -> None:
    sold = attrs.evolve(intent("b1", side=Side.SELL).leg)
    orders = {
        "a1": apply(new_order(leg()), fill("f1", 4, fee=d(1), fee_asset="BTC")),
        "b1": apply(new_order(sold), fill("f2", 1, client_order_id="b1", side=Side.SELL, price=d(200), time_ns=2)),
    }

    delivered = {("a1", "f1"), ("b1", "f2")}
    (held,) = positions(History(orders=orders, delivered=delivered)).items()

    assert held[0] == Key("BTC/USDT")
    assert held[1].quantity == 2
    assert positions(History(orders=orders, delivered={("a1", "f1")}))[Key("BTC/USDT")].quantity == 3
    assert positions(History(orders=orders)) == {}


def test_positions_count_the_fills_of_one_moment_in_the_order_of_their_numbers() -> None:
    sold = intent("b1", side=Side.SELL).leg
    orders = {
        "b1": apply(new_order(sold), fill("10", 2, client_order_id="b1", side=Side.SELL, price=d(300))),
        "a1": apply(apply(new_order(leg()), fill("9", 2)), fill("11", 2, price=d(120))),
    }

    delivered = {("b1", "10"), ("a1", "9"), ("a1", "11")}
    assert positions(History(orders=orders, delivered=delivered))[Key("BTC/USDT")].price == 120


# --- runs, halts, states ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "crashed", "is_running"),
    [
        ([], False, False),
        ([started("a")], False, True),
        ([started("a"), RunEnded(run="a", time_ns=2)], False, False),
        ([started("a"), RunEnded(run="a", time_ns=2), started("b")], False, True),
        ([started("a"), started("b")], True, True),
        ([started("a"), started("b"), RunEnded(run="a", time_ns=2)], True, True),  # written late by the wrong one
        ([started("a"), started("b"), RunEnded(run="b", time_ns=2), started("c")], False, True),
    ],
)
def test_a_run_that_did_not_end_before_the_next_began_has_crashed(
    records: list[Record], *, crashed: bool, is_running: bool
) -> None:
    history = replay(records)

    assert (history.crashed_before, history.is_running) == (crashed, is_running)


def test_a_halt_holds_until_it_is_ended() -> None:
    halt = Halted(reason="balance USDT", time_ns=1)

    assert replay([halt]).halted == halt
    assert replay([halt, Resumed(time_ns=2)]).halted is None
    assert replay([halt, Resumed(time_ns=2), halt]).halted == halt


def test_the_days_loss_is_measured_anew_from_where_the_user_ended_a_halt() -> None:
    halt = Halted(reason="equity fell by 5% today", time_ns=2)
    day, own = StrategyState(name=DAY_START, text="a day", time_ns=1), StrategyState(name="own", text="x", time_ns=1)

    assert replay([day, own, halt]).states == {DAY_START: "a day", "own": "x"}
    assert replay([day, own, halt, Resumed(time_ns=3)]).states == {"own": "x"}
    assert replay([day, own, halt, Resumed(time_ns=3), day]).states == {DAY_START: "a day", "own": "x"}


def test_the_last_state_of_each_name_counts_and_remarks_count_for_nothing() -> None:
    states: Mapping[str, str] = {"x": "2", "y": "1"}
    history = replay(
        [
            StrategyState(name="x", text="1", time_ns=1),
            StrategyState(name="y", text="1", time_ns=1),
            Note(kind="FAULT", text="late", time_ns=1),
            UnknownRecord(kind="dream", client_order_id=None, body="{"),
            StrategyState(name="x", text="2", time_ns=2),
        ]
    )

    assert history.states == states
    assert attrs.evolve(history, states={}) == replay([])
