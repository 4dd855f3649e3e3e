"""Reading one order out of a request, be it alone, one of a batch, or for the algo service."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.model.order import OrderType, Side, TimeInForce
from btx.model.time import NS_PER_S, from_ms
from btx.sim.exchange import Listing, NewOrder
from btx_binance.sim.futures import wire
from btx_binance.sim.futures.errors import ALGO_ONLY
from btx_binance.sim.futures.listings import price_digits
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.params import Param, boolean, choice, decimal, long, missing, pattern, symbol
from btx_binance.sim.wire import WireError

__all__ = ("ALGO_ORDER", "ORDER", "SIDES", "algo_order", "client_id", "new_order")

SIDES = tuple(side.value for side in Side)
_CLIENT_ID = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"
_PRICE_MATCHES = ("NONE",)  # the others are not modelled
_TYPES = (*wire.PLAIN_TYPES, *wire.ALGO_TYPES)
_LAST_GTD_MS = 253_402_300_799_000
_LEAST_TRAIL, _MOST_TRAIL = Decimal("0.1"), Decimal(10)  # per cent
_PRICES = ("price", "triggerPrice", "activatePrice", "activationPrice")
_LIMITS = frozenset({"STOP", "TAKE_PROFIT"})


def client_id(name: str) -> Param:
    """A client order id: the futures allow full stops, colons and slashes too."""
    return Param(name=name, convert=pattern(_CLIENT_ID))


_SHARED = (
    symbol(),
    choice("side", SIDES, error=(-1117, "Invalid side."), mandatory=True),
    choice("positionSide", wire.POSITION_SIDES, error=(-4060, "Invalid position side.")),
    choice("timeInForce", wire.TIMES_IN_FORCE, error=(-1115, "Invalid timeInForce.")),
    decimal("quantity"),
    boolean("reduceOnly"),
    decimal("price"),
    choice("newOrderRespType", ("ACK", "RESULT"), error=(-1136, "Invalid newOrderRespType.")),
    choice("priceMatch", _PRICE_MATCHES, error=(-5037, "Invalid price match")),
    choice(
        "selfTradePreventionMode",
        ("NONE", *wire.SELF_TRADE_PREVENTION_MODES),
        error=(-5039, "Invalid self trade prevention mode"),
    ),
    long("goodTillDate"),
    boolean("closePosition"),
    choice("workingType", wire.WORKING_TYPES, error=(-4031, "Invalid parameter working type")),
    boolean("priceProtect"),
)

ORDER = (
    *_SHARED,
    choice("type", _TYPES, error=(-1116, "Invalid orderType."), mandatory=True),
    client_id("newClientOrderId"),
    # Of conditional orders, which are refused whatever these say.
    decimal("stopPrice"),
    decimal("activationPrice"),
    decimal("callbackRate"),
)
"""What ``POST /order`` and each order of a batch may carry."""

ALGO_ORDER = (
    *_SHARED,
    choice("algoType", ("CONDITIONAL",), mandatory=True),
    choice("type", wire.ALGO_TYPES, error=(-1116, "Invalid orderType."), mandatory=True),
    client_id("clientAlgoId"),
    decimal("triggerPrice"),
    decimal("activatePrice"),
    decimal("activationPrice"),  # the name it had at /order; the venue's own clients still send it
    decimal("callbackRate"),
)
"""What ``POST /algoOrder`` may carry."""


def new_order(venue: FuturesVenue, values: Mapping[str, Any]) -> tuple[Listing, NewOrder]:
    """Return the order that ``values`` ask for, and what it is an order for.

    Raises:
        WireError: -1121, -4120, -1102, -1106, -1111, -4001, -4003, -4136 or -5040.
    """
    listing = venue.listing(values["symbol"])
    kind: str = values["type"]
    if kind in wire.ALGO_TYPES:
        raise WireError(*ALGO_ONLY)
    if values.get("closePosition"):
        raise WireError(-4136, f"Target strategy invalid for orderType '{kind}',closePosition 'true'.")
    needed = ("timeInForce", "quantity", "price") if kind == "LIMIT" else ("quantity",)
    _need(values, needed)
    _spare(values, ("stopPrice", "activationPrice", "callbackRate"))
    if kind == "MARKET":
        _spare(values, ("price", "timeInForce"))
    _check_numbers(values, listing)
    return listing, NewOrder(
        venue_symbol=listing.venue_symbol,
        order_type=wire.PLAIN_TYPES[kind],
        client_order_id=values.get("newClientOrderId") or venue.made_id(),
        quantity=values["quantity"],
        price=values.get("price"),
        **_shared(venue, values),
    )


def algo_order(venue: FuturesVenue, values: Mapping[str, Any]) -> tuple[Listing, NewOrder]:
    """Return the conditional order that ``values`` ask for, and what it is an order for.

    Raises:
        WireError: -1121, -1102, -1106, -1111, -2007, -4001, -4003, -4136, -4137, -4138 or -5040.
    """
    listing = venue.listing(values["symbol"])
    kind: str = values["type"]
    order_type = wire.ALGO_TYPES[kind]
    closes = values.get("closePosition", False)
    trails = order_type is OrderType.TRAILING_STOP
    if closes and (trails or kind in _LIMITS):
        raise WireError(-4136, f"Target strategy invalid for orderType '{kind}',closePosition 'true'.")
    if closes and "quantity" in values:
        raise WireError(-4137, "Quantity must be zero with closePosition equals true.")
    if closes and values.get("reduceOnly"):
        _spare(values, ("reduceOnly",))
    _need(values, (() if closes else ("quantity",)))
    _need(values, ("callbackRate",) if trails else ("triggerPrice",))
    _need(values, ("price",) if kind in _LIMITS else ())
    if kind not in _LIMITS:
        _spare(values, ("price",))
    if values.get("priceProtect"):
        raise WireError(-1020, "This operation is not supported.")
    _check_numbers(values, listing)
    start = values.get("activatePrice", values.get("activationPrice"))
    return listing, NewOrder(
        venue_symbol=listing.venue_symbol,
        order_type=order_type,
        client_order_id=values.get("clientAlgoId") or venue.made_id(),
        quantity=values.get("quantity"),
        price=values.get("price"),
        trigger_price=start if trails else values["triggerPrice"],
        trail_bps=_trail_bps(values["callbackRate"]) if trails else None,
        trigger_by=wire.WORKING_TYPES[values.get("workingType", "CONTRACT_PRICE")],
        close_position=closes,
        **_shared(venue, values),
    )


def _shared(venue: FuturesVenue, values: Mapping[str, Any]) -> dict[str, Any]:
    time_in_force, post_only = wire.TIMES_IN_FORCE[values.get("timeInForce", "GTC")]
    good_till_ns = None
    if time_in_force is TimeInForce.GTD:
        if venue.dialect.is_inverse:
            raise WireError(-1115, "Invalid timeInForce.")
        _need(values, ("goodTillDate",))
        if values["goodTillDate"] >= _LAST_GTD_MS:
            raise WireError(-5040, "The goodTillDate timestamp must be smaller than 253402300799000.")
        good_till_ns = from_ms(values["goodTillDate"]) // NS_PER_S * NS_PER_S  # "only retains second-level precision"
    return {
        "side": Side(values["side"]),
        "position_side": wire.POSITION_SIDES[values.get("positionSide", "BOTH")],
        "time_in_force": time_in_force,
        "post_only": post_only,
        "reduce_only": values.get("reduceOnly", False),
        "good_till_ns": good_till_ns,
    }


def _need(values: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if name not in values:
            raise missing(name)


def _spare(values: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if name in values:
            # The venue writes the name in small letters here.
            raise WireError(-1106, f"Parameter '{name.lower()}' sent when not required.")


def _check_numbers(values: Mapping[str, Any], listing: Listing) -> None:
    if values.get("quantity", 1) <= 0:
        raise WireError(-4003, "Quantity less than or equal to zero.")
    if values.get("price", 1) <= 0:
        raise WireError(-4001, "Price less than 0.")
    if values.get("triggerPrice", 1) <= 0:
        raise WireError(-4006, "Stop price less than zero.")
    digits = {"quantity": _decimals(listing.instrument.step_size)}
    digits |= dict.fromkeys(_PRICES, price_digits(listing.instrument))
    if any(_decimals(values[name]) > most for name, most in digits.items() if name in values):
        raise WireError(-1111, "Precision is over the maximum defined for this asset.")


def _decimals(value: Decimal) -> int:
    return max(-int(value.normalize().as_tuple().exponent), 0)


def _trail_bps(rate: Decimal) -> int:
    bps = rate * 100
    if not _LEAST_TRAIL <= rate <= _MOST_TRAIL or bps != bps.to_integral_value():
        raise WireError(-2007, "Invalid callBack rate")
    return int(bps)
