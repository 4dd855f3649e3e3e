"""Reading one order, or one change of an order, out of a request (docs/v5/order/create-order.mdx, 2025)."""

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Any

import attrs

from btx.model.order import OrderType, PositionSide, Side, TimeInForce
from btx.sim.orders import Exit, Listing, NewOrder
from btx_bybit.sim.errors import duplicate, invalid_category
from btx_bybit.sim.listings import CATEGORIES
from btx_bybit.sim.params import Param, boolean, choice, decimal, integer, invalid, link_id, text
from btx_bybit.sim.rows import SIDES, TRIGGERS
from btx_bybit.sim.venue import Venue
from btx_bybit.sim.wire import WireError, grid, plain

__all__ = ("AMENDMENT", "ORDER", "WHICH", "amended_exits", "exits_of", "listing_of", "new_order")

_TIMES_IN_FORCE = {
    "GTC": (TimeInForce.GTC, False),
    "IOC": (TimeInForce.IOC, False),
    "FOK": (TimeInForce.FOK, False),
    "PostOnly": (TimeInForce.GTC, True),
}
_RISES, _FALLS = 1, 2
_TYPES = {  # what a conditional order is, by where it waits for the price, its side, and whether it has a limit
    (_RISES, Side.BUY): (OrderType.STOP_MARKET, OrderType.STOP_LIMIT),
    (_RISES, Side.SELL): (OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT_LIMIT),
    (_FALLS, Side.BUY): (OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT_LIMIT),
    (_FALLS, Side.SELL): (OrderType.STOP_MARKET, OrderType.STOP_LIMIT),
}
_EXIT_NAMES = {True: ("takeProfit", "tp", "TakeProfit"), False: ("stopLoss", "sl", "StopLoss")}

WHICH: tuple[Param, ...] = (
    choice("category", (*CATEGORIES, "option"), error=invalid_category(), mandatory=True),
    text("symbol", mandatory=True),
    text("orderId"),
    link_id(),
)
"""What names one order."""

_TERMS: tuple[Param, ...] = (
    decimal("qty"),
    decimal("price"),
    decimal("triggerPrice"),
    choice("triggerBy", TRIGGERS),
    decimal("takeProfit"),
    decimal("stopLoss"),
    choice("tpTriggerBy", TRIGGERS),
    choice("slTriggerBy", TRIGGERS),
    choice("tpslMode", ("Full", "Partial")),
    decimal("tpLimitPrice"),
    decimal("slLimitPrice"),
)

ORDER: tuple[Param, ...] = (
    *WHICH,
    *_TERMS,
    integer("isLeverage"),
    choice("side", SIDES, mandatory=True),
    choice("orderType", ("Market", "Limit"), mandatory=True),
    choice("marketUnit", ("baseCoin", "quoteCoin")),
    choice("timeInForce", _TIMES_IN_FORCE),
    integer("triggerDirection"),
    choice("orderFilter", ("Order", "StopOrder", "tpslOrder")),
    integer("positionIdx"),
    boolean("reduceOnly"),
    boolean("closeOnTrigger"),
    choice("smpType", ("None", "CancelMaker", "CancelTaker", "CancelBoth")),
    choice("tpOrderType", ("Market", "Limit")),
    choice("slOrderType", ("Market", "Limit")),
)
"""What ``/v5/order/create`` and each order of a batch may carry."""

AMENDMENT: tuple[Param, ...] = (*WHICH, *_TERMS)
"""What ``/v5/order/amend`` and each amendment of a batch may carry."""


def listing_of(venue: Venue, values: Mapping[str, Any]) -> Listing:
    """Return what a request is about.

    Raises:
        WireError: it is not listed in the category that was named.
    """
    return venue.listing(values["symbol"] if values["category"] == venue.category else "")


def new_order(venue: Venue, api_key: str, values: Mapping[str, Any]) -> tuple[Listing, NewOrder]:
    """Return the order that ``values`` ask for, and what it is an order for.

    Raises:
        WireError: they ask for none, or for one that is not modelled.
    """
    listing = listing_of(venue, values)
    if "qty" not in values:
        raise WireError(10001, "Missing some parameters that must be filled in, qty")
    if values.get("orderLinkId") in venue.link_ids[api_key]:
        raise duplicate(is_spot=venue.is_spot)
    is_limit = values["orderType"] == "Limit"
    if is_limit and values.get("price", 0) <= 0:
        raise WireError(170133 if venue.is_spot else 10001, "Order price lower than the minimum.")
    asked = _spot_order(venue, listing, values) if venue.is_spot else _contract_order(venue, api_key, listing, values)
    written = values.get("timeInForce", "GTC") if is_limit else "GTC"  # a market order ignores it
    time_in_force, post_only = _TIMES_IN_FORCE[written]
    memo = {
        "smpType": values.get("smpType", "None"),
        "lastPriceOnCreated": grid(venue.last_price(listing.venue_symbol), listing.instrument.tick_size),
        **asked.pop("memo"),
    }
    return listing, NewOrder(
        venue_symbol=listing.venue_symbol,
        side=SIDES[values["side"]],
        price=values["price"] if is_limit else None,
        time_in_force=time_in_force,
        post_only=post_only,
        client_order_id=values.get("orderLinkId"),
        memo=memo,
        **asked,
    )


