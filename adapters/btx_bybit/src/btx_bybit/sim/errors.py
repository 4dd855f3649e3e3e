"""Bybit's words for what is refused and for what failed (docs/v5/error.mdx, 2025).

Of spot the codes are 170xxx, of contracts 110xxx; what cannot be read is 10001 everywhere.
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.model.order import Side
from btx.sim.faults import Fault, Kind, Where
from btx.sim.orders import Listing, NewOrder, Refusal, Refused
from btx.sim.skin import mishaps
from btx_bybit.sim.limits import Meters
from btx_bybit.sim.wire import WireError, plain

__all__ = (
    "AMEND_NOTHING",
    "DUPLICATE",
    "NOT_MODIFIED",
    "ORDER_GONE",
    "TOO_FEW_LEFT",
    "Mishaps",
    "Trouble",
    "duplicate",
    "gone",
    "invalid_category",
    "leverage_refused",
    "margin_refused",
    "operation_of",
    "place_refused",
    "position_mode_refused",
    "unknown_symbol",
)

Mishaps = mishaps.Mishaps[WireError]
"""What goes wrong at this venue."""

ORDER_GONE = (110001, "order not exists or too late to cancel")
AMEND_NOTHING = (10001, "The order remains unchanged as the parameters entered match the existing ones.")
NOT_MODIFIED = (34040, "not modified")
TOO_FEW_LEFT = (110064, "The modified contract quantity cannot be less than or equal to the filled quantity")
DUPLICATE = (110072, "OrderLinkedID is duplicate")
_SPOT_DUPLICATE = (170141, "Duplicate clientOrderId.")
_SPOT_GONE = (170213, "Order does not exist.")
_UNKNOWN = (10016, "Internal System Error.")
_ASIDE = "trigger_price"

_CONTRACTS: Mapping[Refusal, tuple[int, str]] = {
    Refusal.UNKNOWN_SYMBOL: (10001, "params error: symbol invalid"),
    Refusal.DUPLICATE_CLIENT_ID: DUPLICATE,
    Refusal.INSUFFICIENT_MARGIN: (110007, "ab not enough for new order"),
    Refusal.REDUCE_ONLY: (110017, "Reduce-only rule not satisfied"),
    Refusal.POSITION_SIDE: (10001, "position idx not match position mode"),
    Refusal.TIER_EXCEEDED: (
        110016,
        "Requested quantity of contracts exceeds risk limit, please adjust your risk limit level before trying again",
    ),
    Refusal.MARKET_HALTED: (110074, "This contract is not live"),
    Refusal.NOT_SUPPORTED: (10001, "params error: order is not supported"),
    Refusal.UNKNOWN_ORDER: ORDER_GONE,
    Refusal.AMEND_NO_CHANGE: AMEND_NOTHING,
}
_SPOT: Mapping[Refusal, tuple[int, str]] = {
    Refusal.UNKNOWN_SYMBOL: (170121, "Invalid symbol."),
    Refusal.DUPLICATE_CLIENT_ID: _SPOT_DUPLICATE,
    Refusal.INSUFFICIENT_BALANCE: (170131, "Insufficient balance."),
    Refusal.MARKET_HALTED: (170157, "The trading pair is not available for api trading"),
    Refusal.NOT_SUPPORTED: (170130, "Data sent for parameter 'orderType' is not valid."),
    Refusal.UNKNOWN_ORDER: _SPOT_GONE,
    Refusal.AMEND_NO_CHANGE: AMEND_NOTHING,
}
_FILTERS: Mapping[str, tuple[int, str]] = {
    "percent_price_by_side": (110003, "Order price exceeds the allowable range."),
    "max_num_orders": (110020, "Cannot have more than 500 active orders."),
    "max_num_algo_orders": (110009, "The number of stop orders exceeds maximum limit allowed"),
}
_SPOT_FILTERS: Mapping[str, tuple[int, str]] = {
    "price": (170134, "Order price has too many decimals."),
    "lot": (170137, "Order quantity has too many decimals."),
    "market_lot": (170137, "Order quantity has too many decimals."),
    "percent_price_by_side": (170193, "Buy order price cannot be higher than the price limit."),
    "notional": (170140, "Order value exceeded lower limit."),
    "max_num_orders": (170810, "Cannot exceed maximum of 500 conditional, TP/SL and active orders."),
    "max_num_algo_orders": (170810, "Cannot exceed maximum of 500 conditional, TP/SL and active orders."),
}
_LEVERAGE: Mapping[Refusal, tuple[int, str]] = {
    Refusal.LEVERAGE: (10001, "leverage invalid"),
    Refusal.TIER_EXCEEDED: (110013, "Due to risk limit, cannot set leverage"),
    Refusal.INSUFFICIENT_MARGIN: (110044, "Insufficient available margin"),
    Refusal.LEVERAGE_REDUCTION: (110044, "Insufficient available margin"),
}
_POSITION_MODE: Mapping[Refusal, tuple[int, str]] = {
    Refusal.NO_CHANGE: (110025, "Position mode is not modified"),
    Refusal.HAS_ORDERS: (110028, "Open orders exist, so you cannot change position mode"),
    Refusal.HAS_POSITION: (110024, "You have an existing position, so position mode cannot be switched"),
}
_MARGIN: Mapping[Refusal, tuple[int, str]] = {
    Refusal.NO_POSITION: (110033, "Margin cannot be set without open position"),
    Refusal.NOT_ISOLATED: (110015, "The position is in cross margin."),
    Refusal.INSUFFICIENT_MARGIN: (110014, "Insufficient available balance to add additional margin."),
}


def invalid_category() -> WireError:
    """Return the error for a category that is none."""
    return WireError(10001, "Illegal category")


def unknown_symbol(*, is_spot: bool) -> WireError:
    """Return the error for a symbol that is not listed."""
    return _worded(_SPOT if is_spot else _CONTRACTS, Refusal.UNKNOWN_SYMBOL)


def gone(*, is_spot: bool) -> WireError:
    """Return the error for an order that is not there, or not open any more."""
    return WireError(*(_SPOT_GONE if is_spot else ORDER_GONE))


def duplicate(*, is_spot: bool) -> WireError:
    """Return the error for a client order id that was used before."""
    return WireError(*(_SPOT_DUPLICATE if is_spot else DUPLICATE))


def place_refused(refused: Refused, listing: Listing, order: NewOrder, *, last: Decimal) -> WireError:
    """Return the error for an order, or an amendment, that was not taken; ``last`` is what triggers compare with."""
    is_spot = not listing.instrument.kind.is_margined
    if refused.reason is Refusal.FILTER:
        return _spot_filter(refused.detail, listing, order) if is_spot else _filter(refused.detail, listing, order)
    if refused.reason is Refusal.STOP_WOULD_TRIGGER:
        return _passed(order, last, is_spot=is_spot)
    return _worded(_SPOT if is_spot else _CONTRACTS, refused.reason)


def leverage_refused(refused: Refused) -> WireError:
    """Return the error for a leverage that was not changed."""
    return _worded(_LEVERAGE, refused.reason)


def position_mode_refused(refused: Refused) -> WireError:
    """Return the error for a position mode that was not changed."""
    return _worded(_POSITION_MODE, refused.reason)


def margin_refused(refused: Refused) -> WireError:
    """Return the error for margin that was not moved."""
    return _worded(_MARGIN, refused.reason)


def _worded(words: Mapping[Refusal, tuple[int, str]], reason: Refusal) -> WireError:
    return WireError(*words.get(reason, _UNKNOWN))


def _passed(order: NewOrder, last: Decimal, *, is_spot: bool) -> WireError:
    """Return the error for a trigger that the price has passed already."""
    if is_spot:
        return WireError(170130, "Data sent for parameter 'triggerPrice' is not valid.")
    trigger = plain(order.trigger_price)
    if (order.trigger_price or last) <= last:
        return WireError(110092, f"expect Rising, but trigger_price[{trigger}] <= current[{plain(last)}]??laste")
    return WireError(110093, f"expect Falling, but trigger_price[{trigger}] >= current[{plain(last)}]??last")


# --- filters ---------------------------------------------------------------------------------------------


def _filter(name: str, listing: Listing, order: NewOrder) -> WireError:
    """Return the error for a broken filter of a contract."""
    if name == "price":
        return _price(listing, order)
    if name in {"lot", "market_lot"}:
        return _quantity(name, listing, order)
    if name == "notional" and listing.filters.notional is not None:
        least = plain(listing.filters.notional.min)
        return WireError(110094, f"Order does not meet minimum order value {least}{listing.instrument.quote}")
    return WireError(*_FILTERS.get(name, _UNKNOWN))


def _price(listing: Listing, order: NewOrder) -> WireError:
    rule = listing.filters.price
    assert rule is not None, "it was broken"
    named = ((order.price, "price"), (order.trigger_price, _ASIDE))
    for price, name in named:
        if price is not None and (price < rule.min or (rule.max and price > rule.max)):
            return WireError(110003, "Order price exceeds the allowable range.")
        if price is not None and rule.tick and price % rule.tick:
            return WireError(10001, f"params error: {name} is not a multiple of the tick {plain(rule.tick)}")
    return WireError(*_UNKNOWN)


def _quantity(name: str, listing: Listing, order: NewOrder) -> WireError:
    rule = listing.filters.market_lot if name == "market_lot" else listing.filters.lot
    assert rule is not None, "it was broken"
    quantity = order.quantity or Decimal(0)
    if rule.max and quantity > rule.max:
        return WireError(10001, "The number of contracts exceeds maximum limit allowed: too large")
    if rule.min and quantity < rule.min:
        return WireError(10001, "The number of contracts exceeds minimum limit allowed")
    return WireError(10001, "Qty invalid")


def _spot_filter(name: str, listing: Listing, order: NewOrder) -> WireError:
    """Return the error for a broken filter of a spot pair."""
    quantity = order.quantity or Decimal(0)
    lot = listing.filters.market_lot if name == "market_lot" else listing.filters.lot
    if name in {"lot", "market_lot"} and lot is not None:
        if quantity > lot.max:
            return WireError(170135, "Order quantity exceeded upper limit.")
        if quantity < lot.min:
            return WireError(170136, "Order quantity exceeded lower limit.")
    if name == "percent_price_by_side" and order.side is Side.SELL:
        return WireError(170194, "Sell order price cannot be lower than the price limit.")
    return WireError(*_SPOT_FILTERS.get(name, _UNKNOWN))


# --- what fails -------------------------------------------------------------------------------------------

_NOT_DONE = (
    WireError(10016, "Internal System Error."),
    WireError(10000, "Server Timeout", status=503),
    WireError(429, "The trading service is experiencing a high server load.", status=429),
)
_LOST = (
    WireError(10000, "Server Timeout"),
    WireError(10016, "Internal System Error.", status=500),
    WireError(170007, "Timeout waiting for response from backend server."),
)
_LIMIT = 10

_PLACES = ("create", "amend", "create-batch", "amend-batch", "pre-check")
_CANCELS = ("cancel", "cancel-all", "cancel-batch")
_QUERIES = ("realtime", "history", "list")


def operation_of(verb: str, path: str) -> Where:
    """Return the class of an operation: what it does to orders, or whose data it reads."""
    _, _, group, *rest = path.split("/")
    name = rest[0] if rest else ""
    if group == "market":
        return Where.MARKET
    if (group == "order" and name in _PLACES) or (group, name) == ("position", "trading-stop"):
        return Where.PLACE
    if group == "order" and name in _CANCELS:
        return Where.CANCEL
    if group in {"order", "execution"} and verb == "GET" and name in _QUERIES:
        return Where.QUERY
    return Where.ACCOUNT


@attrs.frozen(kw_only=True)
class Trouble:
    """How the venue says that something failed."""

    meters: Meters

    refusals = (503, 403, 429, None)  # overload, the address, too many of them, cut before an answer
    meter_headers = "X-Bapi"

    def limited(self, fault: Fault, until_ns: int) -> WireError:
        """Return the error of too many requests of an account, or of an address."""
        if fault.kind is Kind.BAN:
            return self.meters.banned()
        return self.meters.too_much(_LIMIT, until_ns)

    def key_expired(self) -> WireError:
        """Return the error of a key that is valid no more."""
        return WireError(33004, "Your api key has expired.")

    def not_done(self, form: int) -> WireError:
        """Return the error of a request that was not done."""
        return _NOT_DONE[form % len(_NOT_DONE)]

    def unknown(self, form: int) -> WireError:
        """Return the error of a request that may have been done."""
        return _LOST[form % len(_LOST)]
