"""What Bybit writes of orders, executions, positions and wallets: the same objects by REST and on the private socket.

docs/v5/order/open-order.mdx, order/execution.mdx, position/index.mdx, account/wallet-balance.mdx (2025).
"""

from decimal import ROUND_DOWN, Decimal

from btx.model.derivatives import MarginMode
from btx.model.order import OrderType, Origin, PositionSide, Side, Status, TimeInForce
from btx.model.time import to_ms
from btx.rules.margin import bankruptcy_price, tier_of
from btx.sim.conditionals import ConditionalState, SimConditional
from btx.sim.margin_events import SimBooking
from btx.sim.orders import Listing, PriceKind, Refusal, SimFill, SimOrder, SimPosition
from btx.sim.skin.text import JSON
from btx_bybit.sim.ids import booking_id, execution_id
from btx_bybit.sim.listings import contract_of
from btx_bybit.sim.venue import Venue
from btx_bybit.sim.wire import grid, plain

__all__ = (
    "EXECUTION_TYPES",
    "POSITION_INDEXES",
    "SIDES",
    "TRIGGERS",
    "execution_row",
    "funding_row",
    "is_open",
    "link_id",
    "order_row",
    "order_status",
    "position_row",
    "side_text",
    "usd_price",
    "wallet_row",
)

Order = SimOrder | SimConditional

SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
TRIGGERS = {"LastPrice": PriceKind.LAST, "MarkPrice": PriceKind.MARK, "IndexPrice": PriceKind.INDEX}
POSITION_INDEXES = {PositionSide.NET: 0, PositionSide.LONG: 1, PositionSide.SHORT: 2}
_TRIGGER_TEXTS = {kind: text for text, kind in TRIGGERS.items()}
_CENT = Decimal("0.00000001")
_ZERO = Decimal(0)
_MADE = "btxsim"  # client ids the exchange makes where none was sent
_CONDITIONAL = {
    ConditionalState.NEW: "Untriggered",
    ConditionalState.TRIGGERING: "Triggered",
    ConditionalState.REJECTED: "Rejected",
}
_BY_THE_OTHER = {
    OrderType.STOP_MARKET: "CancelByOCOSlCanceledByTpTriggered",
    OrderType.STOP_LIMIT: "CancelByOCOSlCanceledByTpTriggered",
    OrderType.TAKE_PROFIT_MARKET: "CancelByOCOTpCanceledBySlTriggered",
    OrderType.TAKE_PROFIT_LIMIT: "CancelByOCOTpCanceledBySlTriggered",
}
_RISING = {  # of an order type, by side: whether it waits for the price to rise
    OrderType.STOP_MARKET: {Side.BUY: True, Side.SELL: False},
    OrderType.STOP_LIMIT: {Side.BUY: True, Side.SELL: False},
    OrderType.TAKE_PROFIT_MARKET: {Side.BUY: False, Side.SELL: True},
    OrderType.TAKE_PROFIT_LIMIT: {Side.BUY: False, Side.SELL: True},
    OrderType.TRAILING_STOP: {Side.BUY: True, Side.SELL: False},
}


def side_text(side: Side) -> str:
    """Return ``Buy`` or ``Sell``."""
    return "Buy" if side is Side.BUY else "Sell"


def link_id(order: Order) -> str:
    """Return what the client calls an order; nothing where it gave no name."""
    is_given = not order.client_order_id.startswith(_MADE) and getattr(order, "origin", Origin.CLIENT) is Origin.CLIENT
    return order.client_order_id if is_given else ""


def is_open(order: Order) -> bool:
    """Say whether an order is open, or about to be."""
    return order.is_open or (
        isinstance(order, SimConditional) and order.state in {ConditionalState.TRIGGERING, ConditionalState.TRIGGERED}
    )


def order_status(order: Order, *, is_spot: bool) -> str:
    """Return the venue's ``orderStatus``."""
    if isinstance(order, SimConditional):
        return _CONDITIONAL.get(order.state, "Deactivated")
    if order.status is Status.NEW:
        return "Untriggered" if order.working_ns is None else "New"
    if order.status in {Status.CANCELED, Status.EXPIRED}:
        if order.working_ns is None:
            return "Deactivated"
        if is_spot and order.post_only and order.status is Status.EXPIRED and not order.executed_quantity:
            return "Rejected"  # as clients saw on live accounts in 2026; of contracts it is cancelled
        return "PartiallyFilledCanceled" if is_spot and order.executed_quantity else "Cancelled"
    return {Status.PARTIALLY_FILLED: "PartiallyFilled", Status.FILLED: "Filled"}.get(order.status, "Rejected")


