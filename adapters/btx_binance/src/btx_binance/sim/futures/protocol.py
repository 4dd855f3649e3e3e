"""What changed in the protocol of Binance's futures, and when: a change is in force from its day on.

A skin asks :meth:`Protocol.has`; a change that is announced is written here
with its day, and can be tried before it by asking for that day.
"""

import datetime
import enum

import attrs

from btx.errors import ConfigError

__all__ = ("AS_OF", "EARLIEST", "Change", "Protocol", "day_of")

AS_OF = datetime.date(2026, 10, 16)
"""The state of the venue's documentation that is served when nobody says otherwise."""

EARLIEST = datetime.date(2025, 12, 9)
"""Before it conditional orders were orders like others: that is not served any more."""


def day_of(text: str, earliest: datetime.date) -> datetime.date | None:
    """Return the day whose protocol is asked for, None for the present one.

    Raises:
        ConfigError: it is no day, or one before the earliest.
    """
    if not text:
        return None
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"as_of={text!r} is no day: write it like '2026-04-01'") from error
    if day < earliest:
        raise ConfigError(f"the protocol of {day} is not served: choose {earliest} or a later day")
    return day


class Change(enum.Enum):
    """A dated change: what it is, and its first day (UTC)."""

    # change-log 2025-12-29: exchangeInfo of USD-M has no MAX_NUM_ALGO_ORDERS any more, 200 wait at most.
    ALGO_LIMIT_GONE = "no MAX_NUM_ALGO_ORDERS", datetime.date(2025, 12, 29)
    # Important-WebSocket-Change-Notice: /public, /market and /private are there ...
    ROUTED_STREAMS = "split sockets", datetime.date(2026, 3, 6)
    # ... and addresses without one of them speak of what belongs to /public, and of nothing else.
    ROOT_RETIRED = "silent legacy root", datetime.date(2026, 4, 23)
    # Important-CM-UM-Integration-Notice: one pool of limits, one position mode, COIN-M conditionals at
    # the algo endpoints, market frames with ``st`` and ``ps``, acks of orders without averages.  C.6 leaves
    # open when exactly COIN-M began to refuse them elsewhere; the first day is the stricter reading.
    ONE_ARCHITECTURE = "COIN-M like USD-M", datetime.date(2026, 6, 30)
    # As a client's release notes tell it (sieblyio/binance 3.6.8, 2026-10-16): income takes no ``page`` any more, its
    # pages are spans of time.
    INCOME_WITHOUT_PAGES = "no page of income", datetime.date(2026, 10, 16)

    def __init__(self, _: str, day: datetime.date) -> None:
        self.day = day


@attrs.frozen
class Protocol:
    """The venue's protocol as it is on a day."""

    as_of: datetime.date = AS_OF

    @classmethod
    def of(cls, text: str) -> "Protocol":
        """Return the protocol of a day written like ``2026-04-01``; "" is the present one.

        Raises:
            ConfigError: it is no day, or one whose protocol is not served.
        """
        return cls(day_of(text, EARLIEST) or AS_OF)

    def has(self, change: Change) -> bool:
        """Tell whether a change is in force."""
        return self.as_of >= change.day
