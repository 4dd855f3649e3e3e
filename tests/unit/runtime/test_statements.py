"""The account written down as it stood: hourly of market time, and what it is worth as far as prices are known."""

from decimal import Decimal
from typing import Any

from btx.config import Settings
from btx.model.account import AccountSnapshot, Balance, Booking, BookingKind
from btx.model.journal import AccountState
from btx.model.time import NS_PER_HOUR
from btx.runtime.facts import Facts
from btx.runtime.ledger import Ledger
from btx.runtime.statements import Statements
from tests.perpetuals import LINEAR


class Written:
    def __init__(self) -> None:
        self.records: list[AccountState] = []

    def post(self, record: Any) -> None:
        self.records.append(record)


class Desk:
    """Statements of an account with so much of each asset."""

    def __init__(self, *, margined: bool = False, known: bool = True, **totals: int) -> None:
        self.now_ns, self.journal = 5 * NS_PER_HOUR + 7, Written()
        self.facts = Facts(settings=Settings())
        self.ledger = Ledger(margined=margined, instruments=lambda: {LINEAR.symbol: LINEAR})
        if known:
            held = {asset: Balance(free=Decimal(total), locked=Decimal(0)) for asset, total in totals.items()}
            self.ledger.take(AccountSnapshot(balances=held, time_ns=0), compared=())
        journal: Any = self.journal
        self.statements = Statements(journal=journal, facts=self.facts, ledger=self.ledger, now_ns=lambda: self.now_ns)

    def at(self, hours: float) -> None:
        self.now_ns = int(hours * NS_PER_HOUR)
        self.statements.on_time(self.now_ns)

    @property
    def told(self) -> list[tuple[str, Any]]:
        return [(each.reason, dict(each.equity)) for each in self.journal.records]


FUNDING = Booking(booking_id="1", kind=BookingKind.FUNDING, asset="USDT", amount=Decimal(-1), time_ns=0)
TRANSFER = Booking(booking_id="2", kind=BookingKind.TRANSFER, asset="USDT", amount=Decimal(9), time_ns=0)


def test_each_hour_of_market_time_is_written_down_once_and_none_before_the_start() -> None:
    desk = Desk(USDT=100)
    desk.at(4.5)
    desk.statements.on_booking(FUNDING)  # what was booked before is in the first statement
    desk.at(5.2)
    desk.statements.write("START")
    for hours in (5.5, 5.9, 6, 6.5, 9):
        desk.at(hours)

    assert [(each.reason, each.time_ns) for each in desk.journal.records] == [
        ("START", int(5.2 * NS_PER_HOUR)),
        ("HOUR", 6 * NS_PER_HOUR),
        ("HOUR", 9 * NS_PER_HOUR),
    ]


def test_a_funding_is_a_statement_and_other_bookings_are_not() -> None:
    desk = Desk(margined=True, USDT=100)
    desk.statements.write("START")
    for booking in (TRANSFER, FUNDING):
        desk.ledger.on_booking(booking)
        desk.statements.on_booking(booking)

    assert desk.told == [("START", {"USDT": 100}), ("FUNDING", {"USDT": 108})]


def test_what_is_owned_is_worth_something_once_every_price_is_known() -> None:
    desk = Desk(USDT=100, BTC=2, DUST=0)
    desk.statements.write("START")
    desk.facts.rates["BTC", "USDT"] = Decimal(50)
    desk.statements.write("END")

    assert desk.told == [("START", {}), ("END", {"USDT": 200})]
    assert desk.journal.records[0].wallet == {"USDT": 100, "BTC": 2}


def test_nothing_is_written_before_anything_is_known() -> None:
    desk = Desk(known=False)
    desk.statements.write("START")

    assert desk.journal.records == []
