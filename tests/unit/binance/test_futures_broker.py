"""Orders of USD-M and COIN-M in their two id spaces, against a small server that speaks documented answers."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import (
    FilterError,
    InsufficientFundsError,
    NotSupportedError,
    OrderNotFoundError,
    OrderRejectedError,
    OutcomeUnknownError,
)
from btx.model.instrument import Instrument
from btx.model.order import Fill, ListKind, OrderList, OrderReport, OrderType, Origin, PositionSide, Status
from btx.ports import Context
from btx_binance.futures.broker import FuturesBroker
from tests.unit.binance.futures_rig import API, MARKETS, USDM, leg, stop
from tests.unit.binance.loopback import ManualClock
from tests.unit.binance.test_futures_store import run
from tests.unit.binance.test_rest import Venue

_NO_ALGO = {"code": -2013, "msg": "Order does not exist."}
_UNKNOWN = {"code": -2011, "msg": "Unknown order sent."}
_NOW_MS = ManualClock().market // 1_000_000
_ORDER = {
    "avgPrice": "0.00000", "clientOrderId": "run1-1", "cumQuote": "0", "executedQty": "0", "orderId": 1917641,
    "origQty": "0.40", "origType": "LIMIT", "price": "0", "reduceOnly": False, "side": "SELL",
    "positionSide": "SHORT", "status": "NEW", "stopPrice": "9300", "closePosition": False, "symbol": "BTCUSDT",
    "time": _NOW_MS - 1000, "timeInForce": "GTC", "type": "LIMIT", "updateTime": _NOW_MS,
}  # fmt: skip
_ALGO = {
    "algoId": 2146760, "clientAlgoId": "run1-1", "algoType": "CONDITIONAL", "orderType": "STOP_MARKET",
    "symbol": "BTCUSDT", "side": "SELL", "positionSide": "BOTH", "timeInForce": "GTC", "quantity": "0.01",
    "algoStatus": "NEW", "actualOrderId": "", "actualPrice": "0.00000", "triggerPrice": "750.000", "price": "0.000",
    "closePosition": False, "priceProtect": False, "reduceOnly": True, "createTime": 1, "updateTime": 2,
}  # fmt: skip
_TRADE = {
    "buyer": False, "commission": "0.07819010", "commissionAsset": "USDT", "id": 698759, "maker": True,
    "orderId": 1917641, "price": "7819.01", "qty": "0.002", "quoteQty": "15.63802", "realizedPnl": "-0.91539999",
    "side": "SELL", "positionSide": "SHORT", "symbol": "BTCUSDT", "time": _NOW_MS - 500,
}  # fmt: skip


def paths(venue: Venue) -> list[str]:
    return [request[0] for request in venue.requests]


@pytest.mark.parametrize("market", ["usdm", "coinm"])
def test_an_order_goes_to_the_place_of_its_kind_and_its_id_says_which(market: str) -> None:
    instrument, base = MARKETS[market], API[market]
    venue = Venue(
        {
            f"POST {base}/order": {"orderId": 28, "status": "NEW"},
            f"POST {base}/algoOrder": {"algoId": 2146760, "algoStatus": "NEW"},
        }
    )

    async def ask(context: Context) -> list[str | None]:
        broker = FuturesBroker(context)
        receipts = [await broker.place(leg=leg(instrument)), await broker.place(leg=stop(instrument))]
        return [each.venue_order_id for each in receipts]

    assert run(venue, ask, market) == ["28", "algo:2146760"]
    assert paths(venue) == [f"POST {base}/order", f"POST {base}/algoOrder"]


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (-2019, "Margin is insufficient.", InsufficientFundsError),
        (-2022, "ReduceOnly Order is rejected.", OrderRejectedError),
        (-2021, "Order would immediately trigger.", OrderRejectedError),
        (-4164, "Order's notional must be no smaller than 100", FilterError),
        (-4061, "Order's position side does not match user's setting.", OrderRejectedError),
        (-4120, "Order type not supported for this endpoint.", NotSupportedError),
        (-4116, "clientOrderId is duplicated", OutcomeUnknownError),
        (-1007, "Timeout waiting for response from backend server.", OutcomeUnknownError),
        (-1006, "An unexpected response was received from the message bus.", OutcomeUnknownError),
        (-5022, "the Post Only order will be rejected.", OrderRejectedError),
    ],
)
def test_what_the_venue_answers_to_an_order_says_what_became_of_it(
    code: int, message: str, expected: type[Exception]
) -> None:
    venue = Venue({"POST /fapi/v1/order": {"code": code, "msg": message}})

    with pytest.raises(expected) as told:
        run(venue, lambda context: FuturesBroker(context).place(leg=leg()))

    assert type(told.value) is expected


# --- cancelling -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "venue_order_id", "path", "sent"),
    [
        (leg(), "28", "order", {"symbol": "BTCUSDT", "orderId": "28"}),
        (leg(), None, "order", {"symbol": "BTCUSDT", "origClientOrderId": "run1-1"}),
        (stop(), "algo:5", "algoOrder", {"algoId": "5"}),
        (stop(), None, "algoOrder", {"clientAlgoId": "run1-1"}),
        (stop(), "28", "order", {"symbol": "BTCUSDT", "orderId": "28"}),
    ],
)
def test_a_cancel_goes_where_the_order_is(order: Any, venue_order_id: str | None, path: str, sent: Any) -> None:
    venue = Venue({f"DELETE /fapi/v1/{path}": {"code": "200", "msg": "success"}})

    run(venue, lambda context: FuturesBroker(context).cancel(leg=order, venue_order_id=venue_order_id))

    assert venue.fields() == sent


def test_a_stop_that_triggered_meanwhile_is_cancelled_as_the_order_it_became() -> None:
    venue = Venue({"DELETE /fapi/v1/algoOrder": _UNKNOWN, "DELETE /fapi/v1/order": {"orderId": 28}})

    run(venue, lambda context: FuturesBroker(context).cancel(leg=stop(), venue_order_id="algo:5"))

    assert venue.fields() == {"symbol": "BTCUSDT", "origClientOrderId": "run1-1"}


def test_an_order_that_is_in_neither_place_is_not_found() -> None:
    venue = Venue({"DELETE /fapi/v1/algoOrder": _UNKNOWN, "DELETE /fapi/v1/order": _UNKNOWN})

    with pytest.raises(OrderNotFoundError):
        run(venue, lambda context: FuturesBroker(context).cancel(leg=stop(), venue_order_id="algo:5"))


def test_cancelling_all_reaches_both_places_also_when_one_refuses() -> None:
    done = {"code": 200, "msg": "The operation of cancel all open order is done."}
    venue = Venue({"DELETE /fapi/v1/algoOpenOrders": _UNKNOWN, "DELETE /fapi/v1/allOpenOrders": done})

    with pytest.raises(OrderNotFoundError):
        run(venue, lambda context: FuturesBroker(context).cancel_all(instrument=USDM))

    assert paths(venue) == ["DELETE /fapi/v1/algoOpenOrders", "DELETE /fapi/v1/allOpenOrders"]
    assert venue.fields() == {"symbol": "BTCUSDT"}


# --- asking ---------------------------------------------------------------------------------------------


def test_an_order_and_its_fills_are_told_fills_first() -> None:
    trades = [_TRADE, {**_TRADE, "id": 698760, "orderId": 5}]
    venue = Venue(
        {
            "GET /fapi/v1/order": {**_ORDER, "executedQty": "0.002", "status": "PARTIALLY_FILLED"},
            "GET /fapi/v1/userTrades": trades,
        }
    )

    fill, report = run(venue, lambda context: FuturesBroker(context).query(leg=leg()))

    assert isinstance(fill, Fill)
    assert isinstance(report, OrderReport)
    assert (fill.fill_id, fill.client_order_id, fill.venue_order_id) == ("698759", "run1-1", "1917641")
    assert (fill.fee, fill.realised, fill.position_side) == (
        *(Decimal("0.07819010"), Decimal("-0.91539999")),
        PositionSide.SHORT,
    )
    assert (report.status, report.filled, report.client_order_id) == (
        *(Status.PARTIALLY_FILLED, Decimal("0.002")),
        "run1-1",
    )
    assert venue.fields(0) == {"symbol": "BTCUSDT", "origClientOrderId": "run1-1"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [("NEW", Status.NEW), ("TRIGGERING", Status.NEW), ("CANCELED", Status.CANCELED), ("REJECTED", Status.REJECTED)],
)
def test_a_stop_that_waits_is_told_by_the_algo_service(status: str, expected: Status) -> None:
    venue = Venue({"GET /fapi/v1/algoOrder": {**_ALGO, "algoStatus": status}})

    (report,) = run(venue, lambda context: FuturesBroker(context).query(leg=stop()))

    assert isinstance(report, OrderReport)
    assert (report.status, report.filled, report.venue_order_id) == (expected, 0, "algo:2146760")
    assert (report.order_type, report.trigger_price, report.reduce_only) == (
        *(OrderType.STOP_MARKET, Decimal(750)),
        True,
    )


@pytest.mark.parametrize("status", ["TRIGGERED", "FINISHED"])
def test_a_stop_that_triggered_is_what_its_child_is(status: str) -> None:
    venue = Venue(
        {
            "GET /fapi/v1/algoOrder": {**_ALGO, "algoStatus": status, "actualOrderId": "1917641"},
            "GET /fapi/v1/order": _ORDER,
        }
    )

    (report,) = run(venue, lambda context: FuturesBroker(context).query(leg=stop()))

    assert isinstance(report, OrderReport)
    assert (report.status, report.filled, report.venue_order_id) == (Status.NEW, 0, "1917641")
    assert venue.fields() == {"symbol": "BTCUSDT", "orderId": "1917641"}


def test_an_order_of_the_exchanges_own_is_asked_for_by_its_number() -> None:
    venue = Venue({"GET /fapi/v1/order": {**_ORDER, "clientOrderId": "settlement_autoclose-1"}})
    made = attrs.evolve(leg(), client_order_id="venue-BTC/USDT:USDT-261225-1917641")

    (report,) = run(venue, lambda context: FuturesBroker(context).query(leg=made))

    assert (report.client_order_id, report.origin) == (made.client_order_id, Origin.DELIVERY)
    assert venue.fields() == {"symbol": "BTCUSDT", "orderId": "1917641"}


@pytest.mark.parametrize("order", [leg(), stop()], ids=["limit", "stop"])
def test_what_is_not_in_the_one_place_is_looked_for_in_the_other(order: Any) -> None:
    is_stop = order.request.order_type is OrderType.STOP_MARKET
    answers = {"GET /fapi/v1/algoOrder": _ALGO, "GET /fapi/v1/order": _ORDER}
    answers["GET /fapi/v1/algoOrder" if is_stop else "GET /fapi/v1/order"] = _NO_ALGO
    venue = Venue(answers)

    (report,) = run(venue, lambda context: FuturesBroker(context).query(leg=order))

    assert report.venue_order_id == ("1917641" if is_stop else "algo:2146760")


def test_an_order_the_venue_never_had_is_not_found() -> None:
    venue = Venue({"GET /fapi/v1/algoOrder": _NO_ALGO, "GET /fapi/v1/order": _NO_ALGO})

    with pytest.raises(OrderNotFoundError):
        run(venue, lambda context: FuturesBroker(context).query(leg=stop()))


def test_open_orders_are_those_of_both_places_and_of_a_triggered_one_the_child() -> None:
    made = [{**_ORDER, "clientOrderId": "adl_autoclose", "orderId": number} for number in (7, 8)]
    venue = Venue(
        {
            "GET /fapi/v1/openAlgoOrders": [_ALGO, {**_ALGO, "clientAlgoId": "other", "algoId": 6}],
            "GET /fapi/v1/openOrders": [_ORDER, *made],
        }
    )

    reports = run(venue, lambda context: FuturesBroker(context).open_orders(instruments=[USDM]))

    assert [(report.client_order_id, report.venue_order_id) for report in reports] == [
        ("other", "algo:6"),
        ("run1-1", "1917641"),
        ("adl_autoclose", "7"),  # the exchange's own ids repeat
        ("adl_autoclose", "8"),
    ]
    assert [venue.fields(0), venue.fields(1)] == [{"symbol": "BTCUSDT"}] * 2


def test_open_orders_of_many_instruments_are_asked_for_at_once() -> None:
    venue = Venue({"GET /fapi/v1/openAlgoOrders": [{**_ALGO, "symbol": "NOTOURS"}], "GET /fapi/v1/openOrders": []})
    many = [_named(f"C{number}") for number in range(41)]

    reports = run(venue, lambda context: FuturesBroker(context).open_orders(instruments=many))

    assert reports == ()
    assert [venue.fields(0), venue.fields(1)] == [{}, {}]


def _named(base: str) -> Instrument:
    return Instrument(
        **{
            **{name: getattr(USDM, name) for name in ("venue", "kind", "quote", "settle", "tick_size", "step_size")},
            "symbol": f"{base}/USDT:USDT",
            "venue_symbol": f"{base}USDT",
            "base": base,
            "min_quantity": USDM.min_quantity,
        }
    )


# --- fills ----------------------------------------------------------------------------------------------

_DAY_MS = 86_400_000


def _book_of(trades: list[dict[str, Any]]) -> Venue:
    """Serve ``userTrades`` by its rules: without a time the last seven days, at most seven, newest kept."""

    def user_trades(asked: dict[str, str]) -> Any:
        if "fromId" in asked:
            assert "startTime" not in asked
            return [row for row in trades if row["id"] >= int(asked["fromId"])][:1000]
        start, end = int(asked["startTime"]), int(asked["endTime"])
        assert end - start < 7 * _DAY_MS
        return [row for row in trades if start <= row["time"] <= end][-1000:]

    return Venue({"GET /fapi/v1/userTrades": user_trades})


def test_fills_of_weeks_are_asked_for_week_by_week() -> None:
    trades = [{**_TRADE, "id": number, "time": _NOW_MS - (30 - number) * _DAY_MS} for number in range(30)]
    venue = _book_of(trades)

    start_ns = (_NOW_MS - 20 * _DAY_MS) * 1_000_000
    fills = run(venue, lambda context: FuturesBroker(context).fills(instrument=USDM, start_ns=start_ns))

    assert [fill.fill_id for fill in fills] == [str(number) for number in range(10, 30)]
    assert {fill.client_order_id for fill in fills} == {""}
    assert len(venue.requests) == 3


def test_fills_of_a_busy_week_are_all_there_once() -> None:
    trades = [{**_TRADE, "id": number, "time": _NOW_MS - 5000 + number // 2} for number in range(3_300)]
    venue = _book_of(trades)

    start_ns = (_NOW_MS - 4000) * 1_000_000
    fills = run(venue, lambda context: FuturesBroker(context).fills(instrument=USDM, start_ns=start_ns))

    assert [fill.fill_id for fill in fills] == [str(number) for number in range(2_000, 3_300)]


def test_what_the_market_does_not_have_is_refused_here() -> None:
    async def ask(context: Context) -> None:
        broker = FuturesBroker(context)
        with pytest.raises(NotSupportedError, match="no order lists"):
            await broker.place_list(order_list=OrderList(list_id="l", kind=ListKind.OCO, legs=(leg(), stop())))
        with pytest.raises(NotSupportedError, match="cannot replace"):
            await broker.replace(leg=leg(), venue_order_id=None, new=leg())
        with pytest.raises(NotSupportedError, match="limit orders only"):
            await broker.amend(leg=stop(), venue_order_id=None, new=stop())

    run(Venue({}), ask)
