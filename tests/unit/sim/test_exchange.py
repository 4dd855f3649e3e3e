"""The exchange: what orders do to balances, and what is told about it."""

import attrs
import pytest

from btx.model.account import Balance
from btx.model.order import OrderType, Side, Status, TimeInForce
from btx.sim.exchange import ExecutionKind, NewOrder, Refusal, Refused, SimOrder
from tests.unit.sim.toys import (
    BNB,
    KEY,
    LISTINGS,
    OTHER_KEY,
    Desk,
    account,
    limit_order,
    listing,
    market_order,
    quote_order,
)
from tests.values import d


def place(desk: Desk, order: NewOrder, api_key: str = KEY) -> SimOrder:
    return desk.exchange.place(api_key=api_key, order=order, now_ns=desk.now_ns)


def cancel(desk: Desk, order: SimOrder, api_key: str = KEY) -> SimOrder:
    return desk.exchange.cancel(
        api_key=api_key, venue_symbol=order.venue_symbol, order_id=order.order_id, now_ns=desk.now_ns
    )


def owned(desk: Desk, asset: str, api_key: str = KEY) -> Balance:
    return desk.exchange.balances(api_key=api_key)[asset]


def refusal(desk: Desk, order: NewOrder) -> tuple[Refusal, str]:
    with pytest.raises(Refused) as caught:
        place(desk, order)
    assert not desk.events
    return caught.value.reason, caught.value.detail


# --- taking ----------------------------------------------------------------------------------------------------


def test_a_market_buy_walks_the_book_and_pays_its_fee_in_what_it_received() -> None:
    desk = Desk()

    order = place(desk, market_order(Side.BUY, 3))

    assert [(fill.price, fill.quantity, fill.fee, fill.fee_asset) for fill in order.fills] == [
        (101, 1, d("0.002"), "BTC"),
        (102, 2, d("0.004"), "BTC"),
    ]
    assert order.status is Status.FILLED
    assert owned(desk, "USDT") == Balance(free=d(100_000 - 101 - 204), locked=d(0))
    assert owned(desk, "BTC") == Balance(free=d("12.994"), locked=d(0))
    assert desk.told == ["NEW", "TRADE", "TRADE"]
    assert [event.order.status for event in desk.events] == [Status.NEW, Status.PARTIALLY_FILLED, Status.FILLED]


def test_a_market_sell_pays_its_fee_in_quote_cut_to_eight_decimals() -> None:
    desk = Desk()
    desk.market.bids = [(d("99.01"), d(1))]

    order = place(desk, market_order(Side.SELL, "0.33333"))

    assert order.executed_quote == d("33.0030033")
    assert order.fills[0].fee == d("0.06600600")
    assert owned(desk, "USDT").free == 100_000 + d("33.0030033") - d("0.066006")


def test_a_market_order_beyond_the_book_expires_with_what_it_got() -> None:
    desk = Desk()

    order = place(desk, market_order(Side.SELL, 8))

    assert (order.status, order.executed_quantity) == (Status.EXPIRED, 6)
    assert owned(desk, "BTC") == Balance(free=d(4), locked=d(0))
    assert desk.told[-1] == "EXPIRED"


@pytest.mark.parametrize(("side", "executed"), [(Side.BUY, "2.94117"), (Side.SELL, "3.04081")])
def test_a_market_order_can_be_sized_in_quote(side: Side, executed: str) -> None:
    desk = Desk()

    order = place(desk, quote_order(side, 299))

    assert order.status is Status.FILLED
    assert order.quantity == order.executed_quantity == d(executed)
    assert d("298.99") < order.executed_quote <= 299
    assert (desk.events[-1].kind, desk.events[-1].order.status) == (ExecutionKind.TRADE, Status.FILLED)


def test_money_that_buys_no_step_expires_untouched() -> None:
    desk = Desk()
    desk.market.asks = [(d(10_000_000), d(1))]

    order = place(desk, quote_order(Side.BUY, 50))

    assert order.status is Status.EXPIRED
    assert owned(desk, "USDT").free == 100_000


def test_a_limit_order_takes_first_and_rests_with_the_remainder() -> None:
    desk = Desk()

    order = place(desk, limit_order(Side.BUY, 3, 101))

    assert (order.status, order.remaining) == (Status.PARTIALLY_FILLED, 2)
    assert owned(desk, "USDT") == Balance(free=d(100_000 - 303), locked=d(202))


