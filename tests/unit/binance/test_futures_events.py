"""What USD-M and COIN-M push of an account: real lives of orders, and the documented shapes."""

import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.model.account import AccountUpdate, MarginCall
from btx.model.derivatives import MarginMode
from btx.model.order import Fill, Leg, Order, OrderReport, OrderType, Origin, PositionSide, Side, Status
from btx.rules.orders import apply, new_order
from btx_binance.futures import events
from btx_binance.symbols import symbol_of
from tests.unit.binance.futures_rig import USDM, leg

_LEAN = {Status.NEW: "Submitted", Status.PARTIALLY_FILLED: "PartiallyFilled", Status.FILLED: "Filled"}
_READ = {"ORDER_TRADE_UPDATE": events.order_update, "ALGO_UPDATE": events.algo_update}


def named(venue_symbol: str) -> str:
    return symbol_of(venue_symbol, market="usdm")


def lives(btx_data: Path, name: str) -> dict[str, list[tuple[Fill | OrderReport, ...]]]:
    """Return what each frame of a recording says, by the order it is of."""
    found: dict[str, list[tuple[Fill | OrderReport, ...]]] = {}
    for line in (btx_data / "userdata" / f"binance_Future{name}.jsonl").read_text().splitlines():
        event = json.loads(line)
        client_order_id = event["o"].get("c") or event["o"]["caid"]
        found.setdefault(client_order_id, []).append(_READ[event["e"]](event, symbol_of=named))
    return found


def leg_of(client_order_id: str, life: list[tuple[Fill | OrderReport, ...]]) -> Leg:
    first = next(each for each in itertools.chain(*life) if isinstance(each, OrderReport))
    assert first.quantity is not None
    asked = leg(attrs.evolve(USDM, symbol=first.symbol), quantity=first.quantity)
    return attrs.evolve(asked, client_order_id=client_order_id)


def fold(order: Order, life: list[tuple[Fill | OrderReport, ...]]) -> list[Order]:
    """Return the order after each frame."""
    states = []
    for batch in life:
        for event in batch:
            order = apply(order, event)
        states.append(order)
    return states


@pytest.mark.parametrize(
    ("name", "fee"),
    [
        ("LimitSubmittedFilled", "0.002644"),
        ("MarketSubmittedFilled", "0.0026268"),
        ("StopLimitSubmittedFilled", "0.001064"),
    ],
)
def test_recorded_order_lives_fold_to_the_states_of_the_answer_key(btx_data: Path, name: str, fee: str) -> None:
    expected = {
        entry["file"]: entry["statuses_after_each_order_event"]
        for entry in json.loads((btx_data / "userdata" / "binance_expected_states.json").read_text())
    }
    client_order_id, life = next(iter(lives(btx_data, name).items()))

    states = fold(new_order(leg_of(client_order_id, life)), life)

    seen = [_LEAN[state.status] for state in states]
    assert [key for key, _ in itertools.groupby(seen)] == expected[f"userdata/binance_Future{name}.jsonl"]
    last = states[-1]
    assert (last.filled, last.missing, len(last.fills)) == (Decimal(800), 0, 1)
    assert (last.fills[0].fee, last.fills[0].fee_asset) == (Decimal(fee), "USDT")


def test_a_stop_that_triggered_has_no_fill_before_its_child_has_one_and_finishing_adds_none(btx_data: Path) -> None:
    client_order_id, life = next(iter(lives(btx_data, "StopLimitSubmittedFilled").items()))

    new, triggering, child, triggered, filled, finished = fold(new_order(leg_of(client_order_id, life)), life)

    assert [state.status for state in (new, triggering, child, triggered)] == [Status.NEW] * 4
    assert [state.filled for state in (new, triggering, child, triggered, filled, finished)] == [0, 0, 0, 0, 800, 800]
    assert new.venue_order_id == triggering.venue_order_id == "algo:2000000547400625"
    assert child.venue_order_id == triggered.venue_order_id == "4904025190"
    assert finished == filled


