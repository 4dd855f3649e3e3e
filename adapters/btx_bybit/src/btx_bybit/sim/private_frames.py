"""What the private socket tells of what happens to an account.  Events in, topics and their data out.

docs/v5/websocket/private (2025, 2026).  Of an execution the fill is told first, then its order, the position and the
wallet.  Funding is an execution, too.
"""

from decimal import Decimal

from btx.model.account import BookingKind
from btx.model.derivatives import PositionMode
from btx.model.order import PositionSide
from btx.sim.conditionals import ConditionalEvent, ConditionalState, SimConditional
from btx.sim.exchange import ExecutionEvent, ExecutionKind, SimFill, SimOrder
from btx.sim.margin_events import AccountEvent, ConfigEvent, MarginCallEvent
from btx.sim.orders import SimPosition
from btx.sim.skin.text import JSON
from btx_bybit.sim import rows
from btx_bybit.sim.venue import Venue
from btx_bybit.sim.wire import plain

__all__ = ("Told", "told_of", "wallet")

Told = ExecutionEvent | ConditionalEvent | AccountEvent | ConfigEvent | MarginCallEvent
"""The events that are an account's own."""

Topics = list[tuple[str, list[JSON]]]

_FAST_ORDER = ("orderId", "isMaker", "orderLinkId", "side")
_FAST = ("category", "symbol", "execId", "execPrice", "execQty", *_FAST_ORDER, "execTime", "seq")
_MARGINS = ("positionIM", "positionIMByMp", "positionMM", "positionMMByMp")
_ZEROS = frozenset({*_MARGINS, "positionValue", "unrealisedPnl", "takeProfit", "stopLoss", "sessionAvgPrice"})
_CENT = Decimal("0.00000001")
_LEAST_FEE = Decimal("0.00055")
# "Every time when you create/amend/cancel an order, the position topic will generate a new message", 2026.
_ASKED = frozenset({ExecutionKind.NEW, ExecutionKind.REPLACED, ExecutionKind.CANCELED})
_NOT_TOLD = frozenset({ConditionalState.TRIGGERED, ConditionalState.FINISHED})  # its order speaks for itself
_SIDES = {PositionMode.ONE_WAY: (PositionSide.NET,), PositionMode.HEDGE: (PositionSide.LONG, PositionSide.SHORT)}


def told_of(venue: Venue, event: Told) -> Topics:
    """Return what is told of an event: topics and their data, in their order."""
    match event:
        case ExecutionEvent():
            return _execution(venue, event)
        case ConditionalEvent():
            return _conditional(venue, event.api_key, event.conditional)
        case AccountEvent():
            return _account(venue, event)
        case ConfigEvent():
            return _config(venue, event)
        case MarginCallEvent():
            return []  # the venue writes a mail


def wallet(venue: Venue, api_key: str) -> tuple[str, list[JSON]]:
    """Return the whole wallet as it is now."""
    return "wallet", [rows.wallet_row(venue, api_key)]


def _execution(venue: Venue, event: ExecutionEvent) -> Topics:
    topics: Topics = []
    if event.fill is not None:
        topics += _fill(venue, event.api_key, event.fill)
    topics.append(("order", [_order(venue, event.api_key, event.order)]))
    if event.kind in _ASKED and not venue.is_spot:
        topics.append(_position_of(venue, event.api_key, event.order))
    if event.balances:
        topics.append(wallet(venue, event.api_key))
    return topics


def _conditional(venue: Venue, api_key: str, conditional: SimConditional) -> Topics:
    if conditional.state in _NOT_TOLD:
        return []
    topics: Topics = [("order", [_order(venue, api_key, conditional)])]
    if conditional.state in {ConditionalState.NEW, ConditionalState.CANCELED}:
        topics.append(_position_of(venue, api_key, conditional))
    return topics


def _position_of(venue: Venue, api_key: str, order: SimOrder | SimConditional) -> tuple[str, list[JSON]]:
    """Return the position that an order would change, which is told whenever one is asked for or taken back."""
    position = venue.desk.position(api_key=api_key, venue_symbol=order.venue_symbol, position_side=order.position_side)
    return "position", [_position(venue, api_key, position)]


def _fill(venue: Venue, api_key: str, fill: SimFill) -> Topics:
    row = _of_category(venue, rows.execution_row(venue, api_key, fill) | {"isLeverage": "0"})
    return [("execution", [row]), ("execution.fast", [{name: row[name] for name in _FAST}])]


def _account(venue: Venue, event: AccountEvent) -> Topics:
    topics: Topics = []
    by_symbol = {each.venue_symbol: each for each in event.positions}
    fundings = [
        _of_category(venue, rows.funding_row(venue, each, by_symbol.get(each.venue_symbol or "")))
        for each in event.bookings
        if each.kind is BookingKind.FUNDING
    ]
    if fundings:
        topics.append(("execution", fundings))
    if event.positions:
        topics.append(("position", [_position(venue, event.api_key, each) for each in event.positions]))
    topics.append(wallet(venue, event.api_key))
    return topics


def _config(venue: Venue, event: ConfigEvent) -> Topics:
    symbols = [event.venue_symbol] if event.venue_symbol is not None else list(venue.desk.listings)
    positions = [
        venue.desk.position(api_key=event.api_key, venue_symbol=symbol, position_side=side)
        for symbol in symbols
        for side in _SIDES[venue.desk.symbol_mode(api_key=event.api_key, venue_symbol=symbol)]
    ]
    return [("position", [_position(venue, event.api_key, each) for each in positions])]


def _order(venue: Venue, api_key: str, order: SimOrder | SimConditional) -> JSON:
    row = _of_category(venue, rows.order_row(venue, api_key, order)) | {"feeCurrency": ""}
    if venue.is_spot:
        row["lastPriceOnCreated"] = row.pop("basePrice")  # the topic has the one name for all
        row["feeCurrency"] = next(iter(row["cumFeeDetail"]), "")
        return row | {"rpiTakerAccess": False, "rpiMatchedQty": "0"}
    fills = order.fills if isinstance(order, SimOrder) else ()
    return row | {"closedPnl": plain(sum((fill.realised for fill in fills), Decimal(0)))}


def _position(venue: Venue, api_key: str, position: SimPosition) -> JSON:
    """Return a position as the topic writes it: another word for the price, zeros for what is nothing."""
    row = rows.position_row(venue, api_key, position)
    told = {name: value or "0" if name in _ZEROS else value for name, value in row.items() if name != "avgPrice"}
    told |= {
        "entryPrice": row["avgPrice"],
        "breakEvenPrice": _break_even(venue, position, Decimal(row["curRealisedPnl"])),
    }
    return _of_category(venue, told)


def _break_even(venue: Venue, position: SimPosition, realised: Decimal) -> str:
    """Return where a position could be closed without a loss: by the manual's formula, of inverse ones the entry."""
    size = position.quantity
    if not size or venue.category == "inverse":
        return plain(position.entry_price.quantize(_CENT))
    taker = venue.desk.listings[position.venue_symbol].fees.taker
    return plain(
        ((position.entry_price * size - realised) / (size - abs(size) * max(taker, _LEAST_FEE))).quantize(_CENT)
    )


def _of_category(venue: Venue, row: JSON) -> JSON:
    return {"category": venue.category, **row}
