"""Store, Broker and Feed against a small server that speaks documented answers."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeVar

import attrs
import pytest
from aiohttp import web

from btx.errors import BtxError, ConfigError, DataError, NotSupportedError, UnknownSymbolError
from btx.model.account import KeyRights
from btx.model.order import Fill, ListKind, OrderList, OrderReport, OrderType, Side, Status, TimeInForce
from btx.model.time import Interval
from btx.model.venue import Environment
from btx.ports import Context
from btx_binance.api import api
from btx_binance.spot.broker import SpotBroker
from btx_binance.spot.feed import SpotFeed
from btx_binance.spot.store import SpotStore
from tests.unit.binance.loopback import (
    KEY,
    SECRET,
    ManualClock,
    answer,
    connected,
    form,
    instrument,
    leg,
    others,
    serve,
)
from tests.unit.binance.test_codec import _row

T = TypeVar("T")
_ORDER = {
    "symbol": "BTCUSDT", "orderId": 28, "clientOrderId": "run1-1", "price": "0.10", "origQty": "1.00",
    "executedQty": "0.00", "status": "NEW", "timeInForce": "GTC", "type": "LIMIT", "side": "BUY",
    "stopPrice": "0.00", "time": 1, "updateTime": 2,
}  # fmt: skip


class Venue:
    """Keeps the requests it was sent, and answers each path from a table."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers
        self.requests: list[tuple[str, str, dict[str, str], web.Request]] = []

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text() if request.method == "POST" else request.query_string
        fields = dict(request.query) if request.method != "POST" else form(text)
        self.requests.append((f"{request.method} {request.path}", text, fields, request))
        given = self._answers[f"{request.method} {request.path}"]
        return web.json_response(given(fields) if callable(given) else given)

    def fields(self, index: int = -1) -> dict[str, str]:
        signing = {"timestamp", "recvWindow", "signature"}
        return {key: value for key, value in self.requests[index][2].items() if key not in signing}


def _run(venue: Venue, use: Callable[[Context], Awaitable[T]], **kwargs: Any) -> T:
    async def run() -> T:
        handlers = {"* /{path:.*}": venue.handle}
        async with serve(handlers) as where, connected(where, **kwargs) as context:
            result = await use(context)
        assert not await others()
        return result

    return asyncio.run(run())


def _raises(venue: Venue, use: Callable[[Context], Awaitable[Any]]) -> BtxError:
    async def failing(context: Context) -> BtxError:
        with pytest.raises(BtxError) as caught:
            await use(context)
        return caught.value

    return _run(venue, failing)