def _endings(venue: Venue, order: Order, status: str) -> tuple[str, str]:
    """Return why an order was ended: ``cancelType`` and ``rejectReason``."""
    if status not in {"Cancelled", "PartiallyFilledCanceled", "Deactivated", "Rejected"}:
        return "UNKNOWN", "EC_NoError"
    why = venue.cancel_types.get(venue.order_id(order))
    if why is not None:
        return why, "EC_PerCancelRequest"
    if order.reject_reason is not None:
        is_maker_only = order.reject_reason is Refusal.WOULD_TAKE
        return "UNKNOWN", "EC_PostOnlyWillTakeLiquidity" if is_maker_only else "EC_Others"
    if isinstance(order, SimConditional):
        is_paired = bool(order.pair) and order.state is ConditionalState.CANCELED
        alone = "CancelByTpSlTsClear" if order.is_exit else "CancelByReduceOnly"
        return (_BY_THE_OTHER[order.order_type] if is_paired else alone), "EC_NoError"
    return _ended_by_itself(order)


def _ended_by_itself(order: SimOrder) -> tuple[str, str]:
    if order.list_id is not None:  # of spot, where only orders of one pair are tied together
        return (_BY_THE_OTHER[order.order_type] if order.status is Status.EXPIRED else "CancelByUser"), "EC_NoError"
    if order.origin is not Origin.CLIENT or order.status is Status.CANCELED:
        return "CancelAllBeforeLiq", "EC_PerCancelRequest"
    if order.time_in_force is TimeInForce.FOK:
        return "UNKNOWN", "EC_CancelForNoFullFill"
    if order.price is None or order.time_in_force is TimeInForce.IOC:
        return "UNKNOWN", "EC_NoImmediateQtyToFill"
    return "CancelByReduceOnly", "EC_PerCancelRequest"


def order_row(venue: Venue, api_key: str, order: Order) -> JSON:
    """Return an order as ``/v5/order/realtime`` and the topic ``order`` write it."""
    listing = venue.engine.listings[order.venue_symbol]
    status = order_status(order, is_spot=venue.is_spot)
    cancel_type, reject_reason = _endings(venue, order, status)
    created_ns = venue.created_ns(api_key, order)
    row = {
        "orderId": venue.order_id(order),
        "orderLinkId": link_id(order),
        "blockTradeId": "",
        "symbol": order.venue_symbol,
        "side": side_text(order.side),
        "isLeverage": "0" if venue.is_spot else "",
        "positionIdx": POSITION_INDEXES[order.position_side],
        "orderStatus": status,
        "cancelType": cancel_type,
        "rejectReason": reject_reason,
        "orderType": "Limit" if order.price is not None else "Market",
        "timeInForce": _time_in_force(order),
        "reduceOnly": order.reduce_only or order.close_position,
        "closeOnTrigger": order.memo.get("closeOnTrigger") == "1" or order.close_position,
        "orderIv": "",
        "placeType": "",
        "smpType": order.memo.get("smpType", "None"),
        "smpGroup": 0,
        "smpOrderId": "",
        "marketUnit": order.memo.get("marketUnit", ""),
        **_last_price(venue, order),
        "createType": order.memo.get("createType", _made_by(order)),
        "slippageToleranceType": "UNKNOWN",
        "slippageTolerance": "",
        "createdTime": str(to_ms(created_ns)),
        "updatedTime": str(to_ms(order.updated_ns)),
        **_amounts(venue, api_key, listing, order),
        **_triggers(venue, api_key, listing, order),
        **_exits(listing, order),
    }
    return _without(row, "createType", "tpslMode") if venue.is_spot else row


def _without(row: JSON, *names: str) -> JSON:
    """Return a row without what "Spot does not have": open-order.mdx and execution.mdx, 2025."""
    return {name: value for name, value in row.items() if name not in names}


def _last_price(venue: Venue, order: Order) -> JSON:
    """Return what the last price was when an order was made: of spot it has another name."""
    told = order.memo.get("lastPriceOnCreated", "")
    return {"lastPriceOnCreated": "", "basePrice": told} if venue.is_spot else {"lastPriceOnCreated": told}


