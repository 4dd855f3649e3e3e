"""Frames are compared with the venue's documentation and, where there are recordings, with real ones."""

import hashlib
import hmac
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.model.account import Balance
from btx.model.order import OrderType, Side, Status, TimeInForce
from btx.sim.exchange import ExecutionEvent, ExecutionKind, Refusal, Refused, SimFill, SimOrder
from btx_binance.sim import wire

T = 1_772_459_340_067_000_000
RECORDED = (
    "binance_GlobalSpotLimitSubmittedFilled",
    "binance_GlobalSpotMarketSubmitPartiallyFilledFilled",
    "binance_GlobalSpotStopLimitSubmittedTriggerFilled",
)
KINDS = {"NEW": ExecutionKind.NEW, "TRADE": ExecutionKind.TRADE}


def an_order(**changes: Any) -> Any:
    order = SimOrder(
        order_id=28,
        client_order_id="mine",
        venue_symbol="ACHUSDT",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        post_only=False,
        time_in_force=TimeInForce.GTC,
        quantity=Decimal(800),
        quote_quantity=None,
        price=Decimal("0.00658"),
        trigger_price=None,
        status=Status.NEW,
        executed_quantity=Decimal(0),
        executed_quote=Decimal(0),
        fills=(),
        created_ns=T,
        updated_ns=T,
        working_ns=T,
    )
    return attrs.evolve(order, **changes)


def a_fill(**changes: Any) -> Any:
    fill = SimFill(
        trade_id=65,
        order_id=28,
        client_order_id="mine",
        venue_symbol="ACHUSDT",
        side=Side.BUY,
        price=Decimal("0.00656"),
        quantity=Decimal(800),
        quote_quantity=Decimal("5.248"),
        fee=Decimal("0.8"),
        fee_asset="ACH",
        is_maker=False,
        time_ns=T,
    )
    return attrs.evolve(fill, **changes)


def an_event(kind: Any, order: Any, fill: Any = None) -> Any:
    return ExecutionEvent(
        api_key="k",
        sequence=7,
        kind=kind,
        order=order,
        fill=fill,
        balances={"USDT": Balance(free=Decimal(1), locked=Decimal("0.5"))},
        time_ns=T,
    )


def rebuilt(frame: Any) -> Any:
    """The event that a recorded report tells of, as the simulator would hold it."""
    order_type, post_only = wire.ORDER_TYPES[frame["o"]]

    def some(text: str) -> Any:
        return Decimal(text) or None

    order = an_order(
        order_id=frame["i"],
        client_order_id=frame["c"],
        venue_symbol=frame["s"],
        side=Side(frame["S"]),
        order_type=order_type,
        post_only=post_only,
        quantity=Decimal(frame["q"]),
        price=some(frame["p"]),
        trigger_price=some(frame["P"]),
        status=Status(frame["X"]),
        executed_quantity=Decimal(frame["z"]),
        executed_quote=Decimal(frame["Z"]),
        created_ns=frame["O"] * 1_000_000,
        working_ns=frame["W"] * 1_000_000 if "W" in frame else None,
    )
    fill = None
    if frame["x"] == "TRADE":
        fill = a_fill(
            trade_id=frame["t"],
            price=Decimal(frame["L"]),
            quantity=Decimal(frame["l"]),
            quote_quantity=Decimal(frame["Y"]),
            fee=Decimal(frame["n"]),
            fee_asset=frame["N"],
            is_maker=frame["m"],
        )
    kind = ExecutionKind.TRIGGERED if frame["w"] and frame["P"] > "0" and fill is None else KINDS[frame["x"]]
    event = an_event(kind, order, fill)
    return attrs.evolve(event, sequence=frame["I"], time_ns=frame["T"] * 1_000_000)


@pytest.mark.parametrize("name", RECORDED)
def test_reports_equal_those_recorded_at_the_venue_field_by_field(name: str, btx_data: Path) -> None:
    lines = (btx_data / "userdata" / f"{name}.jsonl").read_text().splitlines()
    real = [json.loads(line)["event"] for line in lines]

    ours = [wire.execution_report(rebuilt(frame)) for frame in real]

    for frame, report in zip(real, ours, strict=True):
        assert list(report) == list(frame)
        frame["E"] = frame["T"]  # the venue's two clocks may differ by a millisecond; ours do not
        assert report == frame


def test_a_cancel_is_reported_under_its_own_id_with_the_orders_id_beside_it() -> None:
    event = an_event(ExecutionKind.CANCELED, an_order(status=Status.CANCELED))

    report = wire.execution_report(event, "the-cancel")

    assert (report["c"], report["C"], report["x"], report["X"]) == ("the-cancel", "mine", "CANCELED", "CANCELED")
    assert report["w"] is False
    assert report["t"] == -1


def test_an_order_that_rests_stays_on_the_book_through_a_makers_fill() -> None:
    order = an_order(status=Status.PARTIALLY_FILLED, executed_quantity=Decimal(1))

    assert wire.execution_report(an_event(ExecutionKind.TRADE, order, a_fill(is_maker=True)))["w"] is True
    assert wire.execution_report(an_event(ExecutionKind.TRADE, order, a_fill()))["w"] is False


def test_the_account_position_lists_the_assets_that_changed() -> None:
    position = wire.account_position(an_event(ExecutionKind.NEW, an_order()))

    assert position == {
        "e": "outboundAccountPosition",
        "E": 1_772_459_340_067,
        "u": 1_772_459_340_067,
        "B": [{"a": "USDT", "f": "1.00000000", "l": "0.50000000"}],
    }


