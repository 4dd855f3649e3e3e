"""Clients nobody here wrote trade at Bybit's simulator over REST, unmodified apart from the address."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from btx.model.venue import Endpoints, Scenario, SimAccount
from btx_bybit.sim.app import simulator
from tests.e2e.foreign import keys, moved, playing, run

pytestmark = pytest.mark.slow

MONEY = {"USDT": Decimal(1_000_000), "BTC": Decimal(10), "ETH": Decimal(100)}
NAMES = ("ccxt", "ccxtasync", "ccxtstops", "ccxthedge", "pybit")
MARKETS = {
    "spot": ("BTC/USDT", "BTCUSDT", 0.01),
    "linear": ("BTC/USDT:USDT", "BTCUSDT", 0.01),
    "inverse": ("BTC/USD:BTC", "BTCUSD", 100),
}
"""ccxt's name of an instrument, the venue's, and how much of it is traded."""


@pytest.fixture(scope="module", params=list(MARKETS))
def venue(request: pytest.FixtureRequest) -> Iterator[Endpoints]:
    world = Scenario(
        market=request.param,
        speed=20.0,
        rebase=True,
        warmup_ns=6 * 3600 * 10**9,
        accounts=tuple(SimAccount(api_key=name, api_secret=f"{name}-secret", balances=MONEY) for name in NAMES),
    )
    with playing(simulator, world) as endpoints:
        yield endpoints


def exchange_of(library: Any, venue: Endpoints, name: str) -> Any:
    """ccxt's exchange with the simulator's address in place of the venue's."""

    exchange = library.bybit(keys(name))
    exchange.urls["api"] = moved(exchange.urls["api"], venue)
    return exchange


def asked(venue: Endpoints, scene: Any, name: str = "ccxtasync") -> Any:
    """What a scene gets out of ccxt."""
    import ccxt.async_support as ccxt

    async def main() -> Any:
        exchange = exchange_of(ccxt, venue, name)
        try:
            await exchange.load_markets()
            return await scene(exchange, *MARKETS[venue.extra["market"]])
        finally:
            await exchange.close()

    return run(main())


def rounded(exchange: Any, symbol: str, price: float) -> float:
    return float(exchange.price_to_precision(symbol, price))


def test_ccxt_reads_the_market_and_trades(venue: Endpoints) -> None:
    import ccxt

    exchange = exchange_of(ccxt, venue, "ccxt")
    symbol, _, amount = MARKETS[venue.extra["market"]]

    markets = exchange.load_markets()
    ticker = exchange.fetch_ticker(symbol)
    bars = exchange.fetch_ohlcv(symbol, "1m", limit=100)
    book = exchange.fetch_order_book(symbol, limit=50)
    bought = exchange.create_order(symbol, "market", "buy", amount)
    trades = exchange.fetch_my_trades(symbol)
    exchange.create_order(
        symbol, "market", "sell", amount, None, {} if venue.extra["market"] == "spot" else {"reduceOnly": True}
    )
    balance = exchange.fetch_balance()
    exchange.session.close()

    assert symbol in markets
    assert len(markets) == 2
    assert ticker["bid"] < ticker["ask"]
    assert len(bars) == 100
    assert book["bids"][0][0] < book["asks"][0][0]
    assert {trade["order"] for trade in trades} == {bought["id"]}
    assert balance["BTC"]["total"] <= 10


