"""Paper on margin: the simulated venue's public side, whose funding a paper account pays like any other."""

from pathlib import Path
from typing import Any

import attrs
import pytest

import btx
from btx.model.account import BookingKind
from btx.sim.synthetic import SYNTHETIC_ORIGIN_NS
from tests.e2e.trading import run_on, world

PACE = 120  # a minute in half a second
APART_MS = 600_000  # fundings: whenever this machine gets to its first bar, one is soon


def test_a_paper_position_pays_its_funding_and_the_strategys_sums_are_the_accounts(tmp_path: Path) -> None:
    origin_ms = SYNTHETIC_ORIGIN_NS // 1_000_000
    rates = tmp_path / "rates.csv"
    stamps = [origin_ms + number * APART_MS for number in range(1, 60)]
    rates.write_text("funding_time_ms,funding_rate\n" + "".join(f"{at},0.001\n" for at in stamps))
    store = btx.load(
        "binance",
        env="paper",
        market="usdm",
        leverage=5,
        scenario=attrs.evolve(world(minutes=600, speed=PACE), market="usdm", funding={"BTC/USDT": rates}),
        balances={"USDT": "200000"},
        limits=None,
    )
    said: dict[str, Any] = {}

    def trade(strategy: Any) -> None:
        booked = {kind: amount for (kind, _), amount in strategy.broker.booked().items()}
        if strategy.live_bars == 1:
            strategy.buy(size=0.1)
        elif BookingKind.FUNDING in booked and "closed" not in said:
            said["closed"] = strategy.close()
        elif "closed" in said and not said["closed"].alive():
            said["total"], said["booked"] = strategy.broker.ledger()["USDT"], booked
            strategy.env.runstop()

    strategy = run_on(store, dict.fromkeys(range(1, 600), trade))

    booked = said["booked"]
    assert said["total"] == 200_000 + sum(booked.values())
    bought = strategy.orders[-1].executed.price
    paid = -float(booked[BookingKind.FUNDING]) / (bought * 0.1 * 0.001)
    assert round(paid) >= 1
    assert paid == pytest.approx(round(paid), rel=0.01)
    assert abs(float(booked[BookingKind.FEE]) + bought * 0.2 * 0.0005) < 0.1
    assert strategy.position.size == 0
