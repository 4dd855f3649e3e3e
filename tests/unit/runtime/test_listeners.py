"""Quotes and public trades: the newest quote is shown, each trade comes once, and what is missing is said."""

import asyncio
from typing import Any

import pytest

from btx.errors import NotSupportedError, TransportError
from btx.model.market import Quote
from btx.runtime.latest import Latest, Prints
from btx.runtime.listeners import QuoteListener, TradeListener
from tests.unit.runtime.market_rig import MarketRig, delta, levels, public, quote, shown, snapshot
from tests.unit.runtime.rig import run
from tests.values import BTC

TOP = {"bids": levels(p99="1"), "asks": levels(p101="1")}


def quotes(rig: MarketRig) -> tuple[QuoteListener, Latest[Quote]]:
    listener, slot = QuoteListener(BTC, rig.means), Latest[Quote]()
    listener.add(slot, 0)
    return listener, slot


def trades(rig: MarketRig) -> tuple[TradeListener, Prints]:
    listener, slot = TradeListener(BTC, rig.means), Prints(bound=100)
    listener.add(slot, 0)
    return listener, slot


def numbers(slot: Prints) -> list[Any]:
    return [trade.trade_id for trade in slot.take()]


# --- quotes ---------------------------------------------------------------------------------------------------


def test_the_first_quote_is_asked_for_because_a_quiet_stream_tells_none() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [snapshot(7, **TOP)]
        listener, slot = quotes(rig)
        assert shown(slot) is None
        assert slot.get().reason == "quotes of BTC/USDT: no quote has come so far"  # type: ignore[union-attr]
        listener.on_up()
        assert not listener.is_settled
        await rig.time.settle()

        assert listener.is_settled
        assert shown(slot) == quote(7)
        assert rig.feed.asked[0][2] == 5
        late = Latest[Quote]()
        listener.add(late, 0)
        assert shown(late) == quote(7)
        assert not listener.remove(slot)
        assert listener.remove(late)
        assert listener.remove(late)
        await rig.stop()

    run(scene())


def test_a_quote_that_is_older_or_repeated_changes_nothing() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [snapshot(7, **TOP)]
        listener, slot = quotes(rig)
        listener.on_up()
        listener.on_event(quote(8, bid=98))
        await rig.time.settle()  # what was asked for comes after it, and is older
        listener.on_event(quote(8, bid=97))
        listener.on_event(delta(1, 1))

        assert shown(slot) == quote(8, bid=98)
        assert slot.conflated == 0
        assert listener.has_heard(8)
        assert not listener.has_heard(9)
        listener.on_event(quote(None, bid=90))  # of a venue without sequences
        assert shown(slot).bid_price == 90
        assert listener.has_heard(9)
        await rig.stop()

    run(scene())


def test_after_a_cut_there_is_no_quote_until_a_new_one_comes() -> None:
    async def scene() -> None:
        rig = MarketRig()
        rig.feed.answers = [snapshot(7, **TOP), TransportError("not reached"), snapshot(0)]
        listener, slot = quotes(rig)
        listener.on_up()
        await rig.time.settle()
        listener.on_down("cut")
        assert slot.get().reason == "quotes of BTC/USDT: cut"  # type: ignore[union-attr]
        listener.catch_up()
        listener.on_up()
        await rig.time.settle()

        assert shown(slot) is None
        assert listener.is_settled  # the stream will tell
        assert rig.told("FAULT") == ["quotes of BTC/USDT: not reached"]
        listener.catch_up()  # an empty book has no quote
        await rig.time.settle()
        assert shown(slot) is None
        listener.on_event(quote(1))  # a venue that counts anew
        assert shown(slot) == quote(1)
        listener.on_down("again")
        listener.on_up()
        listener.on_down("while it asks")
        await rig.stop()

    run(scene())


