"""Lockstep: one order of events whatever arrived first, and never a hang."""

import asyncio
import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.errors import ClockError, TransportError
from btx.model.account import AccountUpdate
from btx.model.market import Bar
from btx.model.order import CancelResult, Fill, OrderType, PlaceRefused, Status
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Channel
from btx.rules.orders import apply, new_order
from btx.runtime.clock import MarketClock
from btx.runtime.control import Control
from btx.runtime.mailbox import FeedEnd, FeedLive, Mailbox, Note, OrderUpdate, Wakeup
from btx.runtime.pace import Lockstep
from btx.runtime.prints import Making
from btx.storage.recorded import lines, parts
from btx.storage.recording import Recorder
from tests.control_peer import ControlPeer
from tests.toy_venue import DEADLINE_S, Fault, ToyVenue
from tests.unit.runtime.rig import QUICK, BarRig, Log, OrderRig, items, run
from tests.unit.runtime.strategy import Outside, Strategy, session_with
from tests.values import BTC, MINUTE, bar, fill, leg, report, request

ETH = attrs.evolve(BTC, symbol="ETH/USDT", venue_symbol="ETHUSDT", base="ETH")


class PaceRig:
    """Lockstep between an idle strategy and a control peer, with nothing else moving."""

    def __init__(self, control: Control, **changes: Any) -> None:
        self.toy = ToyVenue()
        self.bars, self.orders = BarRig(self.toy), OrderRig(self.toy)
        self.wakeup = Wakeup()
        self.mailbox: Mailbox[Any] = Mailbox(self.wakeup)
        self.stalls = Log()
        self.clock = MarketClock()
        settings: dict[str, Any] = {
            "control": control,
            "api_key": "k",
            "clock": self.clock,
            "wakeup": self.wakeup,
            "desk": self.orders.desk,
            "bars": self.bars.desk,
            "on_stall": self.stalls.add,
        }
        self.pace = Lockstep(**(settings | changes))


def told_now(text: str) -> tuple[Any, None]:
    return Note(kind="FAULT", text=text), None


UPDATES = {
    "refused": (
        OrderUpdate(event=PlaceRefused(client_order_id="a1", reason="", time_ns=1), order=new_order(leg())),
        None,
    ),
    "new": (OrderUpdate(event=report(Status.NEW), order=apply(new_order(leg()), report(Status.NEW))), None),
    "fill": (OrderUpdate(event=fill(), order=apply(new_order(leg()), fill())), None),
    "balance": (AccountUpdate(balances={}, time_ns=1), None),
    "btc 1": (bar(1), (2, 0)),
    "eth 1": (bar(1, symbol="ETH/USDT"), (2, 1)),
    "btc 2": (bar(2), (3, 0)),
    "note": told_now("n"),
}


@pytest.mark.parametrize("arrival", list(itertools.permutations(["refused", "fill", "btc 1", "eth 1", "btc 2"]))[::7])
def test_one_batch_comes_in_one_order_whatever_arrived_first(arrival: tuple[str, ...]) -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue())
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            rig = PaceRig(control)
            posts = Log()
            post = rig.wakeup.post
            rig.wakeup.post = lambda batch: (post(batch), posts.add("batch"))  # type: ignore[assignment, func-returns-value]
            for name in arrival:
                item, order = UPDATES[name]
                rig.pace.hold(rig.mailbox, item, order)
            assert items(rig.mailbox) == []

            rig.pace.on_idle(0)
            await posts.until(lambda: bool(posts.items))

            wanted = ["refused", "fill", "btc 1", "eth 1", "btc 2"]
            assert items(rig.mailbox) == [UPDATES[name][0] for name in wanted]
            assert posts.items == ["batch"]
            assert peer.asked == []
            await rig.pace.stop()
            await control.close()

    run(scene())


