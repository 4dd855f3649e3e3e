"""CTP's structs, as their fields, to the model's values and back."""

import datetime
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from btx.model.account import AccountSnapshot, Balance, Lots, PositionReport, SymbolTerms
from btx.model.derivatives import LeverageTier, MarginMode, PositionMode
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import Fill, Leg, Offset, OrderReport, OrderType, Side, Status, TimeInForce
from btx.model.time import NS_PER_S
from btx_ctp.spi import Row

__all__ = (
    "NO_PRICE",
    "account",
    "fill",
    "input_order",
    "instrument",
    "leverage",
    "name_of",
    "number",
    "offset_of",
    "price",
    "report",
    "tiers",
    "venue_order_id",
)

NO_PRICE = 1e300
"""From here on a price is none: CTP sends the largest float where it has no value, and some counters about that."""

CURRENCY = "CNY"
_CENTS = Decimal("1e-8")  # what doubles of a balance are good for
_FUTURES = "1"  # THOST_FTDC_PC_Futures
_BUY, _SELL = "0", "1"
_LONG, _HISTORY = "2", "2"
_LAST_HOUR = 15
_OFFSETS = {Offset.OPEN: "0", Offset.CLOSE: "1", Offset.CLOSE_TODAY: "3", Offset.CLOSE_YESTERDAY: "4"}
_OFFSET_OF = {**{text: offset for offset, text in _OFFSETS.items()}, "2": Offset.CLOSE}
_STATUSES = {
    "0": Status.FILLED,
    "1": Status.PARTIALLY_FILLED,
    "2": Status.PARTIALLY_FILLED,
    "3": Status.NEW,
    "4": Status.NEW,
    "5": Status.CANCELED,
    "a": Status.PENDING_NEW,
    "b": Status.NEW,
    "c": Status.NEW,
}
_INSERT_REJECTED = "4"  # OrderSubmitStatus
_GFD, _IOC = "3", "1"
_ANY_VOLUME, _ALL = "1", "3"


def number(value: float) -> Decimal:
    """Return a double as the number that it stands for."""
    return Decimal(repr(value)).normalize() + 0


def price(value: float) -> Decimal | None:
    """Return a price, None where there is none."""
    return number(value) if 0 < abs(value) < NO_PRICE else None


def instrument(row: Row) -> Instrument | None:
    """Return a contract, None where it is no future."""
    tick = price(row["PriceTick"])
    if row["ProductClass"] != _FUTURES or tick is None:
        return None
    smallest = max(int(row["MinLimitOrderVolume"]), 1)
    return Instrument(
        venue="ctp",
        symbol=f"{row['ExchangeID']}.{row['InstrumentID']}",
        venue_symbol=row["InstrumentID"],
        kind=InstrumentKind.FUTURE,
        base=row["ProductID"],
        quote=CURRENCY,
        settle=CURRENCY,
        tick_size=tick,
        step_size=Decimal(1),
        min_quantity=Decimal(smallest),
        max_quantity=Decimal(int(row["MaxLimitOrderVolume"])) or None,
        multiplier=Decimal(int(row["VolumeMultiple"])),
        is_trading=bool(row["IsTrading"]),
        delivery_ns=_last_day_ns(row["ExpireDate"]),
    )


def _last_day_ns(text: str) -> int | None:
    try:
        zone = datetime.timezone(datetime.timedelta(hours=8))
        last = datetime.datetime.strptime(text, "%Y%m%d").replace(hour=_LAST_HOUR, tzinfo=zone)
    except ValueError:
        return None
    return int(last.timestamp()) * NS_PER_S


def leverage(row: Row) -> int:
    """Return the largest whole leverage at which a contract's margin covers both sides."""
    ratio = max(price(row["LongMarginRatio"]) or Decimal(1), price(row["ShortMarginRatio"]) or Decimal(1))
    return max(int(1 / ratio), 1)


def tiers(row: Row) -> tuple[LeverageTier, ...]:
    """Return what positions of a contract take as margin: one share of all of it, below which a broker closes them."""
    return (
        LeverageTier(
            floor=Decimal(0), max_leverage=leverage(row), maintenance_rate=price(row["LongMarginRatio"]) or Decimal(1)
        ),
    )


# --- the account ------------------------------------------------------------------------------------------


def account(
    money: Row,
    rows: Iterable[Row],
    *,
    instruments: Mapping[str, Instrument],
    leverages: Mapping[str, int],
    time_ns: int,
) -> AccountSnapshot:
    """Return the account: its wallet without what positions would bring, net positions, and what they are made of.

    ``instruments`` are by the exchanges' names, ``leverages`` by symbol.  CTP's balance is with the profit since the
    last settlement, and a position's cost is that of the settlement: what positions have brought since they were
    opened is taken off by both.
    """
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        if row["Position"] and row["InstrumentID"] in instruments:
            by_name.setdefault(row["InstrumentID"], []).append(row)
    unsettled = sum(
        (
            _sign(row) * (number(row["PositionCost"]) - number(row["OpenCost"]))
            for each in by_name.values()
            for row in each
        ),
        Decimal(0),
    )
    wallet = round(number(money["Balance"]) - number(money["PositionProfit"]) - unsettled, 8)
    lots = {name: _lots(instruments[name].symbol, each) for name, each in by_name.items()}
    return AccountSnapshot(
        balances={CURRENCY: Balance(free=wallet, locked=Decimal(0))},
        time_ns=time_ns,
        positions=tuple(
            PositionReport(
                symbol=each.symbol,
                quantity=each.net,
                entry_price=_entry_price(by_name[name], each.net, instruments[name].multiplier),
                margin_mode=MarginMode.CROSS,
                leverage=leverages.get(each.symbol),
                time_ns=time_ns,
            )
            for name, each in lots.items()
            if each.net
        ),
        terms={symbol: SymbolTerms(leverage=each, margin_mode=MarginMode.CROSS) for symbol, each in leverages.items()},
        position_mode=PositionMode.ONE_WAY,
        lots=tuple(lots.values()),
    )