# rest-api.md, "New order", "Query order", "Cancel order".
ACK = {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
RESULT = ACK | {
    "price",
    "origQty",
    "executedQty",
    "origQuoteOrderQty",
    "cummulativeQuoteQty",
    "status",
    "timeInForce",
    "type",
    "side",
    "workingTime",
    "selfTradePreventionMode",
}
QUERY = (RESULT - {"transactTime"}) | {"stopPrice", "icebergQty", "time", "updateTime", "isWorking"}


def test_responses_have_the_documented_fields() -> None:
    order = an_order(fills=(a_fill(),))

    assert set(wire.order_ack(order)) == ACK
    assert set(wire.order_result(order)) == RESULT
    assert set(wire.order_full(order)) == RESULT | {"fills"}
    assert wire.order_full(order)["fills"] == [
        {
            "price": "0.00656000",
            "qty": "800.00000000",
            "commission": "0.80000000",
            "commissionAsset": "ACH",
            "tradeId": 65,
        }
    ]
    assert set(wire.order_query(order)) == QUERY
    assert set(wire.canceled(order, "c")) == (RESULT - {"workingTime"}) | {"origClientOrderId"}


def test_a_stop_shows_its_trigger_and_that_it_does_not_work_yet() -> None:
    order = an_order(order_type=OrderType.STOP_LIMIT, trigger_price=Decimal("0.0066"), working_ns=None)

    assert wire.order_result(order)["stopPrice"] == "0.00660000"
    query = wire.order_query(order)
    assert (query["type"], query["isWorking"], query["workingTime"]) == ("STOP_LOSS_LIMIT", False, -1)


@pytest.mark.parametrize(
    ("refused", "code", "message"),
    [
        (Refused(Refusal.UNKNOWN_SYMBOL), -1121, "Invalid symbol."),
        (Refused(Refusal.DUPLICATE_CLIENT_ID), -2010, "Duplicate order sent."),
        (
            Refused(Refusal.INSUFFICIENT_BALANCE),
            -2010,
            "Account has insufficient balance for requested action.",
        ),
        (Refused(Refusal.WOULD_TAKE), -2010, "Order would immediately match and take."),
        (Refused(Refusal.STOP_WOULD_TRIGGER), -2010, "Stop price would trigger immediately."),
        (Refused(Refusal.MARKET_HALTED), -1013, "Market is closed."),
        (Refused(Refusal.NOT_SUPPORTED), -1020, "This operation is not supported."),
        (Refused(Refusal.FILTER, detail="price"), -1013, "Filter failure: PRICE_FILTER"),
        (Refused(Refusal.FILTER, detail="lot"), -1013, "Filter failure: LOT_SIZE"),
        (Refused(Refusal.FILTER, detail="market_lot"), -1013, "Filter failure: MARKET_LOT_SIZE"),
        (Refused(Refusal.FILTER, detail="notional"), -1013, "Filter failure: NOTIONAL"),
        (
            Refused(Refusal.FILTER, detail="percent_price_by_side"),
            -1013,
            "Filter failure: PERCENT_PRICE_BY_SIDE",
        ),
        (Refused(Refusal.FILTER, detail="max_num_orders"), -1013, "Filter failure: MAX_NUM_ORDERS"),
        (Refused(Refusal.FILTER, detail="max_num_algo_orders"), -1013, "Filter failure: MAX_NUM_ALGO_ORDERS"),
    ],
)
def test_each_refusal_has_the_venues_code_and_words(refused: Any, code: int, message: str) -> None:
    error = wire.place_refused(refused)

    assert error.body() == {"code": code, "msg": message}


def test_a_missing_order_has_one_code_for_cancels_and_one_for_queries() -> None:
    refused = Refused(Refusal.UNKNOWN_ORDER)

    assert wire.cancel_refused(refused).body() == {"code": -2011, "msg": "Unknown order sent."}
    assert wire.query_refused(refused).body() == {"code": -2013, "msg": "Order does not exist."}


# rest-api.md, "SIGNED Endpoint Examples for POST /api/v3/order": key, payload and signature of the manual.
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
PAYLOAD = (
    "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
)
SIGNATURE = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"


def test_the_manuals_own_signature_fits_in_either_case_and_no_other_payload() -> None:
    assert wire.signature_fits(PAYLOAD, SIGNATURE, SECRET)
    assert wire.signature_fits(PAYLOAD, SIGNATURE.upper(), SECRET)
    assert not wire.signature_fits(PAYLOAD + "0", SIGNATURE, SECRET)
    assert not wire.signature_fits(PAYLOAD, "é", SECRET)


def test_an_ed25519_key_signs_in_base64() -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from base64 import b64encode

    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    signature = b64encode(key.sign(PAYLOAD.encode())).decode()

    assert wire.signed_by_ed25519(pem)
    assert wire.signature_fits(PAYLOAD, signature, pem)
    assert not wire.signature_fits(PAYLOAD + "0", signature, pem)
    assert not wire.signature_fits(PAYLOAD, "no base64!", pem)
    assert not wire.signature_fits(PAYLOAD, hmac.new(b"x", b"", hashlib.sha256).hexdigest(), pem)


def test_numbers_have_eight_decimals_and_nothing_is_zero() -> None:
    assert wire.number(Decimal("1E+3")) == "1000.00000000"
    assert wire.number(Decimal("0.00000001")) == "0.00000001"
    assert wire.number(None) == "0.00000000"
