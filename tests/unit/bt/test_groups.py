"""Brackets and OCO from backtrader's own words: collected, sent together, and followed leg by leg."""

import re
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.errors import RiskVetoError
from btx.model.order import Group, GroupKind, OrderRequest, OrderType, Side, Status
from btx.model.venue import VenueInfo
from tests.toy_venue import Fault
from tests.unit.bt.rig import RICH, ByHand, Rig, Script, agree, fresh, play

BRACKET = {"size": 1, "price": 100, "stopprice": 90, "limitprice": 120}
REST = {"size": 1, "exectype": bt.Order.Limit}


class Bracket:
    """A bracket, played by steps that get the strategy; the test is the keeper."""

    def __init__(self, *steps: Any, info: VenueInfo = RICH, on_stop: str = "keep_protection", **changes: Any) -> None:
        self.rig = fresh(info=info, session=ByHand)
        self.rig.store.getbroker(on_stop=on_stop)
        self.session: Any = self.rig.store.session
        self.orders: list[Any] = []

        def enter(strategy: Script) -> None:
            self.orders.extend(strategy.buy_bracket(**(BRACKET | changes)))

        def bound(step: Any) -> Any:
            return lambda s: step(self, s)

        self.strategy = play(self.rig, enter, *map(bound, steps), lambda s: None, lambda s: None)

    @property
    def group(self) -> Any:
        return self.session.groups[0]

    def words(self, order: Any) -> list[str]:
        return [each.getstatusname() for each in self.strategy.orders if each == order]

    def fill(self, member_id: str, quantity: str, price: str | None = None) -> None:
        toy = self.rig.toy
        toy.soon(toy.execute, member_id, quantity, Decimal(price) if price else None)


def nothing(*_: Any) -> None:
    """Let a bar pass."""


def test_a_bracket_leaves_as_one_group_when_its_last_order_transmits() -> None:
    bracket = Bracket()

    group = bracket.group
    assert group.kind is GroupKind.BRACKET
    assert (group.entry.request.order_type, group.entry.request.price) == (OrderType.LIMIT, 100)
    assert [(each.request.side, each.request.order_type) for each in group.members] == [
        (Side.SELL, OrderType.STOP_MARKET),
        (Side.SELL, OrderType.LIMIT),
    ]
    assert bracket.session.natives == [False]
    entry, stop, take = bracket.orders
    assert [order.info.client_order_id for order in bracket.orders] == [
        group.entry.member_id,
        *(member.member_id for member in group.members),
    ]
    assert bracket.words(entry)[:2] == ["Submitted", "Accepted"]
    assert bracket.words(stop) == bracket.words(take) == ["Submitted", "Accepted"]
    assert stop.parent == take.parent == entry
    assert not stop.active()


def test_an_exit_folds_its_legs_and_one_exit_ends_the_other() -> None:
    def enter_in_parts(b: Bracket, _: Script) -> None:
        b.fill("entry1", "0.4")
        b.session.send(b.group, "m11", quantity="0.4", leg_id="t1")

    def more(b: Bracket, _: Script) -> None:
        b.fill("entry1", "0.6")
        b.session.send(b.group, "m11", quantity="0.6", leg_id="t2")

    def exit_in_parts(b: Bracket, _: Script) -> None:
        b.fill("t1", "0.4")
        b.fill("t2", "0.1")

    def rest(b: Bracket, _: Script) -> None:
        b.fill("t2", "0.5")

    def over(b: Bracket, _: Script) -> None:
        b.session.end("entry1", Status.FILLED)
        b.session.end("m11", Status.FILLED)
        b.session.end("m10", Status.CANCELED, "the other exit was filled")

    bracket = Bracket(enter_in_parts, more, nothing, exit_in_parts, rest, over)

    entry, stop, take = bracket.orders
    assert bracket.words(entry) == ["Submitted", "Accepted", "Partial", "Completed"]
    assert bracket.words(take) == ["Submitted", "Accepted", "Partial", "Partial", "Completed"]
    assert bracket.words(stop) == ["Submitted", "Accepted", "Canceled"]
    assert stop.info.reason == "the other exit was filled"
    assert take.info.legs == ("t1", "t2")
    assert take.active()
    assert take.executed.size == -1.0
    assert [trade.isclosed for trade in bracket.strategy.trades] == [False, True]
    assert bracket.strategy.position.size == 0.0
    agree(bracket.rig, bracket.strategy)


