"""The risk desk: one exposure for all that order on an account, and a day that outlives the process."""

import datetime
import zoneinfo
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import BtxError
from btx.model.account import AccountSnapshot, Balance
from btx.model.instrument import InstrumentKind
from btx.model.order import Leg, Order, OrderRequest, OrderType, Side, Status
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from btx.rules.orders import apply, new_order
from btx.rules.risk import NO_LIMITS, Limits
from btx.runtime.risk import RiskDesk
from tests.values import BTC, d, fill, report, request

NOON_NS = 20_000 * NS_PER_DAY + 12 * NS_PER_HOUR
SELL = {"side": Side.SELL}


class World:
    """An account, its orders, prices and times, as the test sets them."""

    def __init__(self, **totals: str | int) -> None:
        self.now_ns = NOON_NS
        self.monotonic_ns = 0
        self.totals: dict[str, Decimal] = {asset: Decimal(total) for asset, total in totals.items()}
        self.rates: dict[tuple[str, str], Decimal] = {("BTC", "USDT"): d(100)}
        self.orders: dict[str, Order] = {}
        self.over: set[str] = set()  # known, and not among the orders any more

    def desk(self, limits: Limits = Limits(), **settings: Any) -> RiskDesk:  # noqa: B008 -- a frozen value
        return RiskDesk(
            limits,
            currency="USDT",
            now_ns=lambda: self.now_ns,
            rate=lambda asset, currency: d(1) if asset == currency else self.rates.get((asset, currency)),
            orders=self.orders.values,
            is_known=lambda each: each in self.orders or each in self.over,
            account=lambda: AccountSnapshot(
                balances={asset: Balance(free=total, locked=d(0)) for asset, total in self.totals.items()}, time_ns=0
            ),
            monotonic_ns=lambda: self.monotonic_ns,
            **settings,
        )

    def rest(self, client_order_id: str, *, asked: OrderRequest | None = None, **changes: Any) -> None:
        """Let an order be open: ``changes`` are the leg's."""
        wanted = asked or request()
        leg = Leg(client_order_id=client_order_id, request=wanted, quantity=wanted.quantity, **changes)
        self.orders[client_order_id] = new_order(leg)


def test_two_strategies_of_one_account_share_one_limit() -> None:
    world = World(USDT=1000)
    desk = world.desk()

    first = desk.vet(request(quantity=d(6)))
    desk.sent("one", request(quantity=d(6)))
    second = desk.vet(request(quantity=d(6)))  # of the other strategy, in the same moment
    small = desk.vet(request(quantity=d(4)))

    assert first is None
    assert second == "the position would be worth 1200: the limit is 100% of the equity, 1000 (position)"
    assert small is None


def test_an_order_that_came_and_went_between_two_looks_is_not_pending() -> None:
    world = World(USDT=1000)
    desk = world.desk()
    desk.sent("one", request(quantity=d(6)))
    assert desk.vet(request(quantity=d(6))) is not None

    world.over.add("one")

    assert desk.vet(request(quantity=d(6))) is None


def test_an_order_that_becomes_known_while_the_orders_are_read_is_pending_once() -> None:
    world = World(USDT=1000)
    desk = world.desk()
    desk.sent("one", request(quantity=d(6)))
    world.rest("two", asked=request(quantity=d(2)))
    desk.sent("two", request(quantity=d(2)))

    assert desk.vet(request(quantity=d(2))) is None
    assert desk.vet(request(quantity=d("2.01"))) is not None


def test_an_order_is_pending_once_until_it_ends() -> None:
    world = World(USDT=1000)
    desk = world.desk()
    desk.sent("one", request(quantity=d(6)))
    world.rest("one", asked=request(quantity=d(6)))

    assert desk.vet(request(quantity=d(4))) is None
    assert desk.vet(request(quantity=d("4.01"))) is not None
    world.orders["one"] = apply(world.orders["one"], fill(client_order_id="one", quantity=2))
    world.totals = {"USDT": d(800), "BTC": d(2)}
    assert desk.vet(request(quantity=d(4))) is None
    assert desk.vet(request(quantity=d("4.01"))) is not None
    world.orders["one"] = apply(world.orders["one"], report(Status.CANCELED, client_order_id="one", filled=d(2)))
    assert desk.vet(request(quantity=d(8))) is None


