"""The oracle and the simulator's filters, two readings of one manual, say the same of every order.

``BTX_FILTER_ORDERS=100000`` plays that many orders in place of a slice of them.
"""

import inspect
import os
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.instrument import Instrument, PriceBand
from btx.model.order import Leg, Order, OrderRequest, OrderType, Side, Status
from btx.rules.filters import MarketView, broken_rules, check, nearest_order
from btx.rules.orders import apply, new_order
from btx.runtime.views import market_view
from btx.sim.exchange import Refusal, Refused
from btx.sim.filters import FilterSet, LotRange, NotionalRange, OrderShape, PercentPriceBySide, PriceRange
from tests.unit.sim.toys import KEY, Desk, limit_order, listing
from tests.values import BTC, report, request

ORDERS = int(os.environ.get("BTX_FILTER_ORDERS", "10000"))
ORDERS_PER_MARKET = 500

# The client's word for a rule (a field of Instrument) and the simulator's (a field of FilterSet).
FILTER_OF: Mapping[str, str] = {
    "min_price": "price",
    "max_price": "price",
    "tick_size": "price",
    "price_band": "percent_price_by_side",
    "min_quantity": "lot",
    "max_quantity": "lot",
    "step_size": "lot",
    "min_notional": "notional",
    "max_notional": "notional",
    "max_iceberg_parts": "iceberg_parts",
    "max_orders": "max_num_orders",
    "max_conditional_orders": "max_num_algo_orders",
    "max_iceberg_orders": "max_num_iceberg_orders",
    "max_position": "max_position",
}
MERGED = {"market_lot": "lot"}  # market orders keep both; the client names the quantity's rule all the same
KNOWN_FILTERS = {field.name for field in attrs.fields(FilterSet)}
KNOWN_ARGUMENTS = set(inspect.signature(FilterSet.check).parameters)

LIMIT_TYPES = (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)
TRIGGER_TYPES = (
    OrderType.STOP_MARKET,
    OrderType.STOP_LIMIT,
    OrderType.TAKE_PROFIT_MARKET,
    OrderType.TAKE_PROFIT_LIMIT,
)
ORDER_TYPES = (OrderType.MARKET, *LIMIT_TYPES, OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)


@attrs.frozen(kw_only=True)
class Market:
    """One symbol, as the client and as the simulator hold it, and the state both look at."""

    instrument: Instrument
    filters: FilterSet
    average: Decimal
    last: Decimal


def market(dice: random.Random) -> Market:
    """A symbol whose rules lie close together, so that random orders break them one by one and in company."""
    tick = dice.choice([Decimal("0.01"), Decimal("0.05"), Decimal("0.5"), Decimal(1)])
    step = dice.choice([Decimal("0.001"), Decimal("0.01"), Decimal("0.25"), Decimal(1)])
    average = tick * dice.randint(1000, 9000)
    price = PriceRange(min=tick * dice.randint(1, 500), max=tick * dice.randint(9000, 12000), tick=tick)
    lot = LotRange(min=step * dice.randint(1, 20), max=step * dice.randint(200, 400), step=step)
    market_lot = LotRange(min=step * dice.randint(0, 40), max=step * dice.randint(100, 300), step=step * 2)
    typical = average * step
    notional = NotionalRange(
        min=typical * dice.randint(5, 60), max=typical * dice.randint(150, 500), apply_min_to_market=dice.random() < 0.5
    )
    band = {
        "bid_up": Decimal(dice.randint(105, 160)) / 100,
        "bid_down": Decimal(dice.randint(40, 95)) / 100,
        "ask_up": Decimal(dice.randint(105, 160)) / 100,
        "ask_down": Decimal(dice.randint(40, 95)) / 100,
    }
    minutes = dice.choice([0, 5])
    counts = {"max_num_orders": 8, "max_num_algo_orders": 4, "max_num_iceberg_orders": 3, "iceberg_parts": 10}
    counts["max_position"] = step * 500
    numbers: dict[str, Any] = {name: number for name, number in counts.items() if name in KNOWN_FILTERS}
    return Market(
        instrument=attrs.evolve(
            BTC,
            tick_size=tick,
            step_size=step,
            min_quantity=lot.min,
            max_quantity=lot.max,
            market_step_size=market_lot.step,
            market_min_quantity=market_lot.min or None,
            market_max_quantity=market_lot.max,
            min_price=price.min,
            max_price=price.max,
            min_notional=notional.min,
            max_notional=notional.max,
            min_notional_for_market=notional.apply_min_to_market,
            price_band=PriceBand(**band, minutes=minutes),
            max_orders=numbers.get("max_num_orders"),
            max_conditional_orders=numbers.get("max_num_algo_orders"),
            max_iceberg_orders=numbers.get("max_num_iceberg_orders"),
            max_iceberg_parts=numbers.get("iceberg_parts"),
            max_position=numbers.get("max_position"),
        ),
        filters=FilterSet(
            price=price,
            lot=lot,
            market_lot=market_lot,
            notional=notional,
            percent_price_by_side=PercentPriceBySide(**band, avg_price_mins=minutes),
            **numbers,
        ),
        average=average,
        last=average + tick * dice.randint(-300, 300),
    )


