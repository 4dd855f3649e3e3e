"""Orders against a server that answers as the documentation says."""

import asyncio
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import (
    AuthenticationError,
    ClockError,
    FilterError,
    InsufficientFundsError,
    MissingSecretError,
    NotSupportedError,
    OrderNotFoundError,
    OrderRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    TransportError,
)
from btx.model.order import (
    VENUE_MADE,
    Fill,
    Leg,
    ListKind,
    OrderList,
    OrderReport,
    OrderType,
    PositionSide,
    Side,
    Status,
)
from btx.model.time import from_ms
from btx_bybit.api import modes
from btx_bybit.broker import BybitBroker
from tests.unit.bybit.rig import INVERSE, LINEAR, NOW_MS, SPOT, leg, refusal, result, rows, venue

CREATE, AMEND, CANCEL = "/v5/order/create", "/v5/order/amend", "/v5/order/cancel"
REALTIME, HISTORY, EXECUTIONS = "/v5/order/realtime", "/v5/order/history", "/v5/execution/list"
SWITCH, ENABLED = "/v5/order/disconnected-cancel-all", "/v5/account/query-dcp-info"
TAKEN = result(orderId="uuid-1", orderLinkId="run1-1")
NEXT = attrs.evolve(leg(), request=attrs.evolve(leg().request, price=Decimal(61840)))


def order(**changes: Any) -> dict[str, Any]:
    return {
        "orderId": "uuid-1",
        "orderLinkId": "run1-1",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Limit",
        "price": "61837.6",
        "qty": "0.002",
        "orderStatus": "New",
        "cumExecQty": "0",
        "updatedTime": "1750000000000",
        "positionIdx": 0,
    } | changes


def execution(**changes: Any) -> dict[str, Any]:
    return {
        "execId": "e-1",
        "orderId": "uuid-1",
        "orderLinkId": "run1-1",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "execType": "Trade",
        "execPrice": "61837.6",
        "execQty": "0.001",
        "execFee": "0.03",
        "feeCurrency": "",
        "isMaker": True,
        "execTime": "1750000000001",
        "closedSize": "",
    } | changes


def ask(replies: Any, what: Any, market: str = "linear", **changes: Any) -> tuple[Any, Any]:
    """Give the broker to ``what`` in front of a venue, and return what came of it and the venue."""

    async def scene() -> tuple[Any, Any]:
        async with venue(replies, market, **changes) as (there, context):
            return await what(BybitBroker(context)), there

    return asyncio.run(scene())


