"""``btx parity``: one strategy in a backtest and on the simulator, compared step by step."""

import csv
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
from rich import box
from rich.console import Console
from rich.table import Table

import btx
from btx.bt.trace import trace_run
from btx.bt.witness import load_strategy
from btx.defaults import open_venue
from btx.errors import BtxError, ConfigError
from btx.model.time import NS_PER_MS, iso
from btx.model.trace import Trace
from btx.model.venue import Scenario
from btx.rules.parity import Difference, Parity, compare
from btx.rules.symbols import perpetual_of
from btx.sim.synthetic import SYNTHETIC_ORIGIN_NS, synthetic_tape
from btx.tools.files import check_writable, files_by_symbol, kline_files
from btx.tools.interrupts import interrupting_at_once
from btx.tools.page import page
from btx.tools.words import usual_symbol

__all__ = ("Job", "explain", "golden", "play", "run_parity", "write_synthetic")

_CANNOT = 2
_SPAN_NS = 86_400 * 10**9  # of a synthetic market, when not said


@attrs.frozen(kw_only=True)
class Job:
    """What is compared: a strategy (``FILE.py:CLASS``) on files of 1m klines by symbol."""

    strategy: str
    venue: str
    market: str
    data: Mapping[str, Path]
    seed: int = 1
    span_ns: int | None = None  # market time from the files' beginning; None: all
    percents: float = 10.0  # of the cash, for an order that says no size
    funding: Mapping[str, Path] = attrs.field(factory=dict)  # files of rates by symbol; else made up
    leverage: int | None = None  # of a market on margin; None: a new account's
    margin_mode: str | None = None  # likewise

    @property
    def scenario(self) -> Scenario:
        """The world that both sides play: the same bars, and the same prints inside them."""
        return Scenario(
            seed=self.seed, market=self.market, data=dict(self.data), funding=dict(self.funding), until_ns=self.span_ns
        )


def play(job: Job, env: str) -> Trace:
    """Run one side, ``backtest`` or ``sim``, and return what it did.

    Raises:
        BtxError: it could not be run.
    """
    words: dict[str, Any] = {"env": "backtest", "fills": "venue"} if env == "backtest" else {"env": env, "limits": None}
    words |= {"leverage": job.leverage, "margin_mode": job.margin_mode}
    store = btx.load(job.venue, market=job.market, scenario=job.scenario, **words)
    feeds = [{"dataname": symbol} for symbol in job.data]
    with interrupting_at_once():
        return trace_run(store, load_strategy(job.strategy), feeds, name=env, percents=job.percents)


def explain(job: Job, left: Trace, right: Trace) -> Parity:
    """Compare two runs; where they decide otherwise, ask whether the backtest would without the bars that follow.

    Raises:
        BtxError: it could not be run once more.
    """
    found = compare(left, right)
    if found.first is None or found.first.kind != "signal":
        return found
    begin_ns = min(bar.open_ns for bar in left.bars)
    cut = play(attrs.evolve(job, span_ns=found.first.time_ns - begin_ns), "backtest")
    named = compare(left, right, cut=cut)
    if named.first != found.first and play(job, "backtest").signals != left.signals:
        return found  # it does not do the same twice: what it does without the bars that follow says nothing
    return named


