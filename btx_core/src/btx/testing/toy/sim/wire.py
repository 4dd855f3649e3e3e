"""What the venue writes: rows, errors, and how it says that something failed."""

import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal

from btx.model.account import Balance
from btx.model.market import Bar, BookLevel
from btx.model.time import to_ms
from btx.sim.exchange import Listing, SimFill, SimOrder
from btx.sim.faults import Fault, Kind
from btx.sim.market import BookChange, PublicTrade, QuoteChange
from btx.sim.orders import Refusal, Refused
from btx.sim.skin.text import JSON

__all__ = (
    "Trouble",
    "WireError",
    "balances",
    "bar_row",
    "change_row",
    "fill_row",
    "instrument_row",
    "levels",
    "order_row",
    "plain",
    "proof_fits",
    "quote_row",
    "refused",
    "trade_row",
)

_CODES: Mapping[Refusal, tuple[int, str]] = {
    Refusal.UNKNOWN_SYMBOL: (404, "unknown_symbol"),
    Refusal.UNKNOWN_ORDER: (404, "unknown_order"),
    Refusal.DUPLICATE_CLIENT_ID: (409, "duplicate"),
    Refusal.INSUFFICIENT_BALANCE: (400, "funds"),
    Refusal.INSUFFICIENT_MARGIN: (400, "funds"),  # margin
    Refusal.FILTER: (400, "filter"),
}


class WireError(Exception):
    """An error as the venue answers it: HTTP status, code and text."""

    def __init__(self, status: int, code: str, text: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s

    def body(self) -> JSON:
        """Return what is answered."""
        return {"error": self.code, "text": str(self)}


def refused(error: Refused) -> WireError:
    """Return the error of an order that the exchange does not take."""
    status, code = _CODES.get(error.reason, (400, "rejected"))
    return WireError(status, code, str(error))


class Trouble:
    """How the venue says that something failed; see :class:`btx.sim.skin.mishaps.Trouble`."""

    refusals = (503, 429, None)
    meter_headers = "X-TOY"

    def limited(self, fault: Fault, until_ns: int) -> WireError:  # noqa: ARG002 -- it says how long, not until when
        status = 418 if fault.kind is Kind.BAN else 429
        return WireError(status, "too_fast", "too many requests", retry_after_s=int(-(-fault.for_s // 1)))

    def key_expired(self) -> WireError:
        return WireError(401, "bad_key", "this key is valid no more")

    def not_done(self, form: int) -> WireError:  # noqa: ARG002 -- it has one way of saying it
        return WireError(503, "busy", "overloaded: the request was not looked at")

    def unknown(self, form: int) -> WireError:  # noqa: ARG002 -- likewise
        return WireError(504, "timeout", "no answer from the matching engine: the outcome is not known")


def proof_fits(text: str, sign: str, secret: str) -> bool:
    """Say whether a signature is that of the owner of a key."""
    return hmac.compare_digest(hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest(), sign)


def instrument_row(listing: Listing) -> JSON:
    """Return a row of ``instruments``."""
    instrument = listing.instrument
    return {
        "symbol": instrument.venue_symbol,
        "kind": instrument.kind.value,
        "base": instrument.base,
        "quote": instrument.quote,
        "tick": plain(instrument.tick_size),
        "step": plain(instrument.step_size),
        "min_quantity": plain(instrument.min_quantity),
        "max_quantity": plain(instrument.max_quantity),
        "min_notional": plain(instrument.min_notional),
        "liquidation_fee": plain(instrument.liquidation_fee),  # margin
        "is_trading": instrument.is_trading,
    }


def bar_row(bar: Bar) -> JSON:
    """Return a bar as it is now."""
    return {
        "open_time": to_ms(bar.open_ns),
        "close_time": to_ms(bar.close_ns),
        "open": plain(bar.open),
        "high": plain(bar.high),
        "low": plain(bar.low),
        "close": plain(bar.close),
        "volume": plain(bar.volume),
        "is_closed": bar.is_closed,
    }


def trade_row(trade: PublicTrade) -> JSON:
    """Return a print."""
    return {
        "id": trade.trade_id,
        "price": plain(trade.price),
        "quantity": plain(trade.quantity),
        "side": trade.side.value,
        "time": to_ms(trade.time_ns),
    }


def quote_row(change: QuoteChange) -> JSON:
    """Return the best offers."""
    quote = change.quote
    return {
        "bid": plain(quote.bid_price),
        "bid_quantity": plain(quote.bid_quantity),
        "ask": plain(quote.ask_price),
        "ask_quantity": plain(quote.ask_quantity),
        "sequence": change.update_id,
        "time": to_ms(change.time_ns),
    }


def levels(side: tuple[BookLevel, ...]) -> list[tuple[str | None, str | None]]:
    """Return one side of a book."""
    return [(plain(price), plain(quantity)) for price, quantity in side]


def change_row(changes: list[BookChange]) -> JSON:
    """Return what changed in a book; of a level that changed twice the last word comes last."""
    bids, asks = ({}, {})  # type: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]
    for change in changes:
        bids |= dict(change.bids)
        asks |= dict(change.asks)
    return {
        "bids": levels(tuple(bids.items())),
        "asks": levels(tuple(asks.items())),
        "first": changes[0].first_id,
        "last": changes[-1].last_id,
        "time": to_ms(changes[-1].time_ns),
    }


def order_row(order: SimOrder) -> JSON:
    """Return an order."""
    return {
        "id": order.order_id,
        "client_id": order.client_order_id,
        "symbol": order.venue_symbol,
        "side": order.side.value,
        "type": order.order_type.value,
        "status": order.status.value,
        "quantity": plain(order.quantity),
        "filled": plain(order.executed_quantity),
        "price": plain(order.price),
        "trigger_price": plain(order.trigger_price),
        "reason": "" if order.reject_reason is None else order.reject_reason.value,
        "position_side": order.position_side.value,  # margin
        "reduce_only": order.reduce_only,  # margin
        "origin": order.origin.value,  # margin
        "time": to_ms(order.updated_ns),
    }


def fill_row(fill: SimFill) -> JSON:
    """Return one execution."""
    return {
        "id": fill.trade_id,
        "order_id": fill.order_id,
        "client_id": fill.client_order_id,
        "symbol": fill.venue_symbol,
        "side": fill.side.value,
        "price": plain(fill.price),
        "quantity": plain(fill.quantity),
        "fee": plain(fill.fee),
        "fee_asset": fill.fee_asset,
        "is_maker": fill.is_maker,
        "position_side": fill.position_side.value,  # margin
        "realised": plain(fill.realised) if fill.venue_symbol.endswith("-PERP") else None,  # margin
        "origin": fill.origin.value,  # margin
        "time": to_ms(fill.time_ns),
    }


def balances(owned: Mapping[str, Balance]) -> dict[str, tuple[str | None, str | None]]:
    """Return what is free and what is locked of each asset."""
    return {asset: (plain(balance.free), plain(balance.locked)) for asset, balance in owned.items()}


def plain(value: Decimal | None) -> str | None:
    """Return a number's digits without an exponent."""
    return None if value is None else format(value, "f")
