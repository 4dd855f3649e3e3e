"""Local against venue: what was missed is found once, and only what nobody here did is drift."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import OrderNotFoundError, TransportError
from btx.model.account import AccountSnapshot, AccountUpdate
from btx.model.journal import Event, Intent, Record, Sent, Snapshot
from btx.model.order import VENUE_MADE, Fill, Leg, OrderReport, OrderType, Origin, Side, Status
from btx.model.venue import Environment
from btx.rules.reconcile import Sharing
from btx.rules.recovery import expected_totals, replay
from btx.runtime.ledger import Ledger
from btx.runtime.reconciler import Reconciler
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import OrderRig, ToyClock, listening, quick_guard, run
from tests.values import BTC, fill, leg

TOY = attrs.evolve(BTC, symbol="TOY/USDT", venue_symbol="TOYUSDT", base="TOY")


class Written:
    """A journal whose records a test can look at."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def append(self, record: Record, *, durable: bool) -> None:
        self.records.append(record)

    def post(self, record: Record) -> None:
        self.records.append(record)


def intended(one: Leg) -> Intent:
    return Intent(leg=one, environment=Environment.SIM, session="toy/sim/spot", run="a")


class Rig:
    """A desk, a reconciler, and what came out of both."""

    def __init__(
        self, toy: ToyVenue, *, sharing: Sharing = Sharing.EXCLUSIVE, written: Sequence[Record] = (), **changes: Any
    ) -> None:
        self.toy = toy
        self.journal = Written()
        self.journal.records.extend(written)
        self.drifts: list[str] = []
        self.on_read: list[Callable[[], None]] = []  # what happens behind the snapshots, one after the other
        self.orders = OrderRig(toy, journal=self.journal, intent=intended)
        settings: dict[str, Any] = {
            "desk": self.orders.desk,
            "broker": toy,
            "guard": quick_guard(),
            "clock": ToyClock(toy),
            "journal": self.journal,
            "sharing": sharing,
            "instruments": lambda: toy.listed,
            "read_account": self._read_account,
            "note": lambda kind, text: self.orders.notes.append((kind, text)),
            "on_drift": self._on_drift,
            "ledger": Ledger(margined=False, instruments=lambda: toy.listed),
            "grace_s": 0.001,
        }
        self.reconciler = Reconciler(**(settings | changes))

    async def _read_account(self) -> AccountSnapshot:
        snapshot = await self.toy.account()
        if self.on_read:
            self.on_read.pop(0)()
        return snapshot

    async def _on_drift(self, text: str) -> None:
        self.drifts.append(text)

    @property
    def desk(self) -> Any:
        return self.orders.desk

    def fills(self) -> list[Fill]:
        return [each.event for each in self.orders.log.items if isinstance(each.event, Fill)]

    def told(self, kind: str) -> list[str]:
        return [text for each, text in self.orders.notes if each == kind]

    def recover(self) -> None:
        history = replay(self.journal.records)
        self.desk.recover(history)
        self.reconciler.recover(history)

    async def rest(self, client_order_id: str = "a1", **changes: Any) -> None:
        """Have an order at rest."""
        self.orders.submit(client_order_id, **changes)
        await self.orders.log.until(lambda: self.orders.order(client_order_id).status is Status.NEW)
        await self.orders.quiet()


@contextlib.asynccontextmanager
async def trading(toy: ToyVenue, **changes: Any) -> AsyncIterator[Rig]:
    """A desk that listens, of a venue that was reconciled with once and has a resting order a1."""
    rig = Rig(toy, **changes)
    async with listening(rig.orders):
        await rig.reconciler.reconcile()
        await rig.rest()
        yield rig


# --- fills ------------------------------------------------------------------------------------------------


def test_fills_missed_while_nobody_listened_are_told_once_with_their_own_price_and_fee() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            rig.toy.execute("a1", 2)
            rig.toy.execute("a1", 1)

            await rig.reconciler.reconcile()

            assert [(each.quantity, each.price, each.fee, each.fee_asset) for each in rig.fills()] == [
                (2, 100, Decimal("0.2"), "USDT"),
                (1, 100, Decimal("0.1"), "USDT"),
            ]
            assert rig.reconciler.expected == rig.toy.balances
            assert rig.drifts == []
            rig.orders.log.items.clear()
            written = len(rig.journal.records)

            await rig.reconciler.reconcile()
            assert rig.orders.log.items == []
            rig.toy.tell(*rig.toy.orders["a1"].fills)  # and the pushes come after all
            await rig.toy.until(rig.toy.connections[0].frames.empty)

            assert len(rig.orders.order().fills) == 2
            assert rig.reconciler.expected == rig.toy.balances
            assert {type(record) for record in rig.journal.records[written:]} <= {Snapshot, Event}

    run(scene())


