"""Toy's JSON into the model: exact decimals, integer nanoseconds, one function per shape.

REPLACE: the venue's own shapes, with the page and the date they were read at. Unknown keys are ignored.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import levels, limit
from btx.model.account import AccountSnapshot, AccountUpdate, Balance, KeyRights
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import Bar, BookDelta, BookSnapshot, Quote, Trade
from btx.model.order import (
    Fill,
    Liquidity,
    OrderReport,
    OrderType,
    Origin,  # margin
    PositionSide,  # margin
    Side,
    Status,
)
from btx.model.time import Interval, from_ms

__all__ = (
    "Json",
    "account",
    "account_update",
    "bar",
    "book_delta",
    "book_snapshot",
    "fees",
    "fill",
    "instrument",
    "key_rights",
    "order_report",
    "order_with_fills",
    "quote",
    "symbol_of",
    "time_ns",
    "trade",
    "venue_symbol_of",
)

Json = Mapping[str, Any]


def symbol_of(venue_symbol: str) -> str:
    """Return our name of an instrument: ``BTC/USDT`` of ``BTC-USDT``."""
    if venue_symbol.endswith("-PERP"):  # margin
        base, quote, _ = venue_symbol.split("-")
        return f"{base}/{quote}:{quote}"
    return venue_symbol.replace("-", "/")


def venue_symbol_of(symbol: str) -> str:
    """Return the venue's name of an instrument."""
    if ":" in symbol:  # margin
        return f"{symbol.partition(':')[0].replace('/', '-')}-PERP"
    return symbol.replace("/", "-")


def time_ns(row: Json) -> int:
    """Return when it was."""
    return from_ms(int(row["time"]))


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
        liquidation_fee=limit(row, "liquidation_fee"),  # margin
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
        time_ns=time_ns(row),
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
        time_ns=time_ns(row),
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
        time_ns=time_ns(row),
    )


def account(row: Json) -> AccountSnapshot:
    """Return ``account``; assets of which nothing is owned are left out."""
    owned = {asset: balance for asset, balance in _balances(row["balances"]).items() if balance.total}
    return AccountSnapshot(balances=owned, time_ns=time_ns(row), can_trade=bool(row["can_trade"]))


def account_update(row: Json) -> AccountUpdate:
    """Return a push of the assets that changed."""
    return AccountUpdate(balances=_balances(row["balances"]), time_ns=time_ns(row), reason=row["reason"])


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
        time_ns=time_ns(row),
        reason=row["reason"],
        side=Side(row["side"]),
        order_type=OrderType(row["type"]),
        quantity=Decimal(row["quantity"]),
        price=limit(row, "price"),
        trigger_price=limit(row, "trigger_price"),
        position_side=PositionSide(row["position_side"]),  # margin
        reduce_only=bool(row["reduce_only"]),  # margin
        origin=Origin(row["origin"]),  # margin
    )


def order_with_fills(row: Json) -> tuple[OrderReport | Fill, ...]:
    """Return the answer to a question about one order: its fills, oldest first, and then its state."""
    return (*map(fill, row["fills"]), order_report(row))


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
        time_ns=time_ns(row),
        sequence=row.get("sequence"),
        position_side=PositionSide(row["position_side"]),  # margin
        realised=None if row["realised"] is None else Decimal(row["realised"]),  # margin
        origin=Origin(row["origin"]),  # margin
    )


def _balances(rows: Mapping[str, Sequence[str]]) -> dict[str, Balance]:
    return {asset: Balance(free=Decimal(free), locked=Decimal(locked)) for asset, (free, locked) in rows.items()}
