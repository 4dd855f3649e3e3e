"""btx preflight: what this machine says about an account's journal."""

from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from btx.compose import Account, open_account
from btx.errors import ConfigError, NotSupportedError
from btx.model.journal import Event, Intent
from btx.model.order import Status
from btx.model.venue import Environment
from btx.storage.journal import open_journal
from btx.storage.places import JOURNAL
from btx.tools.preflight import (
    _existing,
    _find,
    _folder,
    _if_told,
    _journal_trouble,
    _known_orders,
    _trader,
    run_preflight,
)
from tests.unit.runtime.rig import run
from tests.values import BTC, leg, report


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("BTX_HOME", str(tmp_path / "home"))
    return open_account("binance", env="testnet", api_key="k" * 64, api_secret="s" * 64)


def test_a_journal_that_can_be_written_is_no_trouble_and_knows_its_orders(account: Account) -> None:
    folder = _folder(account)
    assert folder is not None
    resting = [
        report(Status.NEW, venue_order_id="7"),
        report(Status.NEW, client_order_id="kept by the venue", venue_order_id="8"),
        report(Status.NEW, client_order_id="theirs", venue_order_id="9"),
    ]
    assert _known_orders(folder, resting) == frozenset()

    assert _journal_trouble(folder) is None
    assert _known_orders(folder, resting) == frozenset()
    journal = open_journal(folder / JOURNAL)
    for name, number in (("a1", "7"), ("a2", "8")):
        placed = attrs.evolve(leg(), client_order_id=name)
        journal.post(Intent(leg=placed, environment=Environment.TESTNET, session="binance", run="a"))
        journal.post(Event(order_event=report(Status.NEW, client_order_id=name, venue_order_id=number)))
    journal.close()
    assert _known_orders(folder, resting) == {"a1", "kept by the venue"}
    assert _existing(folder / "deeper" / "still") == folder


def test_a_journal_that_another_process_writes_is_not_touched(account: Account) -> None:
    folder = _folder(account)
    assert folder is not None
    journal = open_journal(folder / JOURNAL)

    assert _journal_trouble(folder) is None
    assert _trader(folder) is not None

    journal.close()


def test_a_folder_that_cannot_be_made_is_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")

    assert _journal_trouble(tmp_path / "file" / "account") is not None
    assert _trader(tmp_path / "file" / "account") is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_plain_symbol_means_the_perpetual_and_what_is_listed_by_name_itself() -> None:
    assert _find({BTC.symbol: BTC}, BTC.symbol) is BTC
    assert _find({}, BTC.symbol) is None


def test_a_venue_that_does_not_tell_is_no_error() -> None:
    async def silent() -> Decimal:
        raise NotSupportedError("no such thing here")

    async def whole() -> None:
        assert await _if_told(silent()) is None

    run(whole())


def test_a_paper_account_has_nothing_to_be_looked_at() -> None:
    with pytest.raises(ConfigError, match="env='paper' has no key and no account at the venue"):
        run_preflight(
            "binance",
            env="paper",
            market=None,
            symbols=("BTC/USDT",),
            leverage=None,
            margin_mode=None,
            position_mode=None,
            allow_withdraw=False,
            as_json=False,
        )