def test_a_fill_of_an_order_that_settled_in_an_earlier_run_is_found_and_its_order_taken_back() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        toy.place_foreign("a1", leg())
        ended = OrderReport(
            client_order_id="a1", venue_order_id="1", symbol="BTC/USDT", status=Status.CANCELED, time_ns=toy.now_ns
        )
        written = [
            Snapshot(balances=dict(toy.balances), time_ns=toy.now_ns),
            intended(leg()),
            Sent(client_order_id="a1", time_ns=toy.now_ns),
            Event(order_event=ended),
        ]
        rig = Rig(toy, written=written)
        async with listening(rig.orders):
            rig.recover()
            await rig.reconciler.reconcile()
            rig.desk.recovered()
            assert [*rig.desk.orders] == ["a1"]  # the venue lists it as open after all
            toy.is_muted = True
            toy.execute("a1", 2)
            toy.execute("a1", 1)
            toy.orders["a1"].status = Status.CANCELED

            await rig.reconciler.reconcile()

            assert rig.orders.order("a1").filled == 3
            assert rig.told("FOREIGN") == []
            assert len(rig.told("RECOVERED")) == rig.reconciler.recovered_fills == 2
            assert rig.drifts == []
            assert rig.reconciler.expected == toy.balances

    run(scene())


@pytest.mark.parametrize("again", [False, True])
def test_late_fills_of_a_settled_order_of_an_earlier_run_are_never_those_of_somebody_else(*, again: bool) -> None:
    async def scene() -> None:
        toy = ToyVenue()
        toy.is_muted = True
        toy.place_foreign("a1", leg())
        toy.orders["a1"].status = Status.CANCELED
        ended = toy.report(toy.orders["a1"])
        balances = dict(toy.balances)
        written = [
            intended(leg()),
            Sent(client_order_id="a1", time_ns=toy.now_ns),
            Event(order_event=ended),
            Snapshot(balances=balances, time_ns=toy.now_ns),
        ]
        rig = Rig(toy, written=written)
        async with listening(rig.orders):
            rig.recover()
            if again:
                await rig.reconciler.reconcile()
            toy.execute("a1", 1)
            toy.execute("a1", 2)
            toy.orders["a1"].status = Status.CANCELED
            await rig.reconciler.reconcile()

            assert rig.reconciler.recovered_fills == 2
            assert rig.orders.order("a1").filled == 3
            assert rig.told("FOREIGN") == rig.drifts == []
            assert len(rig.told("RECOVERED")) == 2
            assert expected_totals(replay(rig.journal.records)) == toy.balances

    run(scene())


def test_an_order_the_venue_does_not_list_any_more_is_asked_about() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            rig.toy.orders["a1"].status = Status.EXPIRED

            await rig.reconciler.poll()

            assert rig.orders.order().status is Status.EXPIRED
            assert rig.toy.count("account") == 1

    run(scene())


def test_a_venue_that_does_not_answer_is_told_and_the_next_look_finds_everything() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            rig.toy.execute("a1", 6)
            rig.toy.faults["fills"].extend([TransportError("down")] * 3)
            with pytest.raises(TransportError):
                await rig.reconciler.reconcile()

            await rig.reconciler.reconcile()

            assert rig.reconciler.expected == rig.toy.balances
            assert rig.drifts == []

    run(scene())


# --- others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", [Sharing.EXCLUSIVE, Sharing.SHARED])
def test_orders_of_others_are_left_alone_and_told_once(sharing: Sharing) -> None:
    async def scene() -> None:
        async with trading(ToyVenue(), sharing=sharing) as rig:
            rig.toy.is_muted = True
            rig.toy.place_foreign("theirs", leg())

            await rig.reconciler.reconcile()
            await rig.reconciler.reconcile()

            assert rig.told("FOREIGN") == ["BTC/USDT: order theirs was not placed by this strategy: left alone"]
            assert [*rig.desk.orders] == ["a1"]

    run(scene())


