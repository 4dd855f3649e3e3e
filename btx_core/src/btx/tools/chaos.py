"""``btx chaos``: the user's own strategy under seeded faults and ``kill -9``, and the books compared after each run.

A run is one world in lockstep.  The simulator lives here and survives; the
strategy trades in a child process, which is killed at named points of the order
path and started again until the world has ended.  Then the simulator's ledger,
the journal and what backtrader shows must be the same to the last digit.
"""

import asyncio
import gc
import json
import logging
import multiprocessing
import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console

from btx.compose import load, scenario
from btx.defaults import open_venue
from btx.errors import AuthenticationError, TransportError
from btx.model.time import NS_PER_DAY
from btx.model.venue import Endpoints
from btx.rules.backoff import Backoff
from btx.rules.breaker import Breaker
from btx.runtime import faultpoints
from btx.runtime.bars import BarTimes
from btx.runtime.control import Control
from btx.runtime.facts import Timing
from btx.sim.dice import key_of, unit
from btx.sim.faults import Fault, FaultScript, random_script, script_to_json, shrink
from btx.tools.chaos_books import Books
from btx.worlds import usual_total

__all__ = ("Job", "Kill", "Outcome", "Schedule", "run_chaos", "run_schedule", "schedule_of")

_WORLD = "chaos"
_CHILD_S = 60.0  # the longest a child may take; a run of a market hour takes a second or two
_RESTARTS = 12
_TRY_LATER = 75  # sysexits' EX_TEMPFAIL
_WORDS = int(os.environ.get("BTX_CHAOS_WORDS", "6"))  # how many last lines of a process that broke are told
_ZERO = Decimal(0)
_EDGE = Decimal("1e-9")  # what backtrader's floats may differ from the ledger
# Lost answers are settled quickly here: on loopback nothing is under way for long.
_WINDOW_MS = 500
_TIMING = Timing(
    redial=Backoff(base_s=0.05, cap_s=1.0),
    patience_s=0.8,
    settle_pause_s=0.05,
    poll_s=0.5,
    audit_s=2.0,
    grace_drift_s=0.2,
    nudge_s=0.3,
    bars=BarTimes(late_pause_s=0.05),
    breaker=Breaker(open_ns=500_000_000),
)
_PRELOAD = ("btx.bt.witness", "btx.compose", "btx.storage.journal")
_PORTS = ("broker", "stream")  # what an adapter calls the modules that import its libraries


@attrs.frozen(kw_only=True)
class Kill:
    """The trading process dies when it comes to ``point`` for the ``at``-th time."""

    point: str
    at: int = 1

    def __str__(self) -> str:
        return f"kill -9 at {self.point}, the {self.at}. time"


