"""Clients nobody here wrote trade USD-M and COIN-M futures in the simulator, unmodified apart from the address."""

import asyncio
import contextlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from btx.model.venue import Endpoints, Scenario, SimAccount
from btx_binance.sim.app import simulator
from tests.e2e import cryptofeeds
from tests.e2e.foreign import keys, playing, run
from tests.e2e.test_foreign_clients import at

pytestmark = pytest.mark.slow

MONEY = {"USDT": Decimal(1_000_000), "BTC": Decimal(10), "ETH": Decimal(100)}
NAMES = ("ccxtasync", "ccxtpro", "binanceasync")
MARKETS = {"usdm": ("BTC/USDT:USDT", "BTCUSDT", 0.01), "coinm": ("BTC/USD:BTC", "BTCUSD_PERP", 5)}
"""ccxt's name of a perpetual, the venue's, and how much of it is traded."""


@pytest.fixture(scope="module", params=list(MARKETS))
def venue(request: pytest.FixtureRequest) -> Iterator[Endpoints]:
    with playing(
        simulator,
        Scenario(
            market=request.param,
            speed=20.0,
            rebase=True,
            warmup_ns=6 * 3600 * 10**9,
            accounts=tuple(SimAccount(api_key=name, api_secret=f"{name}-secret", balances=MONEY) for name in NAMES),
        ),
    ) as endpoints:
        yield endpoints


def exchange_of(library: Any, venue: Endpoints, name: str) -> Any:
    """ccxt's exchange of the venue's market."""
    exchange = at(getattr(library, f"binance{venue.extra['market']}")(keys(name)), venue)
    exchange.enableRateLimit = False  # its own bucket, far below the venue's
    for kind in ("linear", "inverse"):
        exchange.urls["api"].get("ws", {})[kind] = venue.extra["ccxt_stream"]
    return exchange


def rounded(exchange: Any, symbol: str, price: float) -> Any:
    return float(exchange.price_to_precision(symbol, price))


def asked(venue: Endpoints, scene: Any) -> Any:
    """What a scene gets out of ccxt."""
    import ccxt.async_support as ccxt

    async def main() -> Any:
        exchange = exchange_of(ccxt, venue, "ccxtasync")
        try:
            await exchange.load_markets()
            return await scene(exchange, *MARKETS[venue.extra["market"]])
        finally:
            await exchange.close()

    return run(main())


def test_ccxt_reads_the_market_and_changes_its_settings(venue: Endpoints) -> None:
    import ccxt

    async def scene(exchange: Any, symbol: str, _: str, amount: float) -> Any:
        seen = {
            "book": await exchange.fetch_order_book(symbol, 20),
            "bars": await exchange.fetch_ohlcv(symbol, "1m", limit=20),
            "mark": await exchange.fetch_funding_rate(symbol),
            "tiers": (await exchange.fetch_leverage_tiers([symbol]))[symbol],
            "mode": await exchange.fetch_position_mode(symbol),
            "fee": await exchange.fetch_trading_fee(symbol),
        }
        await exchange.set_leverage(10, symbol)
        await exchange.set_margin_mode("isolated", symbol)
        with pytest.raises(ccxt.MarginModeAlreadySet):
            await exchange.set_margin_mode("isolated", symbol)
        await exchange.create_order(symbol, "market", "buy", amount)
        [seen["position"]] = await exchange.fetch_positions([symbol])
        with pytest.raises(ccxt.OperationRejected):
            await exchange.set_margin_mode("cross", symbol)
        await exchange.create_order(symbol, "market", "sell", amount, None, {"reduceOnly": True})
        await exchange.set_margin_mode("cross", symbol)
        seen["flat"] = await exchange.fetch_positions([symbol])
        return seen, amount

    seen, amount = asked(venue, scene)

    assert seen["book"]["bids"][0][0] < seen["book"]["asks"][0][0]
    assert len(seen["bars"]) == 20
    assert seen["mark"]["markPrice"] > 0
    assert seen["tiers"][0]["maxLeverage"] >= 20
    assert seen["mode"]["hedged"] is False
    assert 0 < seen["fee"]["maker"] < seen["fee"]["taker"]
    position = seen["position"]
    assert (position["side"], position["contracts"], position["marginMode"]) == ("long", amount, "isolated")
    assert position["liquidationPrice"] < position["entryPrice"]
    assert seen["flat"] == []


