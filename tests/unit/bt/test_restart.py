"""What a strategy finds again after a restart: its orders, the fills nobody told it of, and its own state."""

from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.model.order import (
    Fill,
    Group,
    GroupKind,
    Leg,
    Member,
    Order,
    OrderRequest,
    OrderType,
    Side,
    Status,
    TimeInForce,
)
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE
from btx.rules.orders import apply, new_order
from btx.rules.positions import Position
from btx.rules.wallet import Key
from btx.runtime.mailbox import MemberEnded, OrderUpdate, Recovered
from tests.unit.bt.rig import ETH, ByHand, Rig, Script, Toy, acts, agree, fresh, open_market, play, run
from tests.values import fill, report, request

D = Decimal
TRAIL = {"order_type": OrderType.TRAILING_STOP, "price": None, "side": Side.SELL}
STOP = {"order_type": OrderType.STOP_MARKET, "price": None, "side": Side.SELL}


def asked(**changes: Any) -> OrderRequest:
    return request(**({"quantity": D(1), "price": D(90), "signal_ns": NS_PER_MINUTE} | changes))


def left(leg_id: str, of: OrderRequest, *events: Any, quantity: Any = None, **leg: Any) -> Order:
    """Return an order that an earlier run left, after what was heard of it."""
    order = new_order(Leg(client_order_id=leg_id, request=of, quantity=D(quantity or of.quantity), **leg))
    for event in (report(Status.NEW), *events):
        order = apply(order, attrs.evolve(event, client_order_id=leg_id, side=of.side))
    return order


def told(fill_id: str, quantity: str, price: str = "90", minute: int = 50) -> Fill:
    return fill(fill_id, quantity, price=D(price), time_ns=minute * NS_PER_MINUTE)


def again(recovered: Recovered, *, held: str = "0") -> Rig:
    toy = Toy()
    toy.balances["BTC"] = D(held)
    rig = fresh(toy, session=ByHand)
    rig.store.session.left = recovered  # type: ignore[attr-defined]
    return rig


def test_a_resting_order_is_found_again_and_is_the_one_that_notify_order_tells_of() -> None:
    order = left("old", asked(time_in_force=TimeInForce.GTD, expires_ns=NS_PER_HOUR), told("f1", "0.4"))
    rig = again(Recovered(orders=(order,)), held="0.4")
    found: list[Any] = []

    def cancel(strategy: Script) -> None:
        (mine,) = rig.store.open_orders(strategy.data)
        strategy.cancel(mine)
        ended = apply(order, report(Status.CANCELED, client_order_id="old"))
        rig.store.session.events.put(OrderUpdate(event=report(Status.CANCELED, client_order_id="old"), order=ended))

    script = {"on_start": lambda s: found.extend(rig.store.open_orders())}
    strategy = rig.play(**(acts(rig, cancel, lambda s: None) | script))

    (mine,) = found
    assert (mine.created.size, mine.created.price, mine.exectype) == (1.0, 90.0, bt.Order.Limit)
    assert (mine.executed.size, mine.executed.price, mine.executed.remsize) == (0.4, 90.0, 0.6)
    assert mine.info.recovered
    assert bt.num2date(mine.valid).hour == 1
    news = strategy.orders[-1]
    assert news == mine
    assert (news.ref, news.getstatusname()) == (mine.ref, "Canceled")
    assert strategy.orders[0].info.seed  # what is held is shown as ever
    assert len(strategy.orders) == 2
    assert rig.store.session.cancelled == ["old"]
    assert rig.store.open_orders() == []


def test_an_exit_the_venue_made_is_attached_to_its_order_where_that_is_found_again() -> None:
    entry = left("in", asked(), told("f1", "0.4"))
    exits = [
        left(f"x{parent_id}", asked(**STOP, trigger_price=D(80)), parent_id=parent_id) for parent_id in ("in", "over")
    ]
    rig = again(Recovered(orders=(exits[0], entry, exits[1])), held="0.4")  # of "over" everything was told
    found: list[Any] = []

    rig.play(**(acts(rig, lambda s: None) | {"on_start": lambda s: found.extend(rig.store.open_orders())}))

    by_id = {each.info.client_order_id: each for each in found}
    assert by_id["xin"].info.attached_to == by_id["in"].ref
    assert by_id["xover"].info.attached_to is None
    assert [by_id[name].info.attached_to_id for name in ("xin", "xover")] == ["in", "over"]
    assert "attached_to" not in by_id["in"].info


