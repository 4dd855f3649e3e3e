"""Clients nobody here wrote trade against the simulator, unmodified apart from the address."""

import asyncio
import contextlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.venue import Endpoints, Scenario, SimAccount
from btx_binance.sim.app import simulator
from tests.e2e import cryptofeeds
from tests.e2e.foreign import keys, moved, playing, run

pytestmark = pytest.mark.slow

MONEY = {"USDT": Decimal(1_000_000), "BTC": Decimal(10), "ETH": Decimal(10)}
ACCOUNTS = tuple(
    SimAccount(api_key=name, api_secret=f"{name}-secret", balances=MONEY)
    for name in (
        "ccxt",
        "ccxtasync",
        "ccxtpro",
        "ccxtlists",
        "ccxttrails",
        "binance",
        "binanceasync",
        "binancelists",
        "binanceexits",
        "poor",
    )
)
WORLD = Scenario(
    symbols=("BTC/USDT", "ETH/USDT"), speed=20.0, rebase=True, warmup_ns=6 * 3600 * 10**9, accounts=ACCOUNTS
)

FAST = attrs.evolve(WORLD, speed=600.0)  # hours pass within a test: whatever trails the market triggers


@pytest.fixture(scope="module")
def venue() -> Iterator[Any]:
    """The simulator in a loop of its own, so that clients that block do not block it."""
    with playing(simulator, WORLD) as endpoints:
        yield endpoints


@pytest.fixture
def fast_venue() -> Iterator[Any]:
    with playing(simulator, FAST) as endpoints:
        yield endpoints


# --- ccxt ------------------------------------------------------------------------------------------------


def at(exchange: Any, venue: Endpoints) -> Any:
    """The exchange with the simulator's address in place of the venue's."""
    exchange.urls["api"] = moved(exchange.urls["api"], venue)
    if "ws" in exchange.urls["api"]:  # the async and the pro class have it
        exchange.urls["api"]["ws"]["spot"] = venue.extra["ccxt_stream"]
    return exchange


def test_ccxt_reads_the_market_and_trades(venue: Endpoints) -> None:
    import ccxt

    exchange = at(ccxt.binance(keys("ccxt")), venue)

    markets = exchange.load_markets()
    ticker = exchange.fetch_ticker("BTC/USDT")
    bars = exchange.fetch_ohlcv("BTC/USDT", "1m", limit=100)
    book = exchange.fetch_order_book("BTC/USDT", limit=50)
    trades = exchange.fetch_trades("BTC/USDT", limit=10)
    bought = exchange.create_order("BTC/USDT", "market", "buy", 0.01)
    price = float(exchange.price_to_precision("BTC/USDT", ticker["last"] * 0.5))
    resting = exchange.create_order("BTC/USDT", "limit", "buy", 0.02, price)
    still_open = exchange.fetch_open_orders("BTC/USDT")
    exchange.cancel_order(resting["id"], "BTC/USDT")
    canceled = exchange.fetch_order(resting["id"], "BTC/USDT")
    my_trades = exchange.fetch_my_trades("BTC/USDT")
    balance = exchange.fetch_balance()
    fees = exchange.fetch_trading_fees()
    exchange.session.close()

    assert set(markets) == {"BTC/USDT", "ETH/USDT"}
    assert len(bars) == 100
    assert len(book["bids"]) == len(book["asks"]) == 50
    assert book["bids"][0][0] < book["asks"][0][0]
    assert len(trades) == 10
    assert (bought["status"], bought["filled"]) == ("closed", 0.01)
    assert [order["id"] for order in still_open] == [resting["id"]]
    assert canceled["status"] == "canceled"
    assert sum(trade["amount"] for trade in my_trades) == pytest.approx(0.01)
    assert my_trades[0]["fee"]["currency"] == "BTC"
    assert balance["BTC"]["total"] == pytest.approx(10.01 - 0.01 * 0.001)
    assert fees["BTC/USDT"]["taker"] == 0.001


