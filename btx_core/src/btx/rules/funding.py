"""Funding: what a perpetual's longs and shorts pay each other at the venue's stamps.

payment = -(value of the signed position at the mark price) x rate: with a positive rate longs pay and
shorts receive. Only what is held at the stamp pays, however long it was held. An INVERSE pays in its base coin.
Rates come at intervals the venue may change (8 h, 4 h, 1 h), so nothing here counts hours.
Source: https://www.binance.com/en/support/announcement/what-fees-are-generated-in-binance-futures-trading-98488a516eb84e3eb34605683dffd554
and https://www.binance.com/en/support/faq/360033525031 (Introduction to Binance Futures Funding Rates), copies of 2025.
The venue books eight decimals and does not say how it rounds; here the rest is cut, see ``btx.rules.money``.
"""

import bisect
from collections.abc import Sequence
from decimal import Decimal

from btx.model.derivatives import FundingRate, MarkPrice
from btx.model.instrument import Instrument
from btx.rules.contracts import value
from btx.rules.money import EXACT, booked

__all__ = ("due", "expected_payment", "funding_payment", "interval_ns")


def funding_payment(instrument: Instrument, quantity: Decimal, mark_price: Decimal, rate: Decimal) -> Decimal:
    """Return what an account gets (negative: pays) for a signed ``quantity``, in the settle asset, as it is booked."""
    return booked(EXACT.minus(EXACT.multiply(value(instrument, quantity, mark_price), rate)))


def due(rates: Sequence[FundingRate], after_ns: int, until_ns: int) -> Sequence[FundingRate]:
    """Return the rates settled later than ``after_ns`` and not later than ``until_ns``.

    ``rates`` are one instrument's, sorted by time.
    """
    first = bisect.bisect_right(rates, after_ns, key=_time)
    return rates[first : bisect.bisect_right(rates, until_ns, lo=first, key=_time)]


def interval_ns(rates: Sequence[FundingRate]) -> int | None:
    """Return how long the last interval was, which is the best guess at the next; None with fewer than two rates."""
    return rates[-1].time_ns - rates[-2].time_ns if len(rates) > 1 else None


def expected_payment(instrument: Instrument, quantity: Decimal, mark: MarkPrice) -> Decimal | None:
    """Return what the next funding would book if rate and mark price stayed as they are; None: no rate is known."""
    if mark.funding_rate is None:
        return None
    return funding_payment(instrument, quantity, mark.mark_price, mark.funding_rate)


def _time(rate: FundingRate) -> int:
    return rate.time_ns
