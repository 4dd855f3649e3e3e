"""What a live run needs of a cerebro: one wait per loop, bars in the order of time, and an end that leaves nothing."""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import backtrader as bt

from btx.runtime.mailbox import Wakeup

if TYPE_CHECKING:
    from btx.bt.feed import LiveFeed
    from btx.bt.store import LiveStore

__all__ = ("Loop", "loop_of", "stock_broker_warning")

_log = logging.getLogger("btx")
_LONGEST_WAIT_S = 1.0  # between two looks at data that is not ours
_LOOP = "_btx_loop"


class Loop:
    """A cerebro's live loop: the wakeup that all btx feeds and brokers of it share.

    backtrader calls ``Store.get_notifications()`` of every store once per loop,
    before it polls any data.  There, and only there, the loop waits; and there it
    says which feeds may deliver in this pass: those whose next bar is the oldest.
    """

    def __init__(self, cerebro: Any) -> None:
        self.wakeup = Wakeup()
        self.feeds: list[LiveFeed] = []
        self.cerebro = cerebro
        self._stores: list[LiveStore] = []
        self._lengths: dict[int, int] = {}
        self._is_turning = False
        self._is_interrupted = False  # before it turned
        cerebro.p.quicknotify = True  # order news comes with its arrival, not with the next bar
        self._wrap(cerebro)

    def join(self, store: "LiveStore") -> bool:
        """Take a store in, the first one waits for all; say whether it is new here."""
        if store in self._stores:
            return False
        self._stores.append(store)
        return True

    def pause(self, store: "LiveStore") -> None:
        """Wait for an arrival, unless there is work already. Every store calls it; it waits for the first.

        Raises:
            BtxError: a feed ended because of it.
            KeyboardInterrupt: the start was interrupted, and something of it did not pass that on.
        """
        if store is not self._stores[0]:
            return
        if self._is_interrupted:
            raise KeyboardInterrupt
        self._is_turning = True
        self._look()
        if not self._has_work():
            self.wakeup.wait(_LONGEST_WAIT_S)
            self._look()

    # --- which bars are due ---------------------------------------------------------------------------------

    def _look(self) -> None:
        """See what arrived, and let those feeds deliver whose bar is the oldest."""
        may_end = not any(store.has_news for store in self._stores)
        for feed in self.feeds:
            feed.take_control(may_end=may_end)
        ready = [(feed, close_ns) for feed in self._unblocked() if (close_ns := feed.next_close_ns) is not None]
        oldest_ns = min((close_ns for _, close_ns in ready), default=None)
        for feed in self.feeds:
            feed.may_deliver = False
        for feed, close_ns in ready:
            feed.may_deliver = close_ns == oldest_ns

    def _unblocked(self) -> "list[LiveFeed]":
        """Return the feeds whose next bar cannot be overtaken by an older one of another feed.

        While history comes in, or what a cut made a store miss, each feed waits
        for the others: else time would run backwards in the strategy.
        """
        silent = [feed for feed in self.feeds if feed.is_behind and feed.next_close_ns is None]
        if any(feed.is_starting for feed in silent):
            return []
        waiting = {id(feed.store) for feed in silent}
        return [feed for feed in self.feeds if not (feed.is_behind and id(feed.store) in waiting)]

    def _has_work(self) -> bool:
        cerebro = self.cerebro
        if getattr(cerebro, "_event_stop", False) or all(feed.is_over for feed in self.feeds):
            return True
        if any(store.has_news for store in self._stores):
            return True
        if any(feed.may_deliver or feed.notifs for feed in self.feeds):
            return True
        ours = {id(feed) for feed in self.feeds}
        foreign = [data for data in cerebro.datas if id(data) not in ours and not data._clone]
        busy = [self._is_busy(data) for data in foreign]  # each of them: a look remembers
        return any(busy) or any(map(_has_stacked_bar, cerebro.datas))

    def _is_busy(self, data: Any) -> bool:
        """Say whether a data that is not ours moved since the last look, or may move at any time."""
        moved = self._lengths.get(id(data)) != len(data)
        self._lengths[id(data)] = len(data)
        return moved or bool(data.islive())

    # --- the end --------------------------------------------------------------------------------------------

    def _wrap(self, cerebro: Any) -> None:
        run, stop = cerebro.runstrategies, cerebro.runstop

        def runstop() -> None:
            stop()
            self.wakeup.signal()

        def runstrategies(*args: Any, **kwargs: Any) -> Any:
            self._is_turning = self._is_interrupted = False
            self._lengths.clear()
            for store in self._stores:
                store.board(self)
            with contextlib.ExitStack() as stack:
                for store in self._stores:
                    stack.callback(store.shut)  # each of them, whatever another raises
                stack.enter_context(self._signals_call(runstop))
                try:
                    return run(*args, **kwargs)
                except BaseException:
                    self._stop_parts()  # backtrader itself stops nothing when a strategy raises
                    raise

        cerebro.runstop = runstop
        cerebro.runstrategies = runstrategies

    def _stop_parts(self) -> None:
        cerebro = self.cerebro
        started = [data for data in cerebro.datas if data._started]
        foreign = [store for store in cerebro.stores if store not in self._stores]
        for part in (cerebro.broker, *started, *foreign):
            try:
                part.stop()
            except Exception:  # noqa: BLE001 -- told; the error that ended the run is the one to raise
                _log.exception("%r did not stop cleanly", part)

    @contextlib.contextmanager
    def _signals_call(self, stop: Callable[[], None]) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM end the run in order; a second one interrupts at once. Main thread only.

        Before the loop turns there is nothing to end in order: the start is interrupted.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        is_asked = False

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            nonlocal is_asked
            if is_asked or not self._is_turning:
                self._is_interrupted = not self._is_turning
                raise KeyboardInterrupt
            is_asked = True
            stop()

        # A handler the program installed itself is its own business.
        ours = {
            number: handler
            for number in (signal.SIGINT, signal.SIGTERM)
            if (handler := signal.getsignal(number)) in (signal.default_int_handler, signal.SIG_DFL)
        }
        for number in ours:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in ours.items():
                signal.signal(number, handler)


def _has_stacked_bar(data: Any) -> bool:
    """Say whether a bar waits inside backtrader: pushed back, or rewound because its time has not come."""
    return bool(data._barstack or data._barstash or data.lines[0].lencount < data.buflen())


def loop_of(cerebro: Any) -> Loop:
    """Return the loop of a cerebro, made when first asked for."""
    loop = vars(cerebro).get(_LOOP)
    if loop is None:
        loop = Loop(cerebro)
        setattr(cerebro, _LOOP, loop)
    return loop  # type: ignore[no-any-return]


def stock_broker_warning(loop: Loop) -> str | None:
    """Return a warning when a run on live data trades on backtrader's own simulator, None when it does not."""
    if not isinstance(loop.cerebro.broker, bt.brokers.BackBroker):
        return None
    return (
        "orders of this run stay in backtrader's own simulator, which fills live orders with the bar before: "
        "cerebro.setbroker(store.getbroker())"
    )
