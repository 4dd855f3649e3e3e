"""The supervisor: only it dials, with back-off, until something would not be cured by it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from btx.errors import AuthenticationError, ClockError, ConfigError, NotSupportedError, RateLimitedError, TransportError
from btx.model.time import Interval
from btx.model.venue import Channel, ConnectionState, StreamState, StreamStatus, Subscription
from btx.ports import Sink, Wanted
from btx.rules.backoff import Backoff
from btx.runtime.mailbox import Note
from btx.runtime.supervisor import StreamSupervisor
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import AT_ONCE, Log, run
from tests.values import BTC, MINUTE, bar

ACCOUNT = frozenset({Subscription(channel=Channel.ACCOUNT)})
STAND = "stand until cancelled"
DOUBLING = Backoff(base_s=1.0, cap_s=100.0, jitter=0.0)


def sleeping(waits: list[float]) -> Callable[[float], Awaitable[None]]:
    """Return a sleep that takes no time and is written down."""

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return sleep


class Script:
    """A stream whose every connection does the next thing of a script."""

    def __init__(self, *steps: Any) -> None:
        self._steps = list(steps)
        self.dials = 0

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        self.dials += 1
        step = self._steps.pop(0)
        if step is STAND:
            sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=wanted.now))
            await asyncio.Event().wait()
        if step is not None:
            raise step


class Rig:
    def __init__(self, stream: Any, **changes: Any) -> None:
        self.log = Log()
        self.notes: list[Note] = []
        settings: dict[str, Any] = {
            "name": "market",
            "stream": stream,
            "sink": lambda event: self.log.add(("event", event)),
            "on_up": lambda _standing: self.log.add(("up", None)),
            "on_down": lambda reason: self.log.add(("down", reason)),
            "on_fatal": lambda error: self.log.add(("fatal", error)),
            "tell": self.notes.append,
            "backoff": AT_ONCE,
        }
        self.supervisor = StreamSupervisor(**(settings | changes))

    async def told(self, count: int) -> list[Any]:
        await self.log.until(lambda: len(self.log.items) >= count)
        return self.log.items


def test_it_dials_again_after_every_end_and_tells_ups_and_downs() -> None:
    async def scene() -> None:
        rig = Rig(Script(TransportError("refused"), None, KeyError("field"), STAND))

        rig.supervisor.start(ACCOUNT)
        told = await rig.told(4)

        assert told == [
            ("down", "refused"),
            ("down", "the connection ended"),
            ("down", "KeyError: 'field'"),
            ("up", None),
        ]
        assert rig.supervisor.is_up
        await rig.supervisor.stop()
        assert not rig.supervisor.is_up

    run(scene())


def test_events_are_handed_on_and_the_word_subscribed_is_not() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy)
        rig.supervisor.start(ACCOUNT)
        await rig.told(1)

        toy.tell(bar(1), StreamStatus(state=StreamState.LOST))
        told = await rig.told(3)

        assert told == [("up", None), ("event", bar(1)), ("event", StreamStatus(state=StreamState.LOST))]
        await rig.supervisor.stop()

    run(scene())


@pytest.mark.parametrize("error", [AuthenticationError("no"), ConfigError("no"), NotSupportedError("no")])
def test_what_dialling_again_would_not_cure_stops_it(error: Exception) -> None:
    async def scene() -> None:
        script = Script(error)
        rig = Rig(script)

        rig.supervisor.start(ACCOUNT)
        told = await rig.told(1)

        assert told == [("fatal", error)]
        assert script.dials == 1
        await rig.supervisor.stop()

    run(scene())


def test_a_bug_in_the_shell_itself_is_fatal_and_told() -> None:
    async def scene() -> None:
        bug = ZeroDivisionError("ours")

        def broken(_reason: str) -> None:
            raise bug

        rig = Rig(Script(None), on_down=broken)
        rig.supervisor.start(ACCOUNT)

        assert await rig.told(1) == [("fatal", bug)]
        await rig.supervisor.stop()

    run(scene())


def test_failures_in_a_row_wait_longer_and_longer() -> None:
    async def scene() -> None:
        waits: list[float] = []
        rig = Rig(Script(*[TransportError("down")] * 4, STAND), backoff=DOUBLING, sleep=sleeping(waits))

        rig.supervisor.start(ACCOUNT)
        await rig.told(5)

        assert waits == [1.0, 2.0, 4.0, 8.0]
        await rig.supervisor.stop()

    run(scene())


@pytest.mark.parametrize(("steady_s", "wait_s"), [(0.0, 1.0), (60.0, 4.0)])
def test_a_connection_that_stood_long_enough_starts_the_back_off_anew(steady_s: float, wait_s: float) -> None:
    async def scene() -> None:
        toy = ToyVenue()
        toy.faults["dial"].extend([TransportError("down"), TransportError("down")])
        waits: list[float] = []
        rig = Rig(toy, backoff=DOUBLING, steady_s=steady_s, sleep=sleeping(waits))
        rig.supervisor.start(ACCOUNT)
        await rig.told(3)

        toy.cut(Channel.ACCOUNT)
        await rig.told(5)

        assert waits == [1.0, 2.0, wait_s]
        await rig.supervisor.stop()

    run(scene())


def test_a_venue_that_asks_for_silence_gets_it() -> None:
    async def scene() -> None:
        waits: list[float] = []
        rig = Rig(Script(RateLimitedError("slow down", retry_after_s=77.0), STAND), sleep=sleeping(waits))

        rig.supervisor.start(ACCOUNT)
        told = await rig.told(2)

        assert told == [("down", "slow down"), ("up", None)]
        assert waits == [77.0]
        await rig.supervisor.stop()

    run(scene())


def test_stopping_twice_and_before_the_start_is_harmless() -> None:
    async def scene() -> None:
        rig = Rig(Script(STAND))
        await rig.supervisor.stop()
        rig.supervisor.start(ACCOUNT)
        await rig.told(1)

        await rig.supervisor.stop()
        await rig.supervisor.stop()

        assert rig.log.items == [("up", None)]

    run(scene())


def test_a_time_stamp_that_is_refused_is_doubted_and_dialled_again_with_the_back_off() -> None:
    async def scene() -> None:
        waits: list[float] = []
        doubts: list[int] = []
        script = Script(ClockError("-1021"), ClockError("-1021"), STAND)
        rig = Rig(script, backoff=DOUBLING, sleep=sleeping(waits), on_clock_doubt=lambda: doubts.append(script.dials))

        rig.supervisor.start(ACCOUNT)
        told = await rig.told(3)

        assert told == [("down", "-1021"), ("down", "-1021"), ("up", None)]
        assert doubts == [1, 2]
        assert waits == [1.0, 2.0]
        await rig.supervisor.stop()

    run(scene())


# --- states ---------------------------------------------------------------------------------------------------


def test_each_change_of_the_state_is_told_once_and_can_be_asked_for() -> None:
    async def scene() -> None:
        downs = [TransportError(f"down {n}") for n in range(5)]
        rig = Rig(Script(*downs, STAND))
        assert rig.supervisor.status.state is ConnectionState.STOPPED

        rig.supervisor.start(ACCOUNT)
        assert rig.supervisor.status.state is ConnectionState.CONNECTING
        await rig.told(6)
        since_ns = rig.supervisor.status.since_ns
        await rig.supervisor.stop()

        assert [(note.kind, note.text) for note in rig.notes] == [
            ("DISCONNECTED", "market stream: down 0"),
            ("FAULT", "market stream: not back after 4 dials: down 3"),  # it goes on, and says so
            ("CONNECTED", "market stream"),
        ]
        assert [note.status.state for note in rig.notes if note.status is not None] == [
            ConnectionState.RECONNECTING,
            ConnectionState.CONNECTED,
        ]
        assert rig.supervisor.status.state is ConnectionState.STOPPED
        assert rig.supervisor.status.since_ns >= since_ns > 0

    run(scene())


def test_what_dialling_does_not_cure_is_a_stop() -> None:
    async def scene() -> None:
        rig = Rig(Script(AuthenticationError("no")))

        rig.supervisor.start(ACCOUNT)
        await rig.told(1)

        assert rig.supervisor.status.state is ConnectionState.STOPPED
        assert rig.supervisor.status.reason == "no"
        await rig.supervisor.stop()

    run(scene())


def test_a_stale_connection_stands_and_is_fresh_again_or_dialled_again() -> None:
    async def scene() -> None:
        rig = Rig(Script(STAND, STAND))
        rig.supervisor.be_stale("not yet connected")
        rig.supervisor.start(ACCOUNT)
        await rig.told(1)

        rig.supervisor.be_fresh()
        rig.supervisor.be_stale("silent")
        rig.supervisor.be_stale("silent still")
        assert rig.supervisor.is_up
        assert rig.supervisor.standing == ACCOUNT
        rig.supervisor.be_fresh()
        rig.supervisor.be_stale("silent again")
        rig.supervisor.redial("of no use")
        await rig.told(3)

        assert rig.log.items == [("up", None), ("down", "of no use"), ("up", None)]
        assert [note.kind for note in rig.notes] == [
            *("CONNECTED", "STALE", "CONNECTED", "STALE", "DISCONNECTED", "CONNECTED"),
        ]
        await rig.supervisor.stop()
        rig.supervisor.redial("it is over")
        assert rig.supervisor.standing == frozenset()

    run(scene())


def test_a_dial_that_is_never_accepted_has_failed() -> None:
    class Deaf(Script):
        async def run(self, *, wanted: Wanted, sink: Sink) -> None:
            self.dials += 1
            if self.dials == 1:
                await asyncio.Event().wait()
            await super().run(wanted=wanted, sink=sink)

    async def scene() -> None:
        rig = Rig(Deaf(TimeoutError("the adapter's own"), STAND), open_s=0.01)

        rig.supervisor.start(ACCOUNT)
        await rig.told(3)

        assert rig.log.items == [
            ("down", "not subscribed within 0.01 s"),
            ("down", "TimeoutError: the adapter's own"),
            ("up", None),
        ]
        await rig.supervisor.stop()

    run(scene())


def test_clean_ends_in_a_row_wait_longer_and_longer_too() -> None:
    async def scene() -> None:
        class Brief(Script):
            """Stands, and ends at once without an error, as a venue that closes with 1000."""

            async def run(self, *, wanted: Wanted, sink: Sink) -> None:
                self.dials += 1
                sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=wanted.now))
                if self.dials == 5:
                    await asyncio.Event().wait()

        waits: list[float] = []
        rig = Rig(Brief(), backoff=DOUBLING, sleep=sleeping(waits))
        rig.supervisor.start(ACCOUNT)
        await rig.told(9)

        assert waits == [1.0, 2.0, 4.0, 8.0]
        await rig.supervisor.stop()

    run(scene())


# --- make before break ----------------------------------------------------------------------------------------


def closing() -> StreamStatus:
    return StreamStatus(state=StreamState.CLOSING)


def test_a_connection_that_will_end_is_replaced_before_and_nobody_notices() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, linger_s=0.2)
        rig.supervisor.start(ACCOUNT)
        await rig.told(1)
        (old,) = toy.connections
        toy.gates["dial"] = asyncio.Event()

        toy.tell(closing())
        await toy.until(lambda: toy.count("dial") == 2)
        toy.tell(bar(1))  # the old one goes on pushing meanwhile
        await rig.told(2)
        toy.gates["dial"].set()
        await toy.until(lambda: len(toy.connections) == 2)
        old.frames.put_nowait(bar(2))  # what was on its way is still read
        await toy.until(lambda: old not in toy.connections)
        toy.tell(bar(3))
        told = await rig.told(5)

        assert told == [("up", None), ("event", bar(1)), ("up", None), ("event", bar(2)), ("event", bar(3))]
        assert [note.kind for note in rig.notes] == ["CONNECTED"]
        assert rig.supervisor.is_up
        await rig.supervisor.stop()

    run(scene())


def test_a_connection_is_replaced_before_its_life_is_over() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, life_s=0.05, linger_s=0.001)
        rig.supervisor.start(ACCOUNT)

        await toy.until(lambda: toy.count("dial") == 4)

        assert all(kind == "up" for kind, _ in rig.log.items)
        assert [note.kind for note in rig.notes] == ["CONNECTED"]
        await rig.supervisor.stop()

    run(scene())


def test_a_successor_that_fails_is_tried_again_while_the_first_one_stands() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, linger_s=0.001)
        rig.supervisor.start(ACCOUNT)
        await rig.told(1)
        (old,) = toy.connections
        toy.faults["dial"].extend([TransportError("busy"), AuthenticationError("not today")])

        toy.tell(closing())
        await toy.until(lambda: old not in toy.connections)

        assert toy.count("dial") == 4
        assert [(note.kind, note.text) for note in rig.notes[1:]] == [
            ("FAULT", "market stream: its successor did not come up: busy"),
            ("FAULT", "market stream: its successor did not come up: not today"),
        ]
        assert rig.supervisor.is_up
        await rig.supervisor.stop()

    run(scene())


@pytest.mark.parametrize("when", ["while its successor is dialled", "while its successor waits for another try"])
def test_a_connection_that_ends_before_its_successor_stands_is_a_loss_like_any_other(when: str) -> None:
    async def scene() -> None:
        toy = ToyVenue()
        release = asyncio.Event()
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            rig.log.touch()
            await release.wait()

        rig = Rig(toy, sleep=sleep)
        rig.supervisor.start(ACCOUNT)
        await rig.told(1)
        (old,) = toy.connections
        if when == "while its successor is dialled":
            toy.gates["dial"] = release
        else:
            toy.faults["dial"].append(TransportError("busy"))

        old.frames.put_nowait(closing())
        await toy.until(lambda: toy.count("dial") == 2)
        if when != "while its successor is dialled":
            await rig.log.until(lambda: bool(waits))
        old.frames.put_nowait(TransportError("gone"))
        await rig.told(2)
        release.set()
        await rig.told(3)

        assert rig.log.items == [("up", None), ("down", "gone"), ("up", None)]
        assert [note.kind for note in rig.notes if note.kind != "FAULT"] == ["CONNECTED", "DISCONNECTED", "CONNECTED"]
        await rig.supervisor.stop()

    run(scene())


def test_a_successor_takes_over_only_when_it_carries_all_that_is_wanted_and_stands() -> None:
    async def scene() -> None:
        minute = Subscription(channel=Channel.BAR, instrument=BTC, interval=MINUTE)
        five = Subscription(channel=Channel.BAR, instrument=BTC, interval=Interval.parse("5m"))
        toy = ToyVenue()
        rig = Rig(toy, linger_s=0.001)
        rig.supervisor.start([minute])
        await rig.told(1)
        (old,) = toy.connections
        toy.gates["dial"] = asyncio.Event()
        old.frames.put_nowait(closing())
        await toy.until(lambda: toy.count("dial") == 2)  # it took what was wanted then

        rig.supervisor.want([minute, five])
        await rig.log.until(lambda: rig.supervisor.standing == {minute, five})
        toy.gates["subscribe"] = asyncio.Event()
        toy.gates["dial"].set()
        await toy.until(lambda: len(toy.connections) == 2)
        assert rig.supervisor.standing == {minute, five}
        toy.gates["subscribe"].set()
        await toy.until(lambda: old not in toy.connections)

        assert rig.supervisor.standing == {minute, five}
        assert all(kind == "up" for kind, _ in rig.log.items)
        await rig.supervisor.stop()

    run(scene())


def test_a_stream_that_cannot_stand_twice_is_left_until_the_venue_ends_it() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = Rig(toy, overlaps=False, life_s=0.001)
        rig.supervisor.start(ACCOUNT)
        await rig.told(1)

        toy.tell(closing(), bar(1))
        await rig.told(2)

        assert rig.log.items == [("up", None), ("event", bar(1))]
        assert toy.count("dial") == 1
        await rig.supervisor.stop()

    run(scene())
