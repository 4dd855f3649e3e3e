"""The clock: two times, equal when live."""

import time

from btx.model.venue import SimClock
from btx.runtime.clock import CERTAIN, Doubt, MarketClock

HOUR_NS = 3_600_000_000_000


def test_without_a_simulator_the_market_has_the_wires_time() -> None:
    clock = MarketClock()
    clock.offset_ns = HOUR_NS

    before, told, after = clock.wire_ns(), clock.market_ns(), clock.wire_ns()

    assert before <= told <= after
    assert before >= time.time_ns() + HOUR_NS - 60_000_000_000


def test_in_lockstep_the_market_stands_where_it_was_put_and_never_goes_back() -> None:
    clock = MarketClock()
    clock.follow(SimClock(wire_origin_ns=0, market_origin_ns=100, speed=None))
    assert clock.market_ns() == 100

    clock.step_to(200)
    clock.step_to(150)

    assert clock.market_ns() == 200


def test_in_a_replay_the_market_stands_where_it_was_put_and_spans_are_what_they_were_when_it_ran() -> None:
    clock = MarketClock()
    clock.doubt_ns = 20_000_000
    clock.follow(SimClock(wire_origin_ns=0, market_origin_ns=100, speed=60.0, stands=True))
    assert clock.market_ns() == 100

    clock.step_to(200)

    assert clock.market_ns() == 200
    assert clock.span_ns(0.5) == 30_000_000_000
    assert clock.doubt() is CERTAIN


def test_at_a_speed_the_market_runs_so_much_faster_from_its_origin() -> None:
    clock = MarketClock()
    clock.offset_ns = HOUR_NS  # the simulator's wire clock may be off: its origin is told in its own time
    origin_ns = clock.wire_ns()
    clock.follow(SimClock(wire_origin_ns=origin_ns, market_origin_ns=1000, speed=60.0))

    before = clock.wire_ns()
    told = clock.market_ns()
    after = clock.wire_ns()

    assert 1000 + (before - origin_ns) * 60 <= told <= 1000 + (after - origin_ns) * 60


def test_the_doubt_of_the_clock_is_told_in_the_markets_own_time() -> None:
    clock = MarketClock()
    clock.doubt_ns = 20_000_000

    assert clock.doubt() == Doubt(market_ns=20_000_000, wait_s=0.02)
    clock.follow(SimClock(wire_origin_ns=0, market_origin_ns=0, speed=60.0))
    assert clock.doubt() == Doubt(market_ns=1_200_000_000, wait_s=0.02)
    assert clock.span_ns(0.5) == 30_000_000_000


def test_in_lockstep_there_is_no_doubt() -> None:
    clock = MarketClock()
    clock.doubt_ns = 20_000_000
    clock.follow(SimClock(wire_origin_ns=0, market_origin_ns=0, speed=None))

    assert clock.doubt() is CERTAIN
