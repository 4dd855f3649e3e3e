"""Worlds that single cards want other than the usual one."""

from collections.abc import Mapping
from typing import Any

from btx.model.time import NS_PER_HOUR
from btx.model.venue import Capabilities
from btx.worlds import account_of, usual_total

__all__ = ("before_funding", "poor", "rich", "running")


def rich(can: Capabilities) -> Mapping[str, Any]:
    """An account whose largest order is more than one price level offers."""
    return {"accounts": (account_of({can.currency: usual_total(can.currency) * 30}),)}


def poor(can: Capabilities) -> Mapping[str, Any]:
    """An account that a position on margin may ruin, and a day in which it may."""
    poor = account_of({can.currency: str(usual_total(can.currency) / 1000)})
    return {"accounts": (poor,), "until_ns": 24 * NS_PER_HOUR}


_BEFORE_EIGHT_NS = 1_748_764_500_000_000_000  # 2025-06-01T07:55:00Z: whatever the interval, funding is minutes away


def before_funding(can: Capabilities) -> Mapping[str, Any]:  # noqa: ARG001
    """A market a few minutes before a funding."""
    return {"origin_ns": _BEFORE_EIGHT_NS}


def running(can: Capabilities) -> Mapping[str, Any]:  # noqa: ARG001
    """A market that goes on by itself, ten minutes in a second."""
    return {"speed": 600.0}
