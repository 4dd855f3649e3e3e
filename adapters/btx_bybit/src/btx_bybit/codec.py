"""The JSON of the v5 API into the model: exact decimals, integer nanoseconds, a function per shape.

Sources: https://bybit-exchange.github.io/docs/v5: market, account, position, enum, 2026.
Unknown keys are ignored: the venue adds some at any time.  What is said of
orders is read in :mod:`btx_bybit.reports`; REST and the private stream write them alike.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import exact, levels, limit
from btx.errors import ConfigError
from btx.model.account import AccountSnapshot, Balance, Booking, BookingKind, KeyRights, PositionReport, SymbolTerms
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode, MarkPrice, PositionMode
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.order import PositionSide, Side
from btx.model.time import Interval, from_ms

__all__ = (
    "INTERVALS",
    "MARGIN_MODES",
    "POSITION_SIDES",
    "SIDES",
    "account",
    "book_snapshot",
    "bookings",
    "funding_rate",
    "key_rights",
    "kline",
    "last_price",
    "leverage_tiers",
    "mark_price",
    "position",
    "server_time",
    "trade",
    "wallet",
)

Json = Mapping[str, Any]
Named = Callable[[str], str]

SIDES: Mapping[str, Side] = {"Buy": Side.BUY, "Sell": Side.SELL}
POSITION_SIDES: Mapping[int, PositionSide] = {0: PositionSide.NET, 1: PositionSide.LONG, 2: PositionSide.SHORT}
MARGIN_MODES: Mapping[str, MarginMode] = {
    "REGULAR_MARGIN": MarginMode.CROSS,
    "ISOLATED_MARGIN": MarginMode.ISOLATED,
}

INTERVALS: Mapping[str, str] = {
    **{f"{minutes}m": str(minutes) for minutes in (1, 3, 5, 15, 30)},
    **{f"{hours}h": str(hours * 60) for hours in (1, 2, 4, 6, 12)},
    "1d": "D",
    "1w": "W",
    "1M": "M",
}
"""What Bybit calls the intervals of bars: "interval" of its enums."""

_BOOKINGS: Mapping[str, BookingKind] = {
    "TRANSFER_IN": BookingKind.TRANSFER,
    "TRANSFER_OUT": BookingKind.TRANSFER,
    "FEE_REFUND": BookingKind.REBATE,
}
_FILLS = frozenset({"TRADE", "LIQUIDATION", "ADL", "DELIVERY"})  # what is told of an execution, which counts it
_TRADES = _FILLS | {"SETTLEMENT"}  # rows of three parts


def server_time(row: Json) -> int:
    """Return ``market/time`` in nanoseconds, as exactly as the venue says it."""
    return int(row["timeNano"])


def key_rights(row: Json, *, trading: tuple[str, str]) -> KeyRights:
    """Return ``user/query-api``; ``trading`` is the permission the market needs, and before it its group."""
    granted, (group, right) = row.get("permissions") or {}, trading
    addresses = row.get("ips") or ["*"]
    return KeyRights(
        may_read=True,
        may_trade=not int(row["readOnly"]) and right in (granted.get(group) or ()),
        may_withdraw="Withdraw" in (granted.get("Wallet") or ()),
        is_ip_restricted=list(addresses) != ["*"],
    )


# --- market data ------------------------------------------------------------------------------------------


def kline(row: list[Any], *, symbol: str, interval: Interval, now_ns: int, counts_quotes: bool) -> Bar:
    """Return one row of ``kline``; it is closed when its close time is not after ``now_ns``.

    ``counts_quotes``: the turnover is in quote units; of an inverse contract it is in coins.
    """
    open_ns = from_ms(int(row[0]))
    close_ns = interval.close_of(open_ns)
    return Bar(
        symbol=symbol,
        interval=interval,
        open_ns=open_ns,
        close_ns=close_ns,
        open=Decimal(row[1]),
        high=Decimal(row[2]),
        low=Decimal(row[3]),
        close=Decimal(row[4]),
        volume=Decimal(row[5]),
        is_closed=close_ns <= now_ns,
        quote_volume=Decimal(row[6]) if counts_quotes else None,
        trades=None,
    )


def trade(row: Json, *, symbol: str) -> Trade:
    """Return one row of ``recent-trade``."""
    return Trade(
        symbol=symbol,
        trade_id=row["execId"],
        price=Decimal(row["price"]),
        quantity=Decimal(row["size"]),
        side=SIDES[row["side"]],
        time_ns=from_ms(int(row["time"])),
        sequence=int(row["seq"]) if row.get("seq") else None,
    )


def book_snapshot(row: Json, *, symbol: str) -> BookSnapshot:
    """Return ``orderbook``; its ``seq`` is the matching engine's, as in pushes of any depth, and ``u`` is of one."""
    return BookSnapshot(
        symbol=symbol,
        bids=levels(row["b"]),
        asks=levels(row["a"]),
        sequence=int(row["seq"]),
        time_ns=from_ms(int(row.get("cts") or row["ts"])),
    )


