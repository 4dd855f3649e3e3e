"""The README's first command, as a user runs it."""

import json
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from btx.model.time import NS_PER_HOUR
from btx.tools import demo
from tests.e2e.trading import run, world


def run_demo(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "btx", "demo", "--json", str(report), "--picture", str(tmp_path / "demo.png")]
    run = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    return run, json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}


def trades_of(report: dict[str, Any]) -> dict[str, Any]:
    """What must be the same twice: everything but ids and the wall clock."""
    return {key: report[key] for key in ("bars", "orders", "fills", "ledger", "equity")}


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_the_demo_trades_and_its_books_agree_to_the_last_digit(tmp_path: Path, venue: str) -> None:
    run, report = run_demo(tmp_path, "--venue", venue, "--span", "6h")

    assert run.returncode == 0, run.stdout + run.stderr
    assert "equals the simulator's ledger to the last digit" in run.stdout
    assert report["bars"] == {"BTC/USDT": 360, "ETH/USDT": 360}
    assert len(report["fills"]) > 1
    assert report["differences"] == []
    assert (tmp_path / "demo.png").stat().st_size > 20_000


def test_the_same_seed_trades_the_same_twice_and_another_seed_does_not(tmp_path: Path) -> None:
    _, first = run_demo(tmp_path, "--span", "4h", "--seed", "7")
    _, again = run_demo(tmp_path, "--span", "4h", "--seed", "7")
    _, other = run_demo(tmp_path, "--span", "4h", "--seed", "8")

    assert trades_of(first) == trades_of(again)
    assert trades_of(first) != trades_of(other)


@pytest.mark.slow
def test_twelve_hours_of_real_minutes_come_out_the_same_twice_and_all_books_agree(
    tmp_path: Path, btx_data: Path
) -> None:
    files = [
        argument
        for symbol in ("BTC", "ETH")
        for argument in ("--data", str(btx_data / "klines" / f"binance_spot_{symbol}USDT_1m_2025-06.csv.gz"))
    ]

    run, report = run_demo(tmp_path, "--span", "12h", *files)
    _, again = run_demo(tmp_path, "--span", "12h", *files)

    assert run.returncode == 0, run.stdout + run.stderr
    assert report["bars"] == {"BTC/USDT": 720, "ETH/USDT": 720}
    assert len(report["fills"]) > 4
    assert "made up  BTC/USDT: trades and the path inside each minute" in run.stdout
    assert trades_of(report) == trades_of(again)


def test_a_file_without_a_symbol_in_its_name_is_one_clear_sentence(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("open_time_ms,open,high,low,close,volume\n", encoding="utf-8")

    run, _ = run_demo(tmp_path, "--data", str(file))

    assert run.returncode == 2
    assert "write --data BTC/USDT=" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_broken_line_of_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT-1m.csv"
    file.write_text(
        "open_time_ms,open,high,low,close,volume\n1748736000000,1,2,1,1.5,10\n1748736060000,1,oops,1,1.5,10\n",
        encoding="utf-8",
    )

    run, _ = run_demo(tmp_path, "--data", str(file))

    assert run.returncode != 0
    assert "line 3" in run.stderr
    assert "Traceback" not in run.stderr


def test_minutes_that_a_file_lacks_are_told_and_no_difference(tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT-1m.csv"
    minutes = [minute for minute in range(300) if not 100 <= minute < 106]
    file.write_text("".join(f"{1748736000000 + 60_000 * minute},100,102,99,101,5\n" for minute in minutes))

    run, report = run_demo(tmp_path, "--data", str(file), "--span", "all")

    assert run.returncode == 0, run.stdout + run.stderr
    assert report["bars"] == {"BTC/USDT": 294}
    assert "missing  BTC/USDT: 6 minutes between first and last are not in the file" in run.stdout


def test_a_run_says_at_its_start_what_it_trades_on(tmp_path: Path) -> None:
    run, _ = run_demo(tmp_path, "--span", "1m")

    (line,) = (line for line in run.stderr.splitlines() + run.stdout.splitlines() if line.startswith("btx: "))
    assert line == "btx: binance/sim/spot, account btxsim01…, synthetic market, seed 1, lockstep"


def test_ctrl_c_ends_it_without_a_verdict_on_the_books(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "btx", "demo", "--span", "30d", "--picture", str(tmp_path / "demo.png")]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        assert demo.stderr.readline().startswith("btx: binance/sim/spot")  # it is connected

        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=60)

    assert demo.returncode == 130, out + err
    assert "Traceback" not in err
    assert "do not agree" not in out
    assert not (tmp_path / "demo.png").exists()


def test_the_demo_runs_in_this_process_too_and_draws_what_it_traded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, report = tmp_path / "demo.svg", tmp_path / "report.json"

    code = demo.run_demo(venue="binance", files=(), span_ns=8 * NS_PER_HOUR, seed=1, picture=picture, report=report)

    told = json.loads(report.read_text(encoding="utf-8"))
    assert code == 0
    assert told["bars"] == {"BTC/USDT": 480, "ETH/USDT": 480}
    assert len(told["fills"]) > 1
    assert "flat is exactly 0" in capsys.readouterr().out
    assert "BTC/USDT" in picture.read_text(encoding="utf-8")


def test_books_that_do_not_agree_are_told_by_name() -> None:
    seen: dict[str, list[str]] = {}

    def compare(strategy: Any) -> None:
        session = strategy.broker._stores[0].session
        fills = tuple(fill for order in session.orders() for fill in order.fills)
        ledger = demo._fold(session, fills)
        dear = {**ledger, "USDT": ledger["USDT"] + Decimal("0.00000001")}
        seen["equal"] = list(demo._ledger_differences(session, ledger, fills))
        seen["off"] = list(demo._ledger_differences(session, dear, fills))
        seen["lost"] = list(demo._ledger_differences(session, ledger, fills[1:]))
        seen["shown"] = list(demo._edge_differences(session, strategy, strategy.datas, ledger))
        seen["cents"] = list(demo._edge_differences(session, strategy, strategy.datas, dear))
        seen["wrong"] = list(demo._edge_differences(session, strategy, strategy.datas, {**ledger, "BTC": Decimal(7)}))

    run(world(minutes=8), {2: lambda s: s.buy(size=0.5)}, at_end=compare)

    assert seen["equal"] == seen["shown"] == []
    assert [text.partition(":")[0] for text in seen["cents"]] == ["cash", "value"]
    assert seen["off"][0].startswith("USDT: session ")
    assert seen["lost"][0].startswith("fill ('BTCUSDT', '1'): session None")
    assert any(text.startswith("BTC/USDT: backtrader's position") for text in seen["wrong"])