def test_orders_of_others_are_told_when_an_instrument_is_first_looked_at() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        toy.place_foreign("theirs", leg())
        rig = Rig(toy)
        async with listening(rig.orders):
            await rig.reconciler.reconcile()
            for symbol in ("BTC/USDT", "BTC/USDT", "no such"):
                await rig.reconciler.look_at(symbol)

            assert len(rig.told("FOREIGN")) == 1
            assert toy.count("open_orders") == 1

    run(scene())


def test_adopted_orders_can_be_cancelled_and_what_they_filled_before_is_no_drift() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        async with trading(toy, sharing=Sharing.ADOPT) as rig:
            toy.is_muted = True
            toy.place_foreign("theirs", leg())
            toy.execute("theirs", 2)
            toy.is_muted = False

            await rig.reconciler.look_at("BTC/USDT")  # it is watched already: nothing new
            await rig.reconciler.reconcile()
            assert rig.orders.order("theirs").filled == 2
            assert rig.told("FOREIGN")[-1].endswith("order theirs was not placed by this strategy: adopted")
            assert rig.told("DRIFT") == []
            assert rig.reconciler.expected == toy.balances

            toy.execute("theirs", 1)
            await rig.orders.log.until(lambda: rig.orders.order("theirs").filled == 3)
            assert rig.reconciler.expected == toy.balances
            rig.desk.cancel("theirs")
            await rig.orders.log.until(lambda: rig.orders.order("theirs").status is Status.CANCELED)
            assert expected_totals(replay(rig.journal.records)) == toy.balances

    run(scene())


def test_fills_of_others_are_told_once_and_their_money_is_drift() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            rig.toy.place_foreign("theirs", leg(side=Side.SELL))
            rig.toy.execute("theirs", 2)

            await rig.reconciler.reconcile()
            await rig.reconciler.reconcile()

            assert rig.told("FOREIGN")[1:] == ["BTC/USDT: SELL 2 at 100 (fill 1) is of no order of this strategy"]
            assert rig.drifts == [
                "balance BTC: the venue has -2, the journal 0 (-2)",
                "balance USDT: the venue has 10199.800, the journal 10000 (+199.800)",
            ]

    run(scene())


def test_an_order_that_the_venue_lists_again_after_it_had_lost_it_is_told_once() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            lost = dict(rig.toy.orders)
            rig.toy.orders.clear()
            await rig.reconciler.reconcile()
            assert rig.orders.order("a1").status is Status.CANCELED

            rig.toy.orders.update(lost)
            await rig.reconciler.reconcile()
            await rig.reconciler.reconcile()

            assert rig.orders.order("a1").status is Status.CANCELED
            _, told = rig.told("FAULT")
            assert told.startswith("order a1 is open at the venue again; it was over here")

    run(scene())


# --- exits the venue makes of orders of ours -----------------------------------------------------------------


def exit_of_ours(status: Status = Status.NEW, **changes: Any) -> OrderReport:
    told = {"side": Side.SELL, "order_type": OrderType.TAKE_PROFIT_MARKET, "quantity": Decimal(6), "time_ns": 5}
    whole = {"client_order_id": "x-7", "venue_order_id": "7", "symbol": "BTC/USDT", "origin": Origin.ATTACHED, **told}
    return OrderReport(status=status, **(whole | {"trigger_price": Decimal(110)} | changes))


def sold(**changes: Any) -> Fill:
    whole: dict[str, Any] = {"client_order_id": "x-7", "venue_order_id": "7", "side": Side.SELL, "time_ns": 6}
    return fill("e1", 6, **(whole | changes))


ATTACHING = {"attaching": {"takeProfit"}}


@contextlib.asynccontextmanager
async def entered() -> AsyncIterator[Rig]:
    """A desk with an entry e1 that had the venue make an exit."""
    async with trading(ToyVenue(), **ATTACHING) as rig:
        await rig.rest("e1", params={"takeProfit": "110"})
        yield rig


