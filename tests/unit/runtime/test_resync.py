"""A book: begun by a snapshot, carried on without a hole, and never shown when it is not true."""

import asyncio
import itertools
from typing import Any

import attrs
import pytest

from btx.errors import NotSupportedError, TransportError
from btx.model.instrument import Instrument
from btx.model.market import BookSnapshot
from btx.model.time import NS_PER_MINUTE, NS_PER_S
from btx.runtime.guard import Guard
from btx.runtime.latest import Latest
from btx.runtime.resync import BookListener
from btx_binance.plugin import btx_venue
from tests.unit.runtime.market_rig import ETH, MarketRig, bids, delta, levels, public, shown, snapshot
from tests.unit.runtime.rig import run
from tests.values import BTC

ASKS = levels(p200="1")


def listening(
    rig: MarketRig, instrument: Instrument = BTC, *, depth: int = 5, **settings: Any
) -> tuple[BookListener, Latest[BookSnapshot]]:
    listener, slot = BookListener(instrument, rig.means, **settings), Latest[BookSnapshot]()
    listener.add(slot, depth)
    return listener, slot


def test_deltas_wait_for_the_snapshot_and_those_it_has_are_dropped() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.gate = asyncio.Event()
        rig.feed.answers = [snapshot(5, bids=levels(p100="1"), asks=ASKS)]
        listener, slot = listening(rig)
        assert shown(slot) is None
        listener.on_up()
        listener.on_event(delta(3, 4, bids=levels(p90="9")))
        listener.on_event(delta(5, 6, bids=levels(p101="2"), time_ns=7))
        await rig.time.settle()
        assert shown(slot) is None
        assert not listener.is_settled

        rig.feed.gate.set()
        await rig.time.settle()
        listener.on_event(delta(7, 8, bids=levels(p100="0"), time_ns=8))
        await rig.time.settle()

        book = shown(slot)
        assert bids(book) == [("101", "2")]
        assert (book.sequence, book.time_ns) == (8, 8)
        assert listener.is_settled
        assert rig.feed.asked[0][1:] == ("BTC/USDT", 1000)
        assert rig.notes == []
        await rig.stop()

    run(scene())


def test_a_gap_is_told_and_resets_that_book_and_no_other() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.then = lambda instrument: snapshot(9, bids=levels(p100="3"), asks=ASKS, symbol=instrument.symbol)
        (btc, btc_slot), (eth, eth_slot) = listening(rig), listening(rig, ETH)
        btc.on_up()
        eth.on_up()
        await rig.time.settle()

        rig.feed.gate = asyncio.Event()
        btc.on_event(delta(11, 12, bids=levels(p99="1")))
        assert shown(btc_slot) is None
        assert "updates are missing" in btc_slot.get().reason  # type: ignore[union-attr]
        assert bids(shown(eth_slot)) == [("100", "3")]
        assert rig.told("GAP") == ["book of BTC/USDT: updates are missing; a snapshot is fetched"]
        rig.feed.answers = [snapshot(12, bids=levels(p99="1"), asks=ASKS)]
        rig.feed.gate.set()
        await rig.time.until(lambda: btc.is_settled)

        assert bids(shown(btc_slot)) == [("99", "1")]
        assert rig.told("SYNCED") == ["book of BTC/USDT"]
        assert [symbol for _, symbol, _ in rig.feed.asked] == ["BTC/USDT", "ETH/USDT", "BTC/USDT"]
        await rig.stop()

    run(scene())


