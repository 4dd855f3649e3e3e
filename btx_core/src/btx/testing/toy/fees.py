"""Toy's fees: a table with its source and date.

A live account's own rates are asked for, and each fill states its fee.

REPLACE: the venue's own table.
"""

from decimal import Decimal

from btx.model.account import AccountSnapshot
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument

__all__ = ("schedule",)

_SOURCE = "made up, 2026-11-21"
_SPOT = FeeSchedule(maker=Decimal("0.0010"), taker=Decimal("0.0015"), source=_SOURCE)
_LINEAR = FeeSchedule(maker=Decimal("0.0002"), taker=Decimal("0.0005"), source=_SOURCE)  # margin


def schedule(instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:  # noqa: ARG001 -- it has one tier
    """Return the rates of an instrument's market."""
    if instrument.kind.is_margined:  # margin
        return _LINEAR
    return _SPOT
