"""The routes: every wish of a strategy reaches who can do it, and what nobody can do is refused aloud."""

import contextlib
import itertools
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.order import (
    CancelOutcome,
    CancelResult,
    Leg,
    Member,
    OrderType,
    PlaceRefused,
    Side,
    Status,
)
from btx.runtime.keeper import Keeper
from btx.runtime.mailbox import MemberEnded
from btx.runtime.routes import Routes
from tests.toy_venue import INFO, ToyVenue
from tests.unit.runtime.rig import OrderRig, ToyClock, listening, run
from tests.values import request

PLAIN = attrs.evolve(INFO.capabilities["spot"], trailing_bps=None)


class RoutesRig(OrderRig):
    """Routes before a desk and a keeper."""

    def __init__(self, toy: ToyVenue) -> None:
        numbers = itertools.count(1)

        def next_id() -> str:
            return f"id{next(numbers)}"

        super().__init__(toy, next_id=next_id, can_replace=True)
        self.keeper = Keeper(
            desk=self.desk,
            capabilities=PLAIN,
            clock=ToyClock(toy),
            post=self.log.add,
            note=lambda kind, text: self.notes.append((kind, text)),
            progressed=self.log.touch,
        )
        self.routes = Routes(desk=self.desk, keeper=self.keeper, capabilities=PLAIN, next_id=next_id, post=self.log.add)

    async def rest(self, owner_id: str = "a1", **changes: Any) -> None:
        asked = request(**changes)
        self.routes.submit(Leg(client_order_id=owner_id, request=asked, quantity=asked.quantity))
        await self.log.until(lambda: owner_id in self.desk.orders and self.order(owner_id).status is Status.NEW)

    def last(self) -> Any:
        return self.log.items[-1]


@contextlib.asynccontextmanager
async def routed() -> AsyncIterator[RoutesRig]:
    rig = RoutesRig(ToyVenue())
    async with listening(rig):
        yield rig
        await rig.keeper.stop()


def exit_request(**changes: Any) -> Any:
    return request(**({"side": Side.SELL, "price": Decimal(120)} | changes))


@pytest.mark.parametrize("tie", [{"oco_with": "gone", "parent": None}, {"oco_with": None, "parent": "gone"}])
def test_an_order_that_is_tied_to_one_nobody_knows_ends_rejected(tie: dict[str, Any]) -> None:
    async def scene() -> None:
        async with routed() as rig:
            rig.routes.join(Member(member_id="late", request=exit_request()), group_id="g", **tie)

            reason = "it is tied to order gone, which is not known here: not sent"
            assert rig.log.items == [MemberEnded(group_id="g", member_id="late", status=Status.REJECTED, reason=reason)]
            assert not rig.desk.orders

    run(scene())


@pytest.mark.parametrize("is_bracket", [True, False])
def test_an_order_may_be_tied_to_one_that_rests_alone_and_another_to_both(*, is_bracket: bool) -> None:
    async def scene() -> None:
        async with routed() as rig:
            await rig.rest(**({} if is_bracket else {"side": Side.SELL, "price": Decimal(110)}))
            tie = {"parent": "a1" if is_bracket else None, "oco_with": None if is_bracket else "a1"}

            rig.routes.join(Member(member_id="one", request=exit_request()), group_id="g", **tie)
            await rig.log.until(lambda: not rig.keeper.is_busy)
            rig.routes.join(Member(member_id="two", request=exit_request(price=Decimal(130))), group_id="h", **tie)
            await rig.log.until(lambda: not rig.keeper.is_busy)

            assert all(map(rig.keeper.knows, ("a1", "one", "two")))
            assert [rig.keeper.is_exit(each) for each in ("a1", "one", "two", "no")] == [
                False,
                *[is_bracket] * 2,
                False,
            ]
            if not is_bracket:
                await rig.log.until(
                    lambda: {"one", "two"} <= {order.leg.owner_id for order in rig.desk.orders.values()}
                )

    run(scene())


