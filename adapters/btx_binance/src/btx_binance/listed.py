"""The instruments of a backtest: the simulator's lists, read as the adapter reads the venue's."""

from collections.abc import Sequence

import attrs

from btx.model.venue import Scenario
from btx.rules.account import Terms
from btx_binance.config import SPOT
from btx_binance.futures import contracts
from btx_binance.sim import exchange_info as spot
from btx_binance.sim.futures import exchange_info as futures
from btx_binance.sim.futures.listings import listings, named
from btx_binance.sim.futures.market import dialect_of
from btx_binance.sim.futures.protocol import Protocol
from btx_binance.sim.futures.tables import CONTRACTS
from btx_binance.spot import codec

__all__ = ("LEVERAGE", "listed")

LEVERAGE = 20
"""What a new account trades with."""


def listed(scenario: Scenario) -> Sequence[Terms]:
    """Return what a scenario plays, with leverage tiers where it is held on margin.

    What is in no table needs a file, off which its grid is read; without it is left out.

    Raises:
        ConfigError: a symbol is none of the scenario's market.
    """
    is_spot = scenario.market in {"", SPOT}
    symbols = tuple(each for each in scenario.symbols if each in scenario.data or _is_tabled(each, is_spot=is_spot))
    if not symbols:
        return ()
    scenario = attrs.evolve(scenario, symbols=symbols)
    if is_spot:
        rows = spot.exchange_info(list(spot.listings(scenario)), 0)["symbols"]
        return tuple(Terms(instrument=codec.instrument(row)) for row in rows)
    dialect = dialect_of(scenario.market)
    shown = list(listings(named(scenario, dialect), dialect))
    rows = futures.exchange_info(shown, dialect, Protocol.of(scenario.as_of), market_ns=0, server_time_ms=0)["symbols"]
    found = []
    for row, listing in zip(rows, shown, strict=True):
        instrument = contracts.instrument(row, kind=listing.instrument.kind)
        if instrument is not None:
            found.append(Terms(instrument=instrument, tiers=listing.tiers, leverage=LEVERAGE))
    return tuple(found)


def _is_tabled(symbol: str, *, is_spot: bool) -> bool:
    return spot.is_tabled(symbol) if is_spot else symbol.partition(":")[0] in CONTRACTS
