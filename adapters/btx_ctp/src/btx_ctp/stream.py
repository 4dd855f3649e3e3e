"""Pushes: orders and trades over the trading front, ticks over the one for prices."""

import asyncio
import contextlib
from collections.abc import Collection
from decimal import Decimal
from typing import Any, NoReturn

import attrs

from btx.errors import TransportError
from btx.model.derivatives import MarkPrice
from btx.model.instrument import Instrument
from btx.model.market import Bar, Quote
from btx.model.time import NS_PER_S, iso
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, Wanted
from btx_ctp import codec
from btx_ctp.api import api
from btx_ctp.binding import binding_for
from btx_ctp.front import MarketFront
from btx_ctp.hours import calendar_of
from btx_ctp.moments import bar_open, moment_of
from btx_ctp.spi import Row
from btx_ctp.ticks import Tick, Ticker, close_due, fold, misses

__all__ = ("CtpStream",)

_LATE_NS = 2 * NS_PER_S  # how long after a minute a tick of it may come
_LOOK_S = 0.5


class CtpStream:
    """The connections of one session; what ticks are counted from outlives the one that made bars of them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)
        self._tickers: dict[str, Ticker] = {}

    async def run(self, *, wanted: Wanted, sink: Sink) -> NoReturn:
        """Be one connection: the account's, or one for prices.

        Raises:
            TransportError: it is lost; the runtime dials again.
            SubscriptionRefusedError: so it does, and seeks out what is refused if that goes on.
            RateLimitedError: it waits before that.
            AuthenticationError: dialling again would not help.
        """
        if {each.channel for each in wanted.now} == {Channel.ACCOUNT}:
            await self._run_account(wanted, sink)
        await _Prices(self._context, self._tickers, sink).run(wanted)
        raise TransportError("CTP: the ticks ended")

    async def _run_account(self, wanted: Wanted, sink: Sink) -> NoReturn:
        front = await self._api.front()
        sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=wanted.now))
        self._api.listen(sink)
        try:
            reason = await asyncio.shield(front.lost)
        finally:
            self._api.listen(None)
        raise TransportError(reason)


class _Prices:
    """One connection for prices."""

    def __init__(self, context: Context, tickers: dict[str, Ticker], sink: Sink) -> None:
        self._context = context
        self._before = tickers  # as the last connection that made bars of a contract has left it
        self._tickers: dict[str, Ticker] = {}  # another connection may carry the same contract for something else
        self._sink = sink
        self._api = api(context)
        self._wanted: frozenset[Subscription] = frozenset()
        self._instruments: dict[str, Instrument] = {}

    async def run(self, wanted: Wanted) -> NoReturn:
        """Connect, subscribe, and push until it is lost.

        Raises:
            TransportError: it is lost.
            SubscriptionRefusedError: the front will not push something, or it is not listed.
            RateLimitedError: the front takes no more for now.
        """
        front = MarketFront(binding_for(self._context), self._api.login, hear=self._on_push, on_fault=self._on_fault)
        looking = asyncio.create_task(self._look(), name="btx-ctp-minutes")
        try:
            await front.log_in()
            while True:
                await self._subscribe(front, wanted.now)
                changed = asyncio.create_task(wanted.changed(self._wanted))
                either: set[asyncio.Future[Any]] = {changed, front.lost}
                try:
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                if front.lost.done():
                    raise TransportError(front.lost.result())
        finally:
            self._before.update({name: each for name, each in self._tickers.items() if self._makes_bars(name)})
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await front.close()

    async def _subscribe(self, front: MarketFront, wanted: frozenset[Subscription]) -> None:
        before = set(self._instruments)
        self._wanted = wanted
        self._instruments = {each.instrument.venue_symbol: each.instrument for each in wanted if each.instrument}
        front.unsubscribe(sorted(before - self._instruments.keys()))
        for gone in before - self._instruments.keys():
            self._tickers.pop(gone, None)
        new = self._instruments.keys() - before
        for name in new & self._before.keys():
            if self._makes_bars(name):
                self._tickers[name] = attrs.evolve(self._before.pop(name), is_cut=True)
        await front.subscribe(sorted(new), listed=self._api.instruments)
        self._sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=wanted))

    def _on_fault(self, text: str) -> None:
        self._sink(StreamStatus(state=StreamState.FAULT, detail=text))

    def _on_push(self, name: str, args: tuple[Any, ...]) -> None:
        if name != "OnRtnDepthMarketData":
            return
        try:
            self._take(args[0])
        except Exception as error:  # noqa: BLE001 -- of a tick nobody can read: told, and the next one counts
            self._on_fault(f"{name}: {type(error).__name__}: {error}")

    def _take(self, row: Row) -> None:
        name = row["InstrumentID"]
        instrument, price = self._instruments.get(name), codec.price(row["LastPrice"])
        if instrument is None or price is None:
            return
        self._api.learn_band(row)
        ticker = self._tickers.get(name, Ticker())
        calendar = calendar_of(instrument.base)
        time_ns = moment_of(
            calendar,
            row["TradingDay"],
            row["UpdateTime"],
            millis=int(row["UpdateMillisec"]),
            near_ns=self._context.clock.market_ns(),
            not_before_ns=ticker.last.time_ns if ticker.last is not None else 0,
        )
        if time_ns is None:
            return
        tick = Tick(
            symbol=instrument.symbol,
            price=price,
            volume=Decimal(int(row["Volume"])),
            turnover=codec.price(row["Turnover"]) or Decimal(0),
            time_ns=time_ns,
            minute_ns=bar_open(calendar, time_ns),
        )
        if misses(ticker, tick) and self._makes_bars(name):
            assert ticker.last is not None  # what was missed is counted from it
            span = f"{iso(ticker.last.minute_ns)} to {iso(tick.minute_ns)}"
            self._on_fault(f"{tick.symbol}: traded while the connection was lost: no whole bars from {span}")
        self._tickers[name], closed = fold(ticker, tick)
        self._tell_bars(closed)
        self._tell_prices(instrument, tick, row)

    def _tell_bars(self, bars: Collection[Bar]) -> None:
        for bar in bars:
            if any(each.channel is Channel.BAR and _is_of(each, bar.symbol) for each in self._wanted):
                self._sink(bar)

    def _makes_bars(self, name: str) -> bool:
        """Say whether bars are wanted of a contract, by its exchange's name."""
        return any(
            each.channel is Channel.BAR and each.instrument is not None and each.instrument.venue_symbol == name
            for each in self._wanted
        )

    def _tell_prices(self, instrument: Instrument, tick: Tick, row: Row) -> None:
        channels = {each.channel for each in self._wanted if _is_of(each, instrument.symbol)}
        if Channel.MARK in channels:
            self._sink(MarkPrice(symbol=instrument.symbol, mark_price=tick.price, time_ns=tick.time_ns))
        bid, ask = codec.price(row["BidPrice1"]), codec.price(row["AskPrice1"])
        if Channel.QUOTE in channels and bid is not None and ask is not None:
            self._sink(
                Quote(
                    symbol=instrument.symbol,
                    bid_price=bid,
                    bid_quantity=Decimal(int(row["BidVolume1"])),
                    ask_price=ask,
                    ask_quantity=Decimal(int(row["AskVolume1"])),
                    time_ns=tick.time_ns,
                )
            )

    async def _look(self) -> None:
        """Close the minutes that no tick closes; where the market waits for its clients the next tick always does."""
        endpoints = self._context.endpoints
        speed = endpoints.clock.speed if endpoints is not None else 1.0
        with contextlib.suppress(asyncio.CancelledError):
            while speed is not None:
                await asyncio.sleep(_LOOK_S / max(speed, 1.0))
                now_ns = self._context.clock.market_ns() - int(_LATE_NS * max(speed, 1.0))
                for name, ticker in tuple(self._tickers.items()):
                    self._tickers[name], closed = close_due(ticker, now_ns)
                    self._tell_bars(closed)


def _is_of(subscription: Subscription, symbol: str) -> bool:
    return subscription.instrument is not None and subscription.instrument.symbol == symbol
