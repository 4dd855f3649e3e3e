"""Instruments, account, fees, leverage and bookings of Bybit's unified account, in one of its markets."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from btx.bridges.verdicts import Operation
from btx.errors import OrderRejectedError, VenueError
from btx.model.account import AccountSnapshot, Booking, KeyRights
from btx.model.derivatives import LeverageTier, MarginMode, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.time import to_ms, to_ms_up
from btx.ports import Context
from btx.rules.symbols import perpetual_of
from btx_bybit import codec
from btx_bybit.api import api, ask, modes, of_symbols, pages, read
from btx_bybit.config import LINEAR, SPOT, require_keys
from btx_bybit.errors import NO_NEED
from btx_bybit.fees import account_rates
from btx_bybit.instruments import instrument as listed
from btx_bybit.limits import INSTRUMENTS_PAGE, LOG_PAGE, POSITIONS_PAGE, SPAN_MS, SPANS

__all__ = ("BybitStore",)

_SETTLE_COINS = ("USDT", "USDC")  # of linear contracts; those of inverse ones are listed without
_MARGIN_MODES = {mode: name for name, mode in codec.MARGIN_MODES.items()}
_POSITION_MODES = {PositionMode.ONE_WAY: 0, PositionMode.HEDGE: 3}
_HEDGED_COIN = "USDT"  # the only one whose contracts have a hedge mode
_TRADING = {SPOT: ("Spot", "SpotTrade")}  # "permissions": a group, and what of it is the right to trade


class BybitStore:
    """The facts of one market."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._market = context.market
        self._api = api(context)
        self._modes = modes(context)

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return instruments by symbol; names the venue does not list are left out.

        A plain name (``BTC/USDT``) is, in a market on margin, that of the
        perpetual, and what was asked for is the key.

        Raises:
            TransportError: the venue was not reached.
        """
        params = {"category": self._market}
        if self._market != SPOT:
            params["limit"] = str(INSTRUMENTS_PAGE)
        rows = await pages(self._api, "publicGetV5MarketInstrumentsInfo", params)
        read_rows = (read(listed, row, market=self._market) for row in rows)
        found = {each.symbol: each for each in read_rows if each is not None}
        self._api.symbols.update({each.venue_symbol: each.symbol for each in found.values()})
        if symbols is None:
            return found
        names = {symbol: symbol if self._market == SPOT else perpetual_of(symbol) for symbol in symbols}
        return {symbol: found[name] for symbol, name in names.items() if name in found}

    async def account(self) -> AccountSnapshot:
        """Return wallet balances and open positions now, and the modes of the account.

        The venue stamps no wallet: it is as of the moment it was asked for.

        Raises:
            MissingSecretError: there is no key.
            AuthenticationError: the key is not accepted.
            ConfigError: the account is in a mode that is not modelled.
        """
        require_keys(self._context)
        is_margined = self._market != SPOT
        info: Mapping[str, Any] = {}
        held: list[Mapping[str, Any]] = []
        stated: list[Mapping[str, Any]] = []
        asked_ns = self._context.clock.market_ns()
        wallet = await self._ask("GetV5AccountWalletBalance", accountType="UNIFIED")
        if is_margined:
            info = await self._ask("GetV5AccountInfo")
            for each in self._context.traded():  # of others the venue tells nothing, unless they have a position
                stated += await self._positions(symbol=each.venue_symbol)
            # The positions last: what they are worth is newer than the wallet then, never older.
            held = await self._held()
        found = read(
            _account,
            wallet,
            info=info,
            held=held,
            stated=stated,
            is_margined=is_margined,
            symbol_of=self._api.symbol,
            time_ns=asked_ns,
        )
        self._modes.hedged.update(row["symbol"] for row in (*stated, *held) if int(row["positionIdx"]))
        return found

    async def server_time_ns(self) -> int:
        """Return the venue's wire clock."""
        return read(codec.server_time, await ask(self._api, "publicGetV5MarketTime", {}))

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:
        """Return the rates of the account's own by symbol: a request each."""
        require_keys(self._context)
        found = {}
        for each in instruments:
            answer = await self._ask("GetV5AccountFeeRate", category=self._market, symbol=each.venue_symbol)
            rows = of_symbols(answer.get("list") or (), {each.venue_symbol: each.symbol})
            found.update({symbol: read(account_rates, row) for symbol, row in rows})
        return found

    async def key_rights(self) -> KeyRights:
        """Return what the key may do."""
        require_keys(self._context)
        trading = _TRADING.get(self._market, ("ContractTrade", "Order"))
        return read(codec.key_rights, await self._ask("GetV5UserQueryApi"), trading=trading)

    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, tuple[LeverageTier, ...]]:
        """Return the risk limits by symbol, lowest first: a request each, and no key is needed."""
        found = {}
        for each in instruments:
            params = {"category": self._market, "symbol": each.venue_symbol}
            rows = await pages(self._api, "publicGetV5MarketRiskLimit", params)
            found[each.symbol] = read(codec.leverage_tiers, rows)
        return found

    async def set_leverage(self, *, instrument: Instrument, leverage: int) -> None:
        """Set an instrument's leverage, of both sides; see :meth:`btx.ports.MarginStore.set_leverage`."""
        await self._set(
            "PostV5PositionSetLeverage",
            category=self._market,
            symbol=instrument.venue_symbol,
            buyLeverage=str(leverage),
            sellLeverage=str(leverage),
        )

    async def set_margin_mode(self, *, instrument: Instrument, mode: MarginMode) -> None:  # noqa: ARG002 -- the port's
        """Set how positions are margined: all of the account's, whatever the instrument.

        See :meth:`btx.ports.MarginStore.set_margin_mode`.
        """
        require_keys(self._context)
        info = await self._ask("GetV5AccountInfo")
        if info.get("marginMode") != _MARGIN_MODES[mode]:
            await self._set("PostV5AccountSetMarginMode", setMarginMode=_MARGIN_MODES[mode])

    async def set_position_mode(self, *, mode: PositionMode) -> None:
        """Set whether instruments have one position or two: all contracts in USDT, the others have one always.

        For all at once the venue leaves out, without a word, what has a position or an
        open order: so those that are traded are switched by name, too, and positions looked at.
        """
        if self._market != LINEAR:
            if mode is PositionMode.HEDGE:
                raise OrderRejectedError("Bybit's inverse contracts have one position each")
            return
        named = [{"symbol": each.venue_symbol} for each in self._context.traded() if each.settle == _HEDGED_COIN]
        for wanted in ({"coin": _HEDGED_COIN}, *named):
            await self._set("PostV5PositionSwitchMode", category=LINEAR, mode=_POSITION_MODES[mode], **wanted)
        for row in await self._positions(settleCoin=_HEDGED_COIN):
            if (int(row["positionIdx"]) != 0) is not (mode is PositionMode.HEDGE):
                raise OrderRejectedError(f"Bybit keeps the position mode of {row['symbol']}: it has a position")
        self._modes.hedged.clear()

    async def bookings(self, *, start_ns: int) -> Sequence[Booking]:
        """Return every movement of money from ``start_ns`` on (market time), of half a year, oldest first.

        It tells seven days at a time, the newest first.  It is asked for all categories: under one there were no
        transfers and no conversions, says the manual of its predecessor (derivatives/unified/transaction-log, 2023).
        """
        require_keys(self._context)
        now_ms = to_ms(self._context.clock.market_ns())
        start_ms = max(to_ms_up(start_ns), now_ms - SPANS * SPAN_MS, 0)
        params = {"accountType": "UNIFIED", "limit": str(LOG_PAGE)}
        found: list[Booking] = []
        for span_ms in range(start_ms, now_ms + 1, SPAN_MS):
            until = {"startTime": str(span_ms), "endTime": str(span_ms + SPAN_MS - 1)}
            rows = await pages(self._api, "privateGetV5AccountTransactionLog", params | until)
            for row in rows:
                found += read(codec.bookings, row, market=self._market, symbol_of=self._api.symbol)
        return tuple(sorted(found, key=lambda each: each.time_ns))

    async def _held(self) -> list[Mapping[str, Any]]:
        if self._market != LINEAR:
            return await self._positions()
        return [row for coin in _SETTLE_COINS for row in await self._positions(settleCoin=coin)]

    async def _positions(self, **params: str) -> list[Mapping[str, Any]]:
        asked = {"category": self._market, "limit": str(POSITIONS_PAGE), **params}
        return await pages(self._api, "privateGetV5PositionList", asked)

    async def _ask(self, path: str, **params: Any) -> Mapping[str, Any]:
        return await ask(self._api, f"private{path}", params)

    async def _set(self, path: str, **params: Any) -> None:
        require_keys(self._context)
        try:
            await ask(self._api, f"private{path}", params, operation=Operation.PLACE)
        except VenueError as error:
            if str(error.code) not in NO_NEED:
                raise


def _account(answer: Mapping[str, Any], **facts: Any) -> AccountSnapshot:
    return codec.account(answer["list"][0], **facts)