def order(dice: random.Random, at: Market) -> OrderRequest:
    rules = at.instrument
    order_type = dice.choice(ORDER_TYPES)
    # Mostly on the grid, at times beside it.
    steps = dice.choice([dice.randint(1, 60), dice.randint(1, 450)]) + dice.choice([Decimal(0)] * 9 + [Decimal("0.5")])
    quantity = steps * rules.step_size
    shown = dice.random() < 0.3 and order_type in LIMIT_TYPES
    return request(
        instrument=rules,
        side=dice.choice(list(Side)),
        order_type=order_type,
        quantity=quantity,
        price=price(dice, at) if order_type in LIMIT_TYPES else None,
        trigger_price=price(dice, at) if order_type in TRIGGER_TYPES else None,
        display_quantity=min(quantity, max(shown_least(rules), dice.randint(1, 60) * rules.step_size))
        if shown
        else None,
    )


def shown_least(rules: Instrument) -> Decimal:
    """An iceberg shows a lot; a simulator that does not look is not asked."""
    shape = OrderShape(
        side=Side.BUY, order_type=OrderType.LIMIT, quantity=Decimal(9), price=Decimal(1), display_quantity=Decimal(1)
    )
    looks = FilterSet(lot=LotRange(min=Decimal(5))).check(
        shape, average_price=lambda _: Decimal(1), open_orders=0, open_algo_orders=0
    )
    return Decimal(0) if looks else rules.min_quantity


def price(dice: random.Random, at: Market) -> Decimal:
    tick = at.instrument.tick_size
    near = at.average // tick + dice.randint(-1000, 1000)
    ticks = dice.choice([near, near, Decimal(dice.randint(1, 13000))]) + dice.choice(
        [Decimal(0)] * 9 + [Decimal("0.3")]
    )
    return max(ticks, Decimal(1)) * tick


def state(dice: random.Random, at: Market) -> tuple[MarketView, dict[str, Any]]:
    """What both are told: the client as a view, the simulator as arguments."""
    conditional = dice.choice([0, 0, 0, 3, 4])
    iceberg = dice.choice([0, 0, 0, 2, 3])
    orders = conditional + iceberg + dice.choice([0, 0, 1, 4])
    held, buys = (at.instrument.step_size * dice.choice([0, 50, 150]) for _ in range(2))
    view = MarketView(
        reference_price=at.last,
        average_price=at.average if at.instrument.price_band and at.instrument.price_band.minutes else None,
        open_orders=orders,
        open_conditional_orders=conditional,
        open_iceberg_orders=iceberg,
        position=held,
        open_buys=buys,
    )
    told: dict[str, Any] = {
        "average_price": lambda minutes: at.average if minutes else at.last,
        "open_orders": orders,
        "open_algo_orders": conditional,
        "open_iceberg_orders": iceberg,
        "position": held + buys,
    }
    return view, {name: value for name, value in told.items() if name in KNOWN_ARGUMENTS}


