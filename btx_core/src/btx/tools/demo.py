"""``btx demo``: a plain backtrader strategy on the venue in the box, and the books compared afterwards."""

import datetime
import itertools
import json
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import btx
from btx.bt.analyzers import RunRecord
from btx.bt.samples import sma_cross_cerebro
from btx.errors import ConfigError
from btx.model.order import Fill
from btx.model.time import NS_PER_MINUTE, NS_PER_MS, iso
from btx.model.venue import Scenario
from btx.rules.positions import balance_changes
from btx.runtime.session import Session
from btx.tools.files import check_writable, kline_files
from btx.tools.picture import Curve, Mark, check_picture, draw
from btx.tools.words import fees_of, plain

__all__ = ("run_demo",)

_EDGE = 1e-9  # what backtrader's floats may differ from the ledger, in units of the thing
_INTERRUPTED = 130  # what a shell says of a command that Ctrl-C ended
_SYMBOLS = ("BTC/USDT", "ETH/USDT")  # of the synthetic market
_ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class _Audit:
    """Two ledgers side by side, and every difference in words."""

    orders: int
    fills: tuple[Fill, ...]
    ledger: Mapping[str, Decimal]  # ours: the account at start plus every fill
    facts: Mapping[str, Mapping[str, Any]]
    differences: tuple[str, ...]


def _compare(session: Session, record: Any) -> _Audit:
    orders = session.orders()
    fills = tuple(sorted((f for order in orders for f in order.fills), key=lambda f: (f.time_ns, f.fill_id)))
    ledger = _fold(session, fills)
    facts = {data.instrument.symbol: session.market_facts(data.instrument.symbol) for data in record.datas}
    differences = [
        *_ledger_differences(session, ledger, fills),
        *_edge_differences(session, record.strategy, record.datas, ledger),
        *_bar_differences(record.datas, record.bars, facts),
    ]
    return _Audit(orders=len(orders), fills=fills, ledger=ledger, facts=facts, differences=tuple(differences))


def _fold(session: Session, fills: Iterable[Fill]) -> dict[str, Decimal]:
    """Return the account at start plus every fill: the session's ledger."""
    ledger = {asset: balance.total for asset, balance in session.account().balances.items()}
    for fill in fills:
        for asset, change in balance_changes(fill, instrument=session.instrument(fill.symbol)).items():
            ledger[asset] = ledger.get(asset, _ZERO) + change
    return ledger


def _ledger_differences(session: Session, ledger: Mapping[str, Decimal], fills: Iterable[Fill]) -> Iterable[str]:
    oracle = session.ledger()
    theirs = {a: Decimal(b["free"]) + Decimal(b["locked"]) for a, b in oracle["balances"].items()}
    for asset in sorted({*ledger, *theirs}):
        if ledger.get(asset, _ZERO) != theirs.get(asset, _ZERO):
            yield f"{asset}: session {ledger.get(asset, _ZERO)}, simulator {theirs.get(asset, _ZERO)}"
    ours = {
        (session.instrument(f.symbol).venue_symbol, f.fill_id): (f.price, f.quantity, f.fee, f.fee_asset) for f in fills
    }
    sims = {
        (f["symbol"], f["fill_id"]): (
            Decimal(f["price"]),
            Decimal(f["quantity"]),
            Decimal(f["fee"]),
            f["fee_asset"],
        )
        for f in oracle["fills"]
    }
    for key in sorted({*ours, *sims}):
        if ours.get(key) != sims.get(key):
            yield f"fill {key}: session {ours.get(key)}, simulator {sims.get(key)}"


def _edge_differences(
    session: Session, strategy: Any, datas: Iterable[Any], ledger: Mapping[str, Decimal]
) -> Iterable[str]:
    currency = session.settings.currency
    value = ledger.get(currency, _ZERO)
    if abs(Decimal(strategy.broker.getcash()) - value) > _EDGE:
        yield f"cash: backtrader {strategy.broker.getcash()}, ledger {value}"
    for data in (data for data in datas if len(data)):
        held = ledger.get(data.instrument.base, _ZERO)
        value += held * Decimal(repr(data.close[0]))
        expected = held if held >= data.instrument.step_size else _ZERO  # less than a step is dust
        size = strategy.getposition(data).size
        if abs(Decimal(size) - expected) > _EDGE or (not expected and size != 0):
            yield f"{data.instrument.symbol}: backtrader's position {size}, ledger {expected}"
    if abs(Decimal(strategy.broker.getvalue()) - value) > _EDGE:
        yield f"value: backtrader {strategy.broker.getvalue()}, ledger {value}"


