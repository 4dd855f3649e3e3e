"""Panic on a venue that does what venues do: every order has an outcome, and only what is confirmed is done."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.compose import Account
from btx.config import Settings
from btx.errors import AuthenticationError, ConfigError, OrderNotFoundError, RateLimitedError
from btx.model.journal import Event, Halted, Intent, Record, Resumed, Sent
from btx.model.order import Fill, OrderReport, OrderType, Side
from btx.model.venue import Environment
from btx.storage.journal import open_journal, read_journal
from btx.storage.places import JOURNAL
from btx.storage.requests import Request, RequestKind, take_requests, write_request
from btx.tools.accounts import Target
from btx.tools.panic import halted, panic, resume
from tests.toy_venue import Fault, ToyOrder, ToyVenue, loaded
from tests.values import BTC, d, leg, request

ETH = attrs.evolve(BTC, symbol="ETH/USDT", venue_symbol="ETHUSDT", base="ETH")


class Toy(ToyVenue):
    """The toy venue, which tells of its open orders as much as venues do."""

    def report(self, order: ToyOrder, *, sequence: int | None = None) -> OrderReport:
        asked = order.leg.request
        return attrs.evolve(
            super().report(order, sequence=sequence),
            side=asked.side,
            order_type=asked.order_type,
            quantity=asked.quantity,
            price=asked.price,
            trigger_price=asked.trigger_price,
        )

    def rest(self, client_order_id: str, **changes: Any) -> None:
        asked = request(**changes)
        self.place_foreign(client_order_id, attrs.evolve(leg(), request=asked, quantity=asked.quantity))


@pytest.fixture
def toy() -> Toy:
    return Toy(instruments=(BTC, ETH))


@pytest.fixture
def aim(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("COLUMNS", "250")
    account = Account(venue=loaded(toy), environment=Environment.TESTNET, market="spot", settings=Settings())
    return Target(account=account, folder=tmp_path / "world", endpoints=None, presence=None)


def written(aim: Target) -> list[Record]:
    reader = read_journal(aim.folder / JOURNAL)
    try:
        return [record for _, _, record in reader.records()]
    finally:
        reader.close()


def told(capsys: pytest.CaptureFixture[str], word: str) -> str:
    """Return the line of the table that has ``word``."""
    (line,) = [line for line in capsys.readouterr().out.splitlines() if word in line]
    return " ".join(line.split())


def test_nothing_to_do_is_done(aim: Target, capsys: pytest.CaptureFixture[str]) -> None:
    assert panic(aim) == 0
    assert "no order is open" in capsys.readouterr().out


def test_what_is_refused_again_and_again_is_not_done(aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.rest("e1")
    toy.faults["cancel"].extend([Fault.REFUSED] * 5)

    assert panic(aim, pause_s=0.0) == 1

    assert told(capsys, "e1 ") == "e1 BUY 6 BTC/USDT LIMIT at 100 NOT CANCELLED: refused"
    assert toy.count("cancel") == 5


@pytest.mark.parametrize(
    "faults",
    [
        [Fault.NOT_SENT],
        [Fault.LOST_REQUEST, Fault.BROKEN],
        [Fault.LOST_ANSWER],
        [Fault.BROKEN_AFTER],
        [OrderNotFoundError("unknown order"), Fault.REFUSED],
    ],
)
def test_a_cancel_is_tried_until_the_venue_lists_the_order_no_more(
    aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str], faults: list[Any]
) -> None:
    toy.rest("e1")
    toy.faults["cancel"].extend(faults)

    assert panic(aim, pause_s=0.0) == 0

    assert told(capsys, "e1 ") == "e1 BUY 6 BTC/USDT LIMIT at 100 cancelled"


def test_an_order_that_fills_meanwhile_says_so(aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.rest("e1")
    toy.rest("e2")
    toy.execute("e2", 2)
    toy.faults["cancel"].append(lambda: toy.execute("e1", 6))

    assert panic(aim) == 0

    out = " ".join(capsys.readouterr().out.split())
    assert "e1 BUY 6 BTC/USDT LIMIT at 100 filled, filled 6" in out
    assert "e2 BUY 6 BTC/USDT LIMIT at 100 cancelled, filled 2" in out


def test_how_an_order_ended_may_stay_unknown(aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.rest("e1")
    toy.faults["query"].append(OrderNotFoundError("forgotten"))

    assert panic(aim) == 0

    assert told(capsys, "e1 ").endswith("ended")


def test_a_sale_of_what_is_not_held_opens(aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.balances["ETH"] = Decimal(1)
    toy.rest("short", side=Side.SELL)
    toy.rest("exit", side=Side.SELL, instrument=ETH, trigger_price=d(90), order_type=OrderType.STOP_LIMIT)

    assert panic(aim) == 0

    out = " ".join(capsys.readouterr().out.split())
    assert "short SELL 6 BTC/USDT LIMIT at 100 cancelled" in out
    assert "exit SELL 6 ETH/USDT STOP_LIMIT at 100 from 90 stays" in out


def test_one_symbol_can_be_named(aim: Target, toy: Toy) -> None:
    toy.rest("btc")
    toy.rest("eth", instrument=ETH)

    panic(aim, symbols=("ETH/USDT",))

    assert [name for name, order in toy.orders.items() if not order.status.is_final] == ["btc"]


def test_a_symbol_that_the_venue_does_not_list_is_told(aim: Target) -> None:
    with pytest.raises(ConfigError, match="the venue has no instrument BTCUSDT: write symbols like BTC/USDT"):
        panic(aim, symbols=("BTCUSDT", "BTC/USDT"))


def test_what_is_held_is_sold_in_parts_that_the_venue_takes(
    aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.listed["BTC/USDT"] = attrs.evolve(BTC, market_max_quantity=d("0.4"))
    toy.balances |= {"BTC": d("1.000001"), "ETH": d("0.000001"), "DOGE": d(5)}

    assert panic(aim, flatten=True) == 0

    out = capsys.readouterr().out
    sold = [each.leg.quantity for each in toy.orders.values()]
    assert sold == [d("0.4"), d("0.4"), d("0.2")]
    assert len(set(toy.orders)) == 3
    assert out.count("filled, sold") == 3
    assert "dust, it cannot be sold" in out
    intents = [record for record in written(aim) if isinstance(record, Intent)]
    assert [each.client_order_id for each in intents] == list(toy.orders)
    assert sum(isinstance(record, Sent) for record in written(aim)) == 3
    assert sum(isinstance(record, Event) and isinstance(record.order_event, Fill) for record in written(aim)) == 3


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault.LOST_ANSWER, "filled, sold 1 at 100"),
        (Fault.BROKEN_AFTER, "filled, sold 1 at 100"),
        (Fault.REFUSED, "REFUSED: refused"),
        (Fault.NOT_SENT, "REFUSED: not reached"),
        (Fault.LOST_REQUEST, "NO ANSWER: look at the venue"),
    ],
)
def test_a_sale_is_sent_once_whatever_becomes_of_its_answer(
    aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str], fault: Fault, outcome: str
) -> None:
    toy.balances["BTC"] = d(1)
    toy.faults["place"].append(fault)

    assert panic(aim, flatten=True, pause_s=0.0) == (0 if outcome.startswith("filled") else 1)

    assert told(capsys, "SELL").endswith(outcome)
    assert toy.count("place") == 1


def test_a_sale_that_does_not_fill_at_once_is_not_done(
    aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.balances["BTC"] = d(1)
    monkeypatch.setattr(toy, "execute", lambda *_: None)  # nobody buys

    assert panic(aim, flatten=True, pause_s=0.0) == 1

    assert told(capsys, "SELL").endswith("new, sold 0")


def test_what_else_is_held_is_told_where_the_venue_listens_to_no_more_orders(
    aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.balances |= {"BTC": d(1), "ETH": d(1)}
    toy.faults["place"].append(Fault.LOST_ANSWER)
    toy.faults["query"].append(RateLimitedError("too many requests", retry_after_s=3600.0))

    assert panic(aim, flatten=True, pause_s=0.0) == 1

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if "SELL" in line]
    assert lines[0].endswith("SELL 1 BTC/USDT NO ANSWER: look at the venue")
    assert "SELL 1 ETH/USDT REFUSED: " in lines[1]
    assert lines[1].endswith("nothing was sent")
    assert toy.count("place") == 1


def test_coins_that_an_order_still_locks_are_not_sold(
    aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.balances["BTC"] = d(1)
    update = toy.balance_update

    def locked() -> Any:
        told = update()
        return attrs.evolve(told, balances={"BTC": attrs.evolve(told.balances["BTC"], free=d(0), locked=d(1))})

    monkeypatch.setattr(toy, "balance_update", locked)

    assert panic(aim, flatten=True) == 1

    assert told(capsys, "locked").endswith("1 BTC are locked by orders that are still open")


def test_a_venue_that_is_not_reached_leaves_the_account_halted(aim: Target, toy: Toy) -> None:
    toy.faults["instruments"].append(AuthenticationError("bad key"))

    with pytest.raises(AuthenticationError):
        panic(aim)

    assert [type(record) for record in written(aim)] == [Halted]


def test_the_one_who_trades_is_asked_and_keeps_the_journal(
    aim: Target, toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.balances["BTC"] = d(1)
    trader = open_journal(aim.journal)
    try:
        assert panic(aim, flatten=True, reason="because") == 0
        assert resume(aim, agreed=lambda _: True) == 0
    finally:
        trader.close()

    assert [(each.kind, each.reason) for each in take_requests(aim.folder)] == [
        (RequestKind.HALT, "because"),
        (RequestKind.RESUME, ""),
    ]
    assert written(aim) == []
    assert "is told to go on" in capsys.readouterr().out


def test_a_halt_is_shown_with_its_first_reason_and_ends_when_the_user_agrees(
    aim: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    assert halted(aim) is None
    assert resume(aim, agreed=lambda _: True) == 0
    panic(aim, reason="the cause")
    panic(aim, reason="what followed")

    assert resume(aim, agreed=lambda _: False) == 1
    assert halted(aim) is not None
    assert resume(aim, agreed=lambda _: True) == 0

    assert halted(aim) is None
    assert isinstance(written(aim)[-1], Resumed)
    assert "the cause" in capsys.readouterr().out


def test_a_halt_that_nobody_took_counts_and_is_taken_away(aim: Target) -> None:
    write_request(aim.folder, Request(kind=RequestKind.HALT, reason="waiting", time_ns=1))

    halt = halted(aim)
    assert halt is not None
    assert halt.reason == "waiting"
    assert resume(aim, agreed=lambda _: True) == 0
    assert halted(aim) is None


def test_a_simulated_world_that_does_not_run_has_nothing_to_cancel(
    aim: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    asleep = attrs.evolve(aim, account=attrs.evolve(aim.account, environment=Environment.SIM))

    assert panic(asleep) == 0

    assert "no simulator of this world runs" in capsys.readouterr().out
    assert halted(asleep) is not None


def test_a_journal_that_cannot_be_written_is_told(aim: Target) -> None:
    aim.folder.mkdir()
    aim.journal.write_text("no journal", encoding="utf-8")

    with pytest.raises(Exception, match=r"journal\.sqlite"):
        panic(aim)
