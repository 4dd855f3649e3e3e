"""Folders, presence and requests: what one process leaves for another is whole, private, and taken once."""

import concurrent.futures
import logging
import stat
from pathlib import Path

import pytest

from btx.errors import ConfigError
from btx.model.venue import Environment
from btx.storage.journal import open_journal
from btx.storage.lock import writer_of
from btx.storage.places import JOURNAL, account_folder, account_mark, history_folder, write_whole
from btx.storage.presence import Presence, read_presence, remove_presence, write_presence
from btx.storage.requests import Request, RequestKind, take_requests, waiting_requests, write_request

HALT = Request(kind=RequestKind.HALT, reason="btx panic", time_ns=2)
RESUME = Request(kind=RequestKind.RESUME, time_ns=1)


def test_an_accounts_folder_names_everything_but_its_key(tmp_path: Path) -> None:
    folder = account_folder(
        tmp_path, venue="toy", environment=Environment.LIVE, market="spot", api_key="secret-key", world=None
    )
    kept = account_folder(
        tmp_path, venue="toy", environment=Environment.SIM, market="spot", api_key="secret-key", world="mine"
    )

    assert folder == tmp_path / "toy" / "live" / "spot" / account_mark("secret-key") / "real"
    assert kept == tmp_path / "toy" / "sim" / "spot" / account_mark("secret-key") / "mine"
    assert "secret" not in str(folder.relative_to(tmp_path))


@pytest.mark.parametrize(
    ("environment", "world", "name"),
    [
        (Environment.LIVE, None, "live"),
        (Environment.PAPER, None, "live"),
        (Environment.BACKTEST, None, "live"),
        (Environment.TESTNET, None, "testnet"),
        (Environment.SIM, "a1b2", "sim-a1b2"),
    ],
)
def test_bars_of_one_world_never_lie_with_those_of_another(
    tmp_path: Path, environment: Environment, world: str | None, name: str
) -> None:
    folder = history_folder(tmp_path, venue="binance", environment=environment, market="spot", world=world)

    assert folder == tmp_path / "history" / "binance" / name / "spot"


def test_a_simulated_world_without_a_mark_has_no_place_for_bars(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this one has none"):
        history_folder(tmp_path, venue="binance", environment=Environment.SIM, market="spot")


def test_a_file_is_for_its_owner_alone_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"

    write_whole(path, "one")
    write_whole(path, "two")

    assert path.read_text(encoding="utf-8") == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_presence_is_read_until_it_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    assert read_presence(folder) is None

    write_presence(folder, pid=7, endpoints_json='{"rest": "KEY"}')

    seen = read_presence(folder)
    assert seen == Presence(pid=7, endpoints_json='{"rest": "KEY"}')
    assert "KEY" not in repr(seen)
    write_presence(folder, pid=8)
    assert read_presence(folder) == Presence(pid=8)
    remove_presence(folder)
    remove_presence(folder)
    assert read_presence(folder) is None


@pytest.mark.parametrize("text", ["", "[]", '{"pid": "x", "endpoints_json": null}', '{"pid": 1}'])
def test_a_presence_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "running.json").write_text(text, encoding="utf-8")

    assert read_presence(tmp_path) is None


def test_requests_are_taken_once_and_oldest_first(tmp_path: Path) -> None:
    assert take_requests(tmp_path / "nowhere") == ()
    write_request(tmp_path, HALT)
    write_request(tmp_path, RESUME)

    assert waiting_requests(tmp_path) == (RESUME, HALT)
    assert take_requests(tmp_path) == (RESUME, HALT)
    assert take_requests(tmp_path) == ()
    assert waiting_requests(tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_a_newer_request_takes_the_place_of_one_that_nobody_took(tmp_path: Path) -> None:
    write_request(tmp_path, HALT)
    later = Request(kind=RequestKind.HALT, reason="again", time_ns=3)

    write_request(tmp_path, later)

    assert take_requests(tmp_path) == (later,)


def test_of_many_that_take_a_request_one_has_it(tmp_path: Path) -> None:
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        for _ in range(20):
            write_request(tmp_path, HALT)
            taken = [each for got in pool.map(take_requests, [tmp_path] * 4) for each in got]
            assert taken == [HALT]


def test_in_doubt_trading_halts_and_does_not_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for kind in RequestKind:
        (tmp_path / kind.value).write_text("{", encoding="utf-8")

    with caplog.at_level(logging.WARNING):
        (halt,) = take_requests(tmp_path)

    assert halt == Request(kind=RequestKind.HALT, reason="halt.request cannot be read: halted in doubt", time_ns=0)
    assert ".resume.request" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_who_writes_a_journal_is_told_and_nobody_otherwise(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    assert writer_of(path) is None

    journal = open_journal(path)
    during = writer_of(path)
    journal.close()

    assert during is not None
    assert during.startswith("this process (pid ")
    assert writer_of(path) is None
