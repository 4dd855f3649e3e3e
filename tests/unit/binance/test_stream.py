"""The streams against a small server that speaks documented frames."""

import asyncio
import gc
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Collection
from decimal import Decimal
from typing import Any

import attrs
import pytest
from aiohttp import web

from btx.bridges.market import stream_names
from btx.errors import (
    AuthenticationError,
    BtxError,
    ConfigError,
    MissingSecretError,
    NotSupportedError,
    SubscriptionRefusedError,
    TransportError,
)
from btx.model.account import AccountUpdate
from btx.model.frames import Frame, FrameKind
from btx.model.market import Bar, BookDelta, Quote, Trade
from btx.model.order import Fill, OrderReport, Side, Status
from btx.model.time import Interval
from btx.model.venue import Channel, Environment, StreamState, StreamStatus, Subscription
from btx.ports import StreamEvent, Tap
from btx.runtime.wishes import Wishes
from btx_binance.config import book_stream
from btx_binance.market_stream import BinanceDialect
from btx_binance.spot.stream import SpotStream
from tests.unit.binance.loopback import (
    KEY,
    SECRET,
    ManualClock,
    Script,
    acknowledge,
    connected,
    hold,
    instrument,
    others,
    serve,
    socket,
)
from tests.unit.binance.test_codec import _REPORT

_ACCOUNT = (Subscription(channel=Channel.ACCOUNT),)
_MINUTE = Interval.parse("1m")
_MARKET = (
    Subscription(channel=Channel.BAR, instrument=instrument(), interval=_MINUTE),
    Subscription(channel=Channel.TRADE, instrument=instrument()),
    Subscription(channel=Channel.QUOTE, instrument=instrument()),
    Subscription(channel=Channel.BOOK, instrument=instrument()),
)
HELD_UP_S = 8.0  # whoever waits for a good-bye waits ten seconds: the libraries' own time for it
_ROUTES = ("GET /stream", "GET /ws-api/v3")


