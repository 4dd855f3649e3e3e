"""Settles local against venue: at the start, after every reconnection, and as a slow audit. Lives on btx-io."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection, Mapping
from decimal import Decimal

from btx.model.account import AccountSnapshot, AccountUpdate
from btx.model.instrument import Instrument
from btx.model.journal import Snapshot
from btx.model.order import Fill, Order, OrderReport, PositionSide
from btx.ports import Broker, Clock, Journal
from btx.rules.holdings import Holding, stated
from btx.rules.reconcile import (
    Difference,
    Sharing,
    adopted,
    differences,
    foreign_orders,
    lost_orders,
    match_fills,
)
from btx.rules.recovery import History
from btx.rules.wallet import Key
from btx.runtime.guard import Guard
from btx.runtime.ledger import Ledger
from btx.runtime.orders import OrderDesk
from btx.runtime.settling import FORGOTTEN
from btx.runtime.venue_made import VenueMade

__all__ = ("Reconciler",)

_ONE_BY_ONE = 10  # up to so many instruments are asked for each by itself, which costs less where all are listed dear
_TRIES = 3  # until a difference is believed
_BOOKED_S = 30.0  # a wallet may differ so long for want of a booking that is not listed yet
_MARGIN_NS = 60_000_000_000  # fills are asked for from a little before the last snapshot on


class Reconciler:
    """Counts what the account must hold by our own fills, and finds what differs from the venue's word.

    ``read_account`` returns a snapshot nothing was pushed during.  ``on_drift``
    hears of every difference that is not explained, once: it is adopted then.
    Of a margin account ``fetch_bookings`` asks for what moved money beside the
    fills, and says whether there was anything new; a wallet that differs is
    waited for a booking for ``booked_s``, a position that differs is not.
    ``attaching`` are the params of orders of which the venue makes exits.
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
        ledger: Ledger,
        fetch_bookings: Callable[[], Awaitable[bool]] | None = None,
        grace_s: float = 1.0,
        booked_s: float = _BOOKED_S,
        attaching: Collection[str] = (),
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
        self._ledger = ledger
        self._fetch_bookings = fetch_bookings
        self._grace_s = grace_s
        self._booked_s = booked_s
        self._made = VenueMade(
            desk=desk,
            broker=broker,
            guard=guard,
            instruments=instruments,
            orders=self._all_orders,
            order=self._order,
            is_told=lambda client_order_id: f"order {client_order_id}" in self._told,
            note=note,
            attaching=attaching,
        )
        self._turn = asyncio.Lock()
        self._doubted: dict[Holding, float] = {}  # loop time since which a wallet differs, and may be explained yet
        self._known: Mapping[str, Order] = {}  # orders of earlier runs; the desk holds those that are not settled
        self._unsure: set[Holding] = set()  # of which only the venue can say what was there before we traded
        self._since_ns: int | None = None  # market time from which fills may be missing
        self._watched: set[str] = set()  # symbols that were ever traded here
        self._told: set[str] = set()  # fills and orders of others that were told
        self.recovered_fills = 0  # found by asking for them
        desk.listen(self._count)

    @property
    def expected(self) -> Mapping[Holding, Decimal]:
        """What the account must hold: assets, and positions."""
        return dict(self._ledger.now)

    @property
    def is_waiting(self) -> bool:
        """A wallet differs, and what explains it may be listed in a moment: look again soon."""
        return bool(self._doubted)

    def recover(self, history: History) -> None:
        """Begin with what a journal says; fills that are found from here on are counted as they come."""
        self._known = history.orders
        self._ledger.recover(history)
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
                if tries == _TRIES or {each.holding for each in found} <= self._doubted.keys():
                    break  # nothing differs, or only what is waited for: it will be looked at again
            patient = self._patient(found)
            self._take(snapshot, kept=patient)
            self._since_ns = began_ns - _MARGIN_NS
            self.write_snapshot()
            for difference in found:
                if difference.holding not in patient:
                    await self._drifted(difference)
            return snapshot if is_fresh else await self._read_account()

    def _patient(self, found: Collection[Difference]) -> set[Holding]:
        """Return the wallets that differ and may still be explained by a booking."""
        if self._fetch_bookings is None:
            return set()
        now_s = asyncio.get_running_loop().time()
        wallets = {each.holding for each in found if isinstance(each.holding, str)}
        since = {holding: self._doubted.get(holding, now_s) for holding in wallets}
        self._doubted = {holding: at for holding, at in since.items() if now_s - at < self._booked_s}
        return set(self._doubted)

    async def _look(self) -> tuple[AccountSnapshot, tuple[Difference, ...], bool]:
        """Return the account, what differs from our count, and whether nothing can have been pushed since."""
        self._ledger.watch()
        await self._settle_orders()
        await self._fetch_fills()
        snapshot = await self._read_with_bookings()
        if not self._differences(snapshot):
            return snapshot, (), self._is_as_counted(snapshot)
        await asyncio.sleep(self._grace_s)  # what happened a moment ago may be in the balances and not yet told
        return snapshot, self._differences(snapshot), False

    async def _read_with_bookings(self) -> AccountSnapshot:
        """Return the account; where we begin with it, such that no booking is in it and not yet known, or the reverse.

        Later a booking that comes in between is a difference that the next look explains.
        """
        if self._fetch_bookings is None:
            return await self._read_account()
        await self._fetch_bookings()
        snapshot = await self._read_account()
        while not self._ledger.is_known and await self._fetch_bookings():
            snapshot = await self._read_account()
        return snapshot

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

    def hear(self, update: AccountUpdate) -> bool:
        """Return whether the venue's totals differ from ours: something was missed, or somebody else was there."""
        if not self._ledger.is_known:
            return False
        told = AccountSnapshot(balances=update.balances, positions=update.positions, time_ns=update.time_ns)
        heard = stated(told).keys()
        now = {holding: (total,) for holding, total in self._ledger.now.items()}
        found = differences(now, told, holdings=heard, tolerance=self._ledger.tolerance)
        different, mine = {each.holding for each in found}, self._watched_holdings()
        # Nobody minds what happens to others; once they are traded, what happened before is not held against us.
        self._unsure = (self._unsure - (heard - mine)) | (different - mine)
        return bool(different & mine)

    def _watched_instruments(self) -> list[Instrument]:
        instruments = self._instruments()
        return [instruments[symbol] for symbol in sorted(self._watched) if symbol in instruments]

    def _watched_holdings(self) -> set[Holding]:
        return {holding for each in self._watched_instruments() for holding in _holdings_of(each)}

    def take_by_venue(self, event: OrderReport | Fill) -> OrderReport | Fill:
        """Take an order that the exchange made as one of ours; see :meth:`btx.runtime.venue_made.VenueMade.take`."""
        return self._made.take(event)

    def _order(self, client_order_id: str) -> Order | None:
        return self._desk.orders.get(client_order_id) or self._known.get(client_order_id)

    def _all_orders(self) -> Mapping[str, Order]:
        return {**self._known, **self._desk.orders}

    async def _settle_orders(self) -> None:
        """Ask about what is in doubt, and about whatever the venue's list of open orders says otherwise of."""
        self._desk.ask_about([each.client_order_id for each in self._desk.open_orders.values() if _is_doubtful(each)])
        if watched := self._watched_instruments():
            reports = tuple(self._made.named(each) for each in await self._ask_open(watched))
            ours = self._all_orders()
            for report in reports:
                if report.client_order_id in ours:
                    self._reopen(report.client_order_id)  # taken for ended, perhaps wrongly, by an earlier run
                    self._desk.on_event(report)
                    self._tell_of_returned(report.client_order_id)
            lost = {*lost_orders(self._desk.open_orders, reports)}
            lost |= {each.client_order_id for each in self._desk.open_orders.values() if each.missing}
            self._desk.ask_about(lost)
            self._take_foreign(foreign_orders(self._all_orders(), reports), self._instruments())
        await self._desk.settled()

    def _tell_of_returned(self, client_order_id: str) -> None:
        """Tell once of an order that is open at the venue after the venue had lost it, and it is over here."""
        order = self._order(client_order_id)
        key = f"returned {client_order_id}"
        is_over = order is not None and order.evidence is not None and order.evidence.reason == FORGOTTEN
        if is_over and key not in self._told:
            self._told.add(key)
            what = "it was over here when the venue neither knew nor listed it: nobody looks after it, cancel it there"
            self._note("FAULT", f"order {client_order_id} is open at the venue again; {what}")

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
            if (ours := self._made.take_exit(report)) is not None:
                self._desk.on_event(ours)
                continue
            leg = adopted(report, instruments[report.symbol]) if self._sharing is Sharing.ADOPT else None
            if leg is not None:
                self._desk.adopt(leg, report)
                # What it filled before is in the balances already.
                self._unsure |= _holdings_of(instruments[report.symbol])
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
            for fill in fills:
                self._made.take(fill)
            matched = match_fills(self._all_orders(), fills)
            for fill in matched.completed:
                self._reopen(fill.client_order_id)
                self._desk.on_event(fill)
            for fill in matched.missed:
                self._reopen(fill.client_order_id)
                self.recovered_fills += 1
                self._note("RECOVERED", f"{fill.symbol}: fill {fill.fill_id} of order {fill.client_order_id}")
                self._desk.on_event(fill)
            for fill in matched.foreign:
                if (made := await self._made.look_up(fill)) is not None:
                    self._desk.on_event(self._made.take(made))
                else:
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
        ledger = self._ledger
        if not ledger.is_known:
            return ()
        return differences(ledger.passed, snapshot, holdings=self._compared(), tolerance=ledger.tolerance)

    def _is_as_counted(self, snapshot: AccountSnapshot) -> bool:
        """Say whether an account has every fill that was counted, and not only those of a moment ago."""
        ledger, now = self._ledger, {holding: (total,) for holding, total in self.expected.items()}
        return not ledger.is_known or not differences(
            now, snapshot, holdings=self._compared(), tolerance=ledger.tolerance
        )

    def _compared(self) -> set[Holding]:
        if not self._ledger.is_known:
            return set()
        return self._watched_holdings() - self._unsure

    def _take(self, snapshot: AccountSnapshot, *, kept: Collection[Holding]) -> None:
        self._ledger.take(snapshot, compared=self._compared(), kept=kept)
        self._unsure.clear()

    async def _drifted(self, difference: Difference) -> None:
        """Take note of a difference nobody here made: it halts trading, unless the account is shared."""
        if self._sharing is Sharing.EXCLUSIVE:
            await self._on_drift(str(difference))
        else:
            self._note("DRIFT", f"{difference}: adopted, the account is shared")

    def write_snapshot(self) -> None:
        """Write down what the account holds by our count."""
        if self._journal is not None and self._ledger.is_known and self._since_ns is not None:
            # Its time is that of the last full look at the venue: what happened before was found by then.
            time_ns = self._since_ns + _MARGIN_NS
            self._journal.post(
                Snapshot(
                    balances=self._ledger.totals, positions=self._ledger.positions(time_ns=time_ns), time_ns=time_ns
                )
            )

    def _count(self, before: Order | None, after: Order) -> None:
        self._watched.add(after.leg.request.instrument.symbol)
        if before is not None:
            self._ledger.on_order(before, after)


def _is_doubtful(order: Order) -> bool:
    """Nobody knows whether it rests, or what came of what was asked for, or fills of it are missing."""
    unheard = order.evidence is None and not order.fills
    return not order.is_settled and (unheard or order.outcome_unknown or bool(order.missing))


def _holdings_of(instrument: Instrument) -> set[Holding]:
    """Return what trading an instrument moves."""
    if not instrument.kind.is_margined:
        return {instrument.base, instrument.quote}
    return {instrument.settle, *(Key(instrument.symbol, each) for each in PositionSide)}
