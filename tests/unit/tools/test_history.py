"""btx history: what is read from the command line, and what is shown."""

import io
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from btx.errors import ConfigError
from btx.model.history import Policy
from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, Interval, iso
from btx.rules.history import Policies
from btx.storage.bars import BarStore
from btx.tools.history import _shown, policies_of, run_ls, run_rm, run_verify, time_of
from tests.values import BTC, MINUTE, bar

HOUR = Interval.parse("1h")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BarStore:
    """Ten minutes of which the fourth is missing, the sixth is impossible, and the last two were never fetched."""
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "150")
    store = BarStore(tmp_path / "history" / "binance" / "live" / "spot")
    bars = [bar(minute) for minute in range(8) if minute != 3]
    bars[4] = attrs.evolve(bars[4], low=bars[4].high + 1)
    put(store, MINUTE, bars, (0, 8))
    put(store, MINUTE, [bar(10)], (10, 11), "a remark of then")
    put(store, HOUR, [bar(0, interval=HOUR)], (0, 60))
    return store


def put(store: BarStore, interval: Interval, bars: list[Bar], span: tuple[int, int], *remarks: str) -> None:
    covered = (span[0] * NS_PER_MINUTE, span[1] * NS_PER_MINUTE)
    store.put(BTC.symbol, interval, bars, covered=[covered], source="rest", remarks=remarks)


def test_a_venue_nobody_knows_is_named_with_those_there_are(kept: BarStore) -> None:
    for look in (run_ls, run_verify):
        with pytest.raises(ConfigError, match="the venue 'nope' is unknown: choose one of binance"):
            look("nope")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-01-31", "2025-01-31T00:00:00.000Z"),
        ("2025-01-31T12:30", "2025-01-31T12:30:00.000Z"),
        ("2025-01-31T12:30+02:00", "2025-01-31T10:30:00.000Z"),
    ],
)
def test_a_date_is_of_utc_unless_it_names_a_zone(text: str, moment: str) -> None:
    assert iso(time_of(text, "--from")) == moment


def test_policies_are_chosen_by_word() -> None:
    assert policies_of(["hole=fill", "not positive=drop", "spike=raise"]) == Policies(
        hole=Policy.FILL, not_positive=Policy.DROP, spike=Policy.RAISE
    )
    for word in ("hole", "hole=perhaps", "gap=fill"):
        with pytest.raises(ConfigError, match=f"--on '{word}': write a finding"):
            policies_of([word])


def test_what_is_kept_is_listed_with_its_holes(kept: BarStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_ls(None) == 0

    told = capsys.readouterr().out.splitlines()
    assert told[0] == "binance/live/spot"
    lines = [line.split() for line in told if "BTC/USDT" in line]
    assert [line[:8] for line in lines] == [
        ["BTC/USDT", "1m", "1970-01-01", "00:00", "1970-01-01", "00:11", "8", "1"],
        ["BTC/USDT", "1h", "1970-01-01", "00:00", "1970-01-01", "01:00", "1", "0"],
    ]


def test_what_is_wrong_is_told_and_only_damage_is_an_error(kept: BarStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verify("binance") == 0
    assert capsys.readouterr().out.splitlines() == [
        (
            "binance/live/spot: BTC/USDT 1m shape: the bar of 1970-01-01T00:05:00.000Z has open 100, high 110, "
            "low 111, close 105"
        ),
        (
            "binance/live/spot: BTC/USDT 1m hole: 1 bars from 1970-01-01T00:03:00.000Z to 1970-01-01T00:04:00.000Z "
            "are missing"
        ),
        "binance/live/spot: a remark of then",
        "2 months are sound, 0 are damaged",
    ]
    path = Path(kept.ls()[1].place)
    path.write_bytes(b"nothing")

    assert run_verify(None) == 1

    out = capsys.readouterr().out
    assert f"DAMAGED {path}: it is cut off, or no file of the history cache" in out
    assert "1 months are sound, 1 are damaged" in out


def remove(agreed: bool = True, **more: object) -> tuple[int, list[str]]:
    asked: list[str] = []

    def agree(question: str) -> bool:
        asked.append(question)
        return agreed

    wanted: dict[str, object] = {"start_ns": None, "end_ns": None, "market": None, "world": "live", **more}
    code = run_rm("binance", ["BTC/USDT"], wanted.pop("intervals", ()), agreed=agree, **wanted)  # type: ignore[arg-type]
    return code, asked


def test_removing_asks_what_exactly_and_removes_no_more(kept: BarStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert remove(agreed=False) == (
        1,
        ["Remove BTC/USDT 1m of binance/live/spot, BTC/USDT 1h of binance/live/spot?"],
    )
    assert len(kept.ls()) == 2
    code, asked = remove(intervals=["1m"], start_ns=NS_PER_MINUTE, end_ns=3 * NS_PER_MINUTE, market="spot")
    assert code == 0
    assert asked == [
        "Remove BTC/USDT 1m of binance/live/spot from 1970-01-01T00:01:00.000Z to 1970-01-01T00:03:00.000Z?"
    ]
    assert capsys.readouterr().out == "2 bars are removed\n"
    assert [stock.bars for stock in kept.ls()] == [6, 1]
    for strange in ({"world": "testnet"}, {"market": "swap"}, {"intervals": ["4h"]}):
        with pytest.raises(ConfigError, match="nothing of BTC/USDT is kept of binance/"):
            remove(**strange)
    with pytest.raises(ConfigError, match="-i 'soon' is no interval"):
        remove(intervals=["soon"])


def test_a_terminal_shows_bars_and_anything_else_a_line_for_each_series() -> None:
    shown, plain = io.StringIO(), io.StringIO()
    for console in (Console(file=shown, force_terminal=True, width=100), Console(file=plain, width=100)):
        with _shown(console) as show:
            for done in (0, 50, 100, 100):
                show.progress(BTC, MINUTE, done, 100)
            show.progress(BTC, HOUR, 0, 0)
            show.note("a [remark]")

    assert plain.getvalue() == "BTC/USDT 1m: done\nBTC/USDT 1h: nothing has closed yet\na [remark]\n"
    assert "100%" in shown.getvalue()
    assert "a [remark]" in shown.getvalue()