def test_an_exit_of_less_than_was_asked_ends_completed_with_what_there_was_to_protect() -> None:
    def enter(b: Bracket, _: Script) -> None:
        b.fill("entry1", "0.4")
        b.session.cancel("entry1")

    def leave(b: Bracket, _: Script) -> None:
        b.session.end("entry1", Status.CANCELED)
        b.session.send(b.group, "m10", quantity="0.4", leg_id="s1")

    def stopped(b: Bracket, _: Script) -> None:
        b.fill("s1", "0.4", "90")

    def over(b: Bracket, _: Script) -> None:
        b.session.end("m10", Status.FILLED)

    bracket = Bracket(enter, leave, nothing, stopped, over)

    entry, stop, _ = bracket.orders
    assert bracket.words(entry) == ["Submitted", "Accepted", "Partial", "Canceled"]
    assert bracket.words(stop) == ["Submitted", "Accepted", "Partial", "Completed"]
    assert (stop.created.size, stop.executed.size, stop.executed.remsize) == (-1.0, -0.4, 0)


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.POOR])
def test_the_refusal_of_an_entry_ends_its_exits(fault: Fault) -> None:
    rig = fresh(info=RICH, session=ByHand)
    session: Any = rig.store.session
    rig.toy.faults["place"].append(fault)

    def over(strategy: Script) -> None:
        for member_id, status in (("entry1", Status.REJECTED), ("m10", Status.CANCELED), ("m11", Status.CANCELED)):
            session.end(member_id, status, "the entry was refused" if member_id != "entry1" else "refused")

    strategy = play(rig, lambda s: s.buy_bracket(**BRACKET) and None, over, lambda s: None)

    words = {order.ref: order.getstatusname() for order in strategy.orders}
    assert list(words.values()) == ["Margin" if fault is Fault.POOR else "Rejected", "Canceled", "Canceled"]


def test_the_exits_of_a_sell_bracket_buy() -> None:
    rig = fresh(info=RICH, session=ByHand)
    rig.toy.balances["BTC"] = Decimal(1)

    play(rig, lambda s: s.sell_bracket(size=1, price=110, stopprice=120, limitprice=90) and None, lambda s: None)

    (group,) = rig.store.session.groups
    assert group.entry.request.side is Side.SELL
    assert [each.request.side for each in group.members] == [Side.BUY] * 2
    assert [each.request.order_type for each in group.members] == [OrderType.STOP_MARKET, OrderType.LIMIT]


def test_a_bracket_with_one_exit_leaves_with_it() -> None:
    assert len(Bracket(limitexec=None).group.members) == 1
    assert len(Bracket(stopexec=None).group.members) == 1


def test_the_venues_own_list_is_used_by_opt_in_and_refused_where_there_is_none() -> None:
    assert Bracket(native_bracket=True).session.natives == [True]

    bare = Bracket(native_bracket=True, stopexec=None)

    assert bare.session.groups == []
    assert [order.getstatusname() for order in bare.strategy.orders] == ["Rejected"] * 2
    assert "native_bracket=True: Toy takes no such list of an entry and 1 exits" in bare.orders[2].info.reason


@pytest.mark.parametrize(
    ("changes", "at_fault"),
    [({"stopprice": -1}, 1), ({"limitprice": 2_000_000}, 2), ({"price": -5}, 0)],
)
def test_no_entry_leaves_when_one_of_its_exits_is_refused(changes: dict[str, Any], at_fault: int) -> None:
    bracket = Bracket(**changes)

    assert bracket.session.groups == []
    assert [bracket.words(order) for order in bracket.orders] == [["Rejected"]] * 3
    others = [order for n, order in enumerate(bracket.orders) if n != at_fault]
    assert all(re.search("tied to|its parent= order", order.info.reason) for order in others)


class OneExit(ByHand):
    """A session whose limits let one late exit pass."""

    def submit(
        self,
        request: OrderRequest,
        *,
        oco_with: str | None = None,
        parent: str | None = None,
        max_age_ns: int | None = None,
    ) -> str:
        if self.ties:
            raise RiskVetoError("1 order per minute is the limit")
        return super().submit(request, oco_with=oco_with, parent=parent, max_age_ns=max_age_ns)


