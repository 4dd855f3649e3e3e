"""Live data: closed bars of a session on backtrader's lines."""

import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import backtrader as bt

from btx.bt.timeframes import interval_of, to_backtrader
from btx.errors import BtxError, ConfigError
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.time import NS_PER_DAY, Interval, IntervalUnit, from_ms, to_ms
from btx.rules.bars import BarFold, fold_bar
from btx.runtime.mailbox import BarItem, FeedEnd, FeedLive, FeedLost, Mailbox

if TYPE_CHECKING:
    from btx.bt.run import Loop
    from btx.bt.store import LiveStore

__all__ = ("DataSpec", "LiveClone", "LiveFeed", "feed_of")

_EPOCH_DAYS = 719_163.0  # 1970-01-01 as backtrader counts days
_PRICES = ("open", "high", "low", "close", "volume")


@attrs.frozen(kw_only=True)
class DataSpec:
    """What a data was asked to be."""

    store: "LiveStore"
    symbol: str
    interval: Interval
    history_ns: int | None = None
    history_bars: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    historical: bool = False
    max_signal_age_ns: int | None = None

    @property
    def has_history(self) -> bool:
        """Bars from before the start come first."""
        return self.historical or any(x is not None for x in (self.history_ns, self.history_bars, self.start_ns))


class _Folder:
    """A filter that makes longer bars of the bars of a data; what is not whole yet is taken out.

    Stock resamplers close a bar by the wall clock, before its last part has
    come, and cut weeks and months one bar too late.  This one goes by the open
    and close times of the parts alone.  A bar whose first part was not seen, or
    that misses one, is left out: ask the venue for it with ``getdata``.
    """

    def __init__(self, data: Any, interval: Interval) -> None:
        self._source: Interval = data.interval
        self._symbol = str(data._name)
        self._fold = BarFold(interval=interval)

    def __call__(self, data: Any) -> bool:
        self._fold, closed = fold_bar(self._fold, self._part(data))
        if not closed:
            data.backwards()
            return True
        _write(data.lines, closed[0])
        return False

    def _part(self, data: Any) -> Bar:
        open_ns = from_ms(int(data.lines.ts_ms[0]))
        values: dict[str, Any] = {name: Decimal(repr(getattr(data.lines, name)[0])) for name in _PRICES}
        close_ns = self._source.close_of(open_ns)
        return Bar(
            symbol=self._symbol,
            interval=self._source,
            open_ns=open_ns,
            close_ns=close_ns,
            is_closed=True,
            **values,
        )


def _fold(data: Any, timeframe: Any, compression: int, options: dict[str, Any]) -> None:
    if options:
        raise ConfigError(
            f"resampledata on live data takes timeframe and compression, not {', '.join(sorted(options))}: "
            "bars carry their exact close, edges and sessions need no option"
        )
    interval, part = interval_of(timeframe, compression), data.interval
    whole_ns = NS_PER_DAY if interval.unit is IntervalUnit.MONTH else interval.nominal_ns
    if interval == part or interval.nominal_ns < part.nominal_ns or whole_ns % part.nominal_ns:
        raise ConfigError(f"{interval} bars cannot be made of {part} bars: choose a multiple of {part}")
    data.addfilter(_Folder(data, interval))
    data.interval = interval
    data._timeframe, data._compression = data.p.timeframe, data.p.compression = to_backtrader(interval)


def _no_replay() -> None:
    raise ConfigError("replaydata needs ticks, and live datas are closed bars: use a shorter timeframe of getdata")


def _write(lines: Any, bar: Bar) -> None:
    lines.datetime[0] = _EPOCH_DAYS + bar.close_ns / NS_PER_DAY
    for name in _PRICES:
        getattr(lines, name)[0] = float(getattr(bar, name))
    lines.openinterest[0] = 0.0
    lines.ts_ms[0] = float(to_ms(bar.open_ns))


