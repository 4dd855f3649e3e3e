"""Subscriptions the venue refuses for good: they leave the connection of those it carries."""

from typing import Any

from btx.errors import SubscriptionRefusedError, TransportError
from btx.model.venue import Channel, Subscription
from tests.toy_venue import Fault, ToyVenue
from tests.unit.runtime.rig import run
from tests.unit.runtime.test_lines import Ear, Rig
from tests.values import MINUTE


class Picky(ToyVenue):
    """It carries nothing on a connection that wants one of ``refused`` as well."""

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self.refused = set(refused)
        self.error: type[TransportError] = SubscriptionRefusedError

    async def _request(self, name: str, what: Any) -> Fault | None:
        fault = await super()._request(name, what)
        if name in {"dial", "subscribe"} and self.refused & symbols(what):
            raise self.error("no such stream")
        return fault

    @property
    def carried(self) -> list[set[str]]:
        return [symbols(each.subscriptions) for each in self.of(Channel.BAR)]

    @property
    def last_tries(self) -> list[set[str]]:
        return [symbols(what) for name, what in self.calls if name == "dial"][-10:]


def symbols(subscriptions: Any) -> set[str]:
    wanted: tuple[Subscription, ...] = tuple(subscriptions)
    return {each.instrument.symbol for each in wanted if each.instrument is not None}


def add(rig: Rig, *names: str) -> list[Ear]:
    return [rig.add(name, MINUTE, symbol=name, venue_symbol=name) for name in names]


def test_a_new_subscription_that_is_refused_three_times_leaves_the_connection_of_the_others() -> None:
    async def scene() -> None:
        toy = Picky("BAD")
        rig = Rig(toy)
        add(rig, "A", "B")
        await rig.heard(("A", "up"), ("B", "up"))

        add(rig, "BAD")
        await rig.log.until(lambda: rig.log.items.count(("A", "up")) == 2)
        tried = toy.count("dial")
        await toy.until(lambda: toy.count("dial") > tried + 5)
        add(rig, "C")
        await rig.heard(("C", "up"))

        assert toy.carried == [{"A", "B", "C"}]
        assert toy.last_tries[-1] == {"BAD"}
        assert rig.log.items.count(("A", "up")) == 2
        assert "market stream: the venue refuses a subscription: BAD bar 1m now apart as market 2" in [
            note.text for note in rig.notes
        ]
        await rig.lines.stop()

    run(scene())


def test_where_nothing_was_carried_yet_the_refused_is_found_by_halves() -> None:
    async def scene() -> None:
        toy = Picky("BAD")
        good = tuple("ABCDEFG")
        rig = Rig(toy)
        add(rig, *good[:3], "BAD", *good[3:])

        await rig.heard(*((name, "up") for name in good))

        assert set().union(*toy.carried) == set(good)
        assert len(toy.carried) <= 3
        toy.refused.clear()
        await rig.heard(("BAD", "up"))
        await rig.lines.stop()

    run(scene())


def test_a_venue_that_refuses_everything_gets_no_connection_for_each() -> None:
    async def scene() -> None:
        names = tuple(f"S{number}" for number in range(60))
        toy = Picky(*names)
        rig = Rig(toy)
        add(rig, *names)

        await toy.until(lambda: toy.count("dial") > 200)

        assert len(rig.lines.states()) <= 17
        toy.refused.clear()
        await rig.heard(*((name, "up") for name in names))
        await rig.lines.stop()

    run(scene())


def test_a_connection_that_is_not_reached_is_no_refusal() -> None:
    async def scene() -> None:
        toy = Picky("A")
        toy.error = TransportError
        rig = Rig(toy)
        add(rig, "A", "B")

        await toy.until(lambda: toy.count("dial") > 10)

        assert len(rig.lines.states()) == 1
        await rig.lines.stop()

    run(scene())
