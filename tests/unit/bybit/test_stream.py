"""The private stream against a small server that speaks documented and recorded frames."""

import hashlib
import hmac
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from btx.errors import AuthenticationError, BtxError, ClockError, MissingSecretError, TransportError
from btx.model.account import AccountUpdate, Balance, MarginCall
from btx.model.order import (
    Fill,
    Leg,
    Liquidity,
    OrderReport,
    OrderRequest,
    OrderType,
    Origin,
    PositionSide,
    Side,
    Status,
)
from btx.model.time import NS_PER_S, from_ms
from btx.model.venue import StreamState
from btx.ports import StreamEvent
from btx.rules.orders import apply, new_order
from btx_bybit.events import Reader
from btx_bybit.symbols import symbol_of
from tests.unit.binance.loopback import KEY, SECRET, ManualClock, hold
from tests.unit.bybit.stream_rig import ACCOUNT, LINEAR, answer, lost, push

_MS = 1672364262474
ORDER: dict[str, Any] = {
    "category": "linear", "symbol": "BTCUSDT", "orderId": "5cf98598-39a7", "orderLinkId": "run1-1", "side": "Buy",
    "positionIdx": 0, "orderStatus": "New", "cancelType": "UNKNOWN", "rejectReason": "EC_NoError",
    "timeInForce": "GTC", "price": "16500.0", "qty": "0.006", "avgPrice": "", "leavesQty": "0.006", "cumExecQty": "0",
    "orderType": "Limit", "stopOrderType": "", "triggerPrice": "", "triggerDirection": 0, "reduceOnly": False,
    "createType": "CreateByUser", "createdTime": "1672364262444", "updatedTime": "1672364262457",
}  # fmt: skip
EXECUTION: dict[str, Any] = {
    "category": "linear", "symbol": "BTCUSDT", "orderId": "5cf98598-39a7", "orderLinkId": "run1-1", "side": "Buy",
    "execFee": "0.0272", "execId": "e1", "execPrice": "16500", "execQty": "0.003", "execType": "Trade",
    "execValue": "49.5", "isMaker": False, "feeRate": "0.00055", "feeCurrency": "", "orderType": "Limit",
    "stopOrderType": "UNKNOWN", "closedSize": "0", "execPnl": "0", "createType": "CreateByUser",
    "execTime": "1672364262455", "seq": 4688002127,
}  # fmt: skip
POSITION: dict[str, Any] = {
    "category": "linear", "symbol": "BTCUSDT", "positionIdx": 0, "side": "Sell", "size": "0.006",
    "entryPrice": "16500", "markPrice": "16480.5", "leverage": "10", "liqPrice": "", "unrealisedPnl": "0.117",
    "positionBalance": "9.9", "positionStatus": "Normal", "updatedTime": "1672364262459", "seq": 8327597863,
}  # fmt: skip


def frame(topic: str, *rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "59232430", "topic": topic, "creationTime": _MS, "data": list(rows), **more}


def read(*frames: dict[str, Any], market: str = "linear") -> list[StreamEvent]:
    reader = Reader(market, lambda name: symbol_of(name, market=market), set())
    return [event for each in frames for event in reader.events(each)]


def login(*frames: Any) -> Any:
    async def script(connection: web.WebSocketResponse) -> None:
        await answer(connection, req_id="auth")
        await answer(connection, ret_msg="subscribe")
        await push(connection, frames)
        await connection.close()

    return script