def test_a_better_price_gives_the_difference_back() -> None:
    desk = Desk()

    place(desk, limit_order(Side.BUY, 1, 110))

    assert owned(desk, "USDT") == Balance(free=d(100_000 - 101), locked=d(0))


def test_what_an_order_took_is_missing_for_the_next_one_in_the_same_instant_only() -> None:
    desk = Desk()
    place(desk, market_order(Side.BUY, 1))

    again = place(desk, market_order(Side.BUY, 1))
    desk.now_ns += 1_000_000_000
    later = place(desk, market_order(Side.BUY, 1))

    assert (again.fills[0].price, later.fills[0].price) == (102, 101)


@pytest.mark.parametrize(
    ("tif", "quantity", "status", "executed"),
    [
        (TimeInForce.IOC, 3, Status.EXPIRED, 1),
        (TimeInForce.IOC, 1, Status.FILLED, 1),
        (TimeInForce.FOK, 3, Status.EXPIRED, 0),
        (TimeInForce.FOK, 1, Status.FILLED, 1),
    ],
)
def test_ioc_and_fok_never_rest(tif: TimeInForce, quantity: int, status: Status, executed: int) -> None:
    desk = Desk()

    order = place(desk, limit_order(Side.BUY, quantity, 101, tif))

    assert (order.status, order.executed_quantity) == (status, executed)
    assert not desk.exchange.has_orders("BTCUSDT")
    assert owned(desk, "USDT").locked == 0


# --- resting ---------------------------------------------------------------------------------------------------


def test_resting_orders_lock_what_they_need_and_cancels_give_it_back() -> None:
    desk = Desk()

    buy, sell = place(desk, limit_order(Side.BUY, 2, 95)), place(desk, limit_order(Side.SELL, 3, 105))
    assert (owned(desk, "USDT").locked, owned(desk, "BTC").locked) == (190, 3)

    assert cancel(desk, buy).status is Status.CANCELED
    cancel(desk, sell)
    assert owned(desk, "USDT") == Balance(free=d(100_000), locked=d(0))
    assert owned(desk, "BTC") == Balance(free=d(10), locked=d(0))
    assert desk.told == ["NEW", "NEW", "CANCELED", "CANCELED"]


def test_a_resting_order_waits_in_the_queue_and_fills_as_maker_at_its_own_price() -> None:
    desk = Desk()
    order = place(desk, limit_order(Side.BUY, 2, 99))  # behind the 1 that stands there

    desk.trade(99, "1.5")
    desk.trade(98, "0.25")
    desk.trade(98, 10)

    order = desk.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id)
    assert [(fill.price, fill.quantity) for fill in order.fills] == [(99, d("0.5")), (99, d("0.25")), (99, d("1.25"))]
    assert all(fill.is_maker for fill in order.fills)
    assert owned(desk, "BTC").free == 10 + 2 - d("0.002")
    assert owned(desk, "USDT") == Balance(free=d(100_000 - 198), locked=d(0))


def test_the_better_price_fills_first_and_then_the_older_order() -> None:
    desk = Desk(account(KEY, BTC=10), account(OTHER_KEY, BTC=10))
    place(desk, limit_order(Side.SELL, 1, 104, client_order_id="worse"))
    place(desk, limit_order(Side.SELL, 1, 103, client_order_id="older"), OTHER_KEY)
    place(desk, limit_order(Side.SELL, 1, 103, client_order_id="younger"))
    desk.events.clear()

    desk.trade(105, "2.5")

    assert [event.order.client_order_id for event in desk.events] == ["older", "younger", "worse"]
    assert desk.events[-1].order.remaining == d("0.5")


def test_accounts_are_kept_apart() -> None:
    desk = Desk(account(KEY, USDT=1000), account(OTHER_KEY, USDT=1000))

    order = place(desk, limit_order(Side.BUY, 1, 95))

    assert owned(desk, "USDT", OTHER_KEY) == Balance(free=d(1000), locked=d(0))
    assert desk.exchange.open_orders(api_key=OTHER_KEY) == ()
    with pytest.raises(Refused, match="unknown order"):
        cancel(desk, order, OTHER_KEY)
    assert desk.exchange.knows(OTHER_KEY)
    assert not desk.exchange.knows("nobody")


# --- triggers --------------------------------------------------------------------------------------------------


def stop(side: Side, order_type: OrderType, trigger: int, price: int | None = None) -> NewOrder:
    return market_order(
        side, 1, order_type=order_type, trigger_price=d(trigger), price=None if price is None else d(price)
    )


