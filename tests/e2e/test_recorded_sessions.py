"""Real sessions of three markets through the live path, whole and cut: trades, bars and books of the answer keys."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.config import Settings
from btx.defaults import open_venue
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import Bar, BookSnapshot, Quote, Trade
from btx.model.time import NS_PER_MINUTE, NS_PER_S, Interval, to_ms
from btx.model.venue import Channel, Endpoints, Environment, SimClock
from btx.ports import Context
from btx.rules.backoff import Backoff
from btx.runtime.books import BookDesk
from btx.runtime.guard import Guard
from btx.runtime.latest import Latest
from btx.runtime.lines import MarketLines
from btx.runtime.mailbox import FeedEnd, FeedLost, Mailbox
from btx.runtime.prints import Making, TradeChannel, TradeDesk
from btx.runtime.tape import Tape, TapeReader
from btx_binance import plugin
from tests.e2e.recorded_venue import Cut, RecordedVenue

AT_ONCE = Backoff(base_s=0.002, cap_s=0.02)
CUTS = 60
FEWER = 18  # where the wire alone differs: three of each kind
DEADLINE_S = 60.0
QUICK_PINGS = {"ping_interval_s": "0.5", "ping_timeout_s": "1.0"}


@attrs.frozen(kw_only=True)
class Session:
    """A recording, and what was traded in it."""

    file: str
    instrument: Instrument

    @property
    def market(self) -> str:
        return {"spot": "spot", "linear": "usdm", "inverse": "coinm"}[self.instrument.kind.value]

    @property
    def streams(self) -> set[str]:
        symbol = self.instrument.venue_symbol.lower()
        return {f"{symbol}@{kind}" for kind in ("aggTrade", "bookTicker", "depth@100ms")}


def session(file: str, *, symbol: str, venue_symbol: str, kind: InstrumentKind, tick: str, step: str) -> Session:
    base, _, rest = symbol.partition("/")
    quote, _, settle = rest.partition(":")
    instrument = Instrument(
        venue="binance",
        symbol=symbol,
        venue_symbol=venue_symbol,
        kind=kind,
        base=base,
        quote=quote,
        settle=settle or quote,
        tick_size=Decimal(tick),
        step_size=Decimal(step),
        min_quantity=Decimal(step),
    )
    return Session(file=file, instrument=instrument)


SPOT = session(
    "binance_spot_btcusdt_2024-08-08T2354_0809T0005",
    symbol="BTC/USDT",
    venue_symbol="BTCUSDT",
    kind=InstrumentKind.SPOT,
    tick="0.01",
    step="0.00001",
)
USDM = session(
    "binance_usdm_btcusdt_2024-08-08T2354",
    symbol="BTC/USDT:USDT",
    venue_symbol="BTCUSDT",
    kind=InstrumentKind.LINEAR,
    tick="0.1",
    step="0.001",
)
COINM = session(
    "binance_coinm_btcusd_perp_2024-08-08T2354",
    symbol="BTC/USD:BTC",
    venue_symbol="BTCUSD_PERP",
    kind=InstrumentKind.INVERSE,
    tick="0.1",
    step="1",
)


class RecordersClock:
    """The market's time is the recorder's, 1.27 s behind what the venue stamps; waiting is skipped."""

    def __init__(self) -> None:
        self.market = 0
        self.skipped = 0

    def market_ns(self) -> int:
        return self.market

    def wire_ns(self) -> int:
        return time.monotonic_ns() + self.skipped

    def tick(self, recv_ns: int) -> None:
        self.market = recv_ns

    async def sleep(self, wait_s: float) -> None:
        self.skipped += int(wait_s * NS_PER_S)
        await asyncio.sleep(0)


class Ids(TapeReader):
    """Keeps the ids of the trades that are told."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.gaps: list[str] = []

    def on_trade(self, trade: Trade) -> None:
        assert isinstance(trade.trade_id, int)
        self.ids.append(trade.trade_id)

    def on_gap(self, text: str) -> None:
        self.gaps.append(text)


