"""A real account, of which the box has none: the library's own answers, in its own words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from btx.config import Secret, Settings
from btx.errors import OutcomeUnknownError
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import Fill, Leg, OrderReport, OrderRequest, OrderType, Side, TimeInForce
from btx.model.venue import Environment
from btx.ports import Context
from btx_futu.broker import FutuBroker
from btx_futu.codec import time_ns
from btx_futu.opend import Line, opend
from tests.unit.futu.rig import Clock

HONG_KONG = "Asia/Hong_Kong"
MONDAY, TUESDAY = "2025-06-02 10:00:00", "2025-06-03 10:00:00"
SHARE = Instrument(
    venue="futu",
    symbol="HK.00700",
    venue_symbol="HK.00700",
    kind=InstrumentKind.STOCK,
    base="HK.00700",
    quote="HKD",
    settle="HKD",
    tick_size=Decimal("0.2"),
    step_size=Decimal(100),
    min_quantity=Decimal(100),
)
ORDER = {
    "code": "HK.00700", "order_id": "FS1", "remark": "a1", "order_status": "FILLED_ALL", "order_type": "NORMAL",
    "trd_side": "BUY", "qty": 300.0, "price": 400.0, "dealt_qty": 300.0, "dealt_avg_price": 400.0,
    "updated_time": "2025-06-03 09:31:00", "last_err_msg": "",
}  # fmt: skip
DEAL = {"code": "HK.00700", "order_id": "FS1", "trd_side": "BUY", "price": 400.0}


class Library:
    """What futu-api's trade context answers to questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.today: list[dict[str, Any]] = []
        self.before: list[dict[str, Any]] = []

    def get_acc_list(self) -> tuple[int, pd.DataFrame]:
        return 0, pd.DataFrame([{"acc_id": 7, "trd_env": "REAL"}])

    def order_list_query(self, **_words: Any) -> tuple[int, pd.DataFrame]:
        return 0, pd.DataFrame([ORDER])

    def deal_list_query(self, **_words: Any) -> tuple[int, pd.DataFrame]:
        self.asked.append("today")
        return 0, pd.DataFrame(self.today)

    def history_deal_list_query(self, **_words: Any) -> tuple[int, pd.DataFrame]:
        self.asked.append("before")
        return 0, pd.DataFrame(self.before)

    def place_order(self, **_words: Any) -> tuple[int, pd.DataFrame]:
        raise RuntimeError("dictionary changed size during iteration")

    def close(self) -> None:
        """Nothing is held."""


def deal(number: int, quantity: float, moment: str) -> dict[str, Any]:
    return {**DEAL, "deal_id": f"d{number}", "qty": quantity, "create_time": moment}


def leg(signal: str) -> Leg:
    request = OrderRequest(
        instrument=SHARE,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal(300),
        price=Decimal(400),
        time_in_force=TimeInForce.GTC,
        signal_ns=time_ns(signal, HONG_KONG),
    )
    return Leg(client_order_id="a1", request=request, quantity=request.quantity)


@asynccontextmanager
async def trading(library: Library, *, now: str = TUESDAY) -> AsyncIterator[FutuBroker]:
    async with AsyncExitStack() as resources:
        context = Context(
            settings=Settings(api_key=Secret("7")),
            environment=Environment.LIVE,
            market="hk",
            endpoints=None,
            clock=Clock(time_ns(now, HONG_KONG)),
            resources=resources,
        )
        desk = opend(context)
        line = Line(asyncio.get_running_loop(), None)
        line.context = library
        desk._asked[True] = line
        yield FutuBroker(context)


def test_an_order_of_the_day_before_has_the_deals_of_both_days_each_once() -> None:
    async def scene() -> None:
        library = Library()
        first, second = deal(1, 100.0, "2025-06-02 15:59:00"), deal(2, 200.0, "2025-06-03 09:31:00")
        library.before, library.today = [first, second], [second]
        async with trading(library) as broker:
            told = await broker.query(leg=leg(MONDAY))

        assert [each.fill_id for each in told if isinstance(each, Fill)] == ["d1", "d2"]
        assert isinstance(told[-1], OrderReport)

    asyncio.run(scene())


@pytest.mark.parametrize(("since", "expected"), [(MONDAY, ["d1", "d2"]), ("2025-06-03 09:30:00", ["d2"])])
def test_fills_since_the_day_before_are_those_of_both_days(since: str, expected: list[str]) -> None:
    async def scene() -> None:
        library = Library()
        library.before, library.today = [deal(1, 100.0, MONDAY)], [deal(2, 200.0, "2025-06-03 09:31:00")]
        async with trading(library) as broker:
            fills = await broker.fills(instrument=SHARE, start_ns=time_ns(since, HONG_KONG))

        assert [each.fill_id for each in fills] == expected
        assert library.asked == ["today", "before"][: len(expected)]  # the list of the days before is dear

    asyncio.run(scene())


def test_an_order_on_which_the_library_breaks_is_not_said_to_have_never_left() -> None:
    async def scene() -> None:
        async with trading(Library()) as broker:
            with pytest.raises(OutcomeUnknownError, match="dictionary changed size"):
                await broker.place(leg=leg(TUESDAY))

    asyncio.run(scene())