def test_what_the_account_stream_told_keeps_its_own_order() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue())
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            rig = PaceRig(control)
            for name in ("btc 1", "new", "fill", "balance", "note", "new"):
                rig.pace.hold(rig.mailbox, *UPDATES[name])

            await rig.pace.stop()  # the end hands over what is held

            wanted = ["note", "new", "fill", "balance", "new", "btc 1"]
            assert items(rig.mailbox) == [UPDATES[name][0] for name in wanted]
            rig.pace.hold(rig.mailbox, *UPDATES["btc 2"])
            assert items(rig.mailbox) == [UPDATES["btc 2"][0]]  # nothing is held any more
            assert not rig.wakeup.patient
            await control.close()

    run(scene())


def test_an_idle_word_that_is_out_of_date_moves_nothing() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue())
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            rig = PaceRig(control)
            rig.mailbox.put(UPDATES["note"][0])

            rig.pace.on_idle(0)
            await control.ask("hello")

            assert peer.asked == ["hello"]
            await rig.pace.stop()
            await control.close()

    run(scene())


@pytest.mark.parametrize("op", ["advance", "sync"])
def test_a_simulator_that_refuses_or_breaks_is_told_once(op: str) -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue(), refused={op})
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            rig = PaceRig(control)
            if op == "sync":
                rig.orders.desk._requests.sent = 1

            rig.pace.on_idle(0)
            await rig.stalls.until(lambda: bool(rig.stalls.items))
            await peer.hang_up()
            await control.wait_closed()

            (error,) = rig.stalls.items
            assert isinstance(error, TransportError)
            await rig.pace.stop()
            await control.close()

    run(scene())


def test_standing_still_is_noticed_and_says_what_it_waited_for() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue(), silent={"advance"})
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            rig = PaceRig(control, stall_s=0.05)

            rig.pace.on_idle(0)
            await rig.stalls.until(lambda: bool(rig.stalls.items))

            assert "lockstep stands still: the market's next step did not come within 0.05 s" in str(
                rig.stalls.items[0]
            )
            await rig.pace.stop()
            await control.close()

    run(scene())


def test_a_strategy_that_thinks_for_long_is_no_stall() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue())
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            rig = PaceRig(control, stall_s=0.02)
            rig.mailbox.put(UPDATES["note"][0])
            rig.pace.on_idle(0)

            waited = asyncio.Event()
            asyncio.get_running_loop().call_later(0.1, waited.set)
            await waited.wait()

            assert rig.stalls.items == []
            await rig.pace.stop()
            await control.close()

    run(scene())


def test_the_market_stands_while_something_is_about_to_happen_and_goes_on_when_it_has() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue())
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            busy = [True]
            rig = PaceRig(control, is_busy=lambda: bool(busy))

            rig.pace.on_idle(0)
            rig.pace.progressed()
            await control.ask("ledger", api_key="k")
            assert peer.asked == ["ledger"]
            busy.clear()
            rig.pace.progressed()
            await peer.until_asked("advance")

            await rig.pace.stop()
            await control.close()

    run(scene())


def test_an_account_stream_that_says_nothing_is_told_until_what_it_kept_back_is_known() -> None:
    async def scene() -> None:
        peer = ControlPeer(toy=ToyVenue(), symbols=())
        peer.on_step = lambda _minute: setattr(peer.toy, "sequence", 7)
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            silences = Log()
            rig = PaceRig(control, nudge_s=0.005, on_silence=lambda: silences.add(None))

            rig.pace.on_idle(0)
            await silences.until(lambda: len(silences.items) == 3)
            assert peer.asked == ["advance"]
            rig.orders.desk.catch_up(7)
            rig.pace.progressed()
            async with asyncio.timeout(60):
                while peer.asked.count("advance") < 2:
                    peer.changed.clear()
                    await peer.changed.wait()

            assert rig.stalls.items == []
            await rig.pace.stop()
            await control.close()

    run(scene())


# --- with a whole session --------------------------------------------------------------------------------


