"""What the market on margin has besides: terms, positions, funding, bookings, amendments.

REPLACE: the paths and the shapes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from btx.bridges.decimals import limit
from btx.bridges.streams import SocketStream
from btx.bridges.verdicts import Operation
from btx.model.account import (
    AccountSnapshot,
    AccountUpdate,
    Booking,
    BookingKind,
    MarginCall,
    PositionReport,
    SymbolTerms,
)
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode, MarkPrice, PositionMode
from btx.model.instrument import Instrument
from btx.model.order import Leg, PositionSide, Receipt
from btx.model.time import from_ms, to_ms_up
from btx.ports import Context, StreamEvent
from btx.testing.toy import codec
from btx.testing.toy.broker import ToyBroker, order_row, which
from btx.testing.toy.codec import Json, symbol_of, time_ns
from btx.testing.toy.config import PLACES
from btx.testing.toy.feed import ToyFeed
from btx.testing.toy.limits import PAGE
from btx.testing.toy.store import ToyStore
from btx.testing.toy.stream import ToyAccount, ToyMarket, market_events

__all__ = ("ToyMarginBroker", "ToyMarginFeed", "ToyMarginStore", "margin_stream")


# --- the ports ----------------------------------------------------------------------------------------------


class ToyMarginStore(ToyStore):
    """The facts of the market on margin; see :class:`btx.ports.MarginStore`."""

    async def account(self) -> AccountSnapshot:
        """Return balances and positions now, and how instruments are margined."""
        return await self._http.get("/v1/account", _account, signed=True)

    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, tuple[LeverageTier, ...]]:
        """Return what the venue asks of positions by symbol, lowest tier first: a request each."""
        return {
            each.symbol: await self._http.rows("/v1/tiers", _leverage_tier, {"symbol": each.venue_symbol})
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
        params = {"start": to_ms_up(start_ns), "limit": PAGE}
        return await self._http.pages(
            "/v1/bookings", _booking, params, size=PAGE, after=lambda last: {"after": last.booking_id}
        )

    async def _set(self, what: str, body: Mapping[str, Any]) -> None:
        await self._http.send(f"/v1/{what}", body, Operation.PLACE)


class ToyMarginBroker(ToyBroker):
    """Orders of the market on margin; see :class:`btx.ports.Broker`."""

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002 -- ours will do
        """Give a resting limit order another price and whole quantity; it keeps its ids."""
        answer = await self._http.send("/v1/amend", order_row(new) | which(leg), Operation.PLACE)
        return self._http.answers.receipt(answer, "id")


class ToyMarginFeed(ToyFeed):
    """History of the market on margin; see :class:`btx.ports.MarginFeed`."""

    async def mark_price(self, *, instrument: Instrument) -> MarkPrice:
        """Return mark price and funding as they stand now."""
        params = {"symbol": instrument.venue_symbol}
        return await self._http.get("/v1/mark", _mark_price, params, symbol=instrument.symbol)

    async def funding_rates(self, *, instrument: Instrument, start_ns: int, end_ns: int) -> Sequence[FundingRate]:
        """Return one page of rates that were settled in ``[start_ns, end_ns)``, oldest first."""
        span = {"start": to_ms_up(start_ns), "end": to_ms_up(end_ns), "limit": PAGE}
        params = {"symbol": instrument.venue_symbol, **span}
        return await self._http.rows("/v1/funding", _funding_rate, params, symbol=instrument.symbol)


def margin_stream(context: Context) -> SocketStream:
    """Return the stream of the market on margin."""
    return SocketStream(
        context,
        places=PLACES,
        market=ToyMarket(),
        events=_market_events,
        account=_Account(),
    )


class _Account(ToyAccount):
    def events(self, message: Any) -> Iterable[StreamEvent]:
        match message["event"]:
            case "account":
                return (_account_update(message),)
            case "margin_call":
                positions = tuple(map(_position, message["positions"]))
                return (MarginCall(positions=positions, time_ns=time_ns(message)),)
        return super().events(message)


def _market_events(message: Any, symbols: Mapping[str, str]) -> Iterable[StreamEvent]:
    kind, venue_symbol, *_ = message["stream"].split(":")
    if kind == "mark":
        return (_mark_price(message["data"], symbol=symbols[venue_symbol]),)
    return market_events(message, symbols)


# --- the shapes ---------------------------------------------------------------------------------------------


def _account(row: Json) -> AccountSnapshot:
    return attrs.evolve(
        codec.account(row),
        positions=tuple(map(_position, row["positions"])),
        terms={symbol_of(venue_symbol): _terms(each) for venue_symbol, each in row["terms"].items()},
        position_mode=PositionMode(row["position_mode"]),
    )


def _account_update(row: Json) -> AccountUpdate:
    return attrs.evolve(codec.account_update(row), positions=tuple(map(_position, row.get("positions", ()))))


def _position(row: Json) -> PositionReport:
    return PositionReport(
        symbol=symbol_of(row["symbol"]),
        position_side=PositionSide(row["side"]),
        quantity=Decimal(row["quantity"]),
        entry_price=limit(row, "entry_price"),
        mark_price=limit(row, "mark"),
        unrealised=Decimal(row["unrealised"]),
        liquidation_price=limit(row, "liquidation_price"),
        leverage=int(row["leverage"]),
        margin_mode=MarginMode(row["margin_mode"]),
        isolated_margin=limit(row, "isolated_margin"),
        time_ns=time_ns(row),
    )


def _terms(row: Json) -> SymbolTerms:
    return SymbolTerms(leverage=int(row["leverage"]), margin_mode=MarginMode(row["margin_mode"]))


def _leverage_tier(row: Json) -> LeverageTier:
    return LeverageTier(
        floor=Decimal(row["floor"]),
        cap=limit(row, "cap"),
        max_leverage=int(row["max_leverage"]),
        maintenance_rate=Decimal(row["maintenance"]),
        maintenance_amount=Decimal(row["deduction"]),
    )


def _booking(row: Json) -> Booking:
    return Booking(
        booking_id=str(row["id"]),
        kind=BookingKind(row["kind"]),
        asset=row["asset"],
        amount=Decimal(row["amount"]),
        symbol=symbol_of(row["symbol"]) if row["symbol"] else None,
        fill_id=str(row["fill_id"]) if row["fill_id"] else None,
        time_ns=time_ns(row),
    )


def _mark_price(row: Json, *, symbol: str) -> MarkPrice:
    return MarkPrice(
        symbol=symbol,
        mark_price=Decimal(row["mark"]),
        index_price=Decimal(row["index"]),
        funding_rate=Decimal(row["funding_rate"]),
        next_funding_ns=from_ms(int(row["next_funding"])),
        time_ns=time_ns(row),
    )


def _funding_rate(row: Json, *, symbol: str) -> FundingRate:
    """Positive: longs pay."""
    return FundingRate(
        symbol=symbol,
        time_ns=time_ns(row),
        rate=Decimal(row["rate"]),
        mark_price=limit(row, "mark"),
    )
