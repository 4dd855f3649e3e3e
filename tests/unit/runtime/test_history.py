"""The history desk: only what is missing is fetched, and whatever happens, what came is kept."""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.errors import DataError, GapError, RateLimitedError, TransportError
from btx.model.history import FindingKind, Policy
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, NS_PER_S, Interval, iso
from btx.rules.history import Policies
from btx.runtime.guard import Guard
from btx.runtime.history import Fetched, HistoryDesk
from btx.storage.bars import BarStore
from tests.toy_venue import INFO
from tests.values import BTC, MINUTE, bar

DAY = 24 * 60
JAN = 20_089 * DAY  # 2025-01-01
FEB, MAR, JUL = JAN + 31 * DAY, JAN + 59 * DAY, JAN + 181 * DAY
ETH = attrs.evolve(BTC, symbol="ETH/USDT", venue_symbol="ETHUSDT", base="ETH")
PAGE = 1000
DEFAULT = Policies()


def ns(minute: int) -> int:
    return minute * NS_PER_MINUTE


def minute_bar(minute: int, symbol: str = BTC.symbol) -> Bar:
    price = Decimal(10_000 + minute * 7 % 97)
    return bar(minute, symbol=symbol, open=price, high=price + 9, low=price - 9, close=price + 1)


@attrs.define
class ManualClock:
    now_ns: int

    def wire_ns(self) -> int:
        return self.now_ns

    def market_ns(self) -> int:
        return self.now_ns


