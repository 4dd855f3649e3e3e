"""The facts of an account and a market, against a server that answers as the documentation says."""

import asyncio
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import ConfigError, OrderRejectedError
from btx.model.account import BookingKind, KeyRights
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.instrument import InstrumentKind
from btx.model.time import from_ms
from btx_bybit.api import modes
from btx_bybit.store import BybitStore
from tests.unit.bybit.rig import INVERSE, LINEAR, NOW_MS, refusal, result, rows, venue

INFO, WALLET, POSITIONS = "/v5/account/info", "/v5/account/wallet-balance", "/v5/position/list"
LISTED = "/v5/market/instruments-info"
CROSS = result(marginMode="REGULAR_MARGIN", unifiedMarginStatus=6)
MONEY = result(list=[{"coin": [{"coin": "USDT", "walletBalance": "1000.5", "locked": "0.5"}]}])


def contract(**changes: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "deliveryTime": "0",
        "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
        "lotSizeFilter": {
            "maxOrderQty": "1190.000",
            "minOrderQty": "0.001",
            "qtyStep": "0.001",
            "maxMktOrderQty": "500.000",
            "minNotionalValue": "5",
        },
    } | changes


def position(**changes: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "positionIdx": 0,
        "side": "",
        "size": "0",
        "avgPrice": "0",
        "leverage": "10",
        "markPrice": "60000",
        "liqPrice": "",
        "positionBalance": "0",
        "unrealisedPnl": "",
        "updatedTime": "1750000000000",
    } | changes


def ask(replies: Any, what: Any, market: str = "linear", **changes: Any) -> tuple[Any, Any]:
    async def scene() -> tuple[Any, Any]:
        async with venue(replies, market, **changes) as (there, context):
            return await what(BybitStore(context)), there

    return asyncio.run(scene())


def test_contracts_come_in_pages_and_by_the_name_they_were_asked_for() -> None:
    delivery = contract(symbol="BTCUSDT-25DEC26", contractType="LinearFutures", deliveryTime="1798185600000")
    usdc = contract(symbol="BTCPERP", quoteCoin="USDC", settleCoin="USDC")
    strange = contract(symbol="BTC-1X", contractType="Something")
    pages = [rows(contract(), delivery, cursor="2"), rows(usdc, strange)]
    found, there = ask({LISTED: pages}, lambda store: store.instruments())
    by_name, _ = ask({LISTED: pages}, lambda store: store.instruments(symbols=["BTC/USDT", "DOGE/USDT"]))

    assert set(found) == {"BTC/USDT:USDT", "BTC/USDT:USDT-261225", "BTC/USDC:USDC"}
    assert [each.get("cursor") for each in there.of(LISTED)] == [None, "2"]
    assert found["BTC/USDT:USDT-261225"].delivery_ns == from_ms(1798185600000)
    plain = found["BTC/USDT:USDT"]
    assert (plain.kind, plain.delivery_ns, plain.max_conditional_orders) == (InstrumentKind.LINEAR, None, 10)
    assert (plain.min_notional, plain.max_quantity, plain.market_max_quantity) == (5, 1190, 500)
    assert list(by_name) == ["BTC/USDT"]


def test_the_account_has_the_terms_of_what_is_traded_and_the_positions_of_both_coins() -> None:
    held = position(symbol="ETHPERP", side="Sell", size="2", positionIdx=0)
    replies = {
        INFO: CROSS,
        WALLET: MONEY,
        POSITIONS: [rows(position()), rows(), rows(held)],
    }
    account, there = ask(replies, lambda store: store.account(), traded=lambda: [LINEAR])

    asked = [each.get("symbol") or each.get("settleCoin") for each in there.of(POSITIONS)]
    assert asked == ["BTCUSDT", "USDT", "USDC"]
    assert account.position_mode is PositionMode.ONE_WAY
    assert account.terms["BTC/USDT:USDT"].leverage == 10
    assert account.time_ns == from_ms(NOW_MS)
    assert account.balances["USDT"].free == Decimal("1000.5")  # nothing is locked on margin
    ((found),) = account.positions
    assert (found.symbol, found.quantity) == ("ETH/USDC:USDC", -2)


