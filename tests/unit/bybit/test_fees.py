"""Fees: a ladder of each kind of market, and the account's level of it."""

import itertools
from decimal import Decimal

import attrs

from btx.model.account import AccountSnapshot
from btx_bybit.fees import schedule
from tests.unit.bybit.rig import INVERSE, LINEAR, SPOT


def test_who_says_no_level_pays_the_regular_rates() -> None:
    assert (schedule(SPOT, None).maker, schedule(SPOT, None).taker) == (Decimal("0.001"), Decimal("0.001"))
    for contract in (LINEAR, INVERSE):
        assert (schedule(contract, None).maker, schedule(contract, None).taker) == (
            Decimal("0.0002"),
            Decimal("0.00055"),
        )


def test_rates_fall_from_level_to_level_and_volumes_rise() -> None:
    for instrument in (SPOT, LINEAR):
        levels = schedule(instrument, None).levels
        for before, after in itertools.pairwise(levels):
            assert before.volume < after.volume
            assert before.maker > after.maker
            assert before.taker >= after.taker


def test_an_account_s_level_counts_where_the_ladder_has_it() -> None:
    account = AccountSnapshot(balances={}, time_ns=0, fee_tier="VIP 3")

    assert schedule(LINEAR, account).maker == Decimal("0.00014")
    assert schedule(LINEAR, account).tier == "VIP 3"
    assert schedule(LINEAR, attrs.evolve(account, fee_tier="MM 1")).tier == "VIP 0"