@pytest.mark.parametrize("changes", [{}, {"quantity": None}, {"trigger_price": None, "parent": "e1"}])
def test_an_exit_the_venue_made_of_an_order_of_ours_is_a_child_of_it_and_its_fills_are_counted(
    changes: dict[str, Any],
) -> None:
    async def scene() -> None:
        async with entered() as rig:
            for told in (exit_of_ours(**changes), sold(), exit_of_ours(Status.FILLED, filled=Decimal(6), **changes)):
                rig.desk.on_event(rig.reconciler.take_by_venue(told))

            order = rig.orders.order("x-7")
            assert (order.leg.parent_id, order.status, order.filled) == ("e1", Status.FILLED, 6)
            assert [each.origin for each in order.fills] == [Origin.ATTACHED]  # though the execution did not say so
            assert rig.reconciler.expected["BTC"] == -6
            assert rig.told("FOREIGN") == []
            (note,) = rig.told("ATTACHED")
            assert note.startswith("BTC/USDT: TAKE_PROFIT_MARKET SELL 6")
            assert note.endswith("was placed by the venue, for order e1")

    run(scene())


def test_a_hand_s_exit_is_nobody_s_here() -> None:
    async def scene() -> None:
        async with entered() as rig:
            theirs = rig.reconciler.take_by_venue(exit_of_ours(trigger_price=Decimal(111)))
            rig.desk.on_event(theirs)
            rig.desk.on_event(rig.reconciler.take_by_venue(sold(origin=Origin.ATTACHED)))

            assert theirs.origin is Origin.CLIENT
            assert rig.told("FOREIGN") == ["BTC/USDT: order x-7 was not placed by this run"]
            assert "x-7" not in rig.desk.orders

    run(scene())


def place_unheard(toy: ToyVenue) -> None:
    """The venue makes an exit, and pushes nothing from then on."""
    toy.is_muted = True
    toy.place_foreign("x-7", leg(side=Side.SELL))
    toy.described["x-7"] = {"origin": Origin.ATTACHED, "trigger_price": Decimal(110)}


@pytest.mark.parametrize("rests", [True, False])
def test_an_exit_is_found_by_asking_though_nothing_of_it_was_ever_pushed(rests: bool) -> None:
    async def scene() -> None:
        async with entered() as rig:
            toy = rig.toy
            place_unheard(toy)
            if rests:
                await rig.reconciler.reconcile()
                assert rig.orders.order("x-7").status is Status.NEW

            toy.execute("x-7", 6)
            await rig.reconciler.reconcile()

            assert rig.orders.order("x-7").filled == 6
            assert rig.reconciler.expected == toy.balances
            assert (rig.drifts, rig.told("FOREIGN")) == ([], [])

    run(scene())


@pytest.mark.parametrize("knows_fills", [False, True])
def test_an_exit_that_the_venue_lists_only_after_its_fill_is_found_by_the_next_look(knows_fills: bool) -> None:
    async def scene() -> None:
        async with entered() as rig:
            toy = rig.toy
            place_unheard(toy)
            toy.execute("x-7", 6)
            query = toy.query

            async def not_yet(*, leg: Leg) -> tuple[OrderReport | Fill, ...]:
                toy.query = query  # type: ignore[method-assign]
                if not knows_fills:
                    raise OrderNotFoundError("there is no such order")
                return tuple(attrs.evolve(each, origin=Origin.CLIENT) for each in toy.orders["x-7"].fills)

            toy.query = not_yet  # type: ignore[method-assign]
            await rig.reconciler.reconcile()

            assert rig.orders.order("x-7").filled == 6
            assert rig.reconciler.expected == toy.balances
            assert rig.drifts == []

    run(scene())


@pytest.mark.parametrize("origin", [Origin.ATTACHED, Origin.CLIENT])
def test_a_fill_of_an_exit_that_is_told_before_the_exit_itself_is_counted_all_the_same(origin: Origin) -> None:
    async def scene() -> None:
        async with entered() as rig:
            toy = rig.toy
            place_unheard(toy)
            toy.execute("x-7", 6)
            (early,) = toy.orders["x-7"].fills

            rig.desk.on_event(rig.reconciler.take_by_venue(attrs.evolve(early, origin=origin)))
            await rig.reconciler.reconcile()

            assert rig.orders.order("x-7").filled == 6
            assert rig.reconciler.expected == toy.balances
            assert rig.drifts == []

    run(scene())


# --- orders the exchange makes --------------------------------------------------------------------------------


def test_a_lost_fill_of_a_liquidation_is_asked_for_though_the_venue_calls_the_order_otherwise() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            toy = rig.toy
            toy.is_muted = True
            toy.place_foreign("autoclose-1", leg(side=Side.SELL))
            toy.described["autoclose-1"] = {"origin": Origin.LIQUIDATION}
            toy.execute("autoclose-1", 6)
            made = toy.orders["autoclose-1"]
            rig.desk.on_event(rig.reconciler.take_by_venue(toy.report(made)))
            name = f"{VENUE_MADE}BTC/USDT-{made.order_id}"
            assert rig.orders.order(name).missing == 6

            await rig.reconciler.reconcile()

            assert rig.orders.order(name).filled == 6
            assert rig.reconciler.expected == toy.balances
            assert (rig.drifts, rig.told("FOREIGN")) == ([], [])

    run(scene())


