"""The trailing stop that Bybit keeps with a position: one of each, it closes all of it, and has no name of ours.

Source: https://bybit-exchange.github.io/docs/v5/position/trading-stop, 2026.
"""

from collections.abc import Mapping
from typing import Any

from btx.bridges.api import Api
from btx.bridges.decimals import exact, plain
from btx.bridges.verdicts import Operation
from btx.errors import NotSupportedError, OrderRejectedError
from btx.model.order import Leg, OrderRequest, PositionSide, Side, TriggerBy
from btx_bybit.api import ask, pages
from btx_bybit.codec import SIDES
from btx_bybit.config import WHOLE_POSITION
from btx_bybit.orders import POSITIONS, exact_text

__all__ = ("set_trail", "take_off", "trail_params")

_ACTIVATION = "activePrice"
_ENDPOINT = "privatePostV5PositionTradingStop"
_CLOSING = frozenset({(PositionSide.LONG, Side.SELL), (PositionSide.SHORT, Side.BUY)})


def trail_params(leg: Leg, *, market: str) -> dict[str, Any]:
    """Return the parameters of ``position/trading-stop`` for a trailing stop that closes a whole position.

    Raises:
        NotSupportedError: a position of Bybit has no such trailing stop.
    """
    request = leg.request
    name, value = WHOLE_POSITION
    if request.params.get(name) != value:
        raise NotSupportedError(
            f"a trailing stop of Bybit is a position's, not an order: btx keeps one, or params={{{name!r}: {value!r}}} "
            "asks for the position's"
        )
    if request.trail_amount is None:
        raise NotSupportedError("a position of Bybit trails at a distance in quote units: give trailamount=")
    if request.price is not None:
        raise NotSupportedError("the trailing stop of a position becomes a market order: no StopTrailLimit")
    if request.trigger_by is not TriggerBy.LAST:
        raise NotSupportedError("the trailing stop of a position follows the last price: leave trigger_by out")
    if not request.reduce_only and (request.position_side, request.side) not in _CLOSING:
        raise NotSupportedError("the trailing stop of a position only closes it: add reduce_only=True")
    strange = sorted(request.params.keys() - {name, _ACTIVATION})
    if strange:
        raise NotSupportedError(f"the trailing stop of a position takes no {', '.join(strange)}: leave it out")
    begins = {_ACTIVATION: str(exact_text(request.params[_ACTIVATION]))} if _ACTIVATION in request.params else {}
    return {**_of_position(request, market), "trailingStop": plain(request.trail_amount), **begins}


async def set_trail(api: Api, leg: Leg, *, market: str) -> None:
    """Have a position trail; that it has the size, and no trailing stop yet, is looked at before.

    Raises:
        OrderRejectedError: there is no such position, or it trails already.
        OutcomeUnknownError: it may trail now.
        TransportError: it certainly does not.
    """
    params = trail_params(leg, market=market)
    request = leg.request
    held = {"category": market, "symbol": request.instrument.venue_symbol}
    rows = await pages(api, "privateGetV5PositionList", held)
    index = POSITIONS[request.position_side]
    row: Mapping[str, Any] = next((each for each in rows if int(each["positionIdx"]) == index), {})
    size = exact(row.get("size") or 0)
    if not size or SIDES.get(str(row["side"])) is request.side:
        raise OrderRejectedError(f"there is no position in {request.instrument.symbol} that it would close")
    if size != leg.quantity:
        has, asked = plain(size.normalize()), plain(leg.quantity.normalize())
        raise OrderRejectedError(f"a position's trailing stop closes all of it, and it has {has}: not {asked}")
    if exact(row.get("trailingStop") or 0):
        raise OrderRejectedError("the position has a trailing stop already: cancel that first")
    await ask(api, _ENDPOINT, params, operation=Operation.PLACE)


async def take_off(api: Api, request: OrderRequest, *, market: str) -> None:
    """Have a position trail no more.

    Raises:
        OrderNotFoundError: it does not.
        OutcomeUnknownError: no answer came.
    """
    params = {**_of_position(request, market), "trailingStop": "0"}
    await ask(api, _ENDPOINT, params, operation=Operation.CANCEL)


def _of_position(request: OrderRequest, market: str) -> dict[str, Any]:
    name, value = WHOLE_POSITION
    return {
        "category": market,
        "symbol": request.instrument.venue_symbol,
        "positionIdx": POSITIONS[request.position_side],
        name: value,
    }
