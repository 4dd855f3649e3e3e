"""Wallet, income and configuration of an account (account/rest-api, 2026-05-28)."""

from decimal import Decimal
from typing import Any

from btx.model.account import BookingKind
from btx.model.derivatives import PositionMode
from btx.model.order import Origin
from btx.model.time import NS_PER_DAY, NS_PER_MS, from_ms, to_ms
from btx.sim.margin_events import SimBooking, WalletView
from btx.sim.skin.text import JSON
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.positions import account_position, busy_positions, every_position, old_account_position
from btx_binance.sim.futures.protocol import Change, Protocol
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.futures.wire import money
from btx_binance.sim.params import Param, long, symbol, text
from btx_binance.sim.venue import Ask, Call, Security

__all__ = ("calls",)

_INCOME = {
    BookingKind.FUNDING: "FUNDING_FEE",
    BookingKind.FEE: "COMMISSION",
    BookingKind.REALISED: "REALIZED_PNL",
    BookingKind.LIQUIDATION_FEE: "INSURANCE_CLEAR",
    BookingKind.TRANSFER: "TRANSFER",
    BookingKind.REBATE: "COMMISSION_REBATE",
}
_WEEK_NS = 7 * NS_PER_DAY
_DOLLAR = "USDT"  # "only for USDT asset": what the totals of an account without multi-assets mode are of


def _account_v3(venue: FuturesVenue, ask: Ask) -> JSON:
    return _totals(venue, ask) | {
        "assets": [_asset_row(wallet, ask) for wallet in _wallets(venue, ask)],
        "positions": [account_position(venue, ask, position) for position in busy_positions(venue, ask)],
    }


def _account_v2(venue: FuturesVenue, ask: Ask) -> JSON:
    return {
        **_config(venue, ask),
        **_totals(venue, ask),
        "assets": [_asset_row(wallet, ask) | {"marginAvailable": True} for wallet in _wallets(venue, ask)],
        "positions": [old_account_position(venue, ask, position) for position in every_position(venue, ask)],
    }


def _coin_account(venue: FuturesVenue, ask: Ask) -> JSON:
    config = _config(venue, ask)
    return {
        "assets": [_asset_row(wallet, ask) for wallet in _wallets(venue, ask)],
        "positions": [old_account_position(venue, ask, position) for position in every_position(venue, ask)],
        **{name: config[name] for name in ("canDeposit", "canTrade", "canWithdraw", "feeTier", "updateTime")},
    }


