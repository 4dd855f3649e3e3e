"""What an order of Bybit is on the wire, and what cannot be said.

Source: https://bybit-exchange.github.io/docs/v5/order/create-order and .../amend-order, 2026.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import exact, plain
from btx.errors import NotSupportedError
from btx.model.order import Leg, OrderRequest, OrderType, PositionSide, Side, TimeInForce, TriggerBy
from btx_bybit.config import SPOT

__all__ = (
    "POSITIONS",
    "TPSL",
    "amend_params",
    "exact_text",
    "has_passed",
    "is_conditional",
    "order_filter",
    "order_params",
)

TPSL = "tpslOrder"
"""A conditional order of spot for which the coins are set aside at once, so that it cannot fail for want of them."""

POSITIONS = {PositionSide.NET: 0, PositionSide.LONG: 1, PositionSide.SHORT: 2}
"""What a position is called: ``positionIdx``."""

_ORDER = "Order"
_WITH_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_STOPS = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT})
_SIDES = {Side.BUY: "Buy", Side.SELL: "Sell"}
_TRIGGERS = {TriggerBy.LAST: "LastPrice", TriggerBy.MARK: "MarkPrice"}
_TIMES_IN_FORCE = frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK})
_OPENING = frozenset({(PositionSide.LONG, Side.BUY), (PositionSide.SHORT, Side.SELL)})
_RISING, _FALLING = 1, 2  # "triggerDirection"
_WHOLE_NUMBERS = frozenset({"isLeverage", "positionIdx", "triggerDirection"})  # of create-order; others are texts
_EXITS = {"takeProfit": "tp", "stopLoss": "sl"}


def is_conditional(order_type: OrderType | None) -> bool:
    """Say whether orders of this type wait for a price."""
    return order_type not in {OrderType.MARKET, OrderType.LIMIT, None}


def order_params(leg: Leg, *, market: str) -> dict[str, Any]:
    """Return the parameters of ``order/create``.

    What the user passed through (``takeProfit``, ``stopLoss``, ``tpslMode``, ``smpType``,
    ``isLeverage``, ``closeOnTrigger``, ``slippageTolerance``, ...) goes with it, numbers as texts, and with what its
    exits need besides.

    Raises:
        NotSupportedError: Bybit has no such order.
    """
    request = leg.request
    _check(request)
    words = {
        "category": market,
        "symbol": request.instrument.venue_symbol,
        "side": _SIDES[request.side],
        "orderType": "Limit" if request.order_type in _WITH_LIMIT else "Market",
        "qty": plain(leg.quantity),
        "orderLinkId": leg.client_order_id,
        **_price(request),
        **(_of_spot(request) if market == SPOT else _of_contract(request)),
    }
    given = {name: value if name in _WHOLE_NUMBERS else exact_text(value) for name, value in request.params.items()}
    return {**_exit_words(given, market), **given, **words}


def amend_params(leg: Leg, venue_order_id: str | None, new: Leg, *, market: str) -> dict[str, Any]:
    """Return the parameters of ``order/amend``: what does not change is not said, as the venue wants it.

    Raises:
        NotSupportedError: it is no limit order.
    """
    old, request = leg.request, new.request
    if old.order_type is not OrderType.LIMIT or request.price is None:
        raise NotSupportedError("btx amends limit orders of Bybit only: cancel the order and send another")
    words = {
        "category": market,
        "symbol": request.instrument.venue_symbol,
        **({"orderId": venue_order_id} if venue_order_id is not None else {"orderLinkId": leg.client_order_id}),
    }
    if new.quantity != leg.quantity:
        words["qty"] = plain(new.quantity)
    if request.price != old.price:
        words["price"] = plain(request.price)
    return words


def has_passed(request: OrderRequest, last_price: Decimal) -> bool:
    """Say whether the market is where a conditional order would trigger."""
    trigger_price = request.trigger_price
    if trigger_price is None:
        return False
    return last_price >= trigger_price if _direction(request) == _RISING else last_price <= trigger_price


def order_filter(request: OrderRequest) -> str:
    """Return which of spot's kinds of orders one is of."""
    found = request.params.get("orderFilter", TPSL if is_conditional(request.order_type) else _ORDER)
    return str(found)


