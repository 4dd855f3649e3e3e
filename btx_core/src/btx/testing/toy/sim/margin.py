"""The market on margin: its operations where they differ from spot's, and what it pushes of an account."""

from collections.abc import Iterator, Sequence
from typing import Any

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import Status
from btx.model.time import from_ms, to_ms
from btx.sim.conditionals import CONDITIONAL_TYPES, ConditionalEvent, ConditionalState, SimConditional
from btx.sim.faults import Where
from btx.sim.margin_events import AccountEvent, MarginCallEvent, MarkChange
from btx.sim.margin_exchange import MarginExchange
from btx.sim.orders import Refusal, Refused, SimPosition
from btx.sim.skin.text import JSON
from btx.testing.toy.sim import wire
from btx.testing.toy.sim.rest import SPOT_CALLS, Ask, Calls, Desk, new_order, which
from btx.testing.toy.sim.wire import WireError, plain

__all__ = ("MARGIN_CALLS", "frames_of", "mark_row")

_ENDED = {
    ConditionalState.CANCELED: Status.CANCELED,
    ConditionalState.REJECTED: Status.REJECTED,
    ConditionalState.EXPIRED: Status.EXPIRED,
}


# --- rows ---------------------------------------------------------------------------------------------------


def mark_row(mark: MarkChange) -> JSON:
    """Return mark price and funding."""
    return {
        "mark": plain(mark.mark_price),
        "index": plain(mark.index_price),
        "funding_rate": plain(mark.funding_rate),
        "next_funding": to_ms(mark.next_funding_ns or 0),
        "time": to_ms(mark.time_ns),
    }


def _position_row(margin: MarginExchange, api_key: str, position: SimPosition, now_ns: int) -> JSON:
    is_isolated = position.margin_mode is MarginMode.ISOLATED
    return {
        "symbol": position.venue_symbol,
        "side": position.position_side.value,
        "quantity": plain(position.quantity),
        "entry_price": plain(position.entry_price),
        "mark": plain(margin.mark(position.venue_symbol).mark_price),
        "unrealised": plain(margin.unrealised(position)),
        "liquidation_price": plain(margin.liquidation_price(api_key=api_key, position=position)),
        "leverage": position.leverage,
        "margin_mode": position.margin_mode.value,
        "isolated_margin": plain(position.isolated_wallet) if is_isolated else None,
        "time": to_ms(now_ns),
    }


def _waiting_row(waiting: SimConditional) -> JSON:
    """Return an order that waits for its price, or ended so; once it has made an order, that says how it stands."""
    return {
        "id": f"stop-{waiting.conditional_id}",
        "client_id": waiting.client_order_id,
        "symbol": waiting.venue_symbol,
        "side": waiting.side.value,
        "type": waiting.order_type.value,
        "status": _ENDED.get(waiting.state, Status.NEW).value,
        "quantity": plain(waiting.quantity),
        "filled": "0",
        "price": plain(waiting.price),
        "trigger_price": plain(waiting.trigger_price),
        "reason": "" if waiting.reject_reason is None else waiting.reject_reason.value,
        "position_side": waiting.position_side.value,
        "reduce_only": waiting.reduce_only,
        "origin": "CLIENT",
        "time": to_ms(waiting.updated_ns),
    }


# --- what is pushed -----------------------------------------------------------------------------------------


def frames_of(margin: MarginExchange, event: Any) -> Iterator[tuple[str, JSON]]:
    """Yield what an event of an account on margin says, and to whose key; orders themselves are told elsewhere."""
    match event:
        case ConditionalEvent(conditional=waiting) if waiting.order_id is None:
            row = _waiting_row(waiting) | {"sequence": event.sequence}
            yield event.api_key, {"event": "order", "order": row, "fill": None}
        case AccountEvent():
            yield (
                event.api_key,
                {
                    "event": "account",
                    "reason": event.reason,
                    "balances": {asset: (plain(purse.wallet), "0") for asset, purse in event.wallets.items()},
                    "positions": _position_rows(margin, event.api_key, event.positions, event.time_ns),
                    "time": to_ms(event.time_ns),
                },
            )
        case MarginCallEvent():
            rows = _position_rows(margin, event.api_key, event.positions, event.time_ns)
            yield event.api_key, {"event": "margin_call", "positions": rows, "time": to_ms(event.time_ns)}