def test_a_stop_limit_sleeps_until_a_trade_reaches_its_trigger() -> None:
    desk = Desk()
    order = place(desk, stop(Side.SELL, OrderType.STOP_LIMIT, 97, 96))
    assert order.working_ns is None
    assert owned(desk, "BTC").locked == 1

    desk.trade(98, 100)
    assert desk.told == ["NEW"]
    desk.market.bids = [(d("96.5"), d(1))]
    desk.trade(97, 100)

    assert desk.told == ["NEW", "TRIGGERED", "TRADE"]
    order = desk.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id)
    assert (order.fills[0].price, order.status) == (d("96.5"), Status.FILLED)
    assert owned(desk, "BTC") == Balance(free=d(9), locked=d(0))


def test_a_woken_order_that_rests_does_not_meet_the_trade_that_woke_it() -> None:
    desk = Desk()
    desk.market.asks = [(d(110), d(1))]
    place(desk, stop(Side.BUY, OrderType.STOP_LIMIT, 105, 106))

    desk.trade(105, 100)
    assert desk.told == ["NEW", "TRIGGERED"]
    desk.trade(105, 100)
    assert desk.told == ["NEW", "TRIGGERED", "TRADE"]


def test_a_stop_market_buy_spends_at_most_what_is_free() -> None:
    desk = Desk(account(KEY, USDT=110))
    order = place(desk, stop(Side.BUY, OrderType.STOP_MARKET, 105))
    assert owned(desk, "USDT").locked == 105

    desk.market.asks = [(d(120), d(5))]
    desk.trade(105, 1)

    order = desk.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id)
    assert (order.status, order.executed_quantity) == (Status.EXPIRED, d("0.91666"))
    assert d(0) <= owned(desk, "USDT").free < d("0.01")
    assert owned(desk, "USDT").locked == 0


def test_a_take_profit_sells_into_a_rise() -> None:
    desk = Desk()
    place(desk, stop(Side.SELL, OrderType.TAKE_PROFIT_MARKET, 105))

    desk.trade(106, 1)

    assert desk.told == ["NEW", "TRIGGERED", "TRADE"]


def test_a_sleeping_order_can_be_cancelled() -> None:
    desk = Desk()
    order = place(desk, stop(Side.BUY, OrderType.STOP_MARKET, 105))

    cancel(desk, order)

    assert owned(desk, "USDT") == Balance(free=d(100_000), locked=d(0))
    assert not desk.exchange.has_orders("BTCUSDT")


# --- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "reason", "detail"),
    [
        (market_order(Side.BUY, 1, venue_symbol="XXXUSDT"), Refusal.UNKNOWN_SYMBOL, "XXXUSDT"),
        (limit_order(Side.BUY, 2000, 90), Refusal.INSUFFICIENT_BALANCE, "180000 USDT needed"),
        (limit_order(Side.SELL, 11, 110), Refusal.INSUFFICIENT_BALANCE, "11 BTC needed"),
        (market_order(Side.SELL, 11), Refusal.INSUFFICIENT_BALANCE, "11 BTC needed"),
        (quote_order(Side.BUY, 100_001), Refusal.INSUFFICIENT_BALANCE, "100001 USDT needed"),
        (limit_order(Side.BUY, 1, "90.001"), Refusal.FILTER, "price"),
        (limit_order(Side.BUY, "0.00001", 90), Refusal.FILTER, "notional"),
        (limit_order(Side.BUY, 1, 101, post_only=True), Refusal.WOULD_TAKE, ""),
        (limit_order(Side.SELL, 1, 99, post_only=True), Refusal.WOULD_TAKE, ""),
        (stop(Side.BUY, OrderType.STOP_MARKET, 100), Refusal.STOP_WOULD_TRIGGER, ""),
        (stop(Side.BUY, OrderType.TAKE_PROFIT_LIMIT, 100, 100), Refusal.STOP_WOULD_TRIGGER, ""),
        (limit_order(Side.BUY, 2, 90, display_quantity=d(3)), Refusal.DISPLAY_TOO_LARGE, ""),
        (limit_order(Side.BUY, 2, 90, TimeInForce.DAY), Refusal.NOT_SUPPORTED, "time in force"),
        (market_order(Side.BUY, 1, order_type=OrderType.TRAILING_STOP), Refusal.NOT_SUPPORTED, "order type"),
    ],
)
def test_a_refused_order_leaves_no_trace(order: NewOrder, reason: Refusal, detail: str) -> None:
    desk = Desk()

    assert refusal(desk, order) == (reason, detail)
    with pytest.raises(Refused):
        desk.exchange.test(api_key=KEY, order=order, now_ns=desk.now_ns)
    assert desk.exchange.all_orders(api_key=KEY) == ()
    assert owned(desk, "USDT") == Balance(free=d(100_000), locked=d(0))