def _config(venue: FuturesVenue, ask: Ask) -> JSON:
    return {
        "feeTier": _fee_tier(venue, ask),
        "feeBurn": venue.desk.pays_with_discount_asset(api_key=ask.api_key),
        "canTrade": True,
        "canDeposit": False,
        "canWithdraw": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def _account_config(venue: FuturesVenue, ask: Ask) -> JSON:
    config = _config(venue, ask)
    del config["feeBurn"]
    return config | {"dualSidePosition": venue.desk.position_mode(api_key=ask.api_key) is PositionMode.HEDGE}


def _fee_tier(venue: FuturesVenue, ask: Ask) -> int:
    first = next(iter(venue.desk.listings))
    tier = venue.desk.fees(api_key=ask.api_key, venue_symbol=first, now_ns=ask.market_ns).tier
    number = tier.rpartition(" ")[2]
    return int(number) if number.isdigit() else 0


def _wallets(venue: FuturesVenue, ask: Ask) -> list[WalletView]:
    """Return every asset the market settles in, and whatever else the account has."""
    owned = {wallet.asset: wallet for wallet in venue.desk.wallets(api_key=ask.api_key)}
    for listing in venue.desk.listings.values():
        asset = listing.instrument.settle
        owned.setdefault(asset, venue.desk.wallet(api_key=ask.api_key, asset=asset))
    return [owned[asset] for asset in sorted(owned)]


def _asset_row(wallet: WalletView, ask: Ask) -> JSON:
    return {
        "asset": wallet.asset,
        "walletBalance": money(wallet.wallet),
        "unrealizedProfit": money(wallet.unrealised),
        "marginBalance": money(wallet.margin_balance),
        "maintMargin": money(wallet.maintenance),
        "initialMargin": money(wallet.position_margin + wallet.order_margin),
        "positionInitialMargin": money(wallet.position_margin),
        "openOrderInitialMargin": money(wallet.order_margin),
        "crossWalletBalance": money(wallet.cross_wallet),
        "crossUnPnl": money(wallet.cross_unrealised),
        "availableBalance": money(wallet.available),
        "maxWithdrawAmount": money(_withdrawable(wallet)),
        "updateTime": to_ms(ask.market_ns),
    }


def _withdrawable(wallet: WalletView) -> Decimal:
    return max(min(wallet.available, wallet.cross_wallet), Decimal(0))


def _totals(venue: FuturesVenue, ask: Ask) -> JSON:
    wallet = venue.desk.wallet(api_key=ask.api_key, asset=_DOLLAR)
    return {
        "totalInitialMargin": money(wallet.position_margin + wallet.order_margin),
        "totalMaintMargin": money(wallet.maintenance),
        "totalWalletBalance": money(wallet.wallet),
        "totalUnrealizedProfit": money(wallet.unrealised),
        "totalMarginBalance": money(wallet.margin_balance),
        "totalPositionInitialMargin": money(wallet.position_margin),
        "totalOpenOrderInitialMargin": money(wallet.order_margin),
        "totalCrossWalletBalance": money(wallet.cross_wallet),
        "totalCrossUnPnl": money(wallet.cross_unrealised),
        "availableBalance": money(wallet.available),
        "maxWithdrawAmount": money(_withdrawable(wallet)),
    }


def _balance(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    rows = []
    for wallet in _wallets(venue, ask):
        row: JSON = {
            "accountAlias": f"sim{1 + list(venue.secrets).index(ask.api_key)}",
            "asset": wallet.asset,
            "balance": money(wallet.wallet),
            "crossWalletBalance": money(wallet.cross_wallet),
            "crossUnPnl": money(wallet.cross_unrealised),
            "availableBalance": money(wallet.available),
            "updateTime": to_ms(ask.market_ns),
        }
        if venue.dialect.is_inverse:
            row["withdrawAvailable"] = money(_withdrawable(wallet))
        else:
            row |= {"maxWithdrawAmount": money(_withdrawable(wallet)), "marginAvailable": True}
        rows.append(row)
    return rows


def _income(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    end_ns = from_ms(ask["endTime"]) + NS_PER_MS - 1 if "endTime" in ask.values else ask.market_ns
    start_ns = from_ms(ask["startTime"]) if "startTime" in ask.values else None
    if start_ns is None:
        start_ns = 0 if "endTime" in ask.values else ask.market_ns - _WEEK_NS
    wanted = ask.get("incomeType")
    fills = venue.desk.fills(api_key=ask.api_key)
    delivered = {fill.trade_id for fill in fills if fill.origin is Origin.DELIVERY}
    rows = [
        _income_row(booking, is_delivery=booking.trade_id in delivered)
        for booking in venue.desk.bookings(api_key=ask.api_key)
        if start_ns <= booking.time_ns <= end_ns and ask.get("symbol", booking.venue_symbol) == booking.venue_symbol
    ]
    rows = [row for row in rows if wanted in (None, row["incomeType"])]
    limit = ask.get("limit", 100)
    first = (max(ask.get("page", 1), 1) - 1) * limit
    return rows[first : first + limit]


def _income_row(booking: SimBooking, *, is_delivery: bool) -> JSON:
    kind = booking.reason if booking.kind is BookingKind.OTHER else _INCOME[booking.kind]
    if is_delivery and booking.kind is BookingKind.REALISED:
        kind = "DELIVERED_SETTELMENT"  # as the venue spells it
    return {
        "symbol": booking.venue_symbol or "",
        "incomeType": kind,
        "income": money(booking.amount),
        "asset": booking.asset,
        "info": kind,
        "time": to_ms(booking.time_ns),
        "tranId": booking.booking_id,
        "tradeId": "" if booking.trade_id is None else str(booking.trade_id),
    }


def calls(dialect: Dialect, protocol: Protocol) -> tuple[Call[FuturesVenue], ...]:
    """Return the calls about the wallet of a market."""
    prefix = dialect.prefix

    def call(run: Any, path: str, params: tuple[Param, ...] = (), **terms: Any) -> Call[FuturesVenue]:
        terms.setdefault("weight", 5)
        return Call(run=run, rest=("GET", f"{prefix}/{path}"), params=params, security=Security.SIGNED, **terms)

    filters = (
        symbol(mandatory=False),
        text("incomeType"),
        long("startTime"),
        long("endTime"),
        *(() if protocol.has(Change.INCOME_WITHOUT_PAGES) else (long("page"),)),
        long("limit", maximum=1000),
    )
    income = call(_income, "v1/income", filters, weight=20 if dialect.is_inverse else 30)
    if dialect.is_inverse:
        return (
            income,
            call(_coin_account, "v1/account", method="account.status"),
            call(_balance, "v1/balance", weight=1, method="account.balance"),
        )
    return (
        income,
        call(_account_v3, "v3/account", method="v2/account.status"),
        call(_account_v2, "v2/account", method="account.status"),
        call(_balance, "v3/balance", method="v2/account.balance"),
        call(_balance, "v2/balance", method="account.balance"),
        call(_account_config, "v1/accountConfig"),
    )
