"""Instruments, account, fees and time."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from btx.bridges.verdicts import Operation
from btx.model.account import AccountSnapshot, Booking, KeyRights
from btx.model.derivatives import LeverageTier, MarginMode, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.time import from_ms, to_ms
from btx.ports import Context
from btx.testing.toy import codec
from btx.testing.toy.api import ANSWERS, api
from btx.testing.toy.limits import PAGE

__all__ = ("ToyMarginStore", "ToyStore")


class ToyStore:
    """The venue's facts; see :class:`btx.ports.Store`."""

    def __init__(self, context: Context) -> None:
        self._http = api(context)

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return instruments by symbol; names the venue does not list are left out."""
        rows = await self._http.ask("GET", "/v1/instruments")
        found = {each.symbol: each for each in (ANSWERS.read(codec.instrument, row) for row in rows)}
        return found if symbols is None else {name: found[name] for name in symbols if name in found}

    async def account(self) -> AccountSnapshot:
        """Return balances now."""
        return ANSWERS.read(codec.account, await self._http.ask("GET", "/v1/account", signed=True))

    async def server_time_ns(self) -> int:
        """Return the venue's wire clock."""
        return ANSWERS.read(lambda row: from_ms(int(row["time"])), await self._http.ask("GET", "/v1/time"))

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:
        """Return the rates of the account's own by symbol: a request each."""
        return {
            each.symbol: ANSWERS.read(
                codec.fees, await self._http.ask("GET", "/v1/fees", {"symbol": each.venue_symbol}, signed=True)
            )
            for each in instruments
        }

    async def key_rights(self) -> KeyRights:
        """Return what the key may do."""
        return ANSWERS.read(codec.key_rights, await self._http.ask("GET", "/v1/key", signed=True))


class ToyMarginStore(ToyStore):
    """The facts of the market on margin; see :class:`btx.ports.MarginStore`."""

    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, tuple[LeverageTier, ...]]:
        """Return what the venue asks of positions by symbol, lowest tier first: a request each."""
        return {
            each.symbol: ANSWERS.read(
                codec.leverage_tiers, await self._http.ask("GET", "/v1/tiers", {"symbol": each.venue_symbol})
            )
            for each in instruments
        }

    async def set_leverage(self, *, instrument: Instrument, leverage: int) -> None:
        """Set an instrument's leverage."""
        await self._set("leverage", {"symbol": instrument.venue_symbol, "leverage": leverage})

    async def set_margin_mode(self, *, instrument: Instrument, mode: MarginMode) -> None:
        """Set how an instrument's position is margined."""
        await self._set("margin_mode", {"symbol": instrument.venue_symbol, "mode": mode.value})

    async def set_position_mode(self, *, mode: PositionMode) -> None:
        """Set whether instruments have one position or two."""
        await self._set("position_mode", {"mode": mode.value})

    async def bookings(self, *, start_ns: int) -> Sequence[Booking]:
        """Return every movement of money from ``start_ns`` on, oldest first: page by page, each after the last id."""
        found: list[Booking] = []
        params: dict[str, Any] = {"start": -to_ms(-start_ns), "limit": PAGE}
        while True:
            rows = await self._http.ask("GET", "/v1/bookings", params, signed=True)
            found += [ANSWERS.read(codec.booking, row) for row in rows]
            if len(rows) < PAGE:
                return tuple(found)
            params["after"] = found[-1].booking_id

    async def _set(self, what: str, body: Mapping[str, Any]) -> None:
        await self._http.ask("POST", f"/v1/{what}", body=body, signed=True, operation=Operation.PLACE)
