"""Broken in what they tell of the market."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import ClassVar

import attrs

from btx.errors import TransportError, UnknownSymbolError
from btx.model.account import AccountSnapshot
from btx.model.derivatives import FundingRate, LeverageTier, MarkPrice
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookDelta, BookSnapshot, Trade
from btx.model.time import NS_PER_S, Interval
from btx.model.venue import StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, StreamEvent, Wanted
from btx.testing.broken.variant import AlteredStream, Broken, Variant
from btx.testing.toy import plugin as honest
from btx.testing.toy.config import LINEAR
from btx.testing.toy.feed import ToyFeed
from btx.testing.toy.margin import ToyMarginFeed, ToyMarginStore
from btx.testing.toy.store import ToyStore
from btx.testing.toy.stream import ToyStream

__all__ = ("BROKEN",)


# --- history ------------------------------------------------------------------------------------------------


class _NewestFirst(ToyFeed):
    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        page = await super().bars(instrument=instrument, interval=interval, start_ns=start_ns, end_ns=end_ns)
        return page[::-1]


class _OpenBarInHistory(ToyFeed):
    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        page = await super().bars(instrument=instrument, interval=interval, start_ns=start_ns, end_ns=end_ns)
        if not page or page[-1].close_ns >= end_ns:
            return page
        last = page[-1]
        forming = attrs.evolve(last, open_ns=last.close_ns, close_ns=interval.close_of(last.close_ns))
        return (*page, forming)


class _Overlaps(ToyFeed):
    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        start_ns = interval.open_of(start_ns - 1)
        return await super().bars(instrument=instrument, interval=interval, start_ns=start_ns, end_ns=end_ns)


class _LocalTime(ToyFeed):
    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        page = await super().bars(instrument=instrument, interval=interval, start_ns=start_ns, end_ns=end_ns)
        off_ns = time.localtime().tm_gmtoff * NS_PER_S
        return [attrs.evolve(bar, open_ns=bar.open_ns + off_ns, close_ns=bar.close_ns + off_ns) for bar in page]


class _Floats(ToyFeed):
    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        page = await super().bars(instrument=instrument, interval=interval, start_ns=start_ns, end_ns=end_ns)
        return [attrs.evolve(bar, close=Decimal(float(bar.close))) for bar in page]


class _TradeIdsTwice(ToyFeed):
    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        page = await super().trades(instrument=instrument, start_id=start_id, start_ns=start_ns)
        return [attrs.evolve(each, trade_id=int(each.trade_id) // 2) for each in page]


class _BookUpsideDown(ToyFeed):
    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        book = await super().book(instrument=instrument, depth=depth)
        return attrs.evolve(book, bids=book.bids[::-1])


class _FundingBackwards(ToyMarginFeed):
    async def mark_price(self, *, instrument: Instrument) -> MarkPrice:
        mark = await super().mark_price(instrument=instrument)
        return attrs.evolve(mark, funding_rate=-mark.funding_rate if mark.funding_rate is not None else None)

    async def funding_rates(self, *, instrument: Instrument, start_ns: int, end_ns: int) -> Sequence[FundingRate]:
        page = await super().funding_rates(instrument=instrument, start_ns=start_ns, end_ns=end_ns)
        return [attrs.evolve(each, rate=-each.rate) for each in page]


class _AnyPrice(ToyFeed):
    async def last_price(self, *, symbol: str) -> Trade | None:
        try:
            return await super().last_price(symbol=symbol)
        except UnknownSymbolError:
            return None


# --- instruments --------------------------------------------------------------------------------------------


class _WrongStep(ToyStore):
    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        found = await super().instruments(symbols=symbols)
        return {symbol: attrs.evolve(each, step_size=each.step_size / 10) for symbol, each in found.items()}


class _EveryInstrument(ToyStore):
    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:  # noqa: ARG002
        return await super().instruments()


class _TiersApart(ToyMarginStore):
    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, tuple[LeverageTier, ...]]:
        found = await super().leverage_tiers(instruments=instruments)
        return {symbol: tiers[1:] for symbol, tiers in found.items()}


def _percentages(instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
    schedule = honest.btx_commission(instrument, account)
    return attrs.evolve(schedule, maker=schedule.maker * 100, taker=schedule.taker * 100)


# --- streams ------------------------------------------------------------------------------------------------


class _OpenAsClosed(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        return (attrs.evolve(event, is_closed=True),) if isinstance(event, Bar) else (event,)


class _SwapsSymbols(AlteredStream):
    _OTHER: ClassVar = {"BTC/USDT": "ETH/USDT", "ETH/USDT": "BTC/USDT"}

    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        return (attrs.evolve(event, symbol=self._OTHER[event.symbol]),) if isinstance(event, Bar) else (event,)


class _BookWithHoles(AlteredStream):
    _count = 0

    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        if not isinstance(event, BookDelta):
            return (event,)
        self._count += 1
        return () if self._count % 2 else (event,)


class _TradesTwice(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        return (event, event) if isinstance(event, Trade) else (event,)


class _NeverSaysFault(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        return () if isinstance(event, StreamStatus) and event.state is StreamState.FAULT else (event,)


class _NeverSubscribed(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        if isinstance(event, StreamStatus) and event.state is StreamState.SUBSCRIBED:
            return (attrs.evolve(event, subscriptions=frozenset()),)
        return (event,)


class _OnceAndForAll(ToyStream):
    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        await super().run(wanted=_Frozen(wanted.now), sink=sink)


@attrs.frozen
class _Frozen:
    """What was wanted when the connection was opened, for ever."""

    now: frozenset[Subscription]

    async def changed(self, known: frozenset[Subscription]) -> frozenset[Subscription]:
        await asyncio.Event().wait()
        return known


class _DialsAgain(ToyStream):
    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        while True:
            try:
                await super().run(wanted=wanted, sink=sink)
            except TransportError:
                continue


class _NeverSubscribesAgain(ToyStream):
    """Opens a connection again after a cut, and leaves it at that."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._known: set[frozenset[Subscription]] = set()

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        if wanted.now in self._known:
            sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=wanted.now))
            await _Frozen(wanted.now).changed(wanted.now)
        self._known.add(wanted.now)
        await super().run(wanted=wanted, sink=sink)


