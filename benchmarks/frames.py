"""Frames a second through the whole live path, and what one costs, beside cryptofeed on the same frames.

The frames are the recorded spot session where ``BTX_DATA`` is (74 % best bid and ask, 20 % trades, 6 % changes of the
book), else made up in that mix. Another process sends them over loopback as fast as they are taken.

btx                  socket -> frames -> values -> connections -> desks: each trade in a bar of one minute and in the
                     run of prints, each change in a book whose best 10 levels are published, each quote in its slot
baselines            bare cryptofeed parsers: its own message handler on the texts, its own book, no socket;
                     cryptofeed's own connection: the same behind its socket; bare ``websockets`` and ``json.loads``

CPU is ``time.process_time`` of this process, which on a busy machine is the figure to look at; frames a second is
what came of it, with the sender on another core.

    python benchmarks/frames.py --profile     prints where the time of the live path goes (cProfile slows it)
"""

import argparse
import asyncio
import atexit
import cProfile
import json
import pstats
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import attrs
from rig import bound, facts
from rig.firehose import Session, firehose, session
from websockets.asyncio.client import connect

from btx.config import Settings
from btx.defaults import open_venue
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.time import NS_PER_MINUTE, NS_PER_MS, NS_PER_S, Interval
from btx.model.venue import Channel, Endpoints, Environment, SimClock
from btx.ports import Context
from btx.runtime.books import BookDesk
from btx.runtime.guard import Guard
from btx.runtime.latest import Latest, Prints
from btx.runtime.lines import MarketLines
from btx.runtime.mailbox import Mailbox
from btx.runtime.prints import Making, TradeChannel, TradeDesk

LOOK_S = 0.005
DEPTH = 10
BTC = Instrument(
    venue="binance",
    symbol="BTC/USDT",
    venue_symbol="BTCUSDT",
    kind=InstrumentKind.SPOT,
    base="BTC",
    quote="USDT",
    settle="USDT",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
)


@attrs.frozen(kw_only=True)
class Cost:
    """What one way of reading took for all frames."""

    name: str
    frames: int
    wall_s: float
    cpu_s: float

    @property
    def cpu_us(self) -> float:
        return 1e6 * self.cpu_s / self.frames

    def __str__(self) -> str:
        return f"{self.name:44} {self.frames:8} {self.frames / self.wall_s:10.0f} {self.cpu_us:10.1f}"


