"""Several legs of one order: planned with what is there, on disk before the first leaves, each with its own fate."""

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import BtxError, TransportError
from btx.model.account import AccountSnapshot, Lots
from btx.model.journal import Event, Intent, Note, Sent
from btx.model.order import Leg, ListKind, Offset, OrderList, OrderRequest, Part, Prepared, Side, Status
from btx.rules.orders import apply, new_order
from btx.runtime.planning import Planner
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import OrderRig, listening, run
from tests.unit.runtime.test_orders import FullDisk, intended
from tests.values import fill, leg, request

SEEN = Lots(symbol="BTC/USDT", long_today=Decimal(2))


def halves(asked: OrderRequest, _orders: object) -> tuple[Part, ...]:
    half = asked.quantity / 2
    return Part(quantity=half, offset=Offset.CLOSE_TODAY), Part(quantity=half)


def numbered() -> Any:
    numbers = iter(range(1, 100))
    return lambda: f"b{next(numbers)}"


def snapshot(*lots: Lots) -> AccountSnapshot:
    return AccountSnapshot(balances={}, time_ns=0, lots=lots)


# --- what is asked ------------------------------------------------------------------------------------


def test_the_plan_is_asked_with_what_is_there_and_no_order_closes_already() -> None:
    asked: list[Lots | None] = []

    def plan(wanted: OrderRequest, lots: Lots | None) -> tuple[Part, ...]:
        asked.append(lots)
        return (Part(quantity=wanted.quantity),)

    planner = Planner(plan, offsets=True)
    planner.take(snapshot(SEEN))
    closing = new_order(attrs.evolve(leg(1, side=Side.SELL), offset=Offset.CLOSE_TODAY))

    planner(request(), [closing])
    planner.on_order(None, closing)
    planner.on_order(closing, apply(closing, fill("f1", 1, side=Side.SELL)))

    assert asked == [attrs.evolve(SEEN, long_today=Decimal(1))]
    assert planner.lots("BTC/USDT") == attrs.evolve(SEEN, long_today=Decimal(1))
    assert planner.lots("ETH/USDT") == Lots(symbol="ETH/USDT")


def test_what_was_opened_today_is_yesterdays_when_another_trading_day_has_begun() -> None:
    today = datetime.date(2025, 11, 3)
    planner = Planner(lambda wanted, _lots: (Part(quantity=wanted.quantity),), offsets=True, day=lambda _symbol: today)
    planner.take(snapshot(SEEN))
    assert planner.lots("BTC/USDT") == SEEN

    today = datetime.date(2025, 11, 4)
    assert planner.lots("BTC/USDT") == Lots(symbol="BTC/USDT", long_yesterday=Decimal(2))
    order = new_order(attrs.evolve(leg(1), offset=Offset.OPEN))
    planner.on_order(order, apply(order, fill("f1", 1)))

    assert planner.lots("BTC/USDT") == Lots(symbol="BTC/USDT", long_today=Decimal(1), long_yesterday=Decimal(2))


def test_where_orders_do_not_say_what_they_close_there_are_no_lots() -> None:
    asked: list[Lots | None] = []

    def plan(wanted: OrderRequest, lots: Lots | None) -> tuple[Part, ...]:
        asked.append(lots)
        return (Part(quantity=wanted.quantity),)

    planner = Planner(plan, offsets=False)
    order = new_order(leg())
    planner.on_order(order, apply(order, fill()))
    planner(request(), [])

    assert asked == [None]
    assert planner.lots("BTC/USDT") == Lots(symbol="BTC/USDT")


def test_a_plan_that_loses_a_part_is_refused() -> None:
    planner = Planner(lambda wanted, _lots: (Part(quantity=wanted.quantity / 2),), offsets=False)

    with pytest.raises(BtxError, match="btx_plan makes 3 of 6"):
        planner(request(), [])


# --- what is sent -------------------------------------------------------------------------------------


def test_all_legs_are_on_disk_before_the_first_leaves() -> None:
    async def scene() -> None:
        journal = FullDisk(Event)
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended, plan=halves, next_id=numbered())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.toy.count("place") == 2)

            assert [type(record) for record in journal.taken] == [Intent, Intent, Sent, Sent]
            assert [order.leg.owner_id for order in rig.desk.legs("a1")] == ["a1", "a1"]
            assert [order.leg.quantity for order in rig.desk.legs("a1")] == [3, 3]
            assert rig.submitted == ["a1", "b1"]

    run(scene())


def test_where_one_of_the_legs_is_not_on_disk_none_is_sent() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), journal=FullDisk(Intent), intent=intended, plan=halves, next_id=numbered())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: all(order.status is Status.REJECTED for order in rig.desk.legs("a1")))

            assert rig.toy.count("place") == 0
            assert len(rig.desk.legs("a1")) == 2

    run(scene())


