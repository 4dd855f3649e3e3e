"""One strategy, one world, two ways through: the backtest does what the simulator makes of the very wire protocol."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from btx.cli import cli
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS
from btx.model.trace import Trace
from btx.rules.parity import Cause, Difference, compare
from btx.sim.box import Box
from btx.tools.parity import Job, explain, golden, play
from btx_binance.sim.app import matcher
from btx_binance.sim.exchange_info import listings
from tests.e2e.planted import Late, OneTick, Refusing, play_on, wrong_grid, wrong_tier
from tests.golden import FOLDER, ROOT, SAMPLES, sample_job


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return attrs.evolve(sample_job("sma_cross", tmp_path_factory.mktemp("market")), span_ns=2 * NS_PER_HOUR)


@pytest.fixture(scope="module")
def sim(job: Job) -> Trace:
    return play(job, "sim")


@pytest.mark.parametrize("venue", ["binance", "bybit"])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_strategy_does_the_same_in_a_backtest_and_on_the_simulator(
    name: str, venue: str, tmp_path: Path
) -> None:
    job = sample_job(name, tmp_path, venue=venue)

    left, right = play(job, "backtest"), play(job, "sim")
    found = explain(job, left, right)

    assert found.first is None
    assert len(left.signals) >= 50
    assert len(left.fills) >= 20
    assert golden(left) == golden(right)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_strategy_trades_as_it_always_did(name: str, tmp_path: Path) -> None:
    """Where it should not: `python -m tests.golden`, and look at what changed."""
    done = golden(play(sample_job(name, tmp_path), "backtest"))

    assert done == (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(("venue", "market"), [("binance", "usdm"), ("bybit", "linear")], ids=["binance", "bybit"])
@pytest.mark.parametrize("name", ["sma_cross", "breakout"])
def test_on_margin_too_over_a_funding(name: str, venue: str, market: str, btx_data: Path) -> None:
    file = btx_data / "klines" / "binance_usdm_BTCUSDT_1m_2025-05-05_2025-06-02.csv.gz"
    strategy = ROOT / "examples" / "strategies" / f"{name}.py"
    data = {"BTC/USDT:USDT": file}
    job = Job(strategy=str(strategy), venue=venue, market=market, data=data, span_ns=9 * NS_PER_HOUR)

    left, right = play(job, "backtest"), play(job, "sim")

    assert compare(left, right).first is None
    assert len(left.fills) > 20
    assert left.fills[0].fee_asset == "USDT"


def test_a_seeded_perpetual_is_compared_by_its_plain_name() -> None:
    strategy = str(ROOT / "examples" / "strategies" / "sma_cross.py")

    done = CliRunner().invoke(cli, ["parity", strategy, "--market", "usdm", "--symbol", "BTC/USDT", "--span", "1h"])

    assert done.exit_code == 0, done.output
    assert "BTC/USDT:USDT at binance/usdm" in done.output


def test_on_real_minutes_brackets_do_the_same_too(btx_data: Path, tmp_path: Path) -> None:
    file = btx_data / "klines" / "binance_spot_BTCUSDT_1m_2025-06.csv.gz"
    strategy = ROOT / "examples" / "strategies" / "breakout.py"
    job = Job(strategy=str(strategy), venue="binance", market="spot", data={"BTC/USDT": file}, span_ns=6 * NS_PER_HOUR)

    left, right = play(job, "backtest"), play(job, "sim")

    assert compare(left, right).first is None
    assert len(left.fills) > 10


# --- what is planted is named ----------------------------------------------------------------------------


def planted(job: Job, sim: Trace, left: Trace) -> Difference:
    first = explain(job, left, sim).first
    assert first is not None
    return first


def rewritten(job: Job, folder: Path, *, shift_ms: int = 0, ticks_at: int | None = None) -> Job:
    """Return the job on a copy of its file: every stamp moved, or the close of one line a tick higher."""
    with job.data["BTC/USDT"].open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    for number, row in enumerate(rows):
        row[0] = str(int(row[0]) + shift_ms)
        if number == ticks_at:
            row[4] = row[2] = f"{float(row[2]) + 0.01:.2f}"
    path = folder / "BTCUSDT-1m.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return attrs.evolve(job, data={"BTC/USDT": path})


def test_a_bar_that_is_one_tick_off_is_named_with_its_price(job: Job, sim: Trace, tmp_path: Path) -> None:
    found = planted(job, sim, play(rewritten(job, tmp_path, ticks_at=40), "backtest"))

    assert (found.kind, found.cause) == ("bar", Cause.DATA)
    assert found.time_ns == sim.bars[40].close_ns
    assert "the high is 1 tick lower" in found.why


def test_a_fill_that_is_one_tick_off_is_another_fill_model(job: Job, sim: Trace) -> None:
    left = play_on(job, lambda scenario: OneTick(scenario, listings(scenario)))

    found = planted(job, sim, left)

    assert (found.kind, found.cause, found.why) == ("fill", Cause.FILL_MODEL, "the price is 1 tick lower")
    assert found.time_ns == sim.fills[0].time_ns


def test_another_fee_tier_is_named_with_both_rates(job: Job, sim: Trace) -> None:
    found = planted(job, sim, play_on(job, wrong_tier))

    assert (found.kind, found.cause) == ("fill", Cause.FEE_TIER)
    assert found.why == "the fee is 0.075 % in BTC against 0.1 % in BTC"


def test_a_wrong_grid_is_a_matter_of_rounding(job: Job, sim: Trace) -> None:
    found = planted(job, sim, play_on(job, wrong_grid))

    assert (found.kind, found.cause) == ("order", Cause.ROUNDING)


def test_a_refusal_is_named_with_its_reason(job: Job, sim: Trace) -> None:
    found = planted(job, sim, play_on(job, lambda scenario: Refusing(scenario, listings(scenario))))

    assert (found.kind, found.cause) == ("order", Cause.REJECTION)
    assert found.why == "backtest: the third is one too many"


def test_news_that_come_late_are_latency(job: Job, sim: Trace) -> None:
    found = planted(job, sim, play_on(job, lambda scenario: Late(scenario, listings(scenario))))

    assert (found.kind, found.cause, found.why) == ("order", Cause.LATENCY, "backtest: 60 s later")


def test_bars_that_are_stamped_early_look_ahead(job: Job, sim: Trace, tmp_path: Path) -> None:
    early = rewritten(job, tmp_path, shift_ms=-NS_PER_MINUTE // NS_PER_MS)

    found = planted(job, sim, play(early, "backtest"))

    assert (found.kind, found.cause) == ("bar", Cause.LOOK_AHEAD)
    assert found.why == "backtest: the bar is stamped 60 s before it closes"


PEEKING = """
import backtrader as bt


