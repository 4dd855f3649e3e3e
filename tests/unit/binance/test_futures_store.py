"""The store of USD-M and COIN-M against a small server that speaks documented answers."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest

from btx.errors import DataError, OrderRejectedError
from btx.model.account import BookingKind, KeyRights
from btx.model.derivatives import LeverageTier, MarginMode, PositionMode
from btx.model.instrument import InstrumentKind
from btx.model.order import PositionSide
from btx.model.venue import Environment
from btx.ports import Context
from btx_binance.api import api
from btx_binance.futures.store import FuturesStore
from tests.unit.binance.futures_rig import API, COINM, MARKETS, USDM, trading
from tests.unit.binance.loopback import serve
from tests.unit.binance.test_rest import Venue

T = TypeVar("T")
_MARKETS = pytest.mark.parametrize("market", ["usdm", "coinm"])


def run(venue: Venue, use: Callable[[Context], Awaitable[T]], market: str = "usdm", **kwargs: Any) -> T:
    async def scene() -> T:
        async with serve({"* /{path:.*}": venue.handle}) as where, trading(where, market, **kwargs) as context:
            return await use(context)

    return asyncio.run(scene())


def _catalogue(btx_data: Path, market: str) -> dict[str, Any]:
    text = (btx_data / "reference" / f"binance_{market}_exchangeInfo_2025-08-07_25sym.json").read_text()
    answer: dict[str, Any] = json.loads(text)
    return answer


# --- instruments ----------------------------------------------------------------------------------------


def test_recorded_contracts_of_usd_m_have_their_grids_and_limits(btx_data: Path) -> None:
    venue = Venue({"GET /fapi/v1/exchangeInfo": _catalogue(btx_data, "usdm")})

    found = run(venue, lambda context: FuturesStore(context).instruments())

    assert len(found) == 25
    btc = found["BTC/USDT:USDT"]
    assert (btc.venue_symbol, btc.kind, btc.settle, btc.multiplier) == ("BTCUSDT", InstrumentKind.LINEAR, "USDT", 1)
    assert (btc.tick_size, btc.step_size, btc.min_notional) == (Decimal("0.10"), Decimal("0.001"), Decimal(100))
    assert (btc.max_quantity, btc.market_max_quantity) == (Decimal(1000), Decimal(120))
    assert (btc.max_orders, btc.max_conditional_orders) == (200, 10)
    assert (btc.liquidation_fee, btc.delivery_ns, btc.is_trading) == (Decimal("0.0125"), None, True)
    assert btc.price_band is not None
    assert (btc.price_band.bid_up, btc.price_band.ask_down) == (Decimal("1.05"), Decimal("0.95"))
    assert (btc.price_band.bid_down, btc.price_band.ask_up) == (0, Decimal("Infinity"))


def test_recorded_contracts_of_coin_m_are_inverse_and_one_that_ends_is_not_traded(btx_data: Path) -> None:
    venue = Venue({"GET /dapi/v1/exchangeInfo": _catalogue(btx_data, "coinm")})

    found = run(venue, lambda context: FuturesStore(context).instruments(), "coinm")

    btc, gala = found["BTC/USD:BTC"], found["GALA/USD:GALA"]
    assert (btc.venue_symbol, btc.kind, btc.settle, btc.multiplier) == (
        *("BTCUSD_PERP", InstrumentKind.INVERSE, "BTC"),
        Decimal(100),
    )
    assert (btc.step_size, btc.min_notional, btc.max_conditional_orders) == (1, None, 20)
    assert (gala.is_trading, gala.multiplier) == (False, Decimal(10))


def test_a_plain_name_is_the_perpetual_and_deliveries_and_shares_have_names_of_their_own(btx_data: Path) -> None:
    row = _catalogue(btx_data, "usdm")["symbols"][0]
    dated = {**row, "symbol": "BTCUSDT_261225", "contractType": "CURRENT_QUARTER", "deliveryDate": 1798156800000}
    share = {**row, "symbol": "TSLAUSDT", "baseAsset": "TSLA", "contractType": "TRADIFI_PERPETUAL"}
    strange = {**row, "symbol": "BTCUSDT_X", "contractType": "PREDICTION"}
    venue = Venue({"GET /fapi/v1/exchangeInfo": {"symbols": [row, dated, share, strange]}})

    async def ask(context: Context) -> tuple[dict[str, Any], str]:
        asked = ["BTC/USDT", "BTC/USDT:USDT-261225", "TSLA/USDT", "BTC/USDT:USDT", "DOGE/USDT"]
        found = dict(await FuturesStore(context).instruments(symbols=asked))
        return found, api(context).symbol("TSLAUSDT")

    found, learnt = run(venue, ask)

    assert {name: each.symbol for name, each in found.items()} == {
        "BTC/USDT": "BTC/USDT:USDT",
        "BTC/USDT:USDT-261225": "BTC/USDT:USDT-261225",
        "TSLA/USDT": "TSLA/USDT:USDT",
        "BTC/USDT:USDT": "BTC/USDT:USDT",
    }
    assert found["BTC/USDT:USDT-261225"].delivery_ns == 1798156800000 * 1_000_000
    assert learnt == "TSLA/USDT:USDT"


# --- the account ----------------------------------------------------------------------------------------

_POSITION = {
    "symbol": "BTCUSDT", "positionSide": "LONG", "positionAmt": "0.5", "entryPrice": "60000.1",
    "breakEvenPrice": "60010", "markPrice": "61000.25", "unRealizedProfit": "500.075", "liquidationPrice": "0",
    "isolatedMargin": "3500.075", "notional": "30500.125", "marginAsset": "USDT", "isolatedWallet": "3000",
    "updateTime": 1720736417660,
}  # fmt: skip


def test_the_account_of_usd_m_is_told_by_four_answers_together() -> None:
    venue = Venue({
        "GET /fapi/v1/accountConfig": {
            "feeTier": 2, "canTrade": False, "dualSidePosition": True, "multiAssetsMargin": True,
        },
        "GET /fapi/v1/symbolConfig": [{"symbol": "BTCUSDT", "marginType": "ISOLATED", "leverage": 21}],
        "GET /fapi/v3/account": {"assets": [
            {"asset": "USDT", "walletBalance": "103.12345678", "updateTime": 1625474304765},
            {"asset": "BNB", "walletBalance": "0.00000000", "updateTime": 0},
        ]},
        "GET /fapi/v3/positionRisk": [_POSITION, {**_POSITION, "positionSide": "SHORT", "positionAmt": "0.000"}],
    })  # fmt: skip

    account = run(venue, lambda context: FuturesStore(context).account())

    assert {asset: (each.free, each.locked) for asset, each in account.balances.items()} == {
        "USDT": (Decimal("103.12345678"), Decimal(0))
    }
    assert (account.fee_tier, account.can_trade, account.is_multi_asset) == ("VIP 2", False, True)
    assert (account.position_mode, account.time_ns) == (PositionMode.HEDGE, 1720736417660 * 1_000_000)
    (position,) = account.positions
    assert (position.symbol, position.position_side) == ("BTC/USDT:USDT", PositionSide.LONG)
    assert (position.quantity, position.entry_price) == (Decimal("0.5"), Decimal("60000.1"))
    assert (position.leverage, position.margin_mode) == (21, MarginMode.ISOLATED)
    assert (position.isolated_margin, position.liquidation_price) == (Decimal(3000), None)


def test_the_account_of_coin_m_states_leverage_with_each_position() -> None:
    row = {key: value for key, value in _POSITION.items() if key != "isolatedWallet"}
    venue = Venue({
        "GET /dapi/v1/positionSide/dual": {"dualSidePosition": False},
        "GET /dapi/v1/account": {
            "feeTier": 0, "canTrade": True, "assets": [{"asset": "BTC", "walletBalance": "0.5", "updateTime": 3}],
        },
        "GET /dapi/v1/positionRisk": [
            {**row, "symbol": "BTCUSD_PERP", "positionSide": "BOTH", "marginType": "isolated", "leverage": "10"},
            {**row, "symbol": "BTCUSD_261225", "positionSide": "BOTH", "marginType": "cross", "leverage": "5"},
        ],
    })  # fmt: skip

    account = run(venue, lambda context: FuturesStore(context).account(), "coinm")

    assert (account.fee_tier, account.position_mode, account.is_multi_asset) == ("regular", PositionMode.ONE_WAY, False)
    perpetual, dated = account.positions
    assert (perpetual.symbol, dated.symbol) == ("BTC/USD:BTC", "BTC/USD:BTC-261225")
    assert (perpetual.leverage, perpetual.isolated_margin) == (10, Decimal(3000))  # without what it would bring
    assert (dated.margin_mode, dated.isolated_margin) == (MarginMode.CROSS, None)


@pytest.mark.parametrize(("burns", "asset", "discount"), [(True, "BNB", "0.10"), (False, None, "0")])
def test_the_rates_of_usd_m_are_less_where_the_account_burns_bnb(burns: bool, asset: str | None, discount: str) -> None:
    rates = {"symbol": "BTCUSDT", "makerCommissionRate": "0.0002", "takerCommissionRate": "0.0004"}
    venue = Venue({"GET /fapi/v1/commissionRate": rates, "GET /fapi/v1/feeBurn": {"feeBurn": burns}})

    found = run(venue, lambda context: FuturesStore(context).fees(instruments=[USDM]))["BTC/USDT:USDT"]

    assert (found.maker, found.taker) == (Decimal("0.0002"), Decimal("0.0004"))
    assert (found.discount_asset, found.discount) == (asset, Decimal(discount))


def test_a_key_may_trade_where_futures_are_enabled() -> None:
    venue = Venue({
        "GET /sapi/v1/account/apiRestrictions": {
            "ipRestrict": True, "enableReading": True, "enableWithdrawals": True, "enableFutures": False,
            "enableSpotAndMarginTrading": True,
        }
    })  # fmt: skip

    rights = run(venue, lambda context: FuturesStore(context).key_rights())
    untold = run(venue, lambda context: FuturesStore(context).key_rights(), environment=Environment.TESTNET)

    assert rights == KeyRights(may_read=True, may_trade=False, may_withdraw=True, is_ip_restricted=True)
    assert untold == KeyRights()


# --- leverage and modes ---------------------------------------------------------------------------------


def test_leverage_tiers_are_sorted_and_exact() -> None:
    row = {"symbol": "BTCUSDT", "notionalCoef": 1.5, "brackets": [
        {"bracket": 2, "initialLeverage": 100, "notionalCap": 600000, "notionalFloor": 50000,
         "maintMarginRatio": 0.005, "cum": 50.0},
        {"bracket": 1, "initialLeverage": 125, "notionalCap": 50000, "notionalFloor": 0,
         "maintMarginRatio": 0.004, "cum": 0},
    ]}  # fmt: skip
    venue = Venue({"GET /fapi/v1/leverageBracket": [row, {**row, "symbol": "ETHUSDT"}]})

    async def ask(context: Context) -> Any:
        store = FuturesStore(context)
        return await store.leverage_tiers(instruments=[USDM]), await store.leverage_tiers(instruments=[USDM, COINM])

    one, many = run(venue, ask)

    assert (
        one
        == many
        == {
            "BTC/USDT:USDT": (
                LeverageTier(floor=Decimal(0), cap=Decimal(50000), max_leverage=125, maintenance_rate=Decimal("0.004")),
                LeverageTier(
                    floor=Decimal(50000),
                    cap=Decimal(600000),
                    max_leverage=100,
                    maintenance_rate=Decimal("0.005"),
                    maintenance_amount=Decimal(50),
                ),
            )
        }
    )
    assert [venue.fields(0), venue.fields(1)] == [{"symbol": "BTCUSDT"}, {}]


@pytest.mark.parametrize("floor", ["qtyFloor", "qtylFloor"])
def test_leverage_tiers_of_coin_m_are_in_coins_however_their_floor_is_spelt(floor: str) -> None:
    tier = {"bracket": 1, "initialLeverage": 125, "qtyCap": 5, floor: 0, "maintMarginRatio": 0.004, "cum": 0.0}
    venue = Venue({"GET /dapi/v2/leverageBracket": [{"symbol": "BTCUSD_PERP", "brackets": [tier]}]})

    found = run(venue, lambda context: FuturesStore(context).leverage_tiers(instruments=[COINM]), "coinm")

    assert (found["BTC/USD:BTC"][0].floor, found["BTC/USD:BTC"][0].cap) == (0, 5)


@_MARKETS
def test_settings_are_sent_in_the_venues_words(market: str) -> None:
    base, ok = API[market], {"code": 200, "msg": "success"}
    venue = Venue(
        {
            f"POST {base}/leverage": {"leverage": 20, "symbol": "x"},
            f"POST {base}/marginType": ok,
            f"POST {base}/positionSide/dual": ok,
        }
    )

    async def ask(context: Context) -> None:
        store = FuturesStore(context)
        await store.set_leverage(instrument=MARKETS[market], leverage=20)
        await store.set_margin_mode(instrument=MARKETS[market], mode=MarginMode.CROSS)
        await store.set_position_mode(mode=PositionMode.HEDGE)

    run(venue, ask, market)

    name = MARKETS[market].venue_symbol
    assert [venue.fields(index) for index in range(3)] == [
        {"symbol": name, "leverage": "20"},
        {"symbol": name, "marginType": "CROSSED"},
        {"dualSidePosition": "true"},
    ]


def test_what_is_so_already_is_no_error_and_what_is_refused_is() -> None:
    async def ask(context: Context) -> str:
        store = FuturesStore(context)
        await store.set_margin_mode(instrument=USDM, mode=MarginMode.ISOLATED)
        await store.set_position_mode(mode=PositionMode.ONE_WAY)
        with pytest.raises(OrderRejectedError) as refused:
            await store.set_leverage(instrument=USDM, leverage=126)
        return str(refused.value)

    venue = Venue(
        {
            "POST /fapi/v1/marginType": {"code": -4046, "msg": "No need to change margin type."},
            "POST /fapi/v1/positionSide/dual": {"code": -4059, "msg": "No need to change position side."},
            "POST /fapi/v1/leverage": {"code": -4028, "msg": "Leverage 126 is not valid"},
        }
    )

    assert run(venue, ask) == "Binance: Leverage 126 is not valid [-4028]"


# --- bookings -------------------------------------------------------------------------------------------


def _income(number: int, time_ms: int, kind: str = "COMMISSION", **changes: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT", "incomeType": kind, "income": "-0.01000000", "asset": "USDT", "info": kind,
        "time": time_ms, "tranId": number, "tradeId": str(number), **changes,
    }  # fmt: skip


def test_bookings_say_what_they_are_of() -> None:
    rows = [
        _income(1, 1, "TRANSFER", symbol="", tradeId="", income="100"),
        _income(1, 2, "COMMISSION"),
        _income(1, 2, "REALIZED_PNL"),
        _income(2, 3, "FUNDING_FEE", tradeId=""),
        _income(3, 4, "INSURANCE_CLEAR"),
        _income(4, 5, "API_REBATE"),
        _income(5, 6, "SOMETHING_NEW"),
    ]
    venue = Venue({"GET /fapi/v1/income": rows})

    found = run(venue, lambda context: FuturesStore(context).bookings(start_ns=1_500_001))

    assert [each.kind for each in found] == [
        *(BookingKind.TRANSFER, BookingKind.FEE, BookingKind.REALISED, BookingKind.FUNDING),
        *(BookingKind.LIQUIDATION_FEE, BookingKind.REBATE, BookingKind.OTHER),
    ]
    assert len({(each.kind, each.booking_id) for each in found}) == 7
    assert (found[0].symbol, found[0].fill_id, found[0].amount) == (None, None, Decimal(100))
    assert (found[1].symbol, found[1].fill_id, found[1].amount) == ("BTC/USDT:USDT", "1", Decimal("-0.01"))
    assert venue.fields() == {"startTime": "2", "limit": "1000"}


def test_bookings_are_paged_by_time_without_loss_or_doubles() -> None:
    rows = [_income(number, 1_000 + number // 3, symbol="BTCUSD_PERP") for number in range(2_500)]
    venue = Venue(
        {"GET /dapi/v1/income": lambda asked: [row for row in rows if row["time"] >= int(asked["startTime"])][:1000]}
    )

    found = run(venue, lambda context: FuturesStore(context).bookings(start_ns=0), "coinm")

    assert [each.fill_id for each in found] == [str(number) for number in range(2_500)]
    assert len(venue.requests) == 3


def test_more_bookings_in_a_millisecond_than_a_page_has_are_told() -> None:
    venue = Venue({"GET /fapi/v1/income": [_income(number, 7) for number in range(1_000)]})

    with pytest.raises(DataError, match="more than 1000 bookings at 7 ms"):
        run(venue, lambda context: FuturesStore(context).bookings(start_ns=0))
