"""What the simulated venue lists, with its own trading rules.

REPLACE: the venue's instruments, grids and minima, with the page and the date they were read at.
"""

from collections.abc import Sequence
from decimal import Decimal

from btx.errors import UnknownSymbolError
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.venue import Scenario
from btx.sim.exchange import Listing
from btx.sim.filters import FilterSet, LotRange, NotionalRange, PriceRange
from btx.testing.toy.sim.perpetuals import LINEAR, perpetual  # margin

__all__ = ("listings",)

#               tick      step  min quantity  min notional
_TABLE = """
BTC/USDT        0.01   0.00001       0.00001             5
ETH/USDT        0.01    0.0001        0.0001             5
SOL/USDT        0.01     0.001         0.001             5
"""
_USUAL = ("BTC/USDT", "ETH/USDT")  # of a scenario that names none
_MOST = Decimal(9000)
_FEES = FeeSchedule(maker=Decimal("0.0010"), taker=Decimal("0.0015"), source="made up, 2026-11-21")


def listings(scenario: Scenario) -> Sequence[Listing]:
    """Return what a scenario plays.

    Raises:
        UnknownSymbolError: a symbol is not in the table.
    """
    asked = tuple(scenario.data) or scenario.symbols or _USUAL
    if scenario.market == LINEAR:  # margin
        return [perpetual(_listing(symbol.partition(":")[0])) for symbol in asked]
    return [_listing(symbol) for symbol in asked]


def _listing(symbol: str) -> Listing:
    table = {name: tuple(map(Decimal, numbers)) for name, *numbers in map(str.split, _TABLE.split("\n")[1:-1])}
    if symbol not in table:
        raise UnknownSymbolError(f"the simulator does not list {symbol}: write one of {', '.join(table)}")
    tick, step, min_quantity, min_notional = table[symbol]
    base, quote = symbol.split("/")
    return Listing(
        instrument=Instrument(
            venue="toy",
            symbol=symbol,
            venue_symbol=f"{base}-{quote}",
            kind=InstrumentKind.SPOT,
            base=base,
            quote=quote,
            settle=quote,
            tick_size=tick,
            step_size=step,
            min_quantity=min_quantity,
            max_quantity=_MOST,
            min_notional=min_notional,
        ),
        filters=FilterSet(
            price=PriceRange(tick=tick),
            lot=LotRange(min=min_quantity, max=_MOST, step=step),
            notional=NotionalRange(min=min_notional),
        ),
        fees=_FEES,
    )