def mark_price(row: Json, *, symbol: str, time_ns: int) -> MarkPrice:
    """Return a row of ``tickers``, which has no time of its own; a delivery contract has no funding."""
    has_funding = bool(row.get("fundingRate"))
    return MarkPrice(
        symbol=symbol,
        mark_price=Decimal(row["markPrice"]),
        index_price=limit(row, "indexPrice"),
        funding_rate=Decimal(row["fundingRate"]) if has_funding else None,
        next_funding_ns=from_ms(int(row.get("nextFundingTime") or 0)) or None if has_funding else None,
        time_ns=time_ns,
    )


def last_price(result: Json) -> Decimal:
    """Return the price of the last trade, from ``tickers`` of one symbol."""
    return Decimal(result["list"][0]["lastPrice"])


def funding_rate(row: Json, *, symbol: str) -> FundingRate:
    """Return a row of ``funding/history``; it has no mark price."""
    return FundingRate(
        symbol=symbol,
        time_ns=from_ms(int(row["fundingRateTimestamp"])),
        rate=Decimal(row["fundingRate"]),
    )


# --- the account ------------------------------------------------------------------------------------------


def wallet(row: Json, *, is_margined: bool) -> dict[str, Balance]:
    """Return the coins of ``wallet-balance``, also those at zero; what is bound in positions is still in the wallet."""
    found = {}
    for coin in row["coin"]:
        total, locked = exact(coin["walletBalance"] or 0), exact(coin.get("locked") or 0)
        bound = Decimal(0) if is_margined else locked
        found[coin["coin"]] = Balance(free=total - bound, locked=bound)
    return found


def account(
    row: Json,
    *,
    info: Json,
    held: Iterable[Json],
    stated: Iterable[Json],
    is_margined: bool,
    symbol_of: Named,
    time_ns: int,
) -> AccountSnapshot:
    """Return the account; ``stated`` are rows of ``position/list`` of single symbols, with a position or without.

    Raises:
        ConfigError: it is in a mode that is not modelled, or in two at once.
    """
    mode = MARGIN_MODES.get(info.get("marginMode", "REGULAR_MARGIN"))
    if mode is None and is_margined:
        raise ConfigError(
            f"the account is in {info['marginMode']}, whose margin is not modelled: "
            "switch it to cross or isolated margin at Bybit"
        )
    each_stated = tuple(stated)
    return AccountSnapshot(
        balances={asset: each for asset, each in wallet(row, is_margined=is_margined).items() if each.total},
        time_ns=time_ns,
        positions=tuple(
            position(each, symbol=symbol_of(each["symbol"]), mode=mode) for each in held if exact(each["size"] or 0)
        ),
        terms={
            symbol_of(each["symbol"]): SymbolTerms(leverage=_leverage(each), margin_mode=mode) for each in each_stated
        },
        position_mode=_position_mode(each_stated) if is_margined else None,
    )


def _position_mode(stated: tuple[Json, ...]) -> PositionMode:
    modes = {each["symbol"]: int(each["positionIdx"]) != 0 for each in stated}
    if len(set(modes.values())) > 1:
        hedged = next(symbol for symbol, is_hedged in modes.items() if is_hedged)
        plain = next(symbol for symbol, is_hedged in modes.items() if not is_hedged)
        raise ConfigError(
            f"Bybit has {hedged} in hedge mode and {plain} in one-way mode: switch them alike, an account has one here"
        )
    return PositionMode.HEDGE if any(modes.values()) else PositionMode.ONE_WAY


