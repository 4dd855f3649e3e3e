"""The JSON of USD-M and COIN-M into the model: contracts, the account, its bookings, orders as REST states them.

Source: https://developers.binance.com/docs/derivatives, 2026-05-28.  What is pushed
is read in :mod:`btx_binance.futures.events`.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import exact, limit
from btx.model.account import AccountSnapshot, Balance, Booking, BookingKind, PositionReport, SymbolTerms
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode, MarkPrice, PositionMode
from btx.model.order import Fill, Liquidity, OrderReport, OrderType, Origin, PositionSide, Side, Status
from btx.model.time import from_ms
from btx_binance.codec import STATUSES

__all__ = (
    "ALGO_STATUSES",
    "MARGIN_MODES",
    "ORDER_TYPES",
    "POSITION_SIDES",
    "account",
    "algo_id",
    "algo_report",
    "booking",
    "fill",
    "funding_rate",
    "leverage_tiers",
    "mark_price",
    "order_report",
    "origin_of",
    "tier_name",
)

Json = Mapping[str, Any]

ORDER_TYPES: Mapping[str, OrderType] = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "STOP": OrderType.STOP_LIMIT,
    "STOP_MARKET": OrderType.STOP_MARKET,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_LIMIT,
    "TAKE_PROFIT_MARKET": OrderType.TAKE_PROFIT_MARKET,
    "TRAILING_STOP_MARKET": OrderType.TRAILING_STOP,
}
POSITION_SIDES: Mapping[str, PositionSide] = {
    "BOTH": PositionSide.NET,
    "LONG": PositionSide.LONG,
    "SHORT": PositionSide.SHORT,
}
MARGIN_MODES: Mapping[str, MarginMode] = {
    "cross": MarginMode.CROSS,
    "crossed": MarginMode.CROSS,
    "isolated": MarginMode.ISOLATED,
}

# "Liquidation and ADL"; the third is the order that settles a contract of USD-M, the fourth of COIN-M.
_ORIGINS = (
    ("autoclose-", Origin.LIQUIDATION),
    ("adl_autoclose", Origin.DELEVERAGING),
    ("settlement_autoclose-", Origin.DELIVERY),
    ("delivery_autoclose-", Origin.DELIVERY),
)

# "Algo Status" of the event ALGO_UPDATE: what has triggered is an order that works, and no fill.
ALGO_STATUSES: Mapping[str, Status] = {
    "NEW": Status.NEW,
    "TRIGGERING": Status.NEW,
    "TRIGGERED": Status.NEW,
    "CANCELED": Status.CANCELED,
    "REJECTED": Status.REJECTED,
    "EXPIRED": Status.EXPIRED,
}

_BOOKINGS: Mapping[str, BookingKind] = {
    "FUNDING_FEE": BookingKind.FUNDING,
    "COMMISSION": BookingKind.FEE,
    "REALIZED_PNL": BookingKind.REALISED,
    "DELIVERED_SETTELMENT": BookingKind.REALISED,  # sic
    "INSURANCE_CLEAR": BookingKind.LIQUIDATION_FEE,
    "TRANSFER": BookingKind.TRANSFER,
    "INTERNAL_TRANSFER": BookingKind.TRANSFER,
    "CROSS_COLLATERAL_TRANSFER": BookingKind.TRANSFER,
    "COIN_SWAP_DEPOSIT": BookingKind.TRANSFER,
    "COIN_SWAP_WITHDRAW": BookingKind.TRANSFER,
    "STRATEGY_UMFUTURES_TRANSFER": BookingKind.TRANSFER,
    "COMMISSION_REBATE": BookingKind.REBATE,
    "API_REBATE": BookingKind.REBATE,
    "REFERRAL_KICKBACK": BookingKind.REBATE,
    "FEE_RETURN": BookingKind.REBATE,
}


def tier_name(level: int) -> str:
    """Return what the tables of :mod:`btx_binance.fees` call a fee tier."""
    return f"VIP {level}" if level else "regular"


def account(
    row: Json,
    *,
    config: Json,
    positions: Iterable[Json],
    settings: Mapping[str, Json],
    symbol_of: Callable[[str], str],
) -> AccountSnapshot:
    """Return the account; ``config`` has its tier and modes, ``settings`` the leverage and margin mode by symbol.

    COIN-M states those with each position.
    """
    stated = [{**each, **settings.get(each["symbol"], {})} for each in positions]
    held = tuple(_position(each, symbol=symbol_of(each["symbol"])) for each in stated if Decimal(each["positionAmt"]))
    wallet = {each["asset"]: Decimal(each["walletBalance"]) for each in row["assets"]}
    stamps = [int(each.get("updateTime", 0)) for each in row["assets"]]
    return AccountSnapshot(
        balances={asset: Balance(free=total, locked=Decimal(0)) for asset, total in wallet.items() if total},
        time_ns=max([from_ms(max(stamps, default=0)), *(each.time_ns for each in held)]),
        can_trade=bool(config.get("canTrade", True)),
        positions=held,
        terms={symbol_of(each["symbol"]): _terms(each) for each in (*settings.values(), *stated)},
        position_mode=PositionMode.HEDGE if config["dualSidePosition"] else PositionMode.ONE_WAY,
        fee_tier=tier_name(int(config["feeTier"])),
        is_multi_asset=bool(config.get("multiAssetsMargin", False)),
    )


def _terms(row: Json) -> SymbolTerms:
    return SymbolTerms(
        leverage=int(row["leverage"]) if "leverage" in row else None,
        margin_mode=MARGIN_MODES[row["marginType"].lower()] if "marginType" in row else None,
    )


def _position(row: Json, *, symbol: str) -> PositionReport:
    terms = _terms(row)
    return PositionReport(
        symbol=symbol,
        position_side=POSITION_SIDES[row["positionSide"]],
        quantity=Decimal(row["positionAmt"]),
        entry_price=limit(row, "entryPrice"),
        mark_price=limit(row, "markPrice"),
        unrealised=Decimal(row["unRealizedProfit"]),
        liquidation_price=limit(row, "liquidationPrice"),
        leverage=terms.leverage,
        margin_mode=terms.margin_mode,
        isolated_margin=_isolated_wallet(row) if terms.margin_mode is MarginMode.ISOLATED else None,
        time_ns=from_ms(int(row["updateTime"])),
    )


def _isolated_wallet(row: Json) -> Decimal:
    """``isolatedMargin`` is the wallet with what the position would bring; COIN-M states only that."""
    if "isolatedWallet" in row:
        return Decimal(row["isolatedWallet"])
    return Decimal(row["isolatedMargin"]) - Decimal(row["unRealizedProfit"])


def leverage_tiers(row: Json) -> tuple[LeverageTier, ...]:
    """Return ``leverageBracket`` of a symbol, lowest first; COIN-M counts in coins, and calls it a quantity."""
    tiers = (
        LeverageTier(
            floor=exact(tier["notionalFloor"] if "notionalFloor" in tier else _floor_of(tier)),
            cap=exact(tier["notionalCap"] if "notionalCap" in tier else tier["qtyCap"]),
            max_leverage=int(tier["initialLeverage"]),
            maintenance_rate=exact(tier["maintMarginRatio"]),
            maintenance_amount=exact(tier.get("cum", 0)),
        )
        for tier in row["brackets"]
    )
    return tuple(sorted(tiers, key=lambda tier: tier.floor))


def _floor_of(tier: Json) -> Any:
    return tier["qtyFloor"] if "qtyFloor" in tier else tier["qtylFloor"]  # as the documentation spells it


def booking(row: Json, *, symbol_of: Callable[[str], str]) -> Booking:
    """Return a row of ``income``; its ``tranId`` is unique within its type, so both are its id."""
    trade_id = str(row.get("tradeId") or "")
    return Booking(
        booking_id=f"{row['incomeType']}:{row['tranId']}",
        kind=_BOOKINGS.get(row["incomeType"], BookingKind.OTHER),
        asset=row["asset"],
        amount=Decimal(row["income"]),
        symbol=symbol_of(row["symbol"]) if row.get("symbol") else None,
        fill_id=trade_id or None,
        time_ns=from_ms(int(row["time"])),
    )


def mark_price(row: Json, *, symbol: str) -> MarkPrice:
    """Return ``premiumIndex``; a delivery contract has no funding."""
    return MarkPrice(
        symbol=symbol,
        mark_price=Decimal(row["markPrice"]),
        index_price=Decimal(row["indexPrice"]),
        funding_rate=Decimal(row["lastFundingRate"]) if row.get("lastFundingRate") else None,
        next_funding_ns=from_ms(int(row["nextFundingTime"])) or None,
        time_ns=from_ms(int(row["time"])),
    )


def funding_rate(row: Json, *, symbol: str) -> FundingRate:
    """Return a row of ``fundingRate``; older rows have no mark price."""
    return FundingRate(
        symbol=symbol,
        time_ns=from_ms(int(row["fundingTime"])),
        rate=Decimal(row["fundingRate"]),
        mark_price=Decimal(row["markPrice"]) if row.get("markPrice") else None,
    )


def origin_of(client_order_id: str) -> Origin:
    """Return who made an order, read off its own name."""
    return next((origin for start, origin in _ORIGINS if client_order_id.startswith(start)), Origin.CLIENT)


def fill(row: Json, *, symbol: str, client_order_id: str, origin: Origin = Origin.CLIENT) -> Fill:
    """Return a row of ``userTrades``, which names neither the client order id nor who made the order."""
    return Fill(
        fill_id=str(row["id"]),
        client_order_id=client_order_id,
        venue_order_id=str(row["orderId"]),
        symbol=symbol,
        side=Side(row["side"]),
        price=Decimal(row["price"]),
        quantity=Decimal(row["qty"]),
        fee=Decimal(row["commission"]),
        fee_asset=row["commissionAsset"],
        liquidity=Liquidity.MAKER if row["maker"] else Liquidity.TAKER,
        time_ns=from_ms(int(row["time"])),
        position_side=POSITION_SIDES[row["positionSide"]],
        realised=Decimal(row["realizedPnl"]),
        origin=origin,
    )


def order_report(row: Json, *, symbol: str, client_order_id: str | None = None) -> OrderReport:
    """Return one order of the matching engine as REST states it."""
    return OrderReport(
        client_order_id=client_order_id or row["clientOrderId"],
        venue_order_id=str(row["orderId"]),
        symbol=symbol,
        status=STATUSES[row["status"]],
        filled=Decimal(row["executedQty"]),
        time_ns=from_ms(int(row["updateTime"])),
        reason="self-trade prevention" if row["status"] == "EXPIRED_IN_MATCH" else "",
        side=Side(row["side"]),
        order_type=ORDER_TYPES.get(row.get("origType", row["type"])),
        quantity=limit(row, "origQty"),
        price=limit(row, "price"),
        trigger_price=limit(row, "stopPrice"),
        position_side=POSITION_SIDES.get(row.get("positionSide", "")),
        reduce_only=bool(row["reduceOnly"]),
        origin=origin_of(row["clientOrderId"]),
    )


def algo_id(number: int | str) -> str:
    """Return the venue order id of a conditional order that waits: ids of orders are numbers, too."""
    return f"algo:{number}"


def algo_report(row: Json, *, symbol: str, client_order_id: str | None = None) -> OrderReport:
    """Return a conditional order as REST states it; of one that has triggered its child says the rest."""
    return OrderReport(
        client_order_id=client_order_id or row["clientAlgoId"],
        venue_order_id=str(row.get("actualOrderId") or "") or algo_id(row["algoId"]),
        symbol=symbol,
        status=ALGO_STATUSES[row["algoStatus"]],
        time_ns=from_ms(int(row["updateTime"])),
        side=Side(row["side"]),
        order_type=ORDER_TYPES.get(row["orderType"]),
        quantity=limit(row, "quantity"),
        price=limit(row, "price"),
        trigger_price=limit(row, "triggerPrice"),
        position_side=POSITION_SIDES[row["positionSide"]],
        reduce_only=bool(row["reduceOnly"]),
    )