def _position_rows(margin: MarginExchange, api_key: str, positions: Sequence[SimPosition], now_ns: int) -> list[JSON]:
    return [_position_row(margin, api_key, position, now_ns) for position in positions]


# --- operations ---------------------------------------------------------------------------------------------


def _account(desk: Desk, ask: Ask) -> JSON:
    margin = desk.world.margin
    terms = {
        symbol: {
            "leverage": margin.leverage(api_key=ask.api_key, venue_symbol=symbol),
            "margin_mode": margin.margin_mode(api_key=ask.api_key, venue_symbol=symbol).value,
        }
        for symbol in desk.world.listings
    }
    positions = margin.positions(api_key=ask.api_key)
    return {
        "balances": wire.balances(margin.balances(api_key=ask.api_key)),
        "positions": _position_rows(margin, ask.api_key, positions, ask.now_ns),
        "position_mode": margin.position_mode(api_key=ask.api_key).value,
        "terms": terms,
        "can_trade": True,
        "time": to_ms(ask.now_ns),
    }


def _place(desk: Desk, ask: Ask) -> JSON:
    order = new_order(ask.words)
    if order.order_type in CONDITIONAL_TYPES:
        waiting = desk.world.margin.place_conditional(api_key=ask.api_key, order=order, now_ns=ask.now_ns)
        return {"id": f"stop-{waiting.conditional_id}"}
    return {"id": desk.world.margin.place(api_key=ask.api_key, order=order, now_ns=ask.now_ns).order_id}


def _amend(desk: Desk, ask: Ask) -> JSON:
    wanted = new_order(ask.words)
    if wanted.price is None or wanted.quantity is None:
        raise WireError(400, "bad_request", "an amendment has a price and a quantity")
    order, amendment = desk.world.margin.modify(
        **which(ask), price=wanted.price, quantity=wanted.quantity, now_ns=ask.now_ns
    )
    if amendment is None:
        raise WireError(400, "rejected", "the order was cancelled: so much has filled, or it would have taken")
    return {"id": order.order_id}


def _waiting(desk: Desk, ask: Ask) -> SimConditional | None:
    """Return the order that is asked for if it is one that waited, and made no order."""
    try:
        found = desk.world.margin.conditional(api_key=ask.api_key, client_order_id=ask["client_id"])
    except Refused:
        return None
    return found if found.order_id is None else None


def _cancel(desk: Desk, ask: Ask) -> JSON:
    if (waiting := _waiting(desk, ask)) is not None:
        number = waiting.conditional_id
        desk.world.margin.cancel_conditional(api_key=ask.api_key, conditional_id=number, now_ns=ask.now_ns)
        return {"id": f"stop-{number}"}
    return {"id": desk.world.margin.cancel(**which(ask), now_ns=ask.now_ns).order_id}


def _cancel_all(desk: Desk, ask: Ask) -> JSON:
    of: dict[str, Any] = {"api_key": ask.api_key, "venue_symbol": ask["symbol"], "now_ns": ask.now_ns}
    gone = (*desk.world.margin.cancel_all(**of), *desk.world.margin.cancel_all_conditionals(**of))
    if not gone:
        raise Refused(Refusal.UNKNOWN_ORDER, detail=f"nothing is open in {ask['symbol']}")
    return {"cancelled": len(gone)}


def _order(desk: Desk, ask: Ask) -> JSON:
    if (waiting := _waiting(desk, ask)) is not None:
        return {**_waiting_row(waiting), "fills": []}
    order = desk.world.margin.order(**which(ask))
    return {**wire.order_row(order), "fills": [wire.fill_row(fill) for fill in order.fills]}


def _open_orders(desk: Desk, ask: Ask) -> list[JSON]:
    resting = [wire.order_row(order) for order in desk.world.margin.open_orders(api_key=ask.api_key)]
    return resting + [_waiting_row(each) for each in desk.world.margin.open_conditionals(api_key=ask.api_key)]


