"""The streams of USD-M and COIN-M against a small server that speaks documented frames."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from btx.errors import AuthenticationError, ConfigError, MissingSecretError, NotSupportedError, TransportError
from btx.model.account import AccountUpdate, MarginCall
from btx.model.derivatives import MarkPrice
from btx.model.market import Bar, BookDelta, Quote, Trade
from btx.model.order import Fill, OrderReport
from btx.model.time import Interval
from btx.model.venue import Channel, Environment, StreamState, StreamStatus, Subscription
from btx.runtime.wishes import Wishes
from btx_binance.api import api
from btx_binance.config import stream_url
from btx_binance.futures.stream import FuturesStream
from tests.unit.binance.futures_rig import API, MARKETS, USDM, trading
from tests.unit.binance.loopback import KEY, answer, endpoints, hold, others, serve, socket
from tests.unit.binance.test_futures_events import _ORDER
from tests.unit.binance.test_stream import Heard

_DEADLINE_S = 60.0
_ACCOUNT = (Subscription(channel=Channel.ACCOUNT),)
_CHANNELS = (Channel.TRADE, Channel.QUOTE, Channel.BOOK, Channel.MARK)
_MARKETS = pytest.mark.parametrize("market", ["usdm", "coinm"])


def wished(market: str) -> list[Subscription]:
    instrument = MARKETS[market]
    bar = Subscription(channel=Channel.BAR, instrument=instrument, interval=Interval.parse("1m"))
    return [bar, *(Subscription(channel=channel, instrument=instrument) for channel in _CHANNELS)]


class Wire:
    """A venue whose sockets push what a test gives them, and that remembers what each was asked to carry."""

    def __init__(self, *frames: dict[str, Any]) -> None:
        self.frames = list(frames)
        self.asked: dict[str, set[str]] = {}
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.changed = asyncio.Event()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        streams = self.asked.setdefault(request.path, set())
        streams |= set(request.query.get("streams", "").split("/"))
        self.sockets[request.path] = connection
        self.changed.set()
        for frame in self.frames:
            if frame["stream"] in streams:
                await connection.send_json(frame)
        async for message in connection:
            said = json.loads(message.data)
            if said["method"] == "SUBSCRIBE":
                streams.update(said["params"])
            else:
                streams.difference_update(said["params"])
            await connection.send_json({"result": None, "id": said["id"]})
        return connection


async def listening(
    wire: Wire, wanted: Wishes, until: Callable[[Heard], Awaitable[None]], market: str = "usdm", **options: str
) -> Heard:
    """Run the market streams until a test has what it waits for."""
    heard = Heard()
    async with serve({"GET /{path:.*}": wire.handle}) as where, trading(where, market, options) as context:
        task = asyncio.ensure_future(FuturesStream(context).run(wanted=wanted, sink=heard))
        try:
            await asyncio.wait_for(until(heard), _DEADLINE_S)
        finally:
            task.cancel()
            await asyncio.wait({task})
    assert not await others()
    return heard


# --- market data ----------------------------------------------------------------------------------------


_PUBLIC, _OTHERS = {"bookTicker", "depth@100ms"}, {"aggTrade", "kline_1m", "markPrice@1s"}


@pytest.mark.parametrize(
    ("market", "options", "expected"),
    [
        ("usdm", {}, {"/public/stream": _PUBLIC, "/market/stream": _OTHERS}),
        ("usdm", {"split_streams": "no"}, {"/stream": _PUBLIC | _OTHERS}),
        ("coinm", {"book_update_s": "0.5"}, {"/stream": {"bookTicker", "depth@500ms"} | _OTHERS}),
    ],
)
def test_each_stream_is_asked_for_at_its_address_and_all_stand_as_one(
    market: str, options: dict[str, str], expected: dict[str, set[str]]
) -> None:
    wanted = Wishes(wished(market))
    wire = Wire()

    heard = asyncio.run(listening(wire, wanted, lambda heard: heard.until(1), market, **options))

    symbol = MARKETS[market].venue_symbol.lower()
    assert wire.asked == {path: {f"{symbol}@{name}" for name in names} for path, names in expected.items()}
    (status,) = heard.events[:1]
    assert isinstance(status, StreamStatus)
    assert (status.state, status.subscriptions) == (StreamState.SUBSCRIBED, wanted.now)


def _frames(name: str) -> list[dict[str, Any]]:
    common = {"E": 1672515782136, "s": name.upper(), "st": 1, "ps": "BTCUSD"}
    kline = {
        "t": 1672515720000, "T": 1672515779999, "s": name.upper(), "i": "1m", "f": 1, "L": 9, "o": "1", "c": "2",
        "h": "3", "l": "0.5", "v": "206", "n": 9, "x": True, "q": "2.13", "V": "1", "Q": "1", "B": "0",
    }  # fmt: skip
    trade = {"a": 5, "p": "2", "q": "3", "f": 1, "l": 2, "T": 1672515782000, "m": True, "nq": "3"}
    quote = {"u": 4, "b": "1.9", "B": "31", "a": "2.1", "A": "40", "T": 1672515782001}
    depth = {"T": 1, "U": 157, "u": 160, "pu": 149, "b": [["1.9", "10"]], "a": [["2.1", "0"]]}
    mark = {"p": "11794.15", "i": "11784.6", "P": "11784.2", "r": "-0.00038167", "T": 1562306400000, "ap": "1"}
    return [
        {"stream": f"{name}@kline_1m", "data": {"e": "kline", **common, "k": kline}},
        {"stream": f"{name}@aggTrade", "data": {"e": "aggTrade", **common, **trade}},
        {"stream": f"{name}@bookTicker", "data": {"e": "bookTicker", **common, **quote}},
        {"stream": f"{name}@depth@100ms", "data": {"e": "depthUpdate", **common, **depth}},
        {"stream": f"{name}@markPrice@1s", "data": {"e": "markPriceUpdate", **common, **mark}},
    ]


@pytest.mark.parametrize(
    ("market", "environment", "stream", "rest"),
    [
        ("usdm", Environment.LIVE, "wss://fstream.binance.com", "https://fapi.binance.com"),
        ("usdm", Environment.PAPER, "wss://fstream.binance.com", "https://fapi.binance.com"),
        ("coinm", Environment.LIVE, "wss://dstream.binance.com", "https://dapi.binance.com"),
        ("usdm", Environment.TESTNET, "wss://fstream.binancefuture.com", "https://demo-fapi.binance.com"),
        ("coinm", Environment.TESTNET, "wss://dstream.binancefuture.com", "https://demo-dapi.binance.com"),
    ],
)
def test_each_environment_has_its_addresses(market: str, environment: Environment, stream: str, rest: str) -> None:
    async def ask() -> tuple[str, str]:
        async with trading(None, market, environment=environment) as context:
            urls = api(context).client.exchange.urls["api"]
            return stream_url(context), urls["fapiPrivate" if market == "usdm" else "dapiPrivate"]

    dialled, asked = asyncio.run(ask())

    assert dialled == stream
    assert asked.startswith(f"{rest}/")


@_MARKETS
def test_every_frame_of_a_market_is_read_with_the_keys_of_2026(market: str) -> None:
    wire = Wire(*_frames(MARKETS[market].venue_symbol.lower()))

    heard = asyncio.run(listening(wire, Wishes(wished(market)), lambda heard: heard.until(6), market))

    read = {type(event): event for event in heard.events if not isinstance(event, StreamStatus)}
    bar, trade, quote, delta, mark = (read[kind] for kind in (Bar, Trade, Quote, BookDelta, MarkPrice))
    assert StreamState.FAULT not in heard.states()
    assert {event.symbol for event in read.values()} == {MARKETS[market].symbol}
    assert (bar.volume, bar.is_closed, bar.quote_volume) == (206, True, Decimal("2.13") if market == "usdm" else None)
    assert (trade.trade_id, trade.price, quote.bid_quantity) == (5, 2, 31)
    assert (delta.first_sequence, delta.last_sequence, delta.previous_sequence) == (157, 160, 149)
    assert (mark.mark_price, mark.index_price, mark.funding_rate) == (
        *(Decimal("11794.15"), Decimal("11784.6")),
        Decimal("-0.00038167"),
    )
    assert mark.next_funding_ns == 1562306400000 * 1_000_000


def test_a_recorded_settlement_of_funding_is_read_as_it_was(btx_data: Path) -> None:
    lines = (btx_data / "wire" / "binance_usdm_markPrice_funding_rollover_2026-09-30.jsonl").read_text().splitlines()
    frames = [json.loads(line) for line in lines]
    mine = [frame for frame in frames if frame["stream"] == "btcusdt@markPrice@1s"]
    wanted = Wishes([Subscription(channel=Channel.MARK, instrument=USDM)])

    heard = asyncio.run(listening(Wire(*mine), wanted, lambda heard: heard.until(1 + len(mine))))

    marks = [event for event in heard.events if isinstance(event, MarkPrice)]
    assert [mark.time_ns // 1_000_000 for mark in marks] == [frame["data"]["E"] for frame in mine]
    nexts = [(mark.next_funding_ns or 0) // 3_600_000_000_000 for mark in marks]
    assert nexts == sorted(nexts)
    assert nexts[-1] - nexts[0] == 8


def test_what_is_wanted_later_is_asked_for_where_it_belongs_on_a_socket_of_its_own_if_need_be() -> None:
    bar, *_rest = wished("usdm")
    quote = Subscription(channel=Channel.QUOTE, instrument=USDM)
    mark = Subscription(channel=Channel.MARK, instrument=USDM)
    wanted, wire = Wishes([quote]), Wire()

    async def change(heard: Heard) -> None:
        await heard.until(1)
        wanted.set([quote, bar])
        await heard.until(2)
        wanted.set([quote, bar, mark])
        await heard.until(3)
        wanted.set([mark])
        await heard.until(5)

    heard = asyncio.run(listening(wire, wanted, change))

    stands = [event.subscriptions for event in heard.events if isinstance(event, StreamStatus)]
    assert stands[:3] == [{quote}, {quote, bar}, {quote, bar, mark}]
    assert stands[-1] == {mark}
    assert wire.asked == {"/public/stream": set(), "/market/stream": {"btcusdt@markPrice@1s"}}


def test_one_socket_that_is_lost_ends_them_all() -> None:
    wire, wanted = Wire(), Wishes(wished("usdm"))

    async def run() -> str:
        heard = Heard()
        async with serve({"GET /{path:.*}": wire.handle}) as where, trading(where) as context:
            task = asyncio.ensure_future(FuturesStream(context).run(wanted=wanted, sink=heard))
            await asyncio.wait_for(heard.until(1), _DEADLINE_S)
            await wire.sockets["/market/stream"].close()
            with pytest.raises(TransportError) as lost:
                await asyncio.wait_for(task, _DEADLINE_S)
        assert not await others()
        return str(lost.value)

    assert "1000" in asyncio.run(run())


# --- the account ----------------------------------------------------------------------------------------


class Account:
    """A venue that gives listen keys and pushes frames to who comes with one."""

    def __init__(self, market: str = "usdm", *frames: Any) -> None:
        self._base = API[market]
        self._frames = frames
        self.extended: list[dict[str, str]] = []
        self.extensions = asyncio.Semaphore(0)
        self.extension: Any = {}
        self.dialled: list[str] = []

    def routes(self) -> dict[str, Any]:
        return {
            f"POST {self._base}/listenKey": self._post,
            f"PUT {self._base}/listenKey": self._put,
            "GET /{path:.*}": self._push,
        }

    async def _post(self, request: web.Request) -> web.Response:
        assert request.headers["X-MBX-APIKEY"] == KEY
        return web.json_response({"listenKey": "the-key"})

    async def _put(self, request: web.Request) -> web.Response:
        self.extended.append({key: str(value) for key, value in (await request.post()).items()} | dict(request.query))
        self.extensions.release()
        return web.json_response(self.extension, status=400 if "code" in self.extension else 200)

    async def _push(self, request: web.Request) -> web.WebSocketResponse:
        self.dialled.append(request.path)
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        for frame in self._frames:
            await connection.send_json(frame)
        await hold(connection)
        return connection


async def followed(
    account: Account,
    until: Callable[[Heard], Awaitable[None]],
    market: str = "usdm",
    options: dict[str, str] | None = None,
    **kwargs: Any,
) -> tuple[Heard, BaseException | None]:
    """Run the account's stream until it is lost, or a test has what it waits for; return how it was lost."""
    heard = Heard()
    async with serve(account.routes()) as where, trading(where, market, options, **kwargs) as context:
        task = asyncio.ensure_future(FuturesStream(context).run(wanted=Wishes(_ACCOUNT), sink=heard))
        waiting = asyncio.ensure_future(until(heard))
        await asyncio.wait({task, waiting}, timeout=_DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        error = task.exception() if task.done() else None
        for each in (task, waiting):
            each.cancel()
        await asyncio.wait({task, waiting})
    assert not await others()
    return heard, error


async def never(_heard: Heard) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(("market", "path"), [("usdm", "/private/ws/the-key"), ("coinm", "/ws/the-key")])
def test_the_account_is_heard_under_a_listen_key(market: str, path: str) -> None:
    account = Account(market)

    heard, error = asyncio.run(followed(account, lambda heard: heard.until(1), market))

    assert error is None
    assert account.dialled == [path]
    (status,) = heard.events
    assert isinstance(status, StreamStatus)
    assert (status.state, status.subscriptions) == (StreamState.SUBSCRIBED, frozenset(_ACCOUNT))


_ACCOUNT_UPDATE = {"e": "ACCOUNT_UPDATE", "E": 1, "T": 1, "a": {"m": "ORDER", "B": [], "P": []}}
_MARGIN_CALL = {"e": "MARGIN_CALL", "E": 1, "cw": "3.16", "p": []}
_ALGO_NEW = {
    "e": "ALGO_UPDATE", "T": 7, "E": 8,
    "o": {"caid": "a1", "aid": 99, "at": "CONDITIONAL", "o": "STOP", "s": "BTCUSDT", "S": "SELL", "ps": "BOTH",
          "f": "GTC", "q": "1", "X": "NEW", "ai": "", "tp": "5", "p": "5", "R": False},
}  # fmt: skip


def test_events_are_read_needless_ones_passed_over_and_unknown_ones_told_once() -> None:
    needless = [{"e": kind} for kind in ("TRADE_LITE", "ACCOUNT_CONFIG_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT")]
    strange = [{"e": "NEW_IN_2027"}, {"e": "NEW_IN_2027"}]
    wrapped = {"stream": "the-key", "data": _MARGIN_CALL}
    account = Account("usdm", *needless, *strange, _ORDER, _ALGO_NEW, _ACCOUNT_UPDATE, wrapped)

    heard, _ = asyncio.run(followed(account, lambda heard: heard.until(7)))

    subscribed, fault, *rest = heard.events
    assert isinstance(subscribed, StreamStatus)
    assert isinstance(fault, StreamStatus)
    assert fault.state is StreamState.FAULT
    assert "'NEW_IN_2027' is not known" in fault.detail
    assert [type(event) for event in rest] == [Fill, OrderReport, OrderReport, AccountUpdate, MarginCall]


@pytest.mark.parametrize("kind", ["listenKeyExpired", "eventStreamTerminated"])
def test_a_key_that_expired_ends_the_connection_so_that_it_is_dialled_anew(kind: str) -> None:
    _, error = asyncio.run(followed(Account("usdm", {"e": kind, "E": 1, "listenKey": "the-key"}), never))

    assert isinstance(error, TransportError)
    assert kind in str(error)


def test_the_keys_life_is_extended_again_and_again() -> None:
    account = Account()

    async def thrice(_heard: Heard) -> None:
        for _ in range(3):
            await account.extensions.acquire()

    _, error = asyncio.run(followed(account, thrice, options={"listen_key_refresh_s": "0.01"}))

    assert error is None
    assert {each["listenKey"] for each in account.extended} == {"the-key"}


def test_a_key_that_is_gone_ends_the_connection_and_is_no_fault_of_the_api_key() -> None:
    account = Account()
    account.extension = {"code": -1125, "msg": "This listenKey does not exist."}

    _, error = asyncio.run(followed(account, never, options={"listen_key_refresh_s": "0.01"}))

    assert isinstance(error, TransportError)
    assert "-1125" in str(error)


def test_a_key_that_is_not_accepted_is_the_humans_to_mend_and_any_other_refusal_is_dialled_later() -> None:
    routes = {"POST /fapi/v1/listenKey": answer({"code": -2015, "msg": "Invalid API-key"}, status=401)}

    async def run() -> None:
        async with serve(routes) as where, trading(where) as context:
            await FuturesStream(context).run(wanted=Wishes(_ACCOUNT), sink=Heard())

    with pytest.raises(AuthenticationError):
        asyncio.run(run())
    routes["POST /fapi/v1/listenKey"] = answer({"code": -1003, "msg": "Too many requests."}, status=429)
    with pytest.raises(TransportError, match="-1003"):
        asyncio.run(run())
    with pytest.raises(MissingSecretError):
        raise asyncio.run(followed(Account(), never, key=""))[1] or AssertionError


def test_account_and_market_are_separate_connections() -> None:
    async def run() -> None:
        async with serve({"GET /stream": socket(hold)}) as where, trading(where) as context:
            with pytest.raises(NotSupportedError, match="separate connections"):
                await FuturesStream(context).run(wanted=Wishes([*_ACCOUNT, *wished("usdm")]), sink=Heard())

    asyncio.run(run())


@pytest.mark.parametrize(
    ("options", "why"),
    [({"split_streams": "perhaps"}, "write 'yes' or 'no'"), ({"book_update_s": "1"}, r"every 0\.1, 0\.25, 0\.5 s")],
)
def test_an_option_that_is_none_is_told(options: dict[str, str], why: str) -> None:
    async def run() -> None:
        async with trading(endpoints(9), "usdm", options) as context:
            with pytest.raises(ConfigError, match=why):
                await FuturesStream(context).run(wanted=Wishes(wished("usdm")), sink=Heard())

    asyncio.run(run())