def _bar_differences(
    datas: Iterable[Any], bars: Mapping[str, list[tuple[int, float]]], facts: Mapping[str, Mapping[str, Any]]
) -> Iterable[str]:
    for data in datas:
        opens = [open_ms * NS_PER_MS for open_ms, _ in bars[data._name]]  # noqa: SLF001 -- backtrader's own name
        played = facts[data.instrument.symbol]
        if len(opens) != played["played"]:
            yield f"{data.instrument.symbol}: {len(opens)} bars delivered, {played['played']} played"
        elif opens and (opens[0], opens[-1]) != (played["first_open_ns"], played["last_open_ns"]):
            yield f"{data.instrument.symbol}: other bars delivered than played"
        if any(later <= earlier for earlier, later in itertools.pairwise(opens)):
            yield f"{data.instrument.symbol}: bars doubled or out of order"


def run_demo(
    *, venue: str, files: Iterable[str], span_ns: int | None, seed: int, picture: Path, report: Path | None
) -> int:
    """Run the demo and return the exit code: 0 when all books agree, 1 when they do not, 130 when it was interrupted.

    Raises:
        ConfigError: a file cannot be used or written, or the span holds no bar or has no end.
    """
    data = kline_files(files)
    if span_ns is not None and span_ns < NS_PER_MINUTE:
        raise ConfigError("a bar is a minute long, and --span is shorter: give at least 1m")
    if not data and span_ns is None:
        raise ConfigError("the synthetic market never ends: give --span, like 12h")
    check_picture(picture)
    if report is not None:
        check_writable(report)
    scenario = Scenario(seed=seed, data=data, symbols=tuple(data) or _SYMBOLS, until_ns=span_ns)
    console = Console()
    store = btx.load(venue, env="sim", scenario=scenario)
    cerebro = sma_cross_cerebro(store, scenario.symbols)
    console.print(f"btx demo: an SMA cross on {', '.join(scenario.symbols)}", highlight=False)
    started = time.perf_counter()
    audits: list[_Audit] = []
    with _progress(console, span_ns, len(scenario.symbols)) as advance:
        cerebro.addanalyzer(
            RunRecord, _name="record", progress=advance, at_end=lambda r: audits.append(_compare(store.session, r))
        )
        (strategy,) = cerebro.run()
    record = strategy.analyzers.record
    if not all(data.is_over for data in record.datas):
        console.print("interrupted: the books are compared when the market has ended", highlight=False)
        return _INTERRUPTED
    if not audits or not record.equity:
        console.print("[red]the market ended before its first bar: nothing was played")
        return 1
    run = _Run(record=record, audit=audits[0], elapsed_s=time.perf_counter() - started)
    _show(console, run)
    _draw(console, run, picture)
    if report is not None:
        report.write_text(json.dumps(_as_json(run), indent=1), encoding="utf-8")
    return 1 if run.audit.differences else 0


@attrs.frozen(kw_only=True)
class _Run:
    record: Any  # btx.bt.analyzers.RunRecord
    audit: _Audit
    elapsed_s: float


class _progress:  # noqa: N801 -- used like a function
    """A progress bar over delivered bars, as a context that gives the function to move it."""

    def __init__(self, console: Console, span_ns: int | None, datas: int) -> None:
        total = None if span_ns is None else span_ns // NS_PER_MINUTE * datas
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._task = self._progress.add_task("bars", total=total)

    def __enter__(self) -> Any:
        self._progress.start()
        return lambda completed: self._progress.update(self._task, completed=completed)

    def __exit__(self, *_: object) -> None:
        (task,) = self._progress.tasks
        if task.completed:  # a file may be shorter than what was asked for
            self._progress.update(self._task, total=task.completed)
        self._progress.stop()


