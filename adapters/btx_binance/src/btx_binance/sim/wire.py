"""What Binance spot says on the wire, from what the simulator knows.  Values in, JSON values out.

Written from the venue's documentation (github.com/binance/binance-spot-api-docs:
``rest-api.md``, ``web-socket-streams.md``, ``web-socket-api.md``,
``user-data-stream.md``, ``errors.md``, ``enums.md``; state of 2026), and compared
with frames recorded at the venue in March 2026.  It never sees the adapter's codec.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from decimal import Decimal

from btx.model.account import Balance
from btx.model.market import BookLevel
from btx.model.order import ListKind, OrderType, Side, Status
from btx.model.time import to_ms
from btx.sim.exchange import (
    Amendment,
    ExecutionEvent,
    ExecutionKind,
    Refusal,
    Refused,
    SimFill,
    SimOrder,
    SimOrderList,
)
from btx.sim.skin.text import JSON

__all__ = (
    "DISCOUNT_ASSET",
    "ORDER_TYPES",
    "SELF_TRADE_PREVENTION",
    "SELF_TRADE_PREVENTION_MODES",
    "WireError",
    "account_position",
    "amend_refused",
    "amended",
    "amendment_row",
    "balance_rows",
    "cancel_refused",
    "canceled",
    "depth_levels",
    "execution_report",
    "fill_row",
    "list_status",
    "number",
    "order_ack",
    "order_full",
    "order_list",
    "order_query",
    "order_result",
    "order_type_text",
    "place_refused",
    "query_refused",
    "signature_fits",
    "signed_by_ed25519",
)

# exchangeInfo of 2025-08-07, the same for every symbol.
SELF_TRADE_PREVENTION = "EXPIRE_MAKER"
SELF_TRADE_PREVENTION_MODES = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT")
DISCOUNT_ASSET = "BNB"

ORDER_TYPES: Mapping[str, tuple[OrderType, bool]] = {
    "LIMIT": (OrderType.LIMIT, False),
    "LIMIT_MAKER": (OrderType.LIMIT, True),
    "MARKET": (OrderType.MARKET, False),
    "STOP_LOSS": (OrderType.STOP_MARKET, False),
    "STOP_LOSS_LIMIT": (OrderType.STOP_LIMIT, False),
    "TAKE_PROFIT": (OrderType.TAKE_PROFIT_MARKET, False),
    "TAKE_PROFIT_LIMIT": (OrderType.TAKE_PROFIT_LIMIT, False),
}
"""The venue's order types, and what each means: (order type, post only)."""

_TYPE_TEXTS = {meaning: text for text, meaning in ORDER_TYPES.items()}
_OPEN = frozenset({Status.NEW, Status.PARTIALLY_FILLED})
_NOTHING = Decimal(0)


class WireError(Exception):
    """An error as the venue words it: ``code``, ``message``, HTTP ``status``, when to come back, and ``data``."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: int = 400,
        retry_at_ms: int | None = None,
        data: JSON | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_at_ms = retry_at_ms
        self.data = data

    def body(self) -> JSON:
        body: JSON = {"code": self.code, "msg": self.message}
        return body if self.data is None else body | {"data": self.data}


def number(value: Decimal | None) -> str:
    """Return a price or quantity with eight decimals; what is absent is zero on this wire."""
    return f"{_NOTHING if value is None else value:.8f}"


# --- signatures ------------------------------------------------------------------------------------------


def signature_fits(payload: str, signature: str, secret: str) -> bool:
    """Say whether ``signature`` belongs to exactly this payload; a hexadecimal one in either case.

    A secret that is a PEM private key is an Ed25519 key: its signatures are
    base64 (rest-api.md, "SIGNED Endpoint security").
    """
    if signed_by_ed25519(secret):
        return _ed25519_fits(payload, signature, secret)
    expected = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.lower().encode())


def signed_by_ed25519(secret: str) -> bool:
    """Say whether an account's secret is an Ed25519 key and not an HMAC secret."""
    return secret.lstrip().startswith("-----BEGIN")


