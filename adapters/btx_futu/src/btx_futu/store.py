"""Instruments, account and time of Futu."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from btx.errors import DataError, OrderRejectedError, UnknownSymbolError
from btx.model.account import AccountSnapshot, KeyRights
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.time import NS_PER_S
from btx.ports import Context
from btx_futu import codec
from btx_futu.fees import PAPER
from btx_futu.opend import OpenD, opend, rows

__all__ = ("FutuStore", "read", "read_account")

T = TypeVar("T")

_GRAIN_S = 1.0  # OpenD tells the venue's time in whole seconds


def read(decode: Callable[..., T], *row: Any, **context: Any) -> T:
    """Return what ``decode`` makes of an answer.

    Raises:
        DataError: the answer has another shape than the documentation's.
    """
    try:
        return decode(*row, **context)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"OpenD's answer cannot be read: {error!r} in {str(row)[:200]}") from error


async def read_account(desk: OpenD, context: Context) -> AccountSnapshot:
    """Return the account: its cash and what it holds, from two answers.

    Raises:
        AuthenticationError: OpenD has no such account.
    """
    funds = await desk.trades("accinfo_query", currency=desk.place.currency)
    positions = await desk.trades("position_list_query")
    first = next(iter(rows(funds)), {})
    mine = [row for row in rows(positions) if str(row["code"]).startswith(f"{desk.place.prefix}.")]
    now_ns = context.clock.market_ns()
    tier = PAPER if desk.is_paper else None
    return read(codec.account, first, mine, market=context.market, now_ns=now_ns, fee_tier=tier)


class FutuStore:
    """Instruments, account and time of Futu."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._opend = opend(context)

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return shares and funds of the market by symbol; names the venue does not list are left out.

        Raises:
            TransportError: OpenD was not reached.
        """
        if symbols is not None:
            found = await self._listed(symbols)
        else:
            found = {}
            for kind in ("STOCK", "ETF"):
                table = await self._opend.quotes("get_stock_basicinfo", self._opend.place.prefix, kind)
                found |= _instruments(rows(table))
        return found

    async def account(self) -> AccountSnapshot:
        """Return cash and holdings now.

        Raises:
            AuthenticationError: OpenD has no such account.
        """
        return await read_account(self._opend, self._context)

    async def server_time_ns(self) -> int:
        """Return the venue's clock: OpenD's own, which has fractions, unless that is off."""
        state = await self._opend.quotes("get_global_state")
        return read(_server_time_ns, state)

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:  # noqa: ARG002
        """Return nothing: OpenD tells fees of orders, afterwards, and no rates."""
        return {}

    async def key_rights(self) -> KeyRights:
        """Return what the account may do: it is there, or this raises.

        Raises:
            AuthenticationError: OpenD has no such account.
        """
        await self._opend.account_number()
        return KeyRights(may_read=True, may_trade=True, may_withdraw=False)

    async def _listed(self, symbols: Collection[str]) -> Mapping[str, Instrument]:
        try:
            table = await self._opend.quotes("get_stock_basicinfo", "", "STOCK", list(symbols))
        except (UnknownSymbolError, OrderRejectedError):
            pass  # one unknown name fails them all, and it is not said which: look in the whole list
        else:
            return _instruments(rows(table))
        everything = await self.instruments()
        return {symbol: everything[symbol] for symbol in symbols if symbol in everything}


def _instruments(table: Iterable[Mapping[str, Any]]) -> dict[str, Instrument]:
    found = (read(codec.instrument, row) for row in table if int(row["lot_size"]) > 0)
    return {each.symbol: each for each in found}


def _server_time_ns(state: Mapping[str, Any]) -> int:
    local_s, venue_s = float(state["local_timestamp"]), float(state["timestamp"]) + _GRAIN_S / 2
    return int((local_s if abs(local_s - venue_s) < _GRAIN_S else venue_s) * NS_PER_S)
