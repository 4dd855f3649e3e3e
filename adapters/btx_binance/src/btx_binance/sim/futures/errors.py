"""The futures' words for what is refused (error-code.md of USD-M and COIN-M, 2026-05-28)."""

from collections.abc import Mapping
from decimal import Decimal

from btx.sim.exchange import Listing, NewOrder, Refusal, Refused
from btx_binance.sim.wire import WireError

__all__ = (
    "ALGO_ONLY",
    "amend_refused",
    "cancel_refused",
    "leverage_refused",
    "margin_refused",
    "margin_type_refused",
    "place_refused",
    "position_mode_refused",
    "query_refused",
)

_POST_ONLY = (
    "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history"
)
_GOOD_TILL = (
    "The goodTillDate timestamp must be greater than the current time plus 600 seconds "
    "and smaller than 253402300799000 (UTC 9999-12-31 23:59:59)"
)
ALGO_ONLY = (-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.")
_COMMON: Mapping[Refusal, tuple[int, str]] = {
    Refusal.UNKNOWN_SYMBOL: (-1121, "Invalid symbol."),
    Refusal.NOT_SUPPORTED: (-1020, "This operation is not supported."),
}
_PLACE = {
    **_COMMON,
    Refusal.DUPLICATE_CLIENT_ID: (-4116, "ClientOrderId is duplicated."),
    Refusal.INSUFFICIENT_MARGIN: (-2019, "Margin is insufficient."),
    Refusal.REDUCE_ONLY: (-2022, "ReduceOnly Order is rejected."),
    Refusal.REDUCE_ONLY_IN_HEDGE: (-1106, "Parameter 'reduceonly' sent when not required."),
    Refusal.POSITION_SIDE: (-4061, "Order's position side does not match user's setting."),
    Refusal.TIER_EXCEEDED: (-2027, "Exceeded the maximum allowable position at current leverage."),
    Refusal.WOULD_TAKE: (-5022, _POST_ONLY),
    Refusal.STOP_WOULD_TRIGGER: (-2021, "Order would immediately trigger."),
    Refusal.MARKET_HALTED: (-4141, "Symbol is closed."),
    Refusal.CLOSE_EXISTS: (
        -4130,
        "An open stop or take profit order with GTE and closePosition in the direction is existing.",
    ),
    Refusal.GOOD_TILL: (-5040, _GOOD_TILL),
}
_AMEND = {
    **_PLACE,
    Refusal.UNKNOWN_ORDER: (-2013, "Order does not exist."),
    Refusal.AMEND_NO_CHANGE: (-5027, "No need to modify the order."),
}
_POSITION_MODE = {
    Refusal.NO_CHANGE: (-4059, "No need to change position side."),
    Refusal.HAS_ORDERS: (-4067, "Position side cannot be changed if there exists open orders."),
    Refusal.HAS_POSITION: (-4068, "Position side cannot be changed if there exists position."),
}
_MARGIN_TYPE = {
    **_COMMON,
    Refusal.NO_CHANGE: (-4046, "No need to change margin type."),
    Refusal.HAS_ORDERS: (-4047, "Margin type cannot be changed if there exists open orders."),
    Refusal.HAS_POSITION: (-4048, "Margin type cannot be changed if there exists position."),
}
_LEVERAGE = {
    **_COMMON,
    Refusal.LEVERAGE_REDUCTION: (
        -4161,
        "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    ),
    Refusal.TIER_EXCEEDED: (-2027, "Exceeded the maximum allowable position at current leverage."),
    Refusal.INSUFFICIENT_MARGIN: (-2028, "Leverage is smaller than permitted: insufficient margin balance."),
}
_MARGIN = {
    **_COMMON,
    Refusal.NOT_ISOLATED: (-4049, "Add margin only support for isolated position."),
    Refusal.NO_POSITION: (-4054, "Cannot add position margin: position is 0."),
    Refusal.POSITION_SIDE: (-4061, "Order's position side does not match user's setting."),
}
_COUNTS = {
    "max_num_orders": (-2025, "Reach max open order limit."),
    "max_num_algo_orders": (-4045, "Reach max stop order limit."),
}
# Whether it waits for its trigger -> the codes of a buy and of a sell.
_BAND_CODES = {False: (-4016, -4024), True: (-4183, -4184)}
_UNKNOWN = (-1000, "An unknown error occured while processing the request.")


def place_refused(refused: Refused, listing: Listing, order: NewOrder, mark: Decimal) -> WireError:
    """Return the error for an order that was not taken."""
    if refused.reason is Refusal.FILTER:
        return _filter_error(refused.detail, listing, order, mark)
    return WireError(*_PLACE.get(refused.reason, _UNKNOWN))


def amend_refused(refused: Refused, listing: Listing, order: NewOrder, mark: Decimal) -> WireError:
    """Return the error for a modification that was not made."""
    if refused.reason is Refusal.FILTER:
        if refused.detail == "notional":
            least = listing.filters.notional.min if listing.filters.notional is not None else Decimal(0)
            return WireError(-5029, f"Order's notional must be no smaller than {least:f}")
        if refused.detail == "max_num_order_amends":
            return WireError(-5026, "Exceed maximum modify order limit.")
        return _filter_error(refused.detail, listing, order, mark)
    return WireError(*_AMEND.get(refused.reason, _UNKNOWN))


def cancel_refused(refused: Refused) -> WireError:
    """Return the error for a cancel that found nothing to cancel."""
    return WireError(*_COMMON.get(refused.reason, (-2011, "Unknown order sent.")))


def query_refused(refused: Refused) -> WireError:
    """Return the error for a query of an order that is not there."""
    return WireError(*_COMMON.get(refused.reason, (-2013, "Order does not exist.")))


def position_mode_refused(refused: Refused) -> WireError:
    """Return the error for a position mode that was not changed."""
    return WireError(*_POSITION_MODE.get(refused.reason, _UNKNOWN))


def margin_type_refused(refused: Refused) -> WireError:
    """Return the error for a margin type that was not changed."""
    return WireError(*_MARGIN_TYPE.get(refused.reason, _UNKNOWN))


def leverage_refused(refused: Refused, leverage: int) -> WireError:
    """Return the error for a leverage that was not changed."""
    if refused.reason is Refusal.LEVERAGE:
        return WireError(-4028, f"Leverage {leverage} is not valid")
    return WireError(*_LEVERAGE.get(refused.reason, _UNKNOWN))


def margin_refused(refused: Refused, *, adds: bool) -> WireError:
    """Return the error for margin that was not moved."""
    if refused.reason is Refusal.INSUFFICIENT_MARGIN:
        return WireError(
            *((-4050, "Cross balance insufficient.") if adds else (-4051, "Isolated balance insufficient."))
        )
    return WireError(*_MARGIN.get(refused.reason, _UNKNOWN))


# --- filters ---------------------------------------------------------------------------------------------


def _filter_error(name: str, listing: Listing, order: NewOrder, mark: Decimal) -> WireError:
    """Return the error for a broken filter: the futures have a code for each side of each."""
    if name == "price":
        return _price_error(listing, order)
    if name in {"lot", "market_lot"}:
        # What is too fine was refused for its precision: the smallest quantity is one step, a power of ten.
        return WireError(-4005, "Quantity greater than max quantity.")
    if name == "percent_price_by_side":
        return _band_error(listing, order, mark)
    if name == "notional" and listing.filters.notional is not None:
        least = f"{listing.filters.notional.min.normalize():f}"
        return WireError(-4164, f"Order's notional must be no smaller than {least} (unless you choose reduce only).")
    return WireError(*_COUNTS.get(name, _UNKNOWN))


def _band_error(listing: Listing, order: NewOrder, mark: Decimal) -> WireError:
    """Return the error for a limit too far from the mark, or from the price at which its order would wake up."""
    band = listing.filters.percent_price_by_side
    assert band is not None
    is_buy, waits = order.side.sign > 0, order.trigger_price is not None
    edge = (order.trigger_price or mark) * (band.bid_up if is_buy else band.ask_down)
    code = _BAND_CODES[waits][0 if is_buy else 1]
    return WireError(code, f"Limit price can't be {'higher' if is_buy else 'lower'} than {_cut(edge, listing)}.")


def _price_error(listing: Listing, order: NewOrder) -> WireError:
    rule = listing.filters.price
    assert rule is not None
    for price, name in ((order.price, "Price"), (order.trigger_price, "Stop price")):
        if price is None:
            continue
        if price > rule.max:
            return WireError(-4002 if name == "Price" else -4007, f"{name} greater than max price.")
        if price < rule.min:
            return WireError(-4013, f"{name} less than min price.")
        if price % rule.tick:
            return WireError(-4014, f"{name} not increased by tick size.")
    return WireError(*_UNKNOWN)


def _cut(price: Decimal, listing: Listing) -> str:
    tick = listing.instrument.tick_size
    return f"{(price // tick * tick).normalize():f}"