def test_ccxt_places_edits_and_cancels_plain_and_conditional_orders_and_the_money_adds_up(venue: Endpoints) -> None:
    async def scene(exchange: Any, symbol: str, _: str, amount: float) -> Any:
        last = (await exchange.fetch_ticker(symbol))["last"]

        def price(factor: float) -> Any:
            return rounded(exchange, symbol, last * factor)

        bought = await exchange.create_order(symbol, "market", "buy", amount)
        resting = await exchange.create_order(symbol, "limit", "buy", amount, price(0.9), {"postOnly": True})
        edited = await exchange.edit_order(resting["id"], symbol, "limit", "buy", amount, price(0.85))
        still_open = await exchange.fetch_open_orders(symbol)
        await exchange.cancel_order(resting["id"], symbol)
        trigger = {"stopLossPrice": price(0.8), "reduceOnly": True}
        stop = await exchange.create_order(symbol, "market", "sell", amount, None, trigger)
        waiting = await exchange.fetch_open_orders(symbol, params={"trigger": True})
        await exchange.cancel_order(stop["id"], symbol, {"trigger": True})
        assert [order["id"] for order in waiting] == [stop["id"]]
        assert await exchange.fetch_open_orders(symbol, params={"trigger": True}) == []
        assert [(order["id"], order["price"]) for order in still_open] == [(edited["id"], price(0.85))]
        assert (await exchange.fetch_order(resting["id"], symbol))["status"] == "canceled"
        assert (await exchange.fetch_order(bought["id"], symbol))["filled"] == amount
        await exchange.create_order(symbol, "market", "sell", amount, None, {"reduceOnly": True})
        settle = exchange.market(symbol)["settle"]
        total = (await exchange.fetch_balance())[settle]["total"]
        return settle, total, await exchange.fetch_my_trades(symbol), await exchange.fetch_ledger()

    settle, total, trades, ledger = asked(venue, scene)

    assert {trade["takerOrMaker"] for trade in trades} == {"taker"}
    assert {entry["currency"] for entry in ledger} == {settle}
    moved = sum(Decimal(entry["info"]["income"]) for entry in ledger)
    assert Decimal(str(total)) == MONEY[settle] + moved


def test_ccxt_holds_a_long_and_a_short_position_of_one_contract(venue: Endpoints) -> None:
    async def scene(exchange: Any, symbol: str, _: str, amount: float) -> Any:
        async def order(side: str, position_side: str, **more: Any) -> Any:
            params = {"positionSide": position_side, **more}
            return await exchange.create_order(symbol, "market", side, amount, None, params)

        await exchange.set_position_mode(True, symbol)
        await order("buy", "LONG")
        await order("sell", "SHORT")
        held = await exchange.fetch_positions([symbol])
        last = (await exchange.fetch_ticker(symbol))["last"]
        await order("sell", "LONG", stopLossPrice=rounded(exchange, symbol, last * 0.8))
        [waiting] = await exchange.fetch_open_orders(symbol, params={"trigger": True})
        await exchange.cancel_order(waiting["id"], symbol, {"trigger": True})
        await order("sell", "LONG")
        await order("buy", "SHORT")
        left = await exchange.fetch_positions([symbol])
        await exchange.set_position_mode(False, symbol)
        return held, waiting, left, (await exchange.fetch_position_mode(symbol))["hedged"]

    held, waiting, left, is_hedged = asked(venue, scene)

    assert {position["side"] for position in held} == {"long", "short"}
    assert waiting["info"]["positionSide"] == "LONG"
    assert (left, is_hedged) == ([], False)