def test_an_exit_that_the_venue_made_says_its_kind_which_backtrader_has_no_word_for() -> None:
    profit = {"order_type": OrderType.TAKE_PROFIT_MARKET, "price": None, "side": Side.SELL, "trigger_price": D(120)}
    entry = left("entry", asked(), told("f1", "0.4"))
    rig = again(Recovered(orders=(entry, left("bybit-7", asked(**profit), parent_id="entry"))), held="0.4")
    found: list[Any] = []

    rig.play(**(acts(rig, lambda s: None) | {"on_start": lambda s: found.extend(rig.store.open_orders())}))

    _, exit_ = sorted(found, key=lambda order: order.ref)
    assert (exit_.getordername(), exit_.info.order_type) == ("Stop", "TAKE_PROFIT_MARKET")
    assert (exit_.info.origin, exit_.info.attached_to_id) == ("ATTACHED", "entry")


def test_fills_nobody_was_told_of_are_told_once_flagged_and_counted_once() -> None:
    order = left("old", asked(), told("f1", "0.4"), told("f2", "0.6", minute=51))
    recovered = Recovered(orders=(order,), undelivered={"old": (order.fills[1],)})
    rig = again(recovered, held="1")

    strategy = play(rig, lambda s: None, lambda s: s.close(), lambda s: None)

    seed, last, *_ = strategy.orders
    assert rig.store.session.told.count(("old", "f2")) == 1
    assert (seed.info.seed, seed.executed.size) == (True, 0.4)
    assert last.getstatusname() == "Completed"
    assert last.info.recovered
    assert [each.fill_id for each in last.info.recovered_fills] == ["f2"]
    assert [bit.size for bit in last.executed.getpending()] == [0.6]
    assert last.executed.size == 1.0
    assert rig.store.session.told[0] == ("old", "f2")
    assert [trade.isclosed for trade in strategy.trades] == [False, True]
    assert strategy.position.size == 0.0
    agree(rig, strategy)


def test_all_fills_of_an_order_that_was_cancelled_meanwhile_are_told_before_its_end() -> None:
    cancelled = report(Status.CANCELED, filled=D("0.9"))
    order = left("old", asked(), told("f1", "0.4"), told("f2", "0.5", minute=51), cancelled)
    rig = again(Recovered(orders=(order,), undelivered={"old": order.fills}), held="0.9")

    strategy = play(rig, lambda s: None)

    assert strategy.words == ["Partial", "Canceled"]
    assert [trade.size for trade in strategy.trades] == [0.4]
    assert strategy.position.size == 0.9


def test_an_exit_that_filled_while_nobody_was_there_closes_its_trade() -> None:
    order = left("old", asked(side=Side.SELL, price=D(120)), told("f1", "1", price="120"))
    rig = again(
        Recovered(
            orders=(order,),
            undelivered={"old": order.fills},
            positions={Key("BTC/USDT"): Position(quantity=D(1), cost=D(100))},
        )
    )
    rig.toy.balances["USDT"] = D(10_120)

    strategy = play(rig, lambda s: None)

    assert [each.getstatusname() for each in strategy.orders] == ["Completed", "Completed"]
    assert [(trade.isclosed, trade.pnl) for trade in strategy.trades] == [(False, 0.0), (True, 20.0)]
    assert strategy.position.size == 0.0
    agree(rig, strategy)


def test_a_position_is_taken_over_at_what_it_cost_where_the_journal_knows() -> None:
    rig = again(Recovered(positions={Key("BTC/USDT"): Position(quantity=D(2), cost=D(180))}), held="2")

    strategy = play(rig, lambda s: None, lambda s: s.close(), lambda s: None)

    assert strategy.orders[0].executed.price == 90.0
    assert strategy.trades[-1].pnl == pytest.approx(20.0)