def test_a_symbol_in_hedge_mode_is_known_for_its_executions() -> None:
    async def scene() -> tuple[Any, Any]:
        both = [position(positionIdx=1), position(positionIdx=2)]
        replies = {INFO: CROSS, WALLET: MONEY, POSITIONS: [rows(*both), rows(), rows()]}
        async with venue(replies, traded=lambda: [LINEAR]) as (_, context):
            return await BybitStore(context).account(), modes(context).hedged

    account, hedged = asyncio.run(scene())

    assert account.position_mode is PositionMode.HEDGE
    assert hedged == {"BTCUSDT"}


def test_what_is_not_modelled_is_said_before_anything_is_traded() -> None:
    portfolio = result(marginMode="PORTFOLIO_MARGIN")
    mixed = [rows(position()), rows(position(symbol="ETHUSDT", positionIdx=1)), rows(), rows()]
    both = lambda: [LINEAR, attrs.evolve(LINEAR, venue_symbol="ETHUSDT")]

    with pytest.raises(ConfigError, match="PORTFOLIO_MARGIN, whose margin is not modelled"):
        ask({INFO: portfolio, WALLET: MONEY, POSITIONS: rows()}, lambda store: store.account())
    with pytest.raises(ConfigError, match="has ETHUSDT in hedge mode and BTCUSDT in one-way mode"):
        ask({INFO: CROSS, WALLET: MONEY, POSITIONS: mixed}, lambda store: store.account(), traded=both)


def test_of_spot_the_wallet_is_all_there_is_and_orders_lock_some_of_it() -> None:
    account, there = ask({WALLET: MONEY}, lambda store: store.account(), "spot")

    assert (account.balances["USDT"].free, account.balances["USDT"].locked) == (1000, Decimal("0.5"))
    assert account.position_mode is None
    assert [each.path for each in there.asked] == [WALLET]


@pytest.mark.parametrize(
    ("row", "rights"),
    [
        (
            {"readOnly": 0, "permissions": {"ContractTrade": ["Order"], "Wallet": ["Withdraw"]}, "ips": ["*"]},
            KeyRights(may_read=True, may_trade=True, may_withdraw=True, is_ip_restricted=False),
        ),
        (
            {"readOnly": 1, "permissions": {"ContractTrade": ["Order"], "Wallet": []}, "ips": ["1.2.3.4"]},
            KeyRights(may_read=True, may_trade=False, may_withdraw=False, is_ip_restricted=True),
        ),
        (
            {"readOnly": 0, "permissions": {"Spot": ["SpotTrade"]}},
            KeyRights(may_read=True, may_trade=False, may_withdraw=False, is_ip_restricted=False),
        ),
        (
            {"readOnly": 0, "permissions": {"ContractTrade": ["Position"]}},  # leverage, and no orders
            KeyRights(may_read=True, may_trade=False, may_withdraw=False, is_ip_restricted=False),
        ),
    ],
)
def test_a_key_says_what_it_may_do(row: dict[str, Any], rights: KeyRights) -> None:
    found, _ = ask({"/v5/user/query-api": result(**row)}, lambda store: store.key_rights())

    assert found == rights


@pytest.mark.parametrize("unit", [Decimal(1), Decimal(100)])
def test_risk_limits_are_tiers_that_join_whether_rates_are_fractions_or_per_cents(unit: Decimal) -> None:
    limits = [
        {
            "riskLimitValue": "4000000",
            "maintenanceMargin": str(Decimal("0.01") * unit),
            "initialMargin": str(Decimal("0.02") * unit),
            "maxLeverage": "50.00",
        },
        {
            "riskLimitValue": "2000000",
            "maintenanceMargin": str(Decimal("0.005") * unit),
            "initialMargin": str(Decimal("0.01") * unit),
            "maxLeverage": "100.00",
        },
    ]
    found, there = ask(
        {"/v5/market/risk-limit": rows(*limits)}, lambda store: store.leverage_tiers(instruments=[LINEAR])
    )

    first, second = found["BTC/USDT:USDT"]
    assert (first.floor, first.cap, first.max_leverage, first.maintenance_rate) == (0, 2_000_000, 100, Decimal("0.005"))
    assert (second.floor, second.maintenance_amount) == (2_000_000, 10_000)
    assert there.asked[0].params == {"category": "linear", "symbol": "BTCUSDT"}


