"""The instruments of a backtest: the simulator's lists, read as the adapter reads the venue's own."""

from collections.abc import Sequence
from decimal import Decimal

import attrs

from btx.model.venue import Scenario
from btx.rules.account import Terms
from btx_bybit.config import SPOT
from btx_bybit.instruments import instrument
from btx_bybit.sim.instruments import contract_row, spot_row
from btx_bybit.sim.listings import listings, named
from btx_bybit.sim.tables import CONTRACTS, PAIRS

__all__ = ("LEVERAGE", "listed")

LEVERAGE = 10
"""What a new account trades with."""


def listed(scenario: Scenario) -> Sequence[Terms]:
    """Return what a scenario plays, with leverage tiers where it is held on margin.

    What is in no table needs a file, off which its grid is read; without it is left out.

    Raises:
        ConfigError: a symbol is none of the scenario's market.
    """
    scenario = named(scenario)
    tabled = PAIRS if scenario.market == SPOT else CONTRACTS
    symbols = tuple(each for each in scenario.symbols if each in scenario.data or each.partition(":")[0] in tabled)
    if not symbols:
        return ()
    found = []
    for listing in listings(attrs.evolve(scenario, symbols=symbols)):
        row = spot_row(listing) if scenario.market == SPOT else contract_row(listing)
        known = instrument(row, market=scenario.market)
        if known is not None:
            leverage = LEVERAGE if listing.tiers else 1
            kept = listing.fees.taker if listing.tiers else Decimal(0)
            found.append(Terms(instrument=known, tiers=listing.tiers, leverage=leverage, closing_fee=kept))
    return tuple(found)
