"""Broken in what they do with orders."""

from collections.abc import Collection
from decimal import Decimal

import attrs

from btx.errors import OrderNotFoundError, OrderRejectedError, OutcomeUnknownError
from btx.model.instrument import Instrument
from btx.model.order import (
    Fill,
    Leg,
    ListKind,
    OrderList,
    OrderReport,
    Receipt,
    Status,
    TimeInForce,
)
from btx.model.venue import Channel
from btx.ports import Context, Sink, Wanted
from btx.testing.broken.variant import Broken, Variant
from btx.testing.toy.broker import ToyBroker
from btx.testing.toy.config import LINEAR
from btx.testing.toy.stream import ToyStream

__all__ = ("BROKEN",)


class _SendsAgain(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        try:
            return await super().place(leg=leg)
        except OutcomeUnknownError:
            return await super().place(leg=leg)


class _UnknownIsRejected(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        try:
            return await super().place(leg=leg)
        except OutcomeUnknownError as error:
            raise OrderRejectedError(str(error)) from error


class _PlacesTwice(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        await super().place(leg=attrs.evolve(leg, client_order_id=f"{leg.client_order_id}2"))
        return await super().place(leg=leg)


class _IgnoresPostOnly(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        return await super().place(leg=attrs.evolve(leg, request=attrs.evolve(leg.request, post_only=False)))


class _IgnoresReduceOnly(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        return await super().place(leg=attrs.evolve(leg, request=attrs.evolve(leg.request, reduce_only=False)))


class _AlwaysRests(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        resting = attrs.evolve(leg.request, time_in_force=TimeInForce.GTC)
        return await super().place(leg=attrs.evolve(leg, request=resting))


class _RoundsPrices(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        request = leg.request
        if request.price is not None:
            tick = request.instrument.tick_size
            request = attrs.evolve(request, price=request.price.quantize(tick))
        return await super().place(leg=attrs.evolve(leg, request=request))


class _ForgetsTheOther(ToyBroker):
    async def place_list(self, *, order_list: OrderList) -> Receipt:
        return await self.place(leg=order_list.legs[0])


class _IgnoresTheParent(ToyBroker):
    async def place_list(self, *, order_list: OrderList) -> Receipt:
        if order_list.kind is ListKind.OCO:
            return await super().place_list(order_list=order_list)
        first, *others = order_list.legs
        receipt = await self.place(leg=first)
        for leg in others:
            await self.place(leg=leg)
        return receipt


class _TellsTheEndFirst(ToyBroker):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._context = context

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        sink: Sink = self._context.shared[_SINK]
        sink(
            OrderReport(
                client_order_id=leg.client_order_id,
                symbol=leg.request.instrument.symbol,
                status=Status.CANCELED,
                time_ns=self._context.clock.market_ns(),
            )
        )
        await super().cancel(leg=leg, venue_order_id=venue_order_id)


_SINK = "btx.testing.broken.sink"


class _LendsItsSink(ToyStream):
    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        if any(each.channel is Channel.ACCOUNT for each in wanted.now):
            self._context.shared[_SINK] = sink
        await super().run(wanted=wanted, sink=sink)


class _OtherFillIds(ToyBroker):
    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        found = await super().query(leg=leg)
        return tuple(
            attrs.evolve(each, fill_id=f"q{each.fill_id}") if isinstance(each, Fill) else each for each in found
        )

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        found = await super().fills(instrument=instrument, start_ns=start_ns)
        return tuple(attrs.evolve(each, fill_id=f"q{each.fill_id}") for each in found)


class _ForgetsWhatRests(ToyBroker):
    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:  # noqa: ARG002
        return ()


class _CancelsInWords(ToyBroker):
    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        """Say that it was done."""


class _NothingForFailed(ToyBroker):
    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        try:
            await super().cancel(leg=leg, venue_order_id=venue_order_id)
        except OrderNotFoundError:
            return

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        try:
            return await super().query(leg=leg)
        except OrderNotFoundError:
            return ()


class _LosesNames(ToyBroker):
    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        return tuple(attrs.evolve(each, client_order_id="") for each in await super().query(leg=leg))

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        found = await super().open_orders(instruments=instruments)
        return tuple(attrs.evolve(each, client_order_id=f"of {each.venue_order_id}") for each in found)


class _AmendsUnderAnotherName(ToyBroker):
    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        await self.cancel(leg=leg, venue_order_id=venue_order_id)
        return await self.place(leg=attrs.evolve(new, client_order_id=f"{new.client_order_id}2"))


class _HalfTheFills(ToyBroker):
    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        return tuple(each for each in await super().query(leg=leg) if isinstance(each, OrderReport))

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        return (await super().fills(instrument=instrument, start_ns=start_ns))[::2]


class _MixesRequests(ToyBroker):
    """Keeps the request it is about in the port, where the next one takes its place."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._leg: Leg | None = None

    async def place(self, *, leg: Leg) -> Receipt:
        self._leg = leg
        await self._http.ask("GET", "/v1/time")
        return await super().place(leg=self._leg)


class _SmallerOrders(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        less = leg.quantity - leg.request.instrument.step_size
        return await super().place(leg=attrs.evolve(leg, quantity=max(less, Decimal(leg.request.instrument.step_size))))


BROKEN = (
    Broken("sends-again", "sends an order again when its answer is lost", Variant(broker=_SendsAgain), "FLT-04 FLT-07"),
    Broken(
        "unknown-is-rejected",
        "says rejected of an order whose answer is lost",
        Variant(broker=_UnknownIsRejected),
        "FLT-01 FLT-02 FLT-03 FLT-04",
    ),
    Broken(
        "places-twice", "makes two orders of one", Variant(broker=_PlacesTwice), "ORD-05 ACC-04 FLT-01 FLT-02 FLT-03"
    ),
    Broken(
        "post-only",
        "declares post-only orders, and places them without the word",
        Variant(broker=_IgnoresPostOnly),
        "ORD-14",
    ),
    Broken(
        "reduce-only",
        "declares reduce-only orders, and places them without the word",
        Variant(broker=_IgnoresReduceOnly),
        "CPX-12 FUT-08",
        market=LINEAR,
    ),
    Broken(
        "always-rests",
        "declares IOC and FOK, and lets what is not filled rest",
        Variant(broker=_AlwaysRests),
        "ORD-10 ORD-11",
    ),
    Broken(
        "rounds-prices",
        "moves a price to the grid instead of having it refused",
        Variant(broker=_RoundsPrices),
        "ORD-19",
    ),
    Broken(
        "one-of-a-pair",
        "takes a pair of orders, and places one of them",
        Variant(broker=_ForgetsTheOther),
        "CPX-09 CPX-10",
    ),
    Broken(
        "cancels-in-words",
        "says that an order is being cancelled, and asks nobody",
        Variant(broker=_CancelsInWords),
        "ORD-04 ORD-06",
    ),
    Broken(
        "nothing-for-failed",
        "answers nothing where it should raise OrderNotFoundError",
        Variant(broker=_NothingForFailed),
        "ORD-06 ORD-09 FLT-07",
    ),
    Broken(
        "loses-names",
        "answers questions about orders without their client order ids",
        Variant(broker=_LosesNames),
        "ORD-03 ORD-07 ORD-15 CPX-06 FLT-06",
    ),
    Broken(
        "amends-by-another",
        "amends an order by another one under another id",
        Variant(broker=_AmendsUnderAnotherName),
        "ORD-21",
        market=LINEAR,
    ),
    Broken(
        "half-the-fills",
        "leaves fills out of what it answers about orders and fills",
        Variant(broker=_HalfTheFills),
        "ORD-08 FLT-15",
    ),
    Broken(
        "mixes-requests",
        "keeps what it is asked for where the next request overwrites it",
        Variant(broker=_MixesRequests),
        "ORD-27",
    ),
    Broken(
        "smaller-orders",
        "places a step less than it was asked for",
        Variant(broker=_SmallerOrders),
        "ORD-01 ORD-03",
    ),
    Broken(
        "ignores-the-parent", "places what an order should trigger at once", Variant(broker=_IgnoresTheParent), "CPX-11"
    ),
    Broken(
        "tells-the-end-first",
        "pushes that an order is cancelled before it asks for it",
        Variant(broker=_TellsTheEndFirst, stream=_LendsItsSink),
        "FLT-40",
    ),
    Broken(
        "other-fill-ids",
        "gives a fill another id by request than by push",
        Variant(broker=_OtherFillIds),
        "ORD-25 RST-03 RST-04",
    ),
    Broken("forgets-what-rests", "lists no open orders", Variant(broker=_ForgetsWhatRests), "ORD-03 CPX-06"),
)
