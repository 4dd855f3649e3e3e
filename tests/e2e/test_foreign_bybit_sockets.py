"""Clients nobody here wrote listen to Bybit's simulator, and trade over its sockets; only the address is another."""

import asyncio
import queue
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from btx.model.venue import Endpoints, Scenario, SimAccount
from btx.sim.faults import Fault, FaultScript, Kind, Where, script_to_json
from btx_bybit.sim.app import simulator
from tests.e2e import cryptofeeds
from tests.e2e.foreign import SECONDS, keys, moved, playing, run

pytestmark = pytest.mark.slow

NAMES = ("pybit", "ccxtpro")
MARKETS = {
    "spot": ("BTC/USDT", "BTCUSDT", "0.01"),
    "linear": ("BTC/USDT:USDT", "BTCUSDT", "0.01"),
    "inverse": ("BTC/USD:BTC", "BTCUSD", "100"),
}
"""ccxt's name of what is traded, the venue's, and how much."""
MONEY = {"USDT": Decimal(1_000_000), "BTC": Decimal(10)}


# pybit notes whom to call back after it has asked, which is early enough wherever there is a network between. A slow
# one: a thread may be held up between the two.
NETWORK = FaultScript(
    faults=tuple(
        Fault(kind=Kind.DELAY, where=where, count=10_000, for_s=0.6)
        for where in (Where.SUBSCRIBE, Where.PLACE, Where.CANCEL)
    )
)


@pytest.fixture(scope="module", params=list(MARKETS))
def venue(request: pytest.FixtureRequest) -> Iterator[Endpoints]:
    accounts = tuple(SimAccount(api_key=name, api_secret=f"{name}-secret", balances=MONEY) for name in NAMES)
    scenario = Scenario(
        market=request.param,
        speed=20.0,
        rebase=True,
        warmup_ns=6 * 3600 * 10**9,
        accounts=accounts,
        faults=script_to_json(NETWORK),
    )
    with playing(simulator, scenario) as endpoints:
        yield endpoints


async def heard(venue: Endpoints, *topics: str) -> None:
    """Wait until the venue's private sockets hear of these topics."""
    async with aiohttp.ClientSession() as http, http.ws_connect(venue.control) as control:
        there: set[str] = set()
        while not there >= {*topics}:
            await control.send_json({"id": 1, "op": "sockets"})
            views = (await control.receive_json(timeout=SECONDS)).get("sockets", ())
            there = {topic for view in views if view["where"] == "account_stream" for topic in view["subscriptions"]}


# --- pybit -----------------------------------------------------------------------------------------------