def _sign(row: Row) -> int:
    return 1 if row["PosiDirection"] == _LONG else -1


def _lots(symbol: str, rows: Iterable[Row]) -> Lots:
    """Return what there is of a contract; YdPosition is yesterday's closing figure, and says nothing of now."""
    found = {"long_today": 0, "long_yesterday": 0, "short_today": 0, "short_yesterday": 0}
    for row in rows:
        side = "long" if row["PosiDirection"] == _LONG else "short"
        today = int(row["TodayPosition"])
        found[f"{side}_today"] += today
        found[f"{side}_yesterday"] += int(row["Position"]) - today
    return Lots(symbol=symbol, **{name: Decimal(each) for name, each in found.items()})


def _entry_price(rows: Iterable[Row], net: Decimal, multiplier: Decimal) -> Decimal:
    cost = sum((_sign(row) * number(row["OpenCost"]) for row in rows), Decimal(0))
    return abs(round(cost / (net * multiplier), 8))


# --- orders ---------------------------------------------------------------------------------------------------


def input_order(leg: Leg, limit: Decimal, *, broker_id: str, user: str, order_ref: str) -> dict[str, Any]:
    """Return the fields of ReqOrderInsert; ``limit`` is the price, of an order at the market the day's worst."""
    request = leg.request
    is_at_once = request.order_type is OrderType.MARKET or request.time_in_force is not TimeInForce.DAY
    if request.order_type is OrderType.LIMIT and request.time_in_force is TimeInForce.GTC:
        is_at_once = False  # nothing rests for longer than its trading day
    return {
        "BrokerID": broker_id,
        "InvestorID": user,
        "UserID": user,
        "InstrumentID": request.instrument.venue_symbol,
        "OrderRef": order_ref,
        "OrderMemo": leg.client_order_id,
        "OrderPriceType": "2",  # a limit
        "Direction": _BUY if request.side is Side.BUY else _SELL,
        "CombOffsetFlag": _OFFSETS[leg.offset],
        "CombHedgeFlag": "1",  # speculation
        "LimitPrice": float(limit),
        "VolumeTotalOriginal": int(leg.quantity),
        "TimeCondition": _IOC if is_at_once else _GFD,
        "VolumeCondition": _ALL if request.time_in_force is TimeInForce.FOK else _ANY_VOLUME,
        "MinVolume": 1,
        "ContingentCondition": "1",  # at once
        "ForceCloseReason": "0",
        "IsAutoSuspend": 0,
        "UserForceClose": 0,
    }


def name_of(row: Row) -> str:
    """Return the client order id of an order; one that has no memo was placed by somebody else."""
    memo: str = row["OrderMemo"].strip()
    return memo or f"{row['FrontID']}.{row['SessionID']}.{row['OrderRef'].strip()}"


def venue_order_id(row: Row) -> str | None:
    """Return the exchange's number of an order, None before it has one."""
    return row["OrderSysID"].strip() or None


def report(row: Row, *, symbol: str, time_ns: int) -> OrderReport:
    """Return what an order's row says."""
    status = _STATUSES.get(row["OrderStatus"], Status.PENDING_NEW)
    if status is Status.CANCELED and row["OrderSubmitStatus"] == _INSERT_REJECTED:
        status = Status.REJECTED
    return OrderReport(
        client_order_id=name_of(row),
        venue_order_id=venue_order_id(row),
        symbol=symbol,
        status=status,
        filled=Decimal(int(row["VolumeTraded"])),
        time_ns=time_ns,
        reason=row["StatusMsg"].strip() if status is Status.REJECTED else "",
        side=Side.BUY if row["Direction"] == _BUY else Side.SELL,
        order_type=OrderType.LIMIT,
        quantity=Decimal(int(row["VolumeTotalOriginal"])),
        price=price(row["LimitPrice"]),
    )


def fill(row: Row, *, client_order_id: str, instrument: Instrument, fee: Decimal | None, time_ns: int) -> Fill:
    """Return an execution; its id is unique within the account: exchanges number trades anew each day."""
    return Fill(
        fill_id=f"{row['TradingDay']}{row['ExchangeID']}{row['Direction']}-{row['TradeID'].strip()}",
        client_order_id=client_order_id,
        venue_order_id=venue_order_id(row),
        symbol=instrument.symbol,
        side=Side.BUY if row["Direction"] == _BUY else Side.SELL,
        price=number(row["Price"]),
        quantity=Decimal(int(row["Volume"])),
        fee=fee,
        fee_asset=instrument.settle if fee is not None else None,
        time_ns=time_ns,
        offset=offset_of(row),
    )


def offset_of(row: Row) -> Offset:
    """Return what a trade did to the position; a forced close is a close."""
    return _OFFSET_OF.get(row["OffsetFlag"], Offset.CLOSE)
