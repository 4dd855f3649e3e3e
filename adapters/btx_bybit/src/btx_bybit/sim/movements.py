"""``/v5/account/transaction-log``: every movement of an account's money (docs/v5/account/transaction-log.mdx, 2026).

Without both ends of a span it tells of a day, with both of seven at most.
"""

from decimal import Decimal

import attrs

from btx.model.account import BookingKind
from btx.model.time import NS_PER_DAY, to_ms
from btx.sim.margin_events import SimBooking
from btx.sim.orders import SimFill
from btx.sim.skin.text import JSON
from btx_bybit.sim.errors import invalid_category
from btx_bybit.sim.ids import booking_id, execution_id
from btx_bybit.sim.listings import CATEGORIES
from btx_bybit.sim.paging import page_of, span_of
from btx_bybit.sim.params import choice, integer, text
from btx_bybit.sim.rows import link_id, side_text
from btx_bybit.sim.venue import Ask, Call, Venue
from btx_bybit.sim.wire import plain

__all__ = ("CALLS",)

_ZERO = Decimal(0)
_KINDS = {
    BookingKind.FUNDING: "SETTLEMENT",
    BookingKind.LIQUIDATION_FEE: "LIQUIDATION",
    BookingKind.OTHER: "AIRDROP",
}
_TRADE = "TRADE"


@attrs.frozen(kw_only=True)
class _Movement:
    """Money of one coin that came or went: ``cash`` without the fee, or as ``funding``; and what there is after it."""

    name: str
    kind: str
    coin: str
    venue_symbol: str
    time_ns: int
    cash: Decimal = _ZERO
    fee: Decimal = _ZERO
    funding: Decimal | None = None
    balance: Decimal = _ZERO
    fill: SimFill | None = None

    @property
    def change(self) -> Decimal:
        return self.cash + (self.funding or _ZERO) - self.fee


def _log(venue: Venue, ask: Ask) -> JSON:
    start_ns, end_ns = span_of(ask, most_ns=7 * NS_PER_DAY, usual_ns=NS_PER_DAY)
    moves = _of_spot(venue, ask.api_key) if venue.is_spot else _on_margin(venue, ask.api_key)
    found = [
        each
        for each in _balanced(venue, ask.api_key, moves)[::-1]
        if start_ns <= each.time_ns <= end_ns
        and ask.get("category", venue.category) == venue.category
        and ask.get("currency", each.coin) == each.coin
        and ask.get("type", each.kind) == each.kind
    ]
    page, cursor = page_of(found, ask, usual=20)
    return {"nextPageCursor": cursor, "list": [_row(venue, ask.api_key, each) for each in page]}


def _balanced(venue: Venue, api_key: str, moves: list[_Movement]) -> list[_Movement]:
    """Return the movements, oldest first, with what there was after each."""
    balances = {coin: each.free + each.locked for coin, each in venue.engine.balances(api_key=api_key).items()}
    for each in moves:
        balances[each.coin] -= each.change
    found = []
    for each in moves:
        balances[each.coin] += each.change
        found.append(attrs.evolve(each, balance=balances[each.coin]))
    return found


def _on_margin(venue: Venue, api_key: str) -> list[_Movement]:
    """Return every movement, oldest first; what an execution realised and its fee are one."""
    fills = {fill.trade_id: fill for fill in venue.desk.fills(api_key=api_key)}
    moves: dict[tuple[int | str, str], _Movement] = {}
    for booking in venue.desk.bookings(api_key=api_key):
        key = (booking.trade_id if booking.trade_id is not None else booking_id(booking), booking.asset)
        move, before = _movement(booking, fills), moves.get(key)
        if before is not None:
            move = attrs.evolve(before, cash=before.cash + move.cash, fee=before.fee + move.fee)
        moves[key] = move
    return list(moves.values())


