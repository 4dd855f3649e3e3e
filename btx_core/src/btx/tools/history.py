"""``btx history``: fetch bars into the cache, look at what is kept, check it, remove it."""

import asyncio
import contextlib
import datetime
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path

import attrs
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from btx import venues
from btx.config import home
from btx.defaults import open_venue
from btx.errors import ConfigError, UnknownSymbolError
from btx.model.history import Finding, Policy, Stock
from btx.model.instrument import Instrument
from btx.model.time import NS_PER_S, Interval, iso
from btx.model.venue import Environment
from btx.plugins import Venue
from btx.ports import Context
from btx.rules.history import Policies, examined
from btx.rules.spans import joined
from btx.runtime.guard import Guard
from btx.runtime.history import Fetched, HistoryDesk
from btx.runtime.public import open_public_side
from btx.storage.bars import BarStore
from btx.storage.places import history_folder
from btx.worlds import attached

__all__ = ("Wanted", "policies_of", "run_download", "run_ls", "run_rm", "run_verify", "time_of")

_KEPT_ALL = Policies(shape=Policy.MARK, not_positive=Policy.MARK)
_FOREVER_NS = 2**62


@attrs.frozen(kw_only=True)
class Wanted:
    """Which bars: of what, of which length, from when to when (None: now)."""

    symbols: Sequence[str]
    intervals: Sequence[str]
    start_ns: int
    end_ns: int | None


def time_of(text: str, option: str) -> int:
    """Return the nanoseconds of ``2025-01-01`` or ``2025-01-01T12:30``, UTC if it names no zone.

    Raises:
        ConfigError: it is none.
    """
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r} is no date: write it like 2025-01-31, or 2025-01-31T12:30") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp()) * NS_PER_S


def policies_of(words: Collection[str]) -> Policies:
    """Return the policies that ``hole=fill``, ``spike=raise``, ... spell, the defaults for the others.

    Raises:
        ConfigError: a word is none of these.
    """
    chosen: dict[str, Policy] = {}
    known = [field.name for field in attrs.fields(Policies)]
    for word in words:
        name, _, text = word.partition("=")
        name = name.strip().replace(" ", "_").replace("-", "_")
        if name not in known or text not in {policy.value for policy in Policy}:
            raise ConfigError(
                f"--on {word!r}: write a finding ({', '.join(known)}), '=', and raise, drop, mark, fill or keep"
            )
        chosen[name] = Policy(text)
    try:
        return Policies(**chosen)
    except ValueError as error:
        raise ConfigError(f"--on: {error}") from None


# --- download -------------------------------------------------------------------------------------------------------


def run_download(
    name: str, wanted: Wanted, *, env: str, market: str | None, attach: str | None, policies: Policies
) -> int:
    """Fetch what is missing, with a progress bar for each series; return the exit code.

    Raises:
        BtxError: what went wrong; what was fetched by then is kept.
    """
    venue, environment = open_venue(name), Environment(env)
    market = _market(venue, environment, market)
    if (attach is None) == (environment is Environment.SIM):
        raise ConfigError(
            "--attach ws://... and --env sim go together: the history of a simulated world is had from the "
            "simulator that plays it, `btx sim VENUE --json` prints its control address"
        )
    intervals = [_interval(venue, market, text) for text in wanted.intervals]
    if wanted.end_ns is not None and wanted.end_ns <= wanted.start_ns:
        raise ConfigError("--to must lie after --from")
    console = Console()
    try:
        asyncio.run(
            _download(
                console,
                venue=venue,
                environment=environment,
                market=market,
                wanted=wanted,
                intervals=intervals,
                attach=attach,
                policies=policies,
            )
        )
    except KeyboardInterrupt:
        console.print("interrupted: what was fetched is kept, the same command goes on from there", highlight=False)
        return 130
    return 0


async def _download(
    console: Console,
    *,
    venue: Venue,
    environment: Environment,
    market: str,
    wanted: Wanted,
    intervals: Sequence[Interval],
    attach: str | None,
    policies: Policies,
) -> None:
    began_s = time.monotonic()
    endpoints = await attached(attach) if attach is not None else None
    folder = history_folder(
        home(),
        venue=venue.info.name,
        environment=environment,
        market=market,
        world=endpoints.extra.get("world") if endpoints is not None else None,
    )
    with _shown(console) as show:
        store = BarStore(folder, note=show.note)
        if wanted.end_ns is not None and _is_there(store, wanted, intervals):
            _tell_result(console, Fetched(), time.monotonic() - began_s, folder)
            return
        async with open_public_side(venue, environment=environment, market=market, endpoints=endpoints) as public:
            context, clock, guard = public.context, public.clock, public.guard
            instruments = await _instruments(venue, context, guard, wanted.symbols)
            desk = HistoryDesk(
                feed=venue.feed(context),
                guard=guard,
                cache=store,
                clock=clock,
                archive=venue.info.capabilities[market].archive,
                policies=policies,
                note=show.note,
                calendar=venue.calendar,
            )
            end_ns = wanted.end_ns if wanted.end_ns is not None else clock.market_ns()
            series = [(instrument, interval) for instrument in instruments for interval in intervals]
            fetched = await desk.ensure_all(series, wanted.start_ns, end_ns, show.progress)
    _tell_result(console, fetched, time.monotonic() - began_s, folder)


