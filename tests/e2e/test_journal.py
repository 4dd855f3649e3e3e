"""Every order of a run is in its journal, with its whole story, and the journal agrees with the simulator."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.errors import ConfigError
from btx.model.journal import Event, Intent, RunEnded, RunStarted, Sent
from btx.model.order import Status
from btx.storage.journal import read_journal
from btx.tools.orders import find_journal, run_explain, run_orders
from tests.e2e.trading import account, run_on, world


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The journal of a kept run with a filled, a cancelled and a refused order."""
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    store = btx.load(
        "binance",
        env="sim",
        scenario=world(minutes=12, accounts=(account(USDT="200000"),)),
        keep="trial",
        limits=btx.limits(order=None, position=None),  # so that the venue refuses what is too dear
    )
    placed: dict[str, Any] = {}
    strategy = run_on(
        store,
        {
            2: lambda s: placed.update(
                filled=s.buy(size=1.5),
                resting=s.buy(size=0.1, exectype=bt.Order.Limit, price=round(s.data.close[0] * 0.8, 2)),
                dear=s.buy(size=9),
            ),
            5: lambda s: s.cancel(placed["resting"]),
        },
        at_end=lambda s: placed.update(oracle=store.session.ledger()),
    )
    assert strategy.told(placed["filled"])[-1] == "Completed"
    (path,) = tmp_path.glob("binance/sim/spot/*/trial/journal.sqlite")
    path.with_name("oracle.txt").write_text(
        "\n".join(f"{f['fill_id']} {f['quantity']}" for f in placed["oracle"]["fills"]), encoding="utf-8"
    )
    return path


def test_the_fold_of_the_journal_is_what_the_venue_did(journal: Path) -> None:
    reader = read_journal(journal)
    orders = list(reader.orders().values())
    reader.close()

    assert [order.status for order in orders] == [Status.FILLED, Status.CANCELED, Status.REJECTED]
    oracle = dict(line.split() for line in journal.with_name("oracle.txt").read_text().splitlines())
    assert {f.fill_id: f.quantity for order in orders for f in order.fills} == {
        trade_id: Decimal(quantity) for trade_id, quantity in oracle.items()
    }


def test_an_intent_comes_before_its_sending_and_that_before_any_answer(journal: Path) -> None:
    reader = read_journal(journal)
    records = [record for _, _, record in reader.records()]
    reader.close()

    assert isinstance(records[0], RunStarted)
    assert isinstance(records[-1], RunEnded)
    intents = [record for record in records if isinstance(record, Intent)]
    assert len(intents) == 3
    for intent in intents:
        mine = [r for r in records if getattr(r, "client_order_id", None) == intent.client_order_id]
        assert [type(record) for record in mine[:3]] == [Intent, Sent, Event]


def test_the_command_line_lists_the_orders_and_tells_one_story(journal: Path) -> None:
    reader = read_journal(journal)
    (first, *_) = reader.orders()
    reader.close()

    listing = btx_command("orders", "trial", home=journal.parents[5])
    story = btx_command("explain", first, home=journal.parents[5])

    assert "3 orders in" in listing
    assert "CANCELED" in listing
    for word in ("intended in binance/sim/spot: BUY 1.5 BTC/USDT MARKET", "sent:", "fill 1:", "in the end: FILLED"):
        assert word in story


def test_orders_and_stories_are_readable(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    reader = read_journal(journal)
    filled, cancelled, refused = reader.orders().values()
    reader.close()

    assert run_orders(None) == 0
    listing = capsys.readouterr().out
    for order in (filled, cancelled, refused):
        assert run_explain(order.client_order_id, str(journal)) == 0
    stories = capsys.readouterr().out

    assert sum((fill.quantity for fill in filled.fills), Decimal(0)) == Decimal("1.5")
    for word in ("FILLED", "CANCELED", "REJECTED", "0.0015 BTC", "BUY 0.1 BTC/USDT LIMIT at "):
        assert word in listing
    for word in ("cancel requested", "the venue says: CANCELED", "refused: ", "insufficient balance", "as taker"):
        assert word in stories


def test_an_order_id_is_never_cut_however_narrow_the_terminal(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    reader = read_journal(journal)
    ids = list(reader.orders())
    reader.close()

    run_orders("trial")

    listing = capsys.readouterr().out
    assert all(client_order_id in listing for client_order_id in ids)
    assert "…" not in listing


def test_several_journals_are_told_apart_by_name(journal: Path) -> None:
    other = journal.parents[1] / "second" / "journal.sqlite"
    other.parent.mkdir()
    other.write_bytes(journal.read_bytes())

    assert find_journal("trial") == journal
    with pytest.raises(ConfigError, match="several journals \\(second, trial\\)"):
        find_journal(None)


def test_an_unknown_order_or_journal_is_one_sentence(journal: Path) -> None:
    assert "knows no order 'nothing'" in btx_command("explain", "nothing", home=journal.parents[5], fails=True)
    assert "there is no journal of 'other'" in btx_command("orders", "other", home=journal.parents[5], fails=True)


def test_a_name_that_is_no_name_is_refused_at_load() -> None:
    with pytest.raises(ConfigError, match="give the world a name of letters"):
        btx.load("binance", env="sim", keep="../elsewhere")


def btx_command(*arguments: str, home: Path, fails: bool = False) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "btx", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"BTX_HOME": str(home), "COLUMNS": "200", "PATH": "/usr/bin"},
    )
    assert run.returncode == (2 if fails else 0), run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr if fails else run.stdout


def test_a_new_world_of_the_same_name_begins_anew_and_is_written_behind_the_old_one(journal: Path) -> None:
    store = btx.load("binance", env="sim", scenario=world(minutes=8, accounts=(account(USDT="100000"),)), keep="trial")
    placed: dict[str, Any] = {}
    strategy = run_on(store, {2: lambda s: placed.update(order=s.buy(size=0.1))})

    assert store.session.halted() is None  # the balances are another world's
    assert store.session.recovered().orders == ()
    assert strategy.told(placed["order"])[-1] == "Completed"
    reader = read_journal(journal)
    assert len(reader.orders()) == 4
    reader.close()
