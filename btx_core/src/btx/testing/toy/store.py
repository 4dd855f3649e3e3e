"""Instruments, account, fees and time.

REPLACE: the paths.
"""

from collections.abc import Collection, Mapping

from btx.bridges.answers import by_symbol
from btx.model.account import AccountSnapshot, KeyRights
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.ports import Context
from btx.testing.toy import codec
from btx.testing.toy.api import api

__all__ = ("ToyStore",)


class ToyStore:
    """The venue's facts; see :class:`btx.ports.Store`."""

    def __init__(self, context: Context) -> None:
        self._http = api(context)

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return instruments by symbol; names the venue does not list are left out."""
        return by_symbol(await self._http.rows("/v1/instruments", codec.instrument), symbols)

    async def account(self) -> AccountSnapshot:
        """Return balances now."""
        return await self._http.get("/v1/account", codec.account, signed=True)

    async def server_time_ns(self) -> int:
        """Return the venue's wire clock."""
        return await self._http.get("/v1/time", codec.time_ns)

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:
        """Return the rates of the account's own by symbol: a request each."""
        return {
            each.symbol: await self._http.get("/v1/fees", codec.fees, {"symbol": each.venue_symbol}, signed=True)
            for each in instruments
        }

    async def key_rights(self) -> KeyRights:
        """Return what the key may do."""
        return await self._http.get("/v1/key", codec.key_rights, signed=True)
