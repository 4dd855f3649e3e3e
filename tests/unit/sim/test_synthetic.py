"""The seeded market: like a market, and the same whatever else was asked for."""

import math
import statistics

import attrs
import pytest

from btx.model.instrument import Instrument
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE
from btx.sim.synthetic import SYNTHETIC_ORIGIN_NS, synthetic_tape
from btx.sim.tape import Row
from tests.unit.sim.toys import ETH
from tests.values import BTC, d

ORIGIN_NS = SYNTHETIC_ORIGIN_NS
TOY = attrs.evolve(BTC, symbol="TOY/USDT", venue_symbol="TOYUSDT", base="TOY", tick_size=d("0.5"), step_size=d(1))


def rows(instrument: Instrument, *, before_ns: int = 0, after_ns: int = NS_PER_DAY, seed: int = 1) -> list[Row]:
    tape = synthetic_tape(
        instrument,
        seed=seed,
        origin_ns=ORIGIN_NS,
        start_ns=ORIGIN_NS - before_ns,
        end_ns=ORIGIN_NS + after_ns,
    )
    return list(tape.rows)


@pytest.mark.parametrize("instrument", [BTC, ETH, TOY])
def test_every_minute_is_there_on_the_grids_and_whole(instrument: Instrument) -> None:
    minutes = rows(instrument, before_ns=NS_PER_DAY + 5 * NS_PER_MINUTE, after_ns=NS_PER_DAY)

    assert len(minutes) == 2 * 1440 + 5
    for before, row in zip([None, *minutes], minutes, strict=False):
        assert before is None or row.open_ns == before.open_ns + NS_PER_MINUTE
        assert before is None or row.open == before.close
        assert 0 < row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high
        assert all(price % instrument.tick_size == 0 for price in row[1:5])
        assert row.volume > 0 == row.volume % instrument.step_size


def test_neither_history_nor_length_changes_a_minute() -> None:
    plain = rows(BTC, after_ns=NS_PER_HOUR)
    longer = rows(BTC, before_ns=3 * NS_PER_DAY, after_ns=2 * NS_PER_DAY)

    assert longer[3 * 1440 : 3 * 1440 + 60] == plain
    assert longer[2 * 1440 : 3 * 1440] == rows(BTC, before_ns=NS_PER_DAY, after_ns=NS_PER_MINUTE)[:1440]
    assert plain[0].open == 100_000


def test_seeds_and_symbols_make_different_markets_that_move_together() -> None:
    first, second = rows(BTC, seed=1), rows(BTC, seed=2)
    ether = rows(ETH, seed=1)

    assert first != second
    assert statistics.correlation(returns(first), returns(ether)) > 0.4
    assert abs(statistics.correlation(returns(first), returns(second))) < 0.2


def test_volatility_is_that_of_a_liquid_coin_and_comes_in_clusters() -> None:
    changes = returns(rows(BTC, after_ns=10 * NS_PER_DAY))
    sizes = [abs(change) for change in changes]

    assert 4 < statistics.pstdev(changes) * 1e4 < 12
    assert statistics.correlation(sizes[1:], sizes[:-1]) > 0.05
    assert max(sizes) > 5 * statistics.pstdev(changes)


def returns(minutes: list[Row]) -> list[float]:
    return [math.log(row.close / row.open) for row in minutes]
