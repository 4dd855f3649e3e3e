"""Whatever is cut, whatever is late, and however far history lags: each bar once, in order, and whole."""

import asyncio
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, NS_PER_S, Interval
from btx.model.venue import Channel
from btx.runtime.bars import BarTimes
from btx.runtime.mailbox import FeedGap, Mailbox, Wakeup
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import BarRig, run
from tests.values import bar

TIMES = BarTimes(
    late_pause_s=0.001, overdue_s=0.02, grace_s=0.002, poll_s=0.002, settle_s=2.0, slow_s=1e9
)  # the clock stands still between the steps of a test
STEP_NS = 20 * NS_PER_S
BARS = 60
SEEDS = 12


class Lagging(ToyVenue):
    """Its history knows a bar, and each of its trades, ``lag_ns`` after the stream."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.lag_ns = 0

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        copy_ns = self.now_ns - self.lag_ns
        page = await super().bars(instrument=instrument, interval=interval, start_ns=start_ns, end_ns=end_ns)
        await asyncio.sleep(self.chance.choice((0, 0, 0.001)))
        return [
            each if each.close_ns <= copy_ns else attrs.evolve(each, volume=each.volume / 2)
            for each in page
            if each.open_ns < copy_ns
        ]


END_NS = (100 + BARS) * NS_PER_MINUTE


class Play:
    """What happens to one feed, by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.toy = Lagging(self.chance)
        self.toy.page = self.chance.choice((3, 1000))
        self.toy.history["BTC/USDT", "1m"] = {
            minute * NS_PER_MINUTE: volume(minute) for minute in range(80, 101 + BARS)
        }
        self.rig = BarRig(self.toy, times=TIMES)
        self.mailbox: Mailbox[Any] = Mailbox(Wakeup(), low=4, on_low=lambda: self.rig.desk.on_room(self.mailbox))
        self.taken: list[Any] = []

    async def run(self) -> None:
        most = self.chance.choice((8, 1000))
        self.rig.open(history=lambda _now_ns: 90 * NS_PER_MINUTE, mailbox=self.mailbox, most=most)
        self.rig.desk.connect()
        while self.toy.now_ns < END_NS:
            self._pass()
            self._disturb()
            for _ in range(self.chance.choice((0, 1, 5))):
                await asyncio.sleep(self.chance.choice((0, 0.001)))
            if self.chance.random() < 0.7:
                self._take()
        self._let_dial()
        self.toy.lag_ns = 0
        self.toy.now_ns = END_NS + 10 * NS_PER_S
        while not self.bars or self.bars[-1].close_ns < END_NS:
            await self.rig.log.until(lambda: len(self.mailbox) > 0)
            self._take()
        await self.rig.stop()

    @property
    def bars(self) -> list[Bar]:
        return [each for each in self.taken if isinstance(each, Bar)]

    def _pass(self) -> None:
        self.toy.lag_ns = self.chance.choice((0, 0, NS_PER_S, 1_900_000_000))
        before_ns = self.toy.now_ns
        self.toy.now_ns += self.chance.choice((NS_PER_S // 2, NS_PER_S, STEP_NS))
        for minute in range(before_ns // NS_PER_MINUTE, self.toy.now_ns // NS_PER_MINUTE):
            for likely in (0.8, 0.2):  # some pushes are lost, some come twice
                if self.chance.random() < likely:
                    push(self.toy, volume(minute))

    def _disturb(self) -> None:
        happening = self.chance.random()
        if happening < 0.09:
            if happening > 0.06:
                self.toy.gates["dial"] = asyncio.Event()
            self.toy.cut(Channel.BAR)
        elif happening < 0.12:
            self._let_dial()
        elif happening < 0.16:
            forming = volume(self.toy.now_ns // NS_PER_MINUTE)
            push(self.toy, attrs.evolve(forming, volume=Decimal(1), is_closed=False))

    def _let_dial(self) -> None:
        if "dial" in self.toy.gates:
            self.toy.gates.pop("dial").set()

    def _take(self) -> None:
        while (item := self.mailbox.take()) is not None:
            self.taken.append(item)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_bar_comes_once_in_order_and_whole(seed: int) -> None:
    async def scene() -> None:
        play = Play(seed)
        await play.run()

        minutes = [each.open_ns // NS_PER_MINUTE for each in play.bars]
        assert minutes == list(range(90, 100 + BARS))
        assert [each.volume for each in play.bars] == minutes
        assert not [each for each in play.taken if isinstance(each, FeedGap)]
        assert not [note for note in play.rig.notes if note[0] in {"FATAL", "GAP"}]

    run(scene())


def volume(minute: int) -> Bar:
    """Return a bar whose volume says which it is."""
    return bar(minute, volume=Decimal(minute))


def push(toy: ToyVenue, told: Bar) -> None:
    for each in toy.connections:
        if each.wants(told):
            each.frames.put_nowait(told)