def judged(filters: FilterSet, asked: OrderRequest, told: Mapping[str, Any]) -> Iterator[str]:
    """Every filter the simulator finds broken: the first, then the first without that one, and so on."""
    shape = OrderShape(
        side=asked.side,
        order_type=asked.order_type,
        quantity=asked.quantity,
        price=asked.price,
        trigger_price=asked.trigger_price,
        display_quantity=asked.display_quantity,
    )
    while (name := filters.check(shape, **told)) is not None:
        yield name
        filters = attrs.evolve(filters, **{name: None})


def cases() -> Iterator[tuple[Market, OrderRequest, MarketView, dict[str, Any]]]:
    dice = random.Random(42)
    for number in range(ORDERS):
        if number % ORDERS_PER_MARKET == 0:
            here = market(dice)
        view, told = state(dice, here)
        yield here, order(dice, here), view, told


def test_the_oracle_and_the_simulator_agree_on_every_order() -> None:
    seen: dict[str, int] = {}
    for here, asked, view, told in cases():
        ours = {FILTER_OF[violation.rule] for violation in broken_rules(asked, view)}
        theirs = {MERGED.get(name, name) for name in judged(here.filters, asked, told)}

        assert ours == theirs, (asked, view)
        for name in ours or {"none"}:
            seen[name] = seen.get(name, 0) + 1
    # Every rule was broken often, and many orders broke none: the agreement is about something.
    for name in {"none", *FILTER_OF.values()} - ({*FILTER_OF.values()} - KNOWN_FILTERS):
        assert seen[name] > ORDERS // 200, seen


@pytest.mark.parametrize("count", [min(ORDERS, 10_000)])
def test_the_nearest_order_is_taken_by_the_simulator(count: int) -> None:
    found = 0
    for (here, asked, view, told), _ in zip(cases(), range(count), strict=False):
        nearest = nearest_order(asked, view)
        if nearest is not None:
            assert check(nearest, view=view) is None
            assert list(judged(here.filters, nearest, told)) == []
            found += nearest != asked
    assert found > count // 10


def test_what_the_session_counts_is_what_the_exchange_counts() -> None:
    """Orders come and go; each is asked of both before it is placed, and both hold their own books."""
    dice = random.Random(7)
    strict = {"max_orders": 6, "max_conditional_orders": 3, "max_iceberg_orders": None}
    instrument = attrs.evolve(BTC, price_band=None, max_notional=None, **strict)
    listed = listing(instrument)
    listed = attrs.evolve(listed, filters=attrs.evolve(listed.filters, max_num_orders=6, max_num_algo_orders=3))
    desk = Desk(listings=(listed,))
    mine: dict[str, Order] = {}
    answers: dict[str, int] = {}
    for number in range(2_000):
        open_ids = [each for each, order in mine.items() if not order.status.is_final]
        if open_ids and dice.random() < 0.4:
            gone = dice.choice(open_ids)
            desk.exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", client_order_id=gone, now_ns=desk.now_ns)
            mine[gone] = apply(mine[gone], report(Status.CANCELED, client_order_id=gone))
            continue
        stops = dice.random() < 0.5
        asked = request(
            instrument=instrument,
            side=Side.SELL if stops else Side.BUY,
            order_type=OrderType.STOP_LIMIT if stops else OrderType.LIMIT,
            quantity=Decimal("0.1"),
            price=Decimal(60),
            trigger_price=Decimal(61) if stops else None,
        )
        view = market_view(instrument, orders=mine.values(), account=None, last_price=Decimal(100))
        ours = {FILTER_OF[each.rule] for each in broken_rules(asked, view)}
        order_id = f"o{number}"
        sent = limit_order(
            asked.side,
            "0.1",
            60,
            order_type=asked.order_type,
            trigger_price=asked.trigger_price,
            client_order_id=order_id,
        )
        refused = ""
        try:
            desk.exchange.place(api_key=KEY, order=sent, now_ns=desk.now_ns)
        except Refused as refusal:
            refused = refusal.detail if refusal.reason is Refusal.FILTER else str(refusal)
        else:
            mine[order_id] = new_order(Leg(client_order_id=order_id, request=asked, quantity=asked.quantity))
        assert bool(refused) is bool(ours)
        assert not refused or refused in ours
        answers[refused] = answers.get(refused, 0) + 1
    assert all(answers[each] > 100 for each in ("", "max_num_orders", "max_num_algo_orders")), answers