def test_an_order_that_is_tied_to_one_that_is_being_cancelled_ends_with_it() -> None:
    async def scene() -> None:
        async with routed() as rig:
            await rig.rest()
            rig.routes.cancel("a1")

            rig.routes.join(Member(member_id="one", request=exit_request()), group_id="g", oco_with=None, parent="a1")
            await rig.log.until(lambda: len(rig.log.of(MemberEnded)) == 2)

            assert {each.status for each in rig.log.of(MemberEnded)} == {Status.CANCELED}
            assert rig.toy.count("place") == 1

    run(scene())


def test_an_amendment_replaces_what_is_left_to_fill() -> None:
    async def scene() -> None:
        async with routed() as rig:
            await rig.rest()

            rig.routes.amend("a1", request(quantity=Decimal(4)))
            await rig.log.until(
                lambda: [order.status for order in rig.desk.legs("a1")] == [Status.CANCELED, Status.NEW]
            )
            newest = rig.desk.legs("a1")[-1]
            rig.toy.execute(newest.client_order_id, 1)
            await rig.log.until(lambda: rig.desk.legs("a1")[-1].filled == 1)
            rig.routes.amend("a1", request(quantity=Decimal(3)))
            await rig.log.until(lambda: len(rig.desk.legs("a1")) == 3 and rig.order("a1").is_settled)
            await rig.log.until(lambda: rig.desk.legs("a1")[-1].status is Status.NEW)

            assert rig.desk.legs("a1")[-1].quantity == 2

    run(scene())


def test_an_amendment_below_what_has_filled_is_refused_and_the_order_stays() -> None:
    async def scene() -> None:
        async with routed() as rig:
            await rig.rest()
            rig.toy.execute("a1", 2)
            await rig.log.until(lambda: rig.order("a1").filled == 2)

            rig.routes.amend("a1", request(quantity=Decimal(2)))

            told = rig.last()
            assert isinstance(told.event, PlaceRefused)
            assert told.event.reason == "2 of it has filled: it cannot become smaller than that"
            assert (told.order.leg.owner_id, told.order.status) == ("a1", Status.REJECTED)
            assert rig.order("a1").status is Status.PARTIALLY_FILLED
            assert rig.toy.count("replace") + rig.toy.count("cancel") == 0

    run(scene())


def test_an_amendment_that_comes_too_late_is_refused_and_the_order_ends_as_it_ended() -> None:
    async def scene() -> None:
        async with routed() as rig:
            await rig.rest()
            rig.routes.cancel("a1")
            await rig.log.until(lambda: rig.order("a1").is_settled)

            rig.routes.amend("a1", request(quantity=Decimal(7)))

            told = rig.last()
            assert isinstance(told.event, CancelResult)
            assert (told.event.outcome, told.event.reason) == (CancelOutcome.REFUSED, "the order is over")
            assert told.order == rig.order("a1")

    run(scene())


def test_an_amendment_of_an_order_that_never_had_a_leg_is_refused() -> None:
    async def scene() -> None:
        async with routed() as rig:
            rig.routes.amend("nobody's", request())

            told = rig.last()
            assert (told.order.leg.owner_id, told.order.status) == ("nobody's", Status.REJECTED)
            assert told.event.reason == "the order is over"

    run(scene())


def test_what_the_keeper_looks_after_is_cancelled_and_amended_there() -> None:
    async def scene() -> None:
        async with routed() as rig:
            trail = {"order_type": OrderType.TRAILING_STOP, "price": None, "trigger_price": Decimal(90)}
            await rig.rest("t", side=Side.SELL, trail_amount=Decimal(5), **trail)
            assert rig.keeper.knows("t")

            moved = request(side=Side.SELL, trail_amount=Decimal(5), **trail | {"trigger_price": Decimal(92)})
            rig.routes.amend("t", moved)
            await rig.log.until(lambda: len(rig.desk.legs("t")) == 2 and not rig.desk.outstanding)
            rig.routes.cancel("t")
            await rig.log.until(lambda: bool(rig.log.of(MemberEnded)))

            assert rig.log.of(MemberEnded)[0].status is Status.CANCELED

    run(scene())


def test_to_withdraw_is_to_wait_until_every_leg_has_ended() -> None:
    async def scene() -> None:
        async with routed() as rig:
            await rig.rest()
            await rig.rest("b1")

            await rig.routes.withdraw(["a1", "b1"])

            assert [rig.order(each).status for each in ("a1", "b1")] == [Status.CANCELED] * 2

    run(scene())
