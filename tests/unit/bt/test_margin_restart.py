"""A restart on margin: fills and bookings nobody was told of are told, and counted, once; strangers are believed."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.account import Booking, BookingKind
from btx.model.order import Fill, Leg, Order, OrderRequest, OrderType, Origin, PositionSide, Side, Status
from btx.model.time import NS_PER_MINUTE
from btx.rules.orders import apply, new_order
from btx.rules.positions import Position
from btx.rules.positions import apply_fill as turn
from btx.rules.wallet import Key
from btx.runtime.mailbox import BookingTold, OrderUpdate, Recovered
from tests.unit.bt.margin_rig import FIVE_TIMES, FOR_EVER, HEDGED, PERP, MarginRig, MarginToy, agree
from tests.unit.bt.rig import ByHand, Script, play
from tests.values import fill, report

D = Decimal


def left(side: Side, price: str, *fills: Fill, leg: PositionSide = PositionSide.NET) -> Order:
    request = OrderRequest(
        instrument=PERP,
        side=side,
        order_type=OrderType.LIMIT,
        quantity=D(2),
        price=D(price),
        position_side=leg,
        signal_ns=NS_PER_MINUTE,
    )
    order = new_order(Leg(client_order_id="old", request=request, quantity=request.quantity))
    order = apply(order, report(Status.NEW, client_order_id="old", symbol=PERP.symbol))
    for each in fills:
        order = apply(order, attrs.evolve(each, client_order_id="old", side=side, position_side=leg))
    return order


def told(fill_id: str, quantity: str, price: str, realised: str = "0", minute: int = 50) -> Fill:
    return fill(
        fill_id,
        quantity,
        symbol=PERP.symbol,
        price=D(price),
        fee=D("0.1"),
        fee_asset="USDT",
        realised=D(realised),
        time_ns=minute * NS_PER_MINUTE,
    )


def funding_of(amount: str) -> Booking:
    return Booking(
        booking_id="7", kind=BookingKind.FUNDING, asset="USDT", amount=D(amount), symbol=PERP.symbol, time_ns=0
    )


def cost(quantity: str, price: str) -> Position:
    return turn(Position.of(PERP), signed_quantity=D(quantity), price=D(price)).position


def again(toy: MarginToy, recovered: Recovered, **data: Any) -> MarginRig:
    rig = MarginRig(toy, session=ByHand, margining=HEDGED if data else FIVE_TIMES)
    rig.add("BTC/USDT", **data)
    rig.store.session.left = recovered  # type: ignore[attr-defined]
    return rig


def test_an_exit_that_filled_while_nobody_was_there_closes_its_trade() -> None:
    order = left(Side.SELL, "120", told("f9", "2", "120", realised="40"))
    toy = MarginToy(PERP, margining=FIVE_TIMES)
    toy.state = attrs.evolve(toy.state, wallets={"USDT": D("10039.9"), "BTC": D(10)})
    recovered = Recovered(
        orders=(order,), undelivered={"old": order.fills}, positions={Key(PERP.symbol): cost("2", "100")}
    )
    rig = again(toy, recovered)

    strategy = play(rig, lambda _: None)

    seed, closed = strategy.orders
    assert (seed.info.seed, seed.executed.size, seed.executed.price) == (True, 2.0, 100.0)
    assert (closed.getstatusname(), closed.info.recovered) == ("Completed", True)
    assert [(trade.isclosed, trade.pnl) for trade in strategy.trades] == [(False, 0.0), (True, pytest.approx(40.0))]
    assert strategy.position.size == 0.0
    agree(rig)


def test_a_part_of_a_short_leg_that_was_sold_unseen_is_told_once() -> None:
    order = left(Side.SELL, "90", told("f8", "0.5", "90"), told("f9", "1.5", "90", minute=51), leg=PositionSide.SHORT)
    toy = MarginToy(PERP, margining=HEDGED)
    toy.hold(PERP, "-2", "90", PositionSide.SHORT)
    recovered = Recovered(
        orders=(order,),
        undelivered={"old": (order.fills[1],)},
        positions={Key(PERP.symbol, PositionSide.SHORT): cost("-0.5", "90")},
    )
    rig = again(toy, recovered, position_side="short")

    strategy = play(rig, lambda _: None)

    seed, filled = strategy.orders
    assert (seed.executed.size, filled.executed.size) == (-0.5, -2.0)
    assert (strategy.position.size, strategy.position.price) == (-2.0, 90.0)
    assert [trade.size for trade in strategy.trades] == [-0.5]
    agree(rig)


def test_an_order_of_a_leg_without_a_data_is_left_and_told() -> None:
    order = left(Side.SELL, "120", leg=PositionSide.SHORT)
    rig = again(MarginToy(PERP, margining=HEDGED), Recovered(orders=(order,)), position_side="long")

    strategy = play(rig, lambda _: None)

    text = "order old of an earlier run is in BTC/USDT:USDT (short), which has no data here: it is left as it is"
    assert text in strategy.store_texts


def test_a_booking_from_before_is_told_and_not_taken_twice() -> None:
    toy = MarginToy(PERP, margining=FIVE_TIMES)
    rig = again(toy, Recovered())

    def hear(_strategy: Script) -> None:
        rig.store.session.events.put(BookingTold(booking=funding_of("-0.5"), recovered=True))

    strategy = play(rig, hear, lambda _: None)

    assert "FUNDING of BTC/USDT:USDT: -0.5 USDT" in strategy.store_texts
    assert rig.broker.ledger()["USDT"] == 10_000
    assert rig.broker.booked()[BookingKind.FUNDING, "USDT"] == D("-0.5")


class LastWords(ByHand):
    """A session that hears of a booking while it hangs up."""

    def stop(self, **settings: Any) -> None:
        super().stop(**settings)
        self.events.put(BookingTold(booking=funding_of("-0.5")))


def test_a_booking_that_comes_while_a_run_ends_is_counted_and_left_for_the_next_run_to_tell() -> None:
    rig = MarginRig(MarginToy(PERP, margining=FIVE_TIMES), session=LastWords)
    rig.add("BTC/USDT")

    play(rig, lambda _: None)

    assert rig.broker.ledger()["USDT"] == D("9999.5")


def test_a_liquidation_that_was_told_is_not_told_again_by_the_next_run() -> None:
    toy = MarginToy(PERP, margining=FIVE_TIMES)
    toy.hold(PERP, "2", "100")
    rig = again(toy, Recovered())
    made = attrs.evolve(told("f9", "2", "80", realised="-40"), side=Side.SELL, origin=Origin.LIQUIDATION)

    def hear(_strategy: Script) -> None:
        rig.store.session.events.put(OrderUpdate(event=made, order=left(Side.SELL, "80", made)))

    strategy = play(rig, hear, lambda _: None)

    assert strategy.orders[-1].info.origin == "LIQUIDATION"
    assert strategy.position.size == 0
    assert rig.store.session.told == [("old", "f9")]  # type: ignore[attr-defined]


def test_liquidations_in_two_instruments_whose_trades_have_one_number_are_two() -> None:
    other = attrs.evolve(PERP, symbol="ETH/USDT:USDT", venue_symbol="ETHUSDT", base="ETH")
    toy = MarginToy(PERP, other, margining=FIVE_TIMES)
    for each in (PERP, other):
        toy.hold(each, "2", "100")
    rig = again(toy, Recovered())
    made = attrs.evolve(told("9", "2", "80", realised="-40"), side=Side.SELL, origin=Origin.LIQUIDATION)

    def hear(_strategy: Script) -> None:
        for symbol in (PERP.symbol, other.symbol, other.symbol):
            event = attrs.evolve(made, symbol=symbol)
            rig.store.session.events.put(OrderUpdate(event=event, order=left(Side.SELL, "80", made)))

    play(rig, hear, lambda _: None)

    assert rig.broker.ledger()["USDT"] == 10_000 - 2 * (40 + D("0.1"))


def test_a_position_that_another_program_has_opened_is_taken_over_and_told() -> None:
    toy = MarginToy(PERP, margining=FIVE_TIMES)
    rig = again(toy, Recovered())

    def open_elsewhere(_strategy: Script) -> Any:
        toy.hold(PERP, "3", "90")
        toy.soon(toy.tell, toy.balance_update())
        return FOR_EVER

    def on_store(text: str, *_: Any, **__: Any) -> None:
        if "taken over" in text:
            rig.cerebro.runstop()

    rig.cerebro.addstorecb(on_store)
    strategy = play(rig, open_elsewhere)

    assert (strategy.position.size, strategy.position.price) == (3.0, 90.0)
    said = "BTC/USDT:USDT: the venue has a position of 3, this run counted 0: taken over"
    assert any(text.startswith(said) for text in strategy.store_texts)
    agree(rig)
