"""Venues that each do one thing wrong: what the conformance kit is proven against.

Each is the honest toy venue with one port exchanged, and names the cards that catch it.
"""

from btx.testing.broken import fills, market, orders, session
from btx.testing.broken.variant import Broken

__all__ = ("BROKEN", "Broken")

BROKEN: tuple[Broken, ...] = (*fills.BROKEN, *orders.BROKEN, *market.BROKEN, *session.BROKEN)
"""All of them."""