@pytest.mark.parametrize("error", [BtxError("there is less to close"), KeyError("oops")])
def test_a_plan_that_refuses_or_breaks_is_told_like_a_refusal(error: Exception) -> None:
    def plan(_wanted: OrderRequest, _orders: object) -> tuple[Part, ...]:
        raise error

    async def scene() -> None:
        rig = OrderRig(ToyVenue(), plan=plan)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.REJECTED)

            assert str(error).strip("'") in rig.order().evidence.reason
            assert rig.toy.count("place") == 0

    run(scene())


@pytest.mark.parametrize("tie", [{"group_id": "g1"}, {"pair_id": "p1"}])
def test_an_order_of_a_group_stays_one_and_that_is_said(tie: Mapping[str, str]) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), plan=halves, next_id=numbered())
        async with listening(rig):
            asked = request()
            rig.desk.submit(Leg(client_order_id="a1", request=asked, quantity=asked.quantity, **tie))
            await rig.log.until(lambda: rig.order().status is Status.REJECTED)

            assert "brackets and OCO groups are made of single ones" in rig.order().evidence.reason

    run(scene())


def test_of_a_list_no_order_is_sent_when_one_of_them_would_be_several() -> None:
    def plan(wanted: OrderRequest, orders: object) -> tuple[Part, ...]:
        return halves(wanted, orders) if wanted.side is Side.SELL else (Part(quantity=wanted.quantity),)

    async def scene() -> None:
        rig = OrderRig(ToyVenue(), plan=plan, next_id=numbered())
        async with listening(rig):
            buy, sell = request(), request(side=Side.SELL)
            legs = tuple(
                Leg(client_order_id=name, request=asked, quantity=asked.quantity, list_id="l1")
                for name, asked in (("a1", buy), ("a2", sell))
            )
            rig.desk.submit_list(OrderList(list_id="l1", kind=ListKind.OTO, legs=legs))
            await rig.log.until(lambda: all(rig.order(name).status is Status.REJECTED for name in ("a1", "a2")))

            assert "an order of its list was refused" in rig.order("a1").evidence.reason
            assert rig.toy.count("place_list") == 0

    run(scene())


def test_a_leg_that_a_recording_has_is_not_split_again() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), plan=halves, next_id=numbered())
        async with listening(rig):
            asked = request()
            rig.desk.submit(Leg(client_order_id="a1", request=asked, quantity=Decimal(3), parts=2))
            await rig.log.until(lambda: rig.toy.count("place") == 1)
            await rig.quiet()

            assert list(rig.desk.orders) == ["a1"]

    run(scene())


# --- what takes the place of another ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "the venue wants 2 orders"),
        (BtxError("there is less to close"), "there is less to close"),
        (AssertionError(), "the adapter broke in btx_plan: AssertionError"),  # it has no text of its own
    ],
)
def test_what_takes_the_place_of_an_order_stays_one(error: Exception | None, reason: str) -> None:
    is_first = True

    def plan(wanted: OrderRequest, orders: object) -> tuple[Part, ...]:
        nonlocal is_first
        if is_first:
            is_first = False
            return (Part(quantity=wanted.quantity),)
        if error is None:
            return halves(wanted, orders)
        raise error

    async def scene() -> None:
        rig = OrderRig(ToyVenue(), plan=plan, next_id=numbered())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            asked = request(price=Decimal(99))
            rig.desk.replace("a1", Leg(client_order_id="a2", request=asked, quantity=asked.quantity, member_id="a1"))
            await rig.log.until(lambda: rig.order("a2").status is Status.REJECTED)

            assert reason in rig.order("a2").evidence.reason
            assert rig.toy.count("place") == 1

    run(scene())


# --- names on the wire --------------------------------------------------------------------------------


def test_a_name_is_on_disk_before_the_order_leaves_with_it() -> None:
    async def prepare(*, leg: Leg) -> Mapping[str, str]:
        return {"OrderRef": leg.client_order_id[1:]}

    async def scene() -> None:
        journal = FullDisk(Note)
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended, prepare=prepare)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)

            kinds = [type(getattr(record, "order_event", record)) for record in journal.taken]
            assert kinds == [Intent, Prepared, Sent]
            assert rig.toy.orders["a1"].leg.wire == {"OrderRef": "1"}

    run(scene())


def test_an_order_that_cannot_be_named_never_left() -> None:
    async def prepare(*, leg: Leg) -> Mapping[str, str]:
        raise TransportError(f"no session for {leg.client_order_id}")

    async def scene() -> None:
        rig = OrderRig(ToyVenue(), prepare=prepare)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.REJECTED)

            assert "no session for a1" in rig.order().evidence.reason
            assert rig.toy.count("place") == 0

    run(scene())
