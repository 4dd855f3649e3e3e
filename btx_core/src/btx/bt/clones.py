"""Datas that follow another: what ``resampledata``, ``replaydata`` and ``copyas`` give."""

from typing import Any

import backtrader as bt

from btx.bt.folds import has_own_bar, replay, resample, restart
from btx.bt.market import Market
from btx.errors import ConfigError
from btx.model.time import Interval

__all__ = ("LiveClone", "clone_of", "named")


class LiveClone(bt.feed.DataClone):
    """A data that follows another, for ``resampledata`` and ``copyas``; loses no bar where the stock one does.

    The stock clone counts a rewound bar twice and skips the next, ends when its
    source is merely quiet, and knows nothing of the extra line.
    """

    # What this class shares with LiveFeed stands in both: a base of its own would double backtrader's lines.
    lines: Any = ("ts_ms",)  # backtrader makes an object of it

    def __init__(self) -> None:
        super().__init__()
        self.interval: Interval = self.data.interval
        self._folds = False

    @property
    def market(self) -> Market:
        """What the venue says beside the bars, as for the data it follows."""
        market: Market = self.data.market
        return market

    @property
    def end_of_data_ns(self) -> int:
        """Up to which market time this data is complete."""
        end_ns: int = self.data.end_of_data_ns
        return end_ns

    @property
    def is_over(self) -> bool:
        """Nothing will follow."""
        return bool(self.data.is_over)

    def start(self) -> None:
        super().start()
        restart(self)

    def advance(self, size: int = 1, datamaster: Any = None, ticks: bool = True) -> None:
        bt.feed.AbstractDataBase.advance(self, size, datamaster, ticks)

    def next(self, datamaster: Any = None, ticks: bool = True) -> Any:
        if not has_own_bar(self) and len(self.data) <= self._dlen:
            return False if self.is_over else None
        return super().next(datamaster, ticks)

    def _load(self) -> bool | None:
        if super()._load():
            return True
        return False if self.is_over else None

    def _check(self, forcedata: Any = None) -> None:
        """Nothing: no bar is closed by the wall clock."""

    def do_qcheck(self, onoff: Any, qlapse: Any) -> None:
        """Nothing: the loop waits, not the data."""

    def clone(self, **kwargs: Any) -> "LiveClone":
        """Return a data that follows this one.

        Raises:
            ConfigError: this one is replayed.
        """
        return clone_of(self, kwargs)

    def copyas(self, _dataname: str, **kwargs: Any) -> "LiveClone":
        """Return a data that follows this one under another name."""
        return named(self.clone(**kwargs), _dataname)

    def resample(self, *, timeframe: Any = bt.TimeFrame.Days, compression: int = 1, **options: Any) -> None:
        """Make longer bars of what is followed.

        Raises:
            ConfigError: they are not longer, or an option was given that live data have no use for.
        """
        resample(self, timeframe, compression, options)
        self._folds = True

    def replay(self, *, timeframe: Any = bt.TimeFrame.Days, compression: int = 1, **options: Any) -> None:
        """Show longer bars that grow with each bar of what is followed.

        Raises:
            ConfigError: as for :meth:`resample`.
        """
        replay(self, timeframe, compression, options)
        self._folds = True

    def qbuffer(self, savemem: int = 0, replaying: bool = False) -> None:
        super().qbuffer(savemem=savemem, replaying=replaying or self._folds)


def clone_of(data: Any, params: dict[str, Any]) -> LiveClone:
    """Return a data that follows ``data``.

    Raises:
        ConfigError: it is replayed.
    """
    if data.replaying:
        raise ConfigError("a data that is replayed cannot be followed, its bars change: follow the data it is made of")
    make: Any = LiveClone  # its arguments are backtrader params, which no checker sees
    clone: LiveClone = make(dataname=data, **params)
    return clone


def named(clone: LiveClone, name: str) -> LiveClone:
    """Return the clone under a name of its own."""
    clone._dataname = clone._name = name
    return clone
