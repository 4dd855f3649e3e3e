"""What the JSON of all of Binance's markets has in common: exact decimals, integer nanoseconds, a function per shape.

Sources: https://developers.binance.com/docs: binance-spot-api-docs and derivatives.
Unknown keys are ignored: the venue adds some at any time.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import levels
from btx.model.account import KeyRights
from btx.model.derivatives import MarkPrice
from btx.model.instrument import InstrumentKind
from btx.model.market import Bar, BookDelta, BookSnapshot, Trade
from btx.model.order import Side, Status
from btx.model.time import Interval, from_ms

__all__ = (
    "STATUSES",
    "agg_trade",
    "book_delta",
    "book_snapshot",
    "key_rights",
    "kline",
    "mark_price_update",
    "server_time",
)

Json = Mapping[str, Any]

STATUSES: Mapping[str, Status] = {
    "NEW": Status.NEW,
    "PENDING_NEW": Status.PENDING_NEW,  # of an order list: it waits for the working order to fill
    "PARTIALLY_FILLED": Status.PARTIALLY_FILLED,
    "FILLED": Status.FILLED,
    "CANCELED": Status.CANCELED,
    "PENDING_CANCEL": Status.PENDING_CANCEL,
    "REJECTED": Status.REJECTED,
    "EXPIRED": Status.EXPIRED,
    "EXPIRED_IN_MATCH": Status.EXPIRED,  # self-trade prevention
}
"""Enum "Order status" of the documentation, 2024-12-17."""


def server_time(row: Json) -> int:
    """Return ``GET time`` in nanoseconds."""
    return from_ms(int(row["serverTime"]))


def key_rights(row: Json, *, trading: str) -> KeyRights:
    """Return ``account/apiRestrictions``; ``trading`` is what the right to trade in the market is called."""
    return KeyRights(
        may_read=row.get("enableReading"),
        may_trade=row.get(trading),
        may_withdraw=row.get("enableWithdrawals"),
        is_ip_restricted=row.get("ipRestrict"),
    )


def kline(
    row: list[Any], *, symbol: str, interval: Interval, now_ns: int, kind: InstrumentKind = InstrumentKind.SPOT
) -> Bar:
    """Return one row of ``klines``; it is closed when its close time is not after ``now_ns``.

    Of an inverse contract the volume beside the contracts is in coins, not in quote units.
    """
    close_ns = from_ms(int(row[6]) + 1)  # the venue names the last millisecond inside
    return Bar(
        symbol=symbol,
        interval=interval,
        open_ns=from_ms(int(row[0])),
        close_ns=close_ns,
        open=Decimal(row[1]),
        high=Decimal(row[2]),
        low=Decimal(row[3]),
        close=Decimal(row[4]),
        volume=Decimal(row[5]),
        is_closed=close_ns <= now_ns,
        quote_volume=None if kind is InstrumentKind.INVERSE else Decimal(row[7]),
        trades=int(row[8]),
    )


def agg_trade(row: Json, *, symbol: str) -> Trade:
    """Return one row of ``aggTrades``; ``m`` says that the buyer was resting."""
    return Trade(
        symbol=symbol,
        trade_id=int(row["a"]),
        price=Decimal(row["p"]),
        quantity=Decimal(row["q"]),
        side=Side.SELL if row["m"] else Side.BUY,
        time_ns=from_ms(int(row["T"])),
    )


def book_snapshot(row: Json, *, symbol: str) -> BookSnapshot:
    """Return ``depth``."""
    return BookSnapshot(
        symbol=symbol, bids=levels(row["bids"]), asks=levels(row["asks"]), sequence=int(row["lastUpdateId"])
    )


def book_delta(event: Json, *, symbol: str) -> BookDelta:
    """Return ``depthUpdate``; futures name the id before (``pu``), of spot the next ``U`` is this ``u`` + 1."""
    return BookDelta(
        symbol=symbol,
        bids=levels(event["b"]),
        asks=levels(event["a"]),
        first_sequence=int(event["U"]),
        last_sequence=int(event["u"]),
        previous_sequence=int(event["pu"]) if "pu" in event else None,
        time_ns=from_ms(int(event["E"])),
    )


def mark_price_update(event: Json, *, symbol: str) -> MarkPrice:
    """Return ``markPriceUpdate``; at the stamp of a settlement it still names that one, and a delivery has none."""
    return MarkPrice(
        symbol=symbol,
        mark_price=Decimal(event["p"]),
        index_price=Decimal(event["i"]) if event.get("i") else None,
        funding_rate=Decimal(event["r"]) if event.get("r") else None,
        next_funding_ns=from_ms(int(event.get("T", 0))) or None,
        time_ns=from_ms(int(event["E"])),
    )
