"""``btx orders`` and ``btx explain``: what the journal says, for people."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from btx.config import home
from btx.errors import ConfigError
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
    Order,
    OrderEvent,
    OrderReport,
    OrderRequest,
    OutcomeUnknown,
    PlaceRefused,
    Prepared,
)
from btx.model.time import iso
from btx.ports import JournalReader
from btx.storage.journal import read_journal
from btx.tools.words import fees_of, plain

__all__ = ("find_journal", "run_explain", "run_orders")

_ZERO = Decimal(0)


def find_journal(name: str | None) -> Path:
    """Return the journal a name means: a file, a kept world, or the only one there is.

    Raises:
        ConfigError: there is none, or several; the message lists them.
    """
    if name is not None and Path(name).is_file():
        return Path(name)
    found = sorted(home().glob("*/*/*/*/*/journal.sqlite"))
    if name is not None:
        found = [path for path in found if path.parent.name == name]
    if len(found) == 1:
        return found[0]
    if not found:
        wanted = f" of {name!r}" if name is not None else ""
        raise ConfigError(
            f"there is no journal{wanted} under {home()}: a simulated world keeps one with btx.load(..., keep='NAME')"
        )
    names = ", ".join(path.parent.name for path in found)
    raise ConfigError(f"there are several journals ({names}): name one, or give its file")


def run_orders(name: str | None) -> int:
    """Print every order of a journal; return the exit code.

    Raises:
        ConfigError: there is no such journal.
        JournalError: it cannot be read.
    """
    path = find_journal(name)
    console = Console()
    reader = read_journal(path)
    try:
        intended = {r.client_order_id: r for _, _, r in reader.records() if isinstance(r, Intent)}
        _show(console, path, reader.orders(), intended)
    finally:
        reader.close()
    return 0


def _show(console: Console, path: Path, orders: dict[str, Order], intended: dict[str, Intent]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("order", "bar (UTC)", "what", "status", "filled", "at", "fees"):
        # Cut is nothing: the id is what `btx explain` wants, and half a number is a wrong one.
        number = column in ("filled", "at", "fees")
        width = {"order": 12, "bar (UTC)": 11, "status": 8}.get(column)
        table.add_column(column, justify="right" if number else "left", overflow="fold", min_width=width)
    for client_order_id, order in orders.items():
        request = order.leg.request
        intent = intended.get(client_order_id)
        table.add_row(
            client_order_id,
            iso(intent.signal_ns)[5:16].replace("T", " ") if intent is not None else "",
            f"{request.side.value} {plain(order.quantity)} {request.instrument.symbol} {_ask(request)}",
            order.status.value,
            plain(order.filled),
            _average(order.fills),
            fees_of(order.fills),
        )
    console.print(table)
    console.print(f"{len(orders)} orders in {path}", highlight=False, soft_wrap=True)


def run_explain(client_order_id: str, name: str | None) -> int:
    """Print the whole story of one order, from the bar it was decided on; return the exit code.

    Raises:
        ConfigError: there is no such journal, or no such order in it.
        JournalError: it cannot be read.
    """
    path = find_journal(name)
    console = Console()
    reader = read_journal(path)
    try:
        orders = _orders_of(reader.orders(), client_order_id)
        story = sorted(_story(reader, {client_order_id, *orders}), key=lambda told: told[0])
        if not story:
            raise ConfigError(f"{path} knows no order {client_order_id!r}: `btx orders` lists them")
    finally:
        reader.close()
    for _, written_ns, of, text in story:
        whose = f"{of}  " if len(orders) > 1 else ""
        console.print(f"{iso(written_ns)}  {whose}{text}", highlight=False, soft_wrap=True)
    for order in orders.values():
        whose = f"{order.client_order_id} " if len(orders) > 1 else ""
        console.print(
            f"in the end: {whose}{order.status.value}, filled {plain(order.filled)} of {plain(order.quantity)}"
            f"{' at ' + _average(order.fills) if order.fills else ''}, fees {fees_of(order.fills)}",
            highlight=False,
        )
    return 0


def _orders_of(orders: dict[str, Order], wanted: str) -> dict[str, Order]:
    """Return an order, or all that were sent for an order of the strategy, a bracket or an OCO group."""
    return {
        client_order_id: order
        for client_order_id, order in orders.items()
        if wanted in {client_order_id, order.leg.owner_id, order.leg.group_id}
    }


def _story(reader: JournalReader, client_order_ids: Iterable[str]) -> Iterator[tuple[int, int, str, str]]:
    for client_order_id in client_order_ids:
        for sequence, written_ns, record in reader.records(client_order_id=client_order_id):
            yield sequence, written_ns, client_order_id, _say(record)


def _say(record: Record) -> str:
    match record:
        case Intent(leg=leg):
            request = leg.request
            what = f"{request.side.value} {plain(leg.quantity)} {request.instrument.symbol} {_ask(request)}"
            when = f"on the bar that closed at {iso(record.signal_ns)}"
            return f"intended in {record.session}: {what} {request.time_in_force.value}, {when}"
        case Sent():
            return "sent: from here on it may rest at the venue"
        case Event(order_event=event):
            return _say_event(event)
        case GroupState(group=group):
            members = ", ".join(
                f"{each.member_id} {each.request.side.value} {_ask(each.request)}" for each in group.members
            )
            entry = f"{group.entry.member_id} {_ask(group.entry.request)}, then " if group.entry is not None else ""
            over = ", over" if record.is_over else ""
            return f"{group.kind.value.lower()} written down: {entry}{members}{over}"
        case Delivered():
            return f"the strategy was told of fill {record.fill_id}"
        case _:
            return _say_of_account(record)


def _say_of_account(record: Record) -> str:  # noqa: C901, PLR0911 -- a sentence for each kind of record
    match record:
        case Note(kind=kind, text=text):
            return f"{kind}: {text}"
        case RunStarted(session=session):
            return f"run started: {session}"
        case RunEnded(reason=reason):
            return f"run ended {reason}"
        case Snapshot():
            return "what the account holds was written down"
        case Booked(booking=each):
            of = f" of {each.symbol}" if each.symbol is not None else ""
            return f"booked: {each.kind.value.lower()}{of}: {plain(each.amount)} {each.asset}, {iso(each.time_ns)}"
        case BookingDelivered():
            return f"the strategy was told of {record.kind.value.lower()} {record.booking_id}"
        case AccountState(reason=reason, equity=equity):
            worth = ", ".join(f"{plain(each)} {asset}" for asset, each in equity.items()) or "of unknown worth"
            return f"the account at {iso(record.time_ns)} ({reason.lower()}): {worth}"
        case Halted(reason=reason):
            return f"trading halted: {reason}"
        case Resumed():
            return "trading resumed"
        case StrategyState(name=name):
            return f"the strategy {name} saved its state"
        case _:
            assert isinstance(record, UnknownRecord)
            return f"a record of kind {record.kind!r}, which this version does not know"


def _ask(request: OrderRequest) -> str:
    price = f" at {plain(request.price)}" if request.price is not None else ""
    trigger = f" from {plain(request.trigger_price)}" if request.trigger_price is not None else ""
    return f"{request.order_type.value}{trigger}{price}"


def _say_event(event: OrderEvent) -> str:
    match event:
        case Fill():
            fee = f", fee {plain(event.fee)} {event.fee_asset}" if event.fee is not None else ""
            how = f" as {event.liquidity.value.lower()}" if event.liquidity is not None else ""
            return (
                f"fill {event.fill_id}: {plain(event.quantity)} at {plain(event.price)}{how}{fee}, {iso(event.time_ns)}"
            )
        case OrderReport():
            by = "we infer" if event.inferred else "the venue says"
            why = f" ({event.reason})" if event.reason else ""
            return f"{by}: {event.status.value}, filled {plain(event.filled)}{why}"
        case Prepared():
            name = ", ".join(f"{key} {value}" for key, value in event.wire.items())
            return f"on the wire it is {name}"
        case PlaceRefused():
            return f"refused: {event.reason}"
        case OutcomeUnknown():
            return f"no answer: {event.reason}; the venue is asked, nothing is sent again"
        case CancelRequested() | CancelResult() | AmendRequested() | AmendResult():
            return _say_request(event)


def _say_request(event: CancelRequested | CancelResult | AmendRequested | AmendResult) -> str:
    match event:
        case CancelRequested():
            return "cancel requested"
        case AmendRequested():
            return f"amendment requested: {plain(event.quantity)} at {plain(event.price)}"
        case CancelResult() | AmendResult():
            what = "cancel" if isinstance(event, CancelResult) else "amendment"
            return f"{what} {event.outcome.value.lower()}{': ' + event.reason if event.reason else ''}"


def _average(fills: Iterable[Fill]) -> str:
    quantity = sum((fill.quantity for fill in fills), _ZERO)
    if not quantity:
        return ""
    notional = sum((fill.price * fill.quantity for fill in fills), _ZERO)
    return plain(round(notional / quantity, 8))
