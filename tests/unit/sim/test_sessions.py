"""A world whose market closes: no minutes at night, no orders, and what was for the day ends with it."""

import datetime

import attrs
import pytest

from btx.model.calendar import Calendar, TradingHours
from btx.model.order import Side, Status, TimeInForce
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S, Interval
from btx.model.venue import Scenario
from btx.rules.calendar import is_open
from btx.sim.exchange import Refusal, Refused
from btx.sim.world import Want, World
from tests.unit.sim.toys import KEY, account, limit_order, listing
from tests.values import BTC, MINUTE

HOURS = Calendar(
    name="short days",
    zone="Asia/Hong_Kong",
    hours=(
        TradingHours(open_s=34_200, close_s=34_200 + 180),  # three minutes from 09:30 on
        TradingHours(open_s=46_800, close_s=46_800 + 120),  # and two from 13:00 on
    ),
)
LISTED = (attrs.evolve(listing(BTC), calendar=HOURS),)


def at(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp()) * NS_PER_S


OPEN = at("2025-06-02T09:30:00+08:00")  # the first trading day after the usual origin, a Sunday


def world(**changes: object) -> World:
    scenario = Scenario(symbols=("BTC/USDT",), until_ns=50 * NS_PER_HOUR, accounts=(account(USDT=1_000_000, BTC=2),))
    return World(attrs.evolve(scenario, **changes), LISTED)


def test_a_synthetic_market_begins_with_a_session_and_has_minutes_in_sessions_alone() -> None:
    played = world()

    assert played.market_ns() == OPEN
    while not played.ended:
        played.advance()
    bars = played.market.klines("BTCUSDT", MINUTE, start_ns=0, limit=1000)

    assert len(bars) == 5 + 5 + 3  # of two days and a morning
    assert all(is_open(HOURS, bar.open_ns) for bar in bars)


def test_lockstep_steps_over_the_pause_and_the_night() -> None:
    played = world()
    played.want("BTCUSDT", Want.BARS, MINUTE)

    times = [played.advance().market_ns for _ in range(6)]

    lunch, night = at("2025-06-02T13:00:00+08:00"), at("2025-06-03T09:30:00+08:00")
    minutes = [OPEN + number * NS_PER_MINUTE for number in (1, 2, 3)]
    assert times == [*minutes, lunch + NS_PER_MINUTE, lunch + 2 * NS_PER_MINUTE, night + NS_PER_MINUTE]


def test_a_longer_bar_closes_where_its_clock_says_though_trading_ended_before() -> None:
    played = world()
    played.want("BTCUSDT", Want.BARS, Interval.parse("1h"))

    step = played.advance()

    assert step.market_ns == at("2025-06-02T10:00:00+08:00")
    assert step.closed == (("BTCUSDT", Interval.parse("1h"), at("2025-06-02T09:00:00+08:00")),)


def test_no_order_is_taken_while_it_is_closed() -> None:
    played = world()
    played.advance(until_ns=OPEN + NS_PER_MINUTE)
    while played.market_ns() < OPEN + 3 * NS_PER_MINUTE:
        played.advance()

    with pytest.raises(Refused) as refused:
        played.exchange.place(api_key=KEY, order=limit_order(Side.BUY, 1, 100), now_ns=played.market_ns())

    assert refused.value.reason is Refusal.MARKET_HALTED


def test_an_order_for_the_day_ends_with_its_last_session_and_another_does_not() -> None:
    played = world()
    place = played.exchange.place
    now_ns = played.market_ns()
    for_the_day = place(api_key=KEY, order=limit_order(Side.BUY, 1, 100, TimeInForce.DAY), now_ns=now_ns)
    rests = place(api_key=KEY, order=limit_order(Side.BUY, 1, 100), now_ns=now_ns)

    def status(order_id: int) -> Status:
        return played.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=order_id).status

    while played.market_ns() < at("2025-06-02T13:01:00+08:00"):
        played.advance()
        assert status(for_the_day.order_id) is Status.NEW  # lunch is no end of the day
    played.advance()

    assert (status(for_the_day.order_id), status(rests.order_id)) == (Status.EXPIRED, Status.NEW)


def test_a_market_that_was_moved_to_now_has_no_hours() -> None:
    now_ns = at("2025-11-22T03:00:00+08:00")  # a Saturday night
    data_begins = attrs.evolve(
        Scenario(symbols=("BTC/USDT",), until_ns=NS_PER_HOUR, rebase=True, accounts=(account(USDT=1_000_000),))
    )

    played = World(data_begins, LISTED, wall_ns=lambda: now_ns)

    assert played.market.is_trading("BTCUSDT")
    assert played.advance().market_ns == now_ns + NS_PER_MINUTE


def test_history_before_a_session_market_holds_the_trading_day_before_at_least() -> None:
    played = world(warmup_ns=NS_PER_HOUR)
    friday = at("2025-05-30T09:30:00+08:00")

    bars = played.market.klines("BTCUSDT", MINUTE, start_ns=0)

    assert (len(bars), bars[0].open_ns, played.market_ns()) == (5, friday, OPEN)
