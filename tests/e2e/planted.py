"""Faults that are planted in one side of a comparison: a venue of the backtest that is wrong in one thing."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs

from btx.bt.backtest import Period, StartingAccount
from btx.bt.trace import trace_run
from btx.bt.venue import VenueBacktestStore
from btx.bt.witness import load_strategy
from btx.config import Settings
from btx.defaults import open_venue
from btx.errors import OrderRejectedError
from btx.model.fees import FeeSchedule
from btx.model.order import Fill, Leg, Receipt
from btx.model.trace import Trace
from btx.model.venue import Scenario
from btx.runtime.inline import InlineSession
from btx.sim.box import Box, SpotBox
from btx.storage.klines import FileBars
from btx.tools.parity import Job
from btx_binance.sim.exchange_info import listings

TICK = Decimal("0.01")


class OneTick(SpotBox):
    """Every fill is told a tick too high."""

    def take_events(self) -> tuple[Any, ...]:
        return tuple(
            attrs.evolve(event, price=event.price + TICK) if isinstance(event, Fill) else event
            for event in super().take_events()
        )


class Late(SpotBox):
    """What happens is told a step later."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._kept: tuple[Any, ...] = ()

    def advance(self, until_ns: int) -> None:
        self._kept = super().take_events()
        super().advance(until_ns)

    def take_events(self) -> tuple[Any, ...]:
        kept, self._kept = self._kept, ()
        return kept


class Refusing(SpotBox):
    """The third order is refused."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.broker = _RefusingBroker(self)


class _RefusingBroker:
    def __init__(self, box: SpotBox) -> None:
        self._inner: Any = box.broker
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def place(self, *, leg: Leg) -> Receipt:
        self._count += 1
        if self._count == 3:
            raise OrderRejectedError("the third is one too many")
        receipt: Receipt = await self._inner.place(leg=leg)
        return receipt


def wrong_tier(scenario: Scenario) -> Box:
    """Return a venue whose account has another fee tier."""
    rates = FeeSchedule(maker=Decimal("0.00075"), taker=Decimal("0.00075"), source="planted")
    return SpotBox(scenario, [attrs.evolve(listing, fees=rates) for listing in listings(scenario)])


def wrong_grid(scenario: Scenario) -> Box:
    """Return a venue of which a coarser grid is believed than it has."""
    return SpotBox(
        scenario,
        [
            attrs.evolve(listing, instrument=attrs.evolve(listing.instrument, step_size=Decimal("0.0001")))
            for listing in listings(scenario)
        ],
    )


def play_on(job: Job, make: Callable[[Scenario], Box]) -> Trace:
    """Run the backtest side of a job on a venue of one's own."""
    venue = open_venue(job.venue)
    store = VenueBacktestStore(
        session=InlineSession(
            venue=venue, market=job.market, settings=Settings(), open_matcher=lambda: make(job.scenario)
        ),
        title=venue.info.title,
        source=FileBars(files=dict(job.data)),
        intervals=venue.info.capabilities[job.market].intervals,
        period=Period(until_ns=job.span_ns),
        account=StartingAccount(cash=Decimal(0), currency="USDT", commission=Decimal(0)),
    )
    feeds = [{"dataname": symbol} for symbol in job.data]
    return trace_run(store, load_strategy(job.strategy), feeds, name="backtest", percents=job.percents)
