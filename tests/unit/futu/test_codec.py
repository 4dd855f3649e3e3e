"""OpenD's rows as our values: times in the exchange's zone, bars by their end, orders by their remark."""

from decimal import Decimal
from typing import Any

import pytest

from btx.model.instrument import InstrumentKind
from btx.model.order import OrderType, Side, Status
from btx.model.time import NS_PER_MINUTE, NS_PER_MS, Interval, iso
from btx_futu import codec
from btx_futu.sim.messages import message_module

MINUTE = Interval.parse("1m")


def order_row(**changes: Any) -> dict[str, Any]:
    return {
        "code": "HK.00700",
        "order_id": "FS1",
        "order_status": "FILLED_PART",
        "order_type": "NORMAL",
        "trd_side": "BUY",
        "qty": 300.0,
        "price": 400.2,
        "dealt_qty": 200.0,
        "dealt_avg_price": 400.1,
        "updated_time": "2025-06-02 09:31:00.250",
        "last_err_msg": "",
        "remark": "k1abc",
        **changes,
    }


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2025-06-02 09:31:00", "Asia/Hong_Kong", "2025-06-02T01:31:00"),
        ("2025-01-06 09:31:00", "America/New_York", "2025-01-06T14:31:00"),
        ("2025-07-07 09:31:00", "America/New_York", "2025-07-07T13:31:00"),
    ],
)
def test_a_text_is_a_time_of_its_exchange_summer_and_winter(text: str, zone: str, expected: str) -> None:
    moment = codec.time_ns(text, zone)

    assert iso(moment).startswith(expected)
    assert codec.text_of(moment + 999 * NS_PER_MS, zone) == text


def test_a_bar_of_a_minute_is_labelled_with_its_end_and_closed_when_that_has_come() -> None:
    row = {"time_key": "2025-06-02 09:31:00", "open": 400.0, "high": 401.2, "low": 399.8, "close": 0.1 + 400.1}
    row |= {"volume": 1200, "turnover": 480000.5}
    end_ns = codec.time_ns("2025-06-02 09:31:00", "Asia/Hong_Kong")

    bar = codec.bar(row, symbol="HK.00700", interval=MINUTE, now_ns=end_ns)

    assert (bar.open_ns, bar.close_ns, bar.is_closed) == (end_ns - NS_PER_MINUTE, end_ns, True)
    assert (bar.low, bar.volume, bar.quote_volume) == (Decimal("399.8"), 1200, Decimal("480000.5"))
    assert not codec.bar(row, symbol="HK.00700", interval=MINUTE, now_ns=end_ns - 1).is_closed


def test_pushed_bars_never_say_that_they_are_closed_and_blank_ones_are_none() -> None:
    message = message_module("Qot_UpdateKL").Response()
    message.s2c.security.market, message.s2c.security.code = 11, "AAPL"
    for minute, is_blank in (("09:31", False), ("09:32", True), ("09:33", False)):
        line = message.s2c.klList.add()
        line.time, line.isBlank, line.volume = f"2025-06-02 {minute}:00", is_blank, 7
        line.openPrice = line.highPrice = line.lowPrice = line.closePrice = 200.5
    message.s2c.klList[2].hpVolume = 7.5

    bars = codec.pushed_bars(message, MINUTE)

    assert [(bar.symbol, bar.is_closed, bar.volume) for bar in bars] == [
        ("US.AAPL", False, 7),
        ("US.AAPL", False, Decimal("7.5")),
    ]


def test_an_order_is_known_by_its_remark_and_on_paper_tells_its_average() -> None:
    report = codec.order_report(order_row(), is_paper=True)

    assert report is not None
    assert (report.client_order_id, report.venue_order_id, report.status) == ("k1abc", "FS1", Status.PARTIALLY_FILLED)
    assert (report.filled, report.average_price, report.quantity) == (200, Decimal("400.1"), 300)
    assert (report.side, report.order_type, report.price) == (Side.BUY, OrderType.LIMIT, Decimal("400.2"))


def test_of_a_real_account_the_executions_are_told_and_no_average_with_the_order() -> None:
    report = codec.order_report(order_row(), is_paper=False)
    deal = {"code": "HK.00700", "deal_id": 77, "order_id": "FS1", "trd_side": "SELL", "price": 400.2, "qty": 100.0}
    fill = codec.fill(deal | {"create_time": "2025-06-02 09:31:00"})

    assert report is not None
    assert report.average_price is None
    assert (fill.fill_id, fill.venue_order_id, fill.side, fill.quantity) == ("77", "FS1", Side.SELL, 100)


def test_an_order_of_somebody_else_is_called_by_its_number_and_a_market_order_has_no_price() -> None:
    report = codec.order_report(order_row(remark="", order_type="MARKET", price=0.0, dealt_qty=0.0), is_paper=True)

    assert report is not None
    assert (report.client_order_id, report.price, report.average_price) == ("futu-FS1", None, None)


@pytest.mark.parametrize("status", ["TIMEOUT", "UNKNOWN", "FILL_CANCELLED", "N/A"])
def test_what_opend_does_not_know_itself_is_no_statement(status: str) -> None:
    assert codec.order_report(order_row(order_status=status), is_paper=True) is None


def test_an_instrument_has_whole_lots_and_price_steps_that_grow() -> None:
    share = codec.instrument({"code": "HK.00005", "lot_size": 400, "delisting": False})

    assert (share.kind, share.base, share.quote) == (InstrumentKind.STOCK, "HK.00005", "HKD")
    assert (share.step_size, share.min_quantity, share.tick_size) == (400, 400, Decimal("0.001"))
    assert [share.tick_at(Decimal(price)) for price in ("0.3", "15", "30", "80", "480", "500")] == [
        Decimal(tick) for tick in ("0.005", "0.01", "0.02", "0.05", "0.2", "0.5")
    ]


def test_an_account_is_its_cash_and_its_shares_of_which_some_may_not_be_sold_now() -> None:
    held = {"code": "HK.00700", "qty": 300.0, "can_sell_qty": 100.0, "position_side": "LONG"}
    short = {"code": "HK.00005", "qty": 400.0, "can_sell_qty": 400.0, "position_side": "SHORT"}
    funds = {"cash": 1000.5, "frozen_cash": 400.0}

    found = codec.account(funds, [held, short], market="hk", now_ns=5, fee_tier="paper").balances

    assert (found["HKD"].free, found["HKD"].locked) == (Decimal("600.5"), 400)
    assert (found["HK.00700"].free, found["HK.00700"].total) == (100, 300)
    assert found["HK.00005"].total == -400


def test_a_price_that_never_was_is_none() -> None:
    row = {"code": "HK.00700", "last_price": 0.0, "update_time": "2025-06-02 09:31:00", "lot_size": 100}

    assert codec.last_price(row) is None
    trade = codec.last_price(row | {"last_price": 400.2})
    assert trade is not None
    assert trade.price == Decimal("400.2")
