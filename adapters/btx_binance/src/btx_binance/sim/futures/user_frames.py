"""What a futures account is told of itself, from what the simulator knows.  Values in, JSON values out.

``user-data-streams`` of USD-M and COIN-M (developers.binance.com/docs/derivatives, 2026-05-28) and, for what the
manual leaves open (which keys a conditional order's news has, how numbers are written), frames recorded at the venue
in March 2026.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

from btx.model.account import BookingKind
from btx.model.derivatives import MarginMode
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import OrderType, Origin, Side
from btx.model.time import to_ms
from btx.sim.conditionals import ConditionalEvent, ConditionalState
from btx.sim.exchange import ExecutionEvent, ExecutionKind, SimOrder
from btx.sim.margin_events import MarginCallEvent, Purse, SimBooking
from btx.sim.orders import Refusal, SimPosition
from btx.sim.skin.text import JSON
from btx_binance.sim.futures import wire
from btx_binance.sim.futures.wire import SELF_TRADE_PREVENTION, money, plain, position_side_text

__all__ = (
    "account_update",
    "algo_update",
    "alias",
    "key_expired",
    "leverage_update",
    "margin_call",
    "order_update",
    "trade_lite",
    "trigger_reject",
    "without_commission",
)

_ALIAS = "btxs"
_EXECUTIONS = {
    ExecutionKind.NEW: "NEW",
    ExecutionKind.TRADE: "TRADE",
    ExecutionKind.CANCELED: "CANCELED",
    ExecutionKind.EXPIRED: "EXPIRED",
    ExecutionKind.REPLACED: "AMENDMENT",
}
# "bc" is "the balance change except PnL and commission".
_PROFIT_OR_COMMISSION = frozenset({BookingKind.REALISED, BookingKind.FEE})
# Seen: "margin not enough", "Reduce Only reject"; the others are our words.
_REJECTIONS = {
    Refusal.INSUFFICIENT_MARGIN: "margin not enough",
    Refusal.REDUCE_ONLY: "Reduce Only reject",
}
_WORKING_TYPES = {meaning: text for text, meaning in wire.WORKING_TYPES.items()}
_PRICE_GRID = Decimal("0.00000001")


def alias(*, is_inverse: bool) -> JSON:
    """Return the account's alias, which only COIN-M tells."""
    return {"i": _ALIAS} if is_inverse else {}


def order_update(event: ExecutionEvent, instrument: Instrument) -> JSON:
    """ORDER_TRADE_UPDATE: what happened to an order."""
    order, fill, time_ms = event.order, event.fill, to_ms(event.time_ns)
    is_liquidation = order.origin is Origin.LIQUIDATION
    order_type = "LIQUIDATION" if is_liquidation else wire.order_type_text(order.order_type)
    execution = _EXECUTIONS[event.kind]
    details: JSON = {
        "s": order.venue_symbol,
        "c": order.client_order_id,
        "S": order.side.value,
        "o": order_type,
        "f": wire.time_in_force_text(order),
        "q": plain(order.quantity),
        "p": plain(order.price),
        "ap": plain(_rounded(order.average_price)),
        "sp": "0",
        "x": "CALCULATED" if is_liquidation and fill is not None else execution,
        "X": order.status.value,
        "i": order.order_id,
        "l": plain(fill.quantity if fill is not None else None),
        "z": plain(order.executed_quantity),
        "L": plain(fill.price if fill is not None else None),
    }
    if _is_inverse(instrument):
        details["ma"] = instrument.settle
    if fill is not None or not _is_inverse(instrument):  # COIN-M: "will not push if no commission"
        details["n"] = plain(fill.fee if fill is not None else None)
        details["N"] = fill.fee_asset if fill is not None else instrument.settle
    details |= {
        "T": time_ms,
        "t": fill.trade_id if fill is not None else 0,
        "b": _open_notional(order, Side.BUY),
        "a": _open_notional(order, Side.SELL),
        "m": fill is not None and fill.is_maker,
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": order_type,
        "ps": position_side_text(order.position_side),
        "cp": order.close_position,
        "rp": plain(fill.realised if fill is not None else None),
        "pP": False,
        "si": order.conditional_id or 0,
        "ss": 0 if order.conditional_id is None else -1,
    }
    if order.conditional_id is not None:
        details["st"] = "ALGO_CONDITION"
    details |= {"V": SELF_TRADE_PREVENTION, "pm": "NONE"}
    if not _is_inverse(instrument):
        details["gtd"] = 0 if order.good_till_ns is None else to_ms(order.good_till_ns)
    details["er"] = _expiry_reason(event)
    return {
        "e": "ORDER_TRADE_UPDATE",
        "T": time_ms,
        "E": time_ms,
        **alias(is_inverse=_is_inverse(instrument)),
        "o": details,
    }


