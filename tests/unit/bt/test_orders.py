"""Every type of order, how long it is valid, and its amendment: backtrader's words in, our request out."""

import datetime
import math
import re
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.model.order import OrderType, Status, TimeInForce
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE
from btx.model.venue import Environment
from tests.toy_venue import Fault
from tests.unit.bt.rig import RICH, ByHand, Rig, Script, agree, fresh, play

NOW_NS = 101 * NS_PER_MINUTE  # the first live bar has closed then
EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 -- backtrader's are naive
D = Decimal


def sent(asked: dict[str, Any], *, sells: bool = False) -> tuple[Any, Any]:
    """Send one order at a close of 105; return it, and what the session was asked for."""
    rig = fresh(info=RICH, session=ByHand)
    orders: list[Any] = []
    play(rig, lambda s: orders.append((s.sell if sells else s.buy)(size=1, **asked)))
    assert len(requests(rig)) == 1, orders[0].info.get("reason")
    return orders[0], requests(rig)[0]


def requests(rig: Rig) -> Any:
    session: Any = rig.store.session
    return session.requests


@pytest.mark.parametrize(
    ("asked", "sells", "order_type", "price", "trigger_price"),
    [
        ({}, False, OrderType.MARKET, None, None),
        ({"exectype": bt.Order.Limit, "price": 90}, False, OrderType.LIMIT, D(90), None),
        ({"exectype": bt.Order.Stop, "price": 110.001}, False, OrderType.STOP_MARKET, None, D("110.01")),
        ({"exectype": bt.Order.Stop, "price": 99.999}, True, OrderType.STOP_MARKET, None, D("99.99")),
        (
            {"exectype": bt.Order.StopLimit, "price": 110, "plimit": 111.009},
            False,
            OrderType.STOP_LIMIT,
            D(111),
            D(110),
        ),
        ({"exectype": bt.Order.StopLimit, "price": 110}, False, OrderType.STOP_LIMIT, D(110), D(110)),
        ({"order_type": "take_profit_market", "price": 100.009}, False, OrderType.TAKE_PROFIT_MARKET, None, D(100)),
        (
            {"order_type": "TAKE_PROFIT_LIMIT", "exectype": bt.Order.StopLimit, "price": 120, "plimit": 119},
            True,
            OrderType.TAKE_PROFIT_LIMIT,
            D(119),
            D(120),
        ),
    ],
)
def test_each_type_leaves_with_its_prices_on_the_grid(
    asked: dict[str, Any],
    sells: bool,
    order_type: OrderType,
    price: Decimal | None,
    trigger_price: Decimal | None,
) -> None:
    _, request = sent(asked, sells=sells)

    assert (request.order_type, request.price, request.trigger_price) == (order_type, price, trigger_price)


@pytest.mark.parametrize(
    ("asked", "sells", "expected"),
    [
        ({"trailamount": 5}, False, {"trigger_price": D(110), "trail_amount": D(5), "trail_bps": None}),
        ({"trailpercent": 0.02}, True, {"trigger_price": D("102.9"), "trail_amount": None, "trail_bps": 200}),
        ({"trailpercent": 0.02, "trailamount": 3}, True, {"trigger_price": D(102), "trail_amount": D(3)}),
        (
            {"exectype": bt.Order.StopTrailLimit, "trailamount": 5, "price": 105, "plimit": 106},
            True,
            {"trigger_price": D(100), "price": D(101), "trail_amount": D(5)},
        ),
    ],
)
def test_a_trailing_stop_stands_at_its_distance(asked: dict[str, Any], sells: bool, expected: dict[str, Any]) -> None:
    _, request = sent({"exectype": bt.Order.StopTrail} | asked, sells=sells)

    assert request.order_type is OrderType.TRAILING_STOP
    assert {name: getattr(request, name) for name in expected} == expected


def test_a_distance_between_two_basis_points_is_rounded_and_that_is_told() -> None:
    order, request = sent({"exectype": bt.Order.StopTrail, "trailpercent": 0.01236})

    assert request.trail_bps == 124
    assert order.info.trail_bps == 124