# --- the connection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("market", ["spot", "linear", "inverse"])
def test_the_account_logs_in_with_a_signature_and_subscribes_what_it_needs(market: str) -> None:
    requests: list[dict[str, Any]] = []

    async def script(connection: web.WebSocketResponse) -> None:
        requests.append(await connection.receive_json())
        await connection.send_json({"success": True, "ret_msg": "", "op": "auth", "conn_id": "cejreaspqfh3sjdnldmg-p"})
        requests.append(await connection.receive_json())
        await connection.send_json({"success": True, "ret_msg": "", "op": "subscribe", "conn_id": "cejreassvfrsfvb-2m"})
        await connection.close()

    error, heard = lost(script, ACCOUNT, market, clock=ManualClock(wire=1_672_364_262_000_000_000))

    key, expires_ms, signature = requests[0]["args"]
    expected = hmac.new(SECRET.encode(), f"GET/realtime{expires_ms}".encode(), hashlib.sha256).hexdigest()
    assert (requests[0]["op"], key, signature) == ("auth", KEY, expected)
    assert 1672364262000 < expires_ms <= 1672364262000 + 60_000
    on_margin = ["position"] if market != "spot" else []
    assert requests[1]["args"] == ["order", "execution", "wallet", *on_margin]
    assert heard.states == [StreamState.SUBSCRIBED]
    assert heard.events[0].subscriptions == ACCOUNT  # type: ignore[union-attr]
    assert type(error) is TransportError


def test_the_login_is_dated_when_the_connection_stands_however_long_the_dial_takes() -> None:
    clock, requests = ManualClock(wire=1_672_364_262_000_000_000), list[dict[str, Any]]()

    def let_in() -> None:
        clock.wire += 9 * NS_PER_S

    async def script(connection: web.WebSocketResponse) -> None:
        requests.append(await connection.receive_json())
        await connection.close()

    lost(script, ACCOUNT, clock=clock, let_in=let_in)

    assert requests[0]["args"][1] == 1_672_364_271_000 + 10_000


@pytest.mark.parametrize(("market", "switch"), [("spot", "dcp.spot"), ("linear", "dcp.future")])
def test_a_dead_man_s_switch_hangs_on_the_connection_and_is_let_go_of_at_an_orderly_end(
    market: str, switch: str
) -> None:
    requests: list[dict[str, Any]] = []

    async def script(connection: web.WebSocketResponse) -> None:
        async for message in connection:
            requests.append(json.loads(message.data))
            await connection.send_json({"success": True, "ret_msg": "", "op": requests[-1]["op"], "conn_id": "c"})

    def stands(heard: Any) -> bool:
        return StreamState.SUBSCRIBED in heard.states

    lost(script, ACCOUNT, market, dead_man_s=40.0, ready=stands)

    assert [each["op"] for each in requests] == ["auth", "subscribe", "subscribe", "unsubscribe"]
    assert requests[2]["args"] == [switch]
    assert requests[3]["args"] == [switch]


def test_an_account_without_a_switch_is_told_of_all_the_same() -> None:
    requests: list[dict[str, Any]] = []

    async def script(connection: web.WebSocketResponse) -> None:
        async for message in connection:
            requests.append(json.loads(message.data))
            is_switch = requests[-1].get("args") == ["dcp.future"]
            said = {
                "success": not is_switch,
                "ret_msg": "error:handler not found,topic:dcp.future" if is_switch else "",
            }
            await connection.send_json({**said, "op": requests[-1]["op"], "conn_id": "c"})

    _, heard = lost(script, ACCOUNT, dead_man_s=40.0, ready=lambda heard: StreamState.SUBSCRIBED in heard.states)

    assert heard.states == [StreamState.FAULT, StreamState.SUBSCRIBED]
    assert "nobody cancels what rests: Bybit refuses dcp.future" in heard.events[0].detail  # type: ignore[union-attr]
    assert [each["op"] for each in requests] == ["auth", "subscribe", "subscribe"]


def test_a_switch_that_was_asked_for_is_let_go_of_though_the_end_comes_before_the_answer() -> None:
    requests: list[dict[str, Any]] = []
    wallet = frame("wallet", {"accountType": "UNIFIED", "coin": []})

    async def script(connection: web.WebSocketResponse) -> None:
        await answer(connection)
        await answer(connection)
        requests.append(await connection.receive_json())
        await push(connection, [wallet])  # upon which the session ends
        requests.append(await connection.receive_json())
        for each in requests:
            await connection.send_json({"success": True, "ret_msg": "", "op": each["op"], "conn_id": "c"})
        await hold(connection)

    _, heard = lost(script, ACCOUNT, dead_man_s=40.0, ready=lambda heard: bool(heard.news))

    assert [each["op"] for each in requests] == ["subscribe", "unsubscribe"]
    assert heard.states == []


