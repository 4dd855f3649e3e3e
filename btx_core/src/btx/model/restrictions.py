"""Restrictions: what a venue lets nobody do with an instrument, beside its filters."""

from decimal import Decimal

import attrs

__all__ = ("NO_RESTRICTIONS", "Restrictions")


@attrs.frozen(kw_only=True)
class Restrictions:
    """What is bought when may be sold, how far a price may go in a day, and what closing today's costs."""

    sells_next_day: bool = False  # T+1: what was bought today is sold on the next trading day at the earliest
    price_limit: Decimal | None = None  # of the last trading day's close, up and down: 0.1 is a tenth
    limit_to_nearest: bool = False  # limits lie on the nearest tick, not on the one inside
    close_today_rate: Decimal | None = None  # fee of closing what was opened today; None: as any other
    closes_today_first: bool = True


NO_RESTRICTIONS = Restrictions()
"""Where a venue says nothing."""
