"""Live data: closed bars of a session on backtrader's lines."""

import datetime
from typing import TYPE_CHECKING, Any

import attrs
import backtrader as bt

from btx.bt.clones import LiveClone, clone_of, named
from btx.bt.folds import close_ns_of, has_own_bar, replay, resample, restart, write
from btx.bt.history import HistoryFeed
from btx.bt.market import Asked, Market
from btx.errors import BtxError
from btx.model.calendar import ALWAYS, Calendar
from btx.model.instrument import Instrument
from btx.model.market import Bar, FillerBar, OnGap
from btx.model.order import PositionSide
from btx.model.time import NS_PER_S, Interval, iso
from btx.runtime.mailbox import BarItem, FeedDelayed, FeedEnd, FeedGap, FeedLive, FeedLost, Mailbox
from btx.runtime.prints import Making

if TYPE_CHECKING:
    from btx.bt.run import Loop
    from btx.bt.store import LiveStore

__all__ = ("SHORTEST_AGE_NS", "DataSpec", "LiveFeed", "feed_of")

SHORTEST_AGE_NS = 10 * NS_PER_S
"""So old bars of seconds, or of trades, may be for an order at least."""


@attrs.frozen(kw_only=True)
class DataSpec:
    """What a data was asked to be."""

    store: "LiveStore"
    symbol: str
    position_side: PositionSide = PositionSide.NET  # which position orders on it are for
    interval: Interval  # of the bars the session delivers
    whole: Interval  # that are made of them here
    making: Making | None = None  # they are made of trades, and how
    history_ns: int | None = None
    history_bars: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    historical: bool = False
    max_signal_age_ns: int | None = None
    on_gap: OnGap = OnGap.HALT
    beside: Asked = Asked()  # noqa: RUF009 -- frozen

    @property
    def has_history(self) -> bool:
        """Bars from before the start come first."""
        return self.historical or any(x is not None for x in (self.history_ns, self.history_bars, self.start_ns))


