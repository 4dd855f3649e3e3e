"""Toy's JSON into the model: exact decimals, integer nanoseconds, one function per shape.

REPLACE: the venue's own shapes, with the page and the date they were read at. Unknown keys are ignored.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import levels, limit
from btx.model.account import (
    AccountSnapshot,
    AccountUpdate,
    Balance,
    Booking,
    BookingKind,
    KeyRights,
    MarginCall,
    PositionReport,
    SymbolTerms,
)
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode, MarkPrice, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import Bar, BookDelta, BookSnapshot, Quote, Trade
from btx.model.order import Fill, Liquidity, OrderReport, OrderType, Origin, PositionSide, Side, Status
from btx.model.time import Interval, from_ms

__all__ = (
    "account",
    "account_update",
    "bar",
    "book_delta",
    "book_snapshot",
    "booking",
    "fees",
    "fill",
    "funding_rate",
    "instrument",
    "key_rights",
    "leverage_tiers",
    "margin_call",
    "mark_price",
    "order_report",
    "quote",
    "symbol_of",
    "trade",
    "venue_symbol_of",
)

Json = Mapping[str, Any]


def symbol_of(venue_symbol: str) -> str:
    """Return our name of an instrument: ``BTC/USDT`` of ``BTC-USDT``, ``BTC/USDT:USDT`` of ``BTC-USDT-PERP``."""
    base, quote, *perpetual = venue_symbol.split("-")
    return f"{base}/{quote}:{quote}" if perpetual else f"{base}/{quote}"


def venue_symbol_of(symbol: str) -> str:
    """Return the venue's name of an instrument."""
    pair, _, settle = symbol.partition(":")
    return f"{pair.replace('/', '-')}-PERP" if settle else pair.replace("/", "-")


def instrument(row: Json) -> Instrument:
    """Return one row of ``instruments``; a rule that the venue leaves out is None."""
    return Instrument(
        venue="toy",
        symbol=symbol_of(row["symbol"]),
        venue_symbol=row["symbol"],
        kind=InstrumentKind(row["kind"]),
        base=row["base"],
        quote=row["quote"],
        settle=row["quote"],
        tick_size=Decimal(row["tick"]),
        step_size=Decimal(row["step"]),
        min_quantity=Decimal(row["min_quantity"]),
        max_quantity=limit(row, "max_quantity"),
        min_notional=limit(row, "min_notional"),
        liquidation_fee=limit(row, "liquidation_fee"),
        is_trading=bool(row["is_trading"]),
    )


def bar(row: Json, *, symbol: str, interval: Interval) -> Bar:
    """Return one row of ``bars``, or a push of one."""
    return Bar(
        symbol=symbol,
        interval=interval,
        open_ns=from_ms(int(row["open_time"])),
        close_ns=from_ms(int(row["close_time"])),  # the first millisecond after it
        open=Decimal(row["open"]),
        high=Decimal(row["high"]),
        low=Decimal(row["low"]),
        close=Decimal(row["close"]),
        volume=Decimal(row["volume"]),
        is_closed=bool(row["is_closed"]),
    )


def trade(row: Json, *, symbol: str) -> Trade:
    """Return one row of ``trades``, or a push of one; ``side`` is the taker's."""
    return Trade(
        symbol=symbol,
        trade_id=int(row["id"]),
        price=Decimal(row["price"]),
        quantity=Decimal(row["quantity"]),
        side=Side(row["side"]),
        time_ns=from_ms(int(row["time"])),
    )


def quote(row: Json, *, symbol: str) -> Quote:
    """Return a push of the best offers."""
    return Quote(
        symbol=symbol,
        bid_price=Decimal(row["bid"]),
        bid_quantity=Decimal(row["bid_quantity"]),
        ask_price=Decimal(row["ask"]),
        ask_quantity=Decimal(row["ask_quantity"]),
        sequence=int(row["sequence"]),
        time_ns=from_ms(int(row["time"])),
    )


def book_snapshot(row: Json, *, symbol: str) -> BookSnapshot:
    """Return ``book``."""
    return BookSnapshot(
        symbol=symbol, bids=levels(row["bids"]), asks=levels(row["asks"]), sequence=int(row["sequence"])
    )


def book_delta(row: Json, *, symbol: str) -> BookDelta:
    """Return a push of levels that changed; a quantity of zero removes a level."""
    return BookDelta(
        symbol=symbol,
        bids=levels(row["bids"]),
        asks=levels(row["asks"]),
        first_sequence=int(row["first"]),
        last_sequence=int(row["last"]),
        time_ns=from_ms(int(row["time"])),
    )


def account(row: Json) -> AccountSnapshot:
    """Return ``account``; assets of which nothing is owned are left out, as are positions that are over."""
    owned = {asset: balance for asset, balance in _balances(row["balances"]).items() if balance.total}
    terms = {symbol_of(venue_symbol): _terms(each) for venue_symbol, each in row.get("terms", {}).items()}
    return AccountSnapshot(
        balances=owned,
        time_ns=from_ms(int(row["time"])),
        can_trade=bool(row["can_trade"]),
        positions=tuple(_position(each) for each in row.get("positions", ())),
        terms=terms,
        position_mode=PositionMode(row["position_mode"]) if "position_mode" in row else None,
    )