def _made_by(order: Order) -> str:
    if isinstance(order, SimOrder) and order.origin is not Origin.CLIENT:
        return {
            Origin.LIQUIDATION: "CreateByLiq",
            Origin.DELEVERAGING: "CreateByAdl_PassThrough",
            Origin.DELIVERY: "CreateBySettle",
        }[order.origin]
    return "CreateByUser"


def _time_in_force(order: Order) -> str:
    if order.post_only:
        return "PostOnly"
    return "IOC" if order.price is None else order.time_in_force.value


def _amounts(venue: Venue, api_key: str, listing: Listing, order: Order) -> JSON:
    """Return what an order is for, and what of it was executed."""
    instrument = listing.instrument
    if isinstance(order, SimConditional):
        quantity = order.quantity
        if quantity is None:
            quantity = abs(_position(venue, api_key, order).quantity)
        return _sums(listing, quantity, order.price, left=quantity if order.is_open else _ZERO)
    done, quantity = order.executed_quantity, order.quantity
    row = _sums(listing, quantity, order.price, left=order.remaining if order.is_open else _ZERO)
    if order.quote_quantity is not None:
        row |= {"qty": plain(order.quote_quantity), "leavesQty": plain(quantity - done)}
    fees: dict[str, Decimal] = {}
    for fill in order.fills:
        fees[fill.fee_asset] = fees.get(fill.fee_asset, _ZERO) + fill.fee
    average = order.average_price
    return row | {
        "avgPrice": "" if average is None else plain(average.quantize(_CENT)),
        "cumExecQty": grid(done, instrument.step_size),
        "cumExecValue": plain(_worth(venue, order.executed_quote, order.executed_base)),
        "cumExecFee": plain(sum(fees.values(), _ZERO)),
        "cumFeeDetail": {asset: plain(fee) for asset, fee in fees.items()},
    }


def _sums(listing: Listing, quantity: Decimal, price: Decimal | None, *, left: Decimal) -> JSON:
    instrument = listing.instrument
    return {
        "price": grid(price, instrument.tick_size) if price is not None else "0",
        "qty": grid(quantity, instrument.step_size),
        "leavesQty": grid(left, instrument.step_size),
        "leavesValue": plain((left * price).quantize(_CENT)) if price is not None else "0",
        "avgPrice": "",
        "cumExecQty": grid(_ZERO, instrument.step_size),
        "cumExecValue": "0",
        "cumExecFee": "0",
        "cumFeeDetail": {},
    }


def _worth(venue: Venue, quote: Decimal, base: Decimal) -> Decimal:
    """Return what was executed: quote units, of inverse contracts coins."""
    return (base if venue.category == "inverse" else quote).quantize(_CENT)


def _triggers(venue: Venue, api_key: str, listing: Listing, order: Order) -> JSON:
    """Return what an order waits for, or waited for."""
    tick = listing.instrument.tick_size
    parent = venue.parent(api_key, order) if isinstance(order, SimOrder) else order
    source: Order = order if parent is None else parent
    trigger, kind = source.trigger_price, ""
    if isinstance(source, SimConditional) or trigger is not None:
        kind = source.memo.get("stopOrderType", "Stop")
    by = _TRIGGER_TEXTS[source.trigger_by] if isinstance(source, SimConditional) else ""
    rising = _RISING[source.order_type][source.side] if trigger is not None else None
    return {
        "stopOrderType": kind,
        "triggerPrice": grid(trigger, tick) if trigger is not None else "",
        "triggerBy": by,
        "triggerDirection": 0 if rising is None or venue.is_spot else 1 if rising else 2,
    }


def _exits(listing: Listing, order: Order) -> JSON:
    """Return the take profit and stop loss that were sent with an order."""
    tick = listing.instrument.tick_size
    row = {"tpslMode": ""}
    for name, prefix in (("takeProfit", "tp"), ("stopLoss", "sl")):
        found = next((each for each in order.exits if each.is_profit is (prefix == "tp")), None)
        row[name] = "" if found is None else grid(found.trigger_price, tick)
        row[f"{prefix}TriggerBy"] = "" if found is None else _TRIGGER_TEXTS[found.trigger_by]
        row[f"{prefix}LimitPrice"] = "" if found is None or found.price is None else grid(found.price, tick)
        if found is not None and listing.instrument.kind.is_margined:
            row["tpslMode"] = "Full" if found.is_whole else "Partial"
    if isinstance(order, SimConditional) and order.is_exit:
        row["tpslMode"] = "Full" if order.close_position else "Partial"
    return row