def test_a_limit_order_leaves_with_exact_decimals_our_id_and_an_acknowledgement_only() -> None:
    venue = Venue({"POST /api/v3/order": {"symbol": "BTCUSDT", "orderId": 28, "transactTime": 1507725176595}})

    receipt = _run(venue, lambda context: SpotBroker(context).place(leg=leg(quantity=Decimal("1.2E-4"))))

    assert receipt.venue_order_id == "28"
    assert venue.fields() == {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.00012",
        "price": "61837.64",
        "newClientOrderId": "run1-1",
        "newOrderRespType": "ACK",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"order_type": OrderType.MARKET, "price": None, "side": Side.SELL}, {"type": "MARKET", "side": "SELL"}),
        ({"post_only": True}, {"type": "LIMIT_MAKER", "price": "61837.64"}),
        ({"time_in_force": TimeInForce.FOK}, {"type": "LIMIT", "timeInForce": "FOK"}),
        ({"params": {"selfTradePreventionMode": "NONE"}}, {"selfTradePreventionMode": "NONE"}),
        ({"display_quantity": Decimal("0.00004")}, {"type": "LIMIT", "icebergQty": "0.00004"}),
        ({"display_quantity": Decimal("0.00004"), "post_only": True}, {"type": "LIMIT_MAKER", "icebergQty": "0.00004"}),
        (
            {"order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": Decimal("6E+4")},
            {"type": "STOP_LOSS", "stopPrice": "60000"},
        ),
        (
            {"order_type": OrderType.STOP_LIMIT, "trigger_price": Decimal(60000)},
            {"type": "STOP_LOSS_LIMIT", "stopPrice": "60000", "price": "61837.64"},
        ),
        (
            {"order_type": OrderType.TAKE_PROFIT_MARKET, "price": None, "trigger_price": Decimal(60000)},
            {"type": "TAKE_PROFIT", "stopPrice": "60000"},
        ),
        (
            {"order_type": OrderType.TAKE_PROFIT_LIMIT, "trigger_price": Decimal(1), "time_in_force": TimeInForce.IOC},
            {"type": "TAKE_PROFIT_LIMIT", "stopPrice": "1", "price": "61837.64", "timeInForce": "IOC"},
        ),
        (
            {"order_type": OrderType.TRAILING_STOP, "price": None, "trail_bps": 150},
            {"type": "STOP_LOSS", "trailingDelta": "150"},
        ),
        (
            {"order_type": OrderType.TRAILING_STOP, "trail_bps": 150},
            {"type": "STOP_LOSS_LIMIT", "trailingDelta": "150", "price": "61837.64"},
        ),
    ],
)
def test_each_kind_of_order_has_its_documented_parameters(changes: Any, expected: dict[str, str]) -> None:
    venue = Venue({"POST /api/v3/order": {"orderId": 1}})

    _run(venue, lambda context: SpotBroker(context).place(leg=leg(**changes)))

    sent = venue.fields()
    assert expected.items() <= sent.items()
    assert ("timeInForce" in sent) == (sent["type"] in {"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
    for name in ("stopPrice", "icebergQty", "trailingDelta"):
        assert (name in sent) == (name in expected)
    assert ("price" in sent) == (changes.get("price", 1) is not None)


def test_a_trailing_stop_follows_from_the_next_trade_on_wherever_it_stands_now() -> None:
    venue = Venue({"POST /api/v3/order": {"orderId": 1}})
    stop = leg(order_type=OrderType.TRAILING_STOP, price=None, trail_bps=150, trigger_price=Decimal(60000))

    _run(venue, lambda context: SpotBroker(context).place(leg=stop))

    # With a stopPrice the venue would begin to follow there, a whole trail too late.
    assert "stopPrice" not in venue.fields()


@pytest.mark.parametrize(
    "changes",
    [
        {"order_type": OrderType.STOP_LIMIT},
        {"order_type": OrderType.TAKE_PROFIT_MARKET, "price": None},
        {"order_type": OrderType.STOP_MARKET, "trigger_price": Decimal(1)},
        {"order_type": OrderType.TRAILING_STOP, "price": None, "trail_amount": Decimal(5)},
        {"order_type": OrderType.MARKET, "price": None, "display_quantity": Decimal(1)},
        {
            "order_type": OrderType.STOP_MARKET,
            "price": None,
            "trigger_price": Decimal(1),
            "display_quantity": Decimal(1),
        },
        {"display_quantity": Decimal(1), "time_in_force": TimeInForce.IOC},
        {"order_type": OrderType.MARKET, "price": None, "post_only": True},
        {"post_only": True, "time_in_force": TimeInForce.IOC},
        {"time_in_force": TimeInForce.DAY},
        {"price": None},
    ],
)
def test_what_is_not_supported_is_said_before_anything_is_sent(changes: Any) -> None:
    venue = Venue({})

    error = _raises(venue, lambda context: SpotBroker(context).place(leg=leg(**changes)))

    assert isinstance(error, NotSupportedError)
    assert venue.requests == []


def test_a_signed_call_carries_the_corrected_wire_time_the_key_and_a_right_signature() -> None:
    venue = Venue({"POST /api/v3/order": {"orderId": 1}})

    _run(
        venue,
        lambda context: SpotBroker(context).place(leg=leg()),
        clock=ManualClock(wire=1_723_161_253_937_085_768),
    )

    _, text, fields, request = venue.requests[0]
    body, _, signature = text.rpartition("&signature=")
    assert fields["timestamp"] == "1723161253937"
    assert fields["recvWindow"] == "5000"
    assert request.headers["X-MBX-APIKEY"] == KEY
    assert signature == hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()


# --- order lists ------------------------------------------------------------------------------------------

_STOP = {"order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": Decimal(90)}
_LIST = {"orderListId": 7, "contingencyType": "OCO", "listStatusType": "EXEC_STARTED", "orders": []}


def _listed(kind: ListKind, *legs: dict[str, Any]) -> OrderList:
    made = [
        attrs.evolve(leg(**{"quantity": Decimal(2), **changes}), client_order_id=f"c{index}", list_id="l1")
        for index, changes in enumerate(legs)
    ]
    return OrderList(list_id="l1", kind=kind, legs=tuple(made))


def _place_list(venue: Venue, order_list: OrderList) -> dict[str, str]:
    receipt = _run(venue, lambda context: SpotBroker(context).place_list(order_list=order_list))
    assert receipt.venue_order_id == "7"
    return venue.fields()


_PAIR: dict[str, str] = {"symbol": "BTCUSDT", "listClientOrderId": "l1", "newOrderRespType": "ACK"}
_OCO: dict[str, str] = {**_PAIR, "quantity": "2"}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            {"side": Side.SELL, "price": Decimal(110)},
            {"side": Side.SELL, **_STOP},
            {
                "side": "SELL",
                "aboveType": "LIMIT_MAKER",
                "abovePrice": "110",
                "aboveClientOrderId": "c0",
                "belowType": "STOP_LOSS",
                "belowStopPrice": "90",
                "belowClientOrderId": "c1",
            },
        ),
        (
            {"price": Decimal(90), "display_quantity": Decimal(1)},
            {"order_type": OrderType.STOP_LIMIT, "price": Decimal(112), "trigger_price": Decimal(110)},
            {
                "side": "BUY",
                "aboveType": "STOP_LOSS_LIMIT",
                "abovePrice": "112",
                "aboveStopPrice": "110",
                "aboveTimeInForce": "GTC",
                "aboveClientOrderId": "c1",
                "belowType": "LIMIT_MAKER",
                "belowPrice": "90",
                "belowIcebergQty": "1",
                "belowClientOrderId": "c0",
            },
        ),
        (
            {
                "side": Side.SELL,
                "order_type": OrderType.TAKE_PROFIT_MARKET,
                "price": None,
                "trigger_price": Decimal(110),
            },
            {"side": Side.SELL, "order_type": OrderType.TRAILING_STOP, "price": None, "trail_bps": 100},
            {
                "side": "SELL",
                "aboveType": "TAKE_PROFIT",
                "aboveStopPrice": "110",
                "aboveClientOrderId": "c0",
                "belowType": "STOP_LOSS",
                "belowTrailingDelta": "100",
                "belowClientOrderId": "c1",
            },
        ),
        (
            {"price": Decimal(90), "params": {"selfTradePreventionMode": "NONE", "strategyId": 5}},
            {"order_type": OrderType.TRAILING_STOP, "price": None, "trail_bps": 100},
            {
                "side": "BUY",
                "selfTradePreventionMode": "NONE",
                "aboveType": "STOP_LOSS",
                "aboveTrailingDelta": "100",
                "aboveClientOrderId": "c1",
                "belowType": "LIMIT_MAKER",
                "belowPrice": "90",
                "belowStrategyId": "5",
                "belowClientOrderId": "c0",
            },
        ),
    ],
)
def test_the_orders_of_a_pair_are_named_by_where_they_lie(
    first: dict[str, Any], second: dict[str, Any], expected: dict[str, str]
) -> None:
    venue = Venue({"POST /api/v3/orderList/oco": _LIST})

    assert _place_list(venue, _listed(ListKind.OCO, first, second)) == _OCO | expected


