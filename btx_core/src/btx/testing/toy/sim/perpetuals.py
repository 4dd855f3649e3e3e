"""What the simulated venue lists on margin: a perpetual of each pair.

REPLACE: the venue's fees and leverage tiers, with the page and the date they were read at.
"""

from decimal import Decimal

import attrs

from btx.model.derivatives import LeverageTier
from btx.model.fees import FeeSchedule
from btx.model.instrument import InstrumentKind
from btx.model.venue import Scenario
from btx.rules.symbols import perpetual_of
from btx.sim.exchange import Listing

__all__ = ("LINEAR", "named", "perpetual")

LINEAR = "linear"
_FEES = FeeSchedule(maker=Decimal("0.0002"), taker=Decimal("0.0005"), source="made up, 2026-11-21")
_LIQUIDATION_FEE = Decimal("0.0075")  # of the notional
_TIERS = (
    LeverageTier(floor=Decimal(0), cap=Decimal(50_000), max_leverage=125, maintenance_rate=Decimal("0.004")),
    LeverageTier(
        floor=Decimal(50_000),
        max_leverage=50,
        maintenance_rate=Decimal("0.010"),
        maintenance_amount=Decimal(300),  # so that both tiers ask the same at 50000
    ),
)


def named(scenario: Scenario) -> Scenario:
    """Return a scenario as its market plays it: on margin a plain symbol means the perpetual."""
    if scenario.market != LINEAR:
        return scenario
    return attrs.evolve(
        scenario,
        data={perpetual_of(symbol): file for symbol, file in scenario.data.items()},
        funding={perpetual_of(symbol): file for symbol, file in scenario.funding.items()},
        symbols=tuple(map(perpetual_of, scenario.symbols)),
    )


def perpetual(pair: Listing) -> Listing:
    """Return the perpetual of a pair."""
    spot = pair.instrument
    instrument = attrs.evolve(
        spot,
        symbol=f"{spot.symbol}:{spot.quote}",
        venue_symbol=f"{spot.venue_symbol}-PERP",
        kind=InstrumentKind.LINEAR,
        liquidation_fee=_LIQUIDATION_FEE,
    )
    return attrs.evolve(pair, instrument=instrument, fees=_FEES, tiers=_TIERS)