class LiveFeed(bt.feed.DataBase):
    """Closed bars of one instrument: history first (DELAYED), then LIVE.

    A bar is stamped with its close, the right edge; the venue's open time in
    milliseconds is in the extra line ``ts_ms``.  ``notify_data`` is told CONNECTED
    at the start, DELAYED with history, then LIVE.  After a cut (CONNBROKEN) what
    was missed comes first (DELAYED), then LIVE again; while the stream stays down
    bars come late (DELAYED), each once.  DISCONNECTED is the end.  GAP says that
    bars could not be had, with ``start``, ``end`` (datetimes), ``reason`` and
    ``filled``.  Made by ``store.getdata``.
    """

    GAP = 8
    _NOTIFNAMES = (*bt.feed.AbstractDataBase._NOTIFNAMES, "GAP")

    lines: Any = ("ts_ms",)  # backtrader makes an object of it
    # Crypto trades around the clock: with the default session end a bar that closes at midnight opens the next day.
    params = (("sessionend", datetime.time(0, 0)), ("btx", None))

    def __init__(self) -> None:
        self.interval = self.spec.interval  # of the bars it delivers
        self.is_over = False
        self.is_live = False
        self.is_starting = True  # it was never live, nor is its history whole
        self.is_polled = False  # its bars are asked for as they close
        self.is_filler = False  # the present bar stands for one that could not be had
        self.phase = 0  # counts the changes between history and live
        self.may_deliver = False  # the loop's word for this pass
        self.market = Market(self, self.spec.beside)
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
    def calendar(self) -> Calendar:
        """When it trades; known once the store is started, before that always."""
        session = self.store.session
        return session.calendar(self.instrument) if self.symbol in session.instruments() else ALWAYS

    @property
    def is_started(self) -> bool:
        """A run has begun, and has not ended."""
        return self._mailbox is not None

    @property
    def max_signal_age_ns(self) -> int:
        """How old the last bar may be when an order leaves."""
        age_ns = self.spec.max_signal_age_ns
        return age_ns if age_ns is not None else max(self.interval.nominal_ns, SHORTEST_AGE_NS)

    @property
    def last_close_ns(self) -> int:
        """Close time of the bar the strategy sees now."""
        return close_ns_of(self.lines)

    @property
    def end_of_data_ns(self) -> int:
        """Up to which market time this data is complete, once it is over."""
        now_ns = self.store.session.clock.market_ns()
        return now_ns if self.spec.end_ns is None else min(now_ns, self.spec.end_ns)

    @property
    def next_close_ns(self) -> int | None:
        """Close time of the bar that comes next, None when it has not arrived."""
        head = self._mailbox.peek() if self._mailbox is not None else None
        return head.close_ns if isinstance(head, Bar) else None

    @property
    def is_behind(self) -> bool:
        """It delivers history, or what a cut made it miss."""
        return not self.is_live and not self.is_over and not self.is_polled

    @property
    def backlog(self) -> int:
        """How many bars wait for the strategy: more than one says that it is too slow."""
        return len(self._mailbox) if self._mailbox is not None else 0

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
                case FeedDelayed():
                    self._change_phase(is_live=False, status=self.DELAYED)
                    self.is_polled = True
                    self.is_starting = False
                case FeedGap() as gap:
                    self._tell_gap(gap)
                case FeedLost(reason=reason):
                    self._change_phase(is_live=False, status=self.CONNBROKEN, reason=reason)
                case FeedEnd(error=error):
                    self.is_over = True
                    self._change_phase(is_live=False, status=self.DISCONNECTED)
                    if error is not None:
                        raise error if isinstance(error, BtxError) else BtxError(f"{self.symbol}: {error}") from error

    def _change_phase(self, *, is_live: bool, status: int, **details: str) -> None:
        self.is_live = is_live
        self.is_polled = False
        self.phase += 1
        self.put_notification(status, **details)

    def _tell_gap(self, gap: FeedGap) -> None:
        details = {
            "start": _moment(gap.start_ns),
            "end": _moment(gap.end_ns),
            "reason": gap.reason,
            "filled": gap.is_filled,
        }
        self.notifs.append((self.GAP, (), details))  # not put_notification: each is told, and none is a state

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
        self.is_over = self.is_live = self.is_polled = self.is_filler = self.may_deliver = False
        self.is_starting = True
        restart(self)
        self._mailbox = self.store.open_bars(self)
        self.notifs.append((self.CONNECTED, (), {}))  # put_notification takes it for what was told last
        self.market.start()
        if self.spec.has_history:
            self.put_notification(self.DELAYED)

    def stop(self) -> None:
        super().stop()
        if self._mailbox is not None:
            self.market.stop()
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
        if not has_own_bar(self) and not self.may_deliver:
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
        self.is_filler = isinstance(bar, FillerBar)
        write(self.lines, bar)
        return True

    def clone(self, **kwargs: Any) -> LiveClone:
        """Return a data that follows this one.

        Raises:
            ConfigError: this one is replayed.
        """
        return clone_of(self, kwargs)

    def copyas(self, _dataname: str, **kwargs: Any) -> LiveClone:
        """Return a data that follows this one under another name."""
        return named(self.clone(**kwargs), _dataname)

    def resample(self, *, timeframe: Any = bt.TimeFrame.Days, compression: int = 1, **options: Any) -> None:
        """Make longer bars of the venue's.

        Raises:
            ConfigError: they are not longer, or an option was given that live data have no use for.
        """
        resample(self, timeframe, compression, options)
        self._folds = True

    def replay(self, *, timeframe: Any = bt.TimeFrame.Days, compression: int = 1, **options: Any) -> None:
        """Show longer bars that grow with each of the venue's.

        Raises:
            ConfigError: as for :meth:`resample`.
        """
        replay(self, timeframe, compression, options)
        self._folds = True

    def qbuffer(self, savemem: int = 0, replaying: bool = False) -> None:
        super().qbuffer(savemem=savemem, replaying=replaying or self._folds)


def _moment(time_ns: int) -> datetime.datetime:
    """Return a time as backtrader shows its own: in UTC, without saying so."""
    return datetime.datetime.fromisoformat(iso(time_ns)).replace(tzinfo=None)


def feed_of(data: Any) -> Any:
    """Return the feed below a data: itself, or what its clones follow; None when it is not ours.

    It is a LiveFeed, or the HistoryFeed of a backtest whose fills are the venue's.
    """
    while data is not None and not isinstance(data, LiveFeed | HistoryFeed):
        data = data.p.dataname if isinstance(data, bt.feed.DataClone) else None
    return data
