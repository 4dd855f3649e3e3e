"""The instruments of a backtest: the simulator's list, read as the adapter reads OpenD's."""

from collections.abc import Sequence

from btx.model.venue import Scenario
from btx.rules.account import Terms
from btx_futu import codec
from btx_futu.sim.tables import listings

__all__ = ("listed",)


def listed(scenario: Scenario) -> Sequence[Terms]:
    """Return what a scenario plays.

    Raises:
        ConfigError: the box does not have such a share.
    """
    rows = ({"code": each.venue_symbol, "lot_size": int(each.instrument.step_size)} for each in listings(scenario))
    return tuple(Terms(instrument=codec.instrument(row)) for row in rows)