def test_what_an_order_takes_the_place_of_is_not_pending_beside_it() -> None:
    world = World(USDT=1000)
    desk = world.desk()
    world.rest("one", asked=request(quantity=d(6)))
    world.rest("entry", asked=request(quantity=d(2)), group_id="g")
    desk.sent("two", request(quantity=d(1)))

    assert desk.vet(request(quantity=d(7)), replaces={"one"}) is None
    assert desk.vet(request(quantity=d("7.01")), replaces={"one"}) is not None
    assert desk.vet(request(quantity=d(3)), replaces={"g"}) is None
    assert desk.vet(request(quantity=d(2)), replaces={"two"}) is None
    assert desk.vet(request(quantity=d(2))) is not None


def test_an_order_that_never_became_one_is_forgotten() -> None:
    world = World(USDT=1000)
    desk = world.desk()
    desk.sent("one", request(quantity=d(6)))

    world.monotonic_ns = 60 * NS_PER_S

    assert desk.vet(request(quantity=d(10))) is None


def test_orders_elsewhere_do_not_count() -> None:
    world = World(USDT=1000)
    elsewhere = request(instrument=attrs.evolve(BTC, symbol="ETH/USDT"))
    world.rest("one", asked=elsewhere)
    desk = world.desk()
    desk.sent("two", elsewhere)

    assert desk.vet(request(quantity=d(10))) is None


def test_of_exits_that_cancel_each_other_one_counts() -> None:
    world = World(BTC=10)
    desk = world.desk(Limits(orders_per_minute=1))
    desk.sent("past", request())  # what does not only reduce is over the limit by now
    target, stop = request(**SELL, quantity=d(4)), request(**SELL, quantity=d(4), price=d(90))
    world.rest("t1", asked=attrs.evolve(target, quantity=d(3)), group_id="g", member_id="t")
    world.rest("t2", asked=attrs.evolve(target, quantity=d(1)), group_id="g", member_id="t")
    world.rest("s1", asked=stop, group_id="g", member_id="s")
    world.rest("other", asked=attrs.evolve(stop, quantity=d(1)))

    assert desk.vet(request(**SELL, quantity=d(5))) is None
    assert desk.vet(request(**SELL, quantity=d("5.1"))) is not None


def test_so_many_orders_leave_in_a_minute() -> None:
    world = World(USDT=1000)
    desk = world.desk(Limits(orders_per_minute=1))
    small = request(quantity=d(1))

    desk.sent("one", small)
    assert desk.vet(small) == "1 orders left within the last minute: the limit is 1 (orders_per_minute)"
    world.now_ns += NS_PER_MINUTE
    assert desk.vet(small) is None
    desk.sent("two", small)
    assert len(desk._left_ns) == 1


def test_what_cannot_be_priced_cannot_be_vetted() -> None:
    world = World(USDT=1000)

    text = world.desk().vet(request(instrument=attrs.evolve(BTC, quote="EUR")))

    assert text == "EUR has no price in USDT yet, so no limit can be checked: wait for one"


def test_a_market_order_is_judged_by_where_the_book_ends_it() -> None:
    asked = request(quantity=d(1), price=None, order_type=OrderType.MARKET)

    assert World(USDT=1000).desk().vet(asked, worst_price=d(106)) is not None
    assert World(USDT=1000).desk().vet(asked) is None


def test_a_position_of_no_spot_instrument_is_the_callers() -> None:
    perpetual = attrs.evolve(BTC, kind=InstrumentKind.LINEAR)
    asked = request(instrument=perpetual, quantity=d(6))
    world = World(USDT=1000, BTC=9)

    assert world.desk().vet(asked) is None
    assert World(USDT=1000).desk(position=lambda _request: d(5)).vet(asked) is not None