def test_ccxt_pro_watches_the_market_and_its_account(venue: Endpoints) -> None:
    import ccxt.pro as ccxt

    symbol, _, amount = MARKETS[venue.extra["market"]]

    async def main() -> Any:
        exchange = exchange_of(ccxt, venue, "ccxtpro")
        try:
            await exchange.load_markets()
            seen = {
                "bars": await exchange.watch_ohlcv(symbol, "1m"),
                "trades": await exchange.watch_trades(symbol),
                "book": await exchange.watch_order_book(symbol),
                "mark": await exchange.watch_mark_price(symbol),
                "ticker": await exchange.watch_ticker(symbol),
                "quote": await exchange.watch_bids_asks([symbol]),
            }
            orders = asyncio.create_task(exchange.watch_orders(symbol))
            seen["flat"] = await exchange.watch_positions([symbol])
            [private] = [url for url in exchange.clients if len(url.replace("=", "/").rpartition("/")[2]) == 64]
            await exchange.clients[private].connected
            price = seen["ticker"]["last"] * 0.9
            placed = await exchange.create_order_ws(symbol, "limit", "buy", amount, rounded(exchange, symbol, price))
            seen["order"] = dict((await orders)[0])  # the client goes on changing it
            await exchange.edit_order_ws(
                placed["id"], symbol, "limit", "buy", amount, rounded(exchange, symbol, price * 0.9)
            )
            await exchange.cancel_order_ws(placed["id"], symbol)
            seen["fetched"] = await exchange.fetch_order_ws(placed["id"], symbol)
            balance = asyncio.create_task(exchange.watch_balance())
            await exchange.create_order_ws(symbol, "market", "buy", amount)
            seen["balance"] = await balance
            while not (held := [one for cache in exchange.positions.values() for one in cache if one["contracts"]]):
                # What comes while nobody waits is in the client's cache, and wakes nobody up.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await exchange.watch_positions([symbol])
            seen["position"] = held[-1]
            return seen, placed
        finally:
            await exchange.close()

    seen, placed = run(main())

    assert len(seen["bars"][-1]) == 6
    assert seen["trades"][-1]["symbol"] == symbol
    assert seen["book"]["bids"][0][0] < seen["book"]["asks"][0][0]
    assert seen["mark"]["markPrice"] > 0
    assert seen["quote"][symbol]["bid"] < seen["quote"][symbol]["ask"]
    assert seen["flat"] == []
    assert (seen["order"]["id"], seen["order"]["status"]) == (placed["id"], "open")
    assert (seen["position"]["side"], seen["position"]["contracts"]) == ("long", amount)
    assert seen["fetched"]["status"] == "canceled"
    assert seen["balance"]["info"].keys() - {"i"} == {"e", "E", "T", "a"}


def futures_client(binance: Any, venue: Endpoints) -> Any:
    """python-binance's client of both markets."""

    class Client(binance.AsyncClient):
        FUTURES_URL = f"{venue.rest}/fapi"
        FUTURES_COIN_URL = f"{venue.rest}/dapi"
        API_URL = f"{venue.rest}/api"
        WS_FUTURES_URL = venue.trading_stream

    return Client("binanceasync", "binanceasync-secret")


def test_python_binance_trades_and_streams_the_market_and_its_account(venue: Endpoints) -> None:
    binance = pytest.importorskip("binance")
    _, symbol, amount = MARKETS[venue.extra["market"]]
    is_coin = venue.extra["market"] == "coinm"
    word = "futures_coin" if is_coin else "futures"
    category = binance.enums.FuturesType.COIN_M if is_coin else binance.enums.FuturesType.USD_M

    class SocketManager(binance.BinanceSocketManager):
        FSTREAM_URL = DSTREAM_URL = f"{venue.stream}/"

    async def main() -> Any:
        client = futures_client(binance, venue)

        async def do(name: str, **params: Any) -> Any:
            return await getattr(client, f"{word}_{name}")(**params)

        try:
            sockets = SocketManager(client)
            seen = {"info": await do("exchange_info"), "mark": await do("mark_price", symbol=symbol)}
            seen["leverage"] = await do("change_leverage", symbol=symbol, leverage=5)
            names = [f"{symbol.lower()}@{kind}" for kind in ("kline_1m", "markPrice@1s", "aggTrade")]
            async with sockets.futures_multiplex_socket(
                names, futures_type=category, category=None if is_coin else "market"
            ) as socket:
                seen["market"] = {}
                while seen["market"].keys() != set(names):
                    frame = await socket.recv()
                    seen["market"][frame["stream"]] = frame["data"]
            account = sockets.coin_futures_user_socket() if is_coin else sockets.futures_user_socket()
            async with account as socket:
                order = await do("create_order", symbol=symbol, side="BUY", type="MARKET", quantity=amount)
                seen["events"] = []
                while not any(event.get("o", {}).get("X") == "FILLED" for event in seen["events"]):
                    seen["events"].append(await socket.recv())
                last = float(
                    next(event["o"]["L"] for event in seen["events"] if event.get("o", {}).get("X") == "FILLED")
                )
                wanted = {"side": "BUY", "quantity": amount, "price": f"{last * 0.9:.1f}", "timeInForce": "GTC"}
                # The client leaves a socket when it has heard something more, or after ten seconds.
                resting = asyncio.create_task(do("create_order", symbol=symbol, type="LIMIT", **wanted))
            seen["position"] = next(row for row in await do("position_information") if row["symbol"] == symbol)
            resting = await resting
            gone = await do("cancel_order", symbol=symbol, orderId=resting["orderId"])
            with pytest.raises(binance.exceptions.BinanceAPIException) as refused:
                await do("cancel_order", symbol=symbol, orderId=resting["orderId"])
            return seen, order, gone, refused.value.code
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await client.close_connection()

    seen, order, gone, code = run(main())

    assert symbol in {row["symbol"] for row in seen["info"]["symbols"]}
    assert seen["leverage"]["leverage"] == 5
    assert {frame["e"] for frame in seen["market"].values()} == {"kline", "markPriceUpdate", "aggTrade"}
    updates = [event["o"] for event in seen["events"] if event["e"] == "ORDER_TRADE_UPDATE"]
    assert (updates[0]["x"], {update["i"] for update in updates}) == ("NEW", {order["orderId"]})
    assert {event["a"]["m"] for event in seen["events"] if event["e"] == "ACCOUNT_UPDATE"} == {"ORDER"}
    assert float(seen["position"]["positionAmt"]) == amount
    assert (gone["status"], code) == ("CANCELED", -2011)


