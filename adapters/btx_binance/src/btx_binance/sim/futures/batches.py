"""Several orders in one request: each is taken, changed or cancelled on its own, and answers for itself."""

import functools
import json
from collections.abc import Callable
from typing import Any

from btx.sim.skin.text import JSON
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.placing import ORDER, client_id
from btx_binance.sim.futures.trading import MODIFICATION, cancel_one, modify_one, place_one
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.params import Param, Raw, read, symbol
from btx_binance.sim.placing import neither
from btx_binance.sim.venue import Ask, Call, Security
from btx_binance.sim.wire import WireError

__all__ = ("calls",)

_MOST_ORDERS = 5
_MOST_CANCELS = 10
_UNITS = (1, 5)  # of the minute's and of the ten seconds' orders (trade/rest-api/Place-Multiple-Orders)


def _place(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    orders = _counted(venue, ask)
    return [_answer(functools.partial(_place_one, venue, ask, sent)) for sent in orders]


def _place_one(venue: FuturesVenue, ask: Ask, sent: dict[str, Raw]) -> JSON:
    return place_one(venue, ask, read(ORDER, sent))


def _modify(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    orders = _counted(venue, ask)
    return [_answer(functools.partial(_modify_one, venue, ask, sent)) for sent in orders]


def _modify_one(venue: FuturesVenue, ask: Ask, sent: dict[str, Raw]) -> JSON:
    return modify_one(venue, ask, read(MODIFICATION, sent))


def _counted(venue: FuturesVenue, ask: Ask) -> list[dict[str, Raw]]:
    orders: list[dict[str, Raw]] = ask["batchOrders"]
    if not 1 <= len(orders) <= _MOST_ORDERS:
        raise WireError(-4082, f"Invalid number of batch place orders: {len(orders)}")
    venue.meters.order(ask.api_key, venue.world.wire_ns(), units=_UNITS)
    return orders


def _cancel(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    if "orderIdList" in ask.values:
        name, wanted = "order_id", ask["orderIdList"]
    elif "origClientOrderIdList" in ask.values:
        name, wanted = "client_order_id", ask["origClientOrderIdList"]
    else:
        raise neither("orderIdList", "origClientOrderIdList")
    if len(wanted) > _MOST_CANCELS:
        raise WireError(-4032, "Exceed maximum cancel order size.")
    return [_answer(functools.partial(cancel_one, venue, ask, **{name: one})) for one in wanted]


def _answer(do: Callable[[], JSON]) -> JSON:
    try:
        return do()
    except WireError as error:
        return error.body()


def _listed(name: str, convert: Callable[[str, Raw], Any], *, mandatory: bool = False) -> Param:
    """A JSON list, in a query or as it is."""

    def read_list(parameter: str, raw: Raw) -> list[Any]:
        listed: Any = raw
        if isinstance(raw, str):
            try:
                listed = json.loads(raw)
            except ValueError as error:
                raise _invalid(parameter) from error
        if not isinstance(listed, list):
            raise _invalid(parameter)
        return [convert(parameter, item) for item in listed]

    return Param(name=name, convert=read_list, mandatory=mandatory)


def _invalid(parameter: str) -> WireError:
    return WireError(-1130, f"Data sent for parameter '{parameter}' is not valid.")


def _fields(parameter: str, raw: Raw) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _invalid(parameter)
    return raw


def _number(parameter: str, raw: Raw) -> int:
    text = str(raw)
    if not text.isdigit():
        raise _invalid(parameter)
    return int(text)


def calls(dialect: Dialect) -> tuple[Call[FuturesVenue], ...]:
    """Return the batch calls of a market."""
    rest = f"{dialect.prefix}/v1/batchOrders"
    orders = (_listed("batchOrders", _fields, mandatory=True),)
    return (
        Call(run=_place, rest=("POST", rest), params=orders, weight=5, security=Security.SIGNED, counts_orders=True),
        Call(run=_modify, rest=("PUT", rest), params=orders, weight=5, security=Security.SIGNED, counts_orders=True),
        Call(
            run=_cancel,
            rest=("DELETE", rest),
            params=(
                symbol(),
                _listed("orderIdList", _number),
                _listed("origClientOrderIdList", client_id("origClientOrderIdList").convert),
            ),
            security=Security.SIGNED,
        ),
    )