def _movement(booking: SimBooking, fills: dict[int, SimFill]) -> _Movement:
    is_fee, is_funding = booking.kind is BookingKind.FEE, booking.kind is BookingKind.FUNDING
    is_trade = booking.trade_id is not None
    return _Movement(
        name=booking_id(booking),
        kind=_TRADE if is_trade else _kind_of(booking),
        coin=booking.asset,
        venue_symbol=booking.venue_symbol or "",
        time_ns=booking.time_ns,
        cash=_ZERO if is_fee or is_funding else booking.amount,
        fee=-booking.amount if is_fee else _ZERO,
        funding=booking.amount if is_funding else None,
        fill=fills[booking.trade_id] if booking.trade_id is not None else None,
    )


def _kind_of(booking: SimBooking) -> str:
    if booking.kind is BookingKind.TRANSFER:
        return "TRANSFER_IN" if booking.amount > 0 else "TRANSFER_OUT"
    return _KINDS[booking.kind]


def _of_spot(venue: Venue, api_key: str) -> list[_Movement]:
    """Return two movements of each execution, oldest first: what was received, less its fee, and what was spent."""
    moves = []
    for fill in venue.exchange.fills(api_key=api_key):
        instrument = venue.exchange.listings[fill.venue_symbol].instrument
        base, quoted = fill.side.sign * fill.quantity, -fill.side.sign * fill.quote_quantity
        for coin, cash in ((instrument.base, base), (instrument.quote, quoted)):
            moves.append(
                _Movement(
                    name=f"{execution_id(fill, is_spot=True)}_{coin}",
                    kind=_TRADE,
                    coin=coin,
                    venue_symbol=fill.venue_symbol,
                    time_ns=fill.time_ns,
                    cash=cash,
                    fee=fill.fee if coin == fill.fee_asset else _ZERO,
                    fill=fill,
                )
            )
    return moves


def _row(venue: Venue, api_key: str, move: _Movement) -> JSON:
    row: JSON = {
        "id": move.name,
        "symbol": move.venue_symbol,
        "category": venue.category,
        "side": "None",
        "transactionTime": str(to_ms(move.time_ns)),
        "type": move.kind,
        "transSubType": "",
        "qty": "0",
        "size": "0",
        "currency": move.coin,
        "tradePrice": "",
        "funding": plain(move.funding),
        "fee": plain(move.fee),
        "cashFlow": plain(move.cash),
        "change": plain(move.change),
        "cashBalance": plain(move.balance),
        "feeRate": "",
        "bonusChange": "",
        "tradeId": "",
        "orderId": "",
        "orderLinkId": "",
        "extraFees": "",
    }
    return row if move.fill is None else row | _of_fill(venue, api_key, move.fill)


def _of_fill(venue: Venue, api_key: str, fill: SimFill) -> JSON:
    order = venue.engine.order(api_key=api_key, venue_symbol=fill.venue_symbol, order_id=fill.order_id)
    fees = venue.engine.listings[fill.venue_symbol].fees
    return {
        "side": side_text(fill.side),
        "qty": plain(fill.quantity),
        "size": plain(fill.quantity),
        "tradePrice": plain(fill.price),
        "feeRate": plain(fees.maker if fill.is_maker else fees.taker),
        "tradeId": execution_id(fill, is_spot=venue.is_spot),
        "orderId": venue.order_id(order),
        "orderLinkId": link_id(order),
    }


CALLS: tuple[Call, ...] = (
    Call(
        run=_log,
        rest=("GET", "/v5/account/transaction-log"),
        params=(
            choice("accountType", ("UNIFIED",)),
            choice("category", (*CATEGORIES, "option"), error=invalid_category()),
            text("currency"),
            text("baseCoin"),
            text("type"),
            integer("startTime"),
            integer("endTime"),
            integer("limit", least=1, most=50),
            text("cursor"),
        ),
        is_signed=True,
        limit=25,
    ),
)
"""Movements of money."""