async def measured(name: str, played: Session, work: Callable[[], Awaitable[None]]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    cost = Cost(
        name=name,
        frames=len(played.texts),
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
    )
    print(cost, flush=True)
    return cost


# --- cryptofeed ------------------------------------------------------------------------------------------------


def cryptofeed_feed(where: str, seen: dict[str, int]) -> Any:
    """Return cryptofeed's own Binance, which counts what it calls back for."""
    from cryptofeed.connection import AsyncConnection, RestEndpoint, WSAsyncConn
    from cryptofeed.defines import L2_BOOK, TICKER, TRADES
    from cryptofeed.exchanges import Binance
    from cryptofeed.symbols import Symbols

    class PlainConnection(WSAsyncConn):
        """Its connection without its refusal of ws://."""

        def __init__(self, url: Any, conn_id: Any, **options: Any) -> None:
            AsyncConnection.__init__(self, f"{conn_id}.ws")
            atexit.unregister(self.__del__)
            self.address, self.ws_kwargs = url, options

    class Local(Binance):
        id = "BINANCE-LOCAL"
        rest_endpoints = (RestEndpoint(f"http://{where}", routes=Binance.rest_endpoints[0].routes),)
        address = f"ws://{where}"

        def connect(self) -> Any:
            options = {"max_queue": 1024, "close_timeout": 1, "compression": None}
            return [
                (
                    PlainConnection(self._address(), self.id, **options),
                    self.subscribe,
                    self.message_handler,
                    self.authenticate,
                )
            ]

    def counting(channel: str) -> Any:
        async def callback(_value: Any, _receipt_s: float) -> None:
            seen[channel] += 1

        return callback

    Symbols.set(Local.id, {"BTC-USDT": "BTCUSDT"}, {"instrument_type": {"BTC-USDT": "spot"}})
    return Local(
        symbols=["BTC-USDT"],
        channels=[TRADES, TICKER, L2_BOOK],
        callbacks={channel: counting(channel) for channel in (TRADES, TICKER, L2_BOOK)},
        config={"log": {"disabled": True}, "uvloop": False},
    )


async def parsers(address: str, played: Session) -> Cost:
    seen = {"trades": 0, "ticker": 0, "l2_book": 0}
    feed = cryptofeed_feed(address, seen)
    await feed._snapshot("BTCUSDT")
    connection = feed.connect()[0][0]

    async def work() -> None:
        for text in played.texts:
            await feed.message_handler(text, connection, 0.0)

    cost = await measured("bare cryptofeed parsers, no socket", played, work)
    await feed.shutdown()
    return cost


async def whole_cryptofeed(address: str, played: Session) -> Cost:
    seen = {"trades": 0, "ticker": 0, "l2_book": 0}
    feed = cryptofeed_feed(address, seen)

    async def work() -> None:
        feed.start(asyncio.get_running_loop())
        while seen["trades"] < played.counts["trade"] or seen["ticker"] < played.counts["quote"]:
            await asyncio.sleep(LOOK_S)

    cost = await measured("cryptofeed's own connection", played, work)
    feed.stop()
    await feed.shutdown()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return cost


# --- bare, and btx ---------------------------------------------------------------------------------------------


async def bare(address: str, played: Session) -> Cost:
    async def work() -> None:
        left = len(played.texts)
        async with connect(f"ws://{address}/stream", compression=None, max_queue=256) as socket:
            async for frame in socket:
                json.loads(frame)
                left -= 1
                if not left:
                    break

    return await measured("bare websockets + json", played, work)


class Clock:
    """The market's time is where the session begins; what closes bars are its trades."""

    def __init__(self, market_ns: int) -> None:
        self._market_ns = market_ns

    def market_ns(self) -> int:
        return self._market_ns

    def wire_ns(self) -> int:
        return time.time_ns()


async def live_path(address: str, played: Session, *, profile: bool) -> Cost:
    from btx_binance.spot.feed import SpotFeed
    from btx_binance.spot.stream import SpotStream

    clock = Clock(played.start_ms * NS_PER_MS)
    endpoints = Endpoints(
        rest=f"http://{address}",
        stream=f"ws://{address}",
        trading_stream=f"ws://{address}",
        control="",
        accounts=(),
        clock=SimClock(wire_origin_ns=0, market_origin_ns=0, speed=None),
    )
    quote: Latest[Any] = Latest()
    book: Latest[Any] = Latest()
    prints = Prints(bound=1000)
    bars: list[Any] = []
    async with AsyncExitStack() as resources:
        context = Context(
            settings=Settings(),
            environment=Environment.SIM,
            market="spot",
            endpoints=endpoints,
            clock=clock,
            resources=resources,
        )
        lines = MarketLines(stream=SpotStream(context), tell=note, on_fatal=fail)
        shared: dict[str, Any] = {
            "feed": SpotFeed(context),
            "clock": clock,
            "guard": Guard(info=open_venue("binance").info),
            "note": lambda kind, text: print(f"  {kind} {text}"),
            "lines": lines,
            "progressed": lambda: None,
        }
        books = BookDesk(dense=True, **shared)
        trades = TradeDesk(
            dense=True,
            post=lambda _mailbox, item, _order: bars.append(item),
            on_close=lambda _bar, _instrument: None,
            span_ns=lambda wall_s: int(wall_s * NS_PER_S),
            **shared,
        )
        trades.open(minute_bars())
        books.open(BTC, Channel.QUOTE, quote)
        books.open(BTC, Channel.BOOK, book, depth=DEPTH)
        books.open(BTC, Channel.TRADE, prints)

        async def work() -> None:
            trades.connect()
            books.connect()
            while not (trades.has_traded("BTCUSDT", played.last_trade) and sequence(quote) == played.last_quote):
                await asyncio.sleep(LOOK_S)

        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        cost = await measured("btx, socket to desks", played, work)
        profiler.disable()
        await books.stop()
        await trades.stop()
        await lines.stop()
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    return cost


def note(told: Any) -> None:
    if told.kind != "CONNECTED":
        print(f"  {told.kind} {told.text}")


def fail(error: Exception) -> None:
    raise error


def sequence(slot: Latest[Any]) -> int | None:
    value = getattr(slot.get(), "sequence", None)
    return value if isinstance(value, int) else None


def minute_bars() -> TradeChannel:
    return TradeChannel(
        index=0,
        instrument=BTC,
        interval=Interval.parse("1m"),
        mailbox=Mailbox(lambda: None),
        live=True,
        history=lambda now_ns: now_ns - NS_PER_MINUTE,
        end_ns=None,
        making=Making(),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", action="store_true")
    profile = parser.parse_args().profile
    bound(118.0)
    facts("Frames through the live path")
    played = session()
    print(f"{played.source}: {played.counts}")
    print(f"{'':44} {'frames':>8} {'frames/s':>10} {'CPU us':>10}")
    with firehose() as address:
        plain = asyncio.run(bare(address, played))
        parsed = asyncio.run(parsers(address, played))
        whole = asyncio.run(whole_cryptofeed(address, played))
        ours = asyncio.run(live_path(address, played, profile=profile))
    print(
        f"ratio: CPU of a frame, btx to bare cryptofeed parsers {ours.cpu_us / parsed.cpu_us:.2f}x | "
        f"to cryptofeed's own connection {ours.cpu_us / whole.cpu_us:.2f}x | "
        f"to bare websockets + json {ours.cpu_us / plain.cpu_us:.2f}x"
    )


if __name__ == "__main__":
    main()
