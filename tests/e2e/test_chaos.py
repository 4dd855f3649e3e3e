"""`kill -9` at every point of the order path, and a slice of seeded chaos: all books equal afterwards."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from btx.cli import cli
from btx.runtime.faultpoints import POINTS
from btx.sim.faults import Fault, Kind, Where
from btx.tools import chaos
from btx.tools.chaos import Job, Kill, Schedule, run_schedule, schedule_of

RESTLESS = f"{Path(__file__).with_name('chaos_strategy.py')}:Restless"
AMENDING = RESTLESS.replace(":Restless", ":Amending")
JOB = Job(strategy=RESTLESS, minutes=40)
ON_BYBIT = attrs.evolve(JOB, venue="bybit")
on_both = pytest.mark.parametrize("job", [JOB, ON_BYBIT], ids=["binance", "bybit"])
# Where the restless strategy comes in its first life of this market, and how often before it is killed.
SEED = 2
TWICE = {"intent.after", "sent.after", "send.after", "event.before", "event.after", "delivered.before"}
RUNS = int(os.environ.get("BTX_CHAOS_RUNS", "8"))


def play(schedule: Schedule, job: Job = JOB) -> chaos.Outcome:
    return asyncio.run(run_schedule(schedule, job))


def play_all(seeds: Iterable[int], job: Job) -> list[chaos.Outcome]:
    """Three worlds at a time: what goes wrong is waited for more than it is computed."""
    places = asyncio.Semaphore(3)

    async def one(seed: int) -> chaos.Outcome:
        async with places:
            return await run_schedule(schedule_of(seed), job)

    async def every() -> list[chaos.Outcome]:
        return await asyncio.gather(*map(one, seeds))

    return asyncio.run(every())


@on_both
@pytest.mark.parametrize("point", POINTS)
def test_a_process_killed_at_any_point_of_the_order_path_leaves_books_that_agree(point: str, job: Job) -> None:
    at = 2 if point in TWICE else 1
    if job.venue == "bybit" and point.startswith("replace"):  # it amends in place, and members of groups not at all
        job = attrs.evolve(job, strategy=AMENDING)
    outcome = play(Schedule(seed=SEED, kills=(Kill(point=point, at=at),)), job)

    story = f"{point}: {POINTS[point]}: {outcome.lives} lives, {outcome.orders} orders, {outcome.recovered} recovered"
    print(story)  # noqa: T201 -- pytest shows it with -rP
    assert outcome.broken == ()
    assert outcome.lives == 2, "the point was not reached"


@on_both
def test_seeded_faults_and_kills_leave_books_that_agree(job: Job) -> None:
    outcomes = play_all(range(500, 500 + RUNS), job)

    naked_s = max(outcome.naked_s for outcome in outcomes)
    print(f"{sum(o.recovered for o in outcomes)} recovered, longest naked {naked_s:.2f} s")  # noqa: T201
    assert {outcome.schedule.seed: outcome.broken for outcome in outcomes if outcome.broken} == {}
    assert sum(outcome.lives for outcome in outcomes) > len(outcomes)


# Of positions on margin: seeds whose processes die several times, and points of which each is another story there.
ON_MARGIN = attrs.evolve(JOB, strategy=f"{RESTLESS}OnMargin", market="usdm")
HEDGED = attrs.evolve(ON_MARGIN, position_mode="hedge")


LINEAR = attrs.evolve(ON_MARGIN, venue="bybit", market="linear")
LINEAR_HEDGED = attrs.evolve(LINEAR, position_mode="hedge")
INVERSE = attrs.evolve(LINEAR, market="inverse", symbols=("BTC/USD",), params={"lot": 1})  # it realises less than cents


@pytest.mark.parametrize(
    ("job", "seeds"),
    [
        (ON_MARGIN, (504, 506)),
        (HEDGED, (609, 612)),
        (LINEAR, (504, 506)),
        (LINEAR_HEDGED, (609, 612)),
        (INVERSE, (939, 947)),
    ],
    ids=["one way", "hedge", "bybit one way", "bybit hedge", "bybit inverse"],
)
def test_on_margin_positions_wallets_and_bookings_agree_too(job: Job, seeds: tuple[int, ...]) -> None:
    outcomes = play_all(seeds, job)

    assert {outcome.schedule.seed: outcome.broken for outcome in outcomes if outcome.broken} == {}
    assert sum(outcome.lives for outcome in outcomes) > len(outcomes)
    assert all(outcome.fills for outcome in outcomes)


@pytest.mark.parametrize("job", [HEDGED, LINEAR_HEDGED, INVERSE], ids=["binance", "bybit", "bybit inverse"])
@pytest.mark.parametrize("point", ["sent.after", "event.after", "recovery.settled"])
def test_a_process_killed_on_margin_leaves_books_that_agree(point: str, job: Job) -> None:
    outcome = play(Schedule(seed=SEED, kills=(Kill(point=point, at=2 if point in TWICE else 1),)), job)

    assert outcome.broken == ()
    assert outcome.lives == 2, "the point was not reached"


def test_a_clock_that_is_set_back_while_an_outcome_is_unknown_and_the_venue_is_busy_holds_nothing_up() -> None:
    faults = (
        Fault(kind=Kind.LOSE, where=Where.PLACE, at=3),
        Fault(kind=Kind.CLOCK_JUMP, where=Where.PLACE, at=3, offset_s=-40.0, for_s=0),
        Fault(kind=Kind.RATE_LIMIT, where=Where.QUERY, at=1, for_s=0.5),
    )

    outcome = play(Schedule(seed=3, faults=faults), LINEAR)

    assert outcome.broken == ()
    assert outcome.lives == 1


def test_a_schedule_is_the_same_for_its_seed_and_says_what_it_does() -> None:
    assert schedule_of(7) == schedule_of(7)
    assert schedule_of(7) != schedule_of(8)
    lines = list(attrs.evolve(schedule_of(7), kills=(Kill(point="sent.after", at=3),)).lines())
    assert lines[0] == "market of seed 7"
    assert lines[-1] == "  kill -9 at sent.after, the 3. time"


def test_the_command_says_how_it_went(tmp_path: Path) -> None:
    passed = CliRunner().invoke(cli, ["chaos", RESTLESS, "--runs", "2", "--seed", "500", "--minutes", "10"])

    assert passed.exit_code == 0, passed.output
    assert "2 runs" in passed.output
    assert "0 failed" in " ".join(passed.output.split())


def test_a_strategy_whose_orders_are_all_refused_has_tried_nothing() -> None:
    of_coins = ["--market", "coinm", "--symbol", "BTC/USD"]  # the strategy orders parts of a contract

    result = CliRunner().invoke(cli, ["chaos", RESTLESS, *of_coins, "--runs", "1", "--seed", "500", "--minutes", "5"])

    assert result.exit_code == 1
    assert "nothing was tried" in result.output


def test_a_strategy_that_breaks_is_told_and_its_schedule_shrunk_to_nothing(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(
        "import backtrader as bt\n\nclass Broken(bt.Strategy):\n    def next(self):\n        raise ValueError('mine')\n"
    )

    result = CliRunner().invoke(cli, ["chaos", str(file), "--runs", "1", "--seed", "500", "--minutes", "5"])

    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "ValueError: mine" in words
    assert "market of seed 500 broken:" in words  # no fault and no kill is needed for it


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nothing.py", None, "there is no file"),
        ("empty.py", "import backtrader as bt\n", "has no strategy"),
        ("bad.py", "import nothing_of_that_name\n", "cannot be imported"),
    ],
)
def test_a_file_without_a_strategy_is_one_sentence(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)

    result = CliRunner().invoke(cli, ["chaos", str(file)])

    assert result.exit_code != 0
    assert message in f"{result.output}{result.exception}"
