"""The journal: what is read is what was written, and it adds up to what memory knew."""

import asyncio
import tempfile
import typing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from btx.model.account import Booking, PositionReport
from btx.model.instrument import Instrument, PriceBand, TickStep
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
    Group,
    Leg,
    Member,
    Offset,
    OrderEvent,
    OrderReport,
    OrderRequest,
    OrderType,
    OutcomeUnknown,
    PlaceRefused,
    Prepared,
    Side,
)
from btx.model.venue import Environment
from btx.ports import Journal
from btx.rules.orders import apply, new_order
from btx.storage.journal import open_journal, read_journal
from btx.storage.records import decode, encode
from tests.properties.test_orders import own_events, venue_events
from tests.values import leg

# --- a record is read as it was written -----------------------------------------------------------------

T = TypeVar("T")

finite = st.decimals(allow_nan=False, allow_infinity=False)
positive = st.decimals(min_value=Decimal("1e-18"), max_value=Decimal("1e18"), allow_nan=False)
texts = st.text(max_size=20)
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | texts
    | finite
    | st.sampled_from([*Side, *Offset, *OrderType])
)
keys = texts | st.sampled_from(["$decimal", "$"]) | st.integers()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    if options := typing.get_args(kind):
        return st.one_of(*(any_of(option) for option in options))
    known: dict[Any, st.SearchStrategy[Any]] = {Decimal: finite, str: texts}
    return known[kind] if kind in known else st.from_type(kind)


def every_field(kind: type[T], /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
    """Values of a class with all their fields drawn, those with a default too."""
    hints = typing.get_type_hints(kind)
    drawn = {name: any_of(hint) for name, hint in hints.items() if name not in fields}
    return st.builds(kind, **drawn, **fields)


grids: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(
    ("tick_size", "step_size", "min_quantity", "multiplier"), positive
)
grids["tick_steps"] = st.lists(st.builds(TickStep, from_price=positive, tick_size=positive), max_size=2).map(tuple)
prices = dict.fromkeys(("price", "trigger_price", "display_quantity", "trail_amount"), st.none() | positive)
requests = every_field(
    OrderRequest,
    instrument=every_field(Instrument, price_band=st.none() | every_field(PriceBand), **grids),
    quantity=positive,
    trail_bps=st.none() | st.integers(min_value=1),
    **prices,
    params=st.dictionaries(keys.filter(lambda key: isinstance(key, str)), values, max_size=3),
)
wires = st.dictionaries(texts, texts, max_size=3)
legs = every_field(Leg, request=requests, quantity=positive, wire=st.none() | wires)
members = every_field(Member, request=requests)
groups = every_field(
    Group,
    entry=st.none() | members,
    members=st.lists(members, max_size=2).map(tuple),
    withdrawn=st.lists(texts, max_size=2).map(tuple),
)
events: st.SearchStrategy[OrderEvent] = st.one_of(
    every_field(Fill, price=positive, quantity=positive),
    *(every_field(kind) for kind in (OrderReport, PlaceRefused, OutcomeUnknown, CancelRequested, CancelResult)),
    every_field(AmendRequested, price=positive, quantity=positive),
    every_field(AmendResult),
    every_field(Prepared, wire=wires),
)
amounts = st.dictionaries(texts, finite, max_size=3)
positions = st.lists(every_field(PositionReport), max_size=2).map(tuple)
records: st.SearchStrategy[Record] = st.one_of(
    every_field(Intent, leg=legs),
    st.builds(Event, order_event=events),
    every_field(GroupState, group=groups),
    every_field(Snapshot, balances=amounts, positions=positions),
    every_field(Booked, booking=every_field(Booking)),
    every_field(BookingDelivered),
    every_field(AccountState, wallet=amounts, equity=amounts, positions=positions),
    *(every_field(kind) for kind in (Sent, Delivered, Halted, Resumed, StrategyState, RunStarted, RunEnded, Note)),
    every_field(UnknownRecord, kind=texts.map("x-{}".format)),
)


@given(record=records)
@settings(max_examples=500)
def test_every_record_is_read_as_it_was_written(record: Record) -> None:
    again = decode(encode(record))

    assert again == record
    assert repr(again) == repr(record)  # Decimal("1.0") stays 1.0, and True is not 1


# --- and they add up ------------------------------------------------------------------------------------


@contextmanager
def temporary_journal() -> Iterator[tuple[Path, Journal]]:
    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(Path(folder, "journal.sqlite"))
        try:
            yield Path(folder, "journal.sqlite"), journal
        finally:
            journal.close()


def intent() -> Intent:
    return Intent(leg=leg(), environment=Environment.SIM, session="toy/sim/spot", run="a")


async def write(journal: Journal, written: Iterable[Record]) -> None:
    for number, record in enumerate(written):
        if number % 2:
            journal.post(record)
        else:
            await journal.append(record, durable=number % 4 == 0)


@given(data=st.data(), told=venue_events, asked=own_events)
@settings(max_examples=50)
def test_the_journal_adds_up_to_what_memory_knew(
    data: st.DataObject, told: list[OrderEvent], asked: list[OrderEvent]
) -> None:
    heard = data.draw(st.permutations([*told, *asked, *told[:3]]))
    memory = new_order(leg())
    for event in heard:
        memory = apply(memory, event)

    with temporary_journal() as (path, journal):
        asyncio.run(write(journal, [intent(), *(Event(order_event=event) for event in heard)]))
        journal.close()

        assert read_journal(path).orders() == {"a1": memory}


# --- a torn write ---------------------------------------------------------------------------------------


@given(cut=st.floats(0, 1), garbage=st.binary(max_size=100))
@settings(max_examples=50)
def test_whatever_is_torn_off_the_log_a_prefix_is_left(cut: float, garbage: bytes) -> None:
    count = 30
    with temporary_journal() as (path, journal), tempfile.TemporaryDirectory() as folder:
        asyncio.run(write(journal, (Sent(client_order_id=f"a{number}", time_ns=number) for number in range(count))))
        asyncio.run(journal.append(Sent(client_order_id="end", time_ns=count), durable=True))
        log = path.with_name(f"{path.name}-wal").read_bytes()
        torn = Path(folder, path.name)
        torn.write_bytes(path.read_bytes())
        torn.with_name(f"{path.name}-wal").write_bytes(log[: int(len(log) * cut)] + garbage)

        restarted = open_journal(torn)
        left = [record.time_ns for _, _, record in restarted.records() if isinstance(record, Sent)]
        restarted.close()

    assert left == list(range(len(left)))
    assert len(left) == count + 1 or cut < 1