def test_ccxt_tells_the_venues_refusals_apart(venue: Endpoints) -> None:
    import ccxt

    exchange = at(ccxt.binance(keys("poor")), venue)
    exchange.load_markets()
    low = float(exchange.price_to_precision("BTC/USDT", exchange.fetch_ticker("BTC/USDT")["last"] * 0.5))
    high = float(exchange.price_to_precision("BTC/USDT", low * 4))

    with pytest.raises(ccxt.InsufficientFunds):
        exchange.create_order("BTC/USDT", "limit", "buy", 100, low)
    with pytest.raises(ccxt.BadRequest, match="Filter failure: NOTIONAL"):
        exchange.create_order("BTC/USDT", "limit", "buy", 0.00001, low)
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        exchange.create_order("BTC/USDT", "limit", "buy", 0.01, high, {"postOnly": True})
    with pytest.raises(ccxt.OrderNotFound):
        exchange.cancel_order("999999", "BTC/USDT")
    exchange.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        exchange.fetch_balance()
    exchange.session.close()


def test_ccxt_async_trades_stops_and_cancels_all(venue: Endpoints) -> None:
    import ccxt.async_support as ccxt

    async def main() -> Any:
        exchange = at(ccxt.binance(keys("ccxtasync")), venue)
        try:
            await exchange.load_markets()
            last = (await exchange.fetch_ticker("ETH/USDT"))["last"]
            for factor in (0.5, 0.6):
                price = exchange.price_to_precision("ETH/USDT", last * factor)
                await exchange.create_order("ETH/USDT", "limit", "buy", 0.1, float(price))
            trigger = float(exchange.price_to_precision("ETH/USDT", last * 0.7))
            stop = await exchange.create_order(
                "ETH/USDT", "limit", "sell", 0.1, trigger, {"stopLossPrice": trigger, "clientOrderId": "my-stop"}
            )
            found = await exchange.fetch_order(None, "ETH/USDT", {"clientOrderId": "my-stop"})
            before = await exchange.fetch_open_orders("ETH/USDT")
            await exchange.cancel_all_orders("ETH/USDT")
            after = await exchange.fetch_open_orders("ETH/USDT")
            orders = await exchange.fetch_orders("ETH/USDT")
            return stop, found, before, after, orders
        finally:
            await exchange.close()

    stop, found, before, after, orders = run(main())

    assert found["id"] == stop["id"]
    assert found["triggerPrice"] > 0
    assert (len(before), len(after)) == (3, 0)
    assert [order["status"] for order in orders] == ["canceled"] * 3


def test_ccxt_places_edits_and_cancels_lists_trails_and_icebergs(venue: Endpoints) -> None:
    import ccxt

    exchange = at(ccxt.binance(keys("ccxtlists")), venue)
    market = exchange.load_markets()["BTC/USDT"]
    last = exchange.fetch_ticker("BTC/USDT")["last"]

    def price(factor: float) -> Any:
        return exchange.price_to_precision("BTC/USDT", last * factor)

    pair = exchange.private_post_orderlist_oco(
        {
            "symbol": "BTCUSDT",
            "side": "SELL",
            "quantity": "0.5",
            "aboveType": "LIMIT_MAKER",
            "abovePrice": price(1.5),
            "belowType": "STOP_LOSS",
            "belowStopPrice": price(0.5),
        }
    )
    legs = exchange.fetch_open_orders("BTC/USDT")
    locked = exchange.fetch_balance()["BTC"]["used"]
    open_lists = exchange.private_get_openorderlist()
    gone = exchange.private_delete_orderlist({"symbol": "BTCUSDT", "orderListId": pair["orderListId"]})
    trailing = exchange.create_order(
        "BTC/USDT", "market", "sell", 0.1, None, {"trailingPercent": 5, "stopLossOrTakeProfit": "stopLoss"}
    )
    iceberg = exchange.create_order("BTC/USDT", "limit", "buy", 0.1, float(price(0.5)), {"icebergQty": "0.02"})
    edited = exchange.edit_order(iceberg["id"], "BTC/USDT", "limit", "buy", 0.2, float(price(0.6)))
    amended = exchange.request(
        "order/amend/keepPriority",
        ["private"],
        "PUT",
        {"symbol": "BTCUSDT", "orderId": edited["id"], "newQty": "0.15"},
    )
    left = exchange.fetch_open_orders("BTC/USDT")
    with pytest.raises(ccxt.ExchangeError, match="cancel-replace failed"):
        exchange.edit_order(iceberg["id"], "BTC/USDT", "limit", "buy", 0.2, float(price(0.6)))
    exchange.cancel_all_orders("BTC/USDT")
    exchange.session.close()

    assert market["info"]["ocoAllowed"]
    assert {leg["id"] for leg in legs} == {str(one["orderId"]) for one in pair["orders"]}
    assert (locked, len(open_lists)) == (0.5, 1)
    assert [report["status"] for report in gone["orderReports"]] == ["CANCELED"] * 2
    assert trailing["info"]["trailingDelta"] == 500
    assert iceberg["info"]["icebergQty"] == "0.02000000"
    assert (edited["status"], edited["amount"]) == ("open", 0.2)
    assert amended["amendedOrder"]["qty"] == "0.15000000"
    assert {order["id"]: order["amount"] for order in left} == {trailing["id"]: 0.1, edited["id"]: 0.15}


