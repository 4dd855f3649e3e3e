"""Records, and what a journal made of them."""

import asyncio
import threading
from collections.abc import Iterable
from decimal import Decimal

import attrs

from btx.model.journal import Intent, Record, Sent
from btx.model.venue import Environment
from btx.ports import Journal, JournalReader
from tests.values import leg

WAIT_S = 30.0  # a deadline, not a duration


def intent(client_order_id: str = "a1", quantity: int = 6) -> Intent:
    return Intent(
        leg=attrs.evolve(leg(quantity), client_order_id=client_order_id, quantity=Decimal(quantity)),
        environment=Environment.LIVE,
        session="toy/live/spot",
        run="a",
    )


def sent(number: int) -> Sent:
    return Sent(client_order_id=f"a{number}", time_ns=number)


def append(journal: Journal, *records: Record, durable: bool = True) -> None:
    async def one_by_one() -> None:
        for record in records:
            await asyncio.wait_for(journal.append(record, durable=durable), WAIT_S)

    asyncio.run(one_by_one())


def written(journal: JournalReader) -> list[Record]:
    return [record for _, _, record in journal.records()]


def numbers(records: Iterable[Record]) -> list[int]:
    return [record.time_ns for record in records if isinstance(record, Sent)]


def journal_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "btx-journal"]
