"""What a margined market adds to a session: how it is traded, mark prices, bookings, and warnings. Lives on btx-io."""

import difflib
import functools
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from decimal import Decimal
from typing import Any

from btx.errors import ConfigError, OrderRejectedError
from btx.model.account import AccountSnapshot, MarginCall, SymbolTerms
from btx.model.derivatives import MarginMode, MarkPrice, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import PositionSide
from btx.model.venue import Capabilities, Channel
from btx.ports import MarginFeed, MarginStore
from btx.rules.symbols import perpetual_of
from btx.rules.wallet import Key, Terms
from btx.runtime.bookings import BookingDesk
from btx.runtime.facts import Facts
from btx.runtime.guard import Guard
from btx.runtime.ledger import Ledger
from btx.runtime.margining import Margining
from btx.runtime.marks import MarkSlot, OnMark

__all__ = ("MarginSide",)


class MarginSide:
    """Everything about an account on margin that is no order."""

    def __init__(
        self,
        *,
        title: str,
        store: MarginStore,
        feed: MarginFeed,
        facts: Facts,
        guard: Guard,
        ledger: Ledger,
        bookings: BookingDesk,
        margining: Margining,
        capabilities: Capabilities,
        wanted: Callable[[], Collection[Key]],
        open_slot: Callable[[Instrument, Channel, MarkSlot], None],
        start: Callable[[Coroutine[Any, Any, None], str], Awaitable[None]],
        note: Callable[[str, str], None],
        fees: Callable[[Instrument], FeeSchedule],
    ) -> None:
        self._fees = fees
        self._title = title
        self._store = store
        self._feed = feed
        self._facts = facts
        self._guard = guard
        self._ledger = ledger
        self.bookings = bookings
        self._margining = margining
        self._capabilities = capabilities
        self._wanted = wanted
        self._open_slot = open_slot
        self._start = start
        self._note = note
        self._told: Mapping[str, SymbolTerms] = {}  # how the account trades each instrument, says the venue
        self._watched: set[str] = set()
        self._warned: set[Key] = set()  # positions that were told to come close to their liquidation

    # --- at start ---------------------------------------------------------------------------------------------------

    async def settle_modes(self) -> None:
        """Make the account as the user wants it, and see whether the strategy's datas fit it.

        Raises:
            ConfigError: they do not, or the venue does not allow it; the text says what to do.
            BtxError: the venue does not answer.
        """
        self._check_leverages()
        account = await self._guard.read("account", self._store.account)
        if account.is_multi_asset:
            raise ConfigError(
                f"the account is in multi-assets mode, whose margin is not modelled: switch it to "
                f"single-asset mode at {self._title}"
            )
        await self._settle_position_mode(account)
        for symbol in sorted({key.symbol for key in self._keys()}):
            if symbol in self._facts.instruments:
                await self._settle_instrument(self._facts.instruments[symbol])

    def _check_leverages(self) -> None:
        listed = {name for symbol in self._facts.instruments for name in (symbol, symbol.partition(":")[0])}
        for symbol in self._margining.leverages:
            if symbol not in listed:  # it would be traded with whatever the account has
                near = difflib.get_close_matches(symbol, sorted(listed), n=1)
                hint = f": did you mean {near[0]!r}?" if near else ": write it like {'BTC/USDT': 5}"
                raise ConfigError(f"leverage= names {symbol!r}, which {self._title} does not list{hint}")

    def _keys(self) -> set[Key]:
        return {Key(perpetual_of(key.symbol), key.position_side) for key in self._wanted()}

    async def _settle_position_mode(self, account: AccountSnapshot) -> None:
        asked, there = self._margining.position_mode, account.position_mode
        needed = self._needed_mode(asked)
        if asked is not None and asked is not there:
            await self._set(
                "set_position_mode",
                functools.partial(self._store.set_position_mode, mode=asked),
                f"switch to position_mode={_word(asked)!r}",
            )
        elif needed is not None and there not in {None, needed}:
            key = min(self._keys(), key=str)
            cure = (
                f"load the store with position_mode={_word(needed)!r}, or switch the account at {self._title}"
                if needed in self._capabilities.position_modes
                else f"switch the account at {self._title}"
            )
            raise ConfigError(f"the account is in {_name(there)} mode, and {_leg(key)}: {cure}")

    def _needed_mode(self, asked: PositionMode | None) -> PositionMode | None:
        """Return the mode that the datas need, None where there is none."""
        keys = self._keys()
        modes = {_mode_of(key) for key in keys}
        if len(modes) > 1:
            raise ConfigError(
                "one data has a position_side and another has none, but an account has one position mode: "
                "give every data position_side='long' or 'short', or none of them"
            )
        needed = next(iter(modes), None)
        if asked is not None and needed not in {None, asked}:
            raise ConfigError(f"position_mode={_word(asked)!r} was asked for, and {_leg(min(keys, key=str))}")
        return needed

    async def _settle_instrument(self, instrument: Instrument) -> None:
        symbol = instrument.symbol
        mode, leverage = self._margining.margin_mode, self._margining.leverage_of(symbol, symbol.partition(":")[0])
        if mode is not None:
            await self._set(
                "set_margin_mode",
                functools.partial(self._store.set_margin_mode, instrument=instrument, mode=mode),
                f"set the margin mode of {symbol} to {mode.value.lower()}",
            )
        if leverage is not None:
            await self._set(
                "set_leverage",
                functools.partial(self._store.set_leverage, instrument=instrument, leverage=leverage),
                f"set the leverage of {symbol} to {leverage}",
            )
            self._facts.leverages[symbol] = leverage

    async def _set(self, operation: str, request: Callable[[], Awaitable[None]], what: str) -> None:
        try:
            await self._guard.read(operation, request)  # what is so already is set again without harm
        except OrderRejectedError as error:
            raise ConfigError(f"{self._title} does not {what}: {error}") from error

    # --- instruments ------------------------------------------------------------------------------------------------

    def watch(self, symbol: str) -> None:
        """A strategy trades this instrument: know its margin, and its mark price from now on."""
        instrument = self._facts.instruments.get(symbol)
        if instrument is None or symbol in self._watched:
            return
        self._watched.add(symbol)
        if Channel.MARK in self._capabilities.channels:
            self._open_slot(instrument, Channel.MARK, OnMark(self._on_mark))
        self._start(self.learn((instrument,)), f"reading how {symbol} is margined")

    async def learn(self, instruments: Collection[Instrument]) -> None:
        """Read what the venue asks of positions in these instruments, and their mark prices.

        Raises:
            BtxError: the venue does not answer.
        """
        new = [each for each in instruments if each.symbol not in self._facts.tiers]
        if not new:
            return
        ask = functools.partial(self._store.leverage_tiers, instruments=new)
        tiers = await self._guard.read("leverage_tiers", ask)
        for instrument in new:
            symbol = instrument.symbol
            self._facts.tiers[symbol] = tuple(tiers.get(symbol, ()))
            self._ledger.trade_on(self._terms(instrument))
            asked = functools.partial(self._feed.mark_price, instrument=instrument)
            self._on_mark(await self._guard.read("mark_price", asked))

    def begin(self, account: AccountSnapshot) -> None:
        """Know what the account's positions say of themselves, and watch them all."""
        self._told = account.terms
        for symbol, terms in account.terms.items():
            if terms.leverage is not None:
                self._facts.leverages.setdefault(symbol, terms.leverage)
        for symbol in {report.symbol for report in account.positions} | {key.symbol for key in self._keys()}:
            self.watch(symbol)

    def _terms(self, instrument: Instrument) -> Terms:
        symbol, account = instrument.symbol, self._facts.margin
        known = account.terms.get(symbol) if account is not None else None
        told = self._told.get(symbol)
        mode = self._margining.margin_mode or (told.margin_mode if told is not None else None)
        if mode is None:
            mode = known.margin_mode if known is not None else MarginMode.CROSS
        return Terms(
            instrument=instrument,
            tiers=self._facts.tiers.get(symbol, ()),
            leverage=self._facts.leverages.get(symbol, known.leverage if known is not None else 1),
            margin_mode=mode,
            closing_fee=self._fees(instrument).taker if self._capabilities.charges_closing else Decimal(0),
        )

    def _on_mark(self, mark: MarkPrice) -> None:
        known = self._facts.marks.get(mark.symbol)
        if known is not None and mark.time_ns < known.time_ns:
            return
        self._facts.marks[mark.symbol] = mark
        self._ledger.on_mark(mark.symbol, mark.mark_price)

    # --- warnings ---------------------------------------------------------------------------------------------------

    def on_call(self, call: MarginCall) -> None:
        """The venue warns: tell it, once of each position while it is open."""
        account = self._facts.margin
        still = set(account.positions) if account is not None else set()
        self._warned &= still
        for report in call.positions:
            key = Key(report.symbol, report.position_side)
            if key in self._warned:
                continue
            self._warned.add(key)
            at = f", mark price {_plain(report.mark_price)}" if report.mark_price is not None else ""
            side = "" if key.position_side is PositionSide.NET else f" {key.position_side.value}"
            self._note(
                "MARGIN",
                f"{report.symbol}{side}: {self._title} warns that the position of {_plain(report.quantity)} comes "
                f"close to its liquidation{at}: reduce it, or add margin",
            )


def _mode_of(key: Key) -> PositionMode:
    return PositionMode.ONE_WAY if key.position_side is PositionSide.NET else PositionMode.HEDGE


def _word(mode: PositionMode) -> str:
    return mode.value.lower()


def _name(mode: PositionMode | None) -> str:
    return "hedge" if mode is PositionMode.HEDGE else "one-way"


def _leg(key: Key) -> str:
    if key.position_side is PositionSide.NET:
        return f"{key.symbol} is asked for without a position_side"
    return f"{key.symbol} is asked for with position_side={key.position_side.value.lower()!r}"


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