@pytest.mark.parametrize(
    ("asked", "sells", "order_type"),
    [
        ({"exectype": bt.Order.Stop, "price": 104}, False, OrderType.MARKET),
        ({"exectype": bt.Order.Stop, "price": 105}, True, OrderType.MARKET),  # at the market is passed
        ({"exectype": bt.Order.Stop}, True, OrderType.MARKET),  # backtrader takes the close
        ({"exectype": bt.Order.StopLimit, "price": 106, "plimit": 103}, True, OrderType.LIMIT),
        ({"order_type": "TAKE_PROFIT_MARKET", "price": 104}, True, OrderType.MARKET),
    ],
)
def test_a_stop_the_market_has_passed_acts_at_once_as_in_a_backtest(
    asked: dict[str, Any], sells: bool, order_type: OrderType
) -> None:
    order, request = sent(asked, sells=sells)

    assert (request.order_type, request.trigger_price) == (order_type, None)
    assert order.info.triggered_at_once


def test_an_iceberg_shows_a_part() -> None:
    _, request = sent({"exectype": bt.Order.Limit, "price": 90, "display_size": 0.1})

    assert request.display_quantity == D("0.1")


@pytest.mark.parametrize(
    ("valid", "expires_ns"),
    [
        (datetime.timedelta(hours=2), NOW_NS + 2 * NS_PER_HOUR),
        (EPOCH + datetime.timedelta(hours=3), 3 * NS_PER_HOUR),
        (datetime.datetime(1970, 1, 1, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=1))), 2 * NS_PER_HOUR),
        (datetime.date(1970, 1, 3), 2 * NS_PER_DAY),
        (719_163 + 1.5, NS_PER_DAY * 3 // 2),
        (0, NS_PER_DAY),
        (bt.Order.DAY, NS_PER_DAY),
    ],
)
def test_valid_means_what_backtrader_means(valid: Any, expires_ns: int) -> None:
    order, request = sent({"exectype": bt.Order.Limit, "price": 90, "valid": valid})

    assert request.time_in_force is TimeInForce.GTD
    assert request.expires_ns == expires_ns
    assert bt.num2date(order.valid) == EPOCH + datetime.timedelta(microseconds=expires_ns // 1000)


def test_the_day_ends_with_the_session_of_the_data_in_its_own_zone() -> None:
    rig = Rig(info=RICH, session=ByHand)
    rig.add(tz="Asia/Shanghai", sessionend=datetime.time(15, 0))

    play(rig, lambda s: s.buy(size=1, exectype=bt.Order.Limit, price=90, valid=bt.Order.DAY) and None)

    assert requests(rig)[0].expires_ns == 7 * NS_PER_HOUR  # 15:00 there is 07:00 UTC


def test_a_day_order_by_its_time_in_force_is_the_venues_own_where_it_has_it() -> None:
    native = attrs.evolve(RICH.capabilities["spot"], times_in_force=frozenset({TimeInForce.DAY}))
    rig = fresh(info=attrs.evolve(RICH, capabilities={"spot": native}), session=ByHand)
    play(rig, lambda s: s.buy(size=1, exectype=bt.Order.Limit, price=90, time_in_force="DAY") and None)

    _, emulated = sent({"exectype": bt.Order.Limit, "price": 90, "time_in_force": "DAY"})

    (request,) = requests(rig)
    assert (request.time_in_force, request.expires_ns) == (TimeInForce.DAY, None)
    assert (emulated.time_in_force, emulated.expires_ns) == (TimeInForce.GTD, NS_PER_DAY)


def test_a_market_order_is_over_before_any_validity() -> None:
    _, request = sent({"valid": datetime.timedelta(hours=1)})

    assert (request.time_in_force, request.expires_ns) == (TimeInForce.GTC, None)


LIMIT = {"exectype": bt.Order.Limit, "price": 90}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (
            {"exectype": bt.Order.Close},
            r"^exectype Close fills at the close of a bar, which has passed .*: use bt.Order",
        ),
        ({"order_type": "ICEBERG"}, r"^order_type='ICEBERG' is no bt.Order.Market: use MARKET$"),
        ({"order_type": "LIMIT", "exectype": bt.Order.Stop, "price": 120}, r"use STOP_MARKET or TAKE_PROFIT_MARKET$"),
        ({"exectype": bt.Order.StopTrail}, r"^a trailing stop needs trailamount= "),
        ({"exectype": bt.Order.StopTrail, "trailpercent": 0.00001}, r"less than a basis point"),
        (LIMIT | {"valid": EPOCH + datetime.timedelta(hours=1)}, r"has passed: it is 1970-01-01"),
        (LIMIT | {"valid": "tomorrow"}, r"^valid='tomorrow': give a datetime, a date, a timedelta"),
        (LIMIT | {"valid": True}, r"^valid=True: give"),
        (LIMIT | {"valid": bt.Order.DAY, "time_in_force": "IOC"}, r"both say when it ends"),
        (LIMIT | {"time_in_force": "GTD"}, r"^time_in_force='GTD' needs a time: write valid="),
        ({"display_size": 0.1}, r"^display_size= is for orders with a limit"),
        (LIMIT | {"display_size": 0.1, "time_in_force": "IOC"}, r"^display_size= is for orders with a limit that rest"),
        (LIMIT | {"display_size": 0.000001}, r"^display_size: BTC/USDT: "),
    ],
)
def test_what_nobody_does_is_refused_in_one_sentence(asked: dict[str, Any], reason: str) -> None:
    rig = fresh(info=RICH)

    strategy = play(rig, lambda s: s.buy(size=1, **asked))

    assert strategy.words == ["Rejected"]
    assert re.search(reason, strategy.orders[0].info.reason)
    assert rig.toy.count("place") == 0


