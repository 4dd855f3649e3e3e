"""Market lines: subscriptions over connections, events to listeners, changes that touch nothing else."""

import asyncio
from typing import Any

import attrs

from btx.errors import TransportError
from btx.model.market import Bar
from btx.model.time import Interval
from btx.model.venue import Channel, ConnectionState, StreamState, StreamStatus, Subscription
from btx.ports import StreamEvent
from btx.rules.staleness import Patience
from btx.runtime.lines import MarketLines
from btx.runtime.mailbox import Note
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import AT_ONCE, Log, run
from tests.values import BTC, MINUTE, bar

FIVE = Interval.parse("5m")


class Ear:
    """A listener that writes down what it hears."""

    def __init__(self, rig: "Rig", name: str, subscription: Subscription) -> None:
        self.subscription = subscription
        self._rig = rig
        self._name = name
        self.stale: Any = None

    def on_event(self, event: StreamEvent) -> None:
        assert isinstance(event, Bar)
        self._rig.log.add((self._name, event.close_ns // event.interval.nominal_ns - 1))

    def on_up(self) -> None:
        self._rig.log.add((self._name, "up"))

    def on_down(self, reason: str) -> None:
        self._rig.log.add((self._name, reason))

    async def is_stale(self) -> str | None:
        self._rig.log.add((self._name, "asked"))
        if isinstance(self.stale, Exception):
            raise self.stale
        return self.stale


class Rig:
    def __init__(self, toy: ToyVenue, **settings: Any) -> None:
        self.log = Log()
        self.notes: list[Note] = []
        self.lines = MarketLines(
            **{"stream": toy, "tell": self._tell, "on_fatal": self.log.add, "redial": AT_ONCE} | settings
        )

    def _tell(self, note: Note) -> None:
        self.notes.append(note)
        self.log.touch()

    def ear(self, name: str, interval: Interval = MINUTE, **changes: Any) -> Ear:
        instrument = attrs.evolve(BTC, **changes)
        return Ear(self, name, Subscription(channel=Channel.BAR, instrument=instrument, interval=interval))

    def add(self, name: str, interval: Interval = MINUTE, **changes: Any) -> Ear:
        ear = self.ear(name, interval, **changes)
        self.lines.add(ear)
        return ear

    async def heard(self, *items: Any) -> None:
        await self.log.until(lambda: all(item in self.log.items for item in items))

    @property
    def kinds(self) -> list[tuple[str, str]]:
        return [(note.kind, note.connection) for note in self.notes]


def test_an_event_reaches_those_who_listen_to_it_and_nobody_else() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy)
        rig.add("one")
        rig.add("two")
        rig.add("five", FIVE)
        rig.add("eth", symbol="ETH/USDT")
        await rig.heard(*[(name, "up") for name in ("one", "two", "five", "eth")])
        rig.log.items.clear()

        toy.push_bar(100)
        toy.push_bar(100, interval=FIVE)
        toy.push_bar(100, symbol="ETH/USDT")
        await rig.log.until(lambda: len(rig.log.items) == 4)

        assert rig.log.items == [("one", 100), ("two", 100), ("five", 20), ("eth", 100)]
        assert len(toy.connections[0].subscriptions) == 3  # two listeners, one subscription
        await rig.lines.stop()

    run(scene())


def test_a_frame_that_nobody_could_read_is_told_before_what_comes_after_it() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, on_fault=lambda: rig.log.add("doubt"))
        rig.add("one")
        await rig.heard(("one", "up"))

        toy.connections[0].frames.put_nowait(StreamStatus(state=StreamState.FAULT, detail="cut in the middle"))
        toy.push_bar(100)
        await rig.heard("doubt", ("one", 100))

        assert rig.log.items[-2:] == ["doubt", ("one", 100)]
        assert [note.text for note in rig.notes if note.kind == "FAULT"] == ["market stream: cut in the middle"]
        await rig.lines.stop()

    run(scene())


def test_subscriptions_are_spread_over_connections_and_named() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, size=2)
        for number in range(5):
            rig.add(f"c{number}", symbol=f"C{number}/USDT")
        await rig.heard(*[(f"c{number}", "up") for number in range(5)])

        assert [len(each.subscriptions) for each in toy.connections] == [2, 2, 1]
        assert {name: each.state for name, each in rig.lines.states().items()} == dict.fromkeys(
            ("market", "market 2", "market 3"), ConnectionState.CONNECTED
        )
        assert rig.kinds == [("CONNECTED", name) for name in ("market", "market 2", "market 3")]
        await rig.lines.stop()

    run(scene())