# --- trailing stops the venue keeps with positions ---------------------------------------------------------------

TRAIL: dict[str, Any] = {"order_type": OrderType.TRAILING_STOP, "side": Side.SELL, "trail_amount": Decimal(5)}


def trails(status: Status = Status.NEW, **changes: Any) -> OrderReport:
    return exit_of_ours(status, order_type=OrderType.TRAILING_STOP, trigger_price=Decimal(95), **changes)


def test_the_venue_s_word_on_a_trailing_stop_of_a_position_is_of_the_order_that_asked_for_it() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            rig.orders.submit("t1", **TRAIL)
            await rig.orders.quiet()
            for told in (trails(), sold(origin=Origin.ATTACHED), trails(Status.FILLED, filled=Decimal(6))):
                rig.desk.on_event(rig.reconciler.take_by_venue(told))

            order = rig.orders.order("t1")
            assert (order.venue_order_id, order.status, order.filled) == ("7", Status.FILLED, 6)
            assert rig.told("FOREIGN") == []

    run(scene())


def test_a_trailing_stop_that_a_hand_had_set_before_is_never_taken_for_one_of_ours() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            rig.desk.on_event(rig.reconciler.take_by_venue(trails()))
            rig.orders.submit("t1", **TRAIL)
            await rig.orders.quiet()
            theirs = rig.reconciler.take_by_venue(trails(time_ns=7))

            assert (theirs.client_order_id, theirs.origin) == ("x-7", Origin.CLIENT)
            assert rig.told("FOREIGN") == ["BTC/USDT: order x-7 was not placed by this run"]

    run(scene())


def test_a_trailing_stop_of_which_the_fill_is_told_first_is_the_order_s_that_asked_for_it() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            rig.orders.submit("t1", **TRAIL)
            await rig.orders.quiet()
            for told in (sold(origin=Origin.ATTACHED), trails(Status.FILLED, filled=Decimal(6)), sold()):
                rig.desk.on_event(rig.reconciler.take_by_venue(told))

            assert rig.orders.order("t1").filled == 6
            assert rig.reconciler.expected["BTC"] == -6

    run(scene())


def test_a_trailing_stop_is_followed_by_the_venue_s_name_after_a_restart() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        async with trading(toy) as rig:
            toy.is_muted = True
            rig.orders.submit("t1", **TRAIL)
            await rig.orders.quiet()
            rig.desk.on_event(rig.reconciler.take_by_venue(trails()))
            written = rig.journal.records
        toy.orders.pop("t1")
        toy.place_foreign("x-7", leg(side=Side.SELL))
        toy.orders["x-7"].order_id = "7"
        toy.described["x-7"] = {"origin": Origin.ATTACHED, "order_type": OrderType.TRAILING_STOP}

        again = Rig(toy, written=written)
        again.recover()
        async with listening(again.orders):
            await again.reconciler.reconcile()
            assert again.orders.order("t1").status is Status.NEW
            assert again.toy.count("query") == 0  # it is among the open ones
            toy.execute("x-7", 6)
            await again.reconciler.reconcile()

            assert again.orders.order("t1").filled == 6
            assert (again.drifts, again.told("FOREIGN")) == ([], [])

    run(scene())


# --- drift ------------------------------------------------------------------------------------------------


def test_a_transfer_on_an_exclusive_account_is_drift_and_told_once() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.balances["USDT"] -= 100

            snapshot = await rig.reconciler.reconcile()
            await rig.reconciler.reconcile()

            assert rig.drifts == ["balance USDT: the venue has 9900, the journal 10000 (-100)"]
            assert snapshot.balances["USDT"].total == 9900
            assert rig.journal.records[-1] == Snapshot(balances=rig.toy.balances, time_ns=rig.toy.now_ns)

    run(scene())