def test_an_order_is_signed_and_its_id_comes_back() -> None:
    receipt, there = ask({CREATE: TAKEN}, lambda broker: broker.place(leg=leg()))

    assert receipt.venue_order_id == "uuid-1"
    (asked,) = there.asked
    assert asked.params["orderLinkId"] == "run1-1"
    assert asked.headers["X-BAPI-API-KEY"] == "k3y-of-the-account"
    assert asked.headers["X-BAPI-TIMESTAMP"] == "1700000000123"  # the clock's, not the machine's
    assert asked.headers["X-BAPI-RECV-WINDOW"] == "5000"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(110007, "ab not enough for new order"), InsufficientFundsError),
        (refusal(170131, "Balance insufficient"), InsufficientFundsError),
        (refusal(110003, "Order price exceeds the allowable range"), FilterError),
        (refusal(170140, "Transaction amount lower than the minimum"), FilterError),
        (refusal(10001, "Qty invalid"), OrderRejectedError),
        (refusal(999999, "a code nobody has heard of"), OrderRejectedError),
        (refusal(110017, "Reduce-only rule not satisfied"), OrderRejectedError),
        (refusal(10003, "API key is invalid"), AuthenticationError),
        (refusal(10002, "invalid request, please check your server timestamp"), ClockError),
        (refusal(10006, "Too many visits!"), RateLimitedError),
        (refusal(170007, "Timeout waiting for response from backend server"), OutcomeUnknownError),
        (refusal(10000, "Server Timeout"), OutcomeUnknownError),
        (refusal(10016, "Server error"), OutcomeUnknownError),
        (refusal(110072, "OrderLinkedID is duplicate"), OutcomeUnknownError),  # it may be our own first try
        ({"status": 502, "body": "<html>bad gateway</html>"}, OutcomeUnknownError),
        ({"status": 200, "body": "not json"}, OutcomeUnknownError),
        ({"result": {}}, OutcomeUnknownError),
        ({"status": 200, "body": "{}"}, OutcomeUnknownError),
        (refusal(10014, "Invalid duplicate request"), OutcomeUnknownError),
        (refusal(40004, "the order is modified during the process of replacing"), OutcomeUnknownError),
        (refusal(5004, "Server Timeout"), OutcomeUnknownError),
        (refusal(20003, "Too frequent requests under the same session"), RateLimitedError),
        (refusal(-2015, "Your api key has expired"), AuthenticationError),
    ],
)
def test_a_refusal_says_by_its_class_what_may_be_done(reply: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        ask({CREATE: reply}, lambda broker: broker.place(leg=leg()))

    assert type(caught.value) is error
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "headers", "pause_s", "scope"),
    [
        (refusal(10006, "Too many visits!"), {}, 1.0, "account"),
        (refusal(10006, "Too many visits!"), {"X-Bapi-Limit-Reset-Timestamp": "1700000003123"}, 3.0, "account"),
        (  # the venue's clock is a minute ahead of ours
            refusal(10006, "Too many visits!") | {"time": 1_700_000_060_123},
            {"X-Bapi-Limit-Reset-Timestamp": "1700000062123"},
            2.0,
            "account",
        ),
        (refusal(10018, "Exceeded the IP Rate Limit"), {}, 5.0, "ip"),
        ({"status": 403, "body": "access too frequent"}, {}, 600.0, "ip"),
        ({"status": 429, "body": "high server load"}, {}, 1.0, "ip"),
    ],
)
def test_a_venue_that_was_asked_too_often_is_left_alone_as_long_as_it_wants(
    reply: Any, headers: dict[str, str], pause_s: float, scope: str
) -> None:
    with pytest.raises(RateLimitedError) as caught:
        ask({CREATE: reply}, lambda broker: broker.place(leg=leg()), headers=headers)

    assert (caught.value.retry_after_s, caught.value.scope) == (pause_s, scope)


def test_a_stop_the_market_has_passed_says_that_it_would_trigger_immediately() -> None:
    late = leg(order_type=OrderType.STOP_MARKET, price=None, trigger_price=Decimal(60000))
    reply = refusal(110093, "expect Falling, but trigger_price[600000000] >= current[590000000]??LastPrice")

    with pytest.raises(OrderRejectedError, match=r"^Order would immediately trigger: .* \[110093\]$"):
        ask({CREATE: reply}, lambda broker: broker.place(leg=late))


@pytest.mark.parametrize(
    ("changes", "last", "is_late"),
    [
        ({"order_type": OrderType.STOP_MARKET, "side": Side.SELL}, "60000", True),
        ({"order_type": OrderType.STOP_MARKET, "side": Side.SELL}, "60000.1", False),
        ({"order_type": OrderType.STOP_MARKET, "side": Side.BUY}, "60001", True),
        ({"order_type": OrderType.TAKE_PROFIT_MARKET, "side": Side.SELL}, "60001", True),
        ({"order_type": OrderType.TAKE_PROFIT_MARKET, "side": Side.BUY}, "60001", False),
    ],
)
def test_a_stop_of_spot_that_would_turn_into_its_opposite_does_not_leave(
    changes: dict[str, Any], last: str, is_late: bool
) -> None:
    stop = leg("spot", price=None, trigger_price=Decimal(60000), **changes)
    replies = {CREATE: TAKEN, "/v5/market/tickers": rows({"symbol": "BTCUSDT", "lastPrice": last})}
    if is_late:
        with pytest.raises(OrderRejectedError, match=r"^Order would immediately trigger: the last price is"):
            ask(replies, lambda broker: broker.place(leg=stop), "spot")
    else:
        receipt, there = ask(replies, lambda broker: broker.place(leg=stop), "spot")
        assert receipt.venue_order_id == "uuid-1"
        assert [each.path for each in there.asked] == ["/v5/market/tickers", CREATE]