def test_adding_and_removing_touch_no_other_stream() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy)
        rig.add("one")
        await rig.heard(("one", "up"))
        connection = toy.connections[0]

        five = rig.add("five", FIVE)
        await rig.heard(("five", "up"))
        toy.push_bar(100)
        toy.push_bar(100, interval=FIVE)
        await rig.heard(("five", 20))
        rig.lines.remove(five)
        rig.lines.remove(five)
        await toy.until(lambda: len(connection.subscriptions) == 1)
        toy.push_bar(101)
        await rig.heard(("one", 101))

        assert toy.connections == [connection]
        assert rig.log.items == [("one", "up"), ("five", "up"), ("one", 100), ("five", 20), ("one", 101)]
        assert toy.count("dial") == 1
        await rig.lines.stop()

    run(scene())


def test_a_second_listener_is_told_at_once_that_the_stream_stands_and_the_last_to_go_ends_it() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy)
        one = rig.add("one")
        await rig.heard(("one", "up"))

        two = rig.add("two")
        assert rig.log.items[-1] == ("two", "up")
        rig.lines.remove(one)
        toy.push_bar(100)
        await rig.heard(("two", 100))
        rig.lines.remove(two)
        await toy.until(lambda: not toy.connections)

        assert rig.lines.states() == {}
        assert ("one", 100) not in rig.log.items
        await rig.lines.stop()

    run(scene())


def test_a_subscription_taken_back_and_wanted_again_is_up_again() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy)
        rig.add("one")
        five = rig.add("five", FIVE)
        await rig.heard(("one", "up"), ("five", "up"))
        toy.gates["subscribe"] = asyncio.Event()

        rig.lines.remove(five)
        await toy.until(lambda: toy.count("subscribe") == 1)  # the venue is being told
        again = rig.add("again", FIVE)
        toy.gates["subscribe"].set()
        await rig.log.until(lambda: [item for item in rig.log.items if item[0] == "again"][-1:] == [("again", "up")])
        await toy.until(lambda: toy.count("subscribe") == 2)
        toy.push_bar(100, interval=FIVE)
        await rig.heard(("again", 20))

        rig.lines.remove(again)
        await rig.lines.stop()

    run(scene())


def test_a_cut_is_told_to_those_on_the_connection_and_to_no_others() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, size=1)
        rig.add("one")
        rig.add("five", FIVE)
        await rig.heard(("one", "up"), ("five", "up"))
        rig.log.items.clear()

        toy.connections[0].frames.put_nowait(TransportError("cut"))
        await rig.heard(("one", "up"))

        assert rig.log.items == [("one", "cut"), ("one", "up")]
        assert rig.kinds == [
            ("CONNECTED", "market"),
            ("CONNECTED", "market 2"),
            ("DISCONNECTED", "market"),
            ("CONNECTED", "market"),
        ]
        await rig.lines.stop()

    run(scene())


def test_a_refused_subscription_costs_the_connection_which_is_dialled_again() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy)
        rig.add("one")
        await rig.heard(("one", "up"))
        toy.faults["subscribe"].append(TransportError("refused"))

        rig.add("five", FIVE)
        await rig.heard(("five", "up"))

        assert rig.log.items == [("one", "up"), ("one", "refused"), ("one", "up"), ("five", "up")]
        assert toy.count("dial") == 2
        await rig.lines.stop()

    run(scene())


def test_a_frame_that_could_not_be_read_is_told_and_strange_events_reach_nobody() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy)
        rig.add("one")
        await rig.heard(("one", "up"))

        toy.connections[0].frames.put_nowait(StreamStatus(state=StreamState.FAULT, detail="strange"))
        toy.connections[0].frames.put_nowait(toy.balance_update())
        toy.connections[0].frames.put_nowait(bar(100, symbol="XYZ/USDT"))
        toy.push_bar(101)
        await rig.heard(("one", 101))

        assert rig.log.items == [("one", "up"), ("one", 101)]
        assert (rig.notes[-1].kind, rig.notes[-1].text) == ("FAULT", "market stream: strange")
        await rig.lines.stop()

    run(scene())