def test_while_snapshots_are_older_than_the_stream_one_is_asked_for_in_five_seconds_not_one_per_message() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [snapshot(5), snapshot(6), snapshot(20, bids=levels(p100="1"), asks=ASKS)]
        listener, slot = listening(rig)
        listener.on_up()
        for number in range(10, 60):
            listener.on_event(delta(number, number))

        await rig.time.until(lambda: listener.is_settled)

        times = [at_ns // NS_PER_S for at_ns, _, _ in rig.feed.asked]
        assert times == [1000, 1005, 1010]
        assert rig.told("FAULT") == ["book of BTC/USDT: the snapshot is older than the stream, another is asked for"]
        assert shown(slot).sequence == 59
        await rig.stop()

    run(scene())


def test_a_snapshot_that_is_pushed_is_the_book_and_none_is_asked_for() -> None:
    async def scene() -> None:
        rig = MarketRig()
        listener, slot = listening(rig)
        listener.on_event(snapshot(5, bids=levels(p100="1"), asks=ASKS))  # before the subscription was acknowledged
        listener.on_up()
        listener.on_event(delta(6, 6, bids=levels(p101="2")))
        await rig.time.settle()
        before = shown(slot)

        listener.on_event(snapshot(1, bids=levels(p90="1"), asks=ASKS))  # its counter begins anew
        listener.on_event(delta(2, 2, bids=levels(p91="1")))
        await rig.time.settle()

        assert (bids(before), before.sequence) == ([("101", "2"), ("100", "1")], 6)
        assert (bids(shown(slot)), shown(slot).sequence) == ([("91", "1"), ("90", "1")], 2)
        assert rig.feed.asked == []
        await rig.stop()

    run(scene())


def test_a_pushed_snapshot_ends_the_request_for_one_and_heals_a_gap() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.gate = asyncio.Event()
        listener, slot = listening(rig)
        listener.on_up()
        listener.on_event(snapshot(5, bids=levels(p100="1"), asks=ASKS))
        await rig.time.settle()
        assert listener.is_settled

        listener.on_event(delta(8, 9, bids=levels(p101="2")))
        assert shown(slot) is None
        listener.on_event(snapshot(12, bids=levels(p99="1"), asks=ASKS))
        await rig.time.settle()

        assert bids(shown(slot)) == [("99", "1")]
        assert listener.is_settled
        assert rig.told("SYNCED") == ["book of BTC/USDT"]
        await rig.stop()

    run(scene())


def test_a_pushed_snapshot_that_crosses_is_not_shown() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [snapshot(6, bids=levels(p100="1"), asks=ASKS)]
        listener, slot = listening(rig)
        listener.on_event(snapshot(5, bids=levels(p300="1"), asks=ASKS))
        assert shown(slot) is None
        await rig.time.until(lambda: listener.is_settled)

        assert shown(slot).sequence == 6
        await rig.stop()

    run(scene())


def test_a_book_that_crosses_is_begun_anew_and_told() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [
            snapshot(1, bids=levels(p100="1"), asks=ASKS),
            snapshot(2, bids=levels(p300="1"), asks=ASKS),
            snapshot(4, bids=levels(p150="1"), asks=ASKS),
        ]
        listener, slot = listening(rig)
        listener.on_up()
        await rig.time.settle()

        listener.on_event(delta(2, 2, bids=levels(p201="1")))
        assert shown(slot) is None
        await rig.time.until(lambda: listener.is_settled)

        assert rig.told("GAP") == ["book of BTC/USDT: its bids and asks cross; a snapshot is fetched"]
        assert "the snapshot's bids and asks cross" in rig.told("FAULT")[0]
        assert bids(shown(slot)) == [("150", "1")]
        await rig.stop()

    run(scene())


def test_a_cut_leaves_no_book_and_the_next_connection_brings_it_back() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.then = lambda _: snapshot(3, bids=levels(p100="1"), asks=ASKS)
        listener, slot = listening(rig)
        listener.on_up()
        await rig.time.settle()
        listener.on_down("cut")
        assert shown(slot) is None
        assert slot.get().reason == "book of BTC/USDT: cut"  # type: ignore[union-attr]
        listener.on_event(delta(9, 9))  # a late one of the old connection

        listener.on_up()
        listener.on_down("again")
        listener.on_up()
        await rig.time.until(lambda: listener.is_settled)

        assert bids(shown(slot)) == [("100", "1")]
        assert rig.told("GAP") == ["book of BTC/USDT: cut; a snapshot is fetched"]
        await rig.stop()

    run(scene())


def test_what_waits_for_a_snapshot_is_bounded() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.gate = asyncio.Event()
        rig.feed.answers = [snapshot(1), snapshot(4000, bids=levels(p100="1"), asks=ASKS)]
        listener, slot = listening(rig)
        listener.on_up()
        for number in range(2, 4002):
            listener.on_event(delta(number, number))
        assert listener._held is not None
        assert len(listener._held) == 1000
        rig.feed.gate.set()

        await rig.time.until(lambda: listener.is_settled)

        assert shown(slot).sequence == 4001
        await rig.stop()

    run(scene())


def test_a_venue_that_does_not_answer_is_told_and_asked_again_later() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [
            TransportError("not reached"),
            KeyError("lastUpdateId"),
            snapshot(3, bids=levels(p100="1"), asks=ASKS),
        ]
        listener, slot = listening(rig)
        listener.on_up()

        await rig.time.until(lambda: listener.is_settled)

        assert [text.rpartition(": ")[0] for text in rig.told("FAULT")] == [
            "book of BTC/USDT must wait: TransportError",
            "book of BTC/USDT must wait: KeyError",
        ]
        assert shown(slot).sequence == 3
        await rig.stop()

    run(scene())


def test_a_book_the_venue_does_not_have_is_told_once_and_holds_up_nobody() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.then = lambda _: NotSupportedError("no books here")
        listener, slot = listening(rig)
        listener.on_up()
        await rig.time.settle()

        assert listener.is_settled
        assert listener.has_heard(7)
        assert slot.get().reason == "book of BTC/USDT: no books here"  # type: ignore[union-attr]
        assert len(rig.feed.asked) == 1
        await rig.stop()

    run(scene())


def test_readers_have_the_depth_they_asked_for_and_the_last_one_ends_it() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [snapshot(1, bids=levels(p100="1", p99="1", p98="1"), asks=ASKS)]
        listener, deep = listening(rig, depth=3)
        listener.on_up()
        await rig.time.settle()
        shallow = Latest[BookSnapshot]()
        listener.add(shallow, 1)
        listener.on_event(delta(2, 2, bids=levels(p99="5")))
        await rig.time.settle()

        assert bids(shown(deep)) == [("100", "1"), ("99", "5"), ("98", "1")]
        assert bids(shown(shallow)) == [("100", "1")]
        assert not listener.remove(deep)
        assert listener.remove(shallow)
        listener.stop()
        await rig.stop()

    run(scene())


def test_deltas_read_in_one_go_are_published_once_and_counted_each() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [snapshot(0, bids=levels(p100="1"), asks=ASKS)]
        listener, slot = listening(rig)
        listener.on_up()
        await rig.time.settle()
        slot.get()

        for number in range(1, 11):
            listener.on_event(delta(number, number, bids=levels(p99=str(number))))
        assert not listener.is_settled
        assert not listener.has_heard(10)
        await rig.time.settle()

        assert listener.has_heard(10)
        assert not listener.has_heard(11)
        assert bids(shown(slot)) == [("100", "1"), ("99", "10")]
        assert slot.conflated == 9
        await rig.stop()

    run(scene())


def test_a_book_that_runs_beyond_its_snapshot_is_refreshed_while_it_is_shown() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [
            snapshot(1, bids=levels(p100="1", p99="1"), asks=levels(p200="1", p201="1")),
            snapshot(1),  # older than the book is by then
            snapshot(3, bids=levels(p98="1", p97="1"), asks=levels(p200="1", p201="1")),
        ]
        listener, slot = listening(rig, depth=2)
        listener._depth = 2  # so small a snapshot needs no thousand levels here
        listener.on_up()
        await rig.time.settle()
        listener.on_event(delta(2, 2, bids=levels(p100="0", p95="1")))
        await rig.time.settle()
        assert bids(shown(slot)) == [("99", "1"), ("95", "1")]  # 98 and 97 were never told
        listener.on_event(delta(3, 3, bids=levels(p99="0")))

        await rig.time.until(lambda: bids(shown(slot)) == [("98", "1"), ("97", "1")])

        assert rig.told("GAP") == []
        assert [at_ns // NS_PER_S for at_ns, _, _ in rig.feed.asked] == [1000, 1005, 1010]
        await rig.stop()

    run(scene())


@pytest.mark.parametrize(
    ("there", "pushed", "stale"),
    [(5, None, False), (6, 6, False), (6, None, True), (6, "cut", False)],
    ids=["quiet", "late", "stale", "cut meanwhile"],
)
def test_a_silent_stream_is_stale_only_if_the_venue_knows_more(there: int, pushed: Any, *, stale: bool) -> None:
    async def scene() -> None:
        rig = MarketRig(**({"grace_s": 0.02} if stale else {}))
        rig.feed.answers = [snapshot(5, bids=levels(p100="1"), asks=ASKS), snapshot(there)]
        listener, _ = listening(rig)
        assert await listener.is_stale() is None  # it has only just begun
        listener.on_up()
        await rig.time.settle()

        asking = asyncio.ensure_future(listener.is_stale())
        await rig.time.settle()
        if pushed == "cut":
            listener.on_down("cut")
        elif pushed is not None:
            listener.on_event(delta(6, pushed))
        reason = await asking

        assert (reason is not None) is stale
        if stale:
            assert reason == "book of BTC/USDT: the venue is at update 6, its stream stands still"
        assert rig.feed.asked[-1][2] == 5
        listener.stop()
        await rig.stop()

    run(scene())


def test_what_was_not_pushed_is_fetched_when_somebody_says_so() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.then = lambda _: snapshot(5 + len(rig.feed.asked), bids=levels(p100="1"), asks=ASKS)
        listener, _ = listening(rig)
        listener.catch_up()
        listener.on_up()
        await rig.time.settle()

        listener.catch_up()
        listener.catch_up()
        listener.on_event(public(1))  # nothing of a book
        await rig.time.until(lambda: listener.has_heard(7))

        assert rig.told("GAP") == ["book of BTC/USDT: an update was not pushed; a snapshot is fetched"]
        await rig.stop()

    run(scene())


def test_a_book_that_begins_anew_does_not_go_back_behind_what_was_pushed() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [
            snapshot(5, bids=levels(p100="1"), asks=ASKS),
            snapshot(5),
            snapshot(6, bids=levels(p90="1")),
        ]
        listener, slot = listening(rig)
        listener.on_up()
        await rig.time.settle()
        listener.on_event(delta(6, 6, bids=levels(p99="1")))

        listener.catch_up()  # REST is behind its own stream
        await rig.time.until(lambda: listener.is_settled)

        assert bids(shown(slot)) == [("90", "1")]
        assert len(rig.feed.asked) == 3
        assert "the snapshot is older than what was pushed" in rig.told("FAULT")[0]
        await rig.stop()

    run(scene())


def test_fifty_books_at_once_keep_the_weight_budget_and_orders_do_not_wait() -> None:
    async def scene() -> None:
        rig = MarketRig()
        guard = Guard(info=btx_venue(), now_ns=lambda: rig.time.ns, sleep=rig.time.sleep)
        rig.means = attrs.evolve(rig.means, guard=guard)
        rig.feed.then = lambda each: snapshot(1, bids=levels(p100="1"), asks=ASKS, symbol=each.symbol)
        coins = [attrs.evolve(BTC, symbol=f"C{n}/USDT", venue_symbol=f"C{n}USDT") for n in range(50)]
        desk = [listening(rig, coin)[0] for coin in coins]
        for listener in desk:
            listener.on_up()
        await rig.time.settle()
        order_waits = []

        async def order() -> None:
            before_ns = rig.time.ns
            await guard.acquire("place")
            order_waits.append(rig.time.ns - before_ns)
            guard.heard("place")

        for _ in range(3):  # all of them again, as after a cut
            await order()
            await rig.time.until(lambda: all(listener.is_settled for listener in desk))
            await order()
            for listener in desk:
                listener.on_event(delta(9, 9, symbol=listener._instrument.symbol))
                rig.feed.then = lambda each: snapshot(9, bids=levels(p100="1"), asks=ASKS, symbol=each.symbol)

        times = [at_ns for at_ns, _, _ in rig.feed.asked]
        heaviest = max(sum(50 for other in times if at <= other < at + NS_PER_MINUTE) for at in times)
        assert heaviest <= 0.75 * 6000
        assert order_waits == [0] * 6
        for coin in coins:
            asked = [at_ns for at_ns, symbol, _ in rig.feed.asked if symbol == coin.symbol]
            assert all(later - earlier >= 5 * NS_PER_S for earlier, later in itertools.pairwise(asked))
        await rig.stop()

    run(scene())