def test_the_venue_s_count_is_told_as_what_is_left_of_everybody_s_limit() -> None:
    told: list[tuple[str, int]] = []
    headers = {"X-Bapi-Limit": "20", "X-Bapi-Limit-Status": "7", "X-Bapi-Limit-Reset-Timestamp": "1"}

    ask(
        {CREATE: TAKEN},
        lambda broker: broker.place(leg=leg()),
        headers=headers,
        observe=lambda limit, units: told.append((limit, units)),
    )

    assert told == [("create", 3)]


def test_an_order_is_amended_in_place_and_cancelled_by_either_name() -> None:
    async def what(broker: BybitBroker) -> None:
        await broker.amend(leg=leg(), venue_order_id="uuid-1", new=NEXT)
        await broker.cancel(leg=leg(), venue_order_id="uuid-1")
        await broker.cancel(leg=leg(), venue_order_id=None)

    _, there = ask({AMEND: TAKEN, CANCEL: TAKEN}, what)

    assert there.of(AMEND) == [{"category": "linear", "symbol": "BTCUSDT", "orderId": "uuid-1", "price": "61840"}]
    assert [each.get("orderId") or each.get("orderLinkId") for each in there.of(CANCEL)] == ["uuid-1", "run1-1"]


def test_a_conditional_order_of_spot_is_looked_for_among_its_kind_and_then_among_the_others() -> None:
    stop = leg("spot", order_type=OrderType.STOP_MARKET, price=None, trigger_price=Decimal(60000))
    replies = {CANCEL: [refusal(170213, "Order does not exist."), TAKEN]}
    _, there = ask(replies, lambda broker: broker.cancel(leg=stop, venue_order_id="1"), "spot")

    assert [each.get("orderFilter") for each in there.of(CANCEL)] == ["tpslOrder", None]


@pytest.mark.parametrize(
    ("market", "instrument", "filters"),
    [
        ("linear", LINEAR, [None]),
        ("inverse", INVERSE, [None]),
        ("spot", SPOT, ["Order", "tpslOrder", "StopOrder", "OcoOrder", "BidirectionalTpslOrder"]),
    ],
)
def test_all_orders_of_an_instrument_are_cancelled_of_whatever_kind(
    market: str, instrument: Any, filters: list[str | None]
) -> None:
    path = "/v5/order/cancel-all"
    gone = result(list=[{"orderId": "1"}], success="1")
    _, there = ask({path: gone}, lambda broker: broker.cancel_all(instrument=instrument), market)

    assert [each.get("orderFilter") for each in there.of(path)] == filters
    with pytest.raises(OrderNotFoundError, match="no order was open"):
        ask({path: result(list=[])}, lambda broker: broker.cancel_all(instrument=instrument), market)


def test_an_order_is_its_state_and_its_fills() -> None:
    replies = {
        REALTIME: rows(order(orderStatus="PartiallyFilled", cumExecQty="0.001")),
        EXECUTIONS: rows(execution(), execution(execId="f-1", execType="Funding")),
    }
    (fill, report), there = ask(replies, lambda broker: broker.query(leg=leg()))

    assert isinstance(fill, Fill)
    assert isinstance(report, OrderReport)
    assert (report.status, report.filled) == (Status.PARTIALLY_FILLED, Decimal("0.001"))
    assert (fill.fill_id, fill.fee_asset, fill.client_order_id) == ("e-1", "USDT", "run1-1")
    assert there.of(REALTIME)[0]["orderLinkId"] == "run1-1"


def test_an_order_that_is_not_among_the_newest_is_looked_for_in_the_history() -> None:
    replies = {REALTIME: rows(), HISTORY: rows(order(orderStatus="Cancelled", cancelType="CancelByUser"))}
    (report,), _ = ask(replies, lambda broker: broker.query(leg=leg()))

    assert (report.status, report.reason) == (Status.CANCELED, "")