def test_an_entry_triggers_one_exit() -> None:
    venue = Venue({"POST /api/v3/orderList/oto": _LIST})
    exit_ = {"side": Side.SELL, "order_type": OrderType.LIMIT, "price": Decimal(110), "quantity": Decimal("1.5")}

    assert _place_list(venue, _listed(ListKind.OTO, {"price": Decimal(100)}, exit_)) == _PAIR | {
        "workingType": "LIMIT",
        "workingSide": "BUY",
        "workingPrice": "100",
        "workingQuantity": "2",
        "workingTimeInForce": "GTC",
        "workingClientOrderId": "c0",
        "pendingType": "LIMIT",
        "pendingSide": "SELL",
        "pendingPrice": "110",
        "pendingQuantity": "1.5",
        "pendingTimeInForce": "GTC",
        "pendingClientOrderId": "c1",
    }


def test_an_entry_triggers_a_pair_of_exits() -> None:
    venue = Venue({"POST /api/v3/orderList/otoco": _LIST})
    up, down = {"side": Side.SELL, "price": Decimal(110)}, {"side": Side.SELL, **_STOP}
    entry = {"price": Decimal(100), "post_only": True}

    assert _place_list(venue, _listed(ListKind.OTOCO, entry, up, down)) == _PAIR | {
        "workingType": "LIMIT_MAKER",
        "workingSide": "BUY",
        "workingPrice": "100",
        "workingQuantity": "2",
        "workingClientOrderId": "c0",
        "pendingSide": "SELL",
        "pendingQuantity": "2",
        "pendingAboveType": "LIMIT_MAKER",
        "pendingAbovePrice": "110",
        "pendingAboveClientOrderId": "c1",
        "pendingBelowType": "STOP_LOSS",
        "pendingBelowStopPrice": "90",
        "pendingBelowClientOrderId": "c2",
    }