def test_ccxt_places_edits_and_cancels_and_the_money_adds_up(venue: Endpoints) -> None:
    import ccxt as errors

    async def scene(exchange: Any, symbol: str, _: str, amount: float) -> Any:
        last = (await exchange.fetch_ticker(symbol))["last"]

        def price(factor: float) -> float:
            return rounded(exchange, symbol, last * factor)

        async def limit(side: str, factor: float, **params: Any) -> Any:
            return await exchange.create_order(symbol, "limit", side, amount, price(factor), params)

        bought = await exchange.create_order(symbol, "market", "buy", amount)
        resting = await limit("buy", 0.993, clientOrderId="mine", postOnly=True)
        with pytest.raises(errors.InvalidOrder):
            await limit("buy", 0.993, clientOrderId="mine")
        edited = await exchange.edit_order(resting["id"], symbol, "limit", "buy", amount * 2, price(0.992))
        [still_open] = await exchange.fetch_open_orders(symbol)
        assert (still_open["id"], still_open["price"]) == (edited["id"], price(0.992))
        await exchange.cancel_order(resting["id"], symbol)
        with pytest.raises(errors.OrderNotFound):
            await exchange.cancel_order(resting["id"], symbol)
        taker = await limit("buy", 1.003, postOnly=True)
        batch = [{"symbol": symbol, "type": "limit", "side": "buy", "amount": amount, "price": price(0.993)}] * 2
        await exchange.create_orders(batch)
        assert len(await exchange.cancel_all_orders(symbol)) == 2
        found = {each["id"]: each for each in await exchange.fetch_canceled_and_closed_orders(symbol)}
        spot = exchange.market(symbol)["spot"]
        await exchange.create_order(symbol, "market", "sell", amount, None, {} if spot else {"reduceOnly": True})
        coin = exchange.market(symbol)["quote" if spot else "settle"]
        total = (await exchange.fetch_balance())[coin]["total"]
        ledger = [entry["info"] for entry in await exchange.fetch_ledger(coin)]
        return coin, total, ledger, found[bought["id"]], found[resting["id"]], found[taker["id"]]

    coin, total, ledger, bought, resting, taker = asked(venue, scene)

    ended = "canceled" if ":" in taker["symbol"] else "rejected"
    assert (bought["status"], resting["status"], taker["status"]) == ("closed", "canceled", ended)
    assert taker["info"]["rejectReason"] == "EC_PostOnlyWillTakeLiquidity"
    types = {entry["type"] for entry in ledger}
    assert types - {"SETTLEMENT"} == {"TRADE"}  # this market's time is the day's: a funding may come in between
    moved = sum(Decimal(entry["change"]) for entry in ledger)
    assert Decimal(str(total)) == MONEY[coin] + moved


def test_ccxt_guards_a_position_and_reads_what_it_costs(venue: Endpoints) -> None:
    if venue.extra["market"] == "spot":
        pytest.skip("positions are of contracts")

    async def scene(exchange: Any, symbol: str, _: str, amount: float) -> Any:
        last = (await exchange.fetch_ticker(symbol))["last"]

        def price(factor: float) -> float:
            return rounded(exchange, symbol, last * factor)

        await exchange.set_leverage(5, symbol)
        guards = {"takeProfit": {"triggerPrice": price(1.05)}, "stopLoss": {"triggerPrice": price(0.95)}}
        await exchange.create_order(symbol, "market", "buy", amount, None, guards)
        [held] = await exchange.fetch_positions([symbol])
        await exchange.create_order(symbol, "market", "sell", 0, None, {"trailingAmount": price(0.01)})
        stop = {"stopLossPrice": price(0.9), "reduceOnly": True}
        await exchange.create_order(symbol, "market", "sell", amount, None, stop)
        waiting = await exchange.fetch_open_orders(symbol, params={"trigger": True})
        await exchange.create_order(symbol, "market", "sell", amount, None, {"reduceOnly": True})
        left = await exchange.fetch_open_orders(symbol, params={"trigger": True})
        await exchange.cancel_all_orders(symbol, {"trigger": True})
        return {
            "held": held,
            "waiting": sorted(each["info"]["stopOrderType"] for each in waiting),
            "left": [each["info"]["stopOrderType"] for each in left],
            "flat": (await exchange.fetch_positions([symbol]))[0]["contracts"],
            "tiers": (await exchange.fetch_leverage_tiers([symbol]))[symbol],
            "funding": await exchange.fetch_funding_rate(symbol),
            "history": await exchange.fetch_funding_rate_history(symbol, limit=3),
            "fee": await exchange.fetch_trading_fee(symbol),
            "closed": await exchange.fetch_positions_history([symbol]),
        }

    seen = asked(venue, scene, "ccxtstops")

    assert (seen["held"]["side"], seen["held"]["leverage"]) == ("long", 5)
    assert seen["held"]["stopLossPrice"] < seen["held"]["entryPrice"] < seen["held"]["takeProfitPrice"]
    assert seen["waiting"] == ["Stop", "StopLoss", "TakeProfit", "TrailingStop"]
    assert seen["left"] == ["Stop"]
    assert not seen["flat"]
    assert seen["tiers"][0]["maxLeverage"] == 100
    assert seen["funding"]["interval"] == "8h"
    assert len(seen["history"]) == 3
    assert 0 < seen["fee"]["maker"] < seen["fee"]["taker"]
    assert len(seen["closed"]) == 1


