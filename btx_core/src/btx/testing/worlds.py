"""Worlds that single cards want other than the usual one."""

from collections.abc import Mapping
from typing import Any

from btx.model.time import NS_PER_MINUTE, NS_PER_MS
from btx.testing import sizes
from btx.testing.card import Place
from btx.worlds import account_of, usual_total

__all__ = ("FALLING_MINUTES", "before_funding", "falling", "rich", "running")


def rich(place: Place) -> Mapping[str, Any]:
    """An account whose largest order is more than one price level offers."""
    return {"accounts": (account_of({place.can.currency: usual_total(place.can.currency) * 30}),)}


FALLING_MINUTES = 60
"""How long a falling market falls: to a twentieth of its price, which no leverage outlives."""

_CALM_MINUTES = 10
_FALL_BPS = 500  # a minute
_VOLUME_STEPS = 100_000
_FIRST_NS = 1_748_736_000_000_000_000  # 2025-06-01T00:00:00Z


def falling(place: Place) -> Mapping[str, Any]:
    """A poor account, and a market that stands still until the card begins and then does nothing but fall."""
    instrument, price = place.usual()
    rows, open_ = [], price
    for minute in range(_CALM_MINUTES + FALLING_MINUTES):
        falls = minute >= _CALM_MINUTES
        close = sizes.on_grid(instrument, open_, bps=-_FALL_BPS) if falls else open_
        at_ms = (_FIRST_NS + minute * NS_PER_MINUTE) // NS_PER_MS
        rows.append(f"{at_ms},{open_},{open_},{close},{close},{instrument.step_size * _VOLUME_STEPS}")
        open_ = close
    path = place.folder / f"falling-{instrument.venue_symbol}.csv"
    path.write_text("\n".join(rows))
    poor = account_of({place.can.currency: str(usual_total(place.can.currency) / 1000)})
    return {
        "accounts": (poor,),
        "symbols": (),
        "data": {instrument.symbol: path},
        "origin_ns": None,
        "warmup_ns": _CALM_MINUTES * NS_PER_MINUTE,
        "until_ns": FALLING_MINUTES * NS_PER_MINUTE,
    }


_BEFORE_EIGHT_NS = 1_748_764_500_000_000_000  # 2025-06-01T07:55:00Z: whatever the interval, funding is minutes away


def before_funding(place: Place) -> Mapping[str, Any]:  # noqa: ARG001
    """A market a few minutes before a funding."""
    return {"origin_ns": _BEFORE_EIGHT_NS}


def running(place: Place) -> Mapping[str, Any]:  # noqa: ARG001
    """A market that goes on by itself, ten minutes in a second."""
    return {"speed": 600.0}
