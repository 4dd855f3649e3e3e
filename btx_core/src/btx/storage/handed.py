"""Orders that were handed over, and what came of the handing over, as lines of a recording and back."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from btx import errors
from btx.errors import BtxError, DataError, JournalError
from btx.model.instrument import Instrument
from btx.model.journal import Intent
from btx.model.order import Fill, Leg, OrderList, OrderReport, Receipt
from btx.model.venue import Environment
from btx.ports import Broker
from btx.storage.records import Row, decode, encode

__all__ = ("RecordingBroker", "amendment_id", "leg_of", "outcome_of")

_ERROR_FIELDS = ("code", "retry_after_s", "scope")


class RecordingBroker:
    """A Broker that says what it is given and what it answers; ``tell`` takes the lines."""

    def __init__(self, inner: Broker, tell: Callable[[dict[str, Any]], None]) -> None:
        self._inner = inner
        self._tell = tell

    async def place(self, *, leg: Leg) -> Receipt:
        return await self._told((leg,), self._inner.place(leg=leg))

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        return await self._told(order_list.legs, self._inner.place_list(order_list=order_list))

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        return await self._told((new,), self._inner.replace(leg=leg, venue_order_id=venue_order_id, new=new))

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        self._tell({"k": "amend", "id": new.client_order_id, "t": _text(new)})
        amending = self._inner.amend(leg=leg, venue_order_id=venue_order_id, new=new)
        return await self._answered([amendment_id(new)], amending)

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        await self._inner.cancel(leg=leg, venue_order_id=venue_order_id)

    async def cancel_all(self, *, instrument: Instrument) -> None:
        await self._inner.cancel_all(instrument=instrument)

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:
        await self._inner.dead_man(instrument=instrument, after_s=after_s)

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        return await self._inner.query(leg=leg)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        return await self._inner.open_orders(instruments=instruments)

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        return await self._inner.fills(instrument=instrument, start_ns=start_ns)

    async def _told(self, legs: Collection[Leg], placing: Awaitable[Receipt]) -> Receipt:
        for leg in legs:
            self._tell({"k": "order", "id": leg.client_order_id, "t": _text(leg)})
        return await self._answered([leg.client_order_id for leg in legs], placing)

    async def _answered(self, ids: list[str], asking: Awaitable[Receipt]) -> Receipt:
        try:
            receipt = await asking
        except BtxError as error:
            self._tell({"k": "placed", "ids": ids, "error": _error_fields(error)})
            raise
        self._tell({"k": "placed", "ids": ids, "venue_order_id": receipt.venue_order_id})
        return receipt


def amendment_id(new: Leg) -> str:
    """Return what the answer to an amendment is found by: an order may have several."""
    return f"{new.client_order_id}: {new.quantity} at {new.request.price}"


def leg_of(line: Mapping[str, Any]) -> Leg:
    """Return the order of an ``order`` line, and of an ``amend`` line what it is to be.

    Raises:
        DataError: it cannot be read.
    """
    try:
        intent = decode(Row(kind="intent", client_order_id=line["id"], body=line["t"]))
    except JournalError as error:
        raise DataError(f"order {line['id']} of the recording cannot be read: {error}") from error
    assert isinstance(intent, Intent), "its kind is written above"
    return intent.leg


def outcome_of(line: Mapping[str, Any]) -> Receipt | BtxError:
    """Return what the handing over came to, by a ``placed`` line."""
    fields = line.get("error")
    if fields is None:
        return Receipt(venue_order_id=line["venue_order_id"])
    kind: Any = getattr(errors, fields["kind"], BtxError)
    kwargs = {name: fields[name] for name in _ERROR_FIELDS if name in fields}
    error: BtxError = kind(fields["text"], **kwargs)
    return error


def _text(leg: Leg) -> str:
    """Return the leg as the journal writes it; what a user passed through and no JSON can say makes no order of it."""
    try:
        return encode(Intent(leg=leg, environment=Environment.SIM, session="", run="")).body
    except JournalError:
        return ""


def _error_fields(error: BtxError) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": type(error).__name__, "text": str(error)}
    for name in _ERROR_FIELDS:
        if hasattr(error, name):
            fields[name] = getattr(error, name)
    return fields
