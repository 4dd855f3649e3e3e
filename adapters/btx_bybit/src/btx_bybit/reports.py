"""What Bybit says of orders and executions, into the model: REST and the private stream write them alike.

Source: https://bybit-exchange.github.io/docs/v5/order/open-order, .../order/execution, .../enum, 2026.
There is no sequence of an order's states: what is further on in its life is later.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import exact, limit
from btx.model.order import Fill, Liquidity, OrderReport, OrderType, Origin, PositionSide, Side, Status
from btx.model.time import from_ms
from btx_bybit.codec import POSITION_SIDES, SIDES

__all__ = ("FOREIGN", "client_order_id", "fill", "is_fill", "is_funding", "order_report", "side_of_position")

Json = Mapping[str, Any]

FOREIGN = "bybit-"
"""How orders are named here that no client named (those of a hand, or of a position): their id follows."""

_STATUSES: Mapping[str, Status] = {
    "New": Status.NEW,
    "PartiallyFilled": Status.PARTIALLY_FILLED,
    "Untriggered": Status.NEW,
    "Triggered": Status.NEW,  # for an instant: it works from now on
    "Rejected": Status.REJECTED,
    "PartiallyFilledCanceled": Status.CANCELED,
    "Filled": Status.FILLED,
    "Cancelled": Status.CANCELED,
    "Deactivated": Status.CANCELED,  # of spot: before it triggered
}

# "rejectReason": the matching engine did not want it (any more), and nobody cancelled it.  What is post-only and would
# take is "Cancelled" of contracts and "Rejected" of spot, as clients saw on live accounts in 2026.
_WITHOUT_US = frozenset({Status.CANCELED, Status.REJECTED})
_EXPIRED = frozenset(
    {
        "EC_NoEnoughQtyToFill",
        "EC_NoImmediateQtyToFill",
        "EC_CancelForNoFullFill",
        "EC_PostOnlyWillTakeLiquidity",
        "EC_BySelfMatch",
        "EC_StopBySelfMatch",
        "EC_ReachMaxTradeNum",
        "EC_CancelByOrderValueZero",
        "EC_CancelByMatchValueZero",
        "EC_ReachRiskPriceLimit",
        "EC_ReachMarketPriceLimit",
    }
)
_NO_REASON = frozenset({"", "EC_NoError", "EC_PerCancelRequest", "UNKNOWN", "CancelByUser"})
_REASONS = {
    "EC_NoImmediateQtyToFill": "IOC: the rest was not filled",
    "EC_CancelForNoFullFill": "FOK: not to be filled at once",
    "EC_NoEnoughQtyToFill": "not enough in the book to fill it",
    "EC_PostOnlyWillTakeLiquidity": "post-only: it would have taken",
    "EC_BySelfMatch": "self-trade prevention",
    "CancelBySmp": "self-trade prevention",
    "CancelByReduceOnly": "there is no position left to reduce",
    "CancelByDCP": "the venue had heard nothing of us for too long",
    "CancelByTpSlTsClear": "its position is closed",
    "CancelBySettle": "the contract is over",
    "CancelByOCOTpCanceledBySlTriggered": "the stop loss beside it was triggered",
    "CancelByOCOSlCanceledByTpTriggered": "the take profit beside it was triggered",
}

_LIQUIDATIONS = ("CreateByLiq", "CreateByTakeOver_PassThrough")
_ORIGINS: Mapping[str, Origin] = {
    **dict.fromkeys(_LIQUIDATIONS, Origin.LIQUIDATION),
    "CreateByAdl_PassThrough": Origin.DELEVERAGING,
    "CreateBySettle": Origin.DELIVERY,
    # of executions: "execType"
    "BustTrade": Origin.LIQUIDATION,
    "AdlTrade": Origin.DELEVERAGING,
    "Delivery": Origin.DELIVERY,
    "Settle": Origin.DELIVERY,
    # made of "takeProfit" and "stopLoss" of an order, or kept with the position
    "CreateByTakeProfit": Origin.ATTACHED,
    "CreateByStopLoss": Origin.ATTACHED,
    "CreateByPartialTakeProfit": Origin.ATTACHED,
    "CreateByPartialStopLoss": Origin.ATTACHED,
    "CreateByTrailingStop": Origin.ATTACHED,
    "CreateByTrailingProfit": Origin.ATTACHED,
}
_ATTACHED_TO_SPOT = frozenset({"tpslOrder", "BidirectionalTpslOrder"})  # "stopOrderType": spot names no "createType"
_NO_FILLS = frozenset({"Funding", "FutureSpread", "UNKNOWN"})  # "execType" of what no order did

_STOP_TYPES = {"Market": OrderType.STOP_MARKET, "Limit": OrderType.STOP_LIMIT}
_PROFIT_TYPES = {"Market": OrderType.TAKE_PROFIT_MARKET, "Limit": OrderType.TAKE_PROFIT_LIMIT}
_PLAIN_TYPES = {"Market": OrderType.MARKET, "Limit": OrderType.LIMIT}
_RISING, _FALLING = 1, 2  # "triggerDirection"
_STOPPING = frozenset({(Side.BUY, _RISING), (Side.SELL, _FALLING)})  # a stop follows the market


def order_report(row: Json, *, symbol: str) -> OrderReport:
    """Return one order."""
    filled, status = exact(row.get("cumExecQty") or 0), _STATUSES[row["orderStatus"]]
    said = row.get("rejectReason") or ""
    if status in _WITHOUT_US and (said in _EXPIRED or row.get("cancelType") == "CancelBySmp"):
        status = Status.EXPIRED
    elif status is Status.REJECTED and filled:
        status = Status.CANCELED  # of the rest
    return OrderReport(
        client_order_id=client_order_id(row),
        venue_order_id=row["orderId"],
        symbol=symbol,
        status=status,
        filled=filled,
        time_ns=from_ms(int(row["updatedTime"])),
        reason=_reason(row) if status.is_final and status is not Status.FILLED else "",
        side=SIDES[row["side"]],
        order_type=_order_type(row),
        quantity=limit(row, "qty"),
        price=limit(row, "price") if row["orderType"] == "Limit" else None,
        trigger_price=limit(row, "triggerPrice"),
        position_side=_position_side(row),
        reduce_only=bool(row.get("reduceOnly")),
        origin=_origin(row),
        parent=row.get("parentOrderLinkId") or "",
    )


def client_order_id(row: Json) -> str:
    """Return how an order is named here."""
    return row.get("orderLinkId") or f"{FOREIGN}{row['orderId']}"


def is_funding(row: Json) -> bool:
    """Say whether an execution is a payment of funding."""
    return bool(row["execType"] == "Funding")


def is_fill(row: Json) -> bool:
    """Say whether an execution is one: funding is in the same list, and is a booking."""
    return row["execType"] not in _NO_FILLS and bool(exact(row["execQty"] or 0))


def side_of_position(row: Json, *, is_hedged: bool) -> PositionSide:
    """Return whose position an execution is of, which it does not say: what closes is of the other side."""
    if not is_hedged:
        return PositionSide.NET
    closes = bool(limit(row, "closedSize"))
    return PositionSide.LONG if (row["side"] == "Buy") is not closes else PositionSide.SHORT


def fill(row: Json, *, symbol: str, position_side: PositionSide = PositionSide.NET) -> Fill:
    """Return one execution.

    Contracts pay in the coin they are settled in.  Spot pays with what it gets, and
    where the venue names no coin, that is meant (enums, "Spot fee currency instruction");
    a maker's rebate is in the other one.
    """
    side, fee = SIDES[row["side"]], limit(row, "execFee") or Decimal(0)
    is_maker = bool(row.get("isMaker"))
    return Fill(
        fill_id=row["execId"],
        client_order_id=client_order_id(row),
        venue_order_id=row["orderId"],
        symbol=symbol,
        side=side,
        price=Decimal(row["execPrice"]),
        quantity=Decimal(row["execQty"]),
        fee=fee,
        fee_asset=row.get("feeCurrency") or _fee_asset(symbol, side, is_rebate=fee < 0 and is_maker),
        liquidity=Liquidity.MAKER if is_maker else Liquidity.TAKER,
        time_ns=from_ms(int(row["execTime"])),
        position_side=position_side,
        realised=limit(row, "execPnl"),
        origin=_ORIGINS.get(row["execType"], _ORIGINS.get(row.get("createType") or "", Origin.CLIENT)),
    )


def _fee_asset(symbol: str, side: Side, *, is_rebate: bool) -> str:
    pair, _, rest = symbol.partition(":")
    base, _, quote = pair.partition("/")
    if rest:
        return rest.partition("-")[0]
    return base if (side is Side.BUY) is not is_rebate else quote


def _order_type(row: Json) -> OrderType | None:
    kind = row["orderType"]
    if row.get("stopOrderType") == "TrailingStop":
        return OrderType.TRAILING_STOP
    trigger = limit(row, "triggerPrice")
    if not trigger:
        return _PLAIN_TYPES.get(kind)
    direction = int(row.get("triggerDirection") or 0) or _direction(row, trigger)
    stops = direction is None or (SIDES[row["side"]], direction) in _STOPPING
    return (_STOP_TYPES if stops else _PROFIT_TYPES).get(kind)


def _direction(row: Json, trigger: Decimal) -> int | None:
    """Return which way an order of spot waits, which is said of contracts alone; None: the row does not tell.

    It waits for its trigger from where the last price was when it was made.
    """
    last = limit(row, "basePrice") or limit(row, "lastPriceOnCreated")
    if not last or trigger == last:
        return None
    return _RISING if trigger > last else _FALLING


def _origin(row: Json) -> Origin:
    """Return who made an order; clients' own have a name they gave."""
    if not row.get("orderLinkId") and row.get("stopOrderType") in _ATTACHED_TO_SPOT:
        return Origin.ATTACHED
    return _ORIGINS.get(row.get("createType") or "", Origin.CLIENT)


def _position_side(row: Json) -> PositionSide | None:
    index = row.get("positionIdx")
    return POSITION_SIDES[int(index)] if index not in {None, ""} else None


def _reason(row: Json) -> str:
    for said in (row.get("rejectReason") or "", row.get("cancelType") or ""):
        if said not in _NO_REASON:
            return _REASONS.get(said, said)
    return ""