class Peeking(bt.Strategy):
    def next(self):
        {guard}rises = self.data.close[1] > self.data.close[0]
        if rises and not self.position:
            self.buy()
        elif not rises and self.position:
            self.close()
"""


@pytest.mark.parametrize(
    ("guard", "kind"),
    [
        ("", "run"),  # where bars come one by one there is no next one to read
        ("if len(self.data) + 1 > self.data.buflen(): return\n        ", "signal"),
    ],
)
def test_a_strategy_that_reads_the_next_bar_looks_ahead(guard: str, kind: str, job: Job, tmp_path: Path) -> None:
    path = tmp_path / "peeking.py"
    path.write_text(PEEKING.format(guard=guard), encoding="utf-8")
    peeking = attrs.evolve(job, strategy=str(path), span_ns=10 * NS_PER_MINUTE)

    found = planted(peeking, play(peeking, "sim"), play(peeking, "backtest"))

    assert (found.kind, found.cause) == (kind, Cause.LOOK_AHEAD)


def test_the_planted_venues_are_the_adapters_own_but_for_the_fault(job: Job, sim: Trace) -> None:
    assert isinstance(matcher(job.scenario), Box)
    assert compare(play_on(job, matcher), sim).first is None


BROKEN = """
import backtrader as bt


class Raises(bt.Strategy):
    def next(self):
        if len(self) == 3:
            raise ValueError("boom")

class Unmade(bt.Strategy):
    def __init__(self):
        raise ValueError("no")