def test_the_same_lives_end_the_same_in_whatever_order_they_are_heard(btx_data: Path) -> None:
    client_order_id, life = next(iter(lives(btx_data, "StopLimitSubmittedFilled").items()))
    order = new_order(leg_of(client_order_id, life))

    ends = {repr(fold(order, list(each))[-1]) for each in itertools.permutations(life)}

    assert len(ends) == 1


def test_a_stop_the_engine_refuses_is_rejected_with_the_venues_word(btx_data: Path) -> None:
    client_order_id, life = list(lives(btx_data, "StopLimitSubmittedFilled").items())[1]

    last = fold(new_order(leg_of(client_order_id, life)), life)[-1]

    assert last.evidence is not None
    assert (last.status, last.evidence.reason, last.fills) == (Status.REJECTED, "margin not enough", ())


_ORDER = {
    "e": "ORDER_TRADE_UPDATE", "E": 1568879465651, "T": 1568879465650,
    "o": {
        "s": "BTCUSDT", "c": "TEST", "S": "SELL", "o": "MARKET", "f": "GTC", "q": "0.004", "p": "0", "ap": "0",
        "sp": "7103.04", "x": "TRADE", "X": "PARTIALLY_FILLED", "i": 8886774, "l": "0.001", "z": "0.003",
        "L": "7100.5", "T": 1568879465650, "t": 77, "b": "0", "a": "9.91", "m": True, "R": True, "wt": "MARK_PRICE",
        "ot": "STOP_MARKET", "ps": "LONG", "cp": False, "pP": False, "si": 0, "ss": 0, "rp": "-1.5", "V": "NONE",
        "pm": "NONE", "gtd": 0, "er": "0", "added in 2027": {},
    },
}  # fmt: skip


def told(**changes: Any) -> tuple[Fill | OrderReport, ...]:
    return events.order_update({**_ORDER, "o": {**_ORDER["o"], **changes}}, symbol_of=named)  # type: ignore[dict-item]


def test_a_fill_without_commission_is_told_without_a_fee() -> None:
    fill, report = told()

    assert isinstance(fill, Fill)
    assert isinstance(report, OrderReport)
    assert (fill.fill_id, fill.price, fill.quantity) == ("77", Decimal("7100.5"), Decimal("0.001"))
    assert (fill.fee, fill.fee_asset, fill.realised) == (None, None, Decimal("-1.5"))
    assert (fill.position_side, report.position_side) == (PositionSide.LONG, PositionSide.LONG)
    assert (report.status, report.filled, report.reduce_only) == (Status.PARTIALLY_FILLED, Decimal("0.003"), True)
    assert (report.order_type, report.trigger_price) == (OrderType.STOP_MARKET, Decimal("7103.04"))


@pytest.mark.parametrize(
    ("client_order_id", "origin"),
    [
        ("autoclose-1568879465651", Origin.LIQUIDATION),
        ("adl_autoclose", Origin.DELEVERAGING),
        ("settlement_autoclose-1568879465651", Origin.DELIVERY),
        ("delivery_autoclose-1568879465651", Origin.DELIVERY),
        ("mine", Origin.CLIENT),
    ],
)
def test_orders_the_exchange_makes_say_why(client_order_id: str, origin: Origin) -> None:
    fill, report = told(c=client_order_id, x="CALCULATED", o="LIQUIDATION", ot="LIQUIDATION", n="0.5", N="USDT")

    assert isinstance(fill, Fill)
    assert isinstance(report, OrderReport)
    assert (fill.origin, report.origin) == (origin, origin)
    assert (fill.fee, report.order_type) == (Decimal("0.5"), None)