def exact_text(value: Any) -> Any:
    """Return a parameter as the venue reads it: prices and sizes are texts there."""
    is_number = isinstance(value, float | Decimal | int) and not isinstance(value, bool)
    return plain(exact(value)) if is_number else value


def _exit_words(given: Mapping[str, Any], market: str) -> dict[str, str]:
    """Return what the exits of an order need said and the user left out: the kinds of orders they become.

    Spot refuses an exit without (170003); of a contract a limit price without is not looked at, and the exit would be
    a market order, and only exits of a part may have one.
    """
    words: dict[str, str] = {}
    for name, prefix in _EXITS.items():
        is_limit = bool(given.get(f"{prefix}LimitPrice"))
        if name in given and (is_limit or market == SPOT):
            words[f"{prefix}OrderType"] = "Limit" if is_limit else "Market"
            words |= {"tpslMode": "Partial"} if is_limit and market != SPOT else {}
    return words


def _check(request: OrderRequest) -> None:
    if request.display_quantity is not None:
        raise NotSupportedError("Bybit takes no icebergs: leave display_quantity out")
    if (request.order_type in _WITH_LIMIT) is (request.price is None):
        raise NotSupportedError(f"a price is for limit orders, and they need one: not {request.order_type.value}")
    if is_conditional(request.order_type) and request.trigger_price is None:
        raise NotSupportedError(f"an order of type {request.order_type.value} needs a trigger price")
    if request.time_in_force not in _TIMES_IN_FORCE:
        raise NotSupportedError(f"Bybit knows no time in force {request.time_in_force.value}")
    if request.time_in_force is TimeInForce.FOK and request.order_type not in _WITH_LIMIT:
        raise NotSupportedError("a market order of Bybit is always IOC, it may fill in part: FOK needs a limit")
    if request.post_only and (request.order_type not in _WITH_LIMIT or request.time_in_force is not TimeInForce.GTC):
        raise NotSupportedError("a post-only order is one with a limit that rests: its time in force is GTC")


def _price(request: OrderRequest) -> dict[str, Any]:
    """A market order is always IOC."""
    words: dict[str, Any] = {}
    if request.price is not None:
        words["price"] = plain(request.price)
        words["timeInForce"] = "PostOnly" if request.post_only else request.time_in_force.value
    if request.trigger_price is not None:
        words["triggerPrice"] = plain(request.trigger_price)
    return words


def _of_spot(request: OrderRequest) -> dict[str, Any]:
    """Quantities are of the base coin: of a market buy the venue would take them for quote units.

    Which way a trigger lies is not said: the venue sees it in its last price.
    """
    words: dict[str, Any] = {"orderFilter": order_filter(request)} if is_conditional(request.order_type) else {}
    if request.trigger_by is TriggerBy.MARK:
        raise NotSupportedError("spot has no mark price: leave trigger_by out")
    if request.order_type not in _WITH_LIMIT:
        words["marketUnit"] = "baseCoin"
    return words


def _of_contract(request: OrderRequest) -> dict[str, Any]:
    words: dict[str, Any] = {"positionIdx": POSITIONS[request.position_side]}
    if is_conditional(request.order_type):
        words["triggerDirection"] = _direction(request)
        words["triggerBy"] = _TRIGGERS[request.trigger_by]
    if request.reduce_only:
        if (request.position_side, request.side) in _OPENING:
            raise NotSupportedError(
                f"a {request.side.value} adds to a {request.position_side.value} position: it cannot be reduce-only"
            )
        words["reduceOnly"] = True
    return words


def _direction(request: OrderRequest) -> int:
    """A stop goes with the market: it buys when it rises; a take-profit order buys when it falls."""
    is_rising = (request.side is Side.BUY) is (request.order_type in _STOPS)
    return _RISING if is_rising else _FALLING