@pytest.mark.parametrize(
    "order_list",
    [
        _listed(ListKind.OTO, {"order_type": OrderType.MARKET, "price": None}, {"side": Side.SELL, **_STOP}),
        _listed(ListKind.OCO, {"side": Side.SELL, "order_type": OrderType.MARKET, "price": None}, {"side": Side.SELL}),
        _listed(ListKind.OCO, {"side": Side.SELL, "time_in_force": TimeInForce.IOC}, {"side": Side.SELL, **_STOP}),
        _listed(ListKind.OCO, {"side": Side.BUY}, {"side": Side.SELL, **_STOP}),
        _listed(ListKind.OCO, {"side": Side.SELL, "quantity": Decimal(1)}, {"side": Side.SELL, **_STOP}),
    ],
)
def test_a_list_the_venue_does_not_know_is_said_before_anything_is_sent(order_list: OrderList) -> None:
    venue = Venue({})

    error = _raises(venue, lambda context: SpotBroker(context).place_list(order_list=order_list))

    assert isinstance(error, NotSupportedError)
    assert venue.requests == []


# --- changes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue_order_id", "named"), [("9", {"cancelOrderId": "9"}), (None, {"cancelOrigClientOrderId": "run1-1"})]
)
def test_a_replacement_is_placed_only_for_an_untouched_order(venue_order_id: str | None, named: dict[str, str]) -> None:
    done = {"cancelResult": "SUCCESS", "newOrderResult": "SUCCESS", "newOrderResponse": {"orderId": 10}}
    venue = Venue({"POST /api/v3/order/cancelReplace": done})
    new = attrs.evolve(leg(price=Decimal(61000), quantity=Decimal("0.00012")), client_order_id="run1-2")

    receipt = _run(
        venue, lambda context: SpotBroker(context).replace(leg=leg(), venue_order_id=venue_order_id, new=new)
    )

    assert receipt.venue_order_id == "10"
    assert venue.fields() == named | {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.00012",
        "price": "61000",
        "newClientOrderId": "run1-2",
        "newOrderRespType": "ACK",
        "cancelReplaceMode": "STOP_ON_FAILURE",
        "cancelRestrictions": "ONLY_NEW",
    }


def test_all_orders_of_an_instrument_are_cancelled_by_its_name() -> None:
    venue = Venue({"DELETE /api/v3/openOrders": [{"symbol": "BTCUSDT", "status": "CANCELED"}]})

    _run(venue, lambda context: SpotBroker(context).cancel_all(instrument=instrument()))

    assert venue.fields() == {"symbol": "BTCUSDT"}


def test_a_cancel_names_the_venues_id_when_it_is_known() -> None:
    venue = Venue({"DELETE /api/v3/order": {}})

    async def cancel(context: Context) -> None:
        await SpotBroker(context).cancel(leg=leg(), venue_order_id="28")
        await SpotBroker(context).cancel(leg=leg(), venue_order_id=None)

    _run(venue, cancel)

    assert venue.fields(0) == {"symbol": "BTCUSDT", "orderId": "28"}
    assert venue.fields(1) == {"symbol": "BTCUSDT", "origClientOrderId": "run1-1"}