class Client:
    """The live path from the sockets to the desks, and what came out of it."""

    def __init__(self, context: Context, clock: RecordersClock, instrument: Instrument) -> None:
        self.bars: list[Bar] = []
        self.lost = 0
        self.notes: list[str] = []
        self.errors: list[Exception] = []
        self.quote: Latest[Quote] = Latest()
        self.book: Latest[BookSnapshot] = Latest()
        self.reader = Ids()
        feed = plugin.btx_feed(context)
        guard = Guard(
            info=open_venue("binance").info,
            market=context.market,
            now_ns=clock.wire_ns,
            sleep=clock.sleep,
            backoff=AT_ONCE,
        )
        self.lines = MarketLines(
            stream=plugin.btx_websocket(context),
            tell=lambda note: self.notes.append(f"{note.kind} {note.text}"),
            on_fatal=self.errors.append,
            redial=AT_ONCE,
        )
        shared: dict[str, Any] = {"feed": feed, "clock": clock, "guard": guard, "note": self._note}
        self.tape = Tape(
            instrument=instrument,
            start_ns=clock.market,
            dense=True,
            reader=self.reader,
            backoff=AT_ONCE,
            poll_s=0.05,
            **shared,
        )
        self.trades = TradeDesk(
            lines=self.lines,
            dense=True,
            post=self._take,
            progressed=lambda: None,
            on_close=lambda _bar, _instrument: None,
            span_ns=lambda wall_s: int(wall_s * NS_PER_S),
            backoff=AT_ONCE,
            poll_s=0.05,
            **shared,
        )
        self.books = BookDesk(
            lines=self.lines, dense=True, progressed=lambda: None, sleep=clock.sleep, grace_s=0.05, **shared
        )
        self.channel = TradeChannel(
            index=0,
            instrument=instrument,
            interval=Interval.parse("1m"),
            mailbox=Mailbox(lambda: None),
            live=True,
            history=lambda now_ns: now_ns - NS_PER_MINUTE,
            end_ns=None,
            making=Making(),
        )
        self.trades.open(self.channel)
        self.trades.connect()
        self.lines.add(self.tape)
        self.books.open(instrument, Channel.QUOTE, self.quote)
        self.books.open(instrument, Channel.BOOK, self.book, depth=5)
        self.books.connect()

    def _note(self, kind: str, text: str) -> None:
        self.notes.append(f"{kind} {text}")

    def _take(self, _mailbox: Any, item: Any, _order: Any) -> None:
        if isinstance(item, Bar):
            self.bars.append(item)
        elif isinstance(item, FeedLost):
            self.lost += 1
        elif isinstance(item, FeedEnd) and item.error is not None:
            self.errors.append(item.error)

    def is_caught_up(self, last_id: int, update_id: int) -> bool:
        """Whether the desks have everything the venue has."""
        if self.errors:
            raise self.errors[0]
        book = self.book.get()
        return (
            self.tape.next_id == last_id + 1
            and self.tape.is_synced
            and self.trades.has_traded(self.channel.instrument.venue_symbol, last_id)
            and isinstance(book, BookSnapshot)
            and book.sequence == update_id
        )

    async def stop(self) -> None:
        await self.books.stop()
        await self.trades.stop()
        await self.tape.stop()
        await self.lines.stop()


@asynccontextmanager
async def client(address: str, clock: RecordersClock, this: Session) -> AsyncIterator[Client]:
    endpoints = Endpoints(
        rest=f"http://{address}",
        stream=f"ws://{address}",
        trading_stream=f"ws://{address}",
        control="",
        accounts=(),
        clock=SimClock(wire_origin_ns=0, market_origin_ns=0, speed=None),
    )
    async with AsyncExitStack() as resources:
        context = Context(
            settings=Settings(options=QUICK_PINGS),
            environment=Environment.SIM,
            market=this.market,
            endpoints=endpoints,
            clock=clock,
            resources=resources,
        )
        ours = Client(context, clock, this.instrument)
        resources.push_async_callback(ours.stop)
        yield ours