def without_commission(frame: JSON) -> JSON:
    """Return an ORDER_TRADE_UPDATE without the fields the venue may leave out of it."""
    return frame | {"o": {key: value for key, value in frame["o"].items() if key not in ("n", "N")}}


def trade_lite(event: ExecutionEvent) -> JSON:
    """TRADE_LITE: an execution in brief, before all else is told of it; USD-M only."""
    order, fill, time_ms = event.order, event.fill, to_ms(event.time_ns)
    assert fill is not None, "it is of executions"
    return {
        "e": "TRADE_LITE",
        "E": time_ms,
        "T": time_ms,
        "s": order.venue_symbol,
        "q": plain(order.quantity),
        "p": plain(order.price),
        "m": fill.is_maker,
        "c": order.client_order_id,
        "S": order.side.value,
        "L": plain(fill.price),
        "l": plain(fill.quantity),
        "t": fill.trade_id,
        "i": order.order_id,
    }


def algo_update(event: ConditionalEvent, child: SimOrder | None) -> JSON:
    """ALGO_UPDATE: what happened to a conditional order; ``child`` is the order it made."""
    each, time_ms = event.conditional, to_ms(event.time_ns)
    trails = each.order_type is OrderType.TRAILING_STOP
    details: JSON = {
        "caid": each.client_order_id,
        "aid": each.conditional_id,
        "at": "CONDITIONAL",
        "o": wire.algo_type_text(each),
        "s": each.venue_symbol,
        "S": each.side.value,
        "ps": position_side_text(each.position_side),
        "f": wire.time_in_force_text(each),
        "q": plain(each.quantity),
        "X": each.state.value,
        "ai": "" if child is None else str(child.order_id),
    }
    if child is not None:
        details |= {
            "ap": plain(_rounded(child.average_price)),
            "aq": plain(child.executed_quantity),
            "act": wire.order_type_text(child.order_type),
        }
    details |= {
        "tp": plain(None if trails else each.trigger_price),
        "p": plain(each.price),
        "V": SELF_TRADE_PREVENTION,
        "wt": _WORKING_TYPES[each.trigger_by],
        "pm": "NONE",
        "cp": each.close_position,
        "pP": False,
        "R": each.reduce_only,
        "tt": 0 if each.triggered_ns is None else to_ms(each.triggered_ns),
        "gtd": 0 if each.good_till_ns is None else to_ms(each.good_till_ns),
    }
    if trails:
        details |= {"AP": plain(each.trigger_price), "cr": plain(Decimal(each.trail_bps or 0) / 100)}
    if each.state is ConditionalState.REJECTED:
        details["rm"] = _rejection(event)
    return {"e": "ALGO_UPDATE", "T": time_ms, "E": time_ms, "o": details}


def trigger_reject(event: ConditionalEvent) -> JSON:
    """CONDITIONAL_ORDER_TRIGGER_REJECT: a stop or take profit was triggered and then refused."""
    time_ms = to_ms(event.time_ns)
    return {
        "e": "CONDITIONAL_ORDER_TRIGGER_REJECT",
        "E": time_ms,
        "T": time_ms,
        "or": {
            "s": event.conditional.venue_symbol,
            "i": event.conditional.conditional_id,
            "r": _rejection(event),
        },
    }


