"""What chaos compares of an account on margin: each book that is not as the others is found, and named."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from btx.model.account import Booking, BookingKind
from btx.model.journal import Booked, BookingDelivered, Event, Intent, Record, Sent, Snapshot
from btx.model.order import Leg, OrderType, Status
from btx.model.venue import Environment
from btx.storage.journal import open_journal
from btx.tools.chaos_books import Books
from tests.perpetuals import LINEAR
from tests.values import fill, report, request

Rows = dict[str, Any]
FUNDING = Booking(
    booking_id="7", kind=BookingKind.FUNDING, asset="USDT", amount=Decimal("-0.5"), symbol=LINEAR.symbol, time_ns=1
)


def order(client_order_id: str, **changes: Any) -> Leg:
    asked = request(instrument=LINEAR, quantity=Decimal(2), **changes)
    return Leg(client_order_id=client_order_id, request=asked, quantity=asked.quantity)


def intent(of: Leg) -> list[Record]:
    written = Intent(leg=of, environment=Environment.SIM, session="toy/sim/usdm", run="r")
    return [written, Sent(client_order_id=of.client_order_id, time_ns=1)]


def books(folder: Path, change: Callable[[Rows], object] = lambda _rows: None, *, delivered: str = "7") -> list[str]:
    """Return what differs: two bought, a stop that waits, one funding paid."""
    path = folder / "toy" / "sim" / "usdm" / "12345678" / "chaos" / "journal.sqlite"
    entry, stop = order("a1"), order("s1", order_type=OrderType.STOP_MARKET, price=None, trigger_price=Decimal(90))
    told = fill("1", 2, symbol=LINEAR.symbol, fee=Decimal("0.1"), fee_asset="USDT")
    of_stop = report(Status.NEW, client_order_id="s1", symbol=LINEAR.symbol)

    async def write() -> None:
        journal = open_journal(path)
        for record in (
            Snapshot(balances={"USDT": Decimal(100)}, time_ns=0),
            *intent(entry),
            Event(order_event=told),
            *intent(stop),
            Event(order_event=of_stop),
            Booked(booking=FUNDING),
            BookingDelivered(kind=FUNDING.kind, booking_id=delivered),
        ):
            await journal.append(record, durable=False)
        journal.close()

    asyncio.run(write())
    money = [("FEE", "-0.1"), ("FUNDING", "-0.5"), ("TRANSFER", "100")]
    rows: Rows = {
        "orders": [{"client_order_id": "a1", "status": "FILLED", "is_open": False, "trigger_price": None}],
        "conditionals": [{"client_order_id": "s1", "state": "NEW", "order_id": None, "trigger_price": "90"}],
        "fills": [{"client_order_id": "a1", "fill_id": "1", "price": "100", "quantity": "2", "fee": "0.1"}],
        "balances": {"USDT": {"free": "99.4", "locked": "0"}},
        "positions": [{"symbol": LINEAR.venue_symbol, "position_side": "NET", "quantity": "2"}],
        "wallets": {"USDT": {"wallet": "99.4"}},
        "bookings": [{"kind": kind, "asset": "USDT", "amount": amount} for kind, amount in money],
        "result": {"positions": {f"{LINEAR.symbol} NET": "2.0"}, "statuses": {}},
        "told": [{"fill": f"{LINEAR.symbol}/1", "recovered": False}],
    }
    change(rows)
    (folder / "result.json").write_text(json.dumps(rows.pop("result")), encoding="utf-8")
    lines = [json.dumps(each) for each in rows.pop("told")]
    (folder / "told.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return list(Books(folder=folder, ledger=rows).differences())


def test_books_that_agree_have_no_difference(tmp_path: Path) -> None:
    assert books(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rows: rows["positions"].clear(), f"position {LINEAR.symbol} NET: journal 2, venue 0"),
        (lambda rows: rows["positions"][0].update(quantity="3"), "backtrader 2.0, venue 3"),
        (lambda rows: rows["wallets"]["USDT"].update(wallet="99"), "wallet USDT: journal 99.4, venue 99"),
        (lambda rows: rows["bookings"][0].update(amount="-0.2"), "FEE in USDT: journal -0.1, venue -0.2"),
        (lambda rows: rows["bookings"][1].update(amount="0"), "FUNDING in USDT: journal -0.5, venue 0"),
        (lambda rows: rows["conditionals"].clear(), "order s1 is not at the venue"),
        (lambda rows: rows["conditionals"][0].update(state="CANCELED"), "order s1: journal NEW, venue CANCELED"),
    ],
)
def test_each_book_that_is_not_as_the_others_is_named(
    tmp_path: Path, change: Callable[[Rows], object], text: str
) -> None:
    found = books(tmp_path, change)

    assert any(text in each for each in found), found


def test_a_booking_the_strategy_was_not_told_of_is_named(tmp_path: Path) -> None:
    assert books(tmp_path, delivered="6") == ["bookings 7 were never told to the strategy"]
