"""Mark prices: the newest is shown, the first is asked for, and what is not carried on is none."""

import asyncio
from typing import Any

import attrs
import pytest

from btx.errors import TransportError
from btx.model.derivatives import MarkPrice
from btx.runtime.latest import Latest
from btx.runtime.marks import MarkListener, OnMark
from tests.unit.runtime.market_rig import MarketRig, quote, shown
from tests.unit.runtime.rig import run
from tests.values import BTC, d


class MarkedRig(MarketRig):
    """The rig of a market that has mark prices too; what is raised is raised by the venue."""

    def __init__(self, *there: MarkPrice | Exception, **changes: Any) -> None:
        super().__init__(**changes)
        self.there = list(there)
        self.means = attrs.evolve(self.means, feed=self)  # type: ignore[arg-type] # nothing else is asked of it

    async def mark_price(self, *, instrument: Any) -> MarkPrice:
        assert instrument is BTC
        answer = self.there.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def mark(time_ns: int, price: int = 100) -> MarkPrice:
    return MarkPrice(symbol=BTC.symbol, mark_price=d(price), time_ns=time_ns)


def listening(rig: MarkedRig) -> tuple[MarkListener, Latest[MarkPrice]]:
    listener, slot = MarkListener(BTC, rig.means), Latest[MarkPrice]()
    listener.add(slot, 0)
    return listener, slot


def test_the_first_mark_is_asked_for_and_later_ones_are_pushed() -> None:
    async def scene() -> None:
        rig, heard = MarkedRig(mark(5)), list[MarkPrice]()
        listener, slot = listening(rig)
        listener.add(OnMark(heard.append), 0)
        assert slot.get().reason == "mark price of BTC/USDT: no mark price has come so far"  # type: ignore[union-attr]
        listener.catch_up()  # nothing: it is not up
        listener.on_up()
        assert not listener.is_settled
        await rig.time.settle()

        assert listener.is_settled
        assert shown(slot) == mark(5)
        listener.on_event(mark(7, 110))
        listener.on_event(mark(6, 90))  # older
        listener.on_event(quote(9))
        assert shown(slot) == mark(7, 110)
        assert heard == [mark(5), mark(7, 110)]
        assert listener.has_heard(7)
        assert not listener.has_heard(8)
        assert not listener.remove(slot)
        await listener.ended()
        await rig.stop()

    run(scene())


def test_after_a_cut_there_is_no_mark_until_a_new_one_comes() -> None:
    async def scene() -> None:
        rig = MarkedRig(mark(5), TransportError("not reached"), TransportError("not reached"), TransportError("no"))
        listener, slot = listening(rig)
        listener.on_up()
        await rig.time.settle()
        listener.on_down("cut")
        assert slot.get().reason == "mark price of BTC/USDT: cut"  # type: ignore[union-attr]
        listener.on_up()
        listener.on_down("while it asks")
        listener.on_up()
        listener.on_event(mark(4))

        assert shown(slot) == mark(4)
        assert not listener.has_heard(5)
        listener.stop()
        await rig.stop()

    run(scene())


@pytest.mark.parametrize(
    ("there", "pushed", "stale"),
    [(mark(5), None, False), (mark(9), None, False), (mark(9, 110), None, True), (mark(9, 110), mark(9, 110), False)],
    ids=["the same", "only later", "stale", "late"],
)
def test_a_silent_mark_is_stale_only_if_the_venue_has_another(
    there: MarkPrice, pushed: MarkPrice | None, *, stale: bool
) -> None:
    async def scene() -> None:
        rig = MarkedRig(mark(5), there, **({"grace_s": 0.02} if stale else {}))
        listener, _ = listening(rig)
        listener.on_up()
        await rig.time.settle()

        asking = asyncio.ensure_future(listener.is_stale())
        await rig.time.settle()
        if pushed is not None:
            listener.on_event(pushed)

        assert (await asking is not None) is stale
        await rig.stop()

    run(scene())