def test_a_query_returns_the_state_and_every_page_of_its_fills() -> None:
    def my_trades(fields: dict[str, str]) -> list[dict[str, Any]]:
        first = max(int(fields["fromId"]), 1)
        return [
            {
                "symbol": "BTCUSDT", "id": trade_id, "orderId": 28, "price": "0.10", "qty": "0.0005",
                "commission": "0.0000005", "commissionAsset": "BTC", "time": 3, "isBuyer": True, "isMaker": False,
            }
            for trade_id in range(first, min(first + 1000, 1501))
        ]  # fmt: skip

    venue = Venue(
        {
            "GET /api/v3/order": {**_ORDER, "executedQty": "0.75", "status": "PARTIALLY_FILLED"},
            "GET /api/v3/myTrades": my_trades,
        }
    )

    *fills, report = _run(venue, lambda context: SpotBroker(context).query(leg=leg()))

    assert isinstance(report, OrderReport)
    assert (report.status, report.filled, report.sequence) == (Status.PARTIALLY_FILLED, Decimal("0.75"), None)
    assert [fill.fill_id for fill in fills if isinstance(fill, Fill)] == [str(each) for each in range(1, 1501)]
    assert {fill.client_order_id for fill in fills} == {"run1-1"}
    assert venue.fields(0) == {"symbol": "BTCUSDT", "origClientOrderId": "run1-1"}
    assert venue.fields(1) == {"symbol": "BTCUSDT", "orderId": "28", "limit": "1000", "fromId": "0"}


class Fills:
    """An account's fills, one every ``pace_s`` from the ``first`` on, as myTrades pages them.

    ``cuts``: which end of a range of time that is too long for a page is left
    out, for the documentation does not say.
    """

    def __init__(self, count: int, *, first: int = 1, hides: bool = False, cuts: str = "old", pace_s: int = 1) -> None:
        self.rows = [{**_fill_row(number), "time": number * pace_s * 1000} for number in range(first, first + count)]
        self._hides = hides
        self._cuts = cuts

    def page(self, fields: dict[str, str]) -> list[dict[str, Any]]:
        start, end = int(fields.get("startTime", 0)), int(fields.get("endTime", 10**15))
        assert ("fromId" in fields) + ("startTime" in fields) <= 1
        assert "startTime" not in fields or end - start <= 86_400_000
        if self._hides and "startTime" in fields:
            return []
        found = [row for row in self.rows if start <= row["time"] <= end and row["id"] >= int(fields.get("fromId", 0))]
        from_front = "fromId" in fields or ("startTime" in fields and self._cuts == "new")
        return found[:1000] if from_front else found[-1000:]


def _fill_row(number: int) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT", "id": number, "orderId": 28, "price": "0.10", "qty": "0.0005", "isMaker": number % 2 == 0,
        "commission": "0.0000005", "commissionAsset": "BTC", "time": number * 1000, "isBuyer": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("count", "start_s", "expected", "asked"),
    [
        (5, 3, range(3, 6), [{}]),
        (0, 3, range(0), [{}]),
        (1500, 1000, range(1000, 1501), [{}]),
    ],
)
def test_fills_since_a_time_are_mostly_the_newest_page(
    count: int, start_s: int, expected: range, asked: list[dict[str, str]]
) -> None:
    venue = Venue({"GET /api/v3/myTrades": Fills(count).page})

    fills = _run(venue, lambda context: SpotBroker(context).fills(instrument=instrument(), start_ns=start_s * 10**9))

    assert [int(fill.fill_id) for fill in fills] == list(expected)
    assert {(fill.client_order_id, fill.venue_order_id) for fill in fills} <= {("", "28")}
    always = {"symbol": "BTCUSDT", "limit": "1000"}
    assert [venue.fields(index) for index in range(len(venue.requests))] == [always | each for each in asked]


@pytest.mark.parametrize("cuts", ["old", "new"])
@pytest.mark.parametrize(
    ("pace_s", "start_s", "first"),
    [
        (1, 300, 300),  # all of one day
        (1, 0, 1),
        (0, 0, 1),  # all of one millisecond
        (200, 100 * 200, 100),  # over days
        (200, 3 * 86_400, 1296),  # fewer in each day than a page has
        (4000, 7, 1),  # over months
    ],
)
def test_no_fill_is_missed_whichever_end_of_a_long_range_the_venue_leaves_out(
    cuts: str, pace_s: int, start_s: int, first: int
) -> None:
    venue = Venue({"GET /api/v3/myTrades": Fills(2500, cuts=cuts, pace_s=pace_s).page})

    fills = _run(venue, lambda context: SpotBroker(context).fills(instrument=instrument(), start_ns=start_s * 10**9))

    assert [int(fill.fill_id) for fill in fills] == list(range(first, 2501))
    assert len(venue.requests) < 12


def test_fills_the_venue_has_and_does_not_list_are_an_error_and_never_none() -> None:
    venue = Venue({"GET /api/v3/myTrades": Fills(1200, first=100, hides=True).page})

    error = _raises(venue, lambda context: SpotBroker(context).fills(instrument=instrument(), start_ns=10**9))

    assert isinstance(error, DataError)