@pytest.mark.parametrize(
    ("there", "pushed", "stale"),
    [
        (snapshot(8, **TOP), None, False),
        (snapshot(6, bids=levels(p98="1"), asks=levels(p101="1")), None, False),
        (snapshot(8), None, False),
        (snapshot(8, bids=levels(p98="1"), asks=levels(p101="1")), None, True),
        (snapshot(8, bids=levels(p98="1"), asks=levels(p101="1")), quote(8, bid=98), False),
        (snapshot(8, bids=levels(p98="1"), asks=levels(p101="1")), "cut", False),
    ],
    ids=["only the book moved", "older", "empty", "stale", "late", "cut meanwhile"],
)
def test_silent_quotes_are_stale_only_if_the_venue_shows_another(there: Any, pushed: Any, *, stale: bool) -> None:
    async def scene() -> None:
        rig = MarketRig(**({"grace_s": 0.02} if stale else {}))
        rig.feed.answers = [snapshot(7, **TOP), there]
        listener, _ = quotes(rig)
        listener.on_up()
        await rig.time.settle()

        asking = asyncio.ensure_future(listener.is_stale())
        await rig.time.settle()
        if pushed == "cut":
            listener.on_down("cut")
        elif pushed is not None:
            listener.on_event(pushed)
        reason = await asking

        assert reason == ("quotes of BTC/USDT: the venue is at update 8, its stream stands still" if stale else None)
        await rig.stop()

    run(scene())


# --- trades: the tape beneath has its own tests ----------------------------------------------------------------


def test_each_trade_comes_once_and_what_was_not_pushed_is_fetched() -> None:
    async def scene() -> None:
        rig = MarketRig()
        listener, slot = trades(rig)
        assert not listener.is_settled
        listener.on_up()
        await rig.time.settle()
        assert listener.is_settled
        rig.feed.made = [public(number) for number in range(1001, 1008)]
        for number in (1001, 1002, 1002, 1001, 1005):
            listener.on_event(public(number))
            await rig.time.settle()

        assert numbers(slot) == [*range(1001, 1008)]
        assert numbers(slot) == []
        assert slot.missed == 0
        assert listener.has_heard(1007)
        assert not listener.has_heard(1008)
        assert await listener.is_stale() is None
        assert not rig.notes
        listener.stop()
        await listener.ended()
        await rig.stop()

    run(scene())


def test_trades_the_venue_has_lost_are_counted_and_told() -> None:
    async def scene() -> None:
        rig = MarketRig()
        listener, slot = trades(rig)
        other = Prints(bound=1)
        listener.add(other, 0)
        listener.on_up()
        await rig.time.settle()
        rig.feed.made = [public(1001)]
        listener.on_event(public(1001))
        await rig.time.settle()

        rig.feed.made = [public(1001), public(1004)]
        listener.on_event(public(1004))
        await rig.time.settle()

        assert numbers(slot) == [1001, 1004]
        assert slot.missed == other.missed == 2
        (told,) = rig.told("GAP")
        assert told.startswith("BTC/USDT: trades are missing between ")
        assert told.endswith(": the venue has no trades 1002 to 1003")
        assert not listener.remove(slot)
        assert listener.remove(other)
        assert listener.remove(other)
        await listener.ended()
        await rig.stop()

    run(scene())


def test_after_a_cut_trades_are_asked_for_and_go_on_where_they_were() -> None:
    async def scene() -> None:
        rig = MarketRig()
        listener, slot = trades(rig)
        listener.on_up()
        await rig.time.settle()
        rig.feed.made = [public(1001)]
        listener.on_event(public(1001))
        await rig.time.settle()
        listener.on_down("cut")
        assert not listener.is_settled
        rig.feed.made = [public(number) for number in range(1001, 1005)]
        listener.catch_up()  # which is under way already
        listener.on_up()
        await rig.time.settle()

        assert numbers(slot) == [1001, 1002, 1003, 1004]
        rig.feed.made.append(public(1005))
        listener.catch_up()
        await rig.time.settle()
        assert numbers(slot) == [1005]
        assert slot.missed == 0
        await listener.ended()
        await rig.stop()

    run(scene())


def test_a_venue_without_trades_is_told_and_holds_up_nobody() -> None:
    async def scene() -> None:
        rig = MarketRig()

        async def refuse(**_: object) -> None:
            raise NotSupportedError("no trades here")

        rig.feed.trades = refuse  # type: ignore[assignment]
        listener, _ = trades(rig)
        listener.on_up()
        await rig.time.settle()

        assert listener.is_settled
        assert listener.has_heard(7)
        assert rig.told("FATAL") == ["trades of BTC/USDT: no trades here"]
        await listener.ended()
        await rig.stop()

    run(scene())


def test_trades_without_numbers_are_never_counted_as_missed() -> None:
    async def scene() -> None:
        rig = MarketRig(dense=False)
        listener, slot = trades(rig)
        listener.on_up()
        await rig.time.settle()
        listener.on_event(public("1001"))
        listener.on_event(public(1009))

        assert numbers(slot) == ["1001", 1009]
        assert slot.missed == 0
        await listener.ended()
        await rig.stop()

    run(scene())