def in_lockstep(peer: ControlPeer, **changes: Any) -> Strategy:
    strategy = Strategy(session_with(peer.toy, peer=peer, **changes))
    strategy.session.start()
    return strategy


def peer_with(**changes: Any) -> ControlPeer:
    toy = ToyVenue(instruments=(BTC, ETH))
    toy.write_history(range(90, 100))
    toy.write_history(range(90, 100), symbol="ETH/USDT")
    return ControlPeer(toy=toy, **changes)


def bars_in(batch: list[tuple[str, Any]]) -> list[tuple[str, int]]:
    return [(item.symbol, item.open_ns // NS_PER_MINUTE) for _, item in batch if isinstance(item, Bar)]


@pytest.mark.parametrize("answers_first", [False, True])
def test_every_step_is_one_batch_and_the_world_ends_the_feeds(outside: Outside, *, answers_first: bool) -> None:
    peer = peer_with(symbols=("BTC/USDT", "ETH/USDT"), answers_first=answers_first)
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE, history_bars=2)
    strategy.open(instrument=ETH, interval=MINUTE, history_bars=2)

    strategy.run()

    batches = [bars_in(batch) for batch in strategy.batches if bars_in(batch)]
    history = [(symbol, minute) for symbol in ("BTC/USDT", "ETH/USDT") for minute in (98, 99)]
    assert batches == [history, *([("BTC/USDT", m), ("ETH/USDT", m)] for m in range(100, 104))]
    assert strategy.of(FeedEnd) == [FeedEnd(), FeedEnd()]
    assert len(strategy.of(FeedLive)) == 2
    assert not strategy.wakeup.patient
    assert peer.asked == ["advance"] * 4
    strategy.session.stop()


def test_orders_placed_in_reaction_are_settled_before_the_market_moves(outside: Outside) -> None:
    peer = peer_with()
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    log: list[str] = []

    def react(item: Any) -> None:
        if isinstance(item, Bar):
            log.append(f"bar {item.open_ns // NS_PER_MINUTE}")
            strategy.session.submit(request(order_type=OrderType.MARKET, price=None, quantity=Decimal(1)))
        elif isinstance(item, OrderUpdate):
            log.append(item.order.status.name)
        elif isinstance(item, FeedEnd):
            log.append("end")

    strategy.on_item = react
    strategy.run()

    steps = [[f"bar {minute}", "PENDING_NEW", "NEW", "FILLED"] for minute in range(100, 104)]
    assert log == [*itertools.chain(*steps), "end"]  # the end waits for what the last bar led to
    assert peer.asked == ["advance", "sync"] * 4
    strategy.session.stop()


def test_fills_of_a_step_come_with_its_bar_and_before_it(outside: Outside) -> None:
    peer = peer_with(last_minute=101)
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    placed: list[str] = []

    def react(item: Any) -> None:
        if isinstance(item, FeedLive):
            placed.append(strategy.session.submit(request()))

    def fill_it(minute: int) -> None:
        if minute == 101:
            peer.toy.execute(placed[0], 6)

    strategy.on_item = react
    peer.on_step = fill_it
    strategy.run()

    (batch,) = [batch for batch in strategy.batches if ("BTC/USDT", 101) in bars_in(batch)]
    kinds = [type(item.event if isinstance(item, OrderUpdate) else item) for _, item in batch]
    assert kinds == [Fill, AccountUpdate, Bar]
    strategy.session.stop()


def test_a_cancel_in_reaction_to_a_bar_is_settled_too(outside: Outside) -> None:
    peer = peer_with(last_minute=101)
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    placed: list[str] = []

    def react(item: Any) -> None:
        if isinstance(item, FeedLive):
            placed.append(strategy.session.submit(request()))
        elif isinstance(item, Bar) and item.open_ns == 100 * NS_PER_MINUTE:
            strategy.session.cancel(placed[0])

    strategy.on_item = react
    strategy.run()

    assert strategy.statuses(placed[0]) == ["PENDING_NEW", "NEW", "PENDING_CANCEL", "CANCELED"]
    assert CancelResult not in [type(update.event) for update in strategy.of(OrderUpdate)]  # it said nothing new
    strategy.session.stop()


def test_an_order_in_doubt_is_settled_before_the_market_moves(outside: Outside) -> None:
    peer = peer_with(last_minute=101)
    peer.toy.faults["place"].append(Fault.LOST_REQUEST)
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    log: list[str] = []

    def react(item: Any) -> None:
        if isinstance(item, FeedLive):
            strategy.session.submit(request())
        log.append(item.order.status.name if isinstance(item, OrderUpdate) else type(item).__name__)

    strategy.on_item = react
    strategy.run()

    assert [entry for entry in log if entry != "Note"] == [
        *("FeedLive", "PENDING_NEW", "UNKNOWN", "REJECTED"),
        *("Bar", "Bar", "FeedEnd"),
    ]
    strategy.session.stop()


def test_a_clock_in_doubt_is_read_before_the_market_moves(outside: Outside) -> None:
    peer = peer_with(last_minute=101)
    peer.toy.faults["place"].append(ClockError("-1021: outside of the receive window"))
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    placed: list[str] = []
    at_reading: list[tuple[bool, int]] = []
    at_steps: list[bool] = []

    def is_busy() -> bool:
        link = strategy.session._link
        assert link is not None
        return link._is_busy()

    def react(item: Any) -> None:
        if isinstance(item, FeedLive):
            peer.toy.faults["time"].append(lambda: at_reading.append((is_busy(), peer.asked.count("advance"))))
            placed.append(strategy.session.submit(request()))

    peer.on_step = lambda _minute: at_steps.append(is_busy())
    strategy.on_item = react
    strategy.run()

    assert strategy.statuses(placed[0]) == ["PENDING_NEW", "REJECTED"]
    assert at_reading == [(True, 0)]
    assert at_steps == [False, False]
    strategy.session.stop()


def test_a_bar_whose_frame_was_lost_is_asked_for_and_the_step_goes_on(outside: Outside) -> None:
    peer = peer_with()
    push = peer.toy.push_bar
    lost = [101]

    def lossy(minute: int, **changes: Any) -> None:
        if minute in lost:
            lost.remove(minute)
        else:
            push(minute, **changes)

    peer.toy.push_bar = lossy  # type: ignore[method-assign]
    strategy = in_lockstep(peer, timing=attrs.evolve(QUICK, nudge_s=0.02))
    strategy.open(instrument=BTC, interval=MINUTE)

    strategy.run()

    assert [bar for batch in strategy.batches for bar in bars_in(batch)] == [("BTC/USDT", m) for m in range(100, 104)]
    assert len(strategy.of(FeedLive)) == 1
    strategy.session.stop()


def test_a_cut_account_stream_is_settled_and_the_market_goes_on(outside: Outside) -> None:
    peer = peer_with()
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    placed: list[str] = []

    def react(item: Any) -> None:
        if isinstance(item, FeedLive):
            placed.append(strategy.session.submit(request()))

    def fill_it_unheard(minute: int) -> None:
        if minute == 101:
            peer.toy.is_muted = True
            peer.toy.execute(placed[0], 6)
            peer.toy.is_muted = False
            peer.toy.cut(Channel.ACCOUNT, TransportError("cut"))

    strategy.on_item = react
    peer.on_step = fill_it_unheard
    strategy.run()

    fills = [update for update in strategy.of(OrderUpdate) if isinstance(update.event, Fill)]
    assert [update.order.is_settled for update in fills] == [True]
    assert strategy.of(FeedEnd) == [FeedEnd()]
    strategy.session.stop()


@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_lost_control_channel_ends_the_feeds_with_an_error(outside: Outside, moment: str) -> None:
    peer = peer_with(silent={"advance"} if moment == "during" else set())
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    if moment == "during":
        strategy.on_item = lambda item: (
            isinstance(item, FeedLive)
            and outside.io.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(hang_up_when_asked(peer)))
        )
    else:
        outside.wait(peer.hang_up())

    strategy.run()

    (end,) = strategy.of(FeedEnd)
    assert isinstance(end.error, TransportError)
    assert strategy.notes("FATAL")
    assert not strategy.wakeup.patient
    strategy.session.stop()


