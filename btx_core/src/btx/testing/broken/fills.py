"""Broken in what they push of orders and fills."""

from collections.abc import Iterable
from typing import ClassVar

import attrs

from btx.model.order import Fill, OrderReport, Origin, PositionSide, Status
from btx.ports import Context, StreamEvent
from btx.testing.broken.variant import AlteredStream, Broken, Variant
from btx.testing.toy.config import LINEAR

__all__ = ("BROKEN",)


class _DropsFills(AlteredStream):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._begun: set[str | None] = set()

    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        if not isinstance(event, Fill) or event.venue_order_id in self._begun:
            return (event,)
        self._begun.add(event.venue_order_id)
        return ()


class _DoublesFills(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        return (event, attrs.evolve(event, fill_id=f"{event.fill_id}b")) if isinstance(event, Fill) else (event,)


class _OneFillId(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        return (attrs.evolve(event, fill_id=f"of {event.venue_order_id}"),) if isinstance(event, Fill) else (event,)


class _FeesBackwards(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        if not isinstance(event, Fill) or event.fee is None:
            return (event,)
        return (attrs.evolve(event, fee=-event.fee),)


class _FeesInQuoteUnits(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        return (attrs.evolve(event, fee_asset=event.symbol.partition("/")[2]),) if isinstance(event, Fill) else (event,)


class _PartsAsWhole(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        if isinstance(event, OrderReport) and event.status is Status.PARTIALLY_FILLED:
            return (attrs.evolve(event, status=Status.FILLED, filled=event.quantity or event.filled),)
        return (event,)


class _HidesLiquidations(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        is_the_venue_s = isinstance(event, Fill | OrderReport) and event.origin is not Origin.CLIENT
        return () if is_the_venue_s else (event,)


class _SwapsSides(AlteredStream):
    _OTHER: ClassVar = {PositionSide.LONG: PositionSide.SHORT, PositionSide.SHORT: PositionSide.LONG}

    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        if isinstance(event, Fill | OrderReport) and event.position_side in self._OTHER:
            return (attrs.evolve(event, position_side=self._OTHER[event.position_side]),)
        return (event,)


BROKEN = (
    Broken(
        "drops-a-fill",
        "leaves out the first fill of each order",
        Variant(stream=_DropsFills),
        "ORD-01 ORD-12",
    ),
    Broken(
        "doubles-a-fill",
        "pushes every fill a second time, under another id",
        Variant(stream=_DoublesFills),
        "ORD-02 ORD-06 CPX-02 ACC-02 FLT-13",
    ),
    Broken("one-fill-id", "gives all fills of an order the same id", Variant(stream=_OneFillId), "ORD-17 ORD-25"),
    Broken(
        "fee-sign",
        "tells fees with the wrong sign",
        Variant(stream=_FeesBackwards),
        "ORD-02 ORD-17 CPX-01 ACC-02 ACC-06",
    ),
    Broken(
        "fee-coin",
        "tells every fee in quote units",
        Variant(stream=_FeesInQuoteUnits),
        "ORD-02 ORD-17 CPX-01 ACC-02 ACC-06",
    ),
    Broken("part-as-whole", "says filled of an order that has filled in part", Variant(stream=_PartsAsWhole), "ORD-17"),
    Broken(
        "position-sides",
        "mixes up the long and the short position",
        Variant(stream=_SwapsSides),
        "FUT-13",
        market=LINEAR,
    ),
    Broken(
        "hides-liquidations",
        "pushes nothing of orders that the venue itself makes",
        Variant(stream=_HidesLiquidations),
        "FUT-15",
        market=LINEAR,
    ),
)
