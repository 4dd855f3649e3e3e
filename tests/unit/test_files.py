"""Kline files as users name them."""

from pathlib import Path

import pytest

from btx.errors import ConfigError
from btx.tools.files import check_writable, kline_files, symbol_of


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTCUSDT-1m-2025-06.csv.gz", "BTC/USDT"),
        ("binance_ETHBTC_1m.csv", "ETH/BTC"),
        ("1INCHUSDT.csv", "1INCH/USDT"),
        ("WUSDT.csv", "W/USDT"),
        ("BTCFDUSD.csv", "BTC/FDUSD"),
        ("USDT.csv", None),
        ("market.csv", None),
        ("BTC/USDT", "BTC/USDT"),
    ],
)
def test_the_symbol_is_read_from_the_name(name: str, symbol: str | None) -> None:
    assert symbol_of(name) == symbol


def test_files_are_found_by_their_symbol(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("BTCUSDT-1m.csv", "a.csv", "b.csv"))
    for each in (one, two, three):
        each.touch()

    files = kline_files([str(one), f"ETH/USDT={two}", f"solusdt={three}"])

    assert files == {"BTC/USDT": one, "ETH/USDT": two, "SOL/USDT": three}


def test_a_path_may_hold_an_equals_sign(tmp_path: Path) -> None:
    folder = tmp_path / "year=2025"
    folder.mkdir()
    path = folder / "BTCUSDT.csv"
    path.touch()

    assert kline_files([str(path)]) == kline_files([f"BTC/USDT={path}"]) == {"BTC/USDT": path}


def test_the_home_directory_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "BTCUSDT.csv").touch()

    assert kline_files(["~/BTCUSDT.csv", "ETH/USDT=~/BTCUSDT.csv"]) == {
        "BTC/USDT": tmp_path / "BTCUSDT.csv",
        "ETH/USDT": tmp_path / "BTCUSDT.csv",
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.csv"], r"there is no file nowhere\.csv: --data takes \[SYMBOL=\]FILE with 1m klines"),
        (["BTC/USDT=nowhere.csv"], r"there is no file nowhere\.csv"),
        (["{folder}"], "there is no file"),
        (["{folder}/a.csv"], r"no symbol can be read from 'a\.csv': write --data BTC/USDT="),
        (["what?={folder}/a.csv"], r"'what\?' is no symbol: write --data BTC/USDT="),
        (["BTC/USDT={folder}/a.csv", "{folder}/BTCUSDT.csv"], r"BTC/USDT has two files, a\.csv and BTCUSDT\.csv"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "BTCUSDT.csv").touch()

    with pytest.raises(ConfigError, match=sentence) as raised:
        kline_files([each.format(folder=tmp_path) for each in arguments])

    assert "\n" not in str(raised.value)


def test_a_result_that_can_be_written_is_not_written_yet(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.json")

    assert list(tmp_path.iterdir()) == []


def test_where_no_result_can_be_written_is_one_sentence(tmp_path: Path) -> None:
    for path, sentence in (
        (tmp_path / "no" / "where.json", "there is no folder .*no: make it, or name another one"),
        (tmp_path, "cannot be written: name another file"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            check_writable(path)
