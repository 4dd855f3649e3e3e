"""Real minutes and real funding of two perpetuals: what an account has at the end is the simulator's, exactly.

``BTX_FUNDING_DAYS=28 pytest -s tests/e2e/test_real_funding.py`` plays the whole month, in some three minutes.
"""

import csv
import os
import sys
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import pytest

import btx
from btx.model.time import NS_PER_DAY
from btx.model.venue import Scenario
from tests.e2e.test_futures import KINDS, agree, booked, end, simulator, trade
from tests.e2e.trading import account

DAYS = int(os.environ.get("BTX_FUNDING_DAYS", "2"))
COINS = ("BTC", "ETH")
LONG = Decimal("0.5")  # of BTC, held from the first bar to the last
HOUR_MS = 3_600_000


def turns(strategy: Any) -> None:
    """Hold BTC all the time, and go long and short of ETH by turns."""
    btc, eth = strategy.datas
    strategy.order_target_size(data=btc, target=float(LONG))
    strategy.order_target_size(data=eth, target=2 if strategy.live_bars % 2 else -3)


def paid_by(rates: Path, *, from_ms: int, until_ms: int) -> Decimal:
    """Return what a constant long of LONG paid, read from the file of rates alone."""
    with rates.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    held = [row for row in rows if from_ms < int(row["funding_time_ms"]) <= until_ms]
    grid = Decimal("1e-8")
    amounts = (-LONG * Decimal(row["mark_price"]) * Decimal(row["funding_rate"]) for row in held)
    return sum((amount.quantize(grid, rounding=ROUND_DOWN) for amount in amounts), Decimal(0))


def test_fees_funding_profit_and_balance_are_the_simulators_with_a_restart_in_the_middle(
    btx_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    rates = {coin: btx_data / "funding" / f"binance_usdm_{coin}USDT_funding_2025-03_06.csv" for coin in COINS}
    klines = {coin: btx_data / "klines" / f"binance_usdm_{coin}USDT_1m_2025-05-05_2025-06-02.csv.gz" for coin in COINS}
    scenario = Scenario(
        market="usdm",
        data={f"{coin}/USDT:USDT": klines[coin] for coin in COINS},
        funding={f"{coin}/USDT:USDT": rates[coin] for coin in COINS},
        accounts=(account(USDT="100000"),),
        until_ns=DAYS * NS_PER_DAY,
    )
    datas = tuple({"dataname": f"{coin}/USDT", "interval": "1h"} for coin in COINS)
    hours = DAYS * 24
    middle = hours // 2 + 3
    steps = dict.fromkeys(range(1, hours, 5), turns)
    with simulator(scenario) as endpoints:
        store = btx.load(
            "binance",
            market="usdm",
            leverage=3,
            limits=None,
            scenario=btx.scenario(attach=endpoints.control),
            keep="funding",
        )
        first, _ = trade(store, steps | {middle: end}, datas=datas)
        second, ledger = trade(store, steps, datas=datas)

    agree(second, ledger)
    sums, theirs = [each.analyzers[0].get_analysis() for each in (first, second)], booked(ledger)
    for name, kind in KINDS.items():
        assert sum(sum(each[name].values(), Decimal(0)) for each in sums) == theirs[kind]
    assert Decimal(ledger["wallets"]["USDT"]["wallet"]) == 100_000 + sum(theirs.values(), Decimal(0))
    begin_ms, end_ms = first.seen[0][1] + HOUR_MS, second.seen[-1][1] + HOUR_MS
    of_btc = [each for each in ledger["bookings"] if each["kind"] == "FUNDING" and each["symbol"] == "BTCUSDT"]
    assert sum((Decimal(each["amount"]) for each in of_btc), Decimal(0)) == paid_by(
        rates["BTC"], from_ms=begin_ms, until_ms=end_ms
    )
    notes = (*first.store_notes, *second.store_notes)
    assert not [text for text in notes if text.startswith(("DRIFT", "HALT", "FAULT")) or "adopted" in text]
    sys.stdout.write(f"\n{DAYS} days: {ledger['wallets']['USDT']['wallet']} USDT, {theirs}\n")