def test_an_order_for_backtests_alone_is_refused() -> None:
    orders: list[Any] = []

    play(fresh(), lambda s: orders.append(s.buy(size=1, exectype=bt.Order.Historical)))

    assert orders[0].getstatusname() == "Rejected"
    assert orders[0].info.reason == "exectype Historical is for backtests alone: use bt.Order.Market or bt.Order.Limit"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (LIMIT | {"display_size": 0.1}, "display_size= is not taken here: toy has no iceberg orders"),
        ({"exectype": bt.Order.StopTrail, "trailamount": 1.0}, "exectype StopTrail is not taken here"),
        ({"order_type": "TAKE_PROFIT_LIMIT", "price": 90}, "TAKE_PROFIT_LIMIT is not taken here: use MARKET or LIMIT"),
    ],
)
def test_what_a_bare_venue_lacks_is_refused(asked: dict[str, Any], reason: str) -> None:
    strategy = play(fresh(), lambda s: s.buy(size=1, **asked))

    assert strategy.words == ["Rejected"]
    assert strategy.orders[0].info.reason.startswith(reason)


@pytest.mark.parametrize("environment", [Environment.PAPER, Environment.SIM])
def test_exits_a_venue_would_make_of_an_order_are_refused_where_there_is_no_venue(environment: Environment) -> None:
    spot = attrs.evolve(RICH.capabilities["spot"], attaching=frozenset({"takeProfit"}))
    rig = fresh(info=attrs.evolve(RICH, capabilities={"spot": spot}), session=ByHand)
    rig.store.session.environment = environment

    strategy = play(rig, lambda s: s.buy(size=1, params={"takeProfit": "120", "other": 1}))

    if environment is Environment.SIM:
        assert [request.params for request in requests(rig)] == [{"takeProfit": "120", "other": 1}]
    else:
        assert requests(rig) == []
        assert strategy.words == ["Rejected"]
        assert strategy.orders[0].info.reason == (
            "params takeProfit have the venue make exits of an order, which nobody does in paper: "
            "write buy_bracket() or sell_bracket(), which work everywhere"
        )


ATTACHING = {
    "attaching": frozenset({"takeProfit", "stopLoss"}),
    "attached_limits": frozenset({"tpLimitPrice", "slLimitPrice"}),
}


