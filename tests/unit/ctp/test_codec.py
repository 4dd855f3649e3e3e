"""CTP's rows as the model's values, and orders as CTP wants them."""

import sys
from decimal import Decimal
from typing import Any

import pytest

from btx.errors import (
    AuthenticationError,
    InsufficientFundsError,
    OrderNotFoundError,
    OrderRejectedError,
    RateLimitedError,
    TransportError,
    VenueError,
)
from btx.model.account import Lots
from btx.model.order import Offset, OrderType, Side, Status, TimeInForce
from btx_ctp import codec
from btx_ctp.errors import error_of, refused_call
from btx_ctp.fees import USUAL, fee_of, schedule
from tests.unit.ctp.values import CONTRACT, ORDER, TRADE, contract, leg

NONE = sys.float_info.max
MONEY = {"Balance": 100_250.0, "PositionProfit": 50.0, "CurrencyID": "CNY"}


def held(direction: str, volume: int, *, today: int, cost: float, settled: float | None = None, **more: Any) -> Any:
    return {
        "InstrumentID": "rb2601",
        "ExchangeID": "SHFE",
        "PosiDirection": direction,
        "PositionDate": "1",
        "Position": volume,
        "TodayPosition": today,
        "OpenCost": cost,
        "PositionCost": cost if settled is None else settled,
        **more,
    }


def account(*rows: Any) -> Any:
    return codec.account(MONEY, rows, instruments={"rb2601": contract()}, leverages={"SHFE.rb2601": 7}, time_ns=5)


# --- contracts ----------------------------------------------------------------------------------------


def test_a_contract_is_named_with_its_exchange_and_ends_at_three_in_the_afternoon() -> None:
    rb = contract()

    assert (rb.symbol, rb.venue_symbol, rb.multiplier, rb.tick_size) == ("SHFE.rb2601", "rb2601", 10, 1)
    assert rb.delivery_ns == 1_768_460_400_000_000_000  # 2026-01-15T15:00 in Shanghai
    assert contract(ExpireDate="").delivery_ns is None
    assert contract(MaxLimitOrderVolume=0).max_quantity is None


@pytest.mark.parametrize("changes", [{"ProductClass": "2"}, {"PriceTick": NONE}])
def test_what_is_no_future_is_left_out(changes: dict[str, Any]) -> None:
    assert codec.instrument(CONTRACT | changes) is None


def test_margin_of_an_eighth_is_a_leverage_of_seven() -> None:
    assert codec.leverage(CONTRACT) == 7
    assert codec.leverage(CONTRACT | {"LongMarginRatio": NONE}) == 1
    assert codec.tiers(CONTRACT)[0].maintenance_rate == Decimal("0.13")


# --- the account --------------------------------------------------------------------------------------


def test_the_wallet_is_the_balance_without_what_positions_brought_since_they_were_opened() -> None:
    found = account(held("2", 3, today=1, cost=90_000.0, settled=90_300.0))

    assert found.balances["CNY"].total == Decimal(100_250 - 50 - 300)
    (position,) = found.positions
    assert (position.quantity, position.entry_price, position.leverage) == (3, 3000, 7)
    assert found.lots == (Lots(symbol="SHFE.rb2601", long_today=Decimal(1), long_yesterday=Decimal(2)),)


def test_long_and_short_of_one_contract_are_one_position_and_four_kinds_of_lots() -> None:
    found = account(
        held("2", 3, today=3, cost=90_000.0),
        held("3", 4, today=0, cost=121_200.0),
        held("2", 0, today=0, cost=0.0),
        held("2", 9, today=9, cost=1.0, InstrumentID="unheard of"),
    )

    assert [each.quantity for each in found.positions] == [-1]
    assert found.lots[0].net == -1
    even = account(held("2", 3, today=3, cost=90_000.0), held("3", 3, today=0, cost=91_000.0))
    assert not even.positions
    assert even.lots[0].net == 0