def _has_own_bar(data: Any) -> bool:
    """Say whether a bar waits inside backtrader: pushed back, or rewound because its time has not come."""
    return bool(data._barstack or data._barstash or data.lines[0].lencount < data.buflen())


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

    def advance(self, size: int = 1, datamaster: Any = None, ticks: bool = True) -> None:
        bt.feed.AbstractDataBase.advance(self, size, datamaster, ticks)

    def next(self, datamaster: Any = None, ticks: bool = True) -> Any:
        if not _has_own_bar(self) and len(self.data) <= self._dlen:
            return False if _is_over(self) else None
        return super().next(datamaster, ticks)

    def _load(self) -> bool | None:
        if super()._load():
            return True
        return False if _is_over(self) else None

    def _check(self, forcedata: Any = None) -> None:
        """Nothing: no bar is closed by the wall clock."""

    def do_qcheck(self, onoff: Any, qlapse: Any) -> None:
        """Nothing: the loop waits, not the data."""

    def clone(self, **kwargs: Any) -> "LiveClone":
        """Return a data that follows this one."""
        return _clone_of(self, kwargs)

    def copyas(self, _dataname: str, **kwargs: Any) -> "LiveClone":
        """Return a data that follows this one under another name."""
        return _named(self.clone(**kwargs), _dataname)

    def resample(self, *, timeframe: Any = bt.TimeFrame.Days, compression: int = 1, **options: Any) -> None:
        """Make longer bars of what is followed.

        Raises:
            ConfigError: they are not longer, or an option was given that live data have no use for.
        """
        _fold(self, timeframe, compression, options)
        self._folds = True

    def replay(self, **_options: Any) -> None:
        """Refuse.

        Raises:
            ConfigError: always.
        """
        _no_replay()

    def qbuffer(self, savemem: int = 0, replaying: bool = False) -> None:
        super().qbuffer(savemem=savemem, replaying=replaying or self._folds)