@pytest.mark.parametrize(("is_buy", "on_grid"), [(True, "120.01"), (False, "120.00")])
def test_the_numbers_that_are_prices_of_a_venue_made_exit_go_onto_the_grid(is_buy: bool, on_grid: str) -> None:
    spot = attrs.evolve(RICH.capabilities["spot"], **ATTACHING)
    rig = fresh(info=attrs.evolve(RICH, capabilities={"spot": spot}), session=ByHand)
    exits = {"takeProfit": 120.0012, "stopLoss": "90.0012"}
    params = exits | {"tpLimitPrice": 120.0012, "slLimitPrice": "89.0012", "other": 1.2345}

    play(rig, lambda s: (s.buy if is_buy else s.sell)(size=1, params=params))

    assert [request.params for request in requests(rig)] == [params | {"takeProfit": on_grid, "tpLimitPrice": on_grid}]


@pytest.mark.parametrize("name", ["takeProfit", "slLimitPrice"])
def test_a_price_of_a_venue_made_exit_that_is_no_number_is_refused(name: str) -> None:
    spot = attrs.evolve(RICH.capabilities["spot"], **ATTACHING)
    rig = fresh(info=attrs.evolve(RICH, capabilities={"spot": spot}), session=ByHand)

    strategy = play(rig, lambda s: s.buy(size=1, params={name: math.inf}))

    assert requests(rig) == []
    assert strategy.orders[0].info.reason == "price inf is no number an order can have"


# --- amendments ---------------------------------------------------------------------------------------------


def amending(*steps: Any, first: dict[str, Any] = LIMIT, **rig_settings: Any) -> tuple[Rig, Script, list[Any]]:
    """Send one order, amend it by steps that get ``(strategy, order, session)``, then do nothing for a bar."""
    rig = fresh(info=RICH, session=ByHand, **rig_settings)
    orders: list[Any] = []
    session: Any = rig.store.session

    def with_order(step: Any) -> Any:
        return lambda s: step(s, orders[0], session)

    strategy = play(
        rig,
        lambda s: orders.append(s.buy(size=1, **first)),
        *map(with_order, steps),
        lambda s: None,
        lambda s: None,
    )
    return rig, strategy, orders


def replace(rig_session: Any, order: Any, leg_id: str) -> None:
    """Do what the session does: cancel the old leg, and send a new one."""
    owner_id, request = rig_session.amendments[-1]
    rig_session._call_link(lambda link: link.desk.cancel(owner_id))
    rig_session.send_leg(owner_id, request, leg_id=leg_id)


def test_an_amendment_is_shown_when_it_is_taken_and_told_once() -> None:
    told: list[bool] = []

    def amend(strategy: Script, order: Any, session: Any) -> None:
        told.append(strategy.broker.amend(order, price=91.239, size=2))
        told.append(order.created.price == 90)
        told.append(strategy.broker.amend(order, price=92))  # one at a time
        replace(session, order, "second")

    rig, strategy, (order,) = amending(amend)

    assert told == [True, True, False]
    assert strategy.words == ["Submitted", "Accepted", "Accepted"]
    assert strategy.orders[-1].info.amended
    assert (order.created.price, order.created.size, order.executed.remsize) == (91.23, 2.0, 2.0)
    assert rig.toy.orders["second"].leg.quantity == 2
    assert order.info.legs == (order.info.client_order_id, "second")


def test_fills_of_the_old_and_the_new_leg_are_one_order() -> None:
    def part(strategy: Script, order: Any, session: Any) -> None:
        toy_of(strategy).soon(toy_of(strategy).execute, order.info.client_order_id, "0.4")

    def amend(strategy: Script, order: Any, session: Any) -> None:
        strategy.broker.amend(order, price=95)
        session._call_link(lambda link: link.desk.cancel(order.info.client_order_id))
        owner_id, request = session.amendments[-1]
        session.send_leg(owner_id, request, leg_id="rest", quantity="0.6")

    def fill(strategy: Script, order: Any, session: Any) -> None:
        toy_of(strategy).soon(toy_of(strategy).execute, "rest", "0.6")

    rig, strategy, (order,) = amending(part, amend, fill)

    assert strategy.words == ["Submitted", "Accepted", "Partial", "Partial", "Completed"]
    assert order.executed.size == 1.0
    assert order.executed.price == pytest.approx(0.4 * 90 + 0.6 * 95)
    assert len(order.info.fills) == 2
    agree(rig, strategy)