def test_the_connection_is_kept_alive_by_messages() -> None:
    pings: list[Any] = []

    async def script(connection: web.WebSocketResponse) -> None:
        await answer(connection)
        await answer(connection)
        for _ in range(2):
            pings.append(await connection.receive_json())
            await connection.send_json({"op": "pong", "args": ["1753340040127"], "conn_id": "d157a7favkf4mm3ibuvg"})
        await connection.close()

    _, heard = lost(script, ACCOUNT, options={"ping_interval_s": "0.01"})

    assert pings == [{"op": "ping"}] * 2
    assert heard.states == [StreamState.SUBSCRIBED]


@pytest.mark.parametrize(
    ("ret_msg", "kind"),
    [
        (f"API key is invalid. {KEY}", AuthenticationError),
        ("error sign!", AuthenticationError),
        ("Your api key has expired.", AuthenticationError),
        ("Params Error: your expires is not a future timestamp", ClockError),
    ],
)
def test_a_refused_login_says_whether_the_key_or_the_clock_is_wrong(ret_msg: str, kind: type[BtxError]) -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await answer(connection, success=False, ret_msg=ret_msg)
        await hold(connection)

    error, heard = lost(script, ACCOUNT)

    assert type(error) is kind
    assert KEY not in str(error)
    assert heard.events == []


def test_refused_topics_and_a_silent_venue_are_dialled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refusing(connection: web.WebSocketResponse) -> None:
        await answer(connection)
        await answer(connection, success=False, ret_msg="too many connections")
        await hold(connection)

    refused, _ = lost(refusing, ACCOUNT)
    monkeypatch.setattr("btx.bridges.requests._ANSWER_S", 0.05)
    unheard, _ = lost(hold, ACCOUNT)

    assert type(refused) is TransportError
    assert "too many connections" in str(refused)
    assert type(unheard) is TransportError
    assert "did not answer its auth" in str(unheard)


def test_half_an_answer_ends_the_account_s_connection_at_once() -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await answer(connection)
        await connection.receive()
        await push(connection, ['{"success":true,"op":"subsc'])
        await hold(connection)

    error, heard = lost(script, ACCOUNT)

    assert type(error) is TransportError
    assert "a frame that may have answered its subscribe cannot be read" in str(error)
    assert heard.states == [StreamState.FAULT]


def test_an_account_stream_without_a_key_is_one_sentence() -> None:
    error, _ = lost(hold, ACCOUNT, key="", secret="")

    assert isinstance(error, MissingSecretError)


@pytest.mark.parametrize(
    "poison",
    ["plain text", '{"op":"hello"}', frame("greeks", {}), frame("order", {**ORDER, "orderStatus": "Strange"}), "[1]"],
)
def test_a_frame_that_cannot_be_read_is_a_fault_and_the_connection_goes_on(poison: Any) -> None:
    _, heard = lost(login(poison, frame("order", ORDER)), ACCOUNT)

    assert {*heard.states} == {StreamState.SUBSCRIBED, StreamState.FAULT}
    assert [type(event) for event in heard.news] == [OrderReport]


def test_the_number_that_the_simulator_adds_is_told_behind_what_the_frame_says() -> None:
    _, heard = lost(login(frame("order", ORDER), frame("execution", EXECUTION, btx=7)), ACCOUNT)

    report, fill, numbered = heard.news
    assert isinstance(report, OrderReport)
    assert isinstance(fill, Fill)
    assert numbered == AccountUpdate(balances={}, time_ns=from_ms(_MS), sequence=7)
    assert fill.sequence is report.sequence is None


# --- what is said -------------------------------------------------------------------------------------------


def test_an_execution_is_a_fill_and_funding_is_none() -> None:
    funding = {
        **EXECUTION,
        "execType": "Funding",
        "execId": "f",
        "orderId": "f",
        "orderLinkId": "",
        "orderType": "UNKNOWN",
    }

    (fill,) = read(frame("execution", EXECUTION, funding))

    assert fill == Fill(
        fill_id="e1",
        client_order_id="run1-1",
        venue_order_id="5cf98598-39a7",
        symbol="BTC/USDT:USDT",
        side=Side.BUY,
        price=Decimal(16500),
        quantity=Decimal("0.003"),
        fee=Decimal("0.0272"),
        fee_asset="USDT",
        liquidity=Liquidity.TAKER,
        time_ns=from_ms(1672364262455),
        realised=fill.realised,  # type: ignore[union-attr]
    )