"""


def test_chance_is_not_taken_for_a_look_at_the_future(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "dice.py"
    path.write_text(
        "import itertools\nimport backtrader as bt\n\n\n"
        "class Dice(bt.Strategy):\n"
        "    def __init__(self):\n        import builtins\n"
        "        self.run = builtins.__dict__.setdefault('_btx_dice', itertools.count()).__next__()\n\n"
        "    def next(self):\n        if len(self) == 3 + self.run:\n            self.buy()\n",
        encoding="utf-8",
    )
    dice = attrs.evolve(job, strategy=str(path), span_ns=10 * NS_PER_MINUTE)

    assert planted(dice, play(dice, "sim"), play(dice, "backtest")).cause is Cause.STRATEGY


@pytest.mark.parametrize(
    "words", [["--market", "coinm"], ["--venue", "bybit", "--market", "inverse"]], ids=["binance", "bybit"]
)
def test_coin_margined_contracts_are_bought_and_runs_without_orders_say_so(words: list[str], tmp_path: Path) -> None:
    idle = tmp_path / "idle.py"
    idle.write_text("import backtrader as bt\n\n\nclass Idle(bt.Strategy):\n    pass\n", encoding="utf-8")
    words = [*words, "--leverage", "3", "--span", "1h"]
    sma = str(ROOT / "examples" / "strategies" / "sma_cross.py")

    traded = CliRunner().invoke(cli, ["parity", sma, *words, "--json"])
    nothing = CliRunner().invoke(cli, ["parity", str(idle), *words])

    assert traded.exit_code == nothing.exit_code == 0
    assert json.loads(traded.stdout)["counts"]["fill"]["equal"] > 0
    assert "the strategy sent no order" in nothing.output


# --- the command --------------------------------------------------------------------------------------------


def test_the_command_makes_a_market_compares_and_writes_a_page(tmp_path: Path) -> None:
    page = tmp_path / "parity.html"
    strategy = str(ROOT / "examples" / "strategies" / "sma_cross.py")

    done = CliRunner().invoke(cli, ["parity", strategy, "--span", "2h", "--html", str(page)])

    assert done.exit_code == 0, done.output
    assert "✓ the two runs are equal" in done.output
    text = page.read_text(encoding="utf-8")
    assert "the two runs are equal" in text
    assert "src=" not in text
    assert "href=" not in text


def test_a_difference_is_exit_code_1_in_text_page_and_json(job: Job, tmp_path: Path) -> None:
    path, page = tmp_path / "dice.py", tmp_path / "parity.html"
    path.write_text(
        "import itertools\nimport backtrader as bt\nruns = itertools.count()\n\n\n"
        "class Dice(bt.Strategy):\n"
        "    def __init__(self):\n        import builtins\n"
        "        self.run = builtins.__dict__.setdefault('_btx_runs', itertools.count()).__next__()\n\n"
        "    def next(self):\n        if len(self) == 3 + self.run % 2:\n            self.buy()\n",
        encoding="utf-8",
    )
    words = ["parity", str(path), "--strategy", "Dice", "--data", f"BTC/USDT={job.data['BTC/USDT']}", "--span", "10m"]

    shown = CliRunner().invoke(cli, [*words, "--html", str(page)])
    told = CliRunner().invoke(cli, [*words, "--json"])

    assert shown.exit_code == told.exit_code == 1
    assert "✗ the runs part: not deterministic" in shown.output
    assert "the runs part: not deterministic" in page.read_text(encoding="utf-8")
    result = json.loads(told.stdout)
    assert result["equal"] is False
    assert result["first"]["cause"] == "not deterministic"
    assert result["counts"]["bar"] == {"backtest": 10, "sim": 10, "equal": 10}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.py"], "there is no file nowhere.py"),
        (["{sma}", "--data", "nothing.csv"], "there is no file nothing.csv"),
        (
            ["{sma}", "--data", "{data}", "--symbol", "ETH/USDT"],
            "--symbol names ETH/USDT, and the files are of BTC/USDT",
        ),
        (["{sma}", "--market", "moon"], "binance has no market 'moon' here"),
        (["{sma}", "--html", "/nowhere/page.html"], "there is no folder /nowhere"),
        (["{sma}", "--leverage", "5"], "positions of market 'spot' are not on margin"),
        (["{sma}", "--funding", "BTC/USDT={data}"], "--funding is of positions on margin, and those of spot are not"),
        (["{broken}:Raises", "--data", "{data}", "--span", "10m"], "in both runs, after 2 bars: ValueError: boom (b"),
        (["{broken}:Unmade", "--data", "{data}", "--span", "10m"], "cannot be made: ValueError: no (broken.py line 12"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, job: Job, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(BROKEN, encoding="utf-8")
    known = {
        "sma": str(ROOT / "examples" / "strategies" / "sma_cross.py"),
        "data": f"{job.data['BTC/USDT']}",
        "broken": str(broken),
    }

    done = CliRunner().invoke(cli, ["parity", *(word.format(**known) for word in words)])

    assert done.exit_code == 2
    assert sentence in done.stderr


INTERRUPTED = """
import signal

import backtrader as bt


class Interrupted(bt.Strategy):
    def next(self):
        if len(self) == 5 and "/sim/" in repr(self.data.store):
            signal.raise_signal(signal.SIGINT)
"""


def test_a_comparison_that_is_interrupted_says_nothing_of_the_two_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(INTERRUPTED)
    command = [sys.executable, "-m", "btx", "parity", "mine.py", "--span", "1h"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 130
    assert "difference" not in done.stdout
    assert "Traceback" not in done.stderr