async def hang_up_when_asked(peer: ControlPeer) -> None:
    await peer.until_asked("advance")
    await peer.hang_up()


def test_a_stall_ends_the_feeds_with_an_error_and_loses_nothing_that_was_held(outside: Outside) -> None:
    peer = peer_with()
    peer.toy.faults["place"].append(Fault.SILENT)
    strategy = in_lockstep(peer, timing=attrs.evolve(QUICK, stall_s=1.0))
    strategy.open(instrument=BTC, interval=MINUTE)
    strategy.on_item = lambda item: (
        isinstance(item, FeedLive)
        and [
            strategy.session.submit(request()),
            outside.do(peer.toy.close_bar, 100),
        ]
    )

    strategy.run()

    (end,) = strategy.of(FeedEnd)
    assert "lockstep stands still" in str(end.error)
    assert [entry for batch in strategy.batches for entry in bars_in(batch)] == [("BTC/USDT", 100)]
    strategy.session.stop()


def test_after_the_end_events_still_reach_the_strategy(outside: Outside) -> None:
    peer = peer_with(last_minute=100)
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    placed: list[str] = []

    def react(item: Any) -> None:
        if isinstance(item, Bar):
            placed.append(strategy.session.submit(request()))

    strategy.on_item = react
    strategy.run()
    strategy.session.withdraw(placed, timeout_s=DEADLINE_S)
    strategy.take()

    assert strategy.statuses(placed[0]) == ["PENDING_NEW", "NEW", "PENDING_CANCEL", "CANCELED"]
    strategy.session.stop()