@pytest.mark.parametrize("sharing", [Sharing.SHARED, Sharing.ADOPT])
def test_a_transfer_on_a_shared_account_is_taken_note_of(sharing: Sharing) -> None:
    async def scene() -> None:
        async with trading(ToyVenue(), sharing=sharing) as rig:
            rig.toy.balances["BTC"] += 1

            await rig.reconciler.reconcile()
            await rig.reconciler.reconcile()

            assert rig.drifts == []
            assert rig.told("DRIFT") == [
                "balance BTC: the venue has 1, the journal 0 (+1): adopted, the account is shared"
            ]
            assert rig.reconciler.expected == rig.toy.balances

    run(scene())


def test_a_fill_that_is_in_the_balances_and_told_a_moment_later_is_no_drift() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            late = rig.toy.fills

            async def not_yet(**_asked: Any) -> tuple[Fill, ...]:
                return ()

            rig.toy.fills = not_yet  # type: ignore[method-assign]
            rig.toy.execute("a1", 2)
            told = rig.toy.orders["a1"].fills[0]
            rig.on_read = [lambda: rig.toy.tell(told)]
            rig.toy.orders["a1"].fills.clear()

            await rig.reconciler.reconcile()

            rig.toy.fills = late  # type: ignore[method-assign]
            assert rig.drifts == []
            assert rig.reconciler.expected == rig.toy.balances

    run(scene())


def test_an_account_that_never_stops_trading_is_no_drift() -> None:
    """Each snapshot has a fill that was not told yet, and lacks one that is told with it."""

    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            plain_account = rig.toy.account

            async def busy_account() -> AccountSnapshot:
                if not rig.toy.orders["a1"].remaining:
                    return await plain_account()
                rig.toy.execute("a1", 1)  # pushed, and not heard yet
                snapshot = await plain_account()
                rig.toy.execute("a1", 1)  # and the next one before anybody can compare
                return snapshot

            rig.toy.account = busy_account  # type: ignore[method-assign]
            await rig.reconciler.reconcile()
            await rig.orders.log.until(lambda: rig.orders.order().filled == rig.toy.orders["a1"].filled)

            assert rig.drifts == []
            assert rig.reconciler.expected == rig.toy.balances

    run(scene())


def test_a_snapshot_that_is_older_than_a_fill_that_was_counted_is_no_drift_and_takes_nothing_back() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            old = await rig.toy.account()

            async def stale() -> AccountSnapshot:
                rig.toy.execute("a1", 2)
                await rig.orders.log.until(lambda: rig.orders.order().filled == 2)
                return old

            plain = rig.toy.account
            answers = [stale, plain]

            async def account() -> AccountSnapshot:
                return await answers.pop(0)()

            rig.toy.account = account  # type: ignore[method-assign]

            snapshot = await rig.reconciler.reconcile()

            assert rig.drifts == []
            assert snapshot.balances["BTC"].total == 2  # what is returned is fresh
            assert rig.reconciler.expected == rig.toy.balances

    run(scene())


def test_what_a_venue_rounds_away_of_each_fill_is_no_drift_and_does_not_add_up() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            for _ in range(3):
                rig.toy.execute("a1", 1)
                rig.toy.balances["USDT"] += Decimal("9e-9")
                await rig.toy.until(rig.toy.connections[0].frames.empty)
                assert not rig.reconciler.hear(rig.toy.balance_update())
            await rig.reconciler.reconcile()

            assert rig.drifts == []
            assert rig.reconciler.expected == rig.toy.balances
            rig.toy.balances["USDT"] += Decimal("9e-9")
            assert rig.reconciler.hear(rig.toy.balance_update())  # nothing was filled since

    run(scene())


def test_assets_nobody_trades_here_never_drift_also_when_they_are_traded_later() -> None:
    async def scene() -> None:
        toy = ToyVenue(instruments=(BTC, TOY))
        async with trading(toy) as rig:
            toy.balances["TOY"] += 100
            toy.balances["XYZ"] = Decimal(1)
            assert not rig.reconciler.hear(toy.balance_update())
            await rig.rest("b1", instrument=TOY)

            await rig.reconciler.reconcile()
            assert rig.drifts == []
            assert rig.reconciler.expected == toy.balances

            toy.balances["TOY"] -= 100
            assert rig.reconciler.hear(toy.balance_update())
            await rig.reconciler.reconcile()
            assert rig.drifts == ["balance TOY: the venue has 5, the journal 105 (-100)"]

    run(scene())