# --- executions ------------------------------------------------------------------------------------------


def execution_row(venue: Venue, api_key: str, fill: SimFill) -> JSON:
    """Return an execution as ``/v5/execution/list`` and the topic ``execution`` write it."""
    listing = venue.engine.listings[fill.venue_symbol]
    instrument = listing.instrument
    order = venue.engine.order(api_key=api_key, venue_symbol=fill.venue_symbol, order_id=fill.order_id)
    value = _worth(venue, fill.quote_quantity, fill.base_quantity)
    parent = venue.parent(api_key, order)
    rate = listing.fees.maker if fill.is_maker else listing.fees.taker
    mark = "" if venue.is_spot else grid(venue.desk.mark(fill.venue_symbol).mark_price, instrument.tick_size)
    left = order.quantity - _executed_up_to(order, fill)
    row = {
        "symbol": fill.venue_symbol,
        "orderId": venue.order_id(order),
        "orderLinkId": link_id(order),
        "side": side_text(fill.side),
        "orderPrice": grid(order.price, instrument.tick_size) if order.price is not None else "0",
        "orderQty": grid(order.quantity, instrument.step_size),
        "leavesQty": grid(left, instrument.step_size),
        "createType": order.memo.get("createType", _made_by(order)),
        "orderType": "Limit" if order.price is not None else "Market",
        "stopOrderType": "UNKNOWN" if parent is None else parent.memo.get("stopOrderType", "Stop"),
        "execFee": plain(fill.fee),
        "feeCurrency": fill.fee_asset,
        "execId": execution_id(fill, is_spot=venue.is_spot),
        "execPrice": grid(fill.price, instrument.tick_size),
        "execQty": grid(fill.quantity, instrument.step_size),
        "execType": EXECUTION_TYPES[fill.origin],
        "execValue": plain(value),
        "execTime": str(to_ms(fill.time_ns)),
        "isMaker": fill.is_maker,
        "feeRate": plain(rate if fill.fee else _ZERO),
        "tradeIv": "",
        "markIv": "",
        "markPrice": mark,
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": "" if venue.is_spot else grid(fill.closed, instrument.step_size),
        "seq": fill.trade_id,
        "extraFees": "",
        "execPnl": "" if venue.is_spot else plain(fill.realised),
    }
    return _without(row, "createType") if venue.is_spot else row


EXECUTION_TYPES = {
    Origin.CLIENT: "Trade",
    Origin.LIQUIDATION: "BustTrade",
    Origin.DELEVERAGING: "AdlTrade",
    Origin.DELIVERY: "Delivery",
}


def _executed_up_to(order: SimOrder, fill: SimFill) -> Decimal:
    return sum((each.quantity for each in order.fills if each.trade_id <= fill.trade_id), _ZERO)


def funding_row(venue: Venue, booking: SimBooking, position: SimPosition | None) -> JSON:
    """Return a funding as the execution the venue makes of it."""
    symbol = booking.venue_symbol or ""
    listing = venue.engine.listings[symbol]
    instrument = listing.instrument
    rates = venue.desk.funding_rates(symbol, after_ns=booking.time_ns - 1, until_ns=booking.time_ns)
    rate = rates[0] if rates else None
    mark = rate.mark_price if rate is not None and rate.mark_price is not None else _ZERO
    worth = abs(booking.amount / rate.rate) if rate is not None and rate.rate else _ZERO
    size = worth * mark if venue.category == "inverse" else worth / mark if mark else _ZERO
    step = instrument.step_size
    quantity = size.quantize(step) if position is None or not position.quantity else abs(position.quantity)
    is_long = (booking.amount < 0) is (rate is not None and rate.rate > 0)
    name = booking_id(booking)
    return {
        "symbol": symbol,
        "orderId": name,
        "orderLinkId": "",
        "side": "Buy" if is_long else "Sell",
        "orderPrice": "0",
        "orderQty": "0",
        "leavesQty": "0",
        "createType": "",
        "orderType": "UNKNOWN",
        "stopOrderType": "UNKNOWN",
        "execFee": plain(-booking.amount),
        "feeCurrency": booking.asset,
        "execId": name,
        "execPrice": grid(mark, instrument.tick_size),
        "execQty": grid(quantity, step),
        "execType": "Funding",
        "execValue": plain(worth.quantize(_CENT)),
        "execTime": str(to_ms(booking.time_ns)),
        "isMaker": False,
        "feeRate": plain(rate.rate if rate is not None else _ZERO),
        "tradeIv": "",
        "markIv": "",
        "markPrice": grid(mark, instrument.tick_size),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": "0",
        "seq": booking.booking_id,
        "extraFees": "",
        "execPnl": "0",
    }


