"""Matching: whatever is ordered, money and quantity are conserved, and nobody gets a worse price than asked."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from btx.model.account import Balance
from btx.model.order import ListKind, OrderType, Side, Status, TimeInForce
from btx.sim.exchange import NewOrder, NewOrderList, Refused, SimOrder
from btx.sim.matching import Resting, match_trade
from tests.unit.sim.toys import KEY, OTHER_KEY, Desk, account
from tests.values import BTC

START = {"USDT": Decimal(3000), "BTC": Decimal(20)}
Script = list[tuple[Any, ...]]
GRID = Decimal("0.00001")

prices = st.integers(90, 110).map(Decimal)
quantities = st.integers(1, 400_000).map(lambda steps: steps * GRID)
keys = st.sampled_from([KEY, OTHER_KEY])
sides = st.sampled_from(Side)
levels = st.lists(quantities, min_size=0, max_size=6)


@st.composite
def orders(draw: st.DrawFn) -> NewOrder:
    order_type = draw(
        st.sampled_from(
            [
                OrderType.LIMIT,
                OrderType.MARKET,
                OrderType.STOP_LIMIT,
                OrderType.STOP_MARKET,
                OrderType.TAKE_PROFIT_MARKET,
            ]
        )
    )
    is_limit = order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    waits = order_type not in (OrderType.LIMIT, OrderType.MARKET)
    trail = draw(st.sampled_from(["none", "alone", "from a price"])) if waits else "none"
    in_quote = order_type is OrderType.MARKET and draw(st.booleans())
    post_only = order_type is OrderType.LIMIT and draw(st.booleans())
    tifs = [TimeInForce.GTC] if post_only else [TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK]
    tif = draw(st.sampled_from(tifs))
    quantity = None if in_quote else draw(quantities)
    hides = is_limit and tif is TimeInForce.GTC and quantity is not None and draw(st.booleans())
    return NewOrder(
        venue_symbol="BTCUSDT",
        side=draw(sides),
        order_type=order_type,
        time_in_force=tif,
        post_only=post_only,
        quantity=quantity,
        display_quantity=draw(quantities.filter(lambda shown: shown <= quantity)) if hides else None,
        quote_quantity=draw(quantities) * 100 if in_quote else None,
        price=draw(prices) if is_limit else None,
        trigger_price=draw(prices) if waits and trail != "alone" else None,
        trail_bps=draw(st.integers(10, 2000)) if trail != "none" else None,
    )


low_prices, high_prices = st.integers(85, 97).map(Decimal), st.integers(103, 115).map(Decimal)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[NewOrder, NewOrder]:
    side, quantity = draw(sides), draw(quantities)
    near, far = (low_prices, high_prices) if side is Side.SELL else (high_prices, low_prices)
    stop_limit = draw(st.none() | prices)
    stop = NewOrder(
        venue_symbol="BTCUSDT",
        side=side,
        order_type=OrderType.STOP_MARKET if stop_limit is None else OrderType.STOP_LIMIT,
        quantity=quantity,
        price=stop_limit,
        trigger_price=draw(near),
        trail_bps=draw(st.none() | st.integers(10, 2000)),
    )
    profit = NewOrder(
        venue_symbol="BTCUSDT",
        side=side,
        order_type=OrderType.LIMIT,
        post_only=True,
        quantity=quantity,
        price=draw(far),
    )
    if draw(st.booleans()):
        profit = attrs.evolve(
            profit, order_type=OrderType.TAKE_PROFIT_MARKET, post_only=False, price=None, trigger_price=profit.price
        )
    return stop, profit


@st.composite
def order_lists(draw: st.DrawFn) -> NewOrderList:
    kind = draw(st.sampled_from(ListKind))
    if kind is ListKind.OCO:
        return NewOrderList(kind=kind, orders=draw(pairs()))
    working = draw(orders().filter(lambda order: order.order_type is OrderType.LIMIT))
    waiting = draw(pairs()) if kind is ListKind.OTOCO else (draw(orders().filter(lambda order: order.quantity)),)
    return NewOrderList(kind=kind, orders=(working, *waiting))


commands = st.lists(
    st.one_of(
        st.tuples(st.just("place"), keys, orders()),
        st.tuples(st.just("list"), keys, order_lists()),
        st.tuples(st.just("cancel"), keys, st.integers(1, 8)),
        st.tuples(st.just("cancel list"), keys, st.integers(1, 5)),
        st.tuples(st.just("replace"), keys, st.integers(1, 8), orders(), st.booleans()),
        st.tuples(st.just("amend"), keys, st.integers(1, 8), quantities),
        st.tuples(st.just("trade"), prices, quantities),
        st.tuples(st.just("book"), prices, levels, levels),
    ),
    max_size=25,
)


def obey(desk: Desk, command: tuple[Any, ...]) -> None:
    match command:
        case ("place", api_key, order):
            desk.exchange.place(api_key=api_key, order=order, now_ns=desk.now_ns)
        case ("list", api_key, order_list):
            desk.exchange.place_list(api_key=api_key, order_list=order_list, now_ns=desk.now_ns)
        case ("cancel list", api_key, list_id):
            desk.exchange.cancel_list(api_key=api_key, venue_symbol="BTCUSDT", list_id=list_id, now_ns=desk.now_ns)
        case ("replace", api_key, order_id, order, stops):
            desk.exchange.replace(
                api_key=api_key, order_id=order_id, order=order, stop_on_failure=stops, now_ns=desk.now_ns
            )
        case ("amend", api_key, order_id, quantity):
            desk.exchange.amend(
                api_key=api_key, venue_symbol="BTCUSDT", order_id=order_id, quantity=quantity, now_ns=desk.now_ns
            )
        case ("cancel", api_key, order_id):
            desk.exchange.cancel(api_key=api_key, venue_symbol="BTCUSDT", order_id=order_id, now_ns=desk.now_ns)
        case ("trade", price, quantity):
            desk.trade(price, quantity)
        case ("book", middle, bids, asks):
            desk.market.bids = [(middle - 1 - number, quantity) for number, quantity in enumerate(bids)]
            desk.market.asks = [(middle + 1 + number, quantity) for number, quantity in enumerate(asks)]
            desk.now_ns += 10**10


def held(order: SimOrder) -> tuple[str, Decimal]:
    if order.side is Side.SELL:
        return "BTC", order.remaining
    price = order.price or order.reserve_price
    assert price is not None
    return "USDT", order.remaining * price


@given(commands)
def test_balances_are_the_start_plus_fills_minus_fees_and_never_negative(script: Script) -> None:
    desk = Desk(account(KEY, **START), account(OTHER_KEY, **START))

    for command in script:
        try:
            obey(desk, command)
        except Refused:
            continue
        finally:
            for api_key in (KEY, OTHER_KEY):
                check_money(desk, api_key)


def check_money(desk: Desk, api_key: str) -> None:
    totals, locked = defaultdict(Decimal, START), defaultdict(Decimal)
    for fill in desk.exchange.fills(api_key=api_key):
        totals["BTC"] += fill.side.sign * fill.quantity
        totals["USDT"] -= fill.side.sign * fill.price * fill.quantity
        totals[fill.fee_asset] -= fill.fee
    open_orders = desk.exchange.open_orders(api_key=api_key)
    tied: dict[int, list[SimOrder]] = defaultdict(list)
    for order in open_orders:
        if order.status is Status.PENDING_NEW:
            continue
        tied[order.order_id if order.list_id is None else -order.list_id].append(order)
    for together in tied.values():
        asset, quantity = max(map(held, together), key=lambda need: need[1])
        locked[asset] += quantity
    for asset, balance in desk.exchange.balances(api_key=api_key).items():
        assert balance.total == totals[asset]
        assert balance.locked == locked[asset]
        assert balance.free >= 0


def check_lists(desk: Desk, api_key: str) -> None:
    for order_list in desk.exchange.order_lists(api_key=api_key):
        orders = [
            desk.exchange.order(api_key=api_key, venue_symbol="BTCUSDT", order_id=order_id)
            for order_id in order_list.order_ids
        ]
        assert order_list.is_done is not any(order.is_open for order in orders)
        pair = orders if order_list.kind is ListKind.OCO else orders[1:] if order_list.kind is ListKind.OTOCO else []
        assert sum(bool(order.executed_quantity) for order in pair) <= 1
        if any(order.executed_quantity for order in pair):
            assert sum(order.is_open for order in pair) <= 1
        if order_list.kind is not ListKind.OCO:
            working, waiting = orders[0], orders[1:]
            if working.status is not Status.FILLED:
                assert not any(order.executed_quantity for order in waiting)
                assert all((order.status is Status.PENDING_NEW) is working.is_open for order in waiting)
            else:
                assert all(order.status is not Status.PENDING_NEW for order in waiting)


@settings(max_examples=300)
@given(commands)
def test_of_a_pair_one_order_trades_and_nothing_is_placed_before_its_turn(script: Script) -> None:
    desk = Desk(account(KEY, **START), account(OTHER_KEY, **START))

    for command in script:
        try:
            obey(desk, command)
        except Refused:
            continue
        finally:
            for api_key in (KEY, OTHER_KEY):
                check_lists(desk, api_key)

    ended = [event.order_list.list_id for event in desk.events if event.order_list and event.order_list.is_done]
    assert len(ended) == len(set(ended))


@given(commands)
def test_no_fill_is_worse_than_the_limit_and_makers_get_their_own_price(script: Script) -> None:
    desk = Desk(account(KEY, **START), account(OTHER_KEY, **START))

    for command in script:
        try:
            obey(desk, command)
        except Refused:
            continue

    for event in desk.events:
        order, fill = event.order, event.fill
        assert sum(one.quantity for one in order.fills) == order.executed_quantity <= order.quantity
        assert order.quote_quantity is None or order.executed_quote <= order.quote_quantity
        if fill is None:
            continue
        assert fill.quantity % BTC.step_size == 0
        received = fill.quantity if fill.side is Side.BUY else fill.quote_quantity
        rate = Decimal("0.001") if fill.is_maker else Decimal("0.002")
        assert 0 <= received * rate - fill.fee < Decimal("0.00000001")
        if order.price is not None:
            assert (order.price - fill.price) * fill.side.sign >= 0
        if fill.is_maker:
            assert fill.price == order.price
        if order.post_only:
            assert fill.is_maker


@given(commands)
def test_the_events_alone_rebuild_the_balances_and_the_order_of_things(script: Script) -> None:
    desk = Desk(account(KEY, **START), account(OTHER_KEY, **START))

    for command in script:
        try:
            obey(desk, command)
        except Refused:
            continue

    told: dict[str, dict[str, Balance]] = {KEY: {}, OTHER_KEY: {}}
    for event in desk.events:
        told[event.api_key].update(event.balances)
    for api_key, balances in told.items():
        owned = desk.exchange.balances(api_key=api_key)
        assert {asset: owned[asset] for asset in balances} == balances
    assert [event.sequence for event in desk.events] == list(range(1, len(desk.events) + 1))
    trade_ids = [event.fill.trade_id for event in desk.events if event.fill is not None]
    assert trade_ids == list(range(1, len(trade_ids) + 1))


@given(
    st.lists(st.tuples(prices, quantities, quantities), max_size=6),
    sides,
    prices,
    quantities,
)
def test_a_trade_gives_no_more_than_it_has_and_nothing_out_of_reach(
    queue: list[tuple[Decimal, Decimal, Decimal]], side: Side, price: Decimal, quantity: Decimal
) -> None:
    resting = [Resting(side=side, price=p, remaining=r, queue_ahead=q) for p, r, q in queue]
    resting.sort(key=lambda one: -side.sign * one.price)

    results = match_trade(resting, price=price, quantity=quantity)

    assert sum(filled for _, filled in results) <= quantity
    for before, (after, filled) in zip(resting, results, strict=True):
        assert before.remaining - filled == after.remaining >= 0
        assert 0 <= after.queue_ahead <= before.queue_ahead
        if filled:
            assert (before.price - price) * side.sign >= 0