@attrs.define(kw_only=True)
class Shelf:
    """A venue's history: minutes from ``first`` on, but for those it never had; and what was asked of it."""

    clock: ManualClock
    first: int = JAN
    lacks: set[int] = attrs.field(factory=set)
    archive_lacks: set[int] = attrs.field(factory=set)
    archived: bool = False
    changes: dict[int, dict[str, Any]] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    before: Callable[[], None] = lambda: None

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        self.asked.append(f"{instrument.base} {iso(start_ns)[:16]} {iso(end_ns)[:16]}")
        self.before()
        await asyncio.sleep(0)
        start, end = max(-(-start_ns // NS_PER_MINUTE), self.first), -(-end_ns // NS_PER_MINUTE)
        end = min(end, self.clock.now_ns // NS_PER_MINUTE)
        found = []
        while start < end and len(found) < PAGE:
            if start not in self.lacks:
                found.append(attrs.evolve(minute_bar(start, instrument.symbol), **self.changes.get(start, {})))
            start += 1
        return found

    async def archive(self, *, instrument: Instrument, interval: Interval, year: int, month: int) -> list[Bar] | None:
        self.asked.append(f"{instrument.base} archive {year}-{month:02d}")
        self.before()
        await asyncio.sleep(0)
        if not self.archived:
            return None
        start_ns = next(
            ns(JAN + day * DAY) for day in range(400) if iso(ns(JAN + day * DAY))[:7] == f"{year}-{month:02d}"
        )
        end_ns = Interval.parse("1M").close_of(start_ns)
        minutes = range(max(start_ns // NS_PER_MINUTE, self.first), end_ns // NS_PER_MINUTE)
        return [minute_bar(each, instrument.symbol) for each in minutes if each not in self.lacks | self.archive_lacks]


@attrs.define(kw_only=True)
class Rig:
    shelf: Shelf
    store: BarStore
    desk: HistoryDesk
    told: list[str]
    slept: list[float]

    def ensure(self, first: int, last: int, **more: Any) -> Fetched:
        return asyncio.run(self.desk.ensure(BTC, MINUTE, ns(first), ns(last), **more))

    def asked(self) -> list[str]:
        asked = [*self.shelf.asked]
        self.shelf.asked.clear()
        return asked

    def kept(self) -> list[Bar]:
        return self.store.bars(BTC.symbol, MINUTE, 0, 2**62)


@pytest.fixture
def rigged(tmp_path: Path) -> Callable[..., Rig]:
    def build(*, archive: bool = False, policies: Policies = DEFAULT, now: int = JUL + 60, **shelf: Any) -> Rig:
        told: list[str] = []
        slept: list[float] = []

        async def sleep(wait_s: float) -> None:
            slept.append(wait_s)
            await asyncio.sleep(0)

        def monotonic_ns() -> int:
            return int(sum(slept) * NS_PER_S)

        clock = ManualClock(ns(now) + 20 * NS_PER_S)
        venue = Shelf(clock=clock, archived=archive, **shelf)
        store = BarStore(tmp_path, note=told.append)
        desk = HistoryDesk(
            feed=venue,  # type: ignore[arg-type]
            guard=Guard(info=attrs.evolve(INFO, limits={}, costs={}), sleep=sleep, now_ns=monotonic_ns),
            cache=store,
            clock=clock,
            archive=archive,
            policies=policies,
            note=told.append,
            sleep=sleep,
        )
        return Rig(shelf=venue, store=store, desk=desk, told=told, slept=slept)

    return build


def test_six_months_of_minutes_are_complete_across_all_page_edges_and_the_second_run_asks_nothing(
    rigged: Callable[..., Rig],
) -> None:
    rig = rigged()

    fetched = rig.ensure(JAN, JUL)

    days = (31, 28, 31, 30, 31, 30)
    pages = sum(-(-(each * DAY + 1) // PAGE) for each in days)  # each month from the bar before it on
    assert fetched == Fetched(requests=pages, bars=JUL - JAN)
    columns = rig.store.columns(BTC.symbol, MINUTE, 0, 2**62)
    assert [*columns.open_ns] == [ns(minute) for minute in range(JAN, JUL)]
    assert [*columns.close] == [float(minute_bar(minute).close) for minute in range(JAN, JUL)]
    assert rig.ensure(JAN, JUL) == Fetched()
    assert rig.told == []


def test_a_day_removed_from_mid_month_is_all_that_is_fetched(rigged: Callable[..., Rig]) -> None:
    rig = rigged()
    rig.ensure(JAN, FEB)
    rig.asked()
    rig.store.rm(BTC.symbol, MINUTE, ns(JAN + 14 * DAY), ns(JAN + 15 * DAY))

    fetched = rig.ensure(JAN, FEB)

    assert rig.asked() == [  # from the bar before it, which must be as it was
        "BTC 2025-01-14T23:59 2025-01-16T00:00",
        "BTC 2025-01-15T16:39 2025-01-16T00:00",
    ]
    assert fetched == Fetched(requests=2, bars=DAY)
    assert rig.kept() == [minute_bar(minute) for minute in range(JAN, FEB)]


def test_whole_months_that_are_over_come_from_the_archive_and_the_rest_by_request(rigged: Callable[..., Rig]) -> None:
    rig = rigged(archive=True, now=MAR + 30)

    rig.ensure(JAN + 3 * DAY, MAR + 60)

    assert rig.asked() == [
        "BTC archive 2025-01",  # most of it is missing
        "BTC archive 2025-02",
        "BTC 2025-02-28T23:59 2025-03-01T00:30",
    ]
    assert rig.kept() == [minute_bar(minute) for minute in range(JAN, MAR + 30)]
    assert [stock.sources for stock in rig.store.ls()] == [("archive",), ("archive",), ("rest",)]


def test_a_month_the_archive_does_not_have_yet_comes_by_request(rigged: Callable[..., Rig]) -> None:
    rig = rigged(archive=True)
    rig.shelf.archived = False

    rig.ensure(JAN, JAN + 20 * DAY)

    assert rig.asked()[:2] == ["BTC archive 2025-01", "BTC 2025-01-01T00:00 2025-01-21T00:00"]
    assert len(rig.kept()) == 20 * DAY


def test_what_the_archive_lacks_is_asked_for_and_what_nobody_has_is_told_once(rigged: Callable[..., Rig]) -> None:
    nowhere, elsewhere = set(range(JAN + 100, JAN + 103)), set(range(JAN + 500, JAN + 510))
    rig = rigged(archive=True, lacks=nowhere, archive_lacks=elsewhere)

    fetched = rig.ensure(JAN, FEB)

    assert rig.asked() == [
        "BTC archive 2025-01",
        "BTC 2025-01-01T01:39 2025-01-01T01:43",
        "BTC 2025-01-01T01:40 2025-01-01T01:43",
        "BTC 2025-01-01T08:19 2025-01-01T08:30",
    ]
    assert [one.open_ns for one in rig.kept()] == [ns(each) for each in range(JAN, FEB) if each not in nowhere]
    (hole,) = fetched.findings
    assert str(hole) == (
        "BTC/USDT 1m hole: 3 bars from 2025-01-01T01:40:00.000Z to 2025-01-01T01:43:00.000Z are missing"
    )
    assert rig.told == [str(hole)]
    (stock,) = rig.store.ls()
    assert (stock.sources, stock.remarks) == (("archive", "rest"), (str(hole),))
    assert rig.ensure(JAN, FEB) == Fetched()


def test_a_week_that_goes_on_in_the_next_month_is_not_believed_of_a_file_made_at_its_end(
    rigged: Callable[..., Rig],
) -> None:
    rig, week = rigged(archive=True), Interval.parse("1w")
    mondays = [JAN + day * DAY for day in (5, 12, 19, 26)]
    whole = [bar(minute, interval=week) for minute in mondays]

    class Weeks(Shelf):
        async def archive(self, **_: Any) -> list[Bar]:
            return [*whole[:3], attrs.evolve(whole[3], volume=Decimal(5))]

        async def bars(self, *, start_ns: int, end_ns: int, **_: Any) -> list[Bar]:
            return [each for each in whole if start_ns <= each.open_ns < end_ns]

    rig.desk.feed = Weeks(clock=rig.shelf.clock)  # type: ignore[assignment]

    asyncio.run(rig.desk.ensure(BTC, week, ns(JAN), ns(FEB)))

    assert rig.store.bars(BTC.symbol, week, 0, 2**62) == whole
    assert rig.told == []


def test_the_bar_that_forms_is_left_for_later(rigged: Callable[..., Rig]) -> None:
    rig = rigged(now=JAN + 10)

    rig.ensure(JAN, JUL)
    assert [one.open_ns for one in rig.kept()] == [ns(minute) for minute in range(JAN, JAN + 10)]
    rig.shelf.clock.now_ns = ns(JAN + 11) + 2 * NS_PER_S  # within the margin: not certainly over
    rig.ensure(JAN, JUL)
    assert len(rig.kept()) == 10
    rig.shelf.clock.now_ns = ns(JAN + 11) + 6 * NS_PER_S
    rig.ensure(JAN, JUL)
    assert len(rig.kept()) == 11
    assert rig.ensure(JUL, JUL + 5) == Fetched()


def test_the_newest_bars_that_a_venue_does_not_have_yet_are_asked_for_again(rigged: Callable[..., Rig]) -> None:
    rig = rigged(now=JAN + 10, lacks={JAN + 8, JAN + 9})

    rig.ensure(JAN, JAN + 10)
    rig.shelf.lacks.clear()
    rig.ensure(JAN, JAN + 10)

    assert rig.kept() == [minute_bar(minute) for minute in range(JAN, JAN + 10)]
    assert rig.told == []


def test_an_unfinished_last_bar_of_an_earlier_download_is_found_and_replaced(rigged: Callable[..., Rig]) -> None:
    rig = rigged(now=JAN + 50)
    small = attrs.evolve(minute_bar(JAN + 9), volume=Decimal(2))
    rig.store.put(
        BTC.symbol,
        MINUTE,
        [*(minute_bar(minute) for minute in range(JAN, JAN + 9)), small],
        covered=[(ns(JAN), ns(JAN + 10))],
        source="another program",
    )

    fetched = rig.ensure(JAN, JAN + 20)

    assert rig.kept() == [minute_bar(minute) for minute in range(JAN, JAN + 20)]
    (finding,) = fetched.findings
    assert finding.kind is FindingKind.DISAGREEMENT
    assert finding.detail == "the bar of 2025-01-01T00:09:00.000Z was kept with volume 2, rest has volume 7"


def test_two_sources_that_disagree_are_told_of_or_refused(rigged: Callable[..., Rig]) -> None:
    rig = rigged(archive=True, policies=Policies(disagreement=Policy.RAISE))
    wrong = attrs.evolve(minute_bar(JAN + 5), high=Decimal(99_999))
    rig.store.put(BTC.symbol, MINUTE, [wrong], covered=[(ns(JAN + 5), ns(JAN + 6))], source="rest")

    with pytest.raises(DataError, match=r"was kept with high 99999, archive has high \d+\. Nothing is taken"):
        rig.ensure(JAN, FEB)

    assert rig.kept() == [wrong]
    assert rig.asked() == ["BTC archive 2025-01"]


@pytest.mark.parametrize("error", [TransportError("cut"), RateLimitedError("slow down", retry_after_s=300)])
def test_a_venue_that_is_not_reached_is_asked_again_after_a_while(rigged: Callable[..., Rig], error: Exception) -> None:
    rig = rigged()
    failures = iter([error] * 4)

    def fail() -> None:
        if (failure := next(failures, None)) is not None:
            raise failure

    rig.shelf.before = fail

    fetched = rig.ensure(JAN, JAN + 100)

    assert len(rig.kept()) == 100
    assert fetched.requests == 5
    assert rig.slept
    if isinstance(error, RateLimitedError):
        assert max(rig.slept) >= 300


def test_a_venue_that_stays_away_is_told_and_what_came_is_kept(rigged: Callable[..., Rig]) -> None:
    rig = rigged()

    def fail() -> None:
        if len(rig.shelf.asked) > 3:
            raise TransportError("cut")

    rig.shelf.before = fail
    with pytest.raises(TransportError, match=r"cut|not reached"):
        rig.ensure(JAN, JAN + 9999)
    rig.shelf.before = lambda: None
    rig.asked()

    assert len(rig.kept()) == 3 * PAGE
    assert rig.ensure(JAN, JAN + 9999).bars == 9999 - 3 * PAGE


def test_a_download_that_is_interrupted_goes_on_where_it_was(rigged: Callable[..., Rig]) -> None:
    rig = rigged()

    async def interrupted() -> None:
        task = asyncio.create_task(rig.desk.ensure(BTC, MINUTE, ns(JAN), ns(FEB)))
        rig.shelf.before = lambda: task.cancel() if len(rig.shelf.asked) == 21 else None
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    kept = len(rig.kept())
    assert kept == 20 * PAGE
    rig.asked()

    fetched = rig.ensure(JAN, FEB)

    assert fetched.bars == FEB - JAN - kept
    assert rig.kept() == [minute_bar(minute) for minute in range(JAN, FEB)]


def test_a_damaged_month_is_named_and_fetched_again(rigged: Callable[..., Rig]) -> None:
    rig = rigged()
    rig.ensure(JAN, MAR)
    path = Path(rig.store.ls()[0].place)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(bytes(data))

    fetched = rig.ensure(JAN, MAR)

    assert fetched.bars == FEB - JAN
    assert rig.told == [f"{path} is damaged: its bytes are not those that were written; it is fetched again"]
    assert rig.kept() == [minute_bar(minute) for minute in range(JAN, MAR)]


def test_several_series_are_fetched_side_by_side_with_progress(rigged: Callable[..., Rig]) -> None:
    rig = rigged()
    told: dict[str, list[float]] = {}

    def progress(instrument: Instrument, interval: Interval, done_ns: int, total_ns: int) -> None:
        told.setdefault(f"{instrument.symbol} {interval}", []).append(done_ns / total_ns)

    fetched = asyncio.run(
        rig.desk.ensure_all([(BTC, MINUTE), (ETH, MINUTE)], ns(JAN), ns(JAN + 2500), progress=progress)
    )

    assert fetched == Fetched(requests=6, bars=5000)
    assert told == {symbol: [0, 0.4, 0.8, 1, 1] for symbol in ("BTC/USDT 1m", "ETH/USDT 1m")}
    assert {entry.split()[0] for entry in rig.asked()[:4]} == {"BTC", "ETH"}


def test_the_first_error_of_several_series_is_raised_as_itself(rigged: Callable[..., Rig]) -> None:
    rig = rigged(lacks={JAN + 5}, policies=Policies(hole=Policy.RAISE))

    with pytest.raises(GapError, match="1 bars from 2025-01-01T00:05"):
        asyncio.run(rig.desk.ensure_all([(BTC, MINUTE), (ETH, MINUTE)], ns(JAN), ns(JAN + 60)))

    assert rig.kept() == []


def test_holes_are_filled_where_that_is_asked_for_and_it_is_written_down(rigged: Callable[..., Rig]) -> None:
    rig = rigged(lacks={JAN + 5, JAN + 6}, policies=Policies(hole=Policy.FILL))

    rig.ensure(JAN, JAN + 60)

    kept = rig.kept()
    assert len(kept) == 60
    assert [(one.close, one.volume) for one in kept[4:7]] == [
        (kept[4].close, 7),
        (kept[4].close, 0),
        (kept[4].close, 0),
    ]
    assert "2 bars from" in rig.store.ls()[0].remarks[0]


def test_a_bar_that_still_forms_is_not_taken_whatever_the_venue_thinks(rigged: Callable[..., Rig]) -> None:
    rig = rigged(changes={JAN + 59: {"is_closed": False}})

    rig.ensure(JAN, JAN + 60)

    assert rig.store.missing(BTC.symbol, MINUTE, ns(JAN), ns(JAN + 60)) == ((ns(JAN + 59), ns(JAN + 60)),)


def test_a_venue_that_answers_something_else_is_no_endless_loop(rigged: Callable[..., Rig]) -> None:
    rig = rigged()

    class Old(Shelf):
        async def bars(self, **_: Any) -> list[Bar]:
            return [minute_bar(JAN)]

    rig.desk.feed = Old(clock=rig.shelf.clock)  # type: ignore[assignment]

    with pytest.raises(DataError, match="were asked for, and the last that came closes at 2025-01-01T00:01"):
        rig.ensure(FEB, MAR)


def test_nothing_is_asked_of_a_future_that_is_days_away(rigged: Callable[..., Rig]) -> None:
    rig = rigged(now=JAN)
    told: list[tuple[int, int]] = []

    assert rig.ensure(FEB, MAR, progress=lambda *each: told.append(each)) == Fetched()

    assert told == [(0, 0)]
    assert rig.asked() == []