def test_an_order_that_is_over_and_was_made_more_than_a_week_ago_is_looked_for_since_its_signal() -> None:
    week_ms = 7 * 86_400_000
    made_ms = NOW_MS - week_ms - 5
    old = attrs.evolve(leg(), request=attrs.evolve(leg().request, signal_ns=from_ms(made_ms - 1)))
    over = order(orderStatus="Cancelled", cancelType="CancelByUser", createdTime=str(made_ms))
    replies = {REALTIME: rows(), HISTORY: [rows(), rows(over)]}
    (report,), there = ask(replies, lambda broker: broker.query(leg=old))

    assert report.status is Status.CANCELED
    asked = [(each.get("startTime"), each.get("endTime")) for each in there.of(HISTORY)]
    assert asked == [(None, None), (str(made_ms - 1), str(made_ms + week_ms - 2))]


def test_an_order_that_rests_for_more_than_a_week_is_asked_for_its_fills_from_its_beginning_on() -> None:
    week_ms = 7 * 86_400_000
    made_ms = NOW_MS - week_ms - 5
    resting = order(orderStatus="PartiallyFilled", cumExecQty="0.001", createdTime=str(made_ms))
    replies = {REALTIME: rows(resting), EXECUTIONS: [rows(execution(execTime=str(made_ms + 1))), rows()]}
    (fill, _), there = ask(replies, lambda broker: broker.query(leg=leg()))

    assert fill.fill_id == "e-1"
    asked = [(each["orderLinkId"], int(each["startTime"]), int(each["endTime"])) for each in there.of(EXECUTIONS)]
    first_end_ms = made_ms + week_ms - 1
    assert asked == [("run1-1", made_ms, first_end_ms), ("run1-1", first_end_ms + 1, first_end_ms + week_ms)]


def test_what_nobody_knows_is_not_found() -> None:
    replies = {REALTIME: rows(), HISTORY: rows(), EXECUTIONS: rows()}
    with pytest.raises(OrderNotFoundError, match="run1-1"):
        ask(replies, lambda broker: broker.query(leg=leg()))


@pytest.mark.parametrize("name", [f"{VENUE_MADE}BTC/USDT:USDT-uuid-9", "bybit-uuid-9"])
def test_an_order_no_client_named_is_asked_for_by_the_venue_s_id(name: str) -> None:
    made = attrs.evolve(leg(), client_order_id=name)
    replies = {REALTIME: rows(), HISTORY: rows(), EXECUTIONS: rows(execution(execType="Delivery", orderLinkId=""))}
    (fill,), there = ask(replies, lambda broker: broker.query(leg=made))

    assert fill.quantity == Decimal("0.001")  # a delivery is recorded as a trade, and not as an order
    assert there.of(REALTIME)[0]["orderId"] == "uuid-9"


@pytest.mark.parametrize(
    ("market", "instruments", "asked"),
    [
        ("linear", [LINEAR], [{"symbol": "BTCUSDT"}]),
        ("linear", [LINEAR, attrs.evolve(LINEAR, venue_symbol="ETHUSDT")], [{"settleCoin": "USDT"}]),
        ("spot", [SPOT, attrs.evolve(SPOT, venue_symbol="ETHUSDT")], [{}]),
        ("spot", [], []),
    ],
)
def test_open_orders_are_asked_for_page_by_page(market: str, instruments: Any, asked: list[dict[str, str]]) -> None:
    replies = {
        REALTIME: [
            rows(order(), order(symbol="XRPUSDT", orderId="other"), cursor="next%3D1"),
            rows(order(orderId="uuid-2", orderStatus="Untriggered", triggerPrice="60000", triggerDirection=2)),
        ]
    }
    found, there = ask(replies, lambda broker: broker.open_orders(instruments=instruments), market)

    assert [each.venue_order_id for each in found] == (["uuid-1", "uuid-2"] if asked else [])
    first = there.of(REALTIME)[: len(asked)]
    assert [{key: each[key] for key in each if key in {"symbol", "settleCoin"}} for each in first] == asked
    assert [each.get("cursor") for each in there.of(REALTIME)] == [None, "next=1"][: 2 * len(asked)]