async def until(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    """Wait for what comes over sockets, with a deadline."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise AssertionError(what())
        await asyncio.sleep(0.005)


async def play(path: Path, this: Session, *, cuts: int, seed: int) -> tuple[Client, RecordedVenue]:
    """Play a recording to a client, cut ``cuts`` times at random."""
    dice = random.Random(seed)
    venue, clock = RecordedVenue(path), RecordersClock()
    clock.tick(venue.frames[0].recv_ns)
    begin = next(number for number, frame in enumerate(venue.frames) if not frame.stream)  # its snapshot
    places = sorted(dice.sample(range(begin, len(venue.frames) - 2000), cuts))
    kinds = [list(Cut)[number % len(Cut)] for number in range(cuts)]
    dice.shuffle(kinds)
    async with venue.serving() as address, client(address, clock, this) as ours:
        await venue.listened(this.streams)
        for place, kind in zip(places, kinds, strict=True):
            await venue.play(place - venue.at, clock.tick)
            venue.cut(kind)
            venue.lose(dice.randrange(600), clock.tick)
            async with asyncio.timeout(DEADLINE_S):
                await venue.listened(this.streams)
        await venue.play(len(venue.frames), clock.tick)
        last = venue.last
        symbol = this.instrument.venue_symbol.lower()
        last_id, update_id = last[f"{symbol}@aggTrade"]["a"], last[f"{symbol}@depth@100ms"]["u"]
        await until(
            lambda: ours.is_caught_up(last_id, update_id),
            lambda: f"trades up to {ours.tape.next_id} of {last_id}, book of {update_id}; {ours.notes[-20:]}",
        )
        clock.tick(clock.market + 2 * NS_PER_MINUTE)
        ours.trades.close_due()
    return ours, venue


@pytest.mark.slow
@pytest.mark.parametrize(
    ("this", "cuts"),
    [(SPOT, 0), (SPOT, CUTS), (USDM, 0), (USDM, FEWER), (COINM, 0), (COINM, FEWER)],
    ids=["spot", "spot-cut", "usdm", "usdm-cut", "coinm", "coinm-cut"],
)
def test_a_recorded_session_gives_the_trades_bars_and_book_of_its_answer_key(
    this: Session, cuts: int, btx_data: Path
) -> None:
    expected = json.loads((btx_data / "wire" / f"{this.file}.expected.json").read_text())

    began_s = time.monotonic()
    ours, venue = asyncio.run(play(btx_data / "wire" / f"{this.file}.jsonl.gz", this, cuts=cuts, seed=5))

    asked = {name: venue.requests.count(name) for name in ("depth", "aggTrades")}
    print(f"{len(venue.frames)} frames, {cuts} cuts, {venue.dials} dials, {asked}, {time.monotonic() - began_s:.1f} s")  # noqa: T201
    first, last = expected["first_trade_id"], expected["last_trade_id"]
    assert ours.reader.ids == list(range(first, last + 1))
    assert ours.reader.gaps == []
    assert [
        [to_ms(bar.open_ns), bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades] for bar in ours.bars
    ] == [[row[0], *map(Decimal, row[1:6]), row[6]] for row in expected["bars_1m_from_trades"]]
    book, quote = ours.book.get(), ours.quote.get()
    assert isinstance(book, BookSnapshot)
    assert isinstance(quote, Quote)
    assert book.bids[0] == tuple(map(Decimal, expected["final_best_bid"]))
    assert book.asks[0] == tuple(map(Decimal, expected["final_best_ask"]))
    assert [quote.bid_price, quote.bid_quantity, quote.ask_price, quote.ask_quantity] == [
        Decimal(text) for text in expected["final_bookTicker"]
    ]
    assert ours.lost >= bool(cuts)
