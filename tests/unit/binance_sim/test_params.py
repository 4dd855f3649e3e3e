from decimal import Decimal
from typing import Any

import pytest

from btx_binance.sim.params import boolean, choice, client_id, decimal, long, names, read, symbol
from btx_binance.sim.wire import WireError

SPECS = (
    symbol(),
    decimal("quantity"),
    long("limit", maximum=1000),
    client_id("newClientOrderId"),
    choice("side", ("BUY", "SELL"), error=(-1117, "Invalid side.")),
    boolean("omitZeroBalances"),
    names("symbols"),
)


@pytest.mark.parametrize(
    ("sent", "code", "message"),
    [
        ({}, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ({"symbol": ""}, -1105, "Parameter 'symbol' was empty."),
        ({"symbol": "btcusdt"}, -1100, "Illegal characters found in parameter 'symbol'"),
        ({"symbol": "BTCUSDT", "quantity": "1e-5"}, -1100, "Illegal characters found in parameter 'quantity'"),
        ({"symbol": "BTCUSDT", "quantity": "-1"}, -1100, "Illegal characters found in parameter 'quantity'"),
        ({"symbol": "BTCUSDT", "quantity": "0.123456789"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"symbol": "BTCUSDT", "limit": "ten"}, -1100, "Illegal characters found in parameter 'limit'"),
        ({"symbol": "BTCUSDT", "limit": "99999999999999999999"}, -1108, "Parameter 'limit' overflowed."),
        ({"symbol": "BTCUSDT", "newClientOrderId": "a b"}, -1100, "legal range is '^[a-zA-Z0-9-_]{1,36}$'"),
        ({"symbol": "BTCUSDT", "newClientOrderId": "x" * 37}, -1100, "'newClientOrderId'"),
        ({"symbol": "BTCUSDT", "side": "buy"}, -1117, "Invalid side."),
        ({"symbol": "BTCUSDT", "omitZeroBalances": "yes"}, -1100, "'omitZeroBalances'"),
        ({"symbol": "BTCUSDT", "symbols": '["BTCUSDT"'}, -1100, "'symbols'"),
        ({"symbol": "BTCUSDT", "symbols": '["A","A"]'}, -1151, "present multiple times"),
        (
            {"symbol": "BTCUSDT", "colour": "red"},
            -1104,
            "Not all sent parameters were read; read '1' parameter(s) but was sent '2'.",
        ),
    ],
)
def test_a_parameter_that_is_wrong_is_refused_in_the_venues_words(
    sent: dict[str, Any], code: int, message: str
) -> None:
    with pytest.raises(WireError) as refused:
        read(SPECS, sent)

    assert refused.value.code == code
    assert message in refused.value.message
    assert refused.value.status == 400


def test_what_is_right_is_read_as_values() -> None:
    sent = {
        "symbol": "BTCUSDT",
        "quantity": "0.10000000000",
        "limit": "5000",
        "side": "BUY",
        "omitZeroBalances": "true",
        "symbols": '["BTCUSDT","ETHUSDT"]',
    }

    values = read(SPECS, sent)

    assert values == {
        "symbol": "BTCUSDT",
        "quantity": Decimal("0.1"),
        "limit": 1000,
        "side": "BUY",
        "omitZeroBalances": True,
        "symbols": ("BTCUSDT", "ETHUSDT"),
    }


def test_json_values_of_a_socket_read_like_texts() -> None:
    values = read(SPECS, {"symbol": "BTCUSDT", "limit": 5, "omitZeroBalances": False, "symbols": ["A"], "side": None})

    assert values == {"symbol": "BTCUSDT", "limit": 5, "omitZeroBalances": False, "symbols": ("A",)}