# --- orders -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("3", "1")),
        ({"time_in_force": TimeInForce.DAY}, ("3", "1")),
        ({"time_in_force": TimeInForce.IOC}, ("1", "1")),
        ({"time_in_force": TimeInForce.FOK}, ("1", "3")),
        ({"order_type": OrderType.MARKET}, ("1", "1")),
    ],
)
def test_an_order_rests_for_the_day_or_ends_at_once(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    made = codec.input_order(
        leg(Offset.CLOSE_TODAY, **changes), Decimal(2990), broker_id="9999", user="u", order_ref="7"
    )

    assert (made["TimeCondition"], made["VolumeCondition"]) == expected
    assert (made["Direction"], made["CombOffsetFlag"], made["LimitPrice"]) == ("1", "3", 2990.0)
    assert (made["OrderMemo"], made["OrderRef"], made["VolumeTotalOriginal"]) == ("a1", "7", 5)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"OrderStatus": "a"}, Status.PENDING_NEW),
        ({"OrderStatus": "3"}, Status.NEW),
        ({"OrderStatus": "1", "VolumeTraded": 1}, Status.PARTIALLY_FILLED),
        ({"OrderStatus": "0", "VolumeTraded": 4}, Status.FILLED),
        ({"OrderStatus": "5"}, Status.CANCELED),
        ({"OrderStatus": "5", "OrderSubmitStatus": "4", "StatusMsg": "\u6da8\u505c"}, Status.REJECTED),
        ({"OrderStatus": "3", "OrderSubmitStatus": "5"}, Status.NEW),  # a cancel was refused: the order lives
    ],
)
def test_an_order_is_where_its_two_states_say(changes: dict[str, Any], status: Status) -> None:
    told = codec.report(ORDER | changes, symbol="SHFE.rb2601", time_ns=1)

    assert (told.status, told.client_order_id, told.venue_order_id, told.side) == (status, "a1", "42", Side.BUY)
    assert bool(told.reason) is (status is Status.REJECTED)


def test_an_order_of_somebody_else_is_named_by_where_it_came_from() -> None:
    told = codec.report(ORDER | {"OrderMemo": "", "OrderSysID": ""}, symbol="SHFE.rb2601", time_ns=1)

    assert (told.client_order_id, told.venue_order_id) == ("1.-9.7", None)


def test_a_trade_is_known_again_by_its_day_exchange_side_and_number() -> None:
    told = codec.fill(TRADE, client_order_id="a1", instrument=contract(), fee=Decimal(6), time_ns=1)

    assert told.fill_id == "20251103SHFE1-9001"
    assert (told.offset, told.side, told.fee_asset) == (Offset.CLOSE_TODAY, Side.SELL, "CNY")
    forced = codec.fill(TRADE | {"OffsetFlag": "5"}, client_order_id="", instrument=contract(), fee=None, time_ns=1)
    assert (forced.offset, forced.fee_asset) == (Offset.CLOSE, None)


def test_numbers_are_what_they_stand_for_and_the_largest_is_none() -> None:
    assert codec.number(0.1) == Decimal("0.1")
    assert str(codec.number(3000.0)) == "3000"
    assert codec.price(NONE) is None
    assert codec.price(1.79769e308) is None
    assert codec.price(0.0) is None


# --- fees and errors ----------------------------------------------------------------------------------


def test_fees_are_of_the_contract_else_of_the_product_and_differ_by_offset() -> None:
    row = {f"{name}RatioByMoney": 0.0001 for name in ("Open", "Close")} | {
        f"{name}RatioByVolume": 0.0 for name in ("Open", "Close")
    }
    row |= {"InstrumentID": "RB", "CloseTodayRatioByMoney": 0.0, "CloseTodayRatioByVolume": 3.01}
    fees = schedule(contract(), [row])

    assert fees is not None
    costs = {
        offset: fee_of(fees, contract(), price=Decimal(3000), quantity=Decimal(2), offset=offset) for offset in Offset
    }
    assert costs == {
        Offset.OPEN: 6,
        Offset.CLOSE: 6,
        Offset.CLOSE_YESTERDAY: 6,
        Offset.CLOSE_TODAY: Decimal("6.02"),
    }
    assert schedule(contract(), [row | {"InstrumentID": "hc"}]) is None
    assert fee_of(USUAL, contract(), price=Decimal(3000), quantity=Decimal(1), offset=Offset.OPEN) == 3


@pytest.mark.parametrize(
    ("error_id", "what", "kind"),
    [
        (90, "the account", RateLimitedError),
        (116, "an order", RateLimitedError),
        (6, "the account", TransportError),
        (7, "the login", TransportError),
        (8, "the login", TransportError),
        (9, "the login", VenueError),
        (3, "the login", AuthenticationError),
        (25, "a cancel", OrderNotFoundError),
        (31, "an order", InsufficientFundsError),
        (50, "an order", OrderRejectedError),
        (999, "the account", VenueError),
    ],
)
def test_an_error_id_says_what_follows_from_it(error_id: int, what: str, kind: type[Exception]) -> None:
    error = error_of(error_id, "\u4e0d", what=what)

    assert isinstance(error, kind)
    assert f"({error_id} \u4e0d)" in str(error)


@pytest.mark.parametrize(("code", "kind"), [(-1, TransportError), (-2, RateLimitedError), (-9, TransportError)])
def test_a_call_that_the_library_does_not_take_never_left(code: int, kind: type[Exception]) -> None:
    assert isinstance(refused_call(code, what="an order"), kind)