def test_of_exits_that_leave_one_by_one_the_first_is_followed_though_the_second_is_refused() -> None:
    rig, exits = fresh(info=RICH, session=OneExit), list[Any]()
    entries: list[Any] = []

    def enter(strategy: Script) -> None:
        entries.append(strategy.buy(price=100, **REST))

    def protect(strategy: Script) -> None:
        stop = strategy.sell(size=1, price=80, exectype=bt.Order.Stop, parent=entries[0], transmit=False)
        exits.extend((stop, strategy.sell(price=120, parent=entries[0], **REST)))

    def cancel(strategy: Script) -> None:
        strategy.cancel(exits[0])

    strategy = play(rig, enter, protect, cancel, lambda _: None)

    stop, limit = exits
    told = [(each.ref, each.getstatusname()) for each in strategy.orders]
    assert [word for ref, word in told if ref == stop.ref] == ["Submitted", "Accepted"]
    assert [word for ref, word in told if ref == limit.ref] == ["Rejected"]
    assert stop.info.client_order_id == "late1"
    assert rig.store.session.cancelled == ["late1"]  # type: ignore[attr-defined]


def test_a_member_is_cancelled_by_its_own_name_and_amended_before_it_has_a_leg() -> None:
    def amend(b: Bracket, strategy: Script) -> None:
        assert strategy.broker.amend(b.orders[1], price=95)

    def written(b: Bracket, _: Script) -> None:
        b.session.write(rewritten(b))

    def cancel(b: Bracket, strategy: Script) -> None:
        strategy.cancel(b.orders[2])
        b.session.end("m11", Status.CANCELED)

    bracket = Bracket(amend, written, cancel)

    _, stop, take = bracket.orders
    assert bracket.words(stop) == ["Submitted", "Accepted", "Accepted"]
    assert (stop.created.price, stop.info.amended) == (95.0, True)
    assert bracket.session.cancelled == ["m11"]
    assert bracket.words(take) == ["Submitted", "Accepted", "Canceled"]
    assert take.info.reason == "cancelled by the strategy"


def test_an_amendment_that_could_not_be_written_down_is_refused_and_can_be_asked_for_again() -> None:
    def amend(b: Bracket, strategy: Script) -> None:
        assert strategy.broker.amend(b.orders[1], price=95)
        b.session.keep("m10", "the disk is full")

    def again(b: Bracket, strategy: Script) -> None:
        assert b.orders[1].info.amend_refused == "the disk is full"
        assert strategy.broker.amend(b.orders[1], price=96)
        b.session.write(rewritten(b))

    bracket = Bracket(amend, again, nothing)

    _, stop, _ = bracket.orders
    assert (stop.created.price, stop.info.amended) == (96.0, True)


def rewritten(bracket: Bracket) -> Group:
    """Return the group with its last amendment."""
    group, (member_id, request) = bracket.group, bracket.session.amendments[-1]
    members = tuple(attrs.evolve(m, request=request) if m.member_id == member_id else m for m in group.members)
    return attrs.evolve(group, members=members)


def test_an_exit_with_legs_shows_a_new_price_with_its_new_leg_and_a_new_size_at_once() -> None:
    shown: list[Any] = []

    def enter(b: Bracket, _: Script) -> None:
        b.fill("entry1", "1")
        b.session.send(b.group, "m11", quantity="1", leg_id="t1")

    def resize(b: Bracket, strategy: Script) -> None:
        strategy.broker.amend(b.orders[2], size=0.5)
        b.session.write(rewritten(b))

    def reprice(b: Bracket, strategy: Script) -> None:
        shown.append(b.orders[2].created.size)
        strategy.broker.amend(b.orders[2], price=130)
        b.session.write(rewritten(b))

    def replace(b: Bracket, _: Script) -> None:
        shown.append(b.orders[2].created.price)
        b.session._call_link(lambda link: link.desk.cancel("t1"))
        b.session.send(rewritten(b), "m11", quantity="1", leg_id="t2")

    bracket = Bracket(enter, nothing, resize, reprice, nothing, replace)

    assert shown == [-0.5, 120.0]
    assert bracket.orders[2].created.price == 130.0
    assert bracket.words(bracket.orders[2]) == ["Submitted", "Accepted", "Accepted", "Accepted"]


def test_a_trailing_exit_shows_its_new_distance_at_once() -> None:
    def amend(b: Bracket, strategy: Script) -> None:
        assert strategy.broker.amend(b.orders[1], trailamount=7)
        b.session.write(rewritten(b))

    bracket = Bracket(amend, stopexec=bt.Order.StopTrail, stopprice=None, stopargs={"trailamount": 5})

    assert bracket.orders[1].created.trailamount == 7.0
    assert bracket.orders[1].created.price == 98.0