def toy_of(strategy: Script) -> Any:
    return strategy.data.store.session.toy


@pytest.mark.parametrize("old_lives", [True, False])
def test_an_amendment_the_venue_refuses_leaves_the_order_or_ends_it_with_its_reason(*, old_lives: bool) -> None:
    def amend(strategy: Script, order: Any, session: Any) -> None:
        toy_of(strategy).faults["place"].append(Fault.REFUSED)
        strategy.broker.amend(order, price=91)
        if old_lives:
            owner_id, request = session.amendments[-1]
            session.send_leg(owner_id, request, leg_id="second")
        else:
            replace(session, order, "second")

    _, strategy, (order,) = amending(amend)

    assert order.info.amend_refused == "refused"
    assert order.created.price == 90
    if old_lives:
        assert strategy.words == ["Submitted", "Accepted"]
        assert strategy.orders[-1].alive()
    else:
        assert strategy.words == ["Submitted", "Accepted", "Rejected"]
    assert any("the amendment was refused: refused" in text for text in strategy.store_texts)


def test_an_order_that_is_cancelled_after_a_refused_amendment_ends_cancelled() -> None:
    def amend(strategy: Script, order: Any, session: Any) -> None:
        toy_of(strategy).faults["place"].append(Fault.REFUSED)
        strategy.broker.amend(order, price=91)
        owner_id, request = session.amendments[-1]
        session.send_leg(owner_id, request, leg_id="second")

    _, strategy, (order,) = amending(amend, lambda *_: None, lambda s, o, _: s.cancel(o))

    assert order.info.amend_refused == "refused"
    assert strategy.words == ["Submitted", "Accepted", "Canceled"]


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_an_amendment_that_comes_after_the_end_leaves_the_end_as_it_was(*, is_cancelled: bool) -> None:
    def amend(strategy: Script, order: Any, session: Any) -> None:
        session._call_link(lambda link: link.desk.cancel(order.info.client_order_id))
        strategy.broker.amend(order, price=91)
        if is_cancelled:
            strategy.cancel(order)
        owner_id, request = session.amendments[-1]

        async def late() -> None:
            await session._link.desk.until(lambda: all(each.is_settled for each in session.orders()))
            session._link.routes.amend(owner_id, request)

        session._call_link(lambda link: link.start(late(), "amending too late"))

    _, strategy, (order,) = amending(amend, lambda *_: None)

    assert order.info.amend_refused == "the order is over"
    assert strategy.words == ["Submitted", "Accepted", "Canceled"]


def test_an_amendment_whose_cancel_the_venue_refuses_leaves_the_order() -> None:
    def amend(strategy: Script, order: Any, session: Any) -> None:
        toy_of(strategy).faults["cancel"].append(Fault.REFUSED)
        strategy.broker.amend(order, price=91)
        session._call_link(lambda link: link.desk.cancel(order.info.client_order_id))

    def again(strategy: Script, order: Any, session: Any) -> None:
        assert order.info.amend_refused == "refused"
        assert strategy.broker.amend(order, price=92)  # it can be asked for again

    _, strategy, (order,) = amending(amend, lambda *_: None, again)

    assert strategy.words == ["Submitted", "Accepted"]
    assert "cancel_refused" not in order.info


def test_an_amendment_that_fills_the_rest_of_the_old_order_completes_it() -> None:
    def shrink(strategy: Script, order: Any, session: Any) -> None:
        strategy.broker.amend(order, size=0.5)
        toy_of(strategy).soon(toy_of(strategy).execute, order.info.client_order_id, "0.5")
        session._call_link(lambda link: link.desk.cancel(order.info.client_order_id))

    _, strategy, (order,) = amending(shrink)

    assert strategy.words[-1] == "Completed"
    assert (order.created.size, order.executed.size, order.executed.remsize) == (0.5, 0.5, 0)