def test_ccxt_pro_hears_trailing_stops_of_both_sides_trigger_and_fill(fast_venue: Endpoints) -> None:
    import ccxt.pro as ccxt

    async def main() -> Any:
        exchange = at(ccxt.binance(keys("ccxttrails")), fast_venue)
        trail = {"trailingPercent": 0.1, "stopLossOrTakeProfit": "stopLoss"}
        try:
            await exchange.load_markets()
            heard = asyncio.create_task(exchange.watch_orders("BTC/USDT"))
            await exchange.ensure_user_data_stream_ws_subscribe_signature()
            sent = [
                await exchange.create_order("BTC/USDT", "market", side, 0.01, None, trail) for side in ("sell", "buy")
            ]
            await heard
            while len(filled := [one for one in exchange.orders if one["status"] == "closed"]) < len(sent):
                # An update that comes while nobody waits is in the client's cache, and wakes nobody up.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await exchange.watch_orders("BTC/USDT")
            return sent, filled
        finally:
            await exchange.close()

    sent, filled = run(main())

    assert {order["id"] for order in filled} == {order["id"] for order in sent}


def test_ccxt_pro_watches_the_market_and_its_orders(venue: Endpoints) -> None:
    import ccxt.pro as ccxt

    async def main() -> Any:
        exchange = at(ccxt.binance(keys("ccxtpro")), venue)
        try:
            await exchange.load_markets()
            bars = await exchange.watch_ohlcv("BTC/USDT", "1m")
            trades = await exchange.watch_trades("BTC/USDT")
            book = await exchange.watch_order_book("BTC/USDT")
            best_bid, best_ask = book["bids"][0][0], book["asks"][0][0]
            orders = asyncio.create_task(exchange.watch_orders("BTC/USDT"))
            await exchange.ensure_user_data_stream_ws_subscribe_signature()
            price = float(exchange.price_to_precision("BTC/USDT", best_bid * 0.5))
            placed = await exchange.create_order("BTC/USDT", "limit", "buy", 0.01, price)
            [seen] = await orders
            sent = await exchange.create_order_ws("BTC/USDT", "market", "buy", 0.01)
            return bars, trades, (best_bid, best_ask), placed["id"], seen, sent
        finally:
            await exchange.close()

    bars, trades, (best_bid, best_ask), placed_id, seen, sent = run(main())

    assert len(bars[-1]) == 6
    assert trades[-1]["symbol"] == "BTC/USDT"
    assert best_bid < best_ask
    assert (seen["id"], seen["status"]) == (placed_id, "open")
    assert sent["status"] == "closed"


# --- cryptofeed ------------------------------------------------------------------------------------------


def test_cryptofeed_takes_trades_quotes_bars_and_books(venue: Endpoints) -> None:
    pytest.importorskip("cryptofeed")
    from cryptofeed.defines import CANDLES, L2_BOOK, TICKER, TRADES
    from cryptofeed.exchanges import Binance

    feed = cryptofeeds.local(Binance, rest=venue.rest, api=f"{venue.rest}/api/v3/", stream=venue.stream)

    seen = run(cryptofeeds.first({feed: (TRADES, TICKER, CANDLES, L2_BOOK)}, "BTC-USDT"))

    trade, quote, bar, book = (seen[channel] for channel in (TRADES, TICKER, CANDLES, L2_BOOK))
    assert trade.symbol == quote.symbol == bar.symbol == book.symbol == "BTC-USDT"
    assert trade.amount > 0
    assert quote.bid < quote.ask
    assert bar.low <= bar.close <= bar.high
    assert max(book.book.bids) < min(book.book.asks)


# --- python-binance --------------------------------------------------------------------------------------