class LiveFeed(bt.feed.DataBase):
    """Closed bars of one instrument: history first (DELAYED), then LIVE.

    A bar is stamped with its close, the right edge; the venue's open time in
    milliseconds is in the extra line ``ts_ms``.  After a cut (CONNBROKEN) what
    was missed comes first (DELAYED), then LIVE again; DISCONNECTED is the end.
    Made by ``store.getdata``.
    """

    lines: Any = ("ts_ms",)  # backtrader makes an object of it
    # Crypto trades around the clock: with the default session end a bar that closes at midnight opens the next day.
    params = (("sessionend", datetime.time(0, 0)), ("btx", None))

    def __init__(self) -> None:
        self.interval = self.spec.interval  # of the bars it delivers
        self.is_over = False
        self.is_live = False
        self.is_starting = True  # it was never live
        self.phase = 0  # counts the changes between history and live
        self.may_deliver = False  # the loop's word for this pass
        self._folds = False
        self._mailbox: Mailbox[BarItem] | None = None
        self._loop: Loop | None = None

    # --- what the framework asks -----------------------------------------------------------------------

    @property
    def spec(self) -> DataSpec:
        """What it was asked to be."""
        spec: DataSpec = self.p.btx
        return spec

    @property
    def store(self) -> "LiveStore":
        """The store this data came from."""
        return self.spec.store

    @property
    def symbol(self) -> str:
        """The instrument's symbol, like BTC/USDT."""
        return self.spec.symbol

    @property
    def instrument(self) -> Instrument:
        """The instrument; known once the store is started."""
        return self.store.session.instrument(self.symbol)

    @property
    def max_signal_age_ns(self) -> int:
        """How old the last bar may be when an order leaves."""
        age_ns = self.spec.max_signal_age_ns
        return age_ns if age_ns is not None else self.interval.nominal_ns

    @property
    def last_close_ns(self) -> int:
        """Close time of the bar the strategy sees now."""
        return self.interval.close_of(from_ms(int(self.lines.ts_ms[0])))

    @property
    def next_close_ns(self) -> int | None:
        """Close time of the bar that comes next, None when it has not arrived."""
        head = self._mailbox.peek() if self._mailbox is not None else None
        return head.close_ns if isinstance(head, Bar) else None

    @property
    def is_behind(self) -> bool:
        """It delivers history, or what a cut made it miss."""
        return not self.is_live and not self.is_over

    @property
    def has_control(self) -> bool:
        """What arrived next is no bar."""
        return bool(self._mailbox) and self.next_close_ns is None

    def take_control(self, *, may_end: bool) -> None:
        """Take what lies before the next bar: live, cut, or the end, which must wait until ``may_end``.

        Raises:
            BtxError: the feed ended because of it.
        """
        while self.has_control and self._mailbox is not None:
            if isinstance(self._mailbox.peek(), FeedEnd) and not may_end:
                return
            match self._mailbox.take():
                case FeedLive():
                    self._change_phase(is_live=True, status=self.LIVE)
                    self.is_starting = False
                case FeedLost(reason=reason):
                    self._change_phase(is_live=False, status=self.CONNBROKEN, reason=reason)
                case FeedEnd(error=error):
                    self.is_over = True
                    self._change_phase(is_live=False, status=self.DISCONNECTED)
                    if error is not None:
                        raise error if isinstance(error, BtxError) else BtxError(f"{self.symbol}: {error}") from error

    def _change_phase(self, *, is_live: bool, status: int, **details: str) -> None:
        self.is_live = is_live
        self.phase += 1
        self.put_notification(status, **details)

    # --- what backtrader asks ----------------------------------------------------------------------------

    def islive(self) -> bool:
        """Yes: no preloading, no vectorised run."""
        return True

    def setenvironment(self, env: Any) -> None:
        super().setenvironment(env)
        self._loop = self.store.join(env)
        self._loop.feeds.append(self)

    def start(self) -> None:
        super().start()
        self.store.start(data=self)
        self.is_over = self.is_live = self.may_deliver = False
        self.is_starting = True
        self._mailbox = self.store.open_bars(self)
        if self.spec.has_history:
            self.put_notification(self.DELAYED)

    def stop(self) -> None:
        super().stop()
        if self._mailbox is not None:
            self.store.session.close_bars(self._mailbox)
            self._mailbox = None

    def haslivedata(self) -> bool:
        """Something can be taken at once."""
        return self.may_deliver

    def do_qcheck(self, onoff: Any, qlapse: Any) -> None:
        """Nothing: the loop waits, not the data."""

    def _check(self, forcedata: Any = None) -> None:
        """Nothing: no bar is closed by the wall clock."""

    def next(self, datamaster: Any = None, ticks: bool = True) -> Any:
        # The stock method costs two rounds over all lines even when there is nothing.
        if not _has_own_bar(self) and not self.may_deliver:
            return False if self.is_over else None
        return super().next(datamaster, ticks)

    def _load(self) -> bool | None:
        if not self.may_deliver or self._mailbox is None:
            return False if self.is_over else None
        self.may_deliver = False
        bar = self._mailbox.take()
        assert isinstance(bar, Bar), "the loop lets a feed deliver only when its next item is a bar"
        if not self.is_live:
            self.put_notification(self.DELAYED)
        _write(self.lines, bar)
        return True

    def clone(self, **kwargs: Any) -> LiveClone:
        """Return a data that follows this one."""
        return _clone_of(self, kwargs)

    def copyas(self, _dataname: str, **kwargs: Any) -> LiveClone:
        """Return a data that follows this one under another name."""
        return _named(self.clone(**kwargs), _dataname)

    def resample(self, *, timeframe: Any = bt.TimeFrame.Days, compression: int = 1, **options: Any) -> None:
        """Make longer bars of the venue's.

        Raises:
            ConfigError: they are not longer, or an option was given that live data have no use for.
        """
        _fold(self, timeframe, compression, options)
        self._folds = True

    def replay(self, **_options: Any) -> None:
        """Refuse.

        Raises:
            ConfigError: always.
        """
        _no_replay()

    def qbuffer(self, savemem: int = 0, replaying: bool = False) -> None:
        super().qbuffer(savemem=savemem, replaying=replaying or self._folds)


def feed_of(data: Any) -> LiveFeed | None:
    """Return the live feed below a data: itself, or what its clones follow; None when it is not ours."""
    while data is not None and not isinstance(data, LiveFeed):
        data = data.p.dataname if isinstance(data, bt.feed.DataClone) else None
    return data


def _clone_of(data: Any, params: dict[str, Any]) -> LiveClone:
    make: Any = LiveClone  # its arguments are backtrader params, which no checker sees
    clone: LiveClone = make(dataname=data, **params)
    return clone


def _is_over(clone: LiveClone) -> bool:
    feed = feed_of(clone)
    return feed is not None and feed.is_over


def _named(clone: LiveClone, name: str) -> LiveClone:
    clone._dataname = clone._name = name
    return clone