def test_a_liquidation_that_names_no_trade_is_a_state_whose_fill_is_asked_for() -> None:
    (report,) = told(x="CALCULATED", t=0)

    assert isinstance(report, OrderReport)
    assert report.filled == Decimal("0.003")


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"x": "AMENDMENT", "X": "NEW"}, Status.NEW, ""),
        ({"x": "EXPIRED", "X": "EXPIRED_IN_MATCH", "er": "1"}, Status.EXPIRED, "self-trade prevention"),
        ({"x": "EXPIRED", "X": "EXPIRED", "er": "11"}, Status.EXPIRED, "post-only: it would have taken"),
        ({"x": "CANCELED", "X": "CANCELED"}, Status.CANCELED, ""),
        ({"x": "NEW", "X": "NEW_ADL"}, Status.NEW, ""),
    ],
)
def test_what_ends_or_changes_an_order_is_no_fill(changes: dict[str, str], status: Status, reason: str) -> None:
    (report,) = told(**changes)

    assert isinstance(report, OrderReport)
    assert (report.status, report.reason) == (status, reason)


def test_an_account_update_has_wallets_positions_and_the_reason() -> None:
    row = {"s": "BTCUSD_PERP", "pa": "-10", "ep": "6563.86", "bep": "1", "cr": "0", "up": "-0.5", "ps": "SHORT"}
    event = {
        "e": "ACCOUNT_UPDATE", "E": 2, "T": 1, "i": "SfsR",
        "a": {
            "m": "FUNDING_FEE", "B": [{"a": "BTC", "wb": "1.25", "cw": "1.0", "bc": "-0.1"}],
            "P": [{**row, "mt": "isolated", "iw": "0.25"}, {**row, "pa": "0", "ep": "0.0", "mt": "cross", "iw": "0"}],
        },
    }  # fmt: skip

    update = events.account_update(event, symbol_of=lambda name: symbol_of(name, market="coinm"))

    assert isinstance(update, AccountUpdate)
    assert (update.reason, update.balances["BTC"].total, update.time_ns) == ("FUNDING_FEE", Decimal("1.25"), 1_000_000)
    held, gone = update.positions
    assert (held.symbol, held.position_side, held.quantity) == ("BTC/USD:BTC", PositionSide.SHORT, Decimal(-10))
    assert (held.entry_price, held.unrealised) == (Decimal("6563.86"), Decimal("-0.5"))
    assert (held.margin_mode, held.isolated_margin) == (MarginMode.ISOLATED, Decimal("0.25"))
    assert (gone.quantity, gone.entry_price, gone.margin_mode, gone.isolated_margin) == (
        0,
        None,
        MarginMode.CROSS,
        None,
    )


def test_a_margin_call_names_the_positions_that_are_close() -> None:
    row = {"s": "ETHUSDT", "ps": "LONG", "pa": "1.327", "mt": "CROSSED", "iw": "0", "mp": "187.17", "up": "-1.1"}
    call = events.margin_call({"e": "MARGIN_CALL", "E": 5, "cw": "3.1", "p": [{**row, "mm": "1.6"}]}, symbol_of=named)

    assert isinstance(call, MarginCall)
    (position,) = call.positions
    assert (position.symbol, position.mark_price, call.time_ns) == ("ETH/USDT:USDT", Decimal("187.17"), 5_000_000)


def test_a_conditional_order_says_its_type_and_trigger() -> None:
    event = {
        "e": "ALGO_UPDATE", "T": 7, "E": 8,
        "o": {
            "caid": "a1", "aid": 99, "at": "CONDITIONAL", "o": "TRAILING_STOP_MARKET", "s": "BTCUSDT", "S": "SELL",
            "ps": "BOTH", "f": "GTC", "q": "0.01", "X": "EXPIRED", "ai": "", "tp": "0", "p": "0", "R": True,
            "rm": "Reduce Only reject",
        },
    }  # fmt: skip

    (report,) = events.algo_update(event, symbol_of=named)

    assert (report.client_order_id, report.venue_order_id, report.side) == ("a1", "algo:99", Side.SELL)
    assert (report.status, report.reason) == (Status.EXPIRED, "Reduce Only reject")
    assert (report.order_type, report.trigger_price, report.reduce_only) == (OrderType.TRAILING_STOP, None, True)