def account_update(row: Json) -> AccountUpdate:
    """Return a push of the assets and positions that changed."""
    return AccountUpdate(
        balances=_balances(row["balances"]),
        time_ns=from_ms(int(row["time"])),
        positions=tuple(_position(each) for each in row.get("positions", ())),
        reason=row["reason"],
    )


def margin_call(row: Json) -> MarginCall:
    """Return a push of positions that come close to their liquidation."""
    return MarginCall(positions=tuple(map(_position, row["positions"])), time_ns=from_ms(int(row["time"])))


def leverage_tiers(rows: Sequence[Json]) -> tuple[LeverageTier, ...]:
    """Return ``tiers``, lowest first."""
    return tuple(
        LeverageTier(
            floor=Decimal(row["floor"]),
            cap=limit(row, "cap"),
            max_leverage=int(row["max_leverage"]),
            maintenance_rate=Decimal(row["maintenance"]),
            maintenance_amount=Decimal(row["deduction"]),
        )
        for row in rows
    )


def booking(row: Json) -> Booking:
    """Return one movement of money."""
    return Booking(
        booking_id=str(row["id"]),
        kind=BookingKind(row["kind"]),
        asset=row["asset"],
        amount=Decimal(row["amount"]),
        symbol=symbol_of(row["symbol"]) if row["symbol"] else None,
        fill_id=str(row["fill_id"]) if row["fill_id"] else None,
        time_ns=from_ms(int(row["time"])),
    )


def mark_price(row: Json, *, symbol: str) -> MarkPrice:
    """Return ``mark``, or a push of one."""
    return MarkPrice(
        symbol=symbol,
        mark_price=Decimal(row["mark"]),
        index_price=Decimal(row["index"]),
        funding_rate=Decimal(row["funding_rate"]),
        next_funding_ns=from_ms(int(row["next_funding"])),
        time_ns=from_ms(int(row["time"])),
    )


def funding_rate(row: Json, *, symbol: str) -> FundingRate:
    """Return one rate that was settled; positive: longs pay."""
    return FundingRate(
        symbol=symbol,
        time_ns=from_ms(int(row["time"])),
        rate=Decimal(row["rate"]),
        mark_price=limit(row, "mark"),
    )


def fees(row: Json) -> FeeSchedule:
    """Return ``fees``: the account's own rates of an instrument."""
    return FeeSchedule(
        maker=Decimal(row["maker"]), taker=Decimal(row["taker"]), tier="account", source="the account's own rates"
    )


def key_rights(row: Json) -> KeyRights:
    """Return ``key``."""
    return KeyRights(may_read=row["read"], may_trade=row["trade"], may_withdraw=row["withdraw"])


def order_report(row: Json) -> OrderReport:
    """Return an order as it is; pushes have a sequence, answers have none."""
    return OrderReport(
        client_order_id=row["client_id"],
        venue_order_id=str(row["id"]),
        symbol=symbol_of(row["symbol"]),
        status=Status(row["status"]),
        filled=Decimal(row["filled"]),
        sequence=row.get("sequence"),
        time_ns=from_ms(int(row["time"])),
        reason=row["reason"],
        side=Side(row["side"]),
        order_type=OrderType(row["type"]),
        quantity=Decimal(row["quantity"]),
        price=limit(row, "price"),
        trigger_price=limit(row, "trigger_price"),
        position_side=PositionSide(row["position_side"]),
        reduce_only=bool(row["reduce_only"]),
        origin=Origin(row["origin"]),
    )


def fill(row: Json) -> Fill:
    """Return one execution."""
    return Fill(
        fill_id=str(row["id"]),
        client_order_id=row["client_id"],
        venue_order_id=str(row["order_id"]),
        symbol=symbol_of(row["symbol"]),
        side=Side(row["side"]),
        price=Decimal(row["price"]),
        quantity=Decimal(row["quantity"]),
        fee=Decimal(row["fee"]),
        fee_asset=row["fee_asset"],
        liquidity=Liquidity.MAKER if row["is_maker"] else Liquidity.TAKER,
        time_ns=from_ms(int(row["time"])),
        sequence=row.get("sequence"),
        position_side=PositionSide(row["position_side"]),
        realised=None if row["realised"] is None else Decimal(row["realised"]),
        origin=Origin(row["origin"]),
    )


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
        time_ns=from_ms(int(row["time"])),
    )


def _terms(row: Json) -> SymbolTerms:
    return SymbolTerms(leverage=int(row["leverage"]), margin_mode=MarginMode(row["margin_mode"]))


def _balances(rows: Mapping[str, Sequence[str]]) -> dict[str, Balance]:
    return {asset: Balance(free=Decimal(free), locked=Decimal(locked)) for asset, (free, locked) in rows.items()}