def test_a_fill_that_reconciliation_finds_is_told_as_recovered_and_only_once() -> None:
    order = left("old", asked())
    rig = again(Recovered(orders=(order,)), held="1")
    filled = apply(order, attrs.evolve(told("f9", "1"), client_order_id="old"))
    update = OrderUpdate(event=None, order=filled, recovered=filled.fills)

    def on_start(strategy: Script) -> None:
        rig.store.session.events.put(update, update)  # before the first bar

    strategy = rig.play(**(acts(rig, lambda s: None, lambda s: None) | {"on_start": on_start}))

    assert [each.getstatusname() for each in strategy.orders] == ["Completed", "Completed"]
    assert strategy.orders[-1].info.recovered_fills == filled.fills
    assert rig.store.session.told == [("old", "f9")]
    agree(rig, strategy)


def test_a_bracket_is_found_again_with_its_ties() -> None:
    entry, stop = asked(), asked(**TRAIL, trigger_price=D(80), trail_bps=100)
    take = asked(side=Side.SELL, price=D(120))
    group = Group(
        group_id="g",
        kind=GroupKind.BRACKET,
        entry=Member(member_id="e", request=entry),
        members=(
            Member(member_id="s", request=stop),
            Member(member_id="t", request=take),
        ),
    )
    legs = (
        left("e", entry, told("f1", "1"), member_id="e", group_id="g"),
        left("s1", stop, member_id="s", group_id="g"),
    )
    rig = again(Recovered(orders=legs, groups=(group,)), held="1")
    found: list[Any] = []
    events = rig.store.session.events

    def on_start(strategy: Script) -> None:
        found.extend(rig.store.open_orders())
        events.put(MemberEnded(group_id="g", member_id="t", status=Status.CANCELED, reason="the other exit was filled"))

    strategy = rig.play(**(acts(rig, lambda s: None, lambda s: None) | {"on_start": on_start}))

    trail, limit = found
    assert trail.parent == limit.parent
    assert trail.parent.getstatusname() == "Completed"
    assert (trail.exectype, trail.created.price, trail.created.trailpercent) == (bt.Order.StopTrail, 80.0, 0.01)
    assert [each.getstatusname() for each in strategy.orders if each == limit] == ["Canceled"]


def test_an_oco_pair_is_found_again() -> None:
    one, other = asked(side=Side.SELL, price=D(120)), asked(**STOP, trigger_price=D(80))
    group = Group(
        group_id="g",
        kind=GroupKind.OCO,
        members=(Member(member_id="a", request=one), Member(member_id="b", request=other)),
    )
    legs = (left("a", one, member_id="a", group_id="g"), left("b", other, member_id="b", group_id="g"))
    rig = again(Recovered(orders=legs, groups=(group,)), held="1")
    found: list[Any] = []

    rig.play(**(acts(rig) | {"on_start": lambda s: found.extend(rig.store.open_orders())}))

    assert found[1].oco == found[0]
    assert [order.getstatusname() for order in found] == ["Accepted", "Accepted"]


def test_an_order_that_ended_while_nobody_was_there_is_told_with_the_first_bar() -> None:
    order = left("old", asked(order_type=OrderType.TRAILING_STOP, trigger_price=D(95), trail_amount=D(5)))
    ended = apply(order, report(Status.EXPIRED, client_order_id="old", reason="by the venue"))
    rig = again(Recovered(orders=(ended,)))

    strategy = play(rig, lambda s: None)

    (news,) = strategy.orders
    assert (news.getstatusname(), news.info.reason) == ("Expired", "by the venue")
    assert news.exectype == bt.Order.StopTrailLimit


def test_an_order_in_an_instrument_without_a_data_is_told_and_left() -> None:
    order = left("old", asked())
    other = attrs.evolve(order, leg=attrs.evolve(order.leg, request=asked(instrument=ETH)))
    group = Group(group_id="g", kind=GroupKind.OCO, members=(Member(member_id="a", request=asked(instrument=ETH)),))
    rig = again(Recovered(orders=(other,), groups=(group,)))

    strategy = play(rig, lambda s: None)

    assert rig.store.open_orders() == []
    assert any("order old of an earlier run is in ETH/USDT, which has no data here" in t for t in strategy.store_texts)


