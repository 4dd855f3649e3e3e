"""What a session knows, how patient it is, and what it is given from outside."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Protocol

import attrs

from btx.config import Settings
from btx.model.account import AccountSnapshot
from btx.model.derivatives import LeverageTier, MarkPrice
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import OrderRequest
from btx.model.venue import Endpoints
from btx.ports import Clock, Journal, Recording
from btx.rules.backoff import Backoff
from btx.rules.breaker import Breaker
from btx.rules.staleness import Patience
from btx.rules.wallet import Key, MarginAccount
from btx.runtime.bars import BarTimes
from btx.runtime.clock import MarketClock
from btx.runtime.mailbox import Recovered
from btx.runtime.supervisor import REDIAL
from btx.runtime.views import RecentBars

__all__ = ("DEFAULT_TIMING", "Facts", "OpenJournal", "OpenRecording", "Outside", "Timing")

_CLOCK_PERIOD_S = 60.0


@attrs.frozen(kw_only=True)
class Timing:
    """How patient a link is."""

    clock_period_s: float = _CLOCK_PERIOD_S  # between two readings of the venue's clock
    redial: Backoff = REDIAL  # between two connections
    stall_s: float = 60.0  # how long lockstep may stand still
    nudge_s: float = 2.0  # of silence in lockstep, until bars that have closed are asked for
    settle_pause_s: float = 2.0  # between two questions about one order
    patience_s: float | None = None  # until "no such order" is believed; None: the receive window and a margin
    grace_s: float = 1.0  # for the answers to what is being sent, at the end
    bars: BarTimes = BarTimes()  # noqa: RUF009 -- frozen
    patience: Patience = Patience()  # noqa: RUF009 -- frozen; with silent streams
    most_bars: int = 10_000  # in the mailbox of a data; what is above it is fetched when the strategy has caught up
    part_s: float = 1.5  # for one part to end, before it is cancelled
    poll_s: float = 3.0  # between two questions about the orders while the account stream is down
    audit_s: float = 300.0  # between two audits of orders, fills and balances
    outside_s: float = 1.0  # between two looks at what other processes ask
    breaker: Breaker = Breaker()  # noqa: RUF009 -- frozen
    grace_drift_s: float = 1.0  # until a balance that nobody explained is looked into
    booked_s: float = 30.0  # a wallet may differ so long for want of a booking that is not listed yet
    mark_s: float = 60.0  # between two marks in a recording
    dead_man_s: float | None = None  # after which the venue cancels what rests, if nothing is heard of us


DEFAULT_TIMING = Timing()


OpenJournal = Callable[[str, Callable[[str], None]], AbstractContextManager[Journal]]
"""Opens the journal of the account with this key; what goes wrong with it later is told to the callback."""


OpenRecording = Callable[[Clock, Settings, Callable[[str], None]], Recording]
"""Begins a recording with these clocks and secrets; what goes wrong with it later is told to the callback."""


class Outside(Protocol):
    """What reaches a session from other processes, and what it tells them. Called on threads that may wait."""

    def enter(self, *, api_key: str, endpoints: Endpoints | None) -> None:
        """Say that this process trades on the account.

        Raises:
            OSError: it cannot be said.
        """

    def look(
        self, *, halted: str | None, naked: Mapping[str, Decimal], unknown: Collection[str]
    ) -> tuple[tuple[str, str], ...]:
        """Tell what is so, and return what is asked: ``("halt", reason)`` or ``("resume", "")``.

        Raises:
            OSError: the disk does not read.
        """

    def leave(self) -> None:
        """Say that it does no longer. Idempotent."""


@attrs.define(kw_only=True)
class Facts:
    """What is known of a venue and an account; written on btx-io, read by anybody, value by value."""

    settings: Settings
    clock: MarketClock = attrs.field(factory=MarketClock)
    endpoints: Endpoints | None = None
    account: AccountSnapshot | None = None  # as it was at start
    account_now: AccountSnapshot | None = None  # with every update since
    instruments: Mapping[str, Instrument] = attrs.field(factory=dict)
    fees: dict[str, FeeSchedule] = attrs.field(factory=dict)
    rates: dict[tuple[str, str], Decimal] = attrs.field(factory=dict)  # (asset, currency) -> price
    prices: dict[str, Decimal] = attrs.field(factory=dict)  # the last of each instrument, by symbol
    margin: MarginAccount | None = None  # of a margined market: the exact account, by our own count
    marks: dict[str, MarkPrice] = attrs.field(factory=dict)  # the newest, by symbol
    tiers: dict[str, tuple[LeverageTier, ...]] = attrs.field(factory=dict)  # by symbol
    leverages: dict[str, int] = attrs.field(factory=dict)  # by symbol, where the venue or the user has said
    recent: RecentBars = attrs.field(factory=RecentBars)
    halted: str | None = None  # why only reductions may be sent
    recovered: Recovered = attrs.field(factory=Recovered)
    states: dict[str, str] = attrs.field(factory=dict)  # what strategies saved, by name

    @property
    def api_key(self) -> str:
        """The account's key: the user's, or the simulator's first."""
        return self.settings.api_key.reveal()

    def rate(self, asset: str, currency: str) -> Decimal | None:
        """Return the last known price of ``asset`` in ``currency``, None when none is known."""
        if asset == currency:
            return Decimal(1)
        price, inverse = self.rates.get((asset, currency)), self.rates.get((currency, asset))
        return 1 / inverse if price is None and inverse else price

    def last_price(self, instrument: Instrument) -> Decimal | None:
        """Return the last price that is known of an instrument; before any trade its mark price."""
        if not instrument.kind.is_margined:
            return self.rates.get((instrument.base, instrument.quote))
        mark = self.marks.get(instrument.symbol)
        return self.prices.get(instrument.symbol) or (mark.mark_price if mark is not None else None)

    def reference_price(self, instrument: Instrument) -> Decimal | None:
        """Return what the venue's rules measure prices by: of positions on margin the mark price."""
        mark = self.marks.get(instrument.symbol)
        return mark.mark_price if mark is not None else self.last_price(instrument)

    def position(self, request: OrderRequest) -> Decimal:
        """Return the position that an order of a margined market is about."""
        key = Key(request.instrument.symbol, request.position_side)
        held = self.margin.positions.get(key) if self.margin is not None else None
        return held.quantity if held is not None else Decimal(0)

    def equity(self) -> Mapping[str, Decimal]:
        """Return what there is on margin, by asset, with what open positions would bring."""
        account = self.margin
        return {asset: account.equity(asset) for asset in account.wallets} if account is not None else {}
