"""What the simulated venue lists, with its own trading rules.

REPLACE: the venue's instruments, grids and minima, with the page and the date they were read at.
"""

from collections.abc import Sequence
from decimal import Decimal

import attrs

from btx.errors import UnknownSymbolError
from btx.model.derivatives import LeverageTier
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.venue import Scenario
from btx.rules.symbols import perpetual_of
from btx.sim.exchange import Listing
from btx.sim.filters import FilterSet, LotRange, NotionalRange, PriceRange

__all__ = ("listings", "named")

#               tick      step  min quantity  min notional
_TABLE = """
BTC/USDT        0.01   0.00001       0.00001             5
ETH/USDT        0.01    0.0001        0.0001             5
SOL/USDT        0.01     0.001         0.001             5
"""
_USUAL = ("BTC/USDT", "ETH/USDT")  # of a scenario that names none
_LINEAR = "linear"
_MOST = Decimal(9000)
_FEES = FeeSchedule(maker=Decimal("0.0010"), taker=Decimal("0.0015"), source="made up, 2026-11-21")
_PERPETUAL_FEES = FeeSchedule(maker=Decimal("0.0002"), taker=Decimal("0.0005"), source="made up, 2026-11-21")
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


def listings(scenario: Scenario) -> Sequence[Listing]:
    """Return what a scenario plays: pairs, or in the market on margin the perpetual of each.

    Raises:
        UnknownSymbolError: a symbol is not in the table.
    """
    table = {symbol: tuple(map(Decimal, numbers)) for symbol, *numbers in map(str.split, _TABLE.split("\n")[1:-1])}
    asked = tuple(scenario.data) or scenario.symbols or _USUAL
    is_margined = scenario.market == _LINEAR
    found = []
    for symbol in asked:
        pair = symbol.partition(":")[0]
        if pair not in table or (":" in symbol and not is_margined):
            raise UnknownSymbolError(f"the simulator does not list {symbol}: write one of {', '.join(table)}")
        found.append(_listing(pair, *table[pair], is_margined=is_margined))
    return found


def named(scenario: Scenario) -> Scenario:
    """Return a scenario as its market plays it: on margin a plain symbol means the perpetual."""
    if scenario.market != _LINEAR:
        return scenario
    return attrs.evolve(
        scenario,
        data={perpetual_of(symbol): file for symbol, file in scenario.data.items()},
        funding={perpetual_of(symbol): file for symbol, file in scenario.funding.items()},
        symbols=tuple(map(perpetual_of, scenario.symbols)),
    )


def _listing(
    pair: str, tick: Decimal, step: Decimal, min_quantity: Decimal, min_notional: Decimal, *, is_margined: bool
) -> Listing:
    base, quote = pair.split("/")
    return Listing(
        instrument=Instrument(
            venue="toy",
            symbol=f"{pair}:{quote}" if is_margined else pair,
            venue_symbol=f"{base}-{quote}{'-PERP' if is_margined else ''}",
            kind=InstrumentKind.LINEAR if is_margined else InstrumentKind.SPOT,
            base=base,
            quote=quote,
            settle=quote,
            tick_size=tick,
            step_size=step,
            min_quantity=min_quantity,
            max_quantity=_MOST,
            min_notional=min_notional,
            liquidation_fee=_LIQUIDATION_FEE if is_margined else None,
        ),
        filters=FilterSet(
            price=PriceRange(tick=tick),
            lot=LotRange(min=min_quantity, max=_MOST, step=step),
            notional=NotionalRange(min=min_notional),
        ),
        fees=_PERPETUAL_FEES if is_margined else _FEES,
        tiers=_TIERS if is_margined else (),
    )