def _type_of(values: Mapping[str, Any], direction: int | None) -> OrderType:
    is_limit = values["orderType"] == "Limit"
    if direction is None:
        return OrderType.LIMIT if is_limit else OrderType.MARKET
    return _TYPES[direction, SIDES[values["side"]]][int(is_limit)]


# --- spot ------------------------------------------------------------------------------------------------


def _spot_order(venue: Venue, listing: Listing, values: Mapping[str, Any]) -> dict[str, Any]:
    if values.get("isLeverage"):
        raise WireError(170036, "You haven't enabled Cross Margin Trading yet.")
    kind = values.get("orderFilter", "Order")
    trigger = values.get("triggerPrice")
    if (kind == "Order") is (trigger is not None):
        raise WireError(170130, "Data sent for parameter 'triggerPrice' is not valid.")
    direction = None
    if trigger is not None:
        direction = _RISES if trigger > venue.last_price(listing.venue_symbol) else _FALLS
    quantity, in_quote = values["qty"], None
    if quantity <= 0:
        raise WireError(170136, "Order quantity exceeded lower limit.")
    is_market = values["orderType"] == "Market"
    unit = values.get("marketUnit", "quoteCoin" if values["side"] == "Buy" else "baseCoin")
    if is_market and unit == "quoteCoin":
        # "quotePrecision" of instruments-info, as it is told there: docs/v5/market/instrument.mdx, 2025.
        if quantity % (listing.instrument.tick_size * listing.instrument.step_size):
            raise WireError(170137, "Order quantity has too many decimals.")
        if trigger is None:
            in_quote, quantity = quantity, None
        else:  # by value at the price it waits for
            step = listing.instrument.step_size
            quantity = (quantity / trigger).quantize(step, rounding=ROUND_DOWN)
    exits = _spot_exits(venue, listing, values)
    if exits and (is_market or trigger is not None):
        raise WireError(170130, "Data sent for parameter 'takeProfit' is not valid: it is for limit orders.")
    memo = {"marketUnit": unit if is_market else ""}
    if trigger is not None:
        memo["stopOrderType"] = "tpslOrder" if kind == "tpslOrder" else "Stop"
    return {
        "order_type": _type_of(values, direction),
        "quantity": quantity,
        "quote_quantity": in_quote,
        "trigger_price": trigger,
        "exits": exits,
        "locks_late": kind == "StopOrder",
        "memo": memo,
    }


def _spot_exits(venue: Venue, listing: Listing, values: Mapping[str, Any]) -> tuple[Exit, ...]:
    """Return what is sent with a spot order; each waits as a TP/SL order once all of it is filled.

    What kind of order each becomes must be said: without it the venue answers 170003 (Bybit.Net issue 242, 2024).
    """
    for name, prefix, _ in _EXIT_NAMES.values():
        if values.get(name) and f"{prefix}OrderType" not in values:
            raise WireError(170003, "An unknown parameter was sent.")
    asked = {**values, "tpslMode": "Partial"}  # so that either may have a limit
    kind = "BidirectionalTpslOrder" if values.get("takeProfit") and values.get("stopLoss") else "tpslOrder"
    found = exits_of(venue, listing, asked, base=values.get("price"))
    # They are made when it has filled: the last price is about the order's then.
    memo = {"stopOrderType": kind, "lastPriceOnCreated": plain(values["price"]) if "price" in values else ""}
    return tuple(attrs.evolve(each, memo=memo) for each in found)


# --- contracts -------------------------------------------------------------------------------------------