@attrs.frozen(kw_only=True)
class Schedule:
    """Everything that goes wrong in one run; the same schedule gives the same market and the same faults."""

    seed: int
    faults: tuple[Fault, ...] = ()
    kills: tuple[Kill, ...] = ()  # one for each life of the process, in this order

    def lines(self) -> Iterator[str]:
        """Yield the schedule as people read it."""
        yield f"market of seed {self.seed}"
        yield from (f"  {fault.kind.value} in {fault.where.value}, the {fault.at}. time" for fault in self.faults)
        yield from (f"  {kill}" for kill in self.kills)


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a run; ``broken`` names every invariant that did not hold."""

    schedule: Schedule
    broken: tuple[str, ...]
    orders: int = 0
    fills: int = 0
    recovered: int = 0  # fills that were told after a restart, or found by asking
    lives: int = 1
    naked_s: float = 0.0  # the longest time a bracket's quantity was without protection
    took_s: float = 0.0


@attrs.frozen(kw_only=True)
class Job:
    """What is played: a strategy on symbols of a venue, for so many market minutes."""

    strategy: str
    venue: str = "binance"
    symbols: tuple[str, ...] = ("BTC/USDT",)
    minutes: int = 60
    market: str | None = None  # the venue's first when not given
    position_mode: str | None = None  # of positions on margin: "hedge" has a long and a short data of each symbol
    balances: Mapping[str, str | int] | None = None  # what is usual in the market when not given
    params: Mapping[str, Any] = attrs.field(factory=dict)


def _usual(job: Job) -> dict[str, int]:
    info = open_venue(job.venue).info
    currency = info.capabilities[job.market or info.markets[0]].currency
    return {currency: usual_total(currency)}


def schedule_of(seed: int, *, intensity: float = 4.0, kills: float = 1.5) -> Schedule:
    """Return a schedule of about so many faults and kills, the same for a seed."""

    def die(*key: object) -> float:
        return unit(key_of(seed, "kill", *key))

    points = sorted(faultpoints.POINTS)
    many = round(kills * 2 * die("how many"))
    return Schedule(
        seed=seed,
        faults=random_script(seed, intensity=intensity, horizon=25).faults,
        kills=tuple(
            _kill(points[int(die(number, "point") * len(points))], at=1 + int(die(number, "at") * 8))
            for number in range(many)
        ),
    )


def _kill(point: str, *, at: int) -> Kill:
    return Kill(point=point, at=1 if point.startswith("recovery") else at)  # a life recovers once


# --- one run ------------------------------------------------------------------------------------------------


async def run_schedule(schedule: Schedule, job: Job) -> Outcome:
    """Play a schedule and compare the books.

    Raises:
        ConfigError: the job cannot be played at all.
    """
    began = time.monotonic()
    world = attrs.evolve(
        scenario(
            seed=schedule.seed,
            symbols=job.symbols,
            until=f"{job.minutes}m",
            balances=dict(job.balances) if job.balances is not None else _usual(job),
            faults=script_to_json(FaultScript(faults=schedule.faults)),
        ),
        market=job.market or "",
        warmup_ns=NS_PER_DAY,
    )
    with tempfile.TemporaryDirectory(prefix="btx-chaos-") as folder:
        async with open_venue(job.venue).simulator(world) as endpoints:
            lives, failure = await _live(schedule, job, endpoints, Path(folder))
            ledger = await _ask(endpoints, "ledger", api_key=endpoints.accounts[0].api_key)
        books = Books(folder=Path(folder), ledger=ledger)
        broken = [failure] if failure else list(books.differences())
        return Outcome(
            schedule=schedule,
            broken=tuple(broken),
            orders=len(ledger["orders"]),
            fills=len(ledger["fills"]),
            recovered=books.recovered,
            lives=lives,
            naked_s=books.naked_s,
            took_s=time.monotonic() - began,
        )


async def _live(schedule: Schedule, job: Job, endpoints: Endpoints, folder: Path) -> tuple[int, str]:
    """Start the strategy again and again until it ends of its own will; return its lives, and why it never did."""
    kills = list(schedule.kills)
    for life in range(1, _RESTARTS + 1):
        kill = kills.pop(0) if kills else None
        code = await _start_child(job, endpoints, folder, kill)
        if code == 0:
            return life, ""
        if code == _TRY_LATER:
            continue  # the venue was not to be reached, or did not know the key: somebody starts the process again
        if code is None:
            words = _last_words(folder, lines=_WORDS)
            return life, f"the strategy's process hung for {_CHILD_S:g} s in its life {life}: {words}"
        if code != -signal.SIGKILL:
            return life, f"the strategy's process ended with code {code}: {_last_words(folder, lines=1)}"
    return _RESTARTS, f"the strategy did not get to the end in {_RESTARTS} lives"


def _last_words(folder: Path, *, lines: int) -> str:
    said = (folder / "stderr.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in said[-lines:])


async def _start_child(job: Job, endpoints: Endpoints, folder: Path, kill: Kill | None) -> int | None:
    """Run the strategy in a process of its own; return its exit code, None when it hung and was put down."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOAD, *_modules_of(job.venue)])
    process = context.Process(target=_trade, args=(job, endpoints.control, str(folder), kill), daemon=True)
    process.start()
    await asyncio.to_thread(process.join, _CHILD_S)
    if process.exitcode is None and process.pid is not None:
        os.kill(process.pid, signal.SIGUSR1)  # it writes down where it stands
        await asyncio.sleep(1.0)
        process.kill()
        await asyncio.to_thread(process.join)
        return None
    return process.exitcode


def _modules_of(venue: str) -> Iterator[str]:
    """Yield the modules of an adapter that take long to import, so that a life begins with them."""
    for implementation in open_venue(venue).manager.hook.btx_broker.get_hookimpls():
        package = sys.modules.get(getattr(implementation.plugin, "__package__", ""))
        for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{getattr(package, '__name__', '')}."):
            if found.name.rpartition(".")[2] in _PORTS:
                yield found.name


def _say_where() -> None:
    """Say on stderr what every task of btx-io waits for: this process hangs."""
    for thread_loop in {task.get_loop() for task in gc.get_objects() if isinstance(task, asyncio.Task)}:
        for task in asyncio.all_tasks(thread_loop):
            frames = task.get_stack(limit=1)
            where = f"{Path(frames[-1].f_code.co_filename).name}:{frames[-1].f_lineno}" if frames else "nowhere"
            print(f"{task.get_name()} at {where}", file=sys.stderr, flush=True)  # noqa: T201


