"""History into the cache: only what is missing, from the venue's archive or by request, whatever interrupts it."""

import asyncio
import contextlib
import functools
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import attrs

from btx.errors import DataError, RateLimitedError, TransportError
from btx.model.calendar import ALWAYS, Calendar
from btx.model.history import Finding, FindingKind, Policy, Span
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, NS_PER_S, Interval, iso
from btx.ports import BarCache, Clock, Feed
from btx.rules.backoff import Backoff, delay_s
from btx.rules.history import Policies, disagreements, examined, resolved
from btx.rules.spans import clipped, joined, months, without
from btx.runtime.guard import Guard

__all__ = ("Fetched", "HistoryDesk", "Progress")

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Told how much of the wanted time is there now, and how much is wanted; both in nanoseconds."""

_MARGIN_NS = 5 * NS_PER_S
_FRESH_NS = 10 * NS_PER_MINUTE
_PAGES_EACH = 16  # so much is fetched again after a kill; Ctrl-C loses nothing
_AT_ONCE = 4
_TRIES = 10  # some minutes altogether: longer than the guard leaves alone a venue that was not reached
_BACKOFF = Backoff(base_s=5.0, cap_s=60.0)


@attrs.frozen(kw_only=True)
class Fetched:
    """What it took to have a range: nothing at all where all of it was there."""

    requests: int = 0
    bars: int = 0
    findings: tuple[Finding, ...] = ()

    def __add__(self, other: "Fetched") -> "Fetched":
        return Fetched(
            requests=self.requests + other.requests,
            bars=self.bars + other.bars,
            findings=(*self.findings, *other.findings),
        )


class HistoryDesk:
    """Fetches bars of one market into a cache; on the loop of ``feed`` and ``guard``.

    Reads only, so what failed on the way is tried again, patiently; ``note`` is told of it, and of every
    finding.  A bar is taken when its close lies ``margin_ns`` of market time back.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        guard: Guard,
        cache: BarCache,
        clock: Clock,
        archive: bool = False,
        policies: Policies = Policies(),  # noqa: B008 -- frozen
        note: Callable[[str], None] = lambda _text: None,
        margin_ns: int = _MARGIN_NS,
        at_once: int = _AT_ONCE,
        tries: int = _TRIES,
        backoff: Backoff = _BACKOFF,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        calendar: Callable[[Instrument], Calendar] = lambda _instrument: ALWAYS,
    ) -> None:
        self.calendar = calendar
        self.feed = feed
        self._guard = guard
        self.cache = cache
        self._clock = clock
        self.archive = archive
        self.policies = policies
        self.note = note
        self._margin_ns = margin_ns
        self._at_once = asyncio.Semaphore(at_once)
        self._tries = tries
        self._backoff = backoff
        self._sleep = sleep

    async def ensure(
        self,
        instrument: Instrument,
        interval: Interval,
        start_ns: int,
        end_ns: int,
        progress: Progress = lambda _done_ns, _total_ns: None,
    ) -> Fetched:
        """Have every closed bar that opens in ``[start_ns, end_ns)`` in the cache; only what is missing is fetched.

        What was fetched is kept when it is cancelled or fails. Bars that have not closed yet are left for later.

        Raises:
            DataError: a finding whose policy is to raise, or a venue's file that cannot be trusted.
            TransportError: the venue was not reached, several times.
            RateLimitedError: it does not listen, for a long time.
            OSError: the cache cannot be written.
        """
        now_ns = self._clock.market_ns()
        job = _Job(
            desk=self,
            instrument=instrument,
            interval=interval,
            settled_ns=now_ns - self._margin_ns,
            fresh_ns=now_ns - max(_FRESH_NS, 2 * interval.nominal_ns),
        )
        last_ns = min(end_ns, interval.open_of(job.settled_ns))
        if last_ns <= start_ns:
            progress(0, 0)
            return Fetched()
        missing = await asyncio.to_thread(self.cache.missing, instrument.symbol, interval, start_ns, last_ns)
        total_ns, left_ns = last_ns - start_ns, sum(end - start for start, end in missing)
        progress(total_ns - left_ns, total_ns)
        async with self._at_once if missing else contextlib.nullcontext():
            for month in months(*(missing[0][0], missing[-1][1])) if missing else ():
                parts = clipped(missing, *month)
                here_ns = sum(end - start for start, end in parts)
                await job.fetch(month, parts, functools.partial(_tell, progress, total_ns - left_ns, total_ns))
                left_ns -= here_ns
                progress(total_ns - left_ns, total_ns)
        return job.fetched

    async def ensure_all(
        self,
        wanted: Iterable[tuple[Instrument, Interval]],
        start_ns: int,
        end_ns: int,
        progress: Callable[[Instrument, Interval, int, int], None] = lambda *_: None,
    ) -> Fetched:
        """Do :meth:`ensure` for several series, some at once; the venue's limits are kept together.

        Raises: as :meth:`ensure`, after what is under way was kept; the first error of several.
        """
        tasks: list[asyncio.Task[Fetched]] = []
        try:
            async with asyncio.TaskGroup() as group:
                for instrument, interval in wanted:
                    told = functools.partial(progress, instrument, interval)
                    tasks.append(group.create_task(self.ensure(instrument, interval, start_ns, end_ns, told)))
        except* Exception as errors:  # noqa: BLE001 -- it goes on, out of its group
            raise _first(errors) from None
        return sum((task.result() for task in tasks), Fetched())

    async def read(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        """Read through the guard, and again after a while where the venue was not reached or does not listen.

        Raises:
            BtxError: what the last try raised.
        """
        attempt = 0
        while True:
            try:
                return await self._guard.read(operation, request)
            except (TransportError, RateLimitedError) as error:
                attempt += 1
                if attempt >= self._tries:
                    raise
                self.note(f"history must wait: {error}")
                wait_s = delay_s(self._backoff, attempt=attempt, random=random.random())  # noqa: S311 -- jitter
                await self._sleep(max(wait_s, getattr(error, "retry_after_s", 0.0)))


def _tell(progress: Progress, before_ns: int, total_ns: int, more_ns: int) -> None:
    progress(before_ns + more_ns, total_ns)


def _tell_from(progress: Callable[[int], None], offset_ns: int, at_ns: int) -> None:
    progress(offset_ns + at_ns)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


@attrs.define(kw_only=True)
class _Job:
    """One series being fetched."""

    desk: HistoryDesk
    instrument: Instrument
    interval: Interval
    settled_ns: int  # what closes later is not over for certain
    fresh_ns: int  # what the venue does not have from here on it may have in a moment
    fetched: Fetched = attrs.field(factory=Fetched)

    async def fetch(self, month: Span, parts: Sequence[Span], progress: Callable[[int], None]) -> None:
        """Fetch what is missing of a month: from the archive where that is most of it, and the month is over."""
        here_ns = sum(end - start for start, end in parts)
        is_mostly = 2 * here_ns >= month[1] - month[0]
        if self.desk.archive and is_mostly and month[1] <= self.settled_ns and await self._from_archive(month):
            # The archive has holes that the venue itself has not: binance-public-data, issue 304, 2024-01-16.
            wanted = (parts[0][0], parts[-1][1])
            parts = await asyncio.to_thread(self.desk.cache.missing, self.instrument.symbol, self.interval, *wanted)
        done_ns = 0
        for start_ns, end_ns in parts:
            await self._by_request((start_ns, end_ns), functools.partial(_tell_from, progress, done_ns - start_ns))
            done_ns += end_ns - start_ns

    async def _from_archive(self, month: Span) -> bool:
        """Take a whole month; say whether the venue has a file of it."""
        year, number = (int(text) for text in iso(month[0])[:7].split("-"))
        read = functools.partial(
            self.desk.feed.archive, instrument=self.instrument, interval=self.interval, year=year, month=number
        )
        bars = await self.desk.read("archive", self._counted(read))
        if bars is None:
            return False
        # A week or three days that go on in the next month may not have been over when the file was made.
        bars = [bar for bar in bars if bar.close_ns <= month[1]]
        covered = joined((bar.open_ns, bar.close_ns) for bar in bars)
        await asyncio.to_thread(self._keep, bars, month, clipped(covered, *month), source="archive")
        return True

    async def _by_request(self, part: Span, progress: Callable[[int], None]) -> None:
        """Take pages; the bar before the part is asked for again, and must be as it was kept."""
        cache = self.desk.cache
        start_ns, end_ns = part
        before = await asyncio.to_thread(
            cache.bars, self.instrument.symbol, self.interval, self.interval.open_of(start_ns - 1), start_ns
        )
        at_ns = before[-1].open_ns if before else start_ns
        pages: list[Bar] = []
        count, kept_ns = 0, start_ns
        try:
            while at_ns < end_ns:
                read = functools.partial(
                    self.desk.feed.bars,
                    instrument=self.instrument,
                    interval=self.interval,
                    start_ns=at_ns,
                    end_ns=end_ns,
                )
                page = await self.desk.read("bars", self._counted(read))
                if not page:
                    if end_ns > self.fresh_ns:
                        break
                    at_ns = end_ns
                elif page[-1].close_ns <= at_ns:
                    raise DataError(
                        f"{self.instrument.symbol} {self.interval}: bars from {iso(at_ns)} were asked "
                        f"for, and the last that came closes at {iso(page[-1].close_ns)}"
                    )
                else:
                    at_ns = page[-1].close_ns
                pages.extend(page)
                count += 1
                progress(min(at_ns, end_ns))
                if count % _PAGES_EACH == 0:
                    taken, span = pages, (kept_ns, min(at_ns, end_ns))
                    await asyncio.to_thread(self._keep, taken, span, [span], source="rest")
                    pages, kept_ns = [], span[1]
        finally:
            # Also when cancelled: a moment on the loop, and nothing that came is lost.
            span = (kept_ns, min(at_ns, end_ns))
            if span[0] < span[1]:
                self._keep(pages, span, [span], source="rest")

    def _keep(self, bars: Sequence[Bar], span: Span, covered: Sequence[Span], *, source: str) -> None:
        """Examine what came and put it into the cache. Any thread."""
        cache, policies = self.desk.cache, self.desk.policies
        symbol, interval = self.instrument.symbol, self.interval
        first_ns = min(span[0], bars[0].open_ns) if bars else span[0]
        stored = cache.bars(symbol, interval, interval.open_of(first_ns - 1), span[1])
        bars, told = resolved(bars, disagreements(stored, bars, source=source), policies)
        before = next((bar for bar in reversed(stored) if bar.open_ns < span[0]), None)
        earlier = [bar for bar in bars if bar.open_ns < span[0] and bar not in stored]  # as it was not kept: replaced
        looked_at = policies if source == "rest" else attrs.evolve(policies, hole=Policy.KEEP)
        taken, found = examined(
            (bar for bar in bars if bar.open_ns >= span[0]),
            symbol=symbol,
            interval=interval,
            span=span,
            settled_ns=self.settled_ns,
            policies=looked_at,
            before=before,
            calendar=self.desk.calendar(self.instrument),
        )
        told = (*told, *found)
        forming = [(each.start_ns, span[1]) for each in found if each.kind is FindingKind.UNFINISHED]
        written = (Policy.MARK, Policy.FILL)
        cache.put(
            symbol,
            interval,
            [*earlier, *taken],
            covered=without(covered, forming),
            source=source,
            remarks=[str(each) for each in told if policies.of(each.kind) in written],
        )
        for finding in told:
            self.desk.note(str(finding))
        self.fetched += Fetched(bars=len(taken), findings=told)

    def _counted(self, request: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        def counted() -> Awaitable[T]:
            self.fetched += Fetched(requests=1)
            return request()

        return counted
