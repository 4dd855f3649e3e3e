"""would_accept: an order in backtrader's words, judged as it stands."""

from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.bt.verdict import judge, request_of
from btx.errors import BtxError, ConfigError
from btx.model.order import OrderType, Side
from btx.rules.filters import MarketView
from tests.unit.bt.rig import Toy, store_on
from tests.values import BTC, d

VIEW = MarketView(reference_price=d(100))


def asked(**changes: Any) -> Any:
    return request_of(BTC, **({"side": "buy", "size": 1, "price": 100.0} | changes))


@pytest.mark.parametrize(
    ("words", "order_type", "price", "trigger"),
    [
        ({}, OrderType.LIMIT, 100, None),
        ({"price": None}, OrderType.MARKET, None, None),
        ({"exectype": bt.Order.Market, "price": None}, OrderType.MARKET, None, None),
        ({"exectype": bt.Order.Stop}, OrderType.STOP_MARKET, None, 100),
        ({"exectype": bt.Order.StopLimit, "plimit": 99}, OrderType.STOP_LIMIT, 99, 100),
        ({"exectype": "take_profit_limit", "plimit": "99"}, OrderType.TAKE_PROFIT_LIMIT, 99, 100),
        ({"exectype": OrderType.TAKE_PROFIT_MARKET}, OrderType.TAKE_PROFIT_MARKET, None, 100),
    ],
)
def test_backtraders_words_become_one_request(
    words: dict[str, Any], order_type: OrderType, price: int | None, trigger: int | None
) -> None:
    request = asked(**words)

    assert (request.order_type, request.price, request.trigger_price) == (order_type, price, trigger)
    assert (request.side, request.quantity) == (Side.BUY, 1)


def test_what_float_arithmetic_leaves_is_taken_off_and_nothing_else() -> None:
    request = asked(size=0.1 + 0.2, price=100.00001, display_size=0.123456)

    assert request.quantity == d("0.3")
    assert request.price == d("100.00001")
    assert request.display_quantity == d("0.123456")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"exectype": bt.Order.Market}, "a market order has no price="),
        ({"exectype": bt.Order.Limit, "price": None}, "stop and limit orders have one"),
        ({"exectype": bt.Order.StopLimit}, "stop-limit orders have plimit= as well"),
        ({"plimit": 5}, "stop-limit orders have plimit= as well"),
        ({"exectype": "iceberg"}, "exectype='iceberg': write bt.Order.Market, Limit, Stop or StopLimit"),
        ({"exectype": bt.Order.StopTrail}, "write bt.Order.Market"),
        ({"side": "long"}, "would_accept(side='long'"),
        ({"size": "much"}, "quantity 'much' is no number"),
        ({"size": 0}, "would_accept(side='buy', size=0"),
    ],
)
def test_what_is_no_order_is_one_sentence(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        asked(**words)

    assert sentence in str(raised.value)


def test_a_verdict_is_true_or_says_which_rule_and_which_order_near_it_passes() -> None:
    good, bad = judge(asked(), VIEW), judge(asked(size="0.000015"), VIEW)

    assert good
    assert good.nearest == asked()
    assert not bad
    assert bad.rule == "step_size"
    assert "order 0.00001" in bad.text
    assert bad.nearest == attrs.evolve(asked(), quantity=Decimal("0.05"))


def test_a_started_store_judges_by_symbol_by_data_and_by_request() -> None:
    store = store_on(Toy())
    data = store.getdata(dataname="BTC/USDT", timeframe="1m")
    store.start()
    try:
        by_symbol = store.would_accept(side="sell", dataname="BTC/USDT", size=0.01, price=100.0)
        by_data = store.would_accept(side="sell", data=data, size=0.01, price=100.0)
        by_request = store.would_accept(asked(size=6))
    finally:
        store.stop()

    assert by_symbol == by_data
    assert (by_symbol.rule, by_symbol.nearest.quantity) == ("min_notional", d("0.05"))
    assert by_request


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        ({"side": "buy", "dataname": "BTC/USDT", "size": 1}, BtxError, "is not started"),
        ({"dataname": "BTC/USDT", "size": 1}, ConfigError, "an order has a side and a size"),
        ({"side": "buy", "size": 1}, ConfigError, "write the symbol with a slash"),
    ],
)
def test_a_question_without_an_answer_is_one_sentence(
    words: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        store_on(Toy()).would_accept(**words)


def test_a_started_store_tells_the_rules_of_one_instrument_and_an_unstarted_one_says_what_to_do() -> None:
    store = store_on(Toy())
    with pytest.raises(BtxError, match=r"is not started: cerebro.run\(\) does it, or store.start\(\)"):
        store.instrument("BTC/USDT")
    store.start()
    try:
        assert store.instrument("BTC/USDT") == store.instruments()["BTC/USDT"]
    finally:
        store.stop()
