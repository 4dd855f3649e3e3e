"""Paper on margin: the simulated venue's public side, whose funding a paper account pays like any other."""

from pathlib import Path
from typing import Any

import attrs

import btx
from btx.model.account import BookingKind
from btx.sim.synthetic import SYNTHETIC_ORIGIN_NS
from tests.e2e.trading import run_on, world

PACE = 120  # a minute in half a second


def test_a_paper_position_pays_its_funding_and_the_strategys_sums_are_the_accounts(tmp_path: Path) -> None:
    origin_ms = SYNTHETIC_ORIGIN_NS // 1_000_000
    rates = tmp_path / "rates.csv"
    stamps = [(origin_ms + 150_000, "0.001"), (origin_ms + 86_400_000, "0.001")]
    rates.write_text("funding_time_ms,funding_rate\n" + "".join(f"{at},{rate}\n" for at, rate in stamps))
    store = btx.load(
        "binance",
        env="paper",
        market="usdm",
        leverage=5,
        scenario=attrs.evolve(world(minutes=9, speed=PACE), market="usdm", funding={"BTC/USDT": rates}),
        balances={"USDT": "200000"},
        limits=None,
    )
    said: dict[str, Any] = {}

    def look(strategy: Any) -> None:
        said["total"] = strategy.broker.ledger()["USDT"]
        said["booked"] = {kind: amount for (kind, _), amount in strategy.broker.booked().items()}

    steps = {1: lambda strategy: strategy.buy(size=0.1), 6: lambda strategy: strategy.close(), 7: look}
    strategy = run_on(store, steps)

    booked = said["booked"]
    assert said["total"] == 200_000 + sum(booked.values())
    bought = strategy.orders[-1].executed.price
    assert abs(float(booked[BookingKind.FUNDING]) + bought * 0.1 * 0.001) < 0.1
    assert abs(float(booked[BookingKind.FEE]) + bought * 0.2 * 0.0005) < 0.1
    assert strategy.position.size == 0