def test_python_binance_reads_the_market_and_trades(venue: Endpoints) -> None:
    binance = pytest.importorskip("binance")

    class Client(binance.Client):
        API_URL = f"{venue.rest}/api"

    client = Client("binance", "binance-secret")
    try:
        rules = client.get_symbol_info("BTCUSDT")
        bars = client.get_klines(symbol="BTCUSDT", interval="1m", limit=10)
        book = client.get_order_book(symbol="BTCUSDT", limit=5)
        prices = {row["symbol"]: row["price"] for row in client.get_all_tickers()}
        bought = client.order_market_buy(symbol="BTCUSDT", quantity="0.01")
        half = f"{float(prices['BTCUSDT']) / 2:.2f}"
        resting = client.order_limit_buy(symbol="BTCUSDT", quantity="0.01", price=half)
        found = client.get_order(symbol="BTCUSDT", orderId=resting["orderId"])
        gone = client.cancel_order(symbol="BTCUSDT", orderId=resting["orderId"])
        money = client.get_asset_balance("BTC")
        trades = client.get_my_trades(symbol="BTCUSDT")
        with pytest.raises(binance.exceptions.BinanceAPIException) as refused:
            client.cancel_order(symbol="BTCUSDT", orderId=resting["orderId"])
    finally:
        client.close_connection()
        client.loop.close()  # the client makes one and leaves it

    assert rules["filters"][0]["filterType"] == "PRICE_FILTER"
    assert len(bars) == 10
    assert len(book["bids"]) == 5
    assert set(prices) == {"BTCUSDT", "ETHUSDT"}
    assert bought["status"] == "FILLED"
    assert (found["status"], gone["status"]) == ("NEW", "CANCELED")
    assert Decimal(money["free"]) == Decimal("10.00999")
    assert {trade["orderId"] for trade in trades} == {bought["orderId"]}
    assert refused.value.code == -2011


def test_python_binance_streams_the_market_and_its_account(venue: Endpoints) -> None:
    binance = pytest.importorskip("binance")

    class Client(binance.AsyncClient):
        API_URL = f"{venue.rest}/api"
        WS_API_URL = venue.trading_stream

    class SocketManager(binance.BinanceSocketManager):
        STREAM_URL = f"{venue.stream}/"

    async def main() -> Any:
        client = await Client.create("binanceasync", "binanceasync-secret")
        client.ws_api.TIMEOUT = 1  # so long, not 10 s, it waits for something more before it leaves
        try:
            sockets = SocketManager(client)
            async with sockets.kline_socket("BTCUSDT") as socket:
                bar = await socket.recv()
            async with sockets.trade_socket("BTCUSDT") as socket:
                trade = await socket.recv()
            async with sockets.multiplex_socket(["btcusdt@bookTicker", "ethusdt@bookTicker"]) as socket:
                quote = await socket.recv()
            async with sockets.depth_socket("BTCUSDT", depth="5") as socket:
                depth = await socket.recv()
            async with sockets.user_socket() as socket:
                order = await client.create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
                events = []
                while not any(event.get("X") == "FILLED" for event in events):
                    events.append(await socket.recv())
                balances = await socket.recv()
            placed = await client.ws_create_order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.01")
            return bar, trade, quote, depth, order, events, balances, placed
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await client.close_connection()

    bar, trade, quote, depth, order, events, balances, placed = run(main())

    assert (bar["e"], bar["k"]["i"], trade["e"]) == ("kline", "1m", "trade")
    assert quote["stream"].endswith("@bookTicker")
    assert len(depth["bids"]) == 5
    reports = [event for event in events if event["e"] == "executionReport"]
    assert reports[0]["x"] == "NEW"
    assert reports[-1]["i"] == order["orderId"]
    assert balances["e"] == "outboundAccountPosition"
    assert {row["a"] for row in balances["B"]} == {"BTC", "USDT"}
    assert placed["status"] == "FILLED"