def test_leverage_and_modes_that_are_so_already_are_no_error() -> None:
    leverage, mode, switch = "/v5/position/set-leverage", "/v5/account/set-margin-mode", "/v5/position/switch-mode"

    async def what(store: BybitStore) -> None:
        await store.set_leverage(instrument=LINEAR, leverage=5)
        await store.set_margin_mode(instrument=LINEAR, mode=MarginMode.CROSS)
        await store.set_margin_mode(instrument=LINEAR, mode=MarginMode.ISOLATED)
        await store.set_position_mode(mode=PositionMode.HEDGE)

    replies = {
        leverage: refusal(110043, "Set leverage not modified"),
        INFO: CROSS,
        mode: result(reasons=[]),
        switch: refusal(110025, "Position mode is not modified"),
        POSITIONS: rows(position(positionIdx=1, size="1", side="Buy")),
    }
    _, there = ask(replies, what, traded=lambda: [LINEAR])

    assert there.of(leverage) == [{"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "5", "sellLeverage": "5"}]
    assert there.of(mode) == [{"setMarginMode": "ISOLATED_MARGIN"}]
    assert there.of(switch) == [
        {"category": "linear", "coin": "USDT", "mode": 3},
        {"category": "linear", "symbol": "BTCUSDT", "mode": 3},
    ]


def test_a_mode_the_venue_does_not_switch_to_is_a_refusal() -> None:
    switch = {"/v5/position/switch-mode": refusal(110024, "You have an existing position")}
    with pytest.raises(OrderRejectedError, match="existing position"):
        ask(switch, lambda store: store.set_position_mode(mode=PositionMode.HEDGE))
    kept = {"/v5/position/switch-mode": result(), POSITIONS: rows(position(size="1", side="Buy"))}
    with pytest.raises(OrderRejectedError, match="keeps the position mode of BTCUSDT: it has a position"):
        ask(kept, lambda store: store.set_position_mode(mode=PositionMode.HEDGE))
    with pytest.raises(OrderRejectedError, match="inverse contracts have one position each"):
        ask({}, lambda store: store.set_position_mode(mode=PositionMode.HEDGE), "inverse")
    ask({}, lambda store: store.set_position_mode(mode=PositionMode.ONE_WAY), "inverse")


def test_bookings_are_asked_for_week_by_week() -> None:
    row = {
        "id": "1",
        "symbol": "BTCUSDT",
        "type": "SETTLEMENT",
        "currency": "USDT",
        "transactionTime": "1749999999000",
        "tradeId": "t",
        "cashFlow": "0",
        "funding": "-1.5",
        "fee": "0",
        "change": "-1.5",
    }
    path = "/v5/account/transaction-log"
    start_ns = from_ms(NOW_MS - 8 * 86_400_000)
    found, there = ask({path: [rows(row), rows()]}, lambda store: store.bookings(start_ns=start_ns))

    assert [(each.symbol, each.amount) for each in found] == [("BTC/USDT:USDT", Decimal("-1.5"))]
    assert len(there.of(path)) == 2


def test_a_deposit_is_the_account_s_in_every_market_and_a_trade_of_another_category_is_not() -> None:
    row = {"currency": "USDT", "transactionTime": "1749999999000", "cashFlow": "50", "fee": "0", "change": "50"}
    deposit = {**row, "id": "1", "type": "TRANSFER_IN", "symbol": "", "category": "", "tradeId": ""}
    bought = {**row, "id": "2", "type": "TRADE", "symbol": "ETHUSDT", "category": "spot", "tradeId": "t"}
    path = "/v5/account/transaction-log"
    start_ns = from_ms(NOW_MS - 86_400_000)
    found, there = ask({path: rows(deposit, bought)}, lambda store: store.bookings(start_ns=start_ns))

    assert [(each.kind, each.amount) for each in found] == [(BookingKind.TRANSFER, Decimal(50))]
    assert all("category" not in asked for asked in there.of(path))


def test_the_account_s_own_rates_are_asked_for_one_by_one() -> None:
    path = "/v5/account/fee-rate"
    replies = {path: rows({"symbol": "BTCUSD", "takerFeeRate": "0.00055", "makerFeeRate": "0.0002"})}
    found, _ = ask(replies, lambda store: store.fees(instruments=[INVERSE]), "inverse")

    assert (found["BTC/USD:BTC"].maker, found["BTC/USD:BTC"].taker) == (Decimal("0.0002"), Decimal("0.00055"))


def test_the_venue_s_clock_is_told_to_the_nanosecond() -> None:
    reply = result(timeSecond="1688639403", timeNano="1688639403423213947")
    found, _ = ask({"/v5/market/time": reply}, lambda store: store.server_time_ns(), "spot")

    assert found == 1688639403423213947
