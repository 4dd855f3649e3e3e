"""The supervisor: only it dials, with back-off, until something would not be cured by it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest

from btx.errors import AuthenticationError, ClockError, ConfigError, NotSupportedError, RateLimitedError, TransportError
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Sink
from btx.rules.backoff import Backoff
from btx.runtime.supervisor import StreamSupervisor
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import AT_ONCE, Log, run
from tests.values import bar

ACCOUNT = (Subscription(channel=Channel.ACCOUNT),)
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

    async def run(self, *, subscriptions: Collection[Subscription], sink: Sink) -> None:
        self.dials += 1
        step = self._steps.pop(0)
        if step is STAND:
            sink(StreamStatus(state=StreamState.SUBSCRIBED))
            await asyncio.Event().wait()
        if step is not None:
            raise step


class Rig:
    def __init__(self, stream: Any, **changes: Any) -> None:
        self.log = Log()
        settings: dict[str, Any] = {
            "stream": stream,
            "sink": lambda event: self.log.add(("event", event)),
            "on_up": lambda: self.log.add(("up", None)),
            "on_down": lambda reason: self.log.add(("down", reason)),
            "on_fatal": lambda error: self.log.add(("fatal", error)),
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