def _show(console: Console, run: _Run) -> None:
    audit, record = run.audit, run.record
    opens = sorted(open_ms for bars in record.bars.values() for open_ms, _ in bars)
    first, last = (iso(open_ms * NS_PER_MS)[:16].replace("T", " ") for open_ms in (opens[0], opens[-1]))
    console.print(f"\n{len(opens)} bars from {first} to {last} UTC in {run.elapsed_s:.1f} s", highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "bars", "fills", "bought", "sold", "fees"):
        table.add_column(column, justify="left" if not column else "right")
    for data in record.datas:
        symbol = data.instrument.symbol
        mine = [f for f in audit.fills if f.symbol == symbol]
        table.add_row(
            symbol,
            str(len(record.bars[data._name])),  # noqa: SLF001 -- backtrader's own name of the data
            str(len(mine)),
            plain(sum((f.quantity for f in mine if f.side.sign > 0), _ZERO)),
            plain(sum((f.quantity for f in mine if f.side.sign < 0), _ZERO)),
            fees_of(mine).replace(" + ", "\n"),
        )
    console.print(table)
    start, end = record.equity[0][1], record.equity[-1][1]
    held = ", ".join(f"{plain(total)} {asset}" for asset, total in sorted(audit.ledger.items()) if total)
    console.print(f"orders   {audit.orders}, fills {len(audit.fills)}", highlight=False)
    console.print(f"equity   {start:,.2f} → {end:,.2f} ({(end / start - 1) * 100:+.2f} %)", highlight=False)
    console.print(f"held     {held}", highlight=False)
    for symbol, missing in _missing_minutes(record):
        console.print(f"missing  {symbol}: {missing} minutes between first and last are not in the file", style="dim")
    for text in sorted({text for facts in audit.facts.values() for text in facts["synthesised"]}):
        console.print(f"made up  {text}", style="dim", highlight=False)
    if audit.differences:
        console.print("\n[bold red]✗ The books do not agree:")
        for difference in audit.differences:
            console.print(f"  {difference}", style="red", highlight=False)
    else:
        console.print(
            "\n[bold green]✓ The session's ledger equals the simulator's ledger to the last digit;\n"
            "  backtrader's cash, value and positions agree with it, flat is exactly 0.",
            highlight=False,
        )


def _missing_minutes(record: Any) -> Iterable[tuple[str, int]]:
    for symbol, bars in record.bars.items():
        minutes = (bars[-1][0] - bars[0][0]) * NS_PER_MS // NS_PER_MINUTE + 1 if bars else 0
        if minutes > len(bars):
            yield symbol, minutes - len(bars)


def _draw(console: Console, run: _Run, picture: Path) -> None:
    record = run.record
    curves = [
        Curve(
            title=data.instrument.symbol,
            points=tuple((_moment(ms), close) for ms, close in record.bars[data._name]),  # noqa: SLF001
            marks=tuple(
                Mark(time=_moment(f.time_ns // NS_PER_MS), price=float(f.price), is_buy=f.side.sign > 0)
                for f in run.audit.fills
                if f.symbol == data.instrument.symbol
            ),
        )
        for data in record.datas
    ]
    equity = Curve(title="equity", points=tuple((_moment(ms), value) for ms, value in record.equity))
    draw([*curves, equity], picture)
    console.print(f"  picture: {picture}", highlight=False)


def _moment(time_ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(time_ms / 1000, tz=datetime.UTC)


def _as_json(run: _Run) -> dict[str, Any]:
    audit, record = run.audit, run.record
    return {
        "bars": {name: len(bars) for name, bars in record.bars.items()},
        "orders": audit.orders,
        "fills": [
            [f.symbol, f.side.value, str(f.price), str(f.quantity), str(f.fee), f.fee_asset, f.time_ns]
            for f in audit.fills
        ],
        "ledger": {asset: str(total) for asset, total in sorted(audit.ledger.items())},
        "equity": [record.equity[0][1], record.equity[-1][1]],
        "differences": list(audit.differences),
    }
