"""Instruments, account, fees and time of Binance spot."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from btx.errors import UnknownSymbolError
from btx.model.account import AccountSnapshot, KeyRights
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.venue import Environment
from btx.ports import Context
from btx_binance import codec as common
from btx_binance.api import api, read
from btx_binance.config import require_keys
from btx_binance.spot import codec
from btx_binance.symbols import venue_symbol_of

__all__ = ("SpotStore",)


class SpotStore:
    """Instruments, account and time of Binance spot."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return instruments by symbol; names the venue does not list are left out.

        Raises:
            TransportError: the venue was not reached.
        """
        rows = await self._rows(symbols)
        found = {each.symbol: each for each in (read(codec.instrument, row) for row in rows)}
        self._api.symbols.update({each.venue_symbol: each.symbol for each in found.values()})
        if symbols is None:
            return found
        return {symbol: found[symbol] for symbol in symbols if symbol in found}

    async def account(self) -> AccountSnapshot:
        """Return balances now.

        Raises:
            MissingSecretError: there is no key.
            AuthenticationError: the key is not accepted.
        """
        require_keys(self._context)
        return read(codec.account, await self._api.client.ask("privateGetAccount", {}))

    async def server_time_ns(self) -> int:
        """Return the venue's wire clock."""
        return read(common.server_time, await self._api.client.ask("publicGetTime", {}))

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:
        """Return the rates of the account's own by symbol: a request each."""
        require_keys(self._context)
        return {
            each.symbol: read(
                codec.commission,
                await self._api.client.ask("privateGetAccountCommission", {"symbol": each.venue_symbol}),
            )
            for each in instruments
        }

    async def key_rights(self) -> KeyRights:
        """Return what the key may do; the test network does not tell, it has no ``sapi``."""
        require_keys(self._context)
        if self._context.environment is Environment.TESTNET:
            return KeyRights()
        return read(
            common.key_rights,
            await self._api.client.ask("sapiGetAccountApiRestrictions", {}),
            trading="enableSpotAndMarginTrading",
        )

    async def _rows(self, symbols: Collection[str] | None) -> Sequence[Mapping[str, Any]]:
        if symbols is not None:
            names = json.dumps([venue_symbol_of(symbol, market="spot") for symbol in symbols], separators=(",", ":"))
            try:
                answer = await self._api.client.ask("publicGetExchangeInfo", {"symbols": names})
            except UnknownSymbolError:
                pass  # one unknown name fails them all, and it is not said which: look in the whole list
            else:
                return list(answer["symbols"])
        return list((await self._api.client.ask("publicGetExchangeInfo", {}))["symbols"])
