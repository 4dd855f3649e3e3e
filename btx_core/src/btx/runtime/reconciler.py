"""Settles local against venue: at the start, after every reconnection, and as a slow audit. Lives on btx-io."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from decimal import Decimal

from btx.model.account import AccountSnapshot, BalanceUpdate
from btx.model.instrument import Instrument
from btx.model.journal import Snapshot
from btx.model.order import Fill, Order, OrderReport
from btx.ports import Broker, Clock, Journal
from btx.rules.orders import new_fills
from btx.rules.reconcile import (
    ROUNDING,
    Difference,
    Sharing,
    adopted,
    differences,
    foreign_orders,
    lost_orders,
    match_fills,
    nearest,
)
from btx.rules.recovery import History, balance_steps, expected_totals
from btx.runtime.guard import Guard
from btx.runtime.orders import OrderDesk

__all__ = ("Reconciler",)

_ZERO = Decimal(0)
_ONE_BY_ONE = 10  # up to so many instruments are asked for each by itself, which costs less where all are listed dear
_TRIES = 3  # until a difference is believed
_MARGIN_NS = 60_000_000_000  # fills are asked for from a little before the last snapshot on


class _Totals:
    """What the account must hold by our own count; while somebody looks, also what it went through."""

    def __init__(self, totals: Mapping[str, Decimal], *, fills: int = 0) -> None:
        self.now = dict(totals)
        self.fills = fills  # that were counted, each rounded by the venue perhaps, since the venue's word was taken
        self._fills_before = 0
        self._passed: dict[str, list[Decimal]] | None = None

    @property
    def tolerance(self) -> Decimal:
        """What the venue may have rounded away."""
        return self.fills * ROUNDING

    def add(self, steps: Mapping[str, Decimal], *, fills: int) -> None:
        """Count what a step of an order did."""
        self.fills += fills
        for asset, change in steps.items():
            before = self.now.get(asset, _ZERO)
            self.now[asset] = before + change
            if self._passed is not None:
                self._passed.setdefault(asset, [before]).append(self.now[asset])

    def watch(self) -> None:
        """Remember from here on what each asset goes through, until ``take``."""
        self._passed, self._fills_before = {}, self.fills

    @property
    def passed(self) -> Mapping[str, Sequence[Decimal]]:
        """The totals each asset went through since ``watch``, the one it has now last."""
        return {asset: [total] for asset, total in self.now.items()} | (self._passed or {})

    def take(self, snapshot: AccountSnapshot, *, compared: Collection[str]) -> None:
        """Take the venue's word, and keep what was counted after it was given; of the rest its word alone counts."""
        passed, self._passed, self.fills = self.passed, None, self.fills - self._fills_before
        for asset in self.now.keys() | snapshot.balances.keys():
            balance = snapshot.balances.get(asset)
            total = balance.total if balance is not None else _ZERO
            was = nearest(passed.get(asset, ()), total) if asset in compared else self.now.get(asset, _ZERO)
            self.now[asset] = self.now.get(asset, _ZERO) + total - was