@pytest.mark.parametrize(
    ("market", "changes", "origin"),
    [
        ("linear", {"createType": "CreateByTakeProfit", "stopOrderType": "TakeProfit"}, Origin.ATTACHED),
        ("linear", {"createType": "CreateByPartialStopLoss", "stopOrderType": "PartialStopLoss"}, Origin.ATTACHED),
        ("linear", {"createType": "CreateByTrailingStop", "stopOrderType": "TrailingStop"}, Origin.ATTACHED),
        ("linear", {"createType": "CreateByStopOrder", "stopOrderType": "Stop", "orderLinkId": "r1"}, Origin.CLIENT),
        ("linear", {"createType": "CreateByClosing"}, Origin.CLIENT),  # by hand
        ("spot", {"createType": None, "stopOrderType": "BidirectionalTpslOrder"}, Origin.ATTACHED),
        ("spot", {"createType": None, "stopOrderType": "tpslOrder"}, Origin.ATTACHED),
        ("spot", {"createType": None, "stopOrderType": "tpslOrder", "orderLinkId": "r1"}, Origin.CLIENT),
    ],
)
def test_an_exit_the_venue_made_has_no_name_of_a_client_s_and_says_of_which_order_it_is(
    market: str, changes: dict[str, Any], origin: Origin
) -> None:
    row = {**ORDER, "category": market, "orderStatus": "Untriggered", "orderLinkId": "", "parentOrderLinkId": "run1-1"}
    (report,) = read(frame("order", {**row, **changes}), market=market)

    assert isinstance(report, OrderReport)
    assert (report.origin, report.parent) == (origin, "run1-1")
    assert report.client_order_id == changes.get("orderLinkId", "bybit-5cf98598-39a7")


@pytest.mark.parametrize(
    ("told", "order_type"),
    [
        ({"basePrice": "16000"}, OrderType.TAKE_PROFIT_MARKET),
        ({"basePrice": "17000"}, OrderType.STOP_MARKET),
        ({"basePrice": "16000", "side": "Buy"}, OrderType.STOP_MARKET),
        ({"lastPriceOnCreated": "16000", "basePrice": "0", "orderType": "Limit"}, OrderType.TAKE_PROFIT_LIMIT),
        ({"lastPriceOnCreated": ""}, OrderType.STOP_MARKET),  # which way it waits is not told
        ({"basePrice": "16500"}, OrderType.STOP_MARKET),
    ],
)
def test_an_order_of_spot_waits_from_where_the_last_price_was(told: dict[str, str], order_type: OrderType) -> None:
    waits = {"category": "spot", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "triggerPrice": "16500"}
    row = {**ORDER, **waits, "orderStatus": "Untriggered", "stopOrderType": "tpslOrder", **told}

    (report,) = read(frame("order", row), market="spot")

    assert isinstance(report, OrderReport)
    assert report.order_type is order_type


def test_a_cancel_that_came_too_late_leaves_a_filled_order_filled() -> None:
    """ "You may receive two orderStatus=`Filled` messages": the second says that the cancel was refused."""
    filled = {**ORDER, "orderStatus": "Filled", "cumExecQty": "0.006"}
    refused = {**filled, "cancelType": "CancelByUser", "rejectReason": "EC_OrigClOrdIDDoesNotExist"}

    told = read(frame("order", filled), frame("order", refused))

    assert {(each.status, each.reason) for each in told if isinstance(each, OrderReport)} == {(Status.FILLED, "")}