# --- positions -------------------------------------------------------------------------------------------


def _position(venue: Venue, api_key: str, order: Order) -> SimPosition:
    return venue.desk.position(api_key=api_key, venue_symbol=order.venue_symbol, position_side=order.position_side)


def position_row(venue: Venue, api_key: str, position: SimPosition) -> JSON:
    """Return a position, flat or not, as ``/v5/position/list`` and the topic ``position`` write it."""
    desk, symbol = venue.desk, position.venue_symbol
    listing = desk.listings[symbol]
    instrument = listing.instrument
    tick = instrument.tick_size
    notional, mark = desk.notional(position), desk.mark(symbol).mark_price
    size = abs(position.quantity)
    tier = tier_of(listing.tiers, notional)
    is_isolated = position.margin_mode is MarginMode.ISOLATED
    entered = abs(position.book.cost)
    liquidation = desk.liquidation_price(api_key=api_key, position=position) if size else None
    initial, kept = desk.initial(position), desk.maintenance(position)
    balance = position.isolated_wallet if is_isolated else initial
    bust = bankruptcy_price(position.book, wallet=balance) if size else None
    realised = (position.realised + venue.costs(api_key, symbol)).quantize(_CENT)
    return {
        "positionIdx": POSITION_INDEXES[position.position_side],
        "riskId": listing.tiers.index(tier) + 1,
        "riskLimitValue": plain(tier.cap),
        "symbol": symbol,
        "side": "" if not size else "Buy" if position.quantity > 0 else "Sell",
        "size": grid(size, instrument.step_size),
        "avgPrice": plain(position.entry_price.quantize(_CENT)),
        "sessionAvgPrice": "",
        "positionValue": plain(entered.quantize(_CENT)) if size else "",
        "tradeMode": 1 if is_isolated else 0,
        "autoAddMargin": 0,
        "positionStatus": "Normal",
        "leverage": str(position.leverage),
        "markPrice": grid(mark, tick),
        "liqPrice": "" if liquidation is None or liquidation <= 0 else grid(liquidation, tick),
        "bustPrice": "" if bust is None or bust <= 0 else grid(bust, tick),
        "positionIM": plain(initial.quantize(_CENT)) if size else "",
        "positionIMByMp": plain(initial.quantize(_CENT)) if size else "",
        "positionMM": plain(kept.quantize(_CENT)) if size else "",
        "positionMMByMp": plain(kept.quantize(_CENT)) if size else "",
        "positionBalance": plain(balance.quantize(_CENT)) if size else "0",
        "unrealisedPnl": plain(desk.unrealised(position).quantize(_CENT)) if size else "",
        "curRealisedPnl": plain(realised if size else _ZERO),
        "cumRealisedPnl": plain(realised),
        "adlRankIndicator": 2 if size else 0,
        "createdTime": str(to_ms(contract_of(instrument).launch_ms * 1_000_000)),
        "updatedTime": str(to_ms(position.updated_ns)),
        "seq": desk.sequence(api_key=api_key),
        "isReduceOnly": False,
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
        **_guards(venue, api_key, position),
    }


def _guards(venue: Venue, api_key: str, position: SimPosition) -> JSON:
    """Return the take profit, the stop loss and the trailing stop of a whole position."""
    tick = venue.desk.listings[position.venue_symbol].instrument.tick_size
    waiting = [
        each
        for each in venue.desk.open_conditionals(api_key=api_key, venue_symbol=position.venue_symbol)
        if each.is_exit and each.close_position and each.position_side is position.position_side
    ]
    by_name = {each.memo.get("stopOrderType", ""): each for each in waiting}
    profit, loss = by_name.get("TakeProfit"), by_name.get("StopLoss")
    trail = by_name.get("TrailingStop")
    return {
        "takeProfit": grid(profit.trigger_price, tick) if profit is not None else "",
        "stopLoss": grid(loss.trigger_price, tick) if loss is not None else "",
        "trailingStop": grid(trail.trail_distance if trail is not None else _ZERO, tick),
        "tpslMode": "Full",
    }


# --- wallets ---------------------------------------------------------------------------------------------