@pytest.mark.parametrize(
    ("path", "row"),
    [("GET /api/v3/openOrders", {"symbol": "BTCUSDT"}), ("GET /api/v3/openOrders", {}), ("GET /api/v3/myTrades", {})],
)
def test_a_row_that_cannot_be_read_is_a_data_error(path: str, row: dict[str, Any]) -> None:
    venue = Venue({path: [row], "GET /api/v3/order": {**_ORDER, "executedQty": "0.75"}})

    async def ask(context: Context) -> Any:
        broker = SpotBroker(context)
        if path.endswith("myTrades"):
            return await broker.query(leg=leg())
        return await broker.open_orders(instruments=[instrument()])

    assert isinstance(_raises(venue, ask), DataError)


def test_what_the_venue_counts_of_its_limits_is_told_with_every_answer() -> None:
    told: list[tuple[str, int]] = []
    headers = {
        "X-MBX-USED-WEIGHT-1M": "42",
        "x-mbx-order-count-10s": "3",
        "X-MBX-ORDER-COUNT-1D": "17",
        "X-MBX-USED-WEIGHT": "42",
        "X-SAPI-USED-IP-WEIGHT-1M": "5",
    }
    refusal = {"code": -2010, "msg": "Market is closed."}

    async def run() -> None:
        handlers = {
            "POST /api/v3/order": answer(refusal, status=400, headers=headers),
            "GET /api/v3/time": answer({"serverTime": 1}, headers={"X-MBX-USED-WEIGHT-1M": "many"}),
        }
        async with serve(handlers) as where, connected(where) as context:
            listening = attrs.evolve(context, observe=lambda limit, units: told.append((limit, units)))
            with pytest.raises(BtxError):
                await SpotBroker(listening).place(leg=leg())
            await SpotStore(listening).server_time_ns()

    asyncio.run(run())

    assert sorted(told) == [("orders_10s", 3), ("orders_day", 17), ("weight", 42)]


def test_a_query_of_an_order_without_a_fill_asks_for_none() -> None:
    venue = Venue({"GET /api/v3/order": _ORDER})

    (report,) = _run(venue, lambda context: SpotBroker(context).query(leg=leg()))

    assert isinstance(report, OrderReport)
    assert (report.status, report.side, report.price) == (Status.NEW, Side.BUY, Decimal("0.10"))


def test_open_orders_are_asked_for_the_cheaper_way() -> None:
    def open_orders(fields: dict[str, str]) -> list[dict[str, Any]]:
        rows = [{**_ORDER, "symbol": name} for name in ("BTCUSDT", "ETHUSDT", "XXXUSDT")]
        return [row for row in rows if fields.get("symbol", row["symbol"]) == row["symbol"]]

    venue = Venue({"GET /api/v3/openOrders": open_orders})
    few = [instrument("BTC"), instrument("ETH")]
    many = [*few, *(instrument(f"C{index}") for index in range(12))]

    for asked in (few, many):
        found = _run(venue, lambda context, asked=asked: SpotBroker(context).open_orders(instruments=asked))
        assert [report.symbol for report in found] == ["BTC/USDT", "ETH/USDT"]

    assert len(venue.requests) == 3