class Heard:
    """A sink that can be waited on."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self._count = asyncio.Event()

    def __call__(self, event: StreamEvent) -> None:
        self.events.append(event)
        self._count.set()

    async def until(self, count: int) -> None:
        while len(self.events) < count:
            self._count.clear()
            await self._count.wait()

    def states(self) -> list[StreamState]:
        return [event.state for event in self.events if isinstance(event, StreamStatus)]


async def _lost(script: Script, wanted: Wishes, heard: Heard, **kwargs: Any) -> BtxError:
    """Run the stream until it ends by itself, and return its error."""
    routes = dict.fromkeys(_ROUTES, socket(script))
    async with serve(routes) as where, connected(where, **kwargs) as context:
        with pytest.raises(BtxError) as caught:
            await asyncio.wait_for(SpotStream(context).run(wanted=wanted, sink=heard), 60)
    assert not await others()
    return caught.value


def _until_lost(
    script: Script, subscriptions: Any = _ACCOUNT, wanted: Wishes | None = None, **kwargs: Any
) -> tuple[BtxError, Heard]:
    async def run() -> tuple[BtxError, Heard, list[Any]]:
        unseen: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        heard = Heard()
        error = await _lost(script, wanted or Wishes(subscriptions), heard, **kwargs)
        gc.collect()  # an exception nobody looked at is told when its future goes
        await asyncio.sleep(0)
        return error, heard, unseen

    error, heard, unseen = asyncio.run(run())
    assert unseen == []
    return error, heard


async def _cancelled(
    script: Script, subscriptions: Any, ready: Callable[[Heard], Awaitable[None]]
) -> tuple[Heard, float]:
    """Run the stream until ``ready``, cancel it, and say how long that took."""
    heard = Heard()
    loop = asyncio.get_running_loop()
    async with serve(dict.fromkeys(_ROUTES, socket(script))) as where, connected(where) as context:
        task = asyncio.ensure_future(SpotStream(context).run(wanted=Wishes(subscriptions), sink=heard))
        await asyncio.wait_for(ready(heard), 60)
        started = loop.time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        took = loop.time() - started
    assert not await others()
    return heard, took


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {"subscriptionId": 0, "event": event}


def _combined(stream: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"stream": f"btcusdt@{stream}", "data": data}


# --- the account ----------------------------------------------------------------------------------------


def test_the_account_subscribes_with_a_signature_and_the_corrected_time() -> None:
    requests: list[dict[str, Any]] = []

    async def script(connection: web.WebSocketResponse) -> None:
        requests.append(await acknowledge(connection))
        await connection.close()

    error, heard = _until_lost(script, clock=ManualClock(wire=1_723_161_253_937_000_000))

    params = dict(requests[0]["params"])
    signature = params.pop("signature")
    payload = "&".join(f"{key}={params[key]}" for key in sorted(params))
    assert requests[0]["method"] == "userDataStream.subscribe.signature"
    assert params == {"apiKey": KEY, "recvWindow": 5000, "timestamp": 1723161253937}
    assert signature == hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
    assert heard.states() == [StreamState.SUBSCRIBED]
    assert type(error) is TransportError


def test_what_a_socket_says_of_the_limits_is_told() -> None:
    told: list[tuple[str, int]] = []
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 70},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100, "count": 2},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000, "count": 9},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000, "count": 3},
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
    ]

    async def script(connection: web.WebSocketResponse) -> None:
        request = await connection.receive_json()
        result = {"subscriptionId": 0}
        await connection.send_json({"id": request["id"], "status": 200, "result": result, "rateLimits": limits})
        await connection.close()

    async def run() -> None:
        async with serve(dict.fromkeys(_ROUTES, socket(script))) as where, connected(where) as context:
            listening = attrs.evolve(context, observe=lambda limit, units: told.append((limit, units)))
            with pytest.raises(TransportError):
                await SpotStream(listening).run(wanted=Wishes(_ACCOUNT), sink=Heard())

    asyncio.run(run())

    assert told == [("weight", 70), ("orders_10s", 2), ("orders_day", 9)]


def test_every_event_of_a_burst_is_heard_in_order_even_right_behind_the_acknowledgement() -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await acknowledge(connection)
        await connection.send_json(_event(_REPORT))
        for number in range(1, 6):
            filled = {"x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.2", "z": f"0.{2 * number}", "L": "0.1"}
            last = {"X": "FILLED", "z": "1.0"} if number == 5 else {}
            more = {"t": number, "I": 8641984 + number, "n": "0.0002", "N": "ETH"}
            await connection.send_json(_event({**_REPORT, **filled, **last, **more}))
        position = {"e": "outboundAccountPosition", "E": 2, "u": 1, "B": [{"a": "ETH", "f": "1", "l": "0"}]}
        await connection.send_json(_event(position))
        await connection.close()

    _, heard = _until_lost(script)

    fills = [event.fill_id for event in heard.events if isinstance(event, Fill)]
    reports = [event.status for event in heard.events if isinstance(event, OrderReport)]
    assert isinstance(heard.events[0], StreamStatus)
    assert fills == ["1", "2", "3", "4", "5"]
    assert reports == [Status.NEW, *[Status.PARTIALLY_FILLED] * 4, Status.FILLED]
    assert isinstance(heard.events[-1], AccountUpdate)
    assert {event.symbol for event in heard.events if isinstance(event, OrderReport)} == {"ETH/BTC"}


@pytest.mark.parametrize(
    "poison",
    [
        '{"subscriptionId":0,"event":{"e":"executionRep',  # cut in the middle
        '{"subscriptionId":0,"event":{"e":"executionReport","s":"ETHBTC"}}',
        '{"subscriptionId":0,"event":{"e":"executionReport","s":"ETHBTC","c":1,"X":"SOMETHING"}}',
        '{"subscriptionId":0,"event":{"e":"aNewKindOfEvent"}}',
        "[1,2]",
        "plain text",
        b"\xff\xfe",
    ],
)
def test_a_bad_frame_is_a_fault_and_the_account_stream_goes_on(poison: str | bytes) -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await acknowledge(connection)
        await (connection.send_bytes(poison) if isinstance(poison, bytes) else connection.send_str(poison))
        await connection.send_json(_event(_REPORT))
        await connection.close()

    _, heard = _until_lost(script)

    assert heard.states() == [StreamState.SUBSCRIBED, StreamState.FAULT]
    assert isinstance(heard.events[-1], OrderReport)


@pytest.mark.parametrize("kind", ["eventStreamTerminated", "serverShutdown"])
def test_a_stream_the_venue_ends_is_a_transport_error(kind: str) -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await acknowledge(connection)
        await connection.send_json(_event({"e": kind, "E": 1757896885229}))
        await hold(connection)

    error, _ = _until_lost(script)

    assert type(error) is TransportError
    assert kind in str(error)


def test_what_carries_only_a_difference_or_a_list_is_passed_over_and_an_outside_lock_is_told() -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await acknowledge(connection)
        await connection.send_json(_event({"e": "balanceUpdate", "a": "BTC", "d": "1", "T": 1}))
        await connection.send_json(_event({"e": "listStatus", "s": "ETHBTC"}))
        await connection.send_json(_event({"e": "externalLockUpdate", "a": "NEO", "d": "10", "T": 1}))
        await connection.close()

    _, heard = _until_lost(script)

    assert heard.states() == [StreamState.SUBSCRIBED, StreamState.LOST]


@pytest.mark.parametrize("when", ["before the acknowledgement", "after it"])
def test_a_cut_connection_is_a_transport_error(when: str) -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        if when == "after it":
            await acknowledge(connection)
        assert connection._req is not None
        assert connection._req.transport is not None
        connection._req.transport.abort()

    error, heard = _until_lost(script)

    assert type(error) is TransportError
    assert bool(heard.events) == (when == "after it")


def test_a_refused_dial_is_a_transport_error_and_the_next_one_is_not_delayed() -> None:
    async def run() -> float:
        async with serve({}) as where:
            gone = where
        loop = asyncio.get_running_loop()
        async with connected(gone) as context:
            started = loop.time()
            for _ in range(8):  # ccxt's own back-off would be at 25 s by now
                with pytest.raises(TransportError):
                    await SpotStream(context).run(wanted=Wishes(_ACCOUNT), sink=Heard())
            took = loop.time() - started
        assert not await others()
        return took

    assert asyncio.run(run()) < 5


def test_a_refused_key_is_an_authentication_error_without_the_key() -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        request = await connection.receive_json()
        error = {"code": -2015, "msg": f"Invalid API-key, IP, or permissions for action. {KEY}"}
        await connection.send_json({"id": request["id"], "status": 401, "error": error})
        await hold(connection)

    error, heard = _until_lost(script)

    assert type(error) is AuthenticationError
    assert KEY not in str(error)
    assert heard.events == []


def test_a_connection_can_be_made_again_on_the_same_session() -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await acknowledge(connection)
        await connection.send_json(_event(_REPORT))
        await connection.close()

    async def run() -> Heard:
        heard = Heard()
        async with serve(dict.fromkeys(_ROUTES, socket(script))) as where, connected(where) as context:
            stream = SpotStream(context)
            for _ in range(3):
                with pytest.raises(TransportError):
                    await asyncio.wait_for(stream.run(wanted=Wishes(_ACCOUNT), sink=heard), 60)
        return heard

    heard = asyncio.run(run())

    assert heard.states() == [StreamState.SUBSCRIBED] * 3
    assert sum(isinstance(event, OrderReport) for event in heard.events) == 3


async def _deaf(connection: web.WebSocketResponse) -> None:
    """Acknowledge, and then neither read nor answer a close."""
    await acknowledge(connection)
    await asyncio.Event().wait()


@pytest.mark.parametrize("script", [_deaf, hold])
def test_cancelling_the_account_stream_does_not_wait_for_the_venue_s_good_bye(script: Script) -> None:
    async def ready(heard: Heard) -> None:
        if script is _deaf:
            await heard.until(1)
        else:
            await asyncio.sleep(0)  # still waiting for the acknowledgement

    _, took = asyncio.run(_cancelled(script, _ACCOUNT, ready))

    assert took < HELD_UP_S


def test_a_venue_too_busy_to_subscribe_is_dialled_again_later() -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        request = await connection.receive_json()
        error = {"code": -1003, "msg": "Too many requests queued."}
        await connection.send_json({"id": request["id"], "status": 429, "error": error})
        await hold(connection)

    error, _ = _until_lost(script)

    assert type(error) is TransportError
    assert "Too many requests" in str(error)


def test_an_account_has_one_stream() -> None:
    async def run() -> None:
        heard = Heard()

        async def script(connection: web.WebSocketResponse) -> None:
            await acknowledge(connection)
            await hold(connection)

        async with serve(dict.fromkeys(_ROUTES, socket(script))) as where, connected(where) as context:
            stream = SpotStream(context)
            task = asyncio.ensure_future(stream.run(wanted=Wishes(_ACCOUNT), sink=heard))
            await asyncio.wait_for(heard.until(1), 60)
            with pytest.raises(RuntimeError, match="one private connection"):
                await stream.run(wanted=Wishes(_ACCOUNT), sink=heard)
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_an_account_stream_without_a_key_is_one_sentence() -> None:
    error, _ = _until_lost(hold, key="", secret="")

    assert isinstance(error, MissingSecretError)


# --- the market -----------------------------------------------------------------------------------------


def test_each_market_frame_becomes_its_value_with_exact_numbers_and_times() -> None:
    paths: list[str] = []
    kline = {
        "t": 1672515780000, "T": 1672515839999, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 2, "o": "0.0010",
        "c": "0.0020", "h": "0.0025", "l": "0.0015", "v": "1000", "n": 100, "x": False, "q": "1.0", "V": "5",
        "Q": "0.5", "B": "1",
    }  # fmt: skip
    level = [["0.0024", "10"]]
    agg_trade = {"e": "aggTrade", "s": "BTCUSDT", "a": 12, "p": "0.001", "q": "100", "T": 1672515782136, "m": True}
    frames = [
        _combined("kline_1m", {"e": "kline", "E": 1672515782136, "s": "BTCUSDT", "k": kline}),
        _combined("kline_1m", {"e": "kline", "E": 1672515840000, "s": "BTCUSDT", "k": {**kline, "x": True}}),
        _combined("aggTrade", agg_trade),
        _combined("bookTicker", {"u": 4, "s": "BTCUSDT", "b": "25.35", "B": "31.21", "a": "25.36", "A": "40.66"}),
        _combined("depth@100ms", {"e": "depthUpdate", "E": 5, "s": "BTCUSDT", "U": 157, "u": 160, "b": level, "a": []}),
    ]

    async def script(connection: web.WebSocketResponse) -> None:
        assert connection._req is not None
        paths.append(connection._req.path_qs)
        for frame in frames:
            await connection.send_json(frame)
        await connection.close()

    error, heard = _until_lost(script, _MARKET)

    status, forming, closed, trade, quote, delta = heard.events
    streams = "btcusdt@aggTrade/btcusdt@bookTicker/btcusdt@depth@100ms/btcusdt@kline_1m"
    assert paths == [f"/stream?streams={streams}"]
    assert status == StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=frozenset(_MARKET))
    assert isinstance(forming, Bar)
    assert isinstance(closed, Bar)
    assert (forming.is_closed, closed.is_closed) == (False, True)
    assert (closed.open_ns, closed.close_ns) == (1672515780000 * 10**6, 1672515840000 * 10**6)
    assert (closed.high, closed.volume, closed.trades) == (Decimal("0.0025"), Decimal(1000), 100)
    assert trade == Trade(
        symbol="BTC/USDT",
        trade_id=12,
        price=Decimal("0.001"),
        quantity=Decimal(100),
        side=Side.SELL,
        time_ns=1672515782136 * 10**6,
    )
    assert quote == Quote(
        symbol="BTC/USDT",
        bid_price=Decimal("25.35"),
        bid_quantity=Decimal("31.21"),
        ask_price=Decimal("25.36"),
        ask_quantity=Decimal("40.66"),
        sequence=4,
    )
    assert isinstance(delta, BookDelta)
    assert (delta.first_sequence, delta.last_sequence, delta.bids) == (157, 160, ((Decimal("0.0024"), Decimal(10)),))
    assert type(error) is TransportError


def test_a_bad_market_frame_is_a_fault_and_the_stream_goes_on() -> None:
    good = {"u": 4, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}
    bad = [
        "{",
        "[]",
        '{"x":1}',
        json.dumps(_combined("avgPrice", {"e": "avgPrice"})),
        json.dumps(_combined("bookTicker", {**good, "s": "XXXYYY"})),
    ]

    async def script(connection: web.WebSocketResponse) -> None:
        for frame in bad:
            await connection.send_str(frame)
        await connection.send_json(_combined("bookTicker", good))
        await connection.close()

    _, heard = _until_lost(script, _MARKET)

    assert heard.states() == [StreamState.SUBSCRIBED, *[StreamState.FAULT] * len(bad)]
    assert isinstance(heard.events[-1], Quote)


def _trades(count: int) -> list[Subscription]:
    return [Subscription(channel=Channel.TRADE, instrument=instrument(f"C{index:04}")) for index in range(count)]


def test_more_streams_than_fit_into_the_address_are_subscribed_one_batch_after_the_other() -> None:
    requests: list[dict[str, Any]] = []
    states: list[int] = []
    times: list[float] = []
    heard = Heard()
    many = _trades(450)

    async def script(connection: web.WebSocketResponse) -> None:
        for _ in range(2):
            requests.append(await connection.receive_json())
            states.append(len(heard.events))
            await connection.send_json({"result": None, "id": requests[-1]["id"]})
        await hold(connection)

    class Tape:
        """Notes when something was sent: a venue that reads late finds two messages nearer to each other."""

        def number(self) -> int:
            return 1

        def __call__(self, frame: Frame) -> None:
            if frame.kind is FrameKind.SENT:
                times.append(asyncio.get_running_loop().time())

    asyncio.run(_heard(script, Wishes(many), heard, lambda: heard.until(1), tap=Tape()))

    assert [len(request["params"]) for request in requests] == [200, 50]
    assert requests[0]["method"] == "SUBSCRIBE"
    assert requests[1]["params"][-1] == "c0449usdt@aggTrade"
    assert states == [0, 0]
    assert heard.events == [StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=frozenset(many))]
    assert times[1] - times[0] > 0.2  # the venue takes five messages a second


async def _heard(
    script: Script, wishes: Wishes, heard: Heard, act: Callable[[], Awaitable[None]], tap: Tap | None = None
) -> None:
    """Run the market stream until ``act`` is done."""
    async with serve(dict.fromkeys(_ROUTES, socket(script))) as where, connected(where) as context:
        stream = SpotStream(attrs.evolve(context, tap=tap))
        task = asyncio.ensure_future(stream.run(wanted=wishes, sink=heard))
        try:
            async with asyncio.timeout(60):
                await act()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_what_changes_is_asked_for_on_the_standing_connection_and_nothing_else() -> None:
    requests: list[dict[str, Any]] = []
    heard = Heard()
    one, two, three = _trades(3)
    wishes = Wishes([one, two])
    agg_trade = {"e": "aggTrade", "s": "C0002USDT", "a": 12, "p": "0.1", "q": "1", "T": 1672515782136, "m": True}

    async def script(connection: web.WebSocketResponse) -> None:
        for _ in range(2):
            requests.append(await connection.receive_json())
            await connection.send_json({"result": None, "id": requests[-1]["id"]})
        await connection.send_json(_combined("aggTrade", agg_trade))
        await hold(connection)

    async def act() -> None:
        await heard.until(1)
        wishes.set([two, three])
        await heard.until(3)

    asyncio.run(_heard(script, wishes, heard, act))

    assert [(each["method"], each["params"]) for each in requests] == [
        ("UNSUBSCRIBE", ["c0000usdt@aggTrade"]),
        ("SUBSCRIBE", ["c0002usdt@aggTrade"]),
    ]
    assert [each.subscriptions for each in heard.events if isinstance(each, StreamStatus)] == [
        frozenset({one, two}),
        frozenset({two, three}),
    ]
    assert [each.symbol for each in heard.events if isinstance(each, Trade)] == ["C0002/USDT"]


def test_a_change_that_the_venue_refuses_ends_the_connection() -> None:
    one, two = _trades(2)
    wishes = Wishes([one])

    async def script(connection: web.WebSocketResponse) -> None:
        wishes.set([one, two])
        request = await connection.receive_json()
        await connection.send_json({"error": {"code": 2, "msg": "Invalid request"}, "id": request["id"]})
        await hold(connection)

    error, _ = _until_lost(script, wanted=wishes)

    assert type(error) is SubscriptionRefusedError
    assert "Invalid request" in str(error)


def test_a_change_that_the_venue_does_not_answer_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btx.bridges.requests._ANSWER_S", 0.05)
    one, two = _trades(2)
    wishes = Wishes([one])

    async def script(connection: web.WebSocketResponse) -> None:
        wishes.set([one, two])
        await hold(connection)

    error, _ = _until_lost(script, wanted=wishes)

    assert type(error) is TransportError
    assert "did not answer a SUBSCRIBE" in str(error)


def test_changes_beyond_what_a_connection_carries_are_refused() -> None:
    wishes = Wishes(_trades(1))

    async def script(connection: web.WebSocketResponse) -> None:
        wishes.set(_trades(1025))
        await hold(connection)

    error, _ = _until_lost(script, wanted=wishes)

    assert type(error) is NotSupportedError


@pytest.mark.parametrize(
    "answer",
    [{"error": {"code": 2, "msg": "Invalid request"}, "id": 1}, {"code": 2, "msg": "Invalid request", "id": 1}],
)
def test_a_refused_subscription_ends_the_connection(answer: dict[str, Any]) -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await connection.send_json(answer)
        await hold(connection)

    error, _ = _until_lost(script, _MARKET)

    assert "Invalid request" in str(error)


@pytest.mark.parametrize("is_combined", [True, False])
def test_a_venue_that_announces_its_shutdown_is_heard_until_it_goes(is_combined: bool) -> None:
    shutdown = {"e": "serverShutdown", "E": 1}
    quote = {"u": 4, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}

    async def script(connection: web.WebSocketResponse) -> None:
        await connection.send_json(_combined("trade", shutdown) if is_combined else shutdown)
        await connection.send_json(_combined("bookTicker", quote))
        await connection.close()

    _, heard = _until_lost(script, _MARKET)

    assert heard.states() == [StreamState.SUBSCRIBED, StreamState.CLOSING]
    assert isinstance(heard.events[-1], Quote)


def test_cancelling_the_market_stream_does_not_wait_for_the_venue_s_good_bye() -> None:
    async def deaf(connection: web.WebSocketResponse) -> None:
        await asyncio.Event().wait()

    _, took = asyncio.run(_cancelled(deaf, _MARKET, lambda heard: heard.until(1)))

    assert took < HELD_UP_S


def named(subscriptions: Collection[Subscription], book: str = "depth@100ms") -> tuple[str, ...]:
    return stream_names(subscriptions, BinanceDialect(book=book))


def test_what_cannot_be_one_connection_is_refused_before_dialling() -> None:
    mixed, _ = _until_lost(hold, (*_ACCOUNT, *_MARKET))
    nameless, _ = _until_lost(hold, (Subscription(channel=Channel.TRADE),))
    with pytest.raises(NotSupportedError, match="1024"):
        named([Subscription(channel=Channel.TRADE, instrument=instrument(f"C{index}")) for index in range(1025)])

    assert isinstance(mixed, NotSupportedError)
    assert isinstance(nameless, NotSupportedError)


def test_a_stream_asked_for_twice_is_subscribed_once() -> None:
    assert named([*_MARKET, *_MARKET]) == named(_MARKET)


def test_books_come_at_the_speed_that_was_asked_for() -> None:
    async def speed(**chosen: str) -> str:
        async with connected(None, environment=Environment.LIVE) as context:
            settings = attrs.evolve(context.settings, options=chosen)
            return book_stream(attrs.evolve(context, settings=settings))

    book = Subscription(channel=Channel.BOOK, instrument=instrument())

    assert named([book], asyncio.run(speed(book_update_s="1"))) == ("btcusdt@depth",)
    assert asyncio.run(speed()) == "depth@100ms"
    with pytest.raises(ConfigError, match=r"book_update_s=0\.5: Binance updates books of this market every 0\.1, 1 s"):
        asyncio.run(speed(book_update_s="0.5"))