def wallet_row(venue: Venue, api_key: str) -> JSON:
    """Return the unified account as ``/v5/account/wallet-balance`` and the topic ``wallet`` write it."""
    coins = _spot_coins(venue, api_key) if venue.is_spot else _margin_coins(venue, api_key)
    worth = {name: Decimal(row["usdValue"] or "0") for name, row in coins.items()}
    price = {
        name: worth[name] / Decimal(row["equity"]) if Decimal(row["equity"]) else _ZERO for name, row in coins.items()
    }

    def total(field: str) -> Decimal:
        return sum((Decimal(row[field] or "0") * price[name] for name, row in coins.items()), _ZERO)

    equity, wallet = sum(worth.values(), _ZERO), total("walletBalance")
    initial = total("totalOrderIM") + total("totalPositionIM")
    kept, profit = total("totalPositionMM"), total("unrealisedPnl")
    balance = wallet + profit
    return {
        "accountType": "UNIFIED",
        "accountIMRate": _rate(initial, balance),
        "accountMMRate": _rate(kept, balance),
        "accountIMRateByMp": _rate(initial, balance),
        "accountMMRateByMp": _rate(kept, balance),
        "accountLTV": "0",
        "totalEquity": _usd(equity),
        "totalWalletBalance": _usd(wallet),
        "totalMarginBalance": _usd(balance),
        "totalAvailableBalance": _usd(max(balance - initial, _ZERO)),
        "totalPerpUPL": _usd(profit),
        "totalInitialMargin": _usd(initial),
        "totalInitialMarginByMp": _usd(initial),
        "totalMaintenanceMargin": _usd(kept),
        "totalMaintenanceMarginByMp": _usd(kept),
        "coin": list(coins.values()),
    }


def _rate(part: Decimal, whole: Decimal) -> str:
    return plain((part / whole).quantize(Decimal("0.0001"))) if whole > 0 else "0"


def _usd(value: Decimal) -> str:
    return plain(value.quantize(_CENT, rounding=ROUND_DOWN))


def usd_price(venue: Venue, coin: str) -> Decimal:
    """Return what a coin is worth in dollars; zero where nothing that is traded here says it."""
    if coin in {"USD", "USDT", "USDC"}:
        return Decimal(1)
    for listing in venue.engine.listings.values():
        instrument = listing.instrument
        if instrument.base == coin and instrument.quote in {"USD", "USDT", "USDC"}:
            if venue.is_spot:
                return venue.last_price(listing.venue_symbol)
            return venue.desk.mark(listing.venue_symbol).index_price
    return _ZERO


def _coin_row(venue: Venue, coin: str, *, wallet: Decimal, **others: Decimal | bool) -> JSON:
    def number(name: str) -> Decimal:
        return Decimal(others.get(name, _ZERO))

    equity = wallet + number("unrealised")
    return {
        "coin": coin,
        "equity": plain(equity),
        "usdValue": _usd(equity * usd_price(venue, coin)),
        "walletBalance": plain(wallet),
        "locked": plain(number("locked")),
        "spotHedgingQty": "0",
        "borrowAmount": "0",
        "spotBorrow": "0",
        "availableToBorrow": "",
        "availableToWithdraw": "",
        "accruedInterest": "0",
        "totalOrderIM": plain(number("order_margin")),
        "totalPositionIM": plain(number("position_margin")),
        "totalPositionMM": plain(number("maintenance")),
        "unrealisedPnl": plain(number("unrealised")),
        "cumRealisedPnl": plain(number("realised")),
        "bonus": "0",
        "marginCollateral": bool(others.get("is_collateral", True)),
        "collateralSwitch": bool(others.get("is_collateral", True)),
    }


def _spot_coins(venue: Venue, api_key: str) -> dict[str, JSON]:
    return {
        coin: _coin_row(venue, coin, wallet=balance.free + balance.locked, locked=balance.locked)
        for coin, balance in venue.exchange.balances(api_key=api_key).items()
    }


def _margin_coins(venue: Venue, api_key: str) -> dict[str, JSON]:
    settles = {listing.instrument.settle for listing in venue.desk.listings.values()}
    return {
        view.asset: _coin_row(
            venue,
            view.asset,
            wallet=view.wallet,
            unrealised=view.unrealised,
            order_margin=view.order_margin,
            position_margin=view.position_margin,
            maintenance=view.maintenance,
            realised=venue.earned(api_key, view.asset),
            is_collateral=view.asset in settles,
        )
        for view in venue.desk.wallets(api_key=api_key)
    }