def _leverage(row: Json) -> int | None:
    """Leverage goes in steps of a hundredth at Bybit; here it is a whole number, and what is none is not told."""
    found = limit(row, "leverage")
    return int(found) if found is not None and found == int(found) else None


def position(row: Json, *, symbol: str, mode: MarginMode | None) -> PositionReport:
    """Return a row of ``position/list`` or of the ``position`` stream; ``mode`` is the account's."""
    size = exact(row["size"] or 0)
    return PositionReport(
        symbol=symbol,
        position_side=POSITION_SIDES[int(row["positionIdx"])],
        quantity=-size if row["side"] == "Sell" else size,
        entry_price=limit(row, "avgPrice") if "avgPrice" in row else limit(row, "entryPrice"),
        mark_price=limit(row, "markPrice"),
        unrealised=exact(row["unrealisedPnl"] or 0),
        liquidation_price=limit(row, "liqPrice"),
        leverage=_leverage(row),
        margin_mode=mode,
        isolated_margin=limit(row, "positionBalance") if mode is MarginMode.ISOLATED else None,
        time_ns=from_ms(int(row["updatedTime"] or 0)),
    )


def leverage_tiers(rows: Iterable[Json]) -> tuple[LeverageTier, ...]:
    """Return ``risk-limit`` of a symbol, lowest first.

    Rates are fractions, and were per cents in older answers: the initial one, which
    is 1 over the leverage, tells which.  What is taken off, so that tiers join, is
    computed where the venue does not say it.
    """
    tiers: list[LeverageTier] = []
    for row in sorted(rows, key=lambda each: exact(each["riskLimitValue"])):
        is_percent = exact(row["initialMargin"]) * exact(row["maxLeverage"]) > 10
        rate = exact(row["maintenanceMargin"]) / (100 if is_percent else 1)
        last = tiers[-1] if tiers else None
        floor = (last.cap or Decimal(0)) if last is not None else Decimal(0)
        joined = last.maintenance_amount + floor * (rate - last.maintenance_rate) if last is not None else Decimal(0)
        said = limit(row, "mmDeduction")
        tiers.append(
            LeverageTier(
                floor=floor,
                cap=exact(row["riskLimitValue"]),
                max_leverage=int(exact(row["maxLeverage"])),
                maintenance_rate=rate,
                maintenance_amount=joined if said is None else said,
            )
        )
    return tuple(tiers)


def bookings(row: Json, *, market: str, symbol_of: Named) -> tuple[Booking, ...]:
    """Return a row of ``transaction-log``, which has up to three parts: what was earned, the fee, the funding.

    "Change = cashFlow + funding - fee": a fee is positive when it is paid, funding when it is received.
    What a settlement pays beside the funding (every eight hours of USDC contracts) is of no fill.  What was traded
    in another category is none of the ``market``'s; what comes of no trade is the account's, whatever its category.
    """
    kind, symbol, trade_id = row["type"], row.get("symbol") or "", row.get("tradeId") or ""
    if kind in _TRADES and (row.get("category") or market) != market:
        return ()
    parts = [(_BOOKINGS.get(kind, BookingKind.OTHER), exact(row["change"] or 0))]
    is_fill = kind in _FILLS and bool(trade_id)
    if kind in _TRADES:
        earned, fee = exact(row["cashFlow"] or 0), exact(row["fee"] or 0)
        of_fill = [(BookingKind.REALISED, earned), (BookingKind.FEE, -fee)]
        rest = of_fill if is_fill else [(BookingKind.OTHER, earned - fee)]
        parts = [(BookingKind.FUNDING, exact(row["funding"] or 0)), *rest]
    return tuple(
        Booking(
            booking_id=f"{row['id']}:{row['transactionTime']}:{trade_id}",
            kind=part,
            asset=row["currency"],
            amount=amount,
            symbol=symbol_of(symbol) if symbol and kind in _TRADES else None,
            fill_id=trade_id if is_fill and part is not BookingKind.FUNDING else None,
            time_ns=from_ms(int(row["transactionTime"])),
        )
        for part, amount in parts
        if amount
    )