def _ed25519_fits(payload: str, signature: str, secret: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(secret.encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        return False
    try:
        key.public_key().verify(base64.b64decode(signature, validate=True), payload.encode())
    except (InvalidSignature, binascii.Error):
        return False
    return True


# --- refusals --------------------------------------------------------------------------------------------

_COMMON_REFUSALS = {
    Refusal.UNKNOWN_SYMBOL: (-1121, "Invalid symbol."),
    Refusal.NOT_SUPPORTED: (-1020, "This operation is not supported."),
}
_PLACE_REFUSALS = _COMMON_REFUSALS | {
    Refusal.DUPLICATE_CLIENT_ID: (-2010, "Duplicate order sent."),
    Refusal.INSUFFICIENT_BALANCE: (-2010, "Account has insufficient balance for requested action."),
    Refusal.WOULD_TAKE: (-2010, "Order would immediately match and take."),
    # errors.md says "Order would trigger immediately."; the venue is known to send this text.
    Refusal.STOP_WOULD_TRIGGER: (-2010, "Stop price would trigger immediately."),
    Refusal.MARKET_HALTED: (-1013, "Market is closed."),
    Refusal.DISPLAY_TOO_LARGE: (-2010, "IcebergQty exceeds QTY."),
    Refusal.DUPLICATE_LIST_ID: (-2010, "Duplicate order sent."),
    Refusal.LIST_PRICES: (-2010, "The relationship of the prices for the orders is not correct."),
}
_AMEND_REFUSALS = _COMMON_REFUSALS | {
    Refusal.UNKNOWN_ORDER: (-2038, "Unknown order sent."),
    Refusal.DUPLICATE_CLIENT_ID: (-2038, "Duplicate order sent."),
    Refusal.AMEND_INCREASE: (-2038, "Order amend (quantity increase) is not supported."),
    Refusal.AMEND_NO_CHANGE: (-2038, "The requested action would change no state; rejecting."),
}
# user-data-stream.md, "Order Reject Reason"; what it has no word for is not said.
_REJECT_REASONS = {
    Refusal.INSUFFICIENT_BALANCE: "INSUFFICIENT_BALANCES",
    Refusal.STOP_WOULD_TRIGGER: "STOP_PRICE_WOULD_TRIGGER_IMMEDIATELY",
    Refusal.WOULD_TAKE: "WOULD_MATCH_IMMEDIATELY",
    Refusal.LIST_PRICES: "OCO_BAD_PRICES",
}


_FILTERS = {
    "price": "PRICE_FILTER",
    "percent_price": "PERCENT_PRICE",
    "percent_price_by_side": "PERCENT_PRICE_BY_SIDE",
    "lot": "LOT_SIZE",
    "market_lot": "MARKET_LOT_SIZE",
    "notional": "NOTIONAL",
    "iceberg_parts": "ICEBERG_PARTS",
    "trailing_delta": "TRAILING_DELTA",
    "max_position": "MAX_POSITION",
    "max_num_orders": "MAX_NUM_ORDERS",
    "max_num_algo_orders": "MAX_NUM_ALGO_ORDERS",
    "max_num_iceberg_orders": "MAX_NUM_ICEBERG_ORDERS",
    "max_num_order_lists": "MAX_NUM_ORDER_LISTS",
    "max_num_order_amends": "MAX_NUM_ORDER_AMENDS",
}


def place_refused(refused: Refused) -> WireError:
    """Return the error for an order that was not taken."""
    if refused.reason is Refusal.FILTER:
        return WireError(-1013, f"Filter failure: {_FILTERS[refused.detail]}")
    return WireError(*_PLACE_REFUSALS[refused.reason])


def amend_refused(refused: Refused) -> WireError:
    """Return the error for an amendment that was not made; too many of them are a refusal, not a bad message."""
    if refused.reason is Refusal.FILTER:
        code = -2038 if refused.detail == "max_num_order_amends" else -1013
        return WireError(code, f"Filter failure: {_FILTERS[refused.detail]}")
    return WireError(*_AMEND_REFUSALS[refused.reason])


def cancel_refused(refused: Refused) -> WireError:
    """Return the error for a cancel that found nothing to cancel, or not what it asked for."""
    if refused.reason is Refusal.CANCEL_RESTRICTED:
        return WireError(-2011, "Order was not canceled due to cancel restrictions.")
    return WireError(*_COMMON_REFUSALS.get(refused.reason, (-2011, "Unknown order sent.")))


def query_refused(refused: Refused) -> WireError:
    """Return the error for a query of an order that is not there."""
    return WireError(*_COMMON_REFUSALS.get(refused.reason, (-2013, "Order does not exist.")))


# --- orders ----------------------------------------------------------------------------------------------


def order_type_text(order: SimOrder) -> str:
    """Return the venue's name of an order's type."""
    return _TYPE_TEXTS[order.order_type, order.post_only]


def order_ack(order: SimOrder) -> JSON:
    """Return the ACK response to a placement."""
    return {
        "symbol": order.venue_symbol,
        "orderId": order.order_id,
        "orderListId": _list_id(order.list_id),
        "clientOrderId": order.client_order_id,
        "transactTime": to_ms(order.updated_ns),
    }


def order_result(order: SimOrder) -> JSON:
    """Return the RESULT response to a placement."""
    return order_ack(order) | _state(order) | _placed_conditionals(order)


def order_full(order: SimOrder) -> JSON:
    """Return the FULL response to a placement: RESULT and the fills it had at once."""
    fills = [
        {
            "price": number(fill.price),
            "qty": number(fill.quantity),
            "commission": number(fill.fee),
            "commissionAsset": fill.fee_asset,
            "tradeId": fill.trade_id,
        }
        for fill in order.fills
    ]
    return order_result(order) | {"fills": fills}


def order_query(order: SimOrder) -> JSON:
    """Return an order as queries and lists show it."""
    row = {
        "symbol": order.venue_symbol,
        "orderId": order.order_id,
        "orderListId": _list_id(order.list_id),
        "clientOrderId": order.client_order_id,
    }
    row |= _state(order)
    del row["workingTime"], row["selfTradePreventionMode"]
    return row | {
        "stopPrice": number(order.trigger_price),
        **_trailing(order),
        "icebergQty": number(order.display_quantity),
        "time": to_ms(order.created_ns),
        "updateTime": to_ms(order.updated_ns),
        "isWorking": order.working_ns is not None,
        "workingTime": _ms_or_never(order.working_ns),
        "origQuoteOrderQty": number(order.quote_quantity),
        "selfTradePreventionMode": SELF_TRADE_PREVENTION,
    }


def canceled(order: SimOrder, cancel_id: str) -> JSON:
    """Return the response to a cancel: the order under its old id, the cancel's own id beside it."""
    row = {
        "symbol": order.venue_symbol,
        "origClientOrderId": order.client_order_id,
        "orderId": order.order_id,
        "orderListId": _list_id(order.list_id),
        "clientOrderId": cancel_id,
        "transactTime": to_ms(order.updated_ns),
    }
    row |= _state(order)
    del row["workingTime"]
    return row | _placed_conditionals(order)


def fill_row(fill: SimFill) -> JSON:
    """Return one row of ``myTrades``."""
    return {
        "symbol": fill.venue_symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "orderListId": _list_id(fill.list_id),
        "price": number(fill.price),
        "qty": number(fill.quantity),
        "quoteQty": number(fill.quote_quantity),
        "commission": number(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": to_ms(fill.time_ns),
        "isBuyer": fill.side is Side.BUY,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def _state(order: SimOrder) -> JSON:
    return {
        "price": number(order.price),
        "origQty": number(order.quantity),
        "executedQty": number(order.executed_quantity),
        "origQuoteOrderQty": number(order.quote_quantity),
        "cummulativeQuoteQty": number(order.executed_quote),
        "status": order.status.value,
        "timeInForce": order.time_in_force.value,
        "type": order_type_text(order),
        "side": order.side.value,
        "workingTime": _ms_or_never(order.working_ns),
        "selfTradePreventionMode": SELF_TRADE_PREVENTION,
    }


def _placed_conditionals(order: SimOrder) -> JSON:
    """Return the fields that only some orders show (rest-api.md, "Conditional fields in Order Responses")."""
    shown: JSON = {}
    if order.trigger_price is not None or order.trail_bps is not None:
        shown["stopPrice"] = number(order.trigger_price)
    if order.is_iceberg:
        shown["icebergQty"] = number(order.display_quantity)
    return shown | _trailing(order)


def _trailing(order: SimOrder) -> JSON:
    if order.trail_bps is None:
        return {}
    return {"trailingDelta": order.trail_bps, "trailingTime": _ms_or_never(order.trail_ns)}


def _list_id(list_id: int | None) -> int:
    return -1 if list_id is None else list_id


def _ms_or_never(time_ns: int | None) -> int:
    return -1 if time_ns is None else to_ms(time_ns)


def amended(order: SimOrder, change: Amendment, tied: SimOrderList | None) -> JSON:
    """Return the response to an amendment; ``tied`` is the order's list."""
    state = _state(order)
    shown: JSON = {
        "symbol": order.venue_symbol,
        "orderId": order.order_id,
        "orderListId": _list_id(order.list_id),
        "origClientOrderId": change.old_client_order_id,
        "clientOrderId": order.client_order_id,
        "price": state["price"],
        "qty": state["origQty"],
        "executedQty": state["executedQty"],
        "preventedQty": number(None),
        "quoteOrderQty": state["origQuoteOrderQty"],
        "cumulativeQuoteQty": state["cummulativeQuoteQty"],
    }
    shown |= {name: state[name] for name in ("status", "timeInForce", "type", "side", "workingTime")}
    shown |= _placed_conditionals(order) | {"selfTradePreventionMode": SELF_TRADE_PREVENTION}
    answer: JSON = {
        "transactTime": to_ms(change.time_ns),
        "executionId": change.execution_id,
        "amendedOrder": shown,
    }
    if tied is not None:
        row = order_list(tied)
        del row["listStatusType"], row["transactionTime"]
        answer["listStatus"] = row
    return answer


def amendment_row(change: Amendment) -> JSON:
    """Return one row of an order's amendments."""
    return {
        "symbol": change.venue_symbol,
        "orderId": change.order_id,
        "executionId": change.execution_id,
        "origClientOrderId": change.old_client_order_id,
        "newClientOrderId": change.new_client_order_id,
        "origQty": number(change.old_quantity),
        "newQty": number(change.new_quantity),
        "time": to_ms(change.time_ns),
    }


# --- order lists -----------------------------------------------------------------------------------------

# enums.md, "ContingencyType": an OTOCO is an OTO whose pending orders are a pair.
_CONTINGENCIES = {ListKind.OCO: "OCO", ListKind.OTO: "OTO", ListKind.OTOCO: "OTO"}


def order_list(tied: SimOrderList) -> JSON:
    """Return an order list as queries show it."""
    return {
        "orderListId": tied.list_id,
        "contingencyType": _CONTINGENCIES[tied.kind],
        "listStatusType": "ALL_DONE" if tied.is_done else "EXEC_STARTED",
        "listOrderStatus": "ALL_DONE" if tied.is_done else "EXECUTING",
        "listClientOrderId": tied.client_list_id,
        "transactionTime": to_ms(tied.updated_ns),
        "symbol": tied.venue_symbol,
        "orders": [
            {"symbol": tied.venue_symbol, "orderId": order_id, "clientOrderId": client_order_id}
            for order_id, client_order_id in zip(tied.order_ids, tied.client_order_ids, strict=True)
        ],
    }


def list_status(tied: SimOrderList, time_ns: int) -> JSON:
    """Return ``listStatus``: an order list was placed, changed, or is done."""
    row = order_list(tied)
    return {
        "e": "listStatus",
        "E": to_ms(time_ns),
        "s": tied.venue_symbol,
        "g": tied.list_id,
        "c": row["contingencyType"],
        "l": "UPDATED" if tied.is_renamed else row["listStatusType"],
        "L": row["listOrderStatus"],
        "r": "NONE",
        "C": tied.client_list_id,
        "T": row["transactionTime"],
        "O": [{"s": one["symbol"], "i": one["orderId"], "c": one["clientOrderId"]} for one in row["orders"]],
    }


# --- the account -----------------------------------------------------------------------------------------


def balance_rows(balances: Mapping[str, Balance], *, omit_zero: bool = False) -> list[JSON]:
    """Return balances as ``account`` lists them."""
    return [
        {"asset": asset, "free": number(balance.free), "locked": number(balance.locked)}
        for asset, balance in sorted(balances.items())
        if balance.total or not omit_zero
    ]


def account_position(event: ExecutionEvent) -> JSON:
    """Return ``outboundAccountPosition``: the assets the event may have changed."""
    time_ms = to_ms(event.time_ns)
    return {
        "e": "outboundAccountPosition",
        "E": time_ms,
        "u": time_ms,
        "B": [
            {"a": asset, "f": number(balance.free), "l": number(balance.locked)}
            for asset, balance in sorted(event.balances.items())
        ],
    }


_EXECUTION_TYPES = {
    ExecutionKind.NEW: "NEW",
    ExecutionKind.TRADE: "TRADE",
    ExecutionKind.CANCELED: "CANCELED",
    ExecutionKind.EXPIRED: "EXPIRED",
    ExecutionKind.REJECTED: "REJECTED",
    ExecutionKind.REPLACED: "REPLACED",
    ExecutionKind.TRIGGERED: "NEW",  # a stop that starts to work says NEW again, now with `w` and `W`
}


def execution_report(event: ExecutionEvent, cancel_id: str | None = None) -> JSON:
    """Return ``executionReport``; ``cancel_id`` is the id a cancel request gave itself."""
    order, fill = event.order, event.fill
    works = order.status in _OPEN and order.working_ns is not None
    former_id = order.client_order_id if cancel_id is not None else event.previous_client_order_id
    report: JSON = {
        "e": "executionReport",
        "E": to_ms(event.time_ns),
        "s": order.venue_symbol,
        "c": order.client_order_id if cancel_id is None else cancel_id,
        "S": order.side.value,
        "o": order_type_text(order),
        "f": order.time_in_force.value,
        "q": number(order.quantity),
        "p": number(order.price),
        "P": number(order.trigger_price),
        "F": number(order.display_quantity),
        "g": _list_id(order.list_id),
        "C": former_id or "",
        "x": _EXECUTION_TYPES[event.kind],
        "X": order.status.value,
        "r": "NONE" if order.reject_reason is None else _REJECT_REASONS.get(order.reject_reason, "NONE"),
        "i": order.order_id,
        "l": number(fill.quantity if fill else None),
        "z": number(order.executed_quantity),
        "L": number(fill.price if fill else None),
        "n": number(fill.fee) if fill else "0",
        "N": fill.fee_asset if fill else None,
        "T": to_ms(event.time_ns),
        "t": fill.trade_id if fill else -1,
        "I": event.sequence,
        "w": works and not (fill is not None and not fill.is_maker),
        "m": fill.is_maker if fill else False,
        "M": fill is not None,
        "O": to_ms(order.created_ns),
        "Z": number(order.executed_quote),
        "Y": number(fill.quote_quantity if fill else None),
        "Q": number(order.quote_quantity),
    }
    if order.trail_bps is not None:
        report["d"] = order.trail_bps
        if order.trail_ns is not None:
            report["D"] = to_ms(order.trail_ns)
    if order.working_ns is not None:
        report["W"] = to_ms(order.working_ns)
    return report | {"V": SELF_TRADE_PREVENTION}


# --- the book --------------------------------------------------------------------------------------------


def depth_levels(levels: Iterable[BookLevel]) -> list[list[str]]:
    """Return price and quantity of book levels, as text."""
    return [[number(price), number(quantity)] for price, quantity in levels]