def test_fills_are_asked_for_week_by_week_and_told_oldest_first() -> None:
    week_ms = 7 * 86_400_000
    replies = {
        EXECUTIONS: [
            rows(execution(execId="e-2", execTime="1749000000002"), execution(execTime="1749000000001")),
            rows(),
        ]
    }
    start_ns = from_ms(NOW_MS - week_ms - 5)
    found, there = ask(replies, lambda broker: broker.fills(instrument=LINEAR, start_ns=start_ns))

    assert [each.fill_id for each in found] == ["e-1", "e-2"]
    spans = [(int(each["startTime"]), int(each["endTime"])) for each in there.of(EXECUTIONS)]
    assert spans[0] == (NOW_MS - week_ms - 5, NOW_MS - 6)
    assert spans[1][0] == NOW_MS - 5


def test_in_hedge_mode_what_closes_is_of_the_other_side_s_position() -> None:
    async def what(broker: BybitBroker) -> Any:
        return await broker.fills(instrument=LINEAR, start_ns=from_ms(NOW_MS - 1))

    async def scene() -> Any:
        closing = execution(execId="e-2", side="Buy", closedSize="0.001", execTime="1750000000002")
        async with venue({EXECUTIONS: rows(execution(), closing)}) as (_, context):
            modes(context).hedged.add("BTCUSDT")
            return await what(BybitBroker(context))

    assert [each.position_side for each in asyncio.run(scene())] == [PositionSide.LONG, PositionSide.SHORT]


@pytest.mark.parametrize(("market", "product"), [("linear", "DERIVATIVES"), ("spot", "SPOT")])
def test_the_switch_is_set_once_for_the_market_s_product(market: str, product: str) -> None:
    enabled = result(dcpInfos=[{"product": product, "dcpStatus": "ON", "timeWindow": "40"}])
    replies = {SWITCH: {"retCode": 0, "retMsg": "success"}, ENABLED: enabled}
    _, there = ask(replies, lambda broker: broker.dead_man(instrument=LINEAR, after_s=40.0), market)

    assert there.of(SWITCH) == [{"product": product, "timeWindow": 40}]
    assert [each.path for each in there.asked] == [SWITCH, ENABLED]


def test_a_switch_that_the_venue_has_not_enabled_is_said_to_be_none() -> None:
    other = result(dcpInfos=[{"product": "OPTIONS", "dcpStatus": "ON", "timeWindow": "10"}])
    replies = {SWITCH: {"retCode": 0, "retMsg": "success"}, ENABLED: other}
    with pytest.raises(NotSupportedError, match="has not enabled Disconnect Cancel All of SPOT"):
        ask(
            {**replies, "/v5/user/query-api": result(isMaster=True)},
            lambda broker: broker.dead_man(instrument=SPOT, after_s=40.0),
            "spot",
        )
    hidden = {**replies, ENABLED: result(dcpInfos=[]), "/v5/user/query-api": result(isMaster=False)}
    ask(hidden, lambda broker: broker.dead_man(instrument=SPOT, after_s=40.0), "spot")


def test_the_switch_is_not_let_go_of_by_a_request() -> None:
    with pytest.raises(NotSupportedError, match="let go of by the stream"):
        ask({}, lambda broker: broker.dead_man(instrument=LINEAR, after_s=None))


def test_what_the_api_does_not_have_is_refused() -> None:
    pair: tuple[Leg, ...] = (leg(), leg())
    with pytest.raises(NotSupportedError, match="no order lists: OCO"):
        ask({}, lambda broker: broker.place_list(order_list=OrderList(list_id="l", kind=ListKind.OCO, legs=pair)))
    with pytest.raises(NotSupportedError, match="cannot replace an order"):
        ask({}, lambda broker: broker.replace(leg=leg(), venue_order_id=None, new=NEXT))


def test_without_a_key_nothing_is_sent() -> None:
    with pytest.raises(MissingSecretError, match="BTX_BYBIT_API_KEY"):
        ask({}, lambda broker: broker.place(leg=leg()), key="")


def test_pages_that_go_round_in_circles_end() -> None:
    found, _ = ask({REALTIME: rows(order(), cursor="same")}, lambda broker: broker.open_orders(instruments=[LINEAR]))

    assert len(found) == 2


def test_a_question_without_an_answer_may_be_asked_again() -> None:
    with pytest.raises(TransportError) as caught:
        ask({REALTIME: refusal(10016, "Server error")}, lambda broker: broker.open_orders(instruments=[LINEAR]))

    assert type(caught.value) is TransportError