def test_a_trailing_exit_shows_where_its_newest_leg_stands() -> None:
    stands: list[float] = []

    def enter(b: Bracket, _: Script) -> None:
        b.fill("entry1", "1")

    def stand(trigger: str, leg_id: str, before: str | None = None) -> Any:
        def step(b: Bracket, _: Script) -> None:
            stands.append(b.orders[1].created.price)
            member = b.group.member("m10")
            stop = attrs.evolve(
                member.request, order_type=OrderType.STOP_MARKET, trigger_price=Decimal(trigger), trail_amount=None
            )
            if before is not None:
                b.session._call_link(lambda link: link.desk.cancel(before))
            b.session.send_leg("m10", stop, leg_id=leg_id, group_id="g1")

        return step

    bracket = Bracket(
        enter,
        stand("96", "s1"),
        nothing,
        stand("97", "s2", before="s1"),
        nothing,
        stopexec=bt.Order.StopTrail,
        stopprice=None,
        stopargs={"trailamount": 5},
    )

    assert [*stands, bracket.orders[1].created.price] == [100.0, 96.0, 97.0]


def test_at_the_end_an_entry_is_cancelled_and_its_exits_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    bracket = Bracket()

    assert bracket.rig.toy.orders["entry1"].status is Status.CANCELED
    assert "open at the end, cancelled: BUY 1 BTC/USDT at 100" in caplog.text
    assert "open at the end, waits for its parent: SELL 1 BTC/USDT from 90" in caplog.text


# --- before it is sent ---------------------------------------------------------------------------------------


def test_what_is_not_transmitted_waits_and_the_end_of_the_run_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rig = fresh(session=ByHand)

    strategy = play(rig, lambda s: s.buy(price=90, **REST, transmit=False) and None, lambda s: None)

    assert strategy.words == []
    assert rig.toy.count("place") == 0
    assert "never sent, transmit=True did not come: BUY 1 BTC/USDT at 90" in caplog.text


def test_an_order_that_waits_can_be_amended_and_cancelled_with_its_children() -> None:
    rig = fresh(info=RICH, session=ByHand)
    orders: list[Any] = []

    def enter(strategy: Script) -> None:
        entry = strategy.buy(price=90, **REST, transmit=False)
        stop = strategy.sell(size=1, price=80, exectype=bt.Order.Stop, parent=entry, transmit=False)
        assert strategy.broker.amend(entry, price=91)
        assert entry.created.price == 91.0
        orders.extend([entry, stop])
        strategy.cancel(entry)

    strategy = play(rig, enter, lambda s: None)

    assert strategy.words == ["Canceled", "Canceled"]
    assert all(order.info.reason == "cancelled before it was sent" for order in orders)


def test_a_child_that_waits_is_cancelled_alone() -> None:
    rig = fresh(info=RICH, session=ByHand)

    def enter(strategy: Script) -> None:
        entry = strategy.buy(price=90, **REST, transmit=False)
        stop = strategy.sell(size=1, price=80, exectype=bt.Order.Stop, parent=entry, transmit=False)
        strategy.cancel(stop)
        strategy.sell(size=1, price=120, exectype=bt.Order.Limit, parent=entry)

    play(rig, enter, lambda s: None)

    (group,) = rig.store.session.groups
    assert [each.request.order_type for each in group.members] == [OrderType.LIMIT]


# --- tied to what was sent before ----------------------------------------------------------------------------


def tied(*steps: Any) -> tuple[Rig, Script, list[Any]]:
    rig = fresh(info=RICH, session=ByHand)
    rig.toy.balances["BTC"] = Decimal(2)
    orders: list[Any] = []

    def bound(step: Any) -> Any:
        return lambda s: orders.append(step(s, orders))

    return rig, play(rig, *map(bound, steps), lambda s: None), orders


def test_the_first_of_an_oco_pair_leaves_at_once_and_the_second_joins_it() -> None:
    def both(strategy: Script, orders: list[Any]) -> Any:
        orders.append(strategy.sell(price=120, **REST))
        return strategy.sell(size=1, price=90, exectype=bt.Order.Stop, oco=orders[0])

    rig, strategy, (first, second, *_) = tied(both)

    assert first.info.client_order_id in rig.toy.orders
    assert rig.store.session.ties == [(second.info.client_order_id, first.info.client_order_id, None)]
    assert second.oco == first
    assert [each.getstatusname() for each in strategy.orders if each == second] == ["Submitted"]