def test_python_binances_stops_go_to_the_algo_service_where_it_knows_of_one(venue: Endpoints) -> None:
    binance = pytest.importorskip("binance")
    _, symbol, amount = MARKETS[venue.extra["market"]]
    stop = {"symbol": symbol, "side": "SELL", "type": "STOP_MARKET", "quantity": amount, "stopPrice": "50000"}

    async def main() -> Any:
        client = futures_client(binance, venue)
        try:
            if venue.extra["market"] == "coinm":
                with pytest.raises(binance.exceptions.BinanceAPIException) as refused:
                    await client.futures_coin_create_order(**stop)
                return refused.value.code
            placed = await client.futures_create_order(**stop)
            gone = await client.futures_cancel_order(symbol=symbol, algoId=placed["algoId"])
            return placed["algoStatus"], gone["algoId"] == placed["algoId"]
        finally:
            await client.close_connection()

    assert run(main()) == {"usdm": ("NEW", True), "coinm": -4120}[venue.extra["market"]]


def test_cryptofeed_takes_trades_quotes_bars_books_and_funding(venue: Endpoints) -> None:
    pytest.importorskip("cryptofeed")
    from cryptofeed.defines import CANDLES, FUNDING, L2_BOOK, TICKER, TRADES
    from cryptofeed.exchanges import BinanceDelivery, BinanceFutures

    def feed(shipped: Any, base: str) -> Any:
        api = f"{venue.rest}/{'dapi' if shipped is BinanceDelivery else 'fapi'}/v1/"
        return cryptofeeds.local(shipped, rest=venue.rest, api=api, stream=f"{venue.stream}{base}")

    market, public = (TRADES, CANDLES, FUNDING), (TICKER, L2_BOOK)
    if venue.extra["market"] == "coinm":
        symbol, feeds = "BTC-USD-PERP", {feed(BinanceDelivery, ""): (*market, *public)}
    else:  # the library knows one address, so that each base is a feed of its own
        symbol = "BTC-USDT-PERP"
        feeds = {feed(BinanceFutures, "/market"): market, feed(BinanceFutures, "/public"): public}

    seen = run(cryptofeeds.first(feeds, symbol))

    assert {each.symbol for each in seen.values()} == {symbol}
    assert seen[TRADES].amount > 0
    assert seen[CANDLES].low <= seen[CANDLES].close <= seen[CANDLES].high
    assert seen[FUNDING].mark_price > 0
    assert seen[FUNDING].rate is not None
    assert seen[TICKER].bid < seen[TICKER].ask
    assert max(seen[L2_BOOK].book.bids) < min(seen[L2_BOOK].book.asks)