def test_the_same_world_gives_the_same_run(outside: Outside) -> None:
    def play(*, answers_first: bool) -> list[str]:
        peer = peer_with(symbols=("BTC/USDT", "ETH/USDT"), answers_first=answers_first)
        strategy = in_lockstep(peer)
        strategy.open(instrument=BTC, interval=MINUTE, history_bars=3)
        strategy.open(instrument=ETH, interval=MINUTE, history_bars=3)
        log: list[str] = []

        def react(item: Any) -> None:
            if isinstance(item, Bar):
                log.append(f"{item.symbol} {item.open_ns}")
                if item.open_ns >= 100 * NS_PER_MINUTE:
                    strategy.session.submit(request(order_type=OrderType.MARKET, price=None))
            elif isinstance(item, OrderUpdate):
                log.append(item.order.status.name)

        strategy.on_item = react
        strategy.run()
        strategy.session.stop()
        return log

    assert play(answers_first=False) == play(answers_first=True) == play(answers_first=False)


def test_the_simulators_ledger_and_market_facts_can_be_asked_while_it_runs(outside: Outside) -> None:
    peer = peer_with()
    strategy = in_lockstep(peer)

    assert strategy.session.ledger()["api_key"] == "toy-key"
    assert strategy.session.market_facts("BTC/USDT")["symbol"] == "BTCUSDT"
    assert strategy.session.clock.market_ns() == 100 * NS_PER_MINUTE
    assert strategy.session.settings.api_key.reveal() == "toy-key"
    strategy.session.stop()


def test_a_free_running_simulator_ends_the_feeds_when_its_world_ends(outside: Outside) -> None:
    peer = peer_with(speed=1.0)
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    strategy.until(lambda: bool(strategy.of(FeedLive)))

    outside.wait(peer.push({"event": "something else"}))
    outside.wait(peer.push({"event": "ended", "market_ns": 1}))
    strategy.run()

    assert strategy.of(FeedEnd) == [FeedEnd()]
    assert not strategy.wakeup.patient
    strategy.session.stop()


