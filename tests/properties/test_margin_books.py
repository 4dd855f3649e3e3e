"""Any run of fills on margin: floats close trades, and the exact account is the venue's."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.bt.margin_rig import COIN, PERP, MarginRig, agree, on_margin
from tests.unit.bt.rig import Script, play

SIZES = st.integers(60, 2500) | st.integers(-2500, -60)  # of steps; what opens with less is worth too little
MOVES = st.lists(st.tuples(SIZES, st.integers(9_000, 11_000)), min_size=1, max_size=8)


def traded(rig: MarginRig, moves: list[tuple[int, int]], step: Decimal) -> Script:
    """Trade each move at its price, then close."""

    def at(price: int, action: Any) -> Any:
        def act(strategy: Script) -> Any:
            rig.toy.price = Decimal(price) / 100
            return action(strategy)

        return act

    def order(size: int) -> Any:
        quantity = float(size * step)
        return lambda s: s.buy(size=quantity) if quantity > 0 else s.sell(size=-quantity)

    steps = [at(price, order(size)) for size, price in moves]
    strategy = play(rig, *steps, lambda s: s.close() if s.position else None)
    assert strategy.words.count("Completed") >= len(moves)
    assert set(strategy.words) == {"Submitted", "Accepted", "Completed"}
    return strategy


@given(MOVES)
@settings(max_examples=25, deadline=None)
def test_any_fractions_of_a_linear_contract_end_flat_and_exact(moves: list[tuple[int, int]]) -> None:
    rig = on_margin()

    strategy = traded(rig, moves, PERP.step_size)

    _is_flat_and_exact(rig, strategy)


@given(MOVES)
@settings(max_examples=25, deadline=None)
def test_any_number_of_inverse_contracts_ends_flat_and_exact(moves: list[tuple[int, int]]) -> None:
    rig = on_margin(COIN, market="coinm")

    strategy = traded(rig, [(size % 9 - 4 or 1, price) for size, price in moves], Decimal(1))

    _is_flat_and_exact(rig, strategy)


def _is_flat_and_exact(rig: MarginRig, strategy: Script) -> None:
    assert strategy.position.size == 0.0
    assert [trade.isclosed for trade in strategy.trades] == [False, True] * (len(strategy.trades) // 2)
    agree(rig)
    asset = rig.broker.currency
    moved = rig.broker.ledger()[asset] - (10 if asset == "BTC" else 10_000)
    told = sum(trade.pnlcomm for trade in strategy.trades if trade.isclosed)
    assert told == pytest.approx(float(moved), abs=1e-6)
