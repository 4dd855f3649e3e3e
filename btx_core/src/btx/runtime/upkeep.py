"""What a session reads of the venue now and then: its clock, what fees are, what their coins are worth. On btx-io."""

import functools
from collections.abc import Callable, Collection

from btx.errors import BtxError
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.plugins import Venue
from btx.ports import Feed, Store
from btx.rules.symbols import perpetual_of
from btx.runtime.facts import Facts
from btx.runtime.guard import Guard
from btx.runtime.timekeeping import Timekeeper

__all__ = ("Upkeep",)

_CLOCK_READINGS = 3
_CLOCK_GRAIN_NS = 2_000_000  # venues name whole milliseconds, and clocks drift until the next reading


class Upkeep:
    """Keeps the facts of a venue as they are; ``fault`` hears what could not be read."""

    def __init__(
        self,
        *,
        venue: Venue,
        store: Store,
        feed: Feed,
        facts: Facts,
        guard: Guard,
        period_s: float,
        note: Callable[[str, str], None],
        fault: Callable[[str, Exception], None],
        progressed: Callable[[], None],
    ) -> None:
        self._venue = venue
        self._store = store
        self._feed = feed
        self._facts = facts
        self._guard = guard
        self._period_s = period_s
        self._note = note
        self._fault = fault
        self._progressed = progressed
        self._timekeeper: Timekeeper | None = None
        self._with_fees: set[str] = set()  # symbols whose fees were asked for

    async def run(self) -> None:
        """Keep time, and read the rates anew with it, until cancelled."""

        async def read() -> None:
            try:
                await self.set_clock()
                await self.refresh_rates()
            except Exception as error:  # noqa: BLE001 -- told, and tried again: the clock must go on
                self._fault("reading the venue's clock", error)

        self._timekeeper = Timekeeper(read=read, period_s=self._period_s, on_read=self._progressed)
        await self._timekeeper.run()

    @property
    def is_doubted(self) -> bool:
        """Our clock is known to be wrong, and the venue's has not been read since."""
        return self._timekeeper is not None and self._timekeeper.is_doubted

    def doubt(self) -> None:
        """Have the clock read at once: the venue found one of our time stamps wrong."""
        if self._timekeeper is not None:
            self._timekeeper.doubt()

    async def set_clock(self) -> None:
        """Read the venue's clock; of several answers the fastest says most, and the first one dials as well.

        Raises:
            BtxError: the venue does not answer.
        """
        clock = self._facts.clock

        async def reading() -> tuple[int, int]:  # measured around the one request, not around its waits and retries
            before_ns = clock.wire_ns()
            venue_ns = await self._store.server_time_ns()
            after_ns = clock.wire_ns()
            return after_ns - before_ns, venue_ns - (before_ns + after_ns) // 2

        took_ns, error_ns = min([await self._guard.read("time", reading) for _ in range(_CLOCK_READINGS)])
        clock.offset_ns += error_ns
        clock.doubt_ns = took_ns // 2 + _CLOCK_GRAIN_NS

    async def refresh_rates(self) -> None:
        """Learn what fees paid in a discount coin are worth, if the account holds any.

        Raises:
            BtxError: the venue does not answer.
        """
        facts = self._facts
        currency = facts.settings.currency
        samples = tuple(facts.instruments.values())[:1]  # a venue has one discount coin for all its instruments
        for asset in {self._venue.commission(each, facts.account).discount_asset for each in samples} - {currency}:
            held = facts.account.balances.get(asset) if facts.account is not None and asset is not None else None
            if asset is None or held is None or not held.total:
                continue
            plain = f"{asset}/{currency}"
            symbol = plain if plain in facts.instruments else perpetual_of(plain)
            if symbol not in facts.instruments:
                continue
            trade = await self._guard.read("last_price", functools.partial(self._feed.last_price, symbol=symbol))
            if trade is not None:
                facts.rates[asset, currency] = trade.price

    def lacks_fees(self, symbol: str) -> bool:
        """Say whether nobody has asked yet what the account pays for an instrument."""
        return symbol not in self._with_fees

    async def learn_fees(self, instruments: Collection[Instrument]) -> None:
        """Read what the account itself pays; where the venue does not tell, the adapter's table goes on to count."""
        new = [each for each in instruments if self.lacks_fees(each.symbol)]
        self._with_fees |= {each.symbol for each in new}
        told: dict[str, FeeSchedule] = {}
        try:
            for each in new:  # a venue counts each
                told |= await self._guard.read("fees", functools.partial(self._store.fees, instruments=(each,)))
        except BtxError as error:
            self._fault("reading the account's fees", error)
        self._facts.fees.update(told)
        for symbol, schedule in told.items():
            rates = f"maker {schedule.maker * 100:f}%, taker {schedule.taker * 100:f}%"
            tier = self._facts.account.fee_tier if self._facts.account is not None else None
            self._note("FEES", f"{symbol}: {rates}, tier {tier or schedule.tier}")