def test_bars_are_closed_by_the_market_clock_and_open_inside_the_range() -> None:
    minute = 60_000
    rows = [
        [index * minute, "1", "2", "0.5", "1.5", "10", (index + 1) * minute - 1, "15", 3, "5", "7", "0"]
        for index in range(2, 5)
    ]
    venue = Venue({"GET /api/v3/klines": rows})

    bars = _run(
        venue,
        lambda context: SpotFeed(context).bars(
            instrument=instrument(),
            interval=Interval.parse("1m"),
            start_ns=minute * 10**6 + 1,
            end_ns=5 * minute * 10**6,
        ),
        clock=ManualClock(market=5 * minute * 10**6 - 1),
    )

    assert [bar.open_ns // 10**6 for bar in bars] == [2 * minute, 3 * minute]
    assert venue.fields() == {
        "symbol": "BTCUSDT",
        "interval": "1m",
        "startTime": str(minute + 1),
        "endTime": str(5 * minute - 1),
        "limit": "1000",
    }


def test_an_empty_range_of_bars_asks_nothing() -> None:
    venue = Venue({})
    minute = Interval.parse("1m")

    bars = _run(
        venue,
        lambda context: SpotFeed(context).bars(instrument=instrument(), interval=minute, start_ns=5, end_ns=5),
    )

    assert (bars, venue.requests) == ((), [])


def test_a_page_of_trades_begins_with_an_id_or_at_a_time_and_is_the_newest_without() -> None:
    row = {"a": 7, "p": "1", "q": "2", "f": 1, "l": 1, "T": 9, "m": False}
    venue = Venue({"GET /api/v3/aggTrades": [row]})

    async def collect(context: Context) -> list[Any]:
        feed = SpotFeed(context)
        pages = (
            await feed.trades(instrument=instrument(), start_id=7),
            await feed.trades(instrument=instrument(), start_ns=499_000_001),
            await feed.trades(instrument=instrument()),
        )
        return [trade.trade_id for page in pages for trade in page]

    assert _run(venue, collect) == [7, 7, 7]
    fields = [venue.fields(index) for index in range(3)]
    assert [each.get("fromId") for each in fields] == ["7", None, None]
    assert [each.get("startTime") for each in fields] == [None, "500", None]
    assert {each["limit"] for each in fields} == {"1000"}


def test_the_last_price_is_the_latest_trade_or_none() -> None:
    row = {"a": 7, "p": "61.5", "q": "2", "f": 1, "l": 1, "T": 9, "m": False}
    venue = Venue({"GET /api/v3/aggTrades": lambda fields: [row] if fields["symbol"] == "BTCUSDT" else []})

    async def last(context: Context) -> tuple[Any, Any]:
        feed = SpotFeed(context)
        return await feed.last_price(symbol="BTC/USDT"), await feed.last_price(symbol="NEW/USDT")

    traded, untraded = _run(venue, last)

    assert (traded.price, traded.symbol, untraded) == (Decimal("61.5"), "BTC/USDT", None)


def test_a_book_has_the_depth_asked_for() -> None:
    row = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"]]}
    venue = Venue({"GET /api/v3/depth": row})

    book = _run(venue, lambda context: SpotFeed(context).book(instrument=instrument(), depth=100))
    error = _raises(venue, lambda context: SpotFeed(context).book(instrument=instrument(), depth=5000))

    assert (book.bids, book.sequence) == (((Decimal("0.0024"), Decimal(10)),), 160)
    assert venue.fields(0)["limit"] == "100"
    assert isinstance(error, NotSupportedError)


def test_named_instruments_cost_one_request_of_their_own() -> None:
    venue = Venue({"GET /api/v3/exchangeInfo": {"symbols": [_row()]}})

    found = _run(venue, lambda context: SpotStore(context).instruments(symbols=["BTC/USDT"]))

    assert list(found) == ["BTC/USDT"]
    assert venue.fields() == {"symbols": '["BTCUSDT"]'}


def test_unknown_names_are_left_out() -> None:
    async def exchange_info(request: web.Request) -> web.Response:
        if "symbols" in request.query:
            return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        return web.json_response({"symbols": [_row()]})

    async def run() -> tuple[list[str], str]:
        async with serve({"GET /api/v3/exchangeInfo": exchange_info}) as where, connected(where) as context:
            found = await SpotStore(context).instruments(symbols=["NO/SUCH", "BTC/USDT"])
            return list(found), api(context).symbol("BTCUSDT")

    assert asyncio.run(run()) == (["BTC/USDT"], "BTC/USDT")


def test_public_data_need_no_key() -> None:
    venue = Venue({"GET /api/v3/time": {"serverTime": 1499827319559}})

    assert _run(venue, lambda context: SpotStore(context).server_time_ns(), key="", secret="") == (
        1499827319559 * 10**6
    )


def test_an_answer_of_another_shape_is_a_data_error_that_shows_it() -> None:
    venue = Venue({"GET /api/v3/time": {"now": 1}})

    error = _raises(venue, lambda context: SpotStore(context).server_time_ns())

    assert isinstance(error, DataError)
    assert "{'now': 1}" in str(error)


def test_an_unknown_symbol_is_named_as_such() -> None:
    async def run() -> str:
        handler = answer({"code": -1121, "msg": "Invalid symbol."}, status=400)
        async with serve({"GET /api/v3/aggTrades": handler}) as where, connected(where) as context:
            with pytest.raises(UnknownSymbolError) as caught:
                await SpotFeed(context).last_price(symbol="NO/SUCH")
        return str(caught.value)

    assert "Invalid symbol" in asyncio.run(run())


def test_all_ports_of_a_session_share_one_connection_and_the_throttle_sees_each_request() -> None:
    venue = Venue({"GET /api/v3/time": {"serverTime": 1}})
    costs: list[float] = []

    async def throttle(cost: float) -> None:
        costs.append(cost)

    async def use(context: Context) -> bool:
        await SpotStore(context).server_time_ns()
        SpotBroker(context)
        return api(context) is api(context)

    assert _run(venue, use, shared={"throttle": throttle})
    assert len(costs) == 1


def test_no_address_of_a_simulated_session_leads_to_the_venue() -> None:
    def leaves(node: Any) -> list[str]:
        return [text for each in node.values() for text in leaves(each)] if isinstance(node, dict) else [node]

    async def addresses(context: Context) -> list[str]:
        return leaves(api(context).client.exchange.urls["api"])

    found = _run(Venue({}), addresses)

    assert len(found) > 20
    assert all("://127.0.0.1:" in url for url in found)
    assert any(url.endswith("/ws-api/v3") for url in found)


def test_a_simulated_session_without_a_simulator_is_an_error_not_a_visit_to_the_venue() -> None:
    async def run() -> None:
        async with connected(None) as context:
            with pytest.raises(ConfigError, match="start a simulator"):
                api(context)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("environment", "host"),
    [(Environment.TESTNET, "testnet.binance.vision"), (Environment.LIVE, "api.binance.com")],
)
def test_testnet_and_live_are_the_venues_own_addresses(environment: Environment, host: str) -> None:
    async def run() -> str:
        async with connected(None, environment=environment) as context:
            return str(api(context).client.exchange.urls["api"]["private"])

    assert asyncio.run(run()) == f"https://{host}/api/v3"