def account_update(
    reason: str,
    time_ns: int,
    *,
    wallets: Iterable[Purse],
    bookings: Iterable[SimBooking],
    positions: Iterable[SimPosition],
    unrealised: Callable[[SimPosition], Decimal],
    head: JSON,
) -> JSON:
    """ACCOUNT_UPDATE: the assets and positions that changed, as they are now; ``head`` is what else it begins with."""
    moved = [each for each in bookings if each.kind not in _PROFIT_OR_COMMISSION]
    time_ms = to_ms(time_ns)
    return {
        "e": "ACCOUNT_UPDATE",
        "T": time_ms,
        "E": time_ms,
        **head,
        "a": {
            "B": [
                {
                    "a": view.asset,
                    "wb": money(view.wallet),
                    "cw": money(view.cross_wallet),
                    "bc": plain(sum((each.amount for each in moved if each.asset == view.asset), Decimal(0))),
                }
                for view in wallets
            ],
            "P": [_position(each, unrealised(each)) for each in positions],
            "m": reason,
        },
    }


def leverage_update(venue_symbol: str, leverage: int, time_ns: int, head: JSON) -> JSON:
    """ACCOUNT_CONFIG_UPDATE: a symbol has another leverage."""
    time_ms = to_ms(time_ns)
    return {
        "e": "ACCOUNT_CONFIG_UPDATE",
        "E": time_ms,
        "T": time_ms,
        **head,
        "ac": {"s": venue_symbol, "l": leverage},
    }


def margin_call(
    event: MarginCallEvent,
    *,
    unrealised: Callable[[SimPosition], Decimal],
    maintenance: Callable[[SimPosition], Decimal],
    head: JSON,
) -> JSON:
    """MARGIN_CALL: positions come close to their liquidation; the cross wallet is told with crossed ones only."""
    is_crossed = any(each.margin_mode is MarginMode.CROSS for each in event.positions)
    return {
        "e": "MARGIN_CALL",
        "E": to_ms(event.time_ns),
        **head,
        **({"cw": money(event.cross_wallet)} if is_crossed else {}),
        "p": [
            {
                "s": each.venue_symbol,
                "ps": position_side_text(each.position_side),
                "pa": plain(each.quantity),
                "mt": "CROSSED" if each.margin_mode is MarginMode.CROSS else "ISOLATED",
                "iw": plain(each.isolated_wallet),
                "mp": plain(event.marks[each.venue_symbol]),
                "up": plain(_rounded(unrealised(each))),
                "mm": plain(_rounded(maintenance(each))),
            }
            for each in event.positions
        ],
    }


def key_expired(key: str, now_ms: int) -> JSON:
    """``listenKeyExpired``; the manual writes its time as a text."""
    return {"e": "listenKeyExpired", "E": str(now_ms), "listenKey": key}


def _position(position: SimPosition, unrealised: Decimal) -> JSON:
    entry = plain(_rounded(position.entry_price))
    return {
        "s": position.venue_symbol,
        "pa": plain(position.quantity),
        "ep": entry,
        "bep": entry,  # fees are not counted in
        "cr": plain(position.realised),
        "up": plain(_rounded(unrealised)),
        "mt": "cross" if position.margin_mode is MarginMode.CROSS else "isolated",
        "iw": plain(position.isolated_wallet),
        "ps": position_side_text(position.position_side),
    }


def _open_notional(order: SimOrder, side: Side) -> str:
    """Return what an open order still asks for at its limit, on its own side."""
    if order.side is not side or order.price is None or not order.is_open:
        return "0"
    return plain(order.remaining * order.price)


def _expiry_reason(event: ExecutionEvent) -> str:
    """Return the manual's number of why an order expired; 0 for one that did not, or that it has no number for."""
    order = event.order
    if event.kind is not ExecutionKind.EXPIRED:
        return "0"
    if order.post_only:
        return "11"
    if order.reduce_only or order.close_position:
        return "4"
    if order.order_type is OrderType.MARKET:
        return "9"
    return {"IOC": "2", "FOK": "10"}.get(order.time_in_force.value, "0")


def _rejection(event: ConditionalEvent) -> str:
    reason = event.conditional.reject_reason
    return _REJECTIONS.get(reason, reason.value) if reason is not None else ""


def _rounded(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(_PRICE_GRID)


def _is_inverse(instrument: Instrument) -> bool:
    return instrument.kind is InstrumentKind.INVERSE