def _is_there(store: BarStore, wanted: Wanted, intervals: Sequence[Interval]) -> bool:
    """Say whether nothing need be asked at all, not even what is listed or what time it is."""
    end_ns = wanted.end_ns or 0
    series = ((symbol, interval) for symbol in wanted.symbols for interval in intervals)
    return not any(store.missing(symbol, interval, wanted.start_ns, end_ns) for symbol, interval in series)


async def _instruments(venue: Venue, context: Context, guard: Guard, symbols: Sequence[str]) -> list[Instrument]:
    store = venue.store(context)
    found = await guard.read("instruments", lambda: store.instruments(symbols=symbols))
    if strange := [symbol for symbol in symbols if symbol not in found]:
        raise UnknownSymbolError(f"{venue.info.title} lists no {', '.join(strange)}: write it like BTC/USDT")
    return [found[symbol] for symbol in dict.fromkeys(symbols)]


def _market(venue: Venue, environment: Environment, market: str | None) -> str:
    if environment not in venue.info.environments:
        known = ", ".join(sorted(each.value for each in venue.info.environments))
        raise ConfigError(
            f"the adapter {venue.info.name!r} does not offer --env {environment.value}: choose of {known}"
        )
    if market is not None and market not in venue.info.markets:
        raise ConfigError(
            f"{venue.info.title} has no market {market!r} here: choose one of {', '.join(venue.info.markets)}"
        )
    return market or venue.info.markets[0]


def _interval(venue: Venue, market: str, text: str) -> Interval:
    interval = _parsed(text)
    offered = venue.info.capabilities[market].intervals
    if interval not in offered:
        raise ConfigError(f"{venue.info.title} has no bars of {text}: choose of {' '.join(map(str, offered))}")
    return interval


def _parsed(text: str) -> Interval:
    try:
        return Interval.parse(text)
    except ValueError as error:
        raise ConfigError(f"-i {error}") from None