def run_parity(
    strategy: str,
    *,
    venue: str,
    market: str | None,
    files: Iterable[str],
    symbols: Sequence[str],
    seed: int,
    span_ns: int | None,
    percents: float,
    funding: Iterable[str],
    leverage: int | None,
    margin_mode: str | None,
    html: Path | None,
    as_json: bool,
) -> int:
    """Run both sides, show what differs first and why, and return the exit code: 0 equal, 1 not, 2 cannot run."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="btx-parity-") as folder:
        try:
            if html is not None:
                check_writable(html)
            job = _job(
                Path(folder),
                strategy,
                venue=venue,
                market=market,
                files=files,
                symbols=symbols,
                seed=seed,
                span_ns=span_ns,
                percents=percents,
                funding=funding,
            )
            job = attrs.evolve(job, leverage=leverage, margin_mode=margin_mode)
            left, right = play(job, "backtest"), play(job, "sim")
            if left.error and left.error == right.error and not left.read_ahead:
                raise ConfigError(f"the strategy raises in both runs, after {len(left.bars)} bars: {left.error}")
            found = explain(job, left, right)
        except BtxError as error:
            Console(stderr=True, highlight=False).print(f"btx: {error}", soft_wrap=True, markup=False)
            return _CANNOT
    if as_json:
        print(json.dumps(_as_json(found)))  # noqa: T201 -- for programs: not to be wrapped
    else:
        _show(console, job, found)
    if html is not None:
        html.write_text(_page(job, found, left, right), encoding="utf-8")
        if not as_json:
            console.print(f"report: {html}", soft_wrap=True)
    return 0 if found.first is None else 1


def _job(
    folder: Path,
    strategy: str,
    *,
    venue: str,
    market: str | None,
    files: Iterable[str],
    symbols: Sequence[str],
    seed: int,
    span_ns: int | None,
    percents: float,
    funding: Iterable[str],
) -> Job:
    markets = open_venue(venue).info.markets
    if market is not None and market not in markets:
        raise ConfigError(f"{venue} has no market {market!r} here: choose one of {', '.join(markets)}")
    load_strategy(strategy)  # before anything is made for it
    can = open_venue(venue).info.capabilities[market or markets[0]]
    data = kline_files(files)
    rates = files_by_symbol(funding, option="--funding", of_what="funding rates")
    if rates and not can.margined:
        raise ConfigError(f"--funding is of positions on margin, and those of {market or markets[0]} are not")
    if can.margined:
        rates = {perpetual_of(symbol): path for symbol, path in rates.items()}
        data = {perpetual_of(symbol): path for symbol, path in data.items()}
        symbols = [perpetual_of(symbol) for symbol in symbols]
    if data and symbols and set(symbols) != set(data):
        raise ConfigError(f"--symbol names {', '.join(symbols)}, and the files are of {', '.join(data)}: leave one out")
    job = Job(
        strategy=strategy,
        venue=venue,
        market=market or markets[0],
        data=data,
        seed=seed,
        span_ns=span_ns,
        percents=percents,
        funding=rates,
    )
    if data:
        return job
    usual = usual_symbol(can)
    wanted = symbols or (perpetual_of(usual) if can.margined else usual,)
    made = write_synthetic(folder, job, wanted, span_ns=span_ns or _SPAN_NS)
    return attrs.evolve(job, data=made)


def write_synthetic(folder: Path, job: Job, symbols: Iterable[str], *, span_ns: int) -> dict[str, Path]:
    """Write a seeded synthetic market into files of klines, and return them by symbol.

    Raises:
        ConfigError: the venue's simulator lists no such symbol.
    """
    scenario = Scenario(seed=job.seed, market=job.market, symbols=tuple(symbols), until_ns=span_ns)
    instruments = open_venue(job.venue).matcher(scenario).instruments
    files: dict[str, Path] = {}
    for symbol, instrument in instruments.items():
        files[symbol] = path = folder / f"{instrument.venue_symbol}-1m.csv"
        tape = synthetic_tape(
            instrument,
            seed=job.seed,
            origin_ns=SYNTHETIC_ORIGIN_NS,
            start_ns=SYNTHETIC_ORIGIN_NS,
            end_ns=SYNTHETIC_ORIGIN_NS + span_ns,
        )
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerows((row.open_ns // NS_PER_MS, *map(_plain, row[1:6])) for row in tape.rows)
    return files


def golden(trace: Trace) -> list[str]:
    """Return a run's signals and fills as lines of text, for a file that a later run must not differ from."""
    lines = [
        f"signal {each.number} {iso(each.bar_ns)} {each.side} {each.kind} {_plain(each.size)} {_plain(each.price)}"
        for each in trace.signals
    ]
    lines += [
        f"fill {each.number} {iso(each.time_ns)} {_plain(each.quantity)} {_plain(each.price)} "
        f"{_plain(each.fee)} {each.fee_asset}"
        for each in trace.fills
    ]
    last = trace.balances[-1]
    return [*lines, f"end cash {_plain(last.cash)} " + " ".join(f"{_plain(held)}" for held in last.positions.values())]


def _plain(number: Decimal | None) -> str:
    return "-" if number is None else f"{number.normalize():f}"


# --- what is seen -------------------------------------------------------------------------------------------


def _title(job: Job) -> str:
    return f"{job.strategy}, {', '.join(job.data)} at {job.venue}/{job.market}, seed {job.seed}: backtest and sim"


def _verdict(found: Parity) -> str:
    if found.first is not None:
        return f"the runs part: {found.first.cause.value}"
    counted = {each.kind: each.left for each in found.counts}
    if not counted["signal"]:
        return "the two runs are equal, and the strategy sent no order: only bars were compared"
    if not counted["fill"]:
        return "the two runs are equal, and no order was filled"
    return "the two runs are equal"


def _details(first: Difference) -> list[tuple[str, str]]:
    return [
        ("first difference", f"{first.kind}, {iso(first.time_ns)}"),
        ("cause", f"{first.cause.value}: {first.why}"),
        ("backtest", first.left),
        ("sim", first.right),
    ]


def _show(console: Console, job: Job, found: Parity) -> None:
    console.print(f"btx parity: {_title(job)}", soft_wrap=True, markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "backtest", "sim", "equal"):
        table.add_column(column, justify="left" if not column else "right")
    for count in found.counts:
        table.add_row(f"{count.kind}s", str(count.left), str(count.right), str(count.equal))
    console.print(table)
    if found.first is None:
        console.print(f"[bold green]✓ {_verdict(found)}")
        return
    console.print(f"[bold red]✗ {_verdict(found)}")
    for name, text in _details(found.first):
        console.print(f"  {name:<17} {text}", soft_wrap=True, markup=False)


def _as_json(found: Parity) -> dict[str, Any]:
    first = found.first
    return {
        "equal": first is None,
        "counts": {each.kind: {"backtest": each.left, "sim": each.right, "equal": each.equal} for each in found.counts},
        "first": None
        if first is None
        else {
            "kind": first.kind,
            "time_ns": first.time_ns,
            "cause": first.cause.value,
            "why": first.why,
            "backtest": first.left,
            "sim": first.right,
        },
    }


def _page(job: Job, found: Parity, left: Trace, right: Trace) -> str:
    counts = [(f"{each.kind}s", str(each.left), str(each.right), str(each.equal)) for each in found.counts]
    tables: list[tuple[str, Sequence[str], Iterable[Sequence[str]]]] = [
        ("What was compared", ("", "backtest", "sim", "equal"), counts)
    ]
    if found.first is not None:
        tables.insert(0, ("The first difference", ("", ""), _details(found.first)))
    tables += [
        (f"Fills: {run.name}", ("",), ([line] for line in golden(run) if line.startswith("fill")))
        for run in (left, right)
    ]
    return page(title=f"btx parity: {_title(job)}", verdict=_verdict(found), is_good=found.first is None, tables=tables)