def test_an_asset_that_is_as_it_was_before_it_was_traded_is_judged_at_once() -> None:
    async def scene() -> None:
        toy = ToyVenue(instruments=(BTC, TOY))
        async with trading(toy) as rig:
            toy.balances["TOY"] += 100
            rig.reconciler.hear(toy.balance_update())
            toy.balances["TOY"] -= 100
            rig.reconciler.hear(toy.balance_update())
            await rig.reconciler.look_at("TOY/USDT")
            toy.balances["TOY"] -= 1

            await rig.reconciler.reconcile()

            assert rig.drifts == ["balance TOY: the venue has 4, the journal 5 (-1)"]

    run(scene())


def test_nothing_is_heard_before_the_first_word_of_the_venue() -> None:
    async def scene() -> None:
        rig = Rig(ToyVenue())
        assert not rig.reconciler.hear(rig.toy.balance_update())
        assert rig.reconciler.expected == {}
        rig.reconciler.write_snapshot()
        assert rig.journal.records == []

    run(scene())


@pytest.mark.parametrize(("changed", "differs"), [({}, False), ({"USDT": 1}, True), ({"TOY": 1}, False)])
def test_only_assets_that_are_traded_here_are_heard_of(changed: dict[str, int], *, differs: bool) -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            for asset, change in changed.items():
                rig.toy.balances[asset] += change
            update: AccountUpdate = rig.toy.balance_update()

            assert rig.reconciler.hear(update) is differs

    run(scene())


def test_fees_that_are_told_late_are_counted_once() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            rig.toy.execute("a1", 2)
            (whole,) = rig.toy.orders["a1"].fills
            rig.desk.on_event(attrs.evolve(whole, fee=None, fee_asset=None))
            rig.desk.on_event(whole)
            rig.desk.on_event(whole)

            assert rig.reconciler.expected == rig.toy.balances
            assert expected_totals(replay(rig.journal.records)) == rig.toy.balances

    run(scene())


# --- snapshots, restarts ----------------------------------------------------------------------------------


def test_a_snapshot_is_dated_by_the_last_look_at_the_venue() -> None:
    """Fills the stream did not tell since then are looked for by the next process."""

    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            looked_ns = rig.toy.now_ns
            rig.toy.now_ns += 3_600_000_000_000
            rig.toy.execute("a1", 1)
            await rig.orders.log.until(lambda: rig.orders.order().filled == 1)

            rig.reconciler.write_snapshot()

            assert rig.journal.records[-1] == Snapshot(balances=rig.toy.balances, time_ns=looked_ns)

    run(scene())


def test_a_restart_counts_what_happened_while_nobody_was_there() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        async with trading(toy) as first:
            toy.execute("a1", 1)
            await first.orders.log.until(lambda: first.orders.order().filled == 1)
        toy.execute("a1", 2)
        toy.now_ns += 3_600_000_000_000

        second = Rig(toy, written=first.journal.records)
        async with listening(second.orders):
            second.recover()
            assert second.reconciler.expected["BTC"] == 1
            await second.reconciler.reconcile()

            assert second.orders.order().filled == 3
            assert second.drifts == []
            assert second.reconciler.expected == toy.balances
            assert expected_totals(replay(second.journal.records)) == toy.balances

    run(scene())


def test_a_transfer_while_nobody_was_there_is_drift() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        async with trading(toy) as first:
            pass
        toy.balances["USDT"] += 7

        second = Rig(toy, written=first.journal.records)
        async with listening(second.orders):
            second.recover()
            await second.reconciler.reconcile()

            assert second.drifts == ["balance USDT: the venue has 10007, the journal 10000 (+7)"]

    run(scene())


def test_reconciling_twice_at_once_does_everything_once() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            rig.toy.execute("a1", 2)
            rig.toy.balances["USDT"] -= 1

            await asyncio.gather(rig.reconciler.reconcile(), rig.reconciler.poll(), rig.reconciler.reconcile())

            assert len(rig.fills()) == 1
            assert len(rig.drifts) == 1

    run(scene())


def test_a_market_order_whose_every_word_was_lost_is_found_by_one_look() -> None:
    async def scene() -> None:
        async with trading(ToyVenue()) as rig:
            rig.toy.is_muted = True
            rig.orders.submit("b1", order_type=OrderType.MARKET, price=None)
            await rig.orders.quiet()

            await rig.reconciler.reconcile()

            assert rig.orders.order("b1").status is Status.FILLED
            assert rig.reconciler.expected == rig.toy.balances
            assert rig.drifts == []

    run(scene())
