"""btx preflight against the venue in the box: the adapter's own requests, and what is made of the answers."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from btx.cli import cli


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BTX_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("market", "checks"),
    [
        ("spot", {"key", "withdrawals", "clock", "disk", "journal", "BTC/USDT", "BTC/USDT fees", "open orders"}),
        ("usdm", {"key", "position mode", "BTC/USDT:USDT leverage", "BTC/USDT:USDT funding", "open orders"}),
    ],
)
def test_an_account_in_the_box_passes(market: str, checks: set[str]) -> None:
    done = CliRunner().invoke(cli, ["preflight", "binance", "--market", market, "--json"])

    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    levels = {each["check"]: each["level"] for each in result["checks"]}
    assert checks <= levels.keys()
    assert "FAIL" not in levels.values()
    assert result["account"] == f"binance/sim/{market}"
    (smallest,) = [each for each in result["checks"] if each["check"].endswith("smallest order")]
    assert smallest["level"] == "OK"


def test_what_fails_is_shown_with_its_cure_and_is_the_exit_code() -> None:
    words = ["--market", "usdm", "--leverage", "500", "--position-mode", "hedge", "--symbol", "BTC/USDT"]

    done = CliRunner().invoke(cli, ["preflight", "binance", *words, "--symbol", "NOPE/USDT"])

    assert done.exit_code == 1
    assert "FAIL NOPE/USDT" in done.output
    assert "500 is wanted, and 125 the most" in done.output
    assert "it is one_way, hedge is set at the start" in done.output
    assert "2 fail" in done.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--env", "live"], "BTX_BINANCE_API_KEY is not set"),
        (["--market", "moon"], "has no market 'moon' here"),
        (["--leverage", "5"], "positions of market 'spot' are not on margin"),
    ],
)
def test_what_cannot_be_looked_at_is_one_sentence(
    words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BTX_BINANCE_API_KEY", raising=False)

    done = CliRunner().invoke(cli, ["preflight", "binance", *words])

    assert sentence in str(done.exception)
