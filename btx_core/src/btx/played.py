"""The rules of what a backtest plays: from the adapter's tables, and of the history cache from what the venue said."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import attrs

from btx.config import home
from btx.errors import ConfigError, RateLimitedError, TransportError, UnknownSymbolError
from btx.model.account import AccountSnapshot
from btx.model.calendar import Calendar
from btx.model.derivatives import FundingRate
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import OrderRequest
from btx.model.restrictions import Restrictions
from btx.model.time import NS_PER_HOUR
from btx.model.venue import Environment, Scenario, VenueInfo
from btx.plugins import Venue
from btx.rules.account import Terms
from btx.runtime.margining import Margining
from btx.runtime.public import PublicSide, open_public_side
from btx.storage.places import history_folder
from btx.storage.venue_facts import keep_instrument, keep_rates, kept_instruments, rates_file
from btx.worlds import attached

__all__ = ("PlayedRules",)

_log = logging.getLogger("btx")
_STALE_NS = 9 * NS_PER_HOUR  # longer than between two fundings
_Found = TypeVar("_Found")


@attrs.frozen(kw_only=True)
class PlayedRules:
    """A venue's rules for a backtest; see :class:`btx.bt.barsession.VenueRules`.

    Of files everything is from the adapter's tables, and nobody is asked.  Of
    the cache, and of a simulator that runs, an instrument that the tables lack
    and the funding rates are asked for; what the real venue says is kept.
    """

    venue: str
    market: str
    scenario: Scenario | None
    margining: Margining
    open_venue: Callable[[str], Venue]

    @property
    def info(self) -> VenueInfo:
        """The adapter's visiting card."""
        return self._venue.info

    def terms(self, symbol: str) -> Terms:
        """Return an instrument and how it is traded.

        Raises:
            UnknownSymbolError: neither the tables nor the venue know it.
            ConfigError: the venue was not reached, or does not allow the leverage.
        """
        terms = self._listed(symbol)
        wanted = self.margining.leverage_of(symbol, symbol.partition(":")[0])
        most = max((tier.max_leverage for tier in terms.tiers), default=None)
        if wanted is not None and most is not None and wanted > most:
            raise ConfigError(f"{self.info.title} allows a leverage of {most} with {symbol}, not of {wanted}")
        return attrs.evolve(
            terms,
            leverage=wanted or terms.leverage,
            margin_mode=self.margining.margin_mode or terms.margin_mode,
        )

    def fees(self, instrument: Instrument) -> FeeSchedule:
        """Return the rates of an account that has not traded yet."""
        return self._venue.commission(instrument, None)

    def calendar(self, instrument: Instrument) -> Calendar:
        """Return when it trades."""
        return self._venue.calendar(instrument)

    def restrictions(self, instrument: Instrument) -> Restrictions:
        """Return what is restricted beside its filters."""
        return self._venue.restrictions(instrument)

    def rates(self, instrument: Instrument) -> Sequence[FundingRate] | None:
        """Return all funding rates that can be had; None where there are none.

        Raises:
            ConfigError: their file cannot be read.
        """
        from btx.sim.rates import load_rates

        file = self.scenario.funding.get(instrument.symbol) if self.scenario is not None else None
        if file is not None:
            return load_rates(file, symbol=instrument.symbol)
        if self._plays_files:
            return None
        kept = rates_file(self._folder, instrument)
        known = load_rates(kept, symbol=instrument.symbol) if kept.is_file() and self._attach is None else ()
        if known and known[-1].time_ns > time.time_ns() - _STALE_NS:
            return known
        try:
            fresh = self._ask(
                lambda public: self._rates_since(public, instrument, known[-1].time_ns + 1 if known else 0)
            )
        except (TransportError, RateLimitedError) as error:
            _log.warning("the funding rates of %s cannot be fetched now: %s", instrument.symbol, error)
            return known or None
        if self._attach is None:
            keep_rates(self._folder, instrument, (*known, *fresh))
        return (*known, *fresh)

    def veto(self, request: OrderRequest, account: AccountSnapshot) -> str | None:
        """Ask the extensions."""
        return self._venue.check_order(request, account)

    # --- where it is from ---------------------------------------------------------------------------------------

    @property
    def _venue(self) -> Venue:
        return self.open_venue(self.venue)

    @property
    def _plays_files(self) -> bool:
        return self.scenario is not None and self.scenario.attach is None

    @property
    def _attach(self) -> str | None:
        return self.scenario.attach if self.scenario is not None else None

    @property
    def _folder(self) -> Path:
        return history_folder(home(), venue=self.venue, environment=Environment.BACKTEST, market=self.market)

    def _listed(self, symbol: str) -> Terms:
        played = self.scenario.data if self.scenario is not None else {}
        data = {symbol: played[symbol]} if symbol in played else {}
        tables = self._venue.listed(Scenario(market=self.market, symbols=(symbol,), data=data))
        if self._plays_files:
            if not tables:
                raise UnknownSymbolError(
                    f"the adapter {self.venue!r} has no rules of {symbol} in its tables: name its file in "
                    'btx.scenario(data={...}), or load it with fills="stock", which needs none'
                )
            return tables[0]
        known = kept_instruments(self._folder) if self._attach is None else {}
        instrument = known.get(symbol)
        if instrument is None and not tables:
            instrument = self._asked_for(symbol)
        if instrument is None:
            return tables[0]
        return attrs.evolve(tables[0], instrument=instrument) if tables else Terms(instrument=instrument)

    def _asked_for(self, symbol: str) -> Instrument:
        async def ask(public: PublicSide) -> Instrument | None:
            store = self._venue.store(public.context)
            found = await public.guard.read("instruments", lambda: store.instruments(symbols=[symbol]))
            return found.get(symbol)

        try:
            instrument = self._ask(ask)
        except (TransportError, RateLimitedError) as error:
            raise ConfigError(
                f"the rules of {symbol} are in no table of the adapter {self.venue!r}, and the venue cannot be asked "
                f'now ({error}): fills="stock" needs none'
            ) from error
        if instrument is None:
            raise UnknownSymbolError(f"{self.info.title} lists no {symbol}: write it like BTC/USDT")
        if self._attach is None:
            keep_instrument(self._folder, instrument)
        return instrument

    async def _rates_since(self, public: PublicSide, instrument: Instrument, start_ns: int) -> list[FundingRate]:
        feed: Any = self._venue.feed(public.context)  # of a market on margin it is a MarginFeed
        end_ns = public.clock.market_ns()
        rates: list[FundingRate] = []

        async def page() -> Sequence[FundingRate]:
            since_ns = rates[-1].time_ns + 1 if rates else start_ns
            found: Sequence[FundingRate] = await feed.funding_rates(
                instrument=instrument, start_ns=since_ns, end_ns=end_ns
            )
            return found

        while found := await public.guard.read("funding_rates", page):
            rates += found
        return rates

    def _ask(self, work: "Callable[[PublicSide], Awaitable[_Found]]") -> _Found:
        async def asked() -> _Found:
            endpoints = await attached(self._attach) if self._attach is not None else None
            environment = Environment.LIVE if endpoints is None else Environment.SIM
            async with open_public_side(
                self._venue, environment=environment, market=self.market, endpoints=endpoints
            ) as public:
                return await work(public)

        # A notebook has a loop running on this thread.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="btx-rules") as thread:
            return thread.submit(asyncio.run, asked()).result()