def test_python_binance_places_replaces_and_cancels_lists(venue: Endpoints) -> None:
    binance = pytest.importorskip("binance")

    class Client(binance.Client):
        API_URL = f"{venue.rest}/api"

    client = Client("binancelists", "binancelists-secret")
    try:
        last = float(client.get_symbol_ticker(symbol="BTCUSDT")["price"])
        pair = client.create_oco_order(
            symbol="BTCUSDT",
            side="SELL",
            quantity="0.5",
            aboveType="TAKE_PROFIT_LIMIT",
            abovePrice=f"{last * 1.4:.2f}",
            aboveStopPrice=f"{last * 1.5:.2f}",
            aboveTimeInForce="GTC",
            belowType="STOP_LOSS",
            belowTrailingDelta=1500,
        )
        entry = client.v3_post_order_list_otoco(
            symbol="BTCUSDT",
            workingType="LIMIT",
            workingSide="BUY",
            workingPrice=f"{last * 0.5:.2f}",
            workingQuantity="0.01",
            workingTimeInForce="GTC",
            pendingSide="SELL",
            pendingQuantity="0.01",
            pendingAboveType="LIMIT_MAKER",
            pendingAbovePrice=f"{last * 1.5:.2f}",
            pendingBelowType="STOP_LOSS",
            pendingBelowStopPrice=f"{last * 0.4:.2f}",
        )
        found = client.v3_get_order_list(orderListId=pair["orderListId"])
        waiting = client.get_open_oco_orders()
        leg = client.cancel_order(symbol="BTCUSDT", orderId=pair["orders"][0]["orderId"])
        replaced = client.cancel_replace_order(
            symbol="BTCUSDT",
            side="BUY",
            type="LIMIT",
            timeInForce="GTC",
            quantity="0.02",
            price=f"{last * 0.5:.2f}",
            cancelReplaceMode="STOP_ON_FAILURE",
            cancelOrderId=entry["orders"][0]["orderId"],
        )
        with pytest.raises(binance.exceptions.BinanceAPIException) as refused:
            client.v3_delete_order_list(symbol="BTCUSDT", orderListId=pair["orderListId"])
        left = client.get_open_orders()
    finally:
        client.close_connection()
        client.loop.close()  # the client makes one and leaves it

    assert [report["status"] for report in entry["orderReports"]] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
    assert found["listClientOrderId"] == pair["listClientOrderId"]
    assert [one["contingencyType"] for one in waiting] == ["OCO", "OTO"]
    assert leg["listOrderStatus"] == "ALL_DONE"
    assert len(replaced["cancelResponse"]["orderReports"]) == 3
    assert refused.value.code == -2011
    assert [order["orderId"] for order in left] == [replaced["newOrderResponse"]["orderId"]]


def test_python_binance_hears_an_entry_fill_and_one_exit_end_the_other(fast_venue: Endpoints) -> None:
    binance = pytest.importorskip("binance")

    class Client(binance.AsyncClient):
        API_URL = f"{fast_venue.rest}/api"
        WS_API_URL = fast_venue.trading_stream

    async def main() -> Any:
        client = await Client.create("binanceexits", "binanceexits-secret")
        client.ws_api.TIMEOUT = 1  # so long, not 10 s, it waits for something more before it leaves
        try:
            last = float((await client.get_symbol_ticker(symbol="BTCUSDT"))["price"])
            events: list[Any] = []
            async with binance.BinanceSocketManager(client).user_socket() as socket:
                placed = await client.v3_post_order_list_otoco(
                    symbol="BTCUSDT",
                    workingType="LIMIT",
                    workingSide="BUY",
                    workingPrice=f"{last * 1.01:.2f}",
                    workingQuantity="0.01",
                    workingTimeInForce="GTC",
                    pendingSide="SELL",
                    pendingQuantity="0.01",
                    pendingAboveType="LIMIT_MAKER",
                    pendingAbovePrice=f"{last * 1.2:.2f}",
                    pendingBelowType="STOP_LOSS",
                    pendingBelowTrailingDelta=10,
                )
                while not any(event.get("L") == "ALL_DONE" for event in events):
                    events.append(await socket.recv())
            return placed, events
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await client.close_connection()

    placed, events = run(main())

    working, stop, limit = (order["orderId"] for order in placed["orders"])
    reports = [event for event in events if event["e"] == "executionReport"]
    last_states = {report["i"]: report["X"] for report in reports}
    assert last_states == {working: "FILLED", stop: "FILLED", limit: "EXPIRED"}
    assert {report["g"] for report in reports} == {placed["orderListId"]}
    assert [event["l"] for event in events if event["e"] == "listStatus"] == ["EXEC_STARTED"] * 2 + ["ALL_DONE"]
