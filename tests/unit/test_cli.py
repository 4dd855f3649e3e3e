"""The btx command: what is wrong is one sentence on stderr and an exit code, never a traceback."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from btx import cli
from btx.model.time import NS_PER_DAY
from btx.model.venue import Scenario
from btx.runtime.faultpoints import POINTS
from tests.distributions import Install, install

__all__ = ("install",)  # a fixture is asked for by its name


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["btx", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["sim", "kraken"], 2, "btx: no adapter for 'kraken' is installed (installed: "),
        (["sim", "acme", "--data", "nowhere.csv"], 2, "btx: there is no file nowhere.csv: --data takes [SYMBOL=]FILE"),
        (["sim", "acme", "--scenario-json", "{"], 2, "btx: no scenario in JSON: "),
        (["sim", "broken"], 1, "btx: the adapter 'broken' of btx-broken cannot be imported (ZeroDivisionError: "),
        (["demo", "--data", "nowhere.csv"], 2, "btx: there is no file nowhere.csv"),
        (["demo", "--span", "30s"], 2, "btx: a bar is a minute long, and --span is shorter: give at least 1m"),
        (
            ["demo", "--picture", "no/where.png"],
            2,
            "btx: no/where.png cannot be written, there is no folder no: ",
        ),
        (["demo", "--picture", "picture.doc"], 2, "btx: no picture is drawn as 'picture.doc': end its name in one of "),
        (
            ["demo", "--json", "no/where.json"],
            2,
            "btx: no/where.json cannot be written, there is no folder no: ",
        ),
        (["demo", "--span", "all"], 2, "btx: the synthetic market never ends: give --span, like 12h"),
    ],
)
def test_what_btx_refuses_is_one_sentence(
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    install("acme")
    install("broken", "1 / 0")

    assert run(monkeypatch, *arguments) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(sentence)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["sim"],
        ["sim", "acme", "--speed", "0"],
        ["sim", "acme", "--port", "70000"],
        ["sim", "acme", "--market", "options"],
        ["sim", "acme", "--warmup", "3 days"],
        ["sim", "acme", "--warmup", "all"],
        ["sim", "acme", "--lockstep", "--speed", "5"],
        ["demo", "--span", "0"],
        ["demo", "--span", "1M"],
    ],
)
def test_what_the_command_line_does_not_know_is_a_usage_error(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    install("acme")

    assert run(monkeypatch, *arguments) == 2

    err = capsys.readouterr().err
    assert "Error: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "warmup_ns", "speed", "rebase"),
    [
        ([], 3 * NS_PER_DAY, 1.0, True),
        (["--warmup", "none", "--speed", "60"], 0, 60.0, False),
        (["--data", "BTCUSDT.csv"], 0, 1.0, True),
        (["--data", "BTCUSDT.csv", "--warmup", "1d", "--no-rebase"], NS_PER_DAY, 1.0, False),
        (["--lockstep"], 3 * NS_PER_DAY, None, False),
    ],
)
def test_the_market_that_is_asked_for_is_played(
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    arguments: list[str],
    warmup_ns: int,
    speed: float | None,
    rebase: bool,
) -> None:
    install("acme")
    (tmp_path / "BTCUSDT.csv").touch()
    monkeypatch.chdir(tmp_path)
    played: list[Scenario] = []

    def run_server(_simulator: object, scenario: Scenario, **_: object) -> int:
        played.append(scenario)
        return 0

    monkeypatch.setattr("btx.sim.server.run_server", run_server)

    assert run(monkeypatch, "sim", "acme", *arguments) == 0

    assert [(each.warmup_ns, each.speed, each.rebase) for each in played] == [(warmup_ns, speed, rebase)]


def test_a_simulator_of_a_market_on_margin_plays_perpetuals_with_the_funding_of_a_file(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install("acme")
    klines, rates = tmp_path / "BTCUSD_PERP-1m.csv", tmp_path / "rates.csv"
    for file in (klines, rates):
        file.touch()
    played: list[Scenario] = []

    def run_server(_simulator: object, scenario: Scenario, **_: object) -> int:
        played.append(scenario)
        return 0

    monkeypatch.setattr("btx.sim.server.run_server", run_server)

    files = ("--data", str(klines), "--funding", f"BTC/USD={rates}")
    assert run(monkeypatch, "sim", "acme", "--market", "coinm", *files) == 0

    assert [(each.market, each.data, each.funding) for each in played] == [
        ("coinm", {"BTC/USD:BTC": klines}, {"BTC/USD:BTC": rates})
    ]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["sim", "--help"], ["demo", "--help"]])
def test_help_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out


def test_venues_lists_what_is_installed(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme", "raise SystemError('it is not imported')")

    assert run(monkeypatch, "venues") == 0

    assert "acme  btx-acme 1.2.3\n" in capsys.readouterr().out


def test_venues_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("btx.tools.conformance.installed_venues", dict)

    assert run(monkeypatch, "venues") == 0

    assert capsys.readouterr().out == "no adapter is installed: pip install btx-binance\n"


def test_venues_tells_what_one_of_them_does_for_a_strategy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "venues", "binance") == 0

    out = capsys.readouterr().out
    assert out.startswith("Binance spot\n")
    assert re.search(r"^ limit order +native *$", out, flags=re.MULTILINE)
    assert "emulated: btx does it while your process runs" in out
    assert run(monkeypatch, "venues", "binance", "--markdown") == 0
    assert capsys.readouterr().out.startswith("# Binance: what it does for a strategy\n")


def test_an_extension_adds_commands(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(
        "hello",
        "from btx.hookspecs import hookimpl\nimport click\n\n@hookimpl\ndef btx_commands(cli):\n"
        "    cli.command('hello')(lambda: click.echo('hello from afar'))",
        group="btx.extensions",
    )
    monkeypatch.setattr(cli.cli, "commands", dict(cli.cli.commands))

    assert run(monkeypatch, "hello") == 0

    assert capsys.readouterr().out == "hello from afar\n"


def test_a_broken_extension_does_not_take_the_command_away(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("bad", "1 / 0", group="btx.extensions")

    assert run(monkeypatch, "venues") == 0

    assert capsys.readouterr().err.startswith("btx: the extension 'bad' cannot be imported")


def test_an_interruption_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> dict[str, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("btx.tools.conformance.installed_venues", interrupted)

    assert run(monkeypatch, "venues") == 130

    assert "Traceback" not in capsys.readouterr().err


def test_a_question_that_nobody_answers_is_one_sentence(tmp_path: Path) -> None:
    source = "import click, btx.cli as c; c.cli.command('ask')(lambda: click.confirm('Sure?', abort=True)); c.main()"

    done = subprocess.run(
        [sys.executable, "-c", source, "ask"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr.strip() == "btx: nobody answers here: look at what is asked, and say --yes"


def test_python_m_btx_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "btx", "sim", "nobody"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("btx: no adapter for 'nobody' is installed")
    assert done.stderr.count("\n") == 1


# --- chaos ------------------------------------------------------------------------------------------------


def test_the_points_at_which_a_process_may_be_killed_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "chaos", "--points") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(POINTS)


def test_chaos_wants_a_strategy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "chaos") == 2
    assert "name the strategy" in capsys.readouterr().err