def test_a_trailing_stop_that_follows_the_market_is_told_once_until_something_else_changes() -> None:
    waits = {**ORDER, "stopOrderType": "TrailingStop", "orderStatus": "Untriggered", "triggerPrice": "62591.7"}
    moved = {**waits, "triggerPrice": "62600.1"}
    cut = {**moved, "qty": "0.004"}
    done = {**cut, "orderStatus": "Filled", "cumExecQty": "0.004"}

    told = read(*(frame("order", row) for row in (waits, moved, moved, cut, done, done)))

    assert [(each.status, each.quantity) for each in told if isinstance(each, OrderReport)] == [
        (Status.NEW, Decimal("0.006")),
        (Status.NEW, Decimal("0.004")),
        (Status.FILLED, Decimal("0.004")),
        (Status.FILLED, Decimal("0.004")),
    ]


@pytest.mark.parametrize(
    ("kind", "origin"),
    [
        ("Trade", Origin.CLIENT),
        ("BustTrade", Origin.LIQUIDATION),
        ("AdlTrade", Origin.DELEVERAGING),
        ("Settle", Origin.DELIVERY),
        ("Delivery", Origin.DELIVERY),
    ],
)
def test_what_the_exchange_does_itself_is_told_apart(kind: str, origin: Origin) -> None:
    (fill,) = read(frame("execution", {**EXECUTION, "execType": kind}))

    assert isinstance(fill, Fill)
    assert fill.origin is origin


def test_the_rows_of_other_markets_are_left_out() -> None:
    option = {**ORDER, "category": "option", "symbol": "ETH-30DEC22-1400-C"}
    spot = {**EXECUTION, "category": "spot", "symbol": "ADAUSDT"}

    assert (
        read(frame("order", option), frame("execution", spot), frame("position", {**POSITION, "category": "inverse"}))
        == []
    )


def test_in_hedge_mode_an_execution_is_of_the_position_that_it_opens_or_closes() -> None:
    opened = {**ORDER, "positionIdx": 2, "side": "Sell"}
    sold = {**EXECUTION, "side": "Sell", "execId": "e1", "closedSize": "0"}
    bought = {**EXECUTION, "side": "Buy", "execId": "e2", "closedSize": "0.003"}

    report, *fills = read(frame("order", opened), frame("execution", sold, bought))

    assert report.position_side is PositionSide.SHORT  # type: ignore[union-attr]
    assert [fill.position_side for fill in fills] == [PositionSide.SHORT] * 2  # type: ignore[union-attr]


def test_a_position_and_a_wallet_are_told_as_they_are_now() -> None:
    coins = [
        {"coin": "USDT", "walletBalance": "11728.54414904", "locked": "12.5", "equity": "11726.6"},
        {"coin": "ETH", "walletBalance": "0", "locked": "0", "equity": "0"},
    ]
    wallet = frame("wallet", {"accountType": "UNIFIED", "coin": coins})

    spot = read(wallet, market="spot")
    position, held = read(frame("position", POSITION), wallet)

    assert isinstance(position, AccountUpdate)
    (report,) = position.positions
    assert (report.symbol, report.quantity, report.entry_price) == ("BTC/USDT:USDT", Decimal("-0.006"), 16500)
    assert report.time_ns == from_ms(1672364262459)
    whole = {
        "USDT": Balance(free=Decimal("11728.54414904"), locked=Decimal(0)),
        "ETH": Balance(free=Decimal(0), locked=Decimal(0)),
    }
    assert held == AccountUpdate(balances=whole, time_ns=from_ms(_MS))
    funding = frame("execution", {**EXECUTION, "execType": "Funding"})
    settled, after = read(funding, wallet, wallet)  # why a wallet changed is said by what came before it
    assert settled == AccountUpdate(balances=whole, time_ns=from_ms(_MS), reason="SETTLEMENT")
    assert after == held
    assert spot[0].balances["USDT"] == Balance(free=Decimal("11716.04414904"), locked=Decimal("12.5"))  # type: ignore[union-attr]


def test_a_position_that_is_gone_has_no_side_and_one_that_is_liquidated_is_a_margin_call() -> None:
    closed = {**POSITION, "side": "", "size": "0", "entryPrice": "0"}
    going = {**POSITION, "positionStatus": "Liq"}

    gone, update, call = read(frame("position", closed), frame("position", going))

    assert [report.quantity for report in gone.positions] == [0]  # type: ignore[union-attr]
    assert isinstance(update, AccountUpdate)
    assert isinstance(call, MarginCall)
    assert call.positions == update.positions