def test_ccxt_holds_both_sides_of_a_perpetual_in_usdt(venue: Endpoints) -> None:
    if venue.extra["market"] != "linear":
        pytest.skip("only perpetuals in USDT know two positions")

    async def scene(exchange: Any, symbol: str, _: str, amount: float) -> Any:
        async def order(side: str, index: int, **more: Any) -> None:
            await exchange.create_order(symbol, "market", side, amount, None, {"positionIdx": index, **more})

        await exchange.set_position_mode(True, symbol)
        await order("buy", 1)
        await order("sell", 2)
        held = await exchange.fetch_positions([symbol])
        await order("sell", 1, reduceOnly=True)
        await order("buy", 2, reduceOnly=True)
        await exchange.set_position_mode(False, symbol)
        return {(each["side"], each["contracts"]) for each in held}, amount

    held, amount = asked(venue, scene, "ccxthedge")

    assert held == {("long", amount), ("short", amount)}


def test_pybit_trades(venue: Endpoints) -> None:
    unified_trading = pytest.importorskip("pybit.unified_trading")
    from pybit.exceptions import InvalidRequestError

    market = venue.extra["market"]
    _, symbol, amount = MARKETS[market]
    session = unified_trading.HTTP(api_key="pybit", api_secret="pybit-secret")
    session.endpoint = venue.rest
    where = {"category": market, "symbol": symbol}

    listed = session.get_instruments_info(category=market)["result"]["list"]
    last = float(session.get_tickers(**where)["result"]["list"][0]["lastPrice"])
    price = f"{last * 0.993:.1f}"
    placed = session.place_order(
        **where, side="Buy", orderType="Limit", qty=str(amount), price=price, orderLinkId="pybit-1"
    )["result"]
    lower = f"{last * 0.992:.1f}"
    session.amend_order(**where, orderId=placed["orderId"], price=lower)
    [order] = session.get_open_orders(**where)["result"]["list"]
    session.cancel_order(**where, orderLinkId="pybit-1")
    with pytest.raises(InvalidRequestError) as refused:
        session.cancel_order(**where, orderLinkId="pybit-1")
    batch = {"symbol": symbol, "side": "Buy", "orderType": "Limit", "qty": str(amount), "price": price}
    many = session.place_batch_order(category=market, request=[batch, {**batch, "qty": "0"}])
    session.cancel_all_orders(**where)
    history = session.get_order_history(**where)["result"]["list"]
    wallet = session.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]
    session.client.close()

    assert symbol in {row["symbol"] for row in listed}
    assert (order["orderLinkId"], float(order["price"])) == ("pybit-1", float(lower))
    assert refused.value.status_code == (170213 if market == "spot" else 110001)
    assert [row["code"] == 0 for row in many["retExtInfo"]["list"]] == [True, False]
    assert {row["orderStatus"] for row in history} == {"Cancelled"}
    assert wallet["accountType"] == "UNIFIED"


def test_requests_that_are_late_or_wrongly_signed_are_refused(venue: Endpoints) -> None:
    import ccxt.async_support as ccxt
    from ccxt import AuthenticationError, InvalidNonce

    async def main() -> Any:
        exchange = exchange_of(ccxt, venue, "ccxt")
        try:
            exchange.secret = "another"
            with pytest.raises(AuthenticationError):
                await exchange.fetch_balance()
            exchange.secret, exchange.nonce = "ccxt-secret", lambda: exchange.milliseconds() - 60_000
            with pytest.raises(InvalidNonce):
                await exchange.fetch_balance()
        finally:
            await exchange.close()

    asyncio.run(main())
