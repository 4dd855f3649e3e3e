"""Instruments, account, leverage and bookings of USD-M and COIN-M."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from btx.bridges.ccxt import Operation
from btx.errors import DataError, VenueError
from btx.model.account import AccountSnapshot, Booking, KeyRights
from btx.model.derivatives import LeverageTier, MarginMode, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.time import to_ms_up
from btx.model.venue import Environment
from btx.ports import Context
from btx.rules.symbols import perpetual_of
from btx_binance import codec as common
from btx_binance.api import api, of_symbols, read
from btx_binance.config import require_keys
from btx_binance.fees import account_rates
from btx_binance.futures import codec
from btx_binance.futures.brackets import brackets_of
from btx_binance.futures.contracts import instrument as contract
from btx_binance.futures.market import market_of
from btx_binance.limits import PAGE

__all__ = ("FuturesStore",)

_MARGIN_TYPES = {MarginMode.CROSS: "CROSSED", MarginMode.ISOLATED: "ISOLATED"}
_NO_NEED = frozenset({"-4046", "-4059"})  # it is so already


class FuturesStore:
    """The facts of one of the futures markets."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._market = market_of(context)
        self._api = api(context)

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return instruments by symbol; names the venue does not list are left out.

        A plain name (``BTC/USDT``) is that of the perpetual, and what was asked
        for is the key.

        Raises:
            TransportError: the venue was not reached.
        """
        rows = (await self._api.client.ask(self._market.public("GetExchangeInfo"), {}))["symbols"]
        contracts = (read(contract, row, kind=self._market.kind) for row in rows)
        found = {each.symbol: each for each in contracts if each is not None}
        self._api.symbols.update({each.venue_symbol: each.symbol for each in found.values()})
        if symbols is None:
            return found
        names = {symbol: perpetual_of(symbol) for symbol in symbols}
        return {symbol: found[name] for symbol, name in names.items() if name in found}

    async def account(self) -> AccountSnapshot:
        """Return wallet balances and open positions now, and the modes and the fee tier of the account.

        Raises:
            MissingSecretError: there is no key.
            AuthenticationError: the key is not accepted.
        """
        require_keys(self._context)
        # The positions last: what they are worth is newer than the wallet then, never older.
        if self._market.name == "usdm":
            config = await self._ask("GetAccountConfig")
            settings = {row["symbol"]: row for row in await self._ask("GetSymbolConfig")}
            row = await self._api.client.ask(self._market.account, {})
        else:
            mode = await self._ask("GetPositionSideDual")
            row = await self._api.client.ask(self._market.account, {})
            config, settings = {**row, **mode}, {}
        return read(
            codec.account,
            row,
            config=config,
            positions=await self._api.client.ask(self._market.positions, {}),
            settings=settings,
            symbol_of=self._api.symbol,
        )

    async def server_time_ns(self) -> int:
        """Return the venue's wire clock."""
        return read(common.server_time, await self._api.client.ask(self._market.public("GetTime"), {}))

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:
        """Return the rates of the account's own by symbol: a request each, and for USD-M whether it burns BNB."""
        require_keys(self._context)
        is_burning = self._market.name == "usdm" and bool((await self._ask("GetFeeBurn")).get("feeBurn"))
        return {
            each.symbol: read(
                account_rates,
                await self._ask("GetCommissionRate", symbol=each.venue_symbol),
                is_burning=is_burning,
            )
            for each in instruments
        }

    async def key_rights(self) -> KeyRights:
        """Return what the key may do; the test network does not tell, it has no ``sapi``."""
        require_keys(self._context)
        if self._context.environment is Environment.TESTNET:
            return KeyRights()
        row = await self._api.client.ask("sapiGetAccountApiRestrictions", {})
        return read(common.key_rights, row, trading="enableFutures")

    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, tuple[LeverageTier, ...]]:
        """Return the leverage brackets by symbol, lowest first; all are asked for at once where more than one is.

        The venue tells them to a key only: without one they are those of a table, see ``brackets``.
        """
        if not self._context.settings.api_key:
            return {each.symbol: brackets_of(each) for each in instruments}
        wanted = {each.venue_symbol: each.symbol for each in instruments}
        params = {"symbol": next(iter(wanted))} if len(wanted) == 1 else {}
        rows = await self._api.client.ask(self._market.brackets, params)
        listed = [rows] if isinstance(rows, Mapping) else rows  # one alone comes without a list, at times
        return {symbol: read(codec.leverage_tiers, row) for symbol, row in of_symbols(listed, wanted)}

    async def set_leverage(self, *, instrument: Instrument, leverage: int) -> None:
        """Set an instrument's leverage; see :meth:`btx.ports.MarginStore.set_leverage`."""
        await self._set("PostLeverage", symbol=instrument.venue_symbol, leverage=leverage)

    async def set_margin_mode(self, *, instrument: Instrument, mode: MarginMode) -> None:
        """Set how an instrument's position is margined; see :meth:`btx.ports.MarginStore.set_margin_mode`."""
        await self._set("PostMarginType", symbol=instrument.venue_symbol, marginType=_MARGIN_TYPES[mode])

    async def set_position_mode(self, *, mode: PositionMode) -> None:
        """Set whether instruments have one position or two: of USD-M and COIN-M together, since 2026-06-30."""
        await self._set("PostPositionSideDual", dualSidePosition="true" if mode is PositionMode.HEDGE else "false")

    async def bookings(self, *, start_ns: int) -> Sequence[Booking]:
        """Return every movement of money from ``start_ns`` on (market time), oldest first; the venue keeps 3 months.

        A full page is followed by one from its last millisecond on, whose
        repeats are left out.

        Raises:
            DataError: one millisecond has more than a page.
        """
        require_keys(self._context)
        found: dict[str, Booking] = {}
        start_ms = max(to_ms_up(start_ns), 0)
        while True:
            rows = await self._ask("GetIncome", startTime=start_ms, limit=PAGE)
            for each in self._bookings(rows):
                found.setdefault(each.booking_id, each)
            if len(rows) < PAGE:
                return tuple(sorted(found.values(), key=lambda each: each.time_ns))
            last_ms = max(int(row["time"]) for row in rows)
            if last_ms == start_ms:
                raise DataError(f"Binance lists more than {PAGE} bookings at {start_ms} ms, and only those")
            start_ms = last_ms

    def _bookings(self, rows: Iterable[Any]) -> Iterable[Booking]:
        return (read(codec.booking, row, symbol_of=self._api.symbol) for row in rows)

    async def _ask(self, path: str, **params: Any) -> Any:
        return await self._api.client.ask(self._market.private(path), params)

    async def _set(self, path: str, **params: Any) -> None:
        require_keys(self._context)
        try:
            await self._api.client.ask(self._market.private(path), params, operation=Operation.PLACE)
        except VenueError as error:
            if str(error.code) not in _NO_NEED:
                raise
