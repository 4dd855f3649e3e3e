"""Analyzers that need the venue: they see a run before its store hangs up."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import backtrader as bt

from btx.errors import ConfigError
from btx.model.account import BookingKind

__all__ = ("Costs", "RunRecord")

_NAMES: Final = {BookingKind.FEE: "fees", BookingKind.FUNDING: "funding", BookingKind.REALISED: "realised"}


class Costs(bt.Analyzer):
    """What the venue booked in this run, exact: ``{"fees": {"USDT": Decimal("-1.25")}, "funding": ..., ...}``.

    Positive is what the account got.  Of positions on margin ``fees``,
    ``funding``, ``realised`` and ``other`` (fees of liquidations, transfers,
    rebates) together are the change of the wallet; backtrader's
    ``Trade.pnlcomm`` has the fees and not the funding.  Of owned assets there
    are only ``fees``.
    """

    def start(self) -> None:
        if not hasattr(self.strategy.broker, "booked"):
            raise ConfigError("Costs counts what a venue has booked: set a broker of btx, cerebro.setbroker(...)")
        self._booked: Mapping[tuple[BookingKind, str], Decimal] = {}

    def stop(self) -> None:
        self._booked = self.strategy.broker.booked()

    def get_analysis(self) -> dict[str, dict[str, Decimal]]:
        """Return sums by what they are and asset."""
        found: dict[str, dict[str, Decimal]] = {name: {} for name in (*_NAMES.values(), "other")}
        for (kind, asset), amount in self._booked.items():
            sums: dict[str, Any] = found[_NAMES.get(kind, "other")]
            sums[asset] = sums.get(asset, Decimal(0)) + amount
        return found


class RunRecord(bt.Analyzer):
    """Every delivered bar and the equity after it; ``at_end(record)`` is called while the venue still answers.

    ``bars`` maps a data's name to ``(open_ms, close)``, ``equity`` is a list of
    ``(open_ms, value)``. ``progress(count)`` is called with the bars so far.
    """

    params = (("at_end", None), ("progress", None))

    def start(self) -> None:
        self.bars: dict[str, list[tuple[int, float]]] = {data._name: [] for data in self.datas}
        self.equity: list[tuple[int, float]] = []

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        open_ms = 0
        for data in self.datas:
            seen = self.bars[data._name]
            if len(data) > len(seen):
                seen.append((int(data.ts_ms[0]), data.close[0]))
            open_ms = max(open_ms, seen[-1][0] if seen else 0)
        self.equity.append((open_ms, self.strategy.broker.getvalue()))
        if self.p.progress is not None:
            self.p.progress(sum(map(len, self.bars.values())))

    def stop(self) -> None:
        if self.p.at_end is not None:
            self.p.at_end(self)
