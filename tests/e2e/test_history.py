"""The history cache against the venue in the box, as its page says, and counted by the simulator's own log."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from btx import cli
from btx.compose import scenario
from btx.model.time import NS_PER_DAY
from btx.model.venue import Endpoints, Scenario
from btx.runtime.control import Control
from btx.sim.texts import endpoints_from_json, scenario_to_json
from btx.storage.bars import BarStore
from tests.values import MINUTE

DEADLINE_S = 60
History = Callable[..., str]


def simulated(world: Scenario) -> Iterator[Endpoints]:
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "btx", "sim", "binance", "--detach", "--json"),
            *("--scenario-json", scenario_to_json(world)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        try:
            yield endpoints_from_json(child.stdout.readline())
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(DEADLINE_S) == 0


@pytest.fixture(scope="module")
def simulator() -> Iterator[Endpoints]:
    yield from simulated(scenario(warmup="62d", until="1h"))


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> History:
    """``btx history ...`` in this process; what it prints, once its exit code is the expected one."""

    def run(home: Path, *arguments: str, expect: int = 0) -> str:
        monkeypatch.setenv("BTX_HOME", str(home))
        monkeypatch.setenv("COLUMNS", "150")
        monkeypatch.setattr(sys, "argv", ["btx", "history", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert (end.value.code or 0) == expect, out + err
        return out + err

    return run


def requests(simulator: Endpoints) -> Mapping[str, int]:
    async def ask() -> Mapping[str, int]:
        channel = await Control.connect(simulator.control)
        try:
            counted: Mapping[str, int] = (await channel.ask("requests"))["requests"]
            return counted
        finally:
            await channel.close()

    return asyncio.run(ask())


def test_the_commands_of_the_page_do_what_it_says(
    history: History, simulator: Endpoints, tmp_path: Path, root: Path
) -> None:
    page = (root / "docs" / "how-to" / "history.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- a test runs these in order -->\n```console\n(.*?)```", page, flags=re.DOTALL)
    steps = re.findall(r"^\$ btx history (.*)\n((?:[^$].*\n)*)", block, flags=re.MULTILINE)
    words = {"$CONTROL": simulator.control, "$WORLD": f"sim-{simulator.extra['world']}"}

    assert len(steps) == 6
    for command, told in steps:
        out = history(tmp_path, *(words.get(word, word) for word in command.split()))
        assert told.strip() in out
        if command == "ls":
            assert words["$WORLD"] in out  # whole, to be copied, in 80 columns


def test_the_second_run_asks_nothing_and_a_day_removed_is_all_that_is_fetched(
    history: History, simulator: Endpoints, tmp_path: Path
) -> None:
    wanted = ("BTC/USDT", "--from", "2025-04-01", "--to", "2025-05-01", "--env", "sim", "--attach", simulator.control)

    history(tmp_path, "download", "binance", *wanted)
    first = requests(simulator)
    history(tmp_path, "download", "binance", *wanted)
    second = requests(simulator)
    store = BarStore(tmp_path / "history" / "binance" / f"sim-{simulator.extra['world']}" / "spot")
    whole = store.bars("BTC/USDT", MINUTE, 0, 2**62)
    start_ns = whole[0].open_ns
    store.rm("BTC/USDT", MINUTE, start_ns + 14 * NS_PER_DAY, start_ns + 15 * NS_PER_DAY)
    history(tmp_path, "download", "binance", *wanted)
    third = requests(simulator)

    assert {path: count for path, count in first.items() if "/data/" in path} == {
        f"GET /data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-04.zip{end}": 1 for end in ("", ".CHECKSUM")
    }
    assert second == first
    assert {path: third[path] - first.get(path, 0) for path in third if third[path] != first.get(path, 0)} == {
        "GET /api/v3/time": 1,
        "GET /api/v3/exchangeInfo": 1,
        "GET /api/v3/klines": 2,  # a day has 1440 minutes, a page 1000
    }
    assert len(whole) == 30 * 24 * 60
    assert store.bars("BTC/USDT", MINUTE, 0, 2**62) == whole


def test_the_archive_and_the_requests_tell_the_same_bars(
    history: History, simulator: Endpoints, tmp_path: Path
) -> None:
    wanted = ("BTC/USDT", "-i", "1h", "--env", "sim", "--attach", simulator.control)
    history(tmp_path / "1", "download", "binance", *wanted, "--from", "2025-04-01", "--to", "2025-05-01")
    for start, end in (("01", "11"), ("11", "21"), ("21", "31")):  # too little of the month for its file
        last = "2025-05-01" if end == "31" else f"2025-04-{end}"
        history(tmp_path / "2", "download", "binance", *wanted, "--from", f"2025-04-{start}", "--to", last)

    stores = [
        BarStore(tmp_path / each / "history" / "binance" / f"sim-{simulator.extra['world']}" / "spot") for each in "12"
    ]
    assert [stock.sources for store in stores for stock in store.ls()] == [("archive",), ("rest",)]
    one, other = (store.bars("BTC/USDT", stores[0].ls()[0].interval, 0, 2**62) for store in stores)
    assert len(one) == 30 * 24
    assert one == other


def test_a_damaged_month_is_named_and_fetched_again(history: History, simulator: Endpoints, tmp_path: Path) -> None:
    wanted = ("BTC/USDT", "-i", "4h", "--from", "2025-05-19", "--env", "sim", "--attach", simulator.control)
    history(tmp_path, "download", "binance", *wanted, "--to", "2025-05-31")
    (file,) = (tmp_path / "history").rglob("*.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))

    found = history(tmp_path, "verify", expect=1)
    again = history(tmp_path, "download", "binance", *wanted, "--to", "2025-05-31")

    assert f"DAMAGED {file}: its bytes are not those that were written" in found
    assert f"{file} is damaged" in again
    assert "72 bars fetched" in again
    assert "1 months are sound, 0 are damaged" in history(tmp_path, "verify")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("DOGE/USDT", "--from", "2025-05-01"), "btx: Binance lists no DOGE/USDT: write it like BTC/USDT"),
        (("BTC/USDT", "--from", "yesterday"), "btx: --from 'yesterday' is no date: write it like 2025-01-31"),
        (("BTC/USDT", "-i", "7m", "--from", "2025-05-01"), "btx: Binance has no bars of 7m: choose of 1m 3m"),
        (("BTC/USDT", "-i", "x", "--from", "2025-05-01"), "btx: -i 'x' is no interval: write a number and"),
        (("BTC/USDT", "--from", "2025-05-01", "--to", "2025-05-01"), "btx: --to must lie after --from"),
        (("BTC/USDT", "--from", "2025-05-01", "--on", "hole=drop"), "btx: --on: hole cannot be 'drop': choose one of"),
        (("BTC/USDT", "--from", "2025-05-01", "--on", "gap=fill"), "btx: --on 'gap=fill': write a finding (hole, "),
        (("BTC/USDT", "--from", "2025-05-01", "--market", "swap"), "btx: Binance has no market 'swap' here: choose"),
    ],
)
def test_what_cannot_be_downloaded_is_one_sentence(
    history: History, simulator: Endpoints, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    world = ("--env", "sim", "--attach", simulator.control)

    out = history(tmp_path, "download", "binance", *arguments, *world, expect=2)

    assert out.startswith(sentence)
    assert out.count("\n") == 1


def test_a_simulated_world_without_its_simulator_has_no_history(history: History, tmp_path: Path) -> None:
    wanted = ("download", "binance", "BTC/USDT", "--from", "2025-05-01")

    assert "--attach ws://... and --env sim go together" in history(tmp_path, *wanted, "--env", "sim", expect=2)
    assert "go together" in history(tmp_path, *wanted, "--attach", "ws://127.0.0.1:1/", expect=2)


def test_what_is_not_kept_cannot_be_removed_and_nothing_is_kept_at_first(history: History, tmp_path: Path) -> None:
    assert "nothing of BTC/USDT is kept of binance/live" in history(tmp_path, "rm", "binance", "BTC/USDT", expect=2)
    assert "nothing is kept in" in history(tmp_path, "ls")
    assert history(tmp_path, "verify") == "0 months are sound, 0 are damaged\n"


def test_control_c_keeps_what_came_and_the_next_run_goes_on_from_there(history: History, tmp_path: Path) -> None:
    # The fourth request of anybody is the second page of bars, and is never answered.
    hangs = [{"kind": "half_open", "where": "market", "at": 4, "for_s": 0}]
    for simulator in simulated(scenario(warmup="3d", until="1h", faults=hangs)):
        wanted = ("download", "binance", "BTC/USDT", "--from", "2025-05-29", "--to", "2025-05-31", "--env", "sim")
        with subprocess.Popen(
            [sys.executable, "-m", "btx", "history", *wanted, "--attach", simulator.control],
            env={**os.environ, "BTX_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            deadline_s = time.monotonic() + DEADLINE_S
            while requests(simulator).get("GET /api/v3/klines") != 2:
                assert time.monotonic() < deadline_s
            child.send_signal(signal.SIGINT)
            out, _ = child.communicate(timeout=DEADLINE_S)

        assert child.returncode == 130
        assert "interrupted: what was fetched is kept" in out
        again = history(tmp_path, *wanted, "--attach", simulator.control)
        assert f"{2 * 24 * 60 - 1000} bars fetched with 2 requests" in again