BROKEN = (
    Broken("newest-first", "returns history newest first", Variant(feed=_NewestFirst), "HIS-01 HIS-02 HIS-03 HIS-08"),
    Broken(
        "open-bar-in-history",
        "returns the bar that still forms with history",
        Variant(feed=_OpenBarInHistory),
        "HIS-04",
    ),
    Broken("pages-overlap", "begins each page with the bar before", Variant(feed=_Overlaps), "HIS-02 HIS-03"),
    Broken("local-time", "stamps history with the local time of its machine", Variant(feed=_LocalTime), "HIS-12"),
    Broken("floats", "reads prices by way of floats", Variant(feed=_Floats), "HIS-03 HIS-07"),
    Broken("trade-ids", "gives two public trades one id", Variant(feed=_TradeIdsTwice), "HIS-09 STR-05"),
    Broken("book-upside-down", "returns the bids of a book worst first", Variant(feed=_BookUpsideDown), "HIS-11"),
    Broken(
        "funding-sign",
        "tells funding with the wrong sign",
        Variant(feed=_FundingBackwards),
        "FUT-11 FUT-12",
        market=LINEAR,
    ),
    Broken("none-for-unknown", "answers None for the price of what is not listed", Variant(feed=_AnyPrice), "INS-04"),
    Broken(
        "step-size",
        "reads a step size that is too small",
        Variant(store=_WrongStep),
        "INS-11 ORD-13 CPX-06 CPX-08 ACC-02",
    ),
    Broken(
        "every-instrument", "returns all instruments to who asks for some", Variant(store=_EveryInstrument), "INS-04"
    ),
    Broken("tiers-apart", "leaves the first leverage tier out", Variant(store=_TiersApart), "INS-12", market=LINEAR),
    Broken("fees-in-percent", "tells fees in per cent", Variant(fees=_percentages), "INS-09"),
    Broken("open-as-closed", "pushes bars that still form as closed", Variant(stream=_OpenAsClosed), "STR-17"),
    Broken(
        "symbols-swapped",
        "pushes bars under the other instrument's name",
        Variant(stream=_SwapsSymbols),
        "STR-10 STR-16",
    ),
    Broken("book-with-holes", "pushes every other change of a book", Variant(stream=_BookWithHoles), "STR-07"),
    Broken("trades-twice", "pushes every public trade twice", Variant(stream=_TradesTwice), "STR-04"),
    Broken("no-fault", "hides that a frame could not be read", Variant(stream=_NeverSaysFault), "STR-13"),
    Broken(
        "subscribed-to-nothing",
        "does not say what is subscribed",
        Variant(stream=_NeverSubscribed),
        "STR-01 STR-08 STR-09",
    ),
    Broken(
        "once-and-for-all",
        "takes no notice when other streams are wanted",
        Variant(stream=_OnceAndForAll),
        "STR-08 STR-09",
    ),
    Broken(
        "dials-again",
        "dials again by itself after a cut",
        Variant(stream=_DialsAgain),
        "STR-11 FLT-17",
    ),
    Broken(
        "no-resubscription",
        "subscribes nothing after a cut",
        Variant(stream=_NeverSubscribesAgain),
        "FLT-19",
    ),
)
