"""What the control channel tells of accounts: everything as the exchange has it, numbers as text."""

from decimal import Decimal
from typing import Any

from btx.model.market import Bar
from btx.sim.conditionals import SimConditional
from btx.sim.exchange import SimFill, SimOrder
from btx.sim.margin_events import MarkChange, SimBooking, WalletView
from btx.sim.margin_exchange import MarginExchange
from btx.sim.orders import SimPosition
from btx.sim.world import World

__all__ = ("bar_json", "ledger_json", "mark_json")

_Message = dict[str, Any]


def ledger_json(world: World, api_key: str) -> _Message:
    """Return the account: balances, orders, fills, and what there is on margin."""
    engine = world.engine
    ledger: _Message = {
        "balances": {
            asset: {"free": f"{balance.free:f}", "locked": f"{balance.locked:f}"}
            for asset, balance in engine.balances(api_key=api_key).items()
        },
        "orders": [_order_json(order) for order in engine.all_orders(api_key=api_key)],
        "fills": [_fill_json(fill, world.name_fill(fill)) for fill in engine.fills(api_key=api_key)],
    }
    return ledger | _margin_json(world.margin, api_key) if world.is_margined else ledger


def _margin_json(exchange: MarginExchange, api_key: str) -> _Message:
    house = exchange.house()
    purses = {"fees": house.fees, "insurance": house.insurance, "market": house.market, "outside": house.outside}
    return {
        "positions": [_position_json(exchange, each) for each in exchange.positions(api_key=api_key)],
        "wallets": {each.asset: _wallet_json(each) for each in exchange.wallets(api_key=api_key)},
        "bookings": [_booking_json(each) for each in exchange.bookings(api_key=api_key)],
        "conditionals": [_conditional_json(each) for each in exchange.all_conditionals(api_key=api_key)],
        "house": {name: {asset: f"{amount:f}" for asset, amount in purse.items()} for name, purse in purses.items()},
    }


def mark_json(mark: MarkChange) -> _Message:
    """Return a mark price with its funding."""
    return {
        "mark_price": f"{mark.mark_price:f}",
        "index_price": f"{mark.index_price:f}",
        "funding_rate": _text(mark.funding_rate),
        "next_funding_ns": mark.next_funding_ns,
        "time_ns": mark.time_ns,
    }


def _text(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


def _position_json(exchange: MarginExchange, position: SimPosition) -> _Message:
    return {
        "symbol": position.venue_symbol,
        "position_side": position.position_side.value,
        "quantity": f"{position.quantity:f}",
        "entry_price": f"{position.entry_price:f}",
        "unrealised": f"{exchange.unrealised(position):f}",
        "margin_mode": position.margin_mode.value,
        "isolated_wallet": f"{position.isolated_wallet:f}",
        "leverage": position.leverage,
        "realised": f"{position.realised:f}",
    }


def _wallet_json(view: WalletView) -> _Message:
    return {
        "wallet": f"{view.wallet:f}",
        "unrealised": f"{view.unrealised:f}",
        "margin_balance": f"{view.margin_balance:f}",
        "position_margin": f"{view.position_margin:f}",
        "order_margin": f"{view.order_margin:f}",
        "maintenance": f"{view.maintenance:f}",
        "available": f"{view.available:f}",
    }


def _booking_json(booking: SimBooking) -> _Message:
    return {
        "booking_id": booking.booking_id,
        "kind": booking.kind.value,
        "asset": booking.asset,
        "amount": f"{booking.amount:f}",
        "symbol": booking.venue_symbol,
        "trade_id": booking.trade_id,
        "reason": booking.reason,
        "time_ns": booking.time_ns,
    }


def _conditional_json(conditional: SimConditional) -> _Message:
    return {
        "conditional_id": conditional.conditional_id,
        "client_order_id": conditional.client_order_id,
        "symbol": conditional.venue_symbol,
        "side": conditional.side.value,
        "position_side": conditional.position_side.value,
        "order_type": conditional.order_type.value,
        "state": conditional.state.value,
        "quantity": _text(conditional.quantity),
        "price": _text(conditional.price),
        "trigger_price": _text(conditional.trigger_price),
        "trigger_by": conditional.trigger_by.value,
        "trail_bps": conditional.trail_bps,
        "reduce_only": conditional.reduce_only,
        "close_position": conditional.close_position,
        "order_id": conditional.order_id,
        "created_ns": conditional.created_ns,
        "updated_ns": conditional.updated_ns,
    }


def bar_json(bar: Bar) -> list[Any]:
    """Return a bar as a row."""
    return [bar.open_ns, *(f"{number:f}" for number in (bar.open, bar.high, bar.low, bar.close, bar.volume))]


def _order_json(order: SimOrder) -> _Message:
    return {
        "client_order_id": order.client_order_id,
        "order_id": order.order_id,
        "symbol": order.venue_symbol,
        "side": order.side.value,
        "order_type": order.order_type.value,
        "status": order.status.value,
        "is_open": order.is_open,
        "quantity": f"{order.quantity:f}",
        "filled": f"{order.executed_quantity:f}",
        "price": _text(order.price),
        "trigger_price": _text(order.trigger_price),
        "trail_bps": order.trail_bps,
        "display_quantity": _text(order.display_quantity),
        "time_in_force": order.time_in_force.value,
        "post_only": order.post_only,
        "position_side": order.position_side.value,
        "reduce_only": order.reduce_only,
        "origin": order.origin.value,
        "created_ns": order.created_ns,
        "updated_ns": order.updated_ns,
    }


def _fill_json(fill: SimFill, fill_id: str) -> _Message:
    return {
        "fill_id": fill_id,  # as the venue tells it
        "client_order_id": fill.client_order_id,
        "order_id": fill.order_id,
        "symbol": fill.venue_symbol,
        "side": fill.side.value,
        "price": f"{fill.price:f}",
        "quantity": f"{fill.quantity:f}",
        "fee": f"{fill.fee:f}",
        "fee_asset": fill.fee_asset,
        "time_ns": fill.time_ns,
        "is_maker": fill.is_maker,
        "position_side": fill.position_side.value,
        "realised": f"{fill.realised:f}",
        "origin": fill.origin.value,
    }
