"""Between OpenD's rows and our values: nothing here asks anybody, or knows futu-api.

Rows are what futu-api makes of OpenD's messages.  Numbers come as floats, which are taken for the decimals they are
written as; times as text in the exchange's zone.  A bar of minutes is labelled with its end.
"""

import datetime
import functools
import zoneinfo
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from btx.model.account import AccountSnapshot, Balance
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import Bar, Trade
from btx.model.order import Fill, OrderReport, OrderType, Side, Status
from btx.model.time import NS_PER_S, Interval
from btx_futu.symbols import PLACES, place_of
from btx_futu.ticks import finest_tick, tick_steps

__all__ = (
    "FOREIGN",
    "OPEN_STATUSES",
    "account",
    "bar",
    "fill",
    "instrument",
    "last_price",
    "name_of",
    "number",
    "order_report",
    "pushed_bars",
    "text_of",
    "time_ns",
)

FOREIGN = "futu-"
"""How orders are called here that carry no remark of ours; OpenD's number follows."""

_SIDES = {"BUY": Side.BUY, "BUY_BACK": Side.BUY, "SELL": Side.SELL, "SELL_SHORT": Side.SELL}
_TYPES = {"NORMAL": OrderType.LIMIT, "MARKET": OrderType.MARKET}

# Of the documentation's OrderStatus, 2026. What is not here says nothing of where the order is.
_STATUSES = {
    "UNSUBMITTED": Status.PENDING_NEW,
    "WAITING_SUBMIT": Status.PENDING_NEW,
    "SUBMITTING": Status.PENDING_NEW,
    "SUBMITTED": Status.NEW,
    "FILLED_PART": Status.PARTIALLY_FILLED,
    "FILLED_ALL": Status.FILLED,
    "CANCELLING_PART": Status.PARTIALLY_FILLED,  # asked for, and not done yet
    "CANCELLING_ALL": Status.NEW,
    "CANCELLED_PART": Status.CANCELED,
    "CANCELLED_ALL": Status.CANCELED,
    "SUBMIT_FAILED": Status.REJECTED,
    "FAILED": Status.REJECTED,
    "DISABLED": Status.EXPIRED,
    "DELETED": Status.CANCELED,
}
OPEN_STATUSES = (
    "WAITING_SUBMIT",
    "SUBMITTING",
    "SUBMITTED",
    "FILLED_PART",
    "CANCELLING_PART",
    "CANCELLING_ALL",
)
"""What an order is while it may fill, in OpenD's words."""


def number(value: object) -> Decimal:
    """Return a float as the decimal it is written as.

    Raises:
        ArithmeticError: it is no number; OpenD's library says 'N/A' of what it was not told.
    """
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(str(value))


# --- time ----------------------------------------------------------------------------------------------------


def time_ns(text: str, zone: str) -> int:
    """Return UTC nanoseconds of a text like ``2026-11-20 09:31:00`` or ``...00.123`` in an exchange's zone."""
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=_zone(zone))
    return int(moment.replace(microsecond=0).timestamp()) * NS_PER_S + moment.microsecond * 1000


def text_of(time_ns: int, zone: str) -> str:
    """Return a moment, cut to its second, as OpenD writes it in a zone."""
    return datetime.datetime.fromtimestamp(time_ns // NS_PER_S, _zone(zone)).strftime("%Y-%m-%d %H:%M:%S")


@functools.cache
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)


# --- market --------------------------------------------------------------------------------------------------


def instrument(row: Mapping[str, Any]) -> Instrument:
    """Return an instrument of a row of ``get_stock_basicinfo``: whole lots, and the finest price step of its market."""
    code, lot = str(row["code"]), number(row["lot_size"])
    currency = place_of(code).currency
    return Instrument(
        venue="futu",
        symbol=code,
        venue_symbol=code,
        kind=InstrumentKind.STOCK,
        base=code,
        quote=currency,
        settle=currency,
        tick_size=finest_tick(code),
        tick_steps=tick_steps(code),
        step_size=lot,
        min_quantity=lot,
        is_trading=row.get("delisting") is not True,
    )


def bar(row: Mapping[str, Any], *, symbol: str, interval: Interval, now_ns: int) -> Bar:
    """Return a bar of a row of history; it is closed when its end has come."""
    close_ns = time_ns(str(row["time_key"]), place_of(symbol).zone)
    return Bar(
        symbol=symbol,
        interval=interval,
        open_ns=close_ns - interval.nominal_ns,
        close_ns=close_ns,
        open=number(row["open"]),
        high=number(row["high"]),
        low=number(row["low"]),
        close=number(row["close"]),
        volume=number(row["volume"]),
        quote_volume=number(row["turnover"]),
        is_closed=close_ns <= now_ns,
    )