QUICK = Patience(floor_s=0.02, ceiling_s=0.04)


def test_a_silent_stream_is_asked_after_although_another_of_its_connection_is_busy() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, patience=QUICK)
        rig.add("busy", FIVE)
        dead = rig.add("dead")
        await rig.heard(("busy", "up"), ("dead", "up"))
        dead.stale = "the venue has more"

        async def chatter() -> None:
            while True:
                toy.push_bar(100, interval=FIVE)
                await asyncio.sleep(0.002)

        chattering = asyncio.create_task(chatter())
        await rig.heard(("dead", "subscribed anew"))
        dead.stale = None
        await rig.log.until(lambda: rig.log.items.count(("dead", "up")) == 2)
        chattering.cancel()
        await asyncio.gather(chattering, return_exceptions=True)

        assert ("busy", "subscribed anew") not in rig.log.items
        assert toy.count("dial") == 1
        assert rig.kinds == [("CONNECTED", "market"), ("STALE", "market")]
        assert rig.notes[1].text == "market stream: BTC/USDT bar 1m: the venue has more"
        toy.push_bar(101)
        await rig.log.until(lambda: len(rig.notes) == 3)
        assert rig.kinds[-1] == ("CONNECTED", "market")
        await rig.lines.stop()

    run(scene())


def test_what_stays_stale_after_it_was_subscribed_anew_costs_the_connection() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, patience=QUICK)
        dead = rig.add("dead")
        dead.stale = "the venue has more"

        await toy.until(lambda: toy.count("dial") == 2)
        dead.stale = None

        assert toy.count("subscribe") == 2  # away, and back
        assert rig.log.items[:5] == [
            ("dead", "up"),
            ("dead", "asked"),
            ("dead", "subscribed anew"),
            ("dead", "up"),
            ("dead", "asked"),
        ]
        await rig.heard(("dead", "BTC/USDT bar 1m: the venue has more"))
        await rig.lines.stop()

    run(scene())


def test_a_quiet_market_is_not_stale_and_is_asked_after_less_often() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, patience=QUICK)
        rig.add("quiet").stale = None

        await rig.log.until(lambda: rig.log.items.count(("quiet", "asked")) >= 3)

        assert rig.kinds == [("CONNECTED", "market")]
        assert toy.count("subscribe") == 0
        await rig.lines.stop()

    run(scene())


def test_a_question_that_finds_no_answer_proves_nothing_and_is_told() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, patience=QUICK)
        rig.add("unsure").stale = TransportError("not reached")

        await rig.log.until(lambda: len(rig.notes) >= 2)

        assert rig.notes[1].text == "asking whether BTC/USDT bar 1m is stale: TransportError: not reached"
        assert toy.count("subscribe") == 0
        await rig.lines.stop()

    run(scene())


def test_without_patience_silence_says_nothing() -> None:
    async def scene() -> None:
        rig = Rig(ToyVenue())
        rig.add("one")
        await rig.heard(("one", "up"))

        assert rig.lines._watching is None
        await rig.lines.stop()

    run(scene())


def test_a_renewal_of_what_nobody_hears_or_what_is_down_is_nothing() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy)
        rig.lines.renew(rig.ear("nobody").subscription, "why not")
        ear = rig.add("one")
        rig.lines.renew(ear.subscription, "it is not even up")
        await rig.heard(("one", "up"))

        assert toy.count("subscribe") == 0
        await rig.lines.stop()

    run(scene())


def test_a_cut_while_a_stream_is_subscribed_anew_dials_with_everything_that_is_wanted() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy)
        ear = rig.add("one")
        await rig.heard(("one", "up"))
        toy.gates["subscribe"] = asyncio.Event()

        rig.lines.renew(ear.subscription, "it is silent")
        await toy.until(lambda: toy.count("subscribe") == 1)
        toy.cut(Channel.BAR)
        await toy.until(lambda: toy.count("dial") == 2)
        await rig.log.until(lambda: rig.log.items.count(("one", "up")) == 2)

        assert [what for name, what in toy.calls if name == "dial"] == [(ear.subscription,)] * 2
        await rig.lines.stop()

    run(scene())