def test_nothing_is_open_before_a_run() -> None:
    assert fresh().store.open_orders() == []


def test_a_fill_is_delivered_when_the_strategy_was_told_and_not_before() -> None:
    rig = fresh(session=ByHand)
    session: Any = rig.store.session
    seen: list[list[Any]] = []

    def on_order(strategy: Script, order: Any) -> None:
        seen.append(list(session.told))
        if order.status == order.Completed:
            raise RuntimeError("the strategy breaks while it is told")

    script = acts(rig, lambda s: s.buy(size=1))
    with pytest.raises(RuntimeError, match="breaks while it is told"):
        rig.play(on_next=script["on_next"], on_order=on_order)

    assert seen == [[], [], []]
    assert session.told == []  # so the next run tells it again


# --- the strategy's own state ---------------------------------------------------------------------------------


class Counter(Script):
    """Counts its fills, and keeps the count."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.loaded: list[tuple[Any, int]] = []

    def notify_order(self, order: Any) -> None:
        super().notify_order(order)
        self.count += len(order.executed.getpending())

    def save_state(self) -> dict[str, int]:
        return {"fills": self.count}

    def load_state(self, state: Any) -> None:
        self.loaded.append((state, len(self.orders)))
        self.count = state["fills"]


def run_counter(rig: Rig, *steps: Any, kind: type[Script] = Counter) -> Any:
    script = acts(rig, *steps)
    rig.cerebro.addstrategy(kind, **script)
    return run(rig.cerebro)


def test_state_is_saved_with_each_fill_and_loaded_before_anything_is_told() -> None:
    rig = fresh(session=ByHand)
    saved: list[dict[str, str]] = []
    run_counter(rig, lambda s: s.buy(size=1), lambda s: saved.append(dict(rig.store.session.states)), lambda s: None)
    order = left("old", asked(), told("f1", "1"))
    after = again(Recovered(orders=(order,), undelivered={"old": order.fills}), held="1")
    after.store.session.states = dict(rig.store.session.states)  # type: ignore[attr-defined]

    strategy = run_counter(after, lambda s: None)

    assert saved == [{"Counter": '{"fills": 1}'}]
    assert strategy.loaded == [({"fills": 1}, 0)]
    assert after.store.session.states == {"Counter": '{"fills": 2}'}  # type: ignore[attr-defined]


def test_state_is_saved_as_time_passes_and_at_the_end() -> None:
    rig = fresh(session=ByHand)
    states: list[dict[str, str]] = []

    def count(strategy: Any) -> None:
        states.append(dict(rig.store.session.states))
        strategy.count += 10

    run_counter(rig, *[count] * 4)

    assert states == [{}, {}, {"Counter": '{"fills": 20}'}, {"Counter": '{"fills": 30}'}]
    assert rig.store.session.states == {"Counter": '{"fills": 40}'}


def test_two_strategies_of_one_kind_keep_their_states_apart() -> None:
    rig = fresh(session=ByHand)
    rig.cerebro.addstrategy(Counter)
    rig.cerebro.addstrategy(Counter, **acts(rig, lambda s: None))

    rig.cerebro.run()

    assert set(rig.store.session.states) == {"Counter", "Counter-2"}


def test_a_state_that_cannot_be_saved_or_loaded_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Clumsy(Counter):
        def save_state(self) -> Any:
            return object()

        def load_state(self, state: Any) -> None:
            raise KeyError(state)

    rig = fresh(session=ByHand)
    rig.store.session.states = {"Clumsy": "1"}  # type: ignore[attr-defined]

    strategy = run_counter(rig, lambda s: s.buy(size=1), kind=Clumsy)

    assert strategy.words[-1] == "Completed"
    assert "the state of Clumsy could not be loaded" in caplog.text
    assert "the state of Clumsy could not be saved" in caplog.text
    assert rig.store.session.states == {"Clumsy": "1"}


def test_the_state_of_a_strategy_that_raised_is_not_saved() -> None:
    rig = fresh(session=ByHand)
    open_market(rig)
    rig.cerebro.addstrategy(Counter, on_next=lambda s: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        rig.cerebro.run()

    assert rig.store.session.states == {}
