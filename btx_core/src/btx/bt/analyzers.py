"""Analyzers that need the venue: they see a run before its store hangs up."""

import backtrader as bt

__all__ = ("RunRecord",)


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