def test_a_child_joins_a_parent_that_has_filled() -> None:
    rig, strategy, (entry, stop, *_) = tied(
        lambda s, _: s.buy(size=1),
        lambda s, orders: s.sell(size=1, price=90, exectype=bt.Order.Stop, parent=orders[0]),
    )

    assert rig.store.session.ties == [(stop.info.client_order_id, None, entry.info.client_order_id)]
    assert [each.getstatusname() for each in strategy.orders if each == stop] == ["Submitted", "Accepted"]


def test_an_oco_pair_that_transmits_together_is_one_group() -> None:
    def both(strategy: Script, _: list[Any]) -> Any:
        first = strategy.sell(price=120, **REST, transmit=False)
        return strategy.sell(size=1, price=90, exectype=bt.Order.Stop, oco=first)

    rig, _, _ = tied(both)

    (group,) = rig.store.session.groups
    assert group.kind is GroupKind.OCO
    assert group.entry is None
    assert [each.request.order_type for each in group.members] == [OrderType.LIMIT, OrderType.STOP_MARKET]


def test_the_first_of_a_pair_that_waits_can_be_cancelled_alone() -> None:
    def both(strategy: Script, _: list[Any]) -> Any:
        first = strategy.sell(price=120, **REST, transmit=False)
        second = strategy.sell(price=130, **REST, oco=first, transmit=False)
        strategy.cancel(first)
        return strategy.sell(size=1, price=90, exectype=bt.Order.Stop, oco=second)

    rig, _, _ = tied(both)

    (group,) = rig.store.session.groups
    assert [each.request.price or each.request.trigger_price for each in group.members] == [130, 90]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda s, o: s.sell(price=120, **REST, parent=o[0], oco=o[0]), "leave oco= out"),
        (lambda s, o: s.buy(price=80, **REST, parent=o[0]), "both are a BUY"),
        (lambda s, o: s.sell(data=s.data1, price=120, **REST, parent=o[0]), "ETH/USDT and BTC/USDT"),
        (
            lambda s, o: s.cancel(o[0]) or s.buy(price=80, **REST, oco=o[1]),
            "is over (Canceled: cancelled by the strategy)",
        ),
        (lambda s, o: s.buy(price=80, **REST, oco=o[2]), "is Rejected: "),
    ],
)
def test_a_tie_that_cannot_be_is_refused(step: Any, reason: str) -> None:
    rig = fresh(info=RICH, session=ByHand)
    eth = rig.add("ETH/USDT")
    rig.cerebro.adddatacb(lambda data, status, *_, **__: rig.toy.close(100, symbol="ETH/USDT") if data is eth else None)
    orders: list[Any] = []

    def enter(strategy: Script) -> Any:
        orders.append(strategy.buy(price=90, **REST))
        orders.append(strategy.buy(price=91, **REST))
        orders.append(strategy.buy(price=-1, **REST))
        strategy.cancel(orders[1])
        return orders[1]

    play(rig, lambda s: None, enter, lambda s: orders.append(step(s, orders)), lambda s: None)

    assert orders[-1].getstatusname() == "Rejected"
    assert re.search(re.escape(reason), orders[-1].info.reason)


def test_a_bracket_has_one_level_and_a_group_one_kind() -> None:
    rig = fresh(info=RICH, session=ByHand)
    orders: list[Any] = []

    def enter(strategy: Script) -> None:
        entry = strategy.buy(price=90, **REST, transmit=False)
        stop = strategy.sell(size=1, price=80, exectype=bt.Order.Stop, parent=entry, transmit=False)
        orders.append(strategy.buy(price=70, **REST, parent=stop))
        entry = strategy.buy(price=90, **REST, transmit=False)
        strategy.sell(size=1, price=80, exectype=bt.Order.Stop, parent=entry, transmit=False)
        orders.append(strategy.sell(price=120, **REST, oco=entry))

    strategy = play(rig, enter, lambda s: None)

    assert [order.info.reason.partition(":")[0] for order in orders] == [
        "a bracket has one level",
        "one group is a bracket or an OCO",
    ]
    assert strategy.words == ["Rejected"] * 6
