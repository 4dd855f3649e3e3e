"""What the sample strategies did, kept to the last digit: `python -m tests.golden` writes it anew, on purpose.

Look at the difference before you commit it: a strategy that trades otherwise on the same bars is a change for users.
"""

import tempfile
from pathlib import Path

import attrs

from btx.model.time import NS_PER_HOUR
from btx.tools.parity import Job, golden, play, write_synthetic

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "data" / "golden"
SAMPLES = {"sma_cross": 13, "mean_reversion": 5, "breakout": 5}
"""Hours of the seeded market by sample strategy: enough for fifty orders of each."""


def sample_job(name: str, folder: Path, *, venue: str = "binance") -> Job:
    """Return the job of a sample on its seeded market, whose files are written to ``folder``."""
    strategy = str(ROOT / "examples" / "strategies" / f"{name}.py")
    job = Job(strategy=strategy, venue=venue, market="spot", data={}, seed=7)
    return attrs.evolve(job, data=write_synthetic(folder, job, ["BTC/USDT"], span_ns=SAMPLES[name] * NS_PER_HOUR))


def main() -> None:
    for name in SAMPLES:
        with tempfile.TemporaryDirectory() as folder:
            lines = golden(play(sample_job(name, Path(folder)), "backtest"))
        (FOLDER / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
