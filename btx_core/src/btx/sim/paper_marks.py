"""Mark prices and funding of a real market, as its pushes and its history tell them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from btx.model.derivatives import FundingRate, MarkPrice
from btx.rules.funding import due
from btx.sim.margin_events import MarkChange

__all__ = ("NEAR_NS", "HeardMarks")

NEAR_NS = 60 * 1_000_000_000
"""A rate settled so near to an announced stamp is that stamp's: venues' times are some ms past the hour."""


class HeardMarks:
    """The :class:`btx.sim.marks.Marks` of a real market, by the venue's symbols."""

    def __init__(self) -> None:
        self._marks: dict[str, MarkChange] = {}
        self._rates: defaultdict[str, list[FundingRate]] = defaultdict(list)

    def hear(self, venue_symbol: str, mark: MarkPrice) -> None:
        """Remember a mark price; an older one is not news."""
        known = self._marks.get(venue_symbol)
        if known is None or known.time_ns <= mark.time_ns:
            self._marks[venue_symbol] = MarkChange(
                venue_symbol=venue_symbol,
                mark_price=mark.mark_price,
                index_price=mark.index_price if mark.index_price is not None else mark.mark_price,
                funding_rate=mark.funding_rate,
                next_funding_ns=mark.next_funding_ns,
                time_ns=mark.time_ns,
            )

    def learn(self, venue_symbol: str, rates: Iterable[FundingRate]) -> None:
        """Remember rates that were settled; those that are known are not news."""
        for rate in rates:
            if not self.knows(venue_symbol, rate.time_ns):
                self._rates[venue_symbol].append(rate)
        self._rates[venue_symbol].sort(key=lambda rate: rate.time_ns)

    def knows(self, venue_symbol: str, stamp_ns: int) -> bool:
        """Tell whether the rate of a stamp was learned."""
        return any(abs(rate.time_ns - stamp_ns) < NEAR_NS for rate in self._rates[venue_symbol])

    # --- what the exchange asks -------------------------------------------------------------------------

    def mark(self, venue_symbol: str) -> MarkChange:
        """Return the mark price that was heard last.

        Raises:
            LookupError: none was heard yet.
        """
        known = self._marks.get(venue_symbol)
        if known is None:
            raise LookupError(f"no mark price of {venue_symbol} was heard yet")
        return known

    def rates(self, venue_symbol: str, after_ns: int, until_ns: int) -> Sequence[FundingRate]:
        """Return the rates that were learned, settled later than ``after_ns`` and not later than ``until_ns``."""
        return due(self._rates[venue_symbol], after_ns, until_ns)

    def next_funding_ns(self, venue_symbol: str, after_ns: int) -> int | None:
        """Return the next stamp as it was announced; None when it has passed, or none was."""
        known = self._marks.get(venue_symbol)
        if known is None or known.next_funding_ns is None or known.next_funding_ns <= after_ns:
            return None
        return known.next_funding_ns