def _tiers(desk: Desk, ask: Ask) -> list[JSON]:
    return [
        {
            "floor": plain(tier.floor),
            "cap": plain(tier.cap),
            "max_leverage": tier.max_leverage,
            "maintenance": plain(tier.maintenance_rate),
            "deduction": plain(tier.maintenance_amount),
        }
        for tier in desk.listing(ask["symbol"]).tiers
    ]


def _mark(desk: Desk, ask: Ask) -> JSON:
    return mark_row(desk.world.margin.mark(desk.listing(ask["symbol"]).venue_symbol))


def _funding(desk: Desk, ask: Ask) -> list[JSON]:
    first_ns, end_ns = from_ms(int(ask["start"])), min(from_ms(int(ask["end"])) - 1, ask.now_ns)
    rates = desk.world.margin.funding_rates(
        desk.listing(ask["symbol"]).venue_symbol, after_ns=first_ns - 1, until_ns=end_ns
    )
    return [
        {"time": to_ms(rate.time_ns), "rate": plain(rate.rate), "mark": plain(rate.mark_price)}
        for rate in rates[: ask.rows]
    ]


def _bookings(desk: Desk, ask: Ask) -> list[JSON]:
    after, start_ns = ask.whole("after") or 0, from_ms(int(ask["start"]))
    every = desk.world.margin.bookings(api_key=ask.api_key)
    found = [each for each in every if each.time_ns >= start_ns and each.booking_id > after]
    return [
        {
            "id": each.booking_id,
            "kind": each.kind.value,
            "asset": each.asset,
            "amount": plain(each.amount),
            "symbol": each.venue_symbol,
            "fill_id": each.trade_id,
            "time": to_ms(each.time_ns),
        }
        for each in found[: ask.rows]
    ]


def _leverage(desk: Desk, ask: Ask) -> JSON:
    leverage = int(ask["leverage"])
    desk.world.margin.set_leverage(
        api_key=ask.api_key, venue_symbol=ask["symbol"], leverage=leverage, now_ns=ask.now_ns
    )
    return {"leverage": leverage}


def _margin_mode(desk: Desk, ask: Ask) -> JSON:
    mode, of = MarginMode(ask["mode"]), {"api_key": ask.api_key, "venue_symbol": ask["symbol"]}
    if desk.world.margin.margin_mode(**of) is not mode:
        desk.world.margin.set_margin_mode(**of, mode=mode, now_ns=ask.now_ns)
    return {"mode": mode.value}


def _position_mode(desk: Desk, ask: Ask) -> JSON:
    mode = PositionMode(ask["mode"])
    if desk.world.margin.position_mode(api_key=ask.api_key) is not mode:
        desk.world.margin.set_position_mode(api_key=ask.api_key, mode=mode, now_ns=ask.now_ns)
    return {"mode": mode.value}


_DIFFERENT: Calls = {
    ("GET", "account"): (Where.ACCOUNT, _account),
    ("POST", "place"): (Where.PLACE, _place),
    ("POST", "amend"): (Where.PLACE, _amend),
    ("POST", "cancel"): (Where.CANCEL, _cancel),
    ("POST", "cancel_all"): (Where.CANCEL, _cancel_all),
    ("GET", "order"): (Where.QUERY, _order),
    ("GET", "open_orders"): (Where.QUERY, _open_orders),
    ("GET", "tiers"): (Where.MARKET, _tiers),
    ("GET", "mark"): (Where.MARKET, _mark),
    ("GET", "funding"): (Where.MARKET, _funding),
    ("GET", "bookings"): (Where.ACCOUNT, _bookings),
    ("POST", "leverage"): (Where.ACCOUNT, _leverage),
    ("POST", "margin_mode"): (Where.ACCOUNT, _margin_mode),
    ("POST", "position_mode"): (Where.ACCOUNT, _position_mode),
}

MARGIN_CALLS: Calls = {each: call for each, call in {**SPOT_CALLS, **_DIFFERENT}.items() if each[1] != "place_list"}
"""All operations of the market on margin."""