@pytest.mark.parametrize(
    "order",
    [
        attrs.evolve(limit_order(Side.BUY, 1, 90), price=None),
        market_order(Side.BUY, 1, price=d(90)),
        market_order(Side.BUY, 1, trigger_price=d(90)),
        attrs.evolve(market_order(Side.BUY, 1), quantity=None),
        market_order(Side.BUY, 1, quote_quantity=d(90)),
        attrs.evolve(limit_order(Side.BUY, 1, 90), quantity=None, quote_quantity=d(90)),
        market_order(Side.BUY, 1, post_only=True),
        limit_order(Side.BUY, 1, 90, TimeInForce.IOC, post_only=True),
        market_order(Side.BUY, 1, order_type=OrderType.STOP_MARKET),
        market_order(Side.BUY, 1, display_quantity=d(1)),
        limit_order(Side.BUY, 2, 90, TimeInForce.IOC, display_quantity=d(1)),
        limit_order(Side.BUY, 2, 90, trail_bps=100),
    ],
)
def test_an_order_that_contradicts_itself_is_not_supported(order: NewOrder) -> None:
    assert refusal(Desk(), order)[0] is Refusal.NOT_SUPPORTED


def test_a_market_buy_beyond_the_balance_is_refused_whole() -> None:
    desk = Desk(account(KEY, USDT=150))

    assert refusal(desk, market_order(Side.BUY, 2)) == (Refusal.INSUFFICIENT_BALANCE, "203 USDT needed")


def test_a_client_order_id_is_unique_among_open_orders_only() -> None:
    desk = Desk()
    first = place(desk, limit_order(Side.BUY, 1, 90, client_order_id="mine"))

    with pytest.raises(Refused) as caught:
        place(desk, limit_order(Side.BUY, 1, 91, client_order_id="mine"))
    assert caught.value.reason is Refusal.DUPLICATE_CLIENT_ID

    cancel(desk, first)
    second = place(desk, limit_order(Side.BUY, 1, 91, client_order_id="mine"))
    found = desk.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", client_order_id="mine")
    assert found.order_id == second.order_id > first.order_id


def test_a_halted_market_takes_no_orders_but_cancels() -> None:
    desk = Desk()
    order = place(desk, limit_order(Side.BUY, 1, 90))
    desk.market.is_open = False

    with pytest.raises(Refused) as caught:
        place(desk, limit_order(Side.BUY, 1, 90))

    assert caught.value.reason is Refusal.MARKET_HALTED
    assert cancel(desk, order).status is Status.CANCELED


def test_cancelling_what_is_not_open_is_refused() -> None:
    desk = Desk()
    order = place(desk, limit_order(Side.BUY, 1, 90))
    cancel(desk, order)

    with pytest.raises(Refused, match="not open any more"):
        cancel(desk, order)
    with pytest.raises(Refused, match="unknown order"):
        desk.exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", client_order_id="none", now_ns=0)
    with pytest.raises(Refused, match="different orders"):
        desk.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=1, client_order_id="none")
    with pytest.raises(Refused, match="unknown order"):
        desk.exchange.order(api_key=KEY, venue_symbol="ETHUSDT", order_id=1)
    with pytest.raises(Refused, match="unknown order"):
        desk.exchange.order(api_key=KEY, venue_symbol="BTCUSDT")
    with pytest.raises(Refused, match="unknown symbol"):
        desk.exchange.order(api_key=KEY, venue_symbol="XXX", order_id=1)


# --- fees in a discount asset, queries, events -----------------------------------------------------------------


def test_fees_can_be_paid_with_a_discount_in_another_asset_as_long_as_it_lasts() -> None:
    desk = Desk(account(KEY, USDT=1000, BNB="0.002"), listings=(*LISTINGS, listing(BNB)))
    desk.exchange.set_discount(api_key=KEY, is_on=True)

    first = place(desk, market_order(Side.BUY, "0.5"))
    second = place(desk, market_order(Side.BUY, "0.5"))

    # 0.5 BTC × 0.002 × 75 %, at a price of 100 for both coins.
    assert (first.fills[0].fee, first.fills[0].fee_asset) == (d("0.00075"), "BNB")
    assert (second.fills[0].fee, second.fills[0].fee_asset) == (d("0.00075"), "BNB")
    assert place(desk, market_order(Side.BUY, "0.5")).fills[0].fee_asset == "BTC"
    assert owned(desk, "BNB").free == d("0.0005")