def test_the_days_loss_halts_until_the_user_has_looked_or_the_day_ends() -> None:
    world = World(USDT=0, BTC=10)
    desk = world.desk()
    assert desk.daily_loss() is None

    world.rates["BTC", "USDT"] = d(95)
    text = "equity fell by 5% today, from 1000 to 950: the limit is 5% (daily_loss)"
    assert desk.daily_loss() == text
    assert desk.vet(request(price=d(95), quantity=d("0.01"))) == text
    assert desk.vet(request(price=d(95), quantity=d(10), side=Side.SELL)) is None
    assert world.desk(NO_LIMITS).daily_loss() is None

    desk.resumed()
    assert desk.daily_loss() is None
    world.rates["BTC", "USDT"] = d(90)
    assert desk.daily_loss() is not None
    world.now_ns += 12 * NS_PER_HOUR
    assert desk.daily_loss() is None


def test_the_days_loss_counts_from_its_beginning_though_the_first_order_comes_later() -> None:
    world = World(USDT=0, BTC=10)
    desk = world.desk()
    desk.look()
    world.rates["BTC", "USDT"] = d(95)
    desk.look()
    assert desk.daily_loss() == "equity fell by 5% today, from 1000 to 950: the limit is 5% (daily_loss)"

    world.now_ns += NS_PER_DAY
    desk.look()
    assert desk.daily_loss() is None
    world.rates["BTC", "USDT"] = d(90)
    assert desk.daily_loss() == "equity fell by 5.26316% today, from 950 to 900: the limit is 5% (daily_loss)"


def test_what_had_no_price_at_the_days_start_counts_at_its_first() -> None:
    world = World(USDT=0, BTC=10)
    price = world.rates.pop(("BTC", "USDT"))
    desk = world.desk()
    desk.look()
    world.rates["BTC", "USDT"] = price
    desk.look()
    world.rates["BTC", "USDT"] = d(95)
    assert desk.daily_loss() == "equity fell by 5% today, from 1000 to 950: the limit is 5% (daily_loss)"


def test_a_restart_does_not_begin_the_day_anew() -> None:
    world = World(BTC=10)
    before = world.desk()
    before.daily_loss()

    world.rates["BTC", "USDT"] = d(95)
    assert world.desk(state=before.state()).daily_loss() is not None
    assert world.desk().daily_loss() is None
    world.now_ns += NS_PER_DAY
    assert world.desk(state=before.state()).daily_loss() is None


def test_a_restart_that_knows_no_price_yet_sees_no_loss_in_what_is_held() -> None:
    world = World(USDT=1000, BTC=5)
    first = world.desk()
    assert first.daily_loss() is None
    world.rates.clear()  # another process, before its first bar
    desk = world.desk(state=first.state())

    assert desk.daily_loss() is None
    world.rates["BTC", "USDT"] = d(60)
    assert desk.daily_loss() == "equity fell by 13.3333% today, from 1500 to 1300: the limit is 5% (daily_loss)"


def test_a_coin_whose_price_comes_later_is_no_profit() -> None:
    world = World(USDT=100, ETH=9)
    desk = world.desk()
    desk.daily_loss()
    restarted = world.desk(state=desk.state())

    world.rates["ETH", "USDT"] = d(100)
    assert restarted.daily_loss() is None
    world.totals["USDT"] = d(50)
    assert restarted.daily_loss() == "equity fell by 5% today, from 1000 to 950: the limit is 5% (daily_loss)"


@pytest.mark.parametrize("state", ["", "[]", '{"day": "x"}', '{"day": "x", "equity": "y", "unpriced": {}}'])
def test_a_state_that_cannot_be_read_is_told(state: str) -> None:
    with pytest.raises(BtxError, match="the day's start cannot be read"):
        World().desk(state=state)


def test_a_day_begins_at_midnight_of_its_zone_also_when_the_clocks_change() -> None:
    """In Berlin the 30th of March 2025 has 23 hours."""
    world = World(BTC=10)
    desk = world.desk(zone=zoneinfo.ZoneInfo("Europe/Berlin"))

    def at(text: str, price: int) -> str | None:
        world.now_ns = int(datetime.datetime.fromisoformat(text).timestamp()) * NS_PER_S
        world.rates["BTC", "USDT"] = d(price)
        return desk.daily_loss()

    assert at("2025-03-29T23:00:00+00:00", 100) is None
    assert at("2025-03-30T21:59:59+00:00", 95) is not None
    assert at("2025-03-30T22:00:00+00:00", 95) is None