def _contract_order(venue: Venue, api_key: str, listing: Listing, values: Mapping[str, Any]) -> dict[str, Any]:
    symbol = listing.venue_symbol
    position_side = venue.position_side(values.get("positionIdx", 0), api_key, symbol)
    reduces = values.get("reduceOnly", False) or values.get("closeOnTrigger", False)
    quantity = values["qty"]
    if quantity == 0 and values.get("reduceOnly") and values.get("closeOnTrigger"):
        quantity = _all_of_it(venue, api_key, listing, position_side, values)
    if quantity <= 0:
        raise WireError(10001, "The number of contracts exceeds minimum limit allowed")
    trigger, direction = values.get("triggerPrice"), None
    if trigger is not None:
        direction = values.get("triggerDirection")
        if direction not in {_RISES, _FALLS}:
            raise invalid("triggerDirection")
    exits = exits_of(venue, listing, values, base=values.get("price") or trigger)
    if exits and reduces:
        raise WireError(10001, "TP/SL cannot be set for a reduce-only order")
    memo = {"closeOnTrigger": "1" if values.get("closeOnTrigger") else "0"}
    if trigger is not None:
        memo |= {"stopOrderType": "Stop", "createType": "CreateByStopOrder"}
    return {
        "order_type": _type_of(values, direction),
        "quantity": quantity,
        "trigger_price": trigger,
        "trigger_by": TRIGGERS[values.get("triggerBy", "LastPrice")],
        "position_side": position_side,
        "reduce_only": reduces,
        "exits": exits,
        "memo": memo,
    }


def _all_of_it(venue: Venue, api_key: str, listing: Listing, side: PositionSide, values: Mapping[str, Any]) -> Decimal:
    held = venue.desk.position(api_key=api_key, venue_symbol=listing.venue_symbol, position_side=side).quantity
    instrument = listing.instrument
    most = instrument.market_max_quantity if values["orderType"] == "Market" else instrument.max_quantity
    return min(abs(held), most or abs(held))


def exits_of(
    venue: Venue,
    listing: Listing,
    values: Mapping[str, Any],
    *,
    base: Decimal | None,
    side: Side | None = None,
) -> tuple[Exit, ...]:
    """Return the take profit and the stop loss of a request; ``base`` is what they must lie around, None: the last.

    Raises:
        WireError: 10001, one lies on the wrong side, or its terms do not fit together.
    """
    side = SIDES[values["side"]] if side is None else side
    base = venue.last_price(listing.venue_symbol) if base is None else base
    return tuple(
        _exit(listing, values, base, side, is_profit=is_profit)
        for is_profit, (name, _, _) in _EXIT_NAMES.items()
        if values.get(name)
    )


def _exit(listing: Listing, values: Mapping[str, Any], base: Decimal, side: Side, *, is_profit: bool) -> Exit:
    name, prefix, title = _EXIT_NAMES[is_profit]
    price, limit = values[name], values.get(f"{prefix}LimitPrice")
    is_whole = values.get("tpslMode", "Full") == "Full"
    is_limit = values.get(f"{prefix}OrderType") == "Limit"
    if (limit is not None or is_limit) and is_whole:
        raise WireError(10001, f"{prefix}OrderType can not be Limit in full tpslMode")
    if is_limit and not limit:
        raise invalid(f"{prefix}LimitPrice")
    if not is_limit:
        limit = None  # it "only works when tpslMode=Partial and tpOrderType=Limit"
    for word, value in ((name, price), (f"{prefix}LimitPrice", limit)):
        if value is not None and value % listing.instrument.tick_size:
            raise invalid(word)
    is_above = is_profit is (side is Side.BUY)
    if (price <= base) if is_above else (price >= base):
        should = "higher" if is_above else "lower"
        bought = "Buy" if side is Side.BUY else "Sell"
        raise WireError(
            10001,
            f"{title}:{plain(price)} set for {bought} position should be {should} than base_price:{plain(base)}"
            "??LastPrice",
        )
    part = "" if is_whole else "Partial"
    return Exit(
        is_profit=is_profit,
        trigger_price=price,
        trigger_by=TRIGGERS[values.get(f"{prefix}TriggerBy", "LastPrice")],
        price=limit,
        is_whole=is_whole,
        memo={"stopOrderType": f"{part}{title}", "createType": f"CreateBy{part}{title}"},
    )


def amended_exits(
    venue: Venue, listing: Listing, before: tuple[Exit, ...], values: Mapping[str, Any], *, base: Decimal, side: Side
) -> tuple[Exit, ...] | None:
    """Return the exits of an order after an amendment, None where it says nothing of them; a price of 0 takes one off.

    Raises:
        WireError: as of a new order.
    """
    if "takeProfit" not in values and "stopLoss" not in values:
        return None
    terms: dict[str, Any] = {"tpslMode": "Full" if all(each.is_whole for each in before) else "Partial"}
    for each in before:
        if each.price is not None:  # a limit price is "only working when original order sets partial limit tp/sl"
            _, prefix, _ = _EXIT_NAMES[each.is_profit]
            terms |= {f"{prefix}OrderType": "Limit", f"{prefix}LimitPrice": each.price}
    new = exits_of(venue, listing, {**terms, **values}, base=base, side=side)
    kept = [each for each in before if _EXIT_NAMES[each.is_profit][0] not in values]
    return (*kept, *new)