def test_a_recording_says_when_the_world_ended_though_the_strategy_has_not_gone(
    outside: Outside, tmp_path: Path
) -> None:
    peer = peer_with(speed=1.0)
    strategy = in_lockstep(
        peer,
        recording=lambda clock, _settings, on_fault: Recorder(
            tmp_path, about={"session": "toy"}, clock=clock, secrets=(), on_fault=on_fault
        ),
    )
    strategy.open(instrument=BTC, interval=MINUTE)
    strategy.until(lambda: bool(strategy.of(FeedLive)))

    outside.wait(peer.push({"event": "ended", "market_ns": 1}))
    strategy.run()
    strategy.session.stop()

    # What is pushed from here on is delivered to nobody: in a replay it is no difference.
    assert [line["k"] for line in lines(parts(tmp_path))].count("left") == 1


@pytest.mark.parametrize("making", [None, Making()], ids=["bars", "trades"])
def test_a_feed_that_is_opened_when_the_world_has_ended_ends_at_once_and_its_history_is_there(
    outside: Outside, making: Making | None
) -> None:
    peer = peer_with(speed=1.0)
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    strategy.until(lambda: bool(strategy.of(FeedLive)))
    outside.wait(peer.push({"event": "ended", "market_ns": 1}))
    strategy.run()

    strategy.open(instrument=BTC, interval=MINUTE, making=making)
    strategy.open(instrument=BTC, interval=MINUTE, history_bars=2, live=False)
    strategy.run()

    assert strategy.of(FeedEnd) == [FeedEnd()] * 3
    assert [each.open_ns for where, each in strategy.told if where == "feed 2" and isinstance(each, Bar)] != []
    strategy.session.stop()


def test_a_free_running_simulator_that_dies_ends_the_feeds_with_an_error(outside: Outside) -> None:
    peer = peer_with(speed=1.0)
    strategy = in_lockstep(peer)
    strategy.open(instrument=BTC, interval=MINUTE)
    strategy.until(lambda: bool(strategy.of(FeedLive)))

    outside.wait(peer.hang_up())
    strategy.run()

    assert "went away" in str(strategy.of(FeedEnd)[0].error)
    strategy.session.stop()


class Beside:
    """A desk beside the bars, which hears when it is told to."""

    def __init__(self) -> None:
        self.is_ready = False
        self.heard = 0
        self.asked: list[tuple[str, str, int]] = []
        self.nudges = Log()

    def has_heard(self, channel: str, venue_symbol: str, sequence: int) -> bool:
        self.asked.append((channel, venue_symbol, sequence))
        return self.heard >= sequence

    def catch_up(self) -> None:
        self.nudges.add("catch up")


def test_a_step_is_over_when_all_that_was_pushed_beside_the_bars_has_come() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        peer = ControlPeer(toy=toy, symbols=(), told=[["quote", "BTCUSDT", 7]])
        async with peer.served() as endpoints:
            control = await Control.connect(endpoints.control)
            beside = Beside()
            rig = PaceRig(control, beside=(beside,), nudge_s=0.01)
            rig.pace.on_idle(0)
            await asyncio.sleep(0)
            assert peer.asked == []  # a book is on its way

            beside.is_ready = True
            rig.pace.progressed()
            await beside.nudges.until(lambda: len(beside.nudges.items) > 1)  # it did not come, and is asked for
            assert "the quote of BTCUSDT up to 7" in rig.pace._awaited
            beside.heard = 7
            rig.pace.progressed()
            await peer.until_asked("advance")
            await rig.pace.stop()
            await control.close()
            assert set(beside.asked) == {("quote", "BTCUSDT", 7)}

    run(scene())