def _trade(job: Job, control: str, folder: str, kill: Kill | None) -> None:
    """Be the trading process: the user's script, but for the witness."""
    from btx.bt.witness import load_strategy, witnessed_cerebro

    if os.environ.get("BTX_CHAOS_LOG"):
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    errors = (Path(folder) / "stderr.txt").open("w", encoding="utf-8")
    os.dup2(errors.fileno(), 2)
    signal.signal(signal.SIGUSR1, lambda *_: _say_where())
    os.environ["BTX_HOME"] = folder
    if kill is not None:
        faultpoints.arm(kill.point, kill.at)
    store = load(
        job.venue,
        env="sim",
        market=job.market,
        position_mode=job.position_mode,
        scenario=scenario(attach=control),
        keep=_WORLD,
        receive_window_ms=_WINDOW_MS,
        timing=_TIMING,
    )
    witnessed = witnessed_cerebro(
        store,
        load_strategy(job.strategy),
        job.symbols,
        legs=("long", "short") if job.position_mode == "hedge" else (None,),
        told=Path(folder) / "told.jsonl",
        result=Path(folder) / "result.json",
        params=dict(job.params),
    )
    try:
        witnessed.run()
    except (TransportError, AuthenticationError):
        traceback.print_exc()
        sys.exit(_TRY_LATER)
    naked = store.session.naked()
    (Path(folder) / "naked.json").write_text(json.dumps(naked), encoding="utf-8")
    sys.stderr.flush()


async def _ask(endpoints: Endpoints, op: str, **arguments: object) -> Mapping[str, Any]:
    control = await Control.connect(endpoints.control)
    try:
        return await control.ask(op, **arguments)
    finally:
        await control.close()


# --- many runs --------------------------------------------------------------------------------------------------


def run_chaos(job: Job, *, seed: int, runs: int, workers: int = 2) -> int:
    """Play ``runs`` seeded schedules, print what came of them, shrink the first that fails; return the exit code.

    Raises:
        ConfigError: the strategy or the venue cannot be used.
    """
    from btx.bt.witness import load_strategy

    load_strategy(job.strategy)
    console = Console()
    outcomes = asyncio.run(_play(job, [schedule_of(seed + number) for number in range(runs)], workers, console))
    failed = [outcome for outcome in outcomes if outcome.broken]
    _summarise(console, outcomes)
    if not failed:
        if not any(outcome.orders for outcome in outcomes):
            console.print("the strategy sent no order that was taken: nothing was tried", highlight=False)
            return 1
        return 0
    first = min(failed, key=lambda outcome: outcome.schedule.seed)
    console.print(f"\nseed {first.schedule.seed} fails, shrinking it:", highlight=False)
    smallest = asyncio.run(_shrunk(first.schedule, job))
    for line in smallest.schedule.lines():
        console.print(line, highlight=False)
    for text in smallest.broken or first.broken:
        console.print(f"  broken: {text}", highlight=False, soft_wrap=True)
    return 1


async def _play(job: Job, schedules: Iterable[Schedule], workers: int, console: Console) -> list[Outcome]:
    outcomes: list[Outcome] = []
    waiting = iter(schedules)

    async def work() -> None:
        for schedule in waiting:
            outcome = await run_schedule(schedule, job)
            outcomes.append(outcome)
            if outcome.broken:
                console.print(f"seed {schedule.seed}: {outcome.broken[0]}", highlight=False, soft_wrap=True)

    await asyncio.gather(*(work() for _ in range(workers)))
    return outcomes


def _summarise(console: Console, outcomes: Sequence[Outcome]) -> None:
    failed = sum(bool(outcome.broken) for outcome in outcomes)
    lives = sum(outcome.lives for outcome in outcomes)
    console.print(
        f"{len(outcomes)} runs, {lives} lives, {sum(o.orders for o in outcomes)} orders, "
        f"{sum(o.fills for o in outcomes)} fills, {sum(o.recovered for o in outcomes)} recovered; "
        f"longest naked {max((o.naked_s for o in outcomes), default=0.0):.2f} s; {failed} failed",
        highlight=False,
        soft_wrap=True,
    )


async def _shrunk(schedule: Schedule, job: Job) -> Outcome:
    """Return the outcome of the smallest part of a schedule that still fails: first fewer kills, then fewer faults."""
    best = await run_schedule(schedule, job)
    for index in range(len(schedule.kills) - 1, -1, -1):
        fewer = attrs.evolve(best.schedule, kills=(*best.schedule.kills[:index], *best.schedule.kills[index + 1 :]))
        outcome = await run_schedule(fewer, job)
        if outcome.broken:
            best = outcome
    if best.broken and best.schedule.faults:
        best = await asyncio.to_thread(_with_fewer_faults, best, job)
    return best


def _with_fewer_faults(outcome: Outcome, job: Job) -> Outcome:
    found = outcome

    def fails(script: FaultScript) -> bool:
        nonlocal found
        tried = asyncio.run(run_schedule(attrs.evolve(outcome.schedule, faults=script.faults), job))
        if tried.broken:
            found = tried
        return bool(tried.broken)

    try:
        shrink(FaultScript(faults=outcome.schedule.faults), fails)
    except ValueError:
        return outcome  # it fails now and then: the schedule that did is what can be told
    return found
