"""Contracts, account, rates and margin."""

from collections.abc import Collection, Mapping, Sequence

from btx.errors import OrderRejectedError
from btx.model.account import AccountSnapshot, Booking, KeyRights
from btx.model.derivatives import LeverageTier, MarginMode, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.ports import Context
from btx_ctp import codec
from btx_ctp.api import api
from btx_ctp.fees import schedule

__all__ = ("CtpStore",)


class CtpStore:
    """The facts of one account."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return the futures that are listed, by their own names; what is not listed is left out.

        Raises:
            TransportError: the front was not reached.
        """
        front = await self._api.front()
        rows = await front.query("Instrument", what="the list of contracts")
        found = [(each, row) for row in rows if (each := codec.instrument(row)) is not None]
        self._api.instruments = {each.venue_symbol: each for each, _ in found}
        self._api.contracts = {each.symbol: row for each, row in found}
        return {each.symbol: each for each, _ in found if symbols is None or each.symbol in symbols}

    async def account(self) -> AccountSnapshot:
        """Return the money and the positions now, and what those are made of.

        Raises:
            AuthenticationError: user or password are not accepted.
            TransportError: the front was not reached.
        """
        if not self._api.contracts:
            await self.instruments()
        front = await self._api.front()
        # The positions first: what they lack then the money has not either, as fills come one by one.
        positions = await front.query("InvestorPosition", what="the positions")
        rows = await front.query("TradingAccount", what="the account")
        own = next((row for row in rows if row["CurrencyID"] in {"", codec.CURRENCY}), rows[0])
        return codec.account(
            own,
            positions,
            instruments=self._api.instruments,
            leverages={symbol: codec.leverage(row) for symbol, row in self._api.contracts.items()},
            time_ns=self._context.clock.market_ns(),
        )

    async def server_time_ns(self) -> int:
        """Return our own wire clock: CTP has none that could be asked, and signs no time.

        Raises:
            TransportError: the front was not reached.
        """
        await self._api.front()
        return self._context.clock.wire_ns()

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:
        """Return the account's own rates, by symbol.

        Raises:
            TransportError: the front was not reached.
        """
        front = await self._api.front()
        for each in instruments:
            rows = await front.query(
                "InstrumentCommissionRate", what=f"the fees of {each.symbol}", InstrumentID=each.venue_symbol
            )
            if (found := schedule(each, rows)) is not None:
                self._api.fees[each.symbol] = found
        return {each.symbol: self._api.fees[each.symbol] for each in instruments if each.symbol in self._api.fees}

    async def key_rights(self) -> KeyRights:
        """Return what a user may do: CTP does not say.

        Raises:
            AuthenticationError: user or password are not accepted.
        """
        await self._api.front()
        return KeyRights(may_read=True)

    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, tuple[LeverageTier, ...]]:
        """Return what the exchange asks of positions, by symbol; a broker asks for more."""
        contracts = self._api.contracts
        return {each.symbol: codec.tiers(contracts[each.symbol]) for each in instruments if each.symbol in contracts}

    async def set_leverage(self, *, instrument: Instrument, leverage: int) -> None:
        """Refuse: the margin is the exchange's and the broker's.

        Raises:
            OrderRejectedError: it would have to be changed.
        """
        row = self._api.contracts.get(instrument.symbol)
        if row is None or codec.leverage(row) != leverage:
            raise OrderRejectedError("the margin is set by the exchange and the broker: leave leverage= out")

    async def set_margin_mode(self, *, instrument: Instrument, mode: MarginMode) -> None:
        """Do nothing: all positions share one margin, and the card declares no other mode."""

    async def set_position_mode(self, *, mode: PositionMode) -> None:
        """Do nothing: what is long and what is short always stand side by side, and are shown as their difference."""

    async def bookings(self, *, start_ns: int) -> Sequence[Booking]:  # noqa: ARG002
        """Return nothing: CTP lists no movements of money; what is paid in or out shows in the balance alone."""
        return ()