def _order() -> Leg:
    request = OrderRequest(
        instrument=LINEAR,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal("0.006"),
        price=Decimal(16500),
        signal_ns=0,
    )
    return Leg(client_order_id="run1-1", request=request, quantity=request.quantity)


def test_the_states_of_an_order_may_come_in_any_order_and_twice() -> None:
    """They have no number, several may share a millisecond, and executions come apart from them."""
    filled = {**ORDER, "orderStatus": "Filled", "cumExecQty": "0.006"}
    late = {**filled, "cancelType": "CancelByUser", "rejectReason": "EC_OrigClOrdIDDoesNotExist"}  # a cancel too late
    told = read(
        frame("order", ORDER),
        frame("order", {**ORDER, "orderStatus": "PartiallyFilled", "cumExecQty": "0.003"}),
        frame("execution", EXECUTION),
        frame("execution", {**EXECUTION, "execId": "e2"}),
        frame("order", filled),
    ) + read(frame("order", late))

    folded = []
    for events in itertools.permutations(told):
        order = new_order(_order())
        for event in (*events, *events):
            assert isinstance(event, OrderReport | Fill)
            order = apply(order, event)
        folded.append(order)

    assert {(order.status, order.filled, order.missing) for order in folded} == {(Status.FILLED, Decimal("0.006"), 0)}
    assert len({order.evidence for order in folded}) == 1  # type: ignore[arg-type]


def test_a_conditional_order_is_one_order_from_untriggered_to_filled() -> None:
    asked = {**ORDER, "stopOrderType": "Stop", "triggerPrice": "17000", "triggerDirection": 1, "orderType": "Market"}
    states = ["Untriggered", "Triggered", "New", "Filled"]

    found = read(*(frame("order", {**asked, "orderStatus": each}) for each in states))

    assert [event.status for event in found] == [Status.NEW] * 3 + [Status.FILLED]  # type: ignore[union-attr]
    assert {event.order_type for event in found} == {OrderType.STOP_MARKET}  # type: ignore[union-attr]
    assert {event.venue_order_id for event in found} == {"5cf98598-39a7"}  # type: ignore[union-attr]


def test_a_recorded_order_of_spot_is_read_exactly(btx_data: Path) -> None:
    (line,) = (btx_data / "userdata" / "bybit_v5_spot_order_filled_FOK.jsonl").read_text().splitlines()

    (report,) = read(json.loads(line), market="spot")

    assert isinstance(report, OrderReport)
    assert (report.symbol, report.status, report.filled) == ("FLOW/USDT", Status.FILLED, Decimal("194.1"))
    assert (report.quantity, report.price, report.trigger_price) == (Decimal("194.10"), Decimal("0.03154"), None)
    assert (report.side, report.order_type, report.reason) == (Side.SELL, OrderType.LIMIT, "")
    assert report.time_ns == from_ms(1786689290244)


def test_every_documented_push_of_an_account_is_read(btx_data: Path) -> None:
    import gzip

    lines = gzip.decompress((btx_data / "docs_examples" / "bybit_v5_rest_ws_examples.jsonl.gz").read_bytes())
    scripts = {row["name"]: row.get("script", "") for row in map(json.loads, lines.decode().splitlines())}
    pushes = {
        name: json.loads(scripts[f"V5/Private/{name}"].partition("\n= \n")[2])
        for name in ("Order", "UserTrades", "Position", "Balance")
    }

    assert read(pushes["Order"]) == []  # of an option
    (fill,) = read(pushes["UserTrades"])
    (position,) = read(pushes["Position"])
    (wallet,) = read(pushes["Balance"], market="spot")

    assert (fill.symbol, fill.fee, fill.client_order_id[:6]) == ("XRP/USDT:USDT", Decimal("0.005061"), "bybit-")  # type: ignore[union-attr]
    assert [report.position_side for report in position.positions] == [PositionSide.SHORT]  # type: ignore[union-attr]
    assert wallet.balances == {"BTC": Balance(free=Decimal("0.00102964"), locked=Decimal(0))}  # type: ignore[union-attr]