@attrs.frozen
class _Show:
    """What is seen while it runs: bars on a terminal, lines elsewhere."""

    console: Console
    bars: Progress | None
    tasks: dict[str, TaskID] = attrs.field(factory=dict)
    done: set[str] = attrs.field(factory=set)

    def note(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def progress(self, instrument: Instrument, interval: Interval, done_ns: int, total_ns: int) -> None:
        name = f"{instrument.symbol} {interval}"
        if self.bars is not None:
            if name not in self.tasks:
                self.tasks[name] = self.bars.add_task(name, total=total_ns or 1)
            self.bars.update(self.tasks[name], completed=done_ns if total_ns else 1)
        elif done_ns == total_ns and name not in self.done:
            self.done.add(name)
            self.note(f"{name}: done" if total_ns else f"{name}: nothing has closed yet")


@contextlib.contextmanager
def _shown(console: Console) -> Iterator[_Show]:
    if not console.is_terminal:
        yield _Show(console, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        yield _Show(console, bars)


def _tell_result(console: Console, fetched: Fetched, took_s: float, folder: Path) -> None:
    found = f", {len(fetched.findings)} findings" if fetched.findings else ""
    console.print(
        f"{fetched.bars} bars fetched with {fetched.requests} requests in {took_s:.1f} s{found}; kept in {folder}",
        highlight=False,
        soft_wrap=True,
    )


# --- what is kept ---------------------------------------------------------------------------------------------------


def run_ls(venue: str | None) -> int:
    """Print what is kept, a table for each market; return the exit code."""
    console = Console()
    stores = _stores(venue)
    size, has_any = 0, False
    for name, store in stores.items():
        if not (kept := store.ls()):
            continue
        has_any = True
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for column in ("symbol", "interval", "from", "to", "bars", "holes", "size"):
            number = column in ("bars", "holes", "size")
            table.add_column(column, justify="right" if number else "left", overflow="fold")
        for (symbol, interval), group in groupby(kept, key=lambda stock: (stock.symbol, stock.interval)):
            stocks = list(group)
            size += sum(stock.size_bytes for stock in stocks)
            table.add_row(symbol, str(interval), *_summary(stocks))
        console.print(name, highlight=False, soft_wrap=True)
        console.print(table)
    if not has_any:
        console.print(f"nothing is kept in {home() / 'history'}: btx history download", highlight=False, soft_wrap=True)
        return 0
    console.print(f"{_size(size)} in {home() / 'history'}", highlight=False, soft_wrap=True)
    return 0


def _summary(stocks: Sequence[Stock]) -> tuple[str, ...]:
    covered = joined(span for stock in stocks for span in stock.covered)
    ends = (_minute(covered[0][0]), _minute(covered[-1][1])) if covered else ("", "")
    holes = sum(before[1] < after[0] for before, after in pairwise(covered))
    bars, size = sum(stock.bars for stock in stocks), sum(stock.size_bytes for stock in stocks)
    return (*ends, str(bars), str(holes), _size(size))


def run_verify(venue: str | None) -> int:
    """Read everything that is kept and print what is wrong with it; return 1 when something is damaged."""
    console = Console()
    damaged = 0
    months = 0
    for name, store in _stores(venue).items():
        damages = store.verify()
        for damage in damages:
            _line(console, f"DAMAGED {damage.place}: {damage.reason}; the next download fetches it again")
        damaged += len(damages)
        bad = {damage.place for damage in damages}
        for stock in store.ls():
            if stock.place in bad:
                continue
            months += 1
            told = [*(str(finding) for finding in _findings(store, stock)), *stock.remarks]
            for text in dict.fromkeys(told):
                _line(console, f"{name}: {text}")
    _line(console, f"{months} months are sound, {damaged} are damaged")
    return 1 if damaged else 0


def _findings(store: BarStore, stock: Stock) -> Iterator[Finding]:
    bars = store.bars(stock.symbol, stock.interval, stock.start_ns, stock.end_ns)
    for span in stock.covered:
        _, found = examined(
            (bar for bar in bars if span[0] <= bar.open_ns < span[1]),
            symbol=stock.symbol,
            interval=stock.interval,
            span=span,
            settled_ns=_FOREVER_NS,
            policies=_KEPT_ALL,
            before=next((bar for bar in reversed(bars) if bar.open_ns < span[0]), None),
        )
        yield from found


def run_rm(
    venue: str,
    symbols: Sequence[str],
    intervals: Sequence[str],
    *,
    start_ns: int | None,
    end_ns: int | None,
    market: str | None,
    world: str,
    agreed: Callable[[str], bool],
) -> int:
    """Remove bars, after asking; return the exit code.

    Raises:
        ConfigError: nothing of the kind is kept.
    """
    stores = {
        name: store
        for name, store in _stores(venue).items()
        if name.split("/")[1] == world and market in (None, name.split("/")[2])
    }
    lengths = [_parsed(text) for text in intervals]
    kept = {
        (name, stock.symbol, stock.interval): store
        for name, store in stores.items()
        for stock in store.ls()
        if stock.symbol in symbols and (not lengths or stock.interval in lengths)
    }
    if not kept:
        raise ConfigError(f"nothing of {', '.join(symbols)} is kept of {venue}/{world}: `btx history ls` lists what is")
    what = ", ".join(f"{symbol} {interval} of {name}" for name, symbol, interval in kept)
    start = f" from {iso(start_ns)}" if start_ns is not None else ""
    end = f" to {iso(end_ns)}" if end_ns is not None else ""
    if not agreed(f"Remove {what}{start}{end}?"):
        return 1
    gone = sum(store.rm(symbol, interval, start_ns, end_ns) for (_, symbol, interval), store in kept.items())
    _line(Console(), f"{gone} bars are removed")
    return 0


def _stores(venue: str | None) -> Mapping[str, BarStore]:
    """Return the stores there are: binance/live/spot -> store.

    Raises:
        ConfigError: nothing is kept of ``venue``, and no adapter of that name is installed.
    """
    folders = sorted(path for path in (home() / "history").glob("*/*/*") if path.is_dir())
    stores = {"/".join(path.parts[-3:]): BarStore(path) for path in folders}
    if venue is None:
        return stores
    known = {*venues(), *(path.parts[-3] for path in folders)}
    if venue not in known:
        raise ConfigError(f"the venue {venue!r} is unknown: choose one of {', '.join(sorted(known)) or 'none'}")
    return {name: store for name, store in stores.items() if name.startswith(f"{venue}/")}


def _minute(time_ns: int) -> str:
    return iso(time_ns)[:16].replace("T", " ")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} kB"


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True, markup=False)