@pytest.mark.parametrize(
    ("first", "changes", "reason"),
    [
        (LIMIT, {}, "nothing to amend"),
        (LIMIT, {"price": LIMIT["price"], "size": 1}, "is so already"),
        (LIMIT, {"plimit": 80}, "plimit= is the limit of a StopLimit"),
        (LIMIT, {"trailamount": 1}, "trailamount= is for trailing stops"),
        (LIMIT, {"size": 0.000001}, "0 is filled already"),
        (LIMIT, {"size": 100_000}, "above the maximum quantity"),
        ({"exectype": bt.Order.Stop, "price": 110}, {"price": 100}, "the market has passed 100 already"),
    ],
)
def test_an_amendment_that_cannot_be_is_refused_and_the_order_stays(
    first: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    results: list[bool] = []

    rig, strategy, (order,) = amending(lambda s, o, _: results.append(s.broker.amend(o, **changes)), first=first)

    assert results == [False]
    assert reason in order.info.amend_refused
    assert strategy.words == ["Submitted", "Accepted"]
    assert rig.store.session.amendments == []


@pytest.mark.parametrize(
    ("first", "changes", "expected"),
    [
        ({"exectype": bt.Order.Stop, "price": 110}, {"price": 120}, {"trigger_price": D(120), "price": None}),
        (
            {"exectype": bt.Order.StopLimit, "price": 110, "plimit": 111},
            {"price": 120, "plimit": 121},
            {"trigger_price": D(120), "price": D(121)},
        ),
        (
            {"exectype": bt.Order.StopTrail, "trailpercent": 0.02},
            {"trailamount": 7},
            {"trigger_price": D(112), "trail_amount": D(7), "trail_bps": None},
        ),
    ],
)
def test_each_price_of_an_order_can_be_amended(
    first: dict[str, Any], changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    rig, _, _ = amending(lambda s, o, _: s.broker.amend(o, **changes) and None, first=first)

    ((_, request),) = rig.store.session.amendments
    assert {name: getattr(request, name) for name in expected} == expected


def test_a_market_order_or_one_that_is_over_is_not_amended() -> None:
    rig = fresh()
    rig.toy.rests_market_orders = True
    results: list[bool] = []

    def cancelled(strategy: Script) -> None:
        results.append(strategy.broker.amend(strategy.orders[0], size=2))
        strategy.cancel(strategy.orders[0])

    strategy = play(
        rig,
        lambda s: s.buy(size=1) and None,
        cancelled,
        lambda s: None,
        lambda s: results.append(s.broker.amend(s.orders[0], size=2)),
    )

    assert results == [False, False]
    assert "a market order cannot be amended" in strategy.orders[0].info.amend_refused
    assert strategy.orders[-1].info.reason == "cancelled by the strategy"


def test_cancel_all_ends_every_living_order_or_those_of_one_data() -> None:
    rig = fresh()
    eth = rig.add("ETH/USDT")
    counts: list[int] = []
    placed: list[Any] = []
    rig.cerebro.adddatacb(lambda data, status, *_, **__: rig.toy.close(100, symbol="ETH/USDT") if data is eth else None)

    def orders(strategy: Script) -> None:
        placed.extend(strategy.buy(data=d, size=1, price=90, exectype=bt.Order.Limit) for d in (*strategy.datas, eth))

    strategy = play(
        rig,
        lambda s: None,
        orders,
        lambda s: counts.append(s.broker.cancel_all(eth)) or placed[1],
        lambda s: placed[2],
        lambda s: counts.append(s.broker.cancel_all()) or placed[0],
        lambda s: counts.append(s.broker.cancel_all()),
    )

    assert counts == [2, 1, 0]
    assert strategy.words.count("Canceled") == 3
    assert all(order.status is Status.CANCELED for order in rig.toy.orders.values())
