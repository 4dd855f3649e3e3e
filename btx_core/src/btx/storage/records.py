"""Journal records as text and back, exactly.

A record's kind is a name of its own, so that a class may be renamed and what was
written stays readable.  Fields that are not known are passed over, kinds that are
not known are kept as they stand: a newer btx may add both without a new schema.
Anything else that would change what is written raises the schema's number.
"""

import enum
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import attrs
import cattrs

from btx.errors import JournalError
from btx.model.journal import (
    AccountState,
    Booked,
    BookingDelivered,
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
    AmendRequested,
    AmendResult,
    CancelRequested,
    CancelResult,
    Fill,
    Liquidity,
    Offset,
    OrderEvent,
    OrderReport,
    OrderType,
    OutcomeUnknown,
    PlaceRefused,
    PositionSide,
    Prepared,
    Side,
    TimeInForce,
)

__all__ = ("Row", "decode", "encode")

_RECORDS: Mapping[str, type[Any]] = {
    "intent": Intent,
    "sent": Sent,
    "group": GroupState,
    "delivered": Delivered,
    "snapshot": Snapshot,
    "booking": Booked,
    "booking_delivered": BookingDelivered,
    "account": AccountState,
    "halted": Halted,
    "resumed": Resumed,
    "strategy_state": StrategyState,
    "run_started": RunStarted,
    "run_ended": RunEnded,
    "note": Note,
}
_EVENTS: Mapping[str, type[OrderEvent]] = {
    "fill": Fill,
    "order_report": OrderReport,
    "place_refused": PlaceRefused,
    "prepared": Prepared,
    "outcome_unknown": OutcomeUnknown,
    "cancel_requested": CancelRequested,
    "cancel_result": CancelResult,
    "amend_requested": AmendRequested,
    "amend_result": AmendResult,
}
_KINDS: Mapping[type, str] = {of: kind for kind, of in (*_RECORDS.items(), *_EVENTS.items())}
# What a user may put into an order's params beside plain values.
_ENUMS = {each.__name__: each for each in (Side, PositionSide, Offset, OrderType, TimeInForce, Liquidity)}
_TAG = "$"  # a JSON object with one key that begins with it is a value JSON has no word for


@attrs.frozen(kw_only=True)
class Row:
    """A record as the database holds it."""

    kind: str
    client_order_id: str | None
    body: str


def encode(record: Record) -> Row:
    """Return the row of a record.

    Raises:
        JournalError: it holds a value that could not be read again.
    """
    try:
        row = _row_of(record)
        f"{row.kind}{row.client_order_id}{row.body}".encode()  # text that is no Unicode: SQLite would not take it
    except Exception as error:  # whatever a user's value makes the classes say
        raise JournalError(f"{record!r} cannot be written to the journal: {error}") from error
    return row


def _row_of(record: Record) -> Row:
    if isinstance(record, UnknownRecord):
        return Row(kind=record.kind, client_order_id=record.client_order_id, body=record.body)
    value: Any = record.order_event if isinstance(record, Event) else record
    return Row(
        kind=_KINDS[type(value)],
        client_order_id=getattr(record, "client_order_id", None),
        body=json.dumps(_converter.unstructure(value), separators=(",", ":")),
    )


def decode(row: Row) -> Record:
    """Return the record of a row.

    Raises:
        JournalError: the row is of a known kind and does not hold what it should.
    """
    record_class, event_class = _RECORDS.get(row.kind), _EVENTS.get(row.kind)
    try:
        if record_class is not None:
            record: Record = _converter.structure(json.loads(row.body), record_class)
            return record
        if event_class is not None:
            return Event(order_event=_converter.structure(json.loads(row.body), event_class))
    except Exception as error:  # whatever a damaged text makes the classes say
        raise JournalError(f"a record of kind {row.kind} is damaged: {error!r}: {row.body[:80]!r}") from error
    return UnknownRecord(kind=row.kind, client_order_id=row.client_order_id, body=row.body)


# --- values JSON has no word for ----------------------------------------------------------------------


def _packed(value: Any) -> Any:
    """Return what JSON can say for a value that a user passed through."""
    match value:
        case enum.Enum():
            if _ENUMS.get(type(value).__name__) is not type(value):
                raise TypeError(f"{value!r} is no value of btx: pass its value instead")
            return {f"{_TAG}enum": [type(value).__name__, value.value]}
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return {f"{_TAG}decimal": str(value)}
        case _:
            return _packed_container(value)


def _packed_container(value: Any) -> Any:
    match value:
        case list():
            return [_packed(item) for item in value]
        case tuple():
            return {f"{_TAG}tuple": [_packed(item) for item in value]}
        case Mapping() if all(isinstance(key, str) and not key.startswith(_TAG) for key in value):
            return {key: _packed(item) for key, item in value.items()}
        case Mapping():
            return {f"{_TAG}mapping": [[_packed(key), _packed(item)] for key, item in value.items()]}
        case _:
            raise TypeError(f"{value!r} is none of the plain values that params may hold")


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    if not isinstance(value, dict):
        return value
    first = next(iter(value), "")
    if first.startswith(_TAG):
        return _UNTAGGED[first](value[first])
    return {key: _unpacked(item) for key, item in value.items()}


_UNTAGGED: Mapping[str, Callable[[Any], Any]] = {
    f"{_TAG}decimal": Decimal,
    f"{_TAG}enum": lambda pair: _ENUMS[pair[0]](pair[1]),
    f"{_TAG}tuple": lambda items: tuple(_unpacked(item) for item in items),
    f"{_TAG}mapping": lambda pairs: {_unpacked(key): _unpacked(item) for key, item in pairs},
}


def _is_params(kind: Any) -> bool:
    return bool(kind == Mapping[str, Any])


def _new_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda text, _: Decimal(text))
    converter.register_unstructure_hook_func(_is_params, _packed)
    converter.register_structure_hook_func(_is_params, lambda value, _: _unpacked(value))
    return converter


_converter = _new_converter()
