"""The account's side of a session: its stream, what it holds, and whether that is what it should. Lives on btx-io."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import AccountSnapshot, AccountUpdate, Balance, MarginCall, PositionReport
from btx.model.order import Fill, OrderReport
from btx.model.venue import Channel, StreamStatus, Subscription
from btx.ports import Recording, Store, Stream, StreamEvent
from btx.rules.wallet import Key
from btx.runtime.facts import Facts, Timing
from btx.runtime.guard import Guard
from btx.runtime.ledger import Ledger
from btx.runtime.mailbox import Note
from btx.runtime.margin import MarginSide
from btx.runtime.orders import OrderDesk
from btx.runtime.reconciler import Reconciler
from btx.runtime.supervisor import StreamSupervisor

__all__ = ("AccountSide",)

_NOISY_TRIES = 4
_LONGEST_PAUSES = 8
_ZERO = Decimal(0)
_ORDER = "ORDER"  # the reason of an update that fills explain


class AccountSide:
    """Hears the account stream, and asks for what it should have told.

    ``start`` begins something that ends with the run; ``sequence`` is the number of the last thing that
    happened to the account, zero where nobody counts; ``on_read`` gets each snapshot as it is
    read; ``on_fatal`` hears why nothing more will come.
    """

    def __init__(
        self,
        *,
        stream: Stream,
        store: Store,
        facts: Facts,
        guard: Guard,
        timing: Timing,
        desk: OrderDesk,
        ledger: Ledger,
        margin: MarginSide | None,
        recording: Recording | None,
        in_lockstep: Callable[[], bool],
        sequence: Callable[[], Awaitable[int]],
        on_read: Callable[[AccountSnapshot], None],
        start: Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"],
        post: Callable[[AccountUpdate], None],
        tell: Callable[[Note], None],
        fault: Callable[[str, Exception], None],
        on_clock_doubt: Callable[[], None],
        on_fatal: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._facts = facts
        self._guard = guard
        self._timing = timing
        self._desk = desk
        self._ledger = ledger
        self._margin = margin
        self._recording = recording
        self._in_lockstep = in_lockstep
        self._sequence = sequence
        self._on_read = on_read
        self._start = start
        self._post = post
        self._tell = tell
        self._fault = fault
        self._on_fatal = on_fatal
        self.reconciler: Reconciler | None = None  # made of what this class reads, so it is told afterwards
        self.trouble = ""  # why the stream is down
        self._up = asyncio.Event()
        self._fatal: Exception | None = None
        self._heard = 0
        self._assets: set[str] = set()
        self._resyncing: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self.stream = StreamSupervisor(
            name="account",
            stream=stream,
            sink=self._on_event,
            on_up=self._on_up,
            on_down=self._on_down,
            on_fatal=self._on_stream_fatal,
            tell=tell,
            on_clock_doubt=on_clock_doubt,
            backoff=timing.redial,
            overlaps=False,  # an account has one stream; what a cut hides is asked for
        )

    # --- the stream -----------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Have the stream stand.

        Raises:
            BtxError: dialling again would not help.
        """
        self.stream.start((Subscription(channel=Channel.ACCOUNT),))
        await self._up.wait()
        if self._fatal is not None:
            raise self._fatal

    def _on_up(self, _standing: frozenset[Subscription]) -> None:
        self._guard.reached()
        if self._up.is_set():  # a reconnection: events may have been missed
            self.resync()
        self._up.set()

    def _on_down(self, reason: str) -> None:
        self.trouble = reason
        if self._up.is_set() and self._polling is None:
            self._polling = self._start(self._poll(), "asking for the orders while the account stream is down")

    def _on_stream_fatal(self, error: Exception) -> None:
        self._tell(Note(kind="FATAL", text=f"account stream: {error}"))
        if self._up.is_set():
            self._on_fatal(error)
        self._fatal = error
        self._up.set()

    def _on_event(self, event: StreamEvent) -> None:
        self._heard += 1
        if isinstance(event, OrderReport | Fill):
            if self._recording is not None:
                self._recording.account(event)
            if self.reconciler is not None:
                event = self.reconciler.take_by_venue(event)
            self._desk.on_event(event)
        elif isinstance(event, AccountUpdate):
            if event.balances or event.positions:
                self._on_update(event)
            self._desk.heard(event.sequence)
        elif isinstance(event, MarginCall):
            if self._margin is not None:
                self._margin.on_call(event)
        elif isinstance(event, StreamStatus):
            self._tell(Note(kind="FAULT", text=f"account stream: {event.detail}"))
            self.resync()  # an event that could not be read is one that was missed

    # --- what it holds ----------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Read the account for the first time, and settle it.

        Raises:
            BtxError: the venue does not answer.
        """
        assert self.reconciler is not None
        # After the stream stands, so that nothing between the two is missing.
        self._facts.account = self._facts.account_now = await self.reconciler.reconcile()
        self._look_soon()

    async def read(self) -> AccountSnapshot:
        """Return a snapshot nothing was pushed during, so that it cannot be older than what was pushed.

        Raises:
            BtxError: the venue does not answer.
        """
        for _ in range(_NOISY_TRIES):
            heard = self._heard
            snapshot = await self._guard.read("account", self._store.account)
            if heard == self._heard:
                break
        else:  # never quiet: the updates that follow will put it right
            snapshot = await self._guard.read("account", self._store.account)
        self._assets |= snapshot.balances.keys()
        self._on_read(snapshot)
        return snapshot

    def _on_update(self, update: AccountUpdate) -> None:
        account = self._facts.account_now
        if account is None:
            return  # the snapshot that is being read is newer
        self._assets |= update.balances.keys()
        self._facts.account_now = attrs.evolve(
            account,
            balances={**account.balances, **update.balances},
            positions=_merged(account.positions, update.positions),
            time_ns=update.time_ns,
        )
        self._post(update)
        if self.reconciler is None:
            return
        is_off = self.reconciler.hear(update)
        if is_off and self._margin is not None and update.reason not in {"", _ORDER}:
            self._margin.bookings.expect()
        if is_off:
            self._look_soon(always=True)

    def _look_soon(self, *, always: bool = False) -> None:
        if self._looking is None and (always or (self.reconciler is not None and self.reconciler.is_waiting)):
            self._looking = self._start(self._look_into(), "looking into a balance")

    async def _look_into(self) -> None:
        """See whether a balance that is not explained is explained in a moment; reconcile if not."""
        assert self.reconciler is not None
        pause_s = self._timing.grace_drift_s
        try:
            while True:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSES * self._timing.grace_drift_s)  # a list of bookings is dear
                account = self._facts.account_now
                assert account is not None, "balances are heard of after the account is known"
                if not self.reconciler.hear(self._whole(account.balances, account.positions, account.time_ns)):
                    return
                await self.reconciler.reconcile()
                if not self.reconciler.is_waiting:
                    return
        finally:
            self._looking = None

    def _whole(
        self, balances: Any, positions: Collection[PositionReport], time_ns: int, *, reason: str = ""
    ) -> AccountUpdate:
        """Return an update that says of everything we count what there is, though it be nothing."""
        told = {Key(each.symbol, each.position_side) for each in positions}
        gone = [
            PositionReport(symbol=key.symbol, position_side=key.position_side, quantity=_ZERO, time_ns=time_ns)
            for key, quantity in self._ledger.now.items()
            if isinstance(key, Key) and key not in told and quantity
        ]
        return AccountUpdate(balances=balances, positions=(*positions, *gone), time_ns=time_ns, reason=reason)

    # --- whether that is right --------------------------------------------------------------------------------------

    def resync(self) -> None:
        """Read everything anew: something was missed."""
        if self._resyncing is not None:
            self._resyncing.cancel()
        self._resyncing = self._start(self._settle(), "reading the account after a cut")

    def on_silence(self) -> None:
        """Ask for what should have been pushed and was not, unless that is being done."""
        if self._resyncing is None or self._resyncing.done():
            self.resync()

    async def audit(self) -> None:
        """Look now and then whether everything is as it should be, though nothing was told."""
        while True:
            await asyncio.sleep(self._timing.audit_s)
            if not self._in_lockstep() and self.stream.is_up:
                try:
                    await self._settle()
                except Exception as error:  # noqa: BLE001 -- told, and tried again: audits must go on
                    self._fault("the audit of the account", error)

    async def _settle(self) -> None:
        """Fetch what the account stream missed: orders and fills first, then the balances that include them."""
        if self.reconciler is None or self._facts.account is None:
            return  # the start reads the account itself
        sequence = await self._sequence()
        held_before = self._whole({}, (), 0).positions
        snapshot = await self.reconciler.reconcile()
        self._desk.catch_up(sequence)
        gone = {asset: Balance(free=_ZERO, locked=_ZERO) for asset in self._assets - snapshot.balances.keys()}
        there = {Key(each.symbol, each.position_side) for each in snapshot.positions}
        closed = [each for each in held_before if Key(each.symbol, each.position_side) not in there]
        positions = (*snapshot.positions, *(attrs.evolve(each, time_ns=snapshot.time_ns) for each in closed))
        self._on_update(
            AccountUpdate(balances={**gone, **snapshot.balances}, positions=positions, time_ns=snapshot.time_ns)
        )

    async def _poll(self) -> None:
        """Ask for what the account stream would tell, until it stands again."""
        assert self.reconciler is not None
        try:
            while True:
                await asyncio.sleep(self._timing.poll_s)
                if self.stream.is_up:
                    return
                try:
                    await self.reconciler.poll()
                except Exception as error:  # noqa: BLE001 -- told, and tried again: somebody must ask
                    self._fault("asking for the orders", error)
        finally:
            self._polling = None

    def watch(self, symbol: str) -> None:
        """A strategy has a data of this instrument: say what others have open there."""
        if self.reconciler is not None:
            self._start(self.reconciler.look_at(symbol), f"looking at the orders in {symbol}")


def _merged(known: Collection[PositionReport], told: Collection[PositionReport]) -> tuple[PositionReport, ...]:
    """Return the positions after some were told anew; what an update leaves out stays."""
    positions = {Key(each.symbol, each.position_side): each for each in known}
    for report in told:
        key = Key(report.symbol, report.position_side)
        before = positions.pop(key, None)
        if report.quantity:
            said = attrs.asdict(report, recurse=False, filter=lambda _field, value: value is not None)
            positions[key] = attrs.evolve(before, **said) if before is not None else report
    return tuple(positions.values())