def test_without_a_price_for_the_discount_asset_fees_stay_as_they_are() -> None:
    desk = Desk(account(KEY, USDT=1000, BNB=1))
    desk.exchange.set_discount(api_key=KEY, is_on=True)

    assert place(desk, market_order(Side.BUY, "0.5")).fills[0].fee_asset == "BTC"


def test_buying_the_discount_asset_itself_pays_in_it() -> None:
    desk = Desk(account(KEY, USDT=1000, BNB=1), listings=(listing(BNB),))
    desk.exchange.set_discount(api_key=KEY, is_on=True)

    order = place(desk, market_order(Side.BUY, "0.5", venue_symbol="BNBUSDT"))

    assert (order.fills[0].fee, order.fills[0].fee_asset) == (d("0.00075"), "BNB")
    assert owned(desk, "BNB").free == d("1.49925")


def test_selling_all_of_the_discount_asset_leaves_none_of_it_to_pay_with() -> None:
    desk = Desk(account(KEY, USDT=1000, BNB=1), listings=(listing(BNB),))
    desk.exchange.set_discount(api_key=KEY, is_on=True)

    order = place(desk, market_order(Side.SELL, 1, venue_symbol="BNBUSDT"))

    assert {fill.fee_asset for fill in order.fills} == {"USDT"}
    assert owned(desk, "BNB") == Balance(free=d(0), locked=d(0))


def test_orders_and_fills_are_listed_oldest_first_by_symbol() -> None:
    desk = Desk(account(KEY, USDT=100_000, BTC=10, ETH=10))
    first = place(desk, market_order(Side.BUY, 2))
    eth = place(desk, limit_order(Side.SELL, 1, 110, venue_symbol="ETHUSDT"))
    rests = place(desk, limit_order(Side.BUY, 1, 90))

    exchange = desk.exchange
    assert [one.order_id for one in exchange.all_orders(api_key=KEY)] == [1, 2, 3]
    assert [one.order_id for one in exchange.all_orders(api_key=KEY, venue_symbol="BTCUSDT")] == [1, 3]
    assert exchange.open_orders(api_key=KEY) == (eth, rests)
    assert exchange.open_orders(api_key=KEY, venue_symbol="ETHUSDT") == (eth,)
    assert exchange.fills(api_key=KEY) == first.fills
    assert exchange.fills(api_key=KEY, venue_symbol="ETHUSDT") == ()
    assert [fill.trade_id for fill in exchange.fills(api_key=KEY, order_id=1)] == [1, 2]
    for query in (exchange.all_orders, exchange.open_orders, exchange.fills):
        with pytest.raises(Refused, match="unknown symbol"):
            query(api_key=KEY, venue_symbol="XXX")


def test_events_carry_the_balances_they_changed_and_a_growing_sequence() -> None:
    desk = Desk(account(KEY, USDT=1000), account(OTHER_KEY, USDT=1000))
    assert desk.exchange.sequence(api_key=KEY) == 0
    place(desk, limit_order(Side.BUY, 1, 90))
    place(desk, market_order(Side.BUY, 1), OTHER_KEY)

    new, other_new, trade = desk.events
    assert new.balances == {"USDT": Balance(free=d(910), locked=d(90))}
    assert other_new.balances == {}
    assert set(trade.balances) == {"USDT", "BTC"}
    assert [event.sequence for event in desk.events] == [1, 2, 3]
    assert (desk.exchange.sequence(api_key=KEY), desk.exchange.sequence(api_key=OTHER_KEY)) == (1, 3)


def test_an_unnamed_order_gets_a_client_order_id_of_its_own() -> None:
    desk = Desk()

    ids = {place(desk, limit_order(Side.BUY, 1, 90)).client_order_id for _ in range(3)}

    assert len(ids) == 3


def test_a_symbol_the_venue_has_halted_is_not_traded() -> None:
    halted = attrs.evolve(LISTINGS[0], instrument=attrs.evolve(LISTINGS[0].instrument, is_trading=False))

    assert refusal(Desk(listings=(halted,)), market_order(Side.BUY, 1))[0] is Refusal.MARKET_HALTED