class Reconciler:
    """Counts what the account must hold by our own fills, and finds what differs from the venue's word.

    ``read_account`` returns a snapshot nothing was pushed during.  ``on_drift``
    hears of every difference that is not explained, once: it is adopted then.
    """

    def __init__(
        self,
        *,
        desk: OrderDesk,
        broker: Broker,
        guard: Guard,
        clock: Clock,
        journal: Journal | None,
        sharing: Sharing,
        instruments: Callable[[], Mapping[str, Instrument]],
        read_account: Callable[[], Awaitable[AccountSnapshot]],
        note: Callable[[str, str], None],
        on_drift: Callable[[str], Awaitable[None]],
        grace_s: float = 1.0,
    ) -> None:
        self._desk = desk
        self._broker = broker
        self._guard = guard
        self._clock = clock
        self._journal = journal
        self._sharing = sharing
        self._instruments = instruments
        self._read_account = read_account
        self._note = note
        self._on_drift = on_drift
        self._grace_s = grace_s
        self._turn = asyncio.Lock()
        self._totals: _Totals | None = None  # None before the first word of the venue
        self._known: Mapping[str, Order] = {}  # orders of earlier runs; the desk holds those that are not settled
        self._unsure: set[str] = set()  # assets of which only the venue can say what was there before we traded
        self._since_ns: int | None = None  # market time from which fills may be missing
        self._watched: set[str] = set()  # symbols that were ever traded here
        self._told: set[str] = set()  # fills and orders of others that were told
        self.recovered_fills = 0  # found by asking for them
        desk.listen(self._count)

    @property
    def expected(self) -> Mapping[str, Decimal]:
        """What the account must hold, by asset."""
        return dict(self._totals.now) if self._totals is not None else {}

    def recover(self, history: History) -> None:
        """Begin with what a journal says; fills that are found from here on are counted as they come."""
        self._known = history.orders
        if (totals := expected_totals(history)) is not None:
            self._totals = _Totals(totals, fills=history.fills_since)
        if history.snapshot is not None:
            self._since_ns = history.snapshot.time_ns - _MARGIN_NS
        self._watched |= {order.leg.request.instrument.symbol for order in history.orders.values()}

    async def reconcile(self) -> AccountSnapshot:
        """Settle everything: open orders, fills, balances; return the account as it is.

        Raises:
            BtxError: the venue does not answer; what was settled so far stays.
        """
        async with self._turn:
            began_ns = self._clock.market_ns()
            tries = 0
            while True:
                tries += 1
                snapshot, found, is_fresh = await self._look()
                if not found or tries == _TRIES:
                    break
            self._take(snapshot)
            self._since_ns = began_ns - _MARGIN_NS
            self.write_snapshot()
            for difference in found:
                await self._drifted(difference)
            return snapshot if is_fresh else await self._read_account()

    async def _look(self) -> tuple[AccountSnapshot, tuple[Difference, ...], bool]:
        """Return the account, what differs from our count, and whether nothing can have been pushed since."""
        if self._totals is not None:
            self._totals.watch()
        await self._settle_orders()
        await self._fetch_fills()
        snapshot = await self._read_account()
        if not self._differences(snapshot):
            return snapshot, (), self._is_as_counted(snapshot)
        await asyncio.sleep(self._grace_s)  # what happened a moment ago may be in the balances and not yet told
        return snapshot, self._differences(snapshot), False

    async def poll(self) -> None:
        """Ask for what the account stream would tell, while it is down.

        Raises:
            BtxError: the venue does not answer.
        """
        async with self._turn:
            await self._settle_orders()

    async def look_at(self, symbol: str) -> None:
        """Tell of the orders others have open in an instrument, once.

        Raises:
            BtxError: the venue does not answer.
        """
        instruments = self._instruments()
        if symbol not in self._watched and symbol in instruments:
            self._watched.add(symbol)
            reports = await self._ask_open((instruments[symbol],))
            self._take_foreign(foreign_orders(self._all_orders(), reports), instruments)

    def hear(self, update: BalanceUpdate) -> bool:
        """Return whether the venue's totals differ from ours: something was missed, or somebody else was there."""
        totals = self._totals
        if totals is None:
            return False
        different = {
            asset
            for asset, balance in update.balances.items()
            if abs(totals.now.get(asset, _ZERO) - balance.total) > totals.tolerance
        }
        mine = self._watched_assets()
        # Nobody minds what happens to other assets; once they are traded, what happened before is not held against us.
        self._unsure = (self._unsure - (update.balances.keys() - mine)) | (different - mine)
        return bool(different & mine)

    def _watched_instruments(self) -> list[Instrument]:
        instruments = self._instruments()
        return [instruments[symbol] for symbol in sorted(self._watched) if symbol in instruments]

    def _watched_assets(self) -> set[str]:
        return {asset for each in self._watched_instruments() for asset in (each.base, each.quote)}

    def _all_orders(self) -> Mapping[str, Order]:
        return {**self._known, **self._desk.orders}

    async def _settle_orders(self) -> None:
        """Ask about what is in doubt, and about whatever the venue's list of open orders says otherwise of."""
        self._desk.ask_about([each.client_order_id for each in self._desk.open_orders.values() if _is_doubtful(each)])
        if watched := self._watched_instruments():
            reports = await self._ask_open(watched)
            ours = self._all_orders()
            for report in reports:
                if report.client_order_id in ours:
                    self._reopen(report.client_order_id)  # taken for ended, perhaps wrongly, by an earlier run
                    self._desk.on_event(report)
            lost = {*lost_orders(self._desk.open_orders, reports)}
            lost |= {each.client_order_id for each in self._desk.open_orders.values() if each.missing}
            self._desk.ask_about(lost)
            self._take_foreign(foreign_orders(self._all_orders(), reports), self._instruments())
        await self._desk.settled()

    async def _ask_open(self, watched: Collection[Instrument]) -> tuple[OrderReport, ...]:
        if len(watched) > _ONE_BY_ONE:
            ask = functools.partial(self._broker.open_orders, instruments=watched)
            return await self._guard.read("open_orders", ask)
        reports: list[OrderReport] = []
        for each in watched:
            ask = functools.partial(self._broker.open_orders, instruments=(each,))
            reports += await self._guard.read("open_orders_one", ask)
        return tuple(reports)

    def _take_foreign(self, reports: Collection[OrderReport], instruments: Mapping[str, Instrument]) -> None:
        for report in reports:
            leg = adopted(report, instruments[report.symbol]) if self._sharing is Sharing.ADOPT else None
            if leg is not None:
                self._desk.adopt(leg, report)
                instrument = instruments[report.symbol]
                self._unsure |= {instrument.base, instrument.quote}  # what it filled before is in the balances already
            key = f"order {report.client_order_id}"
            if key not in self._told:
                self._told.add(key)
                verb = "adopted" if leg is not None else "left alone"
                self._note("FOREIGN", f"{report.symbol}: {key} was not placed by this strategy: {verb}")

    async def _fetch_fills(self) -> None:
        if self._since_ns is None:
            return
        for instrument in self._watched_instruments():
            ask = functools.partial(self._broker.fills, instrument=instrument, start_ns=max(self._since_ns, 0))
            fills = await self._guard.read("fills", ask)
            matched = match_fills(self._all_orders(), fills)
            for fill in matched.missed:
                self._reopen(fill.client_order_id)
                self.recovered_fills += 1
                self._note("RECOVERED", f"{fill.symbol}: fill {fill.fill_id} of order {fill.client_order_id}")
                self._desk.on_event(fill)
            for fill in matched.foreign:
                self._tell_foreign(fill)

    def _reopen(self, client_order_id: str) -> None:
        if client_order_id not in self._desk.orders:
            self._desk.reopen(self._known[client_order_id])

    def _tell_foreign(self, fill: Fill) -> None:
        key = f"fill {fill.symbol} {fill.fill_id}"
        if key not in self._told:
            self._told.add(key)
            what = f"{fill.side.value} {fill.quantity} at {fill.price}"
            self._note("FOREIGN", f"{fill.symbol}: {what} (fill {fill.fill_id}) is of no order of this strategy")

    def _differences(self, snapshot: AccountSnapshot) -> tuple[Difference, ...]:
        totals = self._totals
        if totals is None:
            return ()
        return differences(totals.passed, snapshot, assets=self._compared(), tolerance=totals.tolerance)

    def _is_as_counted(self, snapshot: AccountSnapshot) -> bool:
        """Say whether an account has every fill that was counted, and not only those of a moment ago."""
        now = {asset: (total,) for asset, total in self.expected.items()}
        return self._totals is None or not differences(
            now, snapshot, assets=self._compared(), tolerance=self._totals.tolerance
        )

    def _compared(self) -> set[str]:
        return self._watched_assets() - self._unsure

    def _take(self, snapshot: AccountSnapshot) -> None:
        if self._totals is None:
            self._totals = _Totals({asset: balance.total for asset, balance in snapshot.balances.items()})
        self._totals.take(snapshot, compared=self._compared())
        self._unsure.clear()

    async def _drifted(self, difference: Difference) -> None:
        """Take note of a difference nobody here made: it halts trading, unless the account is shared."""
        if self._sharing is Sharing.EXCLUSIVE:
            await self._on_drift(str(difference))
        else:
            self._note("DRIFT", f"{difference}: adopted, the account is shared")

    def write_snapshot(self) -> None:
        """Write down what the account holds by our count."""
        if self._journal is not None and self._totals is not None and self._since_ns is not None:
            # Its time is that of the last full look at the venue: what happened before was found by then.
            self._journal.post(Snapshot(balances=self.expected, time_ns=self._since_ns + _MARGIN_NS))

    def _count(self, before: Order | None, after: Order) -> None:
        self._watched.add(after.leg.request.instrument.symbol)
        if self._totals is not None and before is not None:
            self._totals.add(balance_steps(before, after), fills=len(new_fills(before, after)))


def _is_doubtful(order: Order) -> bool:
    """Nobody knows whether it rests, or what came of what was asked for, or fills of it are missing."""
    unheard = order.evidence is None and not order.fills
    return not order.is_settled and (unheard or order.outcome_unknown or bool(order.missing))