_COMMISSION = {
    "symbol": "BTCUSDT",
    "standardCommission": {"maker": "0.00010000", "taker": "0.00020000", "buyer": "0.00001", "seller": "0.00003"},
    "specialCommission": {"maker": "0.00000000", "taker": "0.00000000", "buyer": "0", "seller": "0"},
    "taxCommission": {"maker": "0.00000112", "taker": "0.00000114", "buyer": "0.00000118", "seller": "0.00000116"},
    "discount": {
        "enabledForAccount": True, "enabledForSymbol": True, "discountAsset": "BNB", "discount": "0.75000000",
    },
}  # fmt: skip


def test_the_accounts_own_rates_are_all_parts_together_and_its_discount_is_what_is_taken_off() -> None:
    venue = Venue({"GET /api/v3/account/commission": _COMMISSION})

    rates = _run(venue, lambda context: SpotStore(context).fees(instruments=[instrument()]))

    assert venue.fields() == {"symbol": "BTCUSDT"}
    found = rates["BTC/USDT"]
    assert (found.maker, found.taker) == (Decimal("0.00013230"), Decimal("0.00023232"))
    assert (found.discount_asset, found.discount) == ("BNB", Decimal("0.25"))


def test_a_discount_that_the_account_did_not_switch_on_is_none() -> None:
    off = {**_COMMISSION["discount"], "enabledForAccount": False}  # type: ignore[dict-item]
    venue = Venue({"GET /api/v3/account/commission": {**_COMMISSION, "discount": off}})

    rates = _run(venue, lambda context: SpotStore(context).fees(instruments=[instrument()]))

    assert (rates["BTC/USDT"].discount_asset, rates["BTC/USDT"].discount) == (None, Decimal(0))


def test_a_keys_rights_are_those_the_venue_tells_and_nothing_is_asked_where_it_does_not() -> None:
    answer = {
        "ipRestrict": False, "enableReading": True, "enableWithdrawals": False,
        "enableSpotAndMarginTrading": True, "enableFutures": False,
    }  # fmt: skip
    venue = Venue({"GET /sapi/v1/account/apiRestrictions": answer})

    rights = _run(venue, lambda context: SpotStore(context).key_rights())
    on_testnet = _run(venue, lambda context: SpotStore(context).key_rights(), environment=Environment.TESTNET)

    assert rights == KeyRights(may_read=True, may_trade=True, may_withdraw=False, is_ip_restricted=False)
    assert on_testnet == KeyRights()
    assert len(venue.requests) == 1