def pushed_bars(message: Any, interval: Interval) -> list[Bar]:
    """Return the bars of a message UpdateKL, oldest first; nobody says of them that they are closed."""
    security = message.s2c.security
    prefix = {1: "HK", 11: "US"}[security.market]  # Qot_Common.QotMarket
    symbol = f"{prefix}.{security.code}"
    bars = []
    for each in message.s2c.klList:
        if each.isBlank:
            continue
        volume = each.hpVolume if each.HasField("hpVolume") else each.volume
        row = {
            "time_key": each.time,
            "open": each.openPrice,
            "high": each.highPrice,
            "low": each.lowPrice,
            "close": each.closePrice,
            "volume": volume,
            "turnover": each.turnover,
        }
        bars.append(bar(row, symbol=symbol, interval=interval, now_ns=0))
    return bars


def last_price(row: Mapping[str, Any]) -> Trade | None:
    """Return the last price of a row of ``get_market_snapshot``, None where there was none."""
    symbol, price = str(row["code"]), number(row["last_price"])
    if price <= 0:
        return None
    moment = str(row["update_time"])
    return Trade(
        symbol=symbol,
        trade_id=moment,
        price=price,
        quantity=number(row["lot_size"]),
        side=Side.BUY,
        time_ns=time_ns(moment, place_of(symbol).zone),
    )


# --- orders --------------------------------------------------------------------------------------------------


def name_of(row: Mapping[str, Any]) -> str:
    """Return how an order is called here: by its remark, or by OpenD's number where a hand gave none."""
    return str(row["remark"]) or f"{FOREIGN}{row['order_id']}"


def order_report(row: Mapping[str, Any], *, is_paper: bool) -> OrderReport | None:
    """Return the state of an order; None where OpenD does not know it itself.

    Of a paper account the average price of what is filled is told with it, for nothing tells of its executions.
    """
    status = _STATUSES.get(str(row["order_status"]))
    if status is None:
        return None
    symbol, order_id = str(row["code"]), str(row["order_id"])
    filled = number(row["dealt_qty"])
    average = number(row["dealt_avg_price"]) if filled and is_paper else None
    order_type = _TYPES.get(str(row["order_type"]))
    return OrderReport(
        client_order_id=name_of(row),
        venue_order_id=order_id,
        symbol=symbol,
        status=status,
        filled=filled,
        average_price=average,
        time_ns=time_ns(str(row["updated_time"]), place_of(symbol).zone),
        reason=str(row["last_err_msg"] or ""),
        side=_SIDES.get(str(row["trd_side"])),
        order_type=order_type,
        quantity=number(row["qty"]),
        price=number(row["price"]) if order_type is OrderType.LIMIT else None,
    )


def fill(row: Mapping[str, Any]) -> Fill:
    """Return an execution of a real account, of a row of ``deal_list_query``; it names its order by OpenD's number."""
    symbol = str(row["code"])
    return Fill(
        fill_id=str(row["deal_id"]),
        client_order_id="",
        venue_order_id=str(row["order_id"]),
        symbol=symbol,
        side=_SIDES[str(row["trd_side"])],
        price=number(row["price"]),
        quantity=number(row["qty"]),
        time_ns=time_ns(str(row["create_time"]), place_of(symbol).zone),
    )


# --- account -------------------------------------------------------------------------------------------------


def account(
    funds: Mapping[str, Any], positions: Iterable[Mapping[str, Any]], *, market: str, now_ns: int, fee_tier: str | None
) -> AccountSnapshot:
    """Return an account: its cash, and what it holds of each share, of which some may not be sold now."""
    place = PLACES[market]
    cash, frozen = number(funds["cash"]), number(funds["frozen_cash"])
    balances = {place.currency: Balance(free=cash - frozen, locked=frozen)}
    for row in positions:
        held, free = number(row["qty"]), number(row["can_sell_qty"])
        if row["position_side"] == "SHORT":
            held = free = -abs(held)
        balances[str(row["code"])] = Balance(free=free, locked=held - free)
    return AccountSnapshot(balances=balances, time_ns=now_ns, fee_tier=fee_tier)
