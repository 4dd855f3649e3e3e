"""What a front takes of a client, as far as the core must know it.

A front tells its own figures at login (``GetFrontInfo``), and they differ by broker; queries beyond them are
refused with -3 or ErrorID 90, which the core waits out.  Orders beyond a broker's limit are refused with ErrorID 116,
and beyond the front's they are held back silently.  One query is under way at a time; that is the adapter's.
Source: the vendor's manual of 6.7.8, "GetFrontInfo" and its page on flow control.
"""

from collections.abc import Mapping

from btx.model.venue import RateLimit

__all__ = ("COSTS", "LIMITS")

LIMITS: tuple[RateLimit, ...] = (
    RateLimit(name="queries", limit=10, window_s=1.0, scope="account"),
    RateLimit(name="orders", limit=6, window_s=1.0, scope="account"),
)

COSTS: Mapping[str, Mapping[str, int]] = {
    "time": {},
    "instruments": {"queries": 1},
    "account": {"queries": 2},  # the money, and the positions
    "fees": {"queries": 1},  # an instrument
    "key_rights": {},
    "leverage_tiers": {},  # listed with the instruments
    "bookings": {},
    "place": {"orders": 1},
    "cancel": {"orders": 1},
    "query": {"queries": 2},  # the order, and its trades
    "open_orders": {"queries": 1},
    "open_orders_one": {"queries": 1},
    "fills": {"queries": 2},
    "last_price": {"queries": 1},
    "mark_price": {"queries": 1},
    "bars": {},
    "book": {},
    "book_top": {},
    "trades": {},
}