@pytest.fixture
def pybit(venue: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes pybit's own sockets, which live as long as the test."""
    from pybit import _websocket_trading, unified_trading

    monkeypatch.setattr(unified_trading, "PUBLIC_WSS", f"{venue.stream}/v5/public/{{CHANNEL_TYPE}}")
    monkeypatch.setattr(unified_trading, "PRIVATE_WSS", f"{venue.stream}/v5/private")
    monkeypatch.setattr(_websocket_trading, "TRADE_WSS", venue.trading_stream)
    opened: list[Any] = []

    def make(kind: str, **terms: Any) -> Any:
        opened.append(
            # The library under it looks up once in a ping's time to see whether it is to go on: a second, and no pings.
            getattr(unified_trading, kind)(
                testnet=False, restart_on_error=False, ping_interval=600, ping_timeout=1, **terms
            )
        )
        return opened[-1]

    yield make
    for client in opened:
        client.exit()
        client.wst.join(SECONDS)


class Heard:
    """What a client's callback was called with."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, message: Any) -> None:
        self._queue.put(message)

    def next(self) -> Any:
        return self._queue.get(timeout=SECONDS)

    def until(self, is_it: Callable[[Any], bool]) -> Any:
        while not is_it(message := self.next()):
            pass
        return message


def test_pybit_reads_books_prints_bars_and_tickers(venue: Endpoints, pybit: Callable[..., Any]) -> None:
    market = venue.extra["market"]
    symbol = MARKETS[market][1]
    socket = pybit("WebSocket", channel_type=market)
    books, trades, bars, tickers = (Heard() for _ in range(4))

    socket.orderbook_stream(50, symbol, books)
    socket.trade_stream(symbol, trades)
    socket.kline_stream(1, symbol, bars)
    socket.ticker_stream(symbol, tickers)

    for _ in range(3):
        book = books.next()["data"]
        best_bid = max(Decimal(price) for price, _ in book["b"])
        best_ask = min(Decimal(price) for price, _ in book["a"])
        assert best_bid < best_ask
        assert len(book["b"]) == len(book["a"]) == 50
    assert trades.next()["data"][0]["s"] == symbol
    assert bars.until(lambda bar: bar["data"][0]["confirm"])["data"][0]["interval"] == "1"
    assert [tickers.next()["data"]["symbol"] for _ in range(2)] == [symbol] * 2


def test_pybit_trades_over_one_socket_and_hears_of_it_on_another(venue: Endpoints, pybit: Callable[..., Any]) -> None:
    market = venue.extra["market"]
    _, symbol, quantity = MARKETS[market]
    secret = {"api_key": "pybit", "api_secret": "pybit-secret"}
    books, orders, fills, wallets, positions, answers = (Heard() for _ in range(6))
    pybit("WebSocket", channel_type=market).orderbook_stream(1, symbol, books)
    account = pybit("WebSocket", channel_type="private", **secret)
    account.order_stream(orders)
    account.execution_stream(fills)
    account.wallet_stream(wallets)
    account.position_stream(positions)
    trading = pybit("WebSocketTrading", **secret)
    run(heard(venue, "order", "execution", "wallet", "position"))
    bid = Decimal(books.next()["data"]["b"][0][0])
    tick = Decimal("0.1")
    order = {"category": market, "symbol": symbol, "side": "Buy", "qty": quantity}

    trading.place_order(answers, orderType="Limit", price=str((bid * Decimal("0.99")).quantize(tick)), **order)
    made = answers.next()["data"]["orderId"]
    named = {"category": market, "symbol": symbol, "orderId": made}
    trading.amend_order(answers, price=str((bid * Decimal("0.98")).quantize(tick)), **named)
    assert answers.next()["data"]["orderId"] == made
    trading.cancel_order(answers, **named)
    assert answers.next()["retCode"] == 0
    ended = orders.until(lambda message: message["data"][0]["orderStatus"] == "Cancelled")
    trading.place_order(answers, orderType="Market", marketUnit="baseCoin", **order)
    bought = answers.next()["data"]["orderId"]
    filled = orders.until(lambda message: message["data"][0]["orderStatus"] == "Filled")

    assert ended["data"][0]["orderId"] == made
    assert filled["data"][0]["orderId"] == bought
    assert fills.next()["data"][0]["orderId"] == bought
    assert wallets.next()["data"][0]["accountType"] == "UNIFIED"
    if market != "spot":
        assert positions.until(lambda message: message["data"][0]["side"] == "Buy")


def test_pybit_says_what_it_was_refused(venue: Endpoints, pybit: Callable[..., Any]) -> None:
    _, symbol, _ = MARKETS[venue.extra["market"]]
    refused = Heard()
    trading = pybit("WebSocketTrading", api_key="pybit", api_secret="pybit-secret")

    trading.place_order(
        Heard(),
        refused,
        category=venue.extra["market"],
        symbol=symbol,
        side="Buy",
        orderType="Limit",
        qty="0",
        price="1",
    )

    assert refused.next()["retCode"] != 0


# --- ccxt ------------------------------------------------------------------------------------------------


def exchange_of(venue: Endpoints) -> Any:
    """ccxt's own exchange at the simulator's address."""
    import ccxt.pro

    exchange = ccxt.pro.bybit({**keys("ccxtpro"), "enableRateLimit": False})
    exchange.urls["api"] = moved(exchange.urls["api"], venue)
    exchange.options["defaultType"] = {"spot": "spot", "linear": "swap", "inverse": "swap"}[venue.extra["market"]]
    exchange.hostname = "bybit.com"
    return exchange


def test_ccxt_watches_the_market_and_its_account_and_trades_over_the_socket(venue: Endpoints) -> None:
    market = venue.extra["market"]
    symbol, _, quantity = MARKETS[market]

    async def main() -> Any:
        exchange = exchange_of(venue)
        try:
            await exchange.load_markets()
            book = await exchange.watch_order_book(symbol, 50)
            trades = await exchange.watch_trades(symbol)
            ticker = await exchange.watch_ticker(symbol)
            bars = await exchange.watch_ohlcv(symbol, "1m")
            orders = asyncio.create_task(exchange.watch_orders(symbol))
            fills = asyncio.create_task(exchange.watch_my_trades(symbol))
            balances = asyncio.create_task(exchange.watch_balance())
            await heard(venue, "order", "execution", "wallet")
            price = float(exchange.price_to_precision(symbol, book["bids"][0][0] * 0.99))
            resting = await exchange.create_order_ws(symbol, "limit", "buy", float(quantity), price)
            await exchange.cancel_order_ws(resting["id"], symbol)
            bought = await exchange.create_order_ws(symbol, "market", "buy", float(quantity), price)
            return book, trades, ticker, bars, await orders, await fills, await balances, resting, bought
        finally:
            await exchange.close()

    book, trades, ticker, bars, orders, fills, balances, resting, bought = run(main())

    assert book["bids"][0][0] < book["asks"][0][0]
    assert trades[-1]["symbol"] == ticker["symbol"] == symbol
    assert bars[-1][5] >= 0
    assert orders[0]["id"] == resting["id"]
    assert fills[0]["order"] == bought["id"]
    assert balances["total"]


# --- cryptofeed ------------------------------------------------------------------------------------------


def test_cryptofeed_reads_what_of_its_feed_still_works(venue: Endpoints) -> None:
    from cryptofeed.defines import CANDLES, L2_BOOK, TICKER, TRADES
    from cryptofeed.exchanges import Bybit

    market = venue.extra["market"]
    if market == "inverse":
        pytest.skip("cryptofeed's Bybit has no inverse contracts")
    feed = cryptofeeds.local(Bybit, rest=venue.rest, api=venue.rest, stream=venue.extra["public_stream"])
    channels = (TRADES, CANDLES, L2_BOOK) + ((TICKER,) if market == "linear" else ())

    seen = run(cryptofeeds.first({feed: channels}, "BTC-USDT" if market == "spot" else "BTC-USDT-PERP"))

    assert seen[TRADES].price > 0
    assert seen[L2_BOOK].book.bids.index(0)[0] < seen[L2_BOOK].book.asks.index(0)[0]
    assert seen[CANDLES].interval == "1m"
