"""What chaos compares: each book that is not as the others is found, and named."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.model.instrument import InstrumentKind
from btx.model.journal import Event, Halted, Intent, Sent
from btx.model.order import Leg, OrderType, Status
from btx.model.venue import Environment
from btx.rules.orders import apply, new_order
from btx.storage.journal import open_journal
from btx.tools.chaos import Job, _usual
from btx.tools.chaos_books import Books, _moved
from tests.values import BTC, d, fill, leg, report

Rows = dict[str, Any]


def intent(of: Leg) -> Intent:
    return Intent(leg=of, environment=Environment.SIM, session="toy/sim/spot", run="r")


def books(folder: Path, *, change: Callable[[Rows], object] = lambda _rows: None, halted: bool = False) -> list[str]:
    """Return what differs between a journal with one filled order, its ledger, and what the strategy was told."""
    path = folder / "toy" / "sim" / "spot" / "12345678" / "chaos" / "journal.sqlite"
    told = fill(quantity=6, fee=Decimal("0.006"), fee_asset="USDT")
    order = leg(order_type=OrderType.LIMIT)

    async def write() -> None:
        journal = open_journal(path)
        for record in (
            intent(order),
            Sent(client_order_id=order.client_order_id, time_ns=1),
            Event(order_event=told),
            Event(order_event=report(Status.FILLED, filled=order.quantity)),
            *((Halted(reason="a balance", time_ns=1),) if halted else ()),
        ):
            await journal.append(record, durable=False)
        journal.close()

    asyncio.run(write())
    held = str(told.quantity)
    rows: Rows = {
        "orders": [
            {
                "client_order_id": order.client_order_id,
                "status": "FILLED",
                "is_open": False,
            }
        ],
        "fills": [
            {
                "client_order_id": order.client_order_id,
                "fill_id": told.fill_id,
                "price": str(told.price),
                "quantity": held,
                "fee": str(told.fee),
            }
        ],
        "balances": {"USDT": {"free": "100", "locked": "0"}, "BTC": {"free": held, "locked": "0"}},
        "result": {"cash": "100.0", "positions": {"BTC/USDT": held}, "statuses": {}},
        "told": [{"fill": f"BTC/USDT/{told.fill_id}", "recovered": False}],
    }
    change(rows)
    if rows["result"] is not None:
        (folder / "result.json").write_text(json.dumps(rows.pop("result")), encoding="utf-8")
    lines = [json.dumps(each) for each in rows.pop("told")]
    (folder / "told.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return list(Books(folder=folder, ledger=rows).differences())


def test_books_that_agree_have_no_difference(tmp_path: Path) -> None:
    assert books(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rows: rows["orders"].append(dict(rows["orders"][0])), "was placed 2 times"),
        (lambda rows: rows["orders"][0].update(client_order_id="stranger"), "was never written down"),
        (lambda rows: rows["orders"][0].update(is_open=True, status="NEW"), "venue NEW"),
        (lambda rows: rows["orders"].clear(), "is not at the venue"),
        (lambda rows: rows["fills"].clear(), "venue None"),
        (lambda rows: rows["fills"][0].update(fee="0.5"), "fill ("),
        (lambda rows: rows["fills"][0].update(fill_id="other"), "journal None"),
        (lambda rows: rows["result"].update(cash="99.9"), "cash: backtrader 99.9, venue 100"),
        (lambda rows: rows["result"]["positions"].update({"BTC/USDT": "0.0"}), "position BTC/USDT"),
        (lambda rows: rows["told"].clear(), "were never told to the strategy"),
        (lambda rows: rows.update(result=None), "left no word of its end"),
        (
            lambda rows: rows["result"]["statuses"].update({rows["orders"][0]["client_order_id"]: "Accepted"}),
            "the strategy was told Accepted",
        ),
    ],
)
def test_each_book_that_is_not_as_the_others_is_named(
    tmp_path: Path, change: Callable[[Rows], object], text: str
) -> None:
    found = books(tmp_path, change=change)

    assert any(text in each for each in found), found


def test_a_halt_that_nobody_caused_is_a_difference(tmp_path: Path) -> None:
    assert any("halted" in each for each in books(tmp_path, halted=True))


def test_an_account_begins_with_what_is_usual_in_its_market() -> None:
    jobs = [Job(strategy="any.py", market=market) for market in (None, "usdm", "coinm")]

    assert [_usual(job) for job in jobs] == [{"USDT": 100_000}, {"USDT": 100_000}, {"BTC": 10}]


def test_a_fee_in_the_coin_takes_nothing_from_a_position_on_margin() -> None:
    of_spot, of_margin = (
        apply(new_order(leg(2, instrument=instrument)), fill(symbol=instrument.symbol, fee=d("0.1"), fee_asset="BTC"))
        for instrument in (BTC, attrs.evolve(BTC, kind=InstrumentKind.INVERSE))
    )

    assert (_moved(of_spot), _moved(of_margin)) == (d("1.9"), d(2))
